//! A base load, a spike of connections or messages, and the base load again.

use super::{Desk, Driver, Echo, End};
use crate::plan::{Plan, Spike};
use crate::results::SpikeReport;
use crate::stamp::Stamp;
use crate::timeline::Tick;

#[derive(Debug)]
pub(crate) struct Spiking {
    plan: Spike,
    /// The connections that come for the spike.
    extra: std::ops::Range<u32>,
    before: u64,
    echo: Echo,
    /// What comes next, and when.
    next: Option<(Phase, u64)>,
    began: u64,
    /// The end of the spike, once it is over.
    pub(crate) ended: Option<u64>,
    /// The 99th percentile before the spike, in milliseconds.
    pub(crate) base_p99_ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Spike,
    After,
}

impl Spiking {
    pub(crate) fn new(plan: &Plan, spike: Spike, ready: Vec<u32>) -> Self {
        let rest = plan.duration.saturating_sub(spike.duration);
        Self {
            plan: spike,
            extra: plan.connections..plan.connections + spike.connections,
            before: rest.as_nanos() as u64 / 3,
            echo: Echo::open(ready, spike.base_rate),
            next: None,
            began: 0,
            ended: None,
            base_p99_ms: 0.0,
        }
    }

    /// What it left behind, told from the ticks; `began` is when their clock did.
    pub(crate) fn report(&self, ticks: &[Tick], began: u64) -> Option<SpikeReport> {
        let ended = self.ended?.saturating_sub(began) as f64 / 1e9;
        Some(left_behind(self.base_p99_ms, ended, ticks))
    }
}

/// What a spike that ended so many seconds after the run began left behind.
pub(crate) fn left_behind(base_p99_ms: f64, ended: f64, ticks: &[Tick]) -> SpikeReport {
    let threshold_ms = threshold(base_p99_ms);
    let after = ticks
        .iter()
        .filter(|tick| tick.at >= ended - 1e-6 && tick.stage == "measuring");
    let after: Vec<_> = after
        .map(|tick| Slice {
            after: tick.at - ended,
            seconds: tick.seconds,
            good: tick.latency.count > 0 && tick.latency.p99_ms <= threshold_ms,
        })
        .collect();
    SpikeReport {
        threshold_ms,
        recovered_after: recovery(&after),
    }
}

/// Above this the server counts as not recovered.
fn threshold(base_p99_ms: f64) -> f64 {
    (2.0 * base_p99_ms).max(base_p99_ms + 1.0)
}

#[derive(Debug, Clone, Copy)]
struct Slice {
    after: f64,
    seconds: f64,
    good: bool,
}

/// When the first good second began, or the good rest, if the run ends before it is full.
fn recovery(slices: &[Slice]) -> Option<f64> {
    let mut since = None;
    for slice in slices {
        if !slice.good {
            since = None;
            continue;
        }
        let began = *since.get_or_insert(slice.after);
        if slice.after + slice.seconds - began >= 1.0 - 1e-6 {
            return Some(began.max(0.0));
        }
    }
    since.map(|began: f64| began.max(0.0))
}

impl Driver for Spiking {
    fn start(&mut self, desk: &mut Desk) {
        self.echo.start(desk);
    }

    fn measure(&mut self, desk: &mut Desk) {
        self.began = desk.now;
        desk.enter_phase("before");
        self.next = Some((Phase::Spike, desk.now + self.before));
    }

    fn message(&mut self, receiver: u32, stamp: Stamp, desk: &mut Desk) {
        self.echo.message(receiver, stamp, desk);
    }

    fn next_due(&self) -> Option<u64> {
        let next = self.next.map(|(_, at)| at);
        next.into_iter().chain(self.echo.next_due()).min()
    }

    fn due(&mut self, desk: &mut Desk) {
        self.echo.due(desk);
        match self.next {
            Some((Phase::Spike, at)) if at <= desk.now => {
                self.base_p99_ms = desk.timeline.of_phase().p99_ms;
                desk.enter_phase("spike");
                self.echo.set_rate(self.plan.peak_rate, desk);
                self.extra.clone().for_each(|index| desk.open(index));
                let end = at + self.plan.duration.as_nanos() as u64;
                self.next = Some((Phase::After, end));
            }
            Some((Phase::After, at)) if at <= desk.now => {
                desk.enter_phase("after");
                self.ended = Some(desk.now);
                self.echo.set_rate(self.plan.base_rate, desk);
                for index in self.extra.clone() {
                    self.echo.dismiss(index);
                    // What is on its way to it is not waited for.
                    desk.history.leave(index);
                    desk.leave(index);
                }
                self.next = None;
            }
            _ => {}
        }
    }

    fn ready(&mut self, connection: u32, desk: &mut Desk) {
        if self.ended.is_none() {
            self.echo.admit(connection, desk);
        } else {
            desk.leave(connection);
        }
    }

    fn gone(&mut self, connection: u32, _end: End, _desk: &mut Desk) {
        self.echo.dismiss(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_where_the_first_good_second_begins() {
        let slices = |good: &str| -> Vec<Slice> {
            let good = good.bytes().enumerate();
            good.map(|(i, c)| Slice {
                after: i as f64 * 0.25,
                seconds: 0.25,
                good: c == b'+',
            })
            .collect()
        };
        let table = [
            ("++++++", Some(0.0)),
            ("--++++--", Some(0.5)),
            ("--++-++++", Some(1.25)),
            ("--------", None),
            ("+++-+++-", None),
            ("----++", Some(1.0)),
            ("", None),
        ];
        for (good, expected) in table {
            assert_eq!(recovery(&slices(good)), expected, "{good}");
        }
    }

    #[test]
    fn a_fast_server_may_become_a_millisecond_slower() {
        assert_eq!(threshold(0.1), 1.1);
        assert_eq!(threshold(10.0), 20.0);
    }
}
