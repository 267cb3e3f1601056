use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bounds how many large messages are deflated at the same time, over all threads that share a
/// clone of it. It never waits: who is not let in sends the message uncompressed, or later.
///
/// ```
/// use sockeye_websocket::deflate::DeflateGate;
///
/// let gate = DeflateGate::new(1, 64 * 1024);
/// let large = gate.try_enter(1_000_000).expect("the first");
/// assert!(gate.try_enter(1_000_000).is_none());
/// assert!(gate.try_enter(2_000).is_some(), "small messages are always let in");
/// drop(large);
/// assert!(gate.try_enter(1_000_000).is_some());
/// ```
#[derive(Clone, Debug)]
pub struct DeflateGate {
    free: Arc<AtomicUsize>,
    above: usize,
}

impl DeflateGate {
    /// Lets in at most `concurrent` messages of more than `above` bytes.
    pub fn new(concurrent: usize, above: usize) -> DeflateGate {
        DeflateGate {
            free: Arc::new(AtomicUsize::new(concurrent)),
            above,
        }
    }

    /// Asks to deflate `len` bytes; keep the permit until that is done.
    pub fn try_enter(&self, len: usize) -> Option<Permit> {
        if len <= self.above {
            return Some(Permit(None));
        }
        let take = |free: usize| free.checked_sub(1);
        self.free
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, take)
            .ok()?;
        Some(Permit(Some(self.free.clone())))
    }

    /// How many more large messages would be let in now.
    pub fn available(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}

/// The right to deflate one message, given back when dropped.
#[derive(Debug)]
pub struct Permit(Option<Arc<AtomicUsize>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(free) = &self.0 {
            free.fetch_add(1, Ordering::Release);
        }
    }
}
