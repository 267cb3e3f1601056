//! Scenario files over loopback, against a small server that speaks as `sockeye serve` does, or
//! misbehaves by script.

use serde_json::{Value, json};
use sockeye_bench::mixed::Mix;
use sockeye_bench::{Faults, Outcome, Plan, Protocol, Report, Scenario, Target, run};
use sockeye_websocket::handshake::{AcceptOptions, accept, read_request};
use sockeye_websocket::{Event, Input, Limits, Reader, Role, text_frame};
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How many copies of a packet leave.
type Script = fn(text: &str, number: usize) -> usize;

#[derive(Default)]
struct Server {
    rooms: HashMap<String, HashSet<usize>>,
    streams: Vec<TcpStream>,
    /// Messages sent so far.
    sent: usize,
    /// Namespace and object of every client, and its `Authorization`.
    doors: Vec<String>,
    script: Option<Script>,
}

impl Server {
    /// Under the lock that guards it, so that order is the same for all.
    fn send(&mut self, to: usize, text: &str) {
        self.sent += 1;
        let copies = self.script.map_or(1, |script| script(text, self.sent));
        for _ in 0..copies {
            // A client that is gone needs nothing.
            let _ = self.streams[to].write_all(&text_frame(text));
        }
    }

    fn event(&mut self, from: usize, namespace: &str, id: &str, arguments: &Value) {
        let room = arguments[1].as_str().unwrap_or_default();
        let mut answer = json!(null);
        match arguments[0].as_str().unwrap() {
            "join" => {
                self.rooms.entry(room.into()).or_default().insert(from);
            }
            "leave" => {
                self.rooms.entry(room.into()).or_default().remove(&from);
            }
            "publish" => {
                let members = self.rooms.get(room).cloned().unwrap_or_default();
                if members.contains(&from) {
                    let message = json!({ "room": room, "data": arguments[3] });
                    let text = format!("42{namespace}[\"message\",{message}]");
                    for to in members.into_iter().filter(|&to| to != from) {
                        self.send(to, &text);
                    }
                } else {
                    answer = json!({ "error": { "code": "not_a_member" } });
                }
            }
            _ => {}
        }
        if !id.is_empty() {
            self.send(from, &format!("43{namespace}{id}[{answer}]"));
        }
    }
}

fn serve(script: Option<Script>) -> (String, Arc<Mutex<Server>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Arc::new(Mutex::new(Server {
        script,
        ..Server::default()
    }));
    let shared = server.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, shared) = (stream.unwrap(), shared.clone());
            std::thread::spawn(move || converse(stream, &shared));
        }
    });
    (url, server)
}

fn converse(mut stream: TcpStream, server: &Mutex<Server>) -> Option<()> {
    stream.set_nodelay(true).unwrap();
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
    let accepted = accept(method, version, headers, &AcceptOptions::default()).unwrap();
    let mut first = Vec::new();
    accepted.write_response(&mut first);
    first.extend_from_slice(&text_frame("0{\"sid\":\"x\",\"pingInterval\":25000}"));
    stream.write_all(&first).ok()?;
    let bearer = String::from_utf8_lossy(&head);
    let bearer = bearer
        .lines()
        .find_map(|l| l.strip_prefix("Authorization: "));
    let bearer = bearer.unwrap_or_default().to_owned();
    let me = {
        let mut server = server.lock().unwrap();
        server.streams.push(stream.try_clone().unwrap());
        server.streams.len() - 1
    };
    let left = talk(&mut stream, me, &bearer, server);
    let mut server = server.lock().unwrap();
    server.rooms.values_mut().for_each(|members| {
        members.remove(&me);
    });
    left
}

fn talk(stream: &mut TcpStream, me: usize, bearer: &str, server: &Mutex<Server>) -> Option<()> {
    let (mut reader, limits) = (Reader::new(Role::Server, None), Limits::default());
    let mut buffer = vec![0; 65536];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let mut input = Input::new(&mut buffer[..count]);
        while let Some(event) = reader.next(&limits, &mut input).expect("valid frames") {
            let Event::Text(text) = event else {
                // The close frame of a clean goodbye.
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return None;
            };
            let mut server = server.lock().unwrap();
            if let Some(door) = text.strip_prefix("40") {
                server.doors.push(format!("{door} {bearer}"));
                let namespace = door.split('{').next().unwrap_or_default();
                let welcome = format!("40{namespace}{{\"sid\":\"y\"}}");
                stream.write_all(&text_frame(&welcome)).ok()?;
            } else if let Some(rest) = text.strip_prefix("42") {
                let (front, json) = rest.split_at(rest.find('[').unwrap());
                let (namespace, id) = match front.find(',') {
                    Some(comma) => front.split_at(comma + 1),
                    None => ("", front),
                };
                let arguments = serde_json::from_str(json).expect("JSON");
                server.event(me, namespace, id, &arguments);
            }
        }
    }
}

fn play(url: &str, mix: Mix) -> Report {
    let target = Target::parse(url, Protocol::SocketIo).unwrap();
    let mut plan = Plan::new(target, Scenario::Mixed);
    plan.play(mix);
    run(&plan, &mut |_| {}).unwrap()
}

fn mix(text: &str) -> Mix {
    Mix::parse("test.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

const CHAT: &str = r#"
    [[phase]]
    name = "come"
    duration = "200ms"
    clients = 12
    ramp = "100ms"
    [[phase]]
    name = "talk"
    duration = "600ms"
    clients = 12
    [[behaviour]]
    name = "talker"
    share = 3
    steps = [
        { join = "r" },
        { repeat = "forever", every = "20ms", steps = [
            { publish = "r", ack = true, data = { text = "{{random_string 200}}" } } ] },
    ]
    [[behaviour]]
    name = "visitor"
    share = 1
    steps = [
        { join = "r" }, { wait = "50ms" }, { publish = "r" }, { leave = "r" },
        { reconnect = "cut", after = "20ms" },
        { emit = "ping", data = { at = "{{timestamp}}" }, ack = true },
        { disconnect = "clean" },
    ]
    [thresholds]
    connect.p99 = "5s"
    delivery.p99 = "5s"
    ack.publish.p50 = "5s"
"#;

#[test]
fn clients_come_talk_and_go_and_every_message_arrives() {
    let (url, _) = serve(None);
    let report = play(&url, mix(CHAT));
    let mixed = report.mixed.as_ref().unwrap();
    assert!(report.is_clean() && mixed.holds(), "{report}");
    assert_eq!(report.faults, Faults::default());
    assert_eq!(mixed.error_share, 0.0, "{report}");
    assert_eq!(mixed.thresholds.len(), 3);
    assert!(
        mixed.clients.came > 12 && mixed.clients.most >= 12,
        "{report}"
    );
    assert_eq!(
        mixed.clients.connections, mixed.clients.connected,
        "{report}"
    );
    assert!(
        mixed.published > 100 && mixed.delivered > 5 * mixed.published,
        "{report}"
    );
    for event in &mixed.events {
        assert!(event.sent > 0, "{report}");
        assert_eq!(event.asked, event.acked, "{report}");
        assert_eq!(event.latency.count, event.acked, "{report}");
    }
    let phases: Vec<_> = report
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    assert_eq!(phases, ["come", "talk"]);
    assert_eq!(report.phases[1].connections, 12, "{report}");
    assert!(report.load.sent > 0 && report.load.received > report.load.sent);
    assert!(report.timeline.iter().any(|tick| tick.latency.count > 0));
}

#[test]
fn what_a_server_does_wrong_in_a_room_is_counted() {
    let is_message = |text: &str| text.starts_with("42[\"message\"");
    // Every fiftieth packet, if it is a message.
    let loses: Script = |text, number| usize::from(number % 50 != 0 || !text.contains("message"));
    let doubles: Script = |text, number| match number % 50 {
        0 if text.starts_with("42[\"message\"") => 2,
        _ => 1,
    };
    assert!(is_message("42[\"message\",{}]"));
    for (script, what) in [(loses, "lost"), (doubles, "duplicated")] {
        let (url, _) = serve(Some(script));
        let report = play(&url, mix(CHAT));
        let Faults {
            lost, duplicated, ..
        } = report.faults;
        let (found, other) = match what {
            "lost" => (lost, duplicated),
            _ => (duplicated, lost),
        };
        assert!(found > 0 && other == 0, "{what}: {report}");
        assert_eq!(
            report.faults.reordered + report.faults.misdelivered,
            0,
            "{report}"
        );
        assert_eq!(report.outcome(), Outcome::Faults);
    }
}

#[test]
fn acknowledgements_lost_and_doubled_are_counted() {
    let text = r#"
        ack_timeout = "100ms"
        [[phase]]
        duration = "1s"
        clients = 1
        ramp = "0s"
        [[behaviour]]
        steps = [ { repeat = 20, every = "10ms", steps = [ { emit = "x", ack = true } ] }, { wait = "1h" } ]
        [thresholds]
        error_share = "20%"
        ack.x.max = "1ns"
    "#;
    let text = text.replace("\"1ns\"", "\"0.001ms\"");
    let script: Script = |_, number| match number {
        5 => 0,
        10 | 11 => 2,
        _ => 1,
    };
    let (url, _) = serve(Some(script));
    let report = play(&url, mix(&text));
    let mixed = report.mixed.as_ref().unwrap();
    let [event] = mixed.events.as_slice() else {
        panic!("{report}")
    };
    assert_eq!(
        (event.sent, event.acked, event.missing),
        (20, 19, 1),
        "{report}"
    );
    assert_eq!(mixed.double_acks, 2, "{report}");
    assert_eq!(report.outcome(), Outcome::Faults);
    let held: Vec<bool> = mixed
        .thresholds
        .iter()
        .map(|threshold| threshold.holds)
        .collect();
    assert_eq!(held, [true, false], "{report}");
}

#[test]
fn thresholds_and_errors_have_their_outcomes() {
    let (url, _) = serve(None);
    let missed = CHAT.replace("ack.publish.p50 = \"5s\"", "ack.publish.p50 = \"0.001ms\"");
    assert_eq!(play(&url, mix(&missed)).outcome(), Outcome::Threshold);

    // Publishing to a room that one is not in is refused.
    let refused = CHAT.replace("{ publish = \"r\", ack", "{ publish = \"other\", ack");
    let report = play(&url, mix(&refused));
    let mixed = report.mixed.as_ref().unwrap();
    assert_eq!(report.outcome(), Outcome::Errors, "{report}");
    assert!(
        mixed.error_share > 0.5 && report.faults.is_clean(),
        "{report}"
    );
}

#[test]
fn each_client_shows_its_own_token_in_its_own_namespace() {
    let text = r#"
        [tokens]
        list = ["one", "two", "three"]
        [[phase]]
        duration = "500ms"
        clients = 3
        ramp = "0s"
        [[behaviour]]
        namespace = "/chat"
        bearer = "{{token}}"
        steps = [ { emit = "x", ack = true }, { wait = "1h" } ]
    "#;
    let (url, server) = serve(None);
    let report = play(&url, mix(text));
    assert!(report.is_clean(), "{report}");
    let mut doors = server.lock().unwrap().doors.clone();
    doors.sort();
    let expected = ["one", "three", "two"]
        .map(|token| format!("/chat,{{\"token\":\"{token}\"}} Bearer {token}"));
    assert_eq!(doors, expected);
}

#[test]
fn the_example_of_a_dashboard_runs() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/dashboard.toml");
    let text = std::fs::read_to_string(file).unwrap();
    // The same clients in less time.
    let short = text
        .replace("\"60s\"", "\"1s\"")
        .replace("\"10s\"", "\"500ms\"");
    let short = short.replace("[\"5s\", \"15s\"]", "[\"50ms\", \"150ms\"]");
    let short = short.split("[thresholds]").next().unwrap();
    let (url, _) = serve(None);
    let report = play(&url, mix(short));
    assert!(report.is_clean(), "{report}");
    let mixed = report.mixed.as_ref().unwrap();
    assert!(mixed.delivered > 50 * mixed.published, "{report}");
}
