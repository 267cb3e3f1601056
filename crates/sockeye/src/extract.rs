//! What a handler may take: extractors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use sockeye_protocol::Text;
use sockeye_protocol::engine::CloseReason;
use sockeye_protocol::socketio::{Args, ArgsError, Packet, PacketType, Parser, ToArgs};

use crate::data::Data;
use crate::error::{EmitError, EventError};
use crate::namespace::Namespace;
use crate::server::Server;
use crate::socket::Socket;

/// What an event offers to the extractors of its handler.
pub struct Context {
    pub(crate) socket: Socket,
    pub(crate) packet: Box<Packet>,
    pub(crate) reason: Option<DisconnectReason>,
    next: usize,
    ack_taken: bool,
    /// Whether the event was answered, where several may do so.
    answered: Option<Arc<AtomicBool>>,
}

impl Context {
    pub(crate) fn of_event(socket: Socket, packet: Box<Packet>) -> Self {
        Context {
            socket,
            packet,
            reason: None,
            next: 0,
            ack_taken: false,
            answered: None,
        }
    }

    /// The context of something that is no event: a connection, a disconnection, a middleware.
    pub(crate) fn of_socket(socket: Socket, args: Args, reason: Option<DisconnectReason>) -> Self {
        let packet = Packet {
            kind: PacketType::Connect,
            nsp: Text::default(),
            id: None,
            event: Text::default(),
            args,
        };
        Context {
            socket,
            packet: Box::new(packet),
            reason,
            next: 0,
            ack_taken: false,
            answered: None,
        }
    }

    pub(crate) fn again(&self) -> Self {
        Context {
            socket: self.socket.clone(),
            packet: self.packet.clone(),
            reason: self.reason,
            next: 0,
            ack_taken: false,
            answered: self.answered.clone(),
        }
    }

    /// Whether the event was answered, shared by all its listeners: who sets it may answer.
    pub(crate) fn share_answer(&mut self) -> Arc<AtomicBool> {
        self.answered.get_or_insert_default().clone()
    }

    pub(crate) fn parser(&self) -> Parser {
        self.socket.parser()
    }

    /// Once [`Ack`] was taken: whether it has answered.
    pub(crate) fn ack_taken(&self) -> Option<Arc<AtomicBool>> {
        self.answered.clone().filter(|_| self.ack_taken)
    }

    /// The socket the event came on.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The event's name.
    pub fn event(&self) -> &str {
        &self.packet.event
    }

    /// All arguments.
    pub fn args(&self) -> &Args {
        &self.packet.args
    }

    /// The position of the next argument that was not taken.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Takes the next argument as a `T`.
    ///
    /// # Errors
    /// When it is missing (and a `T` is not made of `null`) or of another type.
    pub fn next_argument<T: DeserializeOwned>(&mut self) -> Result<T, EventError> {
        let position = self.next;
        self.next += 1;
        argument(&self.packet.args, position).map_err(|error| {
            EventError::bad_argument(format!("argument {}: {error}", position + 1))
        })
    }
}

/// Types that a handler may take.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from an event",
    label = "not an extractor",
    note = "an argument of the event is taken as `Data<{Self}>`; all of them as `Args`"
)]
pub trait FromEvent: Sized + Send + 'static {
    /// Takes the value out of the event.
    ///
    /// # Errors
    /// What is acknowledged to the client instead of calling the handler.
    fn from_event(context: &mut Context) -> Result<Self, EventError>;
}

impl FromEvent for Socket {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        Ok(context.socket.clone())
    }
}

impl FromEvent for Namespace {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        Ok(context.socket.namespace())
    }
}

impl FromEvent for Server {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        Ok(context.socket.server())
    }
}

impl<T: DeserializeOwned + Send + 'static> FromEvent for Data<T> {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        context.next_argument().map(Data)
    }
}

/// The remaining arguments, raw: those that no extractor before took.
impl FromEvent for Args {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        let position = context.next;
        let args = &context.packet.args;
        context.next = args.len();
        Ok(if position == 0 {
            args.clone()
        } else {
            args.skip(position)
        })
    }
}

impl FromEvent for Ack {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        context.ack_taken = true;
        let sent = context.share_answer();
        Ok(Ack {
            socket: context.socket.clone(),
            id: context.packet.id,
            sent,
        })
    }
}

impl FromEvent for EventName {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        Ok(EventName(context.packet.event.clone()))
    }
}

impl FromEvent for DisconnectReason {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        let none = || EventError::new("internal", "no disconnection is being handled");
        context.reason.ok_or_else(none)
    }
}

/// State shared by all handlers, as given to [`crate::ServerBuilder::state`].
#[derive(Clone, Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> std::ops::Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> FromEvent for State<T> {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        let state = context.socket.server().state::<T>();
        state.map(State).ok_or_else(|| {
            let name = std::any::type_name::<T>();
            EventError::internal(format!(
                "no state of type {name}: call `ServerBuilder::state`"
            ))
        })
    }
}

/// The name of an event.
#[derive(Clone, Debug)]
pub struct EventName(pub(crate) Text);

impl EventName {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl std::ops::Deref for EventName {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

/// What the client gave as `auth` when it connected to the namespace, as a `T`.
#[derive(Clone, Debug)]
pub struct Auth<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromEvent for Auth<T> {
    fn from_event(context: &mut Context) -> Result<Self, EventError> {
        context
            .socket
            .auth()
            .map(Auth)
            .map_err(|error| EventError::bad_argument(format!("auth: {error}")))
    }
}

/// Why a socket was disconnected, in the words of the Socket.IO documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DisconnectReason {
    pub(crate) reason: CloseReason,
    pub(crate) detail: &'static str,
}

impl DisconnectReason {
    /// The reason as Node.js names it: `transport close`, `ping timeout` …
    pub fn as_str(self) -> &'static str {
        self.reason.as_str()
    }

    /// The reason.
    pub fn reason(self) -> CloseReason {
        self.reason
    }

    /// More about it, where more is known: which limit was reached. Empty otherwise.
    pub fn detail(self) -> &'static str {
        self.detail
    }
}

impl std::fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The right to acknowledge an event. A handler that takes it answers when it wants to, once;
/// what the handler returns is then not sent.
#[derive(Clone)]
pub struct Ack {
    socket: Socket,
    id: Option<u64>,
    sent: Arc<AtomicBool>,
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ack({:?})", self.id)
    }
}

impl Ack {
    /// Whether the client asked for an acknowledgement.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Answers, unless the event was answered before or the client did not ask.
    ///
    /// # Errors
    /// When the arguments cannot be written or the connection is gone.
    pub fn send(&self, args: impl ToArgs) -> Result<(), EmitError> {
        let Some(id) = self.id else { return Ok(()) };
        let args = args.to_args(self.socket.parser())?;
        if self.sent.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.socket.send_ack(id, &args)
    }

    /// Answers with an error.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn error(&self, error: &EventError) -> Result<(), EmitError> {
        self.send((error.to_value(),))
    }
}

/// The argument at `position` as a `T`; a missing one is `null`.
pub(crate) fn argument<T: DeserializeOwned>(args: &Args, position: usize) -> Result<T, ArgsError> {
    match args.get(position) {
        Some(raw) => raw.deserialize(),
        None => {
            T::deserialize(serde_json::Value::Null).map_err(|_| serde::de::Error::custom("missing"))
        }
    }
}
