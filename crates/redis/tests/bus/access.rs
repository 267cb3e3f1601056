//! Who may take part: passwords, rights, names, keys, TLS, and what strangers publish.

use base64::Engine;
use sockeye_cluster::{Bus, BusErrorKind, NodeId, Request, Selection};
use sockeye_redis::wire::{Sharded, Streams, SubscriptionMode};
use sockeye_redis::{Emitter, Native, RedisConfig, RedisMode};

use crate::common::RedisServer;
use crate::support::{NSP, Node, config, numbered, refusal, until};

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
