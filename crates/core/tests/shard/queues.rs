//! What a connection takes, drops and refuses, and the sum of all that waits.

use std::sync::Arc;

use sockeye_core::{Class, Key, Message, Queued};
use sockeye_protocol::engine::{CloseReason, Transport};

use crate::support::{Rig, event, sized};

#[test]
fn a_full_connection_drops_volatile_first_refuses_then_and_ends_when_told() {
    let mut rig = Rig::with(|config| config.max_queued_bytes = 250);
    let (session, socket) = rig.client();
    let mut send = |class| rig.shard.send(socket, &sized(100, class));
    assert_eq!(send(Class::Volatile), Queued::Queued);
    assert_eq!(send(Class::Normal), Queued::Queued);
    assert_eq!(send(Class::Volatile), Queued::Dropped);
    assert_eq!(
        send(Class::Normal),
        Queued::Queued,
        "instead of the volatile one"
    );
    assert_eq!(send(Class::Normal), Queued::Refused);
    assert_eq!(rig.shard.take_full(), [session]);
    let control = rig.shard.send(socket, &sized(100, Class::Control));
    assert_eq!(control, Queued::Queued, "never refused");
    let stats = *rig.shard.stats();
    assert_eq!((stats.volatile_dropped, stats.slow_consumers), (2, 0));
    assert_eq!(rig.shard.queued_bytes(), 300);

    assert!(rig.lives(session), "the caller may write and try again");
    rig.shard.overflow(session);
    assert_eq!(rig.closed(), [(session, CloseReason::TransportError)]);
    assert_eq!(rig.shard.stats().slow_consumers, 1);
    assert_eq!(rig.shard.queued_bytes(), 0);
    rig.shard.overflow(session);
    assert_eq!(rig.shard.stats().slow_consumers, 1);
}

#[test]
fn volatile_is_dropped_while_the_kernel_refuses_bytes_and_not_for_the_turn() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    let volatile = sized(50, Class::Volatile);
    assert_eq!(rig.shard.send(socket, &volatile), Queued::Queued);
    assert_eq!(rig.shard.send(socket, &volatile), Queued::Queued);
    rig.shard.write_blocked(session);
    assert_eq!(rig.shard.send(socket, &volatile), Queued::Dropped);
    rig.shard.write_progressed(session);
    assert_eq!(rig.shard.send(socket, &volatile), Queued::Queued);
    assert_eq!(rig.shard.stats().volatile_dropped, 1);
}

#[test]
fn volatile_is_dropped_between_two_polls() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    let socket = rig.join(session, "/");
    let volatile = sized(50, Class::Volatile);
    assert_eq!(rig.shard.send(socket, &volatile), Queued::Dropped);
    rig.shard.poll_opened(session);
    assert_eq!(rig.shard.send(socket, &volatile), Queued::Queued);
}

#[test]
fn a_connection_is_dirty_once_however_much_it_gets() {
    let mut rig = Rig::new();
    let (a, (b, _)) = (rig.websocket(), rig.client());
    let take = |rig: &mut Rig| {
        let mut taken = Vec::new();
        rig.shard.take_dirty(&mut taken);
        taken
    };
    let begin = |rig: &mut Rig, key| rig.shard.begin_write(key).is_some();
    for key in take(&mut rig) {
        assert!(begin(&mut rig, key));
    }
    let queue = |rig: &mut Rig| {
        for _ in 0..3 {
            assert!(rig.shard.enqueue(b, &event("x")).is_queued());
            assert!(rig.shard.enqueue(a, &event("x")).is_queued());
        }
    };
    queue(&mut rig);
    assert!(rig.shard.is_dirty());
    assert_eq!(take(&mut rig), [b, a]);
    // Not until it is written to, and then again.
    queue(&mut rig);
    assert!(!rig.shard.is_dirty());
    assert!(begin(&mut rig, a) && begin(&mut rig, b));
    assert!(!begin(&mut rig, a), "nothing has come since");
    queue(&mut rig);
    assert_eq!(take(&mut rig), [b, a]);
    // One that is gone by then is not written to.
    rig.shard.close_now(a, CloseReason::ForcedClose, "");
    assert!(begin(&mut rig, b) && !begin(&mut rig, a));
}

/// A packet of one socket was once retried on a connection that had no room for the packet of
/// another, because the list of those had outlived its broadcast.
#[test]
fn a_connection_without_room_is_never_taken_for_one_that_lacks_the_next_packet() {
    let mut rig = Rig::with(|config| config.max_queued_bytes = 100);
    let (full, full_socket) = rig.client();
    let (other, other_socket) = rig.client();
    assert!(
        rig.shard
            .send(full_socket, &sized(100, Class::Normal))
            .is_queued()
    );
    let refused = rig.shard.send(full_socket, &sized(100, Class::Normal));
    assert_eq!(refused, Queued::Refused);
    // Nobody asks; the next packet is for somebody else.
    assert!(rig.shard.send(other_socket, &event("secret")).is_queued());
    assert_eq!(rig.shard.take_full(), []);
    assert_eq!(rig.closed(), [(full, CloseReason::TransportError)]);
    assert!(rig.lives(other));
}

#[test]
fn a_broadcast_counts_and_names_who_had_no_room() {
    let mut rig = Rig::with(|config| config.max_queued_bytes = 100);
    let (full, socket) = rig.client();
    let _ = rig.client();
    assert!(
        rig.shard
            .send(socket, &sized(100, Class::Normal))
            .is_queued()
    );
    let message = sized(100, Class::Normal);
    let delivery = rig.shard.broadcast("/", Default::default(), &message);
    assert_eq!((delivery.queued, delivery.refused), (1, 1));
    assert_eq!(rig.shard.take_full(), [full]);
    let volatile = sized(100, Class::Volatile);
    let delivery = rig.shard.broadcast("/", Default::default(), &volatile);
    assert_eq!((delivery.queued, delivery.dropped), (0, 2));
    assert_eq!(rig.shard.take_full(), []);
}

#[test]
fn a_full_shard_leaves_each_connection_its_share_and_ends_those_who_hoard() {
    let mut rig = Rig::with(|config| config.max_total_queued_bytes = 1_000);
    let clients: Vec<(Key, Key)> = (0..4).map(|_| rig.client()).collect();
    let (hoarder, hoarding) = clients[0];
    for _ in 0..10 {
        assert!(
            rig.shard
                .send(hoarding, &sized(100, Class::Normal))
                .is_queued()
        );
    }
    assert_eq!(rig.shard.queued_bytes(), 1_000);
    let volatile = rig.shard.send(hoarding, &sized(100, Class::Volatile));
    assert_eq!(volatile, Queued::Dropped);
    let normal = rig.shard.send(hoarding, &sized(100, Class::Normal));
    assert_eq!(normal, Queued::Refused);
    assert_eq!(rig.shard.take_full(), [hoarder]);
    assert_eq!(rig.shard.stats().total_queue_refusals, 2);
    // A quarter of the total is the share of each of four.
    let (_, modest) = clients[1];
    for _ in 0..2 {
        assert!(
            rig.shard
                .send(modest, &sized(100, Class::Normal))
                .is_queued()
        );
    }
    assert_eq!(
        rig.shard.send(modest, &sized(100, Class::Normal)),
        Queued::Refused
    );
    assert_eq!(rig.shard.stats().total_queue_refusals, 3);
    rig.shard.take_full();
    // With those who hoard gone there is room again.
    rig.shard.overflow(hoarder);
    assert_eq!(rig.shard.queued_bytes(), 200);
    for _ in 0..8 {
        assert!(
            rig.shard
                .send(modest, &sized(100, Class::Normal))
                .is_queued()
        );
    }
    assert_eq!(rig.shard.stats().total_queue_refusals, 3);
}

#[test]
fn the_total_follows_whoever_empties_a_queue() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    let polling = rig.open(Transport::Polling);
    rig.join(polling, "/");
    for _ in 0..5 {
        rig.broadcast(&[], &[], "12345");
        let _ = rig.shard.send(socket, &sized(20, Class::Normal));
    }
    let each = event("12345").cost();
    assert_eq!(rig.shard.queued_bytes(), 10 * each + 100);
    let state = rig.shard.session_mut(session).unwrap();
    state.out.pop();
    state.out.pop();
    state.out.set_held(7);
    assert_eq!(rig.shard.queued_bytes(), 9 * each + 80 + 7);
    rig.read(polling);
    assert_eq!(rig.shard.queued_bytes(), 4 * each + 80 + 7);
    rig.shard.transport_closed(session, false);
    assert_eq!(rig.shard.queued_bytes(), 0);
}

#[test]
fn a_later_message_replaces_a_waiting_one_of_its_key() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    for price in ["1", "2", "3"] {
        let message = Message::text(price, Class::Normal).with_conflation_key("price".into());
        assert!(rig.shard.send(socket, &Arc::new(message)).is_queued());
    }
    assert_eq!(rig.read(session), ["3"]);
    assert_eq!(rig.shard.queued_bytes(), 0);
}
