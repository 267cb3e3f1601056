//! A Redis server of the test's own, and a Node.js peer.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// After this nothing is expected any more.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A `redis-server` on a free port of the loopback interface, killed when dropped.
pub struct RedisServer {
    process: Child,
    pub port: u16,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments for its command line.
    pub fn start_with(arguments: &[&str]) -> Self {
        // Somebody else may take the port in between; the server then ends, and another is tried.
        for _ in 0..10 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            if let Some(server) = Self::on(port, arguments) {
                return server;
            }
        }
        panic!("redis-server does not start: is it installed? (scripts/setup does that)");
    }

    /// On this port, if that is free.
    pub fn on(port: u16, arguments: &[&str]) -> Option<Self> {
        Self::launch(port, port, arguments)
    }

    /// `plain` is what it is told to listen on, `port` what it must answer on.
    fn launch(plain: u16, port: u16, arguments: &[&str]) -> Option<Self> {
        let mut process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &plain.to_string()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed (scripts/setup does that)");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if process.try_wait().expect("a child").is_some() {
                return None;
            }
            let is_up = match plain {
                0 => std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
                _ => answers(port),
            };
            if is_up {
                return Some(Self { process, port });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = process.kill();
        let _ = process.wait();
        None
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub fn client(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a URL");
        client.get_connection().expect("it answers")
    }

    /// With TLS on its port, and nothing without.
    pub fn start_tls(certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        for _ in 0..10 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let tls_port = port.to_string();
            let arguments = ["--tls-port", &tls_port, "--tls-auth-clients", "no"];
            let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
            let files_of_all = ["--tls-ca-cert-file", &certificate];
            let all = [&arguments[..], &files, &files_of_all].concat();
            if let Some(server) = Self::launch(0, port, &all) {
                return server;
            }
        }
        panic!("redis-server does not start with TLS");
    }

    /// Ends it; what it holds is gone.
    pub fn stop(mut self) -> u16 {
        self.kill();
        self.port
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a Redis server speaks on this port, if only to ask for a password.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    if stream.write_all(b"PING\r\n").is_err() {
        return false;
    }
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line);
    read.is_ok() && (line.starts_with("+PONG") || line.starts_with("-NOAUTH"))
}

/// A Node.js server with an adapter, and a stock client on it: `tests/redis/peer.js`.
pub struct NodePeer {
    process: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    /// What was said and not asked for yet.
    said: Vec<Value>,
    next: u64,
    /// The id of its client's socket.
    pub socket: String,
}

impl NodePeer {
    pub fn start(mode: &str, redis_port: u16) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/redis");
        assert!(
            folder.join("node_modules/socket.io").exists(),
            "the packages are missing: `make redis` installs them"
        );
        let mut process = Command::new("node")
            .arg("peer.js")
            .args([mode, &redis_port.to_string()])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed");
        let stdin = process.stdin.take().expect("piped");
        let stdout = process.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("the peer speaks JSON");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut peer = Self {
            process,
            stdin,
            lines,
            said: Vec::new(),
            next: 0,
            socket: String::new(),
        };
        let ready = peer.wait(|line| line.get("ready").is_some());
        peer.socket = ready["ready"].as_str().expect("an id").to_owned();
        peer
    }

    /// Gives a command without waiting for its end; returns its id.
    pub fn send(&mut self, mut command: Value) -> u64 {
        self.next += 1;
        command["id"] = json!(self.next);
        writeln!(self.stdin, "{command}").expect("the peer lives");
        self.next
    }

    /// What came of a command.
    pub fn result(&mut self, id: u64) -> Value {
        let line = self.wait(|line| line["id"] == id);
        assert_eq!(line.get("error"), None);
        line["value"].clone()
    }

    /// Gives a command and waits for its end.
    pub fn run(&mut self, command: Value) -> Value {
        let id = self.send(command);
        self.result(id)
    }

    /// The next event that the client has received.
    pub fn client_hears(&mut self) -> Value {
        self.wait(|line| line.get("client").is_some())["client"].clone()
    }

    /// The next event for servers.
    pub fn server_hears(&mut self) -> Value {
        self.wait(|line| line.get("server").is_some())["server"].clone()
    }

    /// The first line not asked for yet of which `is_it` is true.
    pub fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.said.iter().position(&is_it) {
                return self.said.remove(at);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    assert_eq!(line.get("crashed"), None);
                    self.said.push(line);
                }
                Err(_) => panic!("the peer says only {:?}", self.said),
            }
        }
    }
}

impl Drop for NodePeer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until something is true.
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
