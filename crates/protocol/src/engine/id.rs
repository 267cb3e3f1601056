//! Session and socket ids: 20 characters of base64url.

use std::fmt;
use std::str::FromStr;

use rand::RngCore;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id of an Engine.IO session: 15 bytes written as 20 characters.
///
/// Three bytes name the node and one the shard that own the session; eleven (88 bits) are random.
/// Whoever knows it can speak for the session: [`Debug`](fmt::Debug) shows four characters only,
/// [`Display`](fmt::Display) the whole (for the wire, not for logs).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 15]);

impl SessionId {
    /// A new id with randomness from the thread's generator.
    pub fn new(node: [u8; 3], shard: u8) -> Self {
        Self::from_rng(node, shard, &mut rand::rng())
    }

    /// A new id with randomness from `rng`, for simulations that must repeat.
    pub fn from_rng(node: [u8; 3], shard: u8, rng: &mut impl RngCore) -> Self {
        let mut bytes = [0; 15];
        bytes[..3].copy_from_slice(&node);
        bytes[3] = shard;
        rng.fill_bytes(&mut bytes[4..]);
        Self(bytes)
    }

    /// Reads the 20 characters.
    ///
    /// # Errors
    ///
    /// When it is not 20 characters of `A–Z a–z 0–9 - _`.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let text: &[u8; 20] = text.as_bytes().try_into().map_err(|_| InvalidId)?;
        let mut bytes = [0; 15];
        for (four, three) in text.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
            let mut group = 0;
            for &character in four {
                group = group << 6 | sextet(character).ok_or(InvalidId)?;
            }
            three.copy_from_slice(&group.to_be_bytes()[1..]);
        }
        Ok(Self(bytes))
    }

    /// The node that owns the session.
    pub fn node(&self) -> [u8; 3] {
        [self.0[0], self.0[1], self.0[2]]
    }

    /// The shard of the node that owns the session.
    pub fn shard(&self) -> u8 {
        self.0[3]
    }

    /// The 20 ASCII characters, without an allocation.
    pub fn to_ascii(&self) -> [u8; 20] {
        encode(&self.0)
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(ascii_str(&self.to_ascii()))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ascii_str(&self.to_ascii())[..4])?;
        f.write_str("…")
    }
}

/// The public id of a socket (`socket.id`): 20 random characters.
///
/// It names the socket's own room and may be shown to anybody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId([u8; 20]);

impl SocketId {
    /// A new id with randomness from the thread's generator.
    #[expect(clippy::new_without_default, reason = "two of them are never equal")]
    pub fn new() -> Self {
        Self::from_rng(&mut rand::rng())
    }

    /// A new id with randomness from `rng`, for simulations that must repeat.
    pub fn from_rng(rng: &mut impl RngCore) -> Self {
        let mut bytes = [0; 15];
        rng.fill_bytes(&mut bytes);
        Self(encode(&bytes))
    }

    /// Reads the 20 characters.
    ///
    /// # Errors
    ///
    /// When it is not 20 characters of `A–Z a–z 0–9 - _`.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let text: &[u8; 20] = text.as_bytes().try_into().map_err(|_| InvalidId)?;
        if text.iter().any(|&character| sextet(character).is_none()) {
            return Err(InvalidId);
        }
        Ok(Self(*text))
    }

    /// The 20 characters.
    pub fn as_str(&self) -> &str {
        ascii_str(&self.0)
    }
}

impl FromStr for SocketId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl AsRef<str> for SocketId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for SocketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for SocketId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The text is not an id of 20 base64url characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of 20 base64url characters")
    }
}

impl std::error::Error for InvalidId {}

fn encode(bytes: &[u8; 15]) -> [u8; 20] {
    let mut text = [0; 20];
    for (three, four) in bytes.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
        let group = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for (place, character) in four.iter_mut().enumerate() {
            *character = ALPHABET[(group >> (18 - 6 * place) & 0x3f) as usize];
        }
    }
    text
}

fn sextet(character: u8) -> Option<u32> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

fn ascii_str(text: &[u8; 20]) -> &str {
    // Every byte came from ALPHABET or passed `sextet`, so all are ASCII.
    std::str::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_names_its_node_and_shard() {
        let id = SessionId::new([1, 2, 3], 200);
        let text = id.to_string();
        assert_eq!(text.len(), 20);
        let parsed = SessionId::parse(&text).unwrap();
        assert_eq!(parsed, id);
        assert_eq!((parsed.node(), parsed.shard()), ([1, 2, 3], 200));
        assert_ne!(SessionId::new([1, 2, 3], 200), id);
    }

    #[test]
    fn debug_never_shows_the_whole_session_id() {
        let id = SessionId::parse("lv_VI97HAXpY6yYWAAAB").unwrap();
        assert_eq!(format!("{id:?}"), "lv_V…");
        assert_eq!(format!("{id}"), "lv_VI97HAXpY6yYWAAAB");
    }

    #[test]
    fn other_lengths_and_characters_are_refused() {
        for text in [
            "",
            "short",
            "lv_VI97HAXpY6yYWAAABx",
            "lv_VI97HAXpY6yYWAAA+",
            "é23456789012345678é",
        ] {
            assert_eq!(SessionId::parse(text), Err(InvalidId), "{text}");
            assert_eq!(SocketId::parse(text), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn a_socket_id_serialises_as_its_text() {
        let id = SocketId::new();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<SocketId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<SocketId>("\"x\"").is_err());
    }

    proptest! {
        #[test]
        fn text_and_bytes_are_one_to_one(text in "[A-Za-z0-9_-]{20}") {
            prop_assert_eq!(SessionId::parse(&text).unwrap().to_string(), text.clone());
            let socket = SocketId::parse(&text).unwrap();
            prop_assert_eq!(socket.as_str(), text);
        }
    }
}
