//! A server beside the bare floor: interleaved runs, pinned, medians and ratios.
//!
//! ```text
//! cargo run --release -p sockeye-bench --example compare -- \
//!     --server target/release/examples/conformance [--server NAME=COMMAND]…
//!     [--rounds 5] [--seconds 3] [--only idle,echo1,fan1k] [--server-core 0]
//!     [--generator-core 1] [--floor-protocol floor|websocket|socketio]
//! ```
//!
//! Each run has a fresh server process on one core, told its port in `FIXTURE_PORT` and `PORT`;
//! the generator works on the other core. One round goes through all servers of all cases before
//! the next begins; a ratio is taken within a round, and the table shows the median of the
//! ratios. Cost is CPU time of the server's process. Rounds in which other work took more than
//! a quarter of a core are left out while three quieter ones are left.

use sockeye_bench::stats::{Spread, quiet};
use sockeye_bench::{Floor, Pace, Plan, Protocol, Report, Scenario, Target, run};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Other work, in cores, from which on a run counts as disturbed.
const DISTURBED: f64 = 0.25;
/// Spread, as a share of the median, from which on a figure is called noisy.
const NOISY: f64 = 0.3;

struct Case {
    name: &'static str,
    title: &'static str,
    scenario: Scenario,
    connections: u32,
}

const fn fanout(name: &'static str, title: &'static str, connections: u32, window: u32) -> Case {
    let scenario = Scenario::Fanout {
        publishers: 1,
        pace: Pace::Window(window),
    };
    Case {
        name,
        title,
        scenario,
        connections,
    }
}

const CASES: &[Case] = &[
    Case {
        name: "idle",
        title: "Idle, 10,000 connections, namespace and one room",
        scenario: Scenario::Idle,
        connections: 10_000,
    },
    Case {
        name: "echo1",
        title: "Echo with ack, 200 connections, 1 in flight, 64 B",
        scenario: Scenario::Echo { window: 1 },
        connections: 200,
    },
    Case {
        name: "echo8",
        title: "Echo with ack, 200 connections, 8 in flight, 64 B",
        scenario: Scenario::Echo { window: 8 },
        connections: 200,
    },
    fanout("fan1k", "Fan-out to 1,000, 1 in flight, 128 B", 1000, 1),
    fanout("fan1k8", "Fan-out to 1,000, 8 in flight, 128 B", 1000, 8),
    fanout("fan10k", "Fan-out to 10,000, 1 in flight, 128 B", 10_000, 1),
    fanout(
        "fan10k8",
        "Fan-out to 10,000, 8 in flight, 128 B",
        10_000,
        8,
    ),
    Case {
        name: "rate",
        title: "10,000 echoes/s over 1,000 connections, open loop, 64 B",
        scenario: Scenario::Rate {
            per_second: 10_000.0,
        },
        connections: 1000,
    },
];

struct Server {
    name: String,
    command: Vec<String>,
    protocol: Protocol,
}

struct Options {
    servers: Vec<Server>,
    rounds: usize,
    seconds: f64,
    only: Vec<String>,
    server_core: String,
    generator_core: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let Some("serve-floor") = std::env::args().nth(1).as_deref() {
        return serve_floor(arguments.any(|argument| argument == "--coalesce"));
    }
    let options = parse(arguments)?;
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(options.generator_core);
    rustix::thread::sched_setaffinity(None, &cpus)?;

    // results[case][server][round]
    let mut results: Vec<Vec<Vec<Option<Report>>>> = CASES
        .iter()
        .map(|_| options.servers.iter().map(|_| Vec::new()).collect())
        .collect();
    for round in 1..=options.rounds {
        for (case, results) in CASES.iter().zip(&mut results) {
            if !options.only.is_empty() && !options.only.iter().any(|name| name == case.name) {
                continue;
            }
            for (server, results) in options.servers.iter().zip(results) {
                let result = measure(case, server, &options);
                match &result {
                    Ok(report) => eprintln!("{}", glance(round, case, server, report)),
                    Err(error) => eprintln!("{round} {} {}: {error}", case.name, server.name),
                }
                results.push(result.ok());
            }
        }
    }
    for (case, results) in CASES.iter().zip(&results) {
        if results.iter().any(|rounds| !rounds.is_empty()) {
            print_table(case, &options.servers, results);
        }
    }
    Ok(())
}

fn serve_floor(coalesce: bool) -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::var("FIXTURE_PORT")?.parse()?;
    Floor::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), coalesce)?.run()?;
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let own = std::env::current_exe()?.to_string_lossy().into_owned();
    let floor = |name: &str, more: &[&str]| Server {
        name: name.into(),
        command: [own.as_str(), "serve-floor"]
            .iter()
            .chain(more)
            .map(|s| s.to_string())
            .collect(),
        protocol: Protocol::Floor,
    };
    let mut options = Options {
        servers: vec![
            floor("floor", &[]),
            floor("floor, coalescing", &["--coalesce"]),
        ],
        rounds: 5,
        seconds: 3.0,
        only: Vec::new(),
        server_core: "0".into(),
        generator_core: 1,
    };
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--server" => {
                let named = value
                    .split_once('=')
                    .filter(|(name, _)| !name.contains('/'));
                let (name, command) = named.unwrap_or(("server", &value));
                options.servers.push(Server {
                    name: name.into(),
                    command: command.split_whitespace().map(String::from).collect(),
                    protocol: Protocol::SocketIo,
                });
            }
            "--rounds" => options.rounds = value.parse()?,
            "--seconds" => options.seconds = value.parse()?,
            "--only" => options.only = value.split(',').map(String::from).collect(),
            "--server-core" => options.server_core = value,
            "--generator-core" => options.generator_core = value.parse()?,
            "--floor-protocol" => {
                let protocol = match value.as_str() {
                    "floor" => Protocol::Floor,
                    "websocket" => Protocol::WebSocket,
                    "socketio" => Protocol::SocketIo,
                    _ => return Err(format!("no such protocol: {value}").into()),
                };
                options.servers[..2]
                    .iter_mut()
                    .for_each(|server| server.protocol = protocol);
            }
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    for name in &options.only {
        if !CASES.iter().any(|case| case.name == name) {
            return Err(format!("no such case: {name}").into());
        }
    }
    Ok(options)
}

/// A server process that does not outlive its run.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(case: &Case, server: &Server, options: &Options) -> Result<Report, Box<dyn Error>> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    // `taskset` becomes the server: the process observed is the server itself.
    let child = Command::new("taskset")
        .args(["-c", &options.server_core])
        .args(&server.command)
        .env("FIXTURE_PORT", port.to_string())
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .spawn()?;
    let mut running = Running(child);
    let give_up = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("the server ended: {status}").into());
        }
        if Instant::now() > give_up {
            return Err("the server does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let target = Target::parse(&format!("ws://127.0.0.1:{port}"), server.protocol)?;
    let mut plan = Plan::new(target, case.scenario);
    plan.connections = case.connections;
    plan.duration = Duration::from_secs_f64(options.seconds);
    plan.pid = Some(running.0.id());
    match case.scenario {
        Scenario::Idle => {
            plan.room = Some("bench".into());
            plan.warmup = Duration::ZERO;
            plan.duration = Duration::from_millis(100);
        }
        Scenario::Fanout { .. } => {
            plan.payload = 128;
            plan.settle = Duration::from_millis(200);
        }
        _ => plan.settle = Duration::from_millis(200),
    }
    Ok(run(&plan, &mut |_| {})?)
}

fn us_each(report: &Report) -> f64 {
    report.load.server.map_or(0.0, |server| server.us_each())
}

fn bytes_each(report: &Report) -> f64 {
    report
        .memory
        .map_or(0.0, |memory| memory.rss_per_connection)
}

/// The figure that a case is about.
fn cost(case: &Case, report: &Report) -> f64 {
    if matches!(case.scenario, Scenario::Idle) {
        bytes_each(report)
    } else {
        us_each(report)
    }
}

fn glance(round: usize, case: &Case, server: &Server, report: &Report) -> String {
    let unit = if matches!(case.scenario, Scenario::Idle) {
        "B"
    } else {
        "µs"
    };
    format!(
        "{round} {} {}: {:.2} {unit} each, {:.0}/s, p99 {:.2} ms, others {:.2} cores{}",
        case.name,
        server.name,
        cost(case, report),
        report.load.per_second,
        report.load.latency.p99_ms,
        report.load.foreign_cores.unwrap_or(0.0),
        if report.is_clean() { "" } else { ", FAULTS" },
    )
}

fn print_table(case: &Case, servers: &[Server], results: &[Vec<Option<Report>>]) {
    println!("\n## {} (`{}`)\n", case.title, case.name);
    let idle = matches!(case.scenario, Scenario::Idle);
    if idle {
        println!(
            "| server | RSS B/conn | PSS B/conn | empty RSS MiB | set-up, conns/s \
             | set-up, CPU µs/conn | runs |\n|---|---:|---:|---:|---:|---:|---:|"
        );
    } else {
        println!(
            "| server | CPU µs each | user + sys | × floor | thousand/s | p50 ms | p99 ms \
             | generator µs | others, cores | runs |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
        );
    }
    for (server, rounds) in servers.iter().zip(results) {
        let floor = &results[0];
        let all: Vec<(&Report, Option<f64>)> = rounds
            .iter()
            .zip(floor)
            .filter_map(|(report, floor)| {
                let report = report.as_ref()?;
                let ratio = floor
                    .as_ref()
                    .map(|floor| cost(case, report) / cost(case, floor));
                Some((report, ratio))
            })
            .collect();
        let others = |report: &Report| report.load.foreign_cores.unwrap_or(0.0);
        let disturbance: Vec<f64> = rounds
            .iter()
            .zip(floor)
            .filter(|(report, _)| report.is_some())
            .map(|(report, floor)| {
                let both = report.iter().chain(floor);
                both.map(others).fold(0.0, f64::max)
            })
            .collect();
        let keep = quiet(&disturbance, DISTURBED, 3);
        let kept: Vec<_> = all
            .iter()
            .zip(keep)
            .filter(|(_, keep)| *keep)
            .map(|(r, _)| r)
            .collect();
        let of = |figure: &dyn Fn(&Report) -> f64| Spread::of(kept.iter().map(|(r, _)| figure(r)));
        let Some(main) = of(&|report| cost(case, report)) else {
            println!("| {} | failed |", server.name);
            continue;
        };
        // There is at least one kept run, or there were no `main`.
        let median = |figure: &dyn Fn(&Report) -> f64| of(figure).map_or(0.0, |s| s.median);
        let faults = kept.iter().filter(|(report, _)| !report.is_clean()).count();
        let mut notes = String::new();
        if faults > 0 {
            notes.push_str(&format!(", {faults} with FAULTS"));
        }
        if idle {
            println!(
                "| {} | {:.0} ({:.0}–{:.0}) | {:.0} | {:.1} | {:.0} | {:.0} | {}{notes} |",
                server.name,
                main.median,
                main.low,
                main.high,
                median(&|report| report.memory.map_or(0.0, |m| m.pss_per_connection)),
                median(&|report| report
                    .memory
                    .map_or(0.0, |m| m.empty.rss as f64 / 1_048_576.0)),
                median(&|report| report.setup.per_second),
                median(&|report| report.setup.server_us_each.unwrap_or(0.0)),
                kept.len(),
            );
            continue;
        }
        let ratio = Spread::of(kept.iter().filter_map(|(_, ratio)| *ratio));
        if ratio.is_some_and(|ratio| ratio.relative() > NOISY) || main.relative() > NOISY {
            notes.push_str(", noisy");
        }
        println!(
            "| {} | {:.2} ({:.2}–{:.2}) | {:.2} + {:.2} | {} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {}{notes} |",
            server.name,
            main.median,
            main.low,
            main.high,
            median(&|report| report.load.server.map_or(0.0, |s| s.user_us_each)),
            median(&|report| report.load.server.map_or(0.0, |s| s.system_us_each)),
            ratio.map_or("–".into(), |r| format!(
                "{:.2} ({:.2}–{:.2})",
                r.median, r.low, r.high
            )),
            median(&|report| report.load.per_second / 1000.0),
            median(&|report| report.load.latency.p50_ms),
            median(&|report| report.load.latency.p99_ms),
            median(&|report| report.generator.us_each),
            median(&others),
            kept.len(),
        );
    }
}
