//! Bodies of polling answers, and requests that overlap or break.

use bytes::Bytes;
use sockeye_core::{Class, Message, MessageBuilder, PostError};
use sockeye_protocol::engine::{CloseReason, PollOutcome, PostOutcome, Transport};

use crate::support::{Rig, event};
use std::sync::Arc;

fn with_attachments(count: usize, len: usize) -> Arc<Message> {
    let mut builder = MessageBuilder::text(0);
    let head = format!("45{count}-[\"file\"]");
    builder.buffer().extend_from_slice(head.as_bytes());
    let data = vec![Bytes::from(vec![0xff; len]); count];
    Arc::new(builder.build(Class::Normal, false, &data))
}

#[test]
fn a_message_and_its_attachments_are_never_split() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    let socket = rig.join(session, "/");
    for message in [event("a"), with_attachments(2, 300), event("b")] {
        assert!(rig.shard.send(socket, &message).is_queued());
    }
    let mut bodies = Vec::new();
    loop {
        rig.shard.poll_opened(session);
        let Some(body) = rig.shard.take_payload(session, 100) else {
            break;
        };
        let body = String::from_utf8(body).unwrap();
        let body: Vec<_> = body.split('\u{1e}').map(str::to_owned).collect();
        bodies.push(body);
    }
    let attachment = format!("b{}", "/".repeat(400));
    assert_eq!(
        bodies,
        [
            vec!["42[\"a\"]".to_owned()],
            vec!["452-[\"file\"]".to_owned(), attachment.clone(), attachment],
            vec!["42[\"b\"]".to_owned()],
        ]
    );
    assert_eq!(rig.shard.queued_bytes(), 0);
}

#[test]
fn a_body_holds_what_fits_and_at_least_one_message() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    let socket = rig.join(session, "/");
    for _ in 0..10 {
        assert!(rig.shard.send(socket, &event("0123456789")).is_queued());
    }
    let mut sizes = Vec::new();
    loop {
        rig.shard.poll_opened(session);
        let Some(body) = rig.shard.take_payload(session, 70) else {
            break;
        };
        assert!(body.len() <= 70, "{}", body.len());
        sizes.push(body.split(|b| *b == 0x1e).count());
    }
    assert_eq!(sizes, [3, 3, 3, 1]);
}

#[test]
fn without_a_poll_nothing_is_taken_and_without_a_message_no_poll_is_answered() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    let socket = rig.join(session, "/");
    assert_eq!(rig.shard.poll_opened(session), PollOutcome::Accepted);
    assert_eq!(rig.shard.take_payload(session, 100), None);
    let _ = rig.shard.send(socket, &event("a"));
    assert!(rig.shard.take_payload(session, 100).is_some());
    let _ = rig.shard.send(socket, &event("b"));
    assert_eq!(
        rig.shard.take_payload(session, 100),
        None,
        "no poll is held"
    );
}

#[test]
fn requests_that_overlap_end_the_session() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    rig.join(session, "/");
    assert_eq!(rig.shard.poll_opened(session), PollOutcome::Accepted);
    assert!(matches!(
        rig.shard.poll_opened(session),
        PollOutcome::Overlap(_)
    ));
    assert_eq!(rig.closed(), [(session, CloseReason::TransportError)]);

    let session = rig.open(Transport::Polling);
    assert_eq!(rig.shard.post_started(session), PostOutcome::Accepted);
    assert!(matches!(
        rig.shard.post_started(session),
        PostOutcome::Overlap(_)
    ));
    assert_eq!(rig.closed(), [(session, CloseReason::TransportError)]);
    assert_eq!(rig.shard.post(session, b"40"), Err(PostError::Gone));
}

#[test]
fn a_client_that_leaves_its_requests_is_gone_but_a_refused_body_is_forgiven() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    rig.shard.post_started(session);
    rig.shard.post_refused(session);
    assert_eq!(rig.shard.post_started(session), PostOutcome::Accepted);
    assert!(rig.lives(session));
    rig.shard.post_aborted(session);
    assert_eq!(rig.closed(), [(session, CloseReason::TransportError)]);

    let session = rig.open(Transport::Polling);
    rig.shard.poll_opened(session);
    rig.shard.poll_aborted(session);
    assert_eq!(rig.closed(), [(session, CloseReason::TransportError)]);
}

#[test]
fn packets_behind_the_one_that_closes_are_not_looked_at() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    rig.join(session, "/");
    rig.shard.post_started(session);
    let body = "42[\"a\"]\u{1e}1\u{1e}42[\"b\"]";
    assert_eq!(rig.shard.post(session, body.as_bytes()), Ok(()));
    let events = rig.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].1.event.as_str(), "a");
    assert!(!rig.lives(session));
}

#[test]
fn a_post_of_a_session_that_has_switched_is_refused_and_ignored() {
    let mut rig = Rig::new();
    let session = rig.open(Transport::Polling);
    rig.join(session, "/");
    rig.shard.post_started(session);
    rig.shard.probe_opened(session);
    rig.shard.probe_text(session, "2probe");
    rig.shard.probe_text(session, "5");
    let late = rig.shard.post(session, b"42[\"late\"]");
    assert_eq!(late, Err(PostError::Refused));
    assert!(rig.events().is_empty());
    assert!(rig.lives(session));
}
