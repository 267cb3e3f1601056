//! The engine of the load tester: it loads a Socket.IO or WebSocket server and says what it cost,
//! how long it took and whether every message arrived.
//!
//! # Contract
//!
//! - [`run`] takes a [`Plan`] (a [`Target`], a [`Scenario`], how many, how long) and returns a
//!   [`Report`]. It works on the calling thread alone, on readiness, without a runtime. A
//!   WebSocket at rest costs 24 bytes here, and 16 more for each publisher that it may hear; a
//!   client that polls costs some 400 and two sockets.
//! - [`Report::timeline`] tells what happened when, [`Report::phases`] the stretches of a ramp, a
//!   spike or a storm.
//! - Cost is CPU time of the server's process as the operating system counts it, divided by
//!   deliveries ([`ProcessSampler`]). Latency is a histogram of HDR kind ([`Latency`]). In an open
//!   loop the clock of a message starts when it was due ([`Schedule`]), so that a stalled server
//!   cannot hide what it held up (coordinated omission).
//! - Every message carries publisher, sequence and time ([`Stamp`]); the checker ([`History`])
//!   counts loss, duplicates, reordering, wrong recipients and damage.
//! - The generator watches itself: its CPU, the time it was not let run, how late it sent. A
//!   result it limited itself is marked ([`Validity`]).
//! - [`Crowd`] holds connections that come and go step by step, for what is no single scenario.
//! - [`Floor`] is the server to compare with: a bare loop of system calls.
//!
//! The server keeps the contract of [`Events`] (Socket.IO) or of [`Protocol::WebSocket`].
//!
//! ```no_run
//! use sockeye_bench::{Plan, Protocol, Scenario, Target, run};
//!
//! let target = Target::parse("ws://127.0.0.1:3000", Protocol::SocketIo)?;
//! let mut plan = Plan::new(target, Scenario::Echo { window: 8 });
//! plan.connections = 200;
//! let report = run(&plan, &mut |_| {})?;
//! println!("{report}");
//! assert!(report.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;
pub mod clock;
pub mod command;
mod crowd;
mod driver;
mod engine;
mod error;
mod floor;
mod history;
mod latency;
mod live;
pub mod mixed;
mod nearest;
mod plan;
mod process;
mod processes;
mod report;
mod results;
mod run;
mod schedule;
mod slope;
mod stamp;
pub mod stats;
mod target;
mod timeline;
mod wire;
mod workers;

pub use crowd::Crowd;
pub use error::BenchError;
pub use floor::{Floor, FloorStop};
pub use history::{Audience, Faults, History, Verdict};
pub use latency::{Latency, Percentiles};
pub use plan::{
    Churn, Contract, Credential, Credentials, CutBy, Events, Pace, Plan, Ramp, Reconnect, Scenario,
    Slow, Soak, Spike, Transport,
};
pub use process::{CpuTime, Memory, ProcessSampler};
pub use report::{
    Errors, GeneratorReport, Histograms, Limits, LoadReport, Machine, MemoryReport, Outcome,
    Parameters, Report, SCHEMA, STATUSES, ServerReport, SetupReport, Validity, WorkerReport,
};
pub use results::{
    ChurnReport, Drift, DriftReport, PhaseReport, ReconnectReport, SlowReport, SpikeReport,
};
pub use run::{Progress, Stage, run};
pub use schedule::Schedule;
pub use slope::{mann_kendall, theil_sen};
pub use stamp::{Kind, Stamp};
pub use target::{Protocol, Target, TargetError};
pub use timeline::Tick;
