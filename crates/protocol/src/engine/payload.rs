//! Bodies of HTTP long-polling: packets joined by U+001E.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Packet;
use crate::{DecodeError, DecodeErrorKind};

/// The character between two packets of a polling payload.
pub const SEPARATOR: u8 = 0x1e;

/// How many packets one polling body may carry unless configured otherwise: 32,768.
///
/// Stock clients send everything they buffered in one body, bounded by `maxPayload` only.
pub const DEFAULT_MAX_PACKETS: usize = 32_768;

/// Standard base64; written with padding, read with or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads the packets of a polling body one after the other, without collecting them.
///
/// The first error ends the iteration: the session is closed then (`parse error`), while packets
/// before it count.
///
/// ```
/// use sockeye_protocol::engine::{Packet, Payload};
///
/// let packets: Result<Vec<_>, _> = Payload::new("4hello\u{1e}2").collect();
/// assert_eq!(packets?, [Packet::Message("hello"), Packet::Ping("")]);
/// # Ok::<(), sockeye_protocol::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Payload<'a> {
    rest: Option<&'a str>,
    taken: usize,
    limit: usize,
}

impl<'a> Payload<'a> {
    /// Reads `body` with [`DEFAULT_MAX_PACKETS`].
    pub fn new(body: &'a str) -> Self {
        Self::with_limit(body, DEFAULT_MAX_PACKETS)
    }

    /// Reads `body`, refusing the packet behind the first `limit`.
    pub fn with_limit(body: &'a str, limit: usize) -> Self {
        Self {
            rest: Some(body),
            taken: 0,
            limit,
        }
    }

    /// Reads a body of bytes.
    ///
    /// # Errors
    ///
    /// When the body is not UTF-8.
    pub fn from_bytes(body: &'a [u8], limit: usize) -> Result<Self, DecodeError> {
        let body = std::str::from_utf8(body).map_err(|_| DecodeErrorKind::InvalidUtf8)?;
        Ok(Self::with_limit(body, limit))
    }
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if self.taken == self.limit {
            return Some(Err(
                DecodeErrorKind::TooManyPackets { limit: self.limit }.into()
            ));
        }
        self.taken += 1;
        let packet = match rest.split_once(char::from(SEPARATOR)) {
            Some((packet, rest)) => {
                self.rest = Some(rest);
                packet
            }
            None => rest,
        };
        let packet = Packet::from_text(packet);
        if packet.is_err() {
            self.rest = None;
        }
        Some(packet)
    }
}

/// Writes a polling body.
///
/// The caller bounds it: [`PayloadWriter::len`] says what is written, [`PayloadWriter::cost`]
/// and [`PayloadWriter::binary_cost`] what one more message would add.
#[derive(Debug, Clone, Default)]
pub struct PayloadWriter {
    body: Vec<u8>,
    packets: usize,
}

impl PayloadWriter {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty body with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            body: Vec::with_capacity(bytes),
            packets: 0,
        }
    }

    /// Appends a packet.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Binary(bytes) => self.binary(bytes),
            _ => {
                self.separate();
                packet.encode_into(&mut self.body);
            }
        }
    }

    /// Appends a text packet that is encoded already, type digit first.
    pub fn text(&mut self, packet: &[u8]) {
        self.separate();
        self.body.extend_from_slice(packet);
    }

    /// Appends a text message (`4` and `message`).
    pub fn message(&mut self, message: &[u8]) {
        self.separate();
        self.body.push(b'4');
        self.body.extend_from_slice(message);
    }

    /// Appends a binary message as `b` and base64.
    pub fn binary(&mut self, message: &[u8]) {
        self.separate();
        self.body.push(b'b');
        let start = self.body.len();
        self.body.resize(start + message.len().div_ceil(3) * 4, 0);
        // Cannot fail: padded base64 takes exactly 4 bytes for each 3, which were just made room for.
        let written = BASE64
            .encode_slice(message, &mut self.body[start..])
            .unwrap_or(0);
        debug_assert_eq!(written, self.body.len() - start);
    }

    /// Bytes that an encoded text packet of `len` bytes adds, its separator included.
    pub fn cost(&self, len: usize) -> usize {
        len + usize::from(self.packets > 0)
    }

    /// Bytes that a binary message of `len` bytes adds, its separator included.
    pub fn binary_cost(&self, len: usize) -> usize {
        self.cost(1 + len.div_ceil(3) * 4)
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether no packet was written. An empty body is not a payload: send a noop instead.
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Packets written.
    pub fn packets(&self) -> usize {
        self.packets
    }

    /// The body, `text/plain; charset=UTF-8`.
    pub fn finish(self) -> Vec<u8> {
        self.body
    }

    pub(super) fn into_string(self) -> String {
        // Only used for packets whose data is `str` or base64.
        String::from_utf8(self.body).unwrap_or_default()
    }

    fn separate(&mut self) {
        if self.packets > 0 {
            self.body.push(SEPARATOR);
        }
        self.packets += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_specification_s_sample_payload() {
        let body = "4hello\u{1e}2\u{1e}4world";
        let packets: Vec<_> = Payload::new(body).map(Result::unwrap).collect();
        assert_eq!(
            packets,
            [
                Packet::Message("hello"),
                Packet::Ping(""),
                Packet::Message("world")
            ]
        );
    }

    #[test]
    fn empty_packets_are_errors_and_end_the_iteration() {
        for body in ["", "\u{1e}", "4a\u{1e}", "4a\u{1e}\u{1e}4b"] {
            let mut payload = Payload::new(body);
            let errors = payload.by_ref().filter(Result::is_err).count();
            assert_eq!(errors, 1, "{body:?}");
            assert!(payload.next().is_none());
        }
    }

    #[test]
    fn the_number_of_packets_is_bounded() {
        let body = "6\u{1e}6\u{1e}6";
        assert_eq!(
            Payload::with_limit(body, 3).filter(Result::is_ok).count(),
            3
        );
        let read: Vec<_> = Payload::with_limit(body, 2).collect();
        assert_eq!(read.len(), 3);
        assert_eq!(
            read[2].as_ref().unwrap_err().kind(),
            DecodeErrorKind::TooManyPackets { limit: 2 }
        );
    }

    #[test]
    fn bytes_must_be_utf_8() {
        let error = Payload::from_bytes(b"4\xff", 10).unwrap_err();
        assert!(error.is_syntax());
    }

    #[derive(Debug, Clone)]
    enum Message {
        Text(String),
        Binary(Vec<u8>),
    }

    fn messages() -> impl Strategy<Value = Vec<Message>> {
        let text = "[^\u{1e}]{0,20}".prop_map(Message::Text);
        let binary = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Message::Binary);
        proptest::collection::vec(prop_oneof![text, binary], 1..20)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(messages in messages()) {
            let mut writer = PayloadWriter::new();
            for message in &messages {
                let before = writer.len();
                let cost = match message {
                    Message::Text(text) => writer.cost(1 + text.len()),
                    Message::Binary(bytes) => writer.binary_cost(bytes.len()),
                };
                match message {
                    Message::Text(text) => writer.message(text.as_bytes()),
                    Message::Binary(bytes) => writer.binary(bytes),
                }
                prop_assert_eq!(writer.len() - before, cost);
            }
            prop_assert_eq!(writer.packets(), messages.len());
            let body = writer.finish();
            let read = Payload::from_bytes(&body, messages.len()).unwrap();
            let read: Vec<_> = read.collect::<Result<_, _>>().unwrap();
            let expected: Vec<_> = messages
                .iter()
                .map(|message| match message {
                    Message::Text(text) => Packet::Message(text),
                    Message::Binary(bytes) => Packet::Binary(Cow::Borrowed(bytes)),
                })
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
