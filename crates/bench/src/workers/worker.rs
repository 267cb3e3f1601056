//! The side of a worker: a run that is told about on standard output.

use super::gate::{Gate, Opened, Point};
use super::part::Part;
use super::share::share;
use super::{Glance, Told};
use crate::plan::Plan;
use crate::run::run_together;
use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// Does a worker's share of a plan. What it found goes to standard output.
pub(crate) fn work(plan: &Plan, index: u32, workers: u32) -> ExitCode {
    let plan = share(plan, index, workers);
    let mut pipe = Pipe::new();
    let result = run_together(&plan, &mut pipe, &mut |progress| {
        // Who does not listen any more will not let this process live.
        let _ = tell(&Told::Progress(Glance::from(progress)));
    });
    let last = match &result {
        Ok(report) => Told::Done(Box::new(Part::of(report))),
        Err(error) => Told::Failed {
            unreachable: error.is_unreachable(),
            why: error.to_string(),
        },
    };
    match tell(&last) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn tell(told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// The gates, over standard input and output.
struct Pipe {
    opened: Receiver<Opened>,
}

impl Pipe {
    fn new() -> Self {
        let (sender, opened) = channel();
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                let Ok(opened) = serde_json::from_str(&line) else {
                    break;
                };
                if sender.send(opened).is_err() {
                    return;
                }
            }
            // Whoever started this process is gone, and nobody wants what it does.
            std::process::exit(1);
        });
        Self { opened }
    }
}

impl Gate for Pipe {
    fn arrive(&mut self, point: Point) -> io::Result<()> {
        tell(&Told::At(point))
    }

    fn opened(&mut self) -> io::Result<Option<Opened>> {
        match self.opened.try_recv() {
            Ok(opened) => Ok(Some(opened)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
