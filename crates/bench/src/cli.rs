//! The command line of a load tester: one table of flags makes the parser and the help.

mod help;
mod scenarios;

pub use help::help;
pub(crate) use help::what_it_shows;

use crate::nearest::nearest;
use crate::plan::Plan;
use crate::target::{Protocol, Target};
use scenarios::SCENARIOS;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A run.
    Run {
        /// The run.
        plan: Box<Plan>,
        /// Where its report goes.
        output: Output,
    },
    /// A scenario file that is understood, in a few words; nothing is to be run.
    Checked(String),
    /// The text that [`help()`] makes: of a scenario, or of all.
    Help(Option<&'static str>),
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Print JSON instead of the table.
    pub json: bool,
    /// Also write a page to this file.
    pub html: Option<PathBuf>,
    /// Show no progress.
    pub quiet: bool,
    /// How many processes share the load.
    pub workers: u32,
    /// Set in a process that another one started: its number, from 0, and how many there are.
    pub worker: Option<(u32, u32)>,
}

/// A command line that cannot be understood. `Display` says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

#[derive(Clone, Copy)]
struct Flag {
    name: &'static str,
    /// Name of the value in the help; empty for a switch.
    value: &'static str,
    default: &'static str,
    help: &'static str,
    /// The scenarios that know it; empty: all.
    scenarios: &'static [&'static str],
}

const fn flag(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        value,
        default,
        help,
        scenarios: &[],
    }
}

/// A flag that only these scenarios know.
const fn of(scenarios: &'static [&'static str], flag: Flag) -> Flag {
    Flag { scenarios, ..flag }
}

const FLAGS: &[Flag] = &[
    flag(
        "url",
        "URL",
        "",
        "server: http://HOST:PORT[/path], ws:// or tcp:// (required)",
    ),
    flag(
        "protocol",
        "NAME",
        "socketio",
        "socketio, websocket or floor",
    ),
    flag("connections", "N", "100", "connections"),
    flag(
        "payload",
        "BYTES",
        "64, fanout 128",
        "bytes of a message's payload, 29 at least",
    ),
    flag(
        "duration",
        "TIME",
        "5s; spike 20s, soak 1h",
        "length of the measurement: 500ms, 5s, 2m, 1h",
    ),
    flag("warmup", "TIME", "1s", "load before the measurement"),
    flag("settle", "TIME", "1s", "silence before memory is read"),
    flag(
        "workers",
        "N",
        "1",
        "processes that share connections, publishers, rate and sources",
    ),
    flag(
        "drain",
        "TIME",
        "2s",
        "how long the last answers may take before they are lost",
    ),
    flag(
        "patience",
        "TIME",
        "10s",
        "how long set-up may go without progress before the rest is given up",
    ),
    flag("deflate", "", "", "offer permessage-deflate"),
    flag("handshakes", "N", "128", "handshakes in flight"),
    flag(
        "sources",
        "IPS",
        "127.0.0.1-4",
        "addresses to connect from, comma-separated; or none",
    ),
    flag("namespace", "NAME", "/", "namespace to join"),
    flag(
        "auth",
        "JSON",
        "",
        "object to send when joining the namespace",
    ),
    flag(
        "token",
        "TOKEN",
        "",
        "short for --auth {\"token\":…} and a Bearer header",
    ),
    flag(
        "room",
        "NAME",
        "idle, storm, churn: bench",
        "room to join with the event join",
    ),
    flag("event", "NAME", "echo, broadcast", "event to send"),
    flag(
        "pid",
        "PIDS",
        "",
        "the server's processes, comma-separated: read their CPU and memory",
    ),
    flag("tree", "", "", "with --pid: and all their descendants"),
    flag("json", "", "", "print the report as JSON, not as a table"),
    flag(
        "html",
        "FILE",
        "",
        "also write the report as a page with plots",
    ),
    flag("quiet", "", "", "show no progress"),
    flag("help", "", "", "explain the scenario and its flags"),
];

/// What a process that shares the load is started with, in addition to the flags of the one that
/// starts it. Not in the help.
const WORKER: &str = "worker";
const WORKER_FLAG: Flag = flag(WORKER, "I/N", "", "");

/// Most processes that one command starts.
const MAX_WORKERS: u32 = 256;

fn flags() -> impl Iterator<Item = &'static Flag> + Clone {
    FLAGS.iter().chain(scenarios::FLAGS)
}

/// Reads a command line, the program's name excluded.
///
/// # Errors
///
/// [`UsageError`] for an unknown scenario or flag, a missing or impossible value.
///
/// ```
/// use sockeye_bench::cli::{Command, parse};
///
/// let line = "echo --url ws://127.0.0.1:3000 --connections 200 --window 8 --duration 3s";
/// let Command::Run { plan, output } = parse(line.split(' ').map(String::from))? else { panic!() };
/// assert_eq!((plan.connections, output.json), (200, false));
/// # Ok::<(), sockeye_bench::cli::UsageError>(())
/// ```
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter();
    let scenario = match arguments.next().as_deref() {
        None | Some("--help" | "-h") => return Ok(Command::Help(None)),
        Some("help") => {
            let topic = arguments.next();
            let scenario = topic.as_deref().map(scenario_named).transpose()?;
            return Ok(Command::Help(scenario));
        }
        Some(name) if name.starts_with('-') => {
            return Err(UsageError(format!(
                "the scenario comes before the flags: echo {name} …"
            )));
        }
        Some(name) => scenario_named(name)?,
    };
    let mut values = Values(Vec::new());
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let name = match name.as_str() {
            "-h" => "--help".to_owned(),
            _ => name,
        };
        let flag = name
            .strip_prefix("--")
            .and_then(|name| {
                let mut known = flags().chain([&WORKER_FLAG]);
                known.find(|flag| flag.name == name)
            })
            .ok_or_else(|| unknown("flag", &name, flags_of(scenario).map(|flag| flag.name)))?;
        if !flag.is_of(scenario) {
            let known = flag.scenarios.join(", ");
            return Err(UsageError(format!(
                "{name} is a flag of {known}, not of {scenario}"
            )));
        }
        let value = match (flag.value.is_empty(), inline) {
            (true, None) => String::new(),
            (true, Some(_)) => return Err(UsageError(format!("{name} takes no value"))),
            (false, Some(value)) => value,
            (false, None) => arguments
                .next()
                .ok_or_else(|| UsageError(format!("{name} needs a value: {}", flag.value)))?,
        };
        values.0.push((flag.name, value));
    }
    if values.get("help").is_some() {
        return Ok(Command::Help(Some(scenario)));
    }
    if values.get("check").is_some() {
        return Ok(Command::Checked(values.mix()?.to_string()));
    }
    let plan = Box::new(values.plan(scenario)?);
    let output = values.output(&plan)?;
    Ok(Command::Run { plan, output })
}

fn scenario_named(name: &str) -> Result<&'static str, UsageError> {
    SCENARIOS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(known, _)| *known)
        .ok_or_else(|| unknown("scenario", name, SCENARIOS.iter().map(|(name, _)| *name)))
}

impl Flag {
    fn is_of(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
    }
}

fn flags_of(scenario: &str) -> impl Iterator<Item = &'static Flag> {
    flags().filter(move |flag| flag.is_of(scenario))
}

struct Values(Vec<(&'static str, String)>);

impl Values {
    /// The last one wins.
    fn get(&self, name: &'static str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(flag, _)| *flag == name)
            .map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>, UsageError> {
        self.get(name)
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| impossible(name, value, "a number"))
            })
            .transpose()
    }

    fn time(&self, name: &'static str, field: &mut Duration) -> Result<(), UsageError> {
        if let Some(value) = self.get(name) {
            *field = duration(value).ok_or_else(|| impossible(name, value, "a time like 5s"))?;
        }
        Ok(())
    }

    fn output(&self, plan: &Plan) -> Result<Output, UsageError> {
        let workers = self.number("workers")?.unwrap_or(1);
        if !(1..=MAX_WORKERS).contains(&workers) {
            let wanted = format!("1 to {MAX_WORKERS}");
            return Err(impossible("workers", &workers.to_string(), &wanted));
        }
        if let Some(why) = crate::workers::refusal(plan, workers) {
            return Err(UsageError(why));
        }
        let worker = self.get(WORKER).map(|value| {
            let (index, count) = value.split_once('/')?;
            let numbers = (index.parse().ok()?, count.parse().ok()?);
            (numbers.0 < numbers.1 && numbers.1 == workers).then_some(numbers)
        });
        let worker = match worker {
            Some(None) => return Err(UsageError(format!("--{WORKER} is not for people"))),
            worker => worker.flatten(),
        };
        Ok(Output {
            json: self.get("json").is_some(),
            html: self.get("html").map(PathBuf::from),
            quiet: self.get("quiet").is_some(),
            workers,
            worker,
        })
    }

    fn plan(&self, scenario: &str) -> Result<Plan, UsageError> {
        let protocol = match self.get("protocol") {
            None | Some("socketio") => Protocol::SocketIo,
            Some("websocket") => Protocol::WebSocket,
            Some("floor") => Protocol::Floor,
            Some(other) => {
                return Err(impossible(
                    "protocol",
                    other,
                    "socketio, websocket or floor",
                ));
            }
        };
        let url = self
            .get("url")
            .ok_or_else(|| UsageError("--url is required".into()))?;
        let target = Target::parse(url, protocol).map_err(|error| UsageError(error.to_string()))?;
        let mut plan = Plan::new(target, self.scenario(scenario)?);
        self.defaults(&mut plan);
        self.apply(&mut plan)?;
        self.complete(&mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &mut Plan) -> Result<(), UsageError> {
        if let Some(connections) = self.number::<u32>("connections")? {
            if !(1..1 << 24).contains(&connections) {
                return Err(impossible(
                    "connections",
                    &connections.to_string(),
                    "1 to 16777215",
                ));
            }
            plan.connections = connections;
        }
        if let Some(payload) = self.number::<usize>("payload")? {
            if payload > 16 << 20 {
                return Err(impossible(
                    "payload",
                    &payload.to_string(),
                    "16 MiB at most",
                ));
            }
            plan.payload = payload;
        }
        self.time("duration", &mut plan.duration)?;
        self.time("warmup", &mut plan.warmup)?;
        self.time("settle", &mut plan.settle)?;
        self.time("drain", &mut plan.drain)?;
        self.time("patience", &mut plan.patience)?;
        plan.deflate = self.get("deflate").is_some();
        if let Some(handshakes) = self.number("handshakes")? {
            plan.handshakes = handshakes;
        }
        if let Some(sources) = self.get("sources") {
            plan.sources = sources
                .split(',')
                .filter(|ip| !ip.is_empty() && *ip != "none")
                .map(|ip| {
                    ip.parse()
                        .map_err(|_| impossible("sources", ip, "IP addresses"))
                })
                .collect::<Result<_, _>>()?;
        }
        if let Some(namespace) = self.get("namespace") {
            if !namespace.starts_with('/') || namespace.contains(',') {
                return Err(impossible(
                    "namespace",
                    namespace,
                    "a name that starts with /",
                ));
            }
            plan.namespace = namespace.to_owned();
        }
        if let Some(token) = self.get("token") {
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(impossible("token", token, "visible ASCII"));
            }
            plan.auth = Some(serde_json::json!({ "token": token }).to_string());
            plan.bearer = Some(token.to_owned());
        }
        if let Some(auth) = self.get("auth") {
            let object = serde_json::from_str::<serde_json::Value>(auth);
            if !object.is_ok_and(|value| value.is_object()) {
                return Err(impossible("auth", auth, "a JSON object"));
            }
            plan.auth = Some(auth.to_owned());
        }
        if let Some(room) = self.get("room") {
            plan.room = Some(room.to_owned()).filter(|room| !room.is_empty());
        }
        if let Some(event) = self.get("event") {
            if event.is_empty() || event.bytes().any(|b| b < b' ' || b == b'"' || b == b'\\') {
                return Err(impossible("event", event, "a name without quotes"));
            }
            plan.events.echo = event.to_owned();
            plan.events.broadcast = event.to_owned();
        }
        self.processes(plan)
    }
}

impl Values {
    fn processes(&self, plan: &mut Plan) -> Result<(), UsageError> {
        let Some(text) = self.get("pid") else {
            return match self.get("tree") {
                Some(_) => Err(UsageError("--tree needs --pid".into())),
                None => Ok(()),
            };
        };
        let pids = text.split(',').map(|pid| pid.trim().parse::<u32>());
        let mut pids = pids
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| impossible("pid", text, "numbers of processes"))?;
        if self.get("tree").is_some() {
            pids = pids.into_iter().flat_map(crate::processes::tree).collect();
        }
        pids.sort_unstable();
        pids.dedup();
        plan.pid = pids.first().copied();
        plan.more_pids = pids.split_off(1);
        Ok(())
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}

fn impossible(name: &str, value: &str, wanted: &str) -> UsageError {
    UsageError(format!("--{name} {value}: {wanted} expected"))
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = &'static str>) -> UsageError {
    let nearest = nearest(name.trim_start_matches('-'), known);
    let dashes = if what == "flag" { "--" } else { "" };
    UsageError(format!(
        "unknown {what} {name}; did you mean {dashes}{nearest}?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Pace, Scenario};

    fn line(text: &str) -> Result<Command, UsageError> {
        parse(text.split_ascii_whitespace().map(String::from))
    }

    fn plan(text: &str) -> Plan {
        match line(text) {
            Ok(Command::Run { plan, .. }) => *plan,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn scenarios_take_their_flags() {
        let url = "--url ws://127.0.0.1:9";
        assert_eq!(
            plan(&format!("echo {url} --window=8")).scenario,
            Scenario::Echo { window: 8 }
        );
        let rate = plan(&format!(
            "rate {url} --rate 10000 --connections 1000 --pid 7"
        ));
        assert_eq!(
            rate.scenario,
            Scenario::Rate {
                per_second: 10_000.0
            }
        );
        assert_eq!(
            (rate.connections, rate.pid, rate.payload),
            (1000, Some(7), 64)
        );
        let fanout = plan(&format!("fanout {url} --publishers 3 --window 2"));
        assert_eq!(
            fanout.scenario,
            Scenario::Fanout {
                publishers: 3,
                pace: Pace::Window(2)
            }
        );
        assert_eq!((fanout.payload, fanout.room), (128, None));
        let open = plan(&format!("fanout {url} --rate 20")).scenario;
        assert_eq!(
            open,
            Scenario::Fanout {
                publishers: 1,
                pace: Pace::PerSecond(20.0)
            }
        );
        let idle = plan(&format!(
            "idle {url} --duration 500ms --settle 2m --warmup 0"
        ));
        assert_eq!(idle.duration, Duration::from_millis(500));
        assert_eq!(
            (idle.settle, idle.warmup),
            (Duration::from_secs(120), Duration::ZERO)
        );
        assert_eq!(idle.room.as_deref(), Some("bench"));
        assert_eq!(idle.sources.len(), 4);
        let storm = plan(&format!(
            "storm {url} --sources none --token abc --namespace /auth"
        ));
        assert!(storm.sources.is_empty());
        assert_eq!(storm.auth.as_deref(), Some("{\"token\":\"abc\"}"));
        assert_eq!(storm.bearer.as_deref(), Some("abc"));
    }

    #[test]
    fn help_and_json_are_switches() {
        for text in ["", "help", "--help", "-h"] {
            assert_eq!(line(text), Ok(Command::Help(None)));
        }
        for text in ["echo --url ws://127.0.0.1:9 --help", "echo -h", "help echo"] {
            assert_eq!(line(text), Ok(Command::Help(Some("echo"))));
        }
        let json = "echo --url ws://127.0.0.1:9 --json --quiet";
        let Ok(Command::Run { output, .. }) = line(json) else {
            panic!("{json}")
        };
        assert!(output.json && output.quiet);
    }

    #[test]
    fn mistakes_are_named() {
        let url = "--url ws://127.0.0.1:9";
        let table = [
            ("ecko".to_owned(), "did you mean echo"),
            ("help fanuot".to_owned(), "did you mean fanout"),
            ("--url ws://127.0.0.1:9 echo".to_owned(), "comes before"),
            (format!("idle {url} --window 3"), "not of idle"),
            (format!("echo {url} --pid me"), "numbers of processes"),
            (format!("echo {url} --tree"), "needs --pid"),
            (format!("echo {url} --workers 0"), "1 to 256"),
            (
                format!("echo {url} --workers 9 --connections 5"),
                "5 connections",
            ),
            (format!("slow {url} --workers 2"), "one process"),
            (
                format!("echo {url} --workers 2 --worker 2/2"),
                "not for people",
            ),
            (
                format!("echo {url} --conections 5"),
                "did you mean --connections",
            ),
            (format!("echo {url} --connections"), "needs a value"),
            (format!("echo {url} --connections many"), "a number"),
            (format!("echo {url} --connections 0"), "1 to"),
            (format!("echo {url} --json=1"), "takes no value"),
            (format!("echo {url} --duration 5y"), "a time"),
            (format!("echo {url} --duration -5s"), "a time"),
            (format!("rate {url} --rate 0"), "above zero"),
            (format!("rate {url} --rate nan"), "above zero"),
            (format!("echo {url} --auth [1]"), "a JSON object"),
            (format!("echo {url} --event a\"b"), "without quotes"),
            (format!("echo {url} --namespace auth"), "starts with /"),
            (format!("echo {url} --sources 1.2.3"), "IP addresses"),
            (
                format!("echo {url} --protocol udp"),
                "socketio, websocket or floor",
            ),
            ("echo".to_owned(), "--url is required"),
            ("echo --url wss://127.0.0.1:9".to_owned(), "TLS"),
        ];
        for (text, expected) in table {
            let error = line(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
