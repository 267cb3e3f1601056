//! What one connection writes next, and the account of what it has written.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use sockeye_core::{Key, Message, Session, Shard};

use crate::net::{Io, Net, Writer};
use crate::worker::{Link, Signal};

/// Slices of one vectored write.
const MAX_SLICES: usize = 64;
/// Bytes of one vectored write, about.
const MAX_BYTES: usize = 256 << 10;

/// One message in the form in which it leaves.
enum Chunk<'a> {
    Plain(&'a Arc<Message>),
    Deflated(&'a Bytes),
}

impl<'a> Chunk<'a> {
    fn len(&self) -> usize {
        match self {
            Chunk::Plain(message) => message.cost(),
            Chunk::Deflated(bytes) => bytes.len(),
        }
    }

    fn slices(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (plain, deflated) = match self {
            Chunk::Plain(message) => (Some(message.frames()), None),
            Chunk::Deflated(bytes) => (None, Some(&bytes[..])),
        };
        plain.into_iter().flatten().chain(deflated)
    }
}

/// What waits for a connection, in order, in the form in which it leaves. [`stage`] goes before.
fn waiting<'a>(session: &'a Session<Io>) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
    let deflate = match &session.io.writer {
        Writer::WebSocket { deflate, .. } => deflate.as_deref(),
        Writer::Polling { .. } => None,
    };
    let own = deflate.filter(|deflate| deflate.takeover());
    let staged = own.into_iter().flat_map(|own| own.staged());
    let queued = own.is_none().then(|| session.out.iter());
    let queued = queued.into_iter().flatten().map(move |message| {
        let shared = deflate.and_then(|deflate| deflate.shared(message));
        shared.map_or(Chunk::Plain(message), Chunk::Deflated)
    });
    staged.map(Chunk::Deflated).chain(queued)
}

/// Bytes of the first of what waits that have left already.
fn sent(session: &Session<Io>) -> usize {
    match &session.io.writer {
        Writer::WebSocket {
            deflate: Some(deflate),
            ..
        } if deflate.takeover() => deflate.sent(),
        _ => session.out.sent(),
    }
}

/// The slices of one write of what is left when `sent` bytes have left already.
fn unsent<'a>(
    chunks: impl Iterator<Item = Chunk<'a>>,
    sent: usize,
) -> impl Iterator<Item = &'a [u8]> {
    let (mut skip, mut bytes) = (sent, 0);
    let slices = chunks.flat_map(|chunk| chunk.slices());
    let left = slices.filter_map(move |slice| {
        let rest = slice.get(skip..).filter(|rest| !rest.is_empty());
        skip -= skip.min(slice.len());
        rest
    });
    left.take(MAX_SLICES).take_while(move |slice| {
        let room = bytes < MAX_BYTES;
        bytes += slice.len();
        room
    })
}

/// Compresses what a connection with a window of its own writes next. Whether something waits.
pub(super) fn stage(session: &mut Session<Io>) -> bool {
    if let Writer::WebSocket {
        deflate: Some(deflate),
        ..
    } = &mut session.io.writer
    {
        deflate.stage(&mut session.out, MAX_BYTES);
    }
    session.has_more()
}

/// Writes of many connections, lent for the time of a flush.
#[derive(Default)]
pub(super) struct Batch<'a> {
    links: Vec<&'a Link>,
    slices: Vec<IoSlice<'a>>,
    /// Where the slices of each connection end; they begin where those before them end.
    ends: Vec<usize>,
}

impl<'a> Batch<'a> {
    /// A batch for up to so many connections.
    pub(super) fn with_capacity(connections: usize) -> Self {
        Batch {
            links: Vec::with_capacity(connections),
            slices: Vec::with_capacity(connections),
            ends: Vec::with_capacity(connections),
        }
    }

    /// Adds what `session` writes next; false if that is nothing.
    pub(super) fn add(&mut self, session: &'a Session<Io>) -> bool {
        let Writer::WebSocket { link, .. } = &session.io.writer else {
            return false;
        };
        let slices = unsent(waiting(session), sent(session));
        let before = self.slices.len();
        self.slices.extend(slices.map(IoSlice::new));
        if self.slices.len() == before {
            return false;
        }
        self.links.push(link);
        self.ends.push(self.slices.len());
        true
    }

    /// Adds a write of `slices`.
    #[cfg(test)]
    pub(super) fn add_slices(
        &mut self,
        link: &'a Link,
        slices: impl IntoIterator<Item = &'a [u8]>,
    ) {
        self.slices.extend(slices.into_iter().map(IoSlice::new));
        self.links.push(link);
        self.ends.push(self.slices.len());
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Each connection with its slices.
    pub(super) fn writes<'b>(&'b self) -> impl Iterator<Item = (&'b Link, &'b [IoSlice<'b>])>
    where
        'a: 'b,
    {
        let mut begin = 0;
        self.links.iter().zip(&self.ends).map(move |(link, end)| {
            let slices = &self.slices[begin..*end];
            begin = *end;
            (*link, slices)
        })
    }
}

/// What a connection writes next, held by its own task.
pub(crate) struct Taken {
    chunks: SmallVec<[Held; 1]>,
    sent: usize,
}

enum Held {
    Plain(Arc<Message>),
    Deflated(Bytes),
}

impl Taken {
    /// Takes up to a write's worth of what waits. What is taken stays in the queue, and is not
    /// dropped or replaced there until [`settle`] has seen what became of it.
    pub(crate) fn from(session: &mut Session<Io>) -> Option<Taken> {
        stage(session);
        let mut bytes = 0;
        let mut chunks = SmallVec::new();
        for chunk in waiting(session).take(MAX_SLICES / 2) {
            bytes += chunk.len();
            chunks.push(match chunk {
                Chunk::Plain(message) => Held::Plain(message.clone()),
                Chunk::Deflated(bytes) => Held::Deflated(bytes.clone()),
            });
            if bytes >= MAX_BYTES {
                break;
            }
        }
        let sent = sent(session);
        session.out.set_in_flight(chunks.len());
        (!chunks.is_empty()).then_some(Taken { chunks, sent })
    }

    /// The slices still to be written.
    pub(crate) fn slices(&self) -> SmallVec<[IoSlice<'_>; 4]> {
        let chunks = self.chunks.iter().map(|held| match held {
            Held::Plain(message) => Chunk::Plain(message),
            Held::Deflated(bytes) => Chunk::Deflated(bytes),
        });
        unsent(chunks, self.sent).map(IoSlice::new).collect()
    }
}

/// Records what a write to a connection has achieved.
pub(crate) fn settle(shard: &mut Shard<Net>, key: Key, outcome: io::Result<usize>) {
    let Some(session) = shard.session_mut(key) else {
        return;
    };
    let (written, refused) = match outcome {
        Ok(written) => (written, false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, true),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, false),
        Err(_) => return shard.transport_closed(key, false),
    };
    let before = sent(session);
    let (mut whole, mut left) = (0, before + written);
    for chunk in waiting(session) {
        if left < chunk.len() {
            break;
        }
        left -= chunk.len();
        whole += 1;
    }
    session.sent(whole, left);
    session.io.tell_backlog(session.out.bytes());
    let (more, deadline) = (session.has_more(), session.awaits_write());
    let Writer::WebSocket { link, .. } = &session.io.writer else {
        return;
    };
    if before != left {
        link.set_mid_message(left > 0);
    }
    if !refused && (left == 0 || written == 0) {
        if deadline && written > 0 {
            shard.write_progressed(key);
        }
        if more {
            shard.mark_dirty(key);
        } else {
            shard.drained(key);
        }
        return;
    }
    // The kernel has no room for more: the task of the connection waits for it.
    let link = link.clone();
    if written > 0 {
        shard.write_progressed(key);
    }
    shard.write_blocked(key);
    link.signal(Signal::Blocked);
}

/// Small extensions to the session that only writing needs.
trait Progress {
    fn sent(&mut self, whole: usize, partial: usize);
    fn has_more(&self) -> bool;
}

impl Progress for Session<Io> {
    fn sent(&mut self, whole: usize, partial: usize) {
        if let Writer::WebSocket {
            deflate: Some(deflate),
            ..
        } = &mut self.io.writer
            && deflate.takeover()
        {
            deflate.advance(whole, partial);
            self.out.set_held(deflate.staged_bytes());
            return;
        }
        for _ in 0..whole {
            self.out.pop();
        }
        self.out.set_in_flight(0);
        self.out.set_sent(partial);
    }

    fn has_more(&self) -> bool {
        let staged = match &self.io.writer {
            Writer::WebSocket {
                deflate: Some(deflate),
                ..
            } => deflate.staged().next().is_some(),
            _ => false,
        };
        staged || !self.out.is_empty()
    }
}
