//! A small server for tests: Socket.IO over WebSocket, long-polling and the upgrade between them,
//! and raw WebSocket; a thread per TCP connection. What it delivers goes through a script that may
//! lose, double, reorder and misdeliver.
#![allow(dead_code)] // Each test file uses some of it.

use socket2::SockRef;
use sockeye_websocket::handshake::{AcceptOptions, accept, read_request};
use sockeye_websocket::{Event, Input, Limits, Reader, Role, text_frame};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// One delivery on its way: to whom, the how-many-th for it from 0, and what.
pub(crate) struct Delivery<'a> {
    pub(crate) to: usize,
    pub(crate) number: u64,
    pub(crate) text: &'a str,
    /// A client that should not get it.
    pub(crate) stranger: usize,
}

/// Decides what becomes of a delivery.
pub(crate) type Script = Box<dyn Fn(Delivery<'_>) -> Vec<(usize, String)> + Send + Sync>;

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Arc<Hub>,
}

#[derive(Default)]
pub(crate) struct Hub {
    clients: Mutex<Vec<Arc<Client>>>,
    sessions: Mutex<HashMap<String, Arc<Client>>>,
    streams: Mutex<Vec<TcpStream>>,
    script: Option<Script>,
    closing: AtomicBool,
    /// Packets that said that their client leaves.
    pub(crate) farewells: AtomicU64,
    /// Upgrades from polling that were completed.
    pub(crate) upgrades: AtomicU64,
    pub(crate) posts: AtomicU64,
    /// What clients sent to join the namespace.
    pub(crate) credentials: Mutex<Vec<String>>,
    /// How many events have been handled.
    pub(crate) events: AtomicU64,
    /// Called for every event.
    pub(crate) on_event: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

#[derive(Default)]
struct Client {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// The WebSocket, if there is one.
    socket: Option<TcpStream>,
    /// What waits for a poll.
    queue: Vec<String>,
    room: Option<String>,
    delivered: u64,
    /// A WebSocket is probed: a poll for which there is nothing is answered with a noop.
    probing: bool,
    gone: bool,
}

/// Chunked bodies for every second answer, so that both forms are met.
static ANSWERS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn serve(script: Option<Script>) -> Peer {
    serve_at("127.0.0.1:0".parse().unwrap(), script)
}

pub(crate) fn serve_at(address: SocketAddr, script: Option<Script>) -> Peer {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Arc::new(Hub {
        script,
        ..Hub::default()
    });
    let shared = hub.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            if shared.closing.load(SeqCst) {
                return;
            }
            stream.set_nodelay(true).unwrap();
            // Who does not read is closed soon.
            let _ = SockRef::from(&stream).set_send_buffer_size(16 * 1024);
            stream
                .set_write_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            shared
                .streams
                .lock()
                .unwrap()
                .push(stream.try_clone().unwrap());
            let hub = shared.clone();
            std::thread::spawn(move || hub.converse(stream));
        }
    });
    Peer { address, hub }
}

impl Peer {
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Closes the listener and resets all connections.
    pub(crate) fn kill(&self) {
        self.hub.closing.store(true, SeqCst);
        // The listener's thread wakes up, sees it and lets go of the port.
        drop(TcpStream::connect(self.address));
        for stream in self.hub.streams.lock().unwrap().drain(..) {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Hub {
    fn converse(&self, mut stream: TcpStream) -> Option<()> {
        loop {
            let head = read_head(&mut stream)?;
            let path = head.split(' ').nth(1)?.to_owned();
            if head.to_ascii_lowercase().contains("upgrade: websocket") {
                return self.websocket(stream, &head, &path);
            }
            let sid = path.split("sid=").nth(1);
            let client = sid.and_then(|sid| self.sessions.lock().unwrap().get(sid).cloned());
            let (status, body) = match (head.starts_with("POST"), sid, client) {
                (_, Some(_), None) => (400, "{\"code\":1}".to_owned()),
                (false, None, _) => {
                    let mut sessions = self.sessions.lock().unwrap();
                    let sid = format!("session-{}", sessions.len());
                    let open = format!(
                        "0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\
                         \"pingTimeout\":20000,\"maxPayload\":1000}}"
                    );
                    sessions.insert(sid, Arc::default());
                    (200, open)
                }
                (true, _, Some(client)) => {
                    self.posts.fetch_add(1, SeqCst);
                    let body = read_body(&mut stream, &head)?;
                    assert!(body.len() <= 1000, "a body above maxPayload");
                    for packet in body.split('\u{1e}') {
                        self.packet(&client, packet);
                    }
                    (200, "ok".to_owned())
                }
                (_, _, Some(client)) => {
                    let mut state = client.state.lock().unwrap();
                    while state.queue.is_empty() && !state.gone && !state.probing {
                        state = client.wake.wait(state).unwrap();
                    }
                    if state.queue.is_empty() {
                        state.queue.push("6".into());
                    }
                    (200, std::mem::take(&mut state.queue).join("\u{1e}"))
                }
                (true, None, None) => (400, String::new()),
            };
            stream.write_all(&answer(status, &body)).ok()?;
        }
    }

    fn websocket(&self, mut stream: TcpStream, head: &str, path: &str) -> Option<()> {
        let (request, _) = read_request(head.as_bytes()).expect("a valid request")?;
        let (method, version) = (request.method(), request.version());
        let options = AcceptOptions::default();
        let accepted =
            accept(method, version, request.headers(), &options).expect("a valid upgrade");
        let mut first = Vec::new();
        accepted.write_response(&mut first);
        let raw = !path.starts_with("/socket.io/");
        let session = path.split("sid=").nth(1);
        let client = match session {
            Some(sid) => self.sessions.lock().unwrap().get(sid)?.clone(),
            None => Arc::default(),
        };
        if raw {
            self.enter(&client);
        }
        if session.is_none() {
            client.state.lock().unwrap().socket = Some(stream.try_clone().ok()?);
            if !raw {
                first.extend_from_slice(&text_frame("0{\"sid\":\"x\",\"pingInterval\":25000}"));
            }
        }
        stream.write_all(&first).ok()?;
        let (mut reader, limits) = (Reader::new(Role::Server, None), Limits::default());
        let mut buffer = vec![0; 65536];
        let mut upgraded = session.is_none();
        loop {
            let count = stream.read(&mut buffer).ok().filter(|count| *count > 0);
            let Some(count) = count else {
                client.state.lock().unwrap().gone = true;
                return None;
            };
            let mut input = Input::new(&mut buffer[..count]);
            while let Some(event) = reader.next(&limits, &mut input).expect("valid frames") {
                match event {
                    Event::Text(text) if !upgraded && &*text == "2probe" => {
                        stream.write_all(&text_frame("3probe")).ok()?;
                        // The poll that waits is ended, and every one that comes before the
                        // client knows.
                        client.state.lock().unwrap().probing = true;
                        client.wake.notify_all();
                    }
                    Event::Text(text) if !upgraded => {
                        assert_eq!(&*text, "5", "nothing else comes before the upgrade");
                        let mut state = client.state.lock().unwrap();
                        for packet in std::mem::take(&mut state.queue) {
                            stream.write_all(&text_frame(&packet)).ok()?;
                        }
                        state.socket = Some(stream.try_clone().ok()?);
                        upgraded = true;
                        self.upgrades.fetch_add(1, SeqCst);
                    }
                    Event::Text(text) if raw => self.event(&client, &text, &text),
                    Event::Text(text) => self.packet(&client, &text),
                    _ => {
                        client.state.lock().unwrap().gone = true;
                        let _ = stream.write_all(&[0x88, 0]);
                        return None;
                    }
                }
            }
        }
    }

    fn enter(&self, client: &Arc<Client>) {
        self.clients.lock().unwrap().push(client.clone());
    }

    fn packet(&self, client: &Arc<Client>, packet: &str) {
        if let Some(auth) = packet.strip_prefix("40") {
            self.credentials.lock().unwrap().push(auth.to_owned());
            self.enter(client);
            client.push("40{\"sid\":\"y\"}");
        } else if packet == "41" {
            self.farewells.fetch_add(1, SeqCst);
            client.leave();
        } else if packet == "1" {
            client.leave();
        } else if let Some(event) = packet.strip_prefix("42") {
            let digits = event.find('[').unwrap();
            let (id, json) = event.split_at(digits);
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            match value[0].as_str().unwrap() {
                "echo" => {
                    let ack = format!("43{id}[{}]", value[1]);
                    self.event(client, "e", &ack);
                }
                "broadcast" => self.event(client, "b", packet),
                "join" => {
                    let room = value[1].as_str().map(str::to_owned);
                    client.state.lock().unwrap().room = room;
                    client.push(&format!("43{id}[]"));
                }
                "in" => {
                    let text = format!("42[{},{}]", value[3], value[4][0]);
                    let room = value[1][0].as_str().unwrap().to_owned();
                    self.deliver_to(&text, |_, state| state.room.as_ref() == Some(&room));
                }
                other => panic!("an event {other}"),
            }
        }
    }

    /// An echo or a broadcast.
    fn event(&self, client: &Arc<Client>, kind: &str, text: &str) {
        if let Some(hook) = &mut *self.on_event.lock().unwrap() {
            hook();
        }
        self.events.fetch_add(1, SeqCst);
        match kind.as_bytes()[0] {
            b'b' => self.deliver_to(text, |_, _| true),
            _ => self.deliver_to(text, |other, _| Arc::ptr_eq(other, client)),
        }
    }

    fn deliver_to(&self, text: &str, whom: impl Fn(&Arc<Client>, &State) -> bool) {
        // Held to the end, so that all receivers see the same order.
        let clients = self.clients.lock().unwrap();
        let member = |client: &Arc<Client>| {
            let state = client.state.lock().unwrap();
            whom(client, &state)
        };
        let members: Vec<bool> = clients.iter().map(member).collect();
        let stranger = members.iter().position(|member| !member).unwrap_or(0);
        for to in (0..clients.len()).filter(|index| members[*index]) {
            let number = {
                let mut state = clients[to].state.lock().unwrap();
                state.delivered += 1;
                state.delivered - 1
            };
            match &self.script {
                None => clients[to].push(text),
                Some(script) => {
                    let delivery = Delivery {
                        to,
                        number,
                        text,
                        stranger,
                    };
                    for (to, text) in script(delivery) {
                        clients[to].push(&text);
                    }
                }
            }
        }
    }
}

impl Client {
    fn push(&self, text: &str) {
        let mut state = self.state.lock().unwrap();
        if state.gone {
            return;
        }
        let Some(socket) = &mut state.socket else {
            state.queue.push(text.to_owned());
            self.wake.notify_all();
            return;
        };
        if socket.write_all(&text_frame(text)).is_err() {
            // It does not read, or is gone.
            let _ = socket.shutdown(Shutdown::Both);
            state.gone = true;
        }
    }

    fn leave(&self) {
        let mut state: MutexGuard<'_, State> = self.state.lock().unwrap();
        if state.socket.is_none() {
            state.gone = true;
        }
        self.wake.notify_all();
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn read_body(stream: &mut TcpStream, head: &str) -> Option<String> {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    if ANSWERS.fetch_add(1, SeqCst).is_multiple_of(2) {
        return format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").into();
    }
    let mut bytes = format!("HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (one, two) = body.split_at(
        (length / 2..=length)
            .find(|i| body.is_char_boundary(*i))
            .unwrap(),
    );
    for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
        bytes.push_str(&format!("{:X}\r\n{part}\r\n", part.len()));
    }
    bytes.push_str("0\r\n\r\n");
    bytes.into()
}
