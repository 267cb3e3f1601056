//! A small blocking client: WebSocket frames from our own crate, Socket.IO packets by hand.

use std::collections::VecDeque;
use std::io::{Read, Write};

use serde_json::{Value, json};
use sockeye_websocket::{Event, Input, Limits, OpCode, Reader, Role, masked_frame, random_mask};

use super::server::Server;

/// A message on a plain WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
    Close(Option<u16>),
}

/// A byte stream to a server.
pub trait Duplex: Read + Write {}

impl<S: Read + Write> Duplex for S {}

/// A WebSocket connection.
pub struct WebSocket {
    stream: Box<dyn Duplex>,
    reader: Reader,
    received: VecDeque<Message>,
    ended: bool,
}

impl WebSocket {
    /// Opens one; panics unless the answer is 101.
    pub fn open(server: &Server, path: &str) -> Self {
        Self::try_open(server, path).unwrap_or_else(|head| panic!("refused: {head}"))
    }

    /// Opens one; the head of the answer when it is not 101.
    pub fn try_open(server: &Server, path: &str) -> Result<Self, String> {
        Self::try_open_with(server, path, "")
    }

    /// As [`WebSocket::try_open`], with further header lines.
    pub fn try_open_with(server: &Server, path: &str, headers: &str) -> Result<Self, String> {
        Self::over(Box::new(server.connect()), path, headers)
    }

    /// As [`WebSocket::try_open_with`], over a stream that is there.
    pub fn over(mut stream: Box<dyn Duplex>, path: &str, headers: &str) -> Result<Self, String> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).expect("an answer") == 0 {
                break;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(head);
        }
        let reader = Reader::new(Role::Client, None);
        Ok(Self {
            stream,
            reader,
            received: VecDeque::new(),
            ended: false,
        })
    }

    pub fn send(&mut self, text: &str) {
        self.write(OpCode::Text, text.as_bytes());
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.write(OpCode::Binary, bytes);
    }

    fn write(&mut self, opcode: OpCode, payload: &[u8]) {
        let frame = masked_frame(opcode, payload, random_mask());
        self.stream.write_all(&frame).expect("written");
    }

    /// The next message; `None` when the connection has ended.
    pub fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            let mut buffer = [0; 16_384];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.feed(&mut buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    self.ended = true;
                }
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    fn feed(&mut self, bytes: &mut [u8]) {
        let limits = Limits::default();
        let mut input = Input::new(bytes);
        while let Some(event) = self
            .reader
            .next(&limits, &mut input)
            .expect("correct frames")
        {
            let message = match event {
                Event::Text(text) => Message::Text(text.into_string()),
                Event::Binary(bytes) => Message::Binary(bytes.into_vec()),
                Event::Close(frame) => {
                    let reply = masked_frame(OpCode::Close, &[], random_mask());
                    // The server may have closed the connection already.
                    let _ = self.stream.write_all(&reply);
                    Message::Close(frame.map(|frame| frame.code))
                }
                _ => continue,
            };
            self.received.push_back(message);
        }
    }
}

/// A Socket.IO client in the namespace `/`.
pub struct Client {
    socket: WebSocket,
    pub id: String,
    /// What recovery asks for, where it is on.
    pub pid: Option<String>,
    acks: u64,
    events: VecDeque<Vec<Value>>,
}

impl Client {
    pub fn connect(server: &Server) -> Self {
        Self::join_namespace(server, "40")
    }

    /// Connects with this as `auth`.
    pub fn connect_with(server: &Server, auth: &Value) -> Self {
        Self::join_namespace(server, &format!("40{auth}"))
    }

    fn join_namespace(server: &Server, packet: &str) -> Self {
        let socket = WebSocket::open(server, "/socket.io/?EIO=4&transport=websocket");
        Self::over(socket, packet)
    }

    /// Joins with this packet, on a WebSocket that is there.
    pub fn over(mut socket: WebSocket, packet: &str) -> Self {
        let Some(Message::Text(open)) = socket.next() else {
            panic!("no open packet")
        };
        assert!(open.starts_with("0{"), "{open}");
        socket.send(packet);
        // Packets that a recovered client has missed come before the CONNECT.
        let connected = loop {
            match socket.next() {
                Some(Message::Text(text)) if text.starts_with("40") => break text,
                Some(Message::Text(text)) if text.starts_with("42") => {}
                other => panic!("no CONNECT: {other:?}"),
            }
        };
        let payload: Value = serde_json::from_str(&connected[2..]).expect("JSON");
        let text = |key: &str| payload[key].as_str().map(str::to_owned);
        Self {
            socket,
            id: text("sid").expect("an id"),
            pid: text("pid"),
            acks: 0,
            events: VecDeque::new(),
        }
    }

    pub fn emit(&mut self, arguments: Value) {
        self.socket.send(&format!("42{arguments}"));
    }

    /// Emits and waits for the acknowledgement: its only argument.
    pub fn call(&mut self, arguments: Value) -> Value {
        self.acks += 1;
        let ack = self.acks;
        self.socket.send(&format!("42{ack}{arguments}"));
        loop {
            match self.packet().expect("the answer comes before the end") {
                Packet::Ack(id, mut arguments) if id == ack => {
                    assert_eq!(arguments.len(), 1, "{arguments:?}");
                    return arguments.remove(0);
                }
                Packet::Ack(id, _) => panic!("an answer {id} nobody waits for"),
                Packet::Event(event) => self.events.push_back(event),
            }
        }
    }

    /// The code of the error that the call is answered with.
    pub fn refused(&mut self, arguments: Value) -> String {
        let answer = self.call(arguments);
        let error = &answer["error"];
        assert!(error["message"].is_string(), "{answer}");
        error["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no error: {answer}"))
            .to_owned()
    }

    /// The next event: its name and argument.
    pub fn event(&mut self) -> (String, Value) {
        let mut event = match self.events.pop_front() {
            Some(event) => event,
            None => match self.packet().expect("an event comes before the end") {
                Packet::Event(event) => event,
                Packet::Ack(id, _) => panic!("an answer {id} nobody waits for"),
            },
        };
        assert_eq!(event.len(), 2, "{event:?}");
        let argument = event.remove(1);
        (
            event.remove(0).as_str().expect("a name").to_owned(),
            argument,
        )
    }

    /// The next event, which has this name: its argument.
    pub fn expect(&mut self, name: &str) -> Value {
        let (found, argument) = self.event();
        assert_eq!(found, name, "{argument}");
        argument
    }

    /// Asserts that no event is waiting: whatever was sent before the answer has come by then.
    pub fn expect_silence(&mut self) {
        self.call(json!(["ping"]));
        assert!(self.events.is_empty(), "{:?}", self.events);
    }

    /// Leaves the namespace as a stock client does.
    pub fn disconnect(mut self) {
        self.socket.send("41");
    }

    /// Sends one Engine.IO message as it is.
    pub fn send_raw(&mut self, text: &str) {
        self.socket.send(text);
    }

    /// The underlying connection: for what comes at the end.
    pub fn socket(&mut self) -> &mut WebSocket {
        &mut self.socket
    }

    fn packet(&mut self) -> Option<Packet> {
        loop {
            let Message::Text(text) = self.socket.next()? else {
                return None;
            };
            if text == "2" {
                self.socket.send("3");
                continue;
            }
            let (kind, rest) = text.split_at(2);
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (id, arguments) = rest.split_at(digits);
            let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| panic!("{text}"));
            return match kind {
                "42" => Some(Packet::Event(arguments)),
                "43" => Some(Packet::Ack(id.parse().expect("an id"), arguments)),
                "41" => None,
                _ => panic!("an unexpected packet: {text}"),
            };
        }
    }
}

enum Packet {
    Event(Vec<Value>),
    Ack(u64, Vec<Value>),
}
