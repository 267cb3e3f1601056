//! A Socket.IO client over one WebSocket.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sockeye_protocol::engine::SessionId;
use sockeye_protocol::socketio::{Args, Decoder, Limits, PacketType, Parser};

use super::{Frame, Wire};

/// A packet from the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packet {
    Connect(String, Value),
    ConnectError(String, Value),
    Disconnect(String),
    /// Namespace, name, arguments, acknowledgement asked for.
    Event(String, String, Vec<Value>, Option<u64>),
    Ack(String, u64, Vec<Value>),
}

/// A client that answers pings and nothing else by itself.
pub(crate) struct Client {
    pub(crate) wire: Wire,
    decoder: Decoder,
    acks: u64,
    waiting: VecDeque<Packet>,
    /// The open packet.
    pub(crate) open: Value,
    /// The id in the namespace that was joined last.
    pub(crate) id: String,
    /// What recovery asks for, where it is on.
    pub(crate) pid: Option<String>,
    /// The offset of the last event that was taken, where recovery is on.
    pub(crate) offset: Option<String>,
    /// The code of the close frame, once it has come.
    pub(crate) close_code: Option<Option<u16>>,
}

pub(crate) const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

impl Client {
    /// Connects to `/`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address).await;
        client.join("/", None).await.expect("let in");
        client
    }

    /// Connects to `/` with `auth`.
    pub(crate) async fn connect_with(address: SocketAddr, auth: Value) -> Self {
        let mut client = Self::open(address).await;
        client.join("/", Some(auth)).await.expect("let in");
        client
    }

    /// Opens a session and joins nothing.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(Wire::open(address, PATH).await).await
    }

    /// A session on a WebSocket that is open.
    pub(crate) async fn over(mut wire: Wire) -> Self {
        let open = wire.text().await;
        let open = serde_json::from_str(open.strip_prefix('0').expect("the open packet"));
        Client {
            wire,
            decoder: Decoder::new(Parser::Json),
            acks: 0,
            waiting: VecDeque::new(),
            open: open.expect("JSON"),
            id: String::new(),
            pid: None,
            offset: None,
            close_code: None,
        }
    }

    /// Joins a namespace; what was missed in the meantime waits as events.
    pub(crate) async fn join(&mut self, namespace: &str, auth: Option<Value>) -> Result<(), Value> {
        let auth = auth.map(|auth| auth.to_string()).unwrap_or_default();
        self.wire
            .send(&format!("40{}{auth}", prefix(namespace)))
            .await;
        let mut before = VecDeque::new();
        loop {
            match self
                .packet()
                .await
                .unwrap_or_else(|| panic!("no answer, but {:?}", self.close_code))
            {
                Packet::Connect(at, data) if at == namespace => {
                    self.id = data["sid"].as_str().expect("an id").to_owned();
                    self.pid = data["pid"].as_str().map(str::to_owned);
                    break;
                }
                Packet::ConnectError(at, data) if at == namespace => return Err(data),
                other => before.push_back(other),
            }
        }
        before.append(&mut self.waiting);
        self.waiting = before;
        Ok(())
    }

    /// The worker its session lives on.
    pub(crate) fn worker(&self) -> u8 {
        let sid = self.open["sid"].as_str().expect("an id");
        SessionId::parse(sid).expect("our ids").shard()
    }

    pub(crate) async fn emit(&mut self, event: &str, args: Value) {
        self.emit_at("/", event, args).await;
    }

    pub(crate) async fn emit_at(&mut self, namespace: &str, event: &str, args: Value) {
        let text = format!("42{}{}", prefix(namespace), array(event, args));
        self.wire.send(&text).await;
    }

    /// Emits and returns the id of the acknowledgement asked for.
    pub(crate) async fn ask(&mut self, event: &str, args: Value) -> u64 {
        self.acks += 1;
        let text = format!("42{}{}", self.acks, array(event, args));
        self.wire.send(&text).await;
        self.acks
    }

    /// Emits and waits for the acknowledgement.
    pub(crate) async fn call(&mut self, event: &str, args: Value) -> Vec<Value> {
        let id = self.ask(event, args).await;
        self.answer(id).await
    }

    /// Waits for an acknowledgement; keeps what comes before.
    pub(crate) async fn answer(&mut self, id: u64) -> Vec<Value> {
        let known = self
            .waiting
            .iter()
            .position(|packet| matches!(packet, Packet::Ack(_, known, _) if *known == id));
        if let Some(Packet::Ack(_, _, args)) = known.and_then(|at| self.waiting.remove(at)) {
            return args;
        }
        loop {
            match self.packet().await {
                Some(Packet::Ack(_, known, args)) if known == id => return args,
                Some(other) => self.waiting.push_back(other),
                None => panic!("ended before the answer {id}"),
            }
        }
    }

    /// Answers an event of the server.
    pub(crate) async fn acknowledge(&mut self, id: u64, args: Value) {
        self.wire.send(&format!("43{id}{args}")).await;
    }

    /// The next event: name and arguments.
    pub(crate) async fn event(&mut self) -> (String, Vec<Value>) {
        match self.next().await {
            Some(Packet::Event(_, name, args, _)) => {
                if self.pid.is_some() {
                    self.offset = args.last().and_then(Value::as_str).map(str::to_owned);
                }
                (name, args)
            }
            other => panic!("no event: {other:?}"),
        }
    }

    /// The next event, which has this name: its arguments.
    pub(crate) async fn expect(&mut self, name: &str) -> Vec<Value> {
        let (found, args) = self.event().await;
        assert_eq!(found, name, "{args:?}");
        args
    }

    /// The next event, which asks for an acknowledgement: name and id.
    pub(crate) async fn question(&mut self) -> (String, u64) {
        match self.next().await {
            Some(Packet::Event(_, name, _, Some(id))) => (name, id),
            other => panic!("no question: {other:?}"),
        }
    }

    /// The names of the events that came before the answer to a question asked now. The
    /// question's event needs a handler.
    pub(crate) async fn heard_until(&mut self, question: &str) -> Vec<String> {
        self.call(question, json!([])).await;
        let waiting = std::mem::take(&mut self.waiting);
        let name = |packet| match packet {
            Packet::Event(_, name, _, _) => name,
            other => panic!("no event: {other:?}"),
        };
        waiting.into_iter().map(name).collect()
    }

    /// The next packet that was not taken yet; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        match self.waiting.pop_front() {
            Some(packet) => Some(packet),
            None => self.packet().await,
        }
    }

    /// Reads until the connection ends; what came before.
    pub(crate) async fn until_end(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(packet) = self.next().await {
            packets.push(packet);
        }
        packets
    }

    async fn packet(&mut self) -> Option<Packet> {
        let limits = Limits::default();
        loop {
            let packet = match self.wire.recv().await? {
                Frame::Text(text) => match text.as_bytes()[0] {
                    b'2' => {
                        // The connection may be over already.
                        let _ = self.wire.write(sockeye_websocket::OpCode::Text, b"3").await;
                        continue;
                    }
                    b'4' => self.decoder.decode_text(&limits, &text[1..]),
                    _ => continue,
                },
                Frame::Binary(data) => self.decoder.decode_binary(&limits, &data),
                Frame::Pong(_) => continue,
                Frame::Close(code) => {
                    self.close_code = Some(code);
                    continue;
                }
            };
            let Some(packet) = packet.expect("correct packets") else {
                continue;
            };
            let namespace = packet.nsp.as_str().to_owned();
            let data = || {
                packet
                    .data()
                    .map_or(Value::Null, |data| json_of(&data.to_args())[0].clone())
            };
            return Some(match packet.kind {
                PacketType::Connect => Packet::Connect(namespace, data()),
                PacketType::ConnectError => Packet::ConnectError(namespace, data()),
                PacketType::Disconnect => Packet::Disconnect(namespace),
                PacketType::Ack => {
                    Packet::Ack(namespace, packet.id.expect("an id"), json_of(&packet.args))
                }
                _ => {
                    let args = json_of(&packet.args);
                    let name = packet.event.as_str().to_owned();
                    Packet::Event(namespace, name, args, packet.id)
                }
            });
        }
    }
}

/// Arguments as JSON; binary data as a text that tells its length.
fn json_of(args: &Args) -> Vec<Value> {
    args.iter()
        .map(|arg| match arg.binary() {
            Some(data) => json!(format!("binary of {}", data.len())),
            None => arg.deserialize().expect("JSON"),
        })
        .collect()
}

fn prefix(namespace: &str) -> String {
    if namespace == "/" {
        String::new()
    } else {
        format!("{namespace},")
    }
}

fn array(event: &str, args: Value) -> Value {
    let Value::Array(mut args) = args else {
        panic!("arguments are an array")
    };
    args.insert(0, json!(event));
    Value::Array(args)
}
