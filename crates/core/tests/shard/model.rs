//! Random sequences of what clients, handlers and time can do, against plain maps and sets.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use sockeye_core::{AckFailure, Class, Effect, Key, Message, Target};
use sockeye_protocol::engine::{CloseReason, Transport};

use crate::support::{Rig, START, Waiter, suffix};

const NAMESPACES: [&str; 3] = ["/", "/chat", "/news"];
const ROOMS: [&str; 4] = ["a", "b", "c", "d"];
const INTERVAL: u64 = 5_000;
const TIMEOUT: u64 = 2_000;
const CONNECT: u64 = 9_000;
/// The spread of the heartbeat and what its deadlines are rounded by.
const SLACK: u64 = 600;

/// Numbers name whom or what they mean modulo how many there are.
#[derive(Clone, Debug)]
enum Op {
    Open {
        polling: bool,
    },
    Connect {
        session: usize,
        space: usize,
    },
    Upgrade {
        session: usize,
        finish: bool,
    },
    Event {
        socket: usize,
    },
    HandlerDone {
        socket: usize,
    },
    Join {
        socket: usize,
        room: usize,
    },
    Leave {
        socket: usize,
        room: usize,
    },
    Broadcast {
        space: usize,
        rooms: Vec<usize>,
        except: Vec<usize>,
    },
    Send {
        socket: usize,
    },
    AskAck {
        socket: usize,
        timeout: u64,
    },
    Answer {
        socket: usize,
    },
    Disconnect {
        socket: usize,
        by_client: bool,
    },
    FinishDisconnects,
    Close {
        session: usize,
        how: u8,
    },
    Read {
        session: usize,
    },
    Silence {
        session: usize,
    },
    Pass {
        ms: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0usize..64;
    // A name below the number of rooms is a room; any other is a socket's own.
    let names = || prop::collection::vec(0usize..12, 0..4);
    prop_oneof![
        3 => any::<bool>().prop_map(|polling| Op::Open { polling }),
        6 => (n.clone(), n.clone()).prop_map(|(session, space)| Op::Connect { session, space }),
        1 => (n.clone(), any::<bool>()).prop_map(|(session, finish)| Op::Upgrade { session, finish }),
        4 => n.clone().prop_map(|socket| Op::Event { socket }),
        4 => n.clone().prop_map(|socket| Op::HandlerDone { socket }),
        6 => (n.clone(), n.clone()).prop_map(|(socket, room)| Op::Join { socket, room }),
        2 => (n.clone(), n.clone()).prop_map(|(socket, room)| Op::Leave { socket, room }),
        6 => (n.clone(), names(), names())
            .prop_map(|(space, rooms, except)| Op::Broadcast { space, rooms, except }),
        2 => n.clone().prop_map(|socket| Op::Send { socket }),
        3 => (n.clone(), 1u64..8_000).prop_map(|(socket, timeout)| Op::AskAck { socket, timeout }),
        2 => n.clone().prop_map(|socket| Op::Answer { socket }),
        2 => (n.clone(), any::<bool>())
            .prop_map(|(socket, by_client)| Op::Disconnect { socket, by_client }),
        2 => Just(Op::FinishDisconnects),
        1 => (n.clone(), 0u8..4).prop_map(|(session, how)| Op::Close { session, how }),
        3 => n.clone().prop_map(|session| Op::Read { session }),
        1 => n.prop_map(|session| Op::Silence { session }),
        3 => (1u64..12_000).prop_map(|ms| Op::Pass { ms }),
    ]
}

#[derive(Default)]
struct ModelSession {
    opened: u64,
    /// Joined at least once: there is no connect timeout any more.
    joined: bool,
    silent: Option<u64>,
    /// When its heartbeat was started anew by an upgrade.
    switched: u64,
    sockets: BTreeMap<usize, Key>,
    left: BTreeSet<usize>,
    /// The texts that wait.
    wire: VecDeque<String>,
}

struct ModelSocket {
    session: Key,
    space: usize,
    id: String,
    rooms: BTreeSet<String>,
    leaving: bool,
    busy: bool,
    waiting: VecDeque<u64>,
    acks: BTreeMap<u64, u64>,
}

struct Model {
    rig: Rig,
    sessions: BTreeMap<u64, (Key, ModelSession)>,
    sockets: BTreeMap<u64, (Key, ModelSocket)>,
    serial: u64,
    asked: u64,
    resolved: HashMap<u64, Result<usize, AckFailure>>,
}

impl Model {
    fn new() -> Self {
        let rig = Rig::with(|config| {
            config.ping_interval = INTERVAL;
            config.ping_timeout = TIMEOUT;
            config.connect_timeout = CONNECT;
            config.upgrade_timeout = 3_000;
            config.max_waiting_events = 1_000;
        });
        assert_eq!(rig.now, START);
        Model {
            rig,
            sessions: BTreeMap::new(),
            sockets: BTreeMap::new(),
            serial: 0,
            asked: 0,
            resolved: HashMap::new(),
        }
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn session(&self, n: usize) -> Option<Key> {
        let all: Vec<_> = self.sessions.values().map(|(key, _)| *key).collect();
        (!all.is_empty()).then(|| all[n % all.len()])
    }

    fn socket(&self, n: usize) -> Option<Key> {
        let all: Vec<_> = self.sockets.values().map(|(key, _)| *key).collect();
        (!all.is_empty()).then(|| all[n % all.len()])
    }

    fn of_session(&mut self, key: Key) -> Option<&mut ModelSession> {
        let mut all = self.sessions.values_mut();
        all.find(|(k, _)| *k == key).map(|(_, state)| state)
    }

    fn of_socket(&mut self, key: Key) -> &mut ModelSocket {
        let mut all = self.sockets.values_mut();
        let found = all.find(|(k, _)| *k == key).map(|(_, state)| state);
        found.expect("a key that the model handed out")
    }

    /// The session is gone: its sockets are leaving.
    fn session_gone(&mut self, key: Key) {
        let serial = *self
            .sessions
            .iter()
            .find(|(_, (k, _))| *k == key)
            .unwrap()
            .0;
        let (_, state) = self.sessions.remove(&serial).unwrap();
        for socket in state.sockets.into_values() {
            self.socket_leaves(socket);
        }
    }

    fn socket_leaves(&mut self, key: Key) {
        let state = self.of_socket(key);
        assert!(!state.leaving);
        state.leaving = true;
        state.waiting.clear();
        for id in std::mem::take(&mut state.acks).into_keys() {
            self.resolved.insert(id, Err(AckFailure::Disconnected));
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Open { polling } => {
                let transport = if *polling {
                    Transport::Polling
                } else {
                    Transport::WebSocket
                };
                let key = self.rig.open(transport);
                let state = ModelSession {
                    opened: self.rig.now,
                    ..Default::default()
                };
                let serial = self.next();
                self.sessions.insert(serial, (key, state));
            }
            Op::Connect { session, space } => self.connect(*session, space % NAMESPACES.len()),
            Op::Upgrade { session, finish } => {
                let Some(key) = self.session(*session) else {
                    return;
                };
                if self.rig.shard.probe_opened(key) {
                    self.rig.shard.probe_text(key, "2probe");
                    if *finish {
                        self.rig.shard.probe_text(key, "5");
                        let now = self.rig.now;
                        self.of_session(key).unwrap().switched = now;
                    }
                }
            }
            Op::Event { socket } => self.event(*socket),
            Op::HandlerDone { socket } => {
                let Some(key) = self.socket(*socket) else {
                    return;
                };
                if !self.of_socket(key).busy {
                    return;
                }
                let next = self.rig.shard.next_event(key);
                let state = self.of_socket(key);
                let expected = state.waiting.pop_front();
                state.busy = expected.is_some() || state.leaving;
                let got = next.map(|packet| packet.event.to_string());
                assert_eq!(got, expected.map(|n| n.to_string()));
            }
            Op::Join { socket, room } => {
                let Some(key) = self.socket(*socket) else {
                    return;
                };
                let room = ROOMS[room % ROOMS.len()];
                let joined = self.rig.shard.join(key, room);
                let new = self.of_socket(key).rooms.insert(room.to_owned());
                assert_eq!(joined, Ok(new));
            }
            Op::Leave { socket, room } => {
                let Some(key) = self.socket(*socket) else {
                    return;
                };
                let room = ROOMS[room % ROOMS.len()];
                let left = self.rig.shard.leave(key, room);
                assert_eq!(left, self.of_socket(key).rooms.remove(room));
            }
            Op::Broadcast {
                space,
                rooms,
                except,
            } => {
                self.broadcast(space % NAMESPACES.len(), rooms, except);
            }
            Op::Send { socket } => {
                let Some(key) = self.socket(*socket) else {
                    return;
                };
                let (text, message) = self.message(self.of_space(key));
                let queued = self.rig.shard.send(key, &message).is_queued();
                let (leaving, session) = (self.of_socket(key).leaving, self.of_socket(key).session);
                assert_eq!(queued, !leaving);
                self.rig.shard.take_full();
                if queued {
                    self.of_session(session).unwrap().wire.push_back(text);
                }
            }
            Op::AskAck { socket, timeout } => {
                let Some(key) = self.socket(*socket) else {
                    return;
                };
                self.asked += 1;
                let id = self.asked;
                let waiter = Waiter(id, self.rig.outcomes.clone());
                let waits = self.rig.shard.expect_ack(key, id, *timeout, waiter);
                let deadline = self.rig.now + timeout;
                let state = self.of_socket(key);
                assert_eq!(waits, !state.leaving);
                if waits {
                    state.acks.insert(id, deadline);
                } else {
                    self.resolved.insert(id, Err(AckFailure::Disconnected));
                }
            }
            Op::Answer { socket } => {
                let Some(key) = self.socket(*socket) else {
                    return;
                };
                let space = self.of_space(key);
                let state = self.of_socket(key);
                let Some((id, _)) = state.acks.pop_first() else {
                    return;
                };
                let session = state.session;
                self.resolved.insert(id, Ok(1));
                let packet = format!("43{}{id}[0]", suffix(NAMESPACES[space]));
                self.rig.receive(session, &packet);
            }
            Op::Disconnect { socket, by_client } => self.disconnect(*socket, *by_client),
            Op::FinishDisconnects => self.finish(),
            Op::Close { session, how } => {
                let Some(key) = self.session(*session) else {
                    return;
                };
                match how {
                    0 => self.rig.shard.transport_closed(key, true),
                    1 => self.rig.receive(key, "1"),
                    2 => self.rig.shard.overflow(key),
                    _ => self.rig.receive(key, "4 not a packet"),
                }
                assert!(!self.rig.lives(key));
                self.session_gone(key);
            }
            Op::Read { session } => {
                let Some(key) = self.session(*session) else {
                    return;
                };
                self.read(key);
            }
            Op::Silence { session } => {
                let now = self.rig.now;
                let Some(key) = self.session(*session) else {
                    return;
                };
                self.of_session(key).unwrap().silent.get_or_insert(now);
            }
            Op::Pass { ms } => self.pass(*ms),
        }
    }

    fn of_space(&self, key: Key) -> usize {
        let mut all = self.sockets.values();
        all.find(|(k, _)| *k == key).expect("a socket").1.space
    }

    fn message(&mut self, space: usize) -> (String, Arc<Message>) {
        let text = format!("42{}[\"{}\"]", suffix(NAMESPACES[space]), self.next());
        let message = Arc::new(Message::text(&text, Class::Normal));
        (text, message)
    }

    fn connect(&mut self, session: usize, space: usize) {
        let Some(key) = self.session(session) else {
            return;
        };
        let name = NAMESPACES[space];
        let joined = self.of_session(key).unwrap().sockets.contains_key(&space);
        if joined {
            self.rig.receive(key, &format!("40{}", suffix(name)));
            assert!(!self.rig.lives(key), "joined twice");
            return self.session_gone(key);
        }
        let socket = self.rig.connect(key, name);
        let id = self.rig.id(socket);
        let state = self.of_session(key).unwrap();
        state.joined = true;
        state.left.remove(&space);
        state.sockets.insert(space, socket);
        state
            .wire
            .push_back(format!("40{}{{\"sid\":\"{id}\"}}", suffix(name)));
        let state = ModelSocket {
            session: key,
            space,
            id,
            rooms: BTreeSet::new(),
            leaving: false,
            busy: true,
            waiting: VecDeque::new(),
            acks: BTreeMap::new(),
        };
        let serial = self.next();
        self.sockets.insert(serial, (socket, state));
    }

    fn event(&mut self, socket: usize) {
        let Some(key) = self.socket(socket) else {
            return;
        };
        let number = self.next();
        let state = self.of_socket(key);
        let (session, space, leaving) = (state.session, state.space, state.leaving);
        let runs = !leaving && !std::mem::replace(&mut state.busy, true);
        if !leaving && !runs {
            state.waiting.push_back(number);
        }
        let Some(of_session) = self.of_session(session) else {
            return;
        };
        let addressee = of_session.sockets.get(&space).copied();
        if addressee.is_some_and(|other| other != key) {
            // The namespace was joined anew: that is another socket's business.
            return;
        }
        let crossing = of_session.left.contains(&space);
        let packet = format!("42{}[\"{number}\"]", suffix(NAMESPACES[space]));
        self.rig.receive(session, &packet);
        let handed = self.rig.events();
        let handed: Vec<_> = handed
            .iter()
            .map(|(s, p)| (*s, p.event.to_string()))
            .collect();
        if runs {
            assert_eq!(handed, [(key, number.to_string())]);
        } else {
            assert!(handed.is_empty(), "{handed:?}");
        }
        assert_eq!(self.rig.lives(session), !leaving || crossing);
        if leaving && !crossing {
            self.session_gone(session);
        }
    }

    fn broadcast(&mut self, space: usize, rooms: &[usize], except: &[usize]) {
        let name = |n: &usize| match ROOMS.get(*n) {
            Some(room) => (*room).to_owned(),
            None => {
                let socket = self.socket(*n);
                socket.map_or_else(|| "nobody".to_owned(), |key| self.rig.id(key))
            }
        };
        let rooms: Vec<String> = rooms.iter().map(name).collect();
        let except: Vec<String> = except.iter().map(name).collect();
        let (text, message) = self.message(space);
        let within = |socket: &ModelSocket, names: &[String]| {
            names
                .iter()
                .any(|n| *n == socket.id || socket.rooms.contains(n))
        };
        let mut expected = BTreeSet::new();
        for (key, socket) in self.sockets.values() {
            let aimed = rooms.is_empty() || within(socket, &rooms);
            let there = socket.space == space && !socket.leaving;
            if there && aimed && !within(socket, &except) {
                expected.insert((key.slot(), socket.session.to_bits()));
            }
        }
        let shared = |names: &[String]| -> Vec<Arc<str>> {
            names.iter().map(|name| name.as_str().into()).collect()
        };
        let (rooms, except) = (shared(&rooms), shared(&except));
        let target = Target {
            rooms: &rooms,
            except: &except,
        };
        let mut found = Vec::new();
        self.rig
            .shard
            .resolve(NAMESPACES[space], target, &mut found);
        let slots: Vec<_> = found.iter().map(|key| key.slot()).collect();
        assert!(
            slots
                .iter()
                .copied()
                .eq(expected.iter().map(|(slot, _)| *slot))
        );
        let delivery = self
            .rig
            .shard
            .broadcast(NAMESPACES[space], target, &message);
        assert_eq!((delivery.queued, delivery.refused), (expected.len(), 0));
        for (_, session) in expected {
            let session = self.of_session(Key::from_bits(session)).unwrap();
            session.wire.push_back(text.clone());
        }
    }

    fn disconnect(&mut self, socket: usize, by_client: bool) {
        let Some(key) = self.socket(socket) else {
            return;
        };
        let state = self.of_socket(key);
        let (session, space) = (state.session, state.space);
        if state.leaving {
            return self.rig.shard.disconnect(key);
        }
        let packet = format!("41{}", suffix(NAMESPACES[space]));
        if by_client {
            self.rig.receive(session, &packet);
        } else {
            self.rig.shard.disconnect(key);
        }
        let state = self.of_session(session).unwrap();
        state.sockets.remove(&space);
        if !by_client {
            state.wire.push_back(packet);
            state.left.insert(space);
        }
        self.socket_leaves(key);
    }

    fn finish(&mut self) {
        let finished: BTreeSet<u64> = self.rig.finish().iter().map(|(k, _)| k.to_bits()).collect();
        let leaving = self.sockets.values().filter(|(_, state)| state.leaving);
        let expected: BTreeSet<u64> = leaving.map(|(key, _)| key.to_bits()).collect();
        assert_eq!(finished, expected, "each socket leaves once");
        self.sockets.retain(|_, (_, state)| !state.leaving);
    }

    /// The client reads, and answers a ping unless it is silent.
    fn read(&mut self, key: Key) {
        let packets = self.rig.read(key);
        let (pings, got): (Vec<_>, Vec<_>) = packets
            .into_iter()
            .partition(|packet| packet == "2" || packet == "6");
        let state = self.of_session(key).unwrap();
        let expected: Vec<_> = state.wire.drain(..).collect();
        assert_eq!(got, expected, "what was said, in order, once");
        if state.silent.is_none() && pings.iter().any(|ping| ping == "2") {
            self.rig.receive(key, "3");
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.rig.now + ms;
        while self.rig.now < until {
            let step = (until - self.rig.now).min(500);
            self.rig.pass(step);
            self.acks_due();
            for (key, reason) in self.rig.closed() {
                let now = self.rig.now;
                let state = self.of_session(key).expect("it lived");
                match reason {
                    CloseReason::PingTimeout => {
                        let silent = state.silent.expect("it answered every ping");
                        assert!(now >= silent.max(state.opened + INTERVAL + TIMEOUT));
                    }
                    CloseReason::ForcedClose => {
                        assert!(!state.joined && now >= state.opened + CONNECT);
                    }
                    other => panic!("closed by time: {other:?}"),
                }
                self.session_gone(key);
            }
            let keys: Vec<_> = self.sessions.values().map(|(key, _)| *key).collect();
            for key in keys {
                self.read(key);
            }
            let now = self.rig.now;
            for (_, state) in self.sessions.values() {
                assert!(state.joined || now < state.opened + CONNECT + SLACK);
                if let Some(silent) = state.silent {
                    assert!(
                        now < silent.max(state.switched) + INTERVAL + TIMEOUT + 2 * SLACK,
                        "it lives on"
                    );
                }
            }
        }
    }

    /// Suspects are judged after all that time alone brings about.
    fn acks_due(&mut self) {
        let now = self.rig.now;
        for (_, socket) in self.sockets.values_mut() {
            let due: Vec<_> = socket.acks.iter().filter(|(_, at)| **at <= now).collect();
            let due: Vec<u64> = due.into_iter().map(|(id, _)| *id).collect();
            for id in due {
                socket.acks.remove(&id);
                self.resolved.insert(id, Err(AckFailure::Timeout));
            }
        }
    }

    fn check(&mut self) {
        for effect in self.rig.take_effects() {
            match effect {
                Effect::Closed { .. } | Effect::EndProbe { .. } => {}
                Effect::Disconnecting { .. } => self.rig.effects.push(effect),
                other => panic!("{other:?}"),
            }
        }
        let shard = &self.rig.shard;
        assert_eq!(shard.session_count(), self.sessions.len());
        assert_eq!(shard.socket_count(), self.sockets.len());
        let waiting: usize = shard
            .sessions()
            .map(|(_, session)| session.out.bytes())
            .sum();
        assert_eq!(shard.queued_bytes(), waiting);
        for (key, state) in self.sockets.values() {
            let mut rooms = vec![state.id.clone()];
            rooms.extend(state.rooms.iter().cloned());
            let mut got = shard.rooms_of(*key);
            got[1..].sort();
            assert_eq!(got, rooms);
            assert_eq!(shard.find_socket(&state.id), Some(*key));
        }
        for (number, name) in NAMESPACES.iter().enumerate() {
            let here = || self.sockets.values().filter(|(_, s)| s.space == number);
            let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
            for room in here().flat_map(|(_, socket)| &socket.rooms) {
                *sizes.entry(room).or_default() += 1;
            }
            let mut got = shard.room_sizes(name);
            got.sort();
            assert!(got.iter().map(|(room, n)| (room.as_str(), *n)).eq(sizes));
            let connected = here().filter(|(_, socket)| !socket.leaving).count();
            assert_eq!(shard.sockets_in(name), connected);
        }
        let outcomes: HashMap<_, _> = self.rig.outcomes.borrow().iter().copied().collect();
        assert_eq!(outcomes, self.resolved);
        assert_eq!(
            self.rig.outcomes.borrow().len(),
            outcomes.len(),
            "each once"
        );
    }

    fn end(mut self) {
        let keys: Vec<_> = self.sessions.values().map(|(key, _)| *key).collect();
        for key in keys {
            self.rig.shard.transport_closed(key, true);
            self.session_gone(key);
        }
        self.check();
        self.finish();
        self.check();
        assert_eq!(self.resolved.len() as u64, self.asked, "every waiter knows");
        self.rig.assert_empty();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_behaves_like_maps_and_sets(ops in prop::collection::vec(op(), 1..120)) {
        let mut model = Model::new();
        for op in &ops {
            model.apply(op);
            model.check();
        }
        model.end();
    }
}
