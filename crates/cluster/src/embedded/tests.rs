use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::contract::{self, Harness};

const NSP: &str = "/";

struct InMemory {
    store: Embedded,
    now_ms: u64,
}

impl Harness for InMemory {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    async fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }
}

fn in_memory() -> InMemory {
    InMemory {
        store: Embedded::new(EmbeddedConfig::default(), 0xfeed),
        now_ms: 1_000_000,
    }
}

/// Runs a future that never waits.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the embedded engine made somebody wait"),
    }
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            at_once(contract::$name(&mut in_memory()));
        }
    )*};
}

contract!(
    offsets_grow,
    missed_packets_come_in_order_and_once,
    rooms_and_exceptions_choose,
    sessions_and_packets_come_back_whole,
    a_session_is_used_once,
    a_recovered_session_may_go_again,
    unknown_sessions_are_not_recovered,
    unknown_offsets_are_not_recovered,
    offsets_never_sent_are_not_recovered,
    sessions_expire,
    lossy_sessions_are_not_recovered,
    forgotten_sessions_are_not_recovered,
    a_room_left_is_not_guessed_at,
    a_client_without_an_offset_starts_where_it_connected,
);

#[test]
fn the_whole_contract_holds_on_one_store() {
    struct Shared(Arc<Mutex<InMemory>>, Arc<Embedded>);
    impl Harness for Shared {
        fn store(&self) -> &dyn Store {
            &*self.1
        }
        fn now_ms(&self) -> u64 {
            lock(&self.0).now_ms
        }
        async fn pass(&mut self, ms: u64) {
            lock(&self.0).now_ms += ms;
        }
    }
    let (clock, store) = (
        Arc::new(Mutex::new(in_memory())),
        Arc::new(in_memory().store),
    );
    at_once(contract::all(|| {
        Shared(Arc::clone(&clock), Arc::clone(&store))
    }));
}

fn packet(rooms: &[&str], size: usize) -> Arc<StoredPacket> {
    let rooms = rooms.iter().map(|room| Box::from(*room)).collect();
    Arc::new(StoredPacket {
        rooms,
        data: vec![b'x'; size].into(),
        ..Default::default()
    })
}

fn append_to(store: &Embedded, namespace: &str, packet: Arc<StoredPacket>, now_ms: u64) -> Offset {
    at_once(store.append(namespace, packet, now_ms)).unwrap()
}

fn append(store: &Embedded, now_ms: u64) -> Offset {
    append_to(store, NSP, packet(&[], 1), now_ms)
}

fn session(pid: &str) -> SessionRecord {
    SessionRecord {
        pid: pid.into(),
        namespace: NSP.into(),
        ..Default::default()
    }
}

fn save(store: &Embedded, session: SessionRecord, now_ms: u64) {
    at_once(store.save_session(session, now_ms, 120_000)).unwrap();
}

fn restore(
    store: &Embedded,
    pid: &str,
    offset: Offset,
    now_ms: u64,
) -> Result<Restored, NotRecovered> {
    at_once(store.restore(NSP, pid, Some(offset.as_str()), now_ms))
}

fn try_from(store: &Embedded, offset: Offset, now_ms: u64) -> Result<usize, NotRecovered> {
    save(store, session("somebody"), now_ms);
    restore(store, "somebody", offset, now_ms).map(|restored| restored.missed.len())
}

#[test]
fn offsets_sort_as_text_and_differ_between_processes() {
    let store = in_memory().store;
    let offsets: Vec<Offset> = (0..200).map(|now_ms| append(&store, now_ms)).collect();
    assert!(
        offsets
            .windows(2)
            .all(|pair| pair[0].as_str() < pair[1].as_str())
    );
    assert_eq!(offsets[0].as_str().parse::<Offset>(), Ok(offsets[0]));
    assert_eq!(
        Embedded::new(EmbeddedConfig::default(), u64::MAX)
            .epoch
            .offset(u64::MAX)
            .as_str(),
        "3w5e11264sgsf-3w5e11264sgsf"
    );
    // A socket's id has 20 characters; nobody should take one for the other.
    assert!(offsets.iter().all(|offset| offset.as_str().len() != 20));

    let other = Embedded::new(EmbeddedConfig::default(), 0xfeee);
    append(&other, 0);
    append(&other, 0);
    assert_eq!(
        try_from(&other, offsets[1], 0),
        Err(NotRecovered::UnknownOffset)
    );
}

#[test]
fn more_packets_than_allowed_leave_a_gap_and_not_before() {
    let config = EmbeddedConfig {
        max_packets_per_namespace: 5,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let offsets: Vec<Offset> = (0..8).map(|_| append(&store, 0)).collect();
    assert_eq!(store.stats().packets, 5);
    assert_eq!(try_from(&store, offsets[1], 0), Err(NotRecovered::Trimmed));
    // The packet itself is gone, but nothing after it.
    assert_eq!(try_from(&store, offsets[2], 0), Ok(5));
    assert_eq!(try_from(&store, offsets[7], 0), Ok(0));
}

#[test]
fn the_index_holds_what_the_log_holds() {
    let config = EmbeddedConfig {
        max_packets_per_namespace: 5,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    for number in 0..100 {
        let own = format!("{number}");
        append_to(&store, NSP, packet(&["a", "a", &own], 1), 0);
        append_to(&store, NSP, packet(&[], 1), 0);
    }
    let namespace = store.namespace(NSP);
    assert!(lock(&namespace.log).indexed() <= 3 + 3 * 3);
    at_once(store.sweep(1_000_000)).unwrap();
    assert_eq!(lock(&namespace.log).indexed(), 0);
}

#[test]
fn more_bytes_than_allowed_leave_a_gap() {
    let config = EmbeddedConfig {
        max_bytes_per_namespace: 10_000,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let offsets: Vec<Offset> = (0..8)
        .map(|_| append_to(&store, NSP, packet(&["a", "b"], 2_000), 0))
        .collect();
    let stats = store.stats();
    assert!(
        stats.packet_bytes <= 10_000 && stats.packets == 4,
        "{stats:?}"
    );
    assert_eq!(try_from(&store, offsets[2], 0), Err(NotRecovered::Trimmed));
}

#[test]
fn a_packet_too_large_to_keep_gets_an_offset_and_is_never_skipped() {
    let config = EmbeddedConfig {
        max_bytes_per_namespace: 10_000,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let before = append(&store, 0);
    let large = append_to(&store, NSP, packet(&[], 20_000), 0);
    let after = append(&store, 0);
    assert!(before < large && large < after);
    assert_eq!(try_from(&store, before, 0), Err(NotRecovered::Trimmed));
    assert_eq!(try_from(&store, large, 0), Ok(1));
}

#[test]
fn the_total_is_bounded_and_the_largest_namespace_pays() {
    let config = EmbeddedConfig {
        max_packets: 1_000,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let small = append_to(&store, NSP, packet(&[], 1), 0);
    for number in 0..3_000 {
        append_to(&store, ["/a", "/b"][number % 2], packet(&["r"], 1), 0);
        assert!(store.stats().packets <= 1_000);
    }
    assert!(store.stats().packets > 500);
    assert_eq!(try_from(&store, small, 0), Ok(0));
}

#[test]
fn the_total_of_bytes_is_bounded() {
    let config = EmbeddedConfig {
        max_bytes: 100_000,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    for number in 0..1_000 {
        append_to(
            &store,
            &format!("/{}", number % 10),
            packet(&["r"], number),
            0,
        );
        assert!(store.stats().packet_bytes <= 100_000);
    }
    assert!(store.stats().packet_bytes > 50_000);
}

#[test]
fn a_recovery_that_would_bring_too_much_is_none() {
    let config = EmbeddedConfig {
        max_missed_packets: 10,
        max_missed_bytes: 1_000,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let mut offsets: Vec<Offset> = (0..100).map(|_| append(&store, 0)).collect();
    assert_eq!(try_from(&store, offsets[50], 0), Err(NotRecovered::Limit));
    assert_eq!(try_from(&store, offsets[88], 0), Err(NotRecovered::Limit));
    assert_eq!(try_from(&store, offsets[89], 0), Ok(10));
    offsets.push(append_to(&store, NSP, packet(&[], 1_000), 0));
    assert_eq!(try_from(&store, offsets[98], 0), Err(NotRecovered::Limit));
}

/// In a busy namespace packets age away although a quiet client has missed none of them. Node.js
/// refuses such a client; here it is recovered when the server knows that it has everything.
#[test]
fn a_quiet_client_in_a_busy_namespace_is_recovered() {
    let store = in_memory().store;
    let start = append_to(&store, NSP, packet(&["quiet"], 1), 0);
    for now_ms in (0..600_000).step_by(1_000) {
        append_to(&store, NSP, packet(&["busy"], 1), now_ms);
    }
    let known = |pid: &str, last| SessionRecord {
        rooms: vec!["quiet".into()],
        last_offset: last,
        connected_at: Some(start),
        ..session(pid)
    };
    save(&store, session("uncounted"), 600_000);
    save(&store, known("all", Some(start)), 600_000);
    save(&store, known("none", None), 600_000);
    let newer = append_to(&store, NSP, packet(&["quiet"], 1), 610_000);

    assert_eq!(
        restore(&store, "uncounted", start, 620_000),
        Err(NotRecovered::Trimmed)
    );
    let missed = restore(&store, "all", start, 620_000).unwrap().missed;
    assert_eq!(missed.iter().map(|m| m.offset).collect::<Vec<_>>(), [newer]);
    // It connected where `start` is, has never been sent anything, and says so.
    let missed = at_once(store.restore(NSP, "none", None, 620_000))
        .unwrap()
        .missed;
    assert_eq!(missed.iter().map(|m| m.offset).collect::<Vec<_>>(), [newer]);
}

/// The same is not believed while a packet that is gone may still have been on its way to the
/// socket when it was lost.
#[test]
fn a_packet_on_its_way_when_the_socket_was_lost_is_not_skipped() {
    let config = EmbeddedConfig {
        max_packets_per_namespace: 2,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let seen = append_to(&store, NSP, packet(&["r"], 1), 0);
    let in_flight = append_to(&store, NSP, packet(&["r"], 1), 60_000);
    let record = |pid: &str| SessionRecord {
        rooms: vec!["r".into()],
        last_offset: Some(seen),
        ..session(pid)
    };
    save(&store, record("lost"), 60_001);
    save(&store, record("kept"), 60_001);
    let missed = restore(&store, "kept", seen, 60_002).unwrap().missed;
    assert_eq!(missed[0].offset, in_flight);
    for _ in 0..2 {
        append_to(&store, NSP, packet(&["other"], 1), 60_002);
    }
    assert_eq!(
        restore(&store, "lost", seen, 60_003),
        Err(NotRecovered::Trimmed)
    );
}

#[test]
fn too_many_sessions_cost_those_that_would_expire_first() {
    let config = EmbeddedConfig {
        max_sessions: 3,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let seen = append(&store, 0);
    for number in 0..8 {
        save(&store, session(&number.to_string()), number);
    }
    let stats = store.stats();
    assert_eq!((stats.sessions, stats.tombstones), (3, 3));
    assert_eq!(
        restore(&store, "0", seen, 9),
        Err(NotRecovered::UnknownSession)
    );
    assert_eq!(restore(&store, "4", seen, 9), Err(NotRecovered::Limit));
    assert!(restore(&store, "5", seen, 9).is_ok());
}

#[test]
fn sessions_are_bounded_in_bytes() {
    let config = EmbeddedConfig {
        max_session_bytes: 10_000,
        ..Default::default()
    };
    let store = Embedded::new(config, 1);
    let with = |pid: &str, size| SessionRecord {
        data: vec![0; size].into(),
        ..session(pid)
    };
    for number in 0..20 {
        save(&store, with(&number.to_string(), 1_000), number);
        assert!(store.stats().session_bytes <= 10_000);
    }
    assert!(store.stats().sessions > 3);
    let refused = at_once(store.save_session(with("large", 20_000), 20, 120_000));
    assert_eq!(refused, Err(StoreError::TooLarge));
    let seen = append(&store, 20);
    assert_eq!(restore(&store, "large", seen, 20), Err(NotRecovered::Limit));
}

#[test]
fn an_expired_session_is_told_so_for_a_while() {
    let store = in_memory().store;
    let seen = append(&store, 0);
    save(&store, session("p"), 0);
    at_once(store.sweep(150_000)).unwrap();
    assert_eq!(store.stats().sessions, 0);
    assert_eq!(
        restore(&store, "p", seen, 150_000),
        Err(NotRecovered::Expired)
    );
    at_once(store.sweep(300_000)).unwrap();
    assert_eq!(
        restore(&store, "p", seen, 300_000),
        Err(NotRecovered::UnknownSession)
    );
}

#[test]
fn every_gauge_falls_to_zero_when_nothing_happens_any_more() {
    let store = in_memory().store;
    for number in 0..1_000u64 {
        let namespace = format!("/{}", number % 7);
        append_to(
            &store,
            &namespace,
            packet(&["a", &number.to_string()], 100),
            number,
        );
        save(&store, session(&number.to_string()), number);
        if number % 3 == 0 {
            let _ = at_once(store.restore(NSP, &number.to_string(), None, number));
        }
    }
    let full = store.stats();
    assert!(
        full.sessions > 500 && full.packets == 1_000 && full.namespaces >= 7,
        "{full:?}"
    );
    for now_ms in [200_000, 400_000, 4_000_000] {
        at_once(store.sweep(now_ms)).unwrap();
    }
    assert_eq!(store.stats(), StoreStats::default());
}

#[test]
fn a_forgotten_namespace_leaves_nothing_and_starts_anew() {
    let store = in_memory().store;
    let seen = append(&store, 0);
    let held = store.namespace(NSP);
    store.forget_namespace(NSP);
    // Somebody who was about to append to the old one appends to the new one.
    assert!(!lock(&held.log).push(99, &packet(&[], 1), 0, &store.config));
    assert_eq!(store.stats(), StoreStats::default());
    append(&store, 1);
    assert_eq!(try_from(&store, seen, 1), Err(NotRecovered::Trimmed));
}

#[test]
fn many_threads_append_and_nothing_is_lost_doubled_or_out_of_order() {
    let store = in_memory().store;
    let begin = append(&store, 0);
    let offsets: Vec<Vec<Offset>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..1_000).map(|_| append(&store, 0)).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(offsets.iter().all(|own| own.is_sorted()));
    let mut all: Vec<Offset> = offsets.concat();
    all.sort_unstable();
    save(&store, session("p"), 0);
    let restored = restore(&store, "p", begin, 0).unwrap();
    assert_eq!(
        restored.missed.iter().map(|m| m.offset).collect::<Vec<_>>(),
        all
    );
    assert_eq!(store.stats().packets, 4_001);
}

const ROOMS: [&str; 4] = ["a", "b", "c", "id"];

#[derive(Debug, Clone)]
enum Op {
    Append {
        rooms: u8,
        except: u8,
    },
    Save {
        rooms: u8,
        lossy: bool,
    },
    Restore {
        seen: prop::sample::Index,
        namespace: bool,
    },
    Pass(u64),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..16, prop_oneof![3 => Just(0u8), 1 => 0u8..16])
            .prop_map(|(rooms, except)| Op::Append { rooms, except }),
        2 => (0u8..8, prop::bool::weighted(0.1)).prop_map(|(rooms, lossy)| Op::Save { rooms, lossy }),
        2 => (any::<prop::sample::Index>(), prop::bool::weighted(0.1))
            .prop_map(|(seen, namespace)| Op::Restore { seen, namespace }),
        2 => (0u64..400).prop_map(Op::Pass),
        1 => Just(Op::Sweep),
    ]
}

fn names(bits: u8) -> Vec<Box<str>> {
    (0..4)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| ROOMS[bit].into())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Against a model that keeps everything for ever: a recovery brings exactly what was missed, and
    /// is refused only for a reason.
    #[test]
    fn recovery_is_complete_or_refused_for_a_reason(
        ops in prop::collection::vec(op(), 1..120),
        max in prop_oneof![Just(8usize), Just(1_000)],
    ) {
        const TTL: u64 = 500;
        let config = EmbeddedConfig {
            max_disconnection_ms: TTL,
            settle_ms: 100,
            max_packets_per_namespace: max,
            ..Default::default()
        };
        let store = Embedded::new(config, 36);
        let mut history: Vec<(Offset, Arc<StoredPacket>, u64)> = Vec::new();
        let mut saved: Option<(SessionRecord, u64)> = None;
        let mut now_ms = 5;
        for op in ops {
            match op {
                Op::Append { rooms, except } => {
                    let (rooms, except) = (names(rooms), names(except));
                    let packet = Arc::new(StoredPacket { rooms, except, ..Default::default() });
                    let offset = append_to(&store, NSP, Arc::clone(&packet), now_ms);
                    history.push((offset, packet, now_ms));
                    append_to(&store, "/other", Arc::new(StoredPacket::default()), now_ms);
                }
                Op::Save { rooms, lossy } => {
                    let record = SessionRecord {
                        socket_id: "id".into(), rooms: names(rooms), lossy, ..session("p")
                    };
                    save(&store, record.clone(), now_ms);
                    let was_lossy = saved.as_ref().is_some_and(|(saved, at)| {
                        saved.lossy && now_ms < at + TTL
                    });
                    saved = Some((SessionRecord { lossy: lossy || was_lossy, ..record }, now_ms));
                }
                Op::Restore { seen, namespace } => {
                    if history.is_empty() {
                        continue;
                    }
                    let seen = seen.index(history.len());
                    if namespace {
                        let offset = Some(history[seen].0.as_str());
                        let result = at_once(store.restore("/other", "p", offset, now_ms));
                        prop_assert_eq!(result, Err(NotRecovered::UnknownSession));
                        continue;
                    }
                    let result = restore(&store, "p", history[seen].0, now_ms);
                    let kept = saved.take_if(|(saved, at)| !saved.lossy && now_ms < *at + TTL);
                    let missed = &history[seen + 1..];
                    match result {
                        Ok(restored) => {
                            let (record, _) = kept.expect("a session is kept");
                            let expected: Vec<(Offset, Arc<StoredPacket>)> = missed.iter()
                                .filter(|(_, p, _)| p.concerns("id", &record.rooms))
                                .map(|(offset, p, _)| (*offset, Arc::clone(p)))
                                .collect();
                            let got: Vec<_> =
                                restored.missed.into_iter().map(|m| (m.offset, m.packet)).collect();
                            prop_assert_eq!(got, expected);
                            prop_assert_eq!(restored.session, record);
                            prop_assert_eq!(restored.head, history[history.len() - 1].0);
                        }
                        Err(NotRecovered::Trimmed) => {
                            let is_old = missed.iter().any(|(_, _, at)| now_ms - at > TTL + 100);
                            prop_assert!(kept.is_some() && (missed.len() > max || is_old));
                        }
                        Err(NotRecovered::Expired) => {
                            prop_assert!(saved.as_ref().is_some_and(|(_, at)| at + TTL <= now_ms));
                        }
                        Err(NotRecovered::Lossy) => {
                            prop_assert!(saved.as_ref().is_some_and(|(saved, _)| saved.lossy));
                        }
                        Err(NotRecovered::Taken) => prop_assert!(kept.is_none()),
                        Err(NotRecovered::UnknownSession) => {
                            // Never saved, taken, or gone for so long that it was swept away.
                            prop_assert!(kept.is_none());
                            let at = saved.as_ref().map(|(_, at)| at + TTL);
                            prop_assert!(at.is_none_or(|until| until <= now_ms));
                        }
                        Err(reason) => prop_assert!(false, "refused: {}", reason),
                    }
                }
                Op::Pass(ms) => now_ms += ms,
                Op::Sweep => at_once(store.sweep(now_ms)).unwrap(),
            }
            let stats = store.stats();
            prop_assert!(stats.packets <= 2 * max);
            prop_assert!(stats.sessions + stats.tombstones <= 1);
        }
    }
}
