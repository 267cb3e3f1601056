//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), without I/O.
//!
//! This crate turns bytes into events and messages into bytes. It opens no socket, reads no clock
//! and spawns nothing, so the same code runs under any runtime, in a test and in a fuzzer.
//! Both sides of the protocol are here: [`Role::Server`] and [`Role::Client`].
//!
//! | module or type | what it does |
//! | --- | --- |
//! | [`handshake`] | the HTTP upgrade: validating requests, refusing with a reason, answering, asking |
//! | [`Reader`] | bytes that came → [`Event`]s; unmasks in place, borrows from the caller's buffer |
//! | [`frame()`], [`text_frame`], [`close_frame`] … | messages → bytes that any number of connections share |
//! | [`encode_into`], [`header()`] | messages → a buffer of the caller, or a header for a vectored write |
//! | [`deflate`] | negotiation, compressors with and without context takeover, the inflater's rules |
//! | [`CloseFrame`], [`close_code`], [`Closing`] | close codes, and who still has to send what |
//!
//! # Reading
//!
//! The caller owns the read buffer and may share one between all its connections: [`Reader::next`]
//! consumes what it is given and keeps a copy only of a frame or message that is not complete yet.
//! A reader with nothing half received owns no heap memory (with context takeover negotiated it
//! keeps one inflater, see [`deflate`]).
//!
//! ```
//! use sockeye_websocket::{Event, Input, Limits, Reader, Role};
//!
//! let mut reader = Reader::new(Role::Server, None);
//! let limits = Limits::default();
//! // "Hello", masked, from RFC 6455 §5.7, cut into two segments.
//! let mut first = [0x81, 0x85, 0x37, 0xfa];
//! let mut second = [0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! assert!(reader.next(&limits, &mut Input::new(&mut first)).unwrap().is_none());
//! assert!(reader.has_partial());
//!
//! let mut input = Input::new(&mut second);
//! while let Some(event) = reader.next(&limits, &mut input).unwrap() {
//!     match event {
//!         Event::Text(text) => assert_eq!(&*text, "Hello"),
//!         other => panic!("{other:?}"),
//!     }
//! }
//! assert!(!reader.has_partial());
//! ```
//!
//! # Writing
//!
//! A server frame is not masked, hence the same bytes serve every recipient:
//!
//! ```
//! let frame = sockeye_websocket::text_frame("Hello");
//! assert_eq!(&frame[..], b"\x81\x05Hello");
//! let shared = frame.clone(); // counts a reference, copies nothing
//! # drop(shared);
//! ```
//!
//! # What the caller still does
//!
//! Answer [`Event::Ping`] with [`pong_frame`], answer [`Event::Close`] as [`Closing`] says, send a
//! close frame with [`Error::close_code`] after an error, and give deadlines: to the handshake, to
//! a half received frame ([`Reader::has_partial`]), to the close handshake and to writes.

pub mod close_code;
pub mod deflate;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod handshake;

mod close;
mod encode;
mod error;
mod event;
mod frame;
mod limits;
mod mask;
mod partial;
mod reader;
mod utf8;

pub use close::{CloseFrame, Closing};
pub use encode::{
    Header, binary_frame, close_frame, encode_into, frame, header, masked_close_frame,
    masked_frame, ping_frame, pong_frame, random_mask, text_frame,
};
pub use error::Error;
pub use event::{Event, Input, Payload, Text};
pub use frame::OpCode;
pub use limits::{Limits, Role};
pub use reader::Reader;
