//! What nodes tell and ask each other.
//!
//! These are the terms in which the rest of Sockeye speaks of a cluster. How they look on the wire is
//! the business of each engine: [`Envelope`](crate::Envelope) is the native form, and that of the
//! Node.js adapters is in the crate that speaks to Redis.

use std::sync::Arc;

use sockeye_protocol::socketio::Args;

use crate::Offset;

/// The name of a room. The id of a socket is a room too.
pub type RoomName = Arc<str>;

/// The room in which all sockets of a user are, on whatever nodes: so users are addressed, counted and
/// routed as any other room is.
///
/// The name begins with U+0001, which no room of an application does.
///
/// ```
/// use sockeye_cluster::{room_user, user_room};
///
/// assert_eq!(room_user(&user_room("ada")), Some("ada"));
/// assert_eq!(room_user("lobby"), None);
/// ```
pub fn user_room(user: &str) -> RoomName {
    format!("{USER_ROOM}{user}").into()
}

/// The user whose room this is, if it is one.
pub fn room_user(room: &str) -> Option<&str> {
    room.strip_prefix(USER_ROOM)
}

const USER_ROOM: &str = "\u{1}user:";

/// Which sockets of a namespace: the union of the rooms, minus the exceptions, each socket once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The rooms; none means everybody in the namespace.
    pub rooms: Vec<RoomName>,
    /// Whose members are left out.
    pub except: Vec<RoomName>,
}

/// How a broadcast is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// Dropped for connections that cannot take it at once.
    pub volatile: bool,
    /// Whether it may be compressed. Default true.
    pub compress: bool,
    /// How long acknowledgements are awaited, in milliseconds.
    pub timeout_ms: Option<u64>,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            volatile: false,
            compress: true,
            timeout_ms: None,
        }
    }
}

/// The name of an event and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The name.
    pub name: Arc<str>,
    /// The arguments, in the form in which they came or were written.
    pub args: Args,
}

/// An event for sockets.
#[derive(Debug, Clone, PartialEq)]
pub struct Broadcast {
    /// Which sockets.
    pub selection: Selection,
    /// How.
    pub flags: Flags,
    /// What.
    pub event: Event,
    /// Its place in the sequence of recoverable events, if it has one: it is the last argument for
    /// clients that can be recovered.
    pub offset: Option<Offset>,
}

/// What is told: nobody answers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// An event for sockets.
    Broadcast(Broadcast),
    /// Sockets join rooms.
    Join {
        /// Which sockets.
        selection: Selection,
        /// What they join.
        rooms: Vec<RoomName>,
    },
    /// Sockets leave rooms.
    Leave {
        /// Which sockets.
        selection: Selection,
        /// What they leave.
        rooms: Vec<RoomName>,
    },
    /// Sockets are disconnected.
    Disconnect {
        /// Which sockets.
        selection: Selection,
        /// Whether the whole connection goes, not only the namespace.
        close: bool,
    },
    /// An event for the servers, not for sockets.
    ServerSide(Event),
}

/// What is asked: every node answers for its own sockets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// An event that sockets acknowledge: each node answers [`Answer::Clients`] first, then as many
    /// [`Answer::Ack`] as sockets do.
    Broadcast(Broadcast),
    /// Who is there: [`Answer::Sockets`].
    FetchSockets(Selection),
    /// How many are there: [`Answer::Count`].
    Count(Selection),
    /// The rooms: [`Answer::Rooms`].
    Rooms,
    /// An event for the servers: [`Answer::ServerSide`].
    ServerSide(Event),
    /// Something to be done, and to be told when it is in force: [`Answer::Done`].
    Apply(Operation),
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// To so many sockets it sent the event.
    Clients(u64),
    /// A socket has acknowledged.
    Ack {
        /// Which one; Node.js does not say.
        socket: Option<Arc<str>>,
        /// With what. Node.js passes on the first argument only.
        args: Args,
    },
    /// The sockets that were asked for.
    Sockets(Vec<SocketDetails>),
    /// Their number.
    Count(u64),
    /// The rooms that have members.
    Rooms(Vec<RoomSize>),
    /// What a server answers to an event.
    ServerSide(Args),
    /// It is done.
    Done,
    /// This node does not take part in the namespace. Engines say and take this among themselves;
    /// whoever asked does not see it.
    Absent,
}

/// A socket of another node.
#[derive(Debug, Clone, PartialEq)]
pub struct SocketDetails {
    /// Its id.
    pub id: Arc<str>,
    /// Its rooms, its id included.
    pub rooms: Vec<RoomName>,
    /// Its handshake, an object as in Node.js, as the only argument; none where only ids were asked
    /// for.
    pub handshake: Args,
    /// Its data, as the only argument; none where only ids were asked for.
    pub data: Args,
}

/// A room of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSize {
    /// Its name.
    pub name: RoomName,
    /// Its members on that node; Node.js does not say.
    pub sockets: Option<u64>,
}

impl Selection {
    /// Everybody in the namespace.
    pub fn all() -> Self {
        Self::default()
    }

    /// The members of rooms.
    pub fn rooms<T: Into<RoomName>>(rooms: impl IntoIterator<Item = T>) -> Self {
        Self {
            rooms: rooms.into_iter().map(Into::into).collect(),
            except: Vec::new(),
        }
    }

    /// All sockets of a user.
    pub fn user(user: &str) -> Self {
        Self::rooms([user_room(user)])
    }

    /// Leaves the members of rooms out.
    #[must_use]
    pub fn except<T: Into<RoomName>>(mut self, rooms: impl IntoIterator<Item = T>) -> Self {
        self.except.extend(rooms.into_iter().map(Into::into));
        self
    }
}

impl Event {
    /// An event.
    pub fn new(name: impl Into<Arc<str>>, args: Args) -> Self {
        Self {
            name: name.into(),
            args,
        }
    }
}

impl Broadcast {
    /// An event for sockets, with no flag set.
    pub fn new(selection: Selection, event: Event) -> Self {
        Self {
            selection,
            flags: Flags::default(),
            event,
            offset: None,
        }
    }
}

impl Operation {
    /// The rooms by which its messages may be routed: when there are some, nobody else is concerned.
    pub fn selection(&self) -> Option<&Selection> {
        match self {
            Self::Broadcast(Broadcast { selection, .. })
            | Self::Join { selection, .. }
            | Self::Leave { selection, .. }
            | Self::Disconnect { selection, .. } => Some(selection),
            Self::ServerSide(_) => None,
        }
    }
}

impl Request {
    /// Whether `answer` is one of the kind that this request gets.
    pub fn takes(&self, answer: &Answer) -> bool {
        matches!(
            (self, answer),
            (Self::Broadcast(_), Answer::Clients(_) | Answer::Ack { .. })
                | (Self::FetchSockets(_), Answer::Sockets(_))
                | (Self::Count(_), Answer::Count(_))
                | (Self::Rooms, Answer::Rooms(_))
                | (Self::ServerSide(_), Answer::ServerSide(_))
                | (Self::Apply(_), Answer::Done)
                | (_, Answer::Absent)
        )
    }
}
