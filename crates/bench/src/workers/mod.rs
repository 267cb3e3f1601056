//! One run by several processes: more connections than one process may open, more messages than
//! one core can send.
//!
//! The first process starts the others as copies of itself, each with its share of the plan, and
//! talks with them in lines of JSON over their standard input and output. They pass the gates of a
//! run together ([`gate::Point`]): they begin at once, no message is published before
//! everybody listens, and what was published is told to all before anything counts as lost. So
//! loss, duplicates and order are judged across processes as within one. At the end each hands in
//! its counts and whole histograms, which are added up exactly.

pub(crate) mod gate;
mod lead;
mod merge;
mod part;
mod share;
mod worker;

pub(crate) use lead::lead;
pub(crate) use share::refusal;
pub(crate) use worker::work;

use crate::run::{Progress, Stage};
use gate::Point;
use part::Part;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    At(Point),
    Progress(Glance),
    Done(Box<Part>),
    Failed { unreachable: bool, why: String },
}

/// [`Progress`] on its way.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Glance {
    stage: u8,
    elapsed_ns: u64,
    ready: u32,
    failed: u32,
    received: u64,
    errors: u64,
    faults: u64,
    p99_ms: f64,
}

/// In the order of a run.
const STAGES: [Stage; 5] = [
    Stage::Connecting,
    Stage::Settling,
    Stage::WarmingUp,
    Stage::Measuring,
    Stage::Draining,
];

impl From<&Progress> for Glance {
    fn from(progress: &Progress) -> Self {
        let stage = STAGES.iter().position(|stage| *stage == progress.stage);
        Self {
            // There are five.
            stage: stage.unwrap_or(0) as u8,
            elapsed_ns: progress.elapsed.as_nanos() as u64,
            ready: progress.ready,
            failed: progress.failed,
            received: progress.received,
            errors: progress.errors,
            faults: progress.faults,
            p99_ms: progress.p99_ms,
        }
    }
}

impl Glance {
    /// All together, as far as the hindmost.
    fn together(all: &[Self]) -> Option<Progress> {
        let hindmost = all.iter().min_by_key(|glance| glance.stage)?;
        let sum = |of: fn(&Self) -> u64| all.iter().map(of).sum::<u64>();
        Some(Progress {
            stage: *STAGES.get(usize::from(hindmost.stage))?,
            elapsed: Duration::from_nanos(hindmost.elapsed_ns),
            ready: sum(|glance| glance.ready.into()) as u32,
            failed: sum(|glance| glance.failed.into()) as u32,
            received: sum(|glance| glance.received),
            errors: sum(|glance| glance.errors),
            faults: sum(|glance| glance.faults),
            // The worst of them: those of the parts do not add up.
            p99_ms: all.iter().map(|glance| glance.p99_ms).fold(0.0, f64::max),
        })
    }
}
