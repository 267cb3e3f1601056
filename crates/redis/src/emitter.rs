//! Events for clients from programs that are no servers.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sockeye_cluster::{
    Body, Broadcast, BusKey, Event, Flags, NodeId, Operation, RoomName, Sealer, Selection,
};
use sockeye_protocol::socketio::{ArgsError, Parser, ToArgs};

use crate::Native;
use crate::wire::{Classic, EMITTER, Entry, Message, Sharded, Streams};

/// Emits to the clients of a cluster, of our own nodes or of Node.js servers, without being part of it.
///
/// It has no connection of its own: what it returns is sent over any that the program has, one command
/// after the other.
///
/// ```
/// use sockeye_redis::{Emitter, wire::Classic};
///
/// let emitter = Emitter::classic(Classic::new("socket.io")).of("/chat");
/// let commands = emitter.to("lobby").except("muted").emit("news", ("hello", 1))?;
/// assert_eq!(commands.messages().next().unwrap().channel, "socket.io#/chat#lobby#");
/// // commands.to_pipeline().exec(&mut connection)?;
/// # Ok::<(), sockeye_protocol::socketio::ArgsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Emitter {
    format: Format,
    namespace: Arc<str>,
    selection: Selection,
    flags: Flags,
}

#[derive(Debug, Clone)]
enum Format {
    Native(Arc<(Native, Sealer)>),
    Classic(Arc<Classic>),
    Sharded(Arc<Sharded>),
    Streams(Arc<Streams>),
}

/// What is to be sent to Redis, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing has been sent yet"]
pub struct Commands(Vec<Command>);

/// A command for Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// PUBLISH.
    Publish(Message),
    /// SPUBLISH.
    PublishSharded(Message),
    /// XADD.
    Add(Entry),
}

impl Emitter {
    /// To nodes of ours. `key` must be theirs, if they have one; the clock must be right then.
    pub fn native(native: Native, key: Option<BusKey>) -> Self {
        let incarnation = rand::random();
        let node = NodeId::from(format!("{EMITTER}-{incarnation:016x}"));
        let sealer = Sealer::new(node, incarnation, key);
        Self::new(Format::Native(Arc::new((native, sealer))))
    }

    /// To Node.js servers with the classic adapter, and nodes of ours in that mode.
    pub fn classic(classic: Classic) -> Self {
        Self::new(Format::Classic(Arc::new(classic)))
    }

    /// To Node.js servers with the sharded adapter, and nodes of ours in that mode. Node.js has no
    /// emitter for these.
    pub fn sharded(sharded: Sharded) -> Self {
        Self::new(Format::Sharded(Arc::new(sharded)))
    }

    /// To Node.js servers with the streams adapter, and nodes of ours in that mode.
    pub fn streams(streams: Streams) -> Self {
        Self::new(Format::Streams(Arc::new(streams)))
    }

    fn new(format: Format) -> Self {
        Self {
            format,
            namespace: "/".into(),
            selection: Selection::default(),
            flags: Flags::default(),
        }
    }

    /// In another namespace; a missing `/` at its beginning is added.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Self {
        let slash = if namespace.starts_with('/') { "" } else { "/" };
        Self {
            namespace: format!("{slash}{namespace}").into(),
            ..self.clone()
        }
    }

    /// To the members of a room too. Without any, everybody in the namespace is reached.
    #[must_use]
    pub fn to(&self, room: impl Into<RoomName>) -> Self {
        let mut more = self.clone();
        more.selection.rooms.push(room.into());
        more
    }

    /// Not to the members of a room.
    #[must_use]
    pub fn except(&self, room: impl Into<RoomName>) -> Self {
        let mut more = self.clone();
        more.selection.except.push(room.into());
        more
    }

    /// Dropped for clients that cannot take it at once.
    #[must_use]
    pub fn volatile(&self) -> Self {
        let mut more = self.clone();
        more.flags.volatile = true;
        more
    }

    /// Whether it may be compressed (the default).
    #[must_use]
    pub fn compress(&self, compress: bool) -> Self {
        let mut more = self.clone();
        more.flags.compress = compress;
        more
    }

    /// Emits an event.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be serialised.
    pub fn emit(&self, event: &str, args: impl ToArgs) -> Result<Commands, ArgsError> {
        let event = Event::new(event, args.to_args(Parser::Json)?);
        let broadcast = Broadcast {
            flags: self.flags,
            ..Broadcast::new(self.selection.clone(), event)
        };
        Ok(self.tell(&Operation::Broadcast(broadcast)))
    }

    /// Lets sockets join rooms.
    pub fn sockets_join<T: Into<RoomName>>(&self, rooms: impl IntoIterator<Item = T>) -> Commands {
        self.tell(&Operation::Join {
            selection: self.selection.clone(),
            rooms: rooms.into_iter().map(Into::into).collect(),
        })
    }

    /// Lets sockets leave rooms.
    pub fn sockets_leave<T: Into<RoomName>>(&self, rooms: impl IntoIterator<Item = T>) -> Commands {
        self.tell(&Operation::Leave {
            selection: self.selection.clone(),
            rooms: rooms.into_iter().map(Into::into).collect(),
        })
    }

    /// Disconnects sockets, or their whole connections.
    pub fn disconnect_sockets(&self, close: bool) -> Commands {
        self.tell(&Operation::Disconnect {
            selection: self.selection.clone(),
            close,
        })
    }

    /// Emits an event to the servers.
    ///
    /// # Errors
    ///
    /// When the arguments cannot be serialised.
    pub fn server_side_emit(&self, event: &str, args: impl ToArgs) -> Result<Commands, ArgsError> {
        let event = Event::new(event, args.to_args(Parser::Json)?);
        Ok(self.tell(&Operation::ServerSide(event)))
    }

    fn tell(&self, operation: &Operation) -> Commands {
        let namespace = &*self.namespace;
        Commands(match &self.format {
            Format::Native(native) => {
                let (native, sealer) = &**native;
                let body = Body::Operation(operation.clone());
                let payload = sealer.seal(now_ms(), namespace, &body);
                let channels = native.channels(namespace, operation).into_iter();
                let message = |channel| Message {
                    channel,
                    payload: Bytes::clone(&payload),
                };
                channels.map(message).map(Command::Publish).collect()
            }
            Format::Classic(classic) => {
                let message = classic.operation(EMITTER, namespace, operation);
                vec![Command::Publish(message)]
            }
            Format::Sharded(sharded) => {
                let message = sharded.operation(EMITTER, namespace, operation);
                vec![Command::PublishSharded(message)]
            }
            Format::Streams(streams) => {
                vec![Command::Add(
                    streams.operation(EMITTER, namespace, operation),
                )]
            }
        })
    }
}

impl Commands {
    /// The commands.
    pub fn iter(&self) -> impl Iterator<Item = &Command> {
        self.0.iter()
    }

    /// Those that publish.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.0.iter().filter_map(|command| match command {
            Command::Publish(message) | Command::PublishSharded(message) => Some(message),
            Command::Add(_) => None,
        })
    }

    /// For the `redis` crate; the answers are ignored.
    pub fn to_pipeline(&self) -> redis::Pipeline {
        let mut pipeline = redis::pipe();
        for command in &self.0 {
            match command {
                Command::Publish(Message { channel, payload }) => {
                    pipeline.cmd("PUBLISH").arg(channel).arg(&payload[..])
                }
                Command::PublishSharded(Message { channel, payload }) => {
                    pipeline.cmd("SPUBLISH").arg(channel).arg(&payload[..])
                }
                Command::Add(entry) => {
                    let command = pipeline.cmd("XADD").arg(&entry.stream);
                    command.arg("MAXLEN").arg("~").arg(entry.max_len).arg("*");
                    command.arg(&entry.fields)
                }
            }
            .ignore();
        }
        pipeline
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
