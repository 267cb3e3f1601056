//! Frames, written.

use crate::close_code;
use crate::frame::{FIN, MASK, MAX_CONTROL, MAX_HEADER, OpCode, RSV1};
use crate::mask;
use bytes::{BufMut, Bytes};
use std::fmt;
use std::ops::Deref;

/// A server's frame: header and payload in one piece that any number of connections share.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    assemble(opcode, false, payload)
}

/// A text message as one server frame.
pub fn text_frame(text: &str) -> Bytes {
    frame(OpCode::Text, text.as_bytes())
}

/// A binary message as one server frame.
pub fn binary_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Binary, payload)
}

/// A ping from a server; its payload is cut at 125 bytes.
pub fn ping_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Ping, control(payload))
}

/// A pong from a server: send back the ping's payload; cut at 125 bytes.
pub fn pong_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Pong, control(payload))
}

/// A close frame from a server.
///
/// The reason is cut at 123 bytes on a character boundary. A code that must not be sent, such as
/// [`close_code::NO_STATUS`], makes a close frame without code and reason.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    with_close_payload(code, reason, |payload| frame(OpCode::Close, payload))
}

/// A close frame from a client; otherwise as [`close_frame`].
pub fn masked_close_frame(code: u16, reason: &str, mask: [u8; 4]) -> Bytes {
    with_close_payload(code, reason, |payload| {
        masked_frame(OpCode::Close, payload, mask)
    })
}

/// A client's frame, masked with `mask`, which must be fresh and unpredictable for each frame
/// (RFC 6455 §5.3), as [`random_mask`] is.
pub fn masked_frame(opcode: OpCode, payload: &[u8], mask: [u8; 4]) -> Bytes {
    let mut bytes = Vec::with_capacity(MAX_HEADER + payload.len());
    encode_into(&mut bytes, opcode, true, false, Some(mask), payload);
    Bytes::from(bytes)
}

/// A masking key from the thread's cryptographic generator.
pub fn random_mask() -> [u8; 4] {
    rand::random()
}

/// Appends a frame to `buf`. `rsv1` marks the first frame of a compressed message; `mask` is
/// `Some` on the client side only.
pub fn encode_into(
    buf: &mut impl BufMut,
    opcode: OpCode,
    fin: bool,
    rsv1: bool,
    mask: Option<[u8; 4]>,
    payload: &[u8],
) {
    buf.put_slice(&header(opcode, fin, rsv1, mask, payload.len()));
    let Some(key) = mask else {
        buf.put_slice(payload);
        return;
    };
    // Blocks of a multiple of four keep the key aligned.
    let mut block = [0; 1024];
    for piece in payload.chunks(block.len()) {
        let masked = &mut block[..piece.len()];
        masked.copy_from_slice(piece);
        mask::apply(masked, key, 0);
        buf.put_slice(masked);
    }
}

/// The header alone, for a vectored write beside a payload of `len` bytes. A payload that goes
/// with a mask must be masked by the caller.
pub fn header(opcode: OpCode, fin: bool, rsv1: bool, mask: Option<[u8; 4]>, len: usize) -> Header {
    let mut bytes = [0; MAX_HEADER];
    bytes[0] = opcode as u8 | if fin { FIN } else { 0 } | if rsv1 { RSV1 } else { 0 };
    let mut at = match len {
        0..=125 => {
            bytes[1] = len as u8;
            2
        }
        126..=0xFFFF => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    if let Some(key) = mask {
        bytes[1] |= MASK;
        bytes[at..at + 4].copy_from_slice(&key);
        at += 4;
    }
    Header {
        bytes,
        len: at as u8,
    }
}

/// An encoded frame header, 2 to 14 bytes on the stack; dereferences to `[u8]`.
#[derive(Clone, Copy)]
pub struct Header {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({:02x?})", &**self)
    }
}

/// One unmasked frame in exactly as many bytes as it needs.
pub(crate) fn assemble(opcode: OpCode, rsv1: bool, payload: &[u8]) -> Bytes {
    let header = header(opcode, true, rsv1, None, payload.len());
    let mut bytes = Vec::with_capacity(header.len() + payload.len());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(payload);
    Bytes::from(bytes)
}

fn with_close_payload<R>(code: u16, reason: &str, f: impl FnOnce(&[u8]) -> R) -> R {
    if !close_code::is_sendable(code) {
        return f(&[]);
    }
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
    let mut payload = [0; MAX_CONTROL];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    f(&payload[..2 + reason.len()])
}

fn control(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MAX_CONTROL)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.7.
    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(&text_frame("Hello")[..], b"\x81\x05Hello");
        let masked = masked_frame(OpCode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(
            masked[..],
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
        let mut fragments = Vec::new();
        encode_into(&mut fragments, OpCode::Text, false, false, None, b"Hel");
        encode_into(
            &mut fragments,
            OpCode::Continuation,
            true,
            false,
            None,
            b"lo",
        );
        assert_eq!(fragments, b"\x01\x03Hel\x80\x02lo");
        assert_eq!(&ping_frame(b"Hello")[..], b"\x89\x05Hello");
        assert_eq!(binary_frame(&[0; 256])[..4], [0x82, 0x7E, 0x01, 0x00]);
        assert_eq!(
            binary_frame(&[0; 65536])[..10],
            [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]
        );
    }

    /// RFC 6455 §5.2: the shortest form, at each edge.
    #[test]
    fn lengths_take_the_shortest_form() {
        for (len, size) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            assert_eq!(header(OpCode::Binary, true, false, None, len).len(), size);
            let masked = header(OpCode::Binary, true, false, Some([1; 4]), len);
            assert_eq!(masked.len(), size + 4);
        }
    }

    /// RFC 6455 §5.5: control frames carry at most 125 bytes.
    #[test]
    fn control_payloads_are_cut() {
        assert_eq!(ping_frame(&[7; 300]).len(), 127);
        assert_eq!(pong_frame(&[7; 300]).len(), 127);
        let close = close_frame(1000, &"ü".repeat(100));
        assert_eq!(
            close.len(),
            2 + 2 + 122,
            "cut before the character that does not fit"
        );
        assert!(std::str::from_utf8(&close[4..]).is_ok());
    }

    /// RFC 6455 §7.4.1: 1005, 1006 and 1015 must not be set by an endpoint.
    #[test]
    fn codes_that_must_not_be_sent_are_not() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(&close_frame(code, "never")[..], b"\x88\x00");
        }
    }
}
