//! Acknowledgements that clients owe.

use sockeye_core::{AckFailure, Key};

use crate::support::{Rig, Waiter};

fn expect(rig: &mut Rig, socket: Key, id: u64, timeout: u64) -> bool {
    let waiter = Waiter(id, rig.outcomes.clone());
    rig.shard.expect_ack(socket, id, timeout, waiter)
}

fn outcomes(rig: &Rig) -> Vec<(u64, Result<usize, AckFailure>)> {
    std::mem::take(&mut *rig.outcomes.borrow_mut())
}

#[test]
fn an_answer_resolves_its_own_waiter_once() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    // Ids beyond 32 bits are as good as small ones.
    let large = (1 << 53) - 1;
    for id in [1, 2, large] {
        assert!(expect(&mut rig, socket, id, 1_000));
    }
    rig.receive(session, &format!("43{large}[\"a\",\"b\"]"));
    rig.receive(session, "431[]");
    rig.receive(session, "431[]");
    rig.receive(session, "4399[]");
    assert_eq!(outcomes(&rig), [(large, Ok(2)), (1, Ok(0))]);
    rig.pass(1_000);
    assert_eq!(outcomes(&rig), [(2, Err(AckFailure::Timeout))]);
    assert_eq!(rig.shard.stats().ack_timeouts, 1);
    assert!(rig.lives(session));
}

#[test]
fn an_answer_on_another_namespace_is_no_answer() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    rig.join(session, "/chat");
    assert!(expect(&mut rig, socket, 1, 1_000));
    rig.receive(session, "43/chat,1[]");
    assert_eq!(outcomes(&rig), []);
}

#[test]
fn each_ends_at_its_own_deadline() {
    let mut rig = Rig::new();
    let (_, socket) = rig.client();
    let large = 7 << 40 | 3;
    for (id, timeout) in [(1, 300), (large, 100), (3, 200), (4, u64::MAX)] {
        assert!(expect(&mut rig, socket, id, timeout));
    }
    rig.pass(99);
    assert_eq!(outcomes(&rig), []);
    for id in [large, 3, 1] {
        rig.pass(1);
        assert_eq!(outcomes(&rig), [(id, Err(AckFailure::Timeout))]);
        rig.pass(99);
    }
    rig.pass(10_000);
    assert_eq!(outcomes(&rig), []);
}

#[test]
fn more_than_allowed_are_refused_at_once() {
    let mut rig = Rig::with(|config| config.max_pending_acks = 2);
    let (session, socket) = rig.client();
    assert!(expect(&mut rig, socket, 1, 1_000));
    assert!(expect(&mut rig, socket, 2, 1_000));
    assert!(!expect(&mut rig, socket, 3, 1_000));
    assert_eq!(outcomes(&rig), [(3, Err(AckFailure::Refused))]);
    assert_eq!(rig.shard.stats().limit_refusals, 1);
    rig.receive(session, "431[]");
    assert!(expect(&mut rig, socket, 4, 1_000));
}

#[test]
fn what_was_not_queued_is_not_waited_for() {
    let mut rig = Rig::new();
    let (_, socket) = rig.client();
    let before = rig.shard.timer_count();
    assert!(expect(&mut rig, socket, 1, 1_000));
    rig.shard.refuse_ack(socket, 1);
    rig.shard.refuse_ack(socket, 1);
    assert_eq!(outcomes(&rig), [(1, Err(AckFailure::Refused))]);
    assert_eq!(rig.shard.timer_count(), before);
}

#[test]
fn all_fail_when_the_socket_leaves_and_later_ones_at_once() {
    let mut rig = Rig::new();
    let (session, socket) = rig.client();
    for id in 1..=3 {
        assert!(expect(&mut rig, socket, id, 1_000));
    }
    rig.receive(session, "41");
    let gone = |id| (id, Err(AckFailure::Disconnected));
    assert_eq!(outcomes(&rig), [gone(1), gone(2), gone(3)]);
    assert!(!expect(&mut rig, socket, 4, 1_000));
    rig.finish();
    assert!(!expect(&mut rig, socket, 5, 1_000));
    assert_eq!(outcomes(&rig), [gone(4), gone(5)]);
    rig.shard.transport_closed(session, true);
    rig.assert_empty();
}
