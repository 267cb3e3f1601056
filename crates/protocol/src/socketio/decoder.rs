//! From messages of a peer to packets.

use std::mem;

use bytes::Bytes;

use super::json::{self, Fault, List};
use super::msgpack::{self, Head};
use super::packet::{MAX_ACK_ID, is_reserved_event};
use super::{Args, Limits, Packet, PacketType, Parser};
use crate::{DecodeError, DecodeErrorKind, Text};

/// Puts the messages of one connection together to packets.
///
/// It owns memory only while attachments are due. After an error the connection has to be closed;
/// the decoder itself is clean again.
///
/// ```
/// use sockeye_protocol::socketio::{Decoder, Limits, PacketType, Parser};
///
/// let limits = Limits::default();
/// let mut decoder = Decoder::new(Parser::Json);
/// let packet = decoder.decode_text(&limits, r#"2/chat,7["say","hi"]"#)?.unwrap();
/// assert_eq!(packet.kind, PacketType::Event);
/// assert_eq!((packet.nsp.as_str(), packet.id), ("/chat", Some(7)));
/// assert_eq!((packet.event.as_str(), packet.args.len()), ("say", 1));
/// # Ok::<(), sockeye_protocol::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    parser: Parser,
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    packet: Packet,
    due: usize,
    attachments: Vec<Bytes>,
    bytes: usize,
}

impl Decoder {
    /// A decoder for the messages of one connection.
    pub fn new(parser: Parser) -> Self {
        Self {
            parser,
            pending: None,
        }
    }

    /// The parser whose messages it reads.
    pub fn parser(&self) -> Parser {
        self.parser
    }

    /// Whether attachments of a packet are still to come.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The bytes that are kept for a packet whose attachments are still to come.
    pub fn pending_bytes(&self) -> usize {
        self.pending
            .as_ref()
            .map_or(0, |pending| pending.bytes + pending.packet.args.byte_len())
    }

    /// Forgets a packet whose attachments are still to come.
    pub fn reset(&mut self) {
        self.pending = None;
    }

    /// A text message, without the Engine.IO type digit. Returns nothing when attachments follow.
    ///
    /// # Errors
    ///
    /// When it is no packet of the Socket.IO protocol, revision 5, or exceeds `limits`.
    pub fn decode_text(
        &mut self,
        limits: &Limits,
        text: &str,
    ) -> Result<Option<Packet>, DecodeError> {
        if self.parser != Parser::Json {
            return Err(DecodeErrorKind::UnexpectedText.into());
        }
        if mem::take(&mut self.pending).is_some() {
            return Err(DecodeErrorKind::AttachmentExpected.into());
        }
        let (packet, due) = read_text(text, limits)?;
        if due == 0 {
            return Ok(Some(packet));
        }
        let pending = Pending {
            packet,
            due,
            attachments: Vec::new(),
            bytes: 0,
        };
        self.pending = Some(Box::new(pending));
        Ok(None)
    }

    /// A binary message, which is copied: an attachment, or a whole packet of the MessagePack
    /// parser. Returns nothing when more attachments follow.
    ///
    /// # Errors
    ///
    /// As [`decode_text`](Self::decode_text).
    pub fn decode_binary(
        &mut self,
        limits: &Limits,
        bytes: &[u8],
    ) -> Result<Option<Packet>, DecodeError> {
        self.decode_bytes(limits, Bytes::copy_from_slice(bytes))
    }

    /// As [`decode_binary`](Self::decode_binary), keeping the buffer instead of copying it.
    ///
    /// # Errors
    ///
    /// As [`decode_text`](Self::decode_text).
    pub fn decode_bytes(
        &mut self,
        limits: &Limits,
        bytes: Bytes,
    ) -> Result<Option<Packet>, DecodeError> {
        if self.parser == Parser::Msgpack {
            return read_msgpack(bytes, limits).map(Some);
        }
        let Some(mut pending) = self.pending.take() else {
            return Err(DecodeErrorKind::UnexpectedAttachment.into());
        };
        pending.bytes += bytes.len();
        if pending.bytes > limits.max_attachment_bytes {
            let limit = limits.max_attachment_bytes;
            return Err(DecodeErrorKind::AttachmentsTooLarge { limit }.into());
        }
        pending.attachments.push(bytes);
        if pending.attachments.len() < pending.due {
            self.pending = Some(pending);
            return Ok(None);
        }
        let Pending {
            mut packet,
            attachments,
            ..
        } = *pending;
        packet.args.attach(attachments);
        Ok(Some(packet))
    }
}

/// What stands before the payload of a text packet.
struct Header {
    kind: PacketType,
    /// Attachments to come.
    due: usize,
    /// Where the namespace stands; empty for `/`.
    nsp: (usize, usize),
    id: Option<u64>,
    /// Where the payload begins.
    payload: usize,
}

fn read_header(text: &str, limits: &Limits) -> Result<Header, DecodeError> {
    let bytes = text.as_bytes();
    let kind = bytes
        .first()
        .and_then(|digit| PacketType::from_code(digit.wrapping_sub(b'0')))
        .ok_or(DecodeErrorKind::UnknownPacketType)?;
    let mut at = 1;
    let mut due = 0;
    let kind = match kind {
        PacketType::BinaryEvent | PacketType::BinaryAck => {
            let end = digits(bytes, at);
            if end == at || bytes.get(end) != Some(&b'-') {
                return Err(DecodeErrorKind::InvalidAttachmentCount.into());
            }
            let limit = limits.max_attachments;
            // A number too large to parse is too large.
            due = text[at..end].parse().unwrap_or(usize::MAX);
            if due > limit {
                return Err(DecodeErrorKind::TooManyAttachments { limit }.into());
            }
            at = end + 1;
            match kind {
                PacketType::BinaryEvent => PacketType::Event,
                _ => PacketType::Ack,
            }
        }
        other => other,
    };
    let mut nsp = (at, at);
    if bytes.get(at) == Some(&b'/') {
        let end = text[at..].find(',').map_or(bytes.len(), |comma| at + comma);
        if end - at > limits.max_namespace_len {
            return Err(DecodeErrorKind::InvalidNamespace.into());
        }
        if end - at > 1 {
            nsp = (at, end);
        }
        at = bytes.len().min(end + 1);
    }
    let (id, payload) = read_id(bytes, at)?;
    Ok(Header {
        kind,
        due,
        nsp,
        id,
        payload,
    })
}

/// The acknowledgement id at `at`, if there is one, and what follows it.
fn read_id(bytes: &[u8], mut at: usize) -> Result<(Option<u64>, usize), DecodeError> {
    let start = at;
    let mut id = 0;
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            break;
        }
        // The largest id has 16 digits, so the next multiplication cannot overflow.
        id = id * 10 + u64::from(digit);
        if id > MAX_ACK_ID {
            return Err(DecodeErrorKind::InvalidAckId.into());
        }
        at += 1;
    }
    Ok(((at > start).then_some(id), at))
}

fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

fn read_text(text: &str, limits: &Limits) -> Result<(Packet, usize), DecodeError> {
    let header = read_header(text, limits)?;
    let bytes = text.as_bytes();
    let empty = header.payload == bytes.len();
    let start = json::skip_space(bytes, header.payload);
    let mut name = None;
    let mut list = List {
        start,
        end: start,
        count: 0,
        after: start,
    };
    match header.kind {
        _ if empty => {}
        PacketType::Connect => list = read_single(bytes, start, b"{", limits)?,
        PacketType::ConnectError => list = read_single(bytes, start, b"{\"", limits)?,
        PacketType::Disconnect => return Err(DecodeErrorKind::InvalidPayload.into()),
        _ if bytes.get(start) != Some(&b'[') => {
            return Err(DecodeErrorKind::InvalidPayload.into());
        }
        PacketType::Ack => list = json::scan_array(bytes, start + 1, limits)?,
        _ => {
            let (range, rest) = read_event(bytes, start + 1, limits)?;
            name = Some(range);
            list = rest;
        }
    }
    if json::skip_space(bytes, list.after) != bytes.len() {
        return Err(Fault::Syntax(list.after).json(limits));
    }

    // One copy of what is kept, cut into its parts.
    let (nsp_start, nsp_end) = header.nsp;
    let (name_start, name_end) = name.unwrap_or((list.start, list.start));
    let base = if nsp_end > nsp_start {
        nsp_start
    } else {
        name_start
    };
    let end = if list.count > 0 {
        list.end
    } else {
        name_end.max(nsp_end).max(base)
    };
    let buffer = Text::from(&text[base..end]);
    let part = |start: usize, end: usize| match start < end {
        true => buffer.slice(start - base..end - base),
        false => Text::default(),
    };
    let nsp = if nsp_end > nsp_start {
        part(nsp_start, nsp_end)
    } else {
        ROOT
    };
    let event = check_event(part(name_start, name_end), name.is_some(), limits)?;
    let args = match list.count {
        0 => Args::new(),
        count => {
            let text = buffer.into_slice(list.start - base..list.end - base);
            Args::checked(text, count, header.due)?
        }
    };
    Ok((
        Packet {
            kind: header.kind,
            nsp,
            id: header.id,
            event,
            args,
        },
        header.due,
    ))
}

const ROOT: Text = Text::from_static("/");

/// A payload of one value that begins with one of `first`.
fn read_single(
    bytes: &[u8],
    start: usize,
    first: &[u8],
    limits: &Limits,
) -> Result<List, DecodeError> {
    if !bytes.get(start).is_some_and(|byte| first.contains(byte)) {
        return Err(DecodeErrorKind::InvalidPayload.into());
    }
    let end = json::skip_value(bytes, start, limits.depth()).map_err(|f| f.json(limits))?;
    Ok(List {
        start,
        end,
        count: 1,
        after: end,
    })
}

/// The name and the arguments of an event, from behind the opening bracket.
fn read_event(
    bytes: &[u8],
    at: usize,
    limits: &Limits,
) -> Result<((usize, usize), List), DecodeError> {
    let start = json::skip_space(bytes, at);
    let (name, end) = match bytes.get(start) {
        Some(b'"') => {
            let end = json::skip_string(bytes, start + 1).map_err(|f| f.json(limits))?;
            ((start + 1, end - 1), end)
        }
        Some(b'-' | b'0'..=b'9') => {
            let end = json::skip_number(bytes, start).map_err(|f| f.json(limits))?;
            ((start, end), end)
        }
        _ => return Err(DecodeErrorKind::InvalidEventName.into()),
    };
    let mark = json::skip_space(bytes, end);
    match bytes.get(mark) {
        Some(b']') => Ok((
            name,
            List {
                start: mark,
                end: mark,
                count: 0,
                after: mark + 1,
            },
        )),
        Some(b',') => Ok((name, json::scan_elements(bytes, mark + 1, limits)?)),
        _ => Err(Fault::Syntax(mark).json(limits)),
    }
}

/// Unescapes and judges a name. Numbers have no escapes, so both kinds come here.
fn check_event(name: Text, is_event: bool, limits: &Limits) -> Result<Text, DecodeError> {
    let name = match name.contains('\\') {
        true => json::unescape(&name).into_owned().into(),
        false => name,
    };
    if name.len() > limits.max_event_name_len {
        let limit = limits.max_event_name_len;
        return Err(DecodeErrorKind::EventNameTooLong { limit }.into());
    }
    if is_event && is_reserved_event(&name) {
        return Err(DecodeErrorKind::ReservedEventName.into());
    }
    Ok(name)
}

/// The fields of a MessagePack packet, as positions in its bytes.
#[derive(Default)]
struct Fields {
    kind: Option<usize>,
    nsp: Option<usize>,
    id: Option<usize>,
    data: Option<usize>,
}

fn read_msgpack(bytes: Bytes, limits: &Limits) -> Result<Packet, DecodeError> {
    let fault = |fault: Fault| fault.msgpack(limits);
    let fields = read_fields(&bytes, limits)?;
    let kind = match fields.kind.map(|at| msgpack::head(&bytes, at)) {
        Some(Ok((Head::Unsigned(code @ 0..=4), _))) => PacketType::from_code(code as u8),
        _ => None,
    };
    let kind = kind.ok_or(DecodeErrorKind::UnknownPacketType)?;
    let nsp = match fields.nsp.map(|at| msgpack::head(&bytes, at)) {
        Some(Ok((Head::Str(nsp), _))) if nsp.len() <= limits.max_namespace_len => nsp,
        _ => return Err(DecodeErrorKind::InvalidNamespace.into()),
    };
    let nsp = match std::str::from_utf8(nsp) {
        Ok("/") => ROOT,
        // Names that the default parser could not spell would be others' trouble.
        Ok(nsp) if nsp.starts_with('/') && !nsp.contains(',') => Text::from(nsp),
        _ => return Err(DecodeErrorKind::InvalidNamespace.into()),
    };
    let id = match fields.id {
        None => None,
        Some(at) => match msgpack::head(&bytes, at).map_err(fault)?.0 {
            Head::Unsigned(id) if id <= MAX_ACK_ID => Some(id),
            Head::Nil => None,
            head if head.is_undefined() => None,
            _ => return Err(DecodeErrorKind::InvalidAckId.into()),
        },
    };
    let data = match fields.data {
        None => None,
        Some(at) => match msgpack::head(&bytes, at).map_err(fault)? {
            (Head::Nil, _) => None,
            (head, _) if head.is_undefined() => None,
            (head, items) => Some((head, at, items)),
        },
    };
    let mut packet = Packet {
        kind,
        nsp,
        id,
        event: Text::default(),
        args: Args::new(),
    };
    match (kind, data) {
        (PacketType::Connect | PacketType::Disconnect, None) => {}
        (PacketType::Connect, Some((Head::Map(_), at, _)))
        | (PacketType::ConnectError, Some((Head::Map(_) | Head::Str(_), at, _))) => {
            let end = msgpack::skip_value(&bytes, at, limits.depth()).map_err(fault)?;
            packet.args = Args::msgpack(bytes.slice(at..end), 1);
        }
        (PacketType::Ack, Some((Head::Array(count), _, items))) => {
            packet.args = read_items(&bytes, items, count, limits)?;
        }
        (PacketType::Event, Some((Head::Array(count), _, items))) => {
            if count == 0 {
                return Err(DecodeErrorKind::InvalidEventName.into());
            }
            let (head, rest) = msgpack::head(&bytes, items).map_err(fault)?;
            packet.event = check_event_head(head, limits)?;
            packet.args = read_items(&bytes, rest, count - 1, limits)?;
        }
        _ => return Err(DecodeErrorKind::InvalidPayload.into()),
    }
    Ok(packet)
}

/// Validates the whole packet and finds its fields; of equal keys the last counts.
fn read_fields(bytes: &[u8], limits: &Limits) -> Result<Fields, DecodeError> {
    let fault = |fault: Fault| fault.msgpack(limits);
    let (Head::Map(pairs), mut at) = msgpack::head(bytes, 0).map_err(fault)? else {
        return Err(DecodeErrorKind::UnknownPacketType.into());
    };
    let mut fields = Fields::default();
    for _ in 0..pairs {
        let value = msgpack::skip_value(bytes, at, limits.depth()).map_err(fault)?;
        match msgpack::head(bytes, at).map_err(fault)?.0 {
            Head::Str(b"type") => fields.kind = Some(value),
            Head::Str(b"nsp") => fields.nsp = Some(value),
            Head::Str(b"id") => fields.id = Some(value),
            Head::Str(b"data") => fields.data = Some(value),
            _ => {}
        }
        at = msgpack::skip_value(bytes, value, limits.depth()).map_err(fault)?;
    }
    if at != bytes.len() {
        return Err(fault(Fault::Syntax(at)));
    }
    Ok(fields)
}

/// `count` values from `start` on, which were validated before.
fn read_items(
    bytes: &Bytes,
    start: usize,
    count: usize,
    limits: &Limits,
) -> Result<Args, DecodeError> {
    if count > limits.max_args {
        return Err(DecodeErrorKind::TooManyArgs {
            limit: limits.max_args,
        }
        .into());
    }
    let mut end = start;
    for _ in 0..count {
        end = msgpack::skip_value(bytes, end, limits.depth()).map_err(|f| f.msgpack(limits))?;
    }
    if count == 0 {
        return Ok(Args::new());
    }
    Ok(Args::msgpack(bytes.slice(start..end), count))
}

fn check_event_head(head: Head<'_>, limits: &Limits) -> Result<Text, DecodeError> {
    let name = match head {
        Head::Str(name) => match std::str::from_utf8(name) {
            Ok(name) => Text::from(name),
            Err(_) => return Err(DecodeErrorKind::InvalidEventName.into()),
        },
        Head::Unsigned(name) => name.to_string().into(),
        Head::Signed(name) => name.to_string().into(),
        Head::Float(name) if name.is_finite() => name.to_string().into(),
        _ => return Err(DecodeErrorKind::InvalidEventName.into()),
    };
    if name.len() > limits.max_event_name_len {
        let limit = limits.max_event_name_len;
        return Err(DecodeErrorKind::EventNameTooLong { limit }.into());
    }
    if is_reserved_event(&name) {
        return Err(DecodeErrorKind::ReservedEventName.into());
    }
    Ok(name)
}
