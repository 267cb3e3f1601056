use super::{Agreed, DeflateOptions, pool};
use crate::encode::{assemble, encode_into, frame};
use crate::frame::OpCode;
use crate::limits::Role;
use bytes::{BufMut, Bytes};
use flate2::{Compress, Compression, FlushCompress, Status};
use std::fmt;

/// What ends each flushed stream and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// An empty message, compressed (RFC 7692 §7.2.3.6).
const EMPTY: [u8; 1] = [0];

/// Deflates a message from an empty window of `window_bits` (9 to 15): the payload of a frame
/// with RSV1 set, valid for every peer whose [`Agreed::window_bits`] of the sender is at least
/// that, so that one deflation serves a whole broadcast.
///
/// `level` is 0 to 9. `None` when zlib cannot produce the window.
pub fn deflate_shared(payload: &[u8], window_bits: u8, level: u8) -> Option<Bytes> {
    deflated(payload, window_bits, level, |data| {
        Bytes::copy_from_slice(data)
    })
}

/// A server's frame of a message deflated by [`deflate_shared`]; the plain frame when deflating
/// does not make it smaller, and for control frames, so the result is always valid for such peers.
pub fn deflated_frame(opcode: OpCode, payload: &[u8], window_bits: u8, level: u8) -> Bytes {
    if !matches!(opcode, OpCode::Text | OpCode::Binary) {
        return frame(opcode, payload);
    }
    deflated(payload, window_bits, level, |data| {
        (data.len() < payload.len()).then(|| assemble(opcode, true, data))
    })
    .flatten()
    .unwrap_or_else(|| frame(opcode, payload))
}

fn deflated<R>(payload: &[u8], bits: u8, level: u8, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
    if payload.is_empty() {
        return Some(f(&EMPTY));
    }
    if !(9..=15).contains(&bits) {
        return None;
    }
    pool::with_scratch(|scratch| {
        let mut compressor = pool::take_compressor(bits, level);
        let ok = compressor.message(payload, scratch);
        pool::put_compressor(compressor);
        ok.then(|| f(scratch))
    })
}

/// Compresses the messages of one connection as negotiated.
///
/// With context takeover it owns a compressor (from the first message above the threshold on) and
/// later messages shrink by what earlier ones had in common with them; without, it owns nothing
/// and uses the thread's pool.
pub struct Deflater {
    own: Option<Box<Compressor>>,
    takeover: bool,
    window_bits: u8,
    level: u8,
    threshold: usize,
}

impl Deflater {
    /// A compressor for what `role` sends.
    pub fn new(agreed: Agreed, role: Role, options: &DeflateOptions) -> Deflater {
        Deflater {
            own: None,
            takeover: agreed.takeover(role),
            window_bits: agreed.window_bits(role),
            level: options.level,
            threshold: options.threshold,
        }
    }

    /// Appends a message as one frame to `buf`, compressed if that is worth it; whether it was.
    pub fn encode_into(
        &mut self,
        buf: &mut impl BufMut,
        opcode: OpCode,
        mask: Option<[u8; 4]>,
        payload: &[u8],
    ) -> bool {
        let done = self.deflate(opcode, payload, |data| {
            encode_into(buf, opcode, true, true, mask, data);
        });
        if done.is_none() {
            encode_into(buf, opcode, true, false, mask, payload);
        }
        done.is_some()
    }

    /// A server's frame of a message, compressed if that is worth it. With context takeover it is
    /// for this connection only and every frame returned must be sent, in this order.
    pub fn frame(&mut self, opcode: OpCode, payload: &[u8]) -> Bytes {
        self.deflate(opcode, payload, |data| assemble(opcode, true, data))
            .unwrap_or_else(|| frame(opcode, payload))
    }

    /// Starts from an empty window again. Call it when a frame of [`deflate_shared`] goes to this
    /// connection: that message is in the peer's window and not in ours.
    pub fn forget(&mut self) {
        if let Some(own) = &mut self.own {
            own.reset();
        }
    }

    fn deflate<R>(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        f: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let worth_it = payload.len() >= self.threshold.max(1) && self.window_bits >= 9;
        if !worth_it || !matches!(opcode, OpCode::Text | OpCode::Binary) {
            return None;
        }
        if !self.takeover {
            let smaller = |data: &[u8]| (data.len() < payload.len()).then(|| f(data));
            return deflated(payload, self.window_bits, self.level, smaller).flatten();
        }
        let (bits, level) = (self.window_bits, self.level);
        let own = self
            .own
            .get_or_insert_with(|| pool::take_compressor(bits, level));
        pool::with_scratch(|scratch| {
            if own.message(payload, scratch) {
                return Some(f(scratch));
            }
            // Nothing of the message will be sent compressed, so the windows differ now.
            own.reset();
            None
        })
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("takeover", &self.takeover)
            .field("window_bits", &self.window_bits)
            .field("level", &self.level)
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

/// A raw DEFLATE encoder with its window.
pub(crate) struct Compressor {
    stream: Compress,
    window_bits: u8,
    level: u8,
}

impl Compressor {
    /// `window_bits` is 9 to 15: zlib has no raw window of 8 bits.
    pub(crate) fn new(window_bits: u8, level: u8) -> Compressor {
        let level = level.min(9);
        let compression = Compression::new(u32::from(level));
        let stream = Compress::new_with_window_bits(compression, false, window_bits.clamp(9, 15));
        Compressor {
            stream,
            window_bits,
            level,
        }
    }

    pub(crate) fn is(&self, window_bits: u8, level: u8) -> bool {
        self.window_bits == window_bits && self.level == level.min(9)
    }

    pub(crate) fn reset(&mut self) {
        self.stream.reset();
    }

    /// Appends the compressed message, its tail stripped; whether that succeeded. `payload` is
    /// not empty.
    fn message(&mut self, mut payload: &[u8], out: &mut Vec<u8>) -> bool {
        out.reserve(payload.len() / 4 + 64);
        loop {
            let before = self.stream.total_in();
            let Ok(status) = self.stream.compress_vec(payload, out, FlushCompress::Sync) else {
                return false;
            };
            // At most the payload's length.
            payload = &payload[(self.stream.total_in() - before) as usize..];
            let room = out.capacity() - out.len();
            if payload.is_empty() && (room > 0 || status == Status::BufError) {
                break;
            }
            out.reserve(out.len().max(64));
        }
        let flushed = out.ends_with(&TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        flushed
    }
}
