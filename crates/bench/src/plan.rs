//! What a run shall do.

use crate::mixed::Mix;
use crate::target::{Protocol, Target};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the last acknowledgements of a scenario file.
const MAX_DRAIN: Duration = Duration::from_secs(60);

/// The kind of load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scenario {
    /// Hold the connections and answer pings.
    Idle,
    /// Connect all at once, then hold; or lose them all and wait until all are back.
    Storm {
        /// How connections are lost. `None`: they are held.
        reconnect: Option<Reconnect>,
    },
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
    /// Connections rise in steps.
    Ramp(Ramp),
    /// A base load, then much more of it at once, then the base load again.
    Spike(Spike),
    /// Echoes for hours; the slope of memory and latency.
    Soak(Soak),
    /// Connections leave and others come, at a rate.
    Churn(Churn),
    /// A fan-out of which some receivers read slowly or not at all.
    Slow(Slow),
    /// What the scenario file in [`Plan::mix`] says.
    Mixed,
}

/// How all connections are lost, and how each comes back: after a random share of a delay that
/// doubles with every failed attempt (full jitter).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reconnect {
    /// Who ends the connections.
    pub by: CutBy,
    /// Longest delay before the first attempt; zero: at once. Default 1 s, as Socket.IO clients.
    pub base: Duration,
    /// Longest delay before any attempt. Default 5 s, as Socket.IO clients.
    pub cap: Duration,
}

impl Reconnect {
    /// With the delays of a stock Socket.IO client.
    pub fn new(by: CutBy) -> Self {
        Self {
            by,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(5),
        }
    }
}

/// Who ends the connections of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutBy {
    /// The generator resets them all at the same moment.
    Generator,
    /// The server: somebody kills and restarts it during the measurement.
    Server,
}

/// Connections that rise in steps from `from` to [`Plan::connections`].
///
/// Every step opens its share, waits until they are ready or have failed, and holds; it makes one
/// [`crate::PhaseReport`]. The length of the measurement follows from this, not from
/// [`Plan::duration`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// Connections before the first step. Default 0.
    pub from: u32,
    /// How many steps. Default 10.
    pub steps: u32,
    /// Connections opened per second within a step. `None`: as fast as
    /// [`Plan::handshakes`] in flight allow.
    pub per_second: Option<f64>,
    /// How long a step is held once its connections are there. Default 5 s.
    pub hold: Duration,
    /// Echoes per second and connection, in an open loop. Default 0.
    pub rate: f64,
}

/// A base load of echoes in an open loop over [`Plan::connections`] connections, and a spike.
///
/// Of [`Plan::duration`] what the spike leaves is spent one third before and two thirds after it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spike {
    /// Echoes per second over all connections, before and after.
    pub base_rate: f64,
    /// Echoes per second during the spike.
    pub peak_rate: f64,
    /// Connections that come for the spike, all at once, and leave after it.
    pub connections: u32,
    /// How long it lasts.
    pub duration: Duration,
}

/// Echoes for a long time and the drift of memory and latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Soak {
    /// The load: per connection so many in flight, or so many a second over all connections.
    pub pace: Pace,
    /// Distance of two samples. Default 10 s.
    pub sample: Duration,
    /// Growth of the server's resident memory over the run, as a share of its median, from which
    /// on the run has failed. Default 0.1.
    pub max_memory_drift: f64,
    /// The same for the median latency of a sample and for its 99th percentile. Default 0.5.
    pub max_latency_drift: f64,
}

/// Connections that leave and come at a rate while their number is held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// How many leave per second, chosen at random; as many come.
    pub per_second: f64,
    /// Share of those that are cut without a word; the others say that they leave. Default 0.5.
    pub cut: f64,
    /// Echoes per second over all connections meanwhile. Default 0.
    pub rate: f64,
}

/// A fan-out with slow readers; latency is that of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// Share of the connections that read slowly. Default 0.1.
    pub share: f64,
    /// Bytes per second each of them reads; 0: none at all.
    pub read_rate: u64,
    /// Connections that publish.
    pub publishers: u32,
    /// How they publish.
    pub pace: Pace,
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
            Self::Storm { .. } => "storm",
            Self::Echo { .. } => "echo",
            Self::Rate { .. } => "rate",
            Self::Fanout { .. } => "fanout",
            Self::Ramp(_) => "ramp",
            Self::Spike(_) => "spike",
            Self::Soak(_) => "soak",
            Self::Churn(_) => "churn",
            Self::Slow(_) => "slow",
            Self::Mixed => "mixed",
        }
    }

    /// Whether messages are sent on a schedule and not in answer to others.
    pub fn is_open_loop(&self) -> bool {
        match self {
            Self::Idle | Self::Storm { .. } | Self::Echo { .. } => false,
            Self::Rate { .. } | Self::Ramp(_) | Self::Spike(_) | Self::Churn(_) | Self::Mixed => {
                true
            }
            Self::Fanout { pace, .. } | Self::Slow(Slow { pace, .. }) => pace.is_open_loop(),
            Self::Soak(soak) => soak.pace.is_open_loop(),
        }
    }
}

impl Pace {
    fn is_open_loop(self) -> bool {
        matches!(self, Self::PerSecond(_))
    }
}

/// How connections of [`Protocol::SocketIo`] are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// WebSocket from the start.
    #[default]
    WebSocket,
    /// HTTP long-polling: two keep-alive connections each, one that waits and one that posts.
    Polling,
    /// Polling first, then the probe and the upgrade to WebSocket, as stock clients do.
    Upgrade,
}

impl Transport {
    /// The name by which the command line and reports know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
            Self::Upgrade => "upgrade",
        }
    }
}

/// How a Socket.IO server is asked to send a message on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Contract {
    /// By the names of [`Events`]; the sender receives as well.
    #[default]
    Events,
    /// As `sockeye serve` does it: `publish` with room, event and data; the other members of the
    /// room get `message` with an object that holds the data.
    Serve,
}

/// What one connection shows at the door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// JSON object sent when joining the namespace.
    pub auth: Option<String>,
    /// Token for an `Authorization: Bearer` header.
    pub bearer: Option<String>,
    /// Namespace to join, in place of [`Plan::namespace`].
    pub namespace: Option<String>,
    /// How the connection is carried, in place of [`Plan::transport`].
    pub transport: Option<Transport>,
}

impl Credential {
    /// A token, in `auth.token` and as a Bearer header.
    pub fn token(token: &str) -> Self {
        Self {
            auth: Some(serde_json::json!({ "token": token }).to_string()),
            bearer: Some(token.to_owned()),
            ..Self::default()
        }
    }
}

/// Credentials by connection: a function of the connection's number, called for every set-up.
#[derive(Clone)]
pub struct Credentials(Arc<dyn Fn(u32) -> Credential + Send + Sync>);

impl Credentials {
    /// Asks a function.
    pub fn new(of: impl Fn(u32) -> Credential + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    /// Takes turns; an empty list shows nothing.
    pub fn in_turn(list: Vec<Credential>) -> Self {
        Self::new(move |connection| match list.len() {
            0 => Credential::default(),
            count => list[connection as usize % count].clone(),
        })
    }

    /// Those of a connection.
    pub fn of(&self, connection: u32) -> Credential {
        (self.0)(connection)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(by connection)")
    }
}

/// The same function, not one that answers the same.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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
    /// Has `(rooms, except, event, arguments)` and emits the event with the arguments to every
    /// connection in one of the rooms, the sender included. Needed only with [`Plan::rooms`].
    pub room_broadcast: String,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            echo: "echo".into(),
            broadcast: "broadcast".into(),
            join: "join".into(),
            room_broadcast: "in".into(),
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
    /// Credentials by connection, in place of `auth` and `bearer`. Default none.
    pub credentials: Option<Credentials>,
    /// Room that every connection joins before the run. Default none.
    pub room: Option<String>,
    /// Spread the connections over so many rooms, named [`Plan::room`] (or `bench`) and a number;
    /// publishers of a fan-out publish to their room. 0: no rooms, publishers reach everyone.
    pub rooms: u32,
    /// Offer permessage-deflate without context takeover, and read what comes deflated. What is
    /// sent is not deflated. Default false.
    pub deflate: bool,
    /// Fill payloads with text that deflates as JSON does, not with dots. Default false.
    pub prose: bool,
    /// How connections are carried. Default WebSocket.
    pub transport: Transport,
    /// The scenario of [`Scenario::Mixed`]; [`Plan::play`] sets it. Default none.
    pub mix: Option<Arc<Mix>>,
    /// Event names.
    pub events: Events,
    /// How a message is sent on in a fan-out. Default by event names.
    pub contract: Contract,
    /// Process whose CPU time and memory are read. Default none.
    pub pid: Option<u32>,
    /// Further processes of the same server; figures are those of all together. Default none.
    pub more_pids: Vec<u32>,
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
            credentials: None,
            room: None,
            rooms: 0,
            deflate: false,
            prose: false,
            transport: Transport::default(),
            mix: None,
            events: Events::default(),
            contract: Contract::default(),
            pid: None,
            more_pids: Vec::new(),
        }
    }

    /// Plays a scenario file: its length, its most clients, no time before it, and time enough for
    /// its acknowledgements after it.
    pub fn play(&mut self, mix: Mix) {
        self.scenario = Scenario::Mixed;
        self.connections = mix.peak();
        self.duration = mix.duration();
        (self.warmup, self.settle) = (Duration::ZERO, Duration::ZERO);
        self.drain = self.drain.max(mix.longest_timeout().min(MAX_DRAIN));
        self.mix = Some(Arc::new(mix));
    }

    /// Connections that there may be at the same time.
    pub(crate) fn slots(&self) -> u32 {
        match self.scenario {
            Scenario::Spike(spike) => self.connections + spike.connections,
            Scenario::Mixed => self.mix.as_ref().map_or(0, |mix| mix.max_clients),
            _ => self.connections,
        }
    }

    /// Connections that are set up before the load begins.
    pub(crate) fn initial(&self) -> u32 {
        match self.scenario {
            Scenario::Ramp(ramp) => ramp.from.min(self.connections),
            Scenario::Mixed => 0,
            _ => self.connections,
        }
    }

    /// How long the measurement takes, if all goes well; a storm that reconnects may end before.
    pub fn expected_duration(&self) -> Duration {
        let Scenario::Ramp(ramp) = self.scenario else {
            return self.duration;
        };
        let rise = f64::from(self.connections.saturating_sub(ramp.from));
        let rising = ramp.per_second.map_or(0.0, |per_second| rise / per_second);
        ramp.hold * ramp.steps + Duration::try_from_secs_f64(rising).unwrap_or_default()
    }

    /// The longest that the measurement may take.
    pub(crate) fn longest(&self) -> Duration {
        match self.scenario {
            Scenario::Ramp(ramp) => self.expected_duration() + self.patience * (ramp.steps + 1),
            _ => self.duration,
        }
    }

    /// Length of a [`crate::Tick`]: the distance of the samples of a soak, elsewhere a 120th of
    /// the measurement, 250 ms at least.
    pub(crate) fn tick(&self) -> Duration {
        match self.scenario {
            Scenario::Soak(soak) => soak.sample,
            _ => (self.expected_duration() / 120).max(Duration::from_millis(250)),
        }
    }

    /// All processes of the server that are to be observed.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.pid.iter().chain(&self.more_pids).copied().collect()
    }

    /// Why the plan cannot be run, if so: a transport or rooms without Socket.IO, a spike longer
    /// than the run, a ramp that falls.
    pub fn problem(&self) -> Option<&'static str> {
        let socket_io = self.target.protocol() == Protocol::SocketIo;
        if !socket_io && self.transport != Transport::WebSocket {
            return Some("polling belongs to Socket.IO");
        }
        if !socket_io && self.rooms > 0 {
            return Some("rooms belong to Socket.IO");
        }
        if self.contract == Contract::Serve && (!socket_io || self.connections < 2) {
            return Some("the contract of sockeye serve takes Socket.IO and two connections");
        }
        match self.scenario {
            Scenario::Mixed if !socket_io => Some("a scenario file speaks Socket.IO"),
            Scenario::Mixed if self.mix.is_none() => Some("there is no scenario file"),
            Scenario::Spike(spike) if spike.duration >= self.duration => {
                Some("the spike must be shorter than the run")
            }
            Scenario::Ramp(ramp) if ramp.from >= self.connections => {
                Some("a ramp must rise: fewer connections at its start than at its end")
            }
            _ => None,
        }
    }
}
