//! Why values could not become arguments, or arguments not values.

use std::fmt;

/// A value that cannot be sent, or arguments that do not have the asked-for type.
///
/// Never an error of the connection: the packet itself was fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgsError {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Serialize,
    Deserialize,
    Missing,
    Depth,
}

impl ArgsError {
    pub(super) fn serialize(message: impl fmt::Display) -> Self {
        Self {
            kind: Kind::Serialize,
            message: message.to_string(),
        }
    }

    pub(super) fn deserialize(message: impl fmt::Display) -> Self {
        Self {
            kind: Kind::Deserialize,
            message: message.to_string(),
        }
    }

    pub(super) fn missing() -> Self {
        Self {
            kind: Kind::Missing,
            message: "an argument is missing".into(),
        }
    }

    pub(super) fn depth(limit: usize) -> Self {
        let message = format!("nested deeper than {limit} levels, the limit of typed values");
        Self {
            kind: Kind::Depth,
            message,
        }
    }

    /// Whether a value could not be written.
    pub fn is_serialize(&self) -> bool {
        self.kind == Kind::Serialize
    }

    /// Whether an argument has another type than asked for.
    pub fn is_deserialize(&self) -> bool {
        self.kind == Kind::Deserialize
    }

    /// Whether there are fewer arguments than asked for.
    pub fn is_missing(&self) -> bool {
        self.kind == Kind::Missing
    }

    /// Whether a value is nested too deep for typed extraction. Such arguments can still be passed
    /// on as [`Args`](super::Args) or read as a [`Value`](super::Value).
    pub fn is_too_deep(&self) -> bool {
        self.kind == Kind::Depth
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ArgsError {}

impl serde::ser::Error for ArgsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::serialize(message)
    }
}

impl serde::de::Error for ArgsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::deserialize(message)
    }
}
