//! One Engine.IO packet.

use std::borrow::Cow;

use base64::Engine as _;

use super::payload::BASE64;
use crate::{DecodeError, DecodeErrorKind};

/// An Engine.IO v4 packet, borrowing from the text it was read from.
///
/// On a WebSocket a text frame carries a type digit and the data, a binary frame is a
/// [`Packet::Binary`] without any prefix. In a polling payload binary is `b` and base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the handshake answer, a JSON object; see [`OpenPacket`](super::OpenPacket).
    Open(&'a str),
    /// `1`: the sender closes the session.
    Close,
    /// `2`: a heartbeat of the server, or `probe` of an upgrading client.
    Ping(&'a str),
    /// `3`: the answer to a ping, carrying the same data.
    Pong(&'a str),
    /// `4`: a text message.
    Message(&'a str),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// `5`: the client switches to the transport that carries this packet.
    Upgrade,
    /// `6`: nothing; ends a pending poll.
    Noop,
}

impl<'a> Packet<'a> {
    /// Reads a WebSocket text frame or one packet of a polling payload.
    ///
    /// Data behind a `1`, `5` or `6` is ignored, as other servers do.
    ///
    /// # Errors
    ///
    /// When the text is empty, the type unknown or the base64 of a `b` packet invalid (the
    /// standard alphabet, padding optional).
    pub fn from_text(text: &'a str) -> Result<Self, DecodeError> {
        let Some(first) = text.as_bytes().first() else {
            return Err(DecodeErrorKind::EmptyPacket.into());
        };
        if !first.is_ascii() {
            return Err(DecodeErrorKind::UnknownEnginePacket.into());
        }
        let data = &text[1..];
        Ok(match first {
            b'0' => Self::Open(data),
            b'1' => Self::Close,
            b'2' => Self::Ping(data),
            b'3' => Self::Pong(data),
            b'4' => Self::Message(data),
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            b'b' => {
                let bytes = BASE64
                    .decode(data)
                    .map_err(|_| DecodeErrorKind::InvalidBase64)?;
                Self::Binary(Cow::Owned(bytes))
            }
            _ => return Err(DecodeErrorKind::UnknownEnginePacket.into()),
        })
    }

    /// Whether this packet becomes a binary WebSocket frame.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Appends the packet as it stands in a WebSocket frame: text packets with their type digit,
    /// binary ones without prefix (the frame's opcode tells them apart).
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let (digit, data) = match self {
            Self::Open(data) => (b'0', *data),
            Self::Close => (b'1', ""),
            Self::Ping(data) => (b'2', *data),
            Self::Pong(data) => (b'3', *data),
            Self::Message(data) => (b'4', *data),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
            Self::Binary(bytes) => return out.extend_from_slice(bytes),
        };
        out.push(digit);
        out.extend_from_slice(data.as_bytes());
    }

    /// The packet as text, as it stands in a polling payload: binary as `b` and base64.
    pub fn to_text(&self) -> String {
        let mut writer = super::PayloadWriter::new();
        writer.packet(self);
        writer.into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_and_written() {
        let table = [
            ("0{}", Packet::Open("{}")),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong("")),
            ("3probe", Packet::Pong("probe")),
            ("4", Packet::Message("")),
            ("4héllo", Packet::Message("héllo")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("bAQIDBA==", Packet::Binary(Cow::Borrowed(&[1, 2, 3, 4]))),
            ("b", Packet::Binary(Cow::Borrowed(&[]))),
        ];
        for (text, packet) in table {
            assert_eq!(Packet::from_text(text).unwrap(), packet, "{text}");
            assert_eq!(packet.to_text(), text);
        }
    }

    #[test]
    fn tolerated_forms() {
        assert_eq!(Packet::from_text("1bye").unwrap(), Packet::Close);
        assert_eq!(Packet::from_text("6x").unwrap(), Packet::Noop);
        let unpadded = Packet::from_text("bAQIDBA").unwrap();
        assert_eq!(unpadded, Packet::Binary(Cow::Borrowed(&[1, 2, 3, 4])));
    }

    #[test]
    fn refused_forms() {
        let table = [
            ("", DecodeErrorKind::EmptyPacket),
            ("7", DecodeErrorKind::UnknownEnginePacket),
            ("abc", DecodeErrorKind::UnknownEnginePacket),
            ("é", DecodeErrorKind::UnknownEnginePacket),
            ("b!!", DecodeErrorKind::InvalidBase64),
        ];
        for (text, kind) in table {
            assert_eq!(Packet::from_text(text).unwrap_err().kind(), kind, "{text}");
        }
    }

    #[test]
    fn a_binary_frame_has_no_prefix() {
        let mut out = Vec::new();
        Packet::Binary(Cow::Borrowed(b"\x04x")).encode_into(&mut out);
        assert_eq!(out, b"\x04x");
        out.clear();
        Packet::Pong("probe").encode_into(&mut out);
        assert_eq!(out, b"3probe");
    }
}
