//! Counters and gauges of a server, and their text form.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye_core::Stats;
use sockeye_protocol::engine::CloseReason;

/// A number that only grows.
#[derive(Default, Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident: $help:literal),* $(,)?) => {
        /// What happens outside the shards.
        #[derive(Default, Debug)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: Counter,)*
            disconnects: [Counter; CloseReason::ALL.len()],
        }

        impl Metrics {
            fn each(&self, mut f: impl FnMut(&str, &str, u64)) {
                $(f(stringify!($name), $help, self.$name.value());)*
            }
        }
    };
}

counters! {
    connects: "Sockets let into a namespace.",
    connects_refused: "Sockets refused by a middleware or because there is no such namespace.",
    recoveries: "Sockets whose state was recovered.",
    recoveries_refused: "Sockets that claimed a session which could not be recovered.",
    requests_refused: "HTTP requests refused with an Engine.IO error.",
    connections_refused: "Sessions refused because the server is full or closing.",
    body_too_large: "Polling bodies above the limit.",
    origins_refused: "Requests refused because of their origin.",
    websocket_errors: "WebSocket connections that broke the protocol or a limit.",
    accept_errors: "Times a connection could not be accepted, for want of descriptors mostly.",
    handler_panics: "Panics caught in handlers and middleware.",
    blocking_handlers: "Times a handler held its worker up for longer than the limit.",
    broadcast_handovers: "Broadcasts handed to the inbox of another worker, once for each.",
    inbox_overruns: "Workers held up until broadcasts had no room; their clients were closed.",
    inbox_refusals: "Calls refused because too many waited for a worker already.",
    driven_as_is: "Upgraded connections that could not be taken back from the HTTP layer.",
}

impl Metrics {
    pub(crate) fn count_disconnect(&self, reason: CloseReason) {
        if let Some(at) = CloseReason::ALL.iter().position(|known| *known == reason) {
            self.disconnects[at].add(1);
        }
    }
}

/// Gauges: how things are now.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Gauges {
    /// Open engine sessions.
    pub sessions: usize,
    /// Those of them that are raw Engine.IO, without Socket.IO.
    pub raw_sessions: usize,
    /// Connected sockets over all namespaces.
    pub sockets: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Rooms of all namespaces that have a member; the sockets' own ones included.
    pub rooms: usize,
    /// Deadlines that are armed.
    pub timers: usize,
    /// Tasks that run: connections, handlers that wait.
    pub tasks: usize,
    /// Bytes that wait for connections.
    pub queued_bytes: usize,
    /// Sessions kept for recovery.
    pub recoverable_sessions: usize,
    /// Packets kept for recovery.
    pub recoverable_packets: usize,
    /// Workers that write through io_uring; the others ask the system once for each connection.
    pub io_uring_workers: usize,
}

/// Writes everything in the Prometheus text format, version 0.0.4.
pub(crate) fn render(metrics: &Metrics, deflations: u64, stats: &Stats, gauges: &Gauges) -> String {
    let mut text = String::new();
    let mut counter = |name: &str, help: &str, value: u64| {
        let _ = write!(
            text,
            "# HELP sockeye_{name}_total {help}\n# TYPE sockeye_{name}_total counter\n\
             sockeye_{name}_total {value}\n"
        );
    };
    metrics.each(&mut counter);
    let help = "WebSocket messages deflated; one that is shared by many connections counts once.";
    counter("deflations", help, deflations);
    for (name, help, value) in stats_rows(stats) {
        counter(name, help, value);
    }
    let _ = writeln!(
        text,
        "# HELP sockeye_disconnects_total Sockets disconnected, by reason.\n\
         # TYPE sockeye_disconnects_total counter"
    );
    for (reason, counter) in CloseReason::ALL.iter().zip(&metrics.disconnects) {
        let reason = reason.as_str();
        let _ = writeln!(
            text,
            "sockeye_disconnects_total{{reason=\"{reason}\"}} {}",
            counter.value()
        );
    }
    for (name, help, value) in gauge_rows(gauges) {
        let _ = write!(
            text,
            "# HELP sockeye_{name} {help}\n# TYPE sockeye_{name} gauge\nsockeye_{name} {value}\n"
        );
    }
    text
}

fn stats_rows(s: &Stats) -> [(&'static str, &'static str, u64); 18] {
    [
        (
            "sessions_opened",
            "Engine sessions opened.",
            s.sessions_opened,
        ),
        (
            "sessions_closed",
            "Engine sessions closed.",
            s.sessions_closed,
        ),
        ("upgrades", "Upgrades to WebSocket finished.", s.upgrades),
        (
            "upgrades_failed",
            "Upgrades begun and not finished.",
            s.upgrades_failed,
        ),
        ("packets_in", "Engine packets taken in.", s.packets_in),
        (
            "packets_out",
            "Packets queued, one for each recipient.",
            s.packets_out,
        ),
        ("events", "Events handed to handlers.", s.events),
        (
            "events_dropped",
            "Events that waited when their socket left.",
            s.events_dropped,
        ),
        (
            "volatile_dropped",
            "Volatile packets dropped.",
            s.volatile_dropped,
        ),
        (
            "total_queue_refusals",
            "Packets refused or dropped: too much waited in all.",
            s.total_queue_refusals,
        ),
        (
            "slow_consumers",
            "Connections closed: outbound queue full.",
            s.slow_consumers,
        ),
        (
            "write_timeouts",
            "Connections closed: no write progress in time.",
            s.write_timeouts,
        ),
        (
            "ping_timeouts",
            "Connections closed: no pong in time.",
            s.ping_timeouts,
        ),
        (
            "connect_timeouts",
            "Connections closed: no namespace in time.",
            s.connect_timeouts,
        ),
        (
            "parse_errors",
            "Connections closed: a packet broke the protocol.",
            s.parse_errors,
        ),
        (
            "pauses",
            "Times reading stopped because a handler fell behind.",
            s.pauses,
        ),
        (
            "ack_timeouts",
            "Acknowledgements that did not come in time.",
            s.ack_timeouts,
        ),
        (
            "limit_refusals",
            "Namespaces, rooms and acks refused at a limit.",
            s.limit_refusals,
        ),
    ]
}

fn gauge_rows(g: &Gauges) -> [(&'static str, &'static str, usize); 11] {
    [
        ("sessions", "Open engine sessions.", g.sessions),
        (
            "raw_sessions",
            "Those of them without Socket.IO.",
            g.raw_sessions,
        ),
        (
            "sockets",
            "Connected sockets over all namespaces.",
            g.sockets,
        ),
        ("namespaces", "Namespaces.", g.namespaces),
        (
            "rooms",
            "Rooms with a member; the sockets' own included.",
            g.rooms,
        ),
        ("timers", "Deadlines that are armed.", g.timers),
        ("tasks", "Tasks that run.", g.tasks),
        (
            "queued_bytes",
            "Bytes that wait for connections.",
            g.queued_bytes,
        ),
        (
            "recoverable_sessions",
            "Sessions kept for recovery.",
            g.recoverable_sessions,
        ),
        (
            "recoverable_packets",
            "Packets kept for recovery.",
            g.recoverable_packets,
        ),
        (
            "io_uring_workers",
            "Workers that write through io_uring.",
            g.io_uring_workers,
        ),
    ]
}
