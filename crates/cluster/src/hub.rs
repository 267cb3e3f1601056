//! The engine that joins nodes of one process: one of them for a server that stands alone, several
//! in tests.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::{
    Answers, Bus, BusError, BusErrorKind, Expected, Health, Link, Listener, NodeEvent, NodeId,
    Operation, Reply, Request, Requests, Responder,
};

/// A cluster within one process. Cheap to clone.
///
/// Messages are handed over at once, in the thread that publishes, by reference count; while a
/// listener is busy with one, the next wait for it in order. All answers of the buses are there at
/// once.
///
/// ```
/// use sockeye_cluster::{Bus, Hub};
///
/// // A server that stands alone.
/// let bus = Hub::new().join("only");
/// assert!(bus.nodes().is_empty());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Hub(Arc<Mutex<Vec<Arc<Node>>>>);

/// A node of a [`Hub`].
#[derive(Debug)]
pub struct HubBus {
    hub: Hub,
    node: Arc<Node>,
}

struct Node {
    id: NodeId,
    listener: OnceLock<Arc<dyn Listener>>,
    is_up: Mutex<bool>,
    interest: Mutex<HashMap<Box<str>, Namespace>>,
    mailbox: Mutex<Mailbox>,
    requests: Mutex<Requests<u64>>,
    next_request: AtomicU64,
    published: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
}

/// What a node wants to hear of a namespace, each counted.
#[derive(Default)]
struct Namespace {
    opened: usize,
    rooms: HashMap<Box<str>, usize>,
}

#[derive(Default)]
struct Mailbox {
    waiting: VecDeque<Message>,
    is_busy: bool,
}

enum Message {
    Operation(Arc<str>, NodeId, Operation),
    Request(Arc<str>, NodeId, Request, Responder),
    Node(NodeEvent),
}

impl Hub {
    /// Messages that may wait for one listener; beyond it they are dropped and the publisher is told.
    pub const MAX_WAITING: usize = 65_536;

    /// A cluster without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node; the others see it when it has started, and until it leaves or is dropped.
    pub fn join(&self, node: impl Into<NodeId>) -> HubBus {
        let node = Arc::new(Node {
            id: node.into(),
            listener: OnceLock::new(),
            is_up: Mutex::default(),
            interest: Mutex::default(),
            mailbox: Mutex::default(),
            requests: Mutex::default(),
            next_request: AtomicU64::new(1),
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        HubBus {
            hub: self.clone(),
            node,
        }
    }

    fn others(&self, node: &Arc<Node>) -> Vec<Arc<Node>> {
        let mut nodes = lock(&self.0).clone();
        nodes.retain(|other| !Arc::ptr_eq(other, node));
        nodes
    }

    fn remove(&self, node: &Arc<Node>, event: &NodeEvent) {
        let mut nodes = lock(&self.0);
        let before = nodes.len();
        nodes.retain(|other| !Arc::ptr_eq(other, node));
        if nodes.len() == before {
            return;
        }
        let others = nodes.clone();
        drop(nodes);
        *lock(&node.is_up) = false;
        for other in others {
            lock(&other.requests).gone(&node.id);
            other.receive(Message::Node(event.clone()));
        }
    }
}

impl HubBus {
    fn check(&self) -> Result<(), BusError> {
        match *lock(&self.node.is_up) {
            true => Ok(()),
            false => Err(BusErrorKind::Down.into()),
        }
    }

    fn interest<R>(&self, change: impl FnOnce(&mut HashMap<Box<str>, Namespace>) -> R) -> R {
        change(&mut lock(&self.node.interest))
    }
}

impl Bus for HubBus {
    fn node(&self) -> &NodeId {
        &self.node.id
    }

    fn start(&self, listener: Arc<dyn Listener>) -> Reply<Result<(), BusError>> {
        let mut nodes = lock(&self.hub.0);
        if nodes.iter().any(|other| other.id == self.node.id) {
            let detail = format!("there is a node named {} already", self.node.id);
            return Reply::ready(Err(BusError::with(BusErrorKind::Misconfigured, detail)));
        }
        if self.node.listener.set(listener).is_err() {
            let detail = "a bus is started once";
            return Reply::ready(Err(BusError::with(BusErrorKind::Misconfigured, detail)));
        }
        *lock(&self.node.is_up) = true;
        nodes.push(self.node.clone());
        drop(nodes);
        for other in self.hub.others(&self.node) {
            self.node
                .receive(Message::Node(NodeEvent::Joined(other.id.clone())));
            other.receive(Message::Node(NodeEvent::Joined(self.node.id.clone())));
        }
        Reply::ready(Ok(()))
    }

    fn open(&self, namespace: &str) -> Reply<Result<(), BusError>> {
        self.interest(|all| all.entry(namespace.into()).or_default().opened += 1);
        Reply::ready(self.check())
    }

    fn close(&self, namespace: &str) {
        self.interest(|all| {
            if let Some(interest) = all.get_mut(namespace) {
                interest.opened = interest.opened.saturating_sub(1);
                if interest.opened == 0 {
                    all.remove(namespace);
                }
            }
        });
    }

    fn subscribe(&self, namespace: &str, room: &str) -> Reply<Result<(), BusError>> {
        let is_open = self.interest(|all| {
            let namespace = all.get_mut(namespace);
            namespace.map(|namespace| *namespace.rooms.entry(room.into()).or_default() += 1)
        });
        if is_open.is_none() {
            let detail = "the namespace is not open";
            return Reply::ready(Err(BusError::with(BusErrorKind::Misconfigured, detail)));
        }
        Reply::ready(self.check())
    }

    fn unsubscribe(&self, namespace: &str, room: &str) {
        self.interest(|all| {
            let Some(namespace) = all.get_mut(namespace) else {
                return;
            };
            if let Some(count) = namespace.rooms.get_mut(room) {
                *count -= 1;
                if *count == 0 {
                    namespace.rooms.remove(room);
                }
            }
        });
    }

    fn publish(&self, namespace: &str, operation: Operation) -> Reply<Result<(), BusError>> {
        if let Err(error) = self.check() {
            return Reply::ready(Err(error));
        }
        self.node.published.fetch_add(1, Ordering::Relaxed);
        let namespace = Arc::from(namespace);
        let mut result = Ok(());
        for other in self.hub.others(&self.node) {
            if !other.wants(&namespace, &operation) {
                continue;
            }
            let from = self.node.id.clone();
            let message = Message::Operation(Arc::clone(&namespace), from, operation.clone());
            if !other.receive(message) {
                self.node.dropped.fetch_add(1, Ordering::Relaxed);
                result = Err(BusErrorKind::Full.into());
            }
        }
        Reply::ready(result)
    }

    fn request(&self, namespace: &str, request: Request) -> Reply<Result<Answers, BusError>> {
        if let Err(error) = self.check() {
            return Reply::ready(Err(error));
        }
        let namespace: Arc<str> = namespace.into();
        let mut others = self.hub.others(&self.node);
        others.retain(|other| lock(&other.interest).contains_key(&*namespace));
        let names = others.iter().map(|other| other.id.clone()).collect();
        let (sink, answers) = Answers::new(&request, Expected::Nodes(names));
        let id = self.node.next_request.fetch_add(1, Ordering::Relaxed);
        lock(&self.node.requests).insert(id, request.clone(), sink);
        for other in others {
            let (asker, from) = (Arc::downgrade(&self.node), other.id.clone());
            let responder = Responder::new(move |answer| {
                if let Some(asker) = Weak::upgrade(&asker) {
                    lock(&asker.requests).answer(&id, Some(&from), answer);
                }
            });
            let namespace = Arc::clone(&namespace);
            other.receive(Message::Request(
                namespace,
                self.node.id.clone(),
                request.clone(),
                responder,
            ));
        }
        Reply::ready(Ok(answers))
    }

    fn nodes(&self) -> Vec<NodeId> {
        let others = self.hub.others(&self.node);
        let mut nodes: Vec<_> = others.iter().map(|other| other.id.clone()).collect();
        nodes.sort();
        nodes
    }

    fn health(&self) -> Health {
        Health {
            link: match *lock(&self.node.is_up) {
                true => Link::Connected,
                false => Link::Down,
            },
            published: self.node.published.load(Ordering::Relaxed),
            received: self.node.received.load(Ordering::Relaxed),
            dropped: self.node.dropped.load(Ordering::Relaxed),
            ..Health::default()
        }
    }

    fn leave(&self) -> Reply<Result<(), BusError>> {
        let event = NodeEvent::Left(self.node.id.clone());
        self.hub.remove(&self.node, &event);
        Reply::ready(Ok(()))
    }
}

impl Drop for HubBus {
    fn drop(&mut self) {
        let event = NodeEvent::Lost(self.node.id.clone());
        self.hub.remove(&self.node, &event);
    }
}

impl Node {
    fn wants(&self, namespace: &str, operation: &Operation) -> bool {
        let interest = lock(&self.interest);
        let Some(interest) = interest.get(namespace) else {
            return false;
        };
        let rooms = operation.selection().map(|selection| &selection.rooms[..]);
        let mut rooms = rooms.unwrap_or_default().iter().peekable();
        rooms.peek().is_none() || rooms.any(|room| interest.rooms.contains_key(&**room))
    }

    /// Whether there was room for the message. If nobody is handling messages of this node already,
    /// the caller does, until none waits.
    fn receive(&self, message: Message) -> bool {
        let mut mailbox = lock(&self.mailbox);
        if mailbox.waiting.len() >= Hub::MAX_WAITING {
            return false;
        }
        mailbox.waiting.push_back(message);
        if std::mem::replace(&mut mailbox.is_busy, true) {
            return true;
        }
        drop(mailbox);
        // Also when a listener panics: the next message then finds somebody to handle it.
        let mut idle = Idle(Some(self));
        loop {
            let mut mailbox = lock(&self.mailbox);
            let Some(message) = mailbox.waiting.pop_front() else {
                mailbox.is_busy = false;
                idle.0 = None;
                return true;
            };
            drop(mailbox);
            self.handle(message);
        }
    }

    fn handle(&self, message: Message) {
        let Some(listener) = self.listener.get() else {
            return;
        };
        match message {
            Message::Operation(namespace, from, operation) => {
                self.received.fetch_add(1, Ordering::Relaxed);
                listener.on_operation(&namespace, &from, operation);
            }
            Message::Request(namespace, from, request, responder) => {
                self.received.fetch_add(1, Ordering::Relaxed);
                listener.on_request(&namespace, &from, request, responder);
            }
            Message::Node(event) => listener.on_node(event),
        }
    }
}

struct Idle<'a>(Option<&'a Node>);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        if let Some(node) = self.0 {
            lock(&node.mailbox).is_busy = false;
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.id)
    }
}

/// Nothing panics while a lock is held but for want of memory, before anything was changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::contract::bus::{self, Cluster, Manners};

    struct InMemory(Hub);

    impl Cluster for InMemory {
        async fn join(&mut self, name: &str) -> Arc<dyn Bus> {
            Arc::new(self.0.join(name))
        }

        async fn pause(&mut self) {}

        fn manners(&self) -> Manners {
            Manners::native()
        }
    }

    /// Everything of the hub is there at once: what is pending is never to come.
    fn now(future: impl Future<Output = ()>) {
        let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(()));
    }

    #[test]
    fn it_keeps_the_contract() {
        now(bus::all(|| InMemory(Hub::new())));
    }

    #[test]
    fn two_nodes_of_one_name_are_refused() {
        struct Deaf;
        impl Listener for Deaf {
            fn on_operation(&self, _: &str, _: &NodeId, _: Operation) {}
            fn on_request(&self, _: &str, _: &NodeId, _: Request, _: Responder) {}
        }
        let hub = Hub::new();
        let (first, second) = (hub.join("a"), hub.join("a"));
        let start = |bus: &HubBus| bus.start(Arc::new(Deaf)).into_ready().expect("at once");
        assert_eq!(start(&first), Ok(()));
        assert!(start(&second).is_err_and(|error| error.is_fatal()));
        drop(first);
        assert_eq!(start(&second), Ok(()));
    }
}
