//! The native form of what nodes tell each other: a compact binary envelope.
//!
//! Layout of version 1. Numbers are LEB128, at most ten bytes; texts are UTF-8 behind their length.
//!
//! | part | bytes |
//! | --- | --- |
//! | magic | `c1`, which begins neither JSON nor MessagePack |
//! | version | `01` |
//! | flags | bit 0: authenticated |
//! | kind | what the body is |
//! | node | text: who sends |
//! | incarnation | 8, random for each start of a node |
//! | sequence | number: grows with each message of the incarnation |
//! | time | number: milliseconds since 1970 by the sender's clock |
//! | namespace | text |
//! | body | depends on the kind |
//! | tag | 32, if authenticated: HMAC-SHA256 of all before it |

mod auth;
mod read;
mod replay;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub use auth::BusKey;
use replay::Windows;

use crate::{Answer, NodeId, Operation, Request};

const MAGIC: u8 = 0xc1;
const VERSION: u8 = 1;
const AUTHENTICATED: u8 = 1;

/// A message between nodes of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Who sends it.
    pub node: NodeId,
    /// Which start of that node.
    pub incarnation: u64,
    /// Its number among the messages of that incarnation.
    pub sequence: u64,
    /// When it was sent: milliseconds since 1970, by the sender's clock.
    pub sent_ms: u64,
    /// The namespace it belongs to; empty for what concerns nodes only.
    pub namespace: Arc<str>,
    /// What it says.
    pub body: Body,
}

/// What a message between nodes says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// Something to do.
    Operation(Operation),
    /// Something to answer.
    Request {
        /// By what the answers name it.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// An answer.
    Answer {
        /// The request.
        id: u64,
        /// Who has asked; others ignore it.
        to: NodeId,
        /// The answer.
        answer: Answer,
    },
    /// A node has started; the others answer with a heartbeat.
    Hello,
    /// A node lives.
    Heartbeat,
    /// A node ends.
    Goodbye,
}

/// Why a message was not opened. None of these is a reason to stop listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// It is not of this format at all: somebody else uses the same names.
    Foreign,
    /// It is of a version that this node does not know.
    Version(u8),
    /// It is of this format, but cannot be read.
    Malformed,
    /// It is not authenticated with this cluster's key, or is although this node has none.
    Unauthenticated,
    /// It was there before, or is too old to tell.
    Replayed,
    /// It is authenticated, and its time is too far from this node's.
    Stale,
    /// This node has sent it itself.
    Own,
}

impl Refused {
    /// Whether this is what comes back from an engine that sends to everybody.
    pub fn is_own(self) -> bool {
        self == Self::Own
    }

    /// A short name that does not change, for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Version(_) => "version",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Replayed => "replayed",
            Self::Stale => "stale",
            Self::Own => "own",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version} of the bus is unknown"),
            Self::Foreign => f.write_str("not a message of the bus"),
            Self::Malformed => f.write_str("the message is malformed"),
            Self::Unauthenticated => f.write_str("the message is not authenticated"),
            Self::Replayed => f.write_str("the message was there before"),
            Self::Stale => f.write_str("the message is not of this time"),
            Self::Own => f.write_str("the message is this node's own"),
        }
    }
}

impl std::error::Error for Refused {}

/// Writes the messages of one incarnation of a node.
///
/// The order of sequence numbers must be the order in which messages are sent to the same receiver:
/// seal and send under one lock. See [`Opener`].
#[derive(Debug)]
pub struct Sealer {
    node: NodeId,
    incarnation: u64,
    key: Option<BusKey>,
    next: AtomicU64,
}

impl Sealer {
    /// `incarnation` is random, so that it is another one for each start of any node. With a key,
    /// messages are authenticated.
    pub fn new(node: NodeId, incarnation: u64, key: Option<BusKey>) -> Self {
        Self {
            node,
            incarnation,
            key,
            next: AtomicU64::new(1),
        }
    }

    /// The node that it writes for.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// The incarnation that it writes for.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Writes a message.
    pub fn seal(&self, now_ms: u64, namespace: &str, body: &Body) -> Bytes {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let mut out = Vec::with_capacity(128);
        let flags = if self.key.is_some() { AUTHENTICATED } else { 0 };
        out.extend_from_slice(&[MAGIC, VERSION, flags, write::kind(body)]);
        write::text(&mut out, self.node.as_str());
        out.extend_from_slice(&self.incarnation.to_be_bytes());
        write::number(&mut out, sequence);
        write::number(&mut out, now_ms);
        write::text(&mut out, namespace);
        write::body(&mut out, body);
        if let Some(key) = &self.key {
            let tag = key.tag(&out);
            out.extend_from_slice(&tag);
        }
        out.into()
    }
}

/// Reads the messages of other nodes and refuses what is not theirs.
///
/// Every message of an incarnation is taken once: so one that comes on several ways, because it is
/// addressed to several rooms, is delivered once, and a recorded one cannot be played again. It may
/// arrive up to [`Opener::WINDOW`] messages out of order; what is older is refused.
///
/// With a key, times must also agree within [`Opener::TOLERANCE_MS`]: this is what remains against
/// the replay of messages from before this node has started, and of nodes that have been forgotten.
#[derive(Debug)]
pub struct Opener {
    own: u64,
    key: Option<BusKey>,
    windows: Windows,
}

impl Opener {
    /// How many messages of one incarnation may overtake one of them.
    pub const WINDOW: u64 = replay::WIDTH;

    /// How far the clocks of authenticated nodes may be apart, in milliseconds.
    pub const TOLERANCE_MS: u64 = 30_000;

    /// `own` is the incarnation of this node, whose messages come back as [`Refused::Own`].
    pub fn new(own: u64, key: Option<BusKey>) -> Self {
        Self {
            own,
            key,
            windows: Windows::default(),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// When it is not one for this node; it is then to be counted and ignored.
    pub fn open(&mut self, now_ms: u64, message: &Bytes) -> Result<Envelope, Refused> {
        let (mut reader, kind) = self.verified(message)?;
        let malformed = |_| Refused::Malformed;
        let node = reader.text().map_err(malformed)?;
        if node.is_empty() || node.len() > NodeId::MAX_LEN {
            return Err(Refused::Malformed);
        }
        let node = NodeId::from(node);
        let incarnation = reader.fixed().map_err(malformed)?;
        if incarnation == self.own {
            return Err(Refused::Own);
        }
        let sequence = reader.number().map_err(malformed)?;
        let sent_ms = reader.number().map_err(malformed)?;
        if self.key.is_some() && sent_ms.abs_diff(now_ms) > Self::TOLERANCE_MS {
            return Err(Refused::Stale);
        }
        // Before the body is read: a copy costs little.
        if self.windows.has(incarnation, sequence) {
            return Err(Refused::Replayed);
        }
        let namespace = reader.text().map_err(malformed)?.into();
        let body = read::body(&mut reader, kind).map_err(malformed)?;
        if !reader.is_empty() {
            return Err(Refused::Malformed);
        }
        // After it: what cannot be read leaves no trace.
        self.windows.note(incarnation, sequence, now_ms);
        Ok(Envelope {
            node,
            incarnation,
            sequence,
            sent_ms,
            namespace,
            body,
        })
    }

    /// What is behind the flags, once the tag is known to be right, and the kind of the body.
    fn verified<'a>(&self, message: &'a Bytes) -> Result<(read::Reader<'a>, u8), Refused> {
        let (version, flags, kind) = match message.get(..4) {
            Some(&[MAGIC, version, flags, kind]) => (version, flags, kind),
            _ => return Err(Refused::Foreign),
        };
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        if flags & !AUTHENTICATED != 0 {
            return Err(Refused::Malformed);
        }
        let end = match (&self.key, flags & AUTHENTICATED != 0) {
            (None, false) => message.len(),
            (Some(key), true) => key.verify(message).ok_or(Refused::Unauthenticated)?,
            _ => return Err(Refused::Unauthenticated),
        };
        Ok((read::Reader::new(message, 4, end), kind))
    }
}
