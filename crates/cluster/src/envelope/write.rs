//! Writing.

use sockeye_protocol::socketio::Args;

use super::Body;
use crate::{Answer, Broadcast, Event, Flags, Operation, Request, RoomName, Selection};

pub(super) const OPERATION: u8 = 1;
pub(super) const REQUEST: u8 = 2;
pub(super) const ANSWER: u8 = 3;
pub(super) const HELLO: u8 = 4;
pub(super) const HEARTBEAT: u8 = 5;
pub(super) const GOODBYE: u8 = 6;

pub(super) const VOLATILE: u8 = 1;
pub(super) const PLAIN: u8 = 2;
pub(super) const TIMEOUT: u8 = 4;
pub(super) const OFFSET: u8 = 8;

pub(super) fn kind(body: &Body) -> u8 {
    match body {
        Body::Operation(_) => OPERATION,
        Body::Request { .. } => REQUEST,
        Body::Answer { .. } => ANSWER,
        Body::Hello => HELLO,
        Body::Heartbeat => HEARTBEAT,
        Body::Goodbye => GOODBYE,
    }
}

pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn blob(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    blob(out, text.as_bytes());
}

pub(super) fn body(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::Operation(told) => operation(out, told),
        Body::Request { id, request: asked } => {
            number(out, *id);
            request(out, asked);
        }
        Body::Answer {
            id,
            to,
            answer: given,
        } => {
            number(out, *id);
            text(out, to.as_str());
            answer(out, given);
        }
        Body::Hello | Body::Heartbeat | Body::Goodbye => {}
    }
}

fn operation(out: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Broadcast(told) => {
            out.push(1);
            broadcast(out, told);
        }
        Operation::Join { selection, rooms } => {
            out.push(2);
            selected(out, selection);
            names(out, rooms);
        }
        Operation::Leave { selection, rooms } => {
            out.push(3);
            selected(out, selection);
            names(out, rooms);
        }
        Operation::Disconnect { selection, close } => {
            out.push(4);
            selected(out, selection);
            out.push(u8::from(*close));
        }
        Operation::ServerSide(told) => {
            out.push(5);
            event(out, told);
        }
    }
}

fn request(out: &mut Vec<u8>, request: &Request) {
    match request {
        Request::Broadcast(asked) => {
            out.push(1);
            broadcast(out, asked);
        }
        Request::FetchSockets(selection) => {
            out.push(2);
            selected(out, selection);
        }
        Request::Count(selection) => {
            out.push(3);
            selected(out, selection);
        }
        Request::Rooms => out.push(4),
        Request::ServerSide(asked) => {
            out.push(5);
            event(out, asked);
        }
        Request::Apply(told) => {
            out.push(6);
            operation(out, told);
        }
    }
}

fn answer(out: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::Clients(clients) => {
            out.push(1);
            number(out, *clients);
        }
        Answer::Ack {
            socket,
            args: given,
        } => {
            out.push(2);
            optional(out, socket.as_deref());
            args(out, given);
        }
        Answer::Sockets(sockets) => {
            out.push(3);
            number(out, sockets.len() as u64);
            for socket in sockets {
                text(out, &socket.id);
                names(out, &socket.rooms);
                args(out, &socket.handshake);
                args(out, &socket.data);
            }
        }
        Answer::Count(count) => {
            out.push(4);
            number(out, *count);
        }
        Answer::Rooms(rooms) => {
            out.push(5);
            number(out, rooms.len() as u64);
            for room in rooms {
                text(out, &room.name);
                // One more than the number, so that 0 is none.
                number(out, room.sockets.map_or(0, |count| count.saturating_add(1)));
            }
        }
        Answer::ServerSide(given) => {
            out.push(6);
            args(out, given);
        }
        Answer::Done => out.push(7),
        Answer::Absent => out.push(8),
    }
}

fn broadcast(out: &mut Vec<u8>, broadcast: &Broadcast) {
    let Flags {
        volatile,
        compress,
        timeout_ms,
    } = broadcast.flags;
    let mut flags = 0;
    for (flag, is_set) in [
        (VOLATILE, volatile),
        (PLAIN, !compress),
        (TIMEOUT, timeout_ms.is_some()),
        (OFFSET, broadcast.offset.is_some()),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    out.push(flags);
    if let Some(timeout) = timeout_ms {
        number(out, timeout);
    }
    if let Some(offset) = &broadcast.offset {
        text(out, offset.as_str());
    }
    selected(out, &broadcast.selection);
    event(out, &broadcast.event);
}

fn selected(out: &mut Vec<u8>, selection: &Selection) {
    names(out, &selection.rooms);
    names(out, &selection.except);
}

fn names(out: &mut Vec<u8>, names: &[RoomName]) {
    number(out, names.len() as u64);
    for name in names {
        text(out, name);
    }
}

fn optional(out: &mut Vec<u8>, value: Option<&str>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        text(out, value);
    }
}

fn event(out: &mut Vec<u8>, event: &Event) {
    text(out, &event.name);
    args(out, &event.args);
}

fn args(out: &mut Vec<u8>, args: &Args) {
    if let Some(values) = args.as_msgpack() {
        out.push(1);
        return blob(out, values);
    }
    // Kept as one or the other.
    let (json, attachments) = args.as_json().unwrap_or_default();
    out.push(0);
    text(out, json);
    number(out, attachments.len() as u64);
    for attachment in attachments {
        blob(out, attachment);
    }
}
