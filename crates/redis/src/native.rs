//! Where nodes of ours publish.

use std::collections::HashSet;

use sockeye_cluster::{NodeId, Operation};
use sockeye_protocol::engine::SocketId;

/// The names of the channels of a cluster of our own nodes, under a prefix.
///
/// | channel | what |
/// | --- | --- |
/// | `sockeye:all` | what concerns every node: questions, signs of life |
/// | `sockeye:node:eu-1` | answers to one node |
/// | `sockeye:nsp:/chat` | what concerns a whole namespace |
/// | `sockeye:room:5:/chat:lobby` | what concerns one room: only nodes with members hear it |
///
/// Every socket is in a room of its own, named by its id of 20 characters. By default these have no
/// channel: a client that connects then costs Redis nothing, and what is for a single socket of another
/// node goes to the whole namespace. See [`socket_channels`](Native::socket_channels).
///
/// ```
/// use sockeye_redis::Native;
///
/// let native = Native::new("sockeye");
/// assert_eq!(native.room("/chat", "lobby"), "sockeye:room:5:/chat:lobby");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Native {
    prefix: Box<str>,
    socket_channels: bool,
}

impl Native {
    /// An operation for more rooms than this goes to the whole namespace: one message that every node
    /// reads instead of one for each room.
    pub const MAX_ROOMS: usize = 16;

    /// The channels under a prefix.
    pub fn new(prefix: impl Into<Box<str>>) -> Self {
        Self {
            prefix: prefix.into(),
            socket_channels: false,
        }
    }

    /// Gives rooms named like the id of a socket channels too, if much is sent to single sockets of other
    /// nodes and connections come and go slowly. All nodes and emitters must agree. Default false.
    #[must_use]
    pub fn socket_channels(mut self, socket_channels: bool) -> Self {
        self.socket_channels = socket_channels;
        self
    }

    /// The channel of all nodes.
    pub fn all(&self) -> String {
        format!("{}:all", self.prefix)
    }

    /// The channel of one node.
    pub fn node(&self, node: &NodeId) -> String {
        format!("{}:node:{node}", self.prefix)
    }

    /// The channel of a namespace.
    pub fn namespace(&self, namespace: &str) -> String {
        format!("{}:nsp:{namespace}", self.prefix)
    }

    /// Whether a room has a channel, or shares that of its namespace.
    pub fn has_channel(&self, room: &str) -> bool {
        self.socket_channels || SocketId::parse(room).is_err()
    }

    /// The channel of a room that has one. With the length of the namespace in it, no two rooms have the same.
    pub fn room(&self, namespace: &str, room: &str) -> String {
        format!(
            "{}:room:{}:{namespace}:{room}",
            self.prefix,
            namespace.len()
        )
    }

    /// Where an operation is published: once for each room, so that who is in several hears it several
    /// times and takes it once.
    pub fn channels(&self, namespace: &str, operation: &Operation) -> Vec<String> {
        let rooms = operation.selection().map(|selection| &selection.rooms[..]);
        let rooms = rooms.unwrap_or_default();
        let is_shared = rooms.iter().any(|room| !self.has_channel(room));
        if rooms.is_empty() || rooms.len() > Self::MAX_ROOMS || is_shared {
            return vec![self.namespace(namespace)];
        }
        let mut known = HashSet::new();
        let new = rooms.iter().filter(|room| known.insert(&***room));
        new.map(|room| self.room(namespace, room)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use sockeye_cluster::Selection;

    use super::*;

    #[test]
    fn no_two_rooms_share_a_channel() {
        let native = Native::new("p");
        let names = ["", ":", "/a", "/a:", ":b", "/a:b", "1:/a", "b"];
        let mut known = HashMap::new();
        for namespace in names {
            for room in names {
                let other = known.insert(native.room(namespace, room), (namespace, room));
                assert_eq!(other, None);
            }
            assert_eq!(
                known.insert(native.namespace(namespace), (namespace, "")),
                None
            );
        }
    }

    #[test]
    fn rooms_of_sockets_share_the_channel_of_the_namespace() {
        let id = "abcdefghijklmnopqrs_";
        let to = |rooms: &[&str]| Operation::Disconnect {
            selection: Selection::rooms(rooms.iter().copied()),
            close: false,
        };
        let native = Native::new("p");
        assert_eq!(native.channels("/", &to(&[id])), ["p:nsp:/"]);
        assert_eq!(native.channels("/", &to(&["a", id])), ["p:nsp:/"]);
        let native = native.socket_channels(true);
        assert_eq!(native.channels("/", &to(&["a", id])).len(), 2);
    }

    #[test]
    fn many_rooms_are_one_message() {
        let native = Native::new("p");
        let to = |rooms: usize| Operation::Disconnect {
            selection: Selection::rooms((0..rooms).map(|room| room.to_string())),
            close: false,
        };
        assert_eq!(native.channels("/", &to(0)), ["p:nsp:/"]);
        assert_eq!(native.channels("/", &to(16)).len(), 16);
        assert_eq!(native.channels("/", &to(17)), ["p:nsp:/"]);
    }
}
