//! Events of one socket: one at a time, in order, and bounded by not reading.

use sockeye_core::{Effect, Key};
use sockeye_protocol::engine::CloseReason;

use crate::support::{Rig, Waiter};

fn resumed(rig: &mut Rig, session: Key) -> bool {
    let effects = rig.take_effects();
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Resume { session: s } if *s == session))
}

#[test]
fn events_are_handed_out_one_at_a_time_and_in_order() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    for name in ["a", "b", "c"] {
        rig.receive(session, &format!("42[\"{name}\"]"));
    }
    let events = rig.events();
    assert_eq!(events.len(), 1);
    let mut seen = vec![events[0].1.event.to_string()];
    while let Some(packet) = rig.shard.next_event(socket) {
        seen.push(packet.event.to_string());
    }
    assert_eq!(seen, ["a", "b", "c"]);
    assert_eq!(rig.shard.stats().events, 3);
    rig.receive(session, "42[\"d\"]");
    assert_eq!(rig.events().len(), 1, "it is idle again");
}

#[test]
fn events_wait_for_the_connection_handler() {
    let mut rig = Rig::new();
    let session = rig.websocket();
    let socket = rig.connect(session, "/");
    rig.receive(session, "42[\"early\"]");
    assert!(rig.events().is_empty());
    let next = rig.shard.next_event(socket);
    assert_eq!(next.unwrap().event.as_str(), "early");
}

#[test]
fn reading_stops_at_the_bound_and_resumes_at_half() {
    let mut rig = Rig::with(|config| config.max_waiting_events = 4);
    let (session, socket) = rig.client();
    let paused = |rig: &Rig| rig.shard.session(session).unwrap().is_paused();
    for n in 0..4 {
        rig.receive(session, &format!("42[\"{n}\"]"));
        assert!(!paused(&rig));
    }
    rig.receive(session, "42[\"4\"]");
    assert!(paused(&rig));
    // What one read has brought is kept all the same.
    rig.receive(session, "42[\"5\"]");
    assert_eq!(rig.shard.stats().pauses, 1);
    rig.take_effects();
    let mut names = Vec::new();
    while !resumed(&mut rig, session) {
        names.push(rig.shard.next_event(socket).unwrap().event.to_string());
        assert_eq!(paused(&rig), !rig.shard.has_effects());
    }
    assert_eq!(
        names,
        ["1", "2", "3", "4"],
        "one of four waits: half is two"
    );
    assert!(!paused(&rig));
}

#[test]
fn bytes_that_wait_are_bounded_too() {
    let mut rig = Rig::with(|config| config.max_waiting_bytes = 1_000);
    let (session, _) = rig.client();
    let large = format!("42[\"a\",\"{}\"]", "x".repeat(1_000));
    rig.receive(session, &large);
    assert!(!rig.shard.session(session).unwrap().is_paused(), "it runs");
    rig.receive(session, &large);
    assert!(rig.shard.session(session).unwrap().is_paused());
}

#[test]
fn acks_pongs_and_disconnects_pass_the_events_that_wait() {
    let mut rig = Rig::with(|config| config.ping_interval = 1_000);
    let (session, socket) = rig.client();
    rig.receive(session, "42[\"slow\"]");
    rig.receive(session, "42[\"waits\"]");
    let waiter = Waiter(1, rig.outcomes.clone());
    rig.shard.expect_ack(socket, 1, 5_000, waiter);
    rig.receive(session, "431[]");
    assert_eq!(rig.outcomes.borrow().len(), 1);
    rig.pass(1_000);
    rig.receive(session, "3");
    rig.pass_unjudged(20_500);
    assert!(!rig.shard.has_suspects(), "the pong was heard");
    rig.take_effects();
    rig.receive(session, "41");
    let left = rig.finish();
    assert_eq!(left, [(socket, CloseReason::ClientNamespaceDisconnect)]);
    assert_eq!(rig.shard.stats().events_dropped, 1);
    assert!(rig.shard.next_event(socket).is_none());
}

#[test]
fn a_connection_resumes_only_when_all_its_sockets_have_caught_up() {
    let mut rig = Rig::with(|config| config.max_waiting_events = 2);
    let (session, main) = rig.client();
    let chat = rig.join(session, "/chat");
    for _ in 0..3 {
        rig.receive(session, "42[\"a\"]");
        rig.receive(session, "42/chat,[\"b\"]");
    }
    rig.take_effects();
    for _ in 0..2 {
        rig.shard.next_event(main);
    }
    assert!(!resumed(&mut rig, session), "the other one has not");
    rig.receive(session, "41/chat,");
    assert!(
        resumed(&mut rig, session),
        "one that leaves holds nobody up"
    );
    assert!(rig.shard.next_event(chat).is_none());
}

#[test]
fn nothing_is_handled_once_the_socket_is_leaving() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    rig.receive(session, "42[\"runs\"]");
    rig.receive(session, "42[\"waits\"]");
    rig.take_effects();
    rig.shard.disconnect(socket);
    rig.receive(session, "42[\"late\"]");
    assert!(rig.shard.next_event(socket).is_none());
    assert!(rig.events().is_empty());
}
