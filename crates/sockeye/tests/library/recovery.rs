//! Connection state recovery, where several threads publish while clients come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use sockeye::{Recovery, Server, ServerBuilder, Socket};

use crate::support::{Client, PATIENCE, Running, eventually, sockets};

fn builder(workers: usize) -> ServerBuilder {
    Server::builder()
        .workers(workers)
        .recovery(Recovery::default())
}

/// Comes back with what the last connection has learned.
async fn come_back(running: &Running, pid: &str, offset: Option<&str>) -> Client {
    let auth = json!({ "pid": pid, "offset": offset });
    Client::connect_with(running.address, auth).await
}

/// How far a publisher may be ahead of the client.
const AHEAD: u64 = 200;

/// Publishes numbers to a room, a little ahead of what was seen, until it is told to stop.
fn publish(server: &Server, name: &'static str, seen: &Arc<AtomicU64>) {
    let (namespace, seen) = (server.of("/"), seen.clone());
    std::thread::spawn(move || {
        for number in 0.. {
            loop {
                match seen.load(Ordering::Acquire) {
                    u64::MAX => return,
                    seen if number <= seen + AHEAD => break,
                    _ => std::thread::yield_now(),
                }
            }
            namespace.to("news").emit(name, number).expect("published");
        }
    });
}

/// An event that one thread publishes between the moment at which the store tells what was missed
/// and the one at which the socket is back in its rooms would be lost; one that is on its way to
/// the socket's worker at that moment would come twice; and if two threads could overtake each
/// other after their events have their offsets, the last offset would not tell what was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_several_threads_publish() {
    let running = Running::mounted(builder(2), |server| {
        server.of("/").on_connection(async |socket: Socket| {
            if !socket.is_recovered() {
                socket.join("news").await.expect("joined");
                socket.emit("ready", ()).expect("emitted");
            }
        });
    })
    .await;
    let mut client = running.connect().await;
    client.expect("ready").await;
    let names = ["first", "second", "third"];
    let seen = names.map(|name| {
        let seen = Arc::new(AtomicU64::new(0));
        publish(&running.server, name, &seen);
        seen
    });
    let mut next = [0; 3];
    let mut workers = [0; 2];
    let mut last = String::new();
    for round in 0..60 {
        for _ in 0..100 + round {
            let (name, args) = client.event().await;
            let which = names.iter().position(|known| *known == name);
            let which = which.expect("one of ours");
            let number = args[0].as_u64().expect("a number");
            assert_eq!(number, next[which], "{name} in round {round}");
            seen[which].store(number, Ordering::Release);
            next[which] += 1;
            let offset = args[1].as_str().expect("an offset").to_owned();
            assert!(offset > last, "{offset} came after {last}");
            last = offset;
        }
        let (id, pid) = (client.id.clone(), client.pid.clone().expect("a pid"));
        drop(client);
        client = come_back(&running, &pid, Some(&last)).await;
        assert_eq!(client.id, id, "recovered in round {round}");
        workers[usize::from(client.worker())] += 1;
    }
    for seen in seen {
        seen.store(u64::MAX, Ordering::Release);
    }
    assert!(workers.iter().all(|times| *times > 0), "{workers:?}");
}

/// A room that the application takes sockets out of is not one of theirs when they return: whoever
/// had not seen what went there before gets a new session instead of a gap.
#[tokio::test]
async fn a_socket_taken_out_of_a_room_before_it_saw_its_events_is_not_recovered() {
    let running = Running::with(builder(1), |server| {
        server.of("/").on_connection(async |socket: Socket| {
            if !socket.is_recovered() {
                socket.join("news").await.expect("joined");
                socket.emit("ready", ()).expect("emitted");
            }
        });
    });
    let mut client = running.connect().await;
    let offset = client.expect("ready").await[0].as_str().map(str::to_owned);
    let (id, pid) = (client.id.clone(), client.pid.clone().expect("a pid"));
    let namespace = running.server.of("/");
    namespace.to("news").emit("unseen", ()).expect("emitted");
    namespace.sockets_leave("news").await;
    drop(client);
    eventually("gone", async || namespace.count().await.found == 0).await;

    let back = come_back(&running, &pid, offset.as_deref()).await;
    assert_ne!(back.id, id);
}

/// What its queue cannot take is not begun: the client is told that it was not recovered.
#[tokio::test]
async fn more_than_a_connection_may_be_owed_is_not_recovered() {
    let running = Running::with(builder(1).max_queued_bytes(64 << 10), |server| {
        server.of("/").on_connection(async |socket: Socket| {
            if !socket.is_recovered() {
                socket.emit("ready", ()).expect("emitted");
            }
        });
    });
    let mut client = running.connect().await;
    let offset = client.expect("ready").await[0].as_str().map(str::to_owned);
    let (id, pid) = (client.id.clone(), client.pid.clone().expect("a pid"));
    let namespace = running.server.of("/");
    drop(client);
    eventually("gone", async || namespace.count().await.found == 0).await;
    for _ in 0..10 {
        namespace
            .emit("large", "x".repeat(10_000))
            .expect("emitted");
    }

    let mut back = come_back(&running, &pid, offset.as_deref()).await;
    assert_ne!(back.id, id);
    let next = tokio::time::timeout(PATIENCE, back.expect("ready")).await;
    let next: Vec<Value> = next.expect("a new session, and nothing before it");
    assert_eq!(next.len(), 1);
}

/// The handle of a connection that is gone still names the client: what is emitted to it is there
/// when the client has come back.
#[tokio::test]
async fn what_is_emitted_to_a_lost_socket_is_among_what_it_missed() {
    let running = Running::with(builder(2), |_| {});
    let mut handles = sockets(&running.server.of("/"));
    let mut client = running.connect().await;
    let socket = handles.recv().await.expect("a socket");
    socket.emit("before", 1).expect("emitted");
    let offset = client.expect("before").await[1].as_str().map(str::to_owned);
    let pid = client.pid.clone().expect("a pid");
    drop(client);
    socket.closed().await;
    assert!(socket.emit("while away", 2).is_err());

    let mut back = come_back(&running, &pid, offset.as_deref()).await;
    assert_eq!(back.expect("while away").await[0], 2);
    assert_eq!(back.id, socket.id());
    let _ = handles.recv().await.expect("its new handle");
    assert!(socket.emit("by the old handle", 3).is_err());
    assert_eq!(back.expect("by the old handle").await[0], 3);
}
