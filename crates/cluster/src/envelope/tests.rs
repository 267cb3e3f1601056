use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_protocol::socketio::{Args, Limits};

use super::*;
use crate::contract::bus::operations;
use crate::{Broadcast, Event, Flags, RoomName, RoomSize, Selection, SocketDetails};

const NOW: u64 = 1_700_000_000_000;

fn key(secret: &str) -> Option<BusKey> {
    Some(BusKey::new(secret.as_bytes(), "sockeye"))
}

fn args() -> impl Strategy<Value = Args> {
    let json = ("[a-zé\\\\n]{0,5}", any::<i32>(), vec(any::<u8>(), 0..20)).prop_map(|(s, n, b)| {
        let text = format!(
            "{},{n},{{\"_placeholder\":true,\"num\":0}}",
            json_string(&s)
        );
        Args::from_json(&text, vec![b.into()], &Limits::default()).expect("valid")
    });
    let msgpack =
        vec(0u8..128, 0..5).prop_map(|bytes| Args::from_msgpack(bytes.into(), &Limits::default()));
    prop_oneof![
        Just(Args::new()),
        json,
        msgpack.prop_filter_map("some are not whole", Result::ok),
    ]
}

fn json_string(text: &str) -> String {
    format!("{text:?}")
        .replace("\\u{", "\\u00")
        .replace('}', "")
}

fn names() -> impl Strategy<Value = Vec<RoomName>> {
    vec("[a-z#\u{1}é]{0,4}".prop_map(RoomName::from), 0..4)
}

fn selection() -> impl Strategy<Value = Selection> {
    (names(), names()).prop_map(|(rooms, except)| Selection { rooms, except })
}

fn event() -> impl Strategy<Value = Event> {
    ("[a-zé]{0,8}", args()).prop_map(|(name, args)| Event::new(name, args))
}

fn broadcast() -> impl Strategy<Value = Broadcast> {
    let offset = proptest::option::of("[0-9]{1,12}-[0-9]{1,3}");
    let flags = (any::<bool>(), any::<bool>(), any::<Option<u64>>());
    (selection(), flags, event(), offset).prop_map(|(selection, flags, event, offset)| Broadcast {
        selection,
        flags: Flags {
            volatile: flags.0,
            compress: flags.1,
            timeout_ms: flags.2,
        },
        event,
        offset: offset.map(|text| text.parse().expect("an offset")),
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let rooms = || (selection(), names());
    prop_oneof![
        broadcast().prop_map(Operation::Broadcast),
        rooms().prop_map(|(selection, rooms)| Operation::Join { selection, rooms }),
        rooms().prop_map(|(selection, rooms)| Operation::Leave { selection, rooms }),
        (selection(), any::<bool>())
            .prop_map(|(selection, close)| Operation::Disconnect { selection, close }),
        event().prop_map(Operation::ServerSide),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        broadcast().prop_map(Request::Broadcast),
        selection().prop_map(Request::FetchSockets),
        selection().prop_map(Request::Count),
        Just(Request::Rooms),
        event().prop_map(Request::ServerSide),
        operation().prop_map(Request::Apply),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let socket = ("[a-z]{0,5}", names(), args(), args());
    let socket = socket.prop_map(|(id, rooms, handshake, data)| SocketDetails {
        id: id.into(),
        rooms,
        handshake,
        data,
    });
    let room = ("[a-z]{0,5}", any::<Option<u32>>()).prop_map(|(name, sockets)| RoomSize {
        name: name.into(),
        sockets: sockets.map(u64::from),
    });
    prop_oneof![
        any::<u64>().prop_map(Answer::Clients),
        (any::<bool>(), args()).prop_map(|(named, args)| Answer::Ack {
            socket: named.then(|| "socket".into()),
            args,
        }),
        vec(socket, 0..3).prop_map(Answer::Sockets),
        any::<u64>().prop_map(Answer::Count),
        vec(room, 0..3).prop_map(Answer::Rooms),
        args().prop_map(Answer::ServerSide),
        Just(Answer::Done),
        Just(Answer::Absent),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        operation().prop_map(Body::Operation),
        (any::<u64>(), request()).prop_map(|(id, request)| Body::Request { id, request }),
        (any::<u64>(), answer()).prop_map(|(id, answer)| Body::Answer {
            id,
            to: "asker".into(),
            answer,
        }),
        Just(Body::Hello),
        Just(Body::Heartbeat),
        Just(Body::Goodbye),
    ]
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(body in body(), namespace in "/[a-z#]{0,5}", authentic: bool) {
        let key = authentic.then(|| key("s")).flatten();
        let sealer = Sealer::new("node-1".into(), 7, key.clone());
        let mut opener = Opener::new(8, key);
        for sequence in 1..3 {
            let message = sealer.seal(NOW, &namespace, &body);
            let envelope = opener.open(NOW, &message).expect("ours");
            prop_assert_eq!(envelope, Envelope {
                node: "node-1".into(),
                incarnation: 7,
                sequence,
                sent_ms: NOW,
                namespace: namespace.as_str().into(),
                body: body.clone(),
            });
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(mut bytes in vec(any::<u8>(), 0..200), kind in 0u8..8, sub in 0u8..8) {
        let mut opener = Opener::new(8, None);
        let _ = opener.open(NOW, &Bytes::from(bytes.clone()));
        // And behind a head that is right.
        let mut message = vec![MAGIC, VERSION, 0, kind, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, b'/', sub];
        message.append(&mut bytes);
        let _ = opener.open(NOW, &Bytes::from(message));
    }

    #[test]
    fn a_damaged_message_is_refused(body in body(), at: prop::sample::Index, bit in 0u8..8) {
        let sealer = Sealer::new("node-1".into(), 7, key("s"));
        let mut message = sealer.seal(NOW, "/", &body).to_vec();
        let at = at.index(message.len());
        message[at] ^= 1 << bit;
        prop_assert!(Opener::new(8, key("s")).open(NOW, &message.into()).is_err());
    }

    #[test]
    fn a_message_cut_short_is_refused(body in body(), at: prop::sample::Index) {
        let sealer = Sealer::new("node-1".into(), 7, None);
        let message = sealer.seal(NOW, "/", &body);
        let message = message.slice(..at.index(message.len()));
        prop_assert!(Opener::new(8, None).open(NOW, &message).is_err());
    }
}

#[test]
fn lengths_that_are_only_announced_cost_nothing() {
    let head = [
        MAGIC,
        VERSION,
        0,
        write::OPERATION,
        1,
        b'n',
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        1,
        b'/',
    ];
    for announced in [&[0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0xff; 10], &[0x80; 9]] {
        // A join whose list of rooms claims to be long.
        let message = [&head[..], &[2], announced].concat();
        let opened = Opener::new(8, None).open(NOW, &message.into());
        assert_eq!(opened, Err(Refused::Malformed));
    }
}

#[test]
fn strangers_on_the_same_channel_are_told_apart() {
    let mut opener = Opener::new(8, None);
    for (message, refused) in [
        (&b""[..], Refused::Foreign),
        (b"\xc1\x01\x00", Refused::Foreign),
        (b"{\"type\":2}", Refused::Foreign),
        (b"\x93\xa6abcdef\x83", Refused::Foreign),
        (b"\xc1\x02\x00\x01", Refused::Version(2)),
        (b"\xc1\x01\x80\x01", Refused::Malformed),
        (b"\xc1\x01\x00\x01", Refused::Malformed),
    ] {
        assert_eq!(opener.open(NOW, &Bytes::from_static(message)), Err(refused));
    }
}

#[test]
fn only_the_right_key_opens() {
    let sealed = |key| Sealer::new("a".into(), 7, key).seal(NOW, "/", &Body::Hello);
    let other_use = Some(BusKey::new(b"secret", "another-prefix"));
    for (theirs, ours, opens) in [
        (key("secret"), key("secret"), true),
        (None, None, true),
        (key("secret"), key("other"), false),
        (other_use, key("secret"), false),
        (key("secret"), None, false),
        (None, key("secret"), false),
    ] {
        let opened = Opener::new(8, ours).open(NOW, &sealed(theirs));
        assert_eq!(opened.is_ok(), opens);
        assert!(opens || opened == Err(Refused::Unauthenticated));
    }
}

#[test]
fn a_recorded_message_is_not_taken_again() {
    let sealer = Sealer::new("a".into(), 7, key("s"));
    let mut opener = Opener::new(8, key("s"));
    let recorded: Vec<_> = operations()
        .into_iter()
        .map(|operation| sealer.seal(NOW, "/", &Body::Operation(operation)))
        .collect();
    for message in recorded.iter().rev() {
        opener.open(NOW, message).expect("for the first time");
    }
    for message in &recorded {
        assert_eq!(opener.open(NOW, message), Err(Refused::Replayed));
    }
    // Not by a node that has started after it was sent, either.
    let later = NOW + Opener::TOLERANCE_MS + 1;
    for message in &recorded {
        let opened = Opener::new(9, key("s")).open(later, message);
        assert_eq!(opened, Err(Refused::Stale));
    }
}

#[test]
fn what_comes_back_is_known_as_our_own() {
    let sealer = Sealer::new("a".into(), 7, None);
    let message = sealer.seal(NOW, "/", &Body::Heartbeat);
    assert_eq!(Opener::new(7, None).open(NOW, &message), Err(Refused::Own));
}

#[test]
fn the_overhead_is_small() {
    let event = Event::new(
        "chat",
        Args::from_json("\"hello\"", Vec::new(), &Limits::default()).unwrap(),
    );
    let broadcast = Broadcast::new(Selection::rooms(["lobby"]), event);
    let body = Body::Operation(Operation::Broadcast(broadcast));
    let message = Sealer::new("node-1".into(), 7, None).seal(NOW, "/", &body);
    assert!(message.len() <= 60, "{} bytes", message.len());
}
