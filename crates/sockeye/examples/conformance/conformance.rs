//! Profile `conformance`: a handler for each thing a client can see.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sockeye::{
    Ack, Args, Binary, Broadcast, ConnectError, Data, DisconnectReason, Namespace, NoAck, Server,
    Socket, Transport, Value,
};

use crate::control;
use crate::options::Options;

/// The last disconnections of each namespace.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<HashMap<String, VecDeque<serde_json::Value>>>>);

impl Log {
    fn add(&self, namespace: &str, id: &str, reason: &str) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = log.entry(namespace.to_owned()).or_default();
        entries.push_back(json!({ "id": id, "reason": reason }));
        if entries.len() > 100 {
            entries.pop_front();
        }
    }

    pub(crate) fn of(&self, namespace: &str) -> Vec<serde_json::Value> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.get(namespace)
            .map_or(Vec::new(), |entries| entries.iter().cloned().collect())
    }
}

pub(crate) fn install(server: &Server, options: &Options) {
    let log = Log::default();
    handlers(&server.of("/"), &log);
    handlers(&server.of("/custom"), &log);
    let dynamic = server
        .of_pattern(r"^/dyn-\d+$")
        .expect("a literal that is a regular expression");
    handlers(&dynamic, &log);
    let auth = server.of("/auth");
    auth.middleware(async |socket: Socket| {
        let auth = socket.auth().unwrap_or(serde_json::Value::Null);
        if auth["token"] != "secret" {
            let data = json!({ "code": 401, "token": auth["token"] });
            return Err(ConnectError::new("unauthorized").with_data(data));
        }
        let _ = socket.set_data(json!({ "user": auth["user"] }));
        Ok(())
    });
    handlers(&auth, &log);
    server.of("/greet").on_connection(async |socket: Socket| {
        let _ = socket.emit("hello", 1);
        let _ = socket.emit("hello", (2, Binary(Bytes::from_static(&[1, 2, 3]))));
        let _ = socket.emit("hello", 3);
    });
    control::install(server, options, &log);
}

fn handlers(namespace: &Namespace, log: &Log) {
    messages(namespace);
    rooms(namespace);
    broadcasts(namespace);
    connection(namespace, log);
}

fn messages(ns: &Namespace) {
    ns.on("echo", async |socket: Socket, args: Args, ack: Ack| {
        if ack.is_wanted() {
            let _ = ack.send(args);
        } else {
            let _ = socket.emit("echo-back", args);
        }
    });
    ns.on("inspect", async |args: Args| {
        Data(args.values().iter().map(inspect).collect::<Vec<_>>())
    });
    ns.on(
        "emit-back",
        async |socket: Socket, Data(event): Data<String>, args: Args| {
            let _ = socket.emit(&event, args);
            NoAck
        },
    );
    ns.on(
        "call-me",
        async |socket: Socket, Data(ms): Data<u64>, Data(event): Data<String>, args: Args| {
            let call = socket.timeout(Duration::from_millis(ms));
            let answer = call.emit_with_ack(&event, args);
            tokio::spawn(async move {
                let result = match answer.await {
                    Ok(answer) => Value::from_iter([
                        ("ok", Value::Bool(true)),
                        ("args", Value::Array(answer.values())),
                    ]),
                    // A socket that has gone is told nothing, not even when it comes back.
                    Err(error) if error.is_disconnected() => return,
                    Err(_) => Value::from_iter([
                        ("ok", Value::Bool(false)),
                        ("error", Value::from("timeout")),
                    ]),
                };
                let _ = socket.emit("call-result", result);
            });
            NoAck
        },
    );
    ns.on(
        "volatile",
        async |socket: Socket, Data(n): Data<u64>, Data(size): Data<usize>| {
            let text = "x".repeat(size);
            for i in 0..n {
                let _ = socket.volatile().emit("v", (i, &text));
            }
            let _ = socket.emit("v-end", n);
            NoAck
        },
    );
    ns.on(
        "burst",
        async |socket: Socket, Data(n): Data<u64>, Data(size): Data<usize>| {
            let text = "x".repeat(size);
            for i in 0..n {
                if socket.emit_when_ready("b", (i, &text)).await.is_err() {
                    break;
                }
            }
            n
        },
    );
    ns.on("blob", async |Data(n): Data<usize>| {
        Binary((0..n).map(|i| (i % 251) as u8).collect::<Vec<u8>>().into())
    });
}

fn rooms(ns: &Namespace) {
    ns.on(
        "join",
        async |socket: Socket, Data(rooms): Data<OneOrMany>| {
            let _ = socket.join(rooms.0).await;
            Data(sorted_rooms(&socket).await)
        },
    );
    ns.on("leave", async |socket: Socket, Data(room): Data<String>| {
        let _ = socket.leave(&room).await;
        Data(sorted_rooms(&socket).await)
    });
    ns.on("rooms", async |socket: Socket| {
        Data(sorted_rooms(&socket).await)
    });
    ns.on(
        "set-data",
        async |socket: Socket, Data(value): Data<serde_json::Value>| {
            let _ = socket.set_data(value);
        },
    );
    ns.on("whoami", async |socket: Socket| {
        let handshake = socket.handshake();
        let query: serde_json::Map<String, serde_json::Value> = handshake
            .query()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let transport = match socket.transport() {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        };
        let auth = socket.auth().unwrap_or(serde_json::Value::Null);
        Data(json!({
            "id": socket.id(),
            "nsp": socket.namespace().name(),
            "auth": if auth.is_null() { json!({}) } else { auth },
            "query": query,
            "transport": transport,
            "protocol": 4,
            "recovered": socket.is_recovered(),
            "rooms": sorted_rooms(&socket).await,
        }))
    });
}

fn broadcasts(ns: &Namespace) {
    ns.on(
        "to",
        async |socket: Socket,
               Data(rooms): Data<Vec<String>>,
               Data(except): Data<Vec<String>>,
               Data(event): Data<String>,
               rest: Args| {
            let target = socket.broadcast().to(rooms).except(except);
            send(&target, &event, &rest)
        },
    );
    ns.on(
        "in",
        async |socket: Socket,
               Data(rooms): Data<Vec<String>>,
               Data(except): Data<Vec<String>>,
               Data(event): Data<String>,
               rest: Args| {
            let target = socket.namespace().to(rooms).except(except);
            send(&target, &event, &rest)
        },
    );
    ns.on("broadcast", async |socket: Socket, args: Args| {
        let _ = socket.namespace().emit("broadcast", args.take(1));
        NoAck
    });
    ns.on(
        "broadcast-call",
        async |socket: Socket,
               Data(rooms): Data<Vec<String>>,
               Data(ms): Data<u64>,
               Data(event): Data<String>,
               rest: Args,
               ack: Ack| {
            let Some(args) = rest.get(0).and_then(Args::from_array) else {
                return;
            };
            let target = socket
                .namespace()
                .to(rooms)
                .timeout(Duration::from_millis(ms));
            // Spawned: the sender may be asked too, and has to be able to answer.
            tokio::spawn(async move {
                let Ok(answers) = target.emit_with_ack(&event, args).await else {
                    return;
                };
                let _ = ack.send((control::responses(&answers),));
            });
        },
    );
}

fn connection(ns: &Namespace, log: &Log) {
    ns.on("bye", async |socket: Socket, Data(close): Data<bool>| {
        if close {
            socket.disconnect_fully();
        } else {
            socket.disconnect();
        }
        NoAck
    });
    ns.on("drop", async |socket: Socket| {
        socket.drop_connection();
        NoAck
    });
    let entries = log.clone();
    ns.on("log", move |socket: Socket| {
        let entries = entries.of(socket.namespace().name());
        async move { Data(entries) }
    });
    let log = log.clone();
    ns.on_disconnect(move |socket: Socket, reason: DisconnectReason| {
        log.add(socket.namespace().name(), socket.id(), reason.as_str());
        async {}
    });
}

/// Emits the arguments that came as an array, and says so.
fn send(target: &Broadcast, event: &str, rest: &Args) -> Option<&'static str> {
    let args = rest.get(0).and_then(Args::from_array)?;
    target.emit(event, args).ok()?;
    Some("sent")
}

async fn sorted_rooms(socket: &Socket) -> Vec<String> {
    let mut rooms = socket.rooms().await;
    rooms.sort();
    rooms
}

/// A value with every binary in it replaced by its length and sum.
fn inspect(value: &Value) -> Value {
    match value {
        Value::Binary(data) => {
            let sum = data
                .iter()
                .fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
            Value::from_iter([
                ("bin", Value::from(data.len() as u64)),
                ("sum", Value::from(u64::from(sum))),
            ])
        }
        Value::Array(items) => Value::Array(items.iter().map(inspect).collect()),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.to_owned(), inspect(value)))
            .collect(),
        other => other.clone(),
    }
}

/// A room, or an array of rooms.
#[derive(Default)]
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

impl<'de> serde::Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(OneOrMany(match Either::deserialize(deserializer)? {
            Either::One(room) => vec![room],
            Either::Many(rooms) => rooms,
        }))
    }
}
