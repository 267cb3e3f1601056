use crate::close::CloseFrame;
use crate::deflate::Agreed;
use crate::deflate::inflate::Inflater;
use crate::error::{Error, Kind};
use crate::event::{Event, Input};
use crate::frame::{FrameHeader, MAX_CONTROL, MAX_HEADER, OpCode};
use crate::limits::{Limits, Role};
use crate::mask;
use crate::partial::{CutFrame, Message, Partial};

/// Reads messages from the bytes of one connection.
///
/// Small (a test holds it to 32 bytes) and without heap memory while nothing is half received,
/// except for one inflater when the peer compresses with context takeover
/// ([`deflate`](crate::deflate) states the figures).
#[derive(Debug)]
pub struct Reader {
    partial: Option<Box<Partial>>,
    /// Kept between messages only when the peer's context takes over.
    inflater: Option<Box<Inflater>>,
    deflate: Option<Agreed>,
    role: Role,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A close frame came; what follows it is ignored (RFC 6455 §1.4).
    Closed,
    Failed(Error),
}

impl Reader {
    /// A reader for our end of a connection, with what the handshake agreed on.
    pub fn new(role: Role, deflate: Option<Agreed>) -> Reader {
        Reader {
            partial: None,
            inflater: None,
            deflate,
            role,
            state: State::Open,
        }
    }

    /// The next event. Call until `None`, which means that `input` is consumed; then the caller's
    /// buffer may be reused: what is needed of an unfinished frame is kept here.
    ///
    /// # Errors
    /// The peer broke the protocol or a limit: close with the error's code. The rest of the input
    /// is not read and the same error is returned from then on.
    pub fn next<'b>(
        &mut self,
        limits: &Limits,
        input: &mut Input<'b>,
    ) -> Result<Option<Event<'b>>, Error> {
        match self.state {
            State::Open => {}
            State::Closed => {
                input.take(input.len());
                return Ok(None);
            }
            State::Failed(error) => return Err(error),
        }
        let result = self.step(limits, input);
        match &result {
            Ok(Some(Event::Close(_))) => self.end(State::Closed),
            Ok(_) => self.tidy(),
            Err(error) => self.end(State::Failed(*error)),
        }
        result
    }

    /// Whether a frame or message is half received: the caller arms a deadline while it is.
    pub fn has_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Heap bytes held for what is half received, and for the inflater, if one is kept.
    pub fn memory(&self) -> usize {
        let partial = self.partial.as_ref().map_or(0, |partial| partial.memory());
        partial
            + if self.inflater.is_some() {
                Inflater::MEMORY
            } else {
                0
            }
    }

    /// Whether a close frame came: no event follows.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What the handshake agreed on.
    pub fn deflate(&self) -> Option<Agreed> {
        self.deflate
    }

    fn step<'b>(
        &mut self,
        limits: &Limits,
        input: &mut Input<'b>,
    ) -> Result<Option<Event<'b>>, Error> {
        while !input.is_empty() {
            let cut = self
                .partial
                .as_mut()
                .and_then(|partial| partial.frame.take());
            let (header, received) = match cut {
                Some(cut) => (cut.header, cut.received),
                None => match self.header(limits, input)? {
                    Some(header) => (header, 0),
                    None => return Ok(None),
                },
            };
            // The length was admitted below a limit that is a usize.
            let left = header.len as usize - received;
            let piece = input.take(left);
            if self.role == Role::Server {
                mask::apply(piece, header.mask, received);
            }
            let piece: &'b [u8] = piece;
            let missing = left - piece.len();
            let whole = received == 0 && missing == 0;

            if piece.is_empty() && missing > 0 {
                // The input ended behind the header; the payload may still come in one piece.
            } else if header.opcode.is_control() {
                if whole {
                    return control_event(header.opcode, piece).map(Some);
                }
                let partial = self.partial.get_or_insert_default();
                partial.control.extend_from_slice(piece);
                if missing == 0 {
                    let payload = std::mem::take(&mut partial.control);
                    return owned_control_event(header.opcode, payload).map(Some);
                }
            } else if whole && header.fin && header.opcode != OpCode::Continuation {
                return self.whole_message(header, piece, limits).map(Some);
            } else {
                let to_come = header.fin.then_some(missing);
                let message = self.message(&header);
                message.push(piece, to_come, limits)?;
                if missing == 0 && header.fin {
                    return self.finish_message(limits);
                }
            }
            if missing > 0 {
                let received = received + piece.len();
                self.partial.get_or_insert_default().frame = Some(CutFrame { header, received });
            }
        }
        Ok(None)
    }

    /// The next header, admitted; `None` when the input ends inside it.
    fn header(
        &mut self,
        limits: &Limits,
        input: &mut Input<'_>,
    ) -> Result<Option<FrameHeader>, Error> {
        let (role, deflate) = (self.role, self.deflate.is_some());
        let kept = self.partial.as_ref().map_or(0, |partial| partial.head.len);
        let header = if kept == 0 {
            match FrameHeader::parse(input.remaining(), role, deflate)? {
                Some((header, used)) => {
                    input.take(used);
                    header
                }
                None => {
                    self.keep_header(input);
                    return Ok(None);
                }
            }
        } else {
            let before = input.len();
            let mut peek = [0; MAX_HEADER];
            let have = kept + before.min(MAX_HEADER - kept);
            peek[kept..have].copy_from_slice(&input.remaining()[..have - kept]);
            let head = &mut self.partial.get_or_insert_default().head;
            peek[..kept].copy_from_slice(&head.bytes[..kept]);
            match FrameHeader::parse(&peek[..have], role, deflate)? {
                Some((header, used)) => {
                    // The kept bytes were no header, so at least one more was used.
                    input.take(used - kept);
                    head.len = 0;
                    header
                }
                None => {
                    self.keep_header(input);
                    return Ok(None);
                }
            }
        };
        self.admit(&header, limits)?;
        Ok(Some(header))
    }

    /// Keeps the rest of the input, which is shorter than a header.
    fn keep_header(&mut self, input: &mut Input<'_>) {
        let head = &mut self.partial.get_or_insert_default().head;
        let rest = input.take(MAX_HEADER - head.len);
        head.bytes[head.len..head.len + rest.len()].copy_from_slice(rest);
        head.len += rest.len();
    }

    /// Judges a header by the message in progress and by the limits.
    fn admit(&mut self, header: &FrameHeader, limits: &Limits) -> Result<(), Error> {
        if header.opcode.is_control() {
            return Ok(());
        }
        let message = self
            .partial
            .as_mut()
            .and_then(|partial| partial.message.as_mut());
        match (&message, header.opcode) {
            (None, OpCode::Continuation) => return Err(Error(Kind::UnexpectedContinuation)),
            (Some(_), OpCode::Text | OpCode::Binary) => {
                return Err(Error(Kind::MessageInterrupted));
            }
            _ => {}
        }
        let compressed = message
            .as_ref()
            .map_or(header.compressed, |m| m.is_compressed());
        let Some(len) = usize::try_from(header.len)
            .ok()
            .filter(|l| *l <= limits.frame(compressed))
        else {
            return Err(Error(Kind::FrameTooBig));
        };
        let before = message.as_ref().map_or(0, |m| m.wire);
        let wire = before.saturating_add(len);
        if wire > limits.message(compressed) {
            return Err(Error(Kind::MessageTooBig));
        }
        if let Some(message) = message {
            message.wire = wire;
        }
        Ok(())
    }

    /// A message in one frame that lies in the input completely.
    fn whole_message<'b>(
        &mut self,
        header: FrameHeader,
        payload: &'b [u8],
        limits: &Limits,
    ) -> Result<Event<'b>, Error> {
        if header.compressed {
            let mut message = self.begin(&header);
            message.push(payload, Some(0), limits)?;
            let (event, kept) = message.finish(limits)?;
            self.inflater = kept;
            return Ok(event);
        }
        if header.opcode == OpCode::Text {
            let text = std::str::from_utf8(payload).map_err(|_| Error(Kind::TextUtf8))?;
            return Ok(Event::Text(text.into()));
        }
        Ok(Event::Binary(payload.into()))
    }

    /// The message that the frame belongs to.
    fn message(&mut self, header: &FrameHeader) -> &mut Message {
        if self
            .partial
            .as_ref()
            .is_none_or(|partial| partial.message.is_none())
        {
            let message = self.begin(header);
            self.partial.get_or_insert_default().message = Some(message);
        }
        let message = &mut self.partial.get_or_insert_default().message;
        // Set above where it was missing, so a new one is never made here.
        message.get_or_insert_with(|| Message::plain(header.opcode, 0))
    }

    fn begin(&mut self, header: &FrameHeader) -> Message {
        let wire = header.len as usize;
        if !header.compressed {
            return Message::plain(header.opcode, wire);
        }
        let takeover = self
            .deflate
            .is_some_and(|agreed| agreed.takeover(peer(self.role)));
        Message::compressed(header.opcode, wire, takeover, self.inflater.take())
    }

    fn finish_message<'b>(&mut self, limits: &Limits) -> Result<Option<Event<'b>>, Error> {
        let message = self
            .partial
            .as_mut()
            .and_then(|partial| partial.message.take());
        let Some(message) = message else {
            return Ok(None);
        };
        let (event, kept) = message.finish(limits)?;
        if kept.is_some() {
            self.inflater = kept;
        }
        Ok(Some(event))
    }

    /// Gives memory back when nothing is half received any more.
    fn tidy(&mut self) {
        if self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.is_empty())
        {
            self.partial = None;
        }
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.partial = None;
        self.inflater = None;
    }
}

fn peer(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

fn control_event(opcode: OpCode, payload: &[u8]) -> Result<Event<'_>, Error> {
    debug_assert!(payload.len() <= MAX_CONTROL);
    Ok(match opcode {
        OpCode::Close => Event::Close(CloseFrame::parse(payload)?),
        OpCode::Ping => Event::Ping(payload.into()),
        _ => Event::Pong(payload.into()),
    })
}

fn owned_control_event<'b>(opcode: OpCode, payload: Vec<u8>) -> Result<Event<'b>, Error> {
    Ok(match opcode {
        OpCode::Close => Event::Close(CloseFrame::parse(&payload)?),
        OpCode::Ping => Event::Ping(payload.into()),
        _ => Event::Pong(payload.into()),
    })
}
