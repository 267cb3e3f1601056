//! The generator against servers that misbehave by script: bytes in crumbs, messages in
//! fragments, and every fault that the history checker exists for.

use sockeye_bench::{Faults, Plan, Protocol, Report, Scenario, Target, run};
use sockeye_websocket::deflate::{DeflateOptions, deflated_frame};
use sockeye_websocket::handshake::{AcceptOptions, accept, read_request};
use sockeye_websocket::{Event, Input, Limits, OpCode, Reader, Role, encode_into, text_frame};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server does with an answer: the frames to send, each to a connection.
type Script = fn(answer: Answer<'_>) -> Vec<(usize, Vec<u8>)>;

struct Answer<'a> {
    connection: usize,
    /// Position among the echoes of this connection, from 0.
    number: usize,
    text: &'a str,
}

impl Answer<'_> {
    fn as_is(&self) -> (usize, Vec<u8>) {
        (self.connection, text_frame(self.text).to_vec())
    }
}

#[derive(Default)]
struct Seen {
    streams: Mutex<Vec<TcpStream>>,
    engine_pongs: AtomicUsize,
    websocket_pongs: AtomicUsize,
}

/// A Socket.IO server of one thread per connection. What it reads is judged by the strict reader
/// of the product's own WebSocket crate.
fn serve(script: Script, crumb: usize) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let shared = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = {
                let mut streams = shared.streams.lock().unwrap();
                streams.push(stream.try_clone().unwrap());
                streams.len() - 1
            };
            let shared = shared.clone();
            std::thread::spawn(move || converse(stream, connection, &shared, script, crumb));
        }
    });
    (url, seen)
}

fn converse(
    mut stream: TcpStream,
    connection: usize,
    seen: &Seen,
    script: Script,
    crumb: usize,
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
    assert_eq!(request.uri(), "/socket.io/?EIO=4&transport=websocket");
    let options = AcceptOptions {
        deflate: Some(DeflateOptions::default()),
        ..AcceptOptions::default()
    };
    let accepted = accept(
        request.method(),
        request.version(),
        request.headers(),
        &options,
    )
    .expect("a valid upgrade");
    let mut first = Vec::new();
    accepted.write_response(&mut first);
    // The open packet arrives with the head.
    first.extend_from_slice(&text_frame("0{\"sid\":\"x\",\"pingInterval\":25000}"));
    send(&mut stream, &first, crumb)?;

    let (mut reader, limits) = (Reader::new(Role::Server, None), Limits::default());
    let (mut buffer, mut number) = (vec![0; 65536], 0);
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let mut input = Input::new(&mut buffer[..count]);
        while let Some(event) = reader.next(&limits, &mut input).expect("valid frames") {
            match event {
                Event::Text(text) if text.starts_with("40") => {
                    send(&mut stream, &text_frame("40{\"sid\":\"y\"}"), crumb)?;
                }
                Event::Text(text) if &*text == "3" => {
                    seen.engine_pongs.fetch_add(1, Relaxed);
                }
                Event::Text(text) => {
                    let text = text.replacen("42", "43", 1).replacen("\"echo\",", "", 1);
                    for (to, bytes) in script(Answer {
                        connection,
                        number,
                        text: &text,
                    }) {
                        let mut to = seen.streams.lock().unwrap()[to].try_clone().ok()?;
                        send(&mut to, &bytes, crumb)?;
                    }
                    number += 1;
                }
                Event::Pong(payload) => {
                    assert_eq!(&*payload, b"are you there");
                    seen.websocket_pongs.fetch_add(1, Relaxed);
                }
                _ => return None,
            }
        }
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8], crumb: usize) -> Option<()> {
    bytes
        .chunks(crumb)
        .try_for_each(|crumb| stream.write_all(crumb))
        .ok()
}

fn load(url: &str, scenario: Scenario, change: impl FnOnce(&mut Plan)) -> Report {
    let target = Target::parse(url, Protocol::SocketIo).unwrap();
    let mut plan = Plan::new(target, scenario);
    plan.connections = 4;
    plan.warmup = Duration::ZERO;
    plan.duration = Duration::from_millis(300);
    plan.settle = Duration::ZERO;
    plan.drain = Duration::from_millis(300);
    change(&mut plan);
    run(&plan, &mut |_| {}).unwrap()
}

/// An answer as two fragments with a ping between, after an Engine.IO ping.
fn fragmented(answer: Answer<'_>) -> Vec<(usize, Vec<u8>)> {
    let (text, mut bytes) = (answer.text.as_bytes(), text_frame("2").to_vec());
    let cut = answer.number * 7 % text.len();
    encode_into(&mut bytes, OpCode::Text, false, false, None, &text[..cut]);
    encode_into(
        &mut bytes,
        OpCode::Ping,
        true,
        false,
        None,
        b"are you there",
    );
    encode_into(
        &mut bytes,
        OpCode::Continuation,
        true,
        false,
        None,
        &text[cut..],
    );
    vec![(answer.connection, bytes)]
}

#[test]
fn crumbs_and_fragments_are_put_together() {
    for crumb in [1, 3, 50] {
        let (url, seen) = serve(fragmented, crumb);
        let report = load(&url, Scenario::Echo { window: 3 }, |plan| {
            plan.duration = Duration::from_millis(100);
        });
        assert!(report.is_clean(), "{report}");
        assert!(report.load.received >= 12, "{report}");
        assert!(seen.engine_pongs.load(Relaxed) > 0 && seen.websocket_pongs.load(Relaxed) > 0);
        assert!(report.load.pings > 0);
    }
}

#[test]
fn large_messages_arrive() {
    let (url, _) = serve(|answer| vec![answer.as_is()], 100_000);
    let report = load(&url, Scenario::Echo { window: 2 }, |plan| {
        plan.payload = 900_000
    });
    assert!(report.is_clean(), "{report}");
    assert!(report.load.received > 0, "{report}");
}

#[test]
fn deflated_messages_are_read_where_they_were_offered() {
    let script: Script = |answer| {
        let frame = deflated_frame(OpCode::Text, answer.text.as_bytes(), 15, 6);
        vec![(answer.connection, frame.to_vec())]
    };
    let (url, _) = serve(script, usize::MAX);
    let offered = load(&url, Scenario::Echo { window: 2 }, |plan| {
        (plan.deflate, plan.prose, plan.payload) = (true, true, 1024);
    });
    assert!(offered.is_clean(), "{offered}");
    assert!(offered.load.received > 0);
    assert_eq!(offered.load.deflated, offered.load.received);
    let not = load(&url, Scenario::Echo { window: 2 }, |_| {});
    assert_eq!((not.errors.protocol, not.load.deflated), (4, 0), "{not}");
}

fn faults_of(script: Script) -> Report {
    let (url, _) = serve(script, usize::MAX);
    let report = load(&url, Scenario::Rate { per_second: 2000.0 }, |_| {});
    assert!(!report.is_clean(), "{report}");
    assert_eq!(report.errors.total(), 0, "{report}");
    report
}

#[test]
fn loss_is_counted() {
    let script: Script = |answer| {
        if answer.number == 20 {
            vec![]
        } else {
            vec![answer.as_is()]
        }
    };
    let faults = faults_of(script).faults;
    assert_eq!(
        faults,
        Faults {
            lost: 4,
            ..Faults::default()
        }
    );
}

#[test]
fn duplicates_are_counted() {
    let script: Script = |answer| match answer.number {
        20 | 30 => vec![answer.as_is(), answer.as_is()],
        _ => vec![answer.as_is()],
    };
    let faults = faults_of(script).faults;
    assert_eq!(
        faults,
        Faults {
            duplicated: 8,
            ..Faults::default()
        }
    );
}

#[test]
fn reordering_is_counted() {
    static HELD: Mutex<Vec<(usize, Vec<u8>)>> = Mutex::new(Vec::new());
    let script: Script = |answer| {
        let mut held = HELD.lock().unwrap();
        if answer.number == 20 {
            held.push(answer.as_is());
            return vec![];
        }
        let mut out = vec![answer.as_is()];
        if answer.number == 21 {
            out.extend(held.extract_if(.., |(to, _)| *to == answer.connection));
        }
        out
    };
    let faults = faults_of(script).faults;
    assert_eq!(
        faults,
        Faults {
            reordered: 4,
            ..Faults::default()
        }
    );
}

#[test]
fn wrong_recipients_are_counted() {
    let script: Script = |answer| match answer.number {
        20 => vec![((answer.connection + 1) % 4, answer.as_is().1)],
        _ => vec![answer.as_is()],
    };
    let faults = faults_of(script).faults;
    assert_eq!(
        faults,
        Faults {
            lost: 4,
            misdelivered: 4,
            ..Faults::default()
        }
    );
}

#[test]
fn damage_is_counted() {
    let script: Script = |answer| match answer.number {
        20 => {
            let text = answer.text.replacen("[\"e", "[\"x", 1);
            vec![(answer.connection, text_frame(&text).to_vec())]
        }
        _ => vec![answer.as_is()],
    };
    let faults = faults_of(script).faults;
    assert_eq!(
        faults,
        Faults {
            lost: 4,
            corrupt: 4,
            ..Faults::default()
        }
    );
}

#[test]
fn a_server_that_leaves_is_counted() {
    let script: Script = |answer| match answer.number {
        20 => vec![(answer.connection, vec![0x88, 0])],
        _ => vec![answer.as_is()],
    };
    let (url, _) = serve(script, usize::MAX);
    let report = load(&url, Scenario::Rate { per_second: 2000.0 }, |_| {});
    assert_eq!(report.errors.closed, 4, "{report}");
    assert!(report.faults.lost >= 4, "{report}");
}

#[test]
fn a_server_that_speaks_nonsense_is_counted() {
    let script: Script = |answer| match answer.number {
        20 => vec![(answer.connection, b"\xff\xff".to_vec())],
        _ => vec![answer.as_is()],
    };
    let (url, _) = serve(script, usize::MAX);
    let report = load(&url, Scenario::Echo { window: 1 }, |_| {});
    assert_eq!(report.errors.protocol, 4, "{report}");
}
