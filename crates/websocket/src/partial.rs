//! What a reader keeps while a frame or message is half received.

use crate::deflate::inflate::Inflater;
use crate::error::{Error, Kind};
use crate::event::Event;
use crate::frame::{FrameHeader, MAX_HEADER, OpCode};
use crate::limits::Limits;
use crate::utf8::TextBuf;

/// Compressed bytes are collected up to this before an inflater, larger than this, is taken from
/// the pool: a peer that stops in the middle of a small message holds no inflater.
const PENDING: usize = 32 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Partial {
    pub(crate) head: CutHeader,
    pub(crate) frame: Option<CutFrame>,
    /// The payload of a cut control frame.
    pub(crate) control: Vec<u8>,
    pub(crate) message: Option<Message>,
}

impl Partial {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.len == 0 && self.frame.is_none() && self.message.is_none()
    }

    pub(crate) fn memory(&self) -> usize {
        let message = self.message.as_ref().map_or(0, Message::memory);
        size_of::<Partial>() + self.control.capacity() + message
    }
}

/// The beginning of a header.
#[derive(Debug, Default)]
pub(crate) struct CutHeader {
    pub(crate) bytes: [u8; MAX_HEADER],
    pub(crate) len: usize,
}

/// A frame whose payload has not come completely.
#[derive(Debug)]
pub(crate) struct CutFrame {
    pub(crate) header: FrameHeader,
    pub(crate) received: usize,
}

/// A message in progress.
#[derive(Debug)]
pub(crate) struct Message {
    assembly: Assembly,
    /// Payload bytes of its frames so far, announced ones included.
    pub(crate) wire: usize,
    compression: Option<Compression>,
}

#[derive(Debug)]
struct Compression {
    takeover: bool,
    pending: Vec<u8>,
    inflater: Option<Box<Inflater>>,
}

impl Message {
    pub(crate) fn plain(opcode: OpCode, wire: usize) -> Message {
        Message {
            assembly: Assembly::new(opcode),
            wire,
            compression: None,
        }
    }

    /// `kept` is the connection's inflater, when context takeover has made it have one.
    pub(crate) fn compressed(
        opcode: OpCode,
        wire: usize,
        takeover: bool,
        kept: Option<Box<Inflater>>,
    ) -> Message {
        let compression = Compression {
            takeover,
            pending: Vec::new(),
            inflater: kept,
        };
        Message {
            assembly: Assembly::new(opcode),
            wire,
            compression: Some(compression),
        }
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Takes the next piece of payload. `to_come` is how much of the message follows, if known.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        to_come: Option<usize>,
        limits: &Limits,
    ) -> Result<(), Error> {
        let Some(compression) = &mut self.compression else {
            return self.assembly.push(piece, to_come);
        };
        let whole = to_come == Some(0) && compression.pending.is_empty();
        if compression.inflater.is_none() && !whole {
            if compression.pending.len() + piece.len() <= PENDING {
                compression.pending.extend_from_slice(piece);
                return Ok(());
            }
            compression.start(&mut self.assembly, limits)?;
        }
        compression.inflate(piece, &mut self.assembly, limits)
    }

    /// The message as an event, and the inflater to keep, if any.
    pub(crate) fn finish(
        mut self,
        limits: &Limits,
    ) -> Result<(Event<'static>, Option<Box<Inflater>>), Error> {
        let mut kept = None;
        if let Some(mut compression) = self.compression.take() {
            if self.wire > 0 {
                compression.start(&mut self.assembly, limits)?;
                let inflater = compression.inflater.as_mut();
                if let Some(inflater) = inflater {
                    inflater.finish(&mut self.assembly, limits.max_inflated_size)?;
                }
            }
            match compression.inflater {
                Some(inflater) if compression.takeover => kept = Some(inflater),
                Some(inflater) => inflater.recycle(),
                None => {}
            }
        }
        Ok((self.assembly.finish()?, kept))
    }

    fn memory(&self) -> usize {
        let compression = self.compression.as_ref().map_or(0, |c| {
            c.pending.capacity()
                + if c.inflater.is_some() {
                    Inflater::MEMORY
                } else {
                    0
                }
        });
        self.assembly.capacity() + compression
    }
}

impl Compression {
    /// Makes sure of an inflater and feeds it what was collected.
    fn start(&mut self, assembly: &mut Assembly, limits: &Limits) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        self.inflate(&pending, assembly, limits)
    }

    fn inflate(
        &mut self,
        piece: &[u8],
        assembly: &mut Assembly,
        limits: &Limits,
    ) -> Result<(), Error> {
        let inflater = self
            .inflater
            .get_or_insert_with(|| Inflater::acquire(self.takeover));
        inflater.push(piece, assembly, limits.max_inflated_size)
    }
}

/// The payload of a message, growing.
#[derive(Debug)]
pub(crate) enum Assembly {
    Text(TextBuf),
    Binary(Vec<u8>),
}

impl Assembly {
    pub(crate) fn new(opcode: OpCode) -> Assembly {
        if opcode == OpCode::Text {
            Assembly::Text(TextBuf::default())
        } else {
            Assembly::Binary(Vec::new())
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Assembly::Text(text) => text.len(),
            Assembly::Binary(bytes) => bytes.len(),
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8], to_come: Option<usize>) -> Result<(), Error> {
        self.make_room(piece.len(), to_come);
        match self {
            Assembly::Text(text) => text.push(piece).map_err(|_| Error(Kind::TextUtf8)),
            Assembly::Binary(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    pub(crate) fn finish(self) -> Result<Event<'static>, Error> {
        Ok(match self {
            Assembly::Text(text) => {
                let mut text = text.finish().map_err(|_| Error(Kind::TextUtf8))?;
                if wasteful(text.capacity(), text.len()) {
                    text.shrink_to_fit();
                }
                Event::Text(text.into())
            }
            Assembly::Binary(mut bytes) => {
                if wasteful(bytes.capacity(), bytes.len()) {
                    bytes.shrink_to_fit();
                }
                Event::Binary(bytes.into())
            }
        })
    }

    /// Doubles, but never beyond the message's end where that is known: memory stays below twice
    /// of what came, and a message that comes in one frame ends with none to spare.
    fn make_room(&mut self, piece: usize, to_come: Option<usize>) {
        let len = self.len();
        if self.capacity() - len.min(self.capacity()) >= piece {
            return;
        }
        let doubled = len.saturating_add(piece);
        let additional = match to_come {
            Some(rest) => piece.saturating_add(rest.min(len)),
            None => doubled,
        };
        match self {
            Assembly::Text(text) => text.reserve_exact(additional),
            Assembly::Binary(bytes) => bytes.reserve_exact(additional),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Assembly::Text(text) => text.capacity(),
            Assembly::Binary(bytes) => bytes.capacity(),
        }
    }
}

/// Messages may be kept for long, so a third to spare is given back.
fn wasteful(capacity: usize, len: usize) -> bool {
    capacity - len > 256 && capacity - len > len / 2
}
