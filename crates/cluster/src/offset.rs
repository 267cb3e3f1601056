//! Positions in a namespace's sequence of recoverable packets.

use std::cmp::Ordering;
use std::fmt;

/// Enough for two 64-bit numbers in decimal and what stands between them.
const MAX: usize = 43;

/// A position in the sequence of recoverable packets of one namespace, assigned by a [`Store`].
///
/// It travels as the last argument of an event, and a client gives the last one it has seen when
/// it returns. To clients it is opaque. Here it is ordered: of two offsets of one namespace the
/// greater one was assigned later. It is up to 43 visible ASCII characters, none of which needs an
/// escape in JSON: an epoch, `-`, and a counter. A greater length of either part means a greater
/// number, equal lengths compare as text; so hexadecimal, base 36 and Redis' stream ids all work.
///
/// [`Store`]: crate::Store
///
/// ```
/// use sockeye_cluster::Offset;
///
/// let older: Offset = "1722000000000-9".parse()?;
/// let newer: Offset = "1722000000000-10".parse()?;
/// assert!(older < newer);
/// assert!("\"quoted\"".parse::<Offset>().is_err());
/// # Ok::<(), sockeye_cluster::InvalidOffset>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offset {
    len: u8,
    text: [u8; MAX],
}

/// The text is not one that an [`Offset`] can have: empty, too long, or with a character that is
/// not visible ASCII or is a quotation mark or a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidOffset(());

impl Offset {
    /// The text that travels.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this is never the fallback.
        std::str::from_utf8(&self.text[..usize::from(self.len)]).unwrap_or_default()
    }

    /// Two texts of characters that an offset may have, one behind the other. What does not fit is
    /// cut off.
    pub(crate) fn joined(epoch: &str, counter: &str) -> Self {
        let mut text = [0; MAX];
        let mut len = 0;
        for (place, byte) in text.iter_mut().zip(epoch.bytes().chain(counter.bytes())) {
            *place = byte;
            len += 1;
        }
        Self { len, text }
    }

    /// Epoch and counter, the latter empty when there is no `-`.
    fn parts(&self) -> (&[u8], &[u8]) {
        let text = &self.text[..usize::from(self.len)];
        match text.iter().position(|byte| *byte == b'-') {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &[]),
        }
    }
}

impl std::str::FromStr for Offset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, InvalidOffset> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if text.is_empty() || text.len() > MAX || !text.bytes().all(plain) {
            return Err(InvalidOffset(()));
        }
        let mut bytes = [0; MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            len: text.len() as u8,
            text: bytes,
        })
    }
}

impl Ord for Offset {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((epoch, counter), (other_epoch, other_counter)) = (self.parts(), other.parts());
        let number = |a: &[u8], b: &[u8]| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        number(epoch, other_epoch)
            .then_with(|| number(counter, other_counter))
            // "a" and "a-" have the same parts.
            .then_with(|| self.len.cmp(&other.len))
    }
}

impl PartialOrd for Offset {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offset({self})")
    }
}

impl fmt::Display for InvalidOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an offset")
    }
}

impl std::error::Error for InvalidOffset {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn order_is_that_of_the_numbers(a: (u64, u64), b: (u64, u64)) {
            let offset = |(epoch, counter): (u64, u64)| {
                format!("{epoch}-{counter}").parse::<Offset>().expect("as Redis writes them")
            };
            prop_assert_eq!(offset(a).cmp(&offset(b)), a.cmp(&b));
        }

        #[test]
        fn any_text_is_taken_whole_or_refused(text in any::<String>()) {
            if let Ok(offset) = text.parse::<Offset>() {
                prop_assert_eq!(offset.as_str(), text);
            }
        }

        #[test]
        fn order_agrees_with_equality(a in "[-0-9a]{1,6}", b in "[-0-9a]{1,6}") {
            let (left, right): (Offset, Offset) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(left.cmp(&right) == Ordering::Equal, a == b);
        }
    }

    #[test]
    fn what_would_need_an_escape_or_does_not_fit_is_refused() {
        for text in [
            "",
            "a b",
            "a\"",
            "a\\",
            "é",
            "\u{7f}",
            "a\n",
            &"x".repeat(44),
        ] {
            assert!(text.parse::<Offset>().is_err(), "{text:?}");
        }
        assert!("x".repeat(43).parse::<Offset>().is_ok());
    }
}
