//! What a handler returns becomes the acknowledgement.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use sockeye::{Ack, Args, Binary, Data, EmitError, EventError, NoAck, Reply, Socket, ToArgs};

use crate::support::{Packet, Running};

#[derive(Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[tokio::test]
async fn every_row_of_the_table_of_return_values() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("unit", async || ());
        ns.on("string", async || "a".to_owned());
        ns.on("str", async || "b");
        ns.on("bool", async || true);
        ns.on("char", async || 'c');
        ns.on("i64", async || i64::MIN);
        ns.on("u64", async || u64::MAX);
        ns.on("f64", async || 1.5);
        ns.on("vec", async || vec![1, 2]);
        ns.on("json", async || json!({"k": [null]}));
        ns.on("value", async || sockeye::Value::from("v"));
        ns.on("binary", async || Binary(Bytes::from_static(b"12345")));
        ns.on("bytes", async || Bytes::from_static(b"123"));
        ns.on("data", async || Data(Point { x: 1, y: -1 }));
        ns.on("one", async || (1,));
        ns.on("two", async || (1, "two"));
        ns.on("eight", async || (1, 2, 3, 4, 5, 6, 7, vec![8]));
        ns.on("args", async |args: Args| args);
        ns.on("some", async || Some("s"));
        ns.on("ok", async || Ok::<_, EventError>(("o", "k")));
        ns.on("nested", async || {
            Ok::<_, EventError>(Some(Data(Point { x: 2, y: 3 })))
        });
        ns.on("reply", async |args: Args| Reply::Answer(args));
    });
    let mut client = running.connect().await;
    let table: [(&str, Value); 22] = [
        ("unit", json!([])),
        ("string", json!(["a"])),
        ("str", json!(["b"])),
        ("bool", json!([true])),
        ("char", json!(["c"])),
        ("i64", json!([i64::MIN])),
        ("u64", json!([u64::MAX])),
        ("f64", json!([1.5])),
        ("vec", json!([[1, 2]])),
        ("json", json!([{"k": [null]}])),
        ("value", json!(["v"])),
        ("binary", json!(["binary of 5"])),
        ("bytes", json!(["binary of 3"])),
        ("data", json!([{"x": 1, "y": -1}])),
        ("one", json!([1])),
        ("two", json!([1, "two"])),
        ("eight", json!([1, 2, 3, 4, 5, 6, 7, [8]])),
        ("args", json!(["given", 1])),
        ("some", json!(["s"])),
        ("ok", json!(["o", "k"])),
        ("nested", json!([{"x": 2, "y": 3}])),
        ("reply", json!(["given", 1])),
    ];
    for (event, answer) in table {
        let got = client.call(event, json!(["given", 1])).await;
        assert_eq!(json!(got), answer, "{event}");
    }
}

#[tokio::test]
async fn an_error_is_answered_with_code_message_and_data() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("plain", async || {
            Err::<(), _>(EventError::new("no_such_room", "try another"))
        });
        ns.on("data", async || {
            Err::<(), _>(EventError::new("busy", "later").with_data(json!({"retry": 5})))
        });
        ns.on("emit", async || Err::<(), _>(EmitError::Refused));
        // A map whose keys are no strings cannot be JSON: the cause is for the log.
        ns.on("unwritable", async || {
            Data(std::collections::HashMap::from([((1, 2), 3)]))
        });
    });
    let mut client = running.connect().await;
    let answer = client.call("plain", json!([])).await;
    let error = json!({"error": {"code": "no_such_room", "message": "try another"}});
    assert_eq!(answer, [error]);
    let answer = client.call("data", json!([])).await;
    let error = json!({"error": {"code": "busy", "message": "later", "data": {"retry": 5}}});
    assert_eq!(answer, [error]);
    for (event, code) in [("emit", "queue_full"), ("unwritable", "internal")] {
        let answer = client.call(event, json!([])).await;
        assert_eq!(answer[0]["error"]["code"], code, "{answer:?}");
    }
}

#[tokio::test]
async fn nothing_is_answered_for_no_ack_none_and_an_ack_that_was_taken() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("no ack", async || NoAck);
        ns.on("none", async || None::<()>);
        ns.on("reply none", async || Reply::None);
        ns.on("taken", async |_: Ack| ());
        ns.on("ok no ack", async || Ok::<_, EventError>(NoAck));
        ns.on("last", async || ());
    });
    let mut client = running.connect().await;
    for event in [
        "no ack",
        "none",
        "reply none",
        "taken",
        "ok no ack",
        "no handler at all",
    ] {
        client.ask(event, json!([])).await;
    }
    let last = client.ask("last", json!([])).await;
    let next = client.next().await;
    assert_eq!(next, Some(Packet::Ack("/".into(), last, vec![])));
}

#[tokio::test]
async fn the_ack_extractor_answers_later_and_once() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("later", async |ack: Ack, Data(n): Data<u32>| {
            assert!(ack.is_wanted());
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                ack.send((n + 1, "late")).expect("sent");
                ack.send("twice").expect("ignored");
                ack.clone().send("thrice").expect("ignored");
            });
            "not sent"
        });
        ns.on("failed", async |ack: Ack| {
            ack.error(&EventError::new("code", "text"))
        });
        ns.on("unasked", async |ack: Ack, socket: sockeye::Socket| {
            assert!(!ack.is_wanted());
            ack.send(1).expect("nothing to do");
            socket.emit("done", ()).expect("queued");
        });
    });
    let mut client = running.connect().await;
    assert_eq!(
        client.call("later", json!([1])).await,
        [json!(2), json!("late")]
    );
    let answer = client.call("failed", json!([])).await;
    assert_eq!(
        answer,
        [json!({"error": {"code": "code", "message": "text"}})]
    );
    client.emit("unasked", json!([])).await;
    assert!(client.expect("done").await.is_empty());
}

#[tokio::test]
async fn of_several_listeners_the_first_answer_wins() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("q", async || NoAck);
        ns.on("q", async || None::<u8>);
        ns.on("q", async || "second");
        ns.on("q", async |socket: sockeye::Socket| {
            socket.emit("third ran too", ()).expect("queued");
            "third"
        });
        // The one that took the right to answer has answered before the others return.
        ns.on("taken", async |ack: Ack| ack.send("by ack"));
        ns.on("taken", async || "by value");
    });
    let mut client = running.connect().await;
    let id = client.ask("q", json!([])).await;
    client.expect("third ran too").await;
    let answer = client.next().await;
    assert_eq!(
        answer,
        Some(Packet::Ack("/".into(), id, vec![json!("second")]))
    );

    let taken = client.ask("taken", json!([])).await;
    let id = client.ask("q", json!([])).await;
    let answer = client.next().await;
    assert_eq!(
        answer,
        Some(Packet::Ack("/".into(), taken, vec![json!("by ack")]))
    );
    client.expect("third ran too").await;
    let next = client.next().await;
    assert_eq!(
        next,
        Some(Packet::Ack("/".into(), id, vec![json!("second")]))
    );
}

#[tokio::test]
async fn raw_arguments_pass_byte_for_byte() {
    let running = Running::start(|server| {
        server.of("/").on("echo", async |args: Args| args);
        server.of("/").on("typed", async |Data(_): Data<u64>| ());
    });
    let mut client = running.connect().await;
    let odd = r#"[123456789012345678901234567890.10,"\ud800",1e400,{"a":1,"a":2}, {} ]"#;
    client.wire.send(&format!("421[\"echo\",{odd}]")).await;
    assert_eq!(client.wire.text().await, format!("431[{odd}]"));
    client.wire.send("422[\"typed\",1e400]").await;
    let answer = client.wire.text().await;
    assert!(answer.contains("bad_argument"), "{answer}");
}

#[tokio::test]
async fn with_the_msgpack_parser_answers_are_one_binary_message() {
    use sockeye_protocol::socketio::{
        Decoder, Limits, Parser, encode_connect_request, encode_event,
    };
    let builder = sockeye::Server::builder()
        .workers(1)
        .parser(Parser::Msgpack);
    let running = Running::with(builder, |server| {
        server
            .of("/")
            .on("add", async |Data(a): Data<i64>, Data(b): Data<i64>| a + b);
        server
            .of("/")
            .on("blob", async |blob: Data<Binary>| (blob.0, "same"));
    });
    let mut wire = crate::support::Wire::open(running.address, crate::support::client::PATH).await;
    assert!(wire.text().await.starts_with('0'));
    let connect = encode_connect_request(Parser::Msgpack, "/", None);
    wire.send_binary(&connect.first).await;
    let mut decoder = Decoder::new(Parser::Msgpack);
    let mut next = async |wire: &mut crate::support::Wire| match wire.recv().await {
        Some(crate::support::Frame::Binary(data)) => decoder
            .decode_binary(&Limits::default(), &data)
            .expect("a correct packet")
            .expect("a whole packet"),
        other => panic!("not binary: {other:?}"),
    };
    assert_eq!(
        next(&mut wire).await.kind,
        sockeye_protocol::socketio::PacketType::Connect
    );
    let args = (2, 40).to_args(Parser::Msgpack).expect("arguments");
    let event = encode_event(Parser::Msgpack, "/", Some(7), "add", &args);
    wire.send_binary(&event.first).await;
    let answer = next(&mut wire).await;
    assert_eq!(
        (answer.id, answer.args.deserialize::<(i64,)>().ok()),
        (Some(7), Some((42,)))
    );
    let blob = Binary(Bytes::from_static(&[0, 255, 1]));
    let args = (blob.clone(),).to_args(Parser::Msgpack).expect("arguments");
    let event = encode_event(Parser::Msgpack, "/", Some(8), "blob", &args);
    wire.send_binary(&event.first).await;
    let answer = next(&mut wire).await.args;
    assert_eq!(answer.get(0).and_then(|arg| arg.binary()), Some(blob.0));
}

/// An event whose answer is awaited aside leaves in the order in which it was emitted.
#[tokio::test]
async fn what_is_asked_is_asked_at_once_and_awaited_when_it_pleases() {
    let running = Running::start(|server| {
        server.of("/").on("ask", async |socket: Socket| {
            let asked = socket.emit_with_ack("question", 1);
            let refused = socket.emit_with_ack("connect", ());
            socket.emit("behind", ())?;
            tokio::spawn(async move {
                let answer = asked.await.expect("an answer");
                let _ = socket.emit("answered", answer.values());
                let error = refused.await.expect_err("a reserved name");
                let _ = socket.emit("refused", error.to_string());
            });
            Ok::<_, EventError>(())
        });
    });
    let mut client = running.connect().await;
    client.emit("ask", json!([])).await;
    let (name, id) = client.question().await;
    assert_eq!(name, "question");
    client.expect("behind").await;
    client.acknowledge(id, json!(["yes"])).await;
    assert_eq!(client.expect("answered").await, [json!(["yes"])]);
    let refused = client.expect("refused").await;
    assert!(
        refused[0]
            .as_str()
            .is_some_and(|why| why.contains("`connect`"))
    );
}
