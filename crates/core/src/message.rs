//! A packet on its way out: encoded once, shared by every connection it goes to.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// How important a packet is to its connection, in the order in which a full queue keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Class {
    /// Dropped whenever the connection cannot take it at once.
    Volatile,
    /// Kept; a queue that has no room for it ends the connection as a slow consumer.
    Normal,
    /// Heartbeats, CONNECT, DISCONNECT: never dropped, not counted against the limit.
    Control,
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PONG: u8 = 10;

/// Room kept in front of the first part for the largest server frame header (RFC 6455 §5.2).
const HEADER_ROOM: usize = 10;

/// One engine message (and its binary attachments), with its wire forms.
///
/// The first part is built with room for a WebSocket frame header in front, so that the
/// WebSocket frame and the polling text are the same bytes, seen through different windows.
#[derive(Debug)]
pub struct Message {
    buffer: Vec<u8>,
    frame_at: u8,
    opcode: u8,
    class: Class,
    compress: bool,
    attachments: Option<Box<[Attachment]>>,
    /// Compressed forms by window size, 9 to 15 bits; made when first asked for.
    deflated: OnceLock<Box<[OnceLock<Option<Bytes>>; 7]>>,
    conflation_key: Option<Arc<str>>,
}

#[derive(Debug)]
struct Attachment {
    data: Bytes,
    header: ([u8; HEADER_ROOM], u8),
}

/// Collects the bytes of a message's first part.
#[derive(Debug)]
pub struct MessageBuilder {
    buffer: Vec<u8>,
    opcode: u8,
}

impl MessageBuilder {
    /// A text message of about `capacity` bytes; the Engine.IO type digit is part of what the
    /// caller writes.
    pub fn text(capacity: usize) -> Self {
        Self::with_capacity(capacity, TEXT)
    }

    /// A binary message (the msgpack parser); Engine.IO v4 gives it no prefix.
    pub fn binary(capacity: usize) -> Self {
        Self::with_capacity(capacity, BINARY)
    }

    fn with_capacity(capacity: usize, opcode: u8) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_ROOM + capacity);
        buffer.extend_from_slice(&[0; HEADER_ROOM]);
        MessageBuilder { buffer, opcode }
    }

    /// Where to write the payload. Only append.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Seals the message.
    pub fn build(mut self, class: Class, compress: bool, attachments: &[Bytes]) -> Message {
        let (header, header_len) = frame_header(self.opcode, self.buffer.len() - HEADER_ROOM);
        let frame_at = HEADER_ROOM - header_len as usize;
        if self.buffer.capacity() - self.buffer.len() > 64 {
            // It may wait in queues for long; a little too much room is cheaper than a copy.
            self.buffer.shrink_to_fit();
        }
        self.buffer[frame_at..HEADER_ROOM].copy_from_slice(&header[..header_len as usize]);
        let attachments = (!attachments.is_empty()).then(|| {
            attachments
                .iter()
                .map(|data| Attachment {
                    header: frame_header(BINARY, data.len()),
                    data: data.clone(),
                })
                .collect()
        });
        Message {
            buffer: self.buffer,
            frame_at: frame_at as u8,
            opcode: self.opcode,
            class,
            compress,
            attachments,
            deflated: OnceLock::new(),
            conflation_key: None,
        }
    }
}

/// An unmasked, final server frame header: RFC 6455 §5.2 with minimal length encoding.
fn frame_header(opcode: u8, len: usize) -> ([u8; HEADER_ROOM], u8) {
    let mut header = [0; HEADER_ROOM];
    header[0] = 0x80 | opcode;
    match len {
        0..=125 => {
            header[1] = len as u8;
            (header, 2)
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            (header, 4)
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            (header, 10)
        }
    }
}

impl Message {
    /// A text message of `payload`, Engine.IO type digit included.
    pub fn text(payload: &str, class: Class) -> Self {
        let mut builder = MessageBuilder::text(payload.len());
        builder.buffer.extend_from_slice(payload.as_bytes());
        builder.build(class, false, &[])
    }

    /// A binary message.
    pub fn binary(payload: &[u8], class: Class) -> Self {
        let mut builder = MessageBuilder::with_capacity(payload.len(), BINARY);
        builder.buffer.extend_from_slice(payload);
        builder.build(class, false, &[])
    }

    /// A WebSocket pong (RFC 6455 §5.5.3). It counts like any other message: a peer that floods us
    /// with pings and does not read the answers is a slow consumer.
    pub fn pong(payload: &[u8]) -> Self {
        let mut builder = MessageBuilder::with_capacity(payload.len(), PONG);
        builder.buffer.extend_from_slice(payload);
        builder.build(Class::Normal, false, &[])
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether the sender allows compression.
    pub fn compress(&self) -> bool {
        self.compress
    }

    /// The key under which a later message may replace this one, if any.
    pub fn conflation_key(&self) -> Option<&Arc<str>> {
        self.conflation_key.as_ref()
    }

    /// Lets a later message with the same key replace this one while it waits.
    pub fn with_conflation_key(mut self, key: Arc<str>) -> Self {
        self.conflation_key = Some(key);
        self
    }

    /// Whether the first part is binary.
    pub fn is_binary(&self) -> bool {
        self.opcode == BINARY
    }

    /// Whether it is a WebSocket control frame, which no other transport carries.
    pub fn is_frame_control(&self) -> bool {
        self.opcode >= 8
    }

    /// The first part as an engine packet: text with its type digit, or bare binary.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[HEADER_ROOM..]
    }

    /// The binary attachments that follow, in order.
    pub fn attachments(&self) -> impl Iterator<Item = &Bytes> {
        self.attachments
            .iter()
            .flat_map(|all| all.iter().map(|attachment| &attachment.data))
    }

    /// The slices that, one after the other, are this message as plain WebSocket frames.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let first = std::iter::once(&self.buffer[self.frame_at as usize..]);
        let rest = self.attachments.iter().flat_map(|all| {
            all.iter().flat_map(
                |Attachment {
                     data,
                     header: (header, len),
                 }| { [&header[..*len as usize], &data[..]] },
            )
        });
        first.chain(rest)
    }

    /// The message as frames compressed from an empty window of `window_bits` (9 to 15), made
    /// once by `deflate` and then shared; `None` when `deflate` declined.
    pub fn deflated(
        &self,
        window_bits: u8,
        deflate: impl FnOnce(&Self) -> Option<Bytes>,
    ) -> Option<&Bytes> {
        let forms = self.deflated.get_or_init(Default::default);
        let form = &forms[usize::from(window_bits.clamp(9, 15) - 9)];
        form.get_or_init(|| deflate(self)).as_ref()
    }

    /// What the message counts for in a queue, in bytes: its plain frames.
    pub fn cost(&self) -> usize {
        let attached = self.attachments.iter().flat_map(|all| all.iter());
        (self.buffer.len() - self.frame_at as usize)
            + attached
                .map(|a| a.data.len() + usize::from(a.header.1))
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_and_the_payload_share_one_buffer() {
        for len in [0usize, 1, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(len);
            let message = Message::text(&text, Class::Normal);
            assert_eq!(message.payload(), text.as_bytes());
            let frame: Vec<u8> = message.frames().flatten().copied().collect();
            assert_eq!(frame.len(), message.cost());
            assert_eq!(frame[0], 0x81);
            let header = match len {
                0..=125 => 2,
                126..=65_535 => 4,
                _ => 10,
            };
            assert_eq!(&frame[header..], text.as_bytes());
        }
    }

    #[test]
    fn attachments_follow_as_binary_frames() {
        let mut builder = MessageBuilder::text(0);
        builder.buffer().extend_from_slice(b"451-[]");
        let message = builder.build(
            Class::Normal,
            true,
            &[Bytes::from_static(&[7, 8]), Bytes::new()],
        );
        let wire: Vec<u8> = message.frames().flatten().copied().collect();
        assert_eq!(wire, b"\x81\x06451-[]\x82\x02\x07\x08\x82\x00");
        assert_eq!(message.cost(), wire.len());
        assert_eq!(message.attachments().count(), 2);
    }

    #[test]
    fn a_compressed_form_is_made_once_for_each_window() {
        let message = Message::text("4hello", Class::Normal);
        assert_eq!(
            message
                .deflated(15, |_| Some(Bytes::from_static(b"z")))
                .unwrap(),
            &b"z"[..]
        );
        assert_eq!(message.deflated(9, |_| None), None);
        assert_eq!(message.deflated(15, |_| unreachable!()).unwrap(), &b"z"[..]);
    }
}
