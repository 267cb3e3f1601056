//! The queue of one connection: counted in bytes, in order, bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::message::{Class, Message};

/// What became of a packet handed to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// It waits for its turn, or is on its way.
    Queued,
    /// It was volatile and the connection could not take it at once.
    Dropped,
    /// The connection had no room for it, or is gone. A full queue ends the connection.
    Refused,
}

impl Queued {
    /// Whether the packet was accepted.
    pub fn is_queued(self) -> bool {
        self == Queued::Queued
    }
}

/// Bytes that wait in all the queues of one shard.
///
/// Every queue made by [`Outbound::counted_in`] adds to it what it takes and subtracts what
/// leaves it, also when it is dropped: so it is their sum at any time, whoever empties them.
#[derive(Clone, Default, Debug)]
pub struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// The sum, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    // Only the shard's owner changes its queues, so there is no update to be lost between a
    // load and a store, and no price of an atomic addition to be paid for each packet.

    fn add(&self, bytes: usize) {
        self.0.store(self.bytes() + bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        let left = self.bytes().saturating_sub(bytes);
        self.0.store(left, Ordering::Relaxed);
    }
}

/// The outbound queue of one connection.
///
/// An entry is a pointer to a shared [`Message`]. A message with attachments is one entry: it is
/// written contiguously and dropped whole, never after its first byte has left.
#[derive(Debug, Default)]
pub struct Outbound {
    entries: Entries,
    /// Bytes of the entries and those held.
    bytes: usize,
    /// Bytes of the first entry that have left already.
    sent: usize,
    /// Entries at the front that a writer holds: they may not be dropped or replaced.
    in_flight: u32,
    /// Bytes that a writer has taken out in a form of its own and not yet written.
    held: u32,
    backlog: Option<Backlog>,
}

/// Most connections hold nothing most of the time, and one packet when they hold something:
/// neither costs memory of its own.
#[derive(Debug, Default)]
enum Entries {
    #[default]
    Empty,
    One(Arc<Message>),
    #[expect(clippy::box_collection, reason = "an idle queue stays small")]
    Many(Box<VecDeque<Arc<Message>>>),
}

impl Outbound {
    /// An empty queue whose bytes count in `backlog` too.
    pub fn counted_in(backlog: &Backlog) -> Self {
        let mut queue = Outbound::default();
        queue.backlog = Some(backlog.clone());
        queue
    }

    /// Bytes that wait, those included that a writer holds in a form of its own.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::Empty => 0,
            Entries::One(_) => 1,
            Entries::Many(many) => many.len(),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        matches!(self.entries, Entries::Empty)
    }

    /// Appends `message` if the queue, limited to `limit` bytes, has room for it.
    ///
    /// A message larger than the limit is taken by an empty queue: the limit bounds what waits
    /// behind a slow reader, not what may be said. To make room for a normal message, volatile
    /// ones that have not begun to leave are dropped first. The second value counts those.
    #[must_use]
    pub fn push(&mut self, message: &Arc<Message>, limit: usize) -> (Queued, usize) {
        let cost = message.cost();
        let mut dropped = 0;
        if message.class() != Class::Control && self.bytes > 0 && self.bytes + cost > limit {
            if message.class() == Class::Volatile {
                return (Queued::Dropped, 0);
            }
            dropped = self.drop_volatile();
            if self.bytes > 0 && self.bytes + cost > limit {
                return (Queued::Refused, dropped);
            }
        }
        self.conflate(message);
        self.grow(cost);
        self.entries = match std::mem::take(&mut self.entries) {
            Entries::Empty => Entries::One(message.clone()),
            Entries::One(first) => {
                let mut many = VecDeque::with_capacity(8);
                many.push_back(first);
                many.push_back(message.clone());
                Entries::Many(Box::new(many))
            }
            Entries::Many(mut many) => {
                many.push_back(message.clone());
                Entries::Many(many)
            }
        };
        (Queued::Queued, dropped)
    }

    /// The waiting messages, in order. The first may have begun to leave: see [`Outbound::sent`].
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        let (one, many) = match &self.entries {
            Entries::Empty => (None, None),
            Entries::One(message) => (Some(message), None),
            Entries::Many(many) => (None, Some(many.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The first waiting message.
    pub fn front(&self) -> Option<&Arc<Message>> {
        match &self.entries {
            Entries::Empty => None,
            Entries::One(message) => Some(message),
            Entries::Many(many) => many.front(),
        }
    }

    /// Bytes of the first message that have left already, in the wire form in use.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Takes the first message out of the queue, whole.
    pub fn pop(&mut self) -> Option<Arc<Message>> {
        let message = match std::mem::take(&mut self.entries) {
            Entries::Empty => return None,
            Entries::One(message) => message,
            Entries::Many(mut many) => {
                let message = many.pop_front();
                if !many.is_empty() {
                    self.entries = Entries::Many(many);
                }
                message?
            }
        };
        self.shrink(message.cost());
        self.sent = 0;
        self.in_flight = self.in_flight.saturating_sub(1);
        Some(message)
    }

    /// Records that the first message has begun to leave: `sent` of its bytes are out.
    pub fn set_sent(&mut self, sent: usize) {
        self.sent = sent;
    }

    /// Records that a writer holds the first `entries` messages, or that it holds none any more.
    pub fn set_in_flight(&mut self, entries: usize) {
        self.in_flight = entries.try_into().unwrap_or(u32::MAX);
    }

    /// Records that a writer has taken messages out and holds `bytes` bytes of them, in a form of
    /// its own, that have not left yet.
    pub fn set_held(&mut self, bytes: usize) {
        let before = self.held;
        self.held = bytes.try_into().unwrap_or(u32::MAX);
        self.grow(self.held as usize);
        self.shrink(before as usize);
    }

    /// Messages at the front that have begun to leave or may do so at any moment.
    fn begun(&self) -> usize {
        (self.in_flight as usize).max(usize::from(self.sent > 0))
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        self.entries = Entries::Empty;
        self.shrink(self.bytes);
        (self.sent, self.in_flight, self.held) = (0, 0, 0);
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        if let Some(backlog) = &self.backlog {
            backlog.add(bytes);
        }
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(backlog) = &self.backlog {
            backlog.subtract(bytes);
        }
    }

    /// Forgets the only entry, which has not begun to leave.
    fn drop_only(&mut self) {
        if let Entries::One(only) = std::mem::take(&mut self.entries) {
            self.shrink(only.cost());
        }
    }

    fn drop_volatile(&mut self) -> usize {
        let begun = self.begun();
        let Entries::Many(many) = &mut self.entries else {
            let Entries::One(only) = &self.entries else {
                return 0;
            };
            if begun > 0 || only.class() != Class::Volatile {
                return 0;
            }
            self.drop_only();
            return 1;
        };
        let (before, mut index, mut freed) = (many.len(), 0, 0);
        many.retain(|message| {
            index += 1;
            let keep = index <= begun || message.class() != Class::Volatile;
            freed += if keep { 0 } else { message.cost() };
            keep
        });
        let dropped = before - many.len();
        if many.is_empty() {
            self.entries = Entries::Empty;
        }
        self.shrink(freed);
        dropped
    }

    /// Removes a waiting message that `message` replaces.
    fn conflate(&mut self, message: &Arc<Message>) {
        let Some(key) = message.conflation_key() else {
            return;
        };
        let begun = self.begun();
        let position = self
            .iter()
            .enumerate()
            .position(|(index, waiting)| index >= begun && waiting.conflation_key() == Some(key));
        let Some(position) = position else { return };
        match &mut self.entries {
            Entries::Empty => {}
            Entries::One(_) => self.drop_only(),
            Entries::Many(many) => {
                let cost = many.remove(position).map_or(0, |old| old.cost());
                if many.is_empty() {
                    self.entries = Entries::Empty;
                }
                self.shrink(cost);
            }
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if let Some(backlog) = &self.backlog {
            backlog.subtract(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(len: usize, class: Class) -> Arc<Message> {
        Arc::new(Message::text(&"m".repeat(len), class))
    }

    #[test]
    fn a_full_queue_drops_volatile_first_and_then_refuses() {
        let mut queue = Outbound::default();
        assert_eq!(
            queue.push(&message(38, Class::Volatile), 100),
            (Queued::Queued, 0)
        );
        assert_eq!(
            queue.push(&message(38, Class::Normal), 100),
            (Queued::Queued, 0)
        );
        assert_eq!(
            queue.push(&message(38, Class::Volatile), 100),
            (Queued::Dropped, 0)
        );
        assert_eq!(
            queue.push(&message(38, Class::Normal), 100),
            (Queued::Queued, 1)
        );
        assert_eq!(
            queue.push(&message(38, Class::Normal), 100),
            (Queued::Refused, 0)
        );
        assert_eq!(
            queue.push(&message(38, Class::Control), 100),
            (Queued::Queued, 0)
        );
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn what_has_begun_to_leave_is_never_dropped() {
        let mut queue = Outbound::default();
        assert!(queue.push(&message(50, Class::Volatile), 60).0.is_queued());
        queue.set_sent(3);
        assert_eq!(
            queue.push(&message(50, Class::Normal), 60),
            (Queued::Refused, 0)
        );
        assert_eq!(queue.sent(), 3);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn an_empty_queue_takes_one_message_of_any_size() {
        let mut queue = Outbound::default();
        assert_eq!(
            queue.push(&message(1000, Class::Normal), 10),
            (Queued::Queued, 0)
        );
        assert_eq!(
            queue.push(&message(1, Class::Normal), 10),
            (Queued::Refused, 0)
        );
    }

    #[test]
    fn a_message_replaces_a_waiting_one_of_its_key() {
        let keyed = |text: &str| {
            let message = Message::text(text, Class::Normal);
            Arc::new(message.with_conflation_key("price".into()))
        };
        let mut queue = Outbound::default();
        for message in [
            keyed("1"),
            message(1, Class::Normal),
            keyed("2"),
            keyed("3"),
        ] {
            assert!(queue.push(&message, 1000).0.is_queued());
        }
        let left: Vec<_> = queue.iter().map(|m| m.payload().to_vec()).collect();
        assert_eq!(left, [b"m".to_vec(), b"3".to_vec()]);
    }

    proptest! {
        #[test]
        fn bytes_always_equal_the_sum_of_what_waits(
            steps in proptest::collection::vec((0u8..3, 0usize..40, 0u8..6, any::<bool>()), 0..60)
        ) {
            let backlog = Backlog::default();
            let mut queues = [Outbound::counted_in(&backlog), Outbound::counted_in(&backlog)];
            let mut held = [0, 0];
            for (class, len, then, which) in steps {
                let (queue, held) = (&mut queues[usize::from(which)], &mut held[usize::from(which)]);
                let class = [Class::Volatile, Class::Normal, Class::Control][class as usize];
                let message = Message::text(&"m".repeat(len), class);
                let key = (then == 5).then(|| "key".into());
                let message = key.map_or(message, |key| {
                    Message::text("keyed", class).with_conflation_key(key)
                });
                let _ = queue.push(&Arc::new(message), 200);
                match then {
                    0 | 1 => drop(queue.pop()),
                    2 if !queue.is_empty() => queue.set_sent(1),
                    3 => {
                        *held = len;
                        queue.set_held(len);
                    }
                    4 if len == 0 => {
                        queue.clear();
                        *held = 0;
                    }
                    _ => {}
                }
                let waiting = queue.iter().map(|m| m.cost()).sum::<usize>();
                prop_assert_eq!(queue.bytes(), waiting + *held);
                prop_assert_eq!(queue.len(), queue.iter().count());
                prop_assert_eq!(queue.is_empty(), queue.front().is_none());
                prop_assert_eq!(backlog.bytes(), queues[0].bytes() + queues[1].bytes());
            }
            let [first, second] = queues;
            drop(first);
            prop_assert_eq!(backlog.bytes(), second.bytes());
            drop(second);
            prop_assert_eq!(backlog.bytes(), 0);
        }
    }
}
