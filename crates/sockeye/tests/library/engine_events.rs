//! What happens on an engine connection, as its handle tells it.

use std::sync::{Arc, Mutex};

use sockeye::{EngineEvent, EnginePacketKind, ListenerId, Server, Socket, Transport};

use crate::support::{Client, Polling, Running, Wire, eventually, sockets};

type Log = Arc<Mutex<Vec<String>>>;

fn text(event: &EngineEvent) -> String {
    match event {
        EngineEvent::Packet(packet) => format!(
            "{:?} {}",
            packet.kind(),
            packet.as_text().unwrap_or("binary")
        ),
        EngineEvent::PacketCreated(packet) => {
            let data = packet.as_text().map(str::to_owned);
            let data = data.unwrap_or_else(|| format!("{:?}", packet.as_bytes()));
            format!("+{:?} {data}", packet.kind())
        }
        EngineEvent::Upgraded(transport) => format!("upgraded to {}", transport.as_str()),
        EngineEvent::Closed(reason) => format!("closed: {reason}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Every connection from its beginning.
fn watch_all(server: &Server, log: &Log) {
    let log = log.clone();
    server.on_engine_connection(move |connection| {
        assert_eq!(
            (connection.protocol(), connection.transport()),
            (4, Transport::Polling)
        );
        let log = log.clone();
        connection.on_event(move |event| log.lock().unwrap().push(text(event)));
    });
}

#[tokio::test]
async fn a_connection_is_told_of_from_its_beginning_to_its_end() {
    let log = Log::default();
    let running = Running::start(|server| {
        watch_all(server, &log);
        let ns = server.of("/");
        ns.on(
            "echo",
            async |sockeye::Data(text): sockeye::Data<String>| text,
        );
        ns.on("binary", async |socket: Socket| {
            socket
                .emit("b", (sockeye::Binary(vec![1, 2].into()),))
                .map(|_| ())
        });
    });
    let polling = Polling::connect(running.address).await;
    let upgrade = format!("/socket.io/?EIO=4&transport=websocket&sid={}", polling.sid);
    let mut wire = Wire::open(running.address, &upgrade).await;
    wire.send("2probe").await;
    assert_eq!(wire.text().await, "3probe");
    wire.send("5").await;
    wire.send(r#"421["echo","x"]"#).await;
    assert_eq!(wire.text().await, r#"431["x"]"#);
    wire.send(r#"42["binary"]"#).await;
    assert!(wire.text().await.starts_with("451-"));
    drop(wire);
    let ended = || {
        log.lock()
            .unwrap()
            .last()
            .is_some_and(|l| l.starts_with("closed"))
    };
    eventually("it is over", async || ended()).await;

    let log = log.lock().unwrap().clone();
    let at = |what: &str| {
        let found = log.iter().position(|line| line.starts_with(what));
        found.unwrap_or_else(|| panic!("no {what} in {log:#?}"))
    };
    let order = [
        "Message 0",
        "+Message 0{",
        "upgrading",
        "upgraded to websocket",
        r#"Message 21["echo","x"]"#,
        r#"+Message 31["x"]"#,
        r#"Message 2["binary"]"#,
        "+Message 51-",
        "+Message [1, 2]",
        "closed: transport close",
    ];
    let places: Vec<usize> = order.iter().map(|what| at(what)).collect();
    assert!(places.is_sorted(), "{places:?} in {log:#?}");
    assert!(at("flushing") < at("drained"));
    assert_eq!(log.len() - 1, at("closed"), "nothing follows");
    // The open packet was queued before anybody could listen.
    assert!(
        !log.iter().any(|line| line.starts_with("+Open")),
        "{log:#?}"
    );
    assert_eq!(running.metric("handler_panics").await, 0);
}

#[tokio::test]
async fn a_socket_s_connection_can_be_watched_from_elsewhere_and_closed() {
    let mut connected = None;
    let builder = Server::builder()
        .workers(1)
        .ping_interval(std::time::Duration::from_millis(30));
    let running = Running::with(builder, |server| connected = Some(sockets(&server.of("/"))));
    let mut client = running.connect().await;
    let mut second = Client::open(running.address).await;
    let socket = connected.expect("set up").recv().await.expect("a socket");
    let engine = socket.engine();
    let beats = Arc::new(Mutex::new(0));
    let listen = |panics: bool| -> ListenerId {
        let beats = beats.clone();
        engine.on_event(move |event| {
            if let EngineEvent::PacketCreated(packet) = event {
                assert_eq!(packet.kind(), EnginePacketKind::Ping);
                assert!(!packet.is_binary() && packet.as_bytes().is_empty());
            }
            if matches!(event, EngineEvent::Heartbeat) {
                *beats.lock().unwrap() += 1;
                assert!(!panics, "on purpose");
            }
        })
    };
    let (quiet, loud) = (listen(false), listen(true));
    let reading = tokio::spawn(async move { client.until_end().await });
    eventually("heartbeats", async || *beats.lock().unwrap() >= 4).await;
    assert!(running.metric("handler_panics").await >= 1);
    assert!(engine.off(quiet) && engine.off(loud) && !engine.off(loud));
    running.metric("sessions").await;
    let before = *beats.lock().unwrap();

    let closed = Arc::new(Mutex::new(None));
    let seen = closed.clone();
    engine.on_event(move |event| {
        if let EngineEvent::Closed(reason) = event {
            *seen.lock().unwrap() = Some(reason.as_str());
        }
    });
    engine.close();
    assert!(reading.await.expect("no panic").is_empty(), "no DISCONNECT");
    eventually("the end is told", async || closed.lock().unwrap().is_some()).await;
    assert_eq!(*closed.lock().unwrap(), Some("forced close"));
    assert_eq!(*beats.lock().unwrap(), before, "nobody listened any more");
    // What is over has nothing to tell.
    engine.on_event(|_| panic!("it is over"));
    second.join("/", None).await.expect("let in");
}
