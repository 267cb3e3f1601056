//! The shard: the owner of sessions, sockets, rooms, queues and deadlines.
//!
//! A shard does no I/O and reads no clock. Every call that may change something by time is
//! preceded by [`Shard::tick`]; what the layer around it has to do afterwards comes out of
//! [`Shard::next_effect`] and [`Shard::take_dirty`].

mod broadcast;
mod engine;
mod membership;
mod packets;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashTable;
use sockeye_protocol::engine::{CloseReason, SessionId, SocketId, Transport};

use crate::arena::{Arena, Key};
use crate::config::Config;
use crate::host::{AckWaiter, Effect, EngineEvent, Host, RoomObserver};
use crate::message::{Class, Message};
use crate::outbound::{Backlog, Queued};
use crate::session::Session;
use crate::socket::Socket;
use crate::space::Space;
use crate::stats::Stats;
use crate::wheel::{TimerId, Wheel};

pub use broadcast::{Delivery, Target};
pub use engine::{PostError, ProbeReply};
pub use membership::RoomError;

/// Deadlines are kept to this many milliseconds.
const TICK: u64 = 1;

/// Entries for which a list that is empty again may keep memory.
const SPARE: usize = 1024;

/// Room for effects that is kept; what a herd has needed is given back.
const KEPT_EFFECTS: usize = 64;

/// What a deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    Heartbeat(Key),
    Join(Key),
    Upgrade(Key),
    /// Time to free a poll so that an upgrading client can pause.
    Noop(Key),
    Write(Key),
    Close(Key),
    /// An id is two halves here, so that a timer needs no eight-byte alignment.
    Ack(Key, [u32; 2]),
}

/// The state of one shard.
pub struct Shard<H: Host> {
    pub(crate) config: Arc<Config>,
    pub(crate) now: u64,
    pub(crate) sessions: Arena<Session<H::Io>>,
    pub(crate) sockets: Arena<Socket<H>>,
    session_ids: HashTable<Key>,
    socket_ids: HashTable<Key>,
    pub(crate) spaces: Vec<Option<Space>>,
    space_names: HashMap<Arc<str>, u32>,
    pub(crate) wheel: Wheel<Timer>,
    expired: Vec<Timer>,
    suspects: Vec<Key>,
    /// The earliest deadline armed since the caller last asked when to come back.
    earliest: u64,
    dirty: Vec<Key>,
    pub(crate) effects: VecDeque<Effect<H>>,
    scratch: Vec<u32>,
    room_observer: Option<Box<dyn RoomObserver>>,
    /// Connections that had no room for a normal packet.
    full: Vec<Key>,
    /// Sessions that are raw Engine.IO.
    raw_sessions: usize,
    jitter: u64,
    backlog: Backlog,
    ping: Arc<Message>,
    noop: Arc<Message>,
    pub(crate) stats: Stats,
}

impl<H: Host> Shard<H> {
    /// An empty shard at time `now` (milliseconds of any clock that does not go back).
    pub fn new(config: Arc<Config>, now: u64) -> Self {
        Shard {
            config,
            now,
            sessions: Arena::default(),
            sockets: Arena::default(),
            session_ids: HashTable::new(),
            socket_ids: HashTable::new(),
            spaces: Vec::new(),
            space_names: HashMap::new(),
            wheel: Wheel::new(TICK, now),
            expired: Vec::new(),
            suspects: Vec::new(),
            earliest: u64::MAX,
            dirty: Vec::new(),
            effects: VecDeque::new(),
            scratch: Vec::new(),
            room_observer: None,
            full: Vec::new(),
            raw_sessions: 0,
            jitter: now | 1,
            backlog: Backlog::default(),
            ping: Arc::new(Message::text("2", Class::Control)),
            noop: Arc::new(Message::text("6", Class::Control)),
            stats: Stats::default(),
        }
    }

    /// Tells `observer` of the rooms that are created and deleted here from now on.
    pub fn observe_rooms(&mut self, observer: Box<dyn RoomObserver>) {
        self.room_observer = Some(observer);
    }

    /// Its limits and intervals.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What to do next. Nothing most of the time.
    pub fn next_effect(&mut self) -> Option<Effect<H>> {
        let next = self.effects.pop_front();
        if next.is_none() && self.effects.capacity() > KEPT_EFFECTS {
            self.effects = VecDeque::new();
        }
        next
    }

    /// Whether something waits in [`Shard::next_effect`].
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Whether some connection has something to write.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the connections that have something to write since they were last taken. None is
    /// named again before [`Shard::begin_write`] was called for it.
    pub fn take_dirty(&mut self, into: &mut Vec<Key>) {
        into.append(&mut self.dirty);
        if self.dirty.capacity() > 4 * (self.sessions.len() + 64) {
            self.dirty = Vec::new();
        }
    }

    /// The session of a connection that was taken and not begun since. From here on it may be
    /// taken again.
    pub fn begin_write(&mut self, key: Key) -> Option<&mut Session<H::Io>> {
        let session = self.sessions.get_mut(key)?;
        if !std::mem::take(&mut session.dirty) {
            return None;
        }
        if session.unsent && !session.blocked && !session.out.is_empty() {
            // A poll is answered elsewhere, and tells then.
            if session.engine.transport() == Transport::WebSocket {
                let event = EngineEvent::Flushing(session.out.len());
                let session = key;
                self.effects.push_back(Effect::Engine { session, event });
            }
        }
        Some(session)
    }

    /// The session of `key`.
    pub fn session(&self, key: Key) -> Option<&Session<H::Io>> {
        self.sessions.get(key)
    }

    /// The session of `key`, for its connection and queue.
    pub fn session_mut(&mut self, key: Key) -> Option<&mut Session<H::Io>> {
        self.sessions.get_mut(key)
    }

    /// The socket of `key`.
    pub fn socket(&self, key: Key) -> Option<&Socket<H>> {
        self.sockets.get(key)
    }

    /// The session with this id.
    pub fn find_session(&self, id: &SessionId) -> Option<Key> {
        let same = |key: &Key| {
            self.sessions
                .get(*key)
                .is_some_and(|session| session.id == *id)
        };
        self.session_ids.find(session_hash(id), same).copied()
    }

    /// The connected socket with this id.
    pub fn find_socket(&self, id: &str) -> Option<Key> {
        let same = |key: &Key| self.sockets.get(*key).is_some_and(|s| s.id.as_str() == id);
        self.socket_ids.find(socket_hash(id), same).copied()
    }

    /// Open sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Open sessions that are raw Engine.IO, without Socket.IO.
    pub fn raw_session_count(&self) -> usize {
        self.raw_sessions
    }

    /// Connected sockets over all namespaces.
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Deadlines that are armed.
    pub fn timer_count(&self) -> usize {
        self.wheel.len()
    }

    /// Every open session.
    pub fn sessions(&self) -> impl Iterator<Item = (Key, &Session<H::Io>)> {
        self.sessions.iter()
    }

    /// Counters since the start.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Counters since the start, for those who write what waits.
    pub fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// Bytes that wait for all connections, a shared message counted for each of them.
    pub fn queued_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    /// Hands a packet to a connection. A volatile packet is dropped while bytes wait that the
    /// kernel refused, or while no poll is open. [`Queued::Refused`] from a living connection
    /// means that it is full: write what can be written and try again, or call
    /// [`Shard::overflow`].
    #[must_use]
    pub fn enqueue(&mut self, key: Key, message: &Arc<Message>) -> Queued {
        let sessions = self.sessions.len().max(1);
        let Some(session) = self.sessions.get_mut(key) else {
            return Queued::Refused;
        };
        if !session.engine.is_open() {
            return Queued::Refused;
        }
        if message.class() == Class::Volatile && (session.blocked || !session.engine.is_writable())
        {
            self.stats.volatile_dropped += 1;
            return Queued::Dropped;
        }
        let mut limit = self.config.max_queued_bytes;
        let total = self.config.max_total_queued_bytes;
        let full = self.backlog.bytes() >= total;
        if full {
            // Those who have an equal share at most go on; those who hoard are ended.
            limit = limit.min(total / sessions);
        }
        let (queued, dropped) = session.out.push(message, limit);
        self.stats.volatile_dropped += dropped as u64 + u64::from(queued == Queued::Dropped);
        self.stats.total_queue_refusals += u64::from(full && queued != Queued::Queued);
        if queued == Queued::Queued {
            self.stats.packets_out += 1;
            if session.watched && !message.is_frame_control() {
                session.unsent = true;
                let event = EngineEvent::PacketCreated(message.clone());
                self.effects.push_back(Effect::Engine {
                    session: key,
                    event,
                });
            }
            if !session.dirty {
                session.dirty = true;
                self.dirty.push(key);
            }
        }
        queued
    }

    /// Arms a timer that fires `after` milliseconds from now.
    pub(crate) fn arm(&mut self, after: u64, timer: Timer) -> TimerId {
        self.arm_at(self.now.saturating_add(after), timer)
    }

    pub(crate) fn arm_at(&mut self, deadline: u64, timer: Timer) -> TimerId {
        self.earliest = self.earliest.min(deadline);
        self.wheel.insert(deadline, timer)
    }

    /// Lets `key` be found by the next [`Shard::take_dirty`], if something waits for it.
    pub fn mark_dirty(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !session.dirty {
            session.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Ends a connection that does not take what it is sent. It may come back: no DISCONNECT
    /// packet is sent, so that stock clients reconnect.
    pub fn overflow(&mut self, key: Key) {
        if self
            .sessions
            .get(key)
            .is_none_or(|session| session.is_closing())
        {
            return;
        }
        self.stats.slow_consumers += 1;
        self.close_now(
            key,
            CloseReason::TransportError,
            "slow consumer: outbound queue full",
        );
    }

    /// Connections that had no room for a packet of the last broadcast, emit or greeting. Those
    /// that nobody has asked for by the next one are ended: that one's packet is not theirs.
    pub fn take_full(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.full)
    }

    /// Ends the connections that had no room, without another try.
    pub fn end_full(&mut self) {
        for key in std::mem::take(&mut self.full) {
            self.overflow(key);
        }
    }

    /// A number that differs from call to call; good enough to spread deadlines.
    pub(crate) fn spread(&mut self, range: u64) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        self.jitter % range.max(1)
    }

    fn index_session(&mut self, key: Key, id: &SessionId) {
        let sessions = &self.sessions;
        self.session_ids
            .insert_unique(session_hash(id), key, |key| {
                sessions
                    .get(*key)
                    .map_or(0, |session| session_hash(&session.id))
            });
    }

    fn index_socket(&mut self, key: Key, id: &SocketId) {
        let sockets = &self.sockets;
        self.socket_ids
            .insert_unique(socket_hash(id.as_str()), key, |key| {
                sockets
                    .get(*key)
                    .map_or(0, |socket| socket_hash(socket.id.as_str()))
            });
    }

    fn forget_session_id(&mut self, key: Key, id: &SessionId) {
        if let Ok(entry) = self.session_ids.find_entry(session_hash(id), |k| *k == key) {
            entry.remove();
        }
        if self.session_ids.is_empty() {
            self.session_ids = HashTable::new();
        }
    }

    fn forget_socket_id(&mut self, key: Key, id: &SocketId) {
        if let Ok(entry) = self
            .socket_ids
            .find_entry(socket_hash(id.as_str()), |k| *k == key)
        {
            entry.remove();
        }
        if self.socket_ids.is_empty() {
            self.socket_ids = HashTable::new();
            self.scratch = Vec::new();
        }
    }

    fn fail_acks(&mut self, socket: &mut Socket<H>, why: crate::acks::AckFailure) {
        for (timer, waiter) in socket.acks.drain() {
            self.wheel.cancel(timer);
            waiter.resolve(Err(why));
        }
    }
}

fn session_hash(id: &SessionId) -> u64 {
    id_hash(&id.to_ascii())
}

fn socket_hash(id: &str) -> u64 {
    id_hash(id.as_bytes())
}

/// Ids are random and made by us: their last characters are as good as a hash of them.
fn id_hash(id: &[u8]) -> u64 {
    let mut tail = [0; 8];
    let from = id.len().saturating_sub(8);
    tail[..id.len() - from].copy_from_slice(&id[from..]);
    // One multiplication spreads what few bits differ between printable characters.
    u64::from_le_bytes(tail)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::socketio::Args;

    use super::*;
    use crate::acks::AckFailure;
    use crate::session::Kind;

    struct Fake;

    impl Host for Fake {
        type Io = ();
        type Socket = ();
        type Waiter = Nobody;
    }

    struct Nobody;

    impl AckWaiter for Nobody {
        fn resolve(self, _: Result<Args, AckFailure>) {}
    }

    #[test]
    fn a_herd_that_has_gone_leaves_no_memory_behind() {
        let mut shard = Shard::<Fake>::new(Arc::new(Config::default()), 0);
        let namespace: Arc<str> = "/".into();
        let mut keys = Vec::new();
        for _ in 0..5_000 {
            let id = SessionId::new([0; 3], 0);
            let key = shard.open(id, Transport::WebSocket, Kind::SocketIo, (), &[]);
            shard.websocket_text(key, "40");
            let id = SocketId::new();
            let socket = shard.accept(key, &namespace, id, &[], |_| ()).unwrap();
            shard.join(socket, "everybody").unwrap();
            assert!(shard.expect_ack(socket, 1, 1_000, Nobody));
            keys.push(key);
        }
        shard.broadcast("/", Target::default(), &shard.ping.clone());
        assert_eq!(
            (shard.session_ids.len(), shard.socket_ids.len()),
            (5_000, 5_000)
        );
        for key in keys {
            shard.close_now(key, CloseReason::ForcedClose, "");
        }
        let effects: Vec<_> = std::iter::from_fn(|| shard.next_effect()).collect();
        for effect in effects {
            if let Effect::Disconnecting { socket, .. } = effect {
                shard.finish_disconnect(socket);
            }
        }
        shard.take_dirty(&mut Vec::new());
        shard.tick(10);

        assert_eq!((shard.session_count(), shard.socket_count()), (0, 0));
        assert_eq!((shard.timer_count(), shard.queued_bytes()), (0, 0));
        assert_eq!(
            (shard.session_ids.capacity(), shard.socket_ids.capacity()),
            (0, 0)
        );
        assert_eq!(shard.room_count("/"), 0);
        for spare in [
            shard.effects.capacity(),
            shard.dirty.capacity(),
            shard.full.capacity(),
        ] {
            assert!(spare <= SPARE, "{spare}");
        }
        assert!(
            shard.wheel.capacity() <= SPARE,
            "{}",
            shard.wheel.capacity()
        );
        assert!(
            shard.scratch.capacity() <= 4 * SPARE,
            "{}",
            shard.scratch.capacity()
        );
    }
}
