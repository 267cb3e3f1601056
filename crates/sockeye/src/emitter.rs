//! How a single event leaves: emits to one socket, and the encoding that all emits share.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye_core::{AckFailure, Class, Message, MessageBuilder, Queued, Shard};
use sockeye_protocol::socketio::{Args, Parser, ToArgs, encode_event_into};
use tokio::sync::oneshot;

use crate::error::{AckError, EmitError};
use crate::namespace::NamespaceInner;
use crate::net::{Net, Waiter};
use crate::publish::in_order;
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
    pub fn emit_with_ack(&self, event: &str, args: impl ToArgs) -> AckFuture {
        match self.ask(event, args) {
            Ok(answer) => AckFuture(Asked::Waiting(answer)),
            Err(error) => AckFuture(Asked::Failed(Some(error))),
        }
    }

    fn ask(&self, event: &str, args: impl ToArgs) -> Result<Awaited, AckError> {
        let socket = self.socket.clone();
        let args = socket.prepare(event, args)?;
        let namespace = socket.namespace_inner().clone();
        let default = namespace.server().config.ack_timeout;
        let timeout = self.timeout.unwrap_or(default).as_millis() as u64;
        let id = namespace.next_ack_id();
        let class = if self.volatile {
            Class::Volatile
        } else {
            Class::Normal
        };
        let message = namespace.encode(Some(id), event, &args, class, self.compress);
        let (sender, answer) = oneshot::channel();
        let send = move || send_question(&socket, id, timeout, Arc::new(message), sender);
        let _ = in_order(&namespace, send);
        Ok(answer)
    }
}

type Awaited = oneshot::Receiver<Result<Args, AckFailure>>;

/// Sends an event whose acknowledgement somebody awaits.
fn send_question(
    socket: &Socket,
    id: u64,
    timeout: u64,
    message: Arc<Message>,
    sender: oneshot::Sender<Result<Args, AckFailure>>,
) {
    let (connection, key) = (socket.connection(), socket.key());
    let worker = &connection.worker;
    let mut transit = None;
    if !worker.is_here() {
        let limit = socket
            .namespace_inner()
            .server()
            .config
            .core
            .max_queued_bytes;
        transit = connection.depart(message.cost(), limit);
        if transit.is_none() {
            connection.overflow();
            let _ = sender.send(Err(AckFailure::Refused));
            return;
        }
    }
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
}

/// The acknowledgement of an event that was sent when this was made.
///
/// Whoever does not want to wait for it spawns it; nothing overtakes the event for that.
#[must_use = "it awaits the acknowledgement; where nobody does, `emit` the event"]
pub struct AckFuture(Asked);

enum Asked {
    Waiting(Awaited),
    Failed(Option<AckError>),
}

impl std::fmt::Debug for AckFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AckFuture")
    }
}

impl Future for AckFuture {
    type Output = Result<Args, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || AckError::from(AckFailure::Disconnected);
        match &mut self.0 {
            Asked::Failed(error) => Poll::Ready(Err(error.take().unwrap_or_else(gone))),
            Asked::Waiting(answer) => Pin::new(answer).poll(cx).map(|answer| match answer {
                Ok(answer) => answer.map_err(AckError::from),
                Err(_) => Err(gone()),
            }),
        }
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
