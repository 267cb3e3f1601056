//! Writing: what the turn has queued leaves in batches, one vectored write per connection.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use sockeye_core::{Key, Message, Session, Shard};

use crate::net::{Io, Net, PollAnswer, Writer};
use crate::worker::{Link, Signal, Worker};

/// Connections written to between two looks at the readable ones.
const BATCH: usize = 512;
/// Slices of one vectored write.
const MAX_SLICES: usize = 64;
/// Bytes of one vectored write, about.
const MAX_BYTES: usize = 256 << 10;
/// Bytes of one polling answer, about.
const MAX_PAYLOAD: usize = 1 << 20;

/// One message in the form in which it leaves.
pub(crate) enum Chunk {
    Plain(Arc<Message>),
    Deflated(Bytes),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Plain(message) => message.cost(),
            Chunk::Deflated(bytes) => bytes.len(),
        }
    }

    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (plain, deflated) = match self {
            Chunk::Plain(message) => (Some(message.frames()), None),
            Chunk::Deflated(bytes) => (None, Some(&bytes[..])),
        };
        plain.into_iter().flatten().chain(deflated)
    }
}

/// What one connection writes next.
pub(crate) struct Batch {
    key: Key,
    link: Arc<Link>,
    chunks: SmallVec<[Chunk; 1]>,
    sent: usize,
    outcome: io::Result<usize>,
}

/// Takes up to a write's worth of what waits for a WebSocket connection.
pub(crate) fn gather(key: Key, session: &mut Session<Io>) -> Option<Batch> {
    let Writer::WebSocket { link, deflate } = &mut session.io.writer else {
        return None;
    };
    let mut chunks: SmallVec<[Chunk; 1]> = SmallVec::new();
    let mut bytes = 0;
    let link = link.clone();
    if let Some(deflate) = deflate {
        deflate.stage(&mut session.out, MAX_BYTES);
        if deflate.takeover() {
            for staged in deflate.staged() {
                chunks.push(Chunk::Deflated(staged.clone()));
            }
            let sent = deflate.sent();
            return (!chunks.is_empty()).then_some(Batch {
                key,
                link,
                chunks,
                sent,
                outcome: Ok(0),
            });
        }
    }
    for message in session.out.iter() {
        if chunks.len() == MAX_SLICES / 2 || bytes >= MAX_BYTES {
            break;
        }
        let shared = deflate.as_ref().and_then(|deflate| deflate.shared(message));
        let chunk = shared.map_or_else(|| Chunk::Plain(message.clone()), Chunk::Deflated);
        bytes += chunk.len();
        chunks.push(chunk);
    }
    if chunks.is_empty() {
        return None;
    }
    session.out.set_in_flight(chunks.len());
    Some(Batch {
        key,
        link,
        chunks,
        sent: session.out.sent(),
        outcome: Ok(0),
    })
}

impl Batch {
    /// The slices still to be written.
    pub(crate) fn slices(&self) -> SmallVec<[IoSlice<'_>; 4]> {
        let mut skip = self.sent;
        let mut slices = SmallVec::new();
        for slice in self.chunks.iter().flat_map(Chunk::slices) {
            if skip >= slice.len() {
                skip -= slice.len();
                continue;
            }
            if slices.len() == MAX_SLICES {
                break;
            }
            slices.push(IoSlice::new(&slice[skip..]));
            skip = 0;
        }
        slices
    }

    fn write(&mut self) {
        let slices = self.slices();
        let outcome = self.link.try_write(&slices);
        drop(slices);
        self.outcome = outcome;
    }

    pub(crate) fn set_outcome(&mut self, outcome: io::Result<usize>) {
        self.outcome = outcome;
    }
}

/// Records what a write has achieved.
pub(crate) fn settle(shard: &mut Shard<Net>, batch: Batch) {
    let Batch {
        key,
        link,
        chunks,
        sent,
        outcome,
    } = batch;
    let Some(session) = shard.session_mut(key) else {
        return;
    };
    let (written, refused) = match outcome {
        Ok(written) => (written, false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, true),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, false),
        Err(_) => return shard.transport_closed(key, false),
    };
    let mut left = sent + written;
    let mut whole = 0;
    for chunk in &chunks {
        if left < chunk.len() {
            break;
        }
        left -= chunk.len();
        whole += 1;
    }
    let all = whole == chunks.len();
    link.set_mid_message(left > 0);
    let was_blocked = session.blocked;
    session.sent(whole, left);
    let more = session.has_more();
    session.io.connection.set_backlog(session.out.bytes());
    if all {
        if was_blocked {
            shard.write_progressed(key);
        }
        if more {
            shard.mark_dirty(key);
        } else {
            shard.drained(key);
        }
        return;
    }
    if written > 0 {
        shard.write_progressed(key);
    }
    if refused || !link.is_direct() || written > 0 {
        shard.write_blocked(key);
        link.signal(Signal::Blocked);
    } else {
        shard.mark_dirty(key);
    }
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

impl Worker {
    /// Writes what the turn has queued. Between batches the readable connections get their turn.
    pub(super) async fn flush(self: &Arc<Self>) {
        let mut keys = Vec::new();
        let mut batches = Vec::new();
        loop {
            keys.clear();
            self.state.lock().take_dirty(&mut keys);
            if keys.is_empty() {
                return;
            }
            let mut rest = &keys[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(BATCH));
                self.write_batch(now, &mut batches);
                rest = later;
                if !rest.is_empty() {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Writes to one connection at once, in the middle of a turn: it has no room for what a
    /// handler says, and the kernel may have.
    pub(crate) fn flush_one(&self, key: Key) {
        self.write_batch(&[key], &mut Vec::new());
    }

    fn write_batch(&self, keys: &[Key], batches: &mut Vec<Batch>) {
        {
            let mut shard = self.state.lock();
            for key in keys {
                self.prepare(&mut shard, *key, batches);
            }
            if batches.is_empty() && shard.has_effects() {
                self.request_turn();
            }
        }
        for batch in batches.iter_mut() {
            batch.write();
        }
        if batches.is_empty() {
            return;
        }
        let mut shard = self.state.lock();
        for batch in batches.drain(..) {
            settle(&mut shard, batch);
        }
        let more = shard.has_effects() || shard.is_dirty();
        drop(shard);
        if more {
            self.request_turn();
        }
    }

    fn prepare(&self, shard: &mut Shard<Net>, key: Key, batches: &mut Vec<Batch>) {
        let Some(session) = shard.session_mut(key) else {
            return;
        };
        match &session.io.writer {
            Writer::WebSocket { link, .. } if !link.is_direct() => {
                if session.blocked {
                    session.io.connection.set_backlog(session.out.bytes());
                }
                link.signal(Signal::Write);
            }
            Writer::WebSocket { .. } if session.blocked => {
                session.io.connection.set_backlog(session.out.bytes());
            }
            Writer::WebSocket { .. } => match gather(key, session) {
                Some(batch) => batches.push(batch),
                None => shard.drained(key),
            },
            Writer::Polling { .. } => answer_poll(shard, key),
        }
    }
}

/// Answers the poll a client holds open, if something waits for it.
pub(crate) fn answer_poll(shard: &mut Shard<Net>, key: Key) {
    let Some(payload) = shard.take_payload(key, MAX_PAYLOAD) else {
        if let Some(session) = shard.session(key) {
            session.io.connection.set_backlog(session.out.bytes());
        }
        shard.await_poll(key);
        return shard.drained(key);
    };
    let Some(session) = shard.session_mut(key) else {
        return;
    };
    session.io.connection.set_backlog(session.out.bytes());
    if let Writer::Polling { poll } = &mut session.io.writer
        && let Some(poll) = poll.take()
    {
        let _ = poll.send(PollAnswer::Payload(payload));
    }
    shard.drained(key);
}
