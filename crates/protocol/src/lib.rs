//! Engine.IO v4 and Socket.IO v5 without I/O: bytes in, packets and decisions out.
//!
//! Nothing here reads a clock, opens a connection or spawns a task. A server or client feeds what
//! it has read into these types and does what they say; so do tests, fuzzers and simulations.
//!
//! - [`engine`]: Engine.IO packets and polling payloads, session and socket ids, error answers,
//!   and the state machines of a session on the server and on the client.
//! - [`socketio`]: Socket.IO packets with the default and the MessagePack parser, arguments that
//!   stay raw until a type is asked for, and the limits on all of it.
//!
//! Hostile input is refused with a [`DecodeError`]. It cannot panic, recurse, or make memory grow
//! with what it announces instead of what it sent.
//!
//! ```
//! use sockeye_protocol::engine::Packet;
//! use sockeye_protocol::socketio::{Decoder, Limits, Parser, ToArgs, encode_ack};
//!
//! // A WebSocket text frame has arrived.
//! let Packet::Message(text) = Packet::from_text(r#"421["add",1,2]"#)? else { unreachable!() };
//! let mut decoder = Decoder::new(Parser::Json);
//! let packet = decoder.decode_text(&Limits::default(), text)?.unwrap();
//! let (a, b): (u32, u32) = packet.args.deserialize()?;
//!
//! let sum = (a + b).to_args(Parser::Json)?;
//! let answer = encode_ack(Parser::Json, &packet.nsp, packet.id.unwrap(), &sum);
//! assert_eq!(answer.text(), Some("31[3]"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod text;

pub mod engine;
pub mod socketio;

pub use error::{DecodeError, DecodeErrorKind};
pub use text::Text;
