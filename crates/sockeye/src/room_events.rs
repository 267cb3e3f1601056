//! What becomes of the rooms of a namespace, for those who want to know.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use sockeye_core::RoomChange;

use crate::dispatch::panicked;
use crate::listeners::ListenerId;
use crate::room::Room;
use crate::server::ServerInner;
use crate::socket::Socket;

/// What became of a room on this node: the events `create-room`, `join-room`, `leave-room` and
/// `delete-room` of a Node.js adapter.
///
/// Every socket is in a room of its own, named by its id, from its connection to its end; that room
/// is told of like any other. Rooms of users ([`Socket::set_user`]) are not.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RoomEvent {
    /// It has got its first member on this node.
    Created {
        /// The name of the room.
        room: Room,
    },
    /// A socket has joined it.
    Joined {
        /// The name of the room.
        room: Room,
        /// The id of the socket.
        id: Arc<str>,
    },
    /// A socket has left it, or is disconnected: its disconnecting handlers have run.
    Left {
        /// The name of the room.
        room: Room,
        /// The id of the socket.
        id: Arc<str>,
    },
    /// Its last member on this node has left.
    Deleted {
        /// The name of the room.
        room: Room,
    },
}

impl RoomEvent {
    /// The name of the room.
    pub fn room(&self) -> &str {
        match self {
            RoomEvent::Created { room }
            | RoomEvent::Joined { room, .. }
            | RoomEvent::Left { room, .. }
            | RoomEvent::Deleted { room } => room,
        }
    }

    /// The id of the socket that joined or left.
    pub fn id(&self) -> Option<&str> {
        match self {
            RoomEvent::Joined { id, .. } | RoomEvent::Left { id, .. } => Some(id),
            RoomEvent::Created { .. } | RoomEvent::Deleted { .. } => None,
        }
    }
}

type Listener = Arc<dyn Fn(RoomEvent) + Send + Sync>;

/// Events that one worker tells, for all, before it turns to its connections again.
const AT_ONCE: usize = 64;

/// Those who want to know what becomes of the rooms of one namespace.
#[derive(Default)]
pub(crate) struct RoomWatch {
    /// Whether there is anybody: asked whenever a socket is let in.
    active: AtomicBool,
    listeners: RwLock<Vec<(ListenerId, Listener)>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// On how many shards a room stands. What a shard has noted may be counted before or after
    /// its rooms are when listening begins and ends, so it may be below zero for a moment.
    shards: HashMap<Room, i32>,
    /// What is to be told, in order.
    waiting: VecDeque<RoomEvent>,
    /// Somebody is telling.
    telling: bool,
}

impl RoomWatch {
    /// The watch of a namespace made of the one that `self` watches.
    pub(crate) fn for_child(&self) -> Self {
        let listeners = self.listeners.read().clone();
        RoomWatch {
            active: AtomicBool::new(!listeners.is_empty()),
            listeners: RwLock::new(listeners),
            told: Mutex::default(),
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Adds a listener; whether it is the first.
    pub(crate) fn add(&self, listener: Listener) -> (ListenerId, bool) {
        let id = ListenerId::next();
        let mut listeners = self.listeners.write();
        listeners.push((id, listener));
        (id, !self.active.swap(true, Ordering::AcqRel))
    }

    /// Takes a listener back: whether it was there, and whether it was the last.
    pub(crate) fn remove(&self, id: ListenerId) -> (bool, bool) {
        let mut listeners = self.listeners.write();
        let at = listeners.iter().position(|(known, _)| *known == id);
        let removed = at.map(|at| listeners.remove(at));
        let last = listeners.is_empty() && self.active.swap(false, Ordering::AcqRel);
        // To drop what belongs to the application runs its code: not with the lock in hand.
        drop(listeners);
        (removed.is_some(), last)
    }

    /// Counts the rooms that stand on a shard which has just begun to tell, or has ended.
    pub(crate) fn count(&self, rooms: Vec<Room>, by: i32) {
        let mut told = self.told.lock();
        for room in rooms.into_iter().filter(|room| !is_hidden(room)) {
            told.count(room, by);
        }
    }

    /// Tells what a shard has noted. Several shards may have something to tell at once: each event
    /// is put into the order under the lock, and told by whoever tells already, without it.
    pub(crate) fn tell(
        &self,
        server: &Arc<ServerInner>,
        socket: &Socket,
        room: Room,
        change: RoomChange,
    ) {
        {
            let mut told = self.told.lock();
            told.note(socket.id(), room, change);
            if std::mem::replace(&mut told.telling, true) {
                return;
            }
        }
        if !self.tell_some(server) {
            return;
        }
        let (worker, server) = (socket.connection().worker.clone(), server.clone());
        let namespace = socket.namespace_inner().clone();
        worker.clone().spawn(async move {
            let mut more = true;
            while more {
                tokio::task::yield_now().await;
                more = namespace.room_watch.tell_some(&server);
                worker.pump(&server);
            }
        });
    }

    /// Tells some of what waits; whether there may be more, which the caller has to tell then.
    fn tell_some(&self, server: &Arc<ServerInner>) -> bool {
        for _ in 0..AT_ONCE {
            let next = {
                let mut told = self.told.lock();
                let next = told.waiting.pop_front();
                told.telling = next.is_some();
                next
            };
            let Some(event) = next else { return false };
            let listeners = self.listeners.read().clone();
            for (_, listener) in listeners {
                let event = event.clone();
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| listener(event))) {
                    panicked(server, "a room event", &*panic);
                }
            }
        }
        true
    }
}

/// Whether a room is not told of: that of a user.
fn is_hidden(room: &str) -> bool {
    room.starts_with('\u{1}')
}

impl Told {
    /// Counts a shard in or out; how many there are then.
    fn count(&mut self, room: Room, by: i32) -> i32 {
        let count = self.shards.entry(room.clone()).or_default();
        *count += by;
        let now = *count;
        if now == 0 {
            self.shards.remove(&room);
        }
        now
    }

    fn note(&mut self, id: &str, room: Room, change: RoomChange) {
        if is_hidden(&room) {
            return;
        }
        // The room of a socket's own stands on one shard only.
        let own = *room == *id;
        match change {
            RoomChange::Joined { created } => {
                if created && (own || self.count(room.clone(), 1) == 1) {
                    let room = room.clone();
                    self.waiting.push_back(RoomEvent::Created { room });
                }
                let id = id.into();
                self.waiting.push_back(RoomEvent::Joined { room, id });
            }
            RoomChange::Left { deleted } => {
                let (room_left, id) = (room.clone(), id.into());
                self.waiting.push_back(RoomEvent::Left {
                    room: room_left,
                    id,
                });
                if deleted && (own || self.count(room.clone(), -1) == 0) {
                    self.waiting.push_back(RoomEvent::Deleted { room });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is never told of is not counted either, or it would stay for ever.
    #[test]
    fn rooms_of_users_are_not_counted() {
        let watch = RoomWatch::default();
        watch.count(vec!["\u{1}user:ada".into(), "red".into()], 1);
        let told = watch.told.lock();
        let counted: Vec<&str> = told.shards.keys().map(|room| &**room).collect();
        assert_eq!(counted, ["red"]);
    }

    proptest! {
        /// Whatever several shards note, in whatever order: a room is created before anybody joins
        /// it, deleted after everybody has left, and neither twice.
        #[test]
        fn creation_and_deletion_enclose_the_members(
            steps in proptest::collection::vec((0u8..3, 0u8..4), 0..80)
        ) {
            let mut told = Told::default();
            let mut members: [Vec<u8>; 3] = Default::default();
            for (shard, member) in steps {
                let here = &mut members[usize::from(shard)];
                let id = format!("{shard}-{member}");
                if let Some(at) = here.iter().position(|known| *known == member) {
                    here.remove(at);
                    let deleted = here.is_empty();
                    told.note(&id, "room".into(), RoomChange::Left { deleted });
                } else {
                    here.push(member);
                    let created = here.len() == 1;
                    told.note(&id, "room".into(), RoomChange::Joined { created });
                }
            }
            let (mut stands, mut inside) = (false, Vec::new());
            for event in told.waiting {
                match event {
                    RoomEvent::Created { .. } => {
                        prop_assert!(!stands);
                        stands = true;
                    }
                    RoomEvent::Joined { id, .. } => {
                        prop_assert!(stands);
                        inside.push(id);
                    }
                    RoomEvent::Left { id, .. } => {
                        prop_assert!(stands);
                        let at = inside.iter().position(|known| *known == id);
                        inside.remove(at.expect("it was there"));
                    }
                    RoomEvent::Deleted { .. } => {
                        prop_assert!(stands && inside.is_empty());
                        stands = false;
                    }
                }
            }
            prop_assert_eq!(stands, members.iter().any(|here| !here.is_empty()));
            prop_assert_eq!(told.shards.len(), usize::from(stands));
        }
    }
}
