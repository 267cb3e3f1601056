//! A client in a namespace.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sockeye_cluster::Offset;
use sockeye_core::{Class, Key, Message, Queued, RoomError, Shard};
use sockeye_protocol::engine::{CloseReason, SocketId, Transport};
use sockeye_protocol::socketio::{
    Args, ArgsError, Parser, ToArgs, encode_ack_into, is_reserved_event,
};
use tokio::sync::watch;

use crate::broadcast::Broadcast;
use crate::emitter::{AckFuture, Emitter};
use crate::engine_handle::EngineHandle;
use crate::error::EmitError;
use crate::handshake::Handshake;
use crate::listeners::{Listener, ListenerId, Listeners, Moment};
use crate::namespace::{Namespace, NamespaceInner};
use crate::net::{Connection, Net};
use crate::publish::in_order;
use crate::recovery::Recovery;
use crate::room::{IntoRooms, Room, RoomFuture};
use crate::server::Server;
use crate::worker::{Busy, Worker};

/// Where a socket is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SocketState {
    /// The namespace's middleware decides on it.
    Connecting,
    /// It sends and receives.
    Connected,
    /// It is leaving: its disconnecting handlers run, its rooms still stand.
    Disconnecting,
    /// It has left.
    Disconnected,
}

/// A client in a namespace: a handle, cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Socket(Arc<SocketInner>);

struct SocketInner {
    id: SocketId,
    connection: Arc<Connection>,
    namespace: Arc<NamespaceInner>,
    auth: Args,
    key: AtomicU64,
    state: AtomicU8,
    recovered: bool,
    /// Whether it ever had listeners of its own: asked for each event.
    listened: AtomicBool,
    /// What few sockets have.
    extras: Mutex<Option<Box<Extras>>>,
}

#[derive(Default)]
struct Extras {
    pid: Option<Box<str>>,
    connected_at: Option<Offset>,
    left_at: Option<Offset>,
    data: Option<Box<serde_json::value::RawValue>>,
    user: Option<Arc<str>>,
    extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    listeners: Listeners,
    early_rooms: Vec<Room>,
    state: Option<watch::Sender<SocketState>>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Socket({} in {}, {:?})",
            self.id(),
            self.namespace_name(),
            self.state()
        )
    }
}

/// # Who it is
impl Socket {
    /// The public id: 20 characters, also the name of a room that only this socket is in.
    pub fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// Where it is in its life.
    pub fn state(&self) -> SocketState {
        match self.0.state.load(Ordering::Acquire) {
            0 => SocketState::Connecting,
            1 => SocketState::Connected,
            2 => SocketState::Disconnecting,
            _ => SocketState::Disconnected,
        }
    }

    /// Watches its state from now on. Every transition is seen by a receiver that keeps up.
    pub fn watch_state(&self) -> watch::Receiver<SocketState> {
        let mut extras = self.0.extras.lock();
        let now = self.state();
        let extras = extras.get_or_insert_default();
        extras
            .state
            .get_or_insert_with(|| watch::channel(now).0)
            .subscribe()
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.state() == SocketState::Connected
    }

    /// Whether its state was recovered after a loss of connection.
    pub fn is_recovered(&self) -> bool {
        self.0.recovered
    }

    /// Completes when the socket has been disconnected.
    pub async fn closed(&self) {
        let mut state = self.watch_state();
        let _ = state
            .wait_for(|state| *state == SocketState::Disconnected)
            .await;
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> Namespace {
        Namespace::new(self.0.namespace.clone())
    }

    /// The server it is connected to.
    pub fn server(&self) -> Server {
        Server::from_inner(self.0.namespace.server().clone())
    }

    /// The first request of its session.
    pub fn handshake(&self) -> &Handshake {
        &self.0.connection.handshake
    }

    /// The connection that carries it, with its other namespaces: Node's `socket.conn`.
    pub fn engine(&self) -> EngineHandle {
        EngineHandle::new(self.0.connection.clone())
    }

    /// What the client gave as `auth` when it connected, as a `T`.
    ///
    /// # Errors
    /// When it gave nothing (and a `T` is not made of `null`) or something else.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        crate::extract::argument(&self.0.auth, 0)
    }

    /// What the client gave as `auth`, raw: one argument or none.
    pub fn raw_auth(&self) -> &Args {
        &self.0.auth
    }

    /// The transport that carries it at this moment.
    pub fn transport(&self) -> Transport {
        self.0.connection.transport()
    }

    /// Bytes that wait for its connection.
    pub fn queued_bytes(&self) -> usize {
        self.0.connection.backlog()
    }
}

/// # What is known about it
impl Socket {
    /// Sets the socket's data: a value that travels with it into `fetch_sockets`, recovery and
    /// the cluster.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn set_data(&self, data: impl Serialize) -> Result<(), ArgsError> {
        let data = serde_json::value::to_raw_value(&data).map_err(serde::ser::Error::custom)?;
        self.0.extras.lock().get_or_insert_default().data = Some(data);
        Ok(())
    }

    /// The socket's data as a `T`: `None` when there is none or it is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        let extras = self.0.extras.lock();
        serde_json::from_str(extras.as_ref()?.data.as_ref()?.get()).ok()
    }

    /// The socket's data as JSON text.
    pub fn raw_data(&self) -> Option<String> {
        let extras = self.0.extras.lock();
        Some(extras.as_ref()?.data.as_ref()?.get().to_owned())
    }

    /// Makes the socket belong to a user: it is then reached by `to_user`. Best set in a
    /// middleware. In force when the future completes, inside the socket's worker at once; it fails
    /// as that of [`Socket::join`].
    pub fn set_user(&self, user: impl Into<Arc<str>>) -> RoomFuture {
        let user: Arc<str> = user.into();
        let room = user_room(&user);
        {
            let mut extras = self.0.extras.lock();
            if self.state() == SocketState::Connecting {
                let extras = extras.get_or_insert_default();
                let before = extras.user.replace(user).as_deref().map(user_room);
                let rooms = &mut extras.early_rooms;
                rooms.retain(|known| Some(known) != before.as_ref());
                rooms.push(room);
                return RoomFuture::done();
            }
        }
        let rooms = [room.clone()];
        let expected = self.0.namespace.expect_rooms(self.worker(), &rooms);
        let socket = self.clone();
        self.change_rooms(move |shard| {
            let mut extras = socket.0.extras.lock();
            let before = extras.get_or_insert_default().user.replace(user);
            drop(extras);
            if let Some(before) = before {
                socket.note_leaving();
                shard.leave(socket.key(), &user_room(&before));
            }
            let joined = shard.join(socket.key(), &room).map(|_| ());
            drop(expected);
            joined
        })
    }

    /// The user it belongs to, if any.
    pub fn user(&self) -> Option<Arc<str>> {
        self.0.extras.lock().as_ref()?.user.clone()
    }

    /// Keeps a value of any type with the socket, on this node only.
    pub fn insert_extension<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let mut extras = self.0.extras.lock();
        let extensions = &mut extras.get_or_insert_default().extensions;
        extensions
            .insert(TypeId::of::<T>(), Arc::new(value))?
            .downcast()
            .ok()
    }

    /// The value of this type kept with the socket.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let extras = self.0.extras.lock();
        extras
            .as_ref()?
            .extensions
            .get(&TypeId::of::<T>())?
            .clone()
            .downcast()
            .ok()
    }
}

/// # Speaking
impl Socket {
    /// Emits an event to this client: whether it was queued or, only possible for volatile ones,
    /// dropped.
    ///
    /// # Errors
    /// When the arguments cannot be written, the name is reserved, or the connection is gone; a
    /// connection whose queue is full is closed, so that the client comes back.
    pub fn emit(&self, event: &str, args: impl ToArgs) -> Result<Queued, EmitError> {
        self.emitter().emit(event, args)
    }

    /// Emits the event `message`, as Node's `send` does.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn send(&self, args: impl ToArgs) -> Result<Queued, EmitError> {
        self.emit("message", args)
    }

    /// Emits an event when the connection has room for it, waiting until then.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub async fn emit_when_ready(
        &self,
        event: &str,
        args: impl ToArgs,
    ) -> Result<Queued, EmitError> {
        let args = args.to_args(self.parser())?;
        self.ready().await;
        self.emit(event, args)
    }

    /// Completes when the connection has room: less waits for it than half its limit.
    pub async fn ready(&self) {
        let limit = self.0.namespace.server().config.core.max_queued_bytes / 2;
        let connection = &self.0.connection;
        loop {
            let room = connection.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.outstanding() < limit || self.state() != SocketState::Connected {
                return;
            }
            if connection.worker.is_here() {
                connection.worker.flush_one(connection.key());
                if self.outstanding() < limit {
                    return;
                }
            }
            room.await;
        }
    }

    /// Emits an event at once and awaits its acknowledgement for the default time (`ack_timeout`).
    ///
    /// The future fails when the client does not answer in time, is gone, or the event could not be
    /// sent.
    pub fn emit_with_ack(&self, event: &str, args: impl ToArgs) -> AckFuture {
        self.emitter().emit_with_ack(event, args)
    }

    /// Emits that are dropped when the connection cannot take them at once.
    pub fn volatile(&self) -> Emitter {
        self.emitter().volatile()
    }

    /// Emits that may (the default) or may not be compressed.
    pub fn compress(&self, compress: bool) -> Emitter {
        self.emitter().compress(compress)
    }

    /// Emits whose acknowledgement is awaited for `timeout`.
    pub fn timeout(&self, timeout: Duration) -> Emitter {
        self.emitter().timeout(timeout)
    }

    /// To everyone else in the namespace.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(self.0.namespace.clone()).except(self.id())
    }

    /// To everyone in these rooms but this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// To everyone in these rooms, this socket included.
    pub fn within(&self, rooms: impl IntoRooms) -> Broadcast {
        Broadcast::new(self.0.namespace.clone()).to(rooms)
    }

    /// To everyone else but those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// To everyone else on this node.
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    fn emitter(&self) -> Emitter {
        Emitter::new(self.clone())
    }

    fn outstanding(&self) -> usize {
        let connection = &self.0.connection;
        if !connection.worker.is_here() {
            return connection.backlog();
        }
        let key = connection.key();
        connection.worker.call(|shard| {
            let Some(session) = shard.session_mut(key) else {
                return 0;
            };
            session.io.watched = true;
            session.out.bytes()
        })
    }
}

/// # Rooms
impl Socket {
    /// Joins rooms. In force when the future completes, on this node at once.
    ///
    /// The future fails with [`crate::RoomError`] when the socket is in as many rooms as it may be,
    /// is gone, or its worker is held up and as many calls wait for it as may
    /// ([`max_inbox_calls`](crate::ServerBuilder::max_inbox_calls)).
    pub fn join(&self, rooms: impl IntoRooms) -> RoomFuture {
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        {
            let mut extras = self.0.extras.lock();
            // Judged under the lock, since its rooms are taken under it after the state changed.
            if self.state() == SocketState::Connecting {
                // Not in the namespace yet: it joins in the moment it is let in.
                extras.get_or_insert_default().early_rooms.extend(rooms);
                return RoomFuture::done();
            }
        }
        let key = self.key();
        let expected = self.0.namespace.expect_rooms(self.worker(), &rooms);
        self.change_rooms(move |shard| {
            let joined = rooms
                .iter()
                .try_for_each(|room| shard.join(key, room).map(|_| ()));
            drop(expected);
            joined
        })
    }

    /// Leaves a room. The future fails only when the call cannot wait for the socket's worker, as
    /// that of [`Socket::join`].
    pub fn leave(&self, room: &str) -> RoomFuture {
        let room: Room = room.into();
        {
            let mut extras = self.0.extras.lock();
            if self.state() == SocketState::Connecting {
                if let Some(extras) = &mut *extras {
                    extras.early_rooms.retain(|known| *known != room);
                }
                return RoomFuture::done();
            }
        }
        let socket = self.clone();
        self.change_rooms(move |shard| {
            socket.note_leaving();
            shard.leave(socket.key(), &room);
            Ok(())
        })
    }

    fn change_rooms(
        &self,
        change: impl FnOnce(&mut Shard<Net>) -> Result<(), RoomError> + Send + 'static,
    ) -> RoomFuture {
        let asked = self.0.namespace.try_ask(self.worker(), change);
        asked.map_or_else(|Busy| RoomFuture::refused(RoomError::Busy), RoomFuture::new)
    }

    /// The rooms it is in; the first is named by its id.
    pub async fn rooms(&self) -> Vec<String> {
        let key = self.key();
        let rooms = self
            .0
            .connection
            .worker
            .ask(move |shard| shard.rooms_of(key))
            .await;
        crate::broadcast::visible(rooms.unwrap_or_default())
    }

    /// Whether it is in a room.
    pub async fn is_in(&self, room: &str) -> bool {
        let (key, room) = (self.key(), room.to_owned());
        self.0
            .connection
            .worker
            .ask(move |shard| shard.is_in(key, &room))
            .await
            .unwrap_or(false)
    }
}

/// # Ending
impl Socket {
    /// Disconnects the client from this namespace. It is told, and a stock client stays away.
    pub fn disconnect(&self) {
        let (key, worker) = (self.key(), self.0.connection.worker.clone());
        let leave = move || worker.submit(move |shard| shard.disconnect(key));
        let _ = in_order(&self.0.namespace, leave);
    }

    /// Disconnects the client from all namespaces and closes its connection. It is told, and a
    /// stock client stays away.
    pub fn disconnect_fully(&self) {
        let connection = self.0.connection.clone();
        let leave = move || {
            let worker = connection.worker.clone();
            worker.submit(move |shard| shard.disconnect_all(connection.key()));
        };
        let _ = in_order(&self.0.namespace, leave);
    }

    /// Closes the connection without a word: a stock client comes back.
    pub fn drop_connection(&self) {
        let connection = self.0.connection.clone();
        let worker = connection.worker.clone();
        worker.submit(move |shard| {
            shard.close(
                connection.key(),
                CloseReason::ForcedClose,
                "dropped by the application",
            );
        });
    }
}

/// What the rest of the crate asks.
impl Socket {
    /// Changes the listeners of this socket's own.
    pub(crate) fn with_listeners<R>(&self, f: impl FnOnce(&mut Listeners) -> R) -> R {
        let mut extras = self.0.extras.lock();
        self.0.listened.store(true, Ordering::Release);
        f(&mut extras.get_or_insert_default().listeners)
    }

    /// Looks at the listeners of this socket's own: nothing is allocated for one that has none.
    pub(crate) fn read_listeners<R>(&self, f: impl FnOnce(&Listeners) -> R) -> R {
        match &*self.0.extras.lock() {
            Some(extras) => f(&extras.listeners),
            None => f(&Listeners::default()),
        }
    }

    pub(crate) fn connecting(
        connection: &Arc<Connection>,
        namespace: &Arc<NamespaceInner>,
        auth: Args,
    ) -> Self {
        let extras = namespace.is_recoverable().then(|| {
            Box::new(Extras {
                pid: Some(SocketId::new().as_str().into()),
                ..Extras::default()
            })
        });
        Self::new(SocketId::new(), connection, namespace, auth, false, extras)
    }

    pub(crate) fn restored(
        connection: &Arc<Connection>,
        namespace: &Arc<NamespaceInner>,
        auth: Args,
        recovery: &Recovery,
    ) -> Self {
        let data = recovery
            .data
            .clone()
            .and_then(|data| serde_json::value::RawValue::from_string(data).ok());
        let extras = Extras {
            pid: Some(recovery.pid.clone()),
            connected_at: recovery.connected_at,
            data,
            user: recovery.user.clone(),
            ..Extras::default()
        };
        Self::new(
            recovery.id,
            connection,
            namespace,
            auth,
            true,
            Some(Box::new(extras)),
        )
    }

    fn new(
        id: SocketId,
        connection: &Arc<Connection>,
        namespace: &Arc<NamespaceInner>,
        auth: Args,
        recovered: bool,
        extras: Option<Box<Extras>>,
    ) -> Self {
        Socket(Arc::new(SocketInner {
            id,
            connection: connection.clone(),
            namespace: namespace.clone(),
            auth,
            key: AtomicU64::new(Key::NONE.to_bits()),
            state: AtomicU8::new(SocketState::Connecting as u8),
            recovered,
            listened: AtomicBool::new(false),
            extras: Mutex::new(extras),
        }))
    }

    pub(crate) fn key(&self) -> Key {
        Key::from_bits(self.0.key.load(Ordering::Acquire))
    }

    pub(crate) fn set_key(&self, key: Key) {
        self.0.key.store(key.to_bits(), Ordering::Release);
    }

    pub(crate) fn socket_id(&self) -> &SocketId {
        &self.0.id
    }

    fn worker(&self) -> &Arc<Worker> {
        &self.0.connection.worker
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.0.connection
    }

    /// From where on events may reach it.
    pub(crate) fn set_connected_at(&self, offset: Option<Offset>) {
        self.0.extras.lock().get_or_insert_default().connected_at = offset;
    }

    pub(crate) fn pid(&self) -> Option<String> {
        Some(self.0.extras.lock().as_ref()?.pid.as_deref()?.to_owned())
    }

    pub(crate) fn take_early_rooms(&self) -> Vec<Room> {
        let mut extras = self.0.extras.lock();
        extras
            .as_mut()
            .map_or(Vec::new(), |extras| std::mem::take(&mut extras.early_rooms))
    }

    pub(crate) fn set_state(&self, state: SocketState) {
        self.0.state.store(state as u8, Ordering::Release);
        if let Some(extras) = &*self.0.extras.lock()
            && let Some(watch) = &extras.state
        {
            watch.send_replace(state);
        }
    }

    /// Lets go of listeners and extensions: they may hold this socket themselves.
    pub(crate) fn release(&self) {
        let released = self.0.extras.lock().as_mut().map(|extras| {
            (
                std::mem::take(&mut extras.listeners),
                std::mem::take(&mut extras.extensions),
            )
        });
        drop(released);
    }

    pub(crate) fn parser(&self) -> Parser {
        self.0.namespace.parser
    }

    pub(crate) fn namespace_inner(&self) -> &Arc<NamespaceInner> {
        &self.0.namespace
    }

    pub(crate) fn namespace_name(&self) -> &str {
        &self.0.namespace.name
    }

    /// The socket's own listeners, if it has any that concern this event.
    pub(crate) fn own_listeners(&self, event: &str) -> Option<Listeners> {
        if !self.0.listened.load(Ordering::Acquire) {
            return None;
        }
        let extras = self.0.extras.lock();
        let listeners = &extras.as_ref()?.listeners;
        let concerned = !listeners.is_plain()
            || listeners.has_fallback()
            || !listeners.of_event(event).is_empty();
        concerned.then(|| listeners.clone())
    }

    pub(crate) fn moment_listeners(&self, moment: Moment) -> Vec<Listener> {
        let namespace = self.0.namespace.listeners();
        let mut all: Vec<_> = namespace.of_moment(moment).cloned().collect();
        if let Some(extras) = &*self.0.extras.lock() {
            all.extend(extras.listeners.of_moment(moment).cloned());
        }
        all
    }

    /// Takes a listener back that runs once; whether this call did.
    pub(crate) fn forget_listener(&self, id: ListenerId) -> bool {
        self.off(id) || self.0.namespace.off(id)
    }

    pub(crate) fn send_ack(&self, id: u64, args: &Args) -> Result<(), EmitError> {
        let mut builder = self.0.namespace.builder("", args);
        let attachments = encode_ack_into(
            builder.buffer(),
            self.parser(),
            &self.0.namespace.name,
            id,
            args,
        );
        let message = builder.build(Class::Normal, true, &attachments);
        EmitError::check(self.send_in_order(message)).map(|_| ())
    }

    /// Hands a message to the connection, behind the events that wait for the store.
    pub(crate) fn send_in_order(&self, message: Message) -> Queued {
        if !self.0.namespace.is_recoverable() {
            return self.send_message(Arc::new(message));
        }
        let socket = self.clone();
        let send = move || socket.send_message(Arc::new(message));
        in_order(&self.0.namespace, send).unwrap_or(Queued::Queued)
    }

    /// Hands a message to the connection, from wherever the caller is.
    pub(crate) fn send_message(&self, message: Arc<Message>) -> Queued {
        let connection = &self.0.connection;
        let (worker, key) = (&connection.worker, self.key());
        if worker.is_here() {
            let queued = worker.call(|shard| shard.send(key, &message));
            if queued != Queued::Refused {
                return queued;
            }
            return worker.retry_full(Some(&message));
        }
        if !self.is_connected() {
            return Queued::Refused;
        }
        let cost = message.cost();
        let limit = self.0.namespace.server().config.core.max_queued_bytes;
        let backlog = connection.backlog();
        if message.class() == Class::Volatile && backlog > 0 && backlog + cost > limit {
            return Queued::Dropped;
        }
        let Some(transit) = connection.depart(cost, limit) else {
            connection.overflow();
            return Queued::Refused;
        };
        worker.submit(move |shard| {
            transit.arrive(shard);
            if shard.send(key, &message) == Queued::Refused {
                let _ = Worker::retry_full_within(shard, &message, |_| {});
            }
        });
        Queued::Queued
    }

    pub(crate) fn prepare(&self, event: &str, args: impl ToArgs) -> Result<Args, EmitError> {
        if is_reserved_event(event) {
            return Err(EmitError::Reserved(event.into()));
        }
        let args = args.to_args(self.parser())?;
        let namespace = self.0.namespace.listeners();
        for listener in namespace.outgoing() {
            listener(self, event, &args);
        }
        let own: Vec<_> = {
            let extras = self.0.extras.lock();
            extras
                .iter()
                .flat_map(|extras| extras.listeners.outgoing().cloned())
                .collect()
        };
        for listener in own {
            listener(self, event, &args);
        }
        Ok(args)
    }

    /// Remembers that rooms were left now: a client that has not seen what went to them before
    /// cannot be recovered completely. Called on its worker, in the call that leaves.
    pub(crate) fn note_leaving(&self) {
        if !self.0.namespace.is_recoverable() {
            return;
        }
        let server = self.0.namespace.server();
        let head = server.store.head(&self.0.namespace.name).into_ready().ok();
        if let Some(extras) = &mut *self.0.extras.lock() {
            extras.left_at = head.and_then(Result::ok);
        }
    }

    /// What recovery keeps of this socket.
    pub(crate) fn for_recovery<R>(&self, f: impl FnOnce(Kept<'_>) -> R) -> Option<R> {
        let extras = self.0.extras.lock();
        let extras = extras.as_ref()?;
        Some(f(Kept {
            pid: extras.pid.as_deref()?,
            connected_at: extras.connected_at,
            left_at: extras.left_at,
            data: extras.data.as_deref().map(serde_json::value::RawValue::get),
            user: extras.user.as_deref(),
        }))
    }
}

/// What recovery keeps of a socket.
pub(crate) struct Kept<'a> {
    pub(crate) pid: &'a str,
    pub(crate) connected_at: Option<Offset>,
    pub(crate) left_at: Option<Offset>,
    pub(crate) data: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
}

/// The room that all sockets of a user are in. The first character keeps it apart from rooms that
/// applications name.
pub(crate) fn user_room(user: &str) -> Room {
    format!("\u{1}user:{user}").into()
}
