//! One case with one server: a fresh process, a load, figures.

use crate::cases::{Case, Load, Times};
use crate::results::Run;
use crate::servers::{Known, Places, Role, Running};
use sockeye_bench::{
    Crowd, Pace, Plan, ProcessSampler, Protocol, Report, Scenario, Stage, Target, Validity, run,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What the middleware of all servers accepts.
const AUTH: &str = "{\"token\":\"benchmark\"}";
const ROOM: &str = "bench";

pub(crate) struct Setting<'a> {
    pub(crate) places: &'a Places,
    pub(crate) times: Times,
    pub(crate) server_core: usize,
    /// No case has more connections than this.
    pub(crate) most: u32,
}

/// What a measurement yields besides what identifies it.
struct Outcome {
    figures: BTreeMap<String, f64>,
    others: f64,
    faults: String,
    valid: bool,
}

pub(crate) fn measure(
    case: &Case,
    server: &Known,
    round: usize,
    setting: &Setting<'_>,
) -> Result<Run, Box<dyn Error>> {
    let mut environment = Vec::new();
    if case.load == (Load::Json { deflate: true }) {
        environment.push(("BENCH_DEFLATE", "1"));
    }
    if case.load == Load::Idle {
        environment.push(("BENCH_HEARTBEAT", "25"));
    }
    let running = Running::start(server, setting.places, setting.server_core, &environment)?;
    let outcome = match case.load {
        Load::Memory => memory(case, server, &running, setting)?,
        Load::Idle => idle(case, server, &running, setting)?,
        Load::BesideRoom {
            room,
            room_per_second,
            ..
        } => beside(case, server, &running, setting, room, room_per_second)?,
        _ => load(case, server, &running, setting)?,
    };
    Ok(Run {
        case: case.id.into(),
        server: server.id.into(),
        round,
        figures: outcome.figures,
        others: outcome.others,
        faults: outcome.faults,
        valid: outcome.valid,
    })
}

fn plan(
    scenario: Scenario,
    case: &Case,
    server: &Known,
    running: &Running,
    setting: &Setting<'_>,
) -> Result<Plan, Box<dyn Error>> {
    // Only a language with heartbeats can be idle; the floor has the least of Socket.IO for that.
    let protocol = match case.load {
        Load::Idle => Protocol::SocketIo,
        _ => server.protocol(),
    };
    let target = Target::parse(&format!("ws://127.0.0.1:{}", running.port), protocol)?;
    let mut plan = Plan::new(target, scenario);
    plan.connections = case.connections.min(setting.most);
    plan.warmup = setting.times.warmup;
    plan.duration = setting.times.measure;
    plan.settle = Duration::from_millis(200);
    // It ends as soon as nothing is missing. What comes late has not been lost.
    plan.drain = Duration::from_secs(10);
    plan.pid = Some(running.pid());
    if server.is_socket_io() {
        plan.auth = Some(AUTH.into());
    }
    Ok(plan)
}

/// Echoes, rates and fan-outs.
fn load(
    case: &Case,
    server: &Known,
    running: &Running,
    setting: &Setting<'_>,
) -> Result<Outcome, Box<dyn Error>> {
    let closed = |window| Scenario::Fanout {
        publishers: 1,
        pace: Pace::Window(window),
    };
    let scenario = match case.load {
        Load::Echo { window } => Scenario::Echo { window },
        Load::Rate { per_second } | Load::BesideRoom { per_second, .. } => {
            Scenario::Rate { per_second }
        }
        Load::Fanout { window } => closed(window),
        Load::Json { .. } => closed(1),
        Load::Memory | Load::Idle => Scenario::Idle,
    };
    let mut plan = plan(scenario, case, server, running, setting)?;
    if let Load::Json { deflate } = case.load {
        (plan.payload, plan.prose, plan.deflate) = (1024, true, deflate);
    } else if matches!(scenario, Scenario::Fanout { .. }) {
        plan.payload = 128;
    }
    let before = counters(server, running);
    let report = run(&plan, &mut |_| {})?;
    let mut outcome = outcome(&report);
    if plan.deflate {
        if report.load.deflated == 0 {
            return Err("the server does not deflate".into());
        }
        if let (Some(before), Some(after)) = (before, counters(server, running)) {
            let messages = after.events - before.events;
            let each = (after.deflations - before.deflations) / messages.max(1.0);
            outcome.figures.insert("deflations".into(), each);
        }
    }
    Ok(outcome)
}

fn outcome(report: &Report) -> Outcome {
    let mut figures = BTreeMap::new();
    let mut put = |name: &str, value: f64| {
        // Four digits are more than the clocks are good for.
        let scale = 10f64.powi(4 - value.abs().max(1e-9).log10().ceil() as i32);
        figures.insert(name.to_owned(), (value * scale).round() / scale);
    };
    // Without a delivery within the measurement there is nothing to divide by.
    if let Some(server) = report.load.server.filter(|_| report.load.received > 0) {
        put("cpu_us", server.us_each());
        put("user_us", server.user_us_each);
        put("system_us", server.system_us_each);
        put("cores", server.cores);
    }
    if let Some(us) = report.setup.server_us_each {
        put("setup_us", us);
    }
    put("setup_per_second", report.setup.per_second);
    put("per_second", report.load.per_second);
    put("generator_us", report.generator.us_each);
    let latency = &report.load.latency;
    if latency.count > 0 {
        put("p50_ms", latency.p50_ms);
        put("p99_ms", latency.p99_ms);
        put("p999_ms", latency.p999_ms);
    }
    if latency.p50_ms > 0.0 {
        put("p99_over_p50", latency.p99_ms / latency.p50_ms);
    }
    Outcome {
        figures,
        others: report.load.foreign_cores.unwrap_or(0.0),
        faults: faults(report),
        valid: report.generator.validity == Validity::Valid,
    }
}

/// What went wrong, in words.
fn faults(report: &Report) -> String {
    let failed = ("connections failed", report.errors.total());
    let all = report.faults.kinds().into_iter().chain([failed]);
    let some = all.filter(|(_, count)| *count > 0);
    let words: Vec<String> = some
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    words.join(", ")
}

fn crowd_faults(crowd: &Crowd, complete: bool) -> String {
    match crowd.errors().total() {
        0 if complete => String::new(),
        failed => format!("{failed} connections failed"),
    }
}

/// Echoes of a few, while a second, more patient thread of the generator holds a large room.
fn beside(
    case: &Case,
    server: &Known,
    running: &Running,
    setting: &Setting<'_>,
    size: u32,
    per_second: f64,
) -> Result<Outcome, Box<dyn Error>> {
    let scenario = Scenario::Fanout {
        publishers: 1,
        pace: Pace::PerSecond(per_second),
    };
    let mut room = plan(scenario, case, server, running, setting)?;
    room.connections = size.min(setting.most);
    room.payload = 128;
    room.room = Some(ROOM.into());
    room.events.broadcast = "publish".into();
    room.pid = None;
    // Long enough for the set-up, the warm-up and the measurement of the others.
    room.duration = setting.times.measure * 2 + setting.times.warmup + Duration::from_secs(1);
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        // The room's thread gives way: how late it reads must not look like latency of the server.
        let own = Some(rustix::thread::gettid());
        let _ = rustix::process::setpriority_process(own, 15);
        run(&room, &mut |progress| {
            if progress.stage == Stage::Measuring {
                // Nobody listens after the first time.
                let _ = tell.send(());
            }
        })
    });
    // Without the room the echoes would measure nothing: the thread ends before it tells.
    if told.recv_timeout(Duration::from_secs(60)).is_err() {
        return Err("the room was not set up".into());
    }
    let mut longer = setting.times;
    longer.measure *= 2;
    let setting = Setting {
        times: longer,
        ..*setting
    };
    let mut outcome = load(case, server, running, &setting)?;
    let room = thread.join().map_err(|_| "the room's thread panicked")??;
    let of_room = faults(&room);
    if !of_room.is_empty() {
        outcome.faults = format!("{} room: {of_room}", outcome.faults)
            .trim_start()
            .into();
    }
    let mut put = |name: &str, value: f64| outcome.figures.insert(name.to_owned(), value);
    put("room_p99_ms", room.load.latency.p99_ms);
    // CPU of the server was spent on the room, and the room's thread looks like other work.
    for figure in ["cpu_us", "user_us", "system_us", "setup_us"] {
        outcome.figures.remove(figure);
    }
    outcome.others = 0.0;
    Ok(outcome)
}

fn memory(
    case: &Case,
    server: &Known,
    running: &Running,
    setting: &Setting<'_>,
) -> Result<Outcome, Box<dyn Error>> {
    let mut plan = plan(Scenario::Idle, case, server, running, setting)?;
    plan.room = Some(ROOM.into());
    plan.patience = Duration::from_secs(20);
    let all = plan.connections;
    let process = ProcessSampler::new(running.pid())?;
    let resident = |crowd: &mut Crowd| -> Result<f64, Box<dyn Error>> {
        crowd.hold(Duration::from_secs(1))?;
        Ok(process.memory()?.rss as f64)
    };
    let mut crowd = Crowd::new(&plan)?;
    let empty = resident(&mut crowd)?;
    let base = running.descriptors();

    let before = process.cpu()?;
    let came = crowd.come(all)?;
    let setup = process.cpu()? - before;
    let full = resident(&mut crowd)?;
    for _ in 0..setting.times.turnovers {
        crowd.leave((all / 2) as usize);
        noticed(&mut crowd, running, base)?;
        crowd.come(all / 2)?;
    }
    let turned = resident(&mut crowd)?;
    crowd.leave(all as usize);
    noticed(&mut crowd, running, base)?;
    crowd.come_at_once(all)?;
    let reconnected = resident(&mut crowd)?;
    let complete = came == all as usize && crowd.len() == all as usize;
    crowd.leave(all as usize);
    crowd.hold(setting.times.gone)?;
    let left = process.memory()?.rss as f64;

    let mut figures = BTreeMap::new();
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("rss_each", ((full - empty) / f64::from(all)).round());
    put("empty_mib", empty / 1_048_576.0);
    put("full_mib", full / 1_048_576.0);
    put("growth_turnover", (turned - empty) / (full - empty));
    put("growth_reconnect", (reconnected - empty) / (full - empty));
    put("left", left / full);
    put("setup_us", setup.total() * 1e6 / f64::from(all));
    Ok(Outcome {
        figures,
        others: 0.0,
        faults: crowd_faults(&crowd, complete),
        valid: true,
    })
}

/// Waits until the server has closed what left: a process has a limit of open files.
fn noticed(crowd: &mut Crowd, running: &Running, base: usize) -> Result<(), Box<dyn Error>> {
    let give_up = Instant::now() + Duration::from_secs(10);
    while running.descriptors() > base + crowd.len() + 50 && Instant::now() < give_up {
        crowd.hold(Duration::from_millis(20))?;
    }
    Ok(())
}

fn idle(
    case: &Case,
    server: &Known,
    running: &Running,
    setting: &Setting<'_>,
) -> Result<Outcome, Box<dyn Error>> {
    let plan = plan(Scenario::Idle, case, server, running, setting)?;
    let process = ProcessSampler::new(running.pid())?;
    let mut crowd = Crowd::new(&plan)?;
    let there = crowd.come(plan.connections)?;
    crowd.hold(Duration::from_secs(1))?;
    let (before, heartbeats) = (process.cpu()?, crowd.pings());
    let began = Instant::now();
    crowd.hold(setting.times.idle)?;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let spent = (process.cpu()? - before).total();
    let heartbeats = (crowd.pings() - heartbeats) as f64;
    let mut figures = BTreeMap::new();
    let mut put = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    put("idle_cpu", spent / minutes / (there as f64 / 1000.0));
    put("heartbeats_each", heartbeats / there as f64);
    put("heartbeat_us", spent * 1e6 / heartbeats.max(1.0));
    Ok(Outcome {
        figures,
        others: 0.0,
        faults: crowd_faults(&crowd, crowd.len() == there),
        valid: true,
    })
}

struct Counters {
    events: f64,
    deflations: f64,
}

/// Counters that our server publishes.
fn counters(server: &Known, running: &Running) -> Option<Counters> {
    if server.role != Role::Ours {
        return None;
    }
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, running.port)).ok()?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let counter = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some(Counters {
        events: counter("sockeye_events_total ")?,
        deflations: counter("sockeye_deflations_total ")?,
    })
}
