//! Compression on the way out: shared between connections where the negotiation allows it.

use std::collections::VecDeque;

use bytes::Bytes;
use sockeye_core::{Message, Outbound};
use sockeye_websocket::deflate::{Agreed, DeflateGate, DeflateOptions, Deflater, deflated_frame};
use sockeye_websocket::{OpCode, Role, frame};

/// How a connection's messages are compressed.
pub(crate) struct Outgoing {
    window_bits: u8,
    level: u8,
    threshold: usize,
    gate: DeflateGate,
    /// Only with context takeover: the connection's own compressor and what it has produced.
    own: Option<Own>,
}

struct Own {
    deflater: Deflater,
    staged: VecDeque<Bytes>,
    sent: usize,
}

impl Outgoing {
    pub(crate) fn new(agreed: Agreed, options: &DeflateOptions, gate: DeflateGate) -> Self {
        let own = agreed.takeover(Role::Server).then(|| Own {
            deflater: Deflater::new(agreed, Role::Server, options),
            staged: VecDeque::new(),
            sent: 0,
        });
        Outgoing {
            window_bits: agreed.window_bits(Role::Server),
            level: options.level,
            threshold: options.threshold,
            gate,
            own,
        }
    }

    /// Whether the connection keeps a window of its own, so that nothing can be shared.
    pub(crate) fn takeover(&self) -> bool {
        self.own.is_some()
    }

    /// The compressed form of `message`, made once for all connections with this window.
    pub(crate) fn shared<'m>(&self, message: &'m Message) -> Option<&'m Bytes> {
        if !self.wants(message) {
            return None;
        }
        let (bits, level) = (self.window_bits, self.level);
        let make = |message: &Message| {
            let wire = encode(message, self.threshold, &self.gate, |opcode, data| {
                deflated_frame(opcode, data, bits, level)
            });
            Some(wire)
        };
        message.deflated(bits, make)
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
                encode(&message, limit, &self.gate, |opcode, data| {
                    deflater.frame(opcode, data)
                })
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

/// The frames of a message, those of at least `threshold` bytes made by `deflate` as far as the
/// gate lets them in; the others go out as they are.
fn encode(
    message: &Message,
    threshold: usize,
    gate: &DeflateGate,
    mut deflate: impl FnMut(OpCode, &[u8]) -> Bytes,
) -> Bytes {
    let opcode = if message.is_binary() {
        OpCode::Binary
    } else {
        OpCode::Text
    };
    let mut one = |opcode, data: &[u8]| {
        let permit = (data.len() >= threshold)
            .then(|| gate.try_enter(data.len()))
            .flatten();
        match permit {
            Some(_) => deflate(opcode, data),
            None => frame(opcode, data),
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

#[cfg(test)]
mod tests {
    use sockeye_core::{Class, MessageBuilder};

    use super::*;

    fn message(len: usize) -> Message {
        let mut builder = MessageBuilder::text(len);
        builder.buffer().extend(std::iter::repeat_n(b'x', len));
        builder.build(Class::Normal, true, &[])
    }

    #[test]
    fn a_large_message_that_the_gate_refuses_goes_out_as_it_is() {
        let gate = DeflateGate::new(1, 10_000);
        let wire = |message: &Message| {
            encode(message, 1_000, &gate, |opcode, data| {
                deflated_frame(opcode, data, 15, 6)
            })
        };
        assert!(wire(&message(50_000)).len() < 1_000);
        let held = gate.try_enter(50_000).expect("nobody is in");
        assert!(wire(&message(50_000)).len() > 50_000);
        assert!(
            wire(&message(5_000)).len() < 1_000,
            "small ones are always let in"
        );
        drop(held);
        assert!(wire(&message(50_000)).len() < 1_000);
        assert!(
            wire(&message(500)).len() > 500,
            "below the threshold nothing is compressed"
        );
    }
}
