//! Faults told apart by hand, and against a model that remembers everything.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

/// `messages` from one publisher, as they arrive at one of two receivers without any fault.
fn perfect(messages: u32) -> (History, Vec<u32>) {
    let mut history = History::new(Audience::Everyone, 1, 1);
    let order = (0..messages).map(|_| history.publish(0)).collect();
    (history, order)
}

fn replay(mut history: History, order: &[u32]) -> Faults {
    for &sequence in order {
        history.receive(0, 0, sequence);
    }
    history.faults()
}

#[test]
fn each_fault_is_told_from_the_others() {
    let (history, order) = perfect(100);
    assert!(replay(history, &order).is_clean());

    let (history, mut order) = perfect(100);
    order.remove(40);
    assert_eq!(
        replay(history, &order),
        Faults {
            lost: 1,
            ..Faults::default()
        }
    );

    let (history, mut order) = perfect(100);
    order.truncate(97);
    assert_eq!(
        replay(history, &order),
        Faults {
            lost: 3,
            ..Faults::default()
        }
    );

    let (history, mut order) = perfect(100);
    order.insert(60, 40);
    assert_eq!(
        replay(history, &order),
        Faults {
            duplicated: 1,
            ..Faults::default()
        }
    );

    let (history, mut order) = perfect(100);
    order.swap(40, 41);
    assert_eq!(
        replay(history, &order),
        Faults {
            reordered: 1,
            ..Faults::default()
        }
    );

    let (history, mut order) = perfect(100);
    order.push(100);
    assert_eq!(
        replay(history, &order),
        Faults {
            corrupt: 1,
            ..Faults::default()
        }
    );
}

#[test]
fn what_belongs_to_others_is_misdelivered() {
    let mut echo = History::new(Audience::Sender, 3, 3);
    let sequence = echo.publish(1);
    assert_eq!(echo.receive(2, 1, sequence), Verdict::Misdelivered);
    assert_eq!(echo.receive(1, 1, sequence), Verdict::InOrder);
    assert_eq!(
        echo.faults(),
        Faults {
            misdelivered: 1,
            ..Faults::default()
        }
    );

    let mut room = History::new(Audience::Members(vec![true, false]), 3, 1);
    let sequence = room.publish(0);
    assert_eq!(room.receive(0, 0, sequence), Verdict::InOrder);
    assert_eq!(room.receive(1, 0, sequence), Verdict::Misdelivered);
    assert_eq!(room.receive(2, 0, sequence), Verdict::Misdelivered);
    assert_eq!(
        room.faults(),
        Faults {
            misdelivered: 2,
            ..Faults::default()
        }
    );
}

#[test]
fn rooms_keep_to_themselves() {
    // Receivers 0 and 1 in room 0, 2 in room 1, 3 in none; publishers 0 and 2 in room 0.
    let audience = Audience::Rooms {
        receivers: vec![Some(0), Some(0), Some(1), None],
        publishers: vec![0, 1, 0],
    };
    let mut history = History::new(audience, 4, 3);
    for publisher in [0, 1, 2, 2] {
        history.publish(publisher);
    }
    assert_eq!(history.missing(), 2 + 1 + 2 + 2);
    for (receiver, publisher, sequence, verdict) in [
        (0, 0, 0, Verdict::InOrder),
        (1, 0, 0, Verdict::InOrder),
        (0, 2, 1, Verdict::Ahead),
        (0, 2, 0, Verdict::Late),
        (1, 2, 0, Verdict::InOrder),
        (2, 1, 0, Verdict::InOrder),
        (2, 0, 0, Verdict::Misdelivered),
        (3, 1, 0, Verdict::Misdelivered),
    ] {
        assert_eq!(history.receive(receiver, publisher, sequence), verdict);
    }
    let faults = history.faults();
    let expected = Faults {
        lost: 1,
        reordered: 1,
        misdelivered: 2,
        ..Faults::default()
    };
    assert_eq!(faults, expected);
}

#[test]
fn a_deafened_publisher_shall_not_hear_itself() {
    let mut history = History::new(Audience::Everyone, 3, 1);
    history.deafen(vec![1]);
    let sequence = history.publish(0);
    assert_eq!(history.missing(), 2);
    assert_eq!(history.receive(0, 0, sequence), Verdict::InOrder);
    assert_eq!(history.receive(1, 0, sequence), Verdict::Misdelivered);
    assert_eq!(history.receive(2, 0, sequence), Verdict::InOrder);
    assert_eq!(history.missing(), 0);
}

#[test]
fn who_leaves_misses_nothing_and_who_returns_gets_what_is_new() {
    let mut history = History::new(Audience::Everyone, 2, 1);
    for _ in 0..4 {
        history.publish(0);
    }
    history.receive(0, 0, 0);
    history.receive(0, 0, 2);
    history.leave(0);
    assert_eq!((history.excused(), history.missing()), (2, 4));
    assert_eq!(history.receive(0, 0, 3), Verdict::Misdelivered);
    history.publish(0);
    history.join(0);
    assert_eq!(history.missing(), 5, "only the other one misses anything");
    history.publish(0);
    // The fifth was on its way when it joined; then nothing may be missing.
    assert_eq!(history.receive(0, 0, 4), Verdict::InOrder);
    assert_eq!(history.receive(0, 0, 5), Verdict::InOrder);
    assert_eq!(history.receive(0, 0, 4), Verdict::Duplicate);

    let mut late = History::new(Audience::Everyone, 1, 1);
    late.publish(0);
    late.join(0);
    late.publish(0);
    late.publish(0);
    assert_eq!(late.receive(0, 0, 2), Verdict::Ahead);
    assert_eq!(
        late.missing(),
        1,
        "published after it joined, and not delivered"
    );
}

#[test]
fn a_spared_receiver_is_not_asked_for_what_it_misses() {
    let mut history = History::new(Audience::Everyone, 2, 1);
    history.spare(1);
    for _ in 0..3 {
        history.publish(0);
    }
    assert_eq!((history.missing(), history.missing_spared()), (3, 3));
    assert_eq!(history.receive(1, 0, 2), Verdict::Ahead);
    assert_eq!(history.receive(1, 0, 0), Verdict::Late);
    assert_eq!(history.missing_spared(), 1);
    let faults = history.faults();
    assert_eq!((faults.lost, faults.reordered), (3, 1));
}

#[test]
fn strangers_are_not_believed() {
    let mut history = History::new(Audience::Everyone, 1, 1);
    let sequence = history.publish(0);
    assert_eq!(history.receive(0, 1, sequence), Verdict::Unknown);
    assert_eq!(history.receive(1, 0, sequence), Verdict::Unknown);
    assert_eq!(history.receive(0, 0, u32::MAX), Verdict::Unknown);
    history.receive_damaged();
    assert_eq!(
        history.faults(),
        Faults {
            lost: 1,
            corrupt: 4,
            ..Faults::default()
        }
    );
}

#[test]
fn every_second_message_missing_stays_bounded_and_counted() {
    let messages = 10 * MAX_GAPS as u32;
    let (history, order) = perfect(messages);
    let odd: Vec<u32> = order
        .into_iter()
        .filter(|sequence| sequence % 2 == 1)
        .collect();
    assert_eq!(u64::from(messages / 2), replay(history, &odd).lost);
}

proptest! {
    /// Against a model that remembers everything: any sequence of arrivals.
    #[test]
    fn agrees_with_a_model(
        published in 1u32..60,
        arrivals in proptest::collection::vec(0u32..60, 0..120),
    ) {
        let (mut history, _) = perfect(published);
        let (mut seen, mut highest) = (HashSet::new(), None);
        let mut expected = Faults::default();
        for sequence in arrivals {
            let verdict = history.receive(0, 0, sequence);
            if sequence >= published {
                expected.corrupt += 1;
                prop_assert_eq!(verdict, Verdict::Unknown);
            } else if !seen.insert(sequence) {
                expected.duplicated += 1;
                prop_assert_eq!(verdict, Verdict::Duplicate);
            } else if highest.is_some_and(|highest| sequence < highest) {
                expected.reordered += 1;
                prop_assert_eq!(verdict, Verdict::Late);
            } else {
                prop_assert!(verdict.is_delivery());
                highest = Some(sequence);
            }
        }
        expected.lost = u64::from(published) - seen.len() as u64;
        prop_assert_eq!(history.faults(), expected);
    }

    /// Any order of a complete delivery loses and doubles nothing, on every receiver.
    #[test]
    fn any_order_is_complete(order in Just((0u32..50).collect::<Vec<_>>()).prop_shuffle()) {
        let mut history = History::new(Audience::Everyone, 3, 2);
        for _ in 0..50 {
            history.publish(0);
            history.publish(1);
        }
        for receiver in 0..3 {
            for &sequence in &order {
                prop_assert!(history.receive(receiver, 0, sequence).is_delivery());
            }
            for sequence in 0..50 {
                prop_assert_eq!(history.receive(receiver, 1, sequence), Verdict::InOrder);
            }
        }
        let faults = history.faults();
        prop_assert_eq!(Faults { reordered: 0, ..faults }, Faults::default());
        let descents = {
            let mut highest = 0;
            order.iter().filter(|&&s| { let late = s < highest; highest = highest.max(s); late }).count()
        };
        prop_assert_eq!(faults.reordered, 3 * descents as u64);
    }
}
