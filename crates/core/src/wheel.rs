//! One timing wheel for every deadline of a shard: heartbeats, expiry, acks, grace.
//!
//! Eleven levels of 64 buckets, each bucket a doubly linked list threaded through one slab. A
//! level is chosen by the highest bit in which the deadline differs from the wheel's position,
//! so that every deadline that fits in a `u64` has its place and none needs an overflow list.

const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
const LEVELS: usize = 64usize.div_ceil(BITS as usize);
/// End of a list, and the head of an empty one.
const NIL: u32 = u32::MAX;

/// Names one timer of one [`Wheel`].
///
/// A handle outlives its timer harmlessly: once the timer has fired or was cancelled, the handle
/// names nothing, even when the memory has been reused. (Only after 2³² further insertions, and
/// only at the same place, could an old handle name a newer timer.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: std::num::NonZeroU32,
}

/// A hierarchical timing wheel. Times are milliseconds on a clock that the caller reads.
///
/// * A timer never fires early, and fires on the first [`advance`](Wheel::advance) to a time at
///   least one tick after its deadline, if not before.
/// * Timers fire in the order of their deadlines, counted in ticks, and within one tick in the
///   order of their insertion. A deadline that has already passed when it is inserted counts as
///   due at that moment.
/// * Inserting and cancelling take constant time; advancing takes time in proportion to what
///   fires or moves, not to the time that has passed.
/// * A timer takes 32 bytes for keys of up to 8 bytes (12 if four-byte alignment is enough).
///
/// ```
/// use sockeye_core::Wheel;
///
/// let mut wheel = Wheel::new(10, 1_000);
/// let ping = wheel.insert(26_000, "ping");
/// wheel.insert(1_500, "ack");
/// let mut due = Vec::new();
/// wheel.advance(2_000, &mut due);
/// assert_eq!(due, ["ack"]);
/// assert!(wheel.cancel(ping));
/// assert_eq!(wheel.next_wake(), None);
/// ```
#[derive(Debug)]
pub struct Wheel<K> {
    tick_ms: u64,
    /// Everything up to and including this tick has fired.
    position: u64,
    occupied: [u64; LEVELS],
    heads: Box<[[u32; BUCKETS]; LEVELS]>,
    /// Timers that were already due when they were inserted.
    ready: u32,
    slab: Vec<Timer<K>>,
    /// The first free place to be used again. Places behind `limit` are not on this list.
    free: u32,
    limit: u32,
    len: u32,
    generation: u32,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel that starts at `now_ms` and rounds deadlines up to multiples of `tick_ms`.
    ///
    /// A longer tick means fewer wakes and later timers. A `tick_ms` of zero counts as one.
    pub fn new(tick_ms: u64, now_ms: u64) -> Self {
        let tick_ms = tick_ms.max(1);
        Self {
            tick_ms,
            position: now_ms / tick_ms,
            occupied: [0; LEVELS],
            heads: Box::new([[NIL; BUCKETS]; LEVELS]),
            ready: NIL,
            slab: Vec::new(),
            free: NIL,
            limit: NIL,
            len: 0,
            generation: 0,
        }
    }

    /// Adds a timer that fires at `deadline_ms`, or as little as possible after it.
    ///
    /// # Panics
    ///
    /// When 2³² − 1 timers are pending, which is 128 GiB of them.
    pub fn insert(&mut self, deadline_ms: u64, key: K) -> TimerId {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let timer = Timer {
            due: deadline_ms.div_ceil(self.tick_ms),
            next: NIL,
            prev: NIL,
            generation: self.generation,
            key,
        };
        let index = self.allocate(timer);
        self.link(index);
        self.len += 1;
        // The counter above skips zero, so the fallback is never taken.
        let generation =
            std::num::NonZeroU32::new(self.generation).unwrap_or(std::num::NonZeroU32::MIN);
        TimerId { index, generation }
    }

    /// Removes a timer. `false` when it has fired already or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        match self.slab.get(id.index as usize) {
            Some(timer) if timer.generation == id.generation.get() => {}
            _ => return false,
        }
        self.unlink(id.index);
        self.release(id.index);
        if self.len == 0 {
            self.shrink();
        }
        true
    }

    /// Moves to `now_ms` and appends the keys of all timers that are due by then to `due`.
    ///
    /// A time before the last one moves nothing; timers that were inserted when already due
    /// still fire.
    pub fn advance(&mut self, now_ms: u64, due: &mut Vec<K>) {
        if self.len == 0 {
            self.position = self.position.max(now_ms / self.tick_ms);
            return;
        }
        let ready = std::mem::replace(&mut self.ready, NIL);
        self.fire(ready, due);
        let target = now_ms / self.tick_ms;
        while let Some((level, bucket, start)) = self.first_bucket() {
            if start > target {
                break;
            }
            self.position = start;
            self.occupied[level] &= !(1 << bucket);
            let head = std::mem::replace(&mut self.heads[level][bucket], NIL);
            if level == 0 {
                self.fire(head, due);
            } else {
                self.cascade(head);
            }
        }
        self.position = self.position.max(target);
        if self.len == 0 {
            self.shrink();
        }
    }

    /// The time in milliseconds until which a worker may sleep; `None` when no timer is pending.
    ///
    /// It is never later than the moment at which the next timer fires. It may be earlier, when
    /// timers that are far away are sorted into finer buckets on the way; that happens at most
    /// once per level, so three or four times between now and a deadline minutes away.
    pub fn next_wake(&self) -> Option<u64> {
        if self.ready != NIL {
            return Some(self.position.saturating_mul(self.tick_ms));
        }
        let (_, _, start) = self.first_bucket()?;
        Some(start.saturating_mul(self.tick_ms))
    }

    /// The number of pending timers.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no timer is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of timers for which memory is held.
    pub fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    /// Gives back memory that a herd of timers has left behind.
    ///
    /// It happens by itself when the last timer goes. Otherwise only the part behind the last
    /// pending timer can be given back at once; from now on new timers go to the front, so that
    /// repeated calls (with heartbeats renewed between them) get there. Takes time in proportion to
    /// the memory held: call it seldom, say every ten seconds.
    pub fn shrink(&mut self) {
        let used = self.slab.iter().rposition(|timer| timer.generation != 0);
        self.slab.truncate(used.map_or(0, |last| last + 1));
        if self.slab.len() <= self.slab.capacity() / 2 {
            self.slab.shrink_to(self.slab.len() + self.slab.len() / 4);
        }
        self.list_free(self.len.saturating_add(self.len / 4).max(64));
    }

    /// Makes the free places before `limit` those to be used again, from the front.
    fn list_free(&mut self, limit: u32) {
        self.free = NIL;
        self.limit = limit;
        let listed = self.slab.len().min(limit as usize);
        for (index, timer) in self.slab[..listed].iter_mut().enumerate().rev() {
            if timer.generation == 0 {
                timer.next = self.free;
                self.free = index as u32; // below `limit`
            }
        }
    }

    fn allocate(&mut self, timer: Timer<K>) -> u32 {
        if self.free == NIL && (self.limit as usize) < self.slab.len() {
            // The herd is coming back.
            self.list_free(NIL);
        }
        if self.free != NIL {
            let index = self.free;
            let place = &mut self.slab[index as usize];
            self.free = place.next;
            *place = timer;
            return index;
        }
        assert!(self.slab.len() < NIL as usize, "too many timers");
        self.slab.push(timer);
        (self.slab.len() - 1) as u32
    }

    fn release(&mut self, index: u32) {
        let place = &mut self.slab[index as usize];
        place.generation = 0;
        if index < self.limit {
            place.next = self.free;
            self.free = index;
        }
        self.len -= 1;
    }

    /// The bucket of a tick that lies ahead. While the position stays before a bucket's start, the
    /// answer for its timers does not change, so it need not be stored with them.
    fn bucket_of(&self, due: u64) -> (usize, usize) {
        let differing = (due ^ self.position) | (BUCKETS as u64 - 1);
        let level = (63 - differing.leading_zeros()) / BITS;
        let bucket = (due >> (level * BITS)) as usize & (BUCKETS - 1);
        (level as usize, bucket)
    }

    /// The earliest occupied bucket and the tick at which it starts. Lower levels come first: what
    /// they hold shares more leading bits with the position.
    fn first_bucket(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let bucket = self.occupied[level].trailing_zeros();
        let shift = level as u32 * BITS;
        let above = self.position.checked_shr(shift + BITS).unwrap_or(0);
        let above = above.checked_shl(shift + BITS).unwrap_or(0);
        Some((level, bucket as usize, above | u64::from(bucket) << shift))
    }

    fn head(&mut self, due: u64) -> &mut u32 {
        if due <= self.position {
            return &mut self.ready;
        }
        let (level, bucket) = self.bucket_of(due);
        &mut self.heads[level][bucket]
    }

    fn link(&mut self, index: u32) {
        let due = self.slab[index as usize].due;
        if due > self.position {
            let (level, bucket) = self.bucket_of(due);
            self.occupied[level] |= 1 << bucket;
        }
        let head = self.head(due);
        if *head == NIL {
            *head = index;
            self.set_neighbours(index, index, index);
            return;
        }
        let first = *head;
        let last = self.slab[first as usize].prev;
        self.set_neighbours(index, last, first);
        self.slab[last as usize].next = index;
        self.slab[first as usize].prev = index;
    }

    fn unlink(&mut self, index: u32) {
        let Timer {
            due, next, prev, ..
        } = self.slab[index as usize];
        if next != index {
            self.slab[prev as usize].next = next;
            self.slab[next as usize].prev = prev;
            let head = self.head(due);
            if *head == index {
                *head = next;
            }
            return;
        }
        *self.head(due) = NIL;
        if due > self.position {
            let (level, bucket) = self.bucket_of(due);
            self.occupied[level] &= !(1 << bucket);
        }
    }

    fn set_neighbours(&mut self, index: u32, prev: u32, next: u32) {
        let timer = &mut self.slab[index as usize];
        timer.prev = prev;
        timer.next = next;
    }

    /// Fires a whole list that no head names any more.
    fn fire(&mut self, head: u32, due: &mut Vec<K>) {
        let mut index = head;
        while index != NIL {
            let Timer { next, key, .. } = self.slab[index as usize];
            due.push(key);
            self.release(index);
            index = if next == head { NIL } else { next };
        }
    }

    /// Sorts a whole list, which no head names any more, into finer buckets.
    fn cascade(&mut self, head: u32) {
        let mut index = head;
        while index != NIL {
            let next = self.slab[index as usize].next;
            self.link_ahead(index);
            index = if next == head { NIL } else { next };
        }
    }

    /// Links a timer that is due at the position or after it, the position itself not having
    /// fired yet.
    fn link_ahead(&mut self, index: u32) {
        let (level, bucket) = self.bucket_of(self.slab[index as usize].due);
        self.occupied[level] |= 1 << bucket;
        let first = self.heads[level][bucket];
        if first == NIL {
            self.heads[level][bucket] = index;
            self.set_neighbours(index, index, index);
            return;
        }
        let last = self.slab[first as usize].prev;
        self.set_neighbours(index, last, first);
        self.slab[last as usize].next = index;
        self.slab[first as usize].prev = index;
    }
}

#[derive(Debug, Clone, Copy)]
struct Timer<K> {
    /// The tick at which it fires.
    due: u64,
    /// In its list, which is a ring; of a free place, the next free one.
    next: u32,
    prev: u32,
    /// Zero for a free place.
    generation: u32,
    key: K,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64),
        InsertAt(u64),
        Cancel(prop::sample::Index),
        Advance(u64),
        AdvanceToWake,
        Shrink,
    }

    fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..200, 0u64..100_000, 0u64..1 << 40]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => delay().prop_map(Op::Insert),
            1 => any::<u64>().prop_map(Op::InsertAt),
            3 => any::<prop::sample::Index>().prop_map(Op::Cancel),
            3 => delay().prop_map(Op::Advance),
            2 => Just(Op::AdvanceToWake),
            1 => Just(Op::Shrink),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// The model fires by tick, then by order of insertion.
        #[test]
        fn behaves_like_a_sorted_map(
            tick in prop_oneof![Just(1u64), Just(7), 1u64..50],
            mut now in delay(),
            ops in prop::collection::vec(op(), 1..200),
        ) {
            let mut wheel = Wheel::new(tick, now);
            let mut model: BTreeMap<(u64, u64), (u64, TimerId)> = BTreeMap::new();
            let mut ids: Vec<TimerId> = Vec::new();
            let mut sequence = 0;
            for op in ops {
                match op {
                    Op::Insert(_) | Op::InsertAt(_) => {
                        let deadline = match op {
                            // Some of them in the past.
                            Op::Insert(delay) => (now + delay).saturating_sub(100),
                            Op::InsertAt(deadline) => deadline,
                            _ => unreachable!(),
                        };
                        let id = wheel.insert(deadline, sequence);
                        let due = deadline.div_ceil(tick).max(now / tick);
                        model.insert((due, sequence), (deadline, id));
                        ids.push(id);
                        sequence += 1;
                    }
                    Op::Cancel(which) if !ids.is_empty() => {
                        let id = ids[which.index(ids.len())];
                        let before = model.len();
                        model.retain(|_, (_, other)| *other != id);
                        prop_assert_eq!(wheel.cancel(id), model.len() < before);
                        prop_assert!(!wheel.cancel(id));
                    }
                    Op::Cancel(_) => {}
                    Op::Shrink => wheel.shrink(),
                    Op::Advance(_) | Op::AdvanceToWake => {
                        now = match op {
                            Op::Advance(by) => now.saturating_add(by),
                            _ => wheel.next_wake().unwrap_or(now).max(now),
                        };
                        let mut due = Vec::new();
                        wheel.advance(now, &mut due);
                        let mut expected = Vec::new();
                        while let Some(entry) = model.first_entry()
                            && entry.key().0 <= now / tick
                        {
                            prop_assert!(entry.get().0 <= now, "early");
                            expected.push(entry.key().1);
                            entry.remove();
                        }
                        prop_assert_eq!(due, expected);
                        // Late by at most a tick.
                        let late = |deadline: u64| deadline.saturating_add(tick) <= now;
                        prop_assert!(!model.values().any(|(deadline, _)| late(*deadline)));
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let wake = wheel.next_wake();
                prop_assert_eq!(wake.is_none(), model.is_empty());
                if let (Some(wake), Some(((due, _), _))) = (wake, model.first_key_value()) {
                    prop_assert!(wake <= due.saturating_mul(tick).max(now));
                }
            }
        }

        /// A worker that sleeps until `next_wake` is never late, and is not woken for nothing more
        /// than once per level.
        #[test]
        fn sleeping_until_the_next_wake_is_enough(
            tick in 1u64..50,
            start in delay(),
            delay in 0u64..1 << 40,
        ) {
            let mut wheel = Wheel::new(tick, start);
            wheel.insert(start + delay, ());
            let (mut due, mut wakes, mut now) = (Vec::new(), 0, start);
            while let Some(wake) = wheel.next_wake() {
                now = now.max(wake);
                wheel.advance(now, &mut due);
                wakes += 1;
            }
            prop_assert_eq!(due.len(), 1);
            prop_assert!((start + delay..start + delay + tick).contains(&now));
            prop_assert!(wakes <= LEVELS);
        }
    }

    #[test]
    fn a_timer_takes_32_bytes() {
        assert!(size_of::<Timer<u64>>() <= 32);
        assert!(size_of::<Timer<(u32, u32, u32)>>() <= 32);
        assert_eq!(size_of::<Option<TimerId>>(), 8);
    }

    #[test]
    fn the_end_of_time_has_a_place() {
        let mut wheel = Wheel::new(1, 0);
        wheel.insert(u64::MAX, "last");
        wheel.insert(u64::MAX - 1, "before");
        let mut due = Vec::new();
        wheel.advance(u64::MAX - 2, &mut due);
        assert!(due.is_empty());
        wheel.advance(u64::MAX, &mut due);
        assert_eq!(due, ["before", "last"]);
    }

    #[test]
    fn a_handle_does_not_name_the_next_timer_in_its_place() {
        let mut wheel = Wheel::new(1, 0);
        let old = wheel.insert(10, 'a');
        wheel.insert(1_000, 'x');
        assert!(wheel.cancel(old));
        let new = wheel.insert(10, 'b');
        assert_eq!(new.index, old.index);
        assert!(!wheel.cancel(old));
        // Not even when the memory was given back in between.
        assert!(wheel.cancel(new));
        wheel.shrink();
        wheel.insert(10, 'c');
        assert!(!wheel.cancel(new) && !wheel.cancel(old));
    }

    #[test]
    fn a_herd_leaves_no_memory_behind() {
        let mut wheel = Wheel::new(8, 0);
        let ids: Vec<TimerId> = (0..10_000).map(|n| wheel.insert(25_000 + n, n)).collect();
        assert!(wheel.capacity() >= 10_000);
        for id in ids {
            wheel.cancel(id);
        }
        assert_eq!(wheel.capacity(), 0);
    }

    /// Those who stay are at the end of the memory at first; as their timers are renewed they move
    /// to the front.
    #[test]
    fn memory_follows_those_who_stay() {
        let mut wheel = Wheel::new(8, 0);
        let mut ids: Vec<TimerId> = (0..10_000).map(|n| wheel.insert(25_000, n)).collect();
        let stay = ids.split_off(9_900);
        for id in ids {
            wheel.cancel(id);
        }
        wheel.shrink();
        for (round, id) in (0u64..).zip(stay) {
            wheel.cancel(id);
            wheel.insert(50_000 + round, round);
        }
        wheel.shrink();
        assert_eq!(wheel.len(), 100);
        assert!(wheel.capacity() <= 250, "{}", wheel.capacity());
        // And the herd may come back.
        for round in 0..10_000 {
            wheel.insert(50_000 + round, round);
        }
        let mut due = Vec::new();
        wheel.advance(100_000, &mut due);
        assert_eq!(due.len(), 10_100);
    }

    #[test]
    fn time_that_runs_backwards_moves_nothing() {
        let mut wheel = Wheel::new(10, 1_000);
        wheel.insert(1_500, 'a');
        let mut due = Vec::new();
        wheel.advance(500, &mut due);
        wheel.insert(400, 'b');
        assert_eq!(wheel.next_wake(), Some(1_000));
        wheel.advance(500, &mut due);
        assert_eq!(due, ['b']);
        wheel.advance(1_500, &mut due);
        assert_eq!(due, ['b', 'a']);
    }
}
