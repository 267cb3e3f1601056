//! Engine.IO v4: the server pings, the client answers, or is taken for dead.

use sockeye_core::Key;
use sockeye_protocol::engine::{CloseReason, Transport};

use crate::support::Rig;

/// The time until the next ping is queued, looking every millisecond.
fn until_ping(rig: &mut Rig, session: Key, most: u64) -> u64 {
    for passed in 0..=most {
        if rig.read(session) == ["2"] {
            return passed;
        }
        rig.pass_unjudged(1);
    }
    panic!("no ping within {most} ms");
}

#[test]
fn the_first_ping_comes_after_exactly_one_interval() {
    for transport in [Transport::WebSocket, Transport::Polling] {
        let mut rig = Rig::with(|config| config.ping_interval = 1_000);
        let session = rig.open(transport);
        assert_eq!(until_ping(&mut rig, session, 2_000), 1_000);
    }
}

#[test]
fn long_intervals_are_never_cut_short_and_a_hundredth_late_at_most() {
    let mut rig = Rig::new();
    rig.pass(33);
    let session = rig.websocket();
    rig.join(session, "/");
    rig.pass(24_999);
    assert!(rig.read(session).is_empty());
    assert!(until_ping(&mut rig, session, 250) >= 1);
}

#[test]
fn a_pong_brings_the_next_ping_and_a_herd_spreads() {
    let mut rig = Rig::with(|config| config.ping_interval = 1_000);
    let sessions: Vec<_> = (0..50).map(|_| rig.websocket()).collect();
    rig.pass(1_000);
    for session in &sessions {
        assert_eq!(rig.read(*session), ["2"]);
        rig.receive(*session, "3");
    }
    rig.pass(999);
    assert!(sessions.iter().all(|s| rig.read(*s).is_empty()));
    let mut pinged_at = std::collections::BTreeSet::new();
    let mut pinged = 0;
    for ms in 1_000..=1_100 {
        rig.pass(1);
        for session in &sessions {
            if !rig.read(*session).is_empty() {
                pinged_at.insert(ms);
                pinged += 1;
            }
        }
    }
    assert_eq!(pinged, 50, "the spread is a tenth of the interval at most");
    assert!(pinged_at.len() > 10, "{pinged_at:?}");
}

#[test]
fn an_overdue_pong_makes_a_suspect_that_is_judged_only_when_asked() {
    let mut rig = Rig::with(|config| {
        config.ping_interval = 1_000;
        config.ping_timeout = 500;
    });
    let (silent, late) = (rig.websocket(), rig.websocket());
    rig.pass_unjudged(1_499);
    assert!(!rig.shard.has_suspects());
    rig.pass_unjudged(1);
    assert!(rig.shard.has_suspects());
    rig.pass_unjudged(100);
    assert!(rig.lives(silent) && rig.lives(late));
    // What was readable is read before the verdict.
    rig.receive(late, "3");
    rig.shard.judge();
    assert_eq!(rig.closed(), [(silent, CloseReason::PingTimeout)]);
    assert!(rig.lives(late));
    assert_eq!(rig.shard.stats().ping_timeouts, 1);
    assert!(!rig.shard.has_suspects());
}

#[test]
fn a_pong_that_nobody_asked_for_changes_nothing() {
    let mut rig = Rig::with(|config| config.ping_interval = 1_000);
    let session = rig.websocket();
    rig.pass(600);
    rig.receive(session, "3");
    assert_eq!(until_ping(&mut rig, session, 2_000), 400);
}

#[test]
fn while_we_do_not_read_nobody_dies_and_reading_gives_a_new_deadline() {
    let mut rig = Rig::with(|config| {
        config.ping_interval = 1_000;
        config.ping_timeout = 500;
    });
    let session = rig.websocket();
    rig.pass(1_200);
    rig.shard.pause(session);
    rig.pass(40_000);
    assert!(rig.lives(session));
    rig.shard.resume(session);
    rig.pass(499);
    assert!(rig.lives(session));
    rig.pass(1);
    assert_eq!(rig.closed(), [(session, CloseReason::PingTimeout)]);
    assert_eq!(rig.shard.timer_count(), 0);
}

#[test]
fn the_switch_of_transports_starts_the_deadline_of_a_ping_anew() {
    let mut rig = Rig::with(|config| {
        config.ping_interval = 1_000;
        config.ping_timeout = 500;
    });
    let session = rig.open(Transport::Polling);
    rig.pass(1_400);
    assert!(rig.shard.probe_opened(session));
    rig.shard.probe_text(session, "2probe");
    rig.shard.probe_text(session, "5");
    rig.pass(499);
    assert!(rig.lives(session));
    rig.pass(1);
    assert_eq!(rig.closed(), [(session, CloseReason::PingTimeout)]);
}

#[test]
fn a_session_that_is_closing_is_neither_pinged_nor_reaped_for_it() {
    let mut rig = Rig::with(|config| {
        config.ping_interval = 1_000;
        config.ping_timeout = 500;
        config.close_timeout = 10_000;
    });
    let session = rig.open(Transport::Polling);
    rig.join(session, "/");
    rig.shard
        .close(session, CloseReason::ServerShuttingDown, "");
    // It is waited for as long as a heartbeat would take to find it dead: not for all of the
    // close timeout, or every client that is sent away and never polls again is held for long.
    rig.pass(1_499);
    assert!(rig.lives(session));
    rig.pass(1);
    assert_eq!(rig.closed(), [(session, CloseReason::ServerShuttingDown)]);
    assert_eq!(rig.shard.stats().ping_timeouts, 0);
    rig.assert_empty();
}
