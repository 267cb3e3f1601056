//! The bus on a real Redis: the contract in both modes, and trouble.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use common::{NodePeer, PATIENCE, RedisServer};
use serde_json::json;
use sockeye_cluster::contract::bus::{self, Cluster, Manners};
use sockeye_cluster::{
    Answer, Answers, Broadcast, Bus, BusErrorKind, Event, Link, Listener, NodeEvent, NodeId,
    Operation, Request, Responder, Selection, SocketDetails,
};
use sockeye_protocol::socketio::{Args, Parser, ToArgs};
use sockeye_redis::wire::{Sharded, Streams, SubscriptionMode};
use sockeye_redis::{Emitter, Native, RedisBus, RedisConfig, RedisMode};

/// Each part of the suite has a prefix of its own on one server.
struct OnRedis {
    url: String,
    mode: RedisMode,
    secret: Option<&'static [u8]>,
    prefix: String,
}

impl OnRedis {
    fn new(redis: &RedisServer, mode: RedisMode, secret: Option<&'static [u8]>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            url: redis.url(),
            mode,
            secret,
            prefix: format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Cluster for OnRedis {
    async fn join(&mut self, name: &str) -> Arc<dyn Bus> {
        let config = RedisConfig::new(&self.url, name).expect("a URL");
        let mut config = config.mode(self.mode).with_prefix(&self.prefix);
        if let Some(secret) = self.secret {
            config = config.secret(secret);
        }
        if self.mode == RedisMode::Streams {
            // More than one, so that some namespaces go where Node.js does not look.
            let streams = Streams::new().channel_prefix(&*self.prefix).count(3);
            config = config.streams(streams.name(&*self.prefix));
        }
        Arc::new(RedisBus::new(config).expect("a configuration"))
    }

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    fn manners(&self) -> Manners {
        match self.mode {
            RedisMode::Classic => Manners {
                routes: false,
                names: false,
                counts: false,
                rooms: true,
                one_way: true,
            },
            RedisMode::Streams => Manners {
                routes: false,
                names: false,
                counts: false,
                rooms: false,
                one_way: false,
            },
            RedisMode::Sharded(mode) => Manners {
                routes: mode != SubscriptionMode::Static,
                names: false,
                counts: false,
                rooms: false,
                one_way: true,
            },
            _ => Manners::native(),
        }
    }
}

#[tokio::test]
async fn the_native_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Native, None)).await;
}

#[tokio::test]
async fn the_authenticated_native_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Native, Some(b"secret"))).await;
}

#[tokio::test]
async fn the_classic_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Classic, None)).await;
}

#[tokio::test]
async fn the_sharded_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    for mode in [
        SubscriptionMode::Static,
        SubscriptionMode::Dynamic,
        SubscriptionMode::DynamicPrivate,
    ] {
        bus::all(|| OnRedis::new(&redis, RedisMode::Sharded(mode), None)).await;
    }
}

#[tokio::test]
async fn the_streams_mode_keeps_the_contract() {
    let redis = RedisServer::start();
    bus::all(|| OnRedis::new(&redis, RedisMode::Streams, None)).await;
}

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

/// Notes what it hears, and answers every question in the same way.
#[derive(Default)]
struct Recorder {
    heard: Mutex<Vec<(String, Operation)>>,
    asked: Mutex<Vec<Request>>,
    events: Mutex<Vec<NodeEvent>>,
}

impl Listener for Recorder {
    fn on_operation(&self, _: &str, from: &NodeId, operation: Operation) {
        let mut heard = self.heard.lock().unwrap();
        heard.push((from.to_string(), operation));
    }

    fn on_request(&self, _: &str, _: &NodeId, request: Request, mut responder: Responder) {
        match &request {
            Request::FetchSockets(_) => {
                responder.answer(Answer::Sockets(vec![SocketDetails {
                    id: "rust-socket".into(),
                    rooms: vec!["rust-socket".into(), "r1".into()],
                    handshake: raw("{}"),
                    data: raw(r#"{"user":"rust"}"#),
                }]));
            }
            Request::ServerSide(_) => responder.answer(Answer::ServerSide(raw("\"from rust\""))),
            Request::Broadcast(_) => {
                responder.answer(Answer::Clients(1));
                let args = raw(r#"{"ack":"rust"}"#);
                responder.answer(Answer::Ack { socket: None, args });
            }
            _ => {}
        }
        self.asked.lock().unwrap().push(request);
    }

    fn on_node(&self, event: NodeEvent) {
        self.events.lock().unwrap().push(event);
    }
}

impl Recorder {
    /// The numbers that were heard, in order.
    fn numbers(&self) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        let number = |(_, operation): &(String, Operation)| match operation {
            Operation::Broadcast(broadcast) => broadcast.event.args.deserialize().ok(),
            _ => None,
        };
        heard.iter().filter_map(number).collect()
    }

    fn heard(&self) -> Vec<Operation> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .map(|(_, operation)| operation.clone())
            .collect()
    }
}

struct Node {
    bus: RedisBus,
    log: Arc<Recorder>,
}

impl Node {
    async fn start(config: RedisConfig) -> Self {
        let bus = RedisBus::new(config).expect("a configuration");
        let log = Arc::new(Recorder::default());
        bus.start(log.clone()).await.expect("Redis is there");
        bus.open(NSP).await.expect("Redis is there");
        bus.subscribe(NSP, "room").await.expect("Redis is there");
        Self { bus, log }
    }

    fn tell(&self, number: u64) -> sockeye_cluster::Reply<Result<(), sockeye_cluster::BusError>> {
        self.bus.publish(NSP, numbered("room", number))
    }
}

const NSP: &str = "/chat";

fn config(redis: &RedisServer, name: &str) -> RedisConfig {
    RedisConfig::new(&redis.url(), name).expect("a URL")
}

fn numbered(room: &str, number: u64) -> Operation {
    let args = number.to_args(Parser::Json).expect("serialisable");
    let event = Event::new("number", args);
    Operation::Broadcast(Broadcast::new(Selection::rooms([room]), event))
}

fn raw(json: &str) -> Args {
    Args::from_json(json, Vec::new(), &Default::default()).expect("valid")
}

async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !is_true() {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn all_of(mut answers: Answers) -> Vec<Answer> {
    let mut found = Vec::new();
    let gather = async {
        while let Some((_, answer)) = answers.next().await {
            found.push(answer);
        }
    };
    tokio::time::timeout(PATIENCE, gather)
        .await
        .expect("an end");
    found
}

async fn refusal(config: RedisConfig) -> sockeye_cluster::BusError {
    let bus = RedisBus::new(config).expect("a configuration");
    let refused = bus.start(Arc::new(Recorder::default())).await;
    assert_eq!(bus.health().link, Link::Down);
    assert!(bus.publish("/", numbered("room", 1)).await.is_err());
    refused.expect_err("cannot start")
}

#[tokio::test]
async fn a_wrong_password_is_said_at_once() {
    let redis = RedisServer::start_with(&["--requirepass", "right"]);
    for (user, kind) in [
        ("", BusErrorKind::Denied),
        (":wrong@", BusErrorKind::Denied),
        ("nobody:right@", BusErrorKind::Denied),
    ] {
        let url = format!("redis://{user}127.0.0.1:{}/", redis.port);
        let error = refusal(RedisConfig::new(&url, "a").expect("a URL")).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("wrong@"), "{error}");
    }
    let url = format!("redis://:right@127.0.0.1:{}/", redis.port);
    Node::start(RedisConfig::new(&url, "a").expect("a URL")).await;
}

#[tokio::test]
async fn a_user_may_be_confined_to_the_channels_of_a_prefix() {
    let redis = RedisServer::start();
    let _: () = redis::cmd("ACL")
        .arg(&[
            "SETUSER",
            "node",
            "on",
            ">pw",
            "resetchannels",
            "&mine:*",
            "&mine-probe:*",
        ])
        .arg(&[
            "+publish",
            "+subscribe",
            "+unsubscribe",
            "+pubsub",
            "+ping",
            "+client",
        ])
        .query(&mut redis.client())
        .expect("set");
    let url = |prefix: &str| format!("redis://node:pw@127.0.0.1:{}/?prefix={prefix}", redis.port);
    let error = refusal(RedisConfig::new(&url("other"), "a").expect("a URL")).await;
    assert_eq!(error.kind(), BusErrorKind::Denied, "{error}");
    let (a, b) = (
        Node::start(RedisConfig::new(&url("mine"), "a").expect("a URL")).await,
        Node::start(RedisConfig::new(&url("mine"), "b").expect("a URL")).await,
    );
    a.tell(1).await.expect("allowed");
    until("b hears", || b.log.numbers() == [1]).await;
    // A right that is taken away is an error of the message, not of the connection.
    let allow = |publish: &str| {
        let mut allow = redis::cmd("ACL");
        let allow = allow.arg("SETUSER").arg("node").arg(publish);
        allow.query::<()>(&mut redis.client()).expect("set");
    };
    allow("-publish");
    let error = a.tell(2).await.expect_err("not allowed");
    assert_eq!(error.kind(), BusErrorKind::Denied, "{error}");
    assert_eq!(a.bus.health().dropped, 1);
    allow("+publish");
    a.tell(3).await.expect("allowed");
    until("b hears", || b.log.numbers() == [1, 3]).await;
    assert_eq!(a.bus.health().reconnects, 0);
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let redis = RedisServer::start();
    let there = config(&redis, "a");
    redis.stop();
    assert!(refusal(there).await.is_unavailable());
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let redis = RedisServer::start();
    let first = Node::start(config(&redis, "a")).await;
    let error = refusal(config(&redis, "a")).await;
    assert_eq!(error.kind(), BusErrorKind::Misconfigured, "{error}");
    first.bus.leave().await.expect("available");
    Node::start(config(&redis, "a")).await;
}

#[tokio::test]
async fn the_classic_mode_does_not_go_where_native_nodes_are() {
    let redis = RedisServer::start();
    let _native = Node::start(config(&redis, "a")).await;
    let same = config(&redis, "b")
        .mode(RedisMode::Classic)
        .with_prefix("sockeye");
    assert_eq!(refusal(same).await.kind(), BusErrorKind::Misconfigured);
    Node::start(config(&redis, "b").mode(RedisMode::Classic)).await;
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
    let all = [&a, &b, &c, &d, &e, &f];
    a.tell(1).await.expect("available");
    c.tell(1).await.expect("available");
    e.tell(1).await.expect("available");
    until("all is well", || {
        [&b, &d, &f].iter().all(|node| node.log.numbers() == [1])
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
    until("they hear again", || {
        let is_last = |node: &&Node| node.log.numbers().last() == Some(&4);
        [&b, &d, &f].iter().all(is_last)
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

/// With a key: what is not sealed with it, what was recorded and what is no message at all is counted
/// and ignored, on every channel.
#[tokio::test]
async fn nobody_without_the_key_is_heard() {
    let redis = RedisServer::start();
    let keyed = |name| config(&redis, name).secret(b"a secret of the cluster");
    let (a, b) = (Node::start(keyed("a")).await, Node::start(keyed("b")).await);
    // Somebody listens and plays it again.
    let native = Native::new("sockeye");
    let room = native.room(NSP, "room");
    let mut tap = redis.client();
    let recorded = {
        let mut tap = tap.as_pubsub();
        tap.subscribe(&room).expect("subscribed");
        a.tell(1).await.expect("available");
        let message = tap.get_message().expect("published");
        message.get_payload_bytes().to_vec()
    };
    until("b hears", || b.log.numbers() == [1]).await;

    let mut forger = redis.client();
    let mut publish = |channel: &str, payload: &[u8]| {
        let mut publish = redis::cmd("PUBLISH");
        let heard: i64 = publish
            .arg(channel)
            .arg(payload)
            .query(&mut forger)
            .expect("sent");
        assert!(heard > 0);
    };
    publish(&room, &recorded);
    let mut changed = recorded.clone();
    *changed.last_mut().expect("not empty") ^= 1;
    let node = native.node(b.bus.node());
    for channel in [&room, &native.namespace(NSP), &native.all(), &node] {
        for payload in [
            &changed[..],
            b"",
            b"{}",
            b"\xc1\x01\x00\x01",
            &[0xff; 100_000],
        ] {
            publish(channel, payload);
        }
    }
    for emitter in [
        Emitter::native(native.clone(), None),
        Emitter::native(
            native.clone(),
            Some(sockeye_cluster::BusKey::new(b"guess", "sockeye")),
        ),
    ] {
        let commands = emitter
            .of(NSP)
            .to("room")
            .emit("number", 666)
            .expect("serialisable");
        for message in commands.messages() {
            publish(&message.channel, &message.payload);
        }
    }
    let key = sockeye_cluster::BusKey::new(b"a secret of the cluster", "sockeye");
    let emitter = Emitter::native(native.clone(), Some(key)).of(NSP);
    let commands = emitter.to("room").emit("number", 2).expect("serialisable");
    commands
        .to_pipeline()
        .exec(&mut redis.client())
        .expect("sent");
    until("b hears the true one", || b.log.numbers() == [1, 2]).await;
    // Four channels with five forgeries each, and two emitters.
    assert_eq!(b.bus.health().refused, 22);
    assert_eq!(a.bus.nodes(), [NodeId::from("b")]);
}

/// Other kinds of adapters on the same prefix, and noise: what Node.js servers crash of is ignored.
#[tokio::test]
async fn foreign_formats_neither_crash_nor_confuse_a_classic_node() {
    let redis = RedisServer::start();
    let classic = |name| config(&redis, name).mode(RedisMode::Classic);
    let (a, b) = (
        Node::start(classic("a")).await,
        Node::start(classic("b")).await,
    );
    let sharded = Sharded::new("socket.io", SubscriptionMode::Dynamic);
    let streams = Streams::new();
    let request = Request::FetchSockets(Selection::all());
    let foreign = [
        sharded.operation("x", NSP, &numbered("room", 666)),
        sharded
            .request("x", NSP, "id", &request)
            .expect("it has that"),
        streams
            .request("x", NSP, "id", &request)
            .expect("it has that"),
    ];
    let mut forger = redis.client();
    let mut publish = |channel: &str, payload: &[u8]| {
        let mut publish = redis::cmd("PUBLISH");
        let heard: i64 = publish
            .arg(channel)
            .arg(payload)
            .query(&mut forger)
            .expect("sent");
        assert_eq!(heard, 2, "{channel}");
    };
    let payloads = foreign.iter().map(|message| &message.payload[..]);
    let noise = [
        &b""[..],
        b"{",
        b"\xc1\x01\x00\x01",
        b"\x93\x01\x02\x03",
        b"[]",
    ];
    let payloads: Vec<_> = payloads.chain(noise).collect();
    for payload in &payloads {
        publish("socket.io#/chat#", payload);
        publish("socket.io#/chat#room#", payload);
        publish("socket.io-request#/chat#", payload);
    }
    // Of another namespace whose name begins like this one's, and of none.
    publish("socket.io#/chat#/x#", &foreign[0].payload);
    publish("socket.io#/chat#x", &foreign[0].payload);
    a.tell(1).await.expect("available");
    until("b goes on", || b.log.numbers() == [1]).await;
    assert!(b.log.asked.lock().unwrap().is_empty());
    assert_eq!(b.log.heard().len(), 1);
    // One on each of three channels, and one on another room.
    assert_eq!(b.bus.health().refused, 3 * payloads.len() as u64 + 1);
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

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

#[tokio::test]
async fn over_tls_with_a_certificate_of_ones_own() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let root = pem("CERTIFICATE", made.cert.der());
    let folder = std::env::temp_dir().join(format!("sockeye-redis-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, &root).expect("written");
    std::fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).expect("written");
    let redis = RedisServer::start_tls(&certificate, &key);
    std::fs::remove_dir_all(&folder).expect("removed");

    let url = format!("rediss://localhost:{}/", redis.port);
    let of = |name: &str| RedisConfig::new(&url, name).expect("a URL");
    let error = refusal(of("a")).await;
    assert!(
        error.to_string().to_lowercase().contains("certificate"),
        "{error}"
    );
    let a = Node::start(of("a").root_certificate(root.as_bytes())).await;
    let b = Node::start(of("b").root_certificate(root.as_bytes())).await;
    a.tell(1).await.expect("available");
    until("b hears", || b.log.numbers() == [1]).await;
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
