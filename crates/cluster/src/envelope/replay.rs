//! Which messages of whom have been taken.

use std::collections::HashMap;

/// How far behind the newest message one may be.
pub(super) const WIDTH: u64 = 4_096;
const WORDS: usize = (WIDTH / 64) as usize;
/// How many incarnations are remembered; beyond it the one that was silent for longest is forgotten.
const MAX_INCARNATIONS: usize = 4_096;

/// A sliding window for each incarnation, as in RFC 6479: 512 bytes each.
#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<u64, Window>);

#[derive(Debug)]
struct Window {
    newest: u64,
    heard_ms: u64,
    /// Bit `n % WIDTH` is set when `n` was taken, for the last `WIDTH` numbers.
    seen: Box<[u64; WORDS]>,
}

impl Windows {
    /// Whether a message was taken already, or is too old to tell.
    pub(super) fn has(&self, incarnation: u64, sequence: u64) -> bool {
        self.0
            .get(&incarnation)
            .is_some_and(|window| window.has(sequence))
    }

    /// A message was taken.
    pub(super) fn note(&mut self, incarnation: u64, sequence: u64, now_ms: u64) {
        if !self.0.contains_key(&incarnation) && self.0.len() == MAX_INCARNATIONS {
            let oldest = self.0.iter().min_by_key(|(_, window)| window.heard_ms);
            if let Some(oldest) = oldest.map(|(incarnation, _)| *incarnation) {
                self.0.remove(&oldest);
            }
        }
        let window = self.0.entry(incarnation).or_insert_with(|| Window {
            newest: sequence,
            heard_ms: now_ms,
            seen: Box::new([0; WORDS]),
        });
        window.heard_ms = now_ms;
        window.note(sequence);
    }
}

impl Window {
    fn has(&self, sequence: u64) -> bool {
        if sequence > self.newest {
            return false;
        }
        self.newest - sequence >= WIDTH || self.seen[word(sequence)] & bit(sequence) != 0
    }

    fn note(&mut self, sequence: u64) {
        if sequence > self.newest {
            if sequence - self.newest >= WIDTH {
                *self.seen = [0; WORDS];
            } else {
                for skipped in self.newest + 1..sequence {
                    self.seen[word(skipped)] &= !bit(skipped);
                }
            }
            self.newest = sequence;
        }
        self.seen[word(sequence)] |= bit(sequence);
    }
}

fn word(sequence: u64) -> usize {
    (sequence % WIDTH / 64) as usize
}

fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn each_is_taken_once(steps in prop::collection::vec((0u64..3, 0u64..2 * WIDTH), 1..400)) {
            let mut windows = Windows::default();
            let (mut taken, mut newest, mut base) = (HashSet::new(), 0, 0);
            for (jump, step) in steps {
                base += jump * 700;
                let sequence = base + step;
                let is_old = !taken.is_empty() && sequence + WIDTH <= newest;
                prop_assert_eq!(windows.has(7, sequence), is_old || taken.contains(&sequence));
                if !is_old {
                    windows.note(7, sequence, 0);
                    taken.insert(sequence);
                    newest = newest.max(sequence);
                }
            }
        }
    }

    #[test]
    fn the_far_ends_of_the_numbers_are_no_trap() {
        let mut windows = Windows::default();
        for sequence in [0, u64::MAX - 1, u64::MAX] {
            assert!(!windows.has(1, sequence));
            windows.note(1, sequence, 0);
            assert!(windows.has(1, sequence));
        }
        assert!(windows.has(1, 5), "too old to tell");
        assert!(!windows.has(2, 5), "another incarnation");
    }

    #[test]
    fn invented_incarnations_do_not_fill_the_memory() {
        let mut windows = Windows::default();
        for incarnation in 0..3 * MAX_INCARNATIONS as u64 {
            windows.note(incarnation, 1, incarnation);
        }
        assert_eq!(windows.0.len(), MAX_INCARNATIONS);
        assert!(windows.has(3 * MAX_INCARNATIONS as u64 - 1, 1));
    }
}
