//! The error answers of the Engine.IO endpoint.

use std::fmt;

/// The Engine.IO error codes, 0 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// 0: the transport is missing, unknown or not enabled.
    TransportUnknown = 0,
    /// 1: no such session here.
    SessionIdUnknown = 1,
    /// 2: a session can only be opened by GET.
    BadHandshakeMethod = 2,
    /// 3: the request does not fit; [`ErrorContext`] says how.
    BadRequest = 3,
    /// 4: refused by the application.
    Forbidden = 4,
    /// 5: `EIO` is not a supported protocol revision.
    UnsupportedProtocolVersion = 5,
}

impl ErrorCode {
    /// All codes, in order.
    pub const ALL: [Self; 6] = [
        Self::TransportUnknown,
        Self::SessionIdUnknown,
        Self::BadHandshakeMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::UnsupportedProtocolVersion,
    ];

    /// The number on the wire.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The message on the wire; stock clients show it.
    pub fn message(self) -> &'static str {
        match self {
            Self::TransportUnknown => "Transport unknown",
            Self::SessionIdUnknown => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status of a plain request: 403 for [`Forbidden`](Self::Forbidden), otherwise 400.
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The HTTP status of an upgrade request: always 400, with the bare message as `text/html`.
    pub fn upgrade_status(self) -> u16 {
        400
    }

    /// The JSON body of a plain request, `application/json`. The application's own words may
    /// replace the message.
    ///
    /// ```
    /// use sockeye_protocol::engine::ErrorCode;
    ///
    /// let body = ErrorCode::SessionIdUnknown.body(None);
    /// assert_eq!(body, r#"{"code":1,"message":"Session ID unknown"}"#);
    /// ```
    pub fn body(self, message: Option<&str>) -> String {
        let message = message.unwrap_or(self.message());
        // A string always serialises.
        let message = serde_json::to_string(message).unwrap_or_default();
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for ErrorCode {}

/// What exactly was wrong with a refused request: never on the wire, for logs, metrics and hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorContext {
    /// The session lives on another transport than the request's.
    TransportMismatch,
    /// A WebSocket transport without an upgrade, or the handshake failed.
    TransportHandshakeError,
    /// The `Origin` header holds bytes that do not belong there.
    InvalidOrigin,
    /// A handshake middleware failed.
    MiddlewareFailure,
    /// No session id could be made.
    IdGenerationError,
}

impl ErrorContext {
    /// The name Node.js servers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportMismatch => "TRANSPORT_MISMATCH",
            Self::TransportHandshakeError => "TRANSPORT_HANDSHAKE_ERROR",
            Self::InvalidOrigin => "INVALID_ORIGIN",
            Self::MiddlewareFailure => "MIDDLEWARE_FAILURE",
            Self::IdGenerationError => "ID_GENERATION_ERROR",
        }
    }
}

impl fmt::Display for ErrorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_statuses_and_bodies() {
        let table = [
            (0, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (1, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (2, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (3, 400, r#"{"code":3,"message":"Bad request"}"#),
            (4, 403, r#"{"code":4,"message":"Forbidden"}"#),
            (
                5,
                400,
                r#"{"code":5,"message":"Unsupported protocol version"}"#,
            ),
        ];
        for (code, (number, status, body)) in ErrorCode::ALL.into_iter().zip(table) {
            assert_eq!(
                (code.code(), code.status(), code.body(None).as_str()),
                (number, status, body)
            );
            assert_eq!(code.upgrade_status(), 400);
        }
    }

    #[test]
    fn the_application_s_message_is_escaped() {
        let body = ErrorCode::Forbidden.body(Some("no \"entry\""));
        assert_eq!(body, r#"{"code":4,"message":"no \"entry\""}"#);
    }
}
