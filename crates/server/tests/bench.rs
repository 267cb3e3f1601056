//! `sockeye bench`: the command from its arguments to its exit status.

mod support;

use serde_json::Value;
use sockeye_websocket::handshake::{AcceptOptions, accept, read_request};
use sockeye_websocket::{Event, Input, Limits, Reader, Role, text_frame};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use support::server::Server;
use support::{Finished, TempFile, sockeye};

/// Status of a result that the generator limited: on a busy machine nobody can help it.
const NOT_VALID: i32 = 8;

fn bench(scenario: &str, url: &str, flags: &str) -> Finished {
    let line = format!("bench {scenario} --url {url} {flags}");
    let arguments: Vec<&str> = line.split_ascii_whitespace().collect();
    sockeye(&arguments, &[])
}

/// Runs until a run was not disturbed by the machine; everything else must be right each time.
fn undisturbed(scenario: &str, url: &str, flags: &str) -> Value {
    for _ in 0..20 {
        let done = bench(scenario, url, &format!("{flags} --json"));
        assert_eq!(done.stderr, "");
        let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
        let valid = report["generator"]["validity"] == "valid";
        assert_eq!(done.status, if valid { 0 } else { NOT_VALID }, "{report:#}");
        if valid {
            return report;
        }
    }
    panic!("the machine is too busy for any valid run");
}

const SHORT: &str = "--connections 10 --duration 200ms --warmup 50ms --settle 0";

#[test]
fn echoes_of_the_server_are_clean() {
    let server = Server::start(&[]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let report = undisturbed("rate", &url, &format!("{SHORT} --rate 100"));
    assert_eq!(report["schema"], 1);
    assert_eq!(report["scenario"], "rate");
    assert_eq!(report["setup"]["ready"], 10);
    assert!(report["load"]["received"].as_u64().expect("a count") > 0);

    let table = bench("echo", &url, SHORT);
    assert!(matches!(table.status, 0 | NOT_VALID), "{table:?}");
    assert_eq!(table.stderr, "", "no progress without a terminal");
    for expected in ["10 of 10", "p99.9", "faults          none", "exit status"] {
        assert!(
            table.stdout.contains(expected),
            "{expected}: {}",
            table.stdout
        );
    }
}

#[test]
fn nobody_there_has_its_own_status() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let done = bench("echo", &url, SHORT);
    assert_eq!(done.status, 3, "{done:?}");
    assert!(
        done.stderr.contains("Does a server listen"),
        "{}",
        done.stderr
    );
    assert_eq!(done.stdout, "");
}

#[test]
fn faults_have_their_own_status() {
    let url = forgetful_server();
    let flags = format!("{SHORT} --rate 500 --json");
    let done = bench("rate", &url, &flags);
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(done.status, 4, "{report:#}");
    assert!(report["faults"]["lost"].as_u64().expect("a count") > 0);
}

#[test]
fn mistakes_are_explained() {
    let url = "http://127.0.0.1:9";
    for (scenario, flags, expected) in [
        ("ecko", "", "did you mean echo?"),
        ("echo", "--conections 5", "did you mean --connections?"),
        ("idle", "--window 5", "not of idle"),
        ("echo", "--duration soon", "a time like 5s"),
    ] {
        let done = bench(scenario, url, flags);
        assert_eq!(done.status, 2, "{done:?}");
        assert!(done.stderr.contains(expected), "{}", done.stderr);
        assert!(
            done.stderr.contains("sockeye bench --help"),
            "{}",
            done.stderr
        );
    }
    let tls = bench("echo", "https://127.0.0.1:9", "");
    assert_eq!(tls.status, 2);
    assert!(
        tls.stderr.contains("TLS, which is not supported yet"),
        "{}",
        tls.stderr
    );
    let pid = bench("echo", url, "--pid 4294967295");
    assert_eq!(pid.status, 1, "{pid:?}");
}

#[test]
fn the_page_is_written_or_the_run_does_not_begin() {
    let server = Server::start(&[]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let file = TempFile::new("report.html", "");
    let flags = format!("{SHORT} --html {}", file.path().display());
    let done = bench("echo", &url, &flags);
    assert!(matches!(done.status, 0 | NOT_VALID), "{done:?}");
    let page = std::fs::read_to_string(file.path()).expect("a page");
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains(&format!("127.0.0.1:{}", server.port)));

    let flags = format!("{SHORT} --html /nowhere/at/all.html");
    let done = bench("echo", &url, &flags);
    assert_eq!((done.status, done.stdout.as_str()), (1, ""), "{done:?}");
    assert!(
        done.stderr.contains("/nowhere/at/all.html"),
        "{}",
        done.stderr
    );
}

#[test]
fn help_teaches() {
    let general = sockeye(&["bench", "--help"], &[]);
    assert_eq!(general.status, 0);
    for expected in ["Scenarios:", "fanout", "--connections N", "Exit status:"] {
        assert!(general.stdout.contains(expected), "{}", general.stdout);
    }
    for same in [&["help", "bench"][..], &["bench"], &["bench", "help"]] {
        assert_eq!(sockeye(same, &[]).stdout, general.stdout, "{same:?}");
    }
    let echo = sockeye(&["bench", "echo", "--help"], &[]);
    for expected in ["What it shows:", "Example:", "--window N"] {
        assert!(echo.stdout.contains(expected), "{}", echo.stdout);
    }
    assert!(!echo.stdout.contains("--publishers"));
    assert_eq!(sockeye(&["help", "bench", "echo"], &[]).stdout, echo.stdout);
    assert!(sockeye(&["help"], &[]).stdout.contains("bench"));
}

/// A Socket.IO server that acknowledges every event but each third.
fn forgetful_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || forget(stream));
        }
    });
    url
}

fn forget(mut stream: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    let request = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        if let Some((request, _)) = read_request(&head).expect("a valid request") {
            break request;
        }
    };
    let (method, version, headers) = (request.method(), request.version(), request.headers());
    let accepted = accept(method, version, headers, &AcceptOptions::default());
    let mut answer = Vec::new();
    accepted
        .expect("a valid upgrade")
        .write_response(&mut answer);
    answer.extend_from_slice(&text_frame("0{\"sid\":\"x\",\"pingInterval\":25000}"));
    stream.write_all(&answer).ok()?;
    let (mut reader, limits) = (Reader::new(Role::Server, None), Limits::default());
    let (mut buffer, mut number) = (vec![0; 65_536], 0);
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let mut input = Input::new(&mut buffer[..count]);
        while let Some(event) = reader.next(&limits, &mut input).expect("valid frames") {
            let Event::Text(text) = event else { continue };
            let reply = match &text[..2] {
                "40" => "40{\"sid\":\"y\"}".to_owned(),
                "42" => {
                    number += 1;
                    if number % 3 == 0 {
                        continue;
                    }
                    text.replacen("42", "43", 1).replacen("\"echo\",", "", 1)
                }
                _ => continue,
            };
            stream.write_all(&text_frame(&reply)).ok()?;
        }
    }
}
