//! A decoded Socket.IO packet.

use super::{Args, RawArg};
use crate::Text;

/// The largest acknowledgement id: 2^53 − 1, the largest integer that JavaScript counts exactly.
pub const MAX_ACK_ID: u64 = (1 << 53) - 1;

/// Event names that only the libraries themselves may use; incoming ones end the connection.
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Whether `name` may neither be emitted nor received.
pub fn is_reserved_event(name: &str) -> bool {
    // Asked for each event: few names are as long as one of these.
    (7..=14).contains(&name.len()) && RESERVED_EVENTS.contains(&name)
}

/// How packets are put on the wire. Both ends have to use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Parser {
    /// The default parser: JSON text, binary as separate attachments.
    #[default]
    Json,
    /// MessagePack, wire-compatible with the `socket.io-msgpack-parser` package, 3.0.
    Msgpack,
}

/// The types of packets, with their digits on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Joins a namespace, or confirms it.
    Connect = 0,
    /// Leaves a namespace.
    Disconnect = 1,
    /// An event.
    Event = 2,
    /// The answer to an event.
    Ack = 3,
    /// A namespace that was not joined, and why.
    ConnectError = 4,
    /// An event with attachments; exists on the wire of the default parser only.
    BinaryEvent = 5,
    /// An answer with attachments; exists on the wire of the default parser only.
    BinaryAck = 6,
}

impl PacketType {
    /// The number on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The type with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Connect,
            1 => Self::Disconnect,
            2 => Self::Event,
            3 => Self::Ack,
            4 => Self::ConnectError,
            5 => Self::BinaryEvent,
            6 => Self::BinaryAck,
            _ => return None,
        })
    }
}

/// A complete packet.
///
/// It owns one small buffer, shared by its namespace, event name and arguments; the namespace `/`
/// and packets without data need none.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// What it is. Binary events and acknowledgements are [`Event`](PacketType::Event) and
    /// [`Ack`](PacketType::Ack) here, with their attachments in `args`.
    pub kind: PacketType,
    /// The namespace, beginning with `/`.
    pub nsp: Text,
    /// The acknowledgement id: asked for by an event, answered by an acknowledgement.
    pub id: Option<u64>,
    /// The event name of an event, unescaped; a numeric name is the text of its number. Empty for
    /// other packets, and for the empty event that other servers accept (`42` alone).
    pub event: Text,
    /// The arguments of an event without its name, those of an acknowledgement, or the payload of
    /// CONNECT and CONNECT_ERROR as the only argument.
    pub args: Args,
}

impl Packet {
    /// The payload of CONNECT (an object) or CONNECT_ERROR (an object or a string), if any.
    pub fn data(&self) -> Option<RawArg<'_>> {
        match self.kind {
            PacketType::Connect | PacketType::ConnectError => self.args.get(0),
            _ => None,
        }
    }
}
