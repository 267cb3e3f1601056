//! What a run shall do.

use crate::target::Target;
use std::net::IpAddr;
use std::time::Duration;

/// The kind of load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scenario {
    /// Hold the connections and answer pings.
    Idle,
    /// Connect all at once, then hold.
    Storm,
    /// Closed loop: each connection keeps `window` echoes in flight.
    Echo {
        /// Messages in flight per connection.
        window: u32,
    },
    /// Open loop: echoes at a fixed rate, taking turns over the connections, whether or not the
    /// server keeps up.
    Rate {
        /// Messages a second over all connections.
        per_second: f64,
    },
    /// Messages of a few publishers to every connection.
    Fanout {
        /// Connections that publish; they receive as well.
        publishers: u32,
        /// How they publish.
        pace: Pace,
    },
}

/// How publishers of a fan-out publish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Closed loop: each publisher keeps this many messages in flight; one is done when its last
    /// receiver has it.
    Window(u32),
    /// Open loop: so many messages a second over all publishers.
    PerSecond(f64),
}

impl Scenario {
    /// The name by which the command line and reports know it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Storm => "storm",
            Self::Echo { .. } => "echo",
            Self::Rate { .. } => "rate",
            Self::Fanout { .. } => "fanout",
        }
    }

    /// Whether messages are sent on a schedule and not in answer to others.
    pub fn is_open_loop(&self) -> bool {
        matches!(
            self,
            Self::Rate { .. }
                | Self::Fanout {
                    pace: Pace::PerSecond(_),
                    ..
                }
        )
    }
}

/// Event names of the contract with a Socket.IO server. Names need no escapes in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// Answered with an acknowledgement that carries its argument.
    pub echo: String,
    /// Sent on, with its argument, to every connection of the namespace.
    pub broadcast: String,
    /// Joins the room that is its argument and is acknowledged.
    pub join: String,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            echo: "echo".into(),
            broadcast: "broadcast".into(),
            join: "join".into(),
        }
    }
}

/// A whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// The load.
    pub scenario: Scenario,
    /// How many connections. Default 100.
    pub connections: u32,
    /// Bytes of a message's payload, at least [`crate::Stamp::LEN`]. Default 64.
    pub payload: usize,
    /// Load before the measurement. Default 1 s.
    pub warmup: Duration,
    /// The measurement. Default 5 s.
    pub duration: Duration,
    /// Silence after the last connection, before memory is read. Default 1 s.
    pub settle: Duration,
    /// How long the answers to the last messages may take. Default 2 s.
    pub drain: Duration,
    /// How long setting up may go without any progress before the rest is given up, and how long
    /// a closed loop may see no message before its window is sent anew. Default 10 s and a fifth
    /// of it.
    pub patience: Duration,
    /// Handshakes in flight; [`Scenario::Storm`] has all of them. Default 128.
    pub handshakes: u32,
    /// Addresses connections come from, in turn, each good for some 28,000 connections. Empty:
    /// the system chooses. Default: 127.0.0.1 to 127.0.0.4 if the target is of that network.
    pub sources: Vec<IpAddr>,
    /// Namespace. Default `/`.
    pub namespace: String,
    /// JSON object sent when joining the namespace. Default none.
    pub auth: Option<String>,
    /// Token for an `Authorization: Bearer` header of the handshake. Default none.
    pub bearer: Option<String>,
    /// Room that every connection joins before the run. Default none.
    pub room: Option<String>,
    /// Event names.
    pub events: Events,
    /// Process whose CPU time and memory are read. Default none.
    pub pid: Option<u32>,
}

impl Plan {
    /// A plan with the defaults that the fields state.
    pub fn new(target: Target, scenario: Scenario) -> Self {
        let sources = match target.address().ip() {
            IpAddr::V4(ip) if ip.is_loopback() => (1..=4)
                .map(|last| IpAddr::from([127, 0, 0, last]))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            target,
            scenario,
            connections: 100,
            payload: 64,
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            settle: Duration::from_secs(1),
            drain: Duration::from_secs(2),
            patience: Duration::from_secs(10),
            handshakes: 128,
            sources,
            namespace: "/".into(),
            auth: None,
            bearer: None,
            room: None,
            events: Events::default(),
            pid: None,
        }
    }
}
