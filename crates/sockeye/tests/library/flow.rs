//! One socket's events are handled in order, one at a time, bounded; and never a deadlock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use sockeye::{Data, Server, Socket};
use sockeye_websocket::OpCode;
use tokio::sync::Semaphore;

use crate::support::{Client, Frame, Polling, Running, eventually, soon};

/// Holds handlers up until the test lets them go.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn shut() -> Self {
        Gate(Arc::new(Semaphore::new(0)))
    }

    async fn pass(self) {
        drop(self.0.acquire().await);
    }

    fn open(&self) {
        self.0.add_permits(1);
    }
}

/// `slow` waits for the gate, `note` is noted, `sync` answers.
fn setup(server: &Server, gate: &Gate, notes: &Arc<Mutex<Vec<u64>>>) {
    let ns = server.of("/");
    let gate = gate.clone();
    ns.on("slow", move || gate.clone().pass());
    let notes = notes.clone();
    ns.on("note", move |Data(n): Data<u64>| {
        notes.lock().unwrap().push(n);
        std::future::ready(())
    });
    ns.on("sync", async || ());
}

#[tokio::test]
async fn events_of_one_socket_run_in_order_and_one_at_a_time() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let notes = Arc::new(Mutex::new(Vec::new()));
    let (counts, log) = ((inside, most.clone()), notes.clone());
    let running = Running::start(|server| {
        let ns = server.of("/");
        let handler = move |Data(n): Data<u64>| {
            let ((inside, most), log) = (counts.clone(), log.clone());
            async move {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..n % 3 {
                    tokio::task::yield_now().await;
                }
                log.lock().unwrap().push(n);
                inside.fetch_sub(1, Ordering::SeqCst);
                n
            }
        };
        ns.on("a", handler.clone());
        ns.on("b", handler);
    });
    let mut client = running.connect().await;
    let mut ids = Vec::new();
    for n in 0..200_u64 {
        ids.push(client.ask(["a", "b"][n as usize % 2], json!([n])).await);
    }
    for (n, id) in ids.into_iter().enumerate() {
        let next = client.next().await;
        assert_eq!(
            next,
            Some(crate::support::Packet::Ack("/".into(), id, vec![json!(n)]))
        );
    }
    assert_eq!(*notes.lock().unwrap(), (0..200).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn sockets_do_not_wait_for_each_other() {
    let gate = Gate::shut();
    let running = Running::start(|server| setup(server, &gate, &Arc::default()));
    let mut slow = running.connect().await;
    let id = slow.ask("slow", json!([])).await;
    let mut other = running.connect().await;
    other.call("sync", json!([])).await;
    gate.open();
    slow.answer(id).await;
}

#[tokio::test]
async fn beyond_64_events_reading_stops_and_goes_on_later() {
    let (gate, notes) = (Gate::shut(), Arc::default());
    let running = Running::start(|server| setup(server, &gate, &notes));
    let mut client = running.connect().await;
    client.emit("slow", json!([])).await;
    for n in 0..63 {
        client.emit("note", json!([n])).await;
    }
    running.until_metric("packets_in", 65).await;
    assert_eq!(running.metric("pauses").await, 0);
    client.emit("note", json!([63])).await;
    running.until_metric("pauses", 1).await;
    // What comes now stays with the kernel.
    let taken = running.metric("packets_in").await;
    for n in 64..200 {
        client.emit("note", json!([n])).await;
    }
    running.server.gauges().await;
    assert_eq!(running.metric("packets_in").await, taken);
    assert!(notes.lock().unwrap().is_empty());
    gate.open();
    client.call("sync", json!([])).await;
    assert_eq!(*notes.lock().unwrap(), (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn beyond_256_kib_tcp_pushes_back_and_nothing_is_lost() {
    const EVENTS: u64 = 300;
    let (gate, sizes) = (Gate::shut(), Arc::new(Mutex::new(Vec::new())));
    let log = sizes.clone();
    let running = Running::start(|server| {
        setup(server, &gate, &Arc::default());
        server.of("/").on(
            "big",
            move |Data(n): Data<u64>, Data(text): Data<String>| {
                log.lock().unwrap().push((n, text.len()));
                std::future::ready(())
            },
        );
    });
    let mut client = running.connect().await;
    client.emit("slow", json!([])).await;
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let writer = tokio::spawn(async move {
        let text = "x".repeat(100_000);
        for n in 0..EVENTS {
            client.emit("big", json!([n, text])).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
        client
    });
    running.until_metric("pauses", 1).await;
    assert!(
        running.metric("packets_in").await < 8,
        "256 KiB and one read"
    );
    // The client's writes stall: 30 MB fit nowhere on the way.
    let mut before = usize::MAX;
    eventually("the writer stalls", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = written.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now
    })
    .await;
    assert!(!writer.is_finished());
    assert!(running.metric("packets_in").await < 8);
    gate.open();
    let mut client = soon("the rest", writer).await.expect("the writer");
    client.call("sync", json!([])).await;
    let sizes = sizes.lock().unwrap();
    let expected: Vec<_> = (0..EVENTS).map(|n| (n, 100_000)).collect();
    assert!(*sizes == expected, "every event, once, in order");
}

#[tokio::test]
async fn answers_pongs_goodbyes_and_other_namespaces_are_taken_past() {
    let left = Arc::new(AtomicUsize::new(0));
    let count = left.clone();
    let builder = Server::builder()
        .workers(1)
        .ping_interval(Duration::from_millis(50))
        .ping_timeout(Duration::from_millis(400));
    let running = Running::with(builder, |server| {
        let ns = server.of("/");
        ns.on("ask me", async |socket: Socket| {
            let answer = socket.emit_with_ack("question", ()).await;
            answer
                .expect("an answer")
                .deserialize::<(u8,)>()
                .expect("a number")
                .0
        });
        ns.on("sync", async || ());
        ns.on_disconnect(move |_: Socket| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        });
        server.of("/other").on("sync", async || "other");
    });
    let mut client = running.connect().await;
    client.join("/other", None).await.expect("let in");
    let asked = client.ask("ask me", json!([])).await;
    let waiting: Vec<_> = vec![
        client.ask("sync", json!([])).await,
        client.ask("sync", json!([])).await,
    ];
    let (name, question) = client.question().await;
    assert_eq!(name, "question");
    // Another namespace of the same connection is served while the handler waits.
    client.wire.send(r#"42/other,900["sync"]"#).await;
    assert_eq!(client.answer(900).await, [json!("other")]);
    // Pings are answered past the queue for longer than the peer may be silent.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        match client.wire.recv().await {
            Some(Frame::Text(text)) if text == "2" => client.wire.send("3").await,
            other => panic!("not a ping: {other:?}"),
        }
    }
    client.acknowledge(question, json!([5])).await;
    assert_eq!(client.answer(asked).await, [json!(5)]);
    for id in waiting {
        client.answer(id).await;
    }
    // A goodbye is taken past a handler that waits.
    client.ask("ask me", json!([])).await;
    client.question().await;
    client.wire.send("41").await;
    eventually("the goodbye is heard", async || {
        left.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(running.metric("ping_timeouts").await, 0);
}

#[tokio::test]
async fn a_polling_post_is_left_unanswered_while_handlers_are_behind() {
    let (gate, notes) = (Gate::shut(), Arc::default());
    let running = Running::start(|server| setup(server, &gate, &notes));
    let polling = Polling::connect(running.address).await;
    let mut body = r#"42["slow"]"#.to_owned();
    for n in 0..100 {
        body.push_str(&format!("\u{1e}42[\"note\",{n}]"));
    }
    let sender = polling.clone();
    let post = tokio::spawn(async move { sender.post(&body).await });
    running.until_metric("pauses", 1).await;
    // The session is alive: a poll is accepted, and the POST still waits.
    running.server.of("/").emit("hello", ()).expect("emitted");
    assert_eq!(polling.poll().await, r#"42["hello"]"#);
    assert!(!post.is_finished());
    gate.open();
    soon("the answer to the POST", post)
        .await
        .expect("answered");
    assert_eq!(*notes.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_handler_that_awaits_an_answer_it_cannot_hear_times_out_and_reading_resumes() {
    // The client's answer stands behind more events than are read: only the default deadline of
    // acknowledgements ends that. Meanwhile neither side takes the other for dead.
    let notes = Arc::new(Mutex::new(Vec::new()));
    let builder = Server::builder()
        .workers(1)
        .ping_interval(Duration::from_millis(100))
        .ping_timeout(Duration::from_millis(150))
        .ack_timeout(Duration::from_millis(1200));
    let running = Running::with(builder, |server| {
        setup(server, &Gate::shut(), &notes);
        server.of("/").on("stuck", async |socket: Socket| {
            let failure = socket
                .emit_with_ack("question", ())
                .await
                .expect_err("no answer");
            failure.is_timeout()
        });
    });
    let mut client = running.connect().await;
    let stuck = client.ask("stuck", json!([])).await;
    for n in 0..500 {
        client.emit("note", json!([n])).await;
    }
    let (_, question) = client.question().await;
    running.until_metric("pauses", 1).await;
    client.acknowledge(question, json!([])).await;
    let mut pings = 0;
    let answer = loop {
        match client.wire.recv().await {
            Some(Frame::Text(text)) if text == "2" => {
                pings += 1;
                client.wire.send("3").await;
            }
            Some(Frame::Text(text)) => break text,
            other => panic!("the connection ended: {other:?}"),
        }
    };
    assert_eq!(answer, format!("43{stuck}[true]"));
    assert!(
        pings >= 4,
        "a client that hears no pings for long gives up; heard {pings}"
    );
    client.call("sync", json!([])).await;
    assert_eq!(*notes.lock().unwrap(), (0..500).collect::<Vec<_>>());
    // Afterwards the heartbeat goes on as before.
    for _ in 0..3 {
        match client.wire.recv().await {
            Some(Frame::Text(text)) if text == "2" => client.wire.send("3").await,
            other => panic!("not a ping: {other:?}"),
        }
    }
    client.call("sync", json!([])).await;
    assert_eq!(running.metric("ping_timeouts").await, 0);
}

#[tokio::test]
async fn a_peer_that_closes_while_it_is_not_read_is_noticed() {
    let gate = Gate::shut();
    let running = Running::start(|server| setup(server, &gate, &Arc::default()));
    let mut client = running.connect().await;
    client.emit("slow", json!([])).await;
    for n in 0..5000 {
        client.emit("note", json!([n])).await;
    }
    running.until_metric("pauses", 1).await;
    let begun = Instant::now();
    drop(client);
    running.until_metric("sessions", 0).await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    gate.open();
    running.until_empty().await;
    assert!(running.metric("events_dropped").await > 0);
}

#[tokio::test]
async fn a_busy_peer_stays_alive_when_its_pong_is_late_because_of_us() {
    // A handler that blocks its worker for longer than the ping timeout: sockets are read before
    // deadlines are judged.
    let builder = Server::builder()
        .workers(1)
        .blocking_limit(Duration::from_millis(20))
        .ping_interval(Duration::from_millis(100))
        .ping_timeout(Duration::from_millis(100));
    let running = Running::with(builder, |server| {
        server.of("/").on("block", async || {
            std::thread::sleep(Duration::from_millis(400))
        });
    });
    let mut client = running.connect().await;
    let mut other = running.connect().await;
    let others = tokio::spawn(async move { other.next().await });
    client.call("block", json!([])).await;
    client.call("block", json!([])).await;
    assert!(!others.is_finished(), "it was closed");
    assert_eq!(running.metric("ping_timeouts").await, 0);
    assert_eq!(running.metric("blocking_handlers").await, 2);
}

#[tokio::test]
async fn large_messages_pass_a_small_bound_one_by_one() {
    let builder = Server::builder().workers(1).max_waiting(1, 1);
    let running = Running::with(builder, |server| {
        server.of("/").on("len", async |Data(text): Data<String>| {
            tokio::task::yield_now().await;
            text.len()
        });
    });
    let mut client = Client::connect(running.address).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(client.ask("len", json!(["y".repeat(n * 10_000)])).await);
    }
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(client.answer(id).await, [json!(n * 10_000)]);
    }
    client
        .wire
        .write(OpCode::Ping, b"still there")
        .await
        .expect("written");
    assert_eq!(
        client.wire.recv().await,
        Some(Frame::Pong(b"still there".to_vec()))
    );
}
