//! One client: where it is in its steps, and what it waits for.

use super::plan::{Behaviour, EventId, Think};
use super::rooms::{Member, Message};
use super::template::Values;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::VecDeque;
use std::time::Duration;

/// Published messages per client that are followed until the server is known to have them.
const MAX_UNCONFIRMED: usize = 1024;
/// Acknowledgements per client that did not come in time and may still.
const MAX_EXPIRED: usize = 256;

#[derive(Debug)]
pub(crate) struct Client {
    /// Position among all clients of the run.
    pub(crate) number: u64,
    pub(crate) slot: u32,
    /// Position in the list of those who are present.
    pub(crate) place: usize,
    pub(crate) behaviour: usize,
    pub(crate) token: String,
    pub(crate) variables: Vec<String>,
    pub(crate) random: SmallRng,
    pub(crate) state: State,
    /// Whether it shall go as soon as it can.
    pub(crate) leaving: bool,
    /// Number of its connection among all of the run, as stamps have it.
    pub(crate) session: u32,
    /// The next step.
    pub(crate) step: usize,
    pub(crate) loops: Vec<Round>,
    /// When the next step was due, however late it is taken.
    pub(crate) clock: u64,
    /// Messages sent.
    pub(crate) sequence: u64,
    /// Failed attempts to come back in a row.
    pub(crate) attempts: u32,
    /// Whether it has done all its steps.
    pub(crate) ended: bool,
    /// Whether it connects when its timer fires, and then begins anew.
    pub(crate) comes_back: bool,
    pub(crate) resume_at: Option<u64>,
    pub(crate) acks: Acks,
    pub(crate) members: Vec<Member>,
    /// Messages of this connection that the server may not have, with the number of the
    /// acknowledgement that would come next when they were sent.
    unconfirmed: VecDeque<(u32, Message)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No connection.
    Absent,
    /// Lost for good; holds its place for a while, so that it is not replaced at once.
    Failed,
    /// From TCP to the joined namespace, since this was due.
    Connecting {
        since: u64,
    },
    Ready,
    /// Its connection is about to end, as the scenario wants it.
    Closing,
}

/// One loop that a client is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) done: u32,
    /// When this round was due.
    pub(crate) due: u64,
}

/// Acknowledgements that one connection waits for.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    next: u32,
    pending: Vec<Pending>,
    expired: VecDeque<u32>,
    /// The one without which the client does not go on.
    pub(crate) awaited: Option<u32>,
    /// When the timer of the earliest deadline fires.
    pub(crate) timer: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) id: u32,
    pub(crate) event: EventId,
    /// When the message was due.
    pub(crate) since: u64,
    pub(crate) deadline: u64,
    pub(crate) measured: bool,
    pub(crate) meaning: Meaning,
}

/// What an acknowledgement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Event,
    Join(u32),
    Leave(u32),
    Publish(Message),
}

/// What an acknowledgement that arrived is.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Expected.
    Answer(Pending),
    /// After its deadline.
    Late,
    /// Again.
    Double,
    /// Of nothing that was sent.
    Unasked,
}

impl Acks {
    /// The number of the next message that wants an acknowledgement.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    pub(crate) fn expect(&mut self, mut pending: Pending) -> u32 {
        pending.id = self.next;
        self.next = self.next.wrapping_add(1);
        self.pending.push(pending);
        pending.id
    }

    pub(crate) fn arrive(&mut self, id: u32) -> Arrival {
        if let Some(index) = self.pending.iter().position(|pending| pending.id == id) {
            return Arrival::Answer(self.pending.remove(index));
        }
        if let Some(index) = self.expired.iter().position(|&expired| expired == id) {
            self.expired.remove(index);
            return Arrival::Late;
        }
        match id < self.next {
            true => Arrival::Double,
            false => Arrival::Unasked,
        }
    }

    /// Takes one whose deadline has passed.
    pub(crate) fn expire(&mut self, now: u64) -> Option<Pending> {
        let index = self.pending.iter().position(|p| p.deadline <= now)?;
        let pending = self.pending.remove(index);
        if self.expired.len() == MAX_EXPIRED {
            self.expired.pop_front();
        }
        self.expired.push_back(pending.id);
        Some(pending)
    }

    pub(crate) fn earliest_deadline(&self) -> Option<u64> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The connection is gone, and with it what it waited for.
    pub(crate) fn reset(&mut self) -> Vec<Pending> {
        std::mem::take(self).pending
    }
}

impl Client {
    /// A client that is not connected yet. What it does by chance follows from `seed`.
    pub(crate) fn new(number: u64, slot: u32, behaviour: usize, seed: u64, now: u64) -> Self {
        Self {
            number,
            slot,
            place: 0,
            behaviour,
            token: String::new(),
            variables: Vec::new(),
            random: SmallRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            state: State::Absent,
            leaving: false,
            session: 0,
            step: 0,
            loops: Vec::new(),
            clock: now,
            sequence: 0,
            attempts: 0,
            ended: false,
            comes_back: false,
            resume_at: None,
            acks: Acks::default(),
            members: Vec::new(),
            unconfirmed: VecDeque::new(),
        }
    }

    /// Chooses its variables.
    pub(crate) fn choose(&mut self, behaviour: &Behaviour, timestamp: u64) {
        let mut chosen = Vec::with_capacity(behaviour.variables.len());
        for template in &behaviour.variables {
            let mut text = String::new();
            template.render(&mut self.values(timestamp), &mut text);
            chosen.push(text);
        }
        self.variables = chosen;
    }

    /// What fills in its templates.
    pub(crate) fn values(&mut self, timestamp: u64) -> Values<'_> {
        Values {
            client: self.number,
            sequence: self.sequence,
            timestamp,
            token: &self.token,
            variables: &self.variables,
            random: &mut self.random,
        }
    }

    /// How long it thinks this time, in nanoseconds.
    pub(crate) fn think(&mut self, think: Think) -> u64 {
        let nanoseconds = |time: Duration| time.as_nanos() as u64;
        match think {
            Think::Fixed(time) => nanoseconds(time),
            Think::Uniform(low, high) => self
                .random
                .random_range(nanoseconds(low)..=nanoseconds(high)),
            Think::Exponential(mean) => {
                let share: f64 = self.random.random();
                // `1 - share` is above zero.
                let times = (-(1.0 - share).ln()).min(20.0);
                (nanoseconds(mean) as f64 * times) as u64
            }
        }
    }

    pub(crate) fn member(&mut self, room: u32) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.room == room)
    }

    pub(crate) fn take_member(&mut self, room: u32) -> Option<Member> {
        let index = self.members.iter().position(|member| member.room == room)?;
        Some(self.members.swap_remove(index))
    }

    /// It has sent a message of which the server may not hear, if the connection is cut.
    pub(crate) fn published(&mut self, message: Message) {
        if self.unconfirmed.len() == MAX_UNCONFIRMED {
            self.unconfirmed.pop_front();
        }
        self.unconfirmed.push_back((self.acks.next(), message));
    }

    /// Messages that the server has, as it has acknowledged `id`, which was sent with or after
    /// them.
    pub(crate) fn confirmed(&mut self, id: u32) -> impl Iterator<Item = Message> {
        let count = self.unconfirmed.partition_point(|&(next, _)| next <= id);
        self.unconfirmed.drain(..count).map(|(_, message)| message)
    }

    pub(crate) fn take_unconfirmed(&mut self) -> impl Iterator<Item = Message> + use<> {
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        unconfirmed.into_iter().map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(deadline: u64) -> Pending {
        Pending {
            id: 0,
            event: EventId(0),
            since: 0,
            deadline,
            measured: true,
            meaning: Meaning::Event,
        }
    }

    #[test]
    fn acknowledgements_are_told_apart() {
        let mut acks = Acks::default();
        let (first, second) = (acks.expect(pending(10)), acks.expect(pending(20)));
        assert_eq!((first, second, acks.earliest_deadline()), (0, 1, Some(10)));
        assert!(acks.expire(9).is_none());
        assert_eq!(acks.expire(10).map(|pending| pending.id), Some(0));
        assert!(matches!(acks.arrive(first), Arrival::Late));
        assert!(matches!(acks.arrive(first), Arrival::Double));
        assert!(matches!(acks.arrive(second), Arrival::Answer(answer) if answer.id == 1));
        assert!(matches!(acks.arrive(second), Arrival::Double));
        assert!(matches!(acks.arrive(7), Arrival::Unasked));
        assert!(acks.is_empty() && acks.earliest_deadline().is_none());
    }

    #[test]
    fn thinking_keeps_its_bounds_and_its_mean() {
        let mut client = Client::new(3, 0, 0, 9, 0);
        let ms = Duration::from_millis;
        assert_eq!(client.think(Think::Fixed(ms(5))), 5_000_000);
        let (mut sum, rounds) = (0, 20_000);
        for _ in 0..rounds {
            let time = client.think(Think::Uniform(ms(2), ms(3)));
            assert!((2_000_000..=3_000_000).contains(&time));
            let time = client.think(Think::Exponential(ms(10)));
            assert!(time <= 200_000_000);
            sum += time;
        }
        let mean = sum as f64 / f64::from(rounds) / 1e6;
        assert!((mean - 10.0).abs() < 0.5, "{mean}");
    }

    #[test]
    fn an_answer_confirms_what_was_sent_before_it() {
        let mut client = Client::new(0, 0, 0, 1, 0);
        let message = |number| Message { room: 0, number };
        client.published(message(0)); // without acknowledgement, before id 0
        client.published(message(1)); // wants id 0
        let id = client.acks.expect(pending(10));
        client.published(message(2)); // after it
        assert_eq!(
            client.confirmed(id).collect::<Vec<_>>(),
            [message(0), message(1)]
        );
        assert_eq!(client.take_unconfirmed().collect::<Vec<_>>(), [message(2)]);
    }
}
