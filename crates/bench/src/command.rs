//! The load tester as a program: from the arguments to the exit status.

use crate::cli::{Command, Output, help, parse};
use crate::error::BenchError;
use crate::live::Live;
use crate::plan::Plan;
use crate::report::Report;
use crate::run::{Progress, run};
use crate::workers::{lead, work};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// Status of a run that could not take place.
const FAILED: u8 = 1;
/// Status of a command line that cannot be understood.
const USAGE: u8 = 2;
/// Status of a run in which no connection could be set up.
const UNREACHABLE: u8 = 3;

/// Runs the program with these arguments, its name excluded: shows progress, prints the report
/// and returns the exit status ([`crate::STATUSES`]).
///
/// With `--workers` it starts copies of the running program with the program's own arguments and
/// one more: it is for programs that hand it the rest of their command line.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let status = match parse(arguments) {
        Ok(Command::Run { plan, output }) => match output.worker {
            Some((index, workers)) => return work(&plan, index, workers),
            None => load(&plan, &output),
        },
        Ok(Command::Checked(summary)) => print(&format!("{summary}\n")).map(|()| 0),
        Ok(Command::Help(scenario)) => print(&help(scenario)).map(|()| 0),
        Err(error) => {
            eprintln!("{error}\n\n`sockeye bench --help` lists the scenarios and flags.");
            Ok(USAGE)
        }
    };
    ExitCode::from(status.unwrap_or_else(|error| {
        eprintln!("{error}");
        FAILED
    }))
}

fn load(plan: &Plan, output: &Output) -> io::Result<u8> {
    // Before hours of load, not after them.
    let page = match &output.html {
        None => None,
        Some(path) => Some(File::create(path).map_err(|error| at(path, error))?),
    };
    let mut live = Live::new(plan, output.quiet);
    let mut observe = |progress: &Progress| live.show(progress);
    let result = match output.workers {
        1 => run(plan, &mut observe),
        workers => lead(plan, workers, &mut observe),
    };
    live.clear();
    match result {
        Ok(report) => {
            print(&text(&report, output)?)?;
            if let (Some(mut page), Some(path)) = (page, &output.html) {
                let written = page.write_all(report.html().as_bytes());
                written.map_err(|error| at(path, error))?;
            }
            Ok(report.outcome().status())
        }
        Err(error) => {
            explain(plan, &error);
            Ok(if error.is_unreachable() {
                UNREACHABLE
            } else {
                FAILED
            })
        }
    }
}

fn text(report: &Report, output: &Output) -> io::Result<String> {
    if !output.json {
        return Ok(report.to_string());
    }
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The error and what is behind it.
fn explain(plan: &Plan, error: &BenchError) {
    eprintln!("{error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        eprintln!("  {cause}");
        source = cause.source();
    }
    if error.is_unreachable() {
        let (host, path) = (plan.target.host(), plan.target.path());
        eprintln!("  Does a server listen at {host}, and does it answer at {path}?");
    }
}

/// Prints to standard output. A reader that went away (`… | head -1`) is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
