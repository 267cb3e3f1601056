//! What a handler may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};
use sockeye::{
    Args, Auth, Context, Data, DisconnectReason, EventError, EventName, FromEvent, Namespace,
    Server, Socket, State,
};

use crate::support::{Client, Running};

#[derive(Deserialize)]
struct User {
    name: String,
}

#[tokio::test]
async fn every_extractor_in_one_handler() {
    struct Counter(AtomicUsize);
    let builder = Server::builder()
        .workers(1)
        .state(Counter(AtomicUsize::new(41)));
    let running = Running::with(builder, |server| {
        server.of("/chat").on(
            "all",
            async |socket: Socket,
                   ns: Namespace,
                   server: Server,
                   state: State<Counter>,
                   Auth(user): Auth<User>,
                   event: EventName,
                   Data(first): Data<u8>,
                   rest: Args| {
                let count = state.0.0.fetch_add(1, Ordering::Relaxed) + 1;
                let seen = server
                    .state::<Counter>()
                    .map(|c| c.0.load(Ordering::Relaxed));
                let rest: Vec<Value> = rest.iter().map(|arg| arg.deserialize().unwrap()).collect();
                (
                    socket.id().to_owned(),
                    ns.name().to_owned(),
                    count,
                    seen,
                    user.name,
                    event.as_str().to_owned(),
                    first,
                    rest,
                )
            },
        );
    });
    let mut client = Client::open(running.address).await;
    client
        .join("/chat", Some(json!({"name": "ada"})))
        .await
        .expect("let in");
    client.wire.send(r#"42/chat,5["all",7,"x",null]"#).await;
    let answer = client.answer(5).await;
    let id = client.id.clone();
    assert_eq!(
        answer,
        [
            json!(id),
            json!("/chat"),
            json!(42),
            json!(42),
            json!("ada"),
            json!("all"),
            json!(7),
            json!(["x", null])
        ]
    );
}

#[tokio::test]
async fn arguments_that_are_missing_or_wrong_are_named() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("two", async |Data(_): Data<String>, Data(_): Data<u8>| "ok");
        ns.on("optional", async |Data(n): Data<Option<u8>>| Data(n));
        ns.on("auth", async |Auth(_): Auth<User>| ());
        ns.on("state", async |_: State<u128>| ());
        ns.on("reason", async |_: DisconnectReason| ());
    });
    let mut client = running.connect().await;
    let table = [
        ("two", json!(["a", 1]), None, ""),
        ("two", json!(["a", 1, "more is no fault"]), None, ""),
        (
            "two",
            json!([]),
            Some("bad_argument"),
            "argument 1: missing",
        ),
        (
            "two",
            json!(["a"]),
            Some("bad_argument"),
            "argument 2: missing",
        ),
        ("two", json!([1, 1]), Some("bad_argument"), "argument 1: "),
        (
            "two",
            json!(["a", 256]),
            Some("bad_argument"),
            "argument 2: ",
        ),
        ("optional", json!([]), None, ""),
        ("optional", json!([null]), None, ""),
        (
            "optional",
            json!(["x"]),
            Some("bad_argument"),
            "argument 1: ",
        ),
        ("auth", json!([]), Some("bad_argument"), "auth: "),
        (
            "state",
            json!([]),
            Some("internal"),
            "the server could not answer",
        ),
        ("reason", json!([]), Some("internal"), "no disconnection"),
    ];
    for (event, args, code, message) in table {
        let answer = client.call(event, args.clone()).await;
        let error = &answer[0]["error"];
        assert_eq!(error["code"].as_str(), code, "{event} {args}: {answer:?}");
        let said = error["message"].as_str().unwrap_or_default();
        assert!(said.starts_with(message), "{event} {args}: {said}");
    }
}

#[tokio::test]
async fn an_extractor_of_one_s_own() {
    struct Admin(String);
    impl FromEvent for Admin {
        fn from_event(context: &mut Context) -> Result<Self, EventError> {
            let name: String = context.next_argument()?;
            match name.strip_prefix("admin:") {
                Some(name) => Ok(Admin(format!("{name} at {}", context.event()))),
                None => Err(EventError::new("forbidden", "admins only")),
            }
        }
    }
    let running = Running::start(|server| {
        server
            .of("/")
            .on("do", async |Admin(name): Admin, Data(n): Data<u8>| {
                (name, n)
            });
    });
    let mut client = running.connect().await;
    let answer = client.call("do", json!(["admin:eve", 3])).await;
    assert_eq!(answer, [json!("eve at do"), json!(3)]);
    let answer = client.call("do", json!(["eve", 3])).await;
    assert_eq!(answer[0]["error"]["code"], "forbidden");
}

#[tokio::test]
async fn the_handshake_tells_headers_query_address_and_auth() {
    let running = Running::start(|server| {
        server.of("/").on("who", async |socket: Socket| {
            let handshake = socket.handshake();
            let address = handshake.address().map(|address| address.ip().to_string());
            let query = handshake.query_value("x");
            let auth = socket.auth::<Value>().ok();
            let agent = handshake.header("x-agent").map(str::to_owned);
            (
                address,
                query,
                agent,
                handshake.is_secure(),
                handshake.issued() > 0,
                auth,
            )
        });
    });
    let mut headers = http::HeaderMap::new();
    headers.insert("x-agent", "probe".parse().expect("a value"));
    let options = sockeye_websocket::handshake::ClientOptions {
        headers,
        ..Default::default()
    };
    let path = "/socket.io/?EIO=4&transport=websocket&x=%C3%A4";
    let wire = crate::support::Wire::open_with(running.address, path, options).await;
    let mut client = Client::over(wire.expect("accepted")).await;
    client
        .join("/", Some(json!({"token": 1})))
        .await
        .expect("let in");
    let answer = client.call("who", json!([])).await;
    assert_eq!(
        answer,
        [
            json!("127.0.0.1"),
            json!("ä"),
            json!("probe"),
            json!(false),
            json!(true),
            json!({"token": 1})
        ]
    );
}

#[tokio::test]
async fn data_and_extensions_stay_with_the_socket() {
    #[derive(Debug, PartialEq)]
    struct Local(u8);
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("set", async |socket: Socket, Data(value): Data<Value>| {
            assert!(socket.insert_extension(Local(1)).is_none());
            assert_eq!(socket.insert_extension(Local(2)), Some(Arc::new(Local(1))));
            socket.set_data(value)?;
            Ok::<_, EventError>(())
        });
        ns.on("get", async |socket: Socket| {
            let local = socket.extension::<Local>().map(|local| local.0);
            (
                socket.data::<Value>(),
                socket.data::<u8>(),
                socket.raw_data(),
                local,
            )
        });
    });
    let mut client = running.connect().await;
    let answer = client.call("get", json!([])).await;
    assert_eq!(answer, [Value::Null, Value::Null, Value::Null, Value::Null]);
    assert!(client.call("set", json!([{"a": [1]}])).await.is_empty());
    let answer = client.call("get", json!([])).await;
    assert_eq!(
        answer,
        [
            json!({"a": [1]}),
            Value::Null,
            json!(r#"{"a":[1]}"#),
            json!(2)
        ]
    );
    let found = running.server.of("/").fetch_sockets().await.found;
    assert_eq!(found[0].data::<Value>(), Some(json!({"a": [1]})));
}
