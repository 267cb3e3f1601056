//! Compression on the way out: shared between connections where the negotiation allows it.

use std::collections::VecDeque;

use bytes::Bytes;
use sockeye_core::{Message, Outbound};
use sockeye_websocket::deflate::{Agreed, DeflateOptions, Deflater, deflated_frame};
use sockeye_websocket::{OpCode, Role, frame};

/// How a connection's messages are compressed.
pub(crate) struct Outgoing {
    window_bits: u8,
    level: u8,
    threshold: usize,
    /// Only with context takeover: the connection's own compressor and what it has produced.
    own: Option<Own>,
}

struct Own {
    deflater: Deflater,
    staged: VecDeque<Bytes>,
    sent: usize,
}

impl Outgoing {
    pub(crate) fn new(agreed: Agreed, options: &DeflateOptions) -> Self {
        let own = agreed.takeover(Role::Server).then(|| Own {
            deflater: Deflater::new(agreed, Role::Server, options),
            staged: VecDeque::new(),
            sent: 0,
        });
        Outgoing {
            window_bits: agreed.window_bits(Role::Server),
            level: options.level,
            threshold: options.threshold,
            own,
        }
    }

    /// Whether the connection keeps a window of its own, so that nothing can be shared.
    pub(crate) fn takeover(&self) -> bool {
        self.own.is_some()
    }

    /// The compressed form of `message`, made once for all connections with this window.
    pub(crate) fn shared(&self, message: &Message) -> Option<Bytes> {
        if !self.wants(message) {
            return None;
        }
        let (bits, level, threshold) = (self.window_bits, self.level, self.threshold);
        message
            .deflated(bits, |message| {
                Some(encode(message, threshold, |opcode, data| {
                    deflated_frame(opcode, data, bits, level)
                }))
            })
            .cloned()
    }

    /// Compresses up to `max` bytes of what waits with the connection's own window.
    pub(crate) fn stage(&mut self, out: &mut Outbound, max: usize) {
        let threshold = self.threshold;
        let mut bytes = self.staged_bytes();
        let Some(own) = &mut self.own else { return };
        while bytes < max {
            let Some(message) = out.pop() else { break };
            let limit = if message.compress() {
                threshold
            } else {
                usize::MAX
            };
            let deflater = &mut own.deflater;
            let wire = if message.is_frame_control() {
                message.frames().flatten().copied().collect()
            } else {
                encode(&message, limit, |opcode, data| deflater.frame(opcode, data))
            };
            bytes += wire.len();
            own.staged.push_back(wire);
        }
        out.set_held(bytes);
    }

    /// Bytes compressed and not yet written.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.staged().map(Bytes::len).sum()
    }

    pub(crate) fn staged(&self) -> impl Iterator<Item = &Bytes> {
        self.own.iter().flat_map(|own| own.staged.iter())
    }

    pub(crate) fn sent(&self) -> usize {
        self.own.as_ref().map_or(0, |own| own.sent)
    }

    pub(crate) fn advance(&mut self, whole: usize, partial: usize) {
        let Some(own) = &mut self.own else { return };
        own.staged.drain(..whole);
        own.sent = partial;
    }

    fn wants(&self, message: &Message) -> bool {
        let large = |len: usize| len >= self.threshold;
        message.compress()
            && !message.is_frame_control()
            && (large(message.payload().len())
                || message.attachments().any(|data| large(data.len())))
    }
}

/// The frames of a message, those of at least `threshold` bytes made by `deflate`.
fn encode(
    message: &Message,
    threshold: usize,
    mut deflate: impl FnMut(OpCode, &[u8]) -> Bytes,
) -> Bytes {
    let opcode = if message.is_binary() {
        OpCode::Binary
    } else {
        OpCode::Text
    };
    let mut one = |opcode, data: &[u8]| {
        if data.len() >= threshold {
            deflate(opcode, data)
        } else {
            frame(opcode, data)
        }
    };
    let first = one(opcode, message.payload());
    let mut attachments = message.attachments().peekable();
    if attachments.peek().is_none() {
        return first;
    }
    let mut wire = first.to_vec();
    for data in attachments {
        wire.extend_from_slice(&one(OpCode::Binary, data));
    }
    wire.into()
}
