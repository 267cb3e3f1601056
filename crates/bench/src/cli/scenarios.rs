//! The scenarios and the flags that belong to some of them.

use super::{Flag, UsageError, Values, flag, impossible, of};
use crate::mixed::Mix;
use crate::plan::{
    Churn, Contract, CutBy, Pace, Plan, Ramp, Reconnect, Scenario, Slow, Soak, Spike, Transport,
};
use crate::target::Protocol;
use std::path::Path;
use std::time::Duration;

pub(super) const SCENARIOS: &[(&str, &str)] = &[
    ("idle", "hold the connections and answer heartbeats"),
    (
        "ramp",
        "connections rise to --connections in --steps, each held for --hold",
    ),
    (
        "spike",
        "a base load, then --spike-connections or --spike-rate for --spike-duration",
    ),
    (
        "soak",
        "echoes for hours; fails when memory or latency of the server drifts",
    ),
    (
        "storm",
        "connect all at once, then hold; --reconnect: lose all, wait until all are back",
    ),
    (
        "churn",
        "connections leave and come --per-second while their number is held",
    ),
    (
        "echo",
        "closed loop: every connection keeps --window echoes in flight",
    ),
    (
        "rate",
        "open loop: --rate echoes per second over all connections",
    ),
    (
        "fanout",
        "--publishers send to all, closed (--window) or open loop (--rate)",
    ),
    (
        "slow",
        "a fan-out of which a --share of the readers reads at --read-rate",
    ),
    (
        "mixed",
        "what --file says: phases, behaviours of clients, payloads, thresholds",
    ),
];

/// Flags of single scenarios.
pub(super) const FLAGS: &[Flag] = &[
    of(
        &["echo", "fanout", "slow", "soak"],
        flag(
            "window",
            "N",
            "1",
            "messages in flight per connection (echo, soak) or publisher (fanout, slow)",
        ),
    ),
    of(
        &["rate", "fanout", "slow", "soak", "ramp", "spike", "churn"],
        flag(
            "rate",
            "N",
            "",
            "messages per second over all, on a schedule (ramp: per connection)",
        ),
    ),
    of(
        &["fanout", "slow"],
        flag("publishers", "N", "1", "connections that publish"),
    ),
    of(
        &["fanout", "slow"],
        flag(
            "rooms",
            "N",
            "",
            "spread connections over N rooms, publish to one's own",
        ),
    ),
    of(
        &["fanout", "slow"],
        flag(
            "contract",
            "NAME",
            "events",
            "events: --event goes to all; serve: publish and message of sockeye serve",
        ),
    ),
    of(
        &["ramp"],
        flag("from", "N", "0", "connections before the first step"),
    ),
    of(&["ramp"], flag("steps", "N", "10", "steps")),
    of(
        &["ramp"],
        flag(
            "hold",
            "TIME",
            "5s",
            "how long each step is held; 0 with --per-second",
        ),
    ),
    of(
        &["ramp", "churn"],
        flag(
            "per-second",
            "N",
            "churn 10",
            "connections opened per second",
        ),
    ),
    of(
        &["spike"],
        flag(
            "spike-connections",
            "N",
            "0",
            "connections that come at once for the spike",
        ),
    ),
    of(
        &["spike"],
        flag(
            "spike-rate",
            "N",
            "5 × --rate",
            "messages per second during the spike; --rate if connections come",
        ),
    ),
    of(
        &["spike"],
        flag(
            "spike-duration",
            "TIME",
            "duration/4",
            "length of the spike",
        ),
    ),
    of(
        &["soak"],
        flag("sample", "TIME", "10s", "distance of two samples"),
    ),
    of(
        &["soak"],
        flag(
            "max-memory-drift",
            "SHARE",
            "0.1",
            "growth of the server's memory that fails the run",
        ),
    ),
    of(
        &["soak"],
        flag(
            "max-latency-drift",
            "SHARE",
            "0.5",
            "growth of p50 or p99 that fails the run",
        ),
    ),
    of(
        &["storm"],
        flag(
            "reconnect",
            "",
            "",
            "cut all connections at once, wait until all are back",
        ),
    ),
    of(
        &["storm"],
        flag(
            "await-kill",
            "",
            "",
            "the same, but wait for you to kill and restart the server",
        ),
    ),
    of(
        &["storm"],
        flag(
            "backoff",
            "TIME",
            "1s",
            "longest delay before the first attempt to reconnect, doubling",
        ),
    ),
    of(
        &["storm"],
        flag(
            "max-backoff",
            "TIME",
            "5s",
            "longest delay before any attempt to reconnect",
        ),
    ),
    of(
        &["churn"],
        flag(
            "cut",
            "SHARE",
            "0.5",
            "share that is cut without a word, the others take leave",
        ),
    ),
    of(
        &["slow"],
        flag(
            "share",
            "SHARE",
            "0.1",
            "share of the connections that read slowly",
        ),
    ),
    of(
        &["slow"],
        flag(
            "read-rate",
            "BYTES",
            "0",
            "bytes per second each of them reads; 0: none",
        ),
    ),
    of(
        &["mixed"],
        flag("file", "FILE", "", "scenario file in TOML (required)"),
    ),
    of(
        &["mixed"],
        flag("check", "", "", "only check the file; needs no --url"),
    ),
    flag(
        "transport",
        "NAME",
        "websocket",
        "websocket, polling, or upgrade (polling first, then WebSocket)",
    ),
    flag(
        "tokens",
        "FILE",
        "",
        "one token per line, taken in turn by the connections",
    ),
];

/// Flags in whose place a scenario file stands.
const OF_THE_FILE: &[&str] = &[
    "connections",
    "payload",
    "room",
    "event",
    "tokens",
    "warmup",
    "duration",
    "settle",
];

impl Values {
    /// The scenario of that name with its flags; what depends on the rest of the plan follows
    /// in [`Values::complete`].
    pub(super) fn scenario(&self, name: &str) -> Result<Scenario, UsageError> {
        let window = self.number("window")?.unwrap_or(1);
        let rate = self.rate("rate")?;
        let pace = rate.map_or(Pace::Window(window), Pace::PerSecond);
        let publishers = self.number::<u32>("publishers")?.unwrap_or(1).max(1);
        Ok(match name {
            "idle" => Scenario::Idle,
            "storm" => Scenario::Storm {
                reconnect: self.reconnect()?,
            },
            "echo" => Scenario::Echo { window },
            "rate" => Scenario::Rate {
                per_second: rate.unwrap_or(1000.0),
            },
            "ramp" => {
                let per_second = self.rate("per-second")?;
                let mut hold = Duration::from_secs(if per_second.is_some() { 0 } else { 5 });
                self.time("hold", &mut hold)?;
                Scenario::Ramp(Ramp {
                    from: self.number("from")?.unwrap_or(0),
                    steps: self.number::<u32>("steps")?.unwrap_or(10).max(1),
                    per_second,
                    hold,
                    rate: rate.unwrap_or(0.0),
                })
            }
            "spike" => {
                let base_rate = rate.unwrap_or(1000.0);
                let connections = self.number("spike-connections")?.unwrap_or(0);
                let peak = if connections > 0 { 1.0 } else { 5.0 };
                Scenario::Spike(Spike {
                    base_rate,
                    peak_rate: self.rate("spike-rate")?.unwrap_or(base_rate * peak),
                    connections,
                    duration: Duration::ZERO,
                })
            }
            "soak" => {
                let mut sample = Duration::from_secs(10);
                self.time("sample", &mut sample)?;
                Scenario::Soak(Soak {
                    pace,
                    sample: sample.max(Duration::from_millis(10)),
                    max_memory_drift: self.share("max-memory-drift", f64::MAX)?.unwrap_or(0.1),
                    max_latency_drift: self.share("max-latency-drift", f64::MAX)?.unwrap_or(0.5),
                })
            }
            "churn" => Scenario::Churn(Churn {
                per_second: self.rate("per-second")?.unwrap_or(10.0),
                cut: self.share("cut", 1.0)?.unwrap_or(0.5),
                rate: rate.unwrap_or(0.0),
            }),
            "slow" => Scenario::Slow(Slow {
                share: self.share("share", 1.0)?.unwrap_or(0.1),
                read_rate: self.number("read-rate")?.unwrap_or(0),
                publishers,
                pace,
            }),
            "mixed" => Scenario::Mixed,
            _ => Scenario::Fanout { publishers, pace },
        })
    }

    /// The scenario file.
    pub(super) fn mix(&self) -> Result<Mix, UsageError> {
        let file = self
            .get("file")
            .ok_or_else(|| UsageError("--file is required: a scenario file".into()))?;
        Mix::load(Path::new(file)).map_err(|error| UsageError(error.to_string()))
    }

    /// What single scenarios change in the plan's defaults.
    pub(super) fn defaults(&self, plan: &mut Plan) {
        match plan.scenario {
            Scenario::Fanout { .. } | Scenario::Slow(_) => plan.payload = 128,
            Scenario::Idle | Scenario::Storm { .. } | Scenario::Churn(_)
                if plan.target.protocol() == Protocol::SocketIo =>
            {
                plan.room = Some("bench".into());
            }
            _ => {}
        }
        match plan.scenario {
            Scenario::Spike(_) => plan.duration = Duration::from_secs(20),
            Scenario::Soak(_) => plan.duration = Duration::from_secs(3600),
            Scenario::Storm { reconnect: Some(_) } => plan.duration = Duration::from_secs(60),
            _ => {}
        }
    }

    /// What depends on the rest of the plan.
    pub(super) fn complete(&self, plan: &mut Plan) -> Result<(), UsageError> {
        if plan.scenario == Scenario::Mixed {
            let mut given = OF_THE_FILE.iter().filter(|name| self.get(name).is_some());
            if let Some(name) = given.next() {
                let error = format!("--{name} is not for mixed: the scenario file says it");
                return Err(UsageError(error));
            }
            plan.play(self.mix()?);
        }
        if let Some(rooms) = self.number("rooms")? {
            plan.rooms = rooms;
        }
        plan.contract = match self.get("contract") {
            None | Some("events") => Contract::Events,
            Some("serve") => Contract::Serve,
            Some(other) => return Err(impossible("contract", other, "events or serve")),
        };
        plan.transport = match self.get("transport") {
            None | Some("websocket") => Transport::WebSocket,
            Some("polling") => Transport::Polling,
            Some("upgrade") => Transport::Upgrade,
            Some(other) => {
                let wanted = "websocket, polling or upgrade";
                return Err(impossible("transport", other, wanted));
            }
        };
        if let Scenario::Spike(spike) = &mut plan.scenario {
            spike.duration = plan.duration / 4;
            self.time("spike-duration", &mut spike.duration)?;
        }
        if let Some(file) = self.get("tokens") {
            plan.credentials = Some(tokens(file)?);
        }
        match plan.problem() {
            Some(problem) => Err(UsageError(problem.to_owned())),
            None => Ok(()),
        }
    }

    fn reconnect(&self) -> Result<Option<Reconnect>, UsageError> {
        let by = match (self.get("reconnect"), self.get("await-kill")) {
            (_, Some(_)) => CutBy::Server,
            (Some(_), None) => CutBy::Generator,
            (None, None) => return Ok(None),
        };
        let mut reconnect = Reconnect::new(by);
        self.time("backoff", &mut reconnect.base)?;
        self.time("max-backoff", &mut reconnect.cap)?;
        Ok(Some(reconnect))
    }

    fn rate(&self, name: &'static str) -> Result<Option<f64>, UsageError> {
        match self.number::<f64>(name)? {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => {
                Err(impossible(name, &rate.to_string(), "above zero"))
            }
            rate => Ok(rate),
        }
    }

    fn share(&self, name: &'static str, most: f64) -> Result<Option<f64>, UsageError> {
        match self.number::<f64>(name)? {
            Some(share) if !(0.0..=most).contains(&share) => {
                Err(impossible(name, &share.to_string(), "a share like 0.1"))
            }
            share => Ok(share),
        }
    }
}

fn tokens(file: &str) -> Result<crate::Credentials, UsageError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| UsageError(format!("--tokens {file}: {error}")))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let list: Vec<_> = lines.map(crate::Credential::token).collect();
    let visible = |token: &crate::Credential| {
        let bytes = token.bearer.iter().flat_map(|token| token.bytes());
        bytes.into_iter().all(|byte| byte.is_ascii_graphic())
    };
    if list.is_empty() || !list.iter().all(visible) {
        return Err(impossible("tokens", file, "lines of visible ASCII"));
    }
    Ok(crate::Credentials::in_turn(list))
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};
    use super::*;

    fn try_plan(text: &str) -> Result<Plan, UsageError> {
        let line = format!("{text} --url ws://127.0.0.1:9");
        match parse(line.split_ascii_whitespace().map(String::from))? {
            Command::Run { plan, .. } => Ok(*plan),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_scenario_is_known_by_its_name_and_has_defaults() {
        for (name, _) in SCENARIOS {
            let file = match *name {
                "mixed" => " --file scenarios/chat.toml",
                _ => "",
            };
            let plan = try_plan(&format!("{name}{file}")).unwrap();
            assert_eq!(plan.scenario.name(), *name);
        }
    }

    #[test]
    fn a_scenario_file_is_read_or_only_checked() {
        let check = |text: &str| parse(text.split_ascii_whitespace().map(String::from));
        match check("mixed --check --file scenarios/chat.toml") {
            Ok(Command::Checked(summary)) => {
                assert!(summary.contains("chat: understood"), "{summary}");
                assert!(summary.contains("90 % talker"), "{summary}");
            }
            other => panic!("{other:?}"),
        }
        let plan = try_plan("mixed --file scenarios/chat.toml").unwrap();
        assert_eq!(plan.duration, Duration::from_secs(100));
        assert_eq!((plan.connections, plan.slots()), (450, 10_000));
        assert_eq!(plan.warmup + plan.settle, Duration::ZERO);
        for (line, expected) in [
            ("mixed", "--file is required"),
            (
                "mixed --check --file no/such.toml",
                "no/such.toml: cannot be read",
            ),
            ("echo --check", "not of echo"),
            (
                "mixed --file scenarios/chat.toml --duration 5s",
                "--duration is not for mixed",
            ),
            (
                "mixed --file scenarios/chat.toml --protocol websocket",
                "speaks Socket.IO",
            ),
            (
                "mixed --file scenarios/chat.toml --workers 2",
                "one process",
            ),
        ] {
            let error = check(&format!("{line} --url ws://127.0.0.1:9")).unwrap_err();
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn scenarios_take_their_own_flags() {
        let ramp = try_plan("ramp --from 10 --steps 3 --hold 2s --rate 0.5").unwrap();
        let expected = Ramp {
            from: 10,
            steps: 3,
            per_second: None,
            hold: Duration::from_secs(2),
            rate: 0.5,
        };
        assert_eq!(ramp.scenario, Scenario::Ramp(expected));
        let spike = try_plan("spike --spike-connections 500 --rate 100 --duration 40s").unwrap();
        let expected = Spike {
            base_rate: 100.0,
            peak_rate: 100.0,
            connections: 500,
            duration: Duration::from_secs(10),
        };
        assert_eq!(spike.scenario, Scenario::Spike(expected));
        let soak = try_plan("soak --window 2 --sample 1s --max-memory-drift 0.05").unwrap();
        let expected = Soak {
            pace: Pace::Window(2),
            sample: Duration::from_secs(1),
            max_memory_drift: 0.05,
            max_latency_drift: 0.5,
        };
        assert_eq!(soak.scenario, Scenario::Soak(expected));
        assert_eq!(soak.duration, Duration::from_secs(3600));
        let storm = try_plan("storm --reconnect --backoff 0 --max-backoff 2s").unwrap();
        let reconnect = Reconnect {
            by: CutBy::Generator,
            base: Duration::ZERO,
            cap: Duration::from_secs(2),
        };
        let reconnect = Some(reconnect);
        assert_eq!(storm.scenario, Scenario::Storm { reconnect });
        let killed = try_plan("storm --await-kill").unwrap().scenario;
        let reconnect = Some(Reconnect::new(CutBy::Server));
        assert_eq!(killed, Scenario::Storm { reconnect });
        let churn = try_plan("churn --per-second 50 --cut 1").unwrap();
        let expected = Churn {
            per_second: 50.0,
            cut: 1.0,
            rate: 0.0,
        };
        assert_eq!(churn.scenario, Scenario::Churn(expected));
        let slow = try_plan("slow --share 0.25 --read-rate 1000 --rate 20 --rooms 4").unwrap();
        let expected = Slow {
            share: 0.25,
            read_rate: 1000,
            publishers: 1,
            pace: Pace::PerSecond(20.0),
        };
        assert_eq!((slow.scenario, slow.rooms), (Scenario::Slow(expected), 4));
        let polling = try_plan("echo --transport polling").unwrap();
        assert_eq!(polling.transport, Transport::Polling);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let table = [
            ("churn --cut 2", "a share"),
            ("slow --share -1", "a share"),
            ("churn --per-second 0", "above zero"),
            ("spike --duration 5s --spike-duration 5s", "shorter"),
            ("ramp --from 100", "must rise"),
            ("fanout --contract law", "events or serve"),
            ("fanout --contract serve --connections 1", "two connections"),
            ("echo --transport pigeon", "websocket, polling or upgrade"),
            ("echo --transport polling --protocol websocket", "Socket.IO"),
            ("fanout --rooms 2 --protocol websocket", "Socket.IO"),
            ("echo --tokens /nowhere/at/all", "/nowhere"),
        ];
        for (text, expected) in table {
            let error = try_plan(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
