//! A server process that ends with its test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running `sockeye serve --port 0`.
pub struct Server {
    child: Child,
    pub port: u16,
    /// The start-up lines.
    pub greeting: Vec<String>,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

/// An answer to an HTTP request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let arguments = [&["serve", "--port", "0"], arguments].concat();
        let mut child = super::command(&arguments, environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let mut greeting = Vec::new();
        // The last line says how to stop the server.
        while !greeting
            .last()
            .is_some_and(|line: &String| line.contains("Ctrl-C"))
        {
            let mut line = String::new();
            if stdout.read_line(&mut line).expect("readable output") == 0 {
                let mut log = String::new();
                let _ = stderr.read_to_string(&mut log);
                panic!("the server ended at its start: {greeting:?} {log}");
            }
            greeting.push(line.trim_end().to_owned());
        }
        let link = greeting[0]
            .split("://")
            .nth(1)
            .expect("a link in the first line");
        let port = link
            .split(['/', ' '])
            .next()
            .and_then(|host| host.rsplit(':').next());
        let port = port
            .and_then(|port| port.parse().ok())
            .expect("a port in the link");
        Self {
            child,
            port,
            greeting,
            stdout,
            stderr,
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process exists");
    }

    /// Waits for the end: the exit status, the rest of standard output, the log.
    pub fn wait(mut self) -> super::Finished {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("UTF-8");
        self.stderr.read_to_string(&mut stderr).expect("UTF-8");
        super::Finished {
            status: status.code().unwrap_or(-1),
            stdout,
            stderr,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    /// One request; `headers` are lines with their line ends.
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        let split = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .expect("a head")
            + 4;
        let head = String::from_utf8(bytes[..split].to_vec())
            .expect("ASCII")
            .to_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        Answer {
            status,
            head,
            body: bytes.split_off(split),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
