//! Engine.IO v4: packets, polling payloads, session ids, error answers, session machines.
//!
//! Source: the Engine.IO protocol, revision 4, and the behaviour of the Node.js server where the
//! protocol leaves a choice.

mod client;
mod code;
mod id;
mod open;
mod packet;
mod payload;
mod reason;
mod server;

pub use client::{ClientAction, ClientProbeAction, ClientSession};
pub use code::{ErrorCode, ErrorContext};
pub use id::{InvalidId, SessionId, SocketId};
pub use open::OpenPacket;
pub use packet::Packet;
pub use payload::{DEFAULT_MAX_PACKETS, Payload, PayloadWriter, SEPARATOR};
pub use reason::CloseReason;
pub use server::{
    Deadline, PacketAction, PollOutcome, PostOutcome, ProbeAction, ProbeOutcome, ServerSession,
    Transport, UPGRADE_NOOP_INTERVAL_MS,
};
