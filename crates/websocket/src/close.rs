use crate::close_code;
use crate::encode::{close_frame, masked_close_frame, random_mask};
use crate::error::{Error, Kind};
use crate::limits::Role;
use bytes::Bytes;

/// The code and reason of a close frame (RFC 6455 §5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why; one of [`close_code`] or of the ranges for libraries and applications.
    pub code: u16,
    /// The peer's words, at most 123 bytes; may be empty.
    pub reason: String,
}

impl CloseFrame {
    /// Reads the payload of a received close frame: empty, or a code that may be sent and a
    /// reason in UTF-8.
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<CloseFrame>, Error> {
        if payload.is_empty() {
            return Ok(None);
        }
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return Err(Error(Kind::CloseTooShort));
        };
        let code = u16::from_be_bytes(*code);
        if !close_code::is_sendable(code) {
            return Err(Error(Kind::CloseCode));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Error(Kind::CloseReasonUtf8))?;
        Ok(Some(CloseFrame {
            code,
            reason: reason.to_owned(),
        }))
    }
}

/// Who has sent a close frame and who has not (RFC 6455 §7.1).
///
/// Both ends send one; then the server closes the TCP connection first and the client waits for
/// that. The caller gives a deadline to the wait.
///
/// ```
/// use sockeye_websocket::{Closing, Role, close_code};
///
/// let mut closing = Closing::new(Role::Server);
/// let frame = closing.start(close_code::GOING_AWAY, "restarting").expect("the first");
/// assert!(closing.start(close_code::NORMAL, "").is_none(), "only one close frame is sent");
/// assert!(!closing.is_complete());
/// assert!(closing.received(None).is_none(), "already answered by our own");
/// assert!(closing.is_complete());
/// # drop(frame);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    role: Role,
    sent: bool,
    received: bool,
}

impl Closing {
    /// An open connection. A client's frames are masked with [`random_mask`].
    pub const fn new(role: Role) -> Closing {
        Closing {
            role,
            sent: false,
            received: false,
        }
    }

    /// Begins the close handshake: the frame to send, or `None` when one was sent before. After
    /// it no other frame may be sent (RFC 6455 §5.5.1).
    pub fn start(&mut self, code: u16, reason: &str) -> Option<Bytes> {
        let first = !std::mem::replace(&mut self.sent, true);
        first.then(|| match self.role {
            Role::Server => close_frame(code, reason),
            Role::Client => masked_close_frame(code, reason, random_mask()),
        })
    }

    /// Notes the peer's close frame: the answer to send, with the peer's code, or `None` when a
    /// close frame was sent before.
    pub fn received(&mut self, frame: Option<&CloseFrame>) -> Option<Bytes> {
        self.received = true;
        self.start(frame.map_or(close_code::NO_STATUS, |frame| frame.code), "")
    }

    /// Our close frame was handed out.
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// The peer's close frame came.
    pub fn is_received(&self) -> bool {
        self.received
    }

    /// Both were; the connection ends cleanly (RFC 6455 §7.1.4).
    pub fn is_complete(&self) -> bool {
        self.sent && self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_received_close_is_answered_once_with_its_code() {
        let mut closing = Closing::new(Role::Server);
        let frame = CloseFrame {
            code: 4001,
            reason: "bye".to_owned(),
        };
        assert_eq!(
            &closing.received(Some(&frame)).unwrap()[..],
            b"\x88\x02\x0f\xa1"
        );
        assert!(closing.is_complete());
        assert!(closing.received(Some(&frame)).is_none());
        assert!(closing.start(1000, "").is_none());
    }

    #[test]
    fn a_close_without_a_code_is_answered_without_one() {
        let mut server = Closing::new(Role::Server);
        assert_eq!(&server.received(None).unwrap()[..], b"\x88\x00");
        let client = Closing::new(Role::Client).received(None).unwrap();
        assert_eq!(
            (&client[..2], client.len()),
            (&b"\x88\x80"[..], 6),
            "masked"
        );
    }
}
