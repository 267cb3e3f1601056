//! One system call for each connection.

use std::io;

use super::{Batch, Flush};

/// Writes to one connection after the other: what every system can.
pub(super) struct Vectored;

impl Flush for Vectored {
    fn write(&mut self, batch: &Batch<'_>, outcomes: &mut Vec<io::Result<usize>>) {
        let writes = batch.writes();
        outcomes.extend(writes.map(|(link, slices)| link.try_write(slices)));
    }
}
