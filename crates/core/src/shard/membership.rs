//! Namespaces and rooms: who is where.

use std::sync::Arc;

use sockeye_protocol::engine::{CloseReason, SocketId};
use sockeye_protocol::socketio;

use crate::acks::{AckFailure, Acks};
use crate::arena::Key;
use crate::host::{AckWaiter, Effect, Host, RoomChange};
use crate::inbound::Inbound;
use crate::message::Message;
use crate::outbound::Queued;
use crate::shard::{Shard, Timer};
use crate::socket::Socket;
use crate::space::Space;

/// Why a socket is not in a room, or still in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomError {
    /// The limit, rooms per socket, that was reached.
    TooMany(usize),
    /// The socket is gone.
    Gone,
    /// As many calls as may wait for the socket's shard do: nothing was changed, try again later.
    Busy,
}

impl std::fmt::Display for RoomError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RoomError::TooMany(limit) => write!(
                f,
                "the socket is in {limit} rooms, as many as it may be in; leave one or raise \
                 `max_rooms`"
            ),
            RoomError::Gone => f.write_str("the socket is no longer connected"),
            RoomError::Busy => f.write_str(
                "as many calls as may wait for the socket's worker do (`max_inbox_calls`); try \
                 again later",
            ),
        }
    }
}

impl std::error::Error for RoomError {}

impl<H: Host> Shard<H> {
    /// Lets a client into a namespace it asked for, and hands it `greeting`: on a recovery the
    /// missed packets, then CONNECT. `None` when the session is gone or has not asked.
    pub fn accept(
        &mut self,
        session_key: Key,
        namespace: &Arc<str>,
        id: SocketId,
        greeting: &[Arc<Message>],
        host: impl FnOnce(Key) -> H::Socket,
    ) -> Option<Key> {
        let session = self.sessions.get_mut(session_key)?;
        if session.is_closing() {
            return None;
        }
        session.transition(|rare| {
            let asked = rare.pending.iter().position(|name| **name == **namespace)?;
            Some(rare.pending.swap_remove(asked))
        })?;
        let space = self.space_for(namespace);
        let mut inbound = Inbound::default();
        inbound.occupy();
        let socket = self.sockets.insert_with(|key| Socket {
            id,
            session: session_key,
            space,
            host: host(key),
            inbound,
            acks: Acks::default(),
            leaving: false,
        });
        self.index_socket(socket, &id);
        if let Some(space) = self.spaces[space as usize].as_mut() {
            space.sockets.insert(socket.slot());
            if space.watched {
                let change = RoomChange::Joined { created: true };
                self.room_changed(socket, id.as_str(), change);
            }
        }
        let session = self.sessions.get_mut(session_key)?;
        if session.has_left(space) {
            session.transition(|rare| rare.left.retain(|left| *left != space));
        }
        session.sockets.push((space, socket));
        if let Some(timer) = session.patience.take() {
            self.wheel.cancel(timer);
        }
        self.end_full();
        for message in greeting {
            if self.enqueue(session_key, message) == Queued::Refused {
                self.full.push(session_key);
                break;
            }
        }
        Some(socket)
    }

    /// Refuses a client the namespace it asked for.
    pub fn reject(&mut self, session: Key, namespace: &str, answer: &Arc<Message>) {
        let Some(state) = self.sessions.get_mut(session) else {
            return;
        };
        state.transition(|rare| rare.pending.retain(|name| **name != *namespace));
        self.end_full();
        if self.enqueue(session, answer) == Queued::Refused {
            self.full.push(session);
        }
    }

    /// Whether a connection of `session` to `namespace` is still being decided on.
    pub fn is_pending(&self, session: Key, namespace: &str) -> bool {
        let pending = |s: &crate::Session<H::Io>| s.pending().iter().any(|n| **n == *namespace);
        self.sessions.get(session).is_some_and(pending)
    }

    /// Lets a socket into a room.
    ///
    /// # Errors
    /// When it is in as many rooms as it may be in, or gone.
    pub fn join(&mut self, socket: Key, room: &str) -> Result<bool, RoomError> {
        let state = self.sockets.get(socket).ok_or(RoomError::Gone)?;
        if room == state.id.as_str() {
            return Ok(false);
        }
        let space = self.spaces[state.space as usize]
            .as_mut()
            .ok_or(RoomError::Gone)?;
        let rooms = &mut space.rooms;
        let limit = self.config.max_rooms;
        if rooms.room_count(socket.slot()) >= limit && !rooms.contains(socket.slot(), room) {
            self.stats.limit_refusals += 1;
            return Err(RoomError::TooMany(limit));
        }
        let outcome = rooms.join(socket.slot(), room);
        if let Some(observer) = self.room_observer.as_ref().filter(|_| outcome.created) {
            observer.created(&space.name, room);
        }
        if space.watched && outcome.joined {
            let created = outcome.created;
            self.room_changed(socket, room, RoomChange::Joined { created });
        }
        Ok(outcome.joined)
    }

    /// Takes a socket out of a room.
    pub fn leave(&mut self, socket: Key, room: &str) -> bool {
        let Some(state) = self.sockets.get(socket) else {
            return false;
        };
        let Some(space) = self.spaces[state.space as usize].as_mut() else {
            return false;
        };
        let outcome = space.rooms.leave(socket.slot(), room);
        if let Some(observer) = self.room_observer.as_ref().filter(|_| outcome.deleted) {
            observer.deleted(&space.name, room);
        }
        if space.watched && outcome.left {
            let deleted = outcome.deleted;
            self.room_changed(socket, room, RoomChange::Left { deleted });
        }
        outcome.left
    }

    /// Tells of every change of the rooms of a namespace from now on, the sockets' own ones
    /// included: see [`Effect::Room`]. Returns the joined rooms that stand already, and nothing
    /// when they were watched before.
    pub fn watch_rooms(&mut self, namespace: &Arc<str>) -> Vec<Arc<str>> {
        let number = self.space_for(namespace);
        let Some(space) = self.spaces[number as usize].as_mut() else {
            return Vec::new();
        };
        if std::mem::replace(&mut space.watched, true) {
            return Vec::new();
        }
        space.rooms.names().map(Arc::from).collect()
    }

    /// Tells of the rooms of a namespace no more. Returns the joined rooms that stand, and nothing
    /// when they were not watched.
    pub fn unwatch_rooms(&mut self, namespace: &str) -> Vec<Arc<str>> {
        let Some(number) = self.space_number(namespace) else {
            return Vec::new();
        };
        let Some(space) = self.spaces[number as usize].as_mut() else {
            return Vec::new();
        };
        if !std::mem::replace(&mut space.watched, false) {
            return Vec::new();
        }
        space.rooms.names().map(Arc::from).collect()
    }

    fn room_changed(&mut self, socket: Key, room: &str, change: RoomChange) {
        if let Some(state) = self.sockets.get(socket) {
            let (host, room) = (state.host.clone(), room.into());
            self.effects.push_back(Effect::Room { host, room, change });
        }
    }

    /// The rooms a socket is in: its own id first, then those it joined.
    pub fn rooms_of(&self, socket: Key) -> Vec<String> {
        let Some(state) = self.sockets.get(socket) else {
            return Vec::new();
        };
        let mut rooms = vec![state.id.as_str().to_owned()];
        if let Some(space) = &self.spaces[state.space as usize] {
            rooms.extend(space.rooms.rooms_of(socket.slot()).map(str::to_owned));
        }
        rooms
    }

    /// Whether a socket is in a room.
    pub fn is_in(&self, socket: Key, room: &str) -> bool {
        let Some(state) = self.sockets.get(socket) else {
            return false;
        };
        let space = self.spaces[state.space as usize].as_ref();
        state.id.as_str() == room || space.is_some_and(|s| s.rooms.contains(socket.slot(), room))
    }

    /// Rooms of a namespace that have a member here; the sockets' own ones included.
    pub fn room_count(&self, namespace: &str) -> usize {
        self.space(namespace)
            .map_or(0, |space| space.rooms.len() + space.sockets.len())
    }

    /// Joined rooms of a namespace that have a member here, with how many.
    pub fn room_sizes(&self, namespace: &str) -> Vec<(String, usize)> {
        let Some(space) = self.space(namespace) else {
            return Vec::new();
        };
        let size = |name: &str| space.rooms.members(name).map_or(0, |members| members.len());
        space
            .rooms
            .names()
            .map(|name| (name.to_owned(), size(name)))
            .collect()
    }

    /// Sockets of a namespace here.
    pub fn sockets_in(&self, namespace: &str) -> usize {
        self.space(namespace).map_or(0, |space| space.sockets.len())
    }

    /// Namespaces that have a socket here, or had one.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.spaces.iter().flatten().map(|space| &space.name)
    }

    /// Forgets a namespace that has no socket left. One that is still leaving its rooms counts:
    /// ask again when it has finished.
    pub fn forget_namespace(&mut self, namespace: &str) {
        let in_use = |space: &Space| {
            !space.sockets.is_empty() || !space.rooms.is_empty() || space.leaving > 0
        };
        if self.space(namespace).is_some_and(in_use) {
            return;
        }
        if let Some(number) = self.space_names.remove(namespace) {
            self.spaces[number as usize] = None;
        }
    }

    /// Disconnects a socket from its namespace from our side: the client is told, and a stock
    /// client stays away.
    pub fn disconnect(&mut self, socket: Key) {
        let Some(state) = self.sockets.get(socket) else {
            return;
        };
        if state.leaving {
            return;
        }
        let (session, space) = (state.session, state.space);
        if let Some(session) = self.sessions.get_mut(session) {
            session.transition(|rare| rare.left.push(space));
        }
        let packet = self.spaces[space as usize].as_ref().map(|space| {
            self.encode(|parser, out| {
                let packet = socketio::encode_disconnect(parser, &space.name);
                out.extend_from_slice(&packet.first);
            })
        });
        self.begin_disconnect(socket, CloseReason::ServerNamespaceDisconnect, "");
        if let Some(packet) = packet {
            self.tell(session, packet);
        }
    }

    /// Disconnects a client from all its namespaces and closes its connection once it has been
    /// told.
    pub fn disconnect_all(&mut self, session: Key) {
        let Some(state) = self.sessions.get(session) else {
            return;
        };
        let sockets: Vec<_> = state.sockets.iter().map(|(_, socket)| *socket).collect();
        for socket in sockets {
            self.disconnect(socket);
        }
        self.close(session, CloseReason::ForcedServerClose, "");
    }

    /// Queues a packet that the client has to get: a connection without room for it is ended.
    pub(crate) fn tell(&mut self, session: Key, packet: Message) {
        if self.enqueue(session, &Arc::new(packet)) == Queued::Refused {
            self.overflow(session);
        }
    }

    /// Takes a socket out of delivery; its rooms stand until [`Shard::finish_disconnect`].
    pub(crate) fn begin_disconnect(&mut self, key: Key, reason: CloseReason, detail: &'static str) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if std::mem::replace(&mut socket.leaving, true) {
            return;
        }
        self.stats.events_dropped += socket.inbound.len() as u64;
        socket.inbound = Inbound::default();
        socket.inbound.occupy();
        let mut acks = std::mem::take(&mut socket.acks);
        let (host, space, session) = (socket.host.clone(), socket.space, socket.session);
        for (timer, waiter) in acks.drain() {
            self.wheel.cancel(timer);
            waiter.resolve(Err(AckFailure::Disconnected));
        }
        if let Some(space) = self.spaces[space as usize].as_mut() {
            space.sockets.remove(key.slot());
            space.leaving += 1;
        }
        if let Some(session) = self.sessions.get_mut(session) {
            session.sockets.retain(|(_, socket)| *socket != key);
        }
        self.resume_if_relaxed(session);
        self.effects.push_back(Effect::Disconnecting {
            socket: key,
            host,
            reason,
            detail,
        });
    }

    /// The disconnecting handlers have run: rooms and slot are given back.
    pub fn finish_disconnect(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if !socket.leaving {
            return;
        }
        let (space, id) = (socket.space, socket.id);
        if let Some(space) = self.spaces[space as usize].as_mut() {
            space.leaving -= 1;
            let (name, observer) = (&space.name, self.room_observer.as_deref());
            let watched = space.watched;
            let mut left: Vec<(Arc<str>, bool)> = Vec::new();
            if watched {
                left.push((id.as_str().into(), true));
            }
            space.rooms.leave_all_with(key.slot(), |room, deleted| {
                if let Some(observer) = observer.filter(|_| deleted) {
                    observer.deleted(name, room);
                }
                if watched {
                    left.push((room.into(), deleted));
                }
            });
            for (room, deleted) in left {
                let (host, change) = (socket.host.clone(), RoomChange::Left { deleted });
                self.effects.push_back(Effect::Room { host, room, change });
            }
        }
        self.forget_socket_id(key, &id);
        if let Some(mut socket) = self.sockets.remove(key) {
            self.fail_acks(&mut socket, AckFailure::Disconnected);
        }
    }

    /// Registers an acknowledgement that `socket` owes; it ends by an answer, by `timeout`
    /// milliseconds, or with the socket.
    pub fn expect_ack(&mut self, socket: Key, id: u64, timeout: u64, waiter: H::Waiter) -> bool {
        let limit = self.config.max_pending_acks;
        let Some(state) = self.sockets.get_mut(socket).filter(|state| !state.leaving) else {
            waiter.resolve(Err(AckFailure::Disconnected));
            return false;
        };
        if state.acks.len() >= limit {
            self.stats.limit_refusals += 1;
            waiter.resolve(Err(AckFailure::Refused));
            return false;
        }
        let halves = [(id >> 32) as u32, id as u32];
        let timer = self.arm(timeout, Timer::Ack(socket, halves));
        if let Some(state) = self.sockets.get_mut(socket) {
            state.acks.insert(id, timer, waiter);
        }
        true
    }

    /// Gives up on an acknowledgement, if it is still outstanding.
    pub fn refuse_ack(&mut self, socket: Key, id: u64) {
        let Some(state) = self.sockets.get_mut(socket) else {
            return;
        };
        if let Some((timer, waiter)) = state.acks.remove(id) {
            self.wheel.cancel(timer);
            waiter.resolve(Err(AckFailure::Refused));
        }
    }

    pub(crate) fn space(&self, namespace: &str) -> Option<&Space> {
        let number = *self.space_names.get(namespace)?;
        self.spaces[number as usize].as_ref()
    }

    /// The number of a namespace, if it was ever joined here.
    pub(crate) fn space_number(&self, namespace: &str) -> Option<u32> {
        self.space_names.get(namespace).copied()
    }

    /// Whether namespace number `number` has this name.
    pub(crate) fn is_space(&self, number: u32, namespace: &str) -> bool {
        let space = self.spaces.get(number as usize);
        space.is_some_and(|space| space.as_ref().is_some_and(|s| *s.name == *namespace))
    }

    fn space_for(&mut self, namespace: &Arc<str>) -> u32 {
        if let Some(number) = self.space_names.get(namespace) {
            return *number;
        }
        let space = Some(Space::new(namespace.clone()));
        let number = match self.spaces.iter().position(Option::is_none) {
            Some(free) => {
                self.spaces[free] = space;
                free as u32
            }
            None => {
                self.spaces.push(space);
                (self.spaces.len() - 1) as u32
            }
        };
        self.space_names.insert(namespace.clone(), number);
        number
    }
}
