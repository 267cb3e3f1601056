//! The server: namespaces, workers, and the way in.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use parking_lot::{Mutex, RwLock};
use sockeye_cluster::{Embedded, Store};
use sockeye_core::{Kind, Stats};
use sockeye_protocol::engine::{CloseReason, ErrorCode};
use sockeye_protocol::socketio::Args;
use sockeye_websocket::deflate::DeflateGate;
use tokio::sync::Notify;

use crate::config::{Config, ServerBuilder};
use crate::dispatch::{CatchPanic, panicked};
use crate::engine::EngineSocket;
use crate::engine_handle::EngineHandle;
use crate::extract::DisconnectReason;
use crate::http::{
    EngineRequest, HandshakeHook, HandshakeRequest, HandshakeResponse, Refusal, RefusedRequest,
    RequestHook, is_upgrade,
};
use crate::metrics::{Gauges, Metrics};
use crate::namespace::{Namespace, NamespaceInner, Seat};
use crate::net::Connection;
use crate::room_index::{Notes, RoomIndex};
use crate::socket::Socket;
use crate::websocket::{WebSocket, WebSocketOptions};
use crate::worker::{Worker, drive};

/// A Socket.IO server: a handle, cheap to clone.
///
/// ```no_run
/// use sockeye::{Data, Server, Socket};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> std::io::Result<()> {
///     let server = Server::new();
///     server.of("/").on("chat", async |socket: Socket, Data(text): Data<String>| {
///         socket.broadcast().emit("chat", text);
///     });
///     let listener = std::net::TcpListener::bind("127.0.0.1:3000")?;
///     server.serve(listener).await
/// }
/// ```
#[derive(Clone)]
pub struct Server(Arc<ServerInner>);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.0.config.path)
    }
}

impl Default for Server {
    fn default() -> Self {
        Server::new()
    }
}

/// How long connections may outlast their sessions when the server ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Predicate = Arc<dyn Fn(String, Args) -> BoxFuture<bool> + Send + Sync>;
type Fallback = Arc<dyn Fn(Request<()>) -> BoxFuture<Response<Bytes>> + Send + Sync>;
type RefusalWatcher = Arc<dyn Fn(RefusedRequest<'_>) + Send + Sync>;
type NamespaceWatcher = Arc<dyn Fn(Namespace) + Send + Sync>;
type EngineWatcher = Arc<dyn Fn(EngineHandle) + Send + Sync>;
type EngineHandler = Arc<dyn Fn(EngineSocket) -> BoxFuture<()> + Send + Sync>;
type WebSocketHandler = Arc<dyn Fn(WebSocket) -> BoxFuture<()> + Send + Sync>;

/// Those who are told what happens to the server as a whole.
#[derive(Default)]
struct Watchers {
    refused: Vec<RefusalWatcher>,
    namespaces: Vec<NamespaceWatcher>,
    engine: Vec<EngineWatcher>,
}

struct Parent {
    matches: Predicate,
    template: Arc<NamespaceInner>,
}

/// Where the requests of a path go.
#[derive(Clone)]
pub(crate) enum Route {
    SocketIo,
    Engine(EngineHandler),
    WebSocket(WebSocketHandler, Arc<WebSocketOptions>),
}

impl Route {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Route::SocketIo => Kind::SocketIo,
            _ => Kind::Raw,
        }
    }
}

pub(crate) struct ServerInner {
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) store: Arc<dyn Store>,
    /// Which workers have which rooms, if there are several.
    pub(crate) room_index: Option<Arc<RoomIndex>>,
    pub(crate) deflate_gate: DeflateGate,
    namespaces: RwLock<HashMap<Arc<str>, Arc<NamespaceInner>>>,
    parents: RwLock<Vec<Arc<Parent>>>,
    routes: RwLock<Vec<(Box<str>, Route)>>,
    fallback: RwLock<Option<Fallback>>,
    hooks: RwLock<Vec<HandshakeHook>>,
    request_hooks: RwLock<Vec<RequestHook>>,
    watchers: RwLock<Watchers>,
    state: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    workers: OnceLock<Vec<Arc<Worker>>>,
    pids: Mutex<HashMap<(Arc<str>, String), Socket>>,
    next_worker: AtomicUsize,
    /// Open sessions.
    pub(crate) sessions: AtomicUsize,
    closing: AtomicBool,
    stopped: AtomicBool,
    pub(crate) stop: Notify,
}

/// # Setting up
impl Server {
    /// A server with all defaults.
    pub fn new() -> Self {
        Server::builder().build()
    }

    /// A server to be configured.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    pub(crate) fn from_builder(builder: ServerBuilder) -> Self {
        let ServerBuilder {
            core,
            mut config,
            store,
            state,
        } = builder;
        config.core = Arc::new(core);
        let (concurrent, above) = config.max_concurrent_deflate;
        let concurrent = concurrent.unwrap_or((config.workers / 2).max(1));
        let deflate_gate = DeflateGate::new(concurrent, above);
        let store = store.unwrap_or_else(|| {
            let recovery = config.recovery.clone().unwrap_or_default();
            Arc::new(Embedded::new(
                recovery.store_config(),
                crate::recovery::now_ms(),
            ))
        });
        let routes = vec![(config.path.clone().into_boxed_str(), Route::SocketIo)];
        let inner = Arc::new(ServerInner {
            room_index: RoomIndex::of(config.workers),
            config,
            metrics: Metrics::default(),
            store,
            deflate_gate,
            namespaces: RwLock::default(),
            parents: RwLock::default(),
            routes: RwLock::new(routes),
            fallback: RwLock::default(),
            hooks: RwLock::default(),
            request_hooks: RwLock::default(),
            watchers: RwLock::default(),
            state,
            workers: OnceLock::new(),
            pids: Mutex::default(),
            next_worker: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
        });
        let server = Server(inner);
        server.of("/");
        server
    }

    pub(crate) fn from_inner(inner: Arc<ServerInner>) -> Self {
        Server(inner)
    }

    pub(crate) fn inner(&self) -> &Arc<ServerInner> {
        &self.0
    }

    /// The namespace of this name, made if there is none. `/` exists always.
    pub fn of(&self, name: &str) -> Namespace {
        let name = if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("/{name}")
        };
        let mut namespaces = self.0.namespaces.write();
        let make = || Arc::new(NamespaceInner::new(name.as_str().into(), &self.0));
        let namespace = namespaces.entry(name.as_str().into()).or_insert_with(make);
        Namespace::new(namespace.clone())
    }

    /// Namespaces whose names match a regular expression (of the `regex` crate), made when a
    /// client first asks for one. Handlers are registered on what is returned. What is emitted,
    /// asked or changed there concerns the sockets of all namespaces made of it that there are at
    /// that moment; see [`Broadcast`](crate::Broadcast).
    ///
    /// # Errors
    /// When it is no regular expression.
    pub fn of_pattern(&self, pattern: &str) -> Result<Namespace, regex::Error> {
        let pattern = regex::Regex::new(pattern)?;
        Ok(self.of_matching(move |name, _| std::future::ready(pattern.is_match(&name))))
    }

    /// Namespaces whose names, and the `auth` of the client that asks, satisfy a predicate. As
    /// [`Server::of_pattern`] otherwise.
    pub fn of_matching<F, Fut>(&self, predicate: F) -> Namespace
    where
        F: Fn(String, Args) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let mut parents = self.0.parents.write();
        let name: Arc<str> = format!("/_{}", parents.len()).into();
        let template = Arc::new(NamespaceInner::template(name, &self.0));
        let matches: Predicate = Arc::new(move |name, auth| Box::pin(predicate(name, auth)));
        parents.push(Arc::new(Parent {
            matches,
            template: template.clone(),
        }));
        Namespace::new(template)
    }

    /// Decides on every request that opens a session, before anything else happens; may add
    /// headers to the answer.
    pub fn on_handshake<F, Fut>(&self, hook: F)
    where
        F: Fn(HandshakeRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HandshakeResponse, Refusal>> + Send + 'static,
    {
        self.0
            .hooks
            .write()
            .push(Arc::new(move |request| Box::pin(hook(request))));
    }

    /// Decides on every request of an Engine.IO endpoint, polls and posts included, before it is
    /// looked at; may add headers to the answer. A refusal is answered as error code 3.
    pub fn on_request<F, Fut>(&self, hook: F)
    where
        F: Fn(EngineRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HandshakeResponse, Refusal>> + Send + 'static,
    {
        let hook: RequestHook = Arc::new(move |request| Box::pin(hook(request)));
        self.0.request_hooks.write().push(hook);
    }

    /// Is told of every request that was refused.
    pub fn on_connection_error(
        &self,
        watcher: impl Fn(RefusedRequest<'_>) + Send + Sync + 'static,
    ) {
        self.0.watchers.write().refused.push(Arc::new(watcher));
    }

    /// Is told of every Engine.IO session that is opened, raw ones included, before anything has
    /// come on it: what happens later is told to [`EngineHandle::on_event`].
    pub fn on_engine_connection(&self, watcher: impl Fn(EngineHandle) + Send + Sync + 'static) {
        self.0.watchers.write().engine.push(Arc::new(watcher));
    }

    /// Is told of every namespace that is made because a client asked for it.
    pub fn on_new_namespace(&self, watcher: impl Fn(Namespace) + Send + Sync + 'static) {
        self.0.watchers.write().namespaces.push(Arc::new(watcher));
    }

    /// A raw Engine.IO endpoint at `path`: the handler owns each connection.
    pub fn engine<F, Fut>(&self, path: &str, handler: F)
    where
        F: Fn(EngineSocket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler: EngineHandler = Arc::new(move |socket| Box::pin(handler(socket)));
        self.0.route(path, Route::Engine(handler));
    }

    /// A plain WebSocket endpoint at `path`, with no protocol above RFC 6455.
    pub fn websocket<F, Fut>(&self, path: &str, options: WebSocketOptions, handler: F)
    where
        F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler: WebSocketHandler = Arc::new(move |socket| Box::pin(handler(socket)));
        self.0
            .route(path, Route::WebSocket(handler, Arc::new(options)));
    }

    /// Answers every request that no endpoint takes. Default: 404.
    pub fn fallback<F, Fut>(&self, handler: F)
    where
        F: Fn(Request<()>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<Bytes>> + Send + 'static,
    {
        *self.0.fallback.write() = Some(Arc::new(move |request| Box::pin(handler(request))));
    }

    /// The parser its clients use.
    pub fn parser(&self) -> sockeye_protocol::socketio::Parser {
        self.0.config.core.parser
    }

    /// The state given to [`ServerBuilder::state`].
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0
            .state
            .get(&TypeId::of::<T>())?
            .clone()
            .downcast()
            .ok()
    }
}

/// # Running
impl Server {
    /// Accepts and serves connections, until [`Server::close`]. The listener's backlog becomes
    /// 4,096, or what the system allows (`net.core.somaxconn`): the standard library gives it 128,
    /// too few for clients that all come back at once.
    ///
    /// # Errors
    /// When the listener cannot be used. A connection that cannot be accepted is not an error.
    pub async fn serve(&self, listener: std::net::TcpListener) -> io::Result<()> {
        crate::http::serve(&self.0, listener).await
    }

    /// As [`Server::serve`], behind TLS. Only HTTP/1.1 is negotiated.
    ///
    /// # Errors
    /// As [`Server::serve`].
    #[cfg(feature = "tls")]
    pub async fn serve_tls(
        &self,
        listener: std::net::TcpListener,
        config: tokio_rustls::rustls::ServerConfig,
    ) -> io::Result<()> {
        crate::http::serve_tls(&self.0, listener, config).await
    }

    /// Closes every session and plain WebSocket, waits until all are gone and their disconnect
    /// handlers have run, at most for `grace`, and ends the workers. Clients are not told to stay
    /// away: they come back when the server does. A polling client that does not poll any more is
    /// waited for no longer than [`ServerBuilder::polling_close_timeout`].
    pub async fn close(&self, grace: Duration) {
        self.0.closing.store(true, Ordering::Release);
        self.0.stop.notify_waiters();
        for worker in self.0.started_workers() {
            worker.submit(|shard| {
                let keys: Vec<_> = shard.sessions().map(|(key, _)| key).collect();
                for key in keys {
                    shard.shut_down(key);
                }
            });
        }
        let deadline = tokio::time::Instant::now() + grace;
        while self.0.sessions.load(Ordering::Acquire) > 0 || self.0.has_sockets() {
            if tokio::time::Instant::now() >= deadline {
                for worker in self.0.started_workers() {
                    worker.submit(|shard| {
                        let keys: Vec<_> = shard.sessions().map(|(key, _)| key).collect();
                        for key in keys {
                            shard.close_now(key, CloseReason::ServerShuttingDown, "grace over");
                        }
                    });
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The last answers and close frames are on their way: their connections carry them out.
        let deadline = deadline.min(tokio::time::Instant::now() + LAST_WORDS);
        let tasks = |worker: &Arc<Worker>| worker.tasks.load(Ordering::Relaxed);
        while self.0.started_workers().iter().map(tasks).sum::<usize>() > 0
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.0.stopped.store(true, Ordering::Release);
        for worker in self.0.started_workers() {
            worker.request_turn();
        }
        self.0.namespaces.write().clear();
        self.0.parents.write().clear();
    }
}

/// # Watching
impl Server {
    /// Sessions that are open, and plain WebSockets: Node's `engine.clientsCount`.
    pub fn connection_count(&self) -> usize {
        self.0.sessions.load(Ordering::Acquire)
    }

    /// The path of the endpoint, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.0.config.path
    }

    /// How things are now.
    pub async fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            namespaces: self.0.namespaces.read().len(),
            ..Gauges::default()
        };
        for worker in self.0.started_workers() {
            gauges.tasks += worker.tasks.load(Ordering::Relaxed);
            gauges.io_uring_workers += usize::from(worker.has_ring());
            let part = worker.ask(|shard| {
                let sessions = (shard.session_count(), shard.raw_session_count());
                let (sockets, timers) = (shard.socket_count(), shard.timer_count());
                (sessions, sockets, timers, shard.queued_bytes())
            });
            let Some(((sessions, raw), sockets, timers, queued)) = part.await else {
                continue;
            };
            gauges.raw_sessions += raw;
            gauges.sessions += sessions;
            gauges.sockets += sockets;
            gauges.timers += timers;
            gauges.queued_bytes += queued;
        }
        let names: Vec<_> = self.0.namespaces.read().keys().cloned().collect();
        for name in names {
            gauges.rooms += self.room_count(&name).await;
        }
        let store = self.0.store.stats();
        gauges.recoverable_sessions = store.sessions;
        gauges.recoverable_packets = store.packets;
        gauges
    }

    /// Rooms of a namespace with a member on this node, the sockets' own included.
    pub async fn room_count(&self, namespace: &str) -> usize {
        let (mut rooms, mut sockets) = (HashSet::new(), 0);
        for worker in self.0.started_workers() {
            let name = namespace.to_owned();
            let part = worker.ask(move |shard| (shard.room_sizes(&name), shard.sockets_in(&name)));
            let Some((names, count)) = part.await else {
                continue;
            };
            rooms.extend(names.into_iter().map(|(name, _)| name));
            sockets += count;
        }
        rooms.len() + sockets
    }

    /// What has happened since the start.
    pub async fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for worker in self.0.started_workers() {
            if let Some(part) = worker.ask(|shard| *shard.stats()).await {
                stats.add(&part);
            }
        }
        stats
    }

    /// Counters and gauges in the Prometheus text format.
    pub async fn metrics(&self) -> String {
        let (stats, gauges) = (self.stats().await, self.gauges().await);
        let deflations = self.0.deflate_gate.entered();
        crate::metrics::render(&self.0.metrics, deflations, &stats, &gauges)
    }
}

impl ServerInner {
    /// The workers, started if they were not.
    pub(crate) fn workers(self: &Arc<Self>) -> &[Arc<Worker>] {
        self.workers.get_or_init(|| {
            let start = |index| start_worker(self, index as u8);
            let workers: Vec<_> = (0..self.config.workers).map(start).collect();
            if self.config.recovery.is_some() {
                workers[0].spawn(crate::recovery::sweep(self.clone()));
            }
            workers
        })
    }

    pub(crate) fn started_workers(&self) -> &[Arc<Worker>] {
        self.workers.get().map_or(&[], |workers| workers)
    }

    /// The worker that the caller runs on, or the next in turn.
    pub(crate) fn pick_worker(self: &Arc<Self>) -> Arc<Worker> {
        let workers = self.workers();
        if let Some(here) = workers.iter().find(|worker| worker.is_here()) {
            return here.clone();
        }
        let next = self.next_worker.fetch_add(1, Ordering::Relaxed);
        workers[next % workers.len()].clone()
    }

    /// The worker that a session id names.
    pub(crate) fn worker_of(
        &self,
        id: &sockeye_protocol::engine::SessionId,
    ) -> Option<Arc<Worker>> {
        self.started_workers().get(usize::from(id.shard())).cloned()
    }

    /// Spawns a task on some worker.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.pick_worker().spawn(task);
    }

    /// Broadcasts had no room in the inbox of a worker.
    pub(crate) fn worker_overrun(&self, index: u8) {
        self.metrics.inbox_overruns.add(1);
        tracing::error!(
            worker = index,
            "a worker is held up for so long that broadcasts have no room in its inbox: its clients \
             are sent away to come back; look for handlers that block"
        );
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether a socket is connected, connecting, or still saying goodbye.
    fn has_sockets(&self) -> bool {
        self.namespaces.read().values().any(|n| !n.is_empty())
    }

    fn route(&self, path: &str, route: Route) {
        let path = format!("/{}", path.trim_matches('/')).into_boxed_str();
        self.routes.write().push((path, route));
    }

    /// Where requests for `path` go.
    pub(crate) fn find_route(&self, path: &str) -> Option<Route> {
        let routes = self.routes.read();
        let (_, route) = routes.iter().find(|(prefix, route)| {
            let rest = path.strip_prefix(&**prefix);
            match route {
                Route::WebSocket(..) => rest.is_some_and(|rest| rest.is_empty() || rest == "/"),
                _ => rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            }
        })?;
        Some(route.clone())
    }

    pub(crate) fn find_fallback(&self) -> Option<Fallback> {
        self.fallback.read().clone()
    }

    pub(crate) fn request_hooks(&self) -> Vec<RequestHook> {
        self.request_hooks.read().clone()
    }

    /// Counts a refused request and tells whoever watches.
    pub(crate) fn request_refused(
        &self,
        code: ErrorCode,
        message: &str,
        context: Option<&'static str>,
        request: &Request<()>,
    ) {
        let upgrade = is_upgrade(request);
        self.metrics.requests_refused.add(1);
        tracing::debug!(
            code = code.code(),
            message,
            context,
            upgrade,
            "request refused"
        );
        let watchers = self.watchers.read().refused.clone();
        if watchers.is_empty() {
            return;
        }
        let request = EngineRequest::of(request);
        for watcher in watchers {
            watcher(RefusedRequest {
                code: code.code(),
                message,
                context,
                upgrade,
                request: &request,
            });
        }
    }

    /// Tells whoever watches of a session that was opened.
    pub(crate) fn session_opened(self: &Arc<Self>, connection: &Arc<Connection>) {
        if self.watchers.read().engine.is_empty() {
            return;
        }
        let watchers = self.watchers.read().engine.clone();
        for watcher in watchers {
            let handle = EngineHandle::new(connection.clone());
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| watcher(handle))) {
                panicked(self, "a watcher of connections", &*panic);
            }
        }
    }

    pub(crate) fn hooks(&self) -> Vec<HandshakeHook> {
        self.hooks.read().clone()
    }

    /// The namespace a client of `worker` asks for: one that exists, or one that is made for it.
    /// The client counts as one of its sockets from here on, so that it stays.
    pub(crate) async fn find_namespace(
        self: &Arc<Self>,
        name: &str,
        auth: &Args,
        worker: &Worker,
    ) -> Option<Seat> {
        if let Some(namespace) = self.namespaces.read().get(name) {
            return Some(Seat::take(namespace, worker));
        }
        let parents = self.parents.read().clone();
        for parent in parents {
            if !self.ask(&parent, name, auth).await {
                continue;
            }
            let mut namespaces = self.namespaces.write();
            if let Some(namespace) = namespaces.get(name) {
                return Some(Seat::take(namespace, worker));
            }
            let transient = namespaces
                .values()
                .filter(|known| known.is_transient())
                .count();
            if transient >= self.config.max_dynamic_namespaces {
                tracing::warn!(limit = transient, "too many namespaces; one was refused");
                return None;
            }
            let name: Arc<str> = name.into();
            let child = Arc::new(NamespaceInner::child(name.clone(), &parent.template, self));
            let seat = Seat::take(&child, worker);
            namespaces.insert(name, child.clone());
            drop(namespaces);
            let watchers = self.watchers.read().namespaces.clone();
            for watcher in watchers {
                watcher(Namespace::new(child.clone()));
            }
            return Some(seat);
        }
        None
    }

    /// What this node is called in answers that name nodes.
    pub(crate) fn node_name(&self) -> String {
        let [a, b, c] = self.config.node;
        format!("{a:02x}{b:02x}{c:02x}")
    }

    /// The namespaces that were made of a template and are still there.
    pub(crate) fn children_of(&self, template: &Arc<NamespaceInner>) -> Vec<Arc<NamespaceInner>> {
        let namespaces = self.namespaces.read();
        let children = namespaces.values().filter(|n| n.is_child_of(template));
        children.cloned().collect()
    }

    /// Whether a predicate takes a name. A panic is a no.
    async fn ask(self: &Arc<Self>, parent: &Arc<Parent>, name: &str, auth: &Args) -> bool {
        let (asked, name, auth) = (parent.clone(), name.to_owned(), auth.clone());
        let question = async move { (asked.matches)(name, auth).await };
        let answer = CatchPanic(Box::pin(question)).await;
        answer.unwrap_or_else(|panic| {
            panicked(self, "the predicate of a namespace", &*panic);
            false
        })
    }

    /// Forgets a namespace that was made for a client and has no socket any more.
    pub(crate) fn forget_namespace(self: &Arc<Self>, namespace: &Arc<NamespaceInner>) {
        if !self.config.cleanup_empty_namespaces {
            return;
        }
        let mut namespaces = self.namespaces.write();
        let same = namespaces
            .get(&namespace.name)
            .is_some_and(|n| Arc::ptr_eq(n, namespace));
        if !same || !namespace.is_empty() {
            return;
        }
        namespaces.remove(&namespace.name);
        drop(namespaces);
        for worker in self.started_workers() {
            let name = namespace.name.clone();
            worker.submit(move |shard| shard.forget_namespace(&name));
        }
    }

    pub(crate) fn remember_pid(&self, socket: &Socket) {
        if let Some(pid) = socket.pid() {
            let name = socket.namespace_inner().name.clone();
            self.pids.lock().insert((name, pid), socket.clone());
        }
    }

    pub(crate) fn forget_pid(&self, socket: &Socket) {
        if let Some(pid) = socket.pid() {
            let name = socket.namespace_inner().name.clone();
            self.pids.lock().remove(&(name, pid));
        }
    }

    pub(crate) fn find_by_pid(&self, namespace: &Arc<str>, pid: &str) -> Option<Socket> {
        self.pids
            .lock()
            .get(&(namespace.clone(), pid.to_owned()))
            .cloned()
    }

    pub(crate) fn session_closed(
        &self,
        connection: &Connection,
        reason: CloseReason,
        detail: &'static str,
    ) {
        self.sessions.fetch_sub(1, Ordering::AcqRel);
        let reason = DisconnectReason { reason, detail };
        tracing::debug!(session = ?connection.id, %reason, detail, "a session is over");
    }
}

/// Starts a worker on a thread of its own.
fn start_worker(server: &Arc<ServerInner>, index: u8) -> Arc<Worker> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = server.clone();
    let core = server.config.core.clone();
    let thread = std::thread::Builder::new().name(format!("sockeye-{index}"));
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "a worker could not be started"),
        };
        let worker = Arc::new(Worker::new(index, core, runtime.handle().clone()));
        if let Some(rooms) = &server.room_index {
            let notes = Notes::new(rooms, index);
            worker.submit(move |shard| shard.observe_rooms(Box::new(notes)));
        }
        if sender.send(worker.clone()).is_err() {
            return;
        }
        worker.enter(|| runtime.block_on(drive(worker.clone(), server)));
    };
    thread
        .spawn(run)
        .expect("a thread can be started: without one there is no server");
    receiver.recv().expect("the worker sends itself first")
}
