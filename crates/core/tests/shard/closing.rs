//! The ends of a session: deadlines, closes from both sides, writes that make no progress.

use sockeye_core::{Effect, Queued};
use sockeye_protocol::engine::{CloseReason, PollOutcome, Transport};

use crate::support::{Rig, event};

#[test]
fn who_joins_no_namespace_in_time_is_closed() {
    let mut rig = Rig::with(|config| config.connect_timeout = 1_000);
    let (idle, (joined, _)) = (rig.websocket(), rig.client());
    rig.pass(999);
    assert!(rig.lives(idle));
    rig.pass(1);
    assert_eq!(rig.closed(), [(idle, CloseReason::ForcedClose)]);
    assert_eq!(rig.shard.stats().connect_timeouts, 1);
    rig.pass(10_000);
    assert!(rig.lives(joined));
}

#[test]
fn a_close_before_the_first_namespace_is_no_connect_timeout() {
    let mut rig = Rig::with(|config| config.connect_timeout = 1_000);
    let session = rig.open(Transport::Polling);
    rig.shard
        .close(session, CloseReason::ServerShuttingDown, "");
    rig.pass(29_999);
    assert!(rig.lives(session));
    rig.pass(1);
    assert_eq!(rig.closed(), [(session, CloseReason::ServerShuttingDown)]);
    assert_eq!(rig.shard.stats().connect_timeouts, 0);
    rig.assert_empty();
}

#[test]
fn a_shutdown_does_not_wait_long_for_polls_that_do_not_come() {
    let mut rig = Rig::with(|config| config.polling_close_timeout = 500);
    let (away, closing) = (rig.open(Transport::Polling), rig.open(Transport::Polling));
    let (here, (other, _)) = (rig.open(Transport::Polling), rig.client());
    rig.shard.close(closing, CloseReason::ForcedClose, "");
    rig.broadcast(&[], &[], "x");
    for session in [away, closing, here, other] {
        rig.shard.shut_down(session);
    }
    // Whoever comes for what is left gets it, and then the end.
    assert_eq!(rig.shard.poll_opened(here), PollOutcome::Accepted);
    assert_eq!(rig.closed(), [(here, CloseReason::ServerShuttingDown)]);
    rig.pass(499);
    assert!(rig.closed().is_empty());
    rig.pass(1);
    let mut closed = rig.closed();
    closed.sort_by_key(|(key, _)| key.to_bits());
    let mut expected = [
        (away, CloseReason::ServerShuttingDown),
        (closing, CloseReason::ForcedClose),
    ];
    expected.sort_by_key(|(key, _)| key.to_bits());
    assert_eq!(closed, expected);
    assert!(rig.lives(other), "a WebSocket has its own deadlines");
    assert_eq!(rig.read(other), [r#"42["x"]"#]);
    assert_eq!(rig.closed(), [(other, CloseReason::ServerShuttingDown)]);
    rig.assert_empty();
}

#[test]
fn a_blocked_connection_has_to_take_bytes_before_the_write_deadline() {
    let mut rig = Rig::with(|config| config.write_timeout = 1_000);
    let (stuck, _) = rig.client();
    let (slow, _) = rig.client();
    rig.shard.write_blocked(stuck);
    rig.shard.write_blocked(slow);
    rig.pass(900);
    // Each progress is worth a whole deadline; being refused again does not prolong it.
    rig.shard.write_progressed(slow);
    rig.shard.write_blocked(slow);
    rig.shard.write_blocked(stuck);
    rig.pass(99);
    assert!(rig.lives(stuck));
    rig.pass(1);
    assert_eq!(rig.closed(), [(stuck, CloseReason::TransportError)]);
    assert_eq!(rig.shard.stats().write_timeouts, 1);
    rig.shard.write_progressed(slow);
    rig.pass(5_000);
    assert!(rig.lives(slow), "nothing is blocked any more");
}

#[test]
fn a_close_lets_a_websocket_have_what_waits_first() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    assert!(rig.shard.send(socket, &event("last")).is_queued());
    rig.shard
        .close(session, CloseReason::ServerShuttingDown, "");
    rig.shard.drained(session);
    assert!(rig.lives(session), "something waits");
    assert_eq!(rig.shard.enqueue(session, &event("late")), Queued::Refused);
    // Further packets of the client are not looked at.
    rig.receive(session, "42[\"ignored\"]");
    assert_eq!(rig.read(session), ["42[\"last\"]"]);
    let effects = rig.take_effects();
    let [
        Effect::Disconnecting { socket: left, .. },
        Effect::Closed { reason, .. },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*left, *reason), (socket, CloseReason::ServerShuttingDown));
    rig.shard.finish_disconnect(socket);
    rig.assert_empty();
}

#[test]
fn a_close_over_polling_is_told_by_a_poll_of_its_own() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    let socket = rig.join(session, "/");
    assert!(rig.shard.send(socket, &event("last")).is_queued());
    rig.shard
        .close(session, CloseReason::ServerShuttingDown, "");
    assert_eq!(rig.read(session), ["42[\"last\"]"]);
    assert!(rig.lives(session), "the next poll is told");
    assert_eq!(rig.shard.poll_opened(session), PollOutcome::Accepted);
    assert!(!rig.lives(session));
    rig.assert_empty();
}

#[test]
fn a_polling_client_that_does_not_fetch_what_waits_is_a_slow_consumer() {
    let mut rig = Rig::with(|config| {
        config.write_timeout = 2_000;
        config.upgrade_timeout = 1_000;
    });
    let (fetches, idles) = (rig.open(Transport::Polling), rig.open(Transport::Polling));
    for session in [fetches, idles] {
        rig.join(session, "/");
        assert_eq!(rig.shard.enqueue(session, &event("e")), Queued::Queued);
        rig.shard.await_poll(session);
    }
    rig.pass(1_999);
    rig.read(fetches);
    rig.pass(1);
    assert_eq!(rig.closed(), [(idles, CloseReason::TransportError)]);
    assert_eq!(rig.shard.stats().write_timeouts, 1);
    // With nothing waiting a client may take its time: the heartbeat watches over it.
    rig.shard.await_poll(fetches);
    rig.pass(10_000);
    assert!(rig.lives(fetches));
}

#[test]
fn a_polling_client_that_does_not_come_back_is_closed_after_the_close_timeout() {
    let mut rig = Rig::with(|config| config.close_timeout = 2_000);
    let session = rig.open(Transport::Polling);
    rig.join(session, "/");
    rig.shard
        .close(session, CloseReason::ServerShuttingDown, "");
    // Closing twice neither prolongs the wait nor changes the reason.
    rig.pass(1_000);
    rig.shard.close(session, CloseReason::ForcedClose, "");
    rig.pass(999);
    assert!(rig.lives(session));
    rig.pass(1);
    assert_eq!(rig.closed(), [(session, CloseReason::ServerShuttingDown)]);
}

#[test]
fn a_session_that_drained_leaves_no_close_timer() {
    let mut rig = Rig::new();
    let (session, _) = rig.client();
    rig.shard
        .close(session, CloseReason::ServerShuttingDown, "");
    rig.shard.drained(session);
    rig.assert_empty();
}

#[test]
fn the_reasons_of_each_end_are_those_of_node() {
    type End = fn(&mut Rig, sockeye_core::Key);
    let ends: [(End, CloseReason); 7] = [
        (|rig, s| rig.receive(s, "1"), CloseReason::TransportClose),
        (|rig, s| rig.receive(s, "2"), CloseReason::TransportError),
        (|rig, s| rig.receive(s, "9"), CloseReason::ParseError),
        (|rig, s| rig.receive(s, "4x"), CloseReason::ParseError),
        (
            |rig, s| rig.shard.transport_closed(s, true),
            CloseReason::TransportClose,
        ),
        (
            |rig, s| rig.shard.transport_closed(s, false),
            CloseReason::TransportError,
        ),
        (|rig, s| rig.shard.overflow(s), CloseReason::TransportError),
    ];
    for (number, (end, reason)) in ends.into_iter().enumerate() {
        let mut rig = Rig::new();
        let (session, _) = rig.client();
        end(&mut rig, session);
        assert_eq!(rig.closed(), [(session, reason)], "end {number}");
    }
}

#[test]
fn a_session_that_is_gone_is_not_found_and_takes_nothing() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    let id = *rig.shard.session(session).unwrap().id();
    let name = rig.id(socket);
    assert_eq!(rig.shard.find_session(&id), Some(session));
    assert_eq!(rig.shard.find_socket(&name), Some(socket));
    rig.shard.transport_closed(session, true);
    assert_eq!(rig.shard.find_session(&id), None);
    assert_eq!(rig.shard.enqueue(session, &event("x")), Queued::Refused);
    assert_eq!(rig.shard.poll_opened(session), PollOutcome::Closed);
    rig.finish();
    assert_eq!(rig.shard.find_socket(&name), None);
    rig.assert_empty();
}
