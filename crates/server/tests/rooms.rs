//! The contract of docs/serve-protocol.md, seen by clients.

mod support;

use serde_json::{Value, json};
use support::client::{Client, Message};
use support::server::Server;

/// A client that has had its welcome.
fn client(server: &Server) -> Client {
    let mut client = Client::connect(server);
    let welcome = client.expect("welcome");
    assert_eq!(welcome["id"], client.id.as_str());
    client
}

fn member(client: &Client, name: &str) -> Value {
    json!({"id": client.id, "name": name})
}

/// Members in an order of their own.
fn sorted(answer: &Value) -> Vec<Value> {
    let mut members = answer["members"].as_array().expect("members").clone();
    members.sort_by_key(|member| member["id"].as_str().map(str::to_owned));
    members
}

fn sorted_members(mut members: Vec<Value>) -> Vec<Value> {
    members.sort_by_key(|member| member["id"].as_str().map(str::to_owned));
    members
}

#[test]
fn welcome_is_the_first_event_and_names_the_node() {
    let server = Server::start(&["--node-name", "reef"]);
    let mut client = Client::connect(&server);
    let welcome = client.expect("welcome");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        welcome,
        json!({"id": client.id, "node": "reef", "version": version})
    );
}

#[test]
fn a_room_with_many_members_is_told_of_by_their_number() {
    let server = Server::start(&["--workers", "2", "--max-listed-members", "2"]);
    let mut clients: Vec<Client> = (0..4).map(|_| client(&server)).collect();
    let join = json!(["join", "hall"]);
    for (n, client) in clients.iter_mut().enumerate() {
        let answer = client.call(join.clone());
        let listed = answer["members"].as_array().expect("members").len();
        let expected = match n {
            0 | 1 => (n + 1, Value::Null),
            _ => (0, json!(n + 1)),
        };
        assert_eq!((listed, answer["count"].clone()), expected, "{answer}");
    }
    let second = clients[1].id.clone();
    assert_eq!(clients[0].expect("member:joined")["id"], second.as_str());
    // Several changes may be told at once; the last of them is the truth.
    let until = |client: &mut Client, count: usize, listed: bool| {
        let event = json!({"room": "hall", "count": count, "listed": listed});
        while client.expect("room:count") != event {}
    };
    for client in &mut clients {
        until(client, 4, false);
    }
    let answer = clients[0].call(json!(["members", "hall"]));
    assert_eq!(answer, json!({"room": "hall", "members": [], "count": 4}));
    assert_eq!(
        clients[0].call(json!(["publish", "hall", "x"]))["delivered"],
        3
    );
    for client in &mut clients[1..] {
        client.expect("message");
    }
    drop(clients.pop());
    clients[2].call(json!(["leave", "hall"]));
    for client in &mut clients[..2] {
        until(client, 2, true);
    }
    let answer = clients[0].call(json!(["members", "hall"]));
    assert_eq!(answer["members"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["count"], Value::Null);
    // And each of them by name again.
    clients[1].call(json!(["leave", "hall"]));
    let left = clients[0].expect("member:left");
    assert_eq!(
        (&left["id"], &left["reason"]),
        (&json!(second), &json!("leave"))
    );
}

#[test]
fn members_come_talk_and_go() {
    let server = Server::start(&["--workers", "2"]);
    let (mut ada, mut ben) = (client(&server), client(&server));

    let answer = ada.call(json!(["join", "lobby", {"name": "Ada"}]));
    assert_eq!(
        answer,
        json!({"room": "lobby", "members": [member(&ada, "Ada")]})
    );
    let answer = ben.call(json!(["join", "lobby"]));
    assert_eq!(answer["room"], "lobby");
    assert_eq!(
        sorted(&answer),
        sorted_members(vec![member(&ada, "Ada"), member(&ben, "")])
    );
    assert_eq!(
        ada.expect("member:joined"),
        json!({"room": "lobby", "id": ben.id, "name": ""})
    );

    let data = json!({"text": "Hello", "n": [1, 2.5, null]});
    assert_eq!(
        ben.call(json!(["publish", "lobby", "chat", data])),
        json!({"delivered": 1})
    );
    let message = ada.expect("message");
    assert_eq!(message["room"], "lobby");
    assert_eq!(message["event"], "chat");
    assert_eq!(message["from"], member(&ben, ""));
    assert_eq!(message["data"], data);
    assert!(message["at"].as_u64().expect("milliseconds") > 1_700_000_000_000);
    assert_eq!(message.as_object().expect("an object").len(), 5);
    ben.expect_silence();

    assert_eq!(
        ada.call(json!(["publish", "lobby", "wave"])),
        json!({"delivered": 1})
    );
    assert_eq!(ben.expect("message")["data"], Value::Null);

    assert_eq!(
        ben.call(json!(["leave", "lobby"])),
        json!({"room": "lobby"})
    );
    let left = ada.expect("member:left");
    assert_eq!(
        left,
        json!({"room": "lobby", "id": ben.id, "name": "", "reason": "leave"})
    );
    assert_eq!(
        ada.call(json!(["members", "lobby"])),
        json!({"room": "lobby", "members": [member(&ada, "Ada")]})
    );
    ben.expect_silence();
}

#[test]
fn whoever_goes_is_seen_to_go_with_the_reason() {
    let server = Server::start(&["--ping-interval-ms", "300", "--ping-timeout-ms", "200"]);
    let mut ada = client(&server);
    ada.call(json!(["join", "a"]));
    ada.call(json!(["join", "b"]));
    let goes = |name: &str| {
        let mut client = client(&server);
        client.call(json!(["join", "a", {"name": name}]));
        client
    };
    let seen = |ada: &mut Client, id: &str, name: &str, reason: &str| {
        assert_eq!(ada.expect("member:joined")["id"], id);
        let left = ada.expect("member:left");
        assert_eq!(
            left,
            json!({"room": "a", "id": id, "name": name, "reason": reason})
        );
    };

    let client = goes("leaves the namespace");
    let id = client.id.clone();
    client.disconnect();
    seen(
        &mut ada,
        &id,
        "leaves the namespace",
        "client namespace disconnect",
    );

    let client = goes("is cut");
    let id = client.id.clone();
    drop(client);
    seen(&mut ada, &id, "is cut", "transport close");

    let mut client = goes("sends nonsense");
    client.send_raw("4x");
    seen(&mut ada, &client.id, "sends nonsense", "parse error");

    let client = goes("falls silent");
    seen(&mut ada, &client.id, "falls silent", "ping timeout");
    drop(client);

    assert_eq!(
        ada.call(json!(["members", "a"])),
        json!({"room": "a", "members": [member(&ada, "")]})
    );
}

#[test]
fn whoever_is_in_two_rooms_leaves_both() {
    let server = Server::start(&[]);
    let (mut ada, mut ben) = (client(&server), client(&server));
    for room in ["a", "b"] {
        ada.call(json!(["join", room]));
        ben.call(json!(["join", room, {"name": format!("Ben in {room}")}]));
        assert_eq!(
            ada.expect("member:joined")["name"],
            format!("Ben in {room}")
        );
    }
    let id = ben.id.clone();
    drop(ben);
    let mut rooms: Vec<Value> = (0..2).map(|_| ada.expect("member:left")).collect();
    rooms.sort_by_key(|left| left["room"].as_str().map(str::to_owned));
    let left = |room: &str| {
        let name = format!("Ben in {room}");
        json!({"room": room, "id": id, "name": name, "reason": "transport close"})
    };
    assert_eq!(rooms, [left("a"), left("b")]);
}

#[test]
fn joining_again_tells_others_only_of_another_name() {
    let server = Server::start(&[]);
    let (mut ada, mut ben) = (client(&server), client(&server));
    ada.call(json!(["join", "lobby"]));
    ben.call(json!(["join", "lobby", {"name": "Ben"}]));
    assert_eq!(ada.expect("member:joined")["name"], "Ben");

    ben.call(json!(["join", "lobby", {"name": "Ben"}]));
    let answer = ben.call(json!(["join", "lobby"]));
    assert!(sorted(&answer).contains(&member(&ben, "Ben")), "{answer}");
    ada.expect_silence();

    ben.call(json!(["join", "lobby", {"name": "Benedict"}]));
    assert_eq!(ada.expect("member:joined")["name"], "Benedict");
    assert_eq!(sorted(&ada.call(json!(["members", "lobby"]))).len(), 2);
}

#[test]
fn events_sent_without_waiting_are_handled_in_order() {
    let server = Server::start(&[]);
    let (mut ada, mut ben) = (client(&server), client(&server));
    ada.call(json!(["join", "lobby"]));
    ben.emit(json!(["join", "lobby"]));
    for n in 0..100 {
        ben.emit(json!(["publish", "lobby", "n", n]));
    }
    ben.emit(json!(["leave", "lobby"]));
    ada.expect("member:joined");
    for n in 0..100 {
        assert_eq!(ada.expect("message")["data"], n);
    }
    ada.expect("member:left");
}

#[test]
fn rooms_are_those_one_has_joined() {
    let server = Server::start(&[]);
    let mut ada = client(&server);
    assert_eq!(ada.call(json!(["rooms"])), json!({"rooms": []}));
    ada.call(json!(["join", "b"]));
    ada.call(json!(["join", "a"]));
    let mut rooms = ada.call(json!(["rooms"]))["rooms"]
        .as_array()
        .expect("rooms")
        .clone();
    rooms.sort_by_key(|room| room.as_str().map(str::to_owned));
    assert_eq!(rooms, ["a", "b"]);
    assert_eq!(
        ada.call(json!(["members", "empty"])),
        json!({"room": "empty", "members": []})
    );
    assert_eq!(
        ada.call(json!(["leave", "never joined"])),
        json!({"room": "never joined"})
    );
}

/// A room named like somebody's id is a room like others, and reaches nobody's own messages.
#[test]
fn a_room_named_like_an_id_is_an_ordinary_room() {
    let server = Server::start(&[]);
    let (mut ada, mut ben) = (client(&server), client(&server));
    let room = ada.id.clone();
    let answer = ben.call(json!(["join", room]));
    assert_eq!(sorted(&answer), [member(&ben, "")]);
    assert_eq!(
        ben.call(json!(["publish", room, "x"])),
        json!({"delivered": 0})
    );
    ada.expect_silence();
}

#[test]
fn what_is_wrong_is_answered_with_its_code() {
    let server = Server::start(&["--max-rooms", "2"]);
    let mut ada = client(&server);
    let long = "x".repeat(129);
    for (call, code) in [
        (json!(["join"]), "bad_argument"),
        (json!(["join", 1]), "bad_argument"),
        (json!(["join", ""]), "room_name"),
        (json!(["join", "a\u{0}b"]), "room_name"),
        (json!(["join", long]), "room_name"),
        (json!(["join", "a", {"name": 1}]), "bad_argument"),
        (
            json!(["join", "a", {"name": "x".repeat(65)}]),
            "bad_argument",
        ),
        (json!(["join", "a", "Ada"]), "bad_argument"),
        (json!(["leave", ""]), "room_name"),
        (json!(["members", {}]), "bad_argument"),
        (json!(["publish", "a", "chat", 1]), "not_a_member"),
        (json!(["publish", "a"]), "bad_argument"),
        (json!(["publish", "a", 1, 1]), "bad_argument"),
        (json!(["publish", "a", "", 1]), "bad_argument"),
        (json!(["publish", "a", long, 1]), "bad_argument"),
        (json!(["no such event"]), "bad_argument"),
    ] {
        assert_eq!(ada.refused(call.clone()), code, "{call}");
    }
    assert_eq!(ada.call(json!(["rooms"])), json!({"rooms": []}));
    ada.call(json!(["join", "1"]));
    ada.call(json!(["join", "2"]));
    let answer = ada.call(json!(["join", "3"]));
    assert_eq!(answer["error"]["code"], "too_many_rooms");
    assert_eq!(answer["error"]["data"]["limit"], 2);
    assert_eq!(
        ada.call(json!(["members", "3"])),
        json!({"room": "3", "members": []})
    );
    ada.call(json!(["join", "2"]));
}

#[test]
fn ping_tells_the_time() {
    let server = Server::start(&[]);
    let answer = client(&server).call(json!(["ping"]));
    assert!(answer["now"].as_u64().expect("milliseconds") > 1_700_000_000_000);
}

#[test]
fn binary_data_is_passed_on() {
    let server = Server::start(&[]);
    let (mut ada, mut ben) = (client(&server), client(&server));
    ada.call(json!(["join", "files"]));
    ben.call(json!(["join", "files"]));
    ada.expect("member:joined");
    let placeholder = json!({"_placeholder": true, "num": 0});
    let packet = json!(["publish", "files", "file", {"name": "a", "bytes": placeholder}]);
    ben.send_raw(&format!("451-{packet}"));
    ben.socket().send_binary(&[0, 255, 7]);

    let Some(Message::Text(text)) = ada.socket().next() else {
        panic!("no packet")
    };
    let message = text
        .strip_prefix("451-")
        .unwrap_or_else(|| panic!("{text}"));
    let message: Value = serde_json::from_str(message).expect("JSON");
    assert_eq!(message[0], "message");
    assert_eq!(
        message[1]["data"],
        json!({"name": "a", "bytes": placeholder})
    );
    assert_eq!(ada.socket().next(), Some(Message::Binary(vec![0, 255, 7])));
}

/// Numbers beyond 64 bits, escapes of half a character, spaces: nothing is read that need not be.
#[test]
fn data_is_passed_on_byte_for_byte() {
    let server = Server::start(&[]);
    let (mut ada, mut ben) = (client(&server), client(&server));
    ada.call(json!(["join", "a"]));
    ben.call(json!(["join", "a"]));
    ada.expect("member:joined");
    let data = r#"{"big":123456789012345678901234567890.10,"half":"\ud800", "e":1E+2}"#;
    ben.send_raw(&format!(r#"42["publish","a","x",{data}]"#));
    let Some(Message::Text(text)) = ada.socket().next() else {
        panic!("no message")
    };
    assert!(text.contains(&format!(r#""data":{data},"at":"#)), "{text}");
}

/// The deepest data that a packet may hold has no room for one level more.
#[test]
fn data_that_is_too_deep_for_a_message_is_refused() {
    let server = Server::start(&[]);
    let mut ada = client(&server);
    ada.call(json!(["join", "a"]));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    ada.send_raw(&format!(r#"427["publish","a","x",{}]"#, nested(999)));
    let Some(Message::Text(text)) = ada.socket().next() else {
        panic!("no answer")
    };
    assert!(
        text.starts_with(r#"437[{"error":{"code":"bad_argument""#),
        "{text}"
    );
    ada.send_raw(&format!(r#"428["publish","a","x",{}]"#, nested(998)));
    let answer = Message::Text(r#"438[{"delivered":0}]"#.to_owned());
    assert_eq!(ada.socket().next(), Some(answer));
}

/// Whoever is recovered is in its rooms again, with its name; the others see it go and come.
#[test]
fn a_recovered_member_is_announced_again() {
    let server = Server::start(&["--recovery"]);
    let mut ada = Client::connect(&server);
    // With recovery an event ends with its offset.
    let next = |client: &mut Client| {
        let Some(Message::Text(text)) = client.socket().next() else {
            panic!("no event")
        };
        let event = text.strip_prefix("42").unwrap_or_else(|| panic!("{text}"));
        serde_json::from_str::<Value>(event).expect("JSON")
    };
    assert_eq!(next(&mut ada)[0], "welcome");
    ada.call(json!(["join", "a"]));
    let mut ben = Client::connect(&server);
    let offset = next(&mut ben)[2].as_str().expect("an offset").to_owned();
    ben.call(json!(["join", "a", {"name": "Ben"}]));
    assert_eq!(next(&mut ada)[0], "member:joined");
    let (id, pid) = (ben.id.clone(), ben.pid.clone().expect("a recovery id"));
    drop(ben);
    assert_eq!(next(&mut ada)[0], "member:left");

    let ben = Client::connect_with(&server, &json!({"pid": pid, "offset": offset}));
    assert_eq!(ben.id, id);
    let joined = next(&mut ada);
    assert_eq!(joined[0], "member:joined");
    assert_eq!(joined[1], json!({"room": "a", "id": id, "name": "Ben"}));
}
