//! The connections that take part, in no particular order.

/// A set of connections: taking one in, letting one go, and taking turns cost the same however
/// many there are.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    members: Vec<u32>,
    /// Where each connection stands in `members`, plus one; 0: nowhere.
    places: Vec<u32>,
}

impl Pool {
    pub(crate) fn new(members: impl IntoIterator<Item = u32>) -> Self {
        let mut pool = Self::default();
        members.into_iter().for_each(|member| pool.insert(member));
        pool
    }

    pub(crate) fn insert(&mut self, member: u32) {
        let index = member as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, 0);
        }
        if self.places[index] == 0 {
            self.members.push(member);
            self.places[index] = self.members.len() as u32;
        }
    }

    /// Whether it was among them.
    pub(crate) fn remove(&mut self, member: u32) -> bool {
        let Some(place) = self.places.get_mut(member as usize).filter(|p| **p > 0) else {
            return false;
        };
        let at = std::mem::take(place) as usize - 1;
        self.members.swap_remove(at);
        if let Some(&moved) = self.members.get(at) {
            self.places[moved as usize] = at as u32 + 1;
        }
        true
    }

    pub(crate) fn contains(&self, member: u32) -> bool {
        self.places
            .get(member as usize)
            .is_some_and(|place| *place > 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn members(&self) -> &[u32] {
        &self.members
    }

    /// The one whose turn a number is; `None` if there are none.
    pub(crate) fn turn(&self, number: u64) -> Option<u32> {
        let count = self.members.len() as u64;
        number
            .checked_rem(count)
            .map(|turn| self.members[turn as usize])
    }
}

/// Numbers that look random (xorshift*): which connection leaves, how long one waits.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 up to 1, 1 excluded.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_pool_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..30), 0..200)) {
            let (mut pool, mut model) = (Pool::default(), BTreeSet::new());
            for (insert, member) in steps {
                if insert {
                    pool.insert(member);
                    model.insert(member);
                } else {
                    prop_assert_eq!(pool.remove(member), model.remove(&member));
                }
                prop_assert_eq!(&pool.members().iter().copied().collect::<BTreeSet<_>>(), &model);
                prop_assert_eq!(pool.len(), model.len());
                // Everybody has a turn.
                let turns = (7..7 + model.len() as u64).filter_map(|n| pool.turn(n));
                prop_assert_eq!(&turns.collect::<BTreeSet<_>>(), &model);
            }
        }

        #[test]
        fn shares_are_spread_evenly(seed: u64) {
            let mut dice = Dice::new(seed);
            let shares: Vec<f64> = (0..2000).map(|_| dice.share()).collect();
            prop_assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
            let mean = shares.iter().skip(100).sum::<f64>() / 1900.0;
            prop_assert!((mean - 0.5).abs() < 0.05, "{mean}");
        }
    }
}
