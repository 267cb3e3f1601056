//! How a single event leaves: emits to one socket, and the encoding that all emits share.

use std::sync::Arc;
use std::time::Duration;

use sockeye_core::{Class, Message, MessageBuilder, Queued, Shard};
use sockeye_protocol::socketio::{Args, Parser, ToArgs, encode_event_into};
use tokio::sync::oneshot;

use crate::error::{AckError, EmitError};
use crate::namespace::NamespaceInner;
use crate::net::{Net, Waiter};
use crate::publish::settled;
use crate::socket::Socket;
use crate::worker::Worker;

/// How a single event leaves.
#[derive(Clone, Debug)]
#[must_use = "call `emit` or `emit_with_ack`"]
pub struct Emitter {
    socket: Socket,
    volatile: bool,
    compress: bool,
    timeout: Option<Duration>,
}

impl Emitter {
    pub(crate) fn new(socket: Socket) -> Self {
        Emitter {
            socket,
            volatile: false,
            compress: true,
            timeout: None,
        }
    }

    /// Drops the event when the connection cannot take it at once.
    pub fn volatile(self) -> Self {
        Emitter {
            volatile: true,
            ..self
        }
    }

    /// Lets the event be compressed, or not.
    pub fn compress(self, compress: bool) -> Self {
        Emitter { compress, ..self }
    }

    /// How long the acknowledgement is awaited.
    pub fn timeout(self, timeout: Duration) -> Self {
        Emitter {
            timeout: Some(timeout),
            ..self
        }
    }

    /// As [`Socket::emit`].
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit(&self, event: &str, args: impl ToArgs) -> Result<Queued, EmitError> {
        let socket = &self.socket;
        let args = socket.prepare(event, args)?;
        if !self.volatile && socket.namespace_inner().is_recoverable() {
            return crate::publish::emit(socket, event, args, self.compress);
        }
        let class = if self.volatile {
            Class::Volatile
        } else {
            Class::Normal
        };
        let message = socket
            .namespace_inner()
            .encode(None, event, &args, class, self.compress);
        EmitError::check(socket.send_in_order(message))
    }

    /// As [`Socket::emit_with_ack`].
    ///
    /// # Errors
    /// As [`Socket::emit_with_ack`].
    pub async fn emit_with_ack(&self, event: &str, args: impl ToArgs) -> Result<Args, AckError> {
        let socket = &self.socket;
        let args = socket.prepare(event, args)?;
        settled(socket.namespace_inner()).await;
        let default = socket.namespace_inner().server().config.ack_timeout;
        let timeout = self.timeout.unwrap_or(default).as_millis() as u64;
        let id = socket.namespace_inner().next_ack_id();
        let class = if self.volatile {
            Class::Volatile
        } else {
            Class::Normal
        };
        let message = socket
            .namespace_inner()
            .encode(Some(id), event, &args, class, self.compress);
        let (sender, receiver) = oneshot::channel();
        let (key, message) = (socket.key(), Arc::new(message));
        let (connection, limit) = (socket.connection(), {
            let config = &socket.namespace_inner().server().config;
            config.core.max_queued_bytes
        });
        let worker = connection.worker.clone();
        let transit = if worker.is_here() {
            None
        } else {
            let Some(transit) = connection.depart(message.cost(), limit) else {
                let connection = connection.clone();
                worker.submit(move |shard| shard.overflow(connection.key()));
                return Err(AckError::from(sockeye_core::AckFailure::Refused));
            };
            Some(transit)
        };
        worker.submit(move |shard| {
            if let Some(transit) = transit {
                transit.arrive(shard);
            }
            if !shard.expect_ack(key, id, timeout, Waiter::One(sender)) {
                return;
            }
            let mut queued = shard.send(key, &message);
            if queued == Queued::Refused {
                let refuse = |shard: &mut Shard<Net>| shard.refuse_ack(key, id);
                queued = Worker::retry_full_within(shard, &message, refuse);
            }
            if queued != Queued::Queued {
                shard.refuse_ack(key, id);
            }
        });
        let answer = receiver
            .await
            .map_err(|_| sockeye_core::AckFailure::Disconnected);
        Ok(answer??)
    }
}

impl NamespaceInner {
    /// A message of this namespace, with room for `event` and `args`.
    pub(crate) fn builder(&self, event: &str, args: &Args) -> MessageBuilder {
        // What the protocol puts around them: type, id, brackets; with MessagePack also keys.
        let capacity = self.name.len() + event.len() + args.byte_len();
        match self.parser {
            Parser::Json => {
                let mut builder = MessageBuilder::text(capacity + 16);
                builder.buffer().push(b'4');
                builder
            }
            Parser::Msgpack => MessageBuilder::binary(capacity + 48),
        }
    }

    pub(crate) fn encode(
        &self,
        id: Option<u64>,
        event: &str,
        args: &Args,
        class: Class,
        compress: bool,
    ) -> Message {
        let mut builder = self.builder(event, args);
        let attachments =
            encode_event_into(builder.buffer(), self.parser, &self.name, id, event, args);
        builder.build(class, compress, &attachments)
    }
}
