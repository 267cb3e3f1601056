//! One system call for each connection.

use std::io;

use super::{Batch, Flush};

/// About two milliseconds' worth of writes on the loopback.
const BATCH: usize = 512;

/// Writes to one connection after the other: what every system can.
pub(super) struct Vectored;

impl Flush for Vectored {
    fn batch(&self) -> usize {
        BATCH
    }

    fn write(&mut self, batch: &Batch<'_>, outcomes: &mut Vec<io::Result<usize>>) {
        let writes = batch.writes();
        outcomes.extend(writes.map(|(link, slices)| link.try_write(slices)));
    }
}
