//! Connection state recovery: complete and in order, or refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sockeye::{Data, EmbeddedConfig, EventError, Namespace, Recovery, Server, Socket, Store};
use sockeye_cluster::{
    Embedded, NotRecovered, Offset, Reply, Restored, SessionRecord, StoreError, StoreStats,
    StoredPacket,
};

use crate::support::{Client, Packet, Running, eventually, sockets};

/// The embedded store behind a wire: in order, and each answer comes a little later.
struct Late {
    inner: Embedded,
    asked: AtomicU64,
    /// It takes nothing in.
    broken: Arc<AtomicBool>,
}

impl Late {
    fn new() -> Self {
        Late {
            inner: Embedded::new(EmbeddedConfig::default(), 1),
            asked: AtomicU64::new(0),
            broken: Arc::default(),
        }
    }

    /// Later answers may be there before earlier ones.
    fn later<T: Send + 'static>(&self, reply: Reply<T>) -> Reply<T> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let delay = Duration::from_millis([6, 0, 3, 1][asked as usize % 4]);
        Reply::pending(async move {
            tokio::time::sleep(delay).await;
            reply.await
        })
    }
}

impl Store for Late {
    fn append(
        &self,
        namespace: &str,
        packet: Arc<StoredPacket>,
        now_ms: u64,
    ) -> Reply<Result<Offset, StoreError>> {
        if self.broken.load(Ordering::Acquire) {
            return Reply::ready(Err(StoreError::Unavailable));
        }
        self.later(self.inner.append(namespace, packet, now_ms))
    }

    fn head(&self, namespace: &str) -> Reply<Result<Offset, StoreError>> {
        self.later(self.inner.head(namespace))
    }

    fn save_session(
        &self,
        session: SessionRecord,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Reply<Result<(), StoreError>> {
        self.later(self.inner.save_session(session, now_ms, ttl_ms))
    }

    fn restore(
        &self,
        namespace: &str,
        pid: &str,
        offset: Option<&str>,
        now_ms: u64,
    ) -> Reply<Result<Restored, NotRecovered>> {
        self.later(self.inner.restore(namespace, pid, offset, now_ms))
    }

    fn mark_lossy(
        &self,
        namespace: &str,
        pid: &str,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Reply<Result<(), StoreError>> {
        self.later(self.inner.mark_lossy(namespace, pid, now_ms, ttl_ms))
    }

    fn forget(&self, namespace: &str, pid: &str) -> Reply<Result<(), StoreError>> {
        self.later(self.inner.forget(namespace, pid))
    }

    fn sweep(&self, now_ms: u64) -> Reply<Result<(), StoreError>> {
        self.inner.sweep(now_ms)
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }
}

fn builder() -> sockeye::ServerBuilder {
    Server::builder()
        .workers(2)
        .recovery(Recovery::within(Duration::from_secs(30)))
}

fn setup(server: &Server) {
    let ns = server.of("/");
    ns.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.set_data(json!({"joined": room})).expect("JSON");
        socket.join(room).await
    });
    ns.on("recovered", async |socket: Socket| {
        (
            socket.is_recovered(),
            socket.rooms().await,
            socket.data::<Value>(),
        )
    });
    ns.on(
        "publish",
        async |ns: Namespace, Data(room): Data<String>, Data(n): Data<u64>| {
            for k in 0..n {
                ns.to(&room).emit("n", k)?;
                if k % 10 == 9 {
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, EventError>(())
        },
    );
    ns.on("mixed", async |socket: Socket| {
        socket.emit("first", ())?;
        let _ = socket.volatile().emit("second", ())?;
        let answer = socket.emit("third", ()).map(|_| ());
        socket.within(socket.id()).volatile().emit("fourth", ())?;
        answer?;
        Ok::<_, EventError>("answer")
    });
    ns.on("leave", async |socket: Socket| {
        let _ = socket.emit("goodbye", ());
        socket.disconnect();
    });
}

/// Comes back with what is known of a session.
async fn again(running: &Running, client: &Client) -> Client {
    let auth = json!({"pid": client.pid, "offset": client.offset});
    Client::connect_with(running.address, auth).await
}

/// The arguments of the `n` events that wait, offsets taken off, until an answer comes.
async fn numbers(client: &mut Client, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let args = client.expect("n").await;
        numbers.push(args[0].as_u64().expect("a number"));
    }
    numbers
}

#[tokio::test]
async fn a_session_comes_back_with_id_rooms_data_and_what_it_missed() {
    let running = Running::mounted(builder(), setup).await;
    let mut client = running.connect().await;
    client.call("join", json!(["room"])).await;
    let ns = running.server.of("/");
    ns.to("room").emit("n", 0).expect("emitted");
    assert_eq!(numbers(&mut client, 1).await, [0]);
    let (id, mut before) = (client.id.clone(), client);
    before.wire.close(1001).await;
    running.until_metric("recoverable_sessions", 1).await;
    for n in 1..4 {
        ns.to("room").emit("n", n).expect("emitted");
        ns.to("elsewhere").emit("n", 100).expect("emitted");
        ns.except("room").emit("n", 101).expect("emitted");
        ns.to("room").volatile().emit("n", 102).expect("emitted");
    }
    ns.to(&id).emit("n", 4).expect("emitted");
    let mut client = again(&running, &before).await;
    assert_eq!((&client.id, &client.pid), (&id, &before.pid));
    assert_eq!(numbers(&mut client, 4).await, [1, 2, 3, 4]);
    let answer = client.call("recovered", json!([])).await;
    assert_eq!(
        answer,
        [json!(true), json!([id, "room"]), json!({"joined": "room"})]
    );
    ns.to("room").emit("n", 5).expect("emitted");
    assert_eq!(numbers(&mut client, 1).await, [5], "and it is in its room");
    assert_eq!(running.metric("recoveries").await, 1);
    assert_eq!(running.metric("recoverable_sessions").await, 0);
}

/// The event that the store did not take reached those who were there; a client that was away can
/// never be told of it, so it may not be told that nothing is missing.
#[tokio::test]
async fn nobody_is_recovered_over_an_event_that_the_store_did_not_take() {
    let store = Late::new();
    let broken = store.broken.clone();
    let running = Running::mounted(builder().store(store), setup).await;
    let (mut stays, mut leaves) = (running.connect().await, running.connect().await);
    let ns = running.server.of("/");
    ns.emit("n", 1).expect("emitted");
    for client in [&mut stays, &mut leaves] {
        assert_eq!(numbers(client, 1).await, [1]);
    }
    leaves.wire.close(1001).await;
    running.until_metric("recoverable_sessions", 1).await;
    broken.store(true, Ordering::Release);
    ns.emit("n", 2).expect("emitted");
    assert_eq!(numbers(&mut stays, 1).await, [2]);
    broken.store(false, Ordering::Release);
    ns.emit("n", 3).expect("emitted");
    assert_eq!(numbers(&mut stays, 1).await, [3]);
    let mut back = again(&running, &leaves).await;
    assert_ne!(back.id, leaves.id);
    let answer = back.call("recovered", json!([])).await;
    assert_eq!(answer[0], json!(false));
    assert_eq!(running.metric("recoveries_refused").await, 1);
}

#[tokio::test]
async fn a_store_that_answers_late_reorders_nothing() {
    let running = Running::mounted(builder().store(Late::new()), setup).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = running.connect().await;
        client.call("join", json!(["room"])).await;
        clients.push(client);
    }
    for client in &mut clients[..2] {
        client.emit("publish", json!(["room", 60])).await;
    }
    for client in &mut clients {
        let mut sums = [0; 60];
        let mut last: Option<Offset> = None;
        for _ in 0..120 {
            let args = client.expect("n").await;
            let n = args[0].as_u64().expect("a number") as usize;
            assert!(n == 0 || sums[n] < sums[n - 1], "each publisher's order");
            sums[n] += 1;
            let offset: Offset = args[1]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("an offset");
            assert!(
                last.is_none_or(|last| last < offset),
                "the order of the offsets"
            );
            last = Some(offset);
        }
    }
    // Nothing else overtakes either: answers, volatile events, questions, the goodbye.
    let client = &mut clients[0];
    let id = client.ask("mixed", json!([])).await;
    for name in ["first", "second", "third", "fourth"] {
        client.expect(name).await;
    }
    assert!(matches!(client.next().await, Some(Packet::Ack(_, known, _)) if known == id));
    client.emit("leave", json!([])).await;
    client.expect("goodbye").await;
    assert_eq!(client.next().await, Some(Packet::Disconnect("/".into())));
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_others_go_on_talking() {
    const EVENTS: u64 = 400;
    for late in [false, true] {
        let builder = if late {
            builder().store(Late::new())
        } else {
            builder()
        };
        let running = Running::mounted(builder, setup).await;
        let mut client = running.connect().await;
        client.call("join", json!(["room"])).await;
        let ns = running.server.of("/");
        let publishing = std::thread::spawn(move || {
            for n in 0..EVENTS {
                ns.to("room").emit("n", n).expect("emitted");
                std::thread::sleep(Duration::from_micros(700));
            }
        });
        let mut next = 0;
        let mut rounds = 0;
        while next < EVENTS {
            let args = client.expect("n").await;
            assert_eq!(args[0], next, "late {late}, after {rounds} returns");
            next += 1;
            if next % 25 == 0 && next < EVENTS {
                // The old connection is cut; what was on its way in it is lost.
                let before = client;
                client = again(&running, &before).await;
                assert_eq!(client.id, before.id, "late {late}, return {rounds}");
                drop(before);
                rounds += 1;
            }
        }
        publishing.join().expect("the publisher");
        assert!(rounds > 3);
        assert_eq!(running.metric("recoveries").await, rounds);
        assert_eq!(running.metric("recoveries_refused").await, 0);
    }
}

#[tokio::test]
async fn a_client_that_is_back_before_its_old_connection_was_found_dead() {
    let mut connected = None;
    let running = Running::mounted(builder(), |server| {
        setup(server);
        connected = Some(sockets(&server.of("/")));
    })
    .await;
    let mut connected = connected.expect("set up");
    let mut client = running.connect().await;
    let old = connected.recv().await.expect("a socket");
    let _ = old.emit("n", 1).expect("queued");
    client.expect("n").await;
    let new = again(&running, &client).await;
    assert_eq!(new.id, client.id);
    let socket = connected.recv().await.expect("a socket");
    assert!(socket.is_recovered() && socket.is_connected() && !old.is_connected());
    assert!(client.until_end().await.is_empty());
    assert_eq!(running.server.of("/").count().await.found, 1);
}

#[tokio::test]
async fn what_cannot_be_recovered_starts_anew() {
    let mut recovery = Recovery::within(Duration::from_secs(30));
    recovery.store.max_missed_packets = 3;
    let running = Running::with(Server::builder().workers(1).recovery(recovery), setup);
    let ns = running.server.of("/");
    // More was missed than one recovery brings.
    let mut client = running.connect().await;
    client.call("join", json!(["room"])).await;
    ns.to("room").emit("n", 0).expect("emitted");
    client.expect("n").await;
    let (id, pid, offset) = (client.id.clone(), client.pid.clone(), client.offset.clone());
    drop(client);
    running.until_metric("recoverable_sessions", 1).await;
    for n in 0..4 {
        ns.to("room").emit("n", n).expect("emitted");
    }
    let mut client =
        Client::connect_with(running.address, json!({"pid": pid, "offset": offset})).await;
    assert!(client.id != id && client.pid != pid);
    let answer = client.call("recovered", json!([])).await;
    assert_eq!(answer, [json!(false), json!([client.id]), Value::Null]);
    // Claims that are nobody's, and those of a client that left on its own account.
    let (pid, offset) = (client.pid.clone(), json!("nonsense"));
    client.wire.send("41").await;
    eventually("it has left", async || ns.count().await.found == 0).await;
    for claim in [
        json!({"pid": pid, "offset": offset}),
        json!({"pid": "x"}),
        json!({"pid": 5, "offset": []}),
    ] {
        let mut client = Client::connect_with(running.address, claim).await;
        assert_eq!(client.call("recovered", json!([])).await[0], false);
    }
    assert_eq!(running.metric("recoveries").await, 0);
    assert!(running.metric("recoveries_refused").await >= 3);
}

#[tokio::test]
async fn a_socket_that_was_denied_an_event_is_not_recovered() {
    let mut connected = None;
    let builder = builder().max_queued_bytes(200_000);
    let running =
        Running::mounted(builder, |server| connected = Some(sockets(&server.of("/")))).await;
    let mut connected = connected.expect("set up");
    let mut client = running.connect().await;
    let socket = connected.recv().await.expect("a socket");
    let _ = socket.emit("n", 0).expect("queued");
    client.expect("n").await;
    let text = "x".repeat(50_000);
    eventually("it is refused", async || socket.emit("n", &text).is_err()).await;
    socket.closed().await;
    let new = again(&running, &client).await;
    assert_ne!(new.id, client.id);
    assert_eq!(running.metric("recoveries").await, 0);
    assert_eq!(running.metric("recoveries_refused").await, 1);
}

#[tokio::test]
async fn middleware_may_look_at_those_who_return() {
    let mut recovery = Recovery::within(Duration::from_secs(30));
    recovery.skip_middlewares = false;
    let running = Running::with(Server::builder().workers(2).recovery(recovery), |server| {
        setup(server);
        server.of("/").middleware(async |socket: Socket| {
            // While it waits, others talk: that is held for the socket.
            if socket.is_recovered() {
                let ns = socket.namespace();
                for n in 1..4 {
                    ns.to("room").emit("n", n).expect("emitted");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    });
    let mut client = running.connect().await;
    client.call("join", json!(["room"])).await;
    running
        .server
        .of("/")
        .to("room")
        .emit("n", 0)
        .expect("emitted");
    client.expect("n").await;
    let mut new = again(&running, &client).await;
    assert_eq!(numbers(&mut new, 3).await, [1, 2, 3]);
    assert_eq!(new.call("recovered", json!([])).await[0], true);
    assert!(new.offset > client.offset);
}

/// A client that loses its second connection too, before it was let in, has not used its session up.
#[tokio::test]
async fn a_client_that_vanishes_while_it_is_recovered_may_return_still() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let shut = gate.clone();
    let mut recovery = Recovery::within(Duration::from_secs(30));
    recovery.skip_middlewares = false;
    let running = Running::with(Server::builder().workers(2).recovery(recovery), |server| {
        setup(server);
        server.of("/").middleware(move |socket: Socket| {
            let gate = shut.clone();
            async move {
                if socket.is_recovered() {
                    gate.acquire().await.expect("open").forget();
                }
            }
        });
    });
    let mut client = running.connect().await;
    client.call("join", json!(["room"])).await;
    let ns = running.server.of("/");
    ns.to("room").emit("n", 0).expect("emitted");
    numbers(&mut client, 1).await;
    client.wire.close(1001).await;
    running.until_metric("recoverable_sessions", 1).await;
    for n in 1..4 {
        ns.to("room").emit("n", n).expect("emitted");
        let claim = json!({"pid": client.pid, "offset": client.offset});
        let mut lost = Client::open(running.address).await;
        lost.wire.send(&format!("40{claim}")).await;
        running.until_metric("recoverable_sessions", 0).await;
        drop(lost);
        running.until_metric("sessions", 0).await;
        gate.add_permits(1);
        running.until_metric("recoverable_sessions", 1).await;
    }
    gate.add_permits(1);
    let mut new = again(&running, &client).await;
    assert_eq!(new.id, client.id);
    assert_eq!(numbers(&mut new, 3).await, [1, 2, 3]);
    let answer = new.call("recovered", json!([])).await;
    assert_eq!(answer[..2], [json!(true), json!([client.id, "room"])]);
    assert_eq!(running.metric("recoveries").await, 1);
}

#[tokio::test]
async fn a_user_and_rooms_may_change_where_recovery_is_on() {
    let running = Running::with(builder(), |server| {
        setup(server);
        server.of("/").on(
            "become",
            async |socket: Socket, Data(user): Data<String>| {
                socket.set_user(user).await?;
                socket.leave("room").await?;
                Ok::<_, EventError>(socket.user().as_deref().map(str::to_owned))
            },
        );
    });
    let mut client = running.connect().await;
    client.call("join", json!(["room"])).await;
    for user in ["ada", "ben"] {
        assert_eq!(client.call("become", json!([user])).await, [json!(user)]);
    }
    let ns = running.server.of("/");
    assert_eq!(ns.to_user("ada").count().await.found, 0);
    assert_eq!(ns.to_user("ben").count().await.found, 1);
    assert_eq!(ns.to("room").count().await.found, 0);
}
