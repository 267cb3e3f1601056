//! The wire formats against the published packages: what Node.js publishes is understood, and what we
//! publish reaches a stock client of a Node.js server.

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use common::{NodePeer, PATIENCE, RedisServer, until};
use redis::{ConnectionLike, Value as RedisValue};
use serde_json::json;
use sockeye_cluster::{
    Answer, Broadcast, Event, Flags, NodeId, Operation, Request, RoomName, Selection, SocketDetails,
};
use sockeye_protocol::socketio::{Args, Binary, Parser, ToArgs};
use sockeye_redis::wire::{
    Classic, Entry, Frame, Message, ReplyTo, Sharded, Streams, SubscriptionMode,
};
use sockeye_redis::{Commands, Emitter};

const NSP: &str = "/chat";
const UID: &str = "rust01";

#[derive(Clone)]
enum Format {
    Classic(Classic),
    Sharded(Sharded),
    Streams(Streams),
}

/// A node that consists of its wire format and nothing else.
struct Ours {
    format: Format,
    connection: redis::Connection,
    frames: Receiver<Frame>,
    /// Frames that were passed over.
    kept: Vec<Frame>,
}

impl Ours {
    fn start(format: Format, redis: &RedisServer, rooms: &[&str]) -> Self {
        let (sender, frames) = channel();
        let channels = match &format {
            Format::Classic(classic) => vec![
                ("PSUBSCRIBE", classic.pattern(NSP)),
                ("SUBSCRIBE", classic.request_channel(NSP)),
                ("SUBSCRIBE", classic.response_channel(NSP)),
                ("SUBSCRIBE", classic.own_response_channel(NSP, UID)),
            ],
            Format::Sharded(sharded) => {
                let rooms = rooms
                    .iter()
                    .filter_map(|room| sharded.room_channel(NSP, room));
                [sharded.channel(NSP), sharded.node_channel(NSP, UID)]
                    .into_iter()
                    .chain(rooms)
                    .map(|channel| ("SSUBSCRIBE", channel))
                    .collect()
            }
            Format::Streams(streams) => vec![
                ("SUBSCRIBE", streams.channel(NSP)),
                ("SUBSCRIBE", streams.node_channel(NSP, UID)),
            ],
        };
        let mut listening = redis.client();
        for (command, channel) in &channels {
            let command = redis::cmd(command).arg(channel).get_packed_command();
            let _: RedisValue = listening.req_packed_command(&command).expect("subscribed");
        }
        if let Format::Streams(streams) = &format {
            read_streams(streams.clone(), redis.client(), sender.clone());
        }
        listen(format.clone(), listening, sender);
        Self {
            format,
            connection: redis.client(),
            frames,
            kept: Vec::new(),
        }
    }

    fn publish(&mut self, Message { channel, payload }: Message) {
        let command = match &self.format {
            Format::Sharded(_) => "SPUBLISH",
            _ => "PUBLISH",
        };
        let heard: i64 = redis::cmd(command)
            .arg(channel)
            .arg(&payload[..])
            .query(&mut self.connection)
            .expect("published");
        assert!(heard > 0, "somebody listens");
    }

    fn add(&mut self, entry: &Entry) {
        let mut command = redis::cmd("XADD");
        command.arg(&entry.stream).arg("MAXLEN").arg("~");
        let command = command.arg(entry.max_len).arg("*").arg(&entry.fields);
        let _: String = command.query(&mut self.connection).expect("added");
    }

    fn tell(&mut self, operation: &Operation) {
        let message = match &self.format {
            Format::Classic(classic) => classic.operation(UID, NSP, operation),
            Format::Sharded(sharded) => sharded.operation(UID, NSP, operation),
            Format::Streams(streams) => match streams.server_side(UID, NSP, operation) {
                Some(message) => message,
                None => {
                    let entry = streams.operation(UID, NSP, operation);
                    return self.add(&entry);
                }
            },
        };
        self.publish(message);
    }

    fn ask(&mut self, id: &str, request: &Request) {
        let message = match &self.format {
            Format::Classic(classic) => classic.request(UID, NSP, id, request),
            Format::Sharded(sharded) => sharded.request(UID, NSP, id, request),
            Format::Streams(streams) => streams.request(UID, NSP, id, request),
        };
        self.publish(message.expect("the format has it"));
    }

    fn answer(&mut self, to: &ReplyTo, answer: &Answer) {
        let message = match &self.format {
            Format::Classic(classic) => classic.answer(NSP, to, answer),
            Format::Sharded(sharded) => sharded.answer(UID, NSP, to, answer),
            Format::Streams(streams) => streams.answer(UID, NSP, to, answer),
        };
        self.publish(message.expect("the format has it"));
    }

    /// The next operation of another node.
    fn hears(&mut self) -> Operation {
        let frame = self.wait(|frame| matches!(frame, Frame::Operation { .. }));
        let Frame::Operation { operation, .. } = frame else {
            unreachable!()
        };
        plain(operation)
    }

    /// The next request of another node.
    fn is_asked(&mut self) -> (ReplyTo, Request) {
        let frame = self.wait(|frame| matches!(frame, Frame::Request { .. }));
        let Frame::Request { reply_to, request } = frame else {
            unreachable!()
        };
        (reply_to, request)
    }

    /// The next answer to a request of ours.
    fn gets(&mut self, id: &str) -> Answer {
        let frame = self.wait(|frame| matches!(frame, Frame::Answer { id: of, .. } if **of == *id));
        let Frame::Answer { answer, .. } = frame else {
            unreachable!()
        };
        answer
    }

    fn wait(&mut self, is_it: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(at) = self.kept.iter().position(&is_it) {
            return self.kept.remove(at);
        }
        loop {
            let frame = self.frames.recv_timeout(PATIENCE);
            let frame = frame.unwrap_or_else(|_| panic!("only {:?}", self.kept));
            if is_it(&frame) {
                return frame;
            }
            self.kept.push(frame);
        }
    }
}

/// Publish/subscribe, until the server goes.
fn listen(format: Format, mut connection: redis::Connection, frames: Sender<Frame>) {
    std::thread::spawn(move || {
        while let Ok(value) = connection.recv_response() {
            let (RedisValue::Array(parts) | RedisValue::Push { data: parts, .. }) = value else {
                continue;
            };
            let text = |value: &RedisValue| match value {
                RedisValue::BulkString(bytes) => Bytes::copy_from_slice(bytes),
                RedisValue::SimpleString(text) => Bytes::copy_from_slice(text.as_bytes()),
                _ => Bytes::new(),
            };
            let [.., channel, payload] = &parts[..] else {
                continue;
            };
            let (channel, payload) = (text(channel), text(payload));
            let channel = std::str::from_utf8(&channel).expect("UTF-8");
            let frame = match &format {
                Format::Classic(classic) if channel.contains("-request#") => {
                    classic.read_request(&payload)
                }
                Format::Classic(classic) if channel.contains("-response#") => {
                    classic.read_response(&payload)
                }
                Format::Classic(classic) => classic.read_broadcast(NSP, &payload),
                Format::Sharded(sharded) => sharded.read(NSP, &payload),
                Format::Streams(streams) => streams.read(NSP, &payload),
            };
            let frame = frame.unwrap_or_else(|error| panic!("{error} on {channel}: {payload:?}"));
            if !is_ours(&frame) && frames.send(frame).is_err() {
                return;
            }
        }
    });
}

/// Streams, until the server goes.
fn read_streams(streams: Streams, mut connection: redis::Connection, frames: Sender<Frame>) {
    std::thread::spawn(move || {
        let mut last = "0".to_owned();
        loop {
            let found: redis::RedisResult<redis::streams::StreamReadReply> = redis::cmd("XREAD")
                .arg("BLOCK")
                .arg(200)
                .arg("STREAMS")
                .arg(streams.stream(NSP))
                .arg(&last)
                .query(&mut connection);
            let Ok(found) = found else { return };
            for entry in found.keys.into_iter().flat_map(|key| key.ids) {
                let fields: Vec<(String, String)> = entry
                    .map
                    .iter()
                    .map(|(name, value)| {
                        let value = redis::from_redis_value_ref(value).expect("text");
                        (name.clone(), value)
                    })
                    .collect();
                let fields = fields.iter().map(|(name, value)| (&**name, &**value));
                let read = streams.read_entry(&entry.id, fields);
                let (nsp, frame) = read.expect("an entry of Node.js");
                assert_eq!(nsp, NSP);
                last = entry.id;
                if !is_ours(&frame) && frames.send(frame).is_err() {
                    return;
                }
            }
        }
    });
}

fn is_ours(frame: &Frame) -> bool {
    let is_us = |node: &NodeId| node.as_str() == UID;
    match frame {
        Frame::Operation { from, .. } | Frame::Answer { from, .. } => {
            from.as_ref().is_some_and(is_us)
        }
        Frame::Request { reply_to, .. } => is_us(&reply_to.node),
        _ => false,
    }
}

/// Without the offset, of which the sender knows nothing.
fn plain(mut operation: Operation) -> Operation {
    if let Operation::Broadcast(broadcast) = &mut operation {
        broadcast.offset = None;
    }
    operation
}

fn args(args: impl ToArgs) -> Args {
    args.to_args(Parser::Json).expect("serialisable")
}

fn raw(json: &str) -> Args {
    Args::from_json(json, Vec::new(), &Default::default()).expect("valid")
}

fn broadcast(selection: Selection, name: &str, args: Args) -> Broadcast {
    Broadcast::new(selection, Event::new(name, args))
}

fn tell(selection: Selection, name: &str, args: Args) -> Operation {
    Operation::Broadcast(broadcast(selection, name, args))
}

fn bin(bytes: &'static [u8]) -> Binary {
    Binary(Bytes::from_static(bytes))
}

fn names(names: &[&str]) -> Vec<RoomName> {
    names.iter().map(|name| (*name).into()).collect()
}

/// Both directions of everything, with one Node.js server.
fn both_directions(mode: &str, format: Format) {
    let redis = RedisServer::start();
    let mut ours = Ours::start(format.clone(), &redis, &["r1", "far", "one"]);
    let mut node = NodePeer::start(mode, redis.port);
    wait_for_subscriptions(&format, &redis);
    operations_of_node(&mut ours, &mut node);
    questions_of_node(&mut ours, &mut node);
    let has_rooms = matches!(format, Format::Classic(_));
    if has_rooms {
        rooms_of_both(&mut ours, &mut node);
    }
    operations_of_ours(&mut ours, &mut node);
    questions_of_ours(&mut ours, &mut node);
    hostile_neighbours(&mut ours, &mut node);
    goodbye(&mut ours, &mut node);
}

/// Node.js subscribes without waiting.
fn wait_for_subscriptions(format: &Format, redis: &RedisServer) {
    let mut connection = redis.client();
    let (command, channel) = match format {
        Format::Classic(classic) => ("NUMSUB", classic.request_channel(NSP)),
        Format::Sharded(sharded) => ("SHARDNUMSUB", sharded.channel(NSP)),
        Format::Streams(streams) => ("NUMSUB", streams.channel(NSP)),
    };
    until("the peer subscribes", || {
        let mut numsub = redis::cmd("PUBSUB");
        let numsub = numsub.arg(command).arg(&channel);
        let (_, count): (String, i64) = numsub.query(&mut connection).expect("answered");
        count == 2
    });
    if let Format::Classic(classic) = format {
        // The pattern of broadcasts is the last of its subscriptions but for the response channels.
        let channel = classic.response_channel(NSP);
        until("the peer listens to responses", || {
            let mut numsub = redis::cmd("PUBSUB");
            let numsub = numsub.arg("NUMSUB").arg(&channel);
            let (_, count): (String, i64) = numsub.query(&mut connection).expect("answered");
            count == 2
        });
    }
    if let Format::Streams(_) = format {
        until("the peer reads the stream", || {
            let mut list = redis::cmd("CLIENT");
            let list: String = list.arg("LIST").query(&mut connection).expect("answered");
            list.matches("cmd=xread").count() == 2
        });
    }
}

fn operations_of_node(ours: &mut Ours, node: &mut NodePeer) {
    let flags = |volatile, compress| Flags {
        volatile,
        compress,
        timeout_ms: None,
    };
    let with = |flags, broadcast: Broadcast| Operation::Broadcast(Broadcast { flags, ..broadcast });
    let cases = [
        (
            json!({"do": "emit", "event": "plain", "args": ["é🦀", 1, -2.5, true, null, {"a": []}]}),
            tell(
                Selection::all(),
                "plain",
                raw(r#""é🦀",1,-2.5,true,null,{"a":[]}"#),
            ),
        ),
        (
            json!({"do": "emit", "rooms": ["far"], "event": "one", "args": [{"$bin": "AP8="}]}),
            tell(Selection::rooms(["far"]), "one", args((bin(b"\0\xff"),))),
        ),
        (
            json!({"do": "emit", "rooms": ["a", "b"], "except": ["c"], "volatile": true, "event": "two"}),
            with(
                flags(true, true),
                broadcast(
                    Selection::rooms(["a", "b"]).except(["c"]),
                    "two",
                    Args::new(),
                ),
            ),
        ),
        (
            json!({"do": "emit", "except": ["c"], "compress": false, "event": "three", "args": [{"x": {"$bin": "AQ=="}}, {"$bin": ""}]}),
            with(
                flags(false, false),
                broadcast(
                    Selection::all().except(["c"]),
                    "three",
                    Args::from_json(
                        r#"{"x":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}"#,
                        vec![Bytes::from_static(&[1]), Bytes::new()],
                        &Default::default(),
                    )
                    .expect("valid"),
                ),
            ),
        ),
        (
            // JavaScript's dates become text, as they do for clients of Node.js.
            json!({"do": "emit", "event": "date", "args": [{"$date": 1700000000123u64}, {"$date": 1700000000000u64}]}),
            tell(
                Selection::all(),
                "date",
                args(("2023-11-14T22:13:20.123Z", "2023-11-14T22:13:20.000Z")),
            ),
        ),
        (
            json!({"do": "join", "rooms": ["far"], "except": ["x"], "names": ["p", "q"]}),
            Operation::Join {
                selection: Selection::rooms(["far"]).except(["x"]),
                rooms: names(&["p", "q"]),
            },
        ),
        (
            json!({"do": "leave", "names": "p"}),
            Operation::Leave {
                selection: Selection::all(),
                rooms: names(&["p"]),
            },
        ),
        (
            json!({"do": "disconnect", "rooms": ["far"], "close": true}),
            Operation::Disconnect {
                selection: Selection::rooms(["far"]),
                close: true,
            },
        ),
        (
            json!({"do": "disconnect", "rooms": ["far"]}),
            Operation::Disconnect {
                selection: Selection::rooms(["far"]),
                close: false,
            },
        ),
        (
            json!({"do": "server", "event": "hello", "args": [1, {"a": "b"}]}),
            Operation::ServerSide(Event::new("hello", raw(r#"1,{"a":"b"}"#))),
        ),
    ];
    for (command, expected) in cases {
        node.run(command);
        assert_eq!(ours.hears(), expected);
    }
    // What was for everybody has reached the peer's own client as well.
    assert_eq!(node.client_hears()[0], "plain");
    assert_eq!(node.client_hears()[0], "three");
    assert_eq!(node.client_hears()[0], "date");
}

fn questions_of_node(ours: &mut Ours, node: &mut NodePeer) {
    let asked = node.send(json!({"do": "fetch", "rooms": ["far"], "except": ["x"]}));
    let (to, request) = ours.is_asked();
    let selection = Selection::rooms(["far"]).except(["x"]);
    assert_eq!(request, Request::FetchSockets(selection));
    let socket = SocketDetails {
        id: "ours".into(),
        rooms: names(&["ours", "far"]),
        handshake: raw(r#"{"address":"::1"}"#),
        data: raw(r#"{"user":"rust"}"#),
    };
    ours.answer(&to, &Answer::Sockets(vec![socket]));
    let expected = json!([{"id": "ours", "rooms": ["ours", "far"], "data": {"user": "rust"}}]);
    assert_eq!(node.result(asked), expected);

    let asked = node.send(json!({"do": "ask-servers", "event": "ask", "args": [1]}));
    let (to, request) = ours.is_asked();
    assert_eq!(request, Request::ServerSide(Event::new("ask", raw("1"))));
    ours.answer(&to, &Answer::ServerSide(raw(r#"{"from":"rust"}"#)));
    assert_eq!(node.result(asked), json!([{"from": "rust"}]));

    let command =
        json!({"do": "ask-clients", "timeout": 5000, "event": "q", "args": [{"$bin": "AQI="}]});
    let asked = node.send(command);
    let (to, request) = ours.is_asked();
    let Request::Broadcast(broadcast) = request else {
        panic!("{request:?}")
    };
    assert_eq!(broadcast.event, Event::new("q", args((bin(b"\x01\x02"),))));
    assert_eq!(broadcast.flags.timeout_ms, Some(5_000));
    ours.answer(&to, &Answer::Clients(2));
    for answer in [args((bin(b"\x07"),)), raw(r#"{"ok":true}"#)] {
        ours.answer(
            &to,
            &Answer::Ack {
                socket: None,
                args: answer,
            },
        );
    }
    let mut answers = node.result(asked).as_array().expect("a list").clone();
    answers.sort_by_key(ToString::to_string);
    assert_eq!(
        answers,
        [
            json!({"$bin": "AQL/"}),
            json!({"$bin": "Bw=="}),
            json!({"ok": true})
        ]
    );
    assert_eq!(node.client_hears(), json!(["q", {"$bin": "AQI="}]));
}

fn rooms_of_both(ours: &mut Ours, node: &mut NodePeer) {
    let asked = node.send(json!({"do": "all-rooms"}));
    let (to, request) = ours.is_asked();
    assert_eq!(request, Request::Rooms);
    let room = |name: &str| sockeye_cluster::RoomSize {
        name: name.into(),
        sockets: Some(4),
    };
    ours.answer(&to, &Answer::Rooms(vec![room("ours"), room("r1")]));
    let rooms = node.result(asked);
    assert!(
        rooms
            .as_array()
            .is_some_and(|all| all.contains(&json!("ours"))),
        "{rooms}"
    );

    ours.ask("rooms", &Request::Rooms);
    let Answer::Rooms(rooms) = ours.gets("rooms") else {
        panic!("another answer")
    };
    let mut found: Vec<_> = rooms.iter().map(|room| &*room.name).collect();
    found.sort_unstable();
    let mut expected = vec!["r1", &*node.socket];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

fn operations_of_ours(ours: &mut Ours, node: &mut NodePeer) {
    let nested = r#"{"x":[{"_placeholder":true,"num":0}]},"é🦀",-2.5"#;
    let nested = Args::from_json(
        nested,
        vec![Bytes::from_static(b"\0\xff")],
        &Default::default(),
    );
    let nested = nested.expect("valid");
    let own_room = node.socket.clone();
    for (selection, event, arguments, expected) in [
        (
            Selection::all(),
            "all",
            nested,
            json!(["all", {"x": [{"$bin": "AP8="}]}, "é🦀", -2.5]),
        ),
        (
            Selection::rooms(["r1"]),
            "room",
            raw("1"),
            json!(["room", 1]),
        ),
        (
            Selection::rooms(["r1", "x"]),
            "rooms",
            raw("2"),
            json!(["rooms", 2]),
        ),
        (
            Selection::all().except(["x"]),
            "except",
            Args::new(),
            json!(["except"]),
        ),
        (
            Selection::rooms([&*own_room]),
            "id",
            raw("null"),
            json!(["id", null]),
        ),
    ] {
        // Not for it: would arrive first.
        ours.tell(&tell(Selection::all().except(["r1"]), "wrong", Args::new()));
        ours.tell(&tell(selection, event, arguments));
        assert_eq!(node.client_hears(), expected);
    }
    let joins = Operation::Join {
        selection: Selection::rooms(["r1"]),
        rooms: names(&["one", "two"]),
    };
    ours.tell(&joins);
    until("the socket has joined", || {
        node.run(json!({"do": "local"}))[0]["rooms"]
            .as_array()
            .is_some_and(|rooms| rooms.len() == 4)
    });
    // Subscribing to the channel of a room is what Node.js does not wait for in the dynamic modes, so
    // this goes to two rooms.
    ours.tell(&tell(Selection::rooms(["one", "x"]), "joined", Args::new()));
    assert_eq!(node.client_hears(), json!(["joined"]));
    ours.tell(&Operation::Leave {
        selection: Selection::rooms(["two"]),
        rooms: names(&["one"]),
    });
    ours.tell(&tell(Selection::rooms(["one", "x"]), "wrong", Args::new()));
    ours.tell(&tell(Selection::rooms(["two", "x"]), "left", Args::new()));
    assert_eq!(node.client_hears(), json!(["left"]));
    let hello = Event::new("hello", raw(r#"{"a":1},"b""#));
    ours.tell(&Operation::ServerSide(hello));
    assert_eq!(node.server_hears(), json!(["hello", {"a": 1}, "b"]));
}

fn questions_of_ours(ours: &mut Ours, node: &mut NodePeer) {
    ours.ask("f1", &Request::FetchSockets(Selection::rooms(["r1"])));
    let Answer::Sockets(sockets) = ours.gets("f1") else {
        panic!("another answer")
    };
    assert_eq!(sockets.len(), 1);
    assert_eq!(*sockets[0].id, *node.socket);
    assert!(sockets[0].rooms.contains(&"r1".into()));
    assert_eq!(sockets[0].data, raw(r#"{"user":"node"}"#));
    let handshake = sockets[0].handshake.get(0).expect("a handshake").to_value();
    assert_eq!(handshake["address"].as_str(), Some("127.0.0.1"));
    ours.ask(
        "f2",
        &Request::FetchSockets(Selection::all().except(["r1"])),
    );
    assert_eq!(ours.gets("f2"), Answer::Sockets(Vec::new()));

    let event = Event::new("ask", raw("[1,2]"));
    ours.ask("s1", &Request::ServerSide(event));
    let expected = Answer::ServerSide(raw(r#"{"from":"node"}"#));
    assert_eq!(ours.gets("s1"), expected);
    assert_eq!(node.server_hears(), json!(["ask", [1, 2]]));

    for (id, selection, clients) in [
        ("b1", Selection::rooms(["r1"]), 1),
        ("b2", Selection::rooms(["nobody"]), 0),
    ] {
        let mut broadcast = broadcast(selection, "q", args((bin(b"\x05"),)));
        broadcast.flags.timeout_ms = Some(5_000);
        ours.ask(id, &Request::Broadcast(broadcast));
        assert_eq!(ours.gets(id), Answer::Clients(clients));
    }
    let acknowledged = Answer::Ack {
        socket: None,
        args: args((bin(b"\x01\x02\xff"),)),
    };
    assert_eq!(ours.gets("b1"), acknowledged);
    assert_eq!(node.client_hears(), json!(["q", {"$bin": "BQ=="}]));
}

/// What we send must not end a Node.js server, nor be taken by it where it is not meant to be.
fn hostile_neighbours(ours: &mut Ours, node: &mut NodePeer) {
    let strange = Event::new("strange", raw(r##"{"__proto__":{"x":1},"":"","a#b":"#"}"##));
    for room in ["#", "a#b", "*", "é🦀", "\n"] {
        let broadcast = Broadcast::new(Selection::rooms([room]), strange.clone());
        match &ours.format {
            // Nobody has a channel for it.
            Format::Sharded(_) => {}
            _ => ours.tell(&Operation::Broadcast(broadcast)),
        }
    }
    ours.tell(&tell(Selection::all(), "still", Args::new()));
    assert_eq!(node.client_hears(), json!(["still"]));
}

fn goodbye(ours: &mut Ours, node: &mut NodePeer) {
    ours.tell(&Operation::Disconnect {
        selection: Selection::rooms(["r1"]).except(["nobody"]),
        close: false,
    });
    let line = node.wait(|line| line.get("disconnected").is_some());
    assert_eq!(line["disconnected"], "io server disconnect");
}

#[test]
fn classic_both_directions() {
    both_directions("classic", Format::Classic(Classic::new("socket.io")));
}

#[test]
fn classic_with_specific_responses_both_directions() {
    let classic = Classic::new("socket.io").specific_responses(true);
    both_directions("classic-specific", Format::Classic(classic));
}

#[test]
fn sharded_both_directions() {
    for (mode, name) in [
        (SubscriptionMode::Static, "sharded-static"),
        (SubscriptionMode::Dynamic, "sharded-dynamic"),
        (SubscriptionMode::DynamicPrivate, "sharded-dynamic-private"),
    ] {
        both_directions(name, Format::Sharded(Sharded::new("socket.io", mode)));
    }
}

#[test]
fn streams_both_directions() {
    both_directions("streams", Format::Streams(Streams::new()));
}

/// The published emitter of the classic adapter.
#[test]
fn the_emitter_of_node_is_understood() {
    let redis = RedisServer::start();
    let format = Format::Classic(Classic::new("socket.io"));
    let mut ours = Ours::start(format.clone(), &redis, &[]);
    let mut node = NodePeer::start("classic", redis.port);
    wait_for_subscriptions(&format, &redis);
    let selection = || Selection::rooms(["far"]).except(["x"]);
    let flags = Flags {
        volatile: true,
        compress: false,
        timeout_ms: None,
    };
    for (command, expected) in [
        (
            json!({"do": "emit", "rooms": ["far"], "except": ["x"], "volatile": true, "compress": false, "event": "e", "args": [{"$bin": "AQ=="}, "x"]}),
            Operation::Broadcast(Broadcast {
                flags,
                ..broadcast(selection(), "e", args((bin(b"\x01"), "x")))
            }),
        ),
        (
            json!({"do": "join", "rooms": ["far"], "except": ["x"], "names": "p"}),
            Operation::Join {
                selection: selection(),
                rooms: names(&["p"]),
            },
        ),
        (
            json!({"do": "leave", "rooms": ["far"], "except": ["x"], "names": ["p"]}),
            Operation::Leave {
                selection: selection(),
                rooms: names(&["p"]),
            },
        ),
        (
            json!({"do": "disconnect", "rooms": ["far"], "except": ["x"], "close": true}),
            Operation::Disconnect {
                selection: selection(),
                close: true,
            },
        ),
        (
            json!({"do": "server", "event": "hello", "args": [1]}),
            Operation::ServerSide(Event::new("hello", raw("1"))),
        ),
    ] {
        let mut command = command;
        command["emitter"] = json!(true);
        node.run(command);
        assert_eq!(ours.hears(), expected);
    }
}

/// Our emitter, through the servers that the published ones are made for.
#[test]
fn our_emitter_reaches_clients_of_node() {
    for mode in ["classic", "sharded-dynamic", "streams"] {
        let redis = RedisServer::start();
        let (format, emitter) = match mode {
            "classic" => {
                let classic = Classic::new("socket.io");
                (Format::Classic(classic.clone()), Emitter::classic(classic))
            }
            "sharded-dynamic" => {
                let sharded = Sharded::new("socket.io", SubscriptionMode::Dynamic);
                (Format::Sharded(sharded.clone()), Emitter::sharded(sharded))
            }
            _ => (
                Format::Streams(Streams::new()),
                Emitter::streams(Streams::new()),
            ),
        };
        // Only to know when the peer listens.
        let _ours = Ours::start(format.clone(), &redis, &[]);
        let mut node = NodePeer::start(mode, redis.port);
        wait_for_subscriptions(&format, &redis);
        let mut connection = redis.client();
        let mut send = |commands: Commands| {
            let pipeline = commands.to_pipeline();
            pipeline.exec(&mut connection).expect("sent");
        };
        let chat = emitter.of("chat");
        // Node.js does not say when it has subscribed to the channel of a room: two rooms have none.
        let to = |room: &str| match &format {
            Format::Sharded(_) => chat.to(room).to("nobody"),
            _ => chat.to(room),
        };
        send(chat.to("nobody").emit("wrong", ()).expect("serialisable"));
        send(
            to("r1")
                .emit("e", (bin(b"\x01"), "x"))
                .expect("serialisable"),
        );
        assert_eq!(node.client_hears(), json!(["e", {"$bin": "AQ=="}, "x"]));
        send(chat.to("r1").sockets_join(["r2"]));
        send(
            to("r2")
                .except("x")
                .volatile()
                .emit("joined", 1)
                .expect("serialisable"),
        );
        assert_eq!(node.client_hears(), json!(["joined", 1]));
        send(chat.to("r2").sockets_leave(["r1"]));
        send(to("r1").emit("wrong", ()).expect("serialisable"));
        send(
            chat.server_side_emit("hello", ("a", 1))
                .expect("serialisable"),
        );
        assert_eq!(node.server_hears(), json!(["hello", "a", 1]));
        send(chat.to("r2").disconnect_sockets(true));
        node.wait(|line| line.get("disconnected").is_some());
    }
}
