//! The names of nodes.

use std::fmt;
use std::sync::Arc;

/// The name of a node, unique among the nodes of a cluster. Cheap to clone.
///
/// Ours are chosen by whoever runs them; Node.js adapters call themselves by random letters, one name
/// for each namespace.
///
/// ```
/// use sockeye_cluster::NodeId;
///
/// assert_eq!(NodeId::from("eu-1").as_str(), "eu-1");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The longest name that is taken off the wire, in bytes.
    pub const MAX_LEN: usize = 255;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for NodeId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Arc<str>> for NodeId {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}
