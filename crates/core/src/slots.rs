//! A set of socket slots that is as small as what it holds.

use roaring::RoaringBitmap;

const INLINE: usize = 6;
/// Above this many a bitmap is smaller and faster than a sorted vector.
const VEC_MAX: usize = 64;

/// A set of slots: the small numbers by which a shard names its sockets.
///
/// Up to six members live in the value itself, which is 32 bytes and owns no memory then; some
/// more in a sorted vector; many in a compressed bitmap. Shrinking goes back the same way, with
/// some distance so that a member that comes and goes does not convert the set each time.
///
/// ```
/// use sockeye_core::SlotSet;
///
/// let mut set: SlotSet = [7, 3, 7].into_iter().collect();
/// assert!(set.contains(3) && !set.insert(3));
/// assert_eq!(set.iter().collect::<Vec<_>>(), [3, 7]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct SlotSet(Repr);

#[derive(Debug, Clone)]
enum Repr {
    Inline { len: u8, slots: [u32; INLINE] },
    Vec(Vec<u32>),
    Bitmap(Box<RoaringBitmap>),
}

impl SlotSet {
    /// An empty set; allocates nothing.
    pub const fn new() -> Self {
        Self(Repr::EMPTY)
    }

    /// Adds a slot; `false` when it was there already.
    pub fn insert(&mut self, slot: u32) -> bool {
        match &mut self.0 {
            Repr::Bitmap(bitmap) => bitmap.insert(slot),
            Repr::Vec(slots) => {
                let Err(at) = slots.binary_search(&slot) else {
                    return false;
                };
                if slots.len() < VEC_MAX {
                    slots.insert(at, slot);
                    return true;
                }
                let mut bitmap: RoaringBitmap = slots.iter().copied().collect();
                bitmap.insert(slot);
                self.0 = Repr::Bitmap(Box::new(bitmap));
                true
            }
            Repr::Inline { len, slots } => {
                let used = usize::from(*len);
                let Err(at) = slots[..used].binary_search(&slot) else {
                    return false;
                };
                if used < INLINE {
                    slots.copy_within(at..used, at + 1);
                    slots[at] = slot;
                    *len += 1;
                    return true;
                }
                let mut grown = Vec::with_capacity(2 * INLINE);
                grown.extend_from_slice(&slots[..at]);
                grown.push(slot);
                grown.extend_from_slice(&slots[at..]);
                self.0 = Repr::Vec(grown);
                true
            }
        }
    }

    /// Removes a slot; `false` when it was not there.
    pub fn remove(&mut self, slot: u32) -> bool {
        match &mut self.0 {
            Repr::Bitmap(bitmap) => {
                if !bitmap.remove(slot) {
                    return false;
                }
                if bitmap.len() <= VEC_MAX as u64 / 2 {
                    self.0 = Repr::Vec(bitmap.iter().collect());
                }
                true
            }
            Repr::Vec(slots) => {
                let Ok(at) = slots.binary_search(&slot) else {
                    return false;
                };
                slots.remove(at);
                if slots.len() <= INLINE - 2 {
                    self.0 = Repr::inline(slots);
                } else if slots.len() <= slots.capacity() / 4 {
                    slots.shrink_to(slots.len() * 2);
                }
                true
            }
            Repr::Inline { len, slots } => {
                let used = usize::from(*len);
                let Ok(at) = slots[..used].binary_search(&slot) else {
                    return false;
                };
                slots.copy_within(at + 1..used, at);
                *len -= 1;
                true
            }
        }
    }

    /// Whether the slot is a member.
    pub fn contains(&self, slot: u32) -> bool {
        match &self.0 {
            Repr::Bitmap(bitmap) => bitmap.contains(slot),
            Repr::Vec(slots) => slots.binary_search(&slot).is_ok(),
            Repr::Inline { len, slots } => slots[..usize::from(*len)].contains(&slot),
        }
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Bitmap(bitmap) => bitmap.len() as usize,
            Repr::Vec(slots) => slots.len(),
            Repr::Inline { len, .. } => usize::from(*len),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        // Larger forms are left long before they are empty.
        matches!(self.0, Repr::Inline { len: 0, .. })
    }

    /// Removes all members and gives back the memory.
    pub fn clear(&mut self) {
        self.0 = Repr::EMPTY;
    }

    /// The members in ascending order.
    pub fn iter(&self) -> SlotIter<'_> {
        SlotIter(match &self.0 {
            Repr::Bitmap(bitmap) => Iter::Bitmap(bitmap.iter()),
            Repr::Vec(slots) => Iter::Slice(slots.iter()),
            Repr::Inline { len, slots } => Iter::Slice(slots[..usize::from(*len)].iter()),
        })
    }

    /// Appends the members to `out` in ascending order.
    pub fn append_to(&self, out: &mut Vec<u32>) {
        match &self.0 {
            Repr::Bitmap(bitmap) => {
                out.reserve(bitmap.len() as usize);
                out.extend(bitmap.iter());
            }
            Repr::Vec(slots) => out.extend_from_slice(slots),
            Repr::Inline { len, slots } => out.extend_from_slice(&slots[..usize::from(*len)]),
        }
    }

    /// Adds the members to `bitmap`.
    pub fn union_into(&self, bitmap: &mut RoaringBitmap) {
        match &self.0 {
            Repr::Bitmap(own) => *bitmap |= &**own,
            _ => bitmap.extend(self),
        }
    }

    /// Removes the members from `slots`, which is in ascending order without repetition and stays so.
    pub fn subtract_from(&self, slots: &mut Vec<u32>) {
        let own = self.len();
        if own <= 4 {
            for slot in self {
                if let Ok(at) = slots.binary_search(&slot) {
                    slots.remove(at);
                }
            }
        } else if own / 8 > slots.len() {
            slots.retain(|slot| !self.contains(*slot));
        } else {
            let mut own = self.iter().peekable();
            slots.retain(|slot| {
                while own.next_if(|mine| mine < slot).is_some() {}
                own.peek() != Some(slot)
            });
        }
    }
}

impl PartialEq for SlotSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Eq for SlotSet {}

impl Extend<u32> for SlotSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, slots: I) {
        for slot in slots {
            self.insert(slot);
        }
    }
}

impl FromIterator<u32> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut set = Self::new();
        set.extend(slots);
        set
    }
}

impl<'a> IntoIterator for &'a SlotSet {
    type Item = u32;
    type IntoIter = SlotIter<'a>;

    fn into_iter(self) -> SlotIter<'a> {
        self.iter()
    }
}

/// Iterator over a [`SlotSet`], ascending.
#[derive(Clone)]
pub struct SlotIter<'a>(Iter<'a>);

#[derive(Clone)]
enum Iter<'a> {
    Slice(std::slice::Iter<'a, u32>),
    Bitmap(roaring::bitmap::Iter<'a>),
}

impl Iterator for SlotIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match &mut self.0 {
            Iter::Slice(slots) => slots.next().copied(),
            Iter::Bitmap(slots) => slots.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Iter::Slice(slots) => slots.size_hint(),
            Iter::Bitmap(slots) => slots.size_hint(),
        }
    }
}

impl std::fmt::Debug for SlotIter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Repr {
    const EMPTY: Self = Self::Inline {
        len: 0,
        slots: [0; INLINE],
    };

    /// `slots` has at most `INLINE` members.
    fn inline(slots: &[u32]) -> Self {
        let mut inline = [0; INLINE];
        inline[..slots.len()].copy_from_slice(slots);
        Self::Inline {
            len: slots.len() as u8,
            slots: inline,
        }
    }
}

impl Default for Repr {
    fn default() -> Self {
        Self::EMPTY
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Mostly near each other, so that operations meet; some far away, for other containers.
    fn slot() -> impl Strategy<Value = u32> {
        prop_oneof![8 => 0u32..150, 1 => 65_500u32..65_600, 1 => any::<u32>()]
    }

    fn set() -> impl Strategy<Value = BTreeSet<u32>> {
        prop_oneof![
            prop::collection::btree_set(slot(), 0..10),
            prop::collection::btree_set(slot(), 0..200),
        ]
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u32),
        Remove(u32),
        RemoveAt(prop::sample::Index),
    }

    /// Runs of one kind, so that sets grow and shrink through all their forms.
    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let run = prop_oneof![
            prop::collection::vec(slot().prop_map(Op::Insert), 1..100),
            prop::collection::vec(slot().prop_map(Op::Remove), 1..20),
            prop::collection::vec(any::<prop::sample::Index>().prop_map(Op::RemoveAt), 1..100),
        ];
        prop::collection::vec(run, 1..8).prop_map(|runs| runs.concat())
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(ops in ops()) {
            let (mut set, mut model) = (SlotSet::new(), BTreeSet::new());
            for op in ops {
                match op {
                    Op::Insert(slot) => prop_assert_eq!(set.insert(slot), model.insert(slot)),
                    Op::Remove(slot) => prop_assert_eq!(set.remove(slot), model.remove(&slot)),
                    Op::RemoveAt(which) => {
                        let Some(&slot) = model.iter().nth(which.index(model.len().max(1)))
                        else { continue };
                        model.remove(&slot);
                        prop_assert!(set.remove(slot));
                    }
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.is_empty(), model.is_empty());
                prop_assert!(set.iter().eq(model.iter().copied()));
                prop_assert!((0..150).all(|slot| set.contains(slot) == model.contains(&slot)));
            }
            let mut appended = vec![9];
            set.append_to(&mut appended);
            prop_assert!(appended[1..].iter().eq(&model));
        }

        #[test]
        fn union_and_difference_are_those_of_sets(a in set(), b in set()) {
            let (left, right): (SlotSet, SlotSet) =
                (a.iter().copied().collect(), b.iter().copied().collect());
            let mut bitmap = RoaringBitmap::new();
            left.union_into(&mut bitmap);
            right.union_into(&mut bitmap);
            prop_assert!(bitmap.iter().eq(a.union(&b).copied()));

            let mut rest: Vec<u32> = a.iter().copied().collect();
            right.subtract_from(&mut rest);
            prop_assert!(rest.iter().eq(a.difference(&b)));
            prop_assert_eq!(left == right, a == b);
        }
    }

    #[test]
    fn a_small_set_is_32_bytes_and_no_more() {
        assert!(size_of::<SlotSet>() <= 32);
        let set: SlotSet = (0..INLINE as u32).collect();
        assert!(matches!(set.0, Repr::Inline { .. }));
    }

    #[test]
    fn a_large_set_becomes_small_again() {
        let mut set: SlotSet = (0..10_000).collect();
        assert!(matches!(set.0, Repr::Bitmap(_)));
        for slot in 0..9_970 {
            set.remove(slot);
        }
        assert!(matches!(set.0, Repr::Vec(_)));
        for slot in 9_970..9_996 {
            set.remove(slot);
        }
        assert!(matches!(set.0, Repr::Inline { len: 4, .. }));
    }

    #[test]
    fn a_member_that_comes_and_goes_at_a_boundary_converts_nothing() {
        let mut set: SlotSet = (0..=VEC_MAX as u32).collect();
        for _ in 0..3 {
            assert!(set.remove(7));
            assert!(matches!(set.0, Repr::Bitmap(_)));
            assert!(set.insert(7));
        }
    }
}
