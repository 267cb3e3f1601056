//! What was asked for, as a report repeats it.

use crate::plan::{Contract, CutBy, Pace, Plan, Scenario};
use crate::target::Protocol;
use serde::Serialize;
use serde_json::{Value, json};

/// What was asked for. Secrets are left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameters {
    /// Host, port and path of the server.
    pub server: String,
    /// `socketio`, `websocket` or `floor`.
    pub protocol: String,
    /// `websocket`, `polling` or `upgrade`.
    pub transport: String,
    /// The scenario with its own parameters, tagged by `name`.
    pub scenario: Value,
    /// Connections wanted.
    pub connections: u32,
    /// Bytes of a message's payload.
    pub payload: usize,
    /// Seconds of load before the measurement.
    pub warmup_seconds: f64,
    /// Seconds of the measurement.
    pub duration_seconds: f64,
    /// Handshakes in flight.
    pub handshakes: u32,
    /// Addresses that connections come from; 0 if the system chooses.
    pub sources: usize,
    /// Namespace.
    pub namespace: String,
    /// Room that every connection joins.
    pub room: Option<String>,
    /// Rooms that the connections are spread over; 0: none.
    pub rooms: u32,
    /// `events`, or `serve` for the events of `sockeye serve`.
    pub contract: String,
    /// Whether permessage-deflate was offered.
    pub deflate: bool,
    /// Whether credentials were sent. They are not repeated here.
    pub authenticated: bool,
}

impl Parameters {
    /// The parameters of a plan.
    pub fn of(plan: &Plan) -> Self {
        let target = &plan.target;
        Self {
            // A query may carry a secret.
            server: format!(
                "{}{}",
                target.host(),
                target.path().split('?').next().unwrap_or_default()
            ),
            protocol: match target.protocol() {
                Protocol::SocketIo => "socketio",
                Protocol::WebSocket => "websocket",
                Protocol::Floor => "floor",
            }
            .to_owned(),
            transport: plan.transport.name().to_owned(),
            scenario: scenario(plan),
            connections: plan.connections,
            payload: plan.payload.max(crate::Stamp::LEN),
            warmup_seconds: plan.warmup.as_secs_f64(),
            duration_seconds: plan.duration.as_secs_f64(),
            handshakes: plan.handshakes,
            sources: plan.sources.len(),
            namespace: plan.namespace.clone(),
            room: plan.room.clone(),
            rooms: plan.rooms,
            contract: match plan.contract {
                Contract::Events => "events",
                Contract::Serve => "serve",
            }
            .to_owned(),
            deflate: plan.deflate,
            authenticated: plan.auth.is_some()
                || plan.bearer.is_some()
                || plan.credentials.is_some(),
        }
    }
}

impl Parameters {
    /// The scenario's own parameters in words: `window 8`.
    pub(super) fn scenario_text(&self) -> String {
        let mut parts = Vec::new();
        words("", &self.scenario, &mut parts);
        parts.join(", ")
    }
}

/// A number as it was given: without a fraction if it has none.
fn exact(value: f64) -> String {
    value.to_string()
}

fn words(name: &str, value: &Value, parts: &mut Vec<String>) {
    let plain = name.replace('_', " ");
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| *name != "name") {
                words(name, value, parts);
            }
        }
        Value::Null | Value::Bool(false) => {}
        Value::Bool(true) => parts.push(plain),
        Value::String(text) => parts.push(format!("{plain} {text}")),
        Value::Number(number) => {
            let plain_number = number.as_f64().map_or_else(String::new, exact);
            parts.push(format!("{plain} {plain_number}"));
        }
        value => parts.push(format!("{plain} {value}")),
    }
}

/// The scenario's own parameters; durations in seconds.
fn scenario(plan: &Plan) -> Value {
    let scenario = &plan.scenario;
    let mut value = match scenario {
        Scenario::Echo { window } => json!({ "window": window }),
        Scenario::Rate { per_second } => json!({ "rate": per_second }),
        Scenario::Fanout { publishers, pace } => paced(json!({ "publishers": publishers }), pace),
        Scenario::Storm {
            reconnect: Some(reconnect),
        } => json!({
            "reconnect": match reconnect.by {
                CutBy::Generator => "after a cut by the generator",
                CutBy::Server => "after the server was killed",
            },
            "backoff_seconds": reconnect.base.as_secs_f64(),
            "max_backoff_seconds": reconnect.cap.as_secs_f64(),
        }),
        Scenario::Ramp(ramp) => json!({
            "from": ramp.from,
            "steps": ramp.steps,
            "per_second": ramp.per_second,
            "hold_seconds": ramp.hold.as_secs_f64(),
            "rate_per_connection": ramp.rate,
        }),
        Scenario::Spike(spike) => json!({
            "rate": spike.base_rate,
            "spike_rate": spike.peak_rate,
            "spike_connections": spike.connections,
            "spike_seconds": spike.duration.as_secs_f64(),
        }),
        Scenario::Soak(soak) => {
            let own = json!({
                "sample_seconds": soak.sample.as_secs_f64(),
                "max_memory_drift": soak.max_memory_drift,
                "max_latency_drift": soak.max_latency_drift,
            });
            paced(own, &soak.pace)
        }
        Scenario::Churn(churn) => json!({
            "per_second": churn.per_second,
            "cut_share": churn.cut,
            "rate": churn.rate,
        }),
        Scenario::Slow(slow) => {
            let own = json!({
                "share": slow.share,
                "read_rate": slow.read_rate,
                "publishers": slow.publishers,
            });
            paced(own, &slow.pace)
        }
        Scenario::Mixed => match &plan.mix {
            Some(mix) => json!({
                "file": mix.name,
                "phases": mix.phases.len(),
                "behaviours": mix.behaviours.len(),
                "seed": mix.seed,
            }),
            None => json!({}),
        },
        _ => json!({}),
    };
    value["name"] = scenario.name().into();
    value
}

fn paced(mut value: Value, pace: &Pace) -> Value {
    match pace {
        Pace::Window(window) => value["window"] = (*window).into(),
        Pace::PerSecond(rate) => value["rate"] = (*rate).into(),
    }
    value
}
