//! A namespace as one shard sees it: its sockets and rooms.

use std::sync::Arc;

use crate::rooms::Rooms;
use crate::slots::SlotSet;

/// The sockets and rooms of one namespace on one shard.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) name: Arc<str>,
    pub(crate) sockets: SlotSet,
    pub(crate) rooms: Rooms,
    /// Sockets that are leaving: still in their rooms, and reached by nothing.
    pub(crate) leaving: u32,
    /// Somebody wants to know of every change of its rooms.
    pub(crate) watched: bool,
}

impl Space {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Space {
            name,
            sockets: SlotSet::default(),
            rooms: Rooms::default(),
            leaving: 0,
            watched: false,
        }
    }
}
