//! What every message of a run carries: who published it, as which one, and when.

/// What a server shall do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answer the sender alone.
    Echo,
    /// Send it to every connection, the sender included.
    Broadcast,
}

impl Kind {
    /// The first byte of the payload, by which servers without event names tell the two apart.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Echo => b'e',
            Self::Broadcast => b'b',
        }
    }
}

/// Identity and birth of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// What was asked of the server.
    pub kind: Kind,
    /// Number of the publishing connection, below 2^24.
    pub publisher: u32,
    /// Position among the messages of that publisher, from 0.
    pub sequence: u32,
    /// When the message was sent or, in an open loop, when it was due: nanoseconds of
    /// [`crate::clock::now`], below 2^56.
    pub time_ns: u64,
}

const PUBLISHER: std::ops::Range<usize> = 1..7;
const SEQUENCE: std::ops::Range<usize> = 7..15;
const TIME: std::ops::Range<usize> = 15..29;
const PADDING: u8 = b'.';

impl Stamp {
    /// Bytes of a stamp as text; no payload is shorter.
    pub const LEN: usize = TIME.end;

    /// Appends a payload of `size` bytes: the stamp in hexadecimal, then padding. The text needs
    /// no escapes in JSON. A `size` below [`Stamp::LEN`] counts as that length.
    pub fn write(&self, size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + size.max(Self::LEN), PADDING);
        let text = &mut out[start..];
        text[0] = self.kind.letter();
        put(&mut text[PUBLISHER], self.publisher.into());
        put(&mut text[SEQUENCE], self.sequence.into());
        put(&mut text[TIME], self.time_ns);
    }

    /// Reads the stamp at the front of a payload, or `None` if there is none.
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = text.get(..Self::LEN)?;
        let kind = match text[0] {
            b'e' => Kind::Echo,
            b'b' => Kind::Broadcast,
            _ => return None,
        };
        Some(Self {
            kind,
            publisher: u32::try_from(get(&text[PUBLISHER])?).ok()?,
            sequence: u32::try_from(get(&text[SEQUENCE])?).ok()?,
            time_ns: get(&text[TIME])?,
        })
    }
}

fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn get(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    for &digit in digits {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(nibble);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            broadcast: bool,
            publisher in 0u32..1 << 24,
            sequence: u32,
            time_ns in 0u64..1 << 56,
            size in 0usize..300,
        ) {
            let kind = if broadcast { Kind::Broadcast } else { Kind::Echo };
            let stamp = Stamp { kind, publisher, sequence, time_ns };
            let mut text = b"before".to_vec();
            stamp.write(size, &mut text);
            prop_assert_eq!(text.len(), 6 + size.max(Stamp::LEN));
            prop_assert_eq!(Stamp::read(&text[6..]), Some(stamp));
            prop_assert_eq!(Stamp::read(&text[6..6 + Stamp::LEN - 1]), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(text: Vec<u8>) {
            Stamp::read(&text);
        }
    }
}
