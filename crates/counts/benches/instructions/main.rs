//! Instructions, counted by callgrind: `make counts` runs this and judges the figures.
//!
//! Each function is called once, in a process of its own, with what its setup has made and warmed;
//! only what happens inside the function counts. Everything in it repeats exactly: ids come from a
//! seed, the clock is a number, masks are constants. Hashes of names are keyed at random by the
//! standard library; hashing costs the same whatever the key, and the tables here are so small that
//! their probes hardly differ.

mod frames;
mod packets;
mod shard;

use gungraun::main;

use crate::frames::websocket;
use crate::packets::protocol;
use crate::shard::core;

main!(library_benchmark_groups = [websocket, protocol, core]);
