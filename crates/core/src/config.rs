//! What bounds a shard. Every limit has a default and is on from the start.

use sockeye_protocol::socketio;

/// Limits and intervals of a shard. Times are milliseconds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Interval between a pong and the next ping. Default 25,000.
    pub ping_interval: u64,
    /// Time for a pong to arrive before the peer is taken for dead. Default 20,000.
    pub ping_timeout: u64,
    /// Time for a new connection to join its first namespace. Default 45,000.
    pub connect_timeout: u64,
    /// Time for a transport upgrade to finish. Default 10,000.
    pub upgrade_timeout: u64,
    /// Time without progress after which a connection with bytes to write is closed. Default 10,000.
    pub write_timeout: u64,
    /// Time for a polling client to fetch what is left after a close. Default 30,000.
    pub close_timeout: u64,
    /// Time for a polling client to fetch what is left when everybody is closed. Default 2,000.
    pub polling_close_timeout: u64,
    /// Bytes that may wait for one connection. Default 4 MiB.
    pub max_queued_bytes: usize,
    /// Bytes that may wait for all connections of the shard together; a message that waits for
    /// several counts for each. Once they do, each connection may have its equal share of this
    /// waiting, so that those that do not read are ended. Default 1 GiB.
    pub max_total_queued_bytes: usize,
    /// Events that may wait for a handler of their socket before reading stops. Default 64.
    pub max_waiting_events: usize,
    /// Bytes that may wait for a handler of their socket before reading stops. Default 256 KiB.
    pub max_waiting_bytes: usize,
    /// Namespaces one connection may join. Default 100.
    pub max_namespaces: usize,
    /// Rooms one socket may be in, its own not counted. Default 1,000.
    pub max_rooms: usize,
    /// Acknowledgements one socket may owe. Default 1,000.
    pub max_pending_acks: usize,
    /// Limits of the Socket.IO packets taken in.
    pub packets: socketio::Limits,
    /// The parser all connections use.
    pub parser: socketio::Parser,
    /// Largest message taken in, announced to clients as `maxPayload`. Default 1,000,000 bytes.
    pub max_payload: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ping_interval: 25_000,
            ping_timeout: 20_000,
            connect_timeout: 45_000,
            upgrade_timeout: 10_000,
            write_timeout: 10_000,
            close_timeout: 30_000,
            polling_close_timeout: 2_000,
            max_queued_bytes: 4 << 20,
            max_total_queued_bytes: 1 << 30,
            max_waiting_events: 64,
            max_waiting_bytes: 256 << 10,
            max_namespaces: 100,
            max_rooms: 1_000,
            max_pending_acks: 1_000,
            packets: socketio::Limits::default(),
            parser: socketio::Parser::default(),
            max_payload: 1_000_000,
        }
    }
}
