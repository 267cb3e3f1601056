//! Engine.IO v4 and Socket.IO v5 without I/O: bytes in, packets and decisions out.

mod error;
mod text;

pub mod engine;

pub use error::{DecodeError, DecodeErrorKind};
pub use text::Text;
