//! What is told of a session that is watched, and of no other.

use sockeye_core::{Effect, EngineEvent, Key};
use sockeye_protocol::engine::{CloseReason, Transport};

use crate::support::Rig;

/// What the shard tells of a session, as text. Other effects are dropped.
fn told(rig: &mut Rig, of: Key) -> Vec<String> {
    let mut told = Vec::new();
    for effect in rig.take_effects() {
        let Effect::Engine { session, event } = effect else {
            continue;
        };
        assert_eq!(session, of);
        told.push(match event {
            EngineEvent::Packet(kind, data) => format!("packet {} {data:?}", kind as char),
            EngineEvent::PacketCreated(message) => {
                format!("created {}", String::from_utf8_lossy(message.payload()))
            }
            EngineEvent::Closed(reason, _) => format!("closed {}", reason.as_str()),
            other => format!("{other:?}").to_lowercase(),
        });
    }
    told
}

#[test]
fn a_session_on_polling_that_upgrades_is_told_of_in_order() {
    let mut rig = Rig::with(|config| config.ping_interval = 1_000);
    let (session, other) = (rig.open(Transport::Polling), rig.open(Transport::Polling));
    for session in [session, other] {
        rig.join(session, "/");
    }
    assert!(told(&mut rig, session).is_empty(), "nobody watches");
    assert!(rig.shard.watch(session));

    rig.broadcast(&[], &[], "a");
    rig.broadcast(&[], &[], "b");
    assert_eq!(
        told(&mut rig, session),
        [r#"created 42["a"]"#, r#"created 42["b"]"#],
        "no poll is open: nothing is written"
    );
    rig.read(session);
    assert_eq!(told(&mut rig, session), ["flushing(2)", "drained"]);
    rig.read(session);
    assert!(told(&mut rig, session).is_empty(), "nothing waited");

    rig.receive(session, "42[\"x\"]");
    assert_eq!(told(&mut rig, session), [r#"packet 4 Text("2[\"x\"]")"#]);

    assert!(rig.shard.probe_opened(session));
    rig.shard.probe_text(session, "2probe");
    // The poll that is held, freed by a noop, counts like any other.
    rig.read(session);
    rig.shard.probe_text(session, "5");
    let upgrade = told(&mut rig, session);
    let noop = ["created 6", "flushing(1)", "drained"];
    let own: Vec<_> = upgrade
        .iter()
        .filter(|line| !noop.contains(&line.as_str()))
        .collect();
    assert_eq!(own, ["upgrading", "upgraded"]);

    rig.pass(1_000);
    assert_eq!(told(&mut rig, session), ["created 2"]);
    rig.shard.take_dirty(&mut Vec::new());
    assert!(rig.shard.begin_write(session).is_some());
    rig.read(session);
    rig.receive(session, "3");
    assert_eq!(
        told(&mut rig, session),
        [
            "flushing(1)",
            "drained",
            r#"packet 3 Text("")"#,
            "heartbeat"
        ]
    );
    rig.shard.transport_closed(session, true);
    assert_eq!(told(&mut rig, session), ["closed transport close"]);
    assert!(!rig.shard.watch(session));
}

#[test]
fn a_session_that_is_watched_no_more_is_not_told_of() {
    let mut rig = Rig::new();
    let (session, _) = rig.client();
    assert!(rig.shard.watch(session));
    rig.shard.unwatch(session);
    rig.broadcast(&[], &[], "a");
    rig.shard.take_dirty(&mut Vec::new());
    assert!(rig.shard.begin_write(session).is_some());
    rig.read(session);
    rig.shard.close_now(session, CloseReason::ForcedClose, "");
    assert!(told(&mut rig, session).is_empty());
}
