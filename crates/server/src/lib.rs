//! The standalone server: configuration, command line and application of the binary `sockeye`.
//!
//! [`run`] is the whole program. The layers below it, from the outside in:
//!
//! - `cli`: the command line and its help;
//! - `config`: the one table of settings, the three sources they come from, the typed result;
//! - `serve`: starting, the start-up lines, signals and the orderly end;
//! - `app`: what clients see: rooms and their members, the pages, the plain WebSocket relay.
//!
//! The command `bench` is the crate `sockeye-bench`.
//!
//! Applications that want handlers of their own use the crate `sockeye` instead.

mod app;
mod cli;
mod config;
mod log;
mod open_files;
mod serve;
mod tls;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use cli::{Command, CommandLine};
use config::{CONFIG_ENV, Config, ConfigError, Settings};

/// Status of a wrong command line or configuration.
const USAGE: u8 = 2;

/// Runs the program with these arguments (without the program's name) and this environment.
///
/// The result is the exit status: 0 for success, also after a signal to stop; 1 when the server
/// cannot start or fails; 2 when the command line or the configuration is wrong, with every
/// problem told on standard error.
/// `bench` has exit statuses of its own: [`sockeye_bench::STATUSES`].
pub fn run(arguments: &[OsString], environment: &[(OsString, OsString)]) -> ExitCode {
    match execute(arguments, environment) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{error}");
            eprintln!("\n`sockeye help` lists the commands, `sockeye help serve` the settings.");
            ExitCode::from(USAGE)
        }
    }
}

fn execute(
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
) -> Result<ExitCode, ConfigError> {
    let line = CommandLine::parse(arguments)?;
    match line.command {
        None => {
            eprint!("{}\n`sockeye help` lists every flag.\n", cli::overview());
            Ok(ExitCode::from(USAGE))
        }
        Some(Command::Help) => Ok(print(&cli::help(line.topic.as_deref())?)),
        Some(Command::Version) => Ok(print(&format!("sockeye {}\n", env!("CARGO_PKG_VERSION")))),
        Some(Command::ConfigReference) => Ok(print(&config::page())),
        Some(Command::Check) => {
            let settings = load(line, environment)?;
            Config::new(&settings)?;
            Ok(print(&effective(&settings)))
        }
        Some(Command::Bench) => Ok(sockeye_bench::command::main(line.bench)),
        Some(Command::Serve) => {
            let config = Config::new(&load(line, environment)?)?;
            Ok(serve::run(&config))
        }
    }
}

fn load(line: CommandLine, environment: &[(OsString, OsString)]) -> Result<Settings, ConfigError> {
    let named = environment.iter().find(|(name, _)| name == CONFIG_ENV);
    let file = line.config.or_else(|| named.map(|(_, file)| file.into()));
    Settings::load(file.as_deref(), environment, &line.flags)
}

/// Every value with its origin, as a configuration file.
fn effective(settings: &Settings) -> String {
    let mut text =
        String::from("# The effective configuration, and where each value comes from.\n");
    let mut section = "";
    for entry in settings.entries() {
        // Writing to a `String` cannot fail; the results are of no interest.
        if entry.setting.section() != section {
            section = entry.setting.section();
            let _ = writeln!(text, "\n[{section}]");
        }
        let line = format!("{} = {}", entry.setting.name(), entry.value);
        let _ = writeln!(text, "{line:<44} # {}", entry.source);
    }
    text
}

/// Prints to standard output. A reader that went away (`sockeye help | head -1`) is no failure.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ExitCode::SUCCESS
}
