//! What a store keeps: packets and sessions.

use std::sync::Arc;

use bytes::Bytes;

use crate::Offset;

/// How the arguments of a [`StoredPacket`] are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Form {
    /// JSON text with placeholders for attachments, as Socket.IO's default parser writes it.
    #[default]
    Json,
    /// MessagePack, as the parser of that name writes it.
    MsgPack,
}

/// A recoverable event: not volatile, without acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredPacket {
    /// The rooms it went to; none means everybody in the namespace. For an event to a single socket,
    /// the socket's id.
    pub rooms: Vec<Box<str>>,
    /// The rooms it did not go to.
    pub except: Vec<Box<str>>,
    /// How `data` is encoded.
    pub form: Form,
    /// The encoded list of event name and arguments, without the offset. To a store it is opaque. It
    /// should own its memory: a slice of a large buffer keeps all of that buffer for as long.
    pub data: Bytes,
    /// The binary attachments, in order.
    pub attachments: Vec<Bytes>,
}

impl StoredPacket {
    /// Whether it was for a socket with this id and these rooms.
    pub fn concerns(&self, socket_id: &str, rooms: &[Box<str>]) -> bool {
        let is_in = |name: &str| name == socket_id || rooms.iter().any(|room| **room == *name);
        (self.rooms.is_empty() || self.rooms.iter().any(|name| is_in(name)))
            && !self.except.iter().any(|name| is_in(name))
    }

    /// The bytes of its contents.
    pub fn len(&self) -> usize {
        let names = self
            .rooms
            .iter()
            .chain(&self.except)
            .map(|name| name.len())
            .sum::<usize>();
        names + self.data.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there are no contents at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The state of a socket that has gone and may return.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionRecord {
    /// The secret by which the client claims it.
    pub pid: Box<str>,
    /// The socket's id, which is also a room it is always in.
    pub socket_id: Box<str>,
    /// The namespace.
    pub namespace: Box<str>,
    /// The rooms it was in; its own id may be left out.
    pub rooms: Vec<Box<str>>,
    /// The serialised per-socket data; opaque.
    pub data: Bytes,
    /// The user it belongs to.
    pub user: Option<Box<str>>,
    /// The position ([`Store::head`](crate::Store::head)) when the socket connected. With it a client
    /// that has never received an event, and so knows no offset, can be recovered.
    pub connected_at: Option<Offset>,
    /// The newest offset that was queued to the socket; `None` when there was none, or, if
    /// `connected_at` is `None` too, when nobody counted. With it a client that has received everything can be recovered even if nothing
    /// went to it for longer than packets are kept; and a client that claims to have seen more than it
    /// was sent is found out.
    pub last_offset: Option<Offset>,
    /// The position when the socket last left a room. Packets up to there cannot be chosen by
    /// `rooms`, so a client that misses any of them is not recovered. `None` when it has never left
    /// one, or to accept such gaps as Node.js does.
    pub left_at: Option<Offset>,
    /// A recoverable event for this socket was dropped: its recovery will answer
    /// [`NotRecovered::Lossy`](crate::NotRecovered::Lossy).
    pub lossy: bool,
}

impl SessionRecord {
    /// The bytes of its contents.
    pub fn len(&self) -> usize {
        let rooms = self.rooms.iter().map(|room| room.len()).sum::<usize>();
        let names = self.pid.len() + self.socket_id.len() + self.namespace.len();
        names + rooms + self.data.len() + self.user.as_ref().map_or(0, |user| user.len())
    }

    /// Whether there are no contents at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A packet that a returning socket has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its offset, to be sent with it.
    pub offset: Offset,
    /// The packet.
    pub packet: Arc<StoredPacket>,
}

/// A complete recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The session, which is no longer in the store.
    pub session: SessionRecord,
    /// When it was saved: with this time and the same window it may be saved again, as if it had
    /// never been taken, when its client is gone before it could be let in.
    pub saved_at_ms: u64,
    /// What it has missed, oldest first: all of it, nothing twice.
    pub missed: Vec<Missed>,
    /// The position up to which `missed` is complete. A socket that was put into its rooms before it
    /// was restored holds back what arrives meanwhile, and then drops what is not
    /// greater than this.
    pub head: Offset,
}
