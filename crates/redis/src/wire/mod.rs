//! What travels between Node.js servers, read and written without I/O.
//!
//! | format | package | what it is made for |
//! | --- | --- | --- |
//! | [`Classic`] | `@socket.io/redis-adapter` 8, `createAdapter`; `@socket.io/redis-emitter` 5 | publish/subscribe on any Redis |
//! | [`Sharded`] | the same package, `createShardedAdapter` | sharded publish/subscribe, Redis 7 |
//! | [`Streams`] | `@socket.io/redis-streams-adapter` 0.3 and its emitter | streams, recovery |
//!
//! Each tells the names of channels and streams, writes operations, requests and answers, and reads
//! whatever comes into a [`Frame`]. What is foreign or hostile is [`Unreadable`]: never a panic.
//!
//! Kinds of adapters must not share a prefix: a classic Node.js server that receives what a sharded one
//! has published on the same channel ends with an uncaught exception.

mod classic;
mod cluster;
mod codec;
mod sharded;
mod streams;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
pub use classic::Classic;
pub use sharded::{Sharded, SubscriptionMode};
use sockeye_cluster::{Answer, NodeId, Operation, Request};
pub use streams::{Entry, Streams};

/// The uid under which emitters speak, which are no nodes.
pub const EMITTER: &str = "emitter";

/// A message for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub channel: String,
    /// What.
    pub payload: Bytes,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// Something is told.
    Operation {
        /// By whom; emitters of the classic format do not always say.
        from: Option<NodeId>,
        /// What.
        operation: Operation,
    },
    /// Something is asked.
    Request {
        /// By whom, and how the answer has to look.
        reply_to: ReplyTo,
        /// What.
        request: Request,
    },
    /// Something is answered.
    Answer {
        /// By whom; the classic format does not say.
        from: Option<NodeId>,
        /// Which request.
        id: Box<str>,
        /// What.
        answer: Answer,
    },
    /// A node lives.
    Heartbeat {
        /// Which one.
        from: NodeId,
        /// It has just started, and wants to hear of the others.
        is_first: bool,
    },
    /// A node ends.
    Close {
        /// Which one.
        from: NodeId,
    },
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// Who has asked; empty when it did not say.
    pub node: NodeId,
    /// By what the answer names the request.
    pub id: Box<str>,
    /// How the answer looks.
    pub form: ReplyForm,
}

/// How an answer looks, where the same question can be asked in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ReplyForm {
    /// As the request has it.
    #[default]
    Usual,
    /// The ids of sockets only: type 0 of the classic format.
    Ids,
    /// The id of the request only: types 2, 3 and 4 of the classic format as older versions ask them.
    Bare,
}

/// It is not of the format that is expected on this channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unreadable(&'static str);

impl Unreadable {
    /// What is missing or wrong: a short name that does not change, for logs.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a message of a Socket.IO adapter: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}
