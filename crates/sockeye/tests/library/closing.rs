//! An orderly end: everybody is told, nothing is left, the port is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sockeye::{CloseReason, DisconnectReason, Server, Socket, WebSocket};

use crate::support::{Frame, Polling, Running, Wire, listen, request, sockets, soon};

#[tokio::test]
async fn closing_tells_every_session_and_frees_the_port() {
    let told = Arc::new(AtomicUsize::new(0));
    let build = || {
        let server = Server::builder().workers(2).build();
        let told = told.clone();
        server
            .of("/")
            .on_disconnect(move |_: Socket, reason: DisconnectReason| {
                assert_eq!(reason.reason(), CloseReason::ServerShuttingDown);
                told.fetch_add(1, Ordering::SeqCst);
                std::future::ready(())
            });
        server.of("/").on("sync", async || ());
        server
    };
    let (listener, address) = listen();
    let first = build();
    let serving = tokio::spawn({
        let first = first.clone();
        async move { first.serve(listener).await }
    });
    let running = Running {
        server: first.clone(),
        address,
    };
    let mut client = running.connect().await;
    client.call("sync", json!([])).await;
    let polling = Polling::connect(address).await;
    let waiting = polling.clone();
    let tasks = running.metric("tasks").await;
    let poll = tokio::spawn(async move { waiting.poll().await });
    running.until_metric("tasks", tasks + 1).await;
    first.gauges().await;

    first.close(Duration::from_secs(5)).await;
    soon("serve", serving)
        .await
        .expect("no panic")
        .expect("no error");
    // The transport is closed without a DISCONNECT packet: a stock client comes back.
    assert_eq!(client.until_end().await, []);
    assert_eq!(soon("the poll", poll).await.expect("an answer"), "1");
    assert_eq!(told.load(Ordering::SeqCst), 2);

    let listener = std::net::TcpListener::bind(address).expect("the port is free");
    let second = build();
    let running = Running {
        server: second.clone(),
        address,
    };
    tokio::spawn(async move { second.serve(listener).await });
    running.connect().await.call("sync", json!([])).await;
    running.server.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_closed_server_refuses_and_answers_questions_still() {
    let mut connected = None;
    let running = Running::mounted(Server::builder().workers(2), |server| {
        connected = Some(sockets(&server.of("/")));
    })
    .await;
    let client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let ns = running.server.of("/");
    running.server.close(Duration::from_secs(5)).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let answer = request(running.address, "GET", path, "", "").await;
    assert_eq!(answer.status, 503);
    // Nobody waits forever for workers that have ended.
    soon("the gauges", running.server.gauges()).await;
    soon("a count", ns.count()).await;
    soon("sockets", ns.fetch_sockets()).await;
    let joined = soon("a refusal", socket.join("room")).await;
    assert_eq!(joined, Err(sockeye::RoomError::Gone));
    assert!(socket.emit("late", ()).is_err());
    assert!(
        soon("a refusal", socket.emit_with_ack("late", ()))
            .await
            .is_err()
    );
    let answers = soon("no answers", ns.emit_with_ack("late", ()))
        .await
        .expect("asked");
    assert!(answers.answers.is_empty());
    soon("the end", socket.closed()).await;
    drop(client);
}

#[tokio::test]
async fn the_grace_is_a_bound() {
    // A client that takes nothing would hold the end up until its write deadline.
    let mut connected = None;
    let running = Running::start(|server| connected = Some(sockets(&server.of("/"))));
    let client = running.connect().await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let text = "x".repeat(100_000);
    crate::support::eventually("bytes wait", async || {
        socket.queued_bytes() > 1_000_000 || {
            let _ = socket.emit("n", &text);
            false
        }
    })
    .await;
    let begun = Instant::now();
    running.server.close(Duration::from_millis(200)).await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(190) && took < Duration::from_secs(3),
        "{took:?}"
    );
    soon("the end", socket.closed()).await;
    drop(client);
}

#[tokio::test]
async fn disconnect_handlers_finish_before_the_workers_end() {
    let finished = Arc::new(AtomicUsize::new(0));
    let count = finished.clone();
    let running = Running::start(|server| {
        server.of("/").on_disconnect(move |_: Socket| {
            let count = count.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(running.connect().await);
    }
    running.server.close(Duration::from_secs(5)).await;
    assert_eq!(finished.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn plain_websockets_are_closed_too() {
    let running = Running::start(|server| {
        server.websocket("/ws", Default::default(), async |mut socket: WebSocket| {
            while let Some(message) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        });
    });
    let mut wire = Wire::open(running.address, "/ws").await;
    wire.send("hi").await;
    assert_eq!(wire.text().await, "hi");
    let mut silent = Wire::open(running.address, "/ws").await;
    let begun = Instant::now();
    let answering = async {
        assert_eq!(
            wire.recv().await,
            Some(Frame::Close(Some(1001))),
            "going away"
        );
        wire.close(1001).await;
        assert_eq!(wire.recv().await, None);
        begun.elapsed()
    };
    let grace = Duration::from_secs(9);
    let (answered, ()) = tokio::join!(answering, running.server.close(grace));
    assert!(answered < Duration::from_secs(2), "{answered:?}");
    // One that does not answer is waited for a little.
    assert!(
        begun.elapsed() < Duration::from_secs(7),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(silent.recv().await, Some(Frame::Close(Some(1001))));
}

/// One polling client that never polls again would hold a deployment up.
#[tokio::test]
async fn a_close_does_not_wait_long_for_a_polling_client_that_is_gone() {
    let mut connected = None;
    let builder = Server::builder()
        .workers(1)
        .polling_close_timeout(Duration::from_millis(50));
    let running = Running::with(builder, |server| connected = Some(sockets(&server.of("/"))));
    let _gone = Polling::connect(running.address).await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    socket.emit("unread", ()).expect("queued");
    let begun = Instant::now();
    running.server.close(Duration::from_secs(60)).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(running.server.gauges().await.sessions, 0);
}

#[tokio::test]
async fn memory_is_given_back_after_a_herd_has_gone() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let builder = Server::builder().workers(1).release_memory(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        panic!("the application's own fault");
    });
    let running = Running::with(builder, |_| {});
    drop(running.connect().await);
    let mut herd = Vec::new();
    for _ in 0..260 {
        herd.push(running.connect().await);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    drop(herd);
    let released = async || calls.load(Ordering::SeqCst) == 1;
    crate::support::eventually("memory is given back", released).await;
    // Nobody notices that it panicked.
    running.connect().await;
}
