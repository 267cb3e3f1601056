//! The load generator as a command.
//!
//! `cargo run --release -p sockeye-bench --example load -- echo --url ws://127.0.0.1:3000`;
//! `--help` names scenarios and flags. Exits with status 1 if a message or a connection went
//! wrong, 2 if the command line did.

use sockeye_bench::cli::{Command, help, parse};
use sockeye_bench::run;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (plan, json) = match parse(std::env::args().skip(1)) {
        Ok(Command::Run { plan, json }) => (plan, json),
        Ok(Command::Help) => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut terminal = std::io::stderr();
    let live = terminal.is_terminal();
    let result = run(&plan, &mut |progress| {
        if live {
            let seconds = progress.elapsed.as_secs_f64();
            let _ = write!(
                terminal,
                "\r\x1b[K{:?} {seconds:.1} s: {} connected, {} failed, {} delivered",
                progress.stage, progress.ready, progress.failed, progress.received,
            );
        }
    });
    if live {
        let _ = write!(terminal, "\r\x1b[K");
    }
    match result {
        Ok(report) if json => match serde_json::to_string_pretty(&report) {
            Ok(text) => {
                println!("{text}");
                ExitCode::from(u8::from(report.is_drifting() || !report.is_clean()))
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        Ok(report) => {
            print!("{report}");
            ExitCode::from(u8::from(report.is_drifting() || !report.is_clean()))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
