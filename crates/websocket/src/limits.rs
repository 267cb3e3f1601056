/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Receives masked frames, sends unmasked ones.
    Server,
    /// Receives unmasked frames, sends masked ones.
    Client,
}

/// Sizes beyond which a peer is refused with close code 1009. All in bytes.
///
/// The sizes are judged from a frame's header, before its payload comes; memory is taken for what
/// came, never for what was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload of one data frame. Default 1,000,000. Control frames are limited to 125 by
    /// the protocol.
    ///
    /// A compressed frame may exceed this by what deflate can add to incompressible data: one
    /// eighth and 256 bytes.
    pub max_frame_size: usize,
    /// Largest message: the sum of its fragments as sent. Default 1,000,000. Compressed messages
    /// have the same allowance as compressed frames.
    pub max_message_size: usize,
    /// Largest compressed message after inflating. Default 1,000,000. Inflating stops at the first byte
    /// beyond it, so a compression bomb costs no more memory than an honest message of this size.
    pub max_inflated_size: usize,
}

impl Limits {
    /// The same limit for frames, messages and inflated messages.
    pub const fn new(size: usize) -> Limits {
        Limits {
            max_frame_size: size,
            max_message_size: size,
            max_inflated_size: size,
        }
    }

    pub(crate) fn frame(&self, compressed: bool) -> usize {
        with_allowance(self.max_frame_size, compressed)
    }

    pub(crate) fn message(&self, compressed: bool) -> usize {
        with_allowance(self.max_message_size, compressed)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new(1_000_000)
    }
}

fn with_allowance(size: usize, compressed: bool) -> usize {
    if compressed {
        size.saturating_add(size / 8).saturating_add(256)
    } else {
        size
    }
}
