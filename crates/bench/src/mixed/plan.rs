//! A scenario file as types: what is in here is possible.

use super::template::{JsonTemplate, Template};
use crate::plan::Transport;
use std::fmt;
use std::time::Duration;

/// A whole scenario: phases, behaviours of clients, and what must hold at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// Name for reports. Default `mixed`.
    pub name: String,
    /// Whether published messages carry a stamp, and what arrives is checked. Default `true`.
    pub verify: bool,
    /// Where randomness starts: the same seed gives the same behaviours, rooms and payloads.
    pub seed: u64,
    /// Most clients at a time. Default 10,000.
    pub max_clients: u32,
    /// How long a client that comes may take until its namespace is joined. Default 10 s.
    pub connect_timeout: Duration,
    /// How the server wants to be spoken to.
    pub contract: Contract,
    /// One for each client.
    pub tokens: Tokens,
    /// One after the other.
    pub phases: Vec<Phase>,
    /// What clients do.
    pub behaviours: Vec<Behaviour>,
    /// Names of all events that are sent; [`EventId`] is an index into it.
    pub events: Vec<String>,
    /// What must hold.
    pub thresholds: Thresholds,
}

impl Mix {
    /// How long all phases take together.
    pub fn duration(&self) -> Duration {
        self.phases.iter().map(|phase| phase.duration).sum()
    }

    /// The longest that a step waits for its acknowledgement.
    pub fn longest_timeout(&self) -> Duration {
        let steps = self.behaviours.iter().flat_map(|b| &b.steps);
        let timeouts = steps.filter_map(|step| match step {
            Step::Join(_, answer)
            | Step::Leave(_, answer)
            | Step::Emit { answer, .. }
            | Step::Publish { answer, .. } => answer.timeout(),
            _ => None,
        });
        timeouts.max().unwrap_or_default()
    }

    /// Most clients that there may be at a time, if nobody leaves before being told to.
    pub fn peak(&self) -> u32 {
        let (mut there, mut most) = (0.0, 0.0_f64);
        for phase in &self.phases {
            there = match phase.load {
                Load::Clients { count, .. } => {
                    most = most.max(there);
                    f64::from(count)
                }
                Load::Arrivals { from, to } => {
                    there + (from + to) / 2.0 * phase.duration.as_secs_f64()
                }
            };
            most = most.max(there);
        }
        // Saturates.
        (most.ceil() as u32).min(self.max_clients)
    }

    /// The name of an event.
    pub fn event(&self, event: EventId) -> &str {
        self.events.get(event.0).map_or("", String::as_str)
    }
}

/// An event that the scenario sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId(pub(crate) usize);

/// Events that have a meaning for the server. Defaults are those of `sockeye serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Joins the room that is its argument. Default `join`.
    pub join: String,
    /// Leaves the room that is its argument. Default `leave`.
    pub leave: String,
    /// Publishes to a room. Default `publish`.
    pub publish: String,
    /// Its arguments, in order. Default room, event, data.
    pub publish_arguments: Vec<PublishArgument>,
    /// As what members get it. Default `message`.
    pub message: String,
    /// Whether the publisher gets it as well, if it is in the room. Default `false`.
    pub includes_sender: bool,
    /// Field of published data that carries the stamp. Default `stamp`.
    pub stamp_field: String,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            join: "join".into(),
            leave: "leave".into(),
            publish: "publish".into(),
            publish_arguments: PublishArgument::ALL.map(|(_, argument)| argument).into(),
            message: "message".into(),
            includes_sender: false,
            stamp_field: "stamp".into(),
        }
    }
}

/// One argument of the event that publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishArgument {
    /// The room.
    Room,
    /// The event of the step, `event = "…"`.
    Event,
    /// The data of the step.
    Data,
}

impl PublishArgument {
    pub(crate) const ALL: [(&'static str, Self); 3] = [
        ("room", Self::Room),
        ("event", Self::Event),
        ("data", Self::Data),
    ];
}

/// Where the tokens of clients come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Tokens {
    /// There are none.
    None,
    /// These, in turn.
    List(Vec<String>),
    /// Made for each client.
    Template(Template),
}

/// Says how many there are: tokens are secrets.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::List(list) => write!(f, "List({} tokens)", list.len()),
            Self::Template(_) => f.write_str("Template"),
        }
    }
}

/// A stretch of time with one kind of load.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it takes.
    pub duration: Duration,
    /// Who comes and goes in it.
    pub load: Load,
    /// Whether latencies in it count. Default `true`.
    pub measured: bool,
}

/// Who comes and goes in a phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// So many clients at a time: whoever ends is replaced, whoever is too many leaves.
    Clients {
        /// How many.
        count: u32,
        /// How long it takes, evenly, to get there from the count before.
        ramp: Duration,
    },
    /// An open loop: clients come at a rate, whether or not the server keeps up, and leave when
    /// their steps are done.
    Arrivals {
        /// A second, at the beginning of the phase.
        from: f64,
        /// A second, at its end; evenly in between.
        to: f64,
    },
}

/// What a share of the clients does.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Its name.
    pub name: String,
    /// Its weight among the behaviours.
    pub share: f64,
    /// How its clients are carried. Default the command line's.
    pub transport: Option<Transport>,
    /// The namespace they join. Default the command line's.
    pub namespace: Option<String>,
    /// The object they send when joining it. Default `{"token": …}` if there are tokens.
    pub auth: Option<JsonTemplate>,
    /// A token for the header `Authorization: Bearer`. Default none.
    pub bearer: Option<Template>,
    /// What a client chooses once, for itself.
    pub variables: Vec<Template>,
    /// What becomes of a client whose connection the server or the network ends.
    pub when_lost: WhenLost,
    /// What they do.
    pub steps: Vec<Step>,
    /// How many loops are inside each other at most.
    pub depth: usize,
}

/// What becomes of a client whose connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLost {
    /// It is gone.
    Leave,
    /// It connects again after a while (full jitter, 0.5 s to 5 s) and begins its steps anew.
    Reconnect,
}

/// One instruction of a client. Loops are jumps; to reconnect is to disconnect, wait and connect.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Connects and joins the namespace; nothing if it has.
    Connect,
    /// Joins a room.
    Join(Template, Answer),
    /// Leaves a room.
    Leave(Template, Answer),
    /// Sends an event.
    Emit {
        /// Which.
        event: EventId,
        /// Its arguments.
        arguments: Vec<JsonTemplate>,
        /// What is expected.
        answer: Answer,
    },
    /// Publishes to a room, with a stamp if the scenario verifies.
    Publish {
        /// Where.
        room: Template,
        /// The argument `event` of the contract.
        event: Template,
        /// The argument `data`.
        data: JsonTemplate,
        /// Whether there is a place for a stamp in it.
        stamped: bool,
        /// What is expected.
        answer: Answer,
    },
    /// Does nothing for a while.
    Wait(Think),
    /// Ends the connection.
    Disconnect(Parting),
    /// The beginning of a loop; the matching [`Step::Again`] is at `end`.
    Repeat {
        /// How often; `None` is for ever.
        times: Option<u32>,
        /// From the beginning of one round to that of the next; `None` is at once.
        every: Option<Duration>,
        /// Index of the matching [`Step::Again`].
        end: usize,
    },
    /// The end of the innermost loop; its [`Step::Repeat`] is at this index.
    Again(usize),
}

/// What is expected after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None,
    /// An acknowledgement within this time; the client waits for it.
    Await(Duration),
    /// The same, while the client goes on.
    Later(Duration),
}

impl Answer {
    /// How long an acknowledgement may take, if one is expected.
    pub fn timeout(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Await(timeout) | Self::Later(timeout) => Some(timeout),
        }
    }
}

/// How long a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Think {
    /// Always the same.
    Fixed(Duration),
    /// Anything between, evenly.
    Uniform(Duration, Duration),
    /// Exponentially distributed around this mean, 20 times the mean at most.
    Exponential(Duration),
}

/// How a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// With a DISCONNECT packet and a close frame.
    Clean,
    /// The connection is reset, as when a device loses its network.
    Cut,
}

/// What must hold at the end; otherwise the run fails.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thresholds {
    /// Largest share, 0 to 1, of attempts (connections and messages) that may go wrong.
    pub error_share: Option<f64>,
    /// Limits of the time from the first byte to the joined namespace.
    pub connect: Limits,
    /// Limits of the time from publishing to each member.
    pub delivery: Limits,
    /// Limits of the time from sending an event to its acknowledgement.
    pub ack: Vec<(EventId, Limits)>,
}

/// Limits of a latency, in any of its percentiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// At most this, for half.
    pub p50: Option<Duration>,
    /// For nine of ten.
    pub p90: Option<Duration>,
    /// For 99 of a hundred.
    pub p99: Option<Duration>,
    /// For 999 of a thousand.
    pub p999: Option<Duration>,
    /// For all.
    pub max: Option<Duration>,
}
