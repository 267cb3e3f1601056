//! What all formats have in common: values in JSON or MessagePack, options, events.

use std::sync::Arc;

use bytes::Bytes;
use sockeye_cluster::{
    Answer, Broadcast, Event, Flags, NodeId, RoomName, RoomSize, Selection, SocketDetails,
};
use sockeye_protocol::socketio::{Args, Limits, Map, Parser, Value};

use super::Unreadable;

/// Reads JSON (it begins with `{`) or MessagePack, as the adapters tell them apart.
pub(super) fn read(payload: &Bytes) -> Result<Value, Unreadable> {
    if payload.first() == Some(&b'{') {
        let text = std::str::from_utf8(payload).map_err(|_| Unreadable("not UTF-8"))?;
        return read_json(text);
    }
    read_msgpack(payload)
}

/// Reads one JSON value.
pub(super) fn read_json(text: &str) -> Result<Value, Unreadable> {
    let args = Args::from_json(text, Vec::new(), &Limits::default());
    single(&args.map_err(|_| Unreadable("not JSON"))?)
}

/// Reads one MessagePack value.
pub(super) fn read_msgpack(payload: &Bytes) -> Result<Value, Unreadable> {
    let payload = with_known_dates(payload);
    let args = Args::from_msgpack(payload, &Limits::default());
    single(&args.map_err(|_| Unreadable("not MessagePack"))?)
}

fn single(args: &Args) -> Result<Value, Unreadable> {
    match args.get(0) {
        Some(value) if args.len() == 1 => Ok(value.to_value()),
        _ => Err(Unreadable("not one value")),
    }
}

pub(super) fn to_msgpack(value: &Value) -> Bytes {
    let args = Args::from_values(std::slice::from_ref(value), Parser::Msgpack);
    args.as_msgpack().cloned().unwrap_or_default()
}

/// JSON as Node.js writes it: binary is `{"type":"Buffer","data":[…]}`.
pub(super) fn to_json(value: &Value) -> String {
    let args = Args::from_values(std::slice::from_ref(value), Parser::Json);
    let (text, attachments) = args.as_json().unwrap_or_default();
    if attachments.is_empty() {
        return text.to_owned();
    }
    // Placeholders become what they stand for. In a string they would have other quotation marks.
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PLACEHOLDER) {
        out.push_str(&rest[..at]);
        rest = &rest[at + PLACEHOLDER.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let index: usize = rest[..digits].parse().unwrap_or(usize::MAX);
        match attachments.get(index) {
            Some(bytes) => {
                let data: Vec<Value> = bytes.iter().map(|byte| Value::from(*byte)).collect();
                out.push_str("{\"type\":\"Buffer\",\"data\":");
                out.push_str(&Value::from(data).to_json());
            }
            None => {
                out.push_str(PLACEHOLDER);
                out.push_str(&rest[..digits]);
            }
        }
        rest = &rest[digits..];
    }
    out.push_str(rest);
    out
}

const PLACEHOLDER: &str = "{\"_placeholder\":true,\"num\":";

pub(super) fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(fields.into_iter().collect::<Map>())
}

pub(super) fn text(value: &str) -> Value {
    Value::from(value)
}

pub(super) fn names(names: &[RoomName]) -> Value {
    names.iter().map(|name| text(name)).collect()
}

/// Names of rooms. JavaScript allows numbers; what is neither names nothing.
pub(super) fn read_names(value: &Value) -> Vec<RoomName> {
    let name = |value: &Value| match value {
        Value::String(name) => Some(RoomName::from(name.as_str())),
        Value::Number(_) => Some(value.to_json().into()),
        _ => None,
    };
    let items = value.as_array().unwrap_or_default();
    items.iter().filter_map(name).collect()
}

pub(super) fn selection(selection: &Selection) -> Value {
    object([
        ("rooms", names(&selection.rooms)),
        ("except", names(&selection.except)),
    ])
}

/// Also of options without a list, as emitters may send them; but not of nothing at all, which would
/// select everybody.
pub(super) fn read_selection(opts: &Value) -> Result<Selection, Unreadable> {
    if opts.as_object().is_none() {
        return Err(Unreadable("no options"));
    }
    let (rooms, except) = (&opts["rooms"], &opts["except"]);
    for list in [rooms, except] {
        if !list.is_null() && list.as_array().is_none() {
            return Err(Unreadable("rooms that are no list"));
        }
    }
    let found = Selection {
        rooms: read_names(rooms),
        except: read_names(except),
    };
    // A list of which nothing can be read must not become everybody.
    if found.rooms.is_empty() && rooms.as_array().is_some_and(|list| !list.is_empty()) {
        return Err(Unreadable("rooms without names"));
    }
    Ok(found)
}

pub(super) fn options(broadcast: &Broadcast) -> Value {
    let Flags {
        volatile,
        compress,
        timeout_ms,
    } = broadcast.flags;
    let mut flags = Map::new();
    if volatile {
        flags.insert("volatile", true);
    }
    if !compress {
        flags.insert("compress", false);
    }
    if let Some(timeout) = timeout_ms {
        flags.insert("timeout", timeout);
    }
    object([
        ("rooms", names(&broadcast.selection.rooms)),
        ("except", names(&broadcast.selection.except)),
        ("flags", flags.into()),
    ])
}

pub(super) fn packet(event: &Event, nsp: &str) -> Value {
    object([
        ("type", 2u8.into()),
        ("data", data(event)),
        ("nsp", text(nsp)),
    ])
}

pub(super) fn read_broadcast(packet: &Value, opts: &Value) -> Result<Broadcast, Unreadable> {
    if packet["type"].as_u64() != Some(2) {
        return Err(Unreadable("a packet that is no event"));
    }
    let flags = &opts["flags"];
    Ok(Broadcast {
        selection: read_selection(opts)?,
        flags: Flags {
            volatile: flags["volatile"].as_bool().unwrap_or(false),
            compress: flags["compress"].as_bool().unwrap_or(true),
            timeout_ms: flags["timeout"].as_f64().map(|timeout| timeout as u64),
        },
        event: read_event(&packet["data"])?,
        offset: None,
    })
}

/// Name and arguments in one list.
pub(super) fn data(event: &Event) -> Value {
    let name = std::iter::once(text(&event.name));
    name.chain(event.args.values()).collect()
}

pub(super) fn read_event(data: &Value) -> Result<Event, Unreadable> {
    let items = data.as_array().ok_or(Unreadable("no data"))?;
    let name: Arc<str> = match items.first() {
        Some(Value::String(name)) => name.as_str().into(),
        Some(number @ Value::Number(_)) => number.to_json().into(),
        _ => return Err(Unreadable("an event without a name")),
    };
    Ok(Event::new(
        name,
        Args::from_values(&items[1..], Parser::Json),
    ))
}

/// The one argument that Node.js passes on.
pub(super) fn first(args: &Args) -> Option<Value> {
    args.get(0).map(|arg| arg.to_value())
}

pub(super) fn one(value: Option<&Value>) -> Args {
    match value {
        Some(value) => Args::from_values(std::slice::from_ref(value), Parser::Json),
        None => Args::new(),
    }
}

pub(super) fn sockets(sockets: &[SocketDetails]) -> Value {
    let details = |socket: &SocketDetails| {
        object([
            ("id", text(&socket.id)),
            ("handshake", first(&socket.handshake).unwrap_or_default()),
            ("rooms", names(&socket.rooms)),
            ("data", first(&socket.data).unwrap_or_default()),
        ])
    };
    sockets.iter().map(details).collect()
}

/// Of objects or, of older servers, of bare ids.
pub(super) fn read_sockets(list: &Value) -> Result<Vec<SocketDetails>, Unreadable> {
    let list = list.as_array().ok_or(Unreadable("no sockets"))?;
    let details = |socket: &Value| match socket {
        Value::String(id) => Some(SocketDetails {
            id: id.as_str().into(),
            rooms: Vec::new(),
            handshake: Args::new(),
            data: Args::new(),
        }),
        _ => Some(SocketDetails {
            id: socket["id"].as_str()?.into(),
            rooms: read_names(&socket["rooms"]),
            handshake: one(socket.get("handshake")),
            data: one(socket.get("data")),
        }),
    };
    Ok(list.iter().filter_map(details).collect())
}

pub(super) fn read_rooms(list: &Value) -> Answer {
    let rooms = read_names(list).into_iter();
    Answer::Rooms(
        rooms
            .map(|name| RoomSize {
                name,
                sockets: None,
            })
            .collect(),
    )
}

pub(super) fn node(uid: &Value) -> Option<NodeId> {
    let uid = uid.as_str()?;
    (!uid.is_empty() && uid.len() <= NodeId::MAX_LEN).then(|| NodeId::from(uid))
}

/// Dates as MessagePack specifies them (extension −1), in the older form that the protocol's parser
/// knows. `notepack.io` 3 and `@msgpack/msgpack` write the former.
fn with_known_dates(payload: &Bytes) -> Bytes {
    let mut found = Vec::new();
    let mut at = 0;
    // Heads follow each other, so nesting does not matter here. What is cut off is refused later.
    while let Some(&marker) = payload.get(at) {
        let byte = |place: usize| payload.get(at + place).copied().unwrap_or(0);
        let short = || usize::from(byte(1));
        let wide = || usize::from(u16::from_be_bytes([byte(1), byte(2)]));
        let long = || u32::from_be_bytes([byte(1), byte(2), byte(3), byte(4)]) as usize;
        let len = match marker {
            0xa0..=0xbf => 1 + usize::from(marker & 0x1f),
            0xc4 | 0xd9 => 2 + short(),
            0xc5 | 0xda => 3 + wide(),
            0xc6 | 0xdb => 5usize.saturating_add(long()),
            0xc7 => 3 + short(),
            0xc8 => 4 + wide(),
            0xc9 => 6usize.saturating_add(long()),
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 | 0xdc | 0xde => 3,
            0xca | 0xce | 0xd2 | 0xdd | 0xdf => 5,
            0xcb | 0xcf | 0xd3 => 9,
            0xd4..=0xd8 => 2 + (1 << (marker - 0xd4)),
            _ => 1,
        };
        let is_date = match marker {
            0xd6 | 0xd7 => byte(1) == 0xff,
            0xc7 => byte(1) == 12 && byte(2) == 0xff,
            _ => false,
        };
        if is_date && payload.len() - at >= len {
            found.push((at, len));
        }
        at = at.saturating_add(len);
    }
    if found.is_empty() {
        return payload.clone();
    }
    let mut out = Vec::with_capacity(payload.len() + 4 * found.len());
    let mut copied = 0;
    for (at, len) in found {
        out.extend_from_slice(&payload[copied..at]);
        out.extend_from_slice(&[0xd7, 0]);
        out.extend_from_slice(&millis(&payload[at..at + len]).to_be_bytes());
        copied = at + len;
    }
    out.extend_from_slice(&payload[copied..]);
    out.into()
}

/// Milliseconds since 1970 of a timestamp of 32, 64 or 96 bits.
fn millis(date: &[u8]) -> i64 {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (seconds, nanos) = match date.len() {
        6 => (number(&date[2..]).cast_signed(), 0),
        10 => {
            let packed = number(&date[2..]);
            ((packed & 0x3_ffff_ffff).cast_signed(), packed >> 34)
        }
        _ => (number(&date[7..]).cast_signed(), number(&date[3..7])),
    };
    seconds
        .saturating_mul(1_000)
        .saturating_add((nanos / 1_000_000).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_specification() {
        let at_millis = |bytes: &[u8]| {
            let wrapped = [&[0x91][..], bytes].concat();
            read_msgpack(&wrapped.into())
                .unwrap()
                .as_array()
                .unwrap()
                .to_vec()
        };
        // 2023-11-14T22:13:20Z, and with 123 milliseconds.
        let cases: [(&[u8], &str); 4] = [
            (
                &[0xd6, 0xff, 0x65, 0x53, 0xf1, 0x00],
                "2023-11-14T22:13:20.000Z",
            ),
            (
                &[0xd7, 0xff, 0x1d, 0x53, 0x53, 0x00, 0x65, 0x53, 0xf1, 0x00],
                "2023-11-14T22:13:20.123Z",
            ),
            (
                &[
                    0xc7, 12, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                ],
                "1969-12-31T23:59:59.000Z",
            ),
            (
                &[0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                "1970-01-01T00:00:00.000Z",
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(at_millis(bytes), [Value::from(expected)]);
        }
    }

    #[test]
    fn what_looks_like_a_date_within_binary_is_left_alone() {
        let payload = Bytes::from_static(&[0x91, 0xc4, 6, 0xd6, 0xff, 1, 2, 3, 4]);
        let expected = Value::from(payload.slice(3..));
        assert_eq!(
            read_msgpack(&payload).unwrap().as_array(),
            Some(&[expected][..])
        );
    }

    #[test]
    fn binary_in_json_is_as_node_writes_it() {
        let binary = || Value::from(Bytes::from_static(&[1, 255]));
        let value = object([
            ("a", binary()),
            (
                "b",
                Value::Array(vec![Value::Array(vec![binary()]), 1u8.into()]),
            ),
            ("c", object([("d", binary())])),
        ]);
        let buffer = r#"{"type":"Buffer","data":[1,255]}"#;
        let expected = format!(r#"{{"a":{buffer},"b":[[{buffer}],1],"c":{{"d":{buffer}}}}}"#);
        assert_eq!(to_json(&value), expected);
    }

    #[test]
    fn a_selection_that_cannot_be_read_does_not_become_everybody() {
        for json in [
            "null",
            "1",
            r#"{"rooms":{}}"#,
            r#"{"rooms":[{}]}"#,
            r#"{"except":1}"#,
        ] {
            assert!(read_selection(&read_json(json).unwrap()).is_err(), "{json}");
        }
        let found = read_selection(&read_json(r#"{"rooms":["a",5]}"#).unwrap()).unwrap();
        assert_eq!(found, Selection::rooms(["a", "5"]));
    }
}
