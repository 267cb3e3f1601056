//! What one worker found, in a form that adds up.

use crate::history::Faults;
use crate::latency::Latency;
use crate::process::CpuTime;
use crate::report::{Errors, MemoryReport, Report};
use crate::results::{ChurnReport, PhaseReport};
use crate::timeline::Tick;
use serde::{Deserialize, Serialize};

/// Pairs of nanoseconds and count.
pub(super) type Buckets = Vec<(u64, u64)>;

/// The result of one worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    /// When its timeline began, of [`crate::clock::now`].
    pub(super) began: u64,
    pub(super) connections: u32,
    pub(super) ready: u32,
    pub(super) failed: u32,
    pub(super) setup_seconds: f64,
    pub(super) server_us_each: Option<f64>,
    pub(super) set_up: Buckets,
    pub(super) memory: Option<MemoryReport>,
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) pings: u64,
    pub(super) unrelated: u64,
    pub(super) deflated: u64,
    pub(super) latency: Buckets,
    pub(super) server_cpu: Option<CpuTime>,
    pub(super) foreign_cores: Option<f64>,
    pub(super) faults: Faults,
    pub(super) errors: Errors,
    pub(super) cores: f64,
    pub(super) waiting: f64,
    pub(super) late: Buckets,
    pub(super) ticks: Vec<TickPart>,
    pub(super) phases: Vec<PhasePart>,
    pub(super) churn: Option<ChurnPart>,
}

/// A [`PhaseReport`] on its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PhasePart {
    pub(super) name: String,
    pub(super) at: f64,
    pub(super) seconds: f64,
    pub(super) connections: u32,
    pub(super) set_up: u64,
    pub(super) errors: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) set_up_buckets: Buckets,
    pub(super) buckets: Buckets,
    pub(super) server_cores: Option<f64>,
    pub(super) rss: Option<u64>,
}

/// A [`ChurnReport`] on its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ChurnPart {
    pub(super) left: u64,
    pub(super) unanswered: u64,
    pub(super) cut: u64,
    pub(super) came: u64,
    pub(super) skipped: u64,
    pub(super) set_up: Buckets,
}

/// A [`Tick`] on its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TickPart {
    pub(super) at: f64,
    pub(super) seconds: f64,
    pub(super) stage: String,
    pub(super) connections: u32,
    pub(super) set_up: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) errors: u64,
    pub(super) buckets: Buckets,
    pub(super) server_cores: Option<f64>,
    pub(super) rss: Option<u64>,
}

impl Part {
    pub(super) fn of(report: &Report) -> Self {
        let (setup, load, generator) = (&report.setup, &report.load, &report.generator);
        Self {
            began: report.histograms.began,
            connections: report.connections,
            ready: setup.ready,
            failed: setup.failed,
            setup_seconds: setup.seconds,
            server_us_each: setup.server_us_each,
            set_up: report.histograms.set_up.buckets(),
            memory: report.memory,
            seconds: load.seconds,
            sent: load.sent,
            received: load.received,
            pings: load.pings,
            unrelated: load.unrelated,
            deflated: load.deflated,
            latency: load.histogram.buckets(),
            server_cpu: load.server.map(|server| server.cpu),
            foreign_cores: load.foreign_cores,
            faults: report.faults,
            errors: report.errors,
            cores: generator.cores,
            waiting: generator.waiting,
            late: report.histograms.late.buckets(),
            ticks: report.timeline.iter().map(TickPart::of).collect(),
            phases: report.phases.iter().map(PhasePart::of).collect(),
            churn: report.churn.as_ref().map(ChurnPart::of),
        }
    }
}

impl PhasePart {
    fn of(phase: &PhaseReport) -> Self {
        Self {
            name: phase.name.clone(),
            at: phase.at,
            seconds: phase.seconds,
            connections: phase.connections,
            set_up: phase.set_up,
            errors: phase.errors,
            sent: phase.sent,
            received: phase.received,
            set_up_buckets: phase.set_up_buckets.clone(),
            buckets: phase.buckets.clone(),
            server_cores: phase.server_cores,
            rss: phase.rss,
        }
    }
}

impl ChurnPart {
    fn of(churn: &ChurnReport) -> Self {
        Self {
            left: churn.left,
            unanswered: churn.unanswered,
            cut: churn.cut,
            came: churn.came,
            skipped: churn.skipped,
            set_up: churn.buckets.clone(),
        }
    }
}

impl TickPart {
    fn of(tick: &Tick) -> Self {
        Self {
            at: tick.at,
            seconds: tick.seconds,
            stage: tick.stage.to_owned(),
            connections: tick.connections,
            set_up: tick.set_up,
            sent: tick.sent,
            received: tick.received,
            errors: tick.errors,
            buckets: tick.buckets.clone(),
            server_cores: tick.server_cores,
            rss: tick.rss,
        }
    }
}

/// The histogram that such buckets make.
pub(super) fn histogram<'a>(all: impl IntoIterator<Item = &'a Buckets>) -> Latency {
    let mut latency = Latency::new();
    for (value, count) in all.into_iter().flatten() {
        latency.record_many(*value, *count);
    }
    latency
}
