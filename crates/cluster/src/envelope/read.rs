//! Reading what anybody may have written.

use std::sync::Arc;

use bytes::Bytes;
use sockeye_protocol::socketio::{Args, Limits};

use super::{Body, write};
use crate::{
    Answer, Broadcast, Event, Flags, NodeId, Operation, Request, RoomName, RoomSize, Selection,
    SocketDetails,
};

/// It cannot be read; where is of no interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

pub(super) struct Reader<'a> {
    message: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads from `at` to `end`, which is within the message.
    pub(super) fn new(message: &'a Bytes, at: usize, end: usize) -> Self {
        Self {
            message,
            at: at.min(end),
            end,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    fn take(&mut self, len: usize) -> Result<(usize, usize)> {
        let end = self.at.checked_add(len).ok_or(Malformed)?;
        if end > self.end {
            return Err(Malformed);
        }
        Ok((std::mem::replace(&mut self.at, end), end))
    }

    fn byte(&mut self) -> Result<u8> {
        let (at, _) = self.take(1)?;
        Ok(self.message[at])
    }

    pub(super) fn fixed(&mut self) -> Result<u64> {
        let (at, end) = self.take(8)?;
        let bytes = self.message[at..end].try_into();
        bytes.map(u64::from_be_bytes).map_err(|_| Malformed)
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for place in 0..10 {
            let byte = self.byte()?;
            if place == 9 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn range(&mut self) -> Result<(usize, usize)> {
        let len = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(len)
    }

    fn blob(&mut self) -> Result<Bytes> {
        let (at, end) = self.range()?;
        Ok(self.message.slice(at..end))
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        let (at, end) = self.range()?;
        std::str::from_utf8(&self.message[at..end]).map_err(|_| Malformed)
    }

    /// A list. Room is made for as many as could be there, a byte each, not for what is announced.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        if count > self.end - self.at {
            return Err(Malformed);
        }
        let mut list = Vec::with_capacity(count.min(16));
        for _ in 0..count {
            list.push(item(self)?);
        }
        Ok(list)
    }

    fn names(&mut self) -> Result<Vec<RoomName>> {
        self.list(|reader| reader.text().map(Arc::from))
    }

    fn selection(&mut self) -> Result<Selection> {
        Ok(Selection {
            rooms: self.names()?,
            except: self.names()?,
        })
    }

    fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn event(&mut self) -> Result<Event> {
        Ok(Event {
            name: self.text()?.into(),
            args: self.args()?,
        })
    }

    fn args(&mut self) -> Result<Args> {
        match self.byte()? {
            0 => {
                let json = self.text()?;
                let attachments = self.list(Self::blob)?;
                Args::from_json(json, attachments, &limits()).map_err(|_| Malformed)
            }
            1 => Args::from_msgpack(self.blob()?, &limits()).map_err(|_| Malformed),
            _ => Err(Malformed),
        }
    }

    fn broadcast(&mut self) -> Result<Broadcast> {
        let flags = self.byte()?;
        if flags & !(write::VOLATILE | write::PLAIN | write::TIMEOUT | write::OFFSET) != 0 {
            return Err(Malformed);
        }
        let is_set = |flag| flags & flag != 0;
        let timeout_ms = match is_set(write::TIMEOUT) {
            true => Some(self.number()?),
            false => None,
        };
        let offset = match is_set(write::OFFSET) {
            true => Some(self.text()?.parse().map_err(|_| Malformed)?),
            false => None,
        };
        Ok(Broadcast {
            selection: self.selection()?,
            flags: Flags {
                volatile: is_set(write::VOLATILE),
                compress: !is_set(write::PLAIN),
                timeout_ms,
            },
            event: self.event()?,
            offset,
        })
    }

    fn operation(&mut self) -> Result<Operation> {
        Ok(match self.byte()? {
            1 => Operation::Broadcast(self.broadcast()?),
            2 => Operation::Join {
                selection: self.selection()?,
                rooms: self.names()?,
            },
            3 => Operation::Leave {
                selection: self.selection()?,
                rooms: self.names()?,
            },
            4 => Operation::Disconnect {
                selection: self.selection()?,
                close: self.flag()?,
            },
            5 => Operation::ServerSide(self.event()?),
            _ => return Err(Malformed),
        })
    }

    fn request(&mut self) -> Result<Request> {
        Ok(match self.byte()? {
            1 => Request::Broadcast(self.broadcast()?),
            2 => Request::FetchSockets(self.selection()?),
            3 => Request::Count(self.selection()?),
            4 => Request::Rooms,
            5 => Request::ServerSide(self.event()?),
            6 => Request::Apply(self.operation()?),
            _ => return Err(Malformed),
        })
    }

    fn answer(&mut self) -> Result<Answer> {
        Ok(match self.byte()? {
            1 => Answer::Clients(self.number()?),
            2 => Answer::Ack {
                socket: match self.flag()? {
                    true => Some(self.text()?.into()),
                    false => None,
                },
                args: self.args()?,
            },
            3 => Answer::Sockets(self.list(|reader| {
                Ok(SocketDetails {
                    id: reader.text()?.into(),
                    rooms: reader.names()?,
                    handshake: reader.args()?,
                    data: reader.args()?,
                })
            })?),
            4 => Answer::Count(self.number()?),
            5 => Answer::Rooms(self.list(|reader| {
                Ok(RoomSize {
                    name: reader.text()?.into(),
                    sockets: reader.number()?.checked_sub(1),
                })
            })?),
            6 => Answer::ServerSide(self.args()?),
            7 => Answer::Done,
            8 => Answer::Absent,
            _ => return Err(Malformed),
        })
    }
}

pub(super) fn body(reader: &mut Reader<'_>, kind: u8) -> Result<Body> {
    Ok(match kind {
        write::OPERATION => Body::Operation(reader.operation()?),
        write::REQUEST => Body::Request {
            id: reader.number()?,
            request: reader.request()?,
        },
        write::ANSWER => Body::Answer {
            id: reader.number()?,
            to: NodeId::from(reader.text()?),
            answer: reader.answer()?,
        },
        write::HELLO => Body::Hello,
        write::HEARTBEAT => Body::Heartbeat,
        write::GOODBYE => Body::Goodbye,
        _ => return Err(Malformed),
    })
}

/// Servers may send more arguments and attachments than they take from clients; the depth is bounded
/// all the same.
fn limits() -> Limits {
    Limits {
        max_attachments: usize::MAX,
        max_attachment_bytes: usize::MAX,
        max_args: usize::MAX,
        ..Limits::default()
    }
}
