//! A run from the first connection to the report.

mod figures;
mod scenarios;
mod set_up;
mod together;

use crate::clock;
use crate::driver::{Doors, Driver, Hold};
use crate::engine::Engine;
use crate::error::BenchError;
use crate::history::{Audience, History};
use crate::latency::Latency;
use crate::mixed::MixedReport;
use crate::plan::{Plan, Scenario};
use crate::process::{CpuTime, Memory, ThreadTime, machine_cpu};
use crate::processes::Processes;
use crate::report::{Histograms, Machine, MemoryReport, Parameters, Report, SCHEMA};
use crate::results::{ChurnReport, DriftReport, ReconnectReport, SlowReport, SpikeReport};
use crate::workers::gate::{Gate, Point};
use std::io;
use std::time::Duration;
use together::Others;

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

impl Stage {
    /// The name by which reports know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Settling => "settling",
            Self::WarmingUp => "warming_up",
            Self::Measuring => "measuring",
            Self::Draining => "draining",
        }
    }
}

/// A glance at a running run, a few times a second.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Since the stage began.
    pub elapsed: Duration,
    /// Connections that are ready.
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
    begin(plan, None, observe)
}

/// The same as one of several processes, which pass the gates of the run together.
pub(crate) fn run_together(
    plan: &Plan,
    gate: &mut dyn Gate,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Report, BenchError> {
    begin(plan, Some(gate), observe)
}

fn begin<'a>(
    plan: &'a Plan,
    gate: Option<&'a mut dyn Gate>,
    observe: &'a mut dyn FnMut(&Progress),
) -> Result<Report, BenchError> {
    let server = match plan.pids() {
        pids if pids.is_empty() => None,
        pids => {
            let server = Processes::new(&pids);
            Some(server.map_err(|(pid, error)| BenchError::process(pid, error))?)
        }
    };
    let history = History::new(Audience::Everyone, 0, 0);
    let (doors, engine) = match plan.mix {
        None => (Doors::new(0), Engine::new(plan, history)?),
        Some(_) => {
            let doors = Doors::new(plan.slots());
            let mut plan = plan.clone();
            plan.credentials = Some(doors.credentials());
            (doors, Engine::new(&plan, history)?)
        }
    };
    let session = Session {
        plan,
        doors,
        engine,
        server,
        gate,
        others: Others::default(),
        machine: Machine::here(),
        observe,
        stage: Stage::Connecting,
        began: clock::now(),
        stage_began: clock::now(),
        reported: 0,
        mortal: false,
        set_up: Latency::new(),
    };
    session.run()
}

struct Session<'a> {
    plan: &'a Plan,
    /// Where a scenario file's driver says what each connection shows.
    doors: Doors,
    engine: Engine,
    server: Option<Processes>,
    gate: Option<&'a mut dyn Gate>,
    others: Others,
    machine: Machine,
    observe: &'a mut dyn FnMut(&Progress),
    stage: Stage,
    began: u64,
    stage_began: u64,
    reported: u64,
    /// Whether the server's process may go during the run.
    mortal: bool,
    /// Of the connections that were set up before the load, or by a ramp.
    set_up: Latency,
}

/// All clocks at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at: u64,
    server: Option<CpuTime>,
    machine: Option<f64>,
    thread: ThreadTime,
    /// Nanoseconds that the generator waited for something to happen.
    waited: u64,
}

/// What single scenarios add.
#[derive(Default)]
struct Extras {
    reconnect: Option<ReconnectReport>,
    spike: Option<SpikeReport>,
    drift: Option<DriftReport>,
    churn: Option<ChurnReport>,
    slow: Option<SlowReport>,
    mixed: Option<MixedReport>,
}

impl Session<'_> {
    fn run(mut self) -> Result<Report, BenchError> {
        let empty = self.memory()?;
        self.pass(Point::Begin, &mut Hold)?;
        let mut setup = self.connect()?;
        self.meet()?;
        self.enter(Stage::Settling);
        self.turn_for(&mut Hold, self.plan.settle)?;
        let full = self.memory()?;

        let mut extras = Extras::default();
        let (before, after) = self.scenario(&mut extras)?;
        if matches!(self.plan.scenario, Scenario::Ramp(_) | Scenario::Mixed) {
            self.set_up_by_ramp(&mut setup, &before, &after)?;
        }
        let end = self.memory()?;
        let memory = match (empty, full, end) {
            (Some(empty), Some(full), Some(end)) => {
                // The connections of a ramp come after the settling.
                let (top, connections) = match self.plan.scenario {
                    Scenario::Ramp(_) | Scenario::Mixed => {
                        (end, self.engine.desk().timeline.connections)
                    }
                    _ => (full, setup.ready),
                };
                let each = |full: u64, empty: u64| {
                    (full as f64 - empty as f64) / f64::from(connections.max(1))
                };
                Some(MemoryReport {
                    empty,
                    full,
                    end,
                    rss_per_connection: each(top.rss, empty.rss),
                    pss_per_connection: each(top.pss, empty.pss),
                })
            }
            _ => None,
        };
        let (load, generator) = self.figures(&before, &after);
        let desk = self.engine.desk();
        desk.timeline.cut(clock::now());
        self.read_server();
        let desk = self.engine.desk();
        let histograms = Histograms {
            began: self.began,
            set_up: self.set_up,
            late: desk.late.clone(),
        };
        Ok(Report {
            schema: SCHEMA,
            scenario: self.plan.scenario.name(),
            parameters: Parameters::of(self.plan),
            machine: self.machine,
            connections: match &extras.mixed {
                Some(mixed) => mixed.clients.connections as u32,
                None => self.plan.connections,
            },
            payload: self.plan.payload,
            setup,
            memory,
            load,
            faults: match &extras.mixed {
                Some(mixed) => mixed.faults,
                None => desk.history.faults(),
            },
            timeline: desk.timeline.ticks().to_vec(),
            phases: desk.timeline.phases(),
            errors: *self.engine.errors(),
            generator,
            reconnect: extras.reconnect,
            spike: extras.spike,
            drift: extras.drift,
            churn: extras.churn,
            slow: extras.slow,
            mixed: extras.mixed,
            workers: Vec::new(),
            histograms,
        })
    }

    /// Warm-up, measurement, drain; the samples around the measurement.
    fn load<D: Driver>(&mut self, driver: &mut D) -> Result<(Sample, Sample), BenchError> {
        // Who publishes now is heard by all.
        self.pass(Point::Prepared, &mut Hold)?;
        self.enter(Stage::WarmingUp);
        self.engine.start(driver);
        self.turn_for(driver, self.plan.warmup)?;

        self.enter(Stage::Measuring);
        let before = self.sample()?;
        let until = before.at + self.plan.longest().as_nanos() as u64;
        let desk = self.engine.desk();
        desk.window = before.at..until;
        desk.late = Default::default();
        (desk.pings, desk.unrelated, desk.counting) = (0, 0, true);
        self.engine.measure(driver);
        while clock::now() < until && !driver.is_finished() {
            self.turn(driver, until)?;
        }
        // What was due in the window is sent, however late this thread woke up.
        self.engine.turn(driver, 0)?;
        let after = self.sample()?;
        let desk = self.engine.desk();
        desk.window.end = until.min(after.at);
        desk.timeline.end_phase(after.at);
        let (pings, unrelated) = (desk.pings, desk.unrelated);
        self.engine.stop(driver);

        self.enter(Stage::Draining);
        self.settle_accounts(driver)?;
        let deadline = clock::now() + self.plan.drain.as_nanos() as u64;
        // Counting what is missing walks all connections: not more often than needed.
        while clock::now() < deadline && (driver.is_waiting() || self.engine.desk().is_awaiting()) {
            let next = (clock::now() + 10_000_000).min(deadline);
            while clock::now() < next {
                self.turn(driver, next)?;
            }
        }
        let desk = self.engine.desk();
        (desk.pings, desk.unrelated) = (pings, unrelated);
        Ok((before, after))
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
        let tick = self.engine.desk().timeline.due();
        self.engine
            .turn(driver, until.min(now + PROGRESS_NS).min(tick))?;
        self.read_server();
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
        let errors = self.engine.errors().total();
        let failed = self.engine.setup().failed;
        let desk = self.engine.desk();
        let faults = desk.history.seen() + driver.faults();
        let p99_ms = desk.timeline.total().percentiles().p99_ms;
        let ready = self.engine.desk().timeline.connections;
        (self.observe)(&Progress {
            stage: self.stage,
            elapsed: Duration::from_nanos(now.saturating_sub(self.stage_began)),
            ready,
            failed,
            received,
            errors,
            faults,
            p99_ms,
        });
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.stage_began) = (stage, clock::now());
        let timeline = &mut self.engine.desk().timeline;
        timeline.enter_stage(self.stage_began, stage.name());
        self.read_server();
    }

    /// Reads what the ticks that are over want to know of the server.
    fn read_server(&mut self) {
        let timeline = &mut self.engine.desk().timeline;
        if timeline.is_unread() {
            let server = self.server.as_ref();
            let cpu = server.and_then(|server| server.cpu().ok());
            let resident = server.and_then(|server| server.resident().ok());
            timeline.read(cpu.map(|cpu| cpu.total()), resident);
        }
    }

    fn memory(&self) -> Result<Option<Memory>, BenchError> {
        self.ask(Processes::memory)
    }

    fn sample(&self) -> Result<Sample, BenchError> {
        Ok(Sample {
            server: self.ask(Processes::cpu)?,
            machine: machine_cpu(),
            thread: ThreadTime::now(),
            waited: self.engine.waited(),
            at: clock::now(),
        })
    }

    fn ask<T>(&self, what: fn(&Processes) -> io::Result<T>) -> Result<Option<T>, BenchError> {
        match self.server.as_ref().map(what).transpose() {
            Err(_) if self.mortal => Ok(None),
            answer => answer.map_err(|error| self.gone(error)),
        }
    }

    fn gone(&self, error: io::Error) -> BenchError {
        BenchError::process(self.plan.pid.unwrap_or(0), error)
    }
}
