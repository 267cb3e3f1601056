//! One engine session: a client's connection, over whichever transport carries it now.

use smallvec::SmallVec;
use sockeye_protocol::engine::{CloseReason, Deadline, ServerSession, SessionId, Transport};
use sockeye_protocol::socketio::Decoder;

use crate::arena::Key;
use crate::message::Class;
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

/// What only a session has that comes or goes, or has left a namespace.
#[derive(Default, Debug)]
pub(crate) struct Transition {
    /// Namespaces asked for and not yet answered.
    pub(crate) pending: Vec<Box<str>>,
    /// Namespaces this side has left: a packet for one may still be on its way.
    pub(crate) left: Vec<u32>,
    /// Why the session ends as soon as what is queued has left.
    pub(crate) closing: Option<(CloseReason, &'static str)>,
}

/// The deadlines of an upgrade that is under way.
#[derive(Debug)]
pub(crate) struct Upgrading {
    pub(crate) timeout: TimerId,
    /// When to free a poll the next time, once the probe was answered.
    pub(crate) noop: Option<TimerId>,
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
    pub(crate) transition: Option<Box<Transition>>,
    pub(crate) heartbeat: Option<TimerId>,
    /// The time left to join a first namespace or, once closing, to fetch what is queued.
    pub(crate) patience: Option<TimerId>,
    pub(crate) upgrading: Option<Box<Upgrading>>,
    pub(crate) writing: Option<TimerId>,
    pub(crate) dirty: bool,
    pub(crate) paused: bool,
    /// Somebody wants to know of everything that happens on it.
    pub(crate) watched: bool,
    /// Something was queued since everything had left; kept only while it is watched.
    pub(crate) unsent: bool,
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
        self.closing().is_some()
    }

    pub(crate) fn closing(&self) -> Option<(CloseReason, &'static str)> {
        self.transition.as_ref()?.closing
    }

    pub(crate) fn pending(&self) -> &[Box<str>] {
        self.transition.as_ref().map_or(&[], |rare| &rare.pending)
    }

    pub(crate) fn has_left(&self, space: u32) -> bool {
        let left = |rare: &Transition| rare.left.contains(&space);
        self.transition.as_deref().is_some_and(left)
    }

    /// Changes what few sessions have, and gives its memory back when nothing is left of it.
    pub(crate) fn transition<R>(&mut self, change: impl FnOnce(&mut Transition) -> R) -> R {
        let rare = self.transition.get_or_insert_default();
        let result = change(rare);
        if rare.pending.is_empty() && rare.left.is_empty() && rare.closing.is_none() {
            self.transition = None;
        }
        result
    }

    /// Whether more than heartbeats waits for a polling client that neither holds a poll nor is
    /// about to upgrade.
    pub(crate) fn lacks_poll(&self) -> bool {
        self.engine.transport() == Transport::Polling
            && !self.engine.poll_pending()
            && !self.engine.is_upgrading()
            && self
                .out
                .iter()
                .any(|message| message.class() != Class::Control)
    }

    /// Whether a write deadline is running.
    pub fn awaits_write(&self) -> bool {
        self.writing.is_some()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        // With a connection of two pointers.
        let size = size_of::<Session<[usize; 2]>>();
        assert!(size <= 192, "{size}");
        assert!(size_of::<Outbound>() <= 48);
        assert_eq!(size_of::<Option<TimerId>>(), 8);
    }
}
