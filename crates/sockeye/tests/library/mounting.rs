//! Inside other servers: axum and hyper, plain and behind TLS.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use sockeye::websocket::WebSocketOptions;
use sockeye::{Data, EventError, Server, Socket, WebSocket};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::support::client::PATH;
use crate::support::http::request_over;
use crate::support::tls::Identity;
use crate::support::{
    Client, Frame, Polling, Running, Wire, eventually, listen, metric, request, soon,
};

/// What every way of mounting is tried with.
fn setup(server: &Server) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let shut = gate.clone();
    let ns = server.of("/");
    ns.on("len", async |Data(text): Data<String>| text.len());
    ns.on("echo", async |Data(text): Data<String>| text);
    ns.on("secure", async |socket: Socket| {
        socket.handshake().is_secure()
    });
    ns.on("slow", move || {
        let gate = shut.clone();
        async move { drop(gate.acquire().await) }
    });
    ns.on("flood", async |socket: Socket, Data(count): Data<u32>| {
        let text = "x".repeat(100_000);
        for n in 0..count {
            let _ = socket.emit_when_ready("n", (n, &text)).await?;
        }
        Ok::<_, EventError>(())
    });
    server.websocket(
        "/ws",
        WebSocketOptions::default(),
        async |mut socket: WebSocket| {
            while let Some(message) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        },
    );
    gate
}

/// Large messages both ways, and back-pressure both ways.
async fn exercise(mut client: Client, gate: &Semaphore) {
    let text = "y".repeat(900_000);
    for _ in 0..3 {
        let answer = client.call("echo", json!([text])).await;
        assert!(answer == [json!(text)]);
    }
    // Outbound: the handler waits for us.
    let flood = client.ask("flood", json!([150])).await;
    for n in 0..150 {
        assert_eq!(client.expect("n").await[0], n);
    }
    client.answer(flood).await;
    // Inbound: we wait for the handler.
    client.emit("slow", json!([])).await;
    let writer = tokio::spawn(async move {
        let text = "z".repeat(100_000);
        let mut last = 0;
        for _ in 0..150 {
            last = client.ask("len", json!([text])).await;
        }
        (client, last)
    });
    let stalled = tokio::time::timeout(Duration::from_millis(700), async {
        eventually("never", async || writer.is_finished()).await;
    });
    assert!(stalled.await.is_err(), "15 MB fit nowhere on the way");
    gate.add_permits(1);
    let (mut client, last) = soon("the rest", writer).await.expect("the writer");
    assert_eq!(client.answer(last).await, [json!(100_000)]);
    client.wire.close(1000).await;
    while client.wire.recv().await.is_some() {}
}

#[tokio::test]
async fn as_a_layer_of_an_axum_router() {
    let server = Server::builder().workers(2).build();
    let gate = setup(&server);
    let router = axum::Router::new()
        .route("/hello", get(async || "hello from axum"))
        .layer(server.layer());
    let (listener, address) = listen();
    listener.set_nonblocking(true).expect("an option");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = request(address, "GET", "/hello", "", "").await;
    assert_eq!((answer.status, answer.text()), (200, "hello from axum"));
    let polling = Polling::connect(address).await;
    polling.post(r#"421["echo","over polling"]"#).await;
    assert_eq!(polling.poll().await, r#"431["over polling"]"#);
    exercise(Client::connect(address).await, &gate).await;
    let mut wire = Wire::open(address, "/ws").await;
    wire.send("plain").await;
    assert_eq!(wire.text().await, "plain");
    assert_eq!(
        metric(&server, "driven_as_is").await,
        0,
        "taken back from hyper"
    );
}

#[tokio::test]
async fn as_a_layer_what_is_not_ours_is_left_to_the_router() {
    let server = Server::builder().workers(1).build();
    // Routed by axum: a layer of the router itself sees requests that a route takes, a fallback
    // sees the rest.
    let router = axum::Router::new()
        .fallback(async || (axum::http::StatusCode::NOT_FOUND, "axum's own"))
        .layer(server.layer());
    let (listener, address) = listen();
    listener.set_nonblocking(true).expect("an option");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = request(address, "GET", "/other", "", "").await;
    assert_eq!((answer.status, answer.text()), (404, "axum's own"));
    Client::connect(address).await;
}

#[tokio::test]
async fn as_a_service_polling_upgrades_to_websocket() {
    let mut gate = None;
    let builder = Server::builder().workers(3);
    let running = Running::mounted(builder, |server| gate = Some(setup(server))).await;
    for _ in 0..3 {
        let polling = Polling::connect(running.address).await;
        let path = format!("{PATH}&sid={}", polling.sid);
        let mut wire = Wire::open(running.address, &path).await;
        wire.send("2probe").await;
        assert_eq!(wire.text().await, "3probe");
        wire.send("5").await;
        wire.send(r#"427["echo","upgraded"]"#).await;
        assert_eq!(wire.text().await, r#"437["upgraded"]"#);
    }
    assert_eq!(running.metric("upgrades").await, 3);
    assert_eq!(running.metric("driven_as_is").await, 0);
    exercise(running.connect().await, &gate.expect("set up")).await;
    assert_eq!(
        request(running.address, "GET", "/other", "", "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn frames_in_the_segment_of_the_handshake_are_not_lost() {
    use sockeye_websocket::handshake::ClientHandshake;
    use sockeye_websocket::{OpCode, masked_frame, random_mask};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mounted =
        Running::mounted(Server::builder().workers(2), |server| drop(setup(server))).await;
    let alone = Running::start(|server| drop(setup(server)));
    for address in [mounted.address, alone.address] {
        for (path, first, expected) in [(PATH, "40", "40{"), ("/ws", "early", "early")] {
            let handshake = ClientHandshake::new("localhost", path, &Default::default());
            let mut bytes = handshake.expect("a request").request().to_vec();
            bytes.extend_from_slice(&masked_frame(OpCode::Text, first.as_bytes(), random_mask()));
            let mut stream = tokio::net::TcpStream::connect(address)
                .await
                .expect("a connection");
            stream.write_all(&bytes).await.expect("written");
            let mut read = Vec::new();
            let found = async {
                while !String::from_utf8_lossy(&read).contains(expected) {
                    assert!(stream.read_buf(&mut read).await.expect("read") > 0);
                }
            };
            soon("the answer to an early frame", found).await;
        }
    }
}

/// Serves a service on hyper-util's automatic builder, behind TLS if there is an acceptor.
fn auto_serve(server: &Server, acceptor: Option<TlsAcceptor>) -> std::net::SocketAddr {
    let (listener, address) = listen();
    listener.set_nonblocking(true).expect("an option");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let service = server.service();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, acceptor) = (service.clone(), acceptor.clone());
            let service = hyper::service::service_fn(move |request| service.clone().call(request));
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                match acceptor {
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        let stream = TokioIo::new(stream);
                        let _ = builder
                            .serve_connection_with_upgrades(stream, service)
                            .await;
                    }
                    None => {
                        let stream = TokioIo::new(stream);
                        let _ = builder
                            .serve_connection_with_upgrades(stream, service)
                            .await;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn on_hyper_s_automatic_builder_the_stream_is_taken_back() {
    let server = Server::builder().workers(2).build();
    let gate = setup(&server);
    let address = auto_serve(&server, None);
    exercise(Client::connect(address).await, &gate).await;
    assert_eq!(metric(&server, "driven_as_is").await, 0);
}

#[tokio::test]
async fn behind_the_host_s_tls_a_websocket_is_driven_as_it_is() {
    let identity = Identity::new();
    let server = Server::builder().workers(2).build();
    let gate = setup(&server);
    let acceptor = TlsAcceptor::from(Arc::new(identity.server()));
    let address = auto_serve(&server, Some(acceptor));
    let (stream, _) = identity.connect(address, &[]).await;
    let wire = Wire::over(stream, PATH, Default::default())
        .await
        .expect("accepted");
    assert_eq!(metric(&server, "driven_as_is").await, 1);
    let mut client = Client::over(wire).await;
    client.join("/", None).await.expect("let in");
    exercise(client, &gate).await;
    eventually("the session is over", async || {
        metric(&server, "sessions").await == 0
    })
    .await;

    let (stream, _) = identity.connect(address, &[]).await;
    let mut wire = Wire::over(stream, "/ws", Default::default())
        .await
        .expect("accepted");
    let data = vec![7; 900_000];
    wire.send_binary(&data).await;
    assert!(wire.recv().await == Some(Frame::Binary(data)));
    let (stream, _) = identity.connect(address, &[]).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let answer = request_over(stream, "GET", path, "", "").await;
    assert!(answer.text().starts_with("0{"));
}

#[tokio::test]
async fn a_slow_consumer_behind_tls_is_closed_and_a_cut_one_noticed() {
    let identity = Identity::new();
    let server = Server::builder()
        .workers(1)
        .max_queued_bytes(300_000)
        .build();
    let mut connected = crate::support::sockets(&server.of("/"));
    let acceptor = TlsAcceptor::from(Arc::new(identity.server()));
    let address = auto_serve(&server, Some(acceptor));
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (stream, _) = identity.connect(address, &[]).await;
        let wire = Wire::over(stream, PATH, Default::default())
            .await
            .expect("accepted");
        let mut client = Client::over(wire).await;
        client.join("/", None).await.expect("let in");
        clients.push((client, connected.recv().await.expect("a socket")));
    }
    let (cut, socket) = clients.pop().expect("two");
    drop(cut);
    soon("the end", socket.closed()).await;
    let (mut slow, socket) = clients.pop().expect("two");
    let text = "x".repeat(50_000);
    eventually("it is refused", async || socket.emit("n", &text).is_err()).await;
    soon("the end", socket.closed()).await;
    let packets = slow.until_end().await;
    assert!(
        packets
            .iter()
            .all(|packet| matches!(packet, crate::support::Packet::Event(..)))
    );
    assert_eq!(metric(&server, "slow_consumers").await, 1);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn served_behind_our_own_tls_with_http_1_only() {
    let identity = Identity::new();
    let server = Server::builder().workers(1).build();
    let gate = setup(&server);
    let (listener, address) = listen();
    let (serving, config) = (server.clone(), identity.server());
    tokio::spawn(async move { serving.serve_tls(listener, config).await });
    let (stream, chosen) = identity.connect(address, &[b"h2", b"http/1.1"]).await;
    assert_eq!(chosen.as_deref(), Some(&b"http/1.1"[..]));
    let wire = Wire::over(stream, PATH, Default::default())
        .await
        .expect("accepted");
    let mut client = Client::over(wire).await;
    client.join("/", None).await.expect("let in");
    assert_eq!(client.call("secure", json!([])).await, [json!(true)]);
    exercise(client, &gate).await;
    // Somebody who speaks no TLS holds nobody up.
    let plain = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    let (stream, _) = identity.connect(address, &[]).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let answer = request_over(stream, "GET", path, "", "").await;
    assert!(answer.text().starts_with("0{"));
    drop(plain);
    server.close(Duration::from_secs(5)).await;
}

/// Behind TLS the descriptor is not ours to ask: the stream is read ahead, and the end shows.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_peer_that_closes_while_it_is_not_read_is_noticed_behind_tls() {
    let identity = Identity::new();
    let server = Server::builder().workers(1).build();
    let gate = setup(&server);
    server.of("/").on("note", async |Data(_): Data<u64>| ());
    let (listener, address) = listen();
    let (serving, config) = (server.clone(), identity.server());
    tokio::spawn(async move { serving.serve_tls(listener, config).await });
    let (stream, _) = identity.connect(address, &[]).await;
    let wire = Wire::over(stream, PATH, Default::default())
        .await
        .expect("accepted");
    let mut client = Client::over(wire).await;
    client.join("/", None).await.expect("let in");
    client.emit("slow", json!([])).await;
    for n in 0..4000 {
        client.emit("note", json!([n])).await;
    }
    eventually("reading stops", async || {
        metric(&server, "pauses").await == 1
    })
    .await;
    drop(client);
    eventually("the end is noticed", async || {
        server.gauges().await.sessions == 0
    })
    .await;
    gate.add_permits(1);
    server.close(Duration::from_secs(5)).await;
}

/// A herd that comes at once finds room in the backlog: nobody is left to the retry of TCP, which
/// takes a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_finds_room_to_wait_for_its_turn() {
    let running = Running::with(Server::builder().workers(1), |server| {
        server.of("/").on("block", async || {
            std::thread::sleep(Duration::from_millis(300));
        });
    });
    let mut client = running.connect().await;
    let address = running.address;
    client.emit("block", json!([])).await;
    let herd = tokio::task::spawn_blocking(move || {
        let begun = std::time::Instant::now();
        let all: Vec<_> = (0..600)
            .map(|_| std::net::TcpStream::connect(address))
            .collect();
        assert!(all.iter().all(Result::is_ok));
        begun.elapsed()
    });
    let took = herd.await.expect("connected");
    assert!(took < Duration::from_millis(900), "{took:?}");
}

/// The end of TLS is written too: a peer that takes nothing does not hold it up for ever.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_plain_websocket_ends_whose_peer_takes_nothing_behind_tls() {
    let identity = Identity::new();
    let (sender, mut over) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder().workers(1).build();
    let options = WebSocketOptions {
        write_timeout: Duration::from_millis(300),
        ..Default::default()
    };
    server.websocket("/ws", options, move |mut socket: WebSocket| {
        let sender = sender.clone();
        async move {
            let data = sockeye::websocket::Message::Binary(vec![0; 1 << 20].into());
            while socket.send(data.clone()).await.is_ok() {}
            while socket.recv().await.is_some() {}
            let _ = sender.send(());
        }
    });
    let (listener, address) = listen();
    let config = identity.server();
    tokio::spawn(async move { server.serve_tls(listener, config).await });
    let (stream, _) = identity.connect(address, &[]).await;
    let wire = Wire::over(stream, "/ws", Default::default()).await;
    let wire = wire.expect("accepted");
    soon("the end", over.recv())
        .await
        .expect("the handler goes on");
    drop(wire);
}
