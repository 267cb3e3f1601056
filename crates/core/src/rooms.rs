//! Who is in which room of one namespace on one shard, and whom a broadcast reaches.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use roaring::RoaringBitmap;

use crate::SlotSet;

/// Slots whose lists of rooms share one allocation.
const CHUNK: usize = 64;
/// Rooms whose ids fit beside the slot's own 16 bytes.
const INLINE: usize = 3;
/// Up to this many candidates sorting is faster than a bitmap.
const SORT_MAX: usize = 512;

/// The rooms of one namespace on one shard.
///
/// A room exists from its first member to its last; its name is stored once, whatever the number
/// of its members. A socket in up to three rooms costs 16 bytes here, next to its bit in each room.
/// Names come from clients, so the hash is keyed with a random secret.
///
/// The room that every socket has under its own id is *not* kept here: the caller knows its
/// sockets by id and tells [`resolve`](Rooms::resolve) about them.
///
/// ```
/// use sockeye_core::{Rooms, SlotSet};
///
/// let mut rooms = Rooms::new();
/// rooms.join(1, "blue");
/// rooms.join(2, "blue");
/// rooms.join(2, "muted");
/// let all: SlotSet = [1, 2, 3].into_iter().collect();
/// let mut to = Vec::new();
/// rooms.resolve(&all, &["blue"], &["muted"], |_| None, &mut to);
/// assert_eq!(to, [1]);
/// ```
#[derive(Debug, Default)]
pub struct Rooms {
    hasher: RandomState,
    by_name: HashTable<u32>,
    rooms: Vec<Room>,
    free: Vec<u32>,
    chunks: Vec<Option<Box<Chunk>>>,
}

/// What [`Rooms::join`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The room did not exist before.
    pub created: bool,
    /// The socket was not in it before.
    pub joined: bool,
}

/// What [`Rooms::leave`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The socket was in the room.
    pub left: bool,
    /// It was the last one, so the room is gone.
    pub deleted: bool,
}

impl Rooms {
    /// No rooms; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a socket into a room, creating it if need be.
    pub fn join(&mut self, slot: u32, name: &str) -> Joined {
        let hash = self.hasher.hash_one(name);
        if let Some(id) = self.find(hash, name) {
            let joined = self.rooms[id as usize].members.insert(slot);
            if joined {
                self.note_join(slot, id);
            }
            return Joined {
                created: false,
                joined,
            };
        }
        let id = self.create(hash, name);
        self.rooms[id as usize].members.insert(slot);
        self.note_join(slot, id);
        Joined {
            created: true,
            joined: true,
        }
    }

    /// Takes a socket out of a room.
    pub fn leave(&mut self, slot: u32, name: &str) -> Left {
        let Some(id) = self.find(self.hasher.hash_one(name), name) else {
            return Left {
                left: false,
                deleted: false,
            };
        };
        if !self.rooms[id as usize].members.remove(slot) {
            return Left {
                left: false,
                deleted: false,
            };
        }
        self.note_leave(slot, id);
        let deleted = self.rooms[id as usize].members.is_empty();
        if deleted {
            self.delete(id);
        }
        Left {
            left: true,
            deleted,
        }
    }

    /// Takes a socket out of all its rooms. The slot may be given to another socket then.
    pub fn leave_all(&mut self, slot: u32) {
        self.leave_all_with(slot, |_, _| {});
    }

    /// [`leave_all`](Rooms::leave_all), where `left` gets the name of each room, in the order in
    /// which they were joined, and whether the room is gone with the socket.
    pub fn leave_all_with(&mut self, slot: u32, mut left: impl FnMut(&str, bool)) {
        let ids = self.take_list(slot);
        for &id in ids.as_slice() {
            let room = &mut self.rooms[id as usize];
            room.members.remove(slot);
            let deleted = room.members.is_empty();
            left(&room.name, deleted);
            if deleted {
                self.delete(id);
            }
        }
    }

    /// The rooms of a socket, in the order in which it joined them.
    pub fn rooms_of(&self, slot: u32) -> impl ExactSizeIterator<Item = &str> {
        self.list(slot)
            .iter()
            .map(|&id| &*self.rooms[id as usize].name)
    }

    /// The number of rooms that a socket is in.
    pub fn room_count(&self, slot: u32) -> usize {
        self.list(slot).len()
    }

    /// Whether a socket is in a room.
    pub fn contains(&self, slot: u32, name: &str) -> bool {
        self.members(name)
            .is_some_and(|members| members.contains(slot))
    }

    /// The members of a room; `None` when there is no such room. Never an empty set.
    pub fn members(&self, name: &str) -> Option<&SlotSet> {
        let id = self.find(self.hasher.hash_one(name), name)?;
        Some(&self.rooms[id as usize].members)
    }

    /// The number of rooms.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The names of all rooms, in no particular order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.by_name
            .iter()
            .map(|&id| &*self.rooms[id as usize].name)
    }

    /// Whom a broadcast reaches: every member of any of `targets` (everybody in `all` when none
    /// is named) who is in none of `excepts`, each once, ascending, in `out`, whose former
    /// contents are lost.
    ///
    /// `extra` is asked for each name whether a socket goes by it besides the room's members: a
    /// socket's id is a room of its own, and so may be other names that are not stored here.
    ///
    /// ```
    /// # use sockeye_core::{Rooms, SlotSet};
    /// # let (rooms, all) = (Rooms::new(), SlotSet::new());
    /// let by_id = |name: &str| (name == "Xy1-5ocKet_of_sl0t_9").then_some(9);
    /// let mut to = Vec::new();
    /// rooms.resolve(&all, &["Xy1-5ocKet_of_sl0t_9"], &[] as &[&str], by_id, &mut to);
    /// assert_eq!(to, [9]);
    /// ```
    pub fn resolve<T: AsRef<str>, E: AsRef<str>>(
        &self,
        all: &SlotSet,
        targets: &[T],
        excepts: &[E],
        extra: impl Fn(&str) -> Option<u32>,
        out: &mut Vec<u32>,
    ) {
        out.clear();
        match targets {
            [] => all.append_to(out),
            [one] => self.append_room(one.as_ref(), &extra, out),
            _ => self.append_union(targets, &extra, out),
        }
        for name in excepts.iter().map(E::as_ref) {
            if out.is_empty() {
                return;
            }
            if let Some(members) = self.members(name) {
                members.subtract_from(out);
            }
            if let Some(Ok(at)) = extra(name).map(|slot| out.binary_search(&slot)) {
                out.remove(at);
            }
        }
    }

    /// Gives back memory that rooms and sockets have left behind; happens by itself when the last
    /// room goes. Takes time in proportion to the memory held: call it seldom.
    pub fn shrink(&mut self) {
        let used = self.rooms.iter().rposition(|room| !room.members.is_empty());
        self.rooms.truncate(used.map_or(0, |last| last + 1));
        let Self {
            hasher,
            by_name,
            rooms,
            free,
            chunks,
        } = self;
        free.retain(|id| (*id as usize) < rooms.len());
        // The next rooms go to the front, so that the end becomes free.
        free.sort_unstable_by(|a, b| b.cmp(a));
        free.shrink_to_fit();
        rooms.shrink_to_fit();
        by_name.shrink_to_fit(|id| hasher.hash_one(&*rooms[*id as usize].name));
        while chunks.last().is_some_and(Option::is_none) {
            chunks.pop();
        }
        chunks.shrink_to_fit();
    }

    fn append_room(&self, name: &str, extra: &impl Fn(&str) -> Option<u32>, out: &mut Vec<u32>) {
        if let Some(members) = self.members(name) {
            members.append_to(out);
        }
        if let Some(slot) = extra(name)
            && let Err(at) = out.binary_search(&slot)
        {
            out.insert(at, slot);
        }
    }

    fn append_union<T: AsRef<str>>(
        &self,
        targets: &[T],
        extra: &impl Fn(&str) -> Option<u32>,
        out: &mut Vec<u32>,
    ) {
        let mut bitmap = RoaringBitmap::new();
        for name in targets.iter().map(T::as_ref) {
            out.extend(extra(name));
            let Some(members) = self.members(name) else {
                continue;
            };
            if bitmap.is_empty() && out.len() + members.len() <= SORT_MAX {
                members.append_to(out);
            } else {
                members.union_into(&mut bitmap);
            }
        }
        if bitmap.is_empty() {
            out.sort_unstable();
            out.dedup();
            return;
        }
        bitmap.extend(out.drain(..));
        out.extend(&bitmap);
    }

    fn find(&self, hash: u64, name: &str) -> Option<u32> {
        self.by_name
            .find(hash, |id| *self.rooms[*id as usize].name == *name)
            .copied()
    }

    fn create(&mut self, hash: u64, name: &str) -> u32 {
        let room = Room {
            name: name.into(),
            members: SlotSet::new(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.rooms[id as usize] = room;
                id
            }
            None => {
                self.rooms.push(room);
                (self.rooms.len() - 1) as u32 // 2³² rooms would be 200 GiB of them
            }
        };
        let Self {
            hasher,
            by_name,
            rooms,
            ..
        } = self;
        by_name.insert_unique(hash, id, |id| hasher.hash_one(&*rooms[*id as usize].name));
        id
    }

    fn delete(&mut self, id: u32) {
        let name = std::mem::take(&mut self.rooms[id as usize].name);
        if let Ok(entry) = self
            .by_name
            .find_entry(self.hasher.hash_one(&*name), |at| *at == id)
        {
            entry.remove();
        }
        self.free.push(id);
        if self.by_name.is_empty() {
            self.shrink();
        }
    }

    fn list(&self, slot: u32) -> &[u32] {
        let (chunk, at) = (slot as usize / CHUNK, slot as usize % CHUNK);
        match self.chunks.get(chunk) {
            Some(Some(chunk)) => chunk.lists[at].as_slice(),
            _ => &[],
        }
    }

    fn note_join(&mut self, slot: u32, id: u32) {
        let (chunk, at) = (slot as usize / CHUNK, slot as usize % CHUNK);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks[chunk].get_or_insert_default();
        chunk.used += usize::from(chunk.lists[at].as_slice().is_empty());
        chunk.lists[at].push(id);
    }

    fn note_leave(&mut self, slot: u32, id: u32) {
        let (index, at) = (slot as usize / CHUNK, slot as usize % CHUNK);
        let Some(Some(chunk)) = self.chunks.get_mut(index) else {
            return;
        };
        chunk.lists[at].remove(id);
        if chunk.lists[at].as_slice().is_empty() {
            self.vacate(index);
        }
    }

    fn take_list(&mut self, slot: u32) -> IdList {
        let (index, at) = (slot as usize / CHUNK, slot as usize % CHUNK);
        let Some(Some(chunk)) = self.chunks.get_mut(index) else {
            return IdList::EMPTY;
        };
        let ids = std::mem::replace(&mut chunk.lists[at], IdList::EMPTY);
        if !ids.as_slice().is_empty() {
            self.vacate(index);
        }
        ids
    }

    /// One slot of the chunk has left its last room.
    fn vacate(&mut self, index: usize) {
        if let Some(chunk) = &mut self.chunks[index] {
            chunk.used -= 1;
            if chunk.used == 0 {
                self.chunks[index] = None;
            }
        }
    }
}

/// A free place has no members and an empty name, which allocates nothing.
#[derive(Debug)]
struct Room {
    name: Box<str>,
    members: SlotSet,
}

/// The lists of neighbouring slots, allocated while at least one of them is in a room.
#[derive(Debug)]
struct Chunk {
    used: usize,
    lists: [IdList; CHUNK],
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            used: 0,
            lists: [const { IdList::EMPTY }; CHUNK],
        }
    }
}

/// The rooms of one slot in 16 bytes.
#[derive(Debug)]
enum IdList {
    Inline {
        len: u8,
        ids: [u32; INLINE],
    },
    // A vector alone would double the size of every slot for the sake of the few.
    #[allow(clippy::box_collection)]
    Heap(Box<Vec<u32>>),
}

impl IdList {
    const EMPTY: Self = Self::Inline {
        len: 0,
        ids: [0; INLINE],
    };

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::Inline { len, ids } => &ids[..usize::from(*len)],
            Self::Heap(ids) => ids,
        }
    }

    fn push(&mut self, id: u32) {
        match self {
            Self::Heap(ids) => ids.push(id),
            Self::Inline { len, ids } if usize::from(*len) < INLINE => {
                ids[usize::from(*len)] = id;
                *len += 1;
            }
            Self::Inline { ids, .. } => {
                let mut grown = Vec::with_capacity(2 * INLINE);
                grown.extend_from_slice(ids);
                grown.push(id);
                *self = Self::Heap(Box::new(grown));
            }
        }
    }

    /// Removes an id, keeping the order of the others.
    fn remove(&mut self, id: u32) {
        match self {
            Self::Inline { len, ids } => {
                let used = usize::from(*len);
                if let Some(at) = ids[..used].iter().position(|own| *own == id) {
                    ids.copy_within(at + 1..used, at);
                    *len -= 1;
                }
            }
            Self::Heap(ids) => {
                if let Some(at) = ids.iter().position(|own| *own == id) {
                    ids.remove(at);
                }
                if ids.len() < INLINE {
                    let mut inline = [0; INLINE];
                    inline[..ids.len()].copy_from_slice(ids);
                    *self = Self::Inline {
                        len: ids.len() as u8,
                        ids: inline,
                    };
                } else if ids.len() <= ids.capacity() / 4 {
                    ids.shrink_to(ids.len() * 2);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const SLOTS: u32 = 200;
    const NAMES: [&str; 8] = ["", "a", "b", "room", "Room", "\u{1f980}", "all", "x"];

    #[derive(Debug, Clone)]
    enum Op {
        Join(u32, usize),
        JoinMany(u32, u32, usize),
        Leave(u32, usize),
        LeaveAll(u32),
        LeaveMany(u32, u32),
        Shrink,
    }

    fn op() -> impl Strategy<Value = Op> {
        let name = 0..NAMES.len();
        prop_oneof![
            6 => (0..SLOTS, name.clone()).prop_map(|(slot, name)| Op::Join(slot, name)),
            2 => (0..SLOTS, 0..SLOTS, name.clone()).prop_map(|(a, b, n)| Op::JoinMany(a, b, n)),
            4 => (0..SLOTS, name).prop_map(|(slot, name)| Op::Leave(slot, name)),
            2 => (0..SLOTS).prop_map(Op::LeaveAll),
            1 => (0..SLOTS, 0..SLOTS).prop_map(|(a, b)| Op::LeaveMany(a, b)),
            1 => Just(Op::Shrink),
        ]
    }

    /// Each room's members and each slot's rooms, the latter in order.
    #[derive(Default)]
    struct Model {
        members: BTreeMap<&'static str, BTreeSet<u32>>,
        lists: BTreeMap<u32, Vec<&'static str>>,
    }

    impl Model {
        fn join(&mut self, slot: u32, name: &'static str) -> Joined {
            let created = !self.members.contains_key(name);
            let joined = self.members.entry(name).or_default().insert(slot);
            if joined {
                self.lists.entry(slot).or_default().push(name);
            }
            Joined { created, joined }
        }

        fn leave(&mut self, slot: u32, name: &'static str) -> Left {
            let left = self
                .members
                .get_mut(name)
                .is_some_and(|members| members.remove(&slot));
            let deleted = left && self.members[name].is_empty();
            if deleted {
                self.members.remove(name);
            }
            self.lists
                .entry(slot)
                .or_default()
                .retain(|own| *own != name);
            Left { left, deleted }
        }

        fn leave_all(&mut self, slot: u32) -> Vec<(String, bool)> {
            let names = self.lists.remove(&slot).unwrap_or_default();
            names
                .iter()
                .map(|name| (name.to_string(), self.leave(slot, name).deleted))
                .collect()
        }

        fn named(&self, name: &str) -> BTreeSet<u32> {
            let mut slots = self.members.get(name).cloned().unwrap_or_default();
            slots.extend(by_id(name));
            slots
        }

        fn resolve(&self, all: &BTreeSet<u32>, to: &[&str], except: &[&str]) -> BTreeSet<u32> {
            let mut slots: BTreeSet<u32> = match to {
                [] => all.clone(),
                _ => to.iter().flat_map(|name| self.named(name)).collect(),
            };
            for name in except {
                slots.retain(|slot| !self.named(name).contains(slot));
            }
            slots
        }
    }

    /// Sockets go by `#<slot>`; one goes by the name of a room too.
    fn by_id(name: &str) -> Option<u32> {
        match name.strip_prefix('#') {
            Some(slot) => slot.parse().ok(),
            None => (name == "room").then_some(5),
        }
    }

    fn targets() -> impl Strategy<Value = Vec<&'static str>> {
        let name = prop::sample::select([&NAMES[..], &["#0", "#7", "#150", "none"]].concat());
        prop::collection::vec(name, 0..5)
    }

    proptest! {
        #[test]
        fn behaves_like_maps_of_sets(
            ops in prop::collection::vec(op(), 1..100),
            queries in prop::collection::vec((targets(), targets()), 1..10),
        ) {
            let (mut rooms, mut model) = (Rooms::new(), Model::default());
            for op in ops {
                let (join, leave) = match op {
                    Op::Join(slot, name) => (Some((slot..slot + 1, name)), 0..0),
                    Op::JoinMany(from, to, name) => (Some((from..to, name)), 0..0),
                    Op::LeaveAll(slot) => (None, slot..slot + 1),
                    Op::LeaveMany(from, to) => (None, from..to),
                    Op::Leave(slot, name) => {
                        let name = NAMES[name];
                        prop_assert_eq!(rooms.leave(slot, name), model.leave(slot, name));
                        (None, 0..0)
                    }
                    Op::Shrink => {
                        rooms.shrink();
                        (None, 0..0)
                    }
                };
                if let Some((slots, name)) = join {
                    for slot in slots {
                        let name = NAMES[name];
                        prop_assert_eq!(rooms.join(slot, name), model.join(slot, name));
                    }
                }
                for slot in leave {
                    let mut left = Vec::new();
                    rooms.leave_all_with(slot, |name, deleted| left.push((name.into(), deleted)));
                    prop_assert_eq!(left, model.leave_all(slot));
                }
            }

            prop_assert_eq!(rooms.len(), model.members.len());
            let names: BTreeSet<&str> = rooms.names().collect();
            prop_assert!(names.iter().eq(model.members.keys()));
            for slot in 0..SLOTS {
                let list = model.lists.get(&slot).cloned().unwrap_or_default();
                prop_assert_eq!(rooms.rooms_of(slot).collect::<Vec<_>>(), list.clone());
                prop_assert_eq!(rooms.room_count(slot), list.len());
                for name in NAMES {
                    prop_assert_eq!(rooms.contains(slot, name), list.contains(&name));
                }
            }
            for name in NAMES {
                let members = rooms.members(name).map(|members| members.iter().collect());
                prop_assert_eq!(members, model.members.get(name).cloned());
            }

            let everybody: BTreeSet<u32> = (0..SLOTS).collect();
            let all: SlotSet = everybody.iter().copied().collect();
            let mut out = vec![1, 2, 3];
            for (to, except) in queries {
                rooms.resolve(&all, &to, &except, by_id, &mut out);
                let expected = model.resolve(&everybody, &to, &except);
                prop_assert!(out.iter().eq(&expected), "{to:?} {except:?}: {out:?}");
            }
        }
    }

    fn resolve(rooms: &Rooms, to: &[&str], except: &[&str]) -> Vec<u32> {
        let mut out = Vec::new();
        rooms.resolve(&(0..20_000).collect(), to, except, by_id, &mut out);
        out
    }

    /// Large enough for every form of a set and for both ways to unite them.
    #[test]
    fn large_rooms_resolve_as_small_ones_do() {
        let mut rooms = Rooms::new();
        for slot in 0..20_000 {
            rooms.join(slot, "all");
            if slot % 3 == 0 {
                rooms.join(slot, "third");
            }
            if slot % 1_000 == 0 {
                rooms.join(slot, "few");
            }
        }
        let expect =
            |keep: &dyn Fn(u32) -> bool| (0..20_000).filter(|s| keep(*s)).collect::<Vec<_>>();
        assert_eq!(
            resolve(&rooms, &["all"], &["third"]),
            expect(&|s| s % 3 != 0)
        );
        assert_eq!(
            resolve(&rooms, &["few"], &["third"]),
            expect(&|s| s % 1_000 == 0 && s % 3 != 0)
        );
        assert_eq!(
            resolve(&rooms, &["few", "third", "#1"], &["#0"]),
            expect(&|s| s != 0 && (s % 1_000 == 0 || s % 3 == 0 || s == 1))
        );
        assert_eq!(resolve(&rooms, &[], &["all"]), Vec::<u32>::new());
    }

    #[test]
    fn a_slot_costs_16_bytes_and_a_room_48() {
        assert_eq!(size_of::<IdList>(), 16);
        assert_eq!(size_of::<Room>(), 48);
    }

    #[test]
    fn rooms_and_slots_that_are_gone_leave_no_memory_behind() {
        let mut rooms = Rooms::new();
        for slot in 0..5_000u32 {
            for room in 0..5 {
                rooms.join(slot * 100, &format!("{slot}/{room}"));
            }
        }
        assert_eq!(rooms.len(), 25_000);
        for slot in 0..5_000u32 {
            rooms.leave_all(slot * 100);
        }
        assert!(rooms.is_empty());
        assert_eq!(
            rooms.rooms.capacity() + rooms.free.capacity() + rooms.chunks.capacity(),
            0
        );
        assert_eq!(rooms.by_name.capacity(), 0);
    }

    /// A slot far out must not make room for all before it: a shard numbers its sockets across all
    /// namespaces, and a namespace may have but one of them.
    #[test]
    fn a_lonely_slot_costs_little() {
        let mut rooms = Rooms::new();
        rooms.join(1_000_000, "room");
        let bytes = rooms.chunks.capacity() * 8 + CHUNK * 16;
        assert!(bytes < 150_000, "{bytes}");
        assert_eq!(resolve(&rooms, &["room"], &[]), [5, 1_000_000]);
    }

    #[test]
    fn one_socket_in_thousands_of_rooms_leaves_them_in_order() {
        let mut rooms = Rooms::new();
        let names: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
        for name in &names {
            rooms.join(3, name);
        }
        assert!(rooms.rooms_of(3).eq(names.iter().map(String::as_str)));
        for name in names.iter().rev().take(4_998) {
            assert_eq!(
                rooms.leave(3, name),
                Left {
                    left: true,
                    deleted: true
                }
            );
        }
        assert!(rooms.rooms_of(3).eq(["0", "1"]));
    }
}
