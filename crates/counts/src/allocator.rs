//! An allocator that counts.

// The one place of the workspace with unsafe code: an allocator cannot be written without.
#![expect(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; every method forwards to System"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// The system's allocator, with counters. A test makes it its own:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: sockeye_counts::Counting = sockeye_counts::Counting;
///
/// let (usage, list) = sockeye_counts::allocations(|| Vec::<u8>::with_capacity(10));
/// assert_eq!((usage.allocations, usage.bytes), (1, 10));
/// drop(list);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Counting;

/// What a thread has asked the allocator for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Blocks asked for; one that grows or shrinks counts again.
    pub allocations: u64,
    /// Bytes asked for, of a block that grows only what it has grown by.
    pub bytes: u64,
}

thread_local! {
    // Constants without a destructor: reaching them asks for no memory.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);
static LIVE_BLOCKS: AtomicIsize = AtomicIsize::new(0);

/// Runs `f` and says what this thread has asked for meanwhile.
pub fn allocations<R>(f: impl FnOnce() -> R) -> (Usage, R) {
    let before = (ALLOCATIONS.get(), BYTES.get());
    let result = f();
    let usage = Usage {
        allocations: ALLOCATIONS.get() - before.0,
        bytes: BYTES.get() - before.1,
    };
    (usage, result)
}

/// Bytes and blocks that all threads together have and have not given back, as asked for: without
/// what the system's allocator adds to each.
pub fn live() -> (isize, isize) {
    (
        LIVE_BYTES.load(Ordering::SeqCst),
        LIVE_BLOCKS.load(Ordering::SeqCst),
    )
}

fn count(bytes: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    BYTES.set(BYTES.get() + bytes as u64);
}

fn take(bytes: usize) {
    // A layout has at most isize::MAX bytes.
    LIVE_BYTES.fetch_add(bytes as isize, Ordering::SeqCst);
    LIVE_BLOCKS.fetch_add(1, Ordering::SeqCst);
}

fn give_back(bytes: usize) {
    LIVE_BYTES.fetch_sub(bytes as isize, Ordering::SeqCst);
    LIVE_BLOCKS.fetch_sub(1, Ordering::SeqCst);
}

// SAFETY: every block comes from System and goes back to it with the layout it was asked for
// with; the counters neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises about `layout` are those System asks for.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            count(layout.size());
            take(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            count(layout.size());
            take(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `alloc`, `alloc_zeroed` or `realloc`, so from System.
        unsafe { System.dealloc(block, layout) };
        give_back(layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`; the caller's promises about `size` are those System asks for.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            count(size.saturating_sub(layout.size()));
            give_back(layout.size());
            take(size);
        }
        moved
    }
}
