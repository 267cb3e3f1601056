use crate::close_code;
use std::fmt;

/// Why a connection must be closed: the peer broke the protocol or exceeded a limit.
///
/// Send a close frame with [`close_code`](Error::close_code) and [`reason`](Error::reason), then
/// end the connection (RFC 6455 §7.1.7). The [`Reader`](crate::Reader) that returned it answers
/// the same error from then on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ReservedBits,
    ReservedOpCode,
    Unmasked,
    Masked,
    LengthNotMinimal,
    LengthHighBit,
    ControlTooLong,
    ControlFragmented,
    UnexpectedContinuation,
    MessageInterrupted,
    CloseTooShort,
    CloseCode,
    CloseReasonUtf8,
    TextUtf8,
    Inflate,
    FrameTooBig,
    MessageTooBig,
    InflatedTooBig,
}

impl Error {
    /// The code to close with: 1002, 1007 or 1009.
    pub const fn close_code(self) -> u16 {
        match self.0 {
            Kind::TextUtf8 | Kind::CloseReasonUtf8 | Kind::Inflate => close_code::INVALID_PAYLOAD,
            Kind::FrameTooBig | Kind::MessageTooBig | Kind::InflatedTooBig => close_code::TOO_BIG,
            _ => close_code::PROTOCOL_ERROR,
        }
    }

    /// What was wrong, in words short enough for a close frame.
    pub const fn reason(self) -> &'static str {
        match self.0 {
            Kind::ReservedBits => "reserved bit set without an extension that defines it",
            Kind::ReservedOpCode => "reserved opcode",
            Kind::Unmasked => "frames from a client must be masked",
            Kind::Masked => "frames from a server must not be masked",
            Kind::LengthNotMinimal => "payload length not in its shortest form",
            Kind::LengthHighBit => "payload length has its highest bit set",
            Kind::ControlTooLong => "control frame longer than 125 bytes",
            Kind::ControlFragmented => "control frame fragmented",
            Kind::UnexpectedContinuation => "continuation without a message to continue",
            Kind::MessageInterrupted => "new message before the last fragment of another",
            Kind::CloseTooShort => "close frame with half a code",
            Kind::CloseCode => "close code that must not be sent",
            Kind::CloseReasonUtf8 => "close reason is not UTF-8",
            Kind::TextUtf8 => "text is not UTF-8",
            Kind::Inflate => "compressed message cannot be inflated",
            Kind::FrameTooBig => "frame too big",
            Kind::MessageTooBig => "message too big",
            Kind::InflatedTooBig => "message too big after inflating",
        }
    }

    /// A limit of [`Limits`](crate::Limits) was exceeded (1009).
    pub const fn is_too_big(self) -> bool {
        self.close_code() == close_code::TOO_BIG
    }

    /// The peer broke the framing rules (1002).
    pub const fn is_protocol(self) -> bool {
        self.close_code() == close_code::PROTOCOL_ERROR
    }

    /// The payload was not what it claimed to be: bad UTF-8 or bad compressed data (1007).
    pub const fn is_invalid_payload(self) -> bool {
        self.close_code() == close_code::INVALID_PAYLOAD
    }

    /// Text or a close reason was not UTF-8.
    pub const fn is_invalid_utf8(self) -> bool {
        matches!(self.0, Kind::TextUtf8 | Kind::CloseReasonUtf8)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}, {})", self.0, self.close_code())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (close code {})", self.reason(), self.close_code())
    }
}

impl std::error::Error for Error {}
