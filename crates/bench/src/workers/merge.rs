//! The results of all workers as one report.

use super::part::{ChurnPart, Part, PhasePart, TickPart, histogram};
use super::share::share;
use crate::driver::{after_step, left_behind};
use crate::history::Faults;
use crate::latency::Latency;
use crate::plan::{Plan, Scenario};
use crate::report::{
    Errors, GeneratorReport, Histograms, Limits, LoadReport, Machine, MemoryReport, Parameters,
    Report, SCHEMA, ServerReport, SetupReport, WorkerReport,
};
use crate::results::{ChurnReport, PhaseReport, SpikeReport};
use crate::run::Stage;
use crate::slope::drift_of;
use crate::timeline::Tick;

/// Adds up what the workers found; `lost` is how many ended without a result.
pub(super) fn merge(plan: &Plan, machine: Machine, parts: &[Part], lost: u32) -> Report {
    let sum = |of: fn(&Part) -> u64| parts.iter().map(of).sum::<u64>();
    let most = |of: fn(&Part) -> f64| parts.iter().map(of).fold(0.0, f64::max);
    let ready = sum(|part| part.ready.into()) as u32;
    // Only one of them observes the server's process.
    let observer = parts
        .iter()
        .find(|part| part.memory.is_some() || part.server_cpu.is_some());
    let set_up = histogram(parts.iter().map(|part| &part.set_up));
    let setup = SetupReport {
        ready,
        failed: sum(|part| part.failed.into()) as u32,
        seconds: most(|part| part.setup_seconds),
        per_second: f64::from(ready) / most(|part| part.setup_seconds).max(1e-9),
        server_us_each: observer.and_then(|part| {
            Some(part.server_us_each? * f64::from(part.ready) / f64::from(ready.max(1)))
        }),
        latency: set_up.percentiles(),
    };
    let memory = observer.and_then(|part| part.memory).map(|memory| {
        let each = |full: u64, empty: u64| (full as f64 - empty as f64) / f64::from(ready.max(1));
        // The connections of a ramp come after the settling.
        let top = match plan.scenario {
            Scenario::Ramp(_) => memory.end,
            _ => memory.full,
        };
        MemoryReport {
            rss_per_connection: each(top.rss, memory.empty.rss),
            pss_per_connection: each(top.pss, memory.empty.pss),
            ..memory
        }
    });
    let received = sum(|part| part.received);
    let each = |cpu: f64| match received {
        0 => 0.0,
        received => cpu * 1e6 / received as f64,
    };
    let server = observer.and_then(|part| {
        let cpu = part.server_cpu?;
        Some(ServerReport {
            cpu,
            cores: cpu.total() / part.seconds.max(1e-9),
            user_us_each: each(cpu.user),
            system_us_each: each(cpu.system),
        })
    });
    let others: f64 =
        parts.iter().map(|part| part.cores).sum::<f64>() - observer.map_or(0.0, |part| part.cores);
    let foreign = observer.and_then(|part| part.foreign_cores);
    let latency = histogram(parts.iter().map(|part| &part.latency));
    let load = LoadReport {
        seconds: most(|part| part.seconds),
        sent: sum(|part| part.sent),
        received,
        per_second: parts
            .iter()
            .map(|part| part.received as f64 / part.seconds.max(1e-9))
            .sum(),
        pings: sum(|part| part.pings),
        unrelated: sum(|part| part.unrelated),
        deflated: sum(|part| part.deflated),
        latency: latency.percentiles(),
        // Nobody knows when the last receiver of all processes had a message.
        completion: None,
        server,
        foreign_cores: foreign.map(|cores| (cores - others).max(0.0)),
        histogram: latency,
    };
    let late = histogram(parts.iter().map(|part| &part.late));
    let workers: Vec<WorkerReport> = parts
        .iter()
        .map(|part| worker(plan, part, server.map(|server| server.cores)))
        .collect();
    let limits = workers
        .iter()
        .fold(Limits::default(), |all, worker| Limits {
            busy: all.busy || worker.limits.busy,
            starved: all.starved || worker.limits.starved,
            late: all.late || worker.limits.late,
        });
    let own: f64 = parts.iter().map(|part| part.cores * part.seconds).sum();
    let mut errors = parts
        .iter()
        .fold(Errors::default(), |all, part| all + part.errors);
    errors.workers += u64::from(lost);
    let all = parts.len() as u32 + lost;
    let (timeline, phases) = (timeline(parts), phases(plan, parts, all));
    Report {
        schema: SCHEMA,
        scenario: plan.scenario.name(),
        parameters: Parameters::of(plan),
        machine,
        connections: plan.connections,
        payload: plan.payload,
        setup,
        memory,
        load,
        faults: parts
            .iter()
            .fold(Faults::default(), |all, part| all + part.faults),
        errors,
        generator: GeneratorReport {
            cores: parts.iter().map(|part| part.cores).sum(),
            us_each: each(own),
            waiting: most(|part| part.waiting),
            late: late.percentiles(),
            limits,
            validity: limits.validity(),
        },
        workers,
        spike: spike(plan, &phases, &timeline),
        drift: match &plan.scenario {
            Scenario::Soak(soak) => Some(drift_of(&timeline, soak)),
            _ => None,
        },
        churn: churn(parts),
        timeline,
        phases,
        // These run in one process.
        reconnect: None,
        slow: None,
        mixed: None,
        histograms: Histograms {
            began: parts.iter().map(|part| part.began).min().unwrap_or(0),
            set_up,
            late,
        },
    }
}

/// The phases of all workers by their number; they last as long as with the first worker.
fn phases(plan: &Plan, parts: &[Part], workers: u32) -> Vec<PhaseReport> {
    let Some(first) = parts.first() else {
        return Vec::new();
    };
    let together = |(index, own): (usize, &PhasePart)| {
        let all: Vec<&PhasePart> = parts
            .iter()
            .filter_map(|part| part.phases.get(index))
            .collect();
        let sum = |of: fn(&PhasePart) -> u64| all.iter().map(|phase| of(phase)).sum::<u64>();
        let set_up = histogram(all.iter().map(|phase| &phase.set_up_buckets));
        let latency = histogram(all.iter().map(|phase| &phase.buckets));
        PhaseReport {
            name: match plan.scenario {
                Scenario::Ramp(_) => {
                    let there: u32 = (0..workers)
                        .map(|worker| after(&share(plan, worker, workers), index as u32 + 1))
                        .sum();
                    format!("{there} connections")
                }
                _ => own.name.clone(),
            },
            at: own.at,
            seconds: own.seconds,
            connections: sum(|phase| phase.connections.into()) as u32,
            set_up: sum(|phase| phase.set_up),
            set_up_latency: set_up.percentiles(),
            errors: sum(|phase| phase.errors),
            sent: sum(|phase| phase.sent),
            received: sum(|phase| phase.received),
            latency: latency.percentiles(),
            server_cores: all.iter().find_map(|phase| phase.server_cores),
            rss: all.iter().find_map(|phase| phase.rss),
            set_up_buckets: set_up.buckets(),
            buckets: latency.buckets(),
        }
    };
    first.phases.iter().enumerate().map(together).collect()
}

/// Connections that a worker should have after a step of its ramp.
fn after(own: &Plan, step: u32) -> u32 {
    match own.scenario {
        Scenario::Ramp(ramp) => after_step(ramp.from, own.connections, ramp.steps, step),
        _ => own.connections,
    }
}

/// What a spike left behind, judged by what all workers saw.
fn spike(plan: &Plan, phases: &[PhaseReport], ticks: &[Tick]) -> Option<SpikeReport> {
    let (Scenario::Spike(_), [before, spike, ..]) = (plan.scenario, phases) else {
        return None;
    };
    let ended = spike.at + spike.seconds;
    Some(left_behind(before.latency.p99_ms, ended, ticks))
}

fn churn(parts: &[Part]) -> Option<ChurnReport> {
    let all: Vec<_> = parts
        .iter()
        .filter_map(|part| part.churn.as_ref())
        .collect();
    let sum = |of: fn(&ChurnPart) -> u64| all.iter().map(|churn| of(churn)).sum::<u64>();
    let set_up = histogram(all.iter().map(|churn| &churn.set_up));
    (!all.is_empty()).then(|| ChurnReport {
        left: sum(|churn| churn.left),
        unanswered: sum(|churn| churn.unanswered),
        cut: sum(|churn| churn.cut),
        came: sum(|churn| churn.came),
        skipped: sum(|churn| churn.skipped),
        set_up: set_up.percentiles(),
        buckets: set_up.buckets(),
    })
}

/// Each worker has its own core to fill.
fn worker(plan: &Plan, part: &Part, server_cores: Option<f64>) -> WorkerReport {
    let late = histogram([&part.late]).percentiles();
    WorkerReport {
        connections: part.connections,
        ready: part.ready,
        received: part.received,
        cores: part.cores,
        waiting: part.waiting,
        limits: Limits::judge(
            plan.scenario.is_open_loop(),
            part.cores,
            part.waiting,
            late.p99_ms,
            server_cores,
        ),
    }
}

/// The ticks of the first worker, each with what the others saw in that time. Counts add up
/// exactly: a tick of another worker goes whole to the one that holds its middle.
fn timeline(parts: &[Part]) -> Vec<Tick> {
    let Some((first, others)) = parts.split_first() else {
        return Vec::new();
    };
    let mut ticks: Vec<TickPart> = first.ticks.clone();
    for other in others {
        let shift = (other.began as f64 - first.began as f64) / 1e9;
        let mut last = 0;
        let mut connections = vec![0; ticks.len()];
        for tick in &other.ticks {
            let middle = tick.at + shift + tick.seconds / 2.0;
            let index = ticks
                .partition_point(|own| own.at <= middle)
                .saturating_sub(1);
            let Some(own) = ticks.get_mut(index) else {
                break;
            };
            own.set_up += tick.set_up;
            own.sent += tick.sent;
            own.received += tick.received;
            own.errors += tick.errors;
            own.buckets.extend_from_slice(&tick.buckets);
            last = last.max(index);
            // What follows has as many, until a later tick knows better.
            connections[index..].fill(tick.connections);
        }
        for (own, more) in ticks.iter_mut().zip(connections) {
            own.connections += more;
        }
    }
    ticks.into_iter().map(tick).collect()
}

fn tick(part: TickPart) -> Tick {
    let known = super::STAGES.map(Stage::name);
    let latency: Latency = histogram([&part.buckets]);
    Tick {
        at: part.at,
        seconds: part.seconds,
        stage: known
            .into_iter()
            .find(|name| *name == part.stage)
            .unwrap_or_default(),
        connections: part.connections,
        set_up: part.set_up,
        sent: part.sent,
        received: part.received,
        errors: part.errors,
        latency: latency.percentiles(),
        buckets: latency.buckets(),
        server_cores: part.server_cores,
        rss: part.rss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Protocol, Target};
    use proptest::prelude::*;

    fn plan() -> Plan {
        let target = Target::parse("ws://127.0.0.1:9", Protocol::SocketIo).unwrap();
        Plan::new(target, Scenario::Rate { per_second: 10.0 })
    }

    /// What happened to one message: which worker and tick saw it, how long it took, whether it
    /// is a fault.
    type Event = (usize, usize, u64, bool);

    /// The part of a worker that saw these events.
    fn part(events: &[Event]) -> Part {
        let mut part = Part {
            seconds: 2.0,
            setup_seconds: 1.0,
            cores: 0.25,
            ticks: (0..4)
                .map(|index| TickPart {
                    at: f64::from(index) * 0.5,
                    seconds: 0.5,
                    stage: "measuring".into(),
                    connections: 3,
                    ..TickPart::default()
                })
                .collect(),
            ..Part::default()
        };
        let (mut latency, mut set_up) = (Latency::new(), Latency::new());
        for (_, tick, value, fault) in events {
            latency.record(*value);
            set_up.record(value / 2);
            part.received += 1;
            part.sent += 2;
            part.ready += 1;
            part.faults.lost += u64::from(*fault);
            part.errors.closed += u64::from(*fault);
            let tick = &mut part.ticks[*tick];
            tick.received += 1;
            let mut own = histogram([&tick.buckets]);
            own.record(*value);
            tick.buckets = own.buckets();
        }
        part.latency = latency.buckets();
        part.late = part.latency.clone();
        part.phases = vec![PhasePart {
            name: "all".into(),
            sent: part.sent,
            received: part.received,
            buckets: part.latency.clone(),
            set_up_buckets: set_up.buckets(),
            ..PhasePart::default()
        }];
        part.churn = Some(ChurnPart {
            cut: part.received,
            set_up: set_up.buckets(),
            ..ChurnPart::default()
        });
        part.set_up = set_up.buckets();
        part
    }

    proptest! {
        // Histograms are large.
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever way events fall to workers, together they are what one would have seen;
        /// and what is written to a pipe is what is read from it.
        #[test]
        fn merged_is_single(
            events in proptest::collection::vec(
                (0usize..4, 0usize..4, prop_oneof![0u64..100, any::<u64>()], any::<bool>()), 0..60,
            ),
        ) {
            let parts: Vec<Part> = (0..4)
                .map(|worker| {
                    let own: Vec<Event> = events.iter().copied().filter(|e| e.0 == worker).collect();
                    let line = serde_json::to_string(&part(&own)).unwrap();
                    serde_json::from_str(&line).unwrap()
                })
                .collect();
            let many = merge(&plan(), Machine::here(), &parts, 0);
            let one = merge(&plan(), Machine::here(), &[part(&events)], 0);
            let mut whole = Latency::new();
            events.iter().for_each(|event| whole.record(event.2));
            prop_assert_eq!(many.load.latency, whole.percentiles());
            prop_assert_eq!(many.load.latency, one.load.latency);
            prop_assert_eq!(many.generator.late, one.generator.late);
            prop_assert_eq!(many.setup.latency, one.setup.latency);
            prop_assert_eq!(many.setup.ready, one.setup.ready);
            prop_assert_eq!((many.load.sent, many.load.received), (one.load.sent, one.load.received));
            prop_assert!((many.load.per_second - one.load.per_second).abs() < 1e-9);
            prop_assert_eq!(many.faults, one.faults);
            prop_assert_eq!(many.errors, one.errors);
            let (phase, whole) = (&many.phases[0], &one.phases[0]);
            prop_assert_eq!(phase.latency, whole.latency);
            prop_assert_eq!(phase.set_up_latency, whole.set_up_latency);
            prop_assert_eq!((phase.sent, phase.received), (whole.sent, whole.received));
            let (churn, whole) = (many.churn.unwrap(), one.churn.unwrap());
            prop_assert_eq!((churn.cut, churn.set_up), (whole.cut, whole.set_up));
            prop_assert_eq!(many.timeline.len(), one.timeline.len());
            for (many, one) in many.timeline.iter().zip(&one.timeline) {
                prop_assert_eq!((many.received, many.errors), (one.received, one.errors));
                prop_assert_eq!(many.latency, one.latency);
                prop_assert_eq!(&many.buckets, &one.buckets);
                prop_assert_eq!(many.connections, 4 * one.connections);
            }
        }
    }

    #[test]
    fn workers_that_began_later_are_put_where_they_belong() {
        let early = part(&[(0, 0, 5, false)]);
        let mut late = part(&[(1, 0, 5, false), (1, 3, 5, false)]);
        late.began = early.began + 500_000_000;
        let merged = merge(&plan(), Machine::here(), &[early, late], 0);
        let received: Vec<u64> = merged.timeline.iter().map(|tick| tick.received).collect();
        assert_eq!(received, [1, 1, 0, 1], "the last goes to the last there is");
        let connections: Vec<u32> = merged
            .timeline
            .iter()
            .map(|tick| tick.connections)
            .collect();
        assert_eq!(connections, [3, 6, 6, 6]);
    }

    #[test]
    fn one_bottleneck_is_enough_and_a_lost_worker_is_an_error() {
        let mut busy = part(&[]);
        busy.cores = 0.99;
        let merged = merge(&plan(), Machine::here(), &[part(&[]), busy], 1);
        assert!(merged.generator.limits.busy);
        assert_eq!(merged.errors.workers, 1);
        assert_eq!(merged.outcome(), crate::Outcome::Errors);
        let fine = merge(&plan(), Machine::here(), &[part(&[]), part(&[])], 0);
        assert_eq!(fine.outcome(), crate::Outcome::Clean);
    }
}
