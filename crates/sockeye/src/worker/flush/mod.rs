//! Writing: what the turn has queued leaves in batches, at the end of the turn.

mod batch;
#[cfg(target_os = "linux")]
mod batched;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(test)]
mod tests;
mod vectored;

use std::collections::VecDeque;
use std::io;

use sockeye_core::{Key, Session, Shard};

use crate::config::IoUring;
use crate::net::{Io, Net, PollAnswer, Writer};
use crate::worker::{Signal, Worker};

use batch::{Batch, stage};
#[cfg(target_os = "linux")]
use batched::Batched;
use vectored::Vectored;

pub(crate) use batch::{Taken, settle};

/// Connections that go before those that wait, at most.
const FEW: usize = 128;
/// Bytes of one polling answer, about.
const MAX_PAYLOAD: usize = 1 << 20;

/// A way to write to many connections.
trait Flush {
    /// How many connections it writes to between two looks at the readable ones.
    fn batch(&self) -> usize;

    /// Writes to each connection what the kernel takes now, in order. Adds to `outcomes` how many
    /// bytes that were, or the error, for each.
    fn write(&mut self, batch: &Batch<'_>, outcomes: &mut Vec<io::Result<usize>>);

    /// Why the way has changed since this was last asked, if it has.
    fn trouble(&mut self) -> Option<io::Error> {
        None
    }
}

/// The way out of one worker, which owns its thread.
pub(super) struct Flusher {
    way: Box<dyn Flush>,
    turns: Turns<Key>,
    lists: Lists,
}

/// Who is written to in which turn.
struct Turns<T> {
    /// The batch of this turn.
    now: Vec<T>,
    later: VecDeque<T>,
}

impl<T> Turns<T> {
    /// Makes up a batch of so many for the next turn, after `take` has added those that have come since. A
    /// few of those go before the many of a large room that wait.
    fn advance(&mut self, batch: usize, take: impl FnOnce(&mut Vec<T>)) -> &[T] {
        self.now.clear();
        take(&mut self.now);
        if self.now.len() > FEW {
            self.later.extend(self.now.drain(..));
            self.now.shrink_to(batch);
        }
        let more = self.later.len().min(batch - self.now.len());
        self.now.extend(self.later.drain(..more));
        if self.later.is_empty() {
            self.later.shrink_to(4 * batch);
        }
        &self.now
    }
}

/// Finds the session of a key, if it is to be written to.
type Find = fn(&mut Shard<Net>, Key) -> Option<&mut Session<Io>>;

/// What one batch needs, kept for the next.
#[derive(Default)]
struct Lists {
    ready: Vec<Key>,
    outcomes: Vec<io::Result<usize>>,
}

impl Flusher {
    /// Chooses the way for a worker whose thread this is, and says which it is.
    pub(super) fn open(worker: &Worker, wanted: IoUring) -> Flusher {
        Flusher {
            way: choose(worker, wanted),
            turns: Turns {
                now: Vec::new(),
                later: VecDeque::new(),
            },
            lists: Lists::default(),
        }
    }
}

#[cfg(target_os = "linux")]
fn choose(worker: &Worker, wanted: IoUring) -> Box<dyn Flush> {
    let ring = match wanted {
        IoUring::Auto => ring::Ring::open(batched::BATCH as u32),
        IoUring::Off => Err(io::Error::other("it is switched off")),
    };
    choose_by(worker, ring)
}

#[cfg(target_os = "linux")]
fn choose_by(worker: &Worker, ring: io::Result<ring::Ring>) -> Box<dyn Flush> {
    let index = worker.index;
    match ring {
        Ok(ring) => {
            tracing::info!(worker = index, "writes go through io_uring");
            worker.set_ring(true);
            Box::new(Batched::new(ring))
        }
        Err(reason) => {
            tracing::info!(worker = index, %reason, "writes go without io_uring, one by one");
            Box::new(Vectored)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn choose(_: &Worker, _: IoUring) -> Box<dyn Flush> {
    Box::new(Vectored)
}

impl Worker {
    /// Writes what was queued, to one batch of connections. Whether more wait: they get their turn
    /// when the readable connections have had theirs.
    pub(super) fn flush(&self, flusher: &mut Flusher) -> bool {
        let Flusher { way, turns, lists } = flusher;
        let now = turns.advance(way.batch(), |into| self.state.lock().take_dirty(into));
        if now.is_empty() {
            return false;
        }
        self.write_batch(now, &mut **way, lists);
        if let Some(error) = way.trouble() {
            self.set_ring(false);
            tracing::error!(%error, "io_uring is not used any more");
        }
        !turns.later.is_empty()
    }

    /// Writes to one connection at once, in the middle of a turn: it has no room for what a
    /// handler says, and the kernel may have.
    pub(crate) fn flush_one(&self, key: Key) {
        self.go_on(|shard| write_one(shard, key));
    }

    /// Writes to connections, and to none of them twice.
    fn write_batch(&self, keys: &[Key], way: &mut dyn Flush, lists: &mut Lists) {
        let Lists { ready, outcomes } = lists;
        // Held while the kernel is asked, which it answers at once: what is written is lent by
        // the sessions, so that a delivery takes and gives back nothing of its own. Nobody waits
        // for the lock, see above.
        let mut shard = self.state.lock();
        ready.extend(
            keys.iter()
                .filter(|key| prepare(&mut shard, **key, Shard::begin_write)),
        );
        let mut batch = Batch::with_capacity(ready.len());
        ready.retain(|key| {
            shard
                .session(*key)
                .is_some_and(|session| batch.add(session))
        });
        if !ready.is_empty() {
            way.write(&batch, outcomes);
        }
        drop(batch);
        for (key, outcome) in ready.drain(..).zip(outcomes.drain(..)) {
            settle(&mut shard, key, outcome);
        }
        let more = shard.has_effects() || shard.is_dirty();
        drop(shard);
        if more {
            self.request_turn();
        }
    }
}

/// Writes to one connection what can be written, inside a call.
pub(super) fn write_one(shard: &mut Shard<Net>, key: Key) {
    if !prepare(shard, key, Shard::session_mut) {
        return;
    }
    let mut batch = Batch::with_capacity(1);
    if !shard.session(key).is_some_and(|session| batch.add(session)) {
        return;
    }
    let mut outcomes = Vec::with_capacity(1);
    Vectored.write(&batch, &mut outcomes);
    for outcome in outcomes {
        settle(shard, key, outcome);
    }
}

/// Whether the worker itself writes to a connection, and may now.
fn prepare(shard: &mut Shard<Net>, key: Key, find: Find) -> bool {
    let Some(session) = find(shard, key) else {
        return false;
    };
    match &session.io.writer {
        Writer::WebSocket { link, .. } if !link.is_direct() => {
            link.signal(Signal::Write);
            if session.blocked {
                session.io.tell_backlog(session.out.bytes());
            }
            false
        }
        Writer::WebSocket { .. } if session.blocked => {
            session.io.tell_backlog(session.out.bytes());
            false
        }
        Writer::WebSocket { .. } => {
            let waits = stage(session);
            if !waits {
                shard.drained(key);
            }
            waits
        }
        Writer::Polling { .. } => {
            answer_poll(shard, key);
            false
        }
    }
}

/// Answers the poll a client holds open, if something waits for it.
pub(crate) fn answer_poll(shard: &mut Shard<Net>, key: Key) {
    let Some((payload, compress)) = shard.take_payload_to_compress(key, MAX_PAYLOAD) else {
        if let Some(session) = shard.session_mut(key) {
            session.io.tell_backlog(session.out.bytes());
        }
        shard.await_poll(key);
        return shard.drained(key);
    };
    let Some(session) = shard.session_mut(key) else {
        return;
    };
    session.io.tell_backlog(session.out.bytes());
    if let Writer::Polling { poll } = &mut session.io.writer
        && let Some(poll) = poll.take()
    {
        let _ = poll.send(PollAnswer::Payload(payload, compress));
    }
    shard.drained(key);
}
