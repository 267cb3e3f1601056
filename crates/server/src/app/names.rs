//! Names that clients choose, parsed once: of rooms, members and events.

use super::refusal::Refusal;

/// Longest name of a room, in bytes.
const ROOM_BYTES: usize = 128;
/// Longest name of a member, in characters.
const MEMBER_CHARS: usize = 64;
/// Longest name of a published event, in bytes.
const EVENT_BYTES: usize = 128;

/// What the rooms of clients are called inside, before their own name: every socket is also in a
/// room with its id as the name, which nobody may join by asking for it.
const PREFIX: &str = "room:";

/// The name of a room of clients: 1 to 128 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomName {
    /// With the prefix.
    inside: String,
}

impl RoomName {
    /// # Errors
    ///
    /// [`Refusal::RoomName`].
    pub(crate) fn parse(name: &str) -> Result<Self, Refusal> {
        if name.is_empty() {
            return Err(Refusal::RoomName("must not be empty"));
        }
        if name.len() > ROOM_BYTES {
            return Err(Refusal::RoomName("has at most 128 bytes"));
        }
        if name.chars().any(char::is_control) {
            return Err(Refusal::RoomName("must not contain control characters"));
        }
        Ok(Self {
            inside: format!("{PREFIX}{name}"),
        })
    }

    /// The room of clients behind a room of the library; `None` for the sockets' own rooms.
    pub(crate) fn from_inside(room: &str) -> Option<Self> {
        room.starts_with(PREFIX).then(|| Self {
            inside: room.to_owned(),
        })
    }

    /// As clients know it.
    pub(crate) fn as_str(&self) -> &str {
        &self.inside[PREFIX.len()..]
    }

    /// As the library knows it.
    pub(crate) fn inside(&self) -> &str {
        &self.inside
    }
}

/// Checks what a client calls itself: at most 64 characters, no control characters.
///
/// # Errors
///
/// [`Refusal::BadArgument`].
pub(crate) fn member_name(name: &str) -> Result<(), Refusal> {
    if name.chars().count() > MEMBER_CHARS || name.chars().any(char::is_control) {
        let reason = "`name` has at most 64 characters and no control characters";
        return Err(Refusal::BadArgument(reason.to_owned()));
    }
    Ok(())
}

/// Checks the name of a published event: 1 to 128 bytes.
///
/// # Errors
///
/// [`Refusal::BadArgument`].
pub(crate) fn event_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > EVENT_BYTES {
        let reason = "the event's name has 1 to 128 bytes";
        return Err(Refusal::BadArgument(reason.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_keep_their_name_and_get_a_space_of_their_own() {
        let room = RoomName::parse("lobby").expect("a name");
        assert_eq!((room.as_str(), room.inside()), ("lobby", "room:lobby"));
        assert_eq!(RoomName::from_inside(room.inside()), Some(room));
        assert_eq!(RoomName::from_inside("AAAAAAAAAAAAAAAAAAAA"), None);
    }

    #[test]
    fn bounds_of_room_names() {
        for good in ["a", " ", "ä", "room:x", &"x".repeat(128), &"ä".repeat(64)] {
            assert!(RoomName::parse(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "a\nb",
            "\0",
            "\u{7f}",
            "\u{85}",
            &"x".repeat(129),
            &"ä".repeat(65),
        ] {
            let refusal = RoomName::parse(bad).expect_err(bad);
            assert_eq!(refusal.code(), "room_name", "{bad:?}");
        }
    }

    #[test]
    fn bounds_of_other_names() {
        assert_eq!(member_name(""), Ok(()));
        assert_eq!(member_name(&"ä".repeat(64)), Ok(()));
        assert!(member_name(&"ä".repeat(65)).is_err());
        assert!(member_name("a\u{1b}[2J").is_err());
        assert_eq!(event_name(&"x".repeat(128)), Ok(()));
        assert!(event_name("").is_err());
        assert!(event_name(&"x".repeat(129)).is_err());
    }
}
