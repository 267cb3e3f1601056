//! Sockeye's nodes and Node.js Socket.IO servers on one Redis.
//!
//! - [`wire`]: what the published adapters and emitters of Node.js send each other, written and read without
//!   I/O.
//! - [`Native`]: the names of channels among nodes of ours, where a node hears only of rooms that it has
//!   members of.
//! - [`RedisBus`]: the [`Bus`](sockeye_cluster::Bus) between nodes, in the native mode or among Node.js servers with
//!   any of their adapters.
//! - [`Emitter`]: events for clients, from any program that has a connection to Redis.
//!
//! Whoever can publish on this Redis can send any event to any client and disconnect everybody. The
//! native mode can be authenticated with a [`BusKey`](sockeye_cluster::BusKey); the formats of Node.js
//! cannot. Keep Redis where only servers reach it, with a password and TLS.

mod bus;
mod config;
mod emitter;
mod native;
pub mod wire;

pub use bus::RedisBus;
pub use config::{RedisConfig, RedisMode};
pub use emitter::{Command, Commands, Emitter};
pub use native::Native;
