//! What waits for a connection: bounded, and never silently lost.

use std::time::{Duration, Instant};

use serde_json::json;
use sockeye::{EventError, Queued, RoomError, Server, Socket};

use crate::support::{Packet, Polling, Running, eventually, sockets, soon};

const LARGE: usize = 100_000;

fn small_queue() -> sockeye::ServerBuilder {
    Server::builder().workers(1).max_queued_bytes(3 * LARGE)
}

/// Emits until the connection is full; how often that went well.
fn flood(socket: &Socket) -> usize {
    let text = "x".repeat(LARGE);
    for n in 0..1000 {
        match socket.emit("flood", (n, &text)) {
            Ok(Queued::Queued) => {}
            Ok(other) => panic!("not volatile, and yet {other:?}"),
            Err(error) => {
                assert!(error.is_refused());
                return n;
            }
        }
        if n % 8 == 7 {
            // From outside a worker, what is on its way counts.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    panic!("never full");
}

#[tokio::test]
async fn a_slow_consumer_is_closed_without_a_disconnect_packet() {
    let mut connected = None;
    let running = Running::with(small_queue(), |server| {
        let ns = server.of("/");
        connected = Some(sockets(&ns));
        ns.on("flood me", async |socket: Socket| flood(&socket));
        ns.on("sync", async || ());
    });
    let mut connected = connected.expect("set up");
    let mut witness = running.connect().await;
    connected.recv().await.expect("a socket");
    for inside in [true, false] {
        let mut client = running.connect().await;
        let socket = connected.recv().await.expect("a socket");
        if inside {
            client.ask("flood me", json!([])).await;
        } else {
            let socket = socket.clone();
            std::thread::spawn(move || flood(&socket))
                .join()
                .expect("the thread");
        }
        soon("the end of the socket", socket.closed()).await;
        let packets = client.until_end().await;
        for (n, packet) in packets.iter().enumerate() {
            match packet {
                Packet::Event(_, name, args, None) => {
                    assert_eq!((name.as_str(), &args[0]), ("flood", &json!(n)), "in order");
                }
                other => panic!("a stock client would stay away after {other:?}"),
            }
        }
        assert!(!packets.is_empty());
        witness.call("sync", json!([])).await;
    }
    assert_eq!(running.metric("slow_consumers").await, 2);
}

#[tokio::test]
async fn a_broadcast_ends_slow_consumers_and_spares_the_others() {
    let mut connected = None;
    let running = Running::with(small_queue(), |server| {
        connected = Some(sockets(&server.of("/")))
    });
    let mut connected = connected.expect("set up");
    let mut slow = running.connect().await;
    let slow_socket = connected.recv().await.expect("a socket");
    let mut quick = running.connect().await;
    let ns = running.server.of("/");
    let text = "x".repeat(LARGE);
    let mut sent = 0;
    while slow_socket.is_connected() {
        ns.emit("n", (sent, &text)).expect("emitted");
        assert_eq!(quick.expect("n").await[0], sent);
        sent += 1;
        assert!(sent < 1000);
    }
    ns.emit("still here", ()).expect("emitted");
    quick.expect("still here").await;
    let packets = slow.until_end().await;
    assert!(packets.len() < sent);
    assert!(
        packets
            .iter()
            .all(|packet| matches!(packet, Packet::Event(..)))
    );
    assert_eq!(running.metric("slow_consumers").await, 1);
}

#[tokio::test]
async fn volatile_packets_are_dropped_when_the_kernel_takes_no_more() {
    let mut connected = None;
    let running = Running::with(small_queue(), |server| {
        connected = Some(sockets(&server.of("/")))
    });
    let mut client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let text = "x".repeat(LARGE);
    let mut sent = 0;
    eventually("the kernel is full", async || {
        let outcome = socket
            .volatile()
            .emit("v", (sent, &text))
            .expect("connected");
        sent += 1;
        // What is dropped on the worker is counted there.
        outcome == Queued::Dropped || running.metric("volatile_dropped").await > 0
    })
    .await;
    // A packet that matters still finds room, and is not overtaken by what was dropped.
    assert_eq!(socket.emit("normal", ()), Ok(Queued::Queued));
    let mut last = -1;
    loop {
        let (name, args) = client.event().await;
        if name == "normal" {
            break;
        }
        let n = args[0].as_i64().expect("a number");
        assert!(n > last, "in order");
        last = n;
    }
    assert!(last >= 0 && last < sent);
    assert!(socket.is_connected());
    assert_eq!(running.metric("slow_consumers").await, 0);
}

#[tokio::test]
async fn emit_when_ready_waits_for_room_from_inside_and_outside() {
    const EVENTS: usize = 200;
    async fn speak(socket: Socket) -> Result<(), EventError> {
        let text = "x".repeat(LARGE);
        for n in 0..EVENTS {
            let queued = socket.emit_when_ready("n", (n, &text)).await?;
            assert_eq!(queued, Queued::Queued);
        }
        Ok(())
    }
    let mut connected = None;
    let running = Running::with(small_queue(), |server| {
        server.of("/").on("speak", speak);
        connected = Some(sockets(&server.of("/")));
    });
    let mut client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    client.emit("speak", json!([])).await;
    for n in 0..EVENTS {
        assert_eq!(client.expect("n").await[0], n);
    }
    let outside = tokio::spawn(speak(socket.clone()));
    for n in 0..EVENTS {
        assert_eq!(client.expect("n").await[0], n);
    }
    outside.await.expect("no panic").expect("all were queued");
    assert_eq!(running.metric("slow_consumers").await, 0);

    // A socket that goes while somebody waits for it ends the wait.
    let outside = tokio::spawn(speak(socket.clone()));
    eventually("the queue is full", async || socket.queued_bytes() > LARGE).await;
    drop(client);
    let ended = soon("the end of the wait", outside)
        .await
        .expect("no panic");
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_closed_at_the_write_deadline() {
    let mut connected = None;
    let builder = Server::builder()
        .workers(1)
        .write_timeout(Duration::from_millis(300));
    let running = Running::with(builder, |server| connected = Some(sockets(&server.of("/"))));
    let client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let text = "x".repeat(LARGE);
    eventually("bytes wait", async || {
        socket.queued_bytes() > 4 * LARGE || {
            assert_eq!(socket.emit("n", &text), Ok(Queued::Queued));
            false
        }
    })
    .await;
    let begun = Instant::now();
    soon("the end", socket.closed()).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(150),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(running.metric("write_timeouts").await, 1);
    assert_eq!(running.metric("slow_consumers").await, 0);
    drop(client);
    running.until_empty().await;
}

#[tokio::test]
async fn on_polling_volatile_is_dropped_while_no_poll_is_open() {
    let mut connected = None;
    let running = Running::start(|server| connected = Some(sockets(&server.of("/"))));
    let polling = Polling::connect(running.address).await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let _ = socket.volatile().emit("lost", ());
    let _ = socket.emit("kept", 1);
    running.until_metric("volatile_dropped", 1).await;
    assert_eq!(polling.poll().await, r#"42["kept",1]"#);
    let waiting = polling.clone();
    let poll = tokio::spawn(async move { waiting.poll().await });
    eventually("a volatile packet is taken", async || {
        let _ = socket.volatile().emit("taken", ());
        poll.is_finished()
    })
    .await;
    let answer = poll.await.expect("an answer");
    assert!(answer.starts_with(r#"42["taken"]"#), "{answer}");
}

#[tokio::test]
async fn rooms_and_acknowledgements_owed_are_limited() {
    let builder = Server::builder()
        .workers(1)
        .max_rooms(3)
        .max_pending_acks(2);
    let running = Running::with(builder, |server| {
        let ns = server.of("/");
        ns.on("join", async |socket: Socket| {
            socket.join(["1", "2", "3"]).await?;
            socket.join("2").await?;
            let failure = socket.join("4").await;
            assert_eq!(failure, Err(RoomError::TooMany(3)));
            failure?;
            Ok::<_, EventError>(())
        });
        ns.on("ask", async |socket: Socket| {
            for _ in 0..2 {
                let socket = socket.clone();
                tokio::spawn(async move { socket.emit_with_ack("q", ()).await });
            }
            tokio::task::yield_now().await;
            let third = socket.emit_with_ack("q", ()).await;
            third.expect_err("too many").is_refused()
        });
    });
    let mut client = running.connect().await;
    let answer = client.call("join", json!([])).await;
    assert_eq!(answer[0]["error"]["code"], "too_many_rooms");
    let asked = client.ask("ask", json!([])).await;
    assert_eq!(client.answer(asked).await, [json!(true)]);
    assert_eq!(running.metric("limit_refusals").await, 2);
}

#[tokio::test]
async fn one_message_larger_than_the_limit_passes_an_empty_queue() {
    let running = Running::with(
        Server::builder().workers(1).max_queued_bytes(1000),
        |server| {
            server.of("/").on("large", async || "y".repeat(5_000_000));
        },
    );
    let mut client = running.connect().await;
    let answer = client.call("large", json!([])).await;
    assert_eq!(answer[0].as_str().map(str::len), Some(5_000_000));
}

/// A handler that blocks its worker keeps its inbox from being looked into. Broadcasts from
/// elsewhere wait there up to a bound; beyond it the worker's clients are sent away rather than one
/// of their messages is left out.
#[tokio::test]
async fn a_worker_that_is_held_up_loses_its_clients_rather_than_a_message() {
    let (block, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let builder = Server::builder().workers(1).max_inbox_bytes(10 * LARGE);
    let running = Running::with(builder, |server| {
        server.of("/").on("block", move |socket: Socket| {
            socket.emit("begun", ()).expect("emitted");
            // The test ends the wait: nothing else on this worker runs until then.
            let _ = blocked
                .lock()
                .expect("one handler")
                .recv_timeout(Duration::from_secs(10));
            async {}
        });
    });
    let mut client = running.connect().await;
    let namespace = running.server.of("/");
    let text = "x".repeat(LARGE);
    for n in 0..5 {
        namespace.emit("n", (n, &text)).expect("emitted");
        assert_eq!(client.expect("n").await[0], json!(n));
    }
    client.emit("block", json!([])).await;
    for n in 0..1_000 {
        namespace.emit("n", (n, &text)).expect("emitted");
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    block.send(()).expect("the handler waits");
    let packets = client.until_end().await;
    let left = |packet: &Packet| matches!(packet, Packet::Disconnect(_));
    assert!(!packets.iter().any(left), "it may come back");
    assert!(running.metric("inbox_overruns").await >= 1);
    let mut back = running.connect().await;
    namespace.emit("n", "again").expect("emitted");
    assert_eq!(back.expect("n").await[0], json!("again"));
}

/// A handler, `block`, that blocks its worker.
struct Blocker {
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
    release: std::sync::mpsc::Sender<()>,
}

impl Blocker {
    fn new(server: &Server) -> Self {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        let (sender, begun) = tokio::sync::mpsc::unbounded_channel();
        server.of("/").on("block", move || {
            let _ = sender.send(());
            let released = released.lock().expect("one handler");
            let _ = released.recv_timeout(Duration::from_secs(10));
            async {}
        });
        Blocker { begun, release }
    }

    /// Lets the worker of `client` begin to block.
    async fn begin(&mut self, client: &mut crate::support::Client) {
        client.emit("block", json!([])).await;
        soon("the handler", self.begun.recv()).await;
    }

    fn end(&self) {
        self.release.send(()).expect("the handler waits");
    }
}

/// What a worker finds in its inbox after it was held up may be more than one queue may hold. The
/// kernel takes most of it at once: nobody who reads is ended for it.
#[tokio::test]
async fn what_comes_from_elsewhere_is_written_before_a_connection_counts_as_full() {
    const PART: usize = 20_000;
    let (mut connected, mut block) = (None, None);
    let builder = Server::builder().workers(1).max_queued_bytes(5 * PART / 2);
    let running = Running::with(builder, |server| {
        connected = Some(sockets(&server.of("/")));
        block = Some(Blocker::new(server));
    });
    let mut client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let text = "x".repeat(PART);
    let mut block = block.expect("set up");
    block.begin(&mut client).await;
    for n in 0..5 {
        let ns = running.server.of("/");
        ns.emit("broadcast", (n, &text)).expect("emitted");
    }
    assert_eq!(socket.emit("single", (5, &text)), Ok(Queued::Queued));
    let (asking, about) = (socket.clone(), text.clone());
    let asked = tokio::spawn(async move { asking.emit_with_ack("asked", (6, about)).await });
    let ns = running.server.of("/");
    let about = text.clone();
    let all = tokio::spawn(async move { ns.emit_with_ack("all", (7, about)).await });
    tokio::task::yield_now().await;
    // As much as a queue may hold is on its way already: that one more is refused and ends it is
    // what another test is about. A volatile one goes with the others, or is dropped.
    let _ = socket.volatile().emit("volatile", ());
    block.end();
    for n in 0..5 {
        assert_eq!(client.expect("broadcast").await[0], json!(n));
    }
    assert_eq!(client.expect("single").await[0], json!(5));
    for _ in 0..2 {
        let (name, id) = client.question().await;
        assert!(["asked", "all"].contains(&name.as_str()));
        client.acknowledge(id, json!([name])).await;
    }
    let answer = soon("an answer", asked)
        .await
        .expect("no panic")
        .expect("an answer");
    assert_eq!(answer.deserialize::<String>().as_deref(), Ok("asked"));
    let answers = soon("answers", all)
        .await
        .expect("no panic")
        .expect("answers");
    assert!(answers.is_complete());
    assert_eq!(running.metric("slow_consumers").await, 0);
}

#[tokio::test]
async fn a_worker_that_is_held_up_is_asked_no_more_than_it_may_be() {
    let (mut connected, mut block) = (None, None);
    let builder = Server::builder().workers(1).max_inbox_calls(3);
    let running = Running::with(builder, |server| {
        connected = Some(sockets(&server.of("/")));
        block = Some(Blocker::new(server));
    });
    let mut client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let mut block = block.expect("set up");
    block.begin(&mut client).await;
    let ns = running.server.of("/");
    let joins: Vec<_> = ["a", "b", "c"].map(|room| socket.join(room)).into();
    assert_eq!(socket.join("d").await, Err(RoomError::Busy));
    assert_eq!(socket.leave("a").await, Err(RoomError::Busy));
    assert_eq!(socket.set_user("ada").await, Err(RoomError::Busy));
    assert_eq!(socket.user(), None, "nothing was changed");
    let found = ns.fetch_sockets().await;
    assert!(
        found.found.is_empty() && found.silent_nodes.len() == 1,
        "{found:?}"
    );
    assert_eq!(ns.sockets_join("e").await.silent_nodes, found.silent_nodes);
    let answers = ns.emit_with_ack("q", ()).await.expect("written");
    assert_eq!(answers.silent_nodes, found.silent_nodes);
    block.end();
    for join in joins {
        assert_eq!(join.await, Ok(()));
    }
    assert_eq!(socket.rooms().await, [socket.id(), "a", "b", "c"]);
    assert_eq!(socket.join("d").await, Ok(()), "there is room again");
    assert_eq!(ns.fetch_sockets().await.found.len(), 1);
    assert_eq!(running.metric("inbox_refusals").await, 6);
}

/// A client may ask for a namespace while its queue is as good as full: the greeting finds room once
/// the kernel was asked.
#[tokio::test]
async fn a_greeting_finds_room_in_a_queue_that_can_be_written() {
    let builder = Server::builder().workers(1).max_queued_bytes(LARGE);
    let running = Running::with(builder, |server| {
        server.of("/other");
        server.of("/").on("fill", async |socket: Socket| {
            let text = "x".repeat(LARGE - 30);
            socket.emit("full", text).map(|_| sockeye::NoAck)
        });
    });
    let mut client = running.connect().await;
    // In one segment, so that the answers belong to one turn.
    let mut both = Vec::new();
    for text in [r#"42["fill"]"#, "40/other,", "40/nowhere,"] {
        let mask = sockeye_websocket::random_mask();
        let frame =
            sockeye_websocket::masked_frame(sockeye_websocket::OpCode::Text, text.as_bytes(), mask);
        both.extend_from_slice(&frame);
    }
    client.wire.write_raw(&both).await;
    assert_eq!(
        client.expect("full").await[0].as_str().map(str::len),
        Some(LARGE - 30)
    );
    for expected in ["/other", "/nowhere"] {
        match client.next().await {
            Some(Packet::Connect(name, _) | Packet::ConnectError(name, _)) => {
                assert_eq!(name, expected);
            }
            other => panic!("no answer: {other:?}"),
        }
    }
    assert_eq!(running.metric("slow_consumers").await, 0);
}

/// A task that the application spawned on a worker that has been quiet: the deadline of what it
/// asks begins when it asks, not when the worker last looked at its clock.
#[tokio::test]
async fn a_question_from_a_spawned_task_waits_for_as_long_as_it_says() {
    let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let running = Running::with(Server::builder().workers(1), move |server| {
        server.of("/").on_connection(move |socket: Socket| {
            let sender = sender.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1500)).await;
                let asked = socket.timeout(Duration::from_millis(1000));
                let _ = sender.send(asked.emit_with_ack("question", ()).await);
            });
            std::future::ready(())
        });
    });
    let mut client = running.connect().await;
    let (_, id) = client.question().await;
    client.acknowledge(id, json!(["yes"])).await;
    let answer = soon("the answer", answers.recv()).await.expect("told");
    assert!(answer.is_ok(), "{answer:?}");
}

/// Whoever waits for room behind a large question that another thread has asked is told when it
/// has left.
#[tokio::test]
async fn whoever_waits_behind_a_question_from_elsewhere_is_told_of_room() {
    let mut connected = None;
    let running = Running::with(small_queue(), |server| {
        connected = Some(sockets(&server.of("/")));
    });
    let mut client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    for _ in 0..20 {
        let text = "x".repeat(2 * LARGE);
        let answer = socket.emit_with_ack("question", text);
        soon("room", socket.emit_when_ready("behind", ()))
            .await
            .expect("queued");
        let (_, id) = client.question().await;
        client.acknowledge(id, json!([])).await;
        soon("the answer", answer).await.expect("answered");
        client.expect("behind").await;
    }
}
