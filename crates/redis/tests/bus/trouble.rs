//! Restarts, pauses, cuts and the dead.

use std::sync::Arc;
use std::time::Duration;

use sockeye_cluster::{
    Bus, Event, Link, Listener, NodeEvent, NodeId, Operation, Request, Responder, Selection,
};
use sockeye_protocol::socketio::Args;
use sockeye_redis::wire::SubscriptionMode;
use sockeye_redis::{RedisBus, RedisMode};

use crate::common::RedisServer;
use crate::support::{NSP, Node, Recorder, all_of, config, numbered, until};

/// A node that was cut off reads on where it was.
#[tokio::test]
async fn streams_are_read_on_after_a_cut() {
    let redis = RedisServer::start();
    let streams = |name| config(&redis, name).mode(RedisMode::Streams);
    let (a, b) = (
        Node::start(streams("a")).await,
        Node::start(streams("b")).await,
    );
    let mut admin = redis.client();
    for number in 0..200 {
        a.tell(number).await.expect("available");
        if number % 50 == 25 {
            // All connections that wait for entries, which are both.
            let mut list = redis::cmd("CLIENT");
            let list: String = list.arg("LIST").query(&mut admin).expect("listed");
            for line in list.lines().filter(|line| line.contains("cmd=xread")) {
                let id = line.split(' ').find_map(|part| part.strip_prefix("id="));
                let mut kill = redis::cmd("CLIENT");
                let kill = kill.arg("KILL").arg("ID").arg(id);
                kill.query::<i64>(&mut admin).expect("answered");
            }
        }
    }
    until("all have come", || b.log.numbers().len() >= 200).await;
    assert!(b.log.numbers().into_iter().eq(0..200));
    assert!(b.bus.health().reconnects > 0);
    assert!(a.log.numbers().is_empty());
    let offset = |operation: &Operation| match operation {
        Operation::Broadcast(broadcast) => broadcast.offset,
        _ => None,
    };
    let offsets: Vec<_> = b.log.heard().iter().filter_map(offset).collect();
    assert!(offsets.len() == 200 && offsets.is_sorted_by(|one, next| one < next));
}

/// Everything is lost with the server; the nodes find each other again and what they had subscribed to,
/// also what was asked for while it was away.
#[tokio::test]
async fn redis_may_be_restarted() {
    let redis = RedisServer::start();
    let (a, b) = (
        Node::start(config(&redis, "a")).await,
        Node::start(config(&redis, "b")).await,
    );
    let classic = |name| config(&redis, name).mode(RedisMode::Classic);
    let (c, d) = (
        Node::start(classic("c")).await,
        Node::start(classic("d")).await,
    );
    let sharded = RedisMode::Sharded(SubscriptionMode::Dynamic);
    let sharded = |name| config(&redis, name).mode(sharded).with_prefix("sharded");
    let (e, f) = (
        Node::start(sharded("e")).await,
        Node::start(sharded("f")).await,
    );
    let streams = |name| config(&redis, name).mode(RedisMode::Streams);
    let (g, h) = (
        Node::start(streams("g")).await,
        Node::start(streams("h")).await,
    );
    let all = [&a, &b, &c, &d, &e, &f, &g, &h];
    a.tell(1).await.expect("available");
    c.tell(1).await.expect("available");
    e.tell(1).await.expect("available");
    g.tell(1).await.expect("available");
    until("all is well", || {
        [&b, &d, &f, &h]
            .iter()
            .all(|node| node.log.numbers() == [1])
    })
    .await;

    let port = redis.stop();
    until("they notice", || {
        all.iter()
            .all(|node| node.bus.health().link == Link::Degraded)
    })
    .await;
    let late = b.bus.subscribe(NSP, "late").await;
    assert!(late.is_err_and(|error| error.is_unavailable()));
    b.bus.unsubscribe(NSP, "room");
    // It waits, and goes out when Redis is back, whoever may hear it then.
    let waiting = a.tell(2);
    assert!(a.bus.health().queued_bytes > 0);

    let _redis = RedisServer::on(port, &[]).expect("the port is still free");
    waiting.await.expect("published in the end");
    until("all are back", || {
        all.iter()
            .all(|node| node.bus.health().link == Link::Connected)
    })
    .await;
    assert!(all.iter().all(|node| node.bus.health().reconnects >= 2));
    a.tell(3).await.expect("available");
    a.bus
        .publish(NSP, numbered("late", 4))
        .await
        .expect("available");
    c.tell(4).await.expect("available");
    e.tell(4).await.expect("available");
    g.tell(4).await.expect("available");
    until("they hear again", || {
        let is_last = |node: &&Node| node.log.numbers().last() == Some(&4);
        [&b, &d, &f, &h].iter().all(is_last)
    })
    .await;
    assert!(!b.log.numbers().contains(&3), "it has unsubscribed");
    until("they know each other", || {
        a.bus.nodes() == [NodeId::from("b")]
    })
    .await;
}

/// Beyond the limit it says so, counts, and goes on.
#[tokio::test]
async fn what_waits_for_redis_is_bounded() {
    let redis = RedisServer::start();
    let a = Node::start(config(&redis, "a").max_queued_bytes(10_000)).await;
    let port = redis.stop();
    until("it notices", || a.bus.health().link == Link::Degraded).await;
    let mut waiting = Vec::new();
    let error = loop {
        let reply = a.tell(waiting.len() as u64);
        match reply.into_ready() {
            Ok(refused) => break refused.expect_err("only errors are there at once"),
            Err(reply) => waiting.push(reply),
        }
        assert!(waiting.len() < 1_000);
    };
    assert!(error.is_full(), "{error}");
    let health = a.bus.health();
    assert!(
        (10_000..11_000).contains(&health.queued_bytes),
        "{health:?}"
    );
    assert_eq!(health.dropped, 1);

    let redis = RedisServer::on(port, &[]).expect("the port is still free");
    for reply in waiting {
        reply.await.expect("published in the end");
    }
    until("all is out", || a.bus.health().queued_bytes == 0).await;
    drop(redis);
}

/// A slow server delays; it loses nothing and changes no order.
#[tokio::test]
async fn a_pause_of_redis_loses_nothing() {
    let redis = RedisServer::start();
    let (a, b) = (
        Node::start(config(&redis, "a")).await,
        Node::start(config(&redis, "b")).await,
    );
    let mut pause = redis::cmd("CLIENT");
    let pause = pause.arg("PAUSE").arg(400).arg("ALL");
    pause.query::<()>(&mut redis.client()).expect("paused");
    let mut last = None;
    for number in 0..2_000 {
        last = Some(a.tell(number));
    }
    last.expect("some").await.expect("published in the end");
    until("all have come", || b.log.numbers().len() == 2_000).await;
    assert!(b.log.numbers().into_iter().eq(0..2_000));
    assert_eq!(b.bus.health().received, 2_000);
    assert_eq!(a.bus.health().dropped, 0);
    assert!(a.bus.health().lag_ms.is_some());
}

/// As Redis does with subscribers that read too slowly.
#[tokio::test]
async fn connections_may_be_cut_at_any_time() {
    let redis = RedisServer::start();
    let (a, b) = (
        Node::start(config(&redis, "a")).await,
        Node::start(config(&redis, "b")).await,
    );
    let mut admin = redis.client();
    for kind in ["pubsub", "normal"] {
        let before = b.bus.health().reconnects;
        let mut kill = redis::cmd("CLIENT");
        let kill = kill
            .arg("KILL")
            .arg("TYPE")
            .arg(kind)
            .arg("SKIPME")
            .arg("yes");
        let killed: i64 = kill.query(&mut admin).expect("killed");
        assert_eq!(killed, 2);
        // The publishing connection notices when it is used.
        until("it comes back", || {
            drop(b.tell(0));
            drop(a.tell(0));
            b.bus.health().reconnects > before && b.bus.health().link == Link::Connected
        })
        .await;
        until("the other one too", || {
            a.bus.health().link == Link::Connected
        })
        .await;
        a.tell(7).await.expect("available");
        until("b hears", || b.log.numbers().contains(&7)).await;
        b.log.heard.lock().unwrap().clear();
    }
}

/// Connections are cut in the middle of traffic: nothing comes twice or out of order, and what did not
/// come was reported to the publisher.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_told() {
    const MESSAGES: u64 = 3_000;
    let redis = RedisServer::start();
    let (a, b) = (
        Node::start(config(&redis, "a")).await,
        Node::start(config(&redis, "b")).await,
    );
    let mut admin = redis.client();
    let id_of_publisher = |admin: &mut redis::Connection| -> Vec<i64> {
        let mut list = redis::cmd("CLIENT");
        let list: String = list
            .arg("LIST")
            .arg("TYPE")
            .arg("NORMAL")
            .query(admin)
            .expect("listed");
        let id = |line: &str| line.split_once("id=")?.1.split(' ').next()?.parse().ok();
        let others = list.lines().filter(|line| !line.contains("cmd=client"));
        others.filter_map(id).collect()
    };
    let mut replies = Vec::new();
    for number in 0..MESSAGES {
        replies.push(a.tell(number));
        if number % 300 == 299 {
            // Once some of it is on its way.
            tokio::time::sleep(Duration::from_millis(1)).await;
            for id in id_of_publisher(&mut admin) {
                let mut kill = redis::cmd("CLIENT");
                let kill = kill.arg("KILL").arg("ID").arg(id);
                let _: i64 = kill.query(&mut admin).expect("answered");
            }
        }
    }
    let mut told = Vec::new();
    for (number, reply) in replies.into_iter().enumerate() {
        if reply.await.is_err() {
            told.push(number as u64);
        }
    }
    a.tell(MESSAGES).await.expect("connected again");
    until("the last one comes", || {
        b.log.numbers().last() == Some(&MESSAGES)
    })
    .await;
    let heard = b.log.numbers();
    assert!(heard.is_sorted_by(|one, next| one < next), "{heard:?}");
    for number in 0..MESSAGES {
        let is_heard = heard.binary_search(&number).is_ok();
        assert!(is_heard || told.contains(&number), "{number} is missing");
    }
    assert_eq!(a.bus.health().dropped, told.len() as u64);
}

/// A node that vanishes is waited for no longer than it is believed to live.
#[tokio::test]
async fn a_dead_node_is_not_waited_for() {
    let redis = RedisServer::start();
    let config = config(&redis, "a");
    let config = config.heartbeat(Duration::from_millis(50), Duration::from_millis(400));
    let a = Node::start(config).await;
    let ghost = sockeye_cluster::Sealer::new("ghost".into(), 5, None);
    let hello = ghost.seal(0, "", &sockeye_cluster::Body::Hello);
    let _: i64 = redis::cmd("PUBLISH")
        .arg("sockeye:all")
        .arg(&hello[..])
        .query(&mut redis.client())
        .expect("sent");
    until("a has heard of it", || {
        a.bus.nodes() == [NodeId::from("ghost")]
    })
    .await;
    let request = Request::FetchSockets(Selection::all());
    let answers = a.bus.request(NSP, request).await.expect("available");
    assert_eq!(answers.silent().nodes, [NodeId::from("ghost")]);
    assert_eq!(all_of(answers).await, []);
    assert!(a.bus.nodes().is_empty());
}

/// Nodes that have never heard of a namespace answer for it, so that nobody waits.
#[tokio::test]
async fn a_namespace_may_be_on_some_nodes_only() {
    let redis = RedisServer::start();
    let (a, b) = (
        Node::start(config(&redis, "a")).await,
        Node::start(config(&redis, "b")).await,
    );
    a.bus.open("/only-a").await.expect("available");
    for request in [
        Request::FetchSockets(Selection::all()),
        Request::ServerSide(Event::new("x", Args::new())),
    ] {
        let answers = a.bus.request("/only-a", request).await.expect("available");
        assert_eq!(all_of(answers).await, []);
    }
    assert!(b.log.asked.lock().unwrap().is_empty());
}

/// While Redis stands still nobody hears of anybody; that makes nobody dead.
#[tokio::test]
async fn a_pause_of_redis_makes_nobody_dead() {
    let redis = RedisServer::start();
    let quick = |name| {
        let config = config(&redis, name);
        config.heartbeat(Duration::from_millis(20), Duration::from_millis(200))
    };
    let (a, b) = (Node::start(quick("a")).await, Node::start(quick("b")).await);
    let mut pause = redis::cmd("CLIENT");
    let pause = pause.arg("PAUSE").arg(800).arg("ALL");
    pause.query::<()>(&mut redis.client()).expect("paused");
    until("it shows", || a.bus.health().link == Link::Degraded).await;
    until("it is over", || a.bus.health().link == Link::Connected).await;
    until("for both", || b.bus.health().link == Link::Connected).await;
    let events = |node: &Node| node.log.events.lock().unwrap().clone();
    assert_eq!(events(&a), [NodeEvent::Joined("b".into())]);
    assert_eq!(events(&b), [NodeEvent::Joined("a".into())]);
    assert_eq!(a.bus.health().reconnects, 0);
}

/// It loses that one message.
#[tokio::test]
async fn a_listener_may_panic() {
    struct Fragile(Arc<Recorder>);
    impl Listener for Fragile {
        fn on_operation(&self, namespace: &str, from: &NodeId, operation: Operation) {
            self.0.on_operation(namespace, from, operation);
            assert!(self.0.numbers() != [1], "as it is told to");
        }
        fn on_request(&self, _: &str, _: &NodeId, _: Request, _: Responder) {}
    }
    let redis = RedisServer::start();
    let a = Node::start(config(&redis, "a")).await;
    let b = RedisBus::new(config(&redis, "b")).expect("a configuration");
    let log = Arc::new(Recorder::default());
    b.start(Arc::new(Fragile(log.clone())))
        .await
        .expect("Redis is there");
    b.open(NSP).await.expect("Redis is there");
    b.subscribe(NSP, "room").await.expect("Redis is there");
    for number in 1..=3 {
        drop(a.tell(number));
    }
    until("b goes on", || log.numbers() == [1, 2, 3]).await;
    assert_eq!(b.health().reconnects, 0);
}
