//! Why something was not published, not stored or not recovered.

use std::fmt;

/// A store could not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or failed.
    Unavailable,
    /// What should be stored is larger than the store's limits allow.
    TooLarge,
}

/// A bus could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusError {
    kind: BusErrorKind,
    detail: Option<Box<str>>,
}

/// The kinds of a [`BusError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BusErrorKind {
    /// The engine cannot be reached, or the connection broke before it had answered.
    Unavailable,
    /// More waits to be published than the limit allows: this message was dropped.
    Full,
    /// The engine refuses this node: a wrong password, a missing right.
    Denied,
    /// The configuration cannot work, whatever is tried again.
    Misconfigured,
    /// This engine, or the format that it speaks, has no such thing.
    Unsupported,
    /// The bus was not started, or has ended.
    Down,
}

/// Why a client is not recovered. It then gets a new session, as if it had never been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotRecovered {
    /// No such session: never saved, forgotten, or gone so long that nothing remembers it.
    UnknownSession,
    /// The client was away for longer than allowed.
    Expired,
    /// The session was recovered once already.
    Taken,
    /// An event for the session was dropped, so it could not be complete.
    Lossy,
    /// The client gave no offset, or one that was never assigned in this namespace by this store, or one
    /// that was never sent to it.
    UnknownOffset,
    /// Packets after the offset are no longer kept, because of their age, number or size.
    Trimmed,
    /// The session has left a room after the offset, so that nobody can say what it has missed.
    RoomsChanged,
    /// More was missed, or more sessions had gone, than the limits allow.
    Limit,
    /// The store cannot be reached, or failed.
    Unavailable,
}

impl StoreError {
    /// Whether trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

impl BusError {
    /// An error without more to say.
    pub const fn new(kind: BusErrorKind) -> Self {
        Self { kind, detail: None }
    }

    /// An error and what the engine or the configuration says about it. Never a secret.
    pub fn with(kind: BusErrorKind, detail: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            detail: Some(detail.into()),
        }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> BusErrorKind {
        self.kind
    }

    /// Whether trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, BusErrorKind::Unavailable)
    }

    /// Whether the message was dropped because too many wait already.
    pub fn is_full(&self) -> bool {
        matches!(self.kind, BusErrorKind::Full)
    }

    /// Whether the engine refuses this node or its configuration: trying again does not help.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self.kind,
            BusErrorKind::Denied | BusErrorKind::Misconfigured | BusErrorKind::Unsupported
        )
    }
}

impl From<BusErrorKind> for BusError {
    fn from(kind: BusErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BusErrorKind::Unavailable => "the bus is unavailable",
            BusErrorKind::Full => "too much waits to be published",
            BusErrorKind::Denied => "the bus refuses this node",
            BusErrorKind::Misconfigured => "the bus is misconfigured",
            BusErrorKind::Unsupported => "the bus does not support this",
            BusErrorKind::Down => "the bus is not running",
        })?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl NotRecovered {
    /// A short name that does not change, for metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::UnknownSession => "unknown_session",
            Self::Expired => "expired",
            Self::Taken => "taken",
            Self::Lossy => "lossy",
            Self::UnknownOffset => "unknown_offset",
            Self::Trimmed => "trimmed",
            Self::RoomsChanged => "rooms_changed",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether greater limits of the store could have made it a recovery.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Expired | Self::Trimmed | Self::Limit)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the store is unavailable",
            Self::TooLarge => "too large for the store",
        })
    }
}

impl fmt::Display for NotRecovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownSession => "no such session",
            Self::Expired => "the session has expired",
            Self::Taken => "the session was recovered already",
            Self::Lossy => "an event for the session was dropped",
            Self::UnknownOffset => "the offset is missing or unknown",
            Self::Trimmed => "packets after the offset are no longer kept",
            Self::RoomsChanged => "the session has left a room after the offset",
            Self::Limit => "more was missed than the limits allow",
            Self::Unavailable => "the store is unavailable",
        })
    }
}

impl std::error::Error for BusError {}
impl std::error::Error for StoreError {}
impl std::error::Error for NotRecovered {}
