//! A shard with a clock that the test turns, and clients that are plain function calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_core::{
    AckFailure, AckWaiter, Class, Config, Effect, Host, Key, Kind, Message, Shard, Target,
};
use sockeye_protocol::engine::{CloseReason, SessionId, SocketId, Transport};
use sockeye_protocol::socketio::{Args, Packet, encode_connect};

pub(crate) const START: u64 = 10_000;

/// What the tests attach to a shard.
pub(crate) struct Fake;

impl Host for Fake {
    type Io = [usize; 2];
    type Socket = SocketId;
    type Waiter = Waiter;
}

/// What became of acknowledgements, by the number of their waiter.
pub(crate) type Outcomes = Rc<RefCell<Vec<(u64, Result<usize, AckFailure>)>>>;

pub(crate) struct Waiter(pub(crate) u64, pub(crate) Outcomes);

impl AckWaiter for Waiter {
    fn resolve(self, answer: Result<Args, AckFailure>) {
        self.1
            .borrow_mut()
            .push((self.0, answer.map(|args| args.len())));
    }
}

pub(crate) struct Rig {
    pub(crate) shard: Shard<Fake>,
    pub(crate) now: u64,
    pub(crate) outcomes: Outcomes,
    /// What the shard asked for and no test has looked at yet.
    pub(crate) effects: Vec<Effect<Fake>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Rig {
            shard: Shard::new(Arc::new(config), START),
            now: START,
            outcomes: Outcomes::default(),
            effects: Vec::new(),
        }
    }

    /// A session whose open packet has been read.
    pub(crate) fn open(&mut self, transport: Transport) -> Key {
        let id = SessionId::new([0; 3], 0);
        let upgrades: &[&str] = &["websocket"];
        let key = self
            .shard
            .open(id, transport, Kind::SocketIo, [0; 2], upgrades);
        let open = self.read(key);
        assert!(open[0].starts_with("0{\"sid\":"), "{open:?}");
        key
    }

    pub(crate) fn websocket(&mut self) -> Key {
        self.open(Transport::WebSocket)
    }

    /// A WebSocket client in the main namespace.
    pub(crate) fn client(&mut self) -> (Key, Key) {
        let session = self.websocket();
        let socket = self.join(session, "/");
        (session, socket)
    }

    /// Lets `session` into `namespace` and reads the greeting.
    pub(crate) fn join(&mut self, session: Key, namespace: &str) -> Key {
        let socket = self.connect(session, namespace);
        let greeting = self.read(session);
        assert!(greeting.iter().any(|p| p.starts_with("40")), "{greeting:?}");
        // The connection handler has run.
        assert!(self.shard.next_event(socket).is_none());
        socket
    }

    /// Lets `session` into `namespace`; its connection handler still runs, nothing is read.
    pub(crate) fn connect(&mut self, session: Key, namespace: &str) -> Key {
        let before = self.take_effects();
        self.receive(session, &format!("40{}", suffix(namespace)));
        let asked = self.take_effects();
        assert!(
            matches!(&asked[..], [Effect::Connect { session: by, namespace: name, .. }]
                if *by == session && **name == *namespace),
            "{asked:?}"
        );
        self.effects = before;
        self.accept(session, namespace).expect("it has asked")
    }

    pub(crate) fn accept(&mut self, session: Key, namespace: &str) -> Option<Key> {
        let id = SocketId::new();
        let greeting = self.shard.encode(|parser, out| {
            out.extend_from_slice(&encode_connect(parser, namespace, id.as_str(), None).first);
        });
        let namespace: Arc<str> = namespace.into();
        self.shard
            .accept(session, &namespace, id, &[Arc::new(greeting)], |_| id)
    }

    /// The client sends an engine packet.
    pub(crate) fn receive(&mut self, session: Key, packet: &str) {
        let Some(state) = self.shard.session(session) else {
            return;
        };
        match state.engine().transport() {
            Transport::WebSocket => self.shard.websocket_text(session, packet),
            Transport::Polling => {
                self.shard.post_started(session);
                let _ = self.shard.post(session, packet.as_bytes());
            }
        }
    }

    /// The client reads everything that waits, by a poll if it is on polling.
    pub(crate) fn read(&mut self, session: Key) -> Vec<String> {
        let Some(state) = self.shard.session_mut(session) else {
            return Vec::new();
        };
        if state.engine().transport() == Transport::Polling {
            if !state.engine().poll_pending() {
                self.shard.poll_opened(session);
            }
            let payload = self.shard.take_payload(session, usize::MAX);
            let Some(payload) = payload else {
                return Vec::new();
            };
            self.shard.drained(session);
            let payload = String::from_utf8(payload).unwrap();
            return payload.split('\u{1e}').map(str::to_owned).collect();
        }
        let mut packets = Vec::new();
        while let Some(message) = state.out.pop() {
            packets.push(String::from_utf8_lossy(message.payload()).into_owned());
            packets.extend(message.attachments().map(|data| format!("{data:?}")));
        }
        self.shard.drained(session);
        packets
    }

    /// Time passes; the shard is woken when it wants to be, and suspects are judged.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.pass_unjudged(ms);
        self.shard.judge();
    }

    pub(crate) fn pass_unjudged(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(next) = self.shard.next_tick().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.shard.tick(self.now);
        }
        self.now = until;
        self.shard.tick(until);
    }

    /// What the shard asks for now.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect<Fake>> {
        while let Some(effect) = self.shard.next_effect() {
            self.effects.push(effect);
        }
        std::mem::take(&mut self.effects)
    }

    /// The sessions that have ended, and why. Other effects are kept.
    pub(crate) fn closed(&mut self) -> Vec<(Key, CloseReason)> {
        let mut closed = Vec::new();
        for effect in self.take_effects() {
            match effect {
                Effect::Closed {
                    session, reason, ..
                } => closed.push((session, reason)),
                other => self.effects.push(other),
            }
        }
        closed
    }

    /// The events handed out. Other effects are kept.
    pub(crate) fn events(&mut self) -> Vec<(Key, Packet)> {
        let mut events = Vec::new();
        for effect in self.take_effects() {
            match effect {
                Effect::Event { socket, packet, .. } => events.push((socket, *packet)),
                other => self.effects.push(other),
            }
        }
        events
    }

    /// Runs the disconnect handlers of all sockets that are leaving.
    pub(crate) fn finish(&mut self) -> Vec<(Key, CloseReason)> {
        let mut left = Vec::new();
        for effect in self.take_effects() {
            if let Effect::Disconnecting { socket, reason, .. } = effect {
                self.shard.finish_disconnect(socket);
                left.push((socket, reason));
            }
        }
        left
    }

    pub(crate) fn broadcast(&mut self, rooms: &[&str], except: &[&str], text: &str) -> usize {
        let rooms: Vec<Arc<str>> = rooms.iter().map(|room| (*room).into()).collect();
        let except: Vec<Arc<str>> = except.iter().map(|room| (*room).into()).collect();
        let target = Target {
            rooms: &rooms,
            except: &except,
        };
        self.shard.broadcast("/", target, &event(text)).queued
    }

    pub(crate) fn id(&self, socket: Key) -> String {
        self.shard.socket(socket).unwrap().id().as_str().to_owned()
    }

    pub(crate) fn lives(&self, session: Key) -> bool {
        self.shard.session(session).is_some()
    }

    /// Nothing is left of anybody.
    pub(crate) fn assert_empty(&mut self) {
        self.finish();
        assert_eq!(self.shard.session_count(), 0, "sessions");
        assert_eq!(self.shard.socket_count(), 0, "sockets");
        assert_eq!(self.shard.timer_count(), 0, "timers");
        assert_eq!(self.shard.queued_bytes(), 0, "queued bytes");
        let names: Vec<_> = self.shard.namespaces().cloned().collect();
        for name in names {
            assert_eq!(self.shard.sockets_in(&name), 0, "sockets in {name}");
            assert_eq!(self.shard.room_count(&name), 0, "rooms in {name}");
            self.shard.forget_namespace(&name);
        }
        assert_eq!(self.shard.namespaces().count(), 0, "namespaces");
        let stats = self.shard.stats();
        assert_eq!(stats.sessions_opened, stats.sessions_closed);
    }
}

/// How a namespace is written behind a packet type.
pub(crate) fn suffix(namespace: &str) -> String {
    match namespace {
        "/" => String::new(),
        other => format!("{other},"),
    }
}

/// An event without arguments in the main namespace.
pub(crate) fn event(name: &str) -> Arc<Message> {
    Arc::new(Message::text(&format!("42[\"{name}\"]"), Class::Normal))
}

/// A message that counts for `cost` bytes in a queue (of at most 127).
pub(crate) fn sized(cost: usize, class: Class) -> Arc<Message> {
    let message = Message::text(&"m".repeat(cost - 2), class);
    assert_eq!(message.cost(), cost);
    Arc::new(message)
}
