//! The generator's own client side of the protocols: only what a run needs, parsed in place.

pub(crate) mod frame;
pub(crate) mod http;
mod inflate;
pub(crate) mod packet;
pub(crate) mod response;

use crate::driver::room;
use crate::plan::{Contract, Credential, Credentials, Plan, Scenario, Transport};
use crate::stamp::{Kind, Stamp};
use crate::target::Protocol;
use frame::{Header, Invalid, Keys, opcode};
use inflate::Inflater;
use packet::{Packet, plain_string};

/// Acknowledgement number of the `join` that precedes the run; messages count from 0 and never
/// get there.
const JOIN_ID: u32 = u32::MAX;

/// Builds what a connection sends and reads what it gets.
#[derive(Debug)]
pub(crate) struct Wire {
    protocol: Protocol,
    transport: Transport,
    /// Set while packets are put out for a client that polls: they are not framed but separated.
    pub(crate) polling: bool,
    host: String,
    /// Of a WebSocket and of polling.
    path: String,
    polling_path: String,
    credential: Credential,
    credentials: Option<Credentials>,
    /// `/nsp,` or nothing.
    namespace: Vec<u8>,
    /// The room that everyone joins, or what the names of the rooms begin with.
    room: Option<String>,
    rooms: u32,
    join_event: String,
    echo_event: Vec<u8>,
    broadcast_event: Vec<u8>,
    room_event: Vec<u8>,
    contract: Contract,
    payload: usize,
    /// Whether events and acknowledgements are the driver's, and none of them a message.
    own_words: bool,
    /// What follows the stamp in a payload; nothing stands for dots.
    filler: Vec<u8>,
    inflater: Option<Inflater>,
    keys: Keys,
    scratch: Vec<u8>,
}

/// What a text message from the server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    Open,
    Ping,
    Noop,
    Closed,
    /// The namespace is joined.
    Connected,
    Refused,
    /// The room is joined.
    Joined,
    /// A message of the run, intact.
    Message(Stamp),
    /// A message of the run whose content is not what was sent.
    Damaged,
    /// Nothing of ours.
    Other,
}

impl Wire {
    pub(crate) fn new(plan: &Plan, seed: u64) -> Self {
        let namespace = match plan.namespace.as_str() {
            "/" => String::new(),
            namespace => format!("{namespace},"),
        };
        let room = match (&plan.room, plan.rooms) {
            (None, 1..) => Some("bench".to_owned()),
            (None, 0) if plan.contract == Contract::Serve => Some("bench".to_owned()),
            (room, _) => room.clone(),
        };
        Self {
            protocol: plan.target.protocol(),
            transport: plan.transport,
            polling: false,
            polling_path: plan.target.path().replacen(
                "transport=websocket",
                "transport=polling",
                1,
            ),
            host: plan.target.host().to_owned(),
            path: plan.target.path().to_owned(),
            credential: Credential {
                auth: plan.auth.clone(),
                bearer: plan.bearer.clone(),
                namespace: None,
                transport: None,
            },
            credentials: plan.credentials.clone(),
            room: room.filter(|_| plan.target.protocol() == Protocol::SocketIo),
            rooms: plan.rooms,
            namespace: namespace.into_bytes(),
            join_event: plan.events.join.clone(),
            echo_event: plan.events.echo.clone().into_bytes(),
            broadcast_event: plan.events.broadcast.clone().into_bytes(),
            contract: plan.contract,
            room_event: plan.events.room_broadcast.clone().into_bytes(),
            payload: plan.payload.max(Stamp::LEN),
            own_words: plan.scenario == Scenario::Mixed,
            filler: match plan.prose {
                true => prose(plan.payload.saturating_sub(Stamp::LEN)),
                false => Vec::new(),
            },
            inflater: plan.deflate.then(Inflater::new),
            keys: Keys::new(seed),
            scratch: Vec::with_capacity(plan.payload + 64),
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How a connection is carried.
    pub(crate) fn transport(&self, connection: u32) -> Transport {
        let own = self.credentials.as_ref();
        own.and_then(|own| own.of(connection).transport)
            .unwrap_or(self.transport)
    }

    /// The GET that opens a session or, with its id, waits for packets.
    pub(crate) fn poll_request(&self, connection: u32, sid: &str) -> Vec<u8> {
        let path = with_sid(&self.polling_path, sid);
        let authorization = self.authorization(connection);
        let host = &self.host;
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n{authorization}\r\n")
            .into_bytes()
    }

    /// The head of a POST that brings so many bytes of packets.
    pub(crate) fn post_request(&self, connection: u32, sid: &str, len: usize) -> Vec<u8> {
        let path = with_sid(&self.polling_path, sid);
        let authorization = self.authorization(connection);
        let host = &self.host;
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\
             Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len}\r\n{authorization}\r\n"
        )
        .into_bytes()
    }

    /// The request for a WebSocket that shall take the place of polling.
    pub(crate) fn upgrade_request(&self, connection: u32, sid: &str) -> Vec<u8> {
        let path = with_sid(&self.path, sid);
        let bearer = self.credential(connection).bearer;
        let extensions = self.inflater.as_ref().map(|_| inflate::OFFER);
        http::request(&self.host, &path, bearer.as_deref(), extensions)
    }

    fn authorization(&self, connection: u32) -> String {
        let bearer = self.credential(connection).bearer;
        bearer
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default()
    }

    /// The HTTP request that opens a WebSocket.
    pub(crate) fn request(&self, connection: u32) -> Vec<u8> {
        let credential = self.credential(connection);
        let extensions = self.inflater.as_ref().map(|_| inflate::OFFER);
        let bearer = credential.bearer.as_deref();
        http::request(&self.host, &self.path, bearer, extensions)
    }

    /// Appends the packet that joins the namespace.
    pub(crate) fn put_connect(&mut self, connection: u32, out: &mut Vec<u8>) {
        let credential = self.credential(connection);
        let namespace = self.namespace_of(&credential);
        let auth = credential.auth.as_deref().unwrap_or_default();
        let packet = [b"40", &namespace[..], auth.as_bytes()].concat();
        self.put_text(&packet, out);
    }

    /// Appends the event that joins the room; `false` if the plan has no room.
    pub(crate) fn put_join(&mut self, connection: u32, out: &mut Vec<u8>) -> bool {
        let Some(name) = &self.room else { return false };
        let name = match self.rooms {
            0 => name.clone(),
            rooms => room_name(name, room(connection, rooms)),
        };
        let name = serde_json::Value::from(name);
        let arguments = format!("{JOIN_ID}[\"{}\",{name}]", self.join_event);
        let packet = [b"42", &self.namespace[..], arguments.as_bytes()].concat();
        self.put_text(&packet, out);
        true
    }

    /// Appends what says that a connection leaves; nothing if the protocol has no word for it.
    pub(crate) fn put_leave(&mut self, connection: u32, out: &mut Vec<u8>) {
        match self.protocol {
            Protocol::SocketIo => {
                let namespace = self.namespace_of(&self.credential(connection));
                let packet = [b"41", &namespace[..]].concat();
                self.put_text(&packet, out);
            }
            Protocol::WebSocket => {}
            Protocol::Floor => return,
        }
        if self.polling {
            return self.put_text(b"1", out);
        }
        self.put_control(opcode::CLOSE, &1000u16.to_be_bytes(), out);
    }

    /// Appends a packet as it is.
    pub(crate) fn put_text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if !self.polling {
            return self.put_frame(text, out);
        }
        if !out.is_empty() {
            out.push(response::SEPARATOR);
        }
        out.extend_from_slice(text);
    }

    /// Appends a packet in a frame, whoever it is for.
    pub(crate) fn put_frame(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let key = (self.protocol != Protocol::Floor).then(|| self.keys.next());
        frame::put(opcode::TEXT, key, text, out);
    }

    /// `/nsp,` or nothing.
    fn namespace_of(&self, credential: &Credential) -> Vec<u8> {
        match credential.namespace.as_deref() {
            None => self.namespace.clone(),
            Some("/") => Vec::new(),
            Some(namespace) => format!("{namespace},").into_bytes(),
        }
    }

    fn credential(&self, connection: u32) -> Credential {
        match &self.credentials {
            Some(credentials) => credentials.of(connection),
            None => self.credential.clone(),
        }
    }

    /// Appends the answer to an Engine.IO ping.
    pub(crate) fn put_pong(&mut self, out: &mut Vec<u8>) {
        self.put_text(b"3", out);
    }

    /// Appends the answer to a WebSocket ping or close.
    pub(crate) fn put_control(&mut self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        frame::put(opcode, Some(self.keys.next()), payload, out);
    }

    /// Reads a frame header; `None` if more bytes are needed.
    pub(crate) fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Invalid> {
        match self.inflater {
            Some(_) => frame::deflatable_header(bytes),
            None => frame::header(bytes),
        }
    }

    /// Takes the inflater out, so that what it holds can be read beside this; hand it back.
    pub(crate) fn take_inflater(&mut self) -> Option<Inflater> {
        self.inflater.take()
    }

    pub(crate) fn return_inflater(&mut self, inflater: Inflater) {
        self.inflater = Some(inflater);
    }

    /// Appends one message of the run, sent by a connection.
    pub(crate) fn put_message(&mut self, connection: u32, stamp: &Stamp, out: &mut Vec<u8>) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        if self.protocol == Protocol::SocketIo {
            text.extend_from_slice(b"42");
            text.extend_from_slice(&self.namespace);
            let by_name = self.contract == Contract::Events;
            let in_room = stamp.kind == Kind::Broadcast && self.rooms > 0 && by_name;
            match (stamp.kind, &self.room) {
                (Kind::Echo, _) => {
                    put_decimal(stamp.sequence, &mut text);
                    put_event(&self.echo_event, &mut text);
                }
                (Kind::Broadcast, Some(name)) if !by_name => {
                    let name = match self.rooms {
                        0 => name.clone(),
                        rooms => room_name(name, room(connection, rooms)),
                    };
                    put_event(b"publish", &mut text);
                    let name = serde_json::Value::from(name).to_string();
                    text.extend_from_slice(name.as_bytes());
                    text.extend_from_slice(b",\"");
                    text.extend_from_slice(&self.broadcast_event);
                    text.extend_from_slice(b"\",");
                }
                (Kind::Broadcast, Some(name)) if in_room => {
                    let name = room_name(name, room(connection, self.rooms));
                    put_event(&self.room_event, &mut text);
                    let rooms = serde_json::json!([name]).to_string();
                    text.extend_from_slice(rooms.as_bytes());
                    text.extend_from_slice(b",[],\"");
                    text.extend_from_slice(&self.broadcast_event);
                    text.extend_from_slice(b"\",[");
                }
                (Kind::Broadcast, _) => put_event(&self.broadcast_event, &mut text),
            }
            text.push(b'"');
            stamp.write(self.payload, &mut text);
            fill(&mut text, &self.filler);
            text.extend_from_slice(if in_room { b"\"]]" } else { b"\"]" });
        } else {
            stamp.write(self.payload, &mut text);
            fill(&mut text, &self.filler);
        }
        // The bare floor speaks frames without masks in both directions.
        self.put_text(&text, out);
        self.scratch = text;
    }

    /// Reads a text message from the server.
    pub(crate) fn read(&self, text: &[u8]) -> Incoming {
        if self.protocol != Protocol::SocketIo {
            return match Stamp::read(text) {
                Some(stamp) if text.len() == self.payload => Incoming::Message(stamp),
                _ => Incoming::Damaged,
            };
        }
        match Packet::read(text) {
            Packet::Open => Incoming::Open,
            Packet::Ping => Incoming::Ping,
            Packet::Noop => Incoming::Noop,
            Packet::Close | Packet::Disconnected => Incoming::Closed,
            Packet::Connected => Incoming::Connected,
            Packet::Refused => Incoming::Refused,
            Packet::Ack { .. } | Packet::Event { .. } if self.own_words => Incoming::Other,
            Packet::Ack { id: JOIN_ID, .. } => Incoming::Joined,
            Packet::Ack { id, arguments } => self.message(Kind::Echo, Some(id), arguments),
            Packet::Event { name, arguments } if self.contract == Contract::Serve => {
                match (name == b"message").then(|| packet::member(arguments, b"data")) {
                    Some(Some(data)) => self.message(Kind::Broadcast, None, data),
                    Some(None) => Incoming::Damaged,
                    None => Incoming::Other,
                }
            }
            Packet::Event { name, arguments } if name == self.broadcast_event => {
                self.message(Kind::Broadcast, None, arguments)
            }
            Packet::Event { .. } | Packet::Other => Incoming::Other,
        }
    }

    fn message(&self, kind: Kind, id: Option<u32>, arguments: &[u8]) -> Incoming {
        let stamp = plain_string(arguments, self.payload).and_then(Stamp::read);
        match stamp {
            Some(stamp) if stamp.kind == kind && id.is_none_or(|id| id == stamp.sequence) => {
                Incoming::Message(stamp)
            }
            _ => Incoming::Damaged,
        }
    }
}

fn with_sid(path: &str, sid: &str) -> String {
    match sid {
        "" => path.to_owned(),
        sid => format!("{path}&sid={sid}"),
    }
}

fn room_name(prefix: &str, room: u32) -> String {
    format!("{prefix}-{room}")
}

/// An event's packet up to its first argument.
fn put_event(name: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"[\"");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\",");
}

/// Puts the filler where the padding is, at the end.
fn fill(text: &mut [u8], filler: &[u8]) {
    let start = text.len() - filler.len();
    text[start..].copy_from_slice(filler);
}

/// Text of so many bytes that deflates as JSON of an application does, to about a third. It needs
/// no escapes in a JSON string and is the same in every run.
fn prose(size: usize) -> Vec<u8> {
    const NAMES: [&str; 8] = [
        "order", "customer", "price", "quantity", "status", "created", "updated", "comment",
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = Vec::with_capacity(size + 32);
    while text.len() < size {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let name = NAMES[(random >> 60) as usize & 7];
        text.extend_from_slice(format!("'{name}':{},", random % 100_000).as_bytes());
    }
    text.truncate(size);
    text
}

fn put_decimal(mut value: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests;
