//! The gates at which workers wait for each other.

use serde::{Deserialize, Serialize};

/// A gate, with what a worker hands in there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Point {
    /// Before the first connection.
    Begin,
    /// All connections are ready or have failed: the rooms of its publishers, if it has some.
    Connected { publishers: Vec<u32> },
    /// It is ready to judge what others publish.
    Prepared,
    /// It publishes no more: how many messages each of its publishers has published.
    Sent { published: Vec<u32> },
}

impl Point {
    /// The list it hands in.
    pub(super) fn list(&self) -> &[u32] {
        match self {
            Self::Connected { publishers: list } | Self::Sent { published: list } => list,
            Self::Begin | Self::Prepared => &[],
        }
    }
}

/// What everybody handed in, when all have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// The lists of all workers, one after the other.
    pub(crate) all: Vec<u32>,
    /// Where in `all` the worker's own begins.
    pub(crate) own: usize,
    /// Workers that ended before: what they published is not known.
    pub(crate) missing: Vec<(usize, usize)>,
}

/// The other side of the gates.
pub(crate) trait Gate {
    /// Says that this worker has arrived.
    fn arrive(&mut self, point: Point) -> std::io::Result<()>;
    /// Whether all have.
    fn opened(&mut self) -> std::io::Result<Option<Opened>>;
}
