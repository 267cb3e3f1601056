//! Every format reads what it writes; what Node.js writes is read as it is meant, byte for byte; and
//! anything else is refused.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_cluster::contract::bus::operations;
use sockeye_cluster::{
    Answer, Broadcast, Event, NodeId, Operation, Request, RoomSize, Selection, SocketDetails,
};
use sockeye_protocol::socketio::{Args, Binary, Parser, ToArgs};

use super::*;

fn args(args: impl ToArgs) -> Args {
    args.to_args(Parser::Json).unwrap()
}

fn message(payload: &str) -> Bytes {
    Bytes::copy_from_slice(payload.as_bytes())
}

fn told(from: &str, operation: Operation) -> Frame {
    Frame::Operation {
        from: Some(from.into()),
        operation,
    }
}

fn broadcast() -> Broadcast {
    let event = Event::new("hi", args((1, Binary(Bytes::from_static(b"\x01\x02")))));
    let mut broadcast = Broadcast::new(Selection::rooms(["a", "b"]).except(["c"]), event);
    broadcast.flags.timeout_ms = Some(500);
    broadcast
}

fn requests() -> Vec<Request> {
    vec![
        Request::Broadcast(broadcast()),
        Request::FetchSockets(Selection::rooms(["r"]).except(["s"])),
        Request::ServerSide(Event::new("ask", args(("x", vec![1, 2])))),
    ]
}

fn answers() -> Vec<Answer> {
    let socket = SocketDetails {
        id: "id-1".into(),
        rooms: vec!["id-1".into(), "r".into()],
        handshake: args((vec![("k", 1)],)),
        data: args(("user",)),
    };
    vec![
        Answer::Clients(3),
        Answer::Ack {
            socket: None,
            args: args((Binary(Bytes::from_static(b"ack")),)),
        },
        Answer::Sockets(vec![socket]),
        Answer::ServerSide(args((vec!["x"],))),
        Answer::ServerSide(Args::new()),
    ]
}

fn reply_to(node: &str) -> ReplyTo {
    ReplyTo {
        node: node.into(),
        id: "req".into(),
        form: ReplyForm::Usual,
    }
}

#[test]
fn classic_reads_what_it_writes() {
    let classic = Classic::new("p");
    for operation in operations() {
        let message = classic.operation("uid", "/n", &operation);
        let frame = if message.channel.starts_with("p#") {
            classic.read_broadcast("/n", &message.payload)
        } else {
            assert_eq!(message.channel, "p-request#/n#");
            classic.read_request(&message.payload)
        };
        assert_eq!(frame, Ok(told("uid", operation)));
    }
    for request in requests().into_iter().chain([Request::Rooms]) {
        let message = classic.request("uid", "/n", "req", &request).unwrap();
        let frame = classic.read_request(&message.payload).unwrap();
        let reply_to = reply_to("uid");
        assert_eq!(frame, Frame::Request { reply_to, request });
    }
    let rooms = vec![RoomSize {
        name: "r".into(),
        sockets: None,
    }];
    for answer in answers().into_iter().chain([Answer::Rooms(rooms)]) {
        let message = classic.answer("/n", &reply_to("uid"), &answer).unwrap();
        assert_eq!(message.channel, "p-response#/n#");
        let expected = Frame::Answer {
            from: None,
            id: "req".into(),
            answer,
        };
        assert_eq!(classic.read_response(&message.payload), Ok(expected));
    }
    let count = Request::Count(Selection::all());
    assert_eq!(classic.request("uid", "/", "req", &count), None);
}

#[test]
fn sharded_and_streams_read_what_they_write() {
    let (sharded, streams) = (Sharded::new("p", SubscriptionMode::Dynamic), Streams::new());
    for operation in operations() {
        let message = sharded.operation("uid", "/n", &operation);
        let frame = sharded.read("/n", &message.payload);
        assert_eq!(frame, Ok(told("uid", operation.clone())));

        let frame = match streams.server_side("uid", "/n", &operation) {
            Some(message) => streams.read("/n", &message.payload),
            None => {
                let entry = streams.operation("uid", "/n", &operation);
                let fields = entry.fields.iter().map(|(name, value)| (*name, &value[..]));
                let (nsp, frame) = streams.read_entry("1-0", fields).unwrap();
                assert_eq!(nsp, "/n");
                Ok(frame)
            }
        };
        let mut expected = operation;
        if let Operation::Broadcast(broadcast) = &mut expected
            && !broadcast.flags.volatile
        {
            broadcast.offset = Some("1-0".parse().unwrap());
        }
        assert_eq!(frame, Ok(told("uid", expected)));
    }
    for request in requests() {
        let reply_to = reply_to("uid");
        let frame = Frame::Request {
            reply_to,
            request: request.clone(),
        };
        let message = sharded.request("uid", "/n", "req", &request).unwrap();
        assert_eq!(message.channel, "p#/n#");
        assert_eq!(sharded.read("/n", &message.payload), Ok(frame.clone()));
        let message = streams.request("uid", "/n", "req", &request).unwrap();
        assert_eq!(streams.read("/n", &message.payload), Ok(frame));
    }
    for answer in answers() {
        let frame = Frame::Answer {
            from: Some("uid".into()),
            id: "req".into(),
            answer: answer.clone(),
        };
        let message = sharded.answer("uid", "/n", &reply_to("asker"), &answer);
        let message = message.unwrap();
        assert_eq!(message.channel, "p#/n#asker#");
        assert_eq!(sharded.read("/n", &message.payload), Ok(frame.clone()));
        let message = streams.answer("uid", "/n", &reply_to("asker"), &answer);
        let message = message.unwrap();
        assert_eq!(message.channel, "socket.io#/n#asker#");
        assert_eq!(streams.read("/n", &message.payload), Ok(frame));
    }
    let from = NodeId::from("uid");
    for (entry, expected) in [
        (
            streams.heartbeat("uid", "/n", true),
            Frame::Heartbeat {
                from: from.clone(),
                is_first: true,
            },
        ),
        (
            streams.heartbeat("uid", "/n", false),
            Frame::Heartbeat {
                from: from.clone(),
                is_first: false,
            },
        ),
        (streams.close("uid", "/n"), Frame::Close { from }),
    ] {
        let fields = entry.fields.iter().map(|(name, value)| (*name, &value[..]));
        assert_eq!(streams.read_entry("1-0", fields).unwrap().1, expected);
    }
}

/// Recorded from the packages; what is not of interest was shortened.
#[test]
fn classic_messages_of_node() {
    let classic = Classic::new("socket.io");
    let join = |rooms: &[&str]| Operation::Join {
        selection: Selection::rooms(["r"]),
        rooms: rooms.iter().map(|room| (*room).into()).collect(),
    };
    let usual = |id: &str| ReplyTo {
        node: "abc123".into(),
        id: id.into(),
        form: ReplyForm::Usual,
    };
    let requests: Vec<(&str, Frame)> = vec![
        (
            r#"{"uid":"abc123","type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["x","y"]}"#,
            told("abc123", join(&["x", "y"])),
        ),
        (
            // The emitter gives no uid.
            r#"{"type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["x"]}"#,
            Frame::Operation {
                from: None,
                operation: join(&["x"]),
            },
        ),
        (
            r#"{"uid":"abc123","type":4,"opts":{"rooms":[],"except":["e"]},"close":true}"#,
            told(
                "abc123",
                Operation::Disconnect {
                    selection: Selection::all().except(["e"]),
                    close: true,
                },
            ),
        ),
        (
            // Without `close`, as `undefined` is left out of JSON.
            r#"{"uid":"abc123","type":4,"opts":{"rooms":["r"],"except":[]}}"#,
            told(
                "abc123",
                Operation::Disconnect {
                    selection: Selection::rooms(["r"]),
                    close: false,
                },
            ),
        ),
        (
            r#"{"uid":"abc123","type":6,"data":["hello","world",{"a":1}]}"#,
            told(
                "abc123",
                Operation::ServerSide(Event::new(
                    "hello",
                    Args::from_json(r#""world",{"a":1}"#, Vec::new(), &Default::default()).unwrap(),
                )),
            ),
        ),
        (
            r#"{"uid":"abc123","requestId":"q1","type":5,"opts":{"rooms":["r"],"except":[]}}"#,
            Frame::Request {
                reply_to: usual("q1"),
                request: Request::FetchSockets(Selection::rooms(["r"])),
            },
        ),
        (
            r#"{"uid":"abc123","requestId":"q2","type":1}"#,
            Frame::Request {
                reply_to: usual("q2"),
                request: Request::Rooms,
            },
        ),
        (
            r#"{"uid":"abc123","requestId":"q3","type":0,"rooms":[]}"#,
            Frame::Request {
                reply_to: ReplyTo {
                    form: ReplyForm::Ids,
                    ..usual("q3")
                },
                request: Request::FetchSockets(Selection::all()),
            },
        ),
        (
            // As versions before 6 of the adapter asked.
            r#"{"uid":"abc123","requestId":"q4","type":2,"sid":"r","room":"x"}"#,
            Frame::Request {
                reply_to: ReplyTo {
                    form: ReplyForm::Bare,
                    ..usual("q4")
                },
                request: Request::Apply(join(&["x"])),
            },
        ),
    ];
    for (json, expected) in requests {
        let frame = classic.read_request(&message(json));
        assert_eq!(frame, Ok(expected), "{json}");
    }
    let ids = classic.answer(
        "/",
        &ReplyTo {
            form: ReplyForm::Ids,
            ..reply_to("x")
        },
        &answers()[2],
    );
    let expected = r#"{"requestId":"req","sockets":["id-1"]}"#;
    assert_eq!(ids.unwrap().payload, expected);
    // A server without an answer to give leaves `data` out.
    let frame = classic.read_response(&message(r#"{"type":6,"requestId":"q"}"#));
    let expected = Frame::Answer {
        from: None,
        id: "q".into(),
        answer: Answer::ServerSide(Args::new()),
    };
    assert_eq!(frame, Ok(expected));
}

#[test]
fn channels_are_those_of_node() {
    let classic = Classic::new("k").specific_responses(true);
    assert_eq!(classic.pattern("/a*[b]"), r"k#/a\*\[b\]#*");
    let to = |rooms: &[&str]| {
        let event = Event::new("e", Args::new());
        let selection = Selection::rooms(rooms.iter().copied());
        Operation::Broadcast(Broadcast::new(selection, event))
    };
    let id = "aaaaaaaaaaaaaaaaaaaa";
    let sharded = |mode, room: &str| {
        let message = Sharded::new("k", mode).operation("u", "/", &to(&[room]));
        message.channel
    };
    assert_eq!(classic.operation("u", "/", &to(&[])).channel, "k#/#");
    assert_eq!(classic.operation("u", "/", &to(&["r"])).channel, "k#/#r#");
    assert_eq!(
        classic.operation("u", "/", &to(&["r", "s"])).channel,
        "k#/#"
    );
    let answer = classic.answer("/", &reply_to("asker"), &Answer::Clients(1));
    assert_eq!(answer.unwrap().channel, "k-response#/#asker#");
    let answer = classic.answer("/", &reply_to("asker"), &answers()[3]);
    assert_eq!(answer.unwrap().channel, "k-response#/#");
    for (mode, room, channel) in [
        (SubscriptionMode::Static, "r", "k#/#"),
        (SubscriptionMode::Dynamic, "r", "k#/#r#"),
        (SubscriptionMode::Dynamic, id, "k#/#"),
        (
            SubscriptionMode::DynamicPrivate,
            id,
            "k#/#aaaaaaaaaaaaaaaaaaaa#",
        ),
    ] {
        assert_eq!(sharded(mode, room), channel);
    }
    for (channel, room) in [
        ("k#/a#", Some("")),
        ("k#/a#r#", Some("r")),
        ("k#/a#r#s#", Some("r#s")),
        ("k#/a##", Some("")),
        ("k#/a#r", None),
        ("k#/ab#r#", None),
        ("kk#/a#", None),
        ("", None),
    ] {
        assert_eq!(classic.room_of("/a", channel), room, "{channel}");
    }
}

#[test]
fn a_hash_below_zero_names_a_stream_that_node_does_not_read() {
    let streams = Streams::new().count(3);
    // Computed with the package.
    assert_eq!(streams.stream("/notifications"), "socket.io--2");
    assert_eq!(streams.stream("/"), "socket.io-2");
    assert!(streams.streams().contains(&"socket.io--2".to_owned()));
    assert_eq!(streams.streams().len(), 5);
    assert_eq!(Streams::new().stream("/notifications"), "socket.io");
}

#[test]
fn foreign_formats_on_the_same_channel_are_refused() {
    let classic = Classic::new("socket.io");
    let sharded = Sharded::new("socket.io", SubscriptionMode::Dynamic);
    let streams = Streams::new();
    for operation in operations() {
        let of_sharded = sharded.operation("u", "/", &operation);
        let of_classic = classic.operation("u", "/", &operation);
        assert!(classic.read_broadcast("/", &of_sharded.payload).is_err());
        assert!(sharded.read("/", &of_classic.payload).is_err());
        assert!(streams.read("/", &of_classic.payload).is_err());
        assert!(
            classic
                .read_broadcast("/other", &of_classic.payload)
                .is_err()
        );
        assert!(sharded.read("/other", &of_sharded.payload).is_err());
    }
    for payload in [
        &b""[..],
        b"{",
        b"{}",
        b"null",
        b"[]",
        b"\xc1\x01\x00\x01",
        b"hello",
        b"\x93\xc0\xc0\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xff\xfe",
    ] {
        let payload = Bytes::from_static(payload);
        assert!(classic.read_broadcast("/", &payload).is_err());
        assert!(classic.read_request(&payload).is_err());
        assert!(classic.read_response(&payload).is_err());
        assert!(sharded.read("/", &payload).is_err());
        assert!(streams.read("/", &payload).is_err());
    }
    let deep = "[".repeat(100_000);
    let deep = message(&format!("{{\"type\":6,\"data\":{deep}"));
    assert!(classic.read_request(&deep).is_err());
    let deep = Bytes::from(vec![0x91; 100_000]);
    assert!(classic.read_broadcast("/", &deep).is_err());
}

/// JSON of the right keys with anything behind them.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        (0i64..16).prop_map(|n| n.to_string()),
        "[a-z]{0,4}".prop_map(|s| format!("\"{s}\"")),
    ];
    let key = prop_oneof![
        Just("type"),
        Just("data"),
        Just("uid"),
        Just("nsp"),
        Just("requestId"),
        Just("packet"),
        Just("opts"),
        Just("rooms"),
        Just("except"),
        Just("flags"),
        Just("sockets"),
        Just("id"),
    ];
    let tree = leaf.prop_recursive(4, 40, 6, move |inner| {
        let pair = (key.clone(), inner.clone()).prop_map(|(k, v)| format!("\"{k}\":{v}"));
        prop_oneof![
            vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec(pair, 0..8).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
        ]
    });
    tree.prop_filter("an object", |text| text.starts_with('{'))
}

fn read_all(payload: &Bytes) {
    let classic = Classic::new("p");
    let _ = classic.read_broadcast("/", payload);
    let _ = classic.read_request(payload);
    let _ = classic.read_response(payload);
    let _ = Sharded::new("p", SubscriptionMode::Static).read("/", payload);
    let _ = Streams::new().read("/", payload);
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(payload in vec(any::<u8>(), 0..200)) {
        read_all(&payload.into());
    }

    #[test]
    fn anything_of_the_right_shape_is_read_or_refused(json in json(), kind in 0u64..16) {
        let payload = message(&json);
        read_all(&payload);
        // The same as MessagePack.
        if let Ok(value) = codec::read(&payload) {
            read_all(&codec::to_msgpack(&value));
        }
        let (kind, streams) = (kind.to_string(), Streams::new());
        let fields = [("uid", "u"), ("nsp", "/"), ("type", &*kind), ("data", &*json)];
        let _ = streams.read_entry("1-0", fields);
    }

    #[test]
    fn damaged_messages_are_read_or_refused(which: prop::sample::Index, at: prop::sample::Index, byte: u8) {
        let operations = operations();
        let operation = &operations[which.index(operations.len())];
        for message in [
            Classic::new("p").operation("uid", "/", operation),
            Sharded::new("p", SubscriptionMode::Static).operation("uid", "/", operation),
        ] {
            let mut payload = message.payload.to_vec();
            let at = at.index(payload.len());
            payload[at] = byte;
            read_all(&payload.into());
        }
    }
}
