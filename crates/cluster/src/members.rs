//! Who is there, by what was last heard of them.

use std::collections::HashMap;

use crate::{NodeEvent, NodeId};

/// The other nodes of a cluster, kept alive by whatever they say and forgotten when they say nothing
/// for too long. Without a clock: times are milliseconds that the caller passes.
///
/// A node that starts anew under its old name is another incarnation: what the old one says late
/// does not count as a sign of life.
///
/// ```
/// use sockeye_cluster::{Members, NodeEvent};
///
/// let mut members = Members::new(10_000);
/// assert_eq!(members.heard(&"a".into(), 1, 0), Some(NodeEvent::Joined("a".into())));
/// assert_eq!(members.heard(&"a".into(), 1, 9_000), None);
/// assert!(members.expire(18_000).is_empty());
/// assert_eq!(members.expire(19_001), [NodeEvent::Lost("a".into())]);
/// ```
#[derive(Debug, Clone)]
pub struct Members {
    timeout_ms: u64,
    nodes: HashMap<NodeId, Member>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    incarnation: u64,
    heard_ms: u64,
}

impl Members {
    /// The most nodes that are known; those beyond it are not counted. 4,096.
    pub const MAX: usize = 4_096;

    /// Nobody; a node is lost when it was not heard of for longer than `timeout_ms`.
    pub fn new(timeout_ms: u64) -> Self {
        Self {
            timeout_ms,
            nodes: HashMap::new(),
        }
    }

    /// A node said something at `now_ms`.
    pub fn heard(&mut self, node: &NodeId, incarnation: u64, now_ms: u64) -> Option<NodeEvent> {
        if let Some(member) = self.nodes.get_mut(node) {
            member.incarnation = incarnation;
            member.heard_ms = member.heard_ms.max(now_ms);
            return None;
        }
        if self.nodes.len() == Self::MAX {
            return None;
        }
        let member = Member {
            incarnation,
            heard_ms: now_ms,
        };
        self.nodes.insert(node.clone(), member);
        Some(NodeEvent::Joined(node.clone()))
    }

    /// A node said goodbye.
    pub fn left(&mut self, node: &NodeId, incarnation: u64) -> Option<NodeEvent> {
        let is_same = |member: &Member| member.incarnation == incarnation;
        if !self.nodes.get(node).is_some_and(is_same) {
            return None;
        }
        self.nodes.remove(node);
        Some(NodeEvent::Left(node.clone()))
    }

    /// Forgets those who were silent for too long.
    pub fn expire(&mut self, now_ms: u64) -> Vec<NodeEvent> {
        let mut lost = Vec::new();
        self.nodes.retain(|node, member| {
            let lives = now_ms.saturating_sub(member.heard_ms) <= self.timeout_ms;
            if !lives {
                lost.push(NodeEvent::Lost(node.clone()));
            }
            lives
        });
        lost
    }

    /// Gives everybody a new full time to be heard in: after this node itself was out of reach.
    pub fn forgive(&mut self, now_ms: u64) {
        for member in self.nodes.values_mut() {
            member.heard_ms = member.heard_ms.max(now_ms);
        }
    }

    /// Their names, sorted.
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.nodes.keys().cloned().collect();
        nodes.sort();
        nodes
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_goodbye_of_an_old_incarnation_does_not_count() {
        let mut members = Members::new(100);
        let node = NodeId::from("a");
        members.heard(&node, 1, 0);
        assert_eq!(members.heard(&node, 2, 10), None);
        assert_eq!(members.left(&node, 1), None);
        assert_eq!(members.nodes(), std::slice::from_ref(&node));
        assert_eq!(members.left(&node, 2), Some(NodeEvent::Left(node)));
    }

    #[test]
    fn after_an_outage_of_its_own_a_node_blames_nobody() {
        let mut members = Members::new(100);
        members.heard(&"a".into(), 1, 0);
        members.forgive(1_000);
        assert!(members.expire(1_100).is_empty());
        assert_eq!(members.expire(1_101), [NodeEvent::Lost("a".into())]);
    }

    #[test]
    fn invented_names_do_not_fill_the_memory() {
        let mut members = Members::new(100);
        for number in 0..10_000 {
            members.heard(&format!("node-{number}").into(), 1, 0);
        }
        assert_eq!(members.len(), Members::MAX);
    }
}
