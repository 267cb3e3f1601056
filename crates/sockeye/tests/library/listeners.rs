//! Registering and taking back: once, off, any, outgoing, middleware.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sockeye::{Args, Auth, ConnectError, Data, EventError, EventName, NoAck, Socket, SocketState};

use crate::support::{Client, Running};

#[tokio::test]
async fn listeners_of_a_socket_come_after_the_namespace_s_and_go_with_it() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("order", async |socket: Socket| {
            socket.emit("namespace", ()).expect("queued");
        });
        ns.on_connection(async |socket: Socket| {
            socket.on("order", async |socket: Socket| {
                socket.emit("own", ()).expect("queued");
                "own"
            });
        });
    });
    for _ in 0..2 {
        let mut client = running.connect().await;
        assert!(
            client.call("order", json!([])).await.is_empty(),
            "the first answer is `()`"
        );
        client.expect("namespace").await;
        client.expect("own").await;
    }
}

#[tokio::test]
async fn once_off_and_off_event() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("setup", async |socket: Socket| {
            socket.once("once", async || "only the first time");
            let id = socket.on("off", async || "still there");
            socket.on("off", async |socket: Socket| {
                socket.emit("second", ()).expect("queued");
            });
            socket.on("take back", move |socket: Socket| async move {
                (socket.off(id), socket.off(id))
            });
            socket.on("take all", async |socket: Socket| {
                (socket.off_event("off"), socket.off_event("off"))
            });
        });
        ns.on("sync", async || ());
    });
    let mut client = running.connect().await;
    client.call("setup", json!([])).await;
    assert_eq!(
        client.call("once", json!([])).await,
        [json!("only the first time")]
    );
    client.ask("once", json!([])).await;
    assert_eq!(client.call("off", json!([])).await, [json!("still there")]);
    client.expect("second").await;
    assert_eq!(
        client.call("take back", json!([])).await,
        [json!(true), json!(false)]
    );
    assert!(
        client.call("off", json!([])).await.is_empty(),
        "the second listener's `()`"
    );
    client.expect("second").await;
    assert_eq!(
        client.call("take all", json!([])).await,
        [json!(true), json!(false)]
    );
    client.ask("off", json!([])).await;
    assert!(client.heard_until("sync").await.is_empty());
}

#[tokio::test]
async fn a_namespace_s_listeners_can_be_taken_back_while_it_serves() {
    let running = Running::start(|server| {
        server.of("/").on("sync", async || ());
    });
    let ns = running.server.of("/");
    let mut client = running.connect().await;
    let listener = ns.on("late", async || 1);
    assert_eq!(client.call("late", json!([])).await, [json!(1)]);
    let guard = ns.event_middleware(async || Err::<(), _>(EventError::new("shut", "shut")));
    assert_eq!(
        client.call("late", json!([])).await[0]["error"]["code"],
        "shut"
    );
    assert!(ns.off(guard));
    assert!(ns.off(listener));
    assert!(!ns.off(listener));
    let unanswered = client.ask("late", json!([])).await;
    client.call("sync", json!([])).await;
    let door = ns.middleware(async || Err::<(), _>(ConnectError::new("closed")));
    let refused = Client::open(running.address).await.join("/", None).await;
    assert_eq!(refused, Err(json!({"message": "closed"})));
    assert!(ns.off(door));
    running.connect().await;
    assert!(unanswered > 0);
}

#[tokio::test]
async fn catch_all_listeners_see_events_in_and_out() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let note = move |what: &str, name: &str, args: &Args| {
        let args: Vec<Value> = args.iter().map(|arg| arg.deserialize().unwrap()).collect();
        log.lock()
            .unwrap()
            .push(format!("{what} {name} {}", json!(args)));
    };
    let running = Running::start(|server| {
        let ns = server.of("/");
        let (incoming, outgoing, own) = (note.clone(), note.clone(), note.clone());
        ns.on_any(move |name: EventName, args: Args| {
            incoming("any", &name, &args);
            std::future::ready(sockeye::NoAck)
        });
        ns.on_any_outgoing(move |_, name, args| outgoing("out", name, args));
        ns.on_connection(move |socket: Socket| {
            let (incoming, outgoing) = (own.clone(), own.clone());
            socket.on_any(move |name: EventName, args: Args| {
                incoming("own any", &name, &args);
                std::future::ready(sockeye::NoAck)
            });
            socket.on_any_outgoing(move |_, name, args| outgoing("own out", name, args));
            std::future::ready(())
        });
        ns.on("known", async |socket: Socket| {
            socket.emit("single", 1)?;
            socket.within("/nowhere").emit("many", 2)?;
            Ok::<_, EventError>("answer")
        });
    });
    let mut client = running.connect().await;
    assert_eq!(client.call("known", json!(["x"])).await, [json!("answer")]);
    client.ask("unknown", json!([])).await;
    client.call("known", json!([])).await;
    let seen = seen.lock().unwrap().clone();
    let first = [
        r#"any known ["x"]"#,
        r#"own any known ["x"]"#,
        "out single [1]",
        "own out single [1]",
        "any unknown []",
        "own any unknown []",
    ];
    assert_eq!(seen[..6], first);
}

#[tokio::test]
async fn middleware_refuses_events_and_sees_their_arguments() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.event_middleware(async |name: EventName, args: Args| match &*name {
            "forbidden" => Err(EventError::new("forbidden", "not you").with_data(args.len())),
            _ => Ok(()),
        });
        ns.on_connection(async |socket: Socket| {
            socket.middleware(async |Data(first): Data<Option<u8>>| match first {
                Some(n) if n > 100 => Err(EventError::bad_argument("too much")),
                _ => Ok(()),
            });
        });
        ns.on("forbidden", async || unreachable_handler());
        ns.on("count", async |Data(n): Data<u8>| n);
    });
    let mut client = running.connect().await;
    let answer = client.call("forbidden", json!([1, 2])).await;
    assert_eq!(
        answer,
        [json!({"error": {"code": "forbidden", "message": "not you", "data": 2}})]
    );
    assert_eq!(client.call("count", json!([100])).await, [json!(100)]);
    let answer = client.call("count", json!([101])).await;
    assert_eq!(answer[0]["error"]["message"], "too much");
    assert_eq!(running.metric("handler_panics").await, 0);
}

#[tokio::test]
async fn middleware_of_a_namespace_runs_in_order_and_may_wait() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.middleware(async |socket: Socket| {
            assert_eq!(socket.state(), SocketState::Connecting);
            assert!(
                socket
                    .emit("early", ())
                    .is_err_and(|error| error.is_refused())
            );
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            socket.set_data("first").expect("JSON");
            socket.join(["early", "left"]).await.expect("joined");
            socket.leave("left").await.expect("left");
        });
        ns.middleware(async |socket: Socket, Auth(auth): Auth<Option<Value>>| {
            assert_eq!(socket.data::<String>().as_deref(), Some("first"));
            match auth {
                Some(auth) if auth["token"] == "secret" => Ok(()),
                auth => Err(ConnectError::new("wrong token").with_data(auth)),
            }
        });
        ns.on("rooms", async |socket: Socket| socket.rooms().await);
    });
    let mut client = Client::open(running.address).await;
    let refused = client.join("/", None).await;
    assert_eq!(
        refused,
        Err(json!({"message": "wrong token", "data": null}))
    );
    let refused = client.join("/", Some(json!({"token": "other"}))).await;
    assert_eq!(
        refused,
        Err(json!({"message": "wrong token", "data": {"token": "other"}}))
    );
    client
        .join("/", Some(json!({"token": "secret"})))
        .await
        .expect("the same connection may try again");
    let rooms = client.call("rooms", json!([])).await;
    assert_eq!(rooms, [json!([client.id, "early"])]);
    assert_eq!(running.metric("connects_refused").await, 2);
}

fn unreachable_handler() {
    panic!("its middleware has refused");
}

#[tokio::test]
async fn once_for_a_namespace_first_of_any_and_send() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.once("claim", async || "yours");
        ns.on("note", async |socket: Socket| {
            socket.send(("noted", 1)).map(|_| ())
        });
        ns.on_any(async |socket: Socket, event: EventName| {
            socket.emit("second", event.as_str()).map(|_| NoAck)
        });
        ns.prepend_any(async |socket: Socket| socket.emit("first", ()).map(|_| NoAck));
    });
    let mut client = running.connect().await;
    client.emit("note", json!([])).await;
    client.expect("first").await;
    assert_eq!(client.expect("second").await, [json!("note")]);
    assert_eq!(client.expect("message").await, [json!("noted"), json!(1)]);
    let mut other = running.connect().await;
    assert_eq!(other.call("claim", json!([])).await, [json!("yours")]);
    client.ask("claim", json!([])).await;
    client.emit("note", json!([])).await;
    for name in ["first", "second", "first", "second", "message"] {
        client.expect(name).await;
    }
}

#[tokio::test]
async fn what_has_no_listener_goes_to_the_fallback_and_nothing_else_does() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.on("known", async || "known");
        ns.on_fallback(async |name: EventName, args: Args| (name.to_string(), args.len()));
        ns.on("own", async |socket: Socket| {
            socket.on("mine", async || "mine");
            socket.on_fallback(async |socket: Socket, name: EventName| {
                socket.emit("own fallback", &*name).map(|_| "too late")
            });
        });
        ns.on("catch all", async |socket: Socket| {
            socket.on_any(async || NoAck);
        });
    });
    let mut client = running.connect().await;
    assert_eq!(client.call("known", json!([])).await, [json!("known")]);
    let unknown = [json!("unknown"), json!(2)];
    assert_eq!(client.call("unknown", json!([1, 2])).await, unknown);
    client.call("own", json!([])).await;
    assert_eq!(client.call("known", json!([])).await, [json!("known")]);
    assert_eq!(client.call("mine", json!([])).await, [json!("mine")]);
    assert_eq!(client.call("unknown", json!([1, 2])).await, unknown);
    assert_eq!(client.expect("own fallback").await, [json!("unknown")]);
    client.call("catch all", json!([])).await;
    assert_eq!(client.call("unknown", json!([1, 2])).await, unknown);
    assert_eq!(client.expect("own fallback").await, [json!("unknown")]);
    assert_eq!(client.call("mine", json!([])).await, [json!("mine")]);
}

#[tokio::test]
async fn listeners_are_listed_in_the_order_in_which_they_run() {
    let mut connected = None;
    let running =
        Running::start(|server| connected = Some(crate::support::sockets(&server.of("/"))));
    let mut client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let ns = running.server.of("/");
    let first = ns.on("b", async |socket: Socket| {
        socket.emit("1", ()).map(|_| NoAck)
    });
    let second = ns.on("b", async |socket: Socket| {
        socket.emit("2", ()).map(|_| NoAck)
    });
    let once = ns.once("a", async || ());
    assert_eq!(ns.listeners("b"), [first, second]);
    assert_eq!(ns.listeners("a"), [once]);
    assert!(ns.listeners("c").is_empty() && !ns.has_listeners("c") && ns.has_listeners("a"));
    assert_eq!(ns.event_names(), [Arc::from("a"), Arc::from("b")]);
    assert!(socket.listeners("b").is_empty() && socket.event_names().is_empty());
    let own = socket.on("b", async || "own");
    assert_eq!(
        (socket.listeners("b"), socket.has_listeners("b")),
        (vec![own], true)
    );
    assert_eq!(socket.event_names(), [Arc::from("b")]);

    let any = ns.on_any(async || NoAck);
    let before = ns.prepend_any(async || NoAck);
    assert_eq!(ns.listeners_any(), [before, any]);
    let own_any = socket.on_any(async || NoAck);
    let own_before = socket.prepend_any(async || NoAck);
    assert_eq!(socket.listeners_any(), [own_before, own_any]);

    let seen = Arc::new(Mutex::new(String::new()));
    let note = |mark: char| {
        let seen = seen.clone();
        move |_: &Socket, _: &str, _: &Args| seen.lock().unwrap().push(mark)
    };
    let out = ns.on_any_outgoing(note('b'));
    let out_before = ns.prepend_any_outgoing(note('a'));
    let own_out = socket.on_any_outgoing(note('d'));
    let own_out_before = socket.prepend_any_outgoing(note('c'));
    assert_eq!(ns.listeners_any_outgoing(), [out_before, out]);
    assert_eq!(socket.listeners_any_outgoing(), [own_out_before, own_out]);

    assert_eq!(client.call("b", json!([])).await, [json!("own")]);
    client.expect("1").await;
    client.expect("2").await;
    assert_eq!(seen.lock().unwrap().as_str(), "abcdabcd");

    assert_eq!((ns.off_any(), socket.off_any()), (2, 2));
    assert_eq!((ns.off_any_outgoing(), socket.off_any_outgoing()), (2, 2));
    assert!(ns.listeners_any().is_empty() && socket.listeners_any().is_empty());
    assert!(ns.listeners_any_outgoing().is_empty() && socket.listeners_any_outgoing().is_empty());
    assert!(ns.off_event("b") && !ns.off_event("b"));
    assert_eq!(client.call("b", json!([])).await, [json!("own")]);
    assert_eq!(seen.lock().unwrap().len(), 8);
}

#[tokio::test]
async fn what_a_node_emits_to_the_others_never_reaches_itself() {
    let running = Running::start(|server| {
        server
            .of("/")
            .on_server_side("news", async |_| panic!("it is the only node"));
    });
    let ns = running.server.of("/");
    assert_eq!(ns.server_side_emit("news", 1), Ok(()));
    let answers = ns.server_side_emit_with_ack("news", 1).await;
    let answers = answers.expect("written");
    assert!(answers.found.is_empty() && answers.silent_nodes.is_empty());
    for reserved in ["connect", "connection", "new_namespace"] {
        let refused = ns.server_side_emit(reserved, ());
        assert_eq!(refused, Err(sockeye::EmitError::Reserved(reserved.into())));
    }
    assert_eq!(running.metric("handler_panics").await, 0);
}
