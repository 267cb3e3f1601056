use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
    entered: Arc<AtomicU64>,
    above: usize,
}

impl DeflateGate {
    /// Lets in at most `concurrent` messages of more than `above` bytes.
    pub fn new(concurrent: usize, above: usize) -> DeflateGate {
        DeflateGate {
            free: Arc::new(AtomicUsize::new(concurrent)),
            entered: Arc::default(),
            above,
        }
    }

    /// Asks to deflate `len` bytes; keep the permit until that is done.
    pub fn try_enter(&self, len: usize) -> Option<Permit> {
        if len <= self.above {
            self.entered.fetch_add(1, Ordering::Relaxed);
            return Some(Permit(None));
        }
        let take = |free: usize| free.checked_sub(1);
        self.free
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, take)
            .ok()?;
        self.entered.fetch_add(1, Ordering::Relaxed);
        Some(Permit(Some(self.free.clone())))
    }

    /// How many messages were let in so far, large or not.
    pub fn entered(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// However many threads ask, no more than the bound are inside at once, and all permits come
    /// back.
    #[test]
    fn never_more_inside_than_allowed() {
        let gate = DeflateGate::new(3, 10);
        let inside = Arc::new(AtomicUsize::new(0));
        let entered: usize = std::thread::scope(|scope| {
            let ask = || {
                let mut entered = 0;
                for _ in 0..2000 {
                    let Some(permit) = gate.try_enter(11) else {
                        continue;
                    };
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                    entered += 1;
                }
                entered
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!(entered > 0);
        assert_eq!((gate.available(), gate.entered()), (3, entered as u64));
    }
}
