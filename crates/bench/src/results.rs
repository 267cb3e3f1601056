//! What single scenarios add to a report.

use crate::latency::Percentiles;
use crate::report::Errors;
use serde::Serialize;

/// A stretch of the measurement: a step of a ramp; before, during and after a spike.
///
/// Messages belong to the stretch in which they were sent or, in an open loop, were due.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the run began.
    pub at: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// Connections that were ready at its end.
    pub connections: u32,
    /// Connections that became ready in it.
    pub set_up: u64,
    /// Time of each of these.
    pub set_up_latency: Percentiles,
    /// Connections that failed or were lost in it.
    pub errors: u64,
    /// Messages sent in it.
    pub sent: u64,
    /// Messages delivered in it.
    pub received: u64,
    /// Latency of the messages that belong to it.
    pub latency: Percentiles,
    /// CPU of the server, in cores.
    pub server_cores: Option<f64>,
    /// Resident memory of the server at its end, in bytes.
    pub rss: Option<u64>,
    /// [`PhaseReport::set_up_latency`] as pairs of nanoseconds and count, so that phases of
    /// several generators can be added.
    #[serde(skip)]
    pub set_up_buckets: Vec<(u64, u64)>,
    /// The same of [`PhaseReport::latency`].
    #[serde(skip)]
    pub buckets: Vec<(u64, u64)>,
}

/// How all connections came back after they were lost.
#[derive(Debug, Clone, Serialize)]
pub struct ReconnectReport {
    /// Connections that were lost.
    pub lost: u32,
    /// Connections that are back.
    pub back: u32,
    /// From the first loss to the last one back, in seconds; `None` if not all are back.
    pub seconds: Option<f64>,
    /// Attempts to come back.
    pub attempts: u64,
    /// Attempts that failed, by kind. They are no errors of the run.
    pub failures: Errors,
    /// From the loss of each connection to when it was back.
    pub time: Percentiles,
    /// The attempt that succeeded, from TCP to namespace and room.
    pub set_up: Percentiles,
}

/// What a spike left behind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SpikeReport {
    /// Above this latency at the 99th percentile the server counts as not recovered, in
    /// milliseconds: twice what it was before, and a millisecond at least above it.
    pub threshold_ms: f64,
    /// Seconds from the end of the spike until latency was below the threshold for a second;
    /// `None` if that never came.
    pub recovered_after: Option<f64>,
}

/// Drift over a soak.
#[derive(Debug, Clone, Serialize)]
pub struct DriftReport {
    /// Samples taken.
    pub samples: usize,
    /// Whether they are enough to judge by.
    pub enough: bool,
    /// Resident memory of the server, in bytes. `None` without its process.
    pub memory: Option<Drift>,
    /// Median latency of the samples, in milliseconds.
    pub p50: Option<Drift>,
    /// Their 99th percentile, in milliseconds.
    pub p99: Option<Drift>,
}

/// The drift of one quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Median of the samples, in their unit.
    pub median: f64,
    /// Slope per hour, in their unit: the median of the slopes between all pairs (Theil–Sen).
    pub per_hour: f64,
    /// What that adds up to over the samples, as a share of the median.
    pub relative: f64,
    /// How sure a rise is, in standard deviations of chance (Mann–Kendall); a run fails from
    /// 2.33 on, which chance alone shows in one run of a hundred.
    pub trend: f64,
    /// The share from which on the run has failed.
    pub limit: f64,
    /// Whether the limit is exceeded, and enough samples say so.
    pub exceeded: bool,
}

impl DriftReport {
    /// Whether memory or latency grew beyond its limit.
    pub fn is_exceeded(&self) -> bool {
        let all = [self.memory, self.p50, self.p99];
        all.iter().flatten().any(|drift| drift.exceeded)
    }
}

/// Connections that left and came.
#[derive(Debug, Clone, Serialize)]
pub struct ChurnReport {
    /// Connections that said that they leave.
    pub left: u64,
    /// Of these, those that the server did not let go within [`crate::Plan::patience`].
    pub unanswered: u64,
    /// Connections that were cut without a word.
    pub cut: u64,
    /// Connections that came in their place and are ready.
    pub came: u64,
    /// Departures that were due and found no connection ready to leave.
    pub skipped: u64,
    /// Set-up of those that came.
    pub set_up: Percentiles,
    /// The same, as pairs of nanoseconds and count.
    #[serde(skip)]
    pub buckets: Vec<(u64, u64)>,
}

/// Slow readers.
#[derive(Debug, Clone, Serialize)]
pub struct SlowReport {
    /// How many there were.
    pub readers: u32,
    /// How many of them the server closed. They are no errors of the run.
    pub closed: u32,
    /// When, since the load began, for those whose end could be seen while they read slowly: it
    /// stands behind what they have not read, and the others find it afterwards.
    pub closed_after: Percentiles,
    /// Messages that slow readers read during the measurement.
    pub received: u64,
    /// Messages that never reached a slow reader. They are no faults of the run.
    pub missing: u64,
}
