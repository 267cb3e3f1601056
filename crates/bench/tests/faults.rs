//! A server that loses, doubles, reorders and misdelivers on purpose: all of it is counted, to the
//! message, whatever is spoken.

mod peer;

use peer::{Delivery, Script, serve};
use sockeye_bench::{Faults, Pace, Plan, Protocol, Report, Scenario, Target, Transport, run};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// Of the deliveries to each client the 21st is lost, the 31st comes twice, the 41st after the
/// 42nd, and the 51st goes to somebody else (`elsewhere`) or is left alone.
fn faulty(elsewhere: bool) -> Script {
    let held = Mutex::new(HashMap::new());
    Box::new(
        move |Delivery {
                  to,
                  number,
                  text,
                  stranger,
              }| {
            let as_is = (to, text.to_owned());
            let mut held = held.lock().unwrap();
            match number {
                20 => vec![],
                30 => vec![as_is.clone(), as_is],
                40 => {
                    held.insert(to, as_is);
                    vec![]
                }
                41 => std::iter::once(as_is).chain(held.remove(&to)).collect(),
                50 if elsewhere => vec![(stranger, text.to_owned())],
                _ => vec![as_is],
            }
        },
    )
}

fn load(protocol: Protocol, transport: Transport, scenario: Scenario, rooms: u32) -> Report {
    // Without rooms nobody is a stranger to a broadcast.
    let echo = matches!(scenario, Scenario::Rate { .. });
    let peer = serve(Some(faulty(echo || rooms > 0)));
    let target = Target::parse(&peer.url(), protocol).unwrap();
    let mut plan = Plan::new(target, scenario);
    plan.connections = 4;
    (plan.transport, plan.rooms) = (transport, rooms);
    plan.warmup = Duration::ZERO;
    plan.duration = Duration::from_millis(500);
    plan.settle = Duration::ZERO;
    plan.drain = Duration::from_millis(500);
    let report = run(&plan, &mut |_| {}).unwrap();
    assert_eq!(report.errors.total(), 0, "{report}");
    assert!(!report.is_clean());
    report
}

const WAYS: [(Protocol, Transport); 4] = [
    (Protocol::SocketIo, Transport::WebSocket),
    (Protocol::SocketIo, Transport::Polling),
    (Protocol::SocketIo, Transport::Upgrade),
    (Protocol::WebSocket, Transport::WebSocket),
];

#[test]
fn faults_of_echoes_are_counted() {
    for (protocol, transport) in WAYS {
        let report = load(protocol, transport, Scenario::Rate { per_second: 800.0 }, 0);
        let expected = Faults {
            lost: 8,
            duplicated: 4,
            reordered: 4,
            misdelivered: 4,
            corrupt: 0,
        };
        assert_eq!(
            report.faults, expected,
            "{protocol:?} {transport:?} {report}"
        );
    }
}

#[test]
fn faults_of_a_fan_out_are_counted() {
    let pace = Pace::PerSecond(200.0);
    // With one publisher a neighbour in time is a neighbour in sequence.
    let fanout = Scenario::Fanout {
        publishers: 1,
        pace,
    };
    for (protocol, transport) in WAYS {
        let report = load(protocol, transport, fanout, 0);
        let expected = Faults {
            lost: 4,
            duplicated: 4,
            reordered: 4,
            ..Faults::default()
        };
        assert_eq!(
            report.faults, expected,
            "{protocol:?} {transport:?} {report}"
        );
    }
}

#[test]
fn faults_between_rooms_are_counted() {
    let pace = Pace::PerSecond(400.0);
    // Two rooms of two, each with one publisher.
    let fanout = Scenario::Fanout {
        publishers: 2,
        pace,
    };
    for transport in [Transport::WebSocket, Transport::Polling] {
        let report = load(Protocol::SocketIo, transport, fanout, 2);
        let expected = Faults {
            lost: 8,
            duplicated: 4,
            reordered: 4,
            misdelivered: 4,
            corrupt: 0,
        };
        assert_eq!(report.faults, expected, "{transport:?} {report}");
    }
}
