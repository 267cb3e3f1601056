//! Messages that a server deflated (RFC 7692), without context takeover.

use super::frame::Invalid;
use flate2::{Decompress, FlushDecompress, Status};

/// What the request offers: no context on either side, so that one decoder serves all connections.
pub(crate) const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Largest message after inflating.
const MAX_INFLATED: usize = 64 << 20;
/// What a sender cuts off the end of each message, RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Inflates message after message. Of a broadcast that a server deflated once, all receivers get
/// the same bytes: the last message is kept and inflated once.
#[derive(Debug)]
pub(crate) struct Inflater {
    decoder: Decompress,
    deflated: Vec<u8>,
    text: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            decoder: Decompress::new(false),
            deflated: Vec::new(),
            text: Vec::new(),
        }
    }

    /// The message inside a payload.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> Result<&[u8], Invalid> {
        let known = self.deflated.strip_suffix(&TAIL);
        if known == Some(payload) {
            return Ok(&self.text);
        }
        self.deflated.clear();
        self.deflated.extend_from_slice(payload);
        self.deflated.extend_from_slice(&TAIL);
        self.text.clear();
        self.decoder.reset(false);
        let whole = self.run();
        if whole.is_err() {
            self.deflated.clear();
        }
        whole.map(|()| &*self.text)
    }

    fn run(&mut self) -> Result<(), Invalid> {
        loop {
            let read = self.decoder.total_in() as usize;
            self.text.reserve(4096.max(self.deflated.len() * 2));
            let status = self.decoder.decompress_vec(
                &self.deflated[read..],
                &mut self.text,
                FlushDecompress::Sync,
            );
            match status.map_err(|_| Invalid)? {
                Status::StreamEnd => return Ok(()),
                _ if self.text.len() > MAX_INFLATED => return Err(Invalid),
                // All is read, and there was room for more than came.
                _ if self.decoder.total_in() as usize == self.deflated.len()
                    && self.text.len() < self.text.capacity() =>
                {
                    return Ok(());
                }
                Status::BufError if self.text.len() < self.text.capacity() => return Err(Invalid),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sockeye_websocket::deflate::deflate_shared;

    proptest! {
        #[test]
        fn what_was_deflated_is_read_also_twice(
            text in prop::collection::vec(any::<u8>(), 0..3000),
            repeat in 1usize..40,
            bits in 9u8..=15,
        ) {
            let text = text.repeat(repeat);
            let mut inflater = Inflater::new();
            let Some(deflated) = deflate_shared(&text, bits, 6) else { return Ok(()) };
            for _ in 0..2 {
                prop_assert_eq!(inflater.inflate(&deflated), Ok(&text[..]));
            }
            let other = deflate_shared(b"another one", bits, 6).unwrap();
            prop_assert_eq!(inflater.inflate(&other), Ok(&b"another one"[..]));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut inflater = Inflater::new();
            let first = inflater.inflate(&bytes).map(<[u8]>::to_vec);
            // Nothing of a broken message is kept.
            prop_assert_eq!(inflater.inflate(&bytes).map(<[u8]>::to_vec), first);
        }
    }
}
