//! Rooms with more members than are told of one by one.
//!
//! Telling every member of every other makes the price of filling a room the square of its size.
//! So only rooms up to a limit are listed; of a larger one, a crowd, the members are told now and
//! then how many they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sockeye::Namespace;

use super::names::RoomName;

/// Time between two counts of one room.
const INTERVAL: Duration = Duration::from_secs(1);

/// The rooms that are not listed at this moment.
#[derive(Debug)]
pub(crate) struct Crowds {
    /// Members of a room that is listed, at most.
    limit: usize,
    /// Whether somebody came or went since the last count.
    rooms: Mutex<HashMap<String, bool>>,
}

/// The argument of `room:count`.
#[derive(Serialize)]
struct Count<'a> {
    room: &'a str,
    count: usize,
    listed: bool,
}

impl Crowds {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let rooms = Mutex::default();
        Arc::new(Crowds { limit, rooms })
    }

    /// Somebody came to a room or was renamed there, which now has `count` members: whether the
    /// others are told of it by name. If not, they will be told how many they are.
    pub(crate) fn came(
        self: &Arc<Self>,
        namespace: &Namespace,
        room: &RoomName,
        count: usize,
    ) -> bool {
        {
            let mut rooms = self.rooms();
            if let Some(changed) = rooms.get_mut(room.as_str()) {
                *changed = true;
                return false;
            }
            if count <= self.limit {
                return true;
            }
            rooms.insert(room.as_str().to_owned(), true);
        }
        tokio::spawn(self.clone().tell(namespace.clone(), room.clone()));
        false
    }

    /// Somebody went from a room: whether the others are told of it by name.
    pub(crate) fn went(&self, room: &RoomName) -> bool {
        let mut rooms = self.rooms();
        let crowd = rooms.get_mut(room.as_str());
        crowd.map(|changed| *changed = true).is_none()
    }

    /// Whether a room of `count` members is listed.
    pub(crate) fn lists(&self, room: &RoomName, count: usize) -> bool {
        count <= self.limit && !self.rooms().contains_key(room.as_str())
    }

    /// Tells the members how many they are, until they are few enough to be listed.
    async fn tell(self: Arc<Self>, namespace: Namespace, room: RoomName) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            // From here on: what changes while it is counted is counted again.
            let changed = self.rooms().get_mut(room.as_str()).map(std::mem::take);
            let members = namespace.to(room.inside());
            let counted = members.count().await;
            if !counted.silent_nodes.is_empty() {
                // Who does not answer has members too: nothing is known, so nothing changes.
                if let Some(again) = self.rooms().get_mut(room.as_str()) {
                    *again |= changed == Some(true);
                }
                continue;
            }
            let count = counted.found;
            let listed = count <= self.limit;
            if listed {
                // Whoever comes from here on is told of by name; the list asked for at the end of
                // the crowd has everybody who came before.
                self.rooms().remove(room.as_str());
            }
            if listed || changed == Some(true) {
                let room = room.as_str();
                let count = Count {
                    room,
                    count,
                    listed,
                };
                if let Err(error) = members.emit("room:count", (count,)) {
                    tracing::warn!(%error, "members were not told how many they are");
                }
            }
            if listed {
                return;
            }
        }
    }

    /// Nothing that holds the lock can panic half-way.
    fn rooms(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
