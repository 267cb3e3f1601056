//! What happened when: counts and latency of a run in short ticks.

use crate::latency::Percentiles;
use serde::Serialize;

/// One stretch of a run. Ticks follow each other without a gap, from the first connection to the
/// last answer; none reaches over the border of two stages or phases.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tick {
    /// When it began, in seconds since the run began.
    pub at: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// What the run was doing: `connecting`, `settling`, `warming_up`, `measuring`, `draining`.
    pub stage: &'static str,
    /// Connections that were ready at its end.
    pub connections: u32,
    /// Connections that became ready in it.
    pub set_up: u64,
    /// Messages sent in it.
    pub sent: u64,
    /// Messages delivered in it.
    pub received: u64,
    /// Connections that failed or were lost in it.
    pub errors: u64,
    /// Latency of the measured messages that arrived in it.
    pub latency: Percentiles,
    /// The same, as pairs of nanoseconds and count, so that ticks of several generators can be
    /// added.
    #[serde(skip)]
    pub buckets: Vec<(u64, u64)>,
    /// CPU of the server, in cores, if its process was given.
    pub server_cores: Option<f64>,
    /// Resident memory of the server at its end, in bytes.
    pub rss: Option<u64>,
}
