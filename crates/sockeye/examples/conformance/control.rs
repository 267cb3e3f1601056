//! The control namespace: acts on the server as its own code would.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use sockeye::{Answers, Args, Broadcast, Data, Server, Value};

use crate::conformance::{Log, OneOrMany};
use crate::options::Options;

/// What other servers have said and nobody has asked for yet.
type Events = Arc<Mutex<Vec<Value>>>;

#[derive(serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Params {
    nsp: String,
    rooms: Vec<String>,
    except: Vec<String>,
    local: bool,
    event: String,
    volatile: bool,
    timeout_ms: u64,
    join: OneOrMany,
    leave: OneOrMany,
    close: bool,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            nsp: "/".into(),
            rooms: Vec::new(),
            except: Vec::new(),
            local: false,
            event: String::new(),
            volatile: false,
            timeout_ms: 1000,
            join: OneOrMany::default(),
            leave: OneOrMany::default(),
            close: false,
        }
    }
}

pub(crate) fn install(server: &Server, options: &Options, log: &Log) {
    let events = Events::default();
    for name in ["/", "/custom"] {
        listen(server, name, &options.node_name, &events);
    }
    let (inner, log, name) = (server.clone(), log.clone(), options.node_name.clone());
    server.of("/ctl").on(
        "ctl",
        move |Data(op): Data<String>, Data(params): Data<Value>| {
            let (server, log, name, events) =
                (inner.clone(), log.clone(), name.clone(), events.clone());
            async move {
                Data(
                    match run(&server, &log, &name, &events, &op, params).await {
                        Ok(result) => {
                            Value::from_iter([("ok", Value::Bool(true)), ("result", result)])
                        }
                        Err(error) => Value::from_iter([
                            ("ok", Value::Bool(false)),
                            ("error", Value::from(error)),
                        ]),
                    },
                )
            }
        },
    );
}

fn listen(server: &Server, name: &'static str, node: &str, events: &Events) {
    let namespace = server.of(name);
    let remember = move |events: &Events, args: &Args| {
        let entry = std::iter::once(Value::from(name))
            .chain(args.values())
            .collect();
        events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Value::Array(entry));
    };
    let heard = events.clone();
    namespace.on_server_side("node-event", move |args| {
        remember(&heard, &args);
        async { None }
    });
    let (heard, node) = (events.clone(), node.to_owned());
    namespace.on_server_side("node-call", move |args| {
        remember(&heard, &args);
        let answer = Value::from_iter([
            ("node", Value::from(node.as_str())),
            ("args", Value::Array(args.values())),
        ]);
        async move { Some(Args::from_values(&[answer], args.parser())) }
    });
}

async fn run(
    server: &Server,
    log: &Log,
    name: &str,
    events: &Events,
    op: &str,
    raw: Value,
) -> Result<Value, String> {
    let params: Params = parse(&raw)?;
    let namespace = server.of(&params.nsp);
    let args = raw
        .get("args")
        .and_then(Value::as_array)
        .unwrap_or_default();
    let args = Args::from_values(args, server.parser());
    let selected = select(&namespace.all(), &params);
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    match op {
        "name" => Ok(Value::from(name)),
        "serverCount" => Ok(Value::from(1u64)),
        "broadcast" => {
            let target = if params.volatile {
                selected.volatile()
            } else {
                selected
            };
            target
                .emit(&params.event, args)
                .map_err(|error| failed(&error))?;
            Ok(Value::Null)
        }
        "broadcastAck" => {
            let target = selected.timeout(Duration::from_millis(params.timeout_ms));
            let answers = target.emit_with_ack(&params.event, args).await;
            Ok(responses(&answers.map_err(|error| failed(&error))?))
        }
        "socketsJoin" => {
            selected.sockets_join(params.join.0).await;
            Ok(Value::Null)
        }
        "socketsLeave" => {
            selected.sockets_leave(params.leave.0).await;
            Ok(Value::Null)
        }
        "disconnectSockets" => {
            selected.disconnect_sockets(params.close).await;
            Ok(Value::Null)
        }
        "fetchSockets" => {
            let sockets = selected
                .fetch_sockets()
                .await
                .found
                .into_iter()
                .map(|socket| {
                    let mut rooms = socket.rooms().to_vec();
                    rooms.sort();
                    let data = socket.data().unwrap_or(json!({}));
                    let auth = socket.raw_auth().get(0).map(|auth| auth.to_value());
                    Value::from_iter([
                        ("id", Value::from(socket.id())),
                        ("rooms", rooms.into_iter().map(Value::from).collect()),
                        (
                            "auth",
                            auth.unwrap_or_else(|| Value::from_iter::<[(&str, Value); 0]>([])),
                        ),
                        ("data", parse(&json_value(&data)).unwrap_or(Value::Null)),
                    ])
                });
            Ok(sockets.collect())
        }
        "serverSideEmit" => {
            namespace
                .server_side_emit("node-event", args)
                .map_err(|error| failed(&error))?;
            Ok(Value::Null)
        }
        "serverSideEmitAck" => {
            let answers = namespace.server_side_emit_with_ack("node-call", args).await;
            let answers = answers.map_err(|error| failed(&error))?;
            let first = |args: &Args| args.values().into_iter().next().unwrap_or(Value::Null);
            Ok(Value::from_iter([
                ("error", Value::Bool(!answers.silent_nodes.is_empty())),
                ("responses", answers.found.iter().map(first).collect()),
            ]))
        }
        "serverEvents" => {
            let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Value::Array(std::mem::take(&mut *events)))
        }
        "log" => Ok(log.of(&params.nsp).iter().map(json_value).collect()),
        other => Err(format!("unknown op {other}")),
    }
}

fn select(all: &Broadcast, params: &Params) -> Broadcast {
    let selected = all.clone().to(&params.rooms[..]).except(&params.except[..]);
    if params.local {
        selected.local()
    } else {
        selected
    }
}

/// The answers to a broadcast as tests see them: was somebody silent, and the first argument of
/// each answer.
pub(crate) fn responses(answers: &Answers) -> Value {
    let first =
        |(_, args): &(String, Args)| args.values().into_iter().next().unwrap_or(Value::Null);
    Value::from_iter([
        ("timeout", Value::Bool(!answers.is_complete())),
        ("responses", answers.answers.iter().map(first).collect()),
    ])
}

fn parse<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_str(&value.to_json()).map_err(|error| error.to_string())
}

fn json_value(value: &serde_json::Value) -> Value {
    serde_json::from_value(value.clone()).unwrap_or(Value::Null)
}
