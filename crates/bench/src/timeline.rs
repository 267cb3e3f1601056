//! What happened when: counts and latency of a run in short ticks and in named phases.

use crate::latency::{Latency, Percentiles};
use crate::results::PhaseReport;
use serde::Serialize;
use std::time::Duration;

/// Ticks after which they become twice as long, and again after as many.
const MANY: usize = 10_000;

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

/// Records ticks and phases.
#[derive(Debug)]
pub(crate) struct Timeline {
    began: u64,
    length: u64,
    stage: &'static str,
    /// Connections that are ready.
    pub(crate) connections: u32,
    tick: Open,
    ticks: Vec<Tick>,
    phases: Vec<Phase>,
    /// Whether a phase is on; then it is the last.
    in_phase: bool,
    /// Ticks and phases that await a reading of the server.
    unread_ticks: usize,
    unread_phases: usize,
    /// CPU seconds at the last reading.
    cpu: Option<f64>,
    /// Of all ticks that are over.
    latency: Latency,
}

/// The tick that is on.
#[derive(Debug, Default)]
struct Open {
    began: u64,
    set_up: u64,
    sent: u64,
    received: u64,
    errors: u64,
    latency: Latency,
}

#[derive(Debug)]
struct Phase {
    report: PhaseReport,
    began: u64,
    ended: u64,
    set_up: Latency,
    latency: Latency,
    cpu_at_start: Option<f64>,
}

impl Timeline {
    /// Begins `now` with ticks of `length`.
    pub(crate) fn new(now: u64, length: Duration) -> Self {
        Self {
            began: now,
            length: (length.as_nanos() as u64).max(1_000_000),
            stage: "connecting",
            connections: 0,
            tick: Open {
                began: now,
                ..Open::default()
            },
            ticks: Vec::new(),
            phases: Vec::new(),
            in_phase: false,
            unread_ticks: 0,
            unread_phases: 0,
            cpu: None,
            latency: Latency::new(),
        }
    }

    pub(crate) fn ready(&mut self, after: u64) {
        self.connections += 1;
        self.tick.set_up += 1;
        if let Some(phase) = self.phase() {
            phase.report.set_up += 1;
            phase.set_up.record(after);
        }
    }

    /// A connection that was ready is not any more.
    pub(crate) fn unready(&mut self) {
        self.connections = self.connections.saturating_sub(1);
    }

    pub(crate) fn error(&mut self) {
        self.tick.errors += 1;
        if let Some(phase) = self.phase() {
            phase.report.errors += 1;
        }
    }

    pub(crate) fn sent(&mut self) {
        self.tick.sent += 1;
        if let Some(phase) = self.phase() {
            phase.report.sent += 1;
        }
    }

    pub(crate) fn received(&mut self) {
        self.tick.received += 1;
        if let Some(phase) = self.phase() {
            phase.report.received += 1;
        }
    }

    /// Counts the latency of a message of the measurement.
    pub(crate) fn latency(&mut self, time: u64, now: u64) {
        let latency = now.saturating_sub(time);
        self.tick.latency.record(latency);
        // The last phase that had begun by then; mostly the last of all.
        let of_phase = self.phases.iter_mut().rev().find(|p| p.began <= time);
        if let Some(phase) = of_phase {
            phase.latency.record(latency);
        }
    }

    /// When the tick is over.
    pub(crate) fn due(&self) -> u64 {
        self.tick.began + self.length
    }

    /// Ends the tick.
    pub(crate) fn cut(&mut self, now: u64) {
        let tick = &self.tick;
        let latency = &tick.latency;
        let some = latency.count() > 0;
        let buckets = some.then(|| latency.histogram().iter_recorded());
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        self.ticks.push(Tick {
            at: seconds(self.began, tick.began),
            seconds: seconds(tick.began, now),
            stage: self.stage,
            connections: self.connections,
            set_up: tick.set_up,
            sent: tick.sent,
            received: tick.received,
            errors: tick.errors,
            latency: match some {
                true => latency.percentiles(),
                false => Percentiles::default(),
            },
            buckets: buckets
                .into_iter()
                .flatten()
                .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
                .collect(),
            server_cores: None,
            rss: None,
        });
        if some {
            self.latency.merge(latency);
            self.tick.latency.clear();
        }
        let tick = &mut self.tick;
        tick.began = now;
        (tick.set_up, tick.sent, tick.received, tick.errors) = (0, 0, 0, 0);
        if self.ticks.len().is_multiple_of(MANY) {
            self.length *= 2;
        }
    }

    /// Another stage begins.
    pub(crate) fn enter_stage(&mut self, now: u64, stage: &'static str) {
        self.cut(now);
        self.stage = stage;
    }

    /// Another phase begins.
    pub(crate) fn enter_phase(&mut self, now: u64, name: impl Into<String>) {
        self.end_phase(now);
        self.phases.push(Phase {
            report: PhaseReport {
                name: name.into(),
                at: now.saturating_sub(self.began) as f64 / 1e9,
                seconds: 0.0,
                connections: 0,
                set_up: 0,
                set_up_latency: Percentiles::default(),
                errors: 0,
                sent: 0,
                received: 0,
                latency: Percentiles::default(),
                server_cores: None,
                rss: None,
                set_up_buckets: Vec::new(),
                buckets: Vec::new(),
            },
            began: now,
            ended: 0,
            set_up: Latency::new(),
            latency: Latency::new(),
            cpu_at_start: None,
        });
        self.in_phase = true;
    }

    /// The phase is over, if one is on.
    pub(crate) fn end_phase(&mut self, now: u64) {
        self.cut(now);
        let connections = self.connections;
        if let Some(phase) = self.phase() {
            phase.ended = now;
            phase.report.seconds = now.saturating_sub(phase.began) as f64 / 1e9;
            phase.report.connections = connections;
        }
        self.in_phase = false;
    }

    /// Whether something awaits a reading of the server.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread_ticks < self.ticks.len()
    }

    /// The server's CPU seconds and resident memory, read just now.
    pub(crate) fn read(&mut self, cpu: Option<f64>, rss: Option<u64>) {
        let ticks = &mut self.ticks[self.unread_ticks..];
        let seconds: f64 = ticks.iter().map(|tick| tick.seconds).sum();
        let used = cpu.zip(self.cpu).map(|(now, before)| now - before);
        for tick in &mut *ticks {
            tick.server_cores = used.filter(|_| seconds > 0.0).map(|used| used / seconds);
            tick.rss = rss;
        }
        for phase in &mut self.phases[self.unread_phases..] {
            match (phase.ended, phase.cpu_at_start.zip(cpu)) {
                (0, _) => phase.cpu_at_start = phase.cpu_at_start.or(cpu),
                (_, Some((before, now))) if phase.report.seconds > 0.0 => {
                    phase.report.server_cores = Some((now - before) / phase.report.seconds);
                    phase.report.rss = rss;
                }
                _ => phase.report.rss = rss,
            }
        }
        self.unread_ticks = self.ticks.len();
        self.unread_phases = self.phases.len() - usize::from(self.in_phase);
        self.cpu = cpu;
    }

    /// Latency of all measured messages so far.
    pub(crate) fn total(&self) -> Latency {
        let mut total = self.latency.clone();
        total.merge(&self.tick.latency);
        total
    }

    /// Latency of the measured messages of the phase that began last.
    pub(crate) fn of_phase(&self) -> Percentiles {
        let last = self.phases.last();
        last.map(|phase| phase.latency.percentiles())
            .unwrap_or_default()
    }

    /// Ticks that are over.
    pub(crate) fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// The phases, with all that arrived for them.
    pub(crate) fn phases(&self) -> Vec<PhaseReport> {
        let finished = |phase: &Phase| PhaseReport {
            set_up_latency: phase.set_up.percentiles(),
            set_up_buckets: phase.set_up.buckets(),
            latency: phase.latency.percentiles(),
            buckets: phase.latency.buckets(),
            ..phase.report.clone()
        };
        self.phases.iter().map(finished).collect()
    }

    fn phase(&mut self) -> Option<&mut Phase> {
        self.phases.last_mut().filter(|_| self.in_phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_message_belongs_to_the_phase_in_which_it_was_due() {
        let mut timeline = Timeline::new(SECOND, Duration::from_secs(1));
        timeline.enter_phase(2 * SECOND, "before");
        timeline.read(Some(1.0), Some(100));
        timeline.sent();
        timeline.ready(5_000_000);
        timeline.enter_phase(4 * SECOND, "spike");
        timeline.read(Some(2.0), Some(200));
        timeline.error();
        // Sent in the first, received in the second.
        timeline.received();
        timeline.latency(3 * SECOND, 5 * SECOND);
        timeline.end_phase(6 * SECOND);
        timeline.read(Some(5.0), Some(300));
        let [before, spike] = &timeline.phases()[..] else {
            panic!("two phases");
        };
        assert_eq!(
            (before.name.as_str(), before.at, before.seconds),
            ("before", 1.0, 2.0)
        );
        assert_eq!((before.sent, before.received, before.errors), (1, 0, 0));
        assert_eq!((before.latency.count, before.set_up_latency.count), (1, 1));
        assert!((before.latency.max_ms - 2000.0).abs() < 2.0);
        assert_eq!((before.server_cores, before.rss), (Some(0.5), Some(200)));
        assert_eq!((spike.received, spike.errors, spike.connections), (1, 1, 1));
        assert_eq!((spike.latency.count, spike.server_cores), (0, Some(1.5)));
        assert_eq!(spike.rss, Some(300));
    }

    #[test]
    fn a_day_of_ticks_stays_bounded() {
        let mut timeline = Timeline::new(0, Duration::from_millis(250));
        let mut now = 0;
        while now < 86_400 * SECOND {
            now = timeline.due();
            timeline.cut(now);
        }
        assert!(timeline.ticks().len() < 6 * MANY);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever happens when: nothing is lost between ticks, and they leave no gap.
        #[test]
        fn ticks_add_up(steps in proptest::collection::vec((0u64..900_000_000, 0u8..6), 1..60)) {
            let mut timeline = Timeline::new(7, Duration::from_millis(500));
            let (mut now, mut counts) = (7, [0u64; 4]);
            for (step, what) in steps {
                now += step;
                if now >= timeline.due() {
                    timeline.cut(now);
                }
                match what {
                    0 => timeline.sent(),
                    1 => { timeline.received(); timeline.latency(now - 5, now); }
                    2 => timeline.error(),
                    3 => timeline.ready(1),
                    4 => { timeline.enter_phase(now, "x"); continue }
                    _ => { timeline.enter_stage(now, "measuring"); continue }
                }
                counts[what as usize] += 1;
            }
            timeline.cut(now);
            let sum = |of: fn(&Tick) -> u64| timeline.ticks().iter().map(of).sum::<u64>();
            prop_assert_eq!(
                [sum(|t| t.sent), sum(|t| t.received), sum(|t| t.errors), sum(|t| t.set_up)],
                counts
            );
            prop_assert_eq!(sum(|t| t.latency.count), counts[1]);
            prop_assert_eq!(sum(|t| t.buckets.iter().map(|b| b.1).sum()), counts[1]);
            prop_assert_eq!(timeline.total().count(), counts[1]);
            let mut end = 0.0;
            for tick in timeline.ticks() {
                prop_assert!((tick.at - end).abs() < 1e-6);
                end = tick.at + tick.seconds;
            }
            prop_assert!((end - (now - 7) as f64 / 1e9).abs() < 1e-6);
        }
    }
}
