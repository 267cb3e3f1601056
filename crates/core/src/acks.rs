//! Acknowledgements that one socket owes us: bounded, each with a deadline.

use crate::wheel::TimerId;

/// Why an awaited acknowledgement did not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckFailure {
    /// The client did not answer in time.
    Timeout,
    /// The socket is gone.
    Disconnected,
    /// The packet was not queued, or too many acknowledgements were outstanding.
    Refused,
}

/// Acknowledgements outstanding on one socket.
///
/// Ids come from a counter that only grows, so the list is sorted and small: most sockets owe
/// none or one.
#[derive(Debug)]
pub struct Acks<W> {
    #[expect(clippy::box_collection, reason = "most sockets owe none")]
    pending: Option<Box<Vec<Pending<W>>>>,
}

#[derive(Debug)]
struct Pending<W> {
    id: u64,
    timer: TimerId,
    waiter: W,
}

impl<W> Default for Acks<W> {
    fn default() -> Self {
        Acks { pending: None }
    }
}

impl<W> Acks<W> {
    /// How many are outstanding.
    pub fn len(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.len())
    }

    /// Whether none is outstanding.
    pub fn is_empty(&self) -> bool {
        self.pending.is_none()
    }

    /// Adds one.
    pub fn insert(&mut self, id: u64, timer: TimerId, waiter: W) {
        let pending = self.pending.get_or_insert_default();
        let at = pending.partition_point(|entry| entry.id < id);
        pending.insert(at, Pending { id, timer, waiter });
    }

    /// Takes the one with this id out.
    pub fn remove(&mut self, id: u64) -> Option<(TimerId, W)> {
        let pending = self.pending.as_mut()?;
        let at = pending.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let Pending { timer, waiter, .. } = pending.remove(at);
        if pending.is_empty() {
            self.pending = None;
        }
        Some((timer, waiter))
    }

    /// Takes all of them out.
    pub fn drain(&mut self) -> impl Iterator<Item = (TimerId, W)> + use<W> {
        let all = self.pending.take().map_or(Vec::new(), |pending| *pending);
        all.into_iter().map(|entry| (entry.timer, entry.waiter))
    }
}
