//! To many sockets at once, over several workers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sockeye::{Data, EventError, Namespace, Queued, Recovery, Server, Socket};

use crate::support::{Client, Running, metric, sockets};

fn three_workers() -> sockeye::ServerBuilder {
    Server::builder().workers(3)
}

/// Connects this many clients, in turn on every worker.
async fn connect(running: &Running, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(running.connect().await);
    }
    let workers: HashSet<_> = clients.iter().map(Client::worker).collect();
    assert_eq!(workers.len(), count.min(3), "on every worker");
    clients
}

/// Emits `hit` in the way that is named, and `end` to everybody.
async fn emit(
    socket: Socket,
    ns: Namespace,
    Data(how): Data<String>,
    Data(id): Data<String>,
) -> Result<(), EventError> {
    let (event, id) = ("hit", &*id);
    match &*how {
        "ns" => ns.emit(event, ())?,
        "ns.to(a)" => ns.to("a").emit(event, ())?,
        "ns.to(a, b)" => ns.to(["a", "b"]).emit(event, ())?,
        "ns.to(a).to(b)" => ns.to("a").to("b").emit(event, ())?,
        "ns.to(a).except(b)" => ns.to("a").except("b").emit(event, ())?,
        "ns.except(a, b)" => ns.except(vec!["a", "b"]).emit(event, ())?,
        "ns.to(nowhere)" => ns.to("nowhere").emit(event, ())?,
        "ns.to(id)" => ns.to(id).emit(event, ())?,
        "ns.except(id)" => ns.except(id).emit(event, ())?,
        "ns.to(a, id)" => ns.to(["a", id]).emit(event, ())?,
        "ns.to_user" => ns.to_user("ada").emit(event, ())?,
        "ns.to(a).to_user" => ns.to("a").to_user("ada").emit(event, ())?,
        "ns.local" => ns.local().emit(event, ())?,
        "ns.volatile" => ns.volatile().emit(event, ())?,
        "ns.compress" => ns.compress(false).emit(event, ())?,
        "socket.broadcast" => socket.broadcast().emit(event, ())?,
        "socket.to(a)" => socket.to("a").emit(event, ())?,
        "socket.within(a)" => socket.within("a").emit(event, ())?,
        "socket.except(b)" => socket.except("b").emit(event, ())?,
        "socket.local" => socket.local().emit(event, ())?,
        "socket.volatile" => drop(socket.volatile().emit(event, ())?),
        other => panic!("unknown: {other}"),
    }
    ns.emit("end", ())?;
    Ok(())
}

#[tokio::test]
async fn every_selector_reaches_whom_it_names_once() {
    let running = Running::mounted(three_workers(), |server| {
        server.of("/").on("emit", emit);
        server.of("/").on(
            "join",
            async |socket: Socket, Data(rooms): Data<Vec<String>>| socket.join(rooms).await,
        );
        server
            .of("/")
            .on("user", async |socket: Socket, Data(user): Data<String>| {
                socket.set_user(user).await
            });
    })
    .await;
    let mut clients = connect(&running, 6).await;
    for (at, rooms) in [
        (0, ["a", "x"]),
        (1, ["a", "x"]),
        (2, ["a", "b"]),
        (3, ["b", "x"]),
        (4, ["b", "x"]),
    ] {
        clients[at].call("join", json!([rooms])).await;
    }
    for at in [1, 4] {
        clients[at].call("user", json!(["ada"])).await;
    }
    let third = clients[3].id.clone();
    let table: [(&str, &[usize]); 21] = [
        ("ns", &[0, 1, 2, 3, 4, 5]),
        ("ns.to(a)", &[0, 1, 2]),
        ("ns.to(a, b)", &[0, 1, 2, 3, 4]),
        ("ns.to(a).to(b)", &[0, 1, 2, 3, 4]),
        ("ns.to(a).except(b)", &[0, 1]),
        ("ns.except(a, b)", &[5]),
        ("ns.to(nowhere)", &[]),
        ("ns.to(id)", &[3]),
        ("ns.except(id)", &[0, 1, 2, 4, 5]),
        ("ns.to(a, id)", &[0, 1, 2, 3]),
        ("ns.to_user", &[1, 4]),
        ("ns.to(a).to_user", &[0, 1, 2, 4]),
        ("ns.local", &[0, 1, 2, 3, 4, 5]),
        ("ns.volatile", &[0, 1, 2, 3, 4, 5]),
        ("ns.compress", &[0, 1, 2, 3, 4, 5]),
        ("socket.broadcast", &[1, 2, 3, 4, 5]),
        ("socket.to(a)", &[1, 2]),
        ("socket.within(a)", &[0, 1, 2]),
        ("socket.except(b)", &[1, 5]),
        ("socket.local", &[1, 2, 3, 4, 5]),
        ("socket.volatile", &[0]),
    ];
    for (how, expected) in table {
        let answer = clients[0].call("emit", json!([how, third])).await;
        assert!(answer.is_empty(), "{how}: {answer:?}");
        let mut reached = Vec::new();
        for (at, client) in clients.iter_mut().enumerate() {
            loop {
                match client.event().await.0.as_str() {
                    "end" => break,
                    _ => reached.push(at),
                }
            }
        }
        assert_eq!(reached, expected, "{how}");
    }
}

#[tokio::test]
async fn acknowledgements_of_a_broadcast_are_gathered_with_who_is_missing() {
    let running = Running::mounted(three_workers(), |_| {}).await;
    let mut clients = connect(&running, 4).await;
    let ns = running.server.of("/");
    let begun = Instant::now();
    let asking = tokio::spawn({
        let all = ns.timeout(Duration::from_millis(300));
        async move { all.emit_with_ack("q", ()).await.expect("asked") }
    });
    let mut ids = Vec::new();
    for client in &mut clients {
        ids.push(client.question().await.1);
    }
    clients[0].acknowledge(ids[0], json!([10])).await;
    clients[1].acknowledge(ids[1], json!([11, "more"])).await;
    let gone = clients.pop().expect("four");
    let (silent, gone_id) = (clients[2].id.clone(), gone.id.clone());
    drop(gone);
    let answers = asking.await.expect("answers");
    assert!(begun.elapsed() >= Duration::from_millis(290));
    assert!(!answers.is_complete());
    let mut who: Vec<_> = answers
        .answers
        .iter()
        .map(|(id, args)| (id.clone(), args.len()))
        .collect();
    who.sort();
    let mut expected = vec![(clients[0].id.clone(), 1), (clients[1].id.clone(), 2)];
    expected.sort();
    assert_eq!(who, expected);
    let mut numbers = answers.first::<u8>().expect("numbers");
    numbers.sort_unstable();
    assert_eq!(numbers, [10, 11]);
    let missing: HashSet<_> = answers.missing.into_iter().collect();
    assert_eq!(missing, HashSet::from([silent, gone_id]));
    // A late answer is nobody's.
    clients[2].acknowledge(ids[2], json!([12])).await;

    // Complete as soon as everyone has answered, and at once when nobody is asked.
    let asking = tokio::spawn({
        let ns = ns.clone();
        async move { ns.emit_with_ack("q", ()).await.expect("asked") }
    });
    for client in &mut clients {
        let (_, id) = client.question().await;
        client.acknowledge(id, json!([1])).await;
    }
    let answers = asking.await.expect("answers");
    assert!(answers.is_complete());
    assert_eq!(answers.answers.len(), 3);
    let nobody = ns
        .to("nowhere")
        .emit_with_ack("q", ())
        .await
        .expect("asked");
    assert!(nobody.is_complete() && nobody.answers.is_empty());
    let reserved = ns.to("x").emit_with_ack("disconnect", ()).await;
    assert!(reserved.is_err());
}

#[tokio::test]
async fn sockets_are_fetched_counted_moved_and_disconnected() {
    let running = Running::mounted(three_workers(), |server| {
        server.of("/").on_connection(async |socket: Socket| {
            socket.set_data(json!({"of": socket.id()})).expect("JSON");
        });
    })
    .await;
    let mut clients = connect(&running, 6).await;
    let ns = running.server.of("/");
    assert_eq!(ns.count().await.found, 6);
    let found = ns.fetch_sockets().await;
    assert!(found.silent_nodes.is_empty());
    assert_eq!(found.found.len(), 6);
    for socket in &found.found {
        assert_eq!(socket.data::<Value>(), Some(json!({"of": socket.id()})));
        assert_eq!(socket.rooms(), [socket.id()]);
    }
    // In force when the future completes, on every worker.
    ns.sockets_join(["x", "y"]).await;
    assert_eq!(ns.to("x").count().await.found, 6);
    let two = [clients[0].id.clone(), clients[1].id.clone()];
    ns.to(two.to_vec()).sockets_leave("x").await;
    assert_eq!(ns.to("x").count().await.found, 4);
    assert_eq!(ns.to("y").except("x").fetch_sockets().await.found.len(), 2);
    let mut rooms = ns.rooms().await.found;
    rooms.sort();
    assert_eq!(rooms, [("x".to_owned(), 4), ("y".to_owned(), 6)]);
    for socket in ns.to(two.to_vec()).fetch_sockets().await.found {
        assert_eq!(socket.rooms(), [socket.id(), "y"]);
        socket.join("z").await.expect("joined");
        socket.emit("hello", 1).expect("queued");
    }
    assert_eq!(clients[0].expect("hello").await, [json!(1)]);
    assert_eq!(ns.to("z").count().await.found, 2);
    assert_eq!(ns.to("y").emit_counted("n", ()).await.expect("emitted"), 6);

    ns.to("z").disconnect_sockets(false).await;
    assert_eq!(ns.count().await.found, 4);
    let packets = loop {
        match clients[1].next().await {
            Some(crate::support::Packet::Event(..)) => {}
            other => break other,
        }
    };
    assert_eq!(
        packets,
        Some(crate::support::Packet::Disconnect("/".into()))
    );
    ns.disconnect_sockets(true).await;
    assert_eq!(ns.count().await.found, 0);
    for client in &mut clients[2..] {
        let last = client.until_end().await.pop();
        assert_eq!(last, Some(crate::support::Packet::Disconnect("/".into())));
    }
    // The first two have left the namespace; their connections are their own business.
    drop(clients);
    running.until_empty().await;
}

#[tokio::test]
async fn the_order_of_each_publisher_is_kept_across_workers() {
    const EVENTS: usize = 300;
    let running = Running::mounted(three_workers(), |server| {
        let ns = server.of("/");
        ns.on(
            "publish",
            async |socket: Socket, ns: Namespace, Data(name): Data<String>| {
                for n in 0..EVENTS {
                    match n % 3 {
                        0 => ns.emit("n", (&name, n))?,
                        1 => ns.to("all").emit("n", (&name, n))?,
                        _ => socket.within("all").volatile().emit("n", (&name, n))?,
                    }
                    if n % 50 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok::<_, EventError>(())
            },
        );
        ns.on_connection(async |socket: Socket| {
            socket.join("all").await.expect("joined");
        });
    })
    .await;
    let mut clients = connect(&running, 6).await;
    for (at, client) in clients[..3].iter_mut().enumerate() {
        client.emit("publish", json!([format!("p{at}")])).await;
    }
    for client in &mut clients {
        let mut next = [0; 3];
        while next.iter().sum::<usize>() < 3 * EVENTS {
            let args = client.expect("n").await;
            let publisher = args[0]
                .as_str()
                .and_then(|name| name[1..].parse::<usize>().ok());
            let publisher = publisher.expect("a publisher");
            assert_eq!(args[1], next[publisher], "of {publisher}");
            next[publisher] += 1;
        }
    }
}

#[tokio::test]
async fn a_broadcast_visits_only_the_workers_that_have_members() {
    for recovery in [false, true] {
        let mut builder = three_workers();
        if recovery {
            builder = builder.recovery(Recovery::default());
        }
        let mut connected = None;
        let running = Running::mounted(builder, |server| {
            connected = Some(sockets(&server.of("/")));
        })
        .await;
        let ns = running.server.of("/");
        let mut clients = connect(&running, 9).await;
        let mut sockets = Vec::new();
        for _ in &clients {
            let next = connected.as_mut().expect("set up").recv().await;
            sockets.push(next.expect("a socket"));
        }
        sockets.sort_by_key(|socket| socket.id().to_owned());
        clients.sort_by_key(|client| client.id.clone());
        let handovers = async || metric(&running.server, "broadcast_handovers").await;

        ns.to("nobody").emit("n", 0).expect("sent");
        assert_eq!(handovers().await, 0, "recovery: {recovery}");

        // Not awaited: the join is on its way when the broadcast is sent.
        drop(sockets[4].join("one"));
        ns.to("one").emit("n", 1).expect("sent");
        assert_eq!(clients[4].expect("n").await[0], 1);
        assert_eq!(handovers().await, 1, "recovery: {recovery}");

        sockets[4].leave("one").await.expect("left");
        ns.to("one").emit("n", 2).expect("sent");
        assert_eq!(handovers().await, 1, "recovery: {recovery}");

        // A socket's own room is found by its id, and everybody is everywhere.
        ns.to(sockets[7].id()).emit("n", 3).expect("sent");
        assert_eq!(clients[7].expect("n").await[0], 3);
        ns.emit("n", 4).expect("sent");
        for client in &mut clients {
            assert_eq!(client.expect("n").await[0], 4);
        }
    }
}

#[tokio::test]
async fn emits_from_other_threads_say_what_becomes_of_them_and_keep_their_order() {
    let mut connected = None;
    let running = Running::with(Server::builder().workers(2), |server| {
        connected = Some(sockets(&server.of("/")));
    });
    let mut client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let speaker = socket.clone();
    let ns = running.server.of("/");
    let thread = std::thread::spawn(move || {
        for n in 0..500 {
            if n % 2 == 0 {
                assert_eq!(speaker.emit("n", n), Ok(Queued::Queued));
            } else {
                assert_eq!(ns.to(speaker.id()).emit("n", n), Ok(()));
            }
        }
    });
    for n in 0..500 {
        assert_eq!(client.expect("n").await, [json!(n)]);
    }
    thread.join().expect("the thread");
    drop(client);
    socket.closed().await;
    let after = std::thread::spawn(move || {
        assert!(
            socket
                .emit("late", ())
                .is_err_and(|error| error.is_refused())
        );
        assert!(
            socket
                .volatile()
                .emit("late", ())
                .is_err_and(|error| error.is_refused())
        );
        socket
    });
    let socket = after.join().expect("the thread");
    let failure = socket.emit_with_ack("late", ()).await.expect_err("gone");
    assert!(failure.is_disconnected());
    assert_eq!(socket.join("room").await, Err(sockeye::RoomError::Gone));
    assert!(socket.rooms().await.is_empty());
    running.until_empty().await;
}

#[tokio::test]
async fn what_a_middleware_joined_is_in_force_with_the_first_event() {
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.middleware(async |socket: Socket| {
            socket.join("lobby").await.expect("joined");
            socket.set_user("ada").await.expect("set");
        });
        ns.on("rooms", async |socket: Socket| {
            (
                socket.rooms().await,
                socket.user().map(|user: Arc<str>| user.to_string()),
            )
        });
    });
    let mut client = running.connect().await;
    let ns = running.server.of("/");
    assert_eq!(ns.to("lobby").count().await.found, 1);
    assert_eq!(ns.to_user("ada").count().await.found, 1);
    let answer = client.call("rooms", json!([])).await;
    assert_eq!(
        answer,
        [json!([client.id, "lobby"]), json!("ada")],
        "a user is no visible room"
    );
}
