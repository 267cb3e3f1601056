//! Why a request of a client is refused: the error codes of the contract that are ours. The
//! library adds `queue_full` and `internal`.

use std::fmt;

/// A refused request. [`code`](Self::code) is for programs, the text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An argument is missing, of the wrong type or out of bounds; or no such event.
    BadArgument(String),
    /// Not a name of a room.
    RoomName(&'static str),
    /// Publishing to a room that the caller has not joined.
    NotAMember(String),
    /// The caller is in as many rooms as it may be.
    TooManyRooms(usize),
}

impl Refusal {
    /// The code on the wire; it never changes.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::BadArgument(_) => "bad_argument",
            Self::RoomName(_) => "room_name",
            Self::NotAMember(_) => "not_a_member",
            Self::TooManyRooms(_) => "too_many_rooms",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadArgument(reason) => f.write_str(reason),
            Self::RoomName(reason) => write!(f, "a room's name {reason}"),
            Self::NotAMember(_) => f.write_str("join the room before publishing to it"),
            Self::TooManyRooms(limit) => write!(f, "a connection may be in {limit} rooms"),
        }
    }
}
