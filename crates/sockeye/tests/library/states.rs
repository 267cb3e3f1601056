//! The life of a socket: its states, its end and the reason for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sockeye::{CloseReason, DisconnectReason, Server, Socket, SocketState};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Client, Packet, Polling, Running, sockets, soon};

#[tokio::test]
async fn each_transition_of_the_state_is_observed() {
    let (sender, mut seen) = unbounded_channel();
    let running = Running::start(|server| {
        let ns = server.of("/");
        ns.middleware(move |socket: Socket| {
            let (sender, mut watch) = (sender.clone(), socket.watch_state());
            assert_eq!(socket.state(), SocketState::Connecting);
            tokio::spawn(async move {
                loop {
                    let state = *watch.borrow_and_update();
                    let _ = sender.send(state);
                    if state == SocketState::Disconnected || watch.changed().await.is_err() {
                        return;
                    }
                }
            });
            // The watcher has seen the first state before the second comes.
            tokio::task::yield_now()
        });
        ns.on_connection(async |socket: Socket| {
            assert!(socket.is_connected());
        });
        ns.on_disconnecting(async |socket: Socket| {
            assert_eq!(socket.state(), SocketState::Disconnecting);
            tokio::task::yield_now().await;
        });
        ns.on_disconnect(async |socket: Socket| {
            assert_eq!(socket.state(), SocketState::Disconnected);
        });
    });
    let client = running.connect().await;
    for state in [SocketState::Connecting, SocketState::Connected] {
        assert_eq!(soon("a state", seen.recv()).await, Some(state));
    }
    drop(client);
    for state in [SocketState::Disconnecting, SocketState::Disconnected] {
        assert_eq!(soon("a state", seen.recv()).await, Some(state));
    }
    assert_eq!(running.metric("handler_panics").await, 0);
}

#[tokio::test]
async fn a_refused_socket_ends_disconnected() {
    let mut refused = None;
    let running = Running::start(|server| {
        let (sender, receiver) = unbounded_channel();
        refused = Some(receiver);
        server.of("/").middleware(move |socket: Socket| {
            let _ = sender.send(socket);
            std::future::ready(Err::<(), _>(sockeye::ConnectError::new("no")))
        });
    });
    let mut client = Client::open(running.address).await;
    assert!(client.join("/", None).await.is_err());
    let socket: Socket = refused.expect("set up").recv().await.expect("a socket");
    soon("the end", socket.closed()).await;
    assert_eq!(socket.state(), SocketState::Disconnected);
}

/// Notes the reason of every disconnection, and the rooms that stood before and after.
type Ends = UnboundedReceiver<(DisconnectReason, Vec<String>, Vec<String>)>;

fn ends(server: &Server) -> Ends {
    let (sender, receiver) = unbounded_channel();
    let ns = server.of("/");
    let rooms = Arc::new(Mutex::new(Vec::new()));
    ns.on_connection(async |socket: Socket| {
        socket.join("room").await.expect("joined");
    });
    let before = rooms.clone();
    ns.on_disconnecting(move |socket: Socket| {
        let before = before.clone();
        async move {
            let rooms = socket.rooms().await;
            *before.lock().unwrap() = rooms[1..].to_vec();
        }
    });
    ns.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
        let (sender, before) = (sender.clone(), std::mem::take(&mut *rooms.lock().unwrap()));
        async move {
            let _ = sender.send((reason, before, socket.rooms().await));
        }
    });
    receiver
}

#[tokio::test]
async fn every_end_has_its_reason() {
    let (mut connected, mut ended) = (None, None);
    let builder = Server::builder()
        .workers(1)
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200));
    let running = Running::with(builder, |server| {
        ended = Some(ends(server));
        connected = Some(sockets(&server.of("/")));
    });
    let (mut connected, mut ended) = (connected.expect("set up"), ended.expect("set up"));
    let how = [
        (
            "client namespace disconnect",
            CloseReason::ClientNamespaceDisconnect,
        ),
        (
            "server namespace disconnect",
            CloseReason::ServerNamespaceDisconnect,
        ),
        ("fully", CloseReason::ServerNamespaceDisconnect),
        ("transport close", CloseReason::TransportClose),
        ("close frame", CloseReason::TransportClose),
        ("transport error", CloseReason::TransportError),
        ("parse error", CloseReason::ParseError),
        ("ping timeout", CloseReason::PingTimeout),
        ("forced close", CloseReason::ForcedClose),
    ];
    for (name, expected) in how {
        let mut client = running.connect().await;
        let socket = connected.recv().await.expect("a socket");
        match name {
            "client namespace disconnect" => client.wire.send("41").await,
            "server namespace disconnect" => socket.disconnect(),
            "fully" => socket.disconnect_fully(),
            "close frame" => client.wire.close(1000).await,
            // A frame of a client without a mask (RFC 6455 §5.1).
            "transport error" => client.wire.write_raw(&[0x81, 1, b'x']).await,
            "parse error" => client.wire.send("4x").await,
            "forced close" => socket.drop_connection(),
            "ping timeout" => {}
            _ => {}
        }
        let mut client = (name != "transport close").then_some(client);
        let end = soon(name, ended.recv()).await.expect("an end");
        let (reason, before, after) = end;
        assert_eq!(reason.reason(), expected, "{name}: {}", reason.detail());
        assert_eq!(reason.to_string(), expected.as_str());
        assert_eq!(before, ["room"], "{name}: the rooms stand while it leaves");
        assert!(after.is_empty(), "{name}: and then no more");
        soon(name, socket.closed()).await;
        if let Some(client) = &mut client
            && !name.ends_with("namespace disconnect")
        {
            let last = client.until_end().await;
            let told = last.contains(&Packet::Disconnect("/".into()));
            assert_eq!(told, name == "fully", "{name}: {last:?}");
        }
    }
    running.until_empty().await;
    let text = running.server.metrics().await;
    for (reason, count) in [
        ("transport close", 2),
        ("server namespace disconnect", 2),
        ("ping timeout", 1),
    ] {
        let line = format!("sockeye_disconnects_total{{reason=\"{reason}\"}} {count}\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_polling_client_that_is_gone_is_found_by_its_silence() {
    let mut ended = None;
    let builder = Server::builder()
        .workers(1)
        .ping_interval(Duration::from_millis(100))
        .ping_timeout(Duration::from_millis(100));
    let running = Running::with(builder, |server| ended = Some(ends(server)));
    let mut ended = ended.expect("set up");
    let polling = Polling::connect(running.address).await;
    let (reason, ..) = soon("the end", ended.recv()).await.expect("an end");
    assert_eq!(reason.reason(), CloseReason::PingTimeout);
    drop(polling);

    // A goodbye of the engine ends it at once.
    let polling = Polling::connect(running.address).await;
    polling.post("1").await;
    let (reason, ..) = soon("the end", ended.recv()).await.expect("an end");
    assert_eq!(reason.reason(), CloseReason::TransportClose);
    running.until_empty().await;
}

#[tokio::test]
async fn every_namespace_of_a_connection_hears_of_its_end() {
    let (mut first, mut second) = (None, None);
    let running = Running::start(|server| {
        first = Some(sockets(&server.of("/")));
        second = Some(sockets(&server.of("/second")));
    });
    let mut client = running.connect().await;
    client.join("/second", None).await.expect("let in");
    let first = first.expect("set up").recv().await.expect("a socket");
    let second = second.expect("set up").recv().await.expect("a socket");
    assert_ne!(first.id(), second.id());
    first.disconnect_fully();
    soon("the end of both", async {
        tokio::join!(first.closed(), second.closed())
    })
    .await;
    let packets = client.until_end().await;
    assert_eq!(
        packets,
        [
            Packet::Disconnect("/".into()),
            Packet::Disconnect("/second".into())
        ]
    );
}

#[tokio::test]
async fn a_connection_that_joins_nothing_in_time_is_closed() {
    let builder = Server::builder()
        .workers(1)
        .connect_timeout(Duration::from_millis(100));
    let running = Running::with(builder, |server| {
        server.of("/").on("sync", async || ());
    });
    let mut idle = Client::open(running.address).await;
    let mut joined = running.connect().await;
    assert_eq!(idle.until_end().await, []);
    assert_eq!(running.metric("connect_timeouts").await, 1);
    joined.call("sync", json!([])).await;
}
