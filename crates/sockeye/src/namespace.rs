//! Namespaces: channels with their own handlers and middleware, over one connection.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, RwLock};
use sockeye_core::Shard;
use sockeye_protocol::socketio::{Args, Parser, ToArgs};

use crate::broadcast::{Answers, Broadcast, Found, RemoteSocket};
use crate::error::{AckError, EmitError};
use crate::listeners::{Listener, ListenerId, Listeners};
use crate::net::Net;
use crate::publish::{Holds, Outbox};
use crate::room::IntoRooms;
use crate::room_events::RoomWatch;
use crate::server::ServerInner;
use crate::socket::Socket;
use crate::worker::{Answer, Busy, Worker};

/// A namespace: a handle, cheap to clone, usable from any thread.
///
/// Handlers are registered once for all sockets of the namespace; they cost a connection nothing.
#[derive(Clone)]
pub struct Namespace(pub(crate) Arc<NamespaceInner>);

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Namespace({})", self.0.name)
    }
}

pub(crate) struct NamespaceInner {
    pub(crate) name: Arc<str>,
    pub(crate) parser: Parser,
    server: Arc<ServerInner>,
    /// Read for each event, changed under `changing`.
    listeners: ArcSwap<Listeners>,
    changing: Mutex<()>,
    middlewares: RwLock<Vec<Listener>>,
    ack_ids: AtomicU64,
    /// Sockets, connected or about to be, for each worker.
    sockets: Box<[AtomicUsize]>,
    recoverable: bool,
    /// Until when nothing is recovered, because an event has no place in the store: milliseconds
    /// since 1970.
    no_recovery_until: AtomicU64,
    kind: Kind,
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) holds: Holds,
    pub(crate) server_side: Mutex<HashMap<Box<str>, Vec<ServerSide>>>,
    pub(crate) room_watch: RoomWatch,
}

/// Where a namespace comes from.
enum Kind {
    /// The application made it.
    Fixed,
    /// What namespaces of a pattern or predicate are made of: no socket is ever in it.
    Template,
    /// Made of a template for a client that asked: goes when it is empty.
    Child(Arc<NamespaceInner>),
}

pub(crate) type ServerSide =
    Arc<dyn Fn(Args) -> Pin<Box<dyn Future<Output = Option<Args>> + Send>> + Send + Sync>;

/// # Speaking
impl Namespace {
    /// The name, beginning with `/`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Emits an event to everyone.
    ///
    /// # Errors
    /// When the arguments cannot be written or the name is reserved.
    pub fn emit(&self, event: &str, args: impl ToArgs) -> Result<(), EmitError> {
        self.all().emit(event, args)
    }

    /// Emits the event `message` to everyone, as Node's `send` does.
    ///
    /// # Errors
    /// As [`Namespace::emit`].
    pub fn send(&self, args: impl ToArgs) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Emits an event to everyone and gathers the acknowledgements.
    ///
    /// # Errors
    /// As [`Broadcast::emit_with_ack`].
    pub async fn emit_with_ack(&self, event: &str, args: impl ToArgs) -> Result<Answers, AckError> {
        self.all().emit_with_ack(event, args).await
    }

    /// To everyone.
    pub fn all(&self) -> Broadcast {
        Broadcast::new(self.0.clone())
    }

    /// To everyone in these rooms.
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.all().to(rooms)
    }

    /// To all sockets of a user.
    pub fn to_user(&self, user: &str) -> Broadcast {
        self.all().to_user(user)
    }

    /// To everyone but those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.all().except(rooms)
    }

    /// To everyone that can take it at once.
    pub fn volatile(&self) -> Broadcast {
        self.all().volatile()
    }

    /// To everyone on this node.
    pub fn local(&self) -> Broadcast {
        self.all().local()
    }

    /// To everyone, compressed or not.
    pub fn compress(&self, compress: bool) -> Broadcast {
        self.all().compress(compress)
    }

    /// To everyone, awaiting acknowledgements for `timeout`.
    pub fn timeout(&self, timeout: Duration) -> Broadcast {
        self.all().timeout(timeout)
    }

    /// All sockets.
    pub async fn fetch_sockets(&self) -> Found<Vec<RemoteSocket>> {
        self.all().fetch_sockets().await
    }

    /// The socket with this id, if it is connected here, on this node.
    pub async fn socket(&self, id: &str) -> Option<Socket> {
        let found = self.to(id).local_sockets().await.found;
        found.into_iter().find(|socket| socket.id() == id)
    }

    /// How many sockets there are.
    pub async fn count(&self) -> Found<usize> {
        self.all().count().await
    }

    /// Rooms with a member on this node, and how many they have.
    pub async fn rooms(&self) -> Found<Vec<(String, usize)>> {
        let mut rooms: HashMap<String, usize> = HashMap::new();
        for namespace in self.0.concerned() {
            for worker in namespace.server().workers() {
                let name = namespace.name.clone();
                let sizes = worker.ask(move |shard| shard.room_sizes(&name)).await;
                for (room, size) in sizes.unwrap_or_default() {
                    if !room.starts_with('\u{1}') {
                        *rooms.entry(room).or_default() += size;
                    }
                }
            }
        }
        Found {
            found: rooms.into_iter().collect(),
            silent_nodes: Vec::new(),
        }
    }

    /// Lets everyone join rooms.
    pub async fn sockets_join(&self, rooms: impl IntoRooms) -> Found<()> {
        self.all().sockets_join(rooms).await
    }

    /// Lets everyone leave rooms.
    pub async fn sockets_leave(&self, rooms: impl IntoRooms) -> Found<()> {
        self.all().sockets_leave(rooms).await
    }

    /// Disconnects everyone.
    pub async fn disconnect_sockets(&self, close: bool) -> Found<()> {
        self.all().disconnect_sockets(close).await
    }

    /// Emits an event to the other nodes: to their [`Namespace::on_server_side`], never to this
    /// node's own, as in Node.js. With the embedded engine there are no other nodes, and nothing
    /// is called.
    ///
    /// # Errors
    /// When the arguments cannot be written or the name is reserved (`connect`, `connection`,
    /// `new_namespace`).
    pub fn server_side_emit(&self, event: &str, args: impl ToArgs) -> Result<(), EmitError> {
        if matches!(event, "connect" | "connection" | "new_namespace") {
            return Err(EmitError::Reserved(event.into()));
        }
        args.to_args(self.0.parser)?;
        Ok(())
    }

    /// As [`Namespace::server_side_emit`], and gathers the answers, one of each node. With the
    /// embedded engine there is no other node, and the answer, none, is complete at once.
    ///
    /// # Errors
    /// As [`Namespace::server_side_emit`].
    pub async fn server_side_emit_with_ack(
        &self,
        event: &str,
        args: impl ToArgs,
    ) -> Result<Found<Vec<Args>>, EmitError> {
        self.server_side_emit(event, args)?;
        Ok(Found::default())
    }
}

impl Namespace {
    pub(crate) fn new(inner: Arc<NamespaceInner>) -> Self {
        Namespace(inner)
    }
}

impl NamespaceInner {
    pub(crate) fn new(name: Arc<str>, server: &Arc<ServerInner>) -> Self {
        NamespaceInner {
            name,
            parser: server.config.core.parser,
            server: server.clone(),
            listeners: ArcSwap::default(),
            changing: Mutex::default(),
            middlewares: RwLock::default(),
            ack_ids: AtomicU64::new(0),
            sockets: (0..server.config.workers)
                .map(|_| AtomicUsize::new(0))
                .collect(),
            recoverable: server.config.recovery.is_some(),
            no_recovery_until: AtomicU64::new(0),
            kind: Kind::Fixed,
            outbox: Mutex::default(),
            holds: Holds::default(),
            server_side: Mutex::default(),
            room_watch: RoomWatch::default(),
        }
    }

    /// What the namespaces of a pattern or predicate are made of.
    pub(crate) fn template(name: Arc<str>, server: &Arc<ServerInner>) -> Self {
        NamespaceInner {
            kind: Kind::Template,
            ..NamespaceInner::new(name, server)
        }
    }

    /// A namespace made for a client that asked, with the handlers of its parent.
    pub(crate) fn child(
        name: Arc<str>,
        parent: &Arc<NamespaceInner>,
        server: &Arc<ServerInner>,
    ) -> Self {
        let child = NamespaceInner::new(name, server);
        child.listeners.store(parent.listeners.load_full());
        *child.middlewares.write() = parent.middlewares();
        *child.server_side.lock() = parent.server_side.lock().clone();
        NamespaceInner {
            kind: Kind::Child(parent.clone()),
            room_watch: parent.room_watch.for_child(),
            ..child
        }
    }

    pub(crate) fn server(&self) -> &Arc<ServerInner> {
        &self.server
    }

    pub(crate) fn listeners(&self) -> Guard<Arc<Listeners>> {
        self.listeners.load()
    }

    pub(crate) fn middlewares(&self) -> Vec<Listener> {
        self.middlewares.read().clone()
    }

    pub(crate) fn add_middleware(&self, middleware: Listener) {
        self.middlewares.write().push(middleware);
    }

    /// Lets a shard tell what becomes of the rooms of this namespace, if anybody wants to know.
    pub(crate) fn watch_rooms(&self, shard: &mut Shard<Net>) {
        if self.room_watch.is_active() {
            self.room_watch.count(shard.watch_rooms(&self.name), 1);
        }
    }

    /// Lets every shard begin or cease to tell what becomes of the rooms of this namespace.
    pub(crate) fn watch_rooms_everywhere(self: &Arc<Self>, watch: bool) {
        if self.is_template() {
            return;
        }
        for worker in self.server.started_workers() {
            let namespace = self.clone();
            worker.submit(move |shard| {
                if watch {
                    return namespace.watch_rooms(shard);
                }
                if namespace.room_watch.is_active() {
                    // Somebody listens again: what begins to tell finds it told already.
                    return;
                }
                let stand = shard.unwatch_rooms(&namespace.name);
                namespace.room_watch.count(stand, -1);
            });
        }
    }

    pub(crate) fn off(&self, id: ListenerId) -> bool {
        let removed = {
            let mut middlewares = self.middlewares.write();
            let at = middlewares.iter().position(|listener| listener.id == id);
            at.map(|at| middlewares.remove(at))
        };
        removed.is_some() || self.change(|listeners| listeners.remove(id))
    }

    pub(crate) fn is_recoverable(&self) -> bool {
        self.recoverable
    }

    /// The namespaces that are meant by this one: itself, or all that were made of it.
    pub(crate) fn concerned(self: &Arc<Self>) -> Vec<Arc<Self>> {
        if self.is_template() {
            self.server.children_of(self)
        } else {
            vec![self.clone()]
        }
    }

    /// Asks a worker something for the application, unless too much waits for it.
    pub(crate) fn try_ask<R: Send + 'static>(
        &self,
        worker: &Arc<Worker>,
        f: impl FnOnce(&mut Shard<Net>) -> R + Send + 'static,
    ) -> Result<Answer<R>, Busy> {
        let asked = worker.try_ask(self.server.config.max_inbox_calls, f);
        if asked.is_err() {
            self.server.metrics.inbox_refusals.add(1);
        }
        asked
    }

    pub(crate) fn is_template(&self) -> bool {
        matches!(self.kind, Kind::Template)
    }

    /// An event was sent that the store does not know: whoever is away now could be told that
    /// nothing is missing when something is. So nobody who may be away is recovered.
    pub(crate) fn forbid_recovery(&self) {
        let Some(recovery) = &self.server.config.recovery else {
            return;
        };
        let away = recovery.max_disconnection.as_millis() as u64;
        let until = crate::recovery::now_ms() + away;
        self.no_recovery_until.fetch_max(until, Ordering::AcqRel);
    }

    /// Whether an event may be missing from the store that somebody who is away should get.
    pub(crate) fn has_gap(&self) -> bool {
        self.no_recovery_until.load(Ordering::Acquire) > crate::recovery::now_ms()
    }

    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Child(_))
    }

    pub(crate) fn is_child_of(&self, template: &Arc<NamespaceInner>) -> bool {
        matches!(&self.kind, Kind::Child(parent) if Arc::ptr_eq(parent, template))
    }

    /// One counter for the namespace, so that a broadcast can use one id for all its sockets.
    pub(crate) fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn has_sockets(&self, worker: u8) -> bool {
        self.sockets
            .get(usize::from(worker))
            .is_some_and(|n| n.load(Ordering::Acquire) > 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.iter().all(|n| n.load(Ordering::Acquire) == 0)
    }

    /// A socket has gone; the last one takes a namespace with it that was made on demand.
    fn socket_left(self: &Arc<Self>, worker: u8) {
        self.sockets[usize::from(worker)].fetch_sub(1, Ordering::AcqRel);
        if self.is_transient() && self.is_empty() {
            self.server().forget_namespace(self);
        }
    }

    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut Listeners) -> R) -> R {
        let changing = self.changing.lock();
        let mut changed = (**self.listeners.load()).clone();
        let result = f(&mut changed);
        let before = self.listeners.swap(Arc::new(changed));
        // To drop what belongs to the application runs its code: not with the lock in hand.
        drop(changing);
        drop(before);
        result
    }
}

/// A socket's place in its namespace, from the moment a client asks for it to the moment the socket
/// has left: given back when it is dropped, whatever ends the connection.
pub(crate) struct Seat {
    namespace: Arc<NamespaceInner>,
    worker: u8,
    /// It is somebody else's to give back.
    kept: bool,
}

impl Seat {
    /// A place for one more socket of `worker`.
    pub(crate) fn take(namespace: &Arc<NamespaceInner>, worker: &Worker) -> Self {
        namespace.sockets[usize::from(worker.index)].fetch_add(1, Ordering::AcqRel);
        Seat {
            namespace: namespace.clone(),
            worker: worker.index,
            kept: false,
        }
    }

    /// Leaves the place to a socket that was let in: its shard says when it goes.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// The place that a socket which was let in has kept. Once for each.
    pub(crate) fn of(socket: &Socket) -> Self {
        Seat {
            namespace: socket.namespace_inner().clone(),
            worker: socket.connection().worker.index,
            kept: false,
        }
    }

    pub(crate) fn namespace(&self) -> &Arc<NamespaceInner> {
        &self.namespace
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.kept {
            self.namespace.socket_left(self.worker);
        }
    }
}
