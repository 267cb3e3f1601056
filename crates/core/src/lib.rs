//! The state machines of Sockeye: shards, sessions, sockets, rooms, queues and deadlines.
//!
//! This crate does no I/O, reads no clock and spawns nothing: packets and the time go in,
//! effects and queued messages come out. So each part runs under a model and under virtual time.
//!
//! - [`Shard`] is the owner of everything: one per worker thread.
//! - [`Session`] is one engine connection, [`Socket`] its membership of one namespace.
//! - [`Message`] is a packet encoded once for any number of connections, [`Outbound`] the
//!   bounded queue of one connection.
//! - [`Wheel`], [`SlotSet`], [`Rooms`] and [`Arena`] are the data structures underneath.

mod acks;
mod arena;
mod config;
mod host;
mod inbound;
mod message;
mod outbound;
mod rooms;
mod session;
mod shard;
mod slots;
mod socket;
mod space;
mod stats;
mod wheel;

pub use acks::{AckFailure, Acks};
pub use arena::{Arena, Key};
pub use config::Config;
pub use host::{AckWaiter, Effect, EngineData, EngineEvent, Host, RoomChange, RoomObserver};
pub use inbound::{Admission, Inbound};
pub use message::{Class, Message, MessageBuilder};
pub use outbound::{Backlog, Outbound, Queued};
pub use rooms::{Joined, Left, Rooms};
pub use session::{Kind, Session};
pub use shard::{Delivery, PostError, ProbeReply, RoomError, Shard, Target};
pub use slots::{SlotIter, SlotSet};
pub use socket::Socket;
pub use stats::Stats;
pub use wheel::{TimerId, Wheel};
