//! From polling to WebSocket: the probe, the polls it frees, the deadline, the switch.

use sockeye_core::{Effect, Key, ProbeReply};
use sockeye_protocol::engine::{CloseReason, PollOutcome, Transport};

use crate::support::{Rig, event};

fn polling(rig: &mut Rig) -> Key {
    let session = rig.open(Transport::Polling);
    rig.join(session, "/");
    session
}

#[test]
fn held_polls_are_freed_by_noops_every_hundred_milliseconds() {
    let mut rig = Rig::new();
    let session = polling(&mut rig);
    assert_eq!(rig.shard.poll_opened(session), PollOutcome::Accepted);
    assert!(rig.shard.probe_opened(session));
    assert_eq!(rig.shard.take_payload(session, 1000), None);
    assert_eq!(rig.shard.probe_text(session, "2probe"), ProbeReply::Pong);
    assert_eq!(rig.read(session), ["6"]);
    for _ in 0..5 {
        rig.shard.poll_opened(session);
        rig.pass(99);
        assert_eq!(rig.shard.take_payload(session, 1000), None);
        rig.pass(1);
        assert_eq!(rig.read(session), ["6"]);
    }
    assert_eq!(rig.shard.probe_text(session, "5"), ProbeReply::Switch);
    let engine = *rig.shard.session(session).unwrap().engine();
    assert_eq!(engine.transport(), Transport::WebSocket);
    assert_eq!(rig.shard.stats().upgrades, 1);
    assert_eq!(rig.shard.timer_count(), 1, "the heartbeat alone");
}

#[test]
fn what_waits_at_the_switch_leaves_on_the_websocket_in_order() {
    let mut rig = Rig::new();
    let session = polling(&mut rig);
    rig.broadcast(&[], &[], "a");
    rig.shard.probe_opened(session);
    rig.shard.probe_text(session, "2probe");
    rig.broadcast(&[], &[], "b");
    rig.shard.probe_text(session, "5");
    rig.broadcast(&[], &[], "c");
    let texts = ["42[\"a\"]", "42[\"b\"]", "42[\"c\"]"];
    assert_eq!(rig.read(session), texts);
}

#[test]
fn an_upgrade_that_takes_too_long_is_given_up_and_polling_goes_on() {
    let mut rig = Rig::with(|config| config.upgrade_timeout = 1_000);
    let session = polling(&mut rig);
    rig.shard.probe_opened(session);
    rig.shard.probe_text(session, "2probe");
    rig.pass(999);
    assert!(
        rig.take_effects()
            .iter()
            .all(|e| !matches!(e, Effect::EndProbe { .. }))
    );
    rig.pass(1);
    let effects = rig.take_effects();
    assert!(matches!(effects[..], [Effect::EndProbe { session: s }] if s == session));
    assert_eq!(rig.shard.stats().upgrades_failed, 1);
    assert_eq!(rig.shard.timer_count(), 1, "the heartbeat alone");
    // The task of the probe learns of it and says so: that is no second failure.
    rig.shard.probe_closed(session);
    assert_eq!(rig.shard.stats().upgrades_failed, 1);
    rig.broadcast(&[], &[], "still here");
    assert_eq!(rig.read(session), ["42[\"still here\"]"]);
    assert!(rig.shard.probe_opened(session), "it may try again");
}

/// A client that repeats its probe once armed one more timer each time, and each of them armed
/// itself again every 100 ms until the upgrade was over.
#[test]
fn a_flood_of_probes_arms_one_timer() {
    let mut rig = Rig::new();
    let session = polling(&mut rig);
    rig.shard.probe_opened(session);
    for _ in 0..1_000 {
        assert_eq!(rig.shard.probe_text(session, "2probe"), ProbeReply::Pong);
    }
    assert_eq!(rig.shard.timer_count(), 3, "heartbeat, timeout, noop");
    rig.pass(350);
    assert_eq!(rig.shard.timer_count(), 3);
    for _ in 0..10 {
        rig.shard.probe_closed(session);
        rig.shard.probe_opened(session);
        rig.shard.probe_text(session, "2probe");
    }
    assert_eq!(rig.shard.timer_count(), 3);
}

#[test]
fn a_probe_that_says_something_else_has_failed_at_once() {
    for wrong in ["4message", "2", "garbage", ""] {
        let mut rig = Rig::new();
        let session = polling(&mut rig);
        rig.shard.probe_opened(session);
        assert_eq!(rig.shard.probe_text(session, wrong), ProbeReply::Close);
        assert_eq!(rig.shard.stats().upgrades_failed, 1, "{wrong}");
        assert_eq!(rig.shard.timer_count(), 1, "{wrong}");
        assert!(rig.lives(session));
    }
}

#[test]
fn one_probe_at_a_time_and_none_on_a_websocket() {
    let mut rig = Rig::new();
    let session = polling(&mut rig);
    assert!(rig.shard.probe_opened(session));
    assert!(!rig.shard.probe_opened(session));
    let (session, _) = rig.client();
    assert!(!rig.shard.probe_opened(session));
    assert!(!rig.shard.probe_opened(Key::NONE));
}

#[test]
fn a_session_that_ends_while_it_upgrades_leaves_no_timer() {
    let mut rig = Rig::new();
    let session = polling(&mut rig);
    rig.shard.probe_opened(session);
    rig.shard.probe_text(session, "2probe");
    rig.shard
        .close_now(session, CloseReason::ForcedServerClose, "");
    rig.assert_empty();
}

#[test]
fn a_session_that_was_closing_at_the_switch_writes_what_waits_and_ends() {
    let mut rig = Rig::new();
    let session = polling(&mut rig);
    let socket = rig.shard.session(session).map(|_| ()).and(Some(session));
    assert!(socket.is_some());
    assert!(rig.shard.enqueue(session, &event("last")).is_queued());
    rig.shard.probe_opened(session);
    rig.shard.probe_text(session, "2probe");
    rig.shard.close(session, CloseReason::ForcedServerClose, "");
    assert_eq!(rig.shard.probe_text(session, "5"), ProbeReply::Switch);
    assert_eq!(rig.read(session), ["42[\"last\"]"]);
    assert_eq!(rig.closed(), [(session, CloseReason::ForcedServerClose)]);
    rig.assert_empty();
}
