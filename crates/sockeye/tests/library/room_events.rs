//! What becomes of rooms, as a namespace tells it.

use std::sync::{Arc, Mutex};

use serde_json::json;
use sockeye::{Namespace, RoomEvent, Server, Socket};

use crate::support::{Client, Running, eventually};

type Log = Arc<Mutex<Vec<RoomEvent>>>;

fn watch(namespace: &Namespace) -> (Log, sockeye::ListenerId) {
    let log = Log::default();
    let seen = log.clone();
    let id = namespace.on_room_event(move |event| seen.lock().unwrap().push(event));
    (log, id)
}

/// What was told and is not about a socket's own room, as text.
fn told(log: &Log) -> Vec<String> {
    let log = log.lock().unwrap();
    let shared = log.iter().filter(|event| event.room().len() != 20);
    shared
        .map(|event| match event {
            RoomEvent::Created { room } => format!("created {room}"),
            RoomEvent::Joined { room, id } => format!("{id} joined {room}"),
            RoomEvent::Left { room, id } => format!("{id} left {room}"),
            RoomEvent::Deleted { room } => format!("deleted {room}"),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn with_rooms(server: &Server) {
    let namespace = server.of("/");
    namespace.on(
        "join",
        async |socket: Socket, room: sockeye::Data<String>| socket.join(room.0).await,
    );
    namespace.on(
        "leave",
        async |socket: Socket, room: sockeye::Data<String>| socket.leave(&room.0).await,
    );
}

#[tokio::test]
async fn rooms_are_told_of_with_every_member_until_nobody_listens() {
    let mut log = None;
    let running = Running::start(|server| {
        with_rooms(server);
        log = Some(watch(&server.of("/")));
    });
    let (log, listener) = log.expect("set up");
    let (mut ada, mut ben) = (running.connect().await, running.connect().await);
    for client in [&mut ada, &mut ben] {
        client.call("join", json!(["red"])).await;
    }
    ada.call("join", json!(["red"])).await;
    ada.call("leave", json!(["red"])).await;
    let ids = [ada.id.clone(), ben.id.clone()];
    drop(ben);
    eventually("the room is deleted", async || told(&log).len() == 6).await;
    assert_eq!(
        told(&log),
        [
            "created red".to_owned(),
            format!("{} joined red", ids[0]),
            format!("{} joined red", ids[1]),
            format!("{} left red", ids[0]),
            format!("{} left red", ids[1]),
            "deleted red".to_owned(),
        ]
    );
    // The rooms of the sockets' own are told of too.
    let own: Vec<_> = log.lock().unwrap().iter().cloned().collect();
    let (room, id): (sockeye::Room, Arc<str>) = (ids[1].as_str().into(), ids[1].as_str().into());
    for event in [
        RoomEvent::Created { room: room.clone() },
        RoomEvent::Joined {
            room: room.clone(),
            id: id.clone(),
        },
        RoomEvent::Left {
            room: room.clone(),
            id,
        },
        RoomEvent::Deleted { room },
    ] {
        assert_eq!(own.iter().filter(|known| **known == event).count(), 1);
    }

    let namespace = running.server.of("/");
    assert!(namespace.off(listener));
    assert!(!namespace.off(listener));
    ada.call("join", json!(["blue"])).await;
    let (log, _) = watch(&namespace);
    ada.call("join", json!(["green"])).await;
    ada.call("leave", json!(["blue"])).await;
    eventually("what came later is told", async || told(&log).len() == 4).await;
    assert_eq!(
        told(&log)[2..],
        [format!("{} left blue", ada.id), "deleted blue".to_owned()],
        "it stood when listening began"
    );
}

/// A room whose members live on several workers comes with the first of all and goes with the last.
#[tokio::test]
async fn a_room_of_several_workers_is_created_and_deleted_once() {
    let mut log = None;
    let running = Running::mounted(Server::builder().workers(3), |server| {
        with_rooms(server);
        log = Some(watch(&server.of("/")).0);
    })
    .await;
    let log = log.expect("set up");
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..6 {
        let mut client = running.connect().await;
        client.call("join", json!(["wide"])).await;
        clients.push(client);
    }
    let workers: std::collections::HashSet<u8> = clients.iter().map(Client::worker).collect();
    assert!(workers.len() > 1, "{workers:?}");
    drop(clients);
    eventually("the room is deleted", async || {
        told(&log).last().is_some_and(|last| last == "deleted wide")
    })
    .await;
    let told = told(&log);
    assert_eq!(told.len(), 2 + 2 * 6, "{told:?}");
    assert_eq!(told[0], "created wide");
    running.until_empty().await;
}

#[tokio::test]
async fn a_namespace_made_on_demand_tells_those_who_listen_to_its_pattern() {
    let mut log = None;
    let running = Running::start(|server| {
        let parent = server.of_pattern("^/team-[a-z]$").expect("a pattern");
        parent.on_connection(async |socket: Socket| socket.join("red").await);
        // A panic of one listener is counted and ends nothing.
        parent.on_room_event(|_| panic!("on purpose"));
        log = Some(watch(&parent).0);
    });
    let log = log.expect("set up");
    for (n, name) in ["/team-a", "/team-b"].into_iter().enumerate() {
        let mut client = Client::open(running.address).await;
        client.join(name, None).await.expect("let in");
        eventually("it has joined", async || told(&log).len() == 4 * n + 2).await;
        drop(client);
        eventually("it has left", async || told(&log).len() == 4 * n + 4).await;
    }
    assert_eq!(told(&log)[4], "created red", "of the second namespace");
    assert!(running.metric("handler_panics").await >= 8);
}
