//! Counters of a shard. They only grow; gauges are read from the state itself.

/// What has happened on a shard since its start.
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Sessions closed.
    pub sessions_closed: u64,
    /// Upgrades from polling to WebSocket that were finished.
    pub upgrades: u64,
    /// Upgrades that were begun and not finished.
    pub upgrades_failed: u64,
    /// Engine packets taken in.
    pub packets_in: u64,
    /// Packets queued, one for each recipient.
    pub packets_out: u64,
    /// Events handed to handlers.
    pub events: u64,
    /// Events that waited for a handler when their socket left.
    pub events_dropped: u64,
    /// Volatile packets dropped.
    pub volatile_dropped: u64,
    /// Packets refused or dropped because too much waited on all connections together.
    pub total_queue_refusals: u64,
    /// Connections closed because they did not take what they were sent.
    pub slow_consumers: u64,
    /// Connections closed because a write made no progress in time.
    pub write_timeouts: u64,
    /// Connections closed because no pong came in time.
    pub ping_timeouts: u64,
    /// Connections closed because they joined no namespace in time.
    pub connect_timeouts: u64,
    /// Connections closed because of a packet that broke the protocol or a limit.
    pub parse_errors: u64,
    /// Times reading stopped because a handler had fallen behind.
    pub pauses: u64,
    /// Acknowledgements that did not come in time.
    pub ack_timeouts: u64,
    /// Namespaces, rooms and acknowledgements refused because a limit was reached.
    pub limit_refusals: u64,
}

impl Stats {
    /// Adds the counters of another shard.
    pub fn add(&mut self, other: &Stats) {
        self.sessions_opened += other.sessions_opened;
        self.sessions_closed += other.sessions_closed;
        self.upgrades += other.upgrades;
        self.upgrades_failed += other.upgrades_failed;
        self.packets_in += other.packets_in;
        self.packets_out += other.packets_out;
        self.events += other.events;
        self.events_dropped += other.events_dropped;
        self.volatile_dropped += other.volatile_dropped;
        self.total_queue_refusals += other.total_queue_refusals;
        self.slow_consumers += other.slow_consumers;
        self.write_timeouts += other.write_timeouts;
        self.ping_timeouts += other.ping_timeouts;
        self.connect_timeouts += other.connect_timeouts;
        self.parse_errors += other.parse_errors;
        self.pauses += other.pauses;
        self.ack_timeouts += other.ack_timeouts;
        self.limit_refusals += other.limit_refusals;
    }
}
