//! The servers that are compared: how each starts, and which version it is.

use crate::results::{Machine, Missing, Version};
use sockeye_bench::Protocol;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a server is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The bare loop of system calls.
    Floor,
    /// Sockeye.
    Ours,
    /// Another Socket.IO server.
    Peer,
    /// A WebSocket server without Socket.IO: what the transport alone costs.
    Reference,
}

/// A server of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    start: Start,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Floor,
    Ours { workers: &'static str },
    Rust(&'static str, Option<&'static str>),
    Node(&'static str),
}

const fn known(id: &'static str, name: &'static str, role: Role, start: Start) -> Known {
    Known {
        id,
        name,
        role,
        start,
    }
}

/// All of them, in the order of tables.
pub(crate) const KNOWN: &[Known] = &[
    known("floor", "floor", Role::Floor, Start::Floor),
    known("ours", "Sockeye", Role::Ours, Start::Ours { workers: "1" }),
    known(
        "ours2",
        "Sockeye, two workers",
        Role::Ours,
        Start::Ours { workers: "2" },
    ),
    known(
        "socketioxide",
        "socketioxide (axum)",
        Role::Peer,
        Start::Rust("socketioxide", None),
    ),
    known(
        "socketioxide-ct",
        "socketioxide, current_thread",
        Role::Peer,
        Start::Rust("socketioxide", Some("current-thread")),
    ),
    known(
        "socket.io",
        "socket.io (Node.js, ws)",
        Role::Peer,
        Start::Node("socket.io"),
    ),
    known(
        "eiows",
        "socket.io (Node.js, eiows)",
        Role::Peer,
        Start::Node("eiows"),
    ),
    known(
        "tungstenite",
        "tokio-tungstenite",
        Role::Reference,
        Start::Rust("tungstenite", None),
    ),
    known("ws", "ws (Node.js)", Role::Reference, Start::Node("ws")),
];

/// The server with this id.
pub(crate) fn by_id(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.id == id)
}

/// Where programs are, relative to the root of the repository.
#[derive(Debug)]
pub(crate) struct Places {
    /// Our server.
    pub(crate) ours: PathBuf,
    /// Folder of the Rust peers' programs.
    pub(crate) rust: PathBuf,
    /// Folder of the Rust peers' lock file.
    pub(crate) rust_lock: PathBuf,
    /// The Node.js peers.
    pub(crate) node: PathBuf,
}

impl Known {
    pub(crate) fn protocol(&self) -> Protocol {
        match self.role {
            Role::Floor => Protocol::Floor,
            Role::Ours | Role::Peer => Protocol::SocketIo,
            Role::Reference => Protocol::WebSocket,
        }
    }

    /// Whether it has namespaces, rooms and heartbeats.
    pub(crate) fn is_socket_io(&self) -> bool {
        matches!(self.role, Role::Ours | Role::Peer)
    }

    fn command(&self, places: &Places) -> std::io::Result<Vec<String>> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(match self.start {
            Start::Floor => vec![text(&std::env::current_exe()?), "serve-floor".into()],
            Start::Ours { .. } => vec![text(&places.ours)],
            Start::Rust(program, argument) => {
                let mut command = vec![text(&places.rust.join(program))];
                command.extend(argument.map(String::from));
                command
            }
            Start::Node(name) => vec!["node".into(), text(&places.node), name.into()],
        })
    }

    /// Why it cannot be started, if so.
    pub(crate) fn missing(&self, places: &Places, versions: &[Version]) -> Option<String> {
        let file = match self.start {
            Start::Floor => return None,
            Start::Ours { .. } => places.ours.clone(),
            Start::Rust(program, _) => places.rust.join(program),
            Start::Node(package) => {
                let found = versions.iter().find(|version| version.what == package);
                return match found {
                    Some(_) => None,
                    None => Some(format!("{package} is not installed")),
                };
            }
        };
        (!file.is_file()).then(|| format!("{} is not built", file.display()))
    }
}

/// A server process that does not outlive its run.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a server on one core and waits until it listens.
    pub(crate) fn start(
        server: &Known,
        places: &Places,
        core: usize,
        environment: &[(&str, &str)],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = free.local_addr()?.port();
        drop(free);
        let workers = match server.start {
            Start::Ours { workers } => workers,
            _ => "1",
        };
        // `taskset` becomes the server: the process observed is the server itself.
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(server.command(places)?)
            .env("PORT", port.to_string())
            .env("BENCH_WORKERS", workers)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("taskset: {error}"))?;
        let mut running = Self { child, port };
        let give_up = Instant::now() + Duration::from_secs(15);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("the server ended: {status}").into());
            }
            if Instant::now() > give_up {
                return Err("the server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Descriptors that the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }
}

/// Versions of everything that takes part, and what could not be found.
pub(crate) fn versions(places: &Places) -> (Vec<Version>, Vec<Missing>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let mut add = |what: &str, version: String| {
        found.push(Version {
            what: what.into(),
            version,
        });
    };
    if let Some(commit) = output("git", &["describe", "--always", "--dirty", "--exclude=*"]) {
        add("Sockeye", commit);
    }
    if let Some(rustc) = output("rustc", &["--version"]) {
        add("rustc", rustc.trim_start_matches("rustc ").into());
    }
    if let Ok(lock) = fs::read_to_string(&places.rust_lock) {
        for package in [
            "socketioxide",
            "engineioxide",
            "axum",
            "hyper",
            "tokio",
            "tokio-tungstenite",
            "tungstenite",
        ] {
            if let Some(version) = locked(&lock, package) {
                add(package, version.into());
            }
        }
    }
    let script = places.node.to_string_lossy();
    let node = output("node", &[&script, "versions"])
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    for (what, version) in node
        .as_ref()
        .and_then(|node| node.as_object())
        .into_iter()
        .flatten()
    {
        match version.as_str() {
            Some(version) => add(what, version.into()),
            None => missing.push(Missing {
                what: what.clone(),
                why: version["missing"].as_str().unwrap_or("not found").into(),
            }),
        }
    }
    (found, missing)
}

/// The version of a package in a `Cargo.lock`.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"\nversion = \"");
    let start = lock.find(&name)? + name.len();
    lock[start..].split('"').next()
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// What the machine says of itself.
pub(crate) fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kilobytes = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|size| size.split_whitespace().next()?.parse::<f64>().ok());
    Machine {
        cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: format!(
            "{} {}",
            read("/proc/sys/kernel/ostype").trim(),
            read("/proc/sys/kernel/osrelease").trim()
        ),
        memory_gib: kilobytes.map_or(0.0, |size| (size / 1_048_576.0).round()),
        io_uring: read("/proc/sys/kernel/io_uring_disabled").trim() == "0",
    }
}
