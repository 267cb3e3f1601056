//! Deliveries: one packet to one socket, or to a set of them.

use std::sync::Arc;

use crate::arena::Key;
use crate::host::Host;
use crate::message::Message;
use crate::outbound::Queued;
use crate::shard::Shard;

/// Who receives a broadcast: everyone in one of `rooms` (everyone in the namespace if that is
/// empty) who is not in one of `except`. A socket's id names a room of its own.
#[derive(Clone, Copy, Default, Debug)]
pub struct Target<'a> {
    /// Rooms to reach; none means the whole namespace.
    pub rooms: &'a [Arc<str>],
    /// Rooms to leave out.
    pub except: &'a [Arc<str>],
}

/// What became of a broadcast on one shard.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delivery {
    /// Sockets it was queued for.
    pub queued: usize,
    /// Sockets it was dropped for, because it was volatile.
    pub dropped: usize,
    /// Sockets whose connection had no room.
    pub refused: usize,
}

impl<H: Host> Shard<H> {
    /// Hands a packet to one socket's connection.
    #[must_use]
    pub fn send(&mut self, socket: Key, message: &Arc<Message>) -> Queued {
        self.end_full();
        let Some(state) = self.sockets.get(socket).filter(|state| !state.leaving) else {
            return Queued::Refused;
        };
        let session = state.session;
        let queued = self.enqueue(session, message);
        if queued == Queued::Refused && self.sessions.get(session).is_some() {
            self.full.push(session);
        }
        queued
    }

    /// The sockets of `namespace` that `target` names, each once.
    pub fn resolve(&mut self, namespace: &str, target: Target<'_>, into: &mut Vec<Key>) {
        let slots = self.resolve_slots(namespace, target);
        let key_of = |slot: &u32| self.sockets.at(*slot).map(|(key, _)| key);
        into.extend(slots.iter().filter_map(key_of));
        self.scratch = slots;
    }

    /// How many sockets of `namespace` `target` names. One room, or the whole namespace, with at
    /// most one exception costs the same however large it is.
    pub fn count(&mut self, namespace: &str, target: Target<'_>) -> usize {
        if let Some(count) = self.count_at_once(namespace, target) {
            return count;
        }
        let slots = self.resolve_slots(namespace, target);
        let count = slots.len();
        self.scratch = slots;
        count
    }

    fn count_at_once(&self, namespace: &str, target: Target<'_>) -> Option<usize> {
        let number = self.space_number(namespace)?;
        let space = self.spaces[number as usize].as_ref()?;
        if space.leaving > 0 {
            return None;
        }
        let room = match target.rooms {
            [] => None,
            [one] if self.find_socket(one).is_none() => Some(&**one),
            _ => return None,
        };
        let all = match room {
            None => space.sockets.len(),
            Some(room) => space.rooms.members(room).map_or(0, |members| members.len()),
        };
        let except = match target.except {
            [] => return Some(all),
            [one] if space.rooms.members(one).is_none() => self.find_socket(one),
            _ => return None,
        };
        let is_excepted = |key: Key| match room {
            None => space.sockets.contains(key.slot()),
            Some(room) => space.rooms.contains(key.slot(), room),
        };
        let own = except.filter(|key| {
            let socket = self.sockets.get(*key);
            socket.is_some_and(|socket| socket.space == number) && is_excepted(*key)
        });
        Some(all - usize::from(own.is_some()))
    }

    /// Hands one packet to every socket of `namespace` that `target` names.
    pub fn broadcast(
        &mut self,
        namespace: &str,
        target: Target<'_>,
        message: &Arc<Message>,
    ) -> Delivery {
        self.end_full();
        let slots = self.resolve_slots(namespace, target);
        let mut delivery = Delivery::default();
        for slot in &slots {
            let Some((_, socket)) = self.sockets.at(*slot) else {
                continue;
            };
            let session = socket.session;
            match self.enqueue(session, message) {
                Queued::Queued => delivery.queued += 1,
                Queued::Dropped => delivery.dropped += 1,
                Queued::Refused => {
                    delivery.refused += 1;
                    self.full.push(session);
                }
            }
        }
        self.scratch = slots;
        delivery
    }

    fn resolve_slots(&mut self, namespace: &str, target: Target<'_>) -> Vec<u32> {
        let mut slots = std::mem::take(&mut self.scratch);
        slots.clear();
        let Some(number) = self.space_number(namespace) else {
            return slots;
        };
        let Some(space) = &self.spaces[number as usize] else {
            return slots;
        };
        let own = |name: &str| {
            let key = self.find_socket(name)?;
            self.sockets
                .get(key)
                .filter(|s| s.space == number && !s.leaving)?;
            Some(key.slot())
        };
        space
            .rooms
            .resolve(&space.sockets, target.rooms, target.except, own, &mut slots);
        // A socket that is leaving still stands in its rooms, but nothing reaches it any more.
        slots.retain(|slot| space.sockets.contains(*slot));
        slots
    }
}
