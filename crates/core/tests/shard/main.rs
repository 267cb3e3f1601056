//! The shard under virtual time: every rule by itself, and random sequences against a model.

mod acks;
mod closing;
mod heartbeat;
mod inbound;
mod model;
mod namespaces;
mod polling;
mod queues;
mod rooms;
mod support;
mod upgrade;
mod watch;
