//! The library as its users meet it: a server on a real port, clients that speak the protocol.

mod answers;
mod extractors;
mod faults;
mod flow;
mod listeners;
mod support;
