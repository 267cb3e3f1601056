/// The limits of an [`Embedded`](super::Embedded) store.
///
/// Reaching one never blocks and never loses a live event; it makes some recoveries answer "not
/// recovered". Sizes count contents and an estimate of what holding them costs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbeddedConfig {
    /// The longest time for which a session is kept, in milliseconds; a longer one asked for is cut
    /// down to it. Default 120,000, as in Node.js. Packets are kept this long and `settle_ms` more.
    pub max_disconnection_ms: u64,
    /// The time within which an event that was assigned an offset has been queued to all its
    /// sockets of this process, or those sockets have been marked lossy; in milliseconds. Default
    /// 30,000. It lets a client return that has had no event for longer than packets are kept.
    pub settle_ms: u64,
    /// Packets kept per namespace. Default 100,000.
    pub max_packets_per_namespace: usize,
    /// Bytes of packets kept per namespace. Default 64 MiB.
    pub max_bytes_per_namespace: usize,
    /// Packets kept in total. Default 500,000.
    pub max_packets: usize,
    /// Bytes of packets kept in total. Default 256 MiB.
    pub max_bytes: usize,
    /// Sessions kept, in all namespaces; beyond, those go first that would expire first. As many
    /// that can no longer be recovered are remembered with the reason. Default 100,000.
    pub max_sessions: usize,
    /// Bytes of sessions kept. Default 64 MiB.
    pub max_session_bytes: usize,
    /// Packets that one recovery may bring. Default 10,000.
    pub max_missed_packets: usize,
    /// Bytes of packets that one recovery may bring. Default 8 MiB.
    pub max_missed_bytes: usize,
    /// The time after which a namespace without any packets is forgotten, in milliseconds; who has
    /// received nothing for so long is not recovered. Default 3,600,000.
    pub namespace_idle_ms: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            max_disconnection_ms: 120_000,
            settle_ms: 30_000,
            max_packets_per_namespace: 100_000,
            max_bytes_per_namespace: 64 << 20,
            max_packets: 500_000,
            max_bytes: 256 << 20,
            max_sessions: 100_000,
            max_session_bytes: 64 << 20,
            max_missed_packets: 10_000,
            max_missed_bytes: 8 << 20,
            namespace_idle_ms: 3_600_000,
        }
    }
}
