//! The test suite that every [`Store`] must pass; that of every [`Bus`](crate::Bus) is in [`bus`].
//!
//! An implementation writes a [`Harness`] and calls [`all`] (or the functions one by one, for better
//! names in the test report). Each function panics when the store breaks the promise it is named for.
//! They use namespaces and pids of their own, so that they may share one store.

pub mod bus;

use std::future::Future;
use std::sync::Arc;

use crate::{Form, Missed, NotRecovered, Offset, Restored, SessionRecord, Store, StoredPacket};

/// How the suite gets at a store, and how time passes for it.
pub trait Harness {
    /// The store under test, which must keep packets and sessions for at least [`TTL_MS`].
    fn store(&self) -> &dyn Store;

    /// The time to be given to it.
    fn now_ms(&self) -> u64;

    /// Lets time pass: moves a number, or sleeps where the store has a clock of its own.
    fn pass(&mut self, ms: u64) -> impl Future<Output = ()>;
}

/// How long the suite keeps sessions, in milliseconds.
pub const TTL_MS: u64 = 2_000;

/// Runs the whole suite, with a new harness for each part.
pub async fn all<H: Harness>(mut new: impl FnMut() -> H) {
    offsets_grow(&mut new()).await;
    missed_packets_come_in_order_and_once(&mut new()).await;
    rooms_and_exceptions_choose(&mut new()).await;
    sessions_and_packets_come_back_whole(&mut new()).await;
    a_session_is_used_once(&mut new()).await;
    a_recovered_session_may_go_again(&mut new()).await;
    a_session_that_is_put_back_is_as_if_it_was_never_taken(&mut new()).await;
    unknown_sessions_are_not_recovered(&mut new()).await;
    unknown_offsets_are_not_recovered(&mut new()).await;
    offsets_never_sent_are_not_recovered(&mut new()).await;
    sessions_expire(&mut new()).await;
    lossy_sessions_are_not_recovered(&mut new()).await;
    forgotten_sessions_are_not_recovered(&mut new()).await;
    a_room_left_is_not_guessed_at(&mut new()).await;
    a_client_without_an_offset_starts_where_it_connected(&mut new()).await;
}

/// Each offset is greater than the one before, in value; the head is the last one.
pub async fn offsets_grow<H: Harness>(harness: &mut H) {
    let nsp = "/contract/grow";
    let mut last = head(harness, nsp).await;
    for _ in 0..100 {
        let offset = append(harness, nsp, packet(&[], &[], "x")).await;
        assert!(offset > last, "{offset} after {last}");
        assert_eq!(offset.as_str().parse::<Offset>(), Ok(offset));
        assert_eq!(head(harness, nsp).await, offset);
        last = offset;
    }
}

/// What comes back is what was appended after the offset, up to the head.
pub async fn missed_packets_come_in_order_and_once<H: Harness>(harness: &mut H) {
    let nsp = "/contract/order";
    let mut offsets = Vec::new();
    for number in 0..10 {
        offsets.push(append(harness, nsp, packet(&["a", "b"], &[], &number.to_string())).await);
    }
    for seen in [0, 4, 8, 9] {
        let pid = format!("order-{seen}");
        save(harness, session(nsp, &pid, &["a", "b"])).await;
        let restored = restore(harness, nsp, &pid, Some(&offsets[seen]))
            .await
            .expect("complete");
        let expected: Vec<_> = (seen + 1..10)
            .map(|n| (offsets[n], n.to_string()))
            .collect();
        assert_eq!(numbered(&restored.missed), expected);
        assert_eq!(restored.head, offsets[9]);
    }
}

/// Rooms are a union, exceptions win, the socket's id is a room, and namespaces are apart.
pub async fn rooms_and_exceptions_choose<H: Harness>(harness: &mut H) {
    let nsp = "/contract/rooms";
    let seen = append(harness, nsp, packet(&[], &[], "seen")).await;
    let cases: &[(&[&str], &[&str], bool)] = &[
        (&[], &[], true),
        (&["a"], &[], true),
        (&["z"], &[], false),
        (&["z", "b"], &[], true),
        (&["a", "a", "b"], &[], true),
        (&["id-of-rooms"], &[], true),
        (&["id-of-another"], &[], false),
        (&[], &["a"], false),
        (&["a"], &["z"], true),
        (&["a"], &["b"], false),
        (&["a"], &["id-of-rooms"], false),
        (&[], &["id-of-rooms"], false),
        (&["rooms"], &[], false),
    ];
    let mut expected = Vec::new();
    for (number, (rooms, except, is_for_us)) in cases.iter().enumerate() {
        let data = number.to_string();
        let offset = append(harness, nsp, packet(rooms, except, &data)).await;
        if *is_for_us {
            expected.push((offset, data));
        }
        append(
            harness,
            "/contract/rooms/other",
            packet(rooms, except, "other"),
        )
        .await;
    }
    save(harness, session(nsp, "rooms", &["a", "b"])).await;
    let restored = restore(harness, nsp, "rooms", Some(&seen))
        .await
        .expect("complete");
    assert_eq!(numbered(&restored.missed), expected);
}

/// Nothing of a session or a packet is lost or changed, empty parts included.
pub async fn sessions_and_packets_come_back_whole<H: Harness>(harness: &mut H) {
    let nsp = "/contract/whole";
    let seen = append(harness, nsp, packet(&[], &[], "")).await;
    let sent = StoredPacket {
        rooms: vec!["a".into(), "\u{1f980} and \"quotes\"".into()],
        except: vec!["".into()],
        form: Form::MsgPack,
        data: vec![0xc1, 0, 0xff, b'\n'].into(),
        attachments: vec![vec![].into(), vec![0; 3].into(), vec![1, 2].into()],
    };
    append(harness, nsp, sent.clone()).await;
    let saved = SessionRecord {
        data: vec![0, 1, 0xfe].into(),
        user: Some("ärger".into()),
        connected_at: Some(seen),
        last_offset: Some(seen),
        left_at: Some(seen),
        ..session(nsp, "whole", &["a", " ", "{b}", "\u{1f980}"])
    };
    save(harness, saved.clone()).await;
    let restored = restore(harness, nsp, "whole", Some(&seen))
        .await
        .expect("complete");
    assert_eq!(restored.session, saved);
    assert_eq!(restored.missed.len(), 1);
    assert_eq!(*restored.missed[0].packet, sent);
}

/// The second attempt fails, also when the first one did.
pub async fn a_session_is_used_once<H: Harness>(harness: &mut H) {
    let nsp = "/contract/once";
    let seen = append(harness, nsp, packet(&[], &[], "x")).await;
    let is_gone = |reason| matches!(reason, NotRecovered::Taken | NotRecovered::UnknownSession);

    save(harness, session(nsp, "once", &[])).await;
    restore(harness, nsp, "once", Some(&seen))
        .await
        .expect("complete");
    let reason = restore(harness, nsp, "once", Some(&seen))
        .await
        .expect_err("second");
    assert!(is_gone(reason), "{reason}");

    save(harness, session(nsp, "once-failed", &[])).await;
    restore(harness, nsp, "once-failed", None)
        .await
        .expect_err("without an offset");
    let reason = restore(harness, nsp, "once-failed", Some(&seen))
        .await
        .expect_err("second");
    assert!(is_gone(reason), "{reason}");
}

/// A session keeps its pid, goes and comes as often as it likes.
pub async fn a_recovered_session_may_go_again<H: Harness>(harness: &mut H) {
    let nsp = "/contract/again";
    let mut seen = append(harness, nsp, packet(&[], &[], "0")).await;
    for round in 1..4 {
        save(harness, session(nsp, "again", &[])).await;
        let next = append(harness, nsp, packet(&[], &[], &round.to_string())).await;
        let restored = restore(harness, nsp, "again", Some(&seen))
            .await
            .expect("complete");
        assert_eq!(numbered(&restored.missed), [(next, round.to_string())]);
        seen = next;
    }
}

/// Saved again with the time at which it was saved, it is found by the same offset, and no longer
/// than it would have been.
pub async fn a_session_that_is_put_back_is_as_if_it_was_never_taken<H: Harness>(harness: &mut H) {
    let nsp = "/contract/back";
    let seen = append(harness, nsp, packet(&[], &[], "0")).await;
    let saved_at = harness.now_ms();
    save(harness, session(nsp, "back", &[])).await;
    let next = append(harness, nsp, packet(&[], &[], "1")).await;
    for left in [3, 2, 1] {
        harness.pass(TTL_MS / 4).await;
        let restored = restore(harness, nsp, "back", Some(&seen))
            .await
            .unwrap_or_else(|reason| panic!("{reason}, with {left} quarters of its time left"));
        assert_eq!(numbered(&restored.missed), [(next, "1".to_owned())]);
        let at = restored.saved_at_ms;
        assert!((saved_at..=saved_at + TTL_MS / 8).contains(&at), "{at}");
        let saving = harness.store().save_session(restored.session, at, TTL_MS);
        saving.await.expect("available");
    }
    harness.pass(TTL_MS / 2).await;
    let reason = restore(harness, nsp, "back", Some(&seen)).await;
    let reason = reason.expect_err("its time is over");
    assert!(
        matches!(reason, NotRecovered::Expired | NotRecovered::UnknownSession),
        "{reason}"
    );
}

/// A pid that was never saved, or in another namespace, is refused and changes nothing.
pub async fn unknown_sessions_are_not_recovered<H: Harness>(harness: &mut H) {
    let (nsp, other) = ("/contract/unknown", "/contract/unknown/other");
    let seen = append(harness, nsp, packet(&[], &[], "x")).await;
    let there = append(harness, other, packet(&[], &[], "x")).await;
    save(harness, session(nsp, "unknown", &[])).await;
    for pid in [
        "",
        "no such pid",
        "unknown ",
        "*",
        "\0",
        &"long".repeat(50_000),
    ] {
        let result = restore(harness, nsp, pid, Some(&seen)).await;
        assert_eq!(
            result,
            Err(NotRecovered::UnknownSession),
            "{:?}",
            pid.get(..20)
        );
    }
    let result = restore(harness, other, "unknown", Some(&there)).await;
    assert_eq!(result, Err(NotRecovered::UnknownSession));
    restore(harness, nsp, "unknown", Some(&seen))
        .await
        .expect("still there");
}

/// An offset that was not assigned in this namespace is refused, whatever text it is.
pub async fn unknown_offsets_are_not_recovered<H: Harness>(harness: &mut H) {
    let (nsp, other) = ("/contract/offsets", "/contract/offsets/other");
    append(harness, nsp, packet(&[], &[], "x")).await;
    let there = append(harness, other, packet(&[], &[], "x")).await;
    let seen = append(harness, nsp, packet(&[], &[], "x")).await;
    append(harness, nsp, packet(&[], &[], "x")).await;
    let seen = seen.as_str();
    let hostile = [
        "".to_owned(),
        "0".to_owned(),
        "-".to_owned(),
        "hello".to_owned(),
        "18446744073709551616".to_owned(),
        "\u{663}\u{1f980}".to_owned(),
        "9".repeat(100_000),
        there.as_str().to_owned(),
        format!("{seen}0"),
        format!("0{seen}"),
        format!(" {seen}"),
        format!("+{seen}"),
        seen.replace('-', "-+"),
        seen.replace('-', "--"),
        seen.replace('-', "-0"),
        seen[..seen.len() - 1].to_owned(),
        seen.split('-').next().unwrap_or_default().to_owned(),
    ];
    for (number, text) in hostile.iter().enumerate() {
        let pid = format!("offsets-{number}");
        save(harness, session(nsp, &pid, &[])).await;
        let result = harness
            .store()
            .restore(nsp, &pid, Some(text), harness.now_ms())
            .await;
        let reason = result.expect_err("never assigned here");
        assert!(
            matches!(reason, NotRecovered::UnknownOffset | NotRecovered::Trimmed),
            "{reason} for {:?}",
            text.get(..40).unwrap_or(text)
        );
    }
    save(harness, session(nsp, "offsets-none", &[])).await;
    let result = restore(harness, nsp, "offsets-none", None).await;
    assert_eq!(result, Err(NotRecovered::UnknownOffset));
}

/// Nobody has seen more than it was sent: so that the client takes another's text for its offset.
pub async fn offsets_never_sent_are_not_recovered<H: Harness>(harness: &mut H) {
    let nsp = "/contract/never";
    let sent = append(harness, nsp, packet(&["never"], &[], "ours")).await;
    append(harness, nsp, packet(&["never"], &[], "lost")).await;
    let others = append(harness, nsp, packet(&["other"], &[], "relayed by somebody")).await;
    let saved = SessionRecord {
        last_offset: Some(sent),
        ..session(nsp, "never", &["never"])
    };
    save(harness, saved).await;
    let result = restore(harness, nsp, "never", Some(&others)).await;
    assert_eq!(result, Err(NotRecovered::UnknownOffset));
}

/// A session is there just before its time and is not just after.
pub async fn sessions_expire<H: Harness>(harness: &mut H) {
    let nsp = "/contract/expire";
    for (pid, wait, is_there) in [("early", TTL_MS / 2, true), ("late", TTL_MS + 100, false)] {
        let seen = append(harness, nsp, packet(&[], &[], "x")).await;
        save(harness, session(nsp, pid, &[])).await;
        harness.pass(wait).await;
        let result = restore(harness, nsp, pid, Some(&seen)).await;
        match result {
            Ok(_) => assert!(is_there, "{pid}"),
            Err(NotRecovered::Expired | NotRecovered::UnknownSession) => assert!(!is_there),
            Err(reason) => panic!("{reason} for {pid}"),
        }
    }
    save(harness, session(nsp, "swept", &[])).await;
    harness.pass(TTL_MS + 100).await;
    harness
        .store()
        .sweep(harness.now_ms())
        .await
        .expect("available");
    let seen = append(harness, nsp, packet(&[], &[], "x")).await;
    let reason = restore(harness, nsp, "swept", Some(&seen))
        .await
        .expect_err("too late");
    assert!(
        matches!(reason, NotRecovered::Expired | NotRecovered::UnknownSession),
        "{reason}"
    );
}

/// Marked before it is saved, with it or after it: a lossy session answers so.
pub async fn lossy_sessions_are_not_recovered<H: Harness>(harness: &mut H) {
    let nsp = "/contract/lossy";
    let seen = append(harness, nsp, packet(&[], &[], "x")).await;
    save(harness, session(nsp, "lossy-after", &[])).await;
    mark_lossy(harness, nsp, "lossy-after").await;
    mark_lossy(harness, nsp, "lossy-before").await;
    save(harness, session(nsp, "lossy-before", &[])).await;
    save(
        harness,
        SessionRecord {
            lossy: true,
            ..session(nsp, "lossy-with", &[])
        },
    )
    .await;
    for pid in ["lossy-after", "lossy-before", "lossy-with"] {
        let result = restore(harness, nsp, pid, Some(&seen)).await;
        assert_eq!(result, Err(NotRecovered::Lossy), "{pid}");
    }
    save(harness, session(nsp, "lossy-elsewhere", &[])).await;
    mark_lossy(harness, "/contract/lossy/other", "lossy-elsewhere").await;
    restore(harness, nsp, "lossy-elsewhere", Some(&seen))
        .await
        .expect("not this namespace");
}

/// A session that was forgotten is not there, in its namespace only.
pub async fn forgotten_sessions_are_not_recovered<H: Harness>(harness: &mut H) {
    let nsp = "/contract/forget";
    let seen = append(harness, nsp, packet(&[], &[], "x")).await;
    for (pid, namespace) in [("forget", nsp), ("forget-not", "/contract/forget/other")] {
        save(harness, session(nsp, pid, &[])).await;
        harness
            .store()
            .forget(namespace, pid)
            .await
            .expect("available");
    }
    restore(harness, nsp, "forget", Some(&seen))
        .await
        .expect_err("forgotten");
    restore(harness, nsp, "forget-not", Some(&seen))
        .await
        .expect("not this namespace");
}

/// What a client missed of a room that it then left cannot be known; if it missed nothing, it can.
pub async fn a_room_left_is_not_guessed_at<H: Harness>(harness: &mut H) {
    let nsp = "/contract/left";
    let first = append(harness, nsp, packet(&["left"], &[], "1")).await;
    let second = append(harness, nsp, packet(&["left"], &[], "2")).await;
    let saved = |pid| SessionRecord {
        last_offset: Some(second),
        left_at: Some(second),
        ..session(nsp, pid, &["stayed"])
    };
    save(harness, saved("left-before")).await;
    save(harness, saved("left-after")).await;
    let third = append(harness, nsp, packet(&["stayed"], &[], "3")).await;
    let result = restore(harness, nsp, "left-before", Some(&first)).await;
    assert_eq!(result, Err(NotRecovered::RoomsChanged));
    let restored = restore(harness, nsp, "left-after", Some(&second))
        .await
        .expect("complete");
    assert_eq!(numbered(&restored.missed), [(third, "3".to_owned())]);
}

/// Before its first event a client knows no offset; the server knows where it began.
pub async fn a_client_without_an_offset_starts_where_it_connected<H: Harness>(harness: &mut H) {
    let nsp = "/contract/begin";
    for (pid, has_history) in [("begin-new", false), ("begin-old", true)] {
        if has_history {
            append(harness, nsp, packet(&[], &[], "before")).await;
        }
        let connected_at = Some(head(harness, nsp).await);
        save(
            harness,
            SessionRecord {
                connected_at,
                ..session(nsp, pid, &[])
            },
        )
        .await;
        let first = append(harness, nsp, packet(&[], &[], "first")).await;
        let restored = restore(harness, nsp, pid, None).await.expect("complete");
        assert_eq!(
            numbered(&restored.missed),
            [(first, "first".to_owned())],
            "{pid}"
        );
    }
}

fn packet(rooms: &[&str], except: &[&str], data: &str) -> StoredPacket {
    let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
    StoredPacket {
        rooms: names(rooms),
        except: names(except),
        data: data.as_bytes().to_vec().into(),
        ..StoredPacket::default()
    }
}

fn session(namespace: &str, pid: &str, rooms: &[&str]) -> SessionRecord {
    SessionRecord {
        pid: pid.into(),
        socket_id: format!("id-of-{pid}").into(),
        namespace: namespace.into(),
        rooms: rooms.iter().map(|room| Box::from(*room)).collect(),
        ..SessionRecord::default()
    }
}

fn numbered(missed: &[Missed]) -> Vec<(Offset, String)> {
    let text = |missed: &Missed| String::from_utf8_lossy(&missed.packet.data).into_owned();
    missed
        .iter()
        .map(|missed| (missed.offset, text(missed)))
        .collect()
}

async fn append<H: Harness>(harness: &H, namespace: &str, packet: StoredPacket) -> Offset {
    let (packet, now_ms) = (Arc::new(packet), harness.now_ms());
    harness
        .store()
        .append(namespace, packet, now_ms)
        .await
        .expect("available")
}

async fn head<H: Harness>(harness: &H, namespace: &str) -> Offset {
    harness.store().head(namespace).await.expect("available")
}

async fn save<H: Harness>(harness: &H, session: SessionRecord) {
    let now_ms = harness.now_ms();
    harness
        .store()
        .save_session(session, now_ms, TTL_MS)
        .await
        .expect("available");
}

async fn mark_lossy<H: Harness>(harness: &H, namespace: &str, pid: &str) {
    let now_ms = harness.now_ms();
    harness
        .store()
        .mark_lossy(namespace, pid, now_ms, TTL_MS)
        .await
        .expect("available");
}

async fn restore<H: Harness>(
    harness: &H,
    namespace: &str,
    pid: &str,
    offset: Option<&Offset>,
) -> Result<Restored, NotRecovered> {
    let offset = offset.map(Offset::as_str);
    harness
        .store()
        .restore(namespace, pid, offset, harness.now_ms())
        .await
}
