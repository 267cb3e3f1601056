//! Namespaces made for clients that ask: who decides, how many, and when they go.

use serde_json::json;
use sockeye::{Args, Namespace, Server, Socket};

use crate::support::{Client, Running, eventually, soon};

fn refusal() -> Result<(), serde_json::Value> {
    Err(json!({"message": "Invalid namespace"}))
}

#[tokio::test]
async fn a_pattern_makes_namespaces_with_the_handlers_of_its_parent() {
    let running = Running::start(|server| {
        let parent = server.of_pattern(r"^/room-\d+$").expect("a pattern");
        parent.on("where", async |ns: Namespace| ns.name().to_owned());
        parent.on("shout", async |socket: Socket| {
            socket.broadcast().emit("heard", ())
        });
        parent.middleware(async |socket: Socket| {
            socket.set_data(socket.namespace().name()).expect("JSON");
        });
        server.of("/room-0").on("where", async || "its own");
    });
    let mut one = Client::open(running.address).await;
    let mut two = Client::open(running.address).await;
    for (client, namespace) in [(&mut one, "/room-1"), (&mut two, "/room-2")] {
        client.join(namespace, None).await.expect("let in");
        client
            .wire
            .send(&format!(r#"42{namespace},70["where"]"#))
            .await;
        assert_eq!(client.answer(70).await, [json!(namespace)]);
    }
    // Each for itself.
    one.wire.send(r#"42/room-1,71["shout"]"#).await;
    one.answer(71).await;
    two.join("/room-0", None).await.expect("let in");
    two.wire.send(r#"42/room-0,72["where"]"#).await;
    assert_eq!(
        two.answer(72).await,
        [json!("its own")],
        "and nothing was heard before"
    );
    assert_eq!(one.join("/room-x", None).await, refusal());
    let sockets = running.server.of("/room-1").fetch_sockets().await.found;
    assert_eq!(sockets[0].data::<String>().as_deref(), Some("/room-1"));
    assert!(running.server.of_pattern("(").is_err());
}

#[tokio::test]
async fn a_predicate_may_wait_and_sees_the_auth() {
    let running = Running::start(|server| {
        server.of_matching(|name: String, auth: Args| async move {
            tokio::task::yield_now().await;
            let auth: serde_json::Value = auth.deserialize().unwrap_or_default();
            auth["key"] == name[1..]
        });
    });
    let mut client = Client::open(running.address).await;
    assert_eq!(client.join("/secret", None).await, refusal());
    assert_eq!(
        client.join("/secret", Some(json!({"key": "wrong"}))).await,
        refusal()
    );
    client
        .join("/secret", Some(json!({"key": "secret"})))
        .await
        .expect("let in");
    assert_eq!(running.metric("connects_refused").await, 2);
}

#[tokio::test]
async fn a_namespace_goes_with_its_last_socket() {
    let running = Running::mounted(Server::builder().workers(2), |server| {
        server.of_pattern("^/dyn").expect("a pattern");
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::open(running.address).await;
        client.join("/dyn", None).await.expect("let in");
        clients.push(client);
    }
    assert_eq!(running.metric("namespaces").await, 2);
    clients.truncate(1);
    eventually("three have left", async || {
        running.server.of("/").count().await;
        running.metric("sockets").await == 1
    })
    .await;
    assert_eq!(running.metric("namespaces").await, 2);
    clients[0].wire.send("41/dyn,").await;
    running.until_metric("namespaces", 1).await;
    // And it comes back with the next.
    clients[0].join("/dyn", None).await.expect("let in");
    assert_eq!(running.metric("namespaces").await, 2);
}

#[tokio::test]
async fn a_client_that_leaves_while_a_predicate_waits_leaves_no_namespace() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let shut = gate.clone();
    let running = Running::start(|server| {
        server.of_matching(move |_, _| {
            let gate = shut.clone();
            async move { gate.acquire().await.is_ok() }
        });
    });
    let mut client = Client::open(running.address).await;
    client.wire.send("40/lost,").await;
    running.until_metric("packets_in", 1).await;
    drop(client);
    running.until_metric("sessions", 0).await;
    gate.add_permits(1);
    let mut next = Client::open(running.address).await;
    soon("an answer", next.join("/next", None))
        .await
        .expect("let in");
    running.until_metric("namespaces", 2).await;
    drop(next);
    running.until_metric("namespaces", 1).await;
}

#[tokio::test]
async fn refused_clients_leave_no_namespace() {
    let running = Running::start(|server| {
        let parent = server.of_pattern("^/dyn").expect("a pattern");
        parent.middleware(async || Err::<(), _>(sockeye::ConnectError::new("no")));
    });
    let mut client = Client::open(running.address).await;
    for n in 0..10 {
        assert!(client.join(&format!("/dyn-{n}"), None).await.is_err());
    }
    assert_eq!(running.metric("namespaces").await, 1);
}

#[tokio::test]
async fn namespaces_on_demand_and_on_one_connection_are_limited() {
    let builder = Server::builder()
        .workers(1)
        .max_dynamic_namespaces(2)
        .max_namespaces(3);
    let running = Running::with(builder, |server| {
        server.of_pattern("^/dyn").expect("a pattern");
        server.of("/a");
        server.of("/b");
    });
    let mut client = Client::open(running.address).await;
    for n in 0..2 {
        client
            .join(&format!("/dyn-{n}"), None)
            .await
            .expect("let in");
    }
    let mut other = Client::open(running.address).await;
    assert_eq!(other.join("/dyn-2", None).await, refusal());
    other.join("/dyn-1", None).await.expect("one that exists");
    client.join("/a", None).await.expect("the third");
    let refused = client.join("/b", None).await;
    assert_eq!(
        refused,
        Err(json!({"message": "too many namespaces on one connection"}))
    );
    client.wire.send("41/dyn-0,").await;
    running.until_metric("namespaces", 4).await;
    client.join("/b", None).await.expect("there is room again");
    other.join("/dyn-2", None).await.expect("and here");
}

#[tokio::test]
async fn namespaces_stay_when_they_are_told_to() {
    let builder = Server::builder().workers(1).cleanup_empty_namespaces(false);
    let running = Running::with(builder, |server| {
        server.of_pattern("^/dyn").expect("a pattern");
    });
    let mut client = Client::open(running.address).await;
    client.join("/dyn", None).await.expect("let in");
    drop(client);
    running.until_empty().await;
    assert_eq!(running.metric("namespaces").await, 2);
}

#[tokio::test]
async fn what_is_emitted_to_a_pattern_reaches_the_namespaces_made_of_it() {
    let running = Running::start(|_| {});
    let rooms = running.server.of_pattern(r"^/room-\d$").expect("a pattern");
    let others = running.server.of_pattern("^/other$").expect("a pattern");
    let mut clients = Vec::new();
    for namespace in ["/room-1", "/room-2", "/other"] {
        let mut client = Client::open(running.address).await;
        client.join(namespace, None).await.expect("let in");
        clients.push(client);
    }
    rooms.emit("to rooms", 1).expect("emitted");
    rooms.to("nobody").emit("to nobody", 2).expect("emitted");
    others.emit("to the other", 3).expect("emitted");
    rooms.emit("last", 4).expect("emitted");
    for client in &mut clients[..2] {
        assert_eq!(client.expect("to rooms").await, [json!(1)]);
        assert_eq!(client.expect("last").await, [json!(4)]);
    }
    assert_eq!(clients[2].expect("to the other").await, [json!(3)]);
}

#[tokio::test]
async fn whoever_watches_is_told_of_a_new_namespace_once() {
    let (sender, mut made) = tokio::sync::mpsc::unbounded_channel();
    let running = Running::start(|server| {
        server.of_pattern(r"^/n-\d$").expect("a pattern");
        server.on_new_namespace(move |namespace| {
            let _ = sender.send(namespace.name().to_owned());
        });
    });
    let mut client = Client::open(running.address).await;
    for namespace in ["/n-1", "/n-2"] {
        client.join(namespace, None).await.expect("let in");
    }
    let mut second = Client::open(running.address).await;
    second.join("/n-1", None).await.expect("let in");
    second.join("/n-3", None).await.expect("let in");
    for name in ["/n-1", "/n-2", "/n-3"] {
        assert_eq!(
            soon("a namespace", made.recv()).await.as_deref(),
            Some(name)
        );
    }
    assert!(made.try_recv().is_err());
}

#[tokio::test]
async fn what_is_asked_of_a_pattern_is_asked_of_the_namespaces_made_of_it() {
    let running = Running::mounted(Server::builder().workers(2), |server| {
        server.of_pattern("^/other$").expect("a pattern");
    })
    .await;
    let rooms = running.server.of_pattern(r"^/room-\d$").expect("a pattern");
    assert_eq!(rooms.count().await.found, 0);
    assert!(
        rooms
            .emit_with_ack("q", ())
            .await
            .expect("asked")
            .is_complete()
    );
    let mut clients = Vec::new();
    for namespace in ["/room-1", "/room-2", "/room-2", "/other"] {
        let mut client = Client::open(running.address).await;
        client.join(namespace, None).await.expect("let in");
        clients.push(client);
    }
    let found = rooms.fetch_sockets().await;
    assert!(found.silent_nodes.is_empty());
    let mut names: Vec<_> = found
        .found
        .iter()
        .map(|socket| socket.namespace())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["/room-1", "/room-2", "/room-2"]);

    rooms.sockets_join(["red", "blue"]).await;
    rooms
        .except(clients[0].id.as_str())
        .sockets_leave("blue")
        .await;
    assert_eq!(rooms.to("red").count().await.found, 3);
    assert_eq!(rooms.to("blue").count().await.found, 1);
    let mut sizes = rooms.rooms().await.found;
    sizes.sort();
    assert_eq!(sizes, [("blue".to_owned(), 1), ("red".to_owned(), 3)]);
    assert_eq!(running.server.of("/other").rooms().await.found, []);

    let asking = rooms.to("red").timeout(std::time::Duration::from_secs(10));
    let asking = tokio::spawn(async move { asking.emit_with_ack("q", ()).await });
    for (n, client) in clients[..3].iter_mut().enumerate() {
        let (name, id) = client.question().await;
        assert_eq!(name, "q");
        let namespace = if n == 0 { "/room-1" } else { "/room-2" };
        client.wire.send(&format!("43{namespace},{id}[{n}]")).await;
    }
    let answers = soon("answers", asking)
        .await
        .expect("no panic")
        .expect("asked");
    assert!(answers.is_complete());
    let mut numbers = answers.first::<usize>().expect("numbers");
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2]);

    rooms.disconnect_sockets(false).await;
    eventually("they have left", async || rooms.count().await.found == 0).await;
    assert_eq!(running.server.of("/other").count().await.found, 1);
}

#[tokio::test]
async fn what_is_told_of_a_socket_is_as_it_was_when_it_was_asked_for() {
    let mut connected = None;
    let running = Running::start(|server| {
        connected = Some(crate::support::sockets(&server.of("/")));
    });
    let _client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    socket.set_data("before").expect("JSON");
    socket.set_user("ada").await.expect("joined");
    socket.join("red").await.expect("joined");
    let found = running.server.of("/").fetch_sockets().await.found;
    let [remote] = &found[..] else {
        panic!("{found:?}")
    };
    socket.set_data("after").expect("JSON");
    socket.set_user("ben").await.expect("joined");
    socket.leave("red").await.expect("left");
    assert_eq!(remote.data::<String>().as_deref(), Some("before"));
    assert_eq!(remote.raw_data().as_deref(), Some("\"before\""));
    assert_eq!(remote.user().as_deref(), Some("ada"));
    assert_eq!(remote.rooms(), [socket.id(), "red"]);
    assert_eq!(socket.user().as_deref(), Some("ben"));
    let ns = running.server.of("/");
    assert_eq!(ns.to_user("ada").count().await.found, 0);
    assert_eq!(ns.to_user("ben").count().await.found, 1);

    // By its id, and by nothing else that is called so.
    let found = ns.socket(socket.id()).await.expect("it is here");
    assert_eq!(found.user().as_deref(), Some("ben"));
    found.join("X".repeat(20)).await.expect("joined");
    assert!(ns.socket(&"X".repeat(20)).await.is_none());
    assert!(
        running
            .server
            .of("/other")
            .socket(socket.id())
            .await
            .is_none()
    );
    assert_eq!(ns.to("X".repeat(20)).local_sockets().await.found.len(), 1);
    assert_eq!(
        (running.server.connection_count(), running.server.path()),
        (1, "/socket.io")
    );
    assert!(!socket.handshake().is_cross_domain());
}
