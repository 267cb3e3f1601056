//! What the layer around a shard attaches to it, and what a shard asks of that layer.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use sockeye_protocol::engine::CloseReason;
use sockeye_protocol::socketio::{Args, Packet};

use crate::acks::AckFailure;
use crate::arena::Key;
use crate::message::Message;

/// The types that the layer around a shard attaches to sessions, sockets and acknowledgements.
///
/// The shard stores them and hands them back; it never looks inside.
pub trait Host: 'static {
    /// The connection of a session: its writer, its pending poll.
    type Io;
    /// The handle of a socket, cheap to clone.
    type Socket: Clone;
    /// Whoever awaits an acknowledgement.
    type Waiter: AckWaiter;
}

/// Told which rooms have a member on a shard, in the moment in which that changes: those who know
/// this of every shard need not ask all of them.
pub trait RoomObserver: Send {
    /// The first socket has joined.
    fn created(&self, namespace: &str, room: &str);
    /// The last socket has left.
    fn deleted(&self, namespace: &str, room: &str);
}

/// Told once what became of an acknowledgement.
pub trait AckWaiter {
    /// Takes the answer's arguments, or why there is none.
    fn resolve(self, answer: Result<Args, AckFailure>);
}

/// What a shard asks the layer around it to do, in order.
pub enum Effect<H: Host> {
    /// A client asks to join a namespace: answer with `accept` or `reject`.
    Connect {
        /// The session that asks.
        session: Key,
        /// The namespace it wants to join.
        namespace: Box<str>,
        /// Its `auth` payload: a raw object, or nothing.
        auth: Option<Box<Args>>,
    },
    /// An event to handle. The socket is busy until `next_event` is called.
    Event {
        /// The socket it came for.
        socket: Key,
        /// Its handle.
        host: H::Socket,
        /// The event; in a box because it is handed on several times.
        packet: Box<Packet>,
    },
    /// A message of a raw engine session.
    Message {
        /// The session it came on.
        session: Key,
        /// What came.
        data: EngineData,
    },
    /// A socket is leaving; its rooms still stand until `finish_disconnect` is called.
    Disconnecting {
        /// The socket.
        socket: Key,
        /// Its handle.
        host: H::Socket,
        /// Why.
        reason: CloseReason,
        /// More about why, for logs: not for the client.
        detail: &'static str,
    },
    /// A session is over: close its connection.
    Closed {
        /// The session that was.
        session: Key,
        /// Its connection.
        io: H::Io,
        /// Why.
        reason: CloseReason,
        /// More about why, for logs.
        detail: &'static str,
    },
    /// An upgrade took too long: close the WebSocket that probes.
    EndProbe {
        /// The session.
        session: Key,
    },
    /// A room has changed, of a namespace whose rooms are watched.
    Room {
        /// The handle of the socket that came or went.
        host: H::Socket,
        /// The room.
        room: Arc<str>,
        /// What has become of it here.
        change: RoomChange,
    },
    /// Something has happened on a session that is watched.
    Engine {
        /// The session.
        session: Key,
        /// What.
        event: EngineEvent,
    },
    /// A connection that was not read may be read again.
    Resume {
        /// The session.
        session: Key,
    },
}

impl<H: Host> Debug for Effect<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Effect::Connect {
                session, namespace, ..
            } => {
                write!(f, "Connect({session:?}, {namespace})")
            }
            Effect::Event { socket, packet, .. } => write!(f, "Event({socket:?}, {packet:?})"),
            Effect::Message { session, data } => write!(f, "Message({session:?}, {data:?})"),
            Effect::Disconnecting { socket, reason, .. } => {
                write!(f, "Disconnecting({socket:?}, {reason:?})")
            }
            Effect::Closed {
                session, reason, ..
            } => write!(f, "Closed({session:?}, {reason:?})"),
            Effect::EndProbe { session } => write!(f, "EndProbe({session:?})"),
            Effect::Room { room, change, .. } => write!(f, "Room({room}, {change:?})"),
            Effect::Engine { session, event } => write!(f, "Engine({session:?}, {event:?})"),
            Effect::Resume { session } => write!(f, "Resume({session:?})"),
        }
    }
}

/// What a socket has changed about a room of its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomChange {
    /// It has joined.
    Joined {
        /// As the first one.
        created: bool,
    },
    /// It has left.
    Left {
        /// As the last one.
        deleted: bool,
    },
}

/// What happens on an engine session: see [`Shard::watch`](crate::Shard::watch).
#[derive(Clone, Debug)]
pub enum EngineEvent {
    /// A packet came: its type, as the digit of the protocol (`4` for every message), and its data.
    Packet(u8, EngineData),
    /// A packet was queued.
    PacketCreated(Arc<Message>),
    /// The client has answered a ping.
    Heartbeat,
    /// A WebSocket probes the session.
    Upgrading,
    /// The session has moved to that WebSocket.
    Upgraded,
    /// So many packets that waited are about to be written.
    Flushing(usize),
    /// Everything that waited has been written.
    Drained,
    /// The session is over.
    Closed(CloseReason, &'static str),
}

/// A message of a raw engine session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineData {
    /// Text.
    Text(Arc<str>),
    /// Binary.
    Binary(Bytes),
}
