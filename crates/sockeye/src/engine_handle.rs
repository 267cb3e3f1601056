//! The engine connection below sockets, and what happens on it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use sockeye_core::{EngineData, EngineEvent as Noted, Key, Message};
use sockeye_protocol::engine::{CloseReason, Transport};

use crate::dispatch::panicked;
use crate::extract::DisconnectReason;
use crate::handshake::Handshake;
use crate::listeners::ListenerId;
use crate::net::Connection;
use crate::server::ServerInner;

/// An Engine.IO connection, whatever it carries: a handle, cheap to clone, usable from any thread.
///
/// ```
/// use sockeye::{EngineEvent, Server};
///
/// let server = Server::new();
/// server.on_engine_connection(|connection| {
///     connection.on_event(|event| match event {
///         EngineEvent::Upgraded(transport) => println!("now on {}", transport.as_str()),
///         EngineEvent::Closed(reason) => println!("over: {reason}"),
///         _ => {}
///     });
/// });
/// ```
#[derive(Clone)]
pub struct EngineHandle(Arc<Connection>);

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EngineHandle({:?})", self.0.id)
    }
}

/// What happens on an engine connection, in order and soon after it: the events that an engine
/// socket of Node.js emits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EngineEvent {
    /// A packet came (`packet`; one of the kind [`EnginePacketKind::Message`] also stands for
    /// `message` and `data`). Packets of a probing WebSocket are not told of.
    Packet(EnginePacket),
    /// A packet was queued (`packetCreate`). An event with attachments is several.
    PacketCreated(EnginePacket),
    /// The client has answered a ping (`heartbeat`).
    Heartbeat,
    /// A WebSocket has begun to probe the connection (`upgrading`).
    Upgrading,
    /// The connection has moved to this transport (`upgrade`).
    Upgraded(Transport),
    /// What waits is about to be written (`flush`).
    Flushing {
        /// How many packets wait; one with its attachments counts once.
        packets: usize,
    },
    /// All that waited has been written (`drain`).
    Drained,
    /// The connection is over (`close`). Nothing follows.
    Closed(DisconnectReason),
}

/// An Engine.IO packet that came or goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnginePacket {
    kind: EnginePacketKind,
    data: EngineData,
}

/// The type of an Engine.IO packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EnginePacketKind {
    /// `0`: the answer that opens the session.
    Open,
    /// `1`: the end of the session.
    Close,
    /// `2`: the question for life.
    Ping,
    /// `3`: its answer.
    Pong,
    /// `4`, or binary: a message.
    Message,
    /// `5`: the switch to another transport.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

impl EnginePacket {
    fn new(kind: u8, data: EngineData) -> Self {
        let kind = match kind {
            b'0' => EnginePacketKind::Open,
            b'1' => EnginePacketKind::Close,
            b'2' => EnginePacketKind::Ping,
            b'3' => EnginePacketKind::Pong,
            b'5' => EnginePacketKind::Upgrade,
            b'6' => EnginePacketKind::Noop,
            _ => EnginePacketKind::Message,
        };
        EnginePacket { kind, data }
    }

    /// The packets that a message is made of.
    fn of(message: &Message) -> Vec<Self> {
        let binary = |data: &[u8]| EngineData::Binary(bytes::Bytes::copy_from_slice(data));
        let payload = message.payload();
        let first = match payload.split_first() {
            _ if message.is_binary() => EnginePacket::new(b'4', binary(payload)),
            Some((kind, data)) => {
                let text = String::from_utf8_lossy(data);
                EnginePacket::new(*kind, EngineData::Text(text.into()))
            }
            None => EnginePacket::new(b'6', EngineData::Text("".into())),
        };
        let attachments = message.attachments();
        let rest =
            attachments.map(|data| EnginePacket::new(b'4', EngineData::Binary(data.clone())));
        std::iter::once(first).chain(rest).collect()
    }

    /// Its type.
    pub fn kind(&self) -> EnginePacketKind {
        self.kind
    }

    /// Its data, if it is text: without the digit of the type.
    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            EngineData::Text(text) => Some(text),
            EngineData::Binary(_) => None,
        }
    }

    /// Its data: without the digit of the type.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.data {
            EngineData::Text(text) => text.as_bytes(),
            EngineData::Binary(data) => data,
        }
    }

    /// Whether its data is binary.
    pub fn is_binary(&self) -> bool {
        matches!(self.data, EngineData::Binary(_))
    }
}

impl EngineHandle {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        EngineHandle(connection)
    }

    /// The first request.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// The transport at this moment.
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// The revision of the Engine.IO protocol it speaks.
    pub fn protocol(&self) -> u8 {
        4
    }

    /// Bytes that wait for the connection.
    pub fn queued_bytes(&self) -> usize {
        self.0.backlog()
    }

    /// Is told what happens on the connection from now on. A connection that nobody listens to pays
    /// nothing for it; one that is listened to pays a copy of each packet. The listener runs on the
    /// worker of the connection: it must not block.
    ///
    /// Called inside that worker, by a handler of one of its sockets or by
    /// [`Server::on_engine_connection`](crate::Server::on_engine_connection), it misses nothing.
    pub fn on_event(&self, listener: impl Fn(&EngineEvent) + Send + Sync + 'static) -> ListenerId {
        let (key, worker) = (self.0.key(), &self.0.worker);
        let id = worker.engine_watch.add(key, Arc::new(listener));
        let watching = worker.clone();
        worker.submit(move |shard| {
            if shard.watch(key) {
                return;
            }
            let forgotten = watching.engine_watch.forget(key);
            if !forgotten.is_empty() {
                // Not in here: to drop what belongs to the application runs its code.
                watching.spawn(async move { drop(forgotten) });
            }
        });
        id
    }

    /// Takes one registration back; whether it was there.
    pub fn off(&self, id: ListenerId) -> bool {
        let (key, worker) = (self.0.key(), &self.0.worker);
        let (there, last) = worker.engine_watch.remove(key, id);
        if last {
            let watching = worker.clone();
            worker.submit(move |shard| {
                if !watching.engine_watch.watches(key) {
                    shard.unwatch(key);
                }
            });
        }
        there
    }

    /// Closes the connection once what was sent has left, without a word: a stock client comes
    /// back.
    pub fn close(&self) {
        let key = self.0.key();
        self.0.worker.submit(move |shard| {
            shard.close(key, CloseReason::ForcedClose, "closed by the application");
        });
    }
}

type Listener = Arc<dyn Fn(&EngineEvent) + Send + Sync>;

/// Those who want to know what happens on the sessions of one worker.
#[derive(Default)]
pub(crate) struct EngineWatch(Mutex<HashMap<u64, Vec<(ListenerId, Listener)>>>);

impl EngineWatch {
    fn add(&self, key: Key, listener: Listener) -> ListenerId {
        let id = ListenerId::next();
        let mut sessions = self.0.lock();
        sessions
            .entry(key.to_bits())
            .or_default()
            .push((id, listener));
        id
    }

    /// Takes a listener back: whether it was there, and whether it was the last.
    fn remove(&self, key: Key, id: ListenerId) -> (bool, bool) {
        let mut sessions = self.0.lock();
        let Some(listeners) = sessions.get_mut(&key.to_bits()) else {
            return (false, false);
        };
        let at = listeners.iter().position(|(known, _)| *known == id);
        let removed = at.map(|at| listeners.remove(at));
        let last = listeners.is_empty();
        if last {
            sessions.remove(&key.to_bits());
        }
        // To drop what belongs to the application runs its code: not with the lock in hand.
        drop(sessions);
        (removed.is_some(), last)
    }

    /// Takes all listeners of a session back, to be dropped where no lock is held.
    fn forget(&self, key: Key) -> Vec<(ListenerId, Listener)> {
        self.0.lock().remove(&key.to_bits()).unwrap_or_default()
    }

    fn watches(&self, key: Key) -> bool {
        self.0.lock().contains_key(&key.to_bits())
    }

    /// Tells what a shard has noted.
    pub(crate) fn tell(&self, server: &Arc<ServerInner>, key: Key, noted: Noted) {
        let over = matches!(noted, Noted::Closed(..));
        let listeners = {
            let mut sessions = self.0.lock();
            if over {
                sessions.remove(&key.to_bits())
            } else {
                sessions.get(&key.to_bits()).cloned()
            }
        };
        let Some(listeners) = listeners else { return };
        let events = match noted {
            Noted::Packet(kind, data) => vec![EngineEvent::Packet(EnginePacket::new(kind, data))],
            Noted::PacketCreated(message) => {
                let packets = EnginePacket::of(&message).into_iter();
                packets.map(EngineEvent::PacketCreated).collect()
            }
            Noted::Heartbeat => vec![EngineEvent::Heartbeat],
            Noted::Upgrading => vec![EngineEvent::Upgrading],
            Noted::Upgraded => vec![EngineEvent::Upgraded(Transport::WebSocket)],
            Noted::Flushing(packets) => vec![EngineEvent::Flushing { packets }],
            Noted::Drained => vec![EngineEvent::Drained],
            Noted::Closed(reason, detail) => {
                vec![EngineEvent::Closed(DisconnectReason { reason, detail })]
            }
        };
        for event in &events {
            for (_, listener) in &listeners {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| listener(event))) {
                    panicked(server, "a watcher of a connection", &*panic);
                }
            }
        }
    }
}
