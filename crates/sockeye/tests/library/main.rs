//! The library as its users meet it: a server on a real port, clients that speak the protocol.

mod answers;
mod broadcast;
mod closing;
mod compression;
mod drips;
mod engine_events;
mod extractors;
mod faults;
mod flow;
mod hooks;
mod listeners;
mod mounting;
mod namespaces;
mod plain;
mod queues;
mod recovery;
mod returning;
mod room_events;
mod states;
mod support;
mod writing;
