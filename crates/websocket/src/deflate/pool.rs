//! Each thread's few idle compressors and inflaters: what they are made of is too large to be
//! made for each message, and far too large to be kept by each connection.

use super::compress::Compressor;
use super::inflate::Inflater;
use std::cell::RefCell;

/// Idle ones kept per thread, of each kind.
const KEPT: usize = 4;
/// The scratch buffer is given back when a message made it larger than this.
const SCRATCH: usize = 128 * 1024;

#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "they move between connections and pool, always in their box"
)]
struct Pool {
    inflaters: Vec<Box<Inflater>>,
    compressors: Vec<Box<Compressor>>,
    scratch: Vec<u8>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// `None` while the thread ends.
fn with<R>(f: impl FnOnce(&mut Pool) -> R) -> Option<R> {
    POOL.try_with(|pool| pool.try_borrow_mut().ok().map(|mut pool| f(&mut pool)))
        .ok()
        .flatten()
}

pub(crate) fn take_inflater() -> Option<Box<Inflater>> {
    with(|pool| pool.inflaters.pop()).flatten()
}

pub(crate) fn put_inflater(inflater: Box<Inflater>) {
    with(|pool| {
        if pool.inflaters.len() < KEPT {
            pool.inflaters.push(inflater);
        }
    });
}

/// A compressor in its initial state.
pub(crate) fn take_compressor(window_bits: u8, level: u8) -> Box<Compressor> {
    let found = with(|pool| {
        let at = pool
            .compressors
            .iter()
            .position(|c| c.is(window_bits, level))?;
        Some(pool.compressors.swap_remove(at))
    });
    found
        .flatten()
        .unwrap_or_else(|| Box::new(Compressor::new(window_bits, level)))
}

pub(crate) fn put_compressor(mut compressor: Box<Compressor>) {
    compressor.reset();
    with(|pool| {
        if pool.compressors.len() == KEPT {
            // The oldest goes, so that the windows in use now stay.
            pool.compressors.remove(0);
        }
        pool.compressors.push(compressor);
    });
}

/// Runs `f` with an empty buffer that the thread reuses.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut scratch = with(|pool| std::mem::take(&mut pool.scratch)).unwrap_or_default();
    scratch.clear();
    let result = f(&mut scratch);
    if scratch.capacity() <= SCRATCH {
        with(|pool| pool.scratch = scratch);
    }
    result
}
