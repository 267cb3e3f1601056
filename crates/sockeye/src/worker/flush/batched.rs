//! Many connections with one system call.

use std::io;

use super::ring::Ring;
use super::{Batch, Flush, Vectored};

/// Sends of one submission. With half as many a delivery to one of 10,000 costs a tenth more; with
/// twice as many it costs no less, and others wait longer.
pub(super) const BATCH: usize = 1024;

/// Fewer connections than this are written to one by one.
const RING_FROM: usize = 4;

/// Writes to many connections through a ring, and to few as [`Vectored`] does.
pub(super) struct Batched {
    ring: Ring,
    from: usize,
}

impl Batched {
    pub(super) fn new(ring: Ring) -> Self {
        let from = RING_FROM;
        Batched { ring, from }
    }

    /// One that takes the ring for a single connection too.
    #[cfg(test)]
    pub(super) fn from_one(ring: Ring) -> Self {
        Batched { ring, from: 1 }
    }
}

impl Flush for Batched {
    fn batch(&self) -> usize {
        BATCH
    }

    fn write(&mut self, batch: &Batch<'_>, outcomes: &mut Vec<io::Result<usize>>) {
        if batch.len() < self.from || self.ring.is_broken() {
            return Vectored.write(batch, outcomes);
        }
        let sends = batch.writes().map(|(link, slices)| (link.as_fd(), slices));
        self.ring.send(sends);
        for ((link, slices), outcome) in batch.writes().zip(self.ring.outcomes()) {
            outcomes.push(match outcome {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Asked once more in its own way, the runtime learns to wait for room.
                    link.try_write(slices)
                }
                Some(outcome) => outcome,
                None => link.try_write(slices),
            });
        }
    }

    fn trouble(&mut self) -> Option<io::Error> {
        self.ring.take_trouble()
    }
}
