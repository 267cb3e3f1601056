//! `sockeye bench`: the command from its arguments to its exit status.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sockeye_bench::Floor;
use sockeye_websocket::handshake::{AcceptOptions, accept, read_request};
use sockeye_websocket::{Event, Input, Limits, Reader, Role, text_frame};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
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
fn a_scenario_file_is_checked_played_and_judged() {
    const FILE: &str = r#"
        [[phase]]
        duration = "500ms"
        clients = 6
        ramp = "100ms"
        [[behaviour]]
        steps = [
            { join = "lobby" },
            { repeat = "forever", every = "50ms", steps = [
                { publish = "lobby", ack = true, data = { text = "{{random_string 20}}" } } ] },
        ]
        [thresholds]
        ack.publish.p50 = "LIMIT"
    "#;
    let server = Server::start(&[]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let file = TempFile::new("mixed.toml", &FILE.replace("LIMIT", "1m"));
    let flags = format!("--file {}", file.path().display());
    let report = undisturbed("mixed", &url, &flags);
    let mixed = &report["mixed"];
    assert!(mixed["published"].as_u64().expect("a count") > 10);
    assert!(mixed["delivered"].as_u64() > mixed["published"].as_u64());
    assert_eq!(mixed["error_share"], 0.0);
    assert_eq!(mixed["thresholds"][0]["holds"], true);

    let path = file.path().display().to_string();
    let checked = sockeye(&["bench", "mixed", "--check", "--file", &path], &[]);
    assert_eq!(checked.status, 0, "{checked:?}");
    assert!(checked.stdout.contains("understood"), "{}", checked.stdout);

    let strict = TempFile::new("strict.toml", &FILE.replace("LIMIT", "0.001ms"));
    let missed = bench(
        "mixed",
        &url,
        &format!("--file {}", strict.path().display()),
    );
    assert_eq!(missed.status, 7, "{missed:?}");
    assert!(missed.stdout.contains("MISSED"), "{}", missed.stdout);

    let wrong = TempFile::new("wrong.toml", &FILE.replace("clients", "client"));
    let refused = bench("mixed", &url, &format!("--file {}", wrong.path().display()));
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains(":4: unknown key client in phase; did you mean clients?"),
        "{}",
        refused.stderr
    );
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
fn processes_share_the_load() {
    let server = Server::start(&[]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let report = undisturbed("rate", &url, &format!("{SHORT} --rate 100 --workers 3"));
    assert_eq!(report["setup"]["ready"], 10);
    assert_eq!(report["workers"].as_array().expect("a list").len(), 3);
    let sum: u64 = report["workers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|worker| worker["received"].as_u64().expect("a count"))
        .sum();
    assert_eq!(report["load"]["received"], sum);
    assert_eq!(report["setup"]["latency"]["count"], 10);
    let ticks = report["timeline"].as_array().expect("a list");
    assert!(
        ticks.iter().any(|tick| tick["connections"] == 10),
        "{report:#}"
    );

    let faults = bench(
        "rate",
        &forgetful_server(),
        &format!("{SHORT} --rate 500 --workers 2"),
    );
    assert_eq!(faults.status, 4, "{faults:?}");
    let nobody = bench(
        "echo",
        "http://127.0.0.1:9",
        &format!("{SHORT} --workers 2"),
    );
    assert_eq!(nobody.status, 3, "{nobody:?}");
}

#[test]
fn rooms_of_the_server_are_loaded_and_checked() {
    let server = Server::start(&["--workers", "2"]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let flags = format!("{SHORT} --contract serve --publishers 2 --rate 100");
    for more in ["", " --rooms 3", " --workers 2"] {
        let report = undisturbed("fanout", &url, &format!("{flags}{more}"));
        let count = |member: &str| report["load"][member].as_u64().expect("a count");
        assert!(
            count("sent") > 0 && count("received") > count("sent"),
            "{report:#}"
        );
    }
    // One in flight for each publisher: nobody waits for the own message.
    let closed = format!("{SHORT} --contract serve --publishers 2 --json");
    let done = bench("fanout", &url, &closed);
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert!(matches!(done.status, 0 | NOT_VALID), "{report:#}");
    assert!(
        report["load"]["completion"]["count"].as_u64() > Some(2),
        "{report:#}"
    );

    let unknown = bench("fanout", &url, &format!("{SHORT} --rate 100"));
    assert_eq!(unknown.status, 4, "{unknown:?}");
    assert!(
        unknown.stdout.contains("--contract serve"),
        "{}",
        unknown.stdout
    );
}

#[test]
fn processes_share_a_ramp_and_a_churn() {
    let server = Server::start(&[]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let flags =
        "--connections 11 --from 2 --steps 3 --hold 100ms --warmup 0 --settle 0 --workers 2";
    let report = undisturbed("ramp", &url, flags);
    let phases: Vec<(&str, u64)> = report["phases"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|phase| {
            let name = phase["name"].as_str().expect("a name");
            (name, phase["connections"].as_u64().expect("a count"))
        })
        .collect();
    let expected = [
        // Each process rounds its own steps.
        ("4 connections", 4),
        ("7 connections", 7),
        ("11 connections", 11),
    ];
    assert_eq!(phases, expected);

    let flags = format!("{SHORT} --per-second 50 --workers 2");
    let report = undisturbed("churn", &url, &flags);
    let count = |name: &str| report["churn"][name].as_u64().expect("a count");
    assert!(
        count("came") > 0 && count("came") <= count("left") + count("cut"),
        "{report:#}"
    );
    assert_eq!(report["churn"]["set_up"]["count"], count("came"));
}

#[test]
fn a_broadcast_between_processes_is_checked() {
    let floor = Floor::bind(([127, 0, 0, 1], 0).into(), false).expect("a free port");
    let url = format!("http://{}", floor.local_addr().expect("bound"));
    let stop = floor.stopper();
    let server = std::thread::spawn(move || floor.run());
    let flags = format!("{SHORT} --publishers 2 --rate 100 --workers 3");
    let report = undisturbed("fanout", &url, &flags);
    let sent = report["load"]["sent"].as_u64().expect("a count");
    let all = report["load"]["latency"]["count"]
        .as_u64()
        .expect("a count");
    assert!(
        sent > 0 && all > sent && all.is_multiple_of(10),
        "{report:#}"
    );
    stop.stop().expect("a floor that stops");
    server.join().expect("no panic").expect("no error");

    // Two publishers in two processes; the last connection is in the second one.
    let (url, wrong) = faulty_room();
    let flags = format!("{SHORT} --publishers 2 --rate 100 --workers 2 --json");
    let done = bench("fanout", &url, &flags);
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(done.status, 4, "{report:#}");
    let (lost, doubled) = (wrong.lost.load(Relaxed), wrong.doubled.load(Relaxed));
    assert!(lost > 0 && doubled > 0);
    assert_eq!(report["faults"]["lost"], lost, "{report:#}");
    assert_eq!(report["faults"]["duplicated"], doubled, "{report:#}");
    assert_eq!(report["faults"]["corrupt"], 0, "{report:#}");
}

#[test]
fn a_process_that_dies_is_an_error() {
    let server = Server::start(&[]);
    let line = format!(
        "bench rate --url http://127.0.0.1:{} --connections 4 --duration 1s --workers 2 --json",
        server.port
    );
    let arguments: Vec<&str> = line.split(' ').collect();
    let leader = support::command(&arguments, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let children = format!("/proc/{0}/task/{0}/children", leader.id());
    let victim = loop {
        let children = std::fs::read_to_string(&children).expect("a running leader");
        let pids: Vec<i32> = children
            .split_ascii_whitespace()
            .map(|pid| pid.parse().expect("a number"))
            .collect();
        if let [_, second] = pids[..] {
            break Pid::from_raw(second).expect("above zero");
        }
        std::thread::yield_now();
    };
    kill_process(victim, Signal::KILL).expect("it runs");
    let output = leader.wait_with_output().expect("an end");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(5), "{report:#}");
    assert_eq!(report["errors"]["workers"], 1, "{report:#}");
    assert_eq!(report["setup"]["ready"], 2, "the other one went on");
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

#[derive(Default)]
struct Wrong {
    lost: AtomicU64,
    doubled: AtomicU64,
}

/// A Socket.IO server that sends every broadcast to all, but each fifth not to the connection that
/// came last, and each seventh twice to the one that came first.
fn faulty_room() -> (String, Arc<Wrong>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let wrong = Arc::new(Wrong::default());
    let shared = wrong.clone();
    let members: Arc<Mutex<(u64, Vec<TcpStream>)>> = Arc::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let writer = stream.try_clone().expect("a descriptor");
            let (members, wrong) = (members.clone(), shared.clone());
            std::thread::spawn(move || {
                converse(stream, |kind, text| {
                    let mut members = members.lock().expect("no panic");
                    let (number, streams) = &mut *members;
                    if kind == "40" {
                        streams.push(writer.try_clone().expect("a descriptor"));
                        return Some("40{\"sid\":\"y\"}".to_owned());
                    }
                    *number += 1;
                    let frame = text_frame(text);
                    let last = streams.len() - 1;
                    for (index, mut stream) in streams.iter().enumerate() {
                        if index == last && *number % 5 == 0 {
                            wrong.lost.fetch_add(1, Relaxed);
                            continue;
                        }
                        // Who has gone gets nothing.
                        let _ = stream.write_all(&frame);
                        if index == 0 && *number % 7 == 0 {
                            wrong.doubled.fetch_add(1, Relaxed);
                            let _ = stream.write_all(&frame);
                        }
                    }
                    None
                })
            });
        }
    });
    (url, wrong)
}

fn forget(stream: TcpStream) -> Option<()> {
    let mut number = 0;
    converse(stream, |kind, text| {
        if kind == "40" {
            return Some("40{\"sid\":\"y\"}".to_owned());
        }
        number += 1;
        let answer = || text.replacen("42", "43", 1).replacen("\"echo\",", "", 1);
        (number % 3 != 0).then(answer)
    })
}

/// Speaks with one client: `answer` has the kind of each packet and its text.
fn converse(
    mut stream: TcpStream,
    mut answer: impl FnMut(&str, &str) -> Option<String>,
) -> Option<()> {
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
    let mut greeting = Vec::new();
    accepted
        .expect("a valid upgrade")
        .write_response(&mut greeting);
    greeting.extend_from_slice(&text_frame("0{\"sid\":\"x\",\"pingInterval\":25000}"));
    stream.write_all(&greeting).ok()?;
    let (mut reader, limits) = (Reader::new(Role::Server, None), Limits::default());
    let mut buffer = vec![0; 65_536];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let mut input = Input::new(&mut buffer[..count]);
        while let Some(event) = reader.next(&limits, &mut input).expect("valid frames") {
            let Event::Text(text) = event else { continue };
            if !matches!(&text[..2], "40" | "42") {
                continue;
            }
            if let Some(reply) = answer(&text[..2], &text) {
                stream.write_all(&text_frame(&reply)).ok()?;
            }
        }
    }
}
