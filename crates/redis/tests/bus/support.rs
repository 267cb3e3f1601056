//! A node that notes what it hears.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye_cluster::{
    Answer, Answers, Broadcast, Bus, Event, Link, Listener, NodeEvent, NodeId, Operation, Request,
    Responder, Selection, SocketDetails,
};
use sockeye_protocol::socketio::{Args, Parser, ToArgs};
use sockeye_redis::{RedisBus, RedisConfig};

use crate::common::{PATIENCE, RedisServer};

/// Notes what it hears, and answers every question in the same way.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) heard: Mutex<Vec<(String, Operation)>>,
    pub(crate) asked: Mutex<Vec<Request>>,
    pub(crate) events: Mutex<Vec<NodeEvent>>,
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
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        let number = |(_, operation): &(String, Operation)| match operation {
            Operation::Broadcast(broadcast) => broadcast.event.args.deserialize().ok(),
            _ => None,
        };
        heard.iter().filter_map(number).collect()
    }

    pub(crate) fn heard(&self) -> Vec<Operation> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .map(|(_, operation)| operation.clone())
            .collect()
    }
}

pub(crate) struct Node {
    pub(crate) bus: RedisBus,
    pub(crate) log: Arc<Recorder>,
}

impl Node {
    pub(crate) async fn start(config: RedisConfig) -> Self {
        let bus = RedisBus::new(config).expect("a configuration");
        let log = Arc::new(Recorder::default());
        bus.start(log.clone()).await.expect("Redis is there");
        bus.open(NSP).await.expect("Redis is there");
        bus.subscribe(NSP, "room").await.expect("Redis is there");
        Self { bus, log }
    }

    pub(crate) fn tell(
        &self,
        number: u64,
    ) -> sockeye_cluster::Reply<Result<(), sockeye_cluster::BusError>> {
        self.bus.publish(NSP, numbered("room", number))
    }
}

pub(crate) const NSP: &str = "/chat";

pub(crate) fn config(redis: &RedisServer, name: &str) -> RedisConfig {
    RedisConfig::new(&redis.url(), name).expect("a URL")
}

pub(crate) fn numbered(room: &str, number: u64) -> Operation {
    let args = number.to_args(Parser::Json).expect("serialisable");
    let event = Event::new("number", args);
    Operation::Broadcast(Broadcast::new(Selection::rooms([room]), event))
}

pub(crate) fn raw(json: &str) -> Args {
    Args::from_json(json, Vec::new(), &Default::default()).expect("valid")
}

pub(crate) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !is_true() {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn all_of(mut answers: Answers) -> Vec<Answer> {
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

pub(crate) async fn refusal(config: RedisConfig) -> sockeye_cluster::BusError {
    let bus = RedisBus::new(config).expect("a configuration");
    let refused = bus.start(Arc::new(Recorder::default())).await;
    assert_eq!(bus.health().link, Link::Down);
    assert!(bus.publish("/", numbered("room", 1)).await.is_err());
    refused.expect_err("cannot start")
}
