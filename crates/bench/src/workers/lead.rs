//! The side of the process that was started by hand.

use super::gate::{Opened, Point};
use super::merge::merge;
use super::part::Part;
use super::{Glance, Told};
use crate::error::BenchError;
use crate::plan::Plan;
use crate::processes::Processes;
use crate::report::{Machine, Report};
use crate::run::Progress;
use std::env;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A worker that says nothing for so long counts as dead. While it works it tells of its progress
/// four times a second.
const SILENCE: Duration = Duration::from_secs(30);

/// Runs a plan in so many processes, which are copies of this one with its arguments and
/// `--worker`.
///
/// # Errors
///
/// As [`crate::run`]; a worker that ends without a result is an error in the report, unless all
/// do.
pub(crate) fn lead(
    plan: &Plan,
    workers: u32,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Report, BenchError> {
    Processes::new(&plan.pids()).map_err(|(pid, error)| BenchError::process(pid, error))?;
    let machine = Machine::here();
    let (sender, heard) = channel();
    let crew: Vec<Worker> = (0..workers)
        .map(|index| Worker::start(index, workers, &sender))
        .collect::<io::Result<_>>()?;
    let mut lead = Lead {
        crew,
        observe,
        failed: 0,
        why: None,
    };
    lead.listen(&heard);
    let parts: Vec<Part> = lead
        .crew
        .iter_mut()
        .filter_map(|one| one.part.take())
        .collect();
    if parts.is_empty() {
        return Err(match lead.why.take() {
            Some(why) => io::Error::other(why).into(),
            None => BenchError::nobody(lead.failed.max(plan.connections)),
        });
    }
    let lost = workers - parts.len() as u32;
    Ok(merge(plan, machine, &parts, lost))
}

struct Worker {
    child: Child,
    input: ChildStdin,
    heard: Instant,
    /// Where it waits.
    point: Option<Point>,
    /// Publishers that it announced.
    publishers: usize,
    glance: Glance,
    part: Option<Part>,
    over: bool,
}

enum Event {
    Told(Told),
    Gone,
}

impl Worker {
    fn start(index: u32, workers: u32, events: &Sender<(usize, Event)>) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .arg(format!("--worker={index}/{workers}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let events = events.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let told = line.ok().and_then(|line| serde_json::from_str(&line).ok());
                let Some(told) = told else { break };
                if events.send((index as usize, Event::Told(told))).is_err() {
                    return;
                }
            }
            // Nobody listens when all is over.
            let _ = events.send((index as usize, Event::Gone));
        });
        Ok(Self {
            child,
            input,
            heard: Instant::now(),
            point: None,
            publishers: 0,
            glance: Glance::default(),
            part: None,
            over: false,
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has ended, or is not wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Lead<'a> {
    crew: Vec<Worker>,
    observe: &'a mut dyn FnMut(&Progress),
    /// Workers that could not set up a single connection.
    failed: u32,
    /// What the first of the others failed of.
    why: Option<String>,
}

impl Lead<'_> {
    /// Until all are done or gone.
    fn listen(&mut self, events: &Receiver<(usize, Event)>) {
        while self.crew.iter().any(|worker| !worker.over) {
            match events.recv_timeout(Duration::from_secs(1)) {
                Ok((index, event)) => self.hear(index, event),
                Err(RecvTimeoutError::Timeout) => self.give_up_the_silent(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.open();
        }
    }

    fn hear(&mut self, index: usize, event: Event) {
        // Events carry the index that the worker was started with.
        let worker = &mut self.crew[index];
        worker.heard = Instant::now();
        match event {
            Event::Told(Told::At(point)) => {
                if let Point::Connected { publishers } = &point {
                    worker.publishers = publishers.len();
                }
                worker.point = Some(point);
            }
            Event::Told(Told::Progress(glance)) => {
                worker.glance = glance;
                let glances = self.crew.iter().filter(|worker| !worker.over);
                let glances: Vec<Glance> = glances.map(|worker| worker.glance).collect();
                if let Some(progress) = Glance::together(&glances) {
                    (self.observe)(&progress);
                }
            }
            Event::Told(Told::Done(part)) => {
                worker.part = Some(*part);
                worker.over = true;
            }
            Event::Told(Told::Failed { unreachable, why }) => {
                worker.over = true;
                if unreachable {
                    self.failed += 1;
                } else {
                    self.why.get_or_insert(why);
                }
            }
            Event::Gone if !worker.over => {
                worker.over = true;
                let why = format!("worker {} ended without a result", index + 1);
                self.why.get_or_insert(why);
            }
            Event::Gone => {}
        }
    }

    fn give_up_the_silent(&mut self) {
        for worker in &mut self.crew {
            // A worker at a gate has nothing to tell only before its first connection.
            if !worker.over && worker.heard.elapsed() > SILENCE {
                let _ = worker.child.kill();
            }
        }
    }

    /// Opens the gate when everybody who still works has arrived.
    fn open(&mut self) {
        let mut working = self.crew.iter().filter(|worker| !worker.over).peekable();
        if working.peek().is_none() || working.any(|worker| worker.point.is_none()) {
            return;
        }
        let mut opened = Opened::default();
        let mut begins = Vec::new();
        let publishing = |worker: &Worker| matches!(worker.point, Some(Point::Sent { .. }));
        let sent = self.crew.iter().any(publishing);
        for worker in &self.crew {
            let begin = opened.all.len();
            begins.push(begin);
            match &worker.point {
                Some(point) => opened.all.extend_from_slice(point.list()),
                // Its publishers keep their numbers, and nobody knows what they published.
                None if sent => {
                    opened.all.extend(std::iter::repeat_n(0, worker.publishers));
                    opened.missing.push((begin, opened.all.len()));
                }
                None => {}
            }
        }
        for (worker, begin) in self.crew.iter_mut().zip(begins) {
            if worker.point.take().is_none() || worker.over {
                continue;
            }
            opened.own = begin;
            let written = serde_json::to_vec(&opened)
                .map_err(io::Error::from)
                .and_then(|mut line| {
                    line.push(b'\n');
                    worker.input.write_all(&line)
                });
            if written.is_err() {
                // It is gone; its reader says so.
                let _ = worker.child.kill();
            }
        }
    }
}
