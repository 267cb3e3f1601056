//! One engine session: a client's connection, over whichever transport carries it now.

use smallvec::SmallVec;
use sockeye_protocol::engine::{CloseReason, Deadline, ServerSession, SessionId};
use sockeye_protocol::socketio::Decoder;

use crate::arena::Key;
use crate::outbound::Outbound;
use crate::wheel::TimerId;

/// What speaks above the engine on a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Socket.IO packets.
    SocketIo,
    /// The application itself: engine messages are handed over as they are.
    Raw,
}

/// The state of one engine session.
#[derive(Debug)]
pub struct Session<Io> {
    pub(crate) id: SessionId,
    pub(crate) kind: Kind,
    pub(crate) engine: ServerSession,
    pub(crate) decoder: Decoder,
    /// Namespaces joined: the namespace's number and the socket.
    pub(crate) sockets: SmallVec<[(u32, Key); 1]>,
    /// Namespaces this side has left: a packet for one may still be on its way.
    pub(crate) left: SmallVec<[u32; 2]>,
    /// Namespaces asked for and not yet answered.
    pub(crate) pending: SmallVec<[Box<str>; 0]>,
    pub(crate) heartbeat: Option<TimerId>,
    /// The one deadline beside the heartbeat that is armed when something is unfinished.
    pub(crate) joining: Option<TimerId>,
    pub(crate) upgrading: Option<TimerId>,
    pub(crate) writing: Option<TimerId>,
    pub(crate) dirty: bool,
    pub(crate) paused: bool,
    pub(crate) closing: Option<(CloseReason, &'static str)>,
    /// The kernel refused bytes of this connection.
    pub blocked: bool,
    /// What waits to be written.
    pub out: Outbound,
    /// The connection.
    pub io: Io,
}

impl<Io> Session<Io> {
    /// The session's id, secret between this client and us.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The transport machine.
    pub fn engine(&self) -> &ServerSession {
        &self.engine
    }

    /// Whether the connection must not be read for now: a handler has fallen behind.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the session only waits for what is queued to leave.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether a ping of ours is unanswered.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.engine.next_deadline() == Some(Deadline::Pong)
    }

    /// The socket of namespace number `space`.
    pub(crate) fn socket_in(&self, space: u32) -> Option<Key> {
        self.sockets
            .iter()
            .find(|(number, _)| *number == space)
            .map(|(_, key)| *key)
    }
}
