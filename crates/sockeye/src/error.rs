//! Errors that users of the library meet.

use std::fmt;

use serde::Serialize;
use sockeye_core::{AckFailure, Queued, RoomError};
use sockeye_protocol::socketio::ArgsError;

/// What a handler answers when it cannot do what was asked: it is acknowledged as
/// `{"error":{"code","message","data"}}`, the only argument.
#[derive(Clone, PartialEq, Debug)]
pub struct EventError {
    code: Box<str>,
    message: Box<str>,
    data: Option<serde_json::Value>,
}

impl EventError {
    /// An error with a code for programs and a message for people.
    pub fn new(code: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        EventError {
            code: code.into(),
            message: message.into(),
            data: None,
        }
    }

    /// Adds data for programs.
    pub fn with_data(mut self, data: impl Serialize) -> Self {
        self.data = serde_json::to_value(data).ok();
        self
    }

    /// The code `bad_argument`: what came was not what the handler takes.
    pub fn bad_argument(message: impl Into<Box<str>>) -> Self {
        Self::new("bad_argument", message)
    }

    /// The code `internal`: nothing the client did. The cause goes into the log, not to the client.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::warn!(%cause, "a handler's answer could not be made");
        Self::new("internal", "the server could not answer")
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The data, if any.
    pub fn data(&self) -> Option<&serde_json::Value> {
        self.data.as_ref()
    }

    pub(crate) fn to_value(&self) -> serde_json::Value {
        let mut error = serde_json::Map::new();
        error.insert("code".into(), (*self.code).into());
        error.insert("message".into(), (*self.message).into());
        if let Some(data) = &self.data {
            error.insert("data".into(), data.clone());
        }
        serde_json::json!({ "error": error })
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for EventError {}

impl From<ArgsError> for EventError {
    fn from(error: ArgsError) -> Self {
        if error.is_serialize() {
            EventError::internal(error)
        } else {
            EventError::bad_argument(error.to_string())
        }
    }
}

impl From<RoomError> for EventError {
    fn from(error: RoomError) -> Self {
        let code = match error {
            RoomError::TooMany(_) => "too_many_rooms",
            RoomError::Busy => "busy",
            RoomError::Gone => "gone",
        };
        EventError::new(code, error.to_string())
    }
}

impl From<AckError> for EventError {
    fn from(error: AckError) -> Self {
        EventError::new("no_acknowledgement", error.to_string())
    }
}

impl From<EmitError> for EventError {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Args(error) => error.into(),
            other => EventError::new("queue_full", other.to_string()),
        }
    }
}

/// A refused connection: the client's `connect_error` event carries message and data.
#[derive(Clone, PartialEq, Debug)]
pub struct ConnectError {
    message: Box<str>,
    data: Option<serde_json::Value>,
}

impl ConnectError {
    /// A refusal with a message for the client.
    pub fn new(message: impl Into<Box<str>>) -> Self {
        ConnectError {
            message: message.into(),
            data: None,
        }
    }

    /// Adds data for the client.
    pub fn with_data(mut self, data: impl Serialize) -> Self {
        self.data = serde_json::to_value(data).ok();
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The data, if any.
    pub fn data(&self) -> Option<&serde_json::Value> {
        self.data.as_ref()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

impl From<ConnectError> for EventError {
    fn from(error: ConnectError) -> Self {
        EventError {
            code: "refused".into(),
            message: error.message,
            data: error.data,
        }
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        ConnectError::new(message)
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        ConnectError::new(message)
    }
}

impl From<EventError> for ConnectError {
    fn from(error: EventError) -> Self {
        ConnectError {
            message: error.message,
            data: error.data,
        }
    }
}

/// Why an event was not emitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EmitError {
    /// The arguments cannot be written.
    Args(ArgsError),
    /// The event's name is reserved by the protocol.
    Reserved(Box<str>),
    /// The socket is gone, or its connection had no room and was closed.
    Refused,
}

impl EmitError {
    /// Whether the connection is gone or was closed because it did not take what it was sent.
    pub fn is_refused(&self) -> bool {
        matches!(self, EmitError::Refused)
    }

    pub(crate) fn check(queued: Queued) -> Result<Queued, EmitError> {
        if queued == Queued::Refused {
            Err(EmitError::Refused)
        } else {
            Ok(queued)
        }
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmitError::Args(error) => error.fmt(f),
            EmitError::Reserved(name) => {
                write!(
                    f,
                    "the event name `{name}` is reserved by the protocol; choose another"
                )
            }
            EmitError::Refused => f.write_str(
                "the connection is gone or was closed because its outbound queue was full",
            ),
        }
    }
}

impl std::error::Error for EmitError {}

impl From<ArgsError> for EmitError {
    fn from(error: ArgsError) -> Self {
        EmitError::Args(error)
    }
}

/// Why an awaited acknowledgement did not come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckError(pub(crate) AckFailureKind);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AckFailureKind {
    Timeout,
    Disconnected,
    Refused,
    Args(ArgsError),
    Reserved(Box<str>),
}

impl AckError {
    /// The client did not answer in time.
    pub fn is_timeout(&self) -> bool {
        self.0 == AckFailureKind::Timeout
    }

    /// The socket was gone, or went.
    pub fn is_disconnected(&self) -> bool {
        self.0 == AckFailureKind::Disconnected
    }

    /// The event was not sent: the queue was full or too many acknowledgements were outstanding.
    pub fn is_refused(&self) -> bool {
        self.0 == AckFailureKind::Refused
    }

    /// The arguments, or the answer, were not of the right type.
    pub fn is_args(&self) -> bool {
        matches!(self.0, AckFailureKind::Args(_))
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            AckFailureKind::Timeout => f.write_str("the client did not acknowledge in time"),
            AckFailureKind::Disconnected => f.write_str("the socket has been disconnected"),
            AckFailureKind::Refused => f.write_str(
                "not sent: the outbound queue is full or too many acknowledgements are outstanding",
            ),
            AckFailureKind::Args(error) => error.fmt(f),
            AckFailureKind::Reserved(name) => {
                write!(
                    f,
                    "the event name `{name}` is reserved by the protocol; choose another"
                )
            }
        }
    }
}

impl std::error::Error for AckError {}

impl From<AckFailure> for AckError {
    fn from(failure: AckFailure) -> Self {
        AckError(match failure {
            AckFailure::Timeout => AckFailureKind::Timeout,
            AckFailure::Disconnected => AckFailureKind::Disconnected,
            AckFailure::Refused => AckFailureKind::Refused,
        })
    }
}

impl From<ArgsError> for AckError {
    fn from(error: ArgsError) -> Self {
        AckError(AckFailureKind::Args(error))
    }
}

impl From<EmitError> for AckError {
    fn from(error: EmitError) -> Self {
        AckError(match error {
            EmitError::Args(error) => AckFailureKind::Args(error),
            EmitError::Reserved(name) => AckFailureKind::Reserved(name),
            EmitError::Refused => AckFailureKind::Refused,
        })
    }
}
