//! Which workers have members of a room, so that a broadcast goes to those alone.
//!
//! A server with one worker keeps no index. With more, each shard notes the rooms that it creates
//! and deletes; the room that every socket has under its own id is not noted (there are as many
//! as sockets), so a name that may be an id reaches every worker that has sockets.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;
use sockeye_core::RoomObserver;
use sockeye_protocol::engine::SocketId;

use crate::namespace::NamespaceInner;
use crate::room::Room;
use crate::worker::Worker;

/// Parts of the index, each with a lock of its own: workers rarely meet at one.
const PARTS: usize = 16;

/// The rooms of all namespaces of a server.
pub(crate) struct RoomIndex {
    /// Names come from clients: the hash is keyed with a secret.
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
}

type Part = HashMap<Name, Workers>;

#[derive(PartialEq, Eq, Hash)]
struct Name {
    namespace: Box<str>,
    room: Box<str>,
}

/// For each worker that has the room, or will have it in a moment, how many reasons there are.
type Workers = SmallVec<[(u8, u32); 2]>;

impl RoomIndex {
    /// The index of a server; none for one worker, which has every room.
    pub(crate) fn of(workers: usize) -> Option<Arc<Self>> {
        let index = || RoomIndex {
            hasher: RandomState::new(),
            parts: Default::default(),
        };
        (workers > 1).then(|| Arc::new(index()))
    }

    /// Notes that `worker` has the room, or is about to: undone by [`RoomIndex::exit`].
    pub(crate) fn enter(&self, worker: u8, namespace: &str, room: &str) {
        let mut part = self.part(namespace, room).lock();
        let workers = part.entry(Name::new(namespace, room)).or_default();
        match workers.iter_mut().find(|(known, _)| *known == worker) {
            Some((_, reasons)) => *reasons += 1,
            None => workers.push((worker, 1)),
        }
    }

    /// Takes one [`RoomIndex::enter`] back.
    pub(crate) fn exit(&self, worker: u8, namespace: &str, room: &str) {
        let name = Name::new(namespace, room);
        let mut part = self.part(namespace, room).lock();
        let Some(workers) = part.get_mut(&name) else {
            return;
        };
        workers.retain(|(known, reasons)| {
            *reasons -= u32::from(*known == worker);
            *reasons > 0
        });
        if workers.is_empty() {
            part.remove(&name);
            if part.is_empty() {
                *part = HashMap::new();
            }
        }
    }

    /// The workers that a message to these rooms concerns.
    pub(crate) fn reach(&self, namespace: &str, rooms: &[impl AsRef<str>]) -> Reach {
        if rooms.is_empty() {
            return Reach::All;
        }
        if rooms
            .iter()
            .any(|room| SocketId::parse(room.as_ref()).is_ok())
        {
            return Reach::All;
        }
        // All at one moment: a socket that moves from one of the rooms to another is in both or in
        // one of them, never in none. Locked in ascending order, as by everybody.
        let at = |room: &str| self.place(namespace, room);
        let mut places: SmallVec<[usize; 4]> = rooms.iter().map(|r| at(r.as_ref())).collect();
        places.sort_unstable();
        places.dedup();
        let parts: SmallVec<[_; 4]> = places.iter().map(|at| self.parts[*at].lock()).collect();
        let mut reach = [0; 4];
        for room in rooms {
            let name = Name::new(namespace, room.as_ref());
            let workers = parts.iter().find_map(|part| part.get(&name));
            for (worker, _) in workers.into_iter().flatten() {
                reach[usize::from(worker / 64)] |= 1 << (worker % 64);
            }
        }
        Reach::Some(reach)
    }

    fn place(&self, namespace: &str, room: &str) -> usize {
        self.hasher.hash_one((namespace, room)) as usize % PARTS
    }

    fn part(&self, namespace: &str, room: &str) -> &Mutex<Part> {
        &self.parts[self.place(namespace, room)]
    }
}

impl Name {
    fn new(namespace: &str, room: &str) -> Self {
        Name {
            namespace: namespace.into(),
            room: room.into(),
        }
    }
}

/// The workers that a message concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Whoever has sockets of the namespace.
    All,
    /// One bit for each worker.
    Some([u64; 4]),
}

impl Reach {
    pub(crate) fn includes(&self, worker: u8) -> bool {
        match self {
            Reach::All => true,
            Reach::Some(workers) => workers[usize::from(worker / 64)] >> (worker % 64) & 1 == 1,
        }
    }
}

/// Rooms that sockets of another worker are about to join: a broadcast that is sent before the
/// worker has heard of it goes there too, and finds them behind the join in its inbox.
pub(crate) struct Expected {
    index: Arc<RoomIndex>,
    worker: u8,
    namespace: Arc<NamespaceInner>,
    rooms: Vec<Room>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        for room in &self.rooms {
            self.index.exit(self.worker, &self.namespace.name, room);
        }
    }
}

impl NamespaceInner {
    /// To be kept until the rooms are joined; nothing inside the worker, which joins at once.
    pub(crate) fn expect_rooms(
        self: &Arc<Self>,
        worker: &Worker,
        rooms: &[Room],
    ) -> Option<Expected> {
        let index = self.server().room_index.as_ref()?;
        if worker.is_here() {
            return None;
        }
        for room in rooms {
            index.enter(worker.index, &self.name, room);
        }
        Some(Expected {
            index: index.clone(),
            worker: worker.index,
            namespace: self.clone(),
            rooms: rooms.to_vec(),
        })
    }

    /// The workers that a message to these rooms concerns.
    pub(crate) fn reach(&self, rooms: &[Room]) -> Reach {
        match &self.server().room_index {
            Some(index) => index.reach(&self.name, rooms),
            None => Reach::All,
        }
    }
}

/// What one shard notes in the index.
pub(crate) struct Notes {
    index: Arc<RoomIndex>,
    worker: u8,
}

impl Notes {
    pub(crate) fn new(index: &Arc<RoomIndex>, worker: u8) -> Self {
        let index = index.clone();
        Notes { index, worker }
    }
}

impl RoomObserver for Notes {
    fn created(&self, namespace: &str, room: &str) {
        self.index.enter(self.worker, namespace, room);
    }

    fn deleted(&self, namespace: &str, room: &str) {
        self.index.exit(self.worker, namespace, room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(index: &RoomIndex, rooms: &[&str]) -> Vec<u8> {
        let reach = index.reach("/", rooms);
        (0..=255).filter(|worker| reach.includes(*worker)).collect()
    }

    #[test]
    fn a_room_concerns_the_workers_that_have_it_as_often_as_they_entered() {
        let index = RoomIndex::of(200).expect("more than one worker");
        index.enter(3, "/", "red");
        index.enter(3, "/", "red");
        index.enter(130, "/", "red");
        index.enter(7, "/", "blue");
        index.enter(9, "/other", "red");
        assert_eq!(workers(&index, &["red"]), [3, 130]);
        assert_eq!(workers(&index, &["red", "blue", "none"]), [3, 7, 130]);
        index.exit(3, "/", "red");
        assert_eq!(workers(&index, &["red"]), [3, 130]);
        index.exit(3, "/", "red");
        assert_eq!(workers(&index, &["red"]), [130]);
        index.exit(130, "/", "red");
        index.exit(130, "/", "red");
        assert!(workers(&index, &["red"]).is_empty());
        assert!(workers(&index, &["none"]).is_empty());
        index.exit(7, "/", "blue");
        index.exit(9, "/other", "red");
        assert!(index.parts.iter().all(|part| part.lock().is_empty()));
    }

    #[test]
    fn everybody_and_a_name_that_may_be_an_id_concern_all() {
        let index = RoomIndex::of(2).expect("more than one worker");
        let id = SocketId::new();
        assert_eq!(index.reach("/", &[] as &[&str]), Reach::All);
        assert_eq!(index.reach("/", &["red", id.as_str()]), Reach::All);
        assert!(RoomIndex::of(1).is_none());
    }
}
