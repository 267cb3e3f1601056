//! A report with something of everything, for tests of how reports look.

use super::*;
use crate::mixed::{Clients, EventReport, ThresholdReport};
use crate::plan::{Pace, Plan, Scenario};
use crate::results::Drift;
use crate::target::{Protocol, Target};

/// The figures of nothing that ever ran; the same each time.
pub(super) fn sample() -> Report {
    let target = Target::parse("http://127.0.0.1:3000", Protocol::SocketIo).unwrap();
    let pace = Pace::PerSecond(20.0);
    let scenario = Scenario::Fanout {
        publishers: 2,
        pace,
    };
    let mut plan = Plan::new(target, scenario);
    plan.connections = 1000;
    plan.auth = Some("{\"token\":\"secret\"}".into());
    let latency = histogram(1_000_000, 99_800);
    let ticks = (0..100).map(tick).collect();
    Report {
        schema: SCHEMA,
        scenario: "fanout",
        parameters: Parameters::of(&plan),
        machine: Machine {
            began: "2026-01-02T03:04:05Z".into(),
            version: "0.1.0".into(),
            system: "Linux 6.0 x86_64".into(),
            processor: "Some Processor".into(),
            cores: 2,
            memory: 8 << 30,
        },
        connections: 1000,
        payload: 128,
        setup: SetupReport {
            ready: 998,
            failed: 2,
            seconds: 0.25,
            per_second: 3992.0,
            server_us_each: Some(42.0),
            latency: histogram(2_000_000, 998).percentiles(),
        },
        memory: Some(MemoryReport {
            empty: Memory {
                rss: 5 << 20,
                pss: 4 << 20,
            },
            full: Memory {
                rss: 7 << 20,
                pss: 6 << 20,
            },
            end: Memory {
                rss: 8 << 20,
                pss: 7 << 20,
            },
            rss_per_connection: 2101.4,
            pss_per_connection: 2099.0,
        }),
        load: LoadReport {
            seconds: 5.0,
            sent: 100,
            received: 99_800,
            per_second: 19_960.0,
            pings: 3,
            unrelated: 0,
            deflated: 0,
            latency: latency.percentiles(),
            completion: Some(histogram(900_000, 100).percentiles()),
            server: Some(ServerReport {
                cpu: CpuTime {
                    user: 0.1,
                    system: 0.2,
                },
                cores: 0.06,
                user_us_each: 1.0,
                system_us_each: 2.0,
            }),
            foreign_cores: Some(0.02),
            histogram: latency,
        },
        faults: Faults {
            lost: 3,
            misdelivered: 1,
            ..Faults::default()
        },
        errors: Errors {
            refused: 2,
            last_status: Some(503),
            ..Errors::default()
        },
        generator: GeneratorReport {
            cores: 0.95,
            us_each: 0.5,
            waiting: 0.02,
            late: histogram(100_000, 100).percentiles(),
            limits: Limits {
                busy: true,
                ..Limits::default()
            },
            validity: Validity::GeneratorBound,
        },
        timeline: ticks,
        phases: vec![PhaseReport {
            name: "step 1".into(),
            at: 2.5,
            seconds: 5.0,
            connections: 998,
            set_up: 998,
            set_up_latency: histogram(2_000_000, 998).percentiles(),
            errors: 2,
            sent: 100,
            received: 99_800,
            latency: histogram(1_000_000, 99_800).percentiles(),
            server_cores: Some(0.06),
            rss: Some(7 << 20),
            set_up_buckets: Vec::new(),
            buckets: Vec::new(),
        }],
        reconnect: Some(ReconnectReport {
            lost: 10,
            back: 9,
            seconds: None,
            attempts: 14,
            failures: Errors {
                connect: 5,
                ..Errors::default()
            },
            time: histogram(1_000_000_000, 9).percentiles(),
            set_up: histogram(1_000_000, 9).percentiles(),
        }),
        spike: Some(SpikeReport {
            threshold_ms: 4.0,
            recovered_after: Some(1.5),
        }),
        drift: Some(DriftReport {
            samples: 30,
            enough: true,
            memory: Some(Drift {
                median: 8e6,
                per_hour: 1e6,
                relative: 0.125,
                trend: 7.1,
                limit: 0.1,
                exceeded: true,
            }),
            p50: None,
            p99: Some(Drift {
                median: 2.5,
                per_hour: -0.25,
                relative: -0.01,
                trend: -0.4,
                limit: 0.5,
                exceeded: false,
            }),
        }),
        churn: Some(ChurnReport {
            left: 5,
            unanswered: 0,
            cut: 5,
            came: 10,
            skipped: 1,
            set_up: histogram(1_000_000, 10).percentiles(),
            buckets: Vec::new(),
        }),
        slow: Some(SlowReport {
            readers: 100,
            closed: 40,
            closed_after: histogram(1_000_000_000, 40).percentiles(),
            received: 500,
            missing: 9_500,
        }),
        mixed: Some(mixed()),
        workers: vec![WorkerReport {
            connections: 1000,
            ready: 998,
            received: 99_800,
            cores: 0.95,
            waiting: 0.02,
            limits: Limits {
                busy: true,
                ..Limits::default()
            },
        }],
        histograms: Histograms::default(),
    }
}

fn mixed() -> MixedReport {
    MixedReport {
        name: "chat".into(),
        clients: Clients {
            came: 1_200,
            finished: 200,
            most: 1_000,
            not_started: 3,
            connections: 1_300,
            connected: 1_298,
        },
        connect: histogram(2_000_000, 1_298).percentiles(),
        delivery: histogram(1_000_000, 50_000).percentiles(),
        published: 5_000,
        delivered: 50_000,
        events: vec![EventReport {
            event: "publish".into(),
            sent: 5_000,
            asked: 5_000,
            acked: 4_990,
            refused: 4,
            missing: 6,
            latency: histogram(1_000_000, 4_994).percentiles(),
        }],
        late_acks: 1,
        double_acks: 0,
        unasked_acks: 0,
        error_share: 0.0024,
        thresholds: vec![
            ThresholdReport {
                of: "error share".into(),
                limit: 0.001,
                found: Some(0.0024),
                holds: false,
            },
            ThresholdReport {
                of: "delivery p99".into(),
                limit: 100.0,
                found: Some(24.0),
                holds: true,
            },
        ],
        faults: Faults::default(),
    }
}

/// Durations from `base` nanoseconds on, ever rarer, up to a thousand times that.
fn histogram(base: u64, count: u64) -> Latency {
    let mut latency = Latency::new();
    for index in 0..count {
        let share = (index as f64 + 0.5) / count as f64;
        latency.record(base + (base as f64 * 5.0 * -(1.0 - share).ln()) as u64);
    }
    latency
}

fn tick(index: u32) -> Tick {
    let at = f64::from(index) * 0.1;
    let stage = match index {
        0..3 => "connecting",
        3..13 => "settling",
        13..25 => "warming_up",
        25..98 => "measuring",
        _ => "draining",
    };
    let busy = (25..98).contains(&index);
    let wave = 1.0 + 0.5 * (at * 3.0).sin();
    Tick {
        at,
        seconds: 0.1,
        stage,
        connections: (index * 400).min(998),
        set_up: if index < 3 { 333 } else { 0 },
        sent: if busy { 2 } else { 0 },
        received: if busy { (2000.0 * wave) as u64 } else { 0 },
        errors: u64::from(index == 40) * 2,
        latency: if busy && index != 60 {
            histogram((1e6 * wave) as u64, 2000).percentiles()
        } else {
            Percentiles::default()
        },
        buckets: Vec::new(),
        server_cores: Some(if busy { 0.4 * wave } else { 0.01 }),
        rss: Some((7 << 20) + u64::from(index) * 10_000),
    }
}
