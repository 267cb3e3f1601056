//! What a run found.

mod details;
mod html;
mod machine;
mod outcome;
mod parameters;
#[cfg(test)]
mod sample;
mod table;
pub(crate) mod text;
mod validity;

pub use machine::Machine;
pub use outcome::{Outcome, STATUSES};
pub use parameters::Parameters;
pub use validity::{Limits, Validity};

use crate::history::Faults;
use crate::latency::{Latency, Percentiles};
use crate::mixed::MixedReport;
use crate::process::{CpuTime, Memory};
use crate::results::{
    ChurnReport, DriftReport, PhaseReport, ReconnectReport, SlowReport, SpikeReport,
};
use crate::timeline::Tick;
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// Version of the JSON of a [`Report`]. It grows when a member is taken away or changes its meaning;
/// new members do not count.
pub const SCHEMA: u32 = 1;

/// Result of a run. Serialises to the JSON of `--json`; `Display` is the table at the end.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the scenario.
    pub scenario: &'static str,
    /// What was asked for.
    pub parameters: Parameters,
    /// Where the generator ran.
    pub machine: Machine,
    /// Connections that were wanted.
    pub connections: u32,
    /// Bytes of a message's payload.
    pub payload: usize,
    /// Setting up.
    pub setup: SetupReport,
    /// Memory of the server, if its process was given.
    pub memory: Option<MemoryReport>,
    /// The measurement.
    pub load: LoadReport,
    /// What the history checker found, over the whole run.
    pub faults: Faults,
    /// Connections that went wrong.
    pub errors: Errors,
    /// What the generator knows of itself, over the measurement.
    pub generator: GeneratorReport,
    /// What happened when, from the first connection to the last answer.
    pub timeline: Vec<Tick>,
    /// Stretches of the measurement, for ramp, spike and storm.
    pub phases: Vec<PhaseReport>,
    /// How connections came back, for a storm that reconnects.
    pub reconnect: Option<ReconnectReport>,
    /// What a spike left behind.
    pub spike: Option<SpikeReport>,
    /// Drift over a soak.
    pub drift: Option<DriftReport>,
    /// Connections that left and came.
    pub churn: Option<ChurnReport>,
    /// Slow readers.
    pub slow: Option<SlowReport>,
    /// What a scenario file found.
    pub mixed: Option<MixedReport>,
    /// Each process of the generator, if there were several.
    pub workers: Vec<WorkerReport>,
    /// Distributions that the members above give as percentiles.
    #[serde(skip)]
    pub histograms: Histograms,
}

/// Distributions of a run beside that of its messages.
#[derive(Debug, Clone, Default)]
pub struct Histograms {
    /// When the run began, of [`crate::clock::now`].
    pub began: u64,
    /// Of [`SetupReport::latency`].
    pub set_up: Latency,
    /// Of [`GeneratorReport::late`].
    pub late: Latency,
}

/// One of several processes of the generator.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WorkerReport {
    /// Connections that it was to set up.
    pub connections: u32,
    /// Those that became ready.
    pub ready: u32,
    /// Messages delivered to it in the measurement.
    pub received: u64,
    /// Its CPU time over wall time.
    pub cores: f64,
    /// Share of the time in which it was ready to run and was not let.
    pub waiting: f64,
    /// What of it limited the result.
    pub limits: Limits,
}

/// Setting up, from the first TCP connection to the last namespace and room joined.
#[derive(Debug, Clone, Serialize)]
pub struct SetupReport {
    /// Connections that are ready.
    pub ready: u32,
    /// Connections that failed.
    pub failed: u32,
    /// Seconds it took.
    pub seconds: f64,
    /// Connections ready per second.
    pub per_second: f64,
    /// The server's CPU time per connection, in microseconds.
    pub server_us_each: Option<f64>,
    /// Time of each connection.
    pub latency: Percentiles,
}

/// Memory of the server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// Before the first connection.
    pub empty: Memory,
    /// With all connections, after the settling time.
    pub full: Memory,
    /// After the measurement.
    pub end: Memory,
    /// Growth of the resident set from empty to full, in bytes per connection.
    pub rss_per_connection: f64,
    /// The same of the proportional share.
    pub pss_per_connection: f64,
}

/// The measurement.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// Its length.
    pub seconds: f64,
    /// Messages sent in it.
    pub sent: u64,
    /// Messages delivered in it: echoes, or deliveries of a fan-out.
    pub received: u64,
    /// Deliveries per second.
    pub per_second: f64,
    /// Heartbeats answered in it.
    pub pings: u64,
    /// Messages that came deflated, if that was offered.
    pub deflated: u64,
    /// Messages that are none of the run's.
    pub unrelated: u64,
    /// From sending, or from when a message was due in an open loop, to its delivery.
    pub latency: Percentiles,
    /// From the same moment to the last receiver, in a fan-out.
    pub completion: Option<Percentiles>,
    /// CPU of the server, if its process was given.
    pub server: Option<ServerReport>,
    /// CPU cores busy with neither server nor generator: disturbance. `None` without a process.
    pub foreign_cores: Option<f64>,
    /// All latencies, for plots.
    #[serde(skip)]
    pub histogram: Latency,
}

/// CPU of the server during the measurement.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerReport {
    /// CPU time.
    pub cpu: CpuTime,
    /// CPU time over wall time.
    pub cores: f64,
    /// Microseconds per delivery, in the program.
    pub user_us_each: f64,
    /// Microseconds per delivery, in the kernel.
    pub system_us_each: f64,
}

impl ServerReport {
    /// Microseconds per delivery; zero if there were none.
    pub fn us_each(&self) -> f64 {
        self.user_us_each + self.system_us_each
    }
}

/// What the generator knows of itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct GeneratorReport {
    /// CPU time over wall time.
    pub cores: f64,
    /// Microseconds of CPU time per delivery.
    pub us_each: f64,
    /// Share of the time in which it was ready to run and was not let.
    pub waiting: f64,
    /// How late it sent messages that were due, in an open loop.
    pub late: Percentiles,
    /// What of it limited the result.
    pub limits: Limits,
    /// Whether the figures are the server's.
    pub validity: Validity,
}

/// Connections that went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// TCP connections that failed.
    pub connect: u64,
    /// Refused by the server in the handshake: another status, a CONNECT_ERROR, or closed.
    pub refused: u64,
    /// HTTP status of the last refusal.
    pub last_status: Option<u16>,
    /// The server did not speak the protocol.
    pub protocol: u64,
    /// Closed by the server during the run.
    pub closed: u64,
    /// Given up in the handshake.
    pub unfinished: u64,
    /// Processes of the generator that ended without a result.
    #[serde(default)]
    pub workers: u64,
}

impl Add for Errors {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            connect: self.connect + more.connect,
            refused: self.refused + more.refused,
            last_status: more.last_status.or(self.last_status),
            protocol: self.protocol + more.protocol,
            closed: self.closed + more.closed,
            unfinished: self.unfinished + more.unfinished,
            workers: self.workers + more.workers,
        }
    }
}

impl Errors {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.kinds().iter().map(|(_, count)| count).sum()
    }

    /// Each kind with its count.
    pub fn kinds(&self) -> [(&'static str, u64); 6] {
        [
            ("not connected", self.connect),
            ("refused", self.refused),
            ("protocol violated", self.protocol),
            ("closed by the server", self.closed),
            ("given up in the handshake", self.unfinished),
            ("lost with a worker", self.workers),
        ]
    }
}

impl Report {
    /// Whether every connection held (or came back, where that was asked) and every message
    /// arrived once, in order, where it belonged.
    pub fn is_clean(&self) -> bool {
        self.is_faultless() && !self.has_errors() && self.is_back()
    }

    fn is_faultless(&self) -> bool {
        let mixed = self.mixed.as_ref();
        self.faults.is_clean() && mixed.is_none_or(MixedReport::is_faultless)
    }

    /// Whether something went wrong that is neither a fault nor tolerated by a threshold.
    fn has_errors(&self) -> bool {
        match &self.mixed {
            Some(mixed) => !mixed.tolerates_errors(),
            None => self.errors.total() > 0,
        }
    }

    /// Whether a threshold of the scenario was missed.
    fn misses_threshold(&self) -> bool {
        self.mixed.as_ref().is_some_and(|mixed| !mixed.holds())
    }

    /// Whether connections that were to be lost were, and are all back.
    fn is_back(&self) -> bool {
        let back = |it: &ReconnectReport| it.lost > 0 && it.back == it.lost;
        self.reconnect.as_ref().is_none_or(back)
    }

    /// Whether a soak found that memory or latency grew beyond its limit.
    pub fn is_drifting(&self) -> bool {
        self.drift.as_ref().is_some_and(DriftReport::is_exceeded)
    }

    /// What probably is wrong with the run itself, if its figures look like it.
    pub fn hint(&self) -> Option<&'static str> {
        let nothing = self.load.sent > 0 && self.load.received == 0 && self.faults.lost > 0;
        nothing.then_some(
            "not a single message came back: does the server answer the event that was sent? The \
             help of the scenario says what it needs (for a fan-out through sockeye serve: --contract serve)",
        )
    }

    /// What the run comes to, the gravest first.
    pub fn outcome(&self) -> Outcome {
        if !self.is_faultless() {
            Outcome::Faults
        } else if self.has_errors() || !self.is_back() {
            Outcome::Errors
        } else if self.is_drifting() {
            Outcome::Drift
        } else if self.misses_threshold() {
            Outcome::Threshold
        } else if self.generator.validity != Validity::Valid {
            Outcome::NotValid
        } else {
            Outcome::Clean
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sample::sample;
    use super::*;
    use serde_json::Value;

    /// Every member with the kind of its value, lists by their first element.
    fn shape(path: &str, value: &Value, lines: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    shape(&format!("{path}.{name}"), value, lines);
                }
            }
            Value::Array(list) => {
                if let Some(first) = list.first() {
                    shape(&format!("{path}[]"), first, lines);
                }
            }
            Value::Null => lines.push(format!("{path}: null")),
            Value::Bool(_) => lines.push(format!("{path}: bool")),
            Value::Number(_) => lines.push(format!("{path}: number")),
            Value::String(_) => lines.push(format!("{path}: string")),
        }
    }

    #[test]
    fn the_json_has_the_shape_that_is_promised() {
        let mut lines = Vec::new();
        shape("", &serde_json::to_value(sample()).unwrap(), &mut lines);
        golden(
            "report.shape",
            include_str!("golden/report.shape"),
            &lines.join("\n"),
        );
    }

    #[test]
    fn the_table_looks_as_it_should() {
        golden(
            "report.table",
            include_str!("golden/report.table"),
            &sample().to_string(),
        );
    }

    /// `UPDATE_GOLDEN=1` writes what is, for review.
    fn golden(name: &str, expected: &str, actual: &str) {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/golden");
            std::fs::write(format!("{folder}/{name}"), actual).unwrap();
        } else {
            assert_eq!(actual.trim_end(), expected.trim_end(), "{name}");
        }
    }

    #[test]
    fn a_server_that_does_not_know_the_event_is_guessed() {
        let mut report = sample();
        assert_eq!(report.hint(), None);
        report.load.received = 0;
        assert!(report.hint().is_some());
        assert!(
            report
                .to_string()
                .contains("does the server answer the event")
        );
        report.load.sent = 0;
        assert_eq!(report.hint(), None);
    }

    #[test]
    fn the_gravest_decides() {
        let mut report = sample();
        let mixed = report.mixed.take();
        assert_eq!(report.outcome(), Outcome::Faults);
        report.faults = Faults::default();
        assert_eq!(report.outcome(), Outcome::Errors);
        report.errors = Errors::default();
        assert_eq!(report.outcome(), Outcome::Errors, "not all are back");
        report.reconnect = None;
        assert_eq!(report.outcome(), Outcome::Drift);
        report.drift = None;
        assert_eq!(report.outcome(), Outcome::NotValid);
        report.generator.validity = Validity::Valid;
        assert_eq!(report.outcome(), Outcome::Clean);

        let mut mixed = mixed.unwrap();
        report.mixed = Some(mixed.clone());
        assert_eq!(report.outcome(), Outcome::Threshold, "errors within bounds");
        mixed.thresholds.clear();
        report.mixed = Some(mixed.clone());
        assert_eq!(report.outcome(), Outcome::Errors, "errors without bounds");
        mixed.double_acks = 1;
        report.mixed = Some(mixed);
        assert_eq!(report.outcome(), Outcome::Faults);
    }
}
