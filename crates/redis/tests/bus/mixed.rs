//! One of ours among Node.js servers.

use serde_json::json;
use sockeye_cluster::{Answer, Broadcast, Bus, BusErrorKind, Event, Operation, Request, Selection};
use sockeye_redis::RedisMode;
use sockeye_redis::wire::SubscriptionMode;

use crate::common::{self, NodePeer, RedisServer};
use crate::support::{NSP, Node, all_of, config, numbered, raw, until};

/// One of ours among Node.js servers: each operation and question in both directions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_node_servers() {
    among_node_servers("classic", RedisMode::Classic).await;
}

/// The same with each mode of the sharded adapter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_node_servers_and_sharded_channels() {
    for (peer, mode) in [
        ("sharded-static", SubscriptionMode::Static),
        ("sharded-dynamic", SubscriptionMode::Dynamic),
        ("sharded-dynamic-private", SubscriptionMode::DynamicPrivate),
    ] {
        among_node_servers(peer, RedisMode::Sharded(mode)).await;
    }
}

/// The same with the streams adapter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_node_servers_over_streams() {
    among_node_servers("streams", RedisMode::Streams).await;
}

async fn among_node_servers(peer: &'static str, mode: RedisMode) {
    let is_classic = mode == RedisMode::Classic;
    let redis = RedisServer::start();
    let port = redis.port;
    let mut node = tokio::task::spawn_blocking(move || NodePeer::start(peer, port))
        .await
        .expect("started");
    let ours = Node::start(config(&redis, "rust").mode(mode)).await;
    let answers = |request| async {
        let answers = ours.bus.request(NSP, request).await.expect("available");
        all_of(answers).await
    };
    // Ours asks; Node.js subscribes without telling when.
    common::until("the peer takes part", || {
        let mut numsub = redis::cmd("PUBSUB");
        let numsub = match is_classic {
            true => numsub.arg("NUMSUB").arg("socket.io-request#/chat#"),
            false if mode == RedisMode::Streams => numsub.arg("NUMSUB").arg("socket.io#/chat#"),
            false => numsub.arg("SHARDNUMSUB").arg("socket.io#/chat#"),
        };
        numsub
            .query::<(String, i64)>(&mut redis.client())
            .is_ok_and(|(_, count)| count == 2)
    });
    let found = answers(Request::FetchSockets(Selection::rooms(["r1"]))).await;
    let [Answer::Sockets(sockets)] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(*sockets[0].id, *node.socket);
    assert_eq!(
        answers(Request::Count(Selection::all())).await,
        [Answer::Count(1)]
    );
    if is_classic {
        let found = answers(Request::Rooms).await;
        let [Answer::Rooms(rooms)] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(rooms.len(), 2);
    } else {
        let refused = ours.bus.request(NSP, Request::Rooms).await;
        let error = refused.expect_err("the format has no such question");
        assert_eq!(error.kind(), BusErrorKind::Unsupported);
    }
    let event = Event::new("ask", raw("1"));
    let found = answers(Request::ServerSide(event)).await;
    assert_eq!(found, [Answer::ServerSide(raw(r#"{"from":"node"}"#))]);
    let event = Event::new("q", raw("1"));
    let mut broadcast = Broadcast::new(Selection::rooms(["r1"]), event);
    broadcast.flags.timeout_ms = Some(5_000);
    let found = answers(Request::Broadcast(broadcast)).await;
    assert!(
        matches!(&found[..], [Answer::Clients(1), Answer::Ack { .. }]),
        "{found:?}"
    );
    assert_eq!(node.client_hears(), json!(["q", 1]));

    // Ours tells: in order, on one connection.
    let join = Operation::Join {
        selection: Selection::rooms(["r1"]),
        rooms: vec!["r2".into()],
    };
    let done = answers(Request::Apply(join)).await;
    assert_eq!(done, []);
    // Node.js begins to listen to a room only after it was joined: later, with channels for rooms.
    common::until("the peer is in the room", || {
        let mut numsub = redis::cmd("PUBSUB");
        let numsub = numsub.arg("SHARDNUMSUB").arg("socket.io#/chat#r2#");
        let is_static = mode == RedisMode::Sharded(SubscriptionMode::Static);
        let has_no_channel = is_classic || is_static || mode == RedisMode::Streams;
        let count = numsub.query::<(String, i64)>(&mut redis.client());
        has_no_channel || count.is_ok_and(|(_, count)| count == 1)
    });
    for number in 0..20 {
        drop(ours.bus.publish(NSP, numbered("r2", number)));
    }
    for number in 0..20 {
        assert_eq!(node.client_hears(), json!(["number", number]));
    }

    // Node.js asks.
    let fetched = node.run(json!({"do": "fetch"}));
    let ids: Vec<_> = fetched
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| &s["id"])
        .collect();
    assert!(
        ids.contains(&&json!("rust-socket")) && ids.len() == 2,
        "{ids:?}"
    );
    let answered = node.run(json!({"do": "ask-servers", "event": "ask", "args": []}));
    assert_eq!(answered, json!(["from rust"]));
    let answered =
        node.run(json!({"do": "ask-clients", "timeout": 5000, "event": "q", "args": []}));
    let answered = answered.as_array().expect("a list").clone();
    assert!(
        answered.contains(&json!({"ack": "rust"})) && answered.len() == 2,
        "{answered:?}"
    );

    // Node.js tells, and so does its emitter.
    let before = ours.log.heard().len();
    // The published emitter speaks the classic format only.
    let emitters = &[false, true][..if is_classic { 2 } else { 1 }];
    for emitter in emitters {
        for number in 0..20 {
            node.send(json!({"do": "emit", "rooms": ["room"], "event": "number", "args": [number], "emitter": emitter}));
        }
        let last =
            node.send(json!({"do": "leave", "rooms": ["r1"], "names": ["r2"], "emitter": emitter}));
        node.result(last);
    }
    // The emitter makes a connection of its own for each: no order among those.
    until("all have come", || {
        ours.log.heard().len() == before + 21 * emitters.len()
    })
    .await;
    assert!(ours.log.numbers()[..20].iter().copied().eq(0..20));
    assert_eq!(ours.bus.health().refused, 0);

    ours.bus.leave().await.expect("available");
    // Nobody is waited for that has left.
    let fetched = node.run(json!({"do": "fetch"}));
    assert_eq!(fetched.as_array().expect("a list").len(), 1);
}
