//! A generational arena: stable keys for sessions and sockets, and a dense `u32` slot for bitmaps.

/// Entries per chunk. Chunks are never moved or copied, so growth costs no spike of memory.
const CHUNK: usize = 128;

/// The key of an entry: its slot and the generation of that slot.
///
/// A key outlives its entry harmlessly: once the entry is removed, the key finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    /// A key that never finds anything.
    pub const NONE: Key = Key {
        slot: u32::MAX,
        generation: 0,
    };

    /// The slot: small, reused, unique among living entries.
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// The key as one number, for storage in an atomic.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The inverse of [`Key::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Key {
            slot: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// A generational arena of `T`.
#[derive(Debug)]
pub struct Arena<T> {
    chunks: Vec<Vec<Entry<T>>>,
    free: Vec<u32>,
    len: usize,
    /// The generation of entries in a new chunk: higher than any that was given out before the
    /// memory of that chunk's predecessor went back.
    fresh: u32,
    /// The highest generation that any entry has reached.
    highest: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena {
            chunks: Vec::new(),
            free: Vec::new(),
            len: 0,
            fresh: 1,
            highest: 1,
        }
    }
}

impl<T> Arena<T> {
    /// Stores what `make` builds from its own key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK];
            let key = Key {
                slot,
                generation: entry.generation,
            };
            entry.value = Some(make(key));
            return key;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let base = (self.chunks.len() - 1) * CHUNK;
        let chunk = self
            .chunks
            .last_mut()
            .expect("a chunk with room was just ensured");
        let key = Key {
            slot: (base + chunk.len()) as u32,
            generation: self.fresh,
        };
        chunk.push(Entry {
            generation: self.fresh,
            value: Some(make(key)),
        });
        key
    }

    /// The entry of `key`, if it still lives.
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self
            .chunks
            .get(key.slot as usize / CHUNK)?
            .get(key.slot as usize % CHUNK)?;
        (entry.generation == key.generation).then_some(entry.value.as_ref()?)
    }

    /// The entry of `key`, if it still lives.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(key.slot as usize / CHUNK)?;
        let entry = chunk.get_mut(key.slot as usize % CHUNK)?;
        if entry.generation != key.generation {
            return None;
        }
        entry.value.as_mut()
    }

    /// Whatever lives in `slot` now, with its key.
    pub fn at(&self, slot: u32) -> Option<(Key, &T)> {
        let entry = self
            .chunks
            .get(slot as usize / CHUNK)?
            .get(slot as usize % CHUNK)?;
        Some((
            Key {
                slot,
                generation: entry.generation,
            },
            entry.value.as_ref()?,
        ))
    }

    /// Removes and returns the entry of `key`.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let chunk = self.chunks.get_mut(key.slot as usize / CHUNK)?;
        let entry = chunk.get_mut(key.slot as usize % CHUNK)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.highest = self.highest.max(entry.generation);
        self.free.push(key.slot);
        self.len -= 1;
        if self.len == 0 {
            self.release();
        }
        Some(value)
    }

    /// How many entries live.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing lives here.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every living entry with its key.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.chunks.iter().enumerate().flat_map(|(index, chunk)| {
            chunk.iter().enumerate().filter_map(move |(offset, entry)| {
                let slot = (index * CHUNK + offset) as u32;
                Some((
                    Key {
                        slot,
                        generation: entry.generation,
                    },
                    entry.value.as_ref()?,
                ))
            })
        })
    }

    /// Gives the memory back that a herd has left behind, all but the first chunk. What comes
    /// later starts above every generation there has been, so that a stale key stays harmless.
    fn release(&mut self) {
        self.fresh = self.highest;
        self.chunks.truncate(1);
        self.chunks.shrink_to_fit();
        let kept = self.chunks.first().map_or(0, Vec::len) as u32;
        self.free = (0..kept).rev().collect();
    }

    /// Entries for which memory is held.
    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_after_its_slot_is_reused() {
        let mut arena = Arena::default();
        let first = arena.insert_with(|_| "a");
        assert_eq!(arena.remove(first), Some("a"));
        let second = arena.insert_with(|_| "b");
        assert_eq!(first.slot(), second.slot());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"b"));
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }

    #[test]
    fn slots_are_dense_and_iterated_in_order() {
        let mut arena = Arena::default();
        let keys: Vec<_> = (0..1000).map(|n| arena.insert_with(|_| n)).collect();
        for key in keys.iter().step_by(2) {
            arena.remove(*key);
        }
        assert_eq!(arena.len(), 500);
        assert!(
            arena
                .iter()
                .map(|(_, n)| *n)
                .eq((0..1000).filter(|n| n % 2 == 1))
        );
        for n in 0..500 {
            let key = arena.insert_with(|_| n);
            assert!(key.slot() < 1000);
        }
        assert_eq!(arena.at(3).map(|(_, n)| *n), Some(3));
        assert_eq!(arena.at(5000), None);
    }

    #[test]
    fn a_herd_that_has_gone_leaves_one_chunk_and_no_key_that_finds_anything() {
        let mut arena = Arena::default();
        let mut stale = std::collections::HashSet::new();
        for round in 0..5 {
            let keys: Vec<_> = (0..1000).map(|n| arena.insert_with(|_| n)).collect();
            for key in &keys {
                assert!(stale.insert(*key), "{key:?} was given out twice");
            }
            // Some slots are used more often than others.
            for key in &keys[..(round + 1) * 100] {
                arena.remove(*key);
                let again = arena.insert_with(|_| 0);
                assert!(stale.insert(again), "{again:?} was given out twice");
            }
            let living: Vec<_> = arena.iter().map(|(key, _)| key).collect();
            for key in living {
                arena.remove(key);
            }
            assert!(arena.is_empty());
            assert_eq!(arena.capacity(), CHUNK);
            assert!(stale.iter().all(|key| arena.get(*key).is_none()));
        }
    }
}
