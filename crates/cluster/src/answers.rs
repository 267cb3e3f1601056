//! The answers of other nodes to one request, as they come.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{Answer, NodeId, Request};

/// What the caller of [`Bus::request`](crate::Bus::request) gets: each answer as it comes, and an end
/// when no more is to be expected. It knows no time: whoever has waited long enough drops it, and may
/// ask who was [`silent`](Answers::silent) first.
///
/// ```
/// use sockeye_cluster::{Answer, Answers, Expected, NodeId, Request};
///
/// let (sink, mut answers) = Answers::new(&Request::Rooms, Expected::Nodes(vec!["a".into(), "b".into()]));
/// sink.push(Some(&"a".into()), Answer::Rooms(Vec::new()));
/// assert_eq!(answers.silent().nodes, ["b".into()]);
/// sink.gone(&"b".into());
/// assert!(answers.is_complete());
/// ```
#[derive(Debug)]
pub struct Answers(Arc<Mutex<State>>);

/// Where an engine puts the answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AnswerSink(Arc<Mutex<State>>);

/// Whose answers are awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Those of these nodes.
    Nodes(Vec<NodeId>),
    /// Those of so many nodes, whose names are not known.
    Number(usize),
}

/// Who has not answered, or not completely.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Silent {
    /// The names, sorted.
    pub nodes: Vec<NodeId>,
    /// How many more there are whose names are not known.
    pub unnamed: usize,
}

#[derive(Debug)]
struct State {
    /// Whether acknowledgements follow the first answer of a node.
    has_acks: bool,
    /// Nodes that have not finished, and what is known of them.
    open: HashMap<NodeId, Progress>,
    /// Nodes without a name that have not given a first answer.
    unnamed: usize,
    /// Acknowledgements due from nodes without a name; less than none when they came before the number.
    unnamed_acks: i64,
    arrived: VecDeque<(Option<NodeId>, Answer)>,
    waker: Option<Waker>,
    is_abandoned: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Whether the number of clients has come.
    counted: bool,
    /// Acknowledgements due, less those that came.
    acks: i64,
}

impl Answers {
    /// Answers to `request` that are still to come, and where to put them. Those of a kind that the
    /// request does not ask for are ignored, and those of a node that has finished.
    pub fn new(request: &Request, expected: Expected) -> (AnswerSink, Self) {
        let (open, unnamed) = match expected {
            Expected::Nodes(nodes) => {
                let open = nodes.into_iter().map(|node| (node, Progress::default()));
                (open.collect(), 0)
            }
            Expected::Number(number) => (HashMap::new(), number),
        };
        let state = State {
            has_acks: matches!(request, Request::Broadcast(_)),
            open,
            unnamed,
            unnamed_acks: 0,
            arrived: VecDeque::new(),
            waker: None,
            is_abandoned: false,
        };
        let state = Arc::new(Mutex::new(state));
        (AnswerSink(state.clone()), Self(state))
    }

    /// No answers: there is nobody to ask.
    pub fn none() -> Self {
        Self::new(&Request::Rooms, Expected::Number(0)).1
    }

    /// The next answer and who gave it, where that is known; `None` when no more is to be expected.
    pub async fn next(&mut self) -> Option<(Option<NodeId>, Answer)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`next`](Self::next), polled.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(Option<NodeId>, Answer)>> {
        let mut state = lock(&self.0);
        if let Some(answer) = state.arrived.pop_front() {
            return Poll::Ready(Some(answer));
        }
        if state.is_complete() {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether nothing more is to be expected than what has arrived.
    pub fn is_complete(&self) -> bool {
        lock(&self.0).is_complete()
    }

    /// Who has not answered yet, or not completely.
    pub fn silent(&self) -> Silent {
        let state = lock(&self.0);
        let mut nodes: Vec<_> = state.open.keys().cloned().collect();
        nodes.sort();
        Silent {
            nodes,
            unnamed: state.unnamed.max(usize::from(state.unnamed_acks > 0)),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.is_abandoned = true;
        state.arrived = VecDeque::new();
    }
}

impl AnswerSink {
    /// An answer has come. Whether the request is finished with it, so that it need not be kept.
    pub fn push(&self, from: Option<&NodeId>, answer: Answer) -> bool {
        let mut state = lock(&self.0);
        if state.is_abandoned {
            return true;
        }
        if state.take(from, &answer) {
            state.arrived.push_back((from.cloned(), answer));
        }
        state.is_settled()
    }

    /// A node has gone: it is waited for no longer. Whether the request is finished with it.
    pub fn gone(&self, node: &NodeId) -> bool {
        let mut state = lock(&self.0);
        state.open.remove(node);
        state.is_settled()
    }

    /// So many nodes without a name have turned out not to be there. Whether the request is
    /// finished with it.
    pub fn fewer(&self, by: usize) -> bool {
        let mut state = lock(&self.0);
        state.unnamed = state.unnamed.saturating_sub(by);
        state.is_settled()
    }

    /// Whether nobody waits for answers any more.
    pub fn is_abandoned(&self) -> bool {
        lock(&self.0).is_abandoned
    }
}

impl State {
    fn is_complete(&self) -> bool {
        self.open.is_empty() && self.unnamed == 0 && self.unnamed_acks <= 0
    }

    /// Wakes whoever waits, and says whether nothing more is to come.
    fn is_settled(&mut self) -> bool {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        self.is_complete() || self.is_abandoned
    }

    /// Notes an answer; whether it was due.
    fn take(&mut self, from: Option<&NodeId>, answer: &Answer) -> bool {
        let named = from.is_some_and(|from| self.open.contains_key(from));
        match answer {
            Answer::Absent => {
                match from.filter(|_| named) {
                    Some(from) => drop(self.open.remove(from)),
                    None => self.unnamed = self.unnamed.saturating_sub(1),
                }
                return false;
            }
            Answer::Clients(clients) if self.has_acks => {
                let clients = i64::try_from(*clients).unwrap_or(i64::MAX);
                match from.and_then(|from| self.open.get_mut(from)) {
                    Some(progress) if progress.counted => return false,
                    Some(progress) => {
                        progress.counted = true;
                        progress.acks = progress.acks.saturating_add(clients);
                    }
                    None if self.unnamed == 0 => return false,
                    None => {
                        self.unnamed -= 1;
                        self.unnamed_acks = self.unnamed_acks.saturating_add(clients);
                    }
                }
            }
            Answer::Ack { .. } if self.has_acks => {
                match from.and_then(|from| self.open.get_mut(from)) {
                    Some(progress) => progress.acks -= 1,
                    None => self.unnamed_acks -= 1,
                }
            }
            Answer::Clients(_) | Answer::Ack { .. } => return false,
            _ if self.has_acks => return false,
            _ if named => {
                if let Some(from) = from {
                    self.open.remove(from);
                }
                return true;
            }
            _ if self.unnamed == 0 => return false,
            _ => self.unnamed -= 1,
        }
        if let Some(from) = from.filter(|_| named) {
            let done = |progress: &Progress| progress.counted && progress.acks <= 0;
            if self.open.get(from).is_some_and(done) {
                self.open.remove(from);
            }
        }
        true
    }
}

/// The requests of a node that are not finished, by their ids.
#[derive(Debug)]
pub struct Requests<Id> {
    sinks: HashMap<Id, (Request, AnswerSink)>,
    purge_at: usize,
}

impl<Id> Default for Requests<Id> {
    fn default() -> Self {
        Self {
            sinks: HashMap::new(),
            purge_at: 16,
        }
    }
}

impl<Id: Eq + Hash + Clone> Requests<Id> {
    /// A request was made. Those that nobody waits for any more are forgotten now and then.
    pub fn insert(&mut self, id: Id, request: Request, sink: AnswerSink) {
        if self.sinks.len() >= self.purge_at {
            self.sinks.retain(|_, (_, sink)| !sink.is_abandoned());
            self.purge_at = (self.sinks.len() * 2).max(16);
        }
        self.sinks.insert(id, (request, sink));
    }

    /// What was asked under an id, unless it is finished.
    pub fn get(&self, id: &Id) -> Option<&Request> {
        self.sinks.get(id).map(|(request, _)| request)
    }

    /// An answer has come. Those to unknown requests, and of the wrong kind, are ignored; whether it
    /// was taken.
    pub fn answer(&mut self, id: &Id, from: Option<&NodeId>, answer: Answer) -> bool {
        let Some((request, sink)) = self.sinks.get(id) else {
            return false;
        };
        if !request.takes(&answer) {
            return false;
        }
        if sink.push(from, answer) {
            self.sinks.remove(id);
        }
        true
    }

    /// A node has gone.
    pub fn gone(&mut self, node: &NodeId) {
        self.sinks.retain(|_, (_, sink)| !sink.gone(node));
    }

    /// How many are not finished.
    pub fn len(&self) -> usize {
        self.sinks.len()
    }

    /// Whether all are finished.
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in here panics while the lock is held but for want of memory, before any change.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::socketio::Args;

    use super::*;
    use crate::{Broadcast, Event, Selection};

    fn ack() -> Answer {
        Answer::Ack {
            socket: None,
            args: Args::new(),
        }
    }

    fn broadcast() -> Request {
        let event = Event::new("e", Args::new());
        Request::Broadcast(Broadcast::new(Selection::all(), event))
    }

    fn next(answers: &mut Answers) -> Poll<Option<Answer>> {
        let polled = answers.poll_next(&mut Context::from_waker(Waker::noop()));
        polled.map(|answer| answer.map(|(_, answer)| answer))
    }

    #[test]
    fn one_answer_of_each_node_completes_a_question() {
        let (a, b) = (NodeId::from("a"), NodeId::from("b"));
        let expected = Expected::Nodes(vec![a.clone(), b.clone()]);
        let (sink, mut answers) = Answers::new(&Request::Count(Selection::all()), expected);
        assert!(!sink.push(Some(&a), Answer::Count(1)));
        assert!(!sink.push(Some(&a), Answer::Count(2)), "not twice");
        assert!(!sink.push(Some(&"stranger".into()), Answer::Count(3)));
        assert!(!sink.push(None, Answer::Count(3)));
        assert!(sink.push(Some(&b), Answer::Count(4)));
        assert_eq!(next(&mut answers), Poll::Ready(Some(Answer::Count(1))));
        assert_eq!(next(&mut answers), Poll::Ready(Some(Answer::Count(4))));
        assert_eq!(next(&mut answers), Poll::Ready(None));
    }

    #[test]
    fn acknowledgements_are_awaited_as_announced() {
        let (a, b) = (NodeId::from("a"), NodeId::from("b"));
        let (sink, answers) =
            Answers::new(&broadcast(), Expected::Nodes(vec![a.clone(), b.clone()]));
        sink.push(Some(&a), ack()); // may overtake the number
        sink.push(Some(&a), Answer::Clients(2));
        sink.push(Some(&b), Answer::Clients(0));
        assert_eq!(answers.silent().nodes, std::slice::from_ref(&a));
        assert!(sink.push(Some(&a), ack()));
        assert!(answers.is_complete());
    }

    #[test]
    fn nodes_without_names_are_counted() {
        let (sink, answers) = Answers::new(&broadcast(), Expected::Number(2));
        sink.push(None, Answer::Clients(1));
        assert_eq!(answers.silent().unnamed, 1);
        sink.push(None, Answer::Clients(1));
        sink.push(None, ack());
        assert!(!answers.is_complete());
        assert_eq!(answers.silent().unnamed, 1);
        sink.push(None, ack());
        assert!(answers.is_complete());
        assert_eq!(answers.silent(), Silent::default());
    }

    #[test]
    fn a_node_that_goes_is_not_waited_for() {
        let a = NodeId::from("a");
        let (sink, answers) = Answers::new(&broadcast(), Expected::Nodes(vec![a.clone()]));
        sink.push(Some(&a), Answer::Clients(5));
        assert!(sink.gone(&a));
        assert!(answers.is_complete());
    }

    #[test]
    fn a_node_without_the_namespace_is_not_waited_for() {
        let a = NodeId::from("a");
        let (sink, mut answers) = Answers::new(&broadcast(), Expected::Nodes(vec![a.clone()]));
        assert!(sink.push(Some(&a), Answer::Absent));
        assert_eq!(next(&mut answers), Poll::Ready(None));
    }

    #[test]
    fn requests_that_nobody_waits_for_are_forgotten() {
        let mut requests = Requests::default();
        let mut kept = Vec::new();
        for id in 0..1_000u32 {
            let (sink, answers) = Answers::new(&Request::Rooms, Expected::Number(1));
            requests.insert(id, Request::Rooms, sink);
            if id % 100 == 0 {
                kept.push((id, answers));
            }
        }
        assert!(requests.len() < 50, "{}", requests.len());
        for (id, answers) in kept {
            assert!(!requests.answer(&id, None, Answer::Done), "another kind");
            assert!(requests.answer(&id, None, Answer::Rooms(Vec::new())));
            assert!(answers.is_complete());
        }
        assert!(!requests.answer(&1, None, Answer::Rooms(Vec::new())));
    }
}
