//! The seam between the nodes of a cluster.

use std::fmt;
use std::sync::Arc;

use crate::{Answer, Answers, BusError, NodeId, Operation, Reply, Request};

/// Carries what the nodes of a cluster tell and ask each other.
///
/// The promises, which [`contract`](crate) tests:
///
/// - What one node publishes in a namespace reaches each [`Listener`] in the order in which it was
///   published, at most once, also when it is addressed to several rooms; and never the node that has
///   published it, which serves its own sockets itself.
/// - After [`subscribe`](Bus::subscribe) has answered, nothing that is published to the room from then
///   on is missed, as long as the connection to the engine holds. A node may hear of rooms that it has
///   not subscribed to, depending on the engine; it then has nobody to deliver to.
/// - Delivery is at most once. What is lost while an engine is out of reach is counted in
///   [`Health::dropped`] or told by an error.
/// - No question waits for a node that has gone: [`Answers`] are complete without it. A node that is
///   silent is named, if the engine knows names. The caller keeps the deadline.
/// - What cannot be read, is forged or belongs to somebody else is counted and ignored.
///
/// Namespaces, rooms and events may have any name, `#`, `*` and the empty one included.
pub trait Bus: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> &NodeId;

    /// Begins to listen. Answers when the way to the engine and back has been verified and the other
    /// nodes are known; before that, nothing may be asked for. To be called once.
    fn start(&self, listener: Arc<dyn Listener>) -> Reply<Result<(), BusError>>;

    /// Takes part in a namespace: from the answer on, everything that is published to all of it is
    /// heard and every request is answered. Counted as [`subscribe`](Bus::subscribe) is.
    fn open(&self, namespace: &str) -> Reply<Result<(), BusError>>;

    /// Takes part no longer, once this was called as often as [`open`](Bus::open) was.
    fn close(&self, namespace: &str);

    /// Asks for what is published to a room, in a namespace that is open. Counted, so that each shard
    /// may speak for itself: it lasts until [`unsubscribe`](Bus::unsubscribe) was called as often.
    fn subscribe(&self, namespace: &str, room: &str) -> Reply<Result<(), BusError>>;

    /// Takes back one [`subscribe`](Bus::subscribe).
    fn unsubscribe(&self, namespace: &str, room: &str);

    /// Tells the other nodes. It is on its way, in order, when the call returns; the answer comes when
    /// the engine has taken it, and need not be awaited.
    fn publish(&self, namespace: &str, operation: Operation) -> Reply<Result<(), BusError>>;

    /// Asks the other nodes. In order with what was published before. This node's own answer is not
    /// among those that come.
    fn request(&self, namespace: &str, request: Request) -> Reply<Result<Answers, BusError>>;

    /// The other nodes that are known to live. Empty where an engine knows only their number.
    fn nodes(&self) -> Vec<NodeId>;

    /// How it goes.
    fn health(&self) -> Health;

    /// Says goodbye and ends: the others stop waiting for this node at once.
    fn leave(&self) -> Reply<Result<(), BusError>>;
}

/// Where a [`Bus`] delivers. Its methods are called one at a time for each publishing node, and should
/// return soon: what takes time is handed on.
pub trait Listener: Send + Sync + 'static {
    /// Another node tells something.
    fn on_operation(&self, namespace: &str, from: &NodeId, operation: Operation);

    /// Another node asks; the answer may be given later, and from any thread.
    fn on_request(&self, namespace: &str, from: &NodeId, request: Request, responder: Responder);

    /// A node has come or gone.
    fn on_node(&self, event: NodeEvent) {
        let _ = event;
    }

    /// Whether anybody here is in this room. Engines on which every node hears everything ask before
    /// they decode.
    fn hosts(&self, namespace: &str, room: &str) -> bool {
        let _ = (namespace, room);
        true
    }
}

/// What happened to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// It is there.
    Joined(NodeId),
    /// It said goodbye.
    Left(NodeId),
    /// It was not heard of for too long.
    Lost(NodeId),
}

/// Takes the answers of this node to a request of another one.
///
/// Dropped without an answer it leaves the request unanswered: the other node will call this one
/// silent.
pub struct Responder(Box<dyn FnMut(Answer) + Send>);

impl Responder {
    /// Calls `send` with each answer.
    pub fn new(send: impl FnMut(Answer) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Sends an answer. Only a [`Request::Broadcast`] gets more than one.
    pub fn answer(&mut self, answer: Answer) {
        (self.0)(answer);
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// How a bus fares. The counters only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Health {
    /// The connection to the engine.
    pub link: Link,
    /// How long a message of this node last took to the engine and back, in milliseconds; `None`
    /// before the first one and where nothing is between the nodes.
    pub lag_ms: Option<u64>,
    /// Bytes that wait to be published.
    pub queued_bytes: usize,
    /// Messages published.
    pub published: u64,
    /// Messages of other nodes that were delivered.
    pub received: u64,
    /// Messages that were not published because nothing took them: the buffer was full, or the
    /// connection broke while they were on their way.
    pub dropped: u64,
    /// Messages that were ignored: unreadable, forged, replayed, or of a format that is not ours.
    pub refused: u64,
    /// How often the connection was made anew.
    pub reconnects: u64,
}

/// The state of a connection to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Link {
    /// Not started, or ended.
    #[default]
    Down,
    /// Connected, and everything that was asked for is in force.
    Connected,
    /// Out of reach or catching up: this node goes on by itself, and may miss what others publish.
    Degraded,
}

impl Link {
    /// A short name that does not change, for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Connected => "connected",
            Self::Degraded => "degraded",
        }
    }
}
