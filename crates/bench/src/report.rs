//! What a run found.

use crate::history::Faults;
use crate::latency::{Latency, Percentiles};
use crate::process::{CpuTime, Memory};
use crate::results::{
    ChurnReport, DriftReport, PhaseReport, ReconnectReport, SlowReport, SpikeReport,
};
use crate::timeline::Tick;
use serde::Serialize;
use std::fmt;

/// Result of a run. Serialises to the JSON of `--json`; `Display` is the table at the end.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: &'static str,
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
#[derive(Debug, Clone, Copy, Serialize)]
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
    /// Whether the figures are the server's.
    pub validity: Validity,
}

/// Whether a result says something about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// It does.
    Valid,
    /// Throughput and latency are those of the generator, which was busy all the time, was not
    /// let run, or sent late. CPU time and memory of the server hold.
    GeneratorBound,
}

/// Above this share of a core the generator counts as busy.
const BUSY: f64 = 0.9;
/// Above this share of time spent waiting for a core it counts as starved.
const STARVED: f64 = 0.1;
/// Above this lateness at the 99th percentile an open loop is not the schedule it claims to be.
const LATE_MS: f64 = 5.0;

impl Validity {
    /// In a closed loop that a busy server answers, a busy generator is no reproach.
    pub(crate) fn judge(
        open_loop: bool,
        generator_cores: f64,
        waiting: f64,
        late_p99_ms: f64,
        server_cores: Option<f64>,
    ) -> Self {
        let server_busy = !open_loop && server_cores.is_some_and(|cores| cores > BUSY);
        let busy = generator_cores > BUSY && !server_busy;
        if busy || waiting > STARVED || late_p99_ms > LATE_MS {
            Self::GeneratorBound
        } else {
            Self::Valid
        }
    }
}

/// Connections that went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
}

impl Errors {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.connect + self.refused + self.protocol + self.closed + self.unfinished
    }
}

impl Report {
    /// Whether every connection held (or came back, where that was asked) and every message
    /// arrived once, in order, where it belonged.
    pub fn is_clean(&self) -> bool {
        let back = |reconnect: &ReconnectReport| reconnect.back == reconnect.lost;
        self.faults.is_clean()
            && self.errors.total() == 0
            && self.reconnect.as_ref().is_none_or(back)
    }

    /// Whether a soak found that memory or latency grew beyond its limit.
    pub fn is_drifting(&self) -> bool {
        self.drift.as_ref().is_some_and(DriftReport::is_exceeded)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = &self.setup;
        writeln!(
            f,
            "{}: {} of {} connections in {:.2} s ({:.0}/s{}), p99 {:.1} ms",
            self.scenario,
            setup.ready,
            self.connections,
            setup.seconds,
            setup.per_second,
            setup
                .server_us_each
                .map(|us| format!(", {us:.0} µs CPU each"))
                .unwrap_or_default(),
            setup.latency.p99_ms,
        )?;
        if let Some(memory) = &self.memory {
            writeln!(
                f,
                "memory: {:.0} B/connection resident ({:.0} proportional), {:.1} MiB when empty",
                memory.rss_per_connection,
                memory.pss_per_connection,
                memory.empty.rss as f64 / 1_048_576.0,
            )?;
        }
        let load = &self.load;
        writeln!(
            f,
            "load: {:.2} s, {} sent, {} delivered, {:.0}/s, {} pings",
            load.seconds, load.sent, load.received, load.per_second, load.pings,
        )?;
        if load.latency.count > 0 {
            latency(f, "latency", &load.latency)?;
        }
        if let Some(completion) = &load.completion {
            latency(f, "last of all", completion)?;
        }
        if let Some(server) = &load.server {
            writeln!(
                f,
                "server: {:.2} µs each ({:.2} user + {:.2} system), {:.2} cores; others {:.2} cores",
                server.us_each(),
                server.user_us_each,
                server.system_us_each,
                server.cores,
                load.foreign_cores.unwrap_or(0.0),
            )?;
        }
        let generator = &self.generator;
        writeln!(
            f,
            "generator: {:.2} µs each, {:.2} cores, waiting {:.1} %{}",
            generator.us_each,
            generator.cores,
            generator.waiting * 100.0,
            match generator.validity {
                Validity::Valid => "",
                Validity::GeneratorBound => " — NOT VALID as throughput or latency of the server",
            },
        )?;
        if generator.late.count > 0 {
            latency(f, "sent late by", &generator.late)?;
        }
        if !self.faults.is_clean() {
            writeln!(f, "FAULTS: {:?}", self.faults)?;
        }
        if self.errors.total() > 0 {
            writeln!(f, "ERRORS: {:?}", self.errors)?;
        }
        Ok(())
    }
}

fn latency(f: &mut fmt::Formatter<'_>, name: &str, figures: &Percentiles) -> fmt::Result {
    writeln!(
        f,
        "{name}: p50 {:.3} p90 {:.3} p99 {:.3} p99.9 {:.3} max {:.3} ms",
        figures.p50_ms, figures.p90_ms, figures.p99_ms, figures.p999_ms, figures.max_ms,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_the_generator_is_not_called_the_servers() {
        use Validity::{GeneratorBound, Valid};
        let table = [
            // open loop, generator cores, waiting, late p99, server cores
            (false, 0.5, 0.0, 0.0, Some(1.0), Valid),
            (false, 1.0, 0.0, 0.0, Some(0.99), Valid),
            (false, 1.0, 0.0, 0.0, Some(0.5), GeneratorBound),
            (false, 1.0, 0.0, 0.0, None, GeneratorBound),
            (false, 0.5, 0.3, 0.0, Some(0.5), GeneratorBound),
            (true, 0.95, 0.0, 0.1, Some(0.99), GeneratorBound),
            (true, 0.3, 0.0, 20.0, Some(0.2), GeneratorBound),
            (true, 0.3, 0.0, 1.0, Some(0.2), Valid),
        ];
        for (open_loop, cores, waiting, late, server, expected) in table {
            let judged = Validity::judge(open_loop, cores, waiting, late, server);
            assert_eq!(
                judged, expected,
                "{open_loop} {cores} {waiting} {late} {server:?}"
            );
        }
    }
}
