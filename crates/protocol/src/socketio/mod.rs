//! Socket.IO v5: packets, arguments, and the two parsers that put them on the wire.
//!
//! Source: the Socket.IO protocol, revision 5, and the published default and MessagePack parsers
//! of Node.js servers, whose bytes both parsers here understand and answer.

mod args;
mod args_error;
mod binary;
mod decoder;
mod encoder;
mod json;
mod limits;
mod msgpack;
mod packet;
mod placeholder;
mod raw_arg;
mod to_args;
mod value;

pub use args::{Args, Attachments};
pub use args_error::ArgsError;
pub use binary::Binary;
pub use decoder::Decoder;
pub use encoder::{
    Encoded, encode_ack, encode_ack_into, encode_connect, encode_connect_error,
    encode_connect_request, encode_disconnect, encode_event, encode_event_into,
};
pub use limits::Limits;
pub use packet::{MAX_ACK_ID, Packet, PacketType, Parser, RESERVED_EVENTS, is_reserved_event};
pub use raw_arg::RawArg;
pub use to_args::ToArgs;
pub use value::{Map, Number, Value};
