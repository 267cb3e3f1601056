//! Inflating, streamed into a message and stopped at its limit.

use super::pool;
use crate::error::{Error, Kind};
use crate::partial::Assembly;
use flate2::{Decompress, FlushDecompress, Status};

/// What RFC 7692 §7.2.1 strips from the end of a message, and §7.2.2 appends again.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// An empty final block: inflating it ends the stream if, and only if, the message ended between
/// two blocks as it must.
const FINAL: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];

/// A raw DEFLATE decoder with a window of 32 KiB, which fits every negotiated window.
#[derive(Debug)]
pub(crate) struct Inflater {
    stream: Decompress,
    /// A final block was read; what follows is a new stream.
    ended: bool,
    takeover: bool,
}

impl Inflater {
    /// Heap bytes of one, rounded up: 32 KiB of window, tables and state.
    pub(crate) const MEMORY: usize = 48 * 1024;

    /// One from the thread's pool, or a new one.
    pub(crate) fn acquire(takeover: bool) -> Box<Inflater> {
        let mut inflater = pool::take_inflater().unwrap_or_else(|| {
            let stream = Decompress::new_with_window_bits(false, 15);
            Box::new(Inflater {
                stream,
                ended: false,
                takeover,
            })
        });
        inflater.takeover = takeover;
        inflater
    }

    /// Gives it back to the thread's pool.
    pub(crate) fn recycle(mut self: Box<Self>) {
        self.reset();
        pool::put_inflater(self);
    }

    pub(crate) fn push(
        &mut self,
        mut data: &[u8],
        into: &mut Assembly,
        limit: usize,
    ) -> Result<(), Error> {
        let mut scratch = [0; 4096];
        loop {
            if self.ended {
                if data.is_empty() {
                    return Ok(());
                }
                self.reset();
            }
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(data, &mut scratch, FlushDecompress::None);
            // Both differences are at most the lengths of the slices.
            let read = (self.stream.total_in() - read) as usize;
            let written = (self.stream.total_out() - written) as usize;
            data = &data[read..];
            // In this order the first fault of the message is the one reported, however it is cut.
            let fits = written.min(limit.saturating_sub(into.len()));
            let most = limit.saturating_sub(into.len() + fits);
            into.push(&scratch[..fits], Some(most))?;
            if fits < written {
                return Err(Error(Kind::InflatedTooBig));
            }
            let status = status.map_err(|_| Error(Kind::Inflate))?;
            if status == Status::StreamEnd {
                self.ended = true;
            } else if written < scratch.len() && data.is_empty() {
                return Ok(());
            } else if read == 0 && written == 0 {
                return Err(Error(Kind::Inflate));
            }
        }
    }

    /// Ends a message of at least one byte.
    pub(crate) fn finish(&mut self, into: &mut Assembly, limit: usize) -> Result<(), Error> {
        if self.ended {
            // A final block and nothing behind it (RFC 7692 §7.2.3.4 asks for one more byte, not
            // every peer sends it).
            return Ok(());
        }
        self.push(&TAIL, into, limit)?;
        if self.takeover {
            return Ok(());
        }
        self.push(&FINAL, into, limit)?;
        if self.ended {
            Ok(())
        } else {
            Err(Error(Kind::Inflate))
        }
    }

    fn reset(&mut self) {
        self.stream.reset(false);
        self.ended = false;
    }
}
