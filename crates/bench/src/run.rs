//! A run from the first connection to the report.

use crate::clock;
use crate::driver::{Driver, Echo, Fanout, Hold};
use crate::engine::Engine;
use crate::error::BenchError;
use crate::history::{Audience, History};
use crate::plan::{Plan, Scenario};
use crate::process::{CpuTime, Memory, ProcessSampler, ThreadTime, machine_cpu};
use crate::report::{
    GeneratorReport, Limits, LoadReport, Machine, MemoryReport, Parameters, Report, SCHEMA,
    ServerReport, SetupReport,
};
use std::io;
use std::time::Duration;

/// How often observers hear of progress.
const PROGRESS_NS: u64 = 250_000_000;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Setting up connections.
    Connecting,
    /// Waiting before memory is read.
    Settling,
    /// Load that is not measured.
    WarmingUp,
    /// The measurement.
    Measuring,
    /// Waiting for the last answers.
    Draining,
}

/// A glance at a running run, a few times a second.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Since the stage began.
    pub elapsed: Duration,
    /// Connections ready so far.
    pub ready: u32,
    /// Connections failed so far.
    pub failed: u32,
    /// Messages delivered since the measurement began.
    pub received: u64,
    /// Connections that went wrong so far.
    pub errors: u64,
    /// Faults seen so far; what has not arrived is not among them.
    pub faults: u64,
    /// 99th percentile of the latency so far.
    pub p99_ms: f64,
}

/// Runs a plan on the calling thread and returns what it found; `observe` hears of progress.
///
/// It sets up the connections, lets them settle, reads memory, loads, measures, waits for the last
/// answers and closes. The generator works on this one thread alone; pin it where the server is
/// not.
///
/// # Errors
///
/// [`BenchError`] if no connection could be set up, the server's process cannot be read, or the
/// generator's own poll fails. Everything that goes wrong later or in part is in the report.
pub fn run(plan: &Plan, observe: &mut dyn FnMut(&Progress)) -> Result<Report, BenchError> {
    let server = match plan.pid {
        None => None,
        Some(pid) => {
            Some(ProcessSampler::new(pid).map_err(|error| BenchError::process(pid, error))?)
        }
    };
    let session = Session {
        plan,
        engine: Engine::new(plan, History::new(Audience::Everyone, 0, 0))?,
        server,
        machine: Machine::here(),
        observe,
        stage: Stage::Connecting,
        stage_began: clock::now(),
        reported: 0,
    };
    session.run()
}

struct Session<'a> {
    plan: &'a Plan,
    engine: Engine,
    server: Option<ProcessSampler>,
    machine: Machine,
    observe: &'a mut dyn FnMut(&Progress),
    stage: Stage,
    stage_began: u64,
    reported: u64,
}

/// All clocks at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: u64,
    server: Option<CpuTime>,
    machine: Option<f64>,
    thread: ThreadTime,
}

impl Session<'_> {
    fn run(mut self) -> Result<Report, BenchError> {
        let empty = self.memory()?;
        let setup = self.connect()?;
        self.enter(Stage::Settling);
        self.turn_for(&mut Hold, self.plan.settle)?;
        let full = self.memory()?;

        let ready = self.engine.ready();
        self.engine.desk().history = self.history(&ready);
        let (before, after) = match self.plan.scenario {
            Scenario::Idle | Scenario::Storm { .. } => self.load(&mut Hold)?,
            Scenario::Echo { window } => self.load(&mut Echo::closed(ready, window))?,
            Scenario::Rate { per_second } => self.load(&mut Echo::open(ready, per_second))?,
            Scenario::Fanout { publishers, pace } => {
                self.load(&mut Fanout::new(&ready, publishers, pace))?
            }
            _ => {
                let unsupported = io::Error::from(io::ErrorKind::Unsupported);
                return Err(unsupported.into());
            }
        };
        let end = self.memory()?;
        let memory = match (empty, full, end) {
            (Some(empty), Some(full), Some(end)) => {
                let each = |full: u64, empty: u64| {
                    (full as f64 - empty as f64) / f64::from(setup.ready.max(1))
                };
                Some(MemoryReport {
                    empty,
                    full,
                    end,
                    rss_per_connection: each(full.rss, empty.rss),
                    pss_per_connection: each(full.pss, empty.pss),
                })
            }
            _ => None,
        };
        let (load, generator) = self.figures(&before, &after);
        Ok(Report {
            schema: SCHEMA,
            scenario: self.plan.scenario.name(),
            parameters: Parameters::of(self.plan),
            machine: self.machine,
            connections: self.plan.connections,
            payload: self.plan.payload,
            setup,
            memory,
            load,
            faults: self.engine.desk().history.faults(),
            errors: *self.engine.errors(),
            generator,
            timeline: Vec::new(),
            phases: Vec::new(),
            reconnect: None,
            spike: None,
            drift: None,
            churn: None,
            slow: None,
        })
    }

    fn connect(&mut self) -> Result<SetupReport, BenchError> {
        let before = self.sample()?;
        let patience = self.plan.patience.as_nanos() as u64;
        while !self.engine.open() {
            let deadline = self.engine.setup().progress + patience;
            if clock::now() >= deadline {
                self.engine.give_up();
                break;
            }
            self.turn(&mut Hold, deadline)?;
        }
        let after = self.sample()?;
        let setup = self.engine.setup();
        if setup.ready == 0 {
            return Err(BenchError::nobody(setup.failed));
        }
        let seconds = (after.at - before.at) as f64 / 1e9;
        let cpu = after
            .server
            .zip(before.server)
            .map(|(after, before)| (after - before).total());
        Ok(SetupReport {
            ready: setup.ready,
            failed: setup.failed,
            seconds,
            per_second: f64::from(setup.ready) / seconds,
            server_us_each: cpu.map(|cpu| cpu * 1e6 / f64::from(setup.ready)),
            latency: setup.latency.percentiles(),
        })
    }

    fn history(&self, ready: &[u32]) -> History {
        let connections = self.plan.connections;
        match self.plan.scenario {
            Scenario::Idle | Scenario::Storm { .. } => History::new(Audience::Everyone, 0, 0),
            Scenario::Echo { .. } | Scenario::Rate { .. } => {
                History::new(Audience::Sender, connections, connections)
            }
            Scenario::Fanout { publishers, .. } => {
                let mut members = vec![false; connections as usize];
                for &index in ready {
                    members[index as usize] = true;
                }
                let publishers = publishers.clamp(1, ready.len() as u32);
                History::new(Audience::Members(members), connections, publishers)
            }
            _ => History::new(Audience::Everyone, 0, 0),
        }
    }

    /// Warm-up, measurement, drain; the samples around the measurement.
    fn load<D: Driver>(&mut self, driver: &mut D) -> Result<(Sample, Sample), BenchError> {
        self.enter(Stage::WarmingUp);
        self.engine.start(driver);
        self.turn_for(driver, self.plan.warmup)?;

        self.enter(Stage::Measuring);
        let before = self.sample()?;
        let desk = self.engine.desk();
        desk.window = before.at..before.at + self.plan.duration.as_nanos() as u64;
        desk.late = Default::default();
        (desk.pings, desk.unrelated, desk.counting) = (0, 0, true);
        self.turn_for(driver, self.plan.duration)?;
        // What was due in the window is sent, however late this thread woke up.
        self.engine.turn(driver, 0)?;
        let after = self.sample()?;
        let desk = self.engine.desk();
        (desk.counting, desk.sending) = (false, false);
        let (pings, unrelated) = (desk.pings, desk.unrelated);

        self.enter(Stage::Draining);
        let deadline = clock::now() + self.plan.drain.as_nanos() as u64;
        // Counting what is missing walks all connections: not more often than needed.
        while clock::now() < deadline && self.engine.desk().history.missing() > 0 {
            let next = (clock::now() + 10_000_000).min(deadline);
            while clock::now() < next {
                self.turn(driver, next)?;
            }
        }
        let desk = self.engine.desk();
        (desk.pings, desk.unrelated) = (pings, unrelated);
        Ok((before, after))
    }

    fn figures(&mut self, before: &Sample, after: &Sample) -> (LoadReport, GeneratorReport) {
        let open_loop = self.plan.scenario.is_open_loop();
        let desk = self.engine.desk();
        let seconds = (after.at - before.at) as f64 / 1e9;
        let each = |cpu: f64| {
            if desk.received == 0 {
                0.0
            } else {
                cpu * 1e6 / desk.received as f64
            }
        };
        let server = after.server.zip(before.server).map(|(after, before)| {
            let cpu = after - before;
            ServerReport {
                cpu,
                cores: cpu.total() / seconds,
                user_us_each: each(cpu.user),
                system_us_each: each(cpu.system),
            }
        });
        let own = (after.thread.running - before.thread.running) as f64 / 1e9;
        let waiting = (after.thread.waiting - before.thread.waiting) as f64 / 1e9 / seconds;
        let foreign_cores = match (server, after.machine.zip(before.machine)) {
            (Some(server), Some((after, before))) => {
                Some(((after - before - server.cpu.total() - own) / seconds).max(0.0))
            }
            _ => None,
        };
        let late = desk.late.percentiles();
        let cores = own / seconds;
        let limits = Limits::judge(
            open_loop,
            cores,
            waiting,
            late.p99_ms,
            server.map(|server| server.cores),
        );
        let generator = GeneratorReport {
            cores,
            us_each: each(own),
            waiting,
            late,
            limits,
            validity: limits.validity(),
        };
        let completion = matches!(self.plan.scenario, Scenario::Fanout { .. });
        let load = LoadReport {
            seconds,
            sent: desk.sent,
            received: desk.received,
            per_second: desk.received as f64 / seconds,
            pings: desk.pings,
            deflated: desk.deflated,
            unrelated: desk.unrelated,
            latency: desk.latency.percentiles(),
            completion: completion.then(|| desk.completion.percentiles()),
            server,
            foreign_cores,
            histogram: desk.latency.clone(),
        };
        (load, generator)
    }

    fn turn_for<D: Driver>(&mut self, driver: &mut D, time: Duration) -> io::Result<()> {
        let until = clock::now() + time.as_nanos() as u64;
        while clock::now() < until {
            self.turn(driver, until)?;
        }
        Ok(())
    }

    fn turn<D: Driver>(&mut self, driver: &mut D, until: u64) -> io::Result<()> {
        let now = clock::now();
        self.engine.turn(driver, until.min(now + PROGRESS_NS))?;
        if now - self.reported < PROGRESS_NS {
            return Ok(());
        }
        self.reported = now;
        let stalled = self.plan.patience.as_nanos() as u64 / 5;
        let desk = self.engine.desk();
        let (received, sending, silent) = (
            desk.received,
            desk.sending,
            now.saturating_sub(desk.last_arrival),
        );
        if sending && silent > stalled {
            self.engine.stalled(driver);
        }
        let desk = self.engine.desk();
        let (faults, p99_ms) = (desk.history.seen(), desk.latency.percentiles().p99_ms);
        let errors = self.engine.errors().total();
        let setup = self.engine.setup();
        (self.observe)(&Progress {
            stage: self.stage,
            elapsed: Duration::from_nanos(now.saturating_sub(self.stage_began)),
            ready: setup.ready,
            failed: setup.failed,
            received,
            errors,
            faults,
            p99_ms,
        });
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.stage_began) = (stage, clock::now());
    }

    fn memory(&self) -> Result<Option<Memory>, BenchError> {
        self.server
            .as_ref()
            .map(|server| server.memory())
            .transpose()
            .map_err(|e| self.gone(e))
    }

    fn sample(&self) -> Result<Sample, BenchError> {
        let cpu = self.server.as_ref().map(|server| server.cpu());
        Ok(Sample {
            at: clock::now(),
            server: cpu.transpose().map_err(|error| self.gone(error))?,
            machine: machine_cpu(),
            thread: ThreadTime::now(),
        })
    }

    fn gone(&self, error: io::Error) -> BenchError {
        BenchError::process(self.plan.pid.unwrap_or(0), error)
    }
}
