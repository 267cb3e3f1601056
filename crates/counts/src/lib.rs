//! What things cost, counted rather than timed, so that a loss of a twentieth shows and never a
//! mood of the machine.
//!
//! | what | where | expectation |
//! | --- | --- | --- |
//! | instructions of decoding, dispatch, broadcasts and encoding | `benches/` (callgrind), `make counts` | `instructions.json`, per compiler and CPU |
//! | allocations per frame, event, acknowledgement, delivery | `tests/allocations.rs` | in the test |
//! | bytes per idle connection, and those left when all have gone | `tests/memory.rs`, `tests/connections.rs` | in the test |
//!
//! This library is what both stand on: a counting allocator ([`Counting`]), what clients send
//! ([`wire`]), a shard with clients that are plain function calls ([`Rig`]), and a server with
//! clients on loopback connections that own no heap memory ([`Peer`]). It is not published.

mod allocator;
mod budget;
mod peer;
mod rig;

/// What clients send, as bytes on the wire.
pub mod wire;

pub use allocator::{Counting, Usage, allocations, live};
pub use budget::Budget;
pub use peer::{Peer, raise_descriptor_limit};
pub use rig::{Fake, Ignored, Rig, event};
