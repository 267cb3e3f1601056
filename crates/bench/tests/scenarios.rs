//! Every scenario against a small server in this process.

mod peer;

use peer::{Peer, serve, serve_at};
use sockeye_bench::{
    Churn, Credential, Credentials, CutBy, Pace, Plan, Protocol, Ramp, Reconnect, Report, Scenario,
    Slow, Soak, Spike, Target, Transport, run,
};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn plan(peer: &Peer, scenario: Scenario) -> Plan {
    let target = Target::parse(&peer.url(), Protocol::SocketIo).unwrap();
    let mut plan = Plan::new(target, scenario);
    plan.connections = 10;
    plan.warmup = MS(50);
    plan.duration = MS(600);
    plan.settle = Duration::ZERO;
    plan
}

fn load(plan: &Plan) -> Report {
    let report = run(plan, &mut |_| {}).unwrap();
    // Whatever the scenario: the ticks tell the whole run, without a gap.
    let mut end = 0.0;
    for tick in &report.timeline {
        assert!((tick.at - end).abs() < 1e-6, "a gap at {end}: {tick:?}");
        end = tick.at + tick.seconds;
    }
    let measured: u64 = report.timeline.iter().map(|tick| tick.latency.count).sum();
    assert_eq!(measured, report.load.latency.count, "{report}");
    report
}

#[test]
fn a_ramp_rises_step_by_step() {
    let peer = serve(None);
    let ramp = Ramp {
        from: 4,
        steps: 3,
        per_second: None,
        hold: MS(200),
        rate: 20.0,
    };
    let plan = plan(&peer, Scenario::Ramp(ramp));
    let report = load(&plan);
    assert!(report.is_clean(), "{report}");
    let ready: Vec<u32> = report.phases.iter().map(|step| step.connections).collect();
    assert_eq!(ready, [6, 8, 10], "{report}");
    for step in &report.phases {
        assert_eq!(
            (step.set_up, step.set_up_latency.count, step.errors),
            (2, 2, 0)
        );
        assert!(step.seconds >= 0.2);
        // 20 a second for each connection: when a message is due is a matter of the clock alone.
        let each = 20.0 * f64::from(step.connections);
        let (least, most) = (0.2 * each - 1.0, step.seconds * each + 2.0);
        let due = step.latency.count as f64;
        assert!(least <= due && due <= most, "{step:?}");
        assert!(step.sent > 0, "{step:?}");
    }
    assert_eq!(
        (report.setup.ready, report.load.latency.max_ms < 5000.0),
        (10, true)
    );
}

#[test]
fn a_ramp_from_nothing_paced_by_the_second() {
    let peer = serve(None);
    let ramp = Ramp {
        from: 0,
        steps: 2,
        per_second: Some(50.0),
        hold: Duration::ZERO,
        rate: 0.0,
    };
    let plan = plan(&peer, Scenario::Ramp(ramp));
    assert_eq!(plan.expected_duration(), MS(200));
    let report = load(&plan);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.setup.ready, 10);
    // Five connections at 50 a second: four intervals between the first and the last.
    assert!(
        report.phases.iter().all(|step| step.seconds >= 0.079),
        "{report}"
    );
}

#[test]
fn a_ramp_that_meets_a_wall_says_where() {
    // The fourth and later connections are never answered.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::parse(
        &format!("ws://{}", listener.local_addr().unwrap()),
        Protocol::Floor,
    );
    let ramp = Ramp {
        from: 0,
        steps: 2,
        per_second: None,
        hold: MS(50),
        rate: 0.0,
    };
    let mut plan = Plan::new(target.unwrap(), Scenario::Ramp(ramp));
    (plan.connections, plan.patience, plan.settle) = (6, MS(200), Duration::ZERO);
    // The floor needs no answer: TCP is enough. Socket.IO waits for one that never comes.
    assert_eq!(load(&plan).setup.ready, 6);
    let url = format!("ws://{}", listener.local_addr().unwrap());
    plan.target = Target::parse(&url, Protocol::SocketIo).unwrap();
    assert!(run(&plan, &mut |_| {}).unwrap_err().is_unreachable());
}

#[test]
fn a_spike_comes_and_goes() {
    let peer = serve(None);
    let spike = Spike {
        base_rate: 200.0,
        peak_rate: 800.0,
        connections: 20,
        duration: MS(400),
    };
    let mut plan = plan(&peer, Scenario::Spike(spike));
    plan.duration = MS(1300);
    let report = load(&plan);
    assert!(report.is_clean(), "{report}");
    let [before, during, after] = &report.phases[..] else {
        panic!("three phases: {report}");
    };
    assert_eq!(
        (before.connections, during.connections, after.connections),
        (10, 30, 10)
    );
    assert_eq!((during.set_up, during.set_up_latency.count), (20, 20));
    for (phase, rate) in [(before, 200.0), (during, 800.0), (after, 200.0)] {
        let due = phase.seconds * rate;
        let sent = phase.latency.count as f64;
        assert!((sent - due).abs() < 0.05 * due + 4.0, "{phase:?}");
    }
    assert!(report.spike.unwrap().threshold_ms >= 1.0);
}

#[test]
fn a_stall_in_the_spike_is_charged_to_the_spike() {
    let peer = serve(None);
    let spike = Spike {
        base_rate: 200.0,
        peak_rate: 200.0,
        connections: 1,
        duration: MS(500),
    };
    let mut plan = plan(&peer, Scenario::Spike(spike));
    (plan.connections, plan.duration) = (1, MS(2000));
    // The server stops for 300 ms in the middle of the spike, from 500 ms to 1 s.
    let mut events = 0;
    *peer.hub.on_event.lock().unwrap() = Some(Box::new(move || {
        events += 1;
        if events == 130 {
            std::thread::sleep(MS(300));
        }
    }));
    let report = load(&plan);
    assert!(report.is_clean(), "{report}");
    let [before, during, _] = &report.phases[..] else {
        panic!("three phases: {report}");
    };
    assert!(during.latency.max_ms >= 280.0, "{report}");
    // Counted from when each was due, a stall of 300 ms at 200 a second shows in many.
    assert!(
        during.latency.mean_ms > 5.0 * before.latency.mean_ms.min(5.0),
        "{report}"
    );
}

fn soak(leak: usize) -> Report {
    let peer = serve(None);
    let soak = Soak {
        pace: Pace::PerSecond(500.0),
        sample: MS(50),
        max_memory_drift: 0.3,
        max_latency_drift: 1e9,
    };
    let mut plan = plan(&peer, Scenario::Soak(soak));
    plan.duration = MS(1600);
    plan.pid = Some(std::process::id());
    let mut kept: Vec<Vec<u8>> = Vec::new();
    *peer.hub.on_event.lock().unwrap() = Some(Box::new(move || {
        if leak > 0 {
            kept.push(vec![7; leak]);
        }
    }));
    load(&plan)
}

#[test]
fn a_leak_is_drift_and_a_steady_server_is_none() {
    // In one test, one after the other: both look at the memory of this process.
    let steady = soak(0);
    let drift = steady.drift.as_ref().unwrap();
    assert!(drift.enough && drift.samples >= 20, "{drift:?}");
    assert!(drift.memory.is_some() && drift.p50.is_some() && drift.p99.is_some());
    let leaking = soak(300_000);
    assert!(leaking.is_drifting(), "{leaking}");
    let memory = leaking.drift.unwrap().memory.unwrap();
    assert!(memory.exceeded && memory.relative > 0.3, "{memory:?}");
    let before = drift.memory.unwrap();
    assert!(
        before.relative < memory.relative / 2.0,
        "{before:?} {memory:?}"
    );
}

#[test]
fn all_come_back_after_they_were_cut() {
    let peer = serve(None);
    let reconnect = Reconnect {
        base: MS(100),
        ..Reconnect::new(CutBy::Generator)
    };
    let storm = Scenario::Storm {
        reconnect: Some(reconnect),
    };
    let mut plan = plan(&peer, storm);
    (plan.connections, plan.duration) = (50, Duration::from_secs(20));
    let report = load(&plan);
    assert!(report.is_clean(), "{report}");
    let back = report.reconnect.unwrap();
    assert_eq!((back.lost, back.back, back.attempts), (50, 50, 50));
    assert_eq!(
        (back.failures.total(), back.time.count, back.set_up.count),
        (0, 50, 50)
    );
    // Each waited a random share of 100 ms: together they are spread over most of it.
    assert!(back.time.max_ms - back.time.p50_ms > 5.0, "{back:?}");
    assert!(
        back.seconds.unwrap() * 1e3 >= back.time.max_ms * 0.99,
        "{back:?}"
    );
    assert!(report.load.seconds < 20.0, "it ends when all are back");
}

#[test]
fn all_come_back_after_the_server_was_killed_and_restarted() {
    let peer = serve(None);
    let reconnect = Reconnect {
        base: MS(50),
        cap: MS(200),
        by: CutBy::Server,
    };
    let storm = Scenario::Storm {
        reconnect: Some(reconnect),
    };
    let mut plan = plan(&peer, storm);
    (plan.connections, plan.duration) = (30, Duration::from_secs(20));
    let address = peer.address;
    let events = std::thread::spawn(move || {
        // Once all are there.
        while peer.hub.credentials.lock().unwrap().len() < 30 {
            std::thread::yield_now();
        }
        std::thread::sleep(MS(200));
        peer.kill();
        std::thread::sleep(MS(400));
        serve_at(address, None)
    });
    let report = load(&plan);
    let restarted = events.join().unwrap();
    assert!(report.is_clean(), "{report}");
    let back = report.reconnect.unwrap();
    assert_eq!((back.lost, back.back), (30, 30), "{back:?}");
    assert!(back.failures.connect > 0, "{back:?}");
    assert_eq!(back.attempts, 30 + back.failures.total(), "{back:?}");
    assert!(back.seconds.unwrap() > 0.35, "{back:?}");
    assert!(restarted.hub.credentials.lock().unwrap().len() >= 30);
}

#[test]
fn churn_holds_the_number_while_everybody_changes() {
    let peer = serve(None);
    let churn = Churn {
        per_second: 100.0,
        cut: 0.5,
        rate: 300.0,
    };
    let report = load(&plan(&peer, Scenario::Churn(churn)));
    assert!(report.is_clean(), "{report}");
    let churned = report.churn.as_ref().unwrap();
    let departed = churned.left + churned.cut + churned.skipped;
    assert!((55..=75).contains(&departed), "{churned:?}");
    assert!(churned.left > 5 && churned.cut > 5, "{churned:?}");
    assert_eq!(churned.unanswered, 0);
    assert!(
        churned.came.abs_diff(churned.left + churned.cut) <= 2,
        "{churned:?}"
    );
    assert_eq!(
        (churned.set_up.count, churned.left),
        (churned.came, peer.hub.farewells.load(SeqCst))
    );
    let last = report.timeline.last().unwrap();
    assert!(last.connections >= 8, "{last:?}");
    assert!(report.load.received > 100, "{report}");
}

#[test]
fn churn_takes_leave_of_a_plain_websocket_too() {
    let peer = serve(None);
    let churn = Churn {
        per_second: 100.0,
        cut: 0.0,
        rate: 300.0,
    };
    let mut plan = plan(&peer, Scenario::Churn(churn));
    plan.target = Target::parse(&peer.url(), Protocol::WebSocket).unwrap();
    let report = load(&plan);
    assert!(report.is_clean(), "{report}");
    let churned = report.churn.as_ref().unwrap();
    assert!(churned.left > 30 && churned.came > 30, "{churned:?}");
    assert_eq!((churned.cut, churned.unanswered), (0, 0), "{churned:?}");
}

#[test]
fn slow_readers_are_closed_and_the_others_do_not_suffer() {
    for read_rate in [0, 1000] {
        let peer = serve(None);
        let slow = Slow {
            share: 0.2,
            read_rate,
            publishers: 1,
            pace: Pace::PerSecond(100.0),
        };
        let mut plan = plan(&peer, Scenario::Slow(slow));
        (plan.payload, plan.duration) = (20_000, MS(1200));
        let report = load(&plan);
        assert!(report.is_clean(), "{report}");
        let readers = report.slow.as_ref().unwrap();
        assert_eq!((readers.readers, readers.closed), (2, 2), "{readers:?}");
        assert!(readers.missing > 0 && readers.received < 20, "{readers:?}");
        // Eight others, all of them all the time.
        assert!(
            report.load.latency.count.abs_diff(8 * 120) <= 16,
            "{report}"
        );
        assert_eq!(report.load.latency.count % 8, 0, "{report}");
    }
}

#[test]
fn rooms_are_published_to_by_their_own() {
    for (publishers, pace) in [(2, Pace::Window(2)), (4, Pace::PerSecond(200.0))] {
        let peer = serve(None);
        let mut plan = plan(&peer, Scenario::Fanout { publishers, pace });
        plan.rooms = 2;
        let report = load(&plan);
        assert!(report.is_clean(), "{report}");
        // Five of ten are in each room.
        let (sent, most_off) = match pace {
            Pace::Window(_) => (report.load.sent, 40),
            Pace::PerSecond(_) => (120, 10),
        };
        let delivered = report.load.latency.count;
        assert!(delivered.abs_diff(sent * 5) <= most_off, "{report}");
        assert!(report.load.completion.unwrap().count > 20, "{report}");
    }
}

#[test]
fn polling_and_upgrading_clients_are_clients_like_others() {
    for transport in [Transport::Polling, Transport::Upgrade] {
        let peer = serve(None);
        let mut echo = plan(&peer, Scenario::Echo { window: 40 });
        (echo.transport, echo.room) = (transport, Some("a".into()));
        let report = load(&echo);
        assert!(report.is_clean(), "{transport:?} {report}");
        assert_eq!((report.setup.ready, report.setup.latency.count), (10, 10));
        assert!(report.load.received > 400, "{report}");
        let upgrades = u64::from(transport == Transport::Upgrade) * 10;
        assert_eq!(peer.hub.upgrades.load(SeqCst), upgrades);
        assert!(peer.hub.posts.load(SeqCst) >= 10);
        let pace = Pace::PerSecond(100.0);
        let fanout = Scenario::Fanout {
            publishers: 2,
            pace,
        };
        let fanout = Plan {
            scenario: fanout,
            payload: 100,
            room: None,
            ..echo.clone()
        };
        // A fresh server: the clients of the first run are still in the old one's list.
        let other = serve(None);
        let target = Target::parse(&other.url(), Protocol::SocketIo).unwrap();
        let report = load(&Plan { target, ..fanout });
        assert!(report.is_clean(), "{transport:?} {report}");
        assert!(report.load.latency.count >= 500, "{report}");
        let churn = Churn {
            per_second: 50.0,
            cut: 0.0,
            rate: 50.0,
        };
        let churn = Plan {
            scenario: Scenario::Churn(churn),
            ..echo
        };
        let report = load(&churn);
        assert!(report.is_clean(), "{transport:?} {report}");
        let churned = report.churn.as_ref().unwrap();
        assert!(churned.came > 10 && churned.unanswered == 0, "{churned:?}");
    }
}

#[test]
fn every_connection_has_its_own_token() {
    let peer = serve(None);
    let mut plan = plan(&peer, Scenario::Idle);
    (plan.warmup, plan.duration) = (Duration::ZERO, MS(20));
    plan.credentials = Some(Credentials::new(|connection| {
        Credential::token(&format!("client-{connection}"))
    }));
    assert!(load(&plan).is_clean());
    let mut seen = peer.hub.credentials.lock().unwrap().clone();
    seen.sort();
    let expected: Vec<_> = (0..10)
        .map(|i| format!("{{\"token\":\"client-{i}\"}}"))
        .collect();
    assert_eq!(seen, expected);
}
