//! Opening a session: who may, and what is remembered of the request.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use sockeye_core::{Class, Key, Kind, Message};
use sockeye_protocol::engine::{SessionId, Transport};
use tokio::sync::mpsc;

use crate::dispatch::{CatchPanic, panicked};
use crate::engine::{EngineMessage, EngineSocket};
use crate::handshake::Handshake;
use crate::http::serve::PeerAddress;
use crate::net::{Connection, Io, RawInbox, Writer};
use crate::server::{Route, ServerInner};
use crate::worker::Worker;

/// The request that opens a session, as hooks see it.
#[derive(Clone, Debug)]
pub struct HandshakeRequest {
    /// The URL.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The transport the session begins on.
    pub transport: Transport,
    /// The peer's address, where the host told it.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted up to us.
    pub secure: bool,
}

impl HandshakeRequest {
    pub(crate) fn of(request: &Request<()>, transport: Transport) -> Self {
        let peer = request.extensions().get::<PeerAddress>().copied();
        HandshakeRequest {
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            transport,
            address: peer.and_then(|peer| peer.address),
            secure: peer.is_some_and(|peer| peer.secure),
        }
    }

    /// The first value of a query parameter, percent-decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let mut query = crate::handshake::parse_query(self.uri.query().unwrap_or_default());
        query
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }
}

/// Any request of an Engine.IO endpoint, as hooks see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EngineRequest {
    /// The method.
    pub method: Method,
    /// The URL.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The peer's address, where the host told it.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted up to us.
    pub secure: bool,
}

impl EngineRequest {
    pub(crate) fn of(request: &Request<()>) -> Self {
        let peer = request.extensions().get::<PeerAddress>().copied();
        EngineRequest {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            address: peer.and_then(|peer| peer.address),
            secure: peer.is_some_and(|peer| peer.secure),
        }
    }
}

/// A request that was refused, with what the client was told and what the log says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusedRequest<'a> {
    /// The Engine.IO error code.
    pub code: u8,
    /// The message that goes with the code.
    pub message: &'a str,
    /// What exactly was wrong, where that is known: `TRANSPORT_MISMATCH` and so on.
    pub context: Option<&'static str>,
    /// Whether it asked for a WebSocket.
    pub upgrade: bool,
    /// The request itself.
    pub request: &'a EngineRequest,
}

/// What a hook adds to the answer that opens a session.
#[derive(Clone, Default, Debug)]
pub struct HandshakeResponse {
    /// Headers to add.
    pub headers: HeaderMap,
}

impl HandshakeResponse {
    /// Nothing to add.
    pub fn new() -> Self {
        HandshakeResponse::default()
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

/// A session that a hook refuses: 403 on polling, 400 on an upgrade, with the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(String);

impl Refusal {
    /// A refusal that says `Forbidden`.
    pub fn new() -> Self {
        Refusal("Forbidden".into())
    }

    /// A refusal with a message for the client.
    pub fn with_message(message: impl Into<String>) -> Self {
        Refusal(message.into())
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.0
    }
}

impl Default for Refusal {
    fn default() -> Self {
        Refusal::new()
    }
}

pub(crate) type HandshakeHook = Arc<
    dyn Fn(
            HandshakeRequest,
        ) -> Pin<Box<dyn Future<Output = Result<HandshakeResponse, Refusal>> + Send>>
        + Send
        + Sync,
>;

pub(crate) type RequestHook = Arc<
    dyn Fn(
            EngineRequest,
        ) -> Pin<Box<dyn Future<Output = Result<HandshakeResponse, Refusal>> + Send>>
        + Send
        + Sync,
>;

/// Asks every hook about a request. A panic refuses.
pub(crate) async fn admit(
    server: &Arc<ServerInner>,
    request: &Request<()>,
) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    let hooks = server.request_hooks();
    if hooks.is_empty() {
        return Ok(headers);
    }
    let request = EngineRequest::of(request);
    for hook in hooks {
        let request = request.clone();
        let answer = CatchPanic(Box::pin(async move { hook(request).await })).await;
        let answer = answer.unwrap_or_else(|panic| {
            panicked(server, "a request hook", &*panic);
            Err(Refusal::with_message("internal error"))
        });
        for (name, value) in &answer?.headers {
            headers.append(name.clone(), value.clone());
        }
    }
    Ok(headers)
}

/// Asks every hook. A panic refuses.
pub(crate) async fn decide(
    server: &Arc<ServerInner>,
    request: &HandshakeRequest,
) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    for hook in server.hooks() {
        let (hook, request) = (hook.clone(), request.clone());
        let answer = CatchPanic(Box::pin(async move { hook(request).await })).await;
        let answer = answer.unwrap_or_else(|panic| {
            panicked(server, "a handshake hook", &*panic);
            Err(Refusal::with_message("internal error"))
        });
        for (name, value) in &answer?.headers {
            headers.append(name.clone(), value.clone());
        }
    }
    Ok(headers)
}

/// A task of the application's: a panic in it is counted and named, and ends nothing else.
pub(crate) async fn guarded(
    server: Arc<ServerInner>,
    what: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) {
    if let Err(panic) = CatchPanic(Box::pin(task)).await {
        panicked(&server, what, &*panic);
    }
}

/// A place among the sessions that may be open, given back if no session comes of it.
pub(crate) struct SessionSlot(Option<Arc<ServerInner>>);

impl SessionSlot {
    pub(crate) fn take(server: &Arc<ServerInner>) -> Option<Self> {
        if server.is_closing() {
            return None;
        }
        let limit = server.config.max_connections;
        let took = server
            .sessions
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < limit).then_some(open + 1)
            });
        took.is_ok().then(|| SessionSlot(Some(server.clone())))
    }

    fn fill(mut self) {
        self.0 = None;
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        if let Some(server) = &self.0 {
            server.sessions.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Opens a session on `worker`. Only from inside.
pub(crate) fn open_session(
    server: &Arc<ServerInner>,
    worker: &Arc<Worker>,
    route: &Route,
    request: &HandshakeRequest,
    writer: Writer,
    slot: SessionSlot,
) -> (Key, Arc<Connection>) {
    let config = &server.config;
    let id = SessionId::new(config.node, worker.index);
    let handshake = Handshake::new(
        &request.uri,
        &request.headers,
        &config.keep_headers,
        request.address,
        request.secure,
    );
    let connection = Arc::new(Connection::new(
        id,
        worker.clone(),
        handshake,
        request.transport,
    ));
    let mut application = None;
    let raw = (route.kind() == Kind::Raw).then(|| {
        let (sender, receiver) = mpsc::unbounded_channel::<EngineMessage>();
        let waiting = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let relaxed = EngineMessage::bound(&config.core) / 2;
        application = Some(EngineSocket::new(
            connection.clone(),
            receiver,
            waiting.clone(),
            relaxed,
            config.core.max_queued_bytes,
        ));
        Box::new(RawInbox {
            sender,
            waiting,
            request: None,
        })
    });
    let upgrades: &[&str] = match request.transport {
        Transport::Polling
            if config.allow_upgrades && config.transports.contains(&Transport::WebSocket) =>
        {
            &["websocket"]
        }
        _ => &[],
    };
    let io = Io {
        connection: connection.clone(),
        writer,
        probe: None,
        raw,
        watched: false,
    };
    let key = worker.call(|shard| {
        let key = shard.open(id, request.transport, route.kind(), io, upgrades);
        connection.set_key(key);
        if let Some(text) = &config.initial_packet {
            let _ = shard.enqueue(key, &Arc::new(Message::text(text, Class::Control)));
        }
        key
    });
    slot.fill();
    server.session_opened(&connection);
    if let (Some(socket), Route::Engine(handler)) = (application, route) {
        let (inner, handler) = (server.clone(), handler.clone());
        worker.spawn(guarded(inner, "an engine handler", async move {
            handler(socket).await;
        }));
    }
    (key, connection)
}
