//! permessage-deflate (RFC 7692): negotiation, compressors and how messages are inflated.
//!
//! # Memory
//!
//! What a connection owns between messages, by what was negotiated. zlib-rs allocates the
//! inflater's window at its full size whatever was agreed on.
//!
//! | takeover of | owned per connection |
//! | --- | ---: |
//! | nobody (the default) | 0 |
//! | the peer's context | one inflater: 48 KiB at most |
//! | our context, window 15 | one compressor: 380 KiB at most |
//! | our context, window 12 | 265 KiB at most |
//! | our context, window 9 | 250 KiB at most |
//!
//! A test measures these. Each *thread* that inflates or deflates keeps at most four idle
//! inflaters and four idle compressors, and a scratch buffer of at most 128 KiB.
//!
//! A message that is half received keeps its compressed bytes until it is complete or 32 KiB have
//! come; only then does it take an inflater. So a peer that stops in the middle costs about what
//! it sent.
//!
//! # CPU
//!
//! Deflating is synchronous. A message is deflated by the thread that asks, so at most as many run
//! at once as there are threads asking; a [`DeflateGate`] bounds that further for large messages.
//! A broadcast is deflated once per window size in use ([`deflated_frame`]), not once per
//! recipient.
//!
//! # Inflating
//!
//! [`Reader`](crate::Reader) inflates in steps of 4 KiB and stops at
//! [`Limits::max_inflated_size`](crate::Limits::max_inflated_size). A message may end with a final
//! DEFLATE block (RFC 7692 §7.2.3.4); what follows such a block starts with an empty window, as
//! compressors that end a stream do. A message without context takeover that ends inside a block
//! is refused; so is every message that zlib cannot read (close code 1007).

mod compress;
mod extension;
mod gate;
pub(crate) mod inflate;
mod negotiate;
mod pool;

pub use compress::{Deflater, deflate_shared, deflated_frame};
pub(crate) use extension::is_token;
pub use gate::{DeflateGate, Permit};
pub(crate) use negotiate::{check_answer, negotiate, offer};

use crate::limits::Role;

/// What this side wants of permessage-deflate. The defaults favour many connections: no context
/// is kept, so no connection owns a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    /// The server forgets its context after each message. Default `true`: a server answers so
    /// whether or not it was asked, and a client asks for it. With `false` a server does so when
    /// asked.
    pub server_no_context_takeover: bool,
    /// The client forgets its context after each message. Default `true`: a server answers so
    /// whether or not it was offered, and a client offers it. With `false` a server accepts the
    /// offer of it.
    pub client_no_context_takeover: bool,
    /// Largest window of what the server sends, 9 to 15 (taken as the nearest of these); the
    /// window has two to the power of this many bytes. Default 15.
    pub server_max_window_bits: u8,
    /// Largest window of what the client sends, 9 to 15 (taken as the nearest of these).
    /// Default 15. A server can ask for it only from clients that offered the parameter.
    pub client_max_window_bits: u8,
    /// Messages of fewer bytes are sent uncompressed by a [`Deflater`]. Default 1024.
    pub threshold: usize,
    /// zlib's level, 0 (store) to 9 (smallest). Default 6. 1 costs about a third of the time.
    pub level: u8,
}

impl Default for DeflateOptions {
    fn default() -> DeflateOptions {
        DeflateOptions {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: MAX_BITS,
            client_max_window_bits: MAX_BITS,
            threshold: 1024,
            level: 6,
        }
    }
}

impl DeflateOptions {
    fn server_bits(&self) -> u8 {
        self.server_max_window_bits.clamp(MIN_ZLIB_BITS, MAX_BITS)
    }

    fn client_bits(&self) -> u8 {
        self.client_max_window_bits.clamp(MIN_ZLIB_BITS, MAX_BITS)
    }
}

/// The smallest window zlib can produce; the protocol also knows 8.
const MIN_ZLIB_BITS: u8 = 9;
const MAX_BITS: u8 = 15;

/// What both sides agreed on. Four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub(crate) server_takeover: bool,
    pub(crate) client_takeover: bool,
    pub(crate) server_bits: u8,
    pub(crate) client_bits: u8,
}

impl Agreed {
    /// Whether `sender` may refer to its earlier messages.
    pub fn takeover(self, sender: Role) -> bool {
        match sender {
            Role::Server => self.server_takeover,
            Role::Client => self.client_takeover,
        }
    }

    /// The largest window `sender` may use, 8 to 15.
    pub fn window_bits(self, sender: Role) -> u8 {
        match sender {
            Role::Server => self.server_bits,
            Role::Client => self.client_bits,
        }
    }
}
