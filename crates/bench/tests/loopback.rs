//! The generator against the floor over loopback, in every language both speak.

use sockeye_bench::{Crowd, Floor, Pace, Plan, Protocol, Report, Scenario, Target, run};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Runs a short plan against a floor of its own.
fn against_floor(
    protocol: Protocol,
    coalesce: bool,
    scenario: Scenario,
    change: impl FnOnce(&mut Plan),
) -> Report {
    let floor = Floor::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), coalesce).unwrap();
    let address = floor.local_addr().unwrap();
    let stop = floor.stopper();
    let server = std::thread::spawn(move || floor.run());
    let target = Target::parse(&format!("ws://{address}"), protocol).unwrap();
    let mut plan = Plan::new(target, scenario);
    plan.connections = 20;
    plan.warmup = Duration::from_millis(50);
    plan.duration = Duration::from_millis(150);
    plan.settle = Duration::ZERO;
    plan.pid = Some(std::process::id());
    change(&mut plan);
    let report = run(&plan, &mut |_| {}).unwrap();
    stop.stop().unwrap();
    server.join().unwrap().unwrap();
    report
}

const PROTOCOLS: [Protocol; 3] = [Protocol::SocketIo, Protocol::WebSocket, Protocol::Floor];

#[test]
fn echoes_come_back_in_order_in_every_language() {
    for protocol in PROTOCOLS {
        for window in [1, 8] {
            let scenario = Scenario::Echo { window };
            let report = against_floor(protocol, false, scenario, |plan| plan.payload = 200);
            assert!(report.is_clean(), "{protocol:?} {report}");
            assert_eq!((report.setup.ready, report.setup.failed), (20, 0));
            assert!(report.load.received >= 20 * u64::from(window), "{report}");
            assert!(report.load.latency.count > 0 && report.load.latency.max_ms < 5000.0);
            assert!(
                report
                    .load
                    .server
                    .is_some_and(|server| server.cpu.total() >= 0.0)
            );
        }
    }
}

#[test]
fn a_broadcast_reaches_everyone_in_every_language() {
    for protocol in PROTOCOLS {
        for coalesce in [false, true] {
            let scenario = Scenario::Fanout {
                publishers: 2,
                pace: Pace::Window(4),
            };
            let report = against_floor(protocol, coalesce, scenario, |_| {});
            assert!(report.is_clean(), "{protocol:?} {report}");
            assert!(report.load.received >= 40, "{report}");
            assert!(report.load.completion.unwrap().count > 0, "{report}");
        }
    }
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let scenario = Scenario::Rate { per_second: 2000.0 };
    let report = against_floor(Protocol::SocketIo, false, scenario, |plan| {
        plan.duration = Duration::from_millis(400);
    });
    assert!(report.is_clean(), "{report}");
    // The number sent is a matter of the clock alone, give or take what the end cuts off.
    let due = report.load.seconds * 2000.0;
    assert!(
        (report.load.sent as f64 - due).abs() < 0.2 * due,
        "{report}"
    );
    assert!(report.load.latency.count.abs_diff(800) <= 2, "{report}");
    assert!(report.generator.late.count > 0);

    let scenario = Scenario::Fanout {
        publishers: 1,
        pace: Pace::PerSecond(100.0),
    };
    let report = against_floor(Protocol::Floor, false, scenario, |_| {});
    assert!(report.is_clean(), "{report}");
    assert!(
        report.load.latency.count.abs_diff(20 * 15) <= 20,
        "{report}"
    );
}

#[test]
fn a_storm_connects_everybody_at_once() {
    let storm = Scenario::Storm { reconnect: None };
    let report = against_floor(Protocol::SocketIo, false, storm, |plan| {
        plan.connections = 300;
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.setup.ready, 300);
    assert_eq!(report.setup.latency.count, 300);
    assert!(report.memory.is_some());
}

#[test]
fn a_crowd_comes_and_goes() {
    let floor = Floor::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).unwrap();
    let url = format!("ws://{}", floor.local_addr().unwrap());
    let stop = floor.stopper();
    let server = std::thread::spawn(move || floor.run());
    let target = Target::parse(&url, Protocol::SocketIo).unwrap();
    let mut plan = Plan::new(target, Scenario::Idle);
    plan.room = Some("room".into());
    let mut crowd = Crowd::new(&plan).unwrap();
    assert!(crowd.is_empty());
    assert_eq!(crowd.come(60).unwrap(), 60);
    for _ in 0..3 {
        crowd.leave(30);
        assert_eq!(crowd.len(), 30);
        assert_eq!(crowd.come_at_once(30).unwrap(), 60);
    }
    // Those that stayed were not harmed by those that left.
    crowd.hold(Duration::from_millis(20)).unwrap();
    assert_eq!((crowd.len(), crowd.errors().total()), (60, 0));
    crowd.leave(1000);
    assert!(crowd.is_empty());
    stop.stop().unwrap();
    server.join().unwrap().unwrap();
    assert_eq!(crowd.come(2).unwrap(), 0);
    assert_eq!(crowd.errors().connect, 2);
}

#[test]
fn the_floor_beats_when_told_to() {
    let mut floor = Floor::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).unwrap();
    floor.beat(Duration::from_millis(20));
    let url = format!("ws://{}", floor.local_addr().unwrap());
    let stop = floor.stopper();
    let server = std::thread::spawn(move || floor.run());
    let target = Target::parse(&url, Protocol::SocketIo).unwrap();
    let mut crowd = Crowd::new(&Plan::new(target, Scenario::Idle)).unwrap();
    crowd.come(5).unwrap();
    crowd.leave(2);
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    while crowd.pings() < 9 && std::time::Instant::now() < give_up {
        crowd.hold(Duration::from_millis(10)).unwrap();
    }
    assert!(crowd.pings() >= 9, "{}", crowd.pings());
    assert_eq!((crowd.len(), crowd.errors().total()), (3, 0));
    stop.stop().unwrap();
    server.join().unwrap().unwrap();
}

#[test]
fn nobody_there_is_an_error_and_not_a_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let target = Target::parse(&url, Protocol::SocketIo).unwrap();
    let error = run(&Plan::new(target, Scenario::Idle), &mut |_| {}).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let target = Target::parse(&url, Protocol::SocketIo).unwrap();
    let mut plan = Plan::new(target, Scenario::Idle);
    plan.connections = 5;
    plan.patience = Duration::from_millis(200);
    assert!(run(&plan, &mut |_| {}).unwrap_err().is_unreachable());
}
