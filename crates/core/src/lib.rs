//! State machines of the Sockeye real-time server.
//!
//! Nothing here does I/O, reads a clock or spawns: bytes and `now` go in, bytes and events come
//! out. So everything runs under a fuzzer, a model and virtual time.
//!
//! * [`Wheel`]: one timing wheel per shard carries every deadline.
//! * [`SlotSet`]: a set of socket slots, small when it is small.
//! * [`Rooms`]: who is in which room, and whom a broadcast reaches.

mod rooms;
mod slots;
mod wheel;

pub use rooms::{Joined, Left, Rooms};
pub use slots::{SlotIter, SlotSet};
pub use wheel::{TimerId, Wheel};
