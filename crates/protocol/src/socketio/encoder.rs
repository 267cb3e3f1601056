//! From packets to messages for a peer.
//!
//! The first message of a packet is text with the default parser and binary with MessagePack; the
//! attachments that follow are binary messages. A text message is written without the Engine.IO
//! type digit: the `…_into` forms append to a buffer in which the caller has put a frame header
//! and the `4` already.

use bytes::Bytes;

use super::args::Attachments;
use super::{Args, PacketType, Parser, RawArg, json, msgpack};

/// A packet as messages of the transport.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The first message.
    pub first: Bytes,
    /// Whether the first message is binary (the MessagePack parser) rather than text.
    pub binary: bool,
    /// The messages that follow at once, all binary.
    pub attachments: Attachments,
}

impl Encoded {
    fn new(parser: Parser, first: Vec<u8>, attachments: Attachments) -> Self {
        Self {
            first: first.into(),
            binary: parser == Parser::Msgpack,
            attachments,
        }
    }

    /// The first message as text, if it is.
    pub fn text(&self) -> Option<&str> {
        if self.binary {
            return None;
        }
        std::str::from_utf8(&self.first).ok()
    }

    /// The bytes of all messages together.
    pub fn byte_len(&self) -> usize {
        self.first.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// An event. `id` asks the peer for an acknowledgement.
///
/// ```
/// use sockeye_protocol::socketio::{Parser, ToArgs, encode_event};
///
/// let args = ("hello",).to_args(Parser::Json)?;
/// let encoded = encode_event(Parser::Json, "/chat", Some(1), "say", &args);
/// assert_eq!(encoded.text(), Some(r#"2/chat,1["say","hello"]"#));
/// # Ok::<(), sockeye_protocol::socketio::ArgsError>(())
/// ```
pub fn encode_event(
    parser: Parser,
    nsp: &str,
    id: Option<u64>,
    event: &str,
    args: &Args,
) -> Encoded {
    let mut out = Vec::with_capacity(32 + nsp.len() + event.len() + args.raw_len());
    let attachments = encode_event_into(&mut out, parser, nsp, id, event, args);
    Encoded::new(parser, out, attachments)
}

/// Appends the first message of an event to `out`; returns its attachments.
pub fn encode_event_into(
    out: &mut Vec<u8>,
    parser: Parser,
    nsp: &str,
    id: Option<u64>,
    event: &str,
    args: &Args,
) -> Attachments {
    write(out, parser, PacketType::Event, nsp, id, Some(event), args)
}

/// An acknowledgement of the event with this id.
pub fn encode_ack(parser: Parser, nsp: &str, id: u64, args: &Args) -> Encoded {
    let mut out = Vec::with_capacity(32 + nsp.len() + args.raw_len());
    let attachments = encode_ack_into(&mut out, parser, nsp, id, args);
    Encoded::new(parser, out, attachments)
}

/// Appends the first message of an acknowledgement to `out`; returns its attachments.
pub fn encode_ack_into(
    out: &mut Vec<u8>,
    parser: Parser,
    nsp: &str,
    id: u64,
    args: &Args,
) -> Attachments {
    write(out, parser, PacketType::Ack, nsp, Some(id), None, args)
}

/// The server's answer to a CONNECT. `pid` only when connection state recovery is on: stock
/// clients and suites expect no other key.
pub fn encode_connect(parser: Parser, nsp: &str, sid: &str, pid: Option<&str>) -> Encoded {
    let mut out = Vec::new();
    let fields: &[(&str, &str)] = match pid {
        Some(pid) => &[("sid", sid), ("pid", pid)],
        None => &[("sid", sid)],
    };
    begin(&mut out, parser, PacketType::Connect, nsp, true, false);
    match parser {
        Parser::Json => {
            for (place, (key, value)) in fields.iter().enumerate() {
                out.push(if place == 0 { b'{' } else { b',' });
                json::write_string(&mut out, key);
                out.push(b':');
                json::write_string(&mut out, value);
            }
            out.push(b'}');
        }
        Parser::Msgpack => {
            msgpack::write_map(&mut out, fields.len());
            for (key, value) in fields {
                msgpack::write_str(&mut out, key);
                msgpack::write_str(&mut out, value);
            }
            end(&mut out, nsp, None);
        }
    }
    Encoded::new(parser, out, Attachments::default())
}

/// The refusal of a CONNECT: a message and, if any, data of the application.
///
/// This packet has no attachments; binary in `data` becomes base64 text with the default parser.
pub fn encode_connect_error(
    parser: Parser,
    nsp: &str,
    message: &str,
    data: Option<RawArg<'_>>,
) -> Encoded {
    let mut out = Vec::new();
    begin(&mut out, parser, PacketType::ConnectError, nsp, true, false);
    match parser {
        Parser::Json => {
            out.extend_from_slice(br#"{"message":"#);
            json::write_string(&mut out, message);
            if let Some(data) = data {
                out.extend_from_slice(br#","data":"#);
                write_json_value(&mut out, data);
            }
            out.push(b'}');
        }
        Parser::Msgpack => {
            msgpack::write_map(&mut out, 1 + usize::from(data.is_some()));
            msgpack::write_str(&mut out, "message");
            msgpack::write_str(&mut out, message);
            if let Some(data) = data {
                msgpack::write_str(&mut out, "data");
                write_msgpack_values(&mut out, &data.to_args());
            }
            end(&mut out, nsp, None);
        }
    }
    Encoded::new(parser, out, Attachments::default())
}

/// Leaves a namespace, or throws the peer out of it.
pub fn encode_disconnect(parser: Parser, nsp: &str) -> Encoded {
    let mut out = Vec::new();
    begin(&mut out, parser, PacketType::Disconnect, nsp, false, false);
    if parser == Parser::Msgpack {
        end(&mut out, nsp, None);
    }
    Encoded::new(parser, out, Attachments::default())
}

/// A client's CONNECT. `auth` is a JSON object; anything else a server would refuse.
pub fn encode_connect_request(parser: Parser, nsp: &str, auth: Option<RawArg<'_>>) -> Encoded {
    let mut out = Vec::new();
    begin(
        &mut out,
        parser,
        PacketType::Connect,
        nsp,
        auth.is_some(),
        false,
    );
    match (parser, auth) {
        (Parser::Json, None) => {}
        (Parser::Json, Some(auth)) => write_json_value(&mut out, auth),
        (Parser::Msgpack, auth) => {
            if let Some(auth) = auth {
                write_msgpack_values(&mut out, &auth.to_args());
            }
            end(&mut out, nsp, None);
        }
    }
    Encoded::new(parser, out, Attachments::default())
}

fn write(
    out: &mut Vec<u8>,
    parser: Parser,
    kind: PacketType,
    nsp: &str,
    id: Option<u64>,
    event: Option<&str>,
    args: &Args,
) -> Attachments {
    if parser == Parser::Msgpack {
        begin(out, parser, kind, nsp, true, id.is_some());
        msgpack::write_array(out, args.len() + usize::from(event.is_some()));
        if let Some(event) = event {
            msgpack::write_str(out, event);
        }
        write_msgpack_values(out, args);
        end(out, nsp, id);
        return Attachments::default();
    }
    let (text, attachments) = args.json_wire();
    if attachments.is_empty() {
        out.push(b'0' + kind.code());
    } else {
        let kind = match kind {
            PacketType::Event => PacketType::BinaryEvent,
            _ => PacketType::BinaryAck,
        };
        out.push(b'0' + kind.code());
        write_decimal(out, attachments.len() as u64);
        out.push(b'-');
    }
    write_nsp(out, nsp);
    if let Some(id) = id {
        write_decimal(out, id);
    }
    out.push(b'[');
    if let Some(event) = event {
        json::write_string(out, event);
        if !text.is_empty() {
            out.push(b',');
        }
    }
    out.extend_from_slice(text.as_bytes());
    out.push(b']');
    attachments
}

/// What stands before the data: for MessagePack up to the key of it, if there is any; `end` is
/// given the id.
fn begin(out: &mut Vec<u8>, parser: Parser, kind: PacketType, nsp: &str, data: bool, id: bool) {
    match parser {
        Parser::Json => {
            out.push(b'0' + kind.code());
            write_nsp(out, nsp);
        }
        Parser::Msgpack => {
            msgpack::write_map(out, 2 + usize::from(data) + usize::from(id));
            msgpack::write_str(out, "type");
            msgpack::write_unsigned(out, u64::from(kind.code()));
            if data {
                msgpack::write_str(out, "data");
            }
        }
    }
}

/// What stands behind the data of a MessagePack packet.
fn end(out: &mut Vec<u8>, nsp: &str, id: Option<u64>) {
    msgpack::write_str(out, "nsp");
    msgpack::write_str(out, nsp);
    if let Some(id) = id {
        msgpack::write_str(out, "id");
        msgpack::write_unsigned(out, id);
    }
}

fn write_nsp(out: &mut Vec<u8>, nsp: &str) {
    if nsp != "/" {
        out.extend_from_slice(nsp.as_bytes());
        out.push(b',');
    }
}

fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder of ten is one digit.
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

fn write_json_value(out: &mut Vec<u8>, value: RawArg<'_>) {
    match value.as_json() {
        Some(text) if !value.to_args().has_binary() => out.extend_from_slice(text.as_bytes()),
        _ => out.extend_from_slice(value.to_value().to_json().as_bytes()),
    }
}

fn write_msgpack_values(out: &mut Vec<u8>, args: &Args) {
    if let Some(values) = args.to_parser(Parser::Msgpack).as_msgpack() {
        out.extend_from_slice(values);
    }
}
