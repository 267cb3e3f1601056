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
