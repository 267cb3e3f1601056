//! What is sent, and what of the answers is believed.

use super::*;
use crate::plan::Scenario;
use crate::target::Target;
use proptest::prelude::*;

fn wire(url: &str, protocol: Protocol, change: impl FnOnce(&mut Plan)) -> Wire {
    let target = Target::parse(url, protocol).unwrap();
    let mut plan = Plan::new(target, Scenario::Echo { window: 1 });
    change(&mut plan);
    Wire::new(&plan, 7)
}

/// The text inside a single masked frame.
fn unframe(bytes: &[u8]) -> Vec<u8> {
    let header = frame::header(bytes).unwrap().unwrap();
    assert_eq!(header.total(), bytes.len());
    let mut text = bytes[header.len..].to_vec();
    if let Some(key) = header.mask {
        frame::apply_mask(key, &mut text);
    }
    text
}

#[test]
fn a_namespace_with_credentials_is_joined_and_spoken_to() {
    let mut wire = wire("ws://127.0.0.1:1", Protocol::SocketIo, |plan| {
        plan.namespace = "/auth".into();
        plan.auth = Some("{\"token\":\"secret\"}".into());
        plan.room = Some("a \"room\"".into());
    });
    let mut out = Vec::new();
    wire.put_connect(0, &mut out);
    assert_eq!(unframe(&out), b"40/auth,{\"token\":\"secret\"}");
    out.clear();
    assert!(wire.put_join(0, &mut out));
    assert_eq!(
        unframe(&out),
        b"42/auth,4294967295[\"join\",\"a \\\"room\\\"\"]"
    );
    assert_eq!(wire.read(b"43/auth,4294967295[[\"x\"]]"), Incoming::Joined);
    out.clear();
    let stamp = Stamp {
        kind: Kind::Echo,
        publisher: 1,
        sequence: 20,
        time_ns: 3,
    };
    wire.put_message(1, &stamp, &mut out);
    assert!(unframe(&out).starts_with(b"42/auth,20[\"echo\",\"e000001"));
}

#[test]
fn rooms_are_joined_and_published_to_in_turn() {
    let mut wire = wire("ws://127.0.0.1:1", Protocol::SocketIo, |plan| {
        plan.rooms = 3;
        plan.payload = 29;
    });
    let mut out = Vec::new();
    assert!(wire.put_join(4, &mut out));
    assert_eq!(unframe(&out), b"424294967295[\"join\",\"bench-1\"]");
    out.clear();
    let stamp = Stamp {
        kind: Kind::Broadcast,
        publisher: 0,
        sequence: 2,
        time_ns: 3,
    };
    wire.put_message(5, &stamp, &mut out);
    let text = unframe(&out);
    let text = std::str::from_utf8(&text).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text[2..]).unwrap();
    assert_eq!(value[0], "in");
    assert_eq!(value[1], serde_json::json!(["bench-2"]));
    assert_eq!(
        (&value[2], &value[3]),
        (&serde_json::json!([]), &"broadcast".into())
    );
    let payload = value[4][0].as_str().unwrap();
    assert_eq!(Stamp::read(payload.as_bytes()), Some(stamp));
}

#[test]
fn every_connection_shows_its_own_credential() {
    let mut wire = wire("ws://127.0.0.1:1", Protocol::SocketIo, |plan| {
        let list = ["one", "two"].map(Credential::token);
        plan.credentials = Some(Credentials::in_turn(list.to_vec()));
    });
    for (connection, token) in [(0, "one"), (1, "two"), (2, "one")] {
        let request = String::from_utf8(wire.request(connection)).unwrap();
        assert!(request.contains(&format!("Authorization: Bearer {token}\r\n")));
        let mut out = Vec::new();
        wire.put_connect(connection, &mut out);
        let expected = format!("40{{\"token\":\"{token}\"}}");
        assert_eq!(unframe(&out), expected.as_bytes());
    }
}

#[test]
fn what_sockeye_serve_sends_on_is_read() {
    let mut wire = wire("ws://127.0.0.1:1", Protocol::SocketIo, |plan| {
        plan.contract = Contract::Serve;
    });
    let mut out = Vec::new();
    assert!(wire.put_join(0, &mut out));
    assert!(unframe(&out).ends_with(b"[\"join\",\"bench\"]"));
    out.clear();
    let stamp = Stamp {
        kind: Kind::Broadcast,
        publisher: 1,
        sequence: 20,
        time_ns: 3,
    };
    wire.put_message(0, &stamp, &mut out);
    let sent = String::from_utf8(unframe(&out)).unwrap();
    let (head, data) = sent
        .split_once("[\"publish\",\"bench\",\"broadcast\",")
        .unwrap();
    assert_eq!(head, "42", "nobody waits for an answer");
    let data = data.strip_suffix(']').unwrap();
    let got = format!(
        "42[\"message\",{{\"room\":\"bench\",\"event\":\"broadcast\",\
         \"from\":{{\"id\":\"x\",\"name\":\"\\\"data\\\":\"}},\"data\":{data},\"at\":5}}]"
    );
    assert_eq!(wire.read(got.as_bytes()), Incoming::Message(stamp));
    let joined = b"42[\"member:joined\",{\"room\":\"bench\",\"id\":\"x\",\"name\":\"\"}]";
    assert_eq!(wire.read(joined), Incoming::Other);
    assert_eq!(wire.read(b"42[\"message\",{\"at\":5}]"), Incoming::Damaged);
}

proptest! {
    /// What is sent, answered as the servers answer it, is read as the same message; with a
    /// byte missing it is not. (Only the last may be missing: servers add arguments.)
    #[test]
    fn answers_are_read_back(
        sequence in 0u32..u32::MAX,
        publisher in 0u32..1 << 24,
        payload in 0usize..200,
        broadcast: bool,
        at: prop::sample::Index,
    ) {
        let kind = if broadcast { Kind::Broadcast } else { Kind::Echo };
        let stamp = Stamp { kind, publisher, sequence, time_ns: 99 };
        for protocol in [Protocol::SocketIo, Protocol::WebSocket, Protocol::Floor] {
            let mut wire = wire("ws://127.0.0.1:1", protocol, |plan| plan.payload = payload);
            let mut out = Vec::new();
            wire.put_message(1, &stamp, &mut out);
            let sent = unframe(&out);
            let answer = match (protocol, kind) {
                (Protocol::SocketIo, Kind::Echo) => {
                    let text = String::from_utf8(sent).unwrap();
                    text.replacen("42", "43", 1).replacen("\"echo\",", "", 1).into_bytes()
                }
                _ => sent,
            };
            prop_assert_eq!(wire.read(&answer), Incoming::Message(stamp));
            let mut changed = answer.clone();
            changed.remove(at.index(answer.len() - 1));
            prop_assert_ne!(wire.read(&changed), Incoming::Message(stamp));
        }
    }
}
