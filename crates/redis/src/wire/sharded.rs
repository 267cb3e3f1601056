//! The sharded adapter: `createShardedAdapter` of `@socket.io/redis-adapter` 8.

use bytes::Bytes;
use sockeye_cluster::{Answer, Operation, Request};

use super::{Frame, Message, ReplyTo, Unreadable, cluster, codec};

/// The sharded format under one prefix (the option `channelPrefix` of Node.js, default `socket.io`).
/// Channels are for SSUBSCRIBE and SPUBLISH.
///
/// | channel | what |
/// | --- | --- |
/// | `socket.io#/chat#` | everything that has no other channel |
/// | `socket.io#/chat#uid#` | responses to one node |
/// | `socket.io#/chat#room#` | broadcasts to exactly one room, depending on the mode |
///
/// In the dynamic modes Node.js subscribes to a room while the first socket is joining it and does not
/// wait: what is published at that moment may be missed by Node.js.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharded {
    prefix: Box<str>,
    mode: SubscriptionMode,
}

/// Which rooms have channels of their own: the option `subscriptionMode` of Node.js. All nodes of a
/// cluster must have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SubscriptionMode {
    /// None.
    Static,
    /// All but the rooms of single sockets, which the publisher knows by their length of 20 characters.
    #[default]
    Dynamic,
    /// All.
    DynamicPrivate,
}

impl Sharded {
    /// The format under a prefix.
    pub fn new(prefix: impl Into<Box<str>>, mode: SubscriptionMode) -> Self {
        Self {
            prefix: prefix.into(),
            mode,
        }
    }

    /// The channel that every node of a namespace hears. Its number of subscribers is the number of
    /// servers.
    pub fn channel(&self, nsp: &str) -> String {
        format!("{}#{nsp}#", self.prefix)
    }

    /// The channel that one node hears.
    pub fn node_channel(&self, nsp: &str, uid: &str) -> String {
        format!("{}#{nsp}#{uid}#", self.prefix)
    }

    /// The channel of a room, if it has one for publishers.
    pub fn room_channel(&self, nsp: &str, room: &str) -> Option<String> {
        let has_channel = match self.mode {
            SubscriptionMode::Static => false,
            // JavaScript counts UTF-16 code units.
            SubscriptionMode::Dynamic => room.encode_utf16().count() != 20,
            SubscriptionMode::DynamicPrivate => true,
        };
        has_channel.then(|| format!("{}#{nsp}#{room}#", self.prefix))
    }

    /// Something told.
    pub fn operation(&self, uid: &str, nsp: &str, operation: &Operation) -> Message {
        let room = match operation {
            Operation::Broadcast(broadcast) => match &broadcast.selection.rooms[..] {
                [room] => self.room_channel(nsp, room),
                _ => None,
            },
            _ => None,
        };
        let value = cluster::map(uid, nsp, cluster::operation(nsp, operation));
        Message {
            channel: room.unwrap_or_else(|| self.channel(nsp)),
            payload: encode(&value),
        }
    }

    /// Something asked. `None` for what this format has no request for: [`Request::Count`],
    /// [`Request::Rooms`] and [`Request::Apply`].
    pub fn request(&self, uid: &str, nsp: &str, id: &str, request: &Request) -> Option<Message> {
        let value = cluster::map(uid, nsp, cluster::request(nsp, id, request)?);
        Some(Message {
            channel: self.channel(nsp),
            payload: encode(&value),
        })
    }

    /// Something answered. `None` for what this format has no response for.
    pub fn answer(&self, uid: &str, nsp: &str, to: &ReplyTo, answer: &Answer) -> Option<Message> {
        let value = cluster::map(uid, nsp, cluster::answer(&to.id, answer)?);
        Some(Message {
            channel: self.node_channel(nsp, to.node.as_str()),
            payload: encode(&value),
        })
    }

    /// What came on any of the channels of a namespace.
    ///
    /// # Errors
    ///
    /// When it is no message of this format and namespace.
    pub fn read(&self, nsp: &str, payload: &Bytes) -> Result<Frame, Unreadable> {
        let value = codec::read(payload)?;
        match cluster::read_map(&value)? {
            (found, frame) if found == nsp => Ok(frame),
            _ => Err(Unreadable("another namespace")),
        }
    }
}

/// JSON unless there is binary in it, then MessagePack.
fn encode(value: &sockeye_protocol::socketio::Value) -> Bytes {
    match value.has_binary() {
        true => codec::to_msgpack(value),
        false => codec::to_json(value).into(),
    }
}
