//! The classic adapter: `createAdapter` of `@socket.io/redis-adapter` 8, and `@socket.io/redis-emitter` 5.

use bytes::Bytes;
use sockeye_cluster::{Answer, Broadcast, NodeId, Operation, Request, Selection};
use sockeye_protocol::socketio::{Map, Value};

use super::{EMITTER, Frame, Message, ReplyForm, ReplyTo, Unreadable, codec};

/// The classic format under one prefix (the option `key` of Node.js, default `socket.io`).
///
/// | channel | what |
/// | --- | --- |
/// | `socket.io#/chat#`, `socket.io#/chat#room#` | broadcasts; the latter when exactly one room is addressed |
/// | `socket.io-request#/chat#` | requests |
/// | `socket.io-response#/chat#` | responses |
/// | `socket.io-response#/chat#uid#` | responses to one node, if the responder is set to it |
///
/// Node.js servers apply joins, leaves and disconnects when they receive their *own* message. A node of
/// ours applies them at once, and so drops what comes back under its uid, whatever the type.
///
/// ```
/// use sockeye_redis::wire::Classic;
///
/// let classic = Classic::new("socket.io");
/// assert_eq!(classic.room_channel("/chat", "lobby"), "socket.io#/chat#lobby#");
/// assert_eq!(classic.room_of("/chat", "socket.io#/chat#lobby#"), Some("lobby"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classic {
    prefix: Box<str>,
    specific: bool,
}

mod kind {
    pub(super) const SOCKETS: u64 = 0;
    pub(super) const ALL_ROOMS: u64 = 1;
    pub(super) const JOIN: u64 = 2;
    pub(super) const LEAVE: u64 = 3;
    pub(super) const DISCONNECT: u64 = 4;
    pub(super) const FETCH: u64 = 5;
    pub(super) const SERVER_SIDE: u64 = 6;
    pub(super) const BROADCAST: u64 = 7;
    pub(super) const CLIENTS: u64 = 8;
    pub(super) const ACK: u64 = 9;
}

/// # Names
impl Classic {
    /// The format under a prefix.
    pub fn new(prefix: impl Into<Box<str>>) -> Self {
        Self {
            prefix: prefix.into(),
            specific: false,
        }
    }

    /// Responses go to the channel of the node that has asked, as with the option
    /// `publishOnSpecificResponseChannel` of Node.js. Default false.
    #[must_use]
    pub fn specific_responses(mut self, specific: bool) -> Self {
        self.specific = specific;
        self
    }

    /// Where broadcasts go that are not addressed to one room.
    pub fn channel(&self, nsp: &str) -> String {
        format!("{}#{nsp}#", self.prefix)
    }

    /// Where broadcasts to one room go.
    pub fn room_channel(&self, nsp: &str, room: &str) -> String {
        format!("{}#{nsp}#{room}#", self.prefix)
    }

    /// What to PSUBSCRIBE for all broadcasts of a namespace. Characters that mean something in a
    /// pattern are escaped, which Node.js does not do.
    pub fn pattern(&self, nsp: &str) -> String {
        let mut pattern = String::new();
        for character in self.channel(nsp).chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }

    /// Where requests go. Its number of subscribers is the number of servers.
    pub fn request_channel(&self, nsp: &str) -> String {
        format!("{}-request#{nsp}#", self.prefix)
    }

    /// Where responses go.
    pub fn response_channel(&self, nsp: &str) -> String {
        format!("{}-response#{nsp}#", self.prefix)
    }

    /// Where responses to one node go, if the responder is set to it.
    pub fn own_response_channel(&self, nsp: &str, uid: &str) -> String {
        format!("{}-response#{nsp}#{uid}#", self.prefix)
    }

    /// The room in the name of a channel for broadcasts of this namespace: empty if none is named.
    /// `None` when it is another namespace's channel.
    pub fn room_of<'a>(&self, nsp: &str, channel: &'a str) -> Option<&'a str> {
        let rest = channel.strip_prefix(&*self.prefix)?.strip_prefix('#')?;
        let rest = rest.strip_prefix(nsp)?.strip_prefix('#')?;
        match rest {
            "" => Some(""),
            _ => rest.strip_suffix('#'),
        }
    }
}

/// # Writing
impl Classic {
    /// Something told. Emitters say [`EMITTER`] for a uid.
    pub fn operation(&self, uid: &str, nsp: &str, operation: &Operation) -> Message {
        let (kind, mut fields) = match operation {
            Operation::Broadcast(broadcast) => return self.broadcast(uid, nsp, broadcast),
            Operation::Join { selection, rooms } => (kind::JOIN, rooms_of(selection, rooms)),
            Operation::Leave { selection, rooms } => (kind::LEAVE, rooms_of(selection, rooms)),
            Operation::Disconnect { selection, close } => {
                let fields = [
                    ("opts", codec::selection(selection)),
                    ("close", Value::Bool(*close)),
                ];
                (kind::DISCONNECT, fields.into_iter().collect())
            }
            Operation::ServerSide(event) => {
                let fields = [("data", codec::data(event))];
                (kind::SERVER_SIDE, fields.into_iter().collect())
            }
            // The enum may grow only together with the formats.
            _ => (u64::MAX, Map::new()),
        };
        fields.insert("type", kind);
        // Node.js' emitter gives no uid with these.
        if uid != EMITTER || kind == kind::SERVER_SIDE {
            fields.insert("uid", uid);
        }
        self.to_json(self.request_channel(nsp), fields)
    }

    fn broadcast(&self, uid: &str, nsp: &str, broadcast: &Broadcast) -> Message {
        let channel = match &broadcast.selection.rooms[..] {
            // Such a name would make the channel of the whole namespace.
            [room] if !room.is_empty() => self.room_channel(nsp, room),
            _ => self.channel(nsp),
        };
        let packet = codec::packet(&broadcast.event, nsp);
        let list = vec![codec::text(uid), packet, codec::options(broadcast)];
        Message {
            channel,
            payload: codec::to_msgpack(&Value::Array(list)),
        }
    }

    /// Something asked. `None` for what this format has no request for: [`Request::Count`] and
    /// [`Request::Apply`].
    pub fn request(&self, uid: &str, nsp: &str, id: &str, request: &Request) -> Option<Message> {
        let (kind, mut fields) = match request {
            Request::Broadcast(broadcast) => {
                let fields = [
                    ("packet", codec::packet(&broadcast.event, nsp)),
                    ("opts", codec::options(broadcast)),
                ];
                (kind::BROADCAST, fields.into_iter().collect())
            }
            Request::FetchSockets(selection) => {
                let fields = [("opts", codec::selection(selection))];
                (kind::FETCH, fields.into_iter().collect())
            }
            Request::Rooms => (kind::ALL_ROOMS, Map::new()),
            Request::ServerSide(event) => {
                let fields = [("data", codec::data(event))];
                (kind::SERVER_SIDE, fields.into_iter().collect())
            }
            _ => return None,
        };
        fields.insert("type", kind);
        fields.insert("uid", uid);
        fields.insert("requestId", id);
        let channel = self.request_channel(nsp);
        if kind == kind::BROADCAST {
            let payload = codec::to_msgpack(&fields.into());
            return Some(Message { channel, payload });
        }
        Some(self.to_json(channel, fields))
    }

    /// Something answered. `None` for what this format has no response for.
    pub fn answer(&self, nsp: &str, to: &ReplyTo, answer: &Answer) -> Option<Message> {
        let mut fields = Map::new();
        fields.insert("requestId", &*to.id);
        let mut channel = match self.specific && !to.node.as_str().is_empty() {
            true => self.own_response_channel(nsp, to.node.as_str()),
            false => self.response_channel(nsp),
        };
        match answer {
            Answer::Clients(clients) => {
                fields.insert("type", kind::CLIENTS);
                fields.insert("clientCount", *clients);
            }
            Answer::Ack { args, .. } => {
                fields.insert("type", kind::ACK);
                fields.insert("packet", codec::first(args).unwrap_or_default());
                let payload = codec::to_msgpack(&fields.into());
                return Some(Message { channel, payload });
            }
            Answer::Sockets(sockets) if to.form == ReplyForm::Ids => {
                let ids: Value = sockets.iter().map(|s| codec::text(&s.id)).collect();
                fields.insert("sockets", ids);
            }
            Answer::Sockets(sockets) => {
                fields.insert("sockets", codec::sockets(sockets));
            }
            Answer::Rooms(rooms) => {
                let names: Value = rooms.iter().map(|r| codec::text(&r.name)).collect();
                fields.insert("rooms", names);
            }
            Answer::ServerSide(args) => {
                fields.insert("type", kind::SERVER_SIDE);
                if let Some(value) = codec::first(args) {
                    fields.insert("data", value);
                }
                // Node.js never sends these to the channel of one node.
                channel = self.response_channel(nsp);
            }
            Answer::Done if to.form == ReplyForm::Bare => {}
            _ => return None,
        }
        Some(self.to_json(channel, fields))
    }

    fn to_json(&self, channel: String, fields: Map) -> Message {
        let payload = codec::to_json(&fields.into()).into();
        Message { channel, payload }
    }
}

/// # Reading
impl Classic {
    /// What came on the channel of a namespace or of a room in it.
    ///
    /// # Errors
    ///
    /// When it is no broadcast of this format and namespace.
    pub fn read_broadcast(&self, nsp: &str, payload: &Bytes) -> Result<Frame, Unreadable> {
        let value = codec::read(payload)?;
        let Some([uid, packet, opts, ..]) = value.as_array() else {
            return Err(Unreadable("no list of three"));
        };
        // A packet without a namespace belongs to `/`.
        if packet.get("nsp").and_then(Value::as_str).unwrap_or("/") != nsp {
            return Err(Unreadable("another namespace"));
        }
        Ok(Frame::Operation {
            from: codec::node(uid),
            operation: Operation::Broadcast(codec::read_broadcast(packet, opts)?),
        })
    }

    /// What came on the channel for requests.
    ///
    /// # Errors
    ///
    /// When it is no request of this format.
    pub fn read_request(&self, payload: &Bytes) -> Result<Frame, Unreadable> {
        let value = codec::read(payload)?;
        let kind = value["type"].as_u64().ok_or(Unreadable("no type"))?;
        let from = codec::node(&value["uid"]);
        let told = match kind {
            kind::JOIN | kind::LEAVE | kind::DISCONNECT => Some(read_change(kind, &value)?),
            kind::SERVER_SIDE => {
                let event = codec::read_event(&value["data"])?;
                Some(Operation::ServerSide(event))
            }
            _ => None,
        };
        let Some(id) = value["requestId"].as_str() else {
            let operation = told.ok_or(Unreadable("a request without an id"))?;
            return Ok(Frame::Operation { from, operation });
        };
        let mut form = ReplyForm::Usual;
        let request = match (kind, told) {
            (kind::SOCKETS, _) => {
                form = ReplyForm::Ids;
                Request::FetchSockets(Selection::rooms(codec::read_names(&value["rooms"])))
            }
            (kind::ALL_ROOMS, _) => Request::Rooms,
            (kind::FETCH, _) => Request::FetchSockets(codec::read_selection(&value["opts"])?),
            (kind::BROADCAST, _) => {
                let opts = &value["opts"];
                Request::Broadcast(codec::read_broadcast(&value["packet"], opts)?)
            }
            (_, Some(Operation::ServerSide(event))) => Request::ServerSide(event),
            // Those of today are told and not asked, whatever id they carry.
            (_, Some(operation)) if value.get("opts").is_some() => {
                return Ok(Frame::Operation { from, operation });
            }
            (_, Some(operation)) => {
                form = ReplyForm::Bare;
                Request::Apply(operation)
            }
            _ => return Err(Unreadable("an unknown type")),
        };
        let reply_to = ReplyTo {
            node: from.unwrap_or_else(|| NodeId::from("")),
            id: id.into(),
            form,
        };
        Ok(Frame::Request { reply_to, request })
    }

    /// What came on a channel for responses. Of which kind a response is, is told by what is in it;
    /// the request must be the judge of it.
    ///
    /// # Errors
    ///
    /// When it is no response of this format.
    pub fn read_response(&self, payload: &Bytes) -> Result<Frame, Unreadable> {
        let value = codec::read(payload)?;
        let id = value["requestId"].as_str();
        let id = id.ok_or(Unreadable("a response without an id"))?.into();
        let answer = match value["type"].as_u64() {
            Some(kind::CLIENTS) => {
                let clients = value["clientCount"].as_u64();
                Answer::Clients(clients.ok_or(Unreadable("no number of clients"))?)
            }
            Some(kind::ACK) => Answer::Ack {
                socket: None,
                args: codec::one(value.get("packet")),
            },
            Some(kind::SERVER_SIDE) => Answer::ServerSide(codec::one(value.get("data"))),
            Some(_) => return Err(Unreadable("an unknown type")),
            None if value.get("sockets").is_some() => {
                Answer::Sockets(codec::read_sockets(&value["sockets"])?)
            }
            None if value.get("rooms").is_some() => codec::read_rooms(&value["rooms"]),
            None => Answer::Done,
        };
        let from = None;
        Ok(Frame::Answer { from, id, answer })
    }
}

fn rooms_of(selection: &Selection, rooms: &[sockeye_cluster::RoomName]) -> Map {
    let fields = [
        ("opts", codec::selection(selection)),
        ("rooms", codec::names(rooms)),
    ];
    fields.into_iter().collect()
}

/// A join, leave or disconnect: of today with `opts`, of older versions of one socket.
fn read_change(kind: u64, value: &Value) -> Result<Operation, Unreadable> {
    let is_old = value.get("opts").is_none();
    let selection = match (is_old, value["sid"].as_str()) {
        (false, _) => codec::read_selection(&value["opts"])?,
        (true, Some(sid)) => Selection::rooms([sid]),
        (true, None) => return Err(Unreadable("neither options nor a socket")),
    };
    let rooms = match is_old {
        false => codec::read_names(&value["rooms"]),
        true => codec::read_names(&Value::Array(vec![value["room"].clone()])),
    };
    Ok(match kind {
        kind::JOIN => Operation::Join { selection, rooms },
        kind::LEAVE => Operation::Leave { selection, rooms },
        _ => Operation::Disconnect {
            selection,
            close: value["close"].as_bool().unwrap_or(false),
        },
    })
}
