//! Bounds on what a peer may send in one packet.

/// Bounds on a single packet. Exceeding one is a [`DecodeError`](crate::DecodeError), which ends
/// the connection as any other unreadable packet does.
///
/// ```
/// use sockeye_protocol::socketio::Limits;
///
/// let limits = Limits { max_attachments: 100, ..Limits::default() };
/// assert_eq!(limits.max_depth, 1_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Binary attachments of one packet. Default 10, as in Node.js servers. They are kept until
    /// the last has come: the worst case per connection is this many messages of the largest
    /// size.
    pub max_attachments: usize,
    /// Bytes of all attachments of one packet together. Default 10,000,000: ten of the largest
    /// messages that a server takes by default. Raise it with `maxPayload`.
    pub max_attachment_bytes: usize,
    /// Arrays and objects within each other, the array of the packet included. Default 1,000,
    /// which is also the most: higher values count as 1,000.
    pub max_depth: usize,
    /// Arguments of one event or acknowledgement. Default 4,096.
    pub max_args: usize,
    /// Bytes of an event name. Default 4,096.
    pub max_event_name_len: usize,
    /// Bytes of a namespace. Default 1,024.
    pub max_namespace_len: usize,
}

impl Limits {
    /// The most that [`Limits::max_depth`] can be.
    pub const MAX_DEPTH: usize = 1_000;

    pub(super) fn depth(&self) -> usize {
        self.max_depth.min(Self::MAX_DEPTH)
    }

    /// Bounds for text that we made ourselves or checked before.
    pub(super) fn trusted() -> Self {
        Self {
            max_attachments: usize::MAX,
            max_attachment_bytes: usize::MAX,
            max_depth: Self::MAX_DEPTH,
            max_args: usize::MAX,
            max_event_name_len: usize::MAX,
            max_namespace_len: usize::MAX,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attachments: 10,
            max_attachment_bytes: 10_000_000,
            max_depth: Self::MAX_DEPTH,
            max_args: 4_096,
            max_event_name_len: 4_096,
            max_namespace_len: 1_024,
        }
    }
}
