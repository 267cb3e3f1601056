//! The messages that the sharded and the streams adapter share: maps of `type`, `data`, `uid` and `nsp`.

use sockeye_cluster::{Answer, NodeId, Offset, Operation, Request};
use sockeye_protocol::socketio::{Map, Value};

use super::{Frame, ReplyForm, ReplyTo, Unreadable, codec};

mod kind {
    pub(super) const INITIAL_HEARTBEAT: u64 = 1;
    pub(super) const HEARTBEAT: u64 = 2;
    pub(super) const BROADCAST: u64 = 3;
    pub(super) const JOIN: u64 = 4;
    pub(super) const LEAVE: u64 = 5;
    pub(super) const DISCONNECT: u64 = 6;
    pub(super) const FETCH: u64 = 7;
    pub(super) const FETCHED: u64 = 8;
    pub(super) const SERVER_SIDE: u64 = 9;
    pub(super) const SERVER_SIDE_ANSWER: u64 = 10;
    pub(super) const CLIENTS: u64 = 11;
    pub(super) const ACK: u64 = 12;
    pub(super) const CLOSE: u64 = 13;
}

/// A type and its data.
pub(super) struct Typed(pub(super) u64, pub(super) Value);

pub(super) fn operation(nsp: &str, operation: &Operation) -> Typed {
    let (kind, fields) = match operation {
        Operation::Broadcast(broadcast) => (
            kind::BROADCAST,
            vec![
                ("packet", codec::packet(&broadcast.event, nsp)),
                ("opts", codec::options(broadcast)),
            ],
        ),
        Operation::Join { selection, rooms } => (
            kind::JOIN,
            vec![
                ("opts", codec::selection(selection)),
                ("rooms", codec::names(rooms)),
            ],
        ),
        Operation::Leave { selection, rooms } => (
            kind::LEAVE,
            vec![
                ("opts", codec::selection(selection)),
                ("rooms", codec::names(rooms)),
            ],
        ),
        Operation::Disconnect { selection, close } => (
            kind::DISCONNECT,
            vec![
                ("opts", codec::selection(selection)),
                ("close", Value::Bool(*close)),
            ],
        ),
        Operation::ServerSide(event) => (kind::SERVER_SIDE, vec![("packet", codec::data(event))]),
        // The enum may grow only together with the formats.
        _ => (u64::MAX, Vec::new()),
    };
    Typed(kind, codec::object(fields))
}

pub(super) fn request(nsp: &str, id: &str, request: &Request) -> Option<Typed> {
    let (kind, mut fields) = match request {
        Request::Broadcast(broadcast) => (
            kind::BROADCAST,
            vec![
                ("packet", codec::packet(&broadcast.event, nsp)),
                ("opts", codec::options(broadcast)),
            ],
        ),
        Request::FetchSockets(selection) => {
            (kind::FETCH, vec![("opts", codec::selection(selection))])
        }
        Request::ServerSide(event) => (kind::SERVER_SIDE, vec![("packet", codec::data(event))]),
        _ => return None,
    };
    fields.push(("requestId", codec::text(id)));
    Some(Typed(kind, codec::object(fields)))
}

pub(super) fn answer(id: &str, answer: &Answer) -> Option<Typed> {
    let (kind, field) = match answer {
        Answer::Clients(clients) => (kind::CLIENTS, Some(("clientCount", (*clients).into()))),
        Answer::Ack { args, .. } => {
            let value = codec::first(args).unwrap_or_default();
            (kind::ACK, Some(("packet", value)))
        }
        Answer::Sockets(sockets) => (kind::FETCHED, Some(("sockets", codec::sockets(sockets)))),
        Answer::ServerSide(args) => (
            kind::SERVER_SIDE_ANSWER,
            codec::first(args).map(|value| ("packet", value)),
        ),
        _ => return None,
    };
    let id = ("requestId", codec::text(id));
    Some(Typed(kind, codec::object(std::iter::once(id).chain(field))))
}

pub(super) fn heartbeat(is_first: bool) -> Typed {
    let kind = match is_first {
        true => kind::INITIAL_HEARTBEAT,
        false => kind::HEARTBEAT,
    };
    Typed(kind, Value::Null)
}

pub(super) fn close() -> Typed {
    Typed(kind::CLOSE, Value::Null)
}

/// The whole map.
pub(super) fn map(uid: &str, nsp: &str, Typed(kind, data): Typed) -> Value {
    let mut map = Map::new();
    map.insert("type", kind);
    if !data.is_null() {
        map.insert("data", data);
    }
    map.insert("uid", uid);
    map.insert("nsp", nsp);
    map.into()
}

/// Reads a whole map: its namespace and what it says.
pub(super) fn read_map(value: &Value) -> Result<(&str, Frame), Unreadable> {
    let nsp = value["nsp"].as_str().ok_or(Unreadable("no namespace"))?;
    let kind = value["type"].as_u64().ok_or(Unreadable("no type"))?;
    let frame = read(&value["uid"], kind, &value["data"], None)?;
    Ok((nsp, frame))
}

/// Reads what a message says; `offset` is its place in a stream.
pub(super) fn read(
    uid: &Value,
    kind: u64,
    data: &Value,
    offset: Option<Offset>,
) -> Result<Frame, Unreadable> {
    let from = codec::node(uid).ok_or(Unreadable("no uid"))?;
    let id = match data.get("requestId") {
        Some(Value::String(id)) => Some(Box::from(id.as_str())),
        _ => None,
    };
    let told = |operation| Frame::Operation {
        from: Some(from.clone()),
        operation,
    };
    let asked = |id, request| Frame::Request {
        reply_to: ReplyTo {
            node: from.clone(),
            id,
            form: ReplyForm::Usual,
        },
        request,
    };
    let selection = || codec::read_selection(&data["opts"]);
    let rooms = || codec::read_names(&data["rooms"]);
    let answer = match kind {
        kind::INITIAL_HEARTBEAT | kind::HEARTBEAT => {
            let is_first = kind == kind::INITIAL_HEARTBEAT;
            return Ok(Frame::Heartbeat { from, is_first });
        }
        kind::CLOSE => return Ok(Frame::Close { from }),
        kind::BROADCAST => {
            let mut broadcast = codec::read_broadcast(&data["packet"], &data["opts"])?;
            if let Some(id) = id {
                return Ok(asked(id, Request::Broadcast(broadcast)));
            }
            // As Node.js has it: volatile ones get no offset.
            broadcast.offset = offset.filter(|_| data["opts"]["flags"]["volatile"].is_null());
            return Ok(told(Operation::Broadcast(broadcast)));
        }
        kind::JOIN => {
            return Ok(told(Operation::Join {
                selection: selection()?,
                rooms: rooms(),
            }));
        }
        kind::LEAVE => {
            return Ok(told(Operation::Leave {
                selection: selection()?,
                rooms: rooms(),
            }));
        }
        kind::DISCONNECT => {
            return Ok(told(Operation::Disconnect {
                selection: selection()?,
                close: data["close"].as_bool().unwrap_or(false),
            }));
        }
        kind::FETCH => {
            let id = id.ok_or(Unreadable("a request without an id"))?;
            return Ok(asked(id, Request::FetchSockets(selection()?)));
        }
        kind::SERVER_SIDE => {
            let event = codec::read_event(&data["packet"])?;
            return Ok(match id {
                Some(id) => asked(id, Request::ServerSide(event)),
                None => told(Operation::ServerSide(event)),
            });
        }
        kind::FETCHED => Answer::Sockets(codec::read_sockets(&data["sockets"])?),
        kind::SERVER_SIDE_ANSWER => Answer::ServerSide(codec::one(data.get("packet"))),
        kind::CLIENTS => {
            let clients = data["clientCount"].as_u64();
            Answer::Clients(clients.ok_or(Unreadable("no number of clients"))?)
        }
        kind::ACK => Answer::Ack {
            socket: None,
            args: codec::one(data.get("packet")),
        },
        _ => return Err(Unreadable("an unknown type")),
    };
    Ok(Frame::Answer {
        from: Some(NodeId::clone(&from)),
        id: id.ok_or(Unreadable("an answer without an id"))?,
        answer,
    })
}
