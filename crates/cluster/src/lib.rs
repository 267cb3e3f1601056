//! What Sockeye's nodes share and tell each other, as seams that an engine fills in.
//!
//! - [`Bus`] carries messages between the nodes of a cluster: [`Operation`]s that are told,
//!   [`Request`]s that are answered. [`Hub`] is the engine that joins nodes of one process, of which
//!   there may be only one. Other engines send [`Envelope`]s, or speak the formats of Node.js.
//! - [`Store`] keeps what connection state recovery needs, which is the packets of late and the
//!   sessions of those who just left. [`Embedded`] is the engine that keeps it in this process's
//!   memory.
//!
//! Nothing here reads a clock, does I/O or needs a runtime: times are milliseconds that the caller
//! passes, all from one clock that does not run backwards. An engine answers with a [`Reply`], which
//! is either there at once, without an allocation, or is a future.
//!
//! Another engine is one crate that implements a seam and passes its contract: with the feature
//! `contract`, the module `contract` holds the test suites. What it can build on is here too:
//! [`Answers`] and [`Requests`] keep what is asked, [`Members`] who is there, [`Sealer`] and
//! [`Opener`] the envelopes with their authentication.

mod answers;
mod bus;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod embedded;
mod envelope;
mod error;
mod hub;
mod members;
mod message;
mod node;
mod offset;
mod packet;
mod reply;
mod store;

pub use answers::{AnswerSink, Answers, Expected, Requests, Silent};
pub use bus::{Bus, Health, Link, Listener, NodeEvent, Responder};
pub use embedded::{Embedded, EmbeddedConfig};
pub use envelope::{Body, BusKey, Envelope, Opener, Refused, Sealer};
pub use error::{BusError, BusErrorKind, NotRecovered, StoreError};
pub use hub::{Hub, HubBus};
pub use members::Members;
pub use message::{
    Answer, Broadcast, Event, Flags, Operation, Request, RoomName, RoomSize, Selection,
    SocketDetails, room_user, user_room,
};
pub use node::NodeId;
pub use offset::{InvalidOffset, Offset};
pub use packet::{Form, Missed, Restored, SessionRecord, StoredPacket};
pub use reply::Reply;
pub use store::{Store, StoreStats};
