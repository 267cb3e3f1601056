//! An owned string slice that is cheap to clone and to cut.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// An immutable string that shares its buffer with its clones and its slices.
///
/// Decoding a packet copies it once; namespace, event name and arguments are then `Text`s over
/// that one buffer. A static string costs nothing.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared { buf: Arc<str>, range: Range<usize> },
}

impl Text {
    /// A text that borrows a static string: no allocation, now or later.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Repr::Static(text))
    }

    /// The string itself.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(text) => text,
            Repr::Shared { buf, range } => &buf[range.clone()],
        }
    }

    /// A part of this text over the same buffer.
    ///
    /// # Panics
    ///
    /// As slicing a `str`: when the range is out of bounds or cuts a character.
    pub fn slice(&self, part: Range<usize>) -> Self {
        self.clone().into_slice(part)
    }

    /// As [`Text::slice`], of a text that is needed no more.
    ///
    /// # Panics
    ///
    /// As [`Text::slice`].
    pub fn into_slice(self, part: Range<usize>) -> Self {
        match self.0 {
            Repr::Static(text) => Self(Repr::Static(&text[part])),
            Repr::Shared { buf, range } => {
                let cut = range.start + part.start..range.start + part.end;
                assert!(cut.end <= range.end, "the slice ends behind the text");
                // Checks that both ends are character boundaries.
                let _ = &buf[cut.clone()];
                Self(Repr::Shared { buf, range: cut })
            }
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::from_static("")
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        Self(Repr::Shared {
            range: 0..text.len(),
            buf: Arc::from(text),
        })
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Arc<str>> for Text {
    fn from(buf: Arc<str>) -> Self {
        Self(Repr::Shared {
            range: 0..buf.len(),
            buf,
        })
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_and_compare_as_strings() {
        let whole = Text::from("/room,über");
        let name = whole.slice(6..whole.len());
        assert_eq!(name, "über");
        assert_eq!(name.slice(2..5), "ber");
        assert_eq!(Text::from_static("ber"), name.slice(2..5));
        assert_eq!(format!("{name:>6}|{name:?}"), "  über|\"über\"");
        let (first, second) = (Text::from("a"), Text::from("b"));
        assert!(first < second && first == "a");
    }

    #[test]
    #[should_panic(expected = "behind the text")]
    fn a_slice_cannot_reach_into_its_neighbour() {
        let _ = Text::from("abc").slice(0..2).slice(0..3);
    }
}
