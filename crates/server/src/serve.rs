//! Running the server: start-up lines, signals, and the orderly end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{Application, RELAY_PATH};
use crate::config::Config;
use crate::open_files::{self, OpenFiles};
use crate::{log, tls};

/// Serves until a signal asks to stop.
pub(crate) fn run(config: &Config) -> ExitCode {
    log::start(config);
    let files = open_files::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(serve(config, files)),
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!("{reason}");
            eprintln!("sockeye: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: &Config, files: OpenFiles) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|e| format!("cannot receive signals: {e}"))?;
    let tls = config.tls.as_ref().map(tls::load).transpose()?;
    let application = Application::new(config);
    let place = (config.host.as_str(), config.port);
    let listener = TcpListener::bind(place)
        .map_err(|e| format!("cannot listen on {}:{}: {e}", config.host, config.port))?;
    let address = listener
        .local_addr()
        .map_err(|e| format!("cannot listen: {e}"))?;

    greet(&greeting(config, address, files));
    tracing::info!(%address, node = config.node, workers = config.workers, "listening");

    let running = application.server.clone();
    let mut serving = tokio::spawn(async move {
        match tls {
            Some(tls) => running.serve_tls(listener, tls).await,
            None => running.serve(listener).await,
        }
    });
    let name = tokio::select! {
        name = signals.next() => name,
        ended = &mut serving => return match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the server failed: {error}")),
            Err(error) => Err(format!("the server failed: {error}")),
        },
    };

    tracing::info!(
        signal = name,
        grace_ms = config.shutdown_grace.as_millis() as u64,
        "closing"
    );
    tokio::select! {
        () = application.close(config) => tracing::info!("closed"),
        name = signals.next() => tracing::warn!(signal = name, "ended before all had closed"),
    }
    Ok(())
}

/// The signals that ask to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one: its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// What standard output says once the server listens.
fn greeting(config: &Config, address: SocketAddr, files: OpenFiles) -> String {
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let hint = if config.playground {
        "  (open it in two windows)"
    } else {
        ""
    };
    let mode = if config.is_loopback() {
        "development: loopback only, nobody has to authenticate"
    } else {
        "development: OPEN TO OTHER MACHINES, nobody has to authenticate"
    };
    let mut transports: Vec<&str> = Vec::new();
    if config.polling {
        transports.push("polling");
    }
    if config.websocket {
        transports.push("websocket");
    }
    let mut text = format!("Sockeye is listening on {scheme}://{address}/{hint}\n");
    let mut line = |name: &str, value: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    line("mode", mode);
    line("engine", "embedded (in memory, one process)");
    line(
        "clients",
        &format!("Socket.IO at {}/ by {}", config.path, transports.join(", ")),
    );
    if config.relay {
        line("", &format!("plain WebSocket at {}", RELAY_PATH));
    }
    line("workers", &config.workers.to_string());
    line("open files", &files.to_string());
    line("stop", "Ctrl-C or SIGTERM");
    text
}

/// Prints the start-up lines. A closed standard output is no reason not to serve.
fn greet(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
