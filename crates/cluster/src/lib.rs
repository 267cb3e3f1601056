//! What Sockeye's nodes share, as seams that an engine fills in.
//!
//! There is one seam so far: [`Store`] keeps what connection state recovery needs, which is the
//! packets of late and the sessions of those who just left. [`Embedded`] is the engine that keeps
//! it in this process's memory.
//!
//! Nothing here reads a clock, does I/O or needs a runtime: times are milliseconds that the caller
//! passes, all from one clock that does not run backwards. An engine answers with a [`Reply`], which
//! is either there at once, without an allocation, or is a future.
//!
//! With the feature `contract`, the module `contract` holds the test suite that every [`Store`]
//! must pass.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod embedded;
mod error;
mod offset;
mod packet;
mod reply;
mod store;

pub use embedded::{Embedded, EmbeddedConfig};
pub use error::{NotRecovered, StoreError};
pub use offset::{InvalidOffset, Offset};
pub use packet::{Form, Missed, Restored, SessionRecord, StoredPacket};
pub use reply::Reply;
pub use store::{Store, StoreStats};
