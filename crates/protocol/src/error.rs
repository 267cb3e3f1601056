//! What can be wrong with bytes from a peer.

use std::fmt;

/// Why a packet of a peer was refused.
///
/// After any of these the session cannot go on: the peer and we no longer agree about where a
/// packet begins. The engine closes it with the reason `parse error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
}

/// The kinds of [`DecodeError`], for tables and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// An Engine.IO packet without a single character.
    EmptyPacket,
    /// The first character names no Engine.IO packet type.
    UnknownEnginePacket,
    /// A binary packet in a polling body that is not base64.
    InvalidBase64,
    /// A polling body that is not UTF-8.
    InvalidUtf8,
    /// More packets in one polling body than allowed.
    TooManyPackets {
        /// The limit in force.
        limit: usize,
    },
    /// The open packet is not the JSON object it has to be.
    InvalidOpenPacket,
    /// The first character names no Socket.IO packet type.
    UnknownPacketType,
    /// No or no valid attachment count before the `-` of a binary packet.
    InvalidAttachmentCount,
    /// A packet announces more attachments than allowed.
    TooManyAttachments {
        /// The limit in force.
        limit: usize,
    },
    /// The attachments of one packet are larger than allowed.
    AttachmentsTooLarge {
        /// The limit in force, bytes.
        limit: usize,
    },
    /// A placeholder that names an attachment which the packet does not have.
    InvalidPlaceholder,
    /// A text packet while attachments of the packet before it are due.
    AttachmentExpected,
    /// A binary message that no packet announced.
    UnexpectedAttachment,
    /// A text message on a connection whose parser knows binary messages only.
    UnexpectedText,
    /// The namespace is too long or not text.
    InvalidNamespace,
    /// The acknowledgement id is not an integer of at most 2^53 − 1.
    InvalidAckId,
    /// The payload is not valid JSON.
    InvalidJson {
        /// Where reading stopped, bytes from the start of the packet.
        offset: usize,
    },
    /// The payload is not valid MessagePack.
    InvalidMsgpack {
        /// Where reading stopped, bytes from the start of the packet.
        offset: usize,
    },
    /// Arrays and objects nested deeper than allowed.
    TooDeep {
        /// The limit in force.
        limit: usize,
    },
    /// More arguments than allowed.
    TooManyArgs {
        /// The limit in force.
        limit: usize,
    },
    /// A payload of the wrong kind for the packet: CONNECT wants an object, DISCONNECT none,
    /// events and acknowledgements an array, CONNECT_ERROR a string or an object.
    InvalidPayload,
    /// An event whose name is neither a string nor a number.
    InvalidEventName,
    /// An event name longer than allowed.
    EventNameTooLong {
        /// The limit in force, bytes.
        limit: usize,
    },
    /// An event name that only the libraries themselves may use.
    ReservedEventName,
}

impl DecodeError {
    /// What was wrong.
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Whether a limit was exceeded, rather than a rule of the protocol broken.
    pub fn is_limit(&self) -> bool {
        use DecodeErrorKind as K;
        matches!(
            self.kind,
            K::TooManyPackets { .. }
                | K::TooManyAttachments { .. }
                | K::AttachmentsTooLarge { .. }
                | K::TooDeep { .. }
                | K::TooManyArgs { .. }
                | K::EventNameTooLong { .. }
        )
    }

    /// Whether the payload itself (JSON, MessagePack, base64, UTF-8) is not well-formed.
    pub fn is_syntax(&self) -> bool {
        use DecodeErrorKind as K;
        matches!(
            self.kind,
            K::InvalidJson { .. } | K::InvalidMsgpack { .. } | K::InvalidBase64 | K::InvalidUtf8
        )
    }
}

impl From<DecodeErrorKind> for DecodeError {
    fn from(kind: DecodeErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyPacket => f.write_str("empty packet"),
            Self::UnknownEnginePacket => f.write_str("unknown Engine.IO packet type"),
            Self::InvalidBase64 => f.write_str("binary packet is not base64"),
            Self::InvalidUtf8 => f.write_str("payload is not UTF-8"),
            Self::TooManyPackets { limit } => write!(f, "more than {limit} packets in one payload"),
            Self::InvalidOpenPacket => f.write_str("invalid open packet"),
            Self::UnknownPacketType => f.write_str("unknown Socket.IO packet type"),
            Self::InvalidAttachmentCount => f.write_str("invalid number of attachments"),
            Self::TooManyAttachments { limit } => write!(f, "more than {limit} attachments"),
            Self::AttachmentsTooLarge { limit } => {
                write!(f, "attachments of one packet exceed {limit} bytes")
            }
            Self::InvalidPlaceholder => f.write_str("placeholder without attachment"),
            Self::AttachmentExpected => f.write_str("text while attachments are due"),
            Self::UnexpectedAttachment => f.write_str("binary message that no packet announced"),
            Self::UnexpectedText => f.write_str("text message on a binary parser"),
            Self::InvalidNamespace => f.write_str("invalid namespace"),
            Self::InvalidAckId => f.write_str("invalid acknowledgement id"),
            Self::InvalidJson { offset } => write!(f, "invalid JSON at byte {offset}"),
            Self::InvalidMsgpack { offset } => write!(f, "invalid MessagePack at byte {offset}"),
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit} levels"),
            Self::TooManyArgs { limit } => write!(f, "more than {limit} arguments"),
            Self::InvalidPayload => f.write_str("payload does not fit the packet type"),
            Self::InvalidEventName => f.write_str("event name is neither string nor number"),
            Self::EventNameTooLong { limit } => {
                write!(f, "event name is longer than {limit} bytes")
            }
            Self::ReservedEventName => f.write_str("reserved event name"),
        }
    }
}

impl std::error::Error for DecodeError {}
