//! A generator that is starved says so: its figures are not called the server's.

mod peer;

use peer::serve;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sockeye_bench::{Plan, Protocol, Report, Scenario, Target, Validity, run};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

fn load(scenario: Scenario, observe: &mut dyn FnMut()) -> Report {
    let peer = serve(None);
    let target = Target::parse(&peer.url(), Protocol::SocketIo).unwrap();
    let mut plan = Plan::new(target, scenario);
    plan.connections = 8;
    plan.warmup = Duration::ZERO;
    plan.duration = Duration::from_millis(1500);
    plan.settle = Duration::ZERO;
    let report = run(&plan, &mut |_| observe()).unwrap();
    assert!(report.is_clean(), "starved, not wrong: {report}");
    report
}

#[test]
fn an_open_loop_that_was_stopped_is_not_valid() {
    // What stops it takes no processor time: only the clock can tell.
    let stall = &mut || std::thread::sleep(Duration::from_millis(100));
    let report = load(Scenario::Rate { per_second: 1000.0 }, stall);
    assert_eq!(
        report.generator.validity,
        Validity::GeneratorBound,
        "{report}"
    );
    assert!(
        report.generator.limits.late && report.generator.limits.starved,
        "{report}"
    );
    assert!(report.generator.late.p99_ms > 50.0, "{report}");
    // And the stall is charged to the messages that it held up.
    assert!(report.load.latency.p99_ms > 50.0, "{report}");
    assert!(
        report.load.sent.abs_diff(1500) < 150,
        "the schedule was kept all the same: {report}"
    );
}

#[test]
fn a_closed_loop_that_was_stopped_is_not_valid() {
    let stall = &mut || std::thread::sleep(Duration::from_millis(100));
    let report = load(Scenario::Echo { window: 1 }, stall);
    assert_eq!(
        report.generator.validity,
        Validity::GeneratorBound,
        "{report}"
    );
    assert!(report.generator.limits.starved, "{report}");
}

/// Others burn the core that the generator works on.
#[test]
fn a_generator_that_shares_its_core_is_not_valid() {
    let mut own = CpuSet::new();
    let allowed = sched_getaffinity(None).unwrap();
    let core = (0..CpuSet::MAX_CPU)
        .find(|cpu| allowed.is_set(*cpu))
        .unwrap();
    own.set(core);
    let stop = Arc::new(AtomicBool::new(false));
    let burners: Vec<_> = (0..3)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                sched_setaffinity(None, &own).unwrap();
                while !stop.load(Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    // The server's threads are not pinned: they are made before this thread is.
    let peer = serve(None);
    let target = Target::parse(&peer.url(), Protocol::SocketIo).unwrap();
    let generator = std::thread::spawn(move || {
        sched_setaffinity(None, &own).unwrap();
        let mut plan = Plan::new(target, Scenario::Echo { window: 16 });
        plan.connections = 8;
        plan.duration = Duration::from_millis(1500);
        (plan.warmup, plan.settle) = (Duration::ZERO, Duration::ZERO);
        run(&plan, &mut |_| {}).unwrap()
    });
    let report = generator.join().unwrap();
    stop.store(true, Relaxed);
    burners
        .into_iter()
        .for_each(|burner| burner.join().unwrap());
    assert!(report.generator.limits.starved, "{report}");
    assert_eq!(
        report.generator.validity,
        Validity::GeneratorBound,
        "{report}"
    );
    assert!(report.generator.waiting > 0.1, "{report}");
}
