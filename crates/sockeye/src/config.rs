//! What a server is built with.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sockeye_cluster::{EmbeddedConfig, Store};
use sockeye_core::Config as CoreConfig;
use sockeye_protocol::engine::Transport;
use sockeye_protocol::socketio::Parser;
use sockeye_websocket::deflate::DeflateOptions;

use crate::handshake::KeepHeaders;
use crate::http::{Cookie, Cors};
use crate::server::Server;

/// Connection state recovery: for how long, and how much.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recovery {
    /// How long a client may be away. Default 2 minutes.
    pub max_disconnection: Duration,
    /// Whether a recovered socket skips the namespace's middleware. Default true, as in Node.js:
    /// what was true of it before is taken to be true still.
    pub skip_middlewares: bool,
    /// Bounds of the embedded store.
    pub store: EmbeddedConfig,
}

impl Default for Recovery {
    fn default() -> Self {
        Recovery {
            max_disconnection: Duration::from_secs(120),
            skip_middlewares: true,
            store: {
                let mut store = EmbeddedConfig::default();
                // An event is queued to its sockets, or they are closed, well within this.
                store.settle_ms = 5_000;
                store
            },
        }
    }
}

impl Recovery {
    /// The bounds of the embedded store, with the time that this configuration gives.
    pub(crate) fn store_config(&self) -> EmbeddedConfig {
        let mut config = self.store.clone();
        config.max_disconnection_ms = millis(self.max_disconnection);
        config
    }

    /// Recovery for clients that are away for at most `time`.
    pub fn within(time: Duration) -> Self {
        Recovery {
            max_disconnection: time,
            ..Recovery::default()
        }
    }
}

/// Whether workers write through io_uring: one system call for hundreds of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum IoUring {
    /// Where the system allows it (Linux 5.19, 6.1 for the best of it; containers often forbid
    /// it), and one system call for each connection elsewhere. The log and the gauge
    /// `io_uring_workers` say which it is.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// All settings of a running server.
pub(crate) struct Config {
    pub(crate) core: Arc<CoreConfig>,
    pub(crate) path: String,
    pub(crate) workers: usize,
    pub(crate) io_uring: IoUring,
    pub(crate) transports: Vec<Transport>,
    pub(crate) allow_upgrades: bool,
    pub(crate) initial_packet: Option<String>,
    pub(crate) ack_timeout: Duration,
    pub(crate) blocking_limit: Duration,
    pub(crate) release_memory: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) websocket_limits: sockeye_websocket::Limits,
    pub(crate) deflate: Option<DeflateOptions>,
    pub(crate) max_concurrent_deflate: (Option<usize>, usize),
    pub(crate) http_compression: Option<usize>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) cors: Option<Cors>,
    pub(crate) keep_headers: KeepHeaders,
    pub(crate) max_connections: usize,
    pub(crate) max_inbox_bytes: usize,
    pub(crate) max_inbox_calls: usize,
    pub(crate) max_handshakes: usize,
    pub(crate) max_dynamic_namespaces: usize,
    pub(crate) cleanup_empty_namespaces: bool,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) skip_middlewares: bool,
    pub(crate) node: [u8; 3],
}

/// Builds a [`Server`]. Everything has a default.
///
/// ```
/// use std::time::Duration;
/// use sockeye::Server;
///
/// let server = Server::builder()
///     .ping_interval(Duration::from_secs(10))
///     .max_payload(64 << 10)
///     .build();
/// # drop(server);
/// ```
pub struct ServerBuilder {
    pub(crate) core: CoreConfig,
    pub(crate) config: Config,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) state: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl Default for ServerBuilder {
    fn default() -> Self {
        let core = CoreConfig::default();
        ServerBuilder {
            config: Config {
                core: Arc::new(core.clone()),
                path: "/socket.io".into(),
                workers: std::thread::available_parallelism()
                    .map_or(1, |n| n.get())
                    .min(255),
                io_uring: IoUring::Auto,
                transports: vec![Transport::Polling, Transport::WebSocket],
                allow_upgrades: true,
                initial_packet: None,
                ack_timeout: Duration::from_secs(30),
                blocking_limit: Duration::from_millis(100),
                release_memory: None,
                header_timeout: Duration::from_secs(10),
                body_timeout: Duration::from_secs(30),
                websocket_limits: sockeye_websocket::Limits::new(core.max_payload),
                deflate: None,
                max_concurrent_deflate: (None, 64 << 10),
                http_compression: Some(1024),
                cookie: None,
                cors: None,
                keep_headers: KeepHeaders::All,
                max_connections: 1_000_000,
                max_inbox_bytes: 64 << 20,
                max_inbox_calls: 100_000,
                max_handshakes: 10_000,
                max_dynamic_namespaces: 10_000,
                cleanup_empty_namespaces: true,
                recovery: None,
                skip_middlewares: false,
                node: rand::random(),
            },
            core,
            store: None,
            state: HashMap::new(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 1)
}

/// # Protocol
impl ServerBuilder {
    /// The path of the endpoint. Default `/socket.io`.
    pub fn path(mut self, path: &str) -> Self {
        self.config.path = format!("/{}", path.trim_matches('/'));
        self
    }

    /// Time between a pong and the next ping. Default 25 s. Shorter finds dead peers sooner and
    /// costs a packet each way.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.core.ping_interval = millis(interval);
        self
    }

    /// Time for a pong to come. Default 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.core.ping_timeout = millis(timeout);
        self
    }

    /// Time for a connection to join its first namespace. Default 45 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.core.connect_timeout = millis(timeout);
        self
    }

    /// Time for a transport upgrade. Default 10 s.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.core.upgrade_timeout = millis(timeout);
        self
    }

    /// Time for a polling client, when the server closes, to come for what is left and for the end.
    /// Default 2 s. One that never polls again holds the close up no longer than this.
    pub fn polling_close_timeout(mut self, timeout: Duration) -> Self {
        self.core.polling_close_timeout = millis(timeout);
        self
    }

    /// Largest message or polling body taken in, in bytes; announced to clients. Default 1,000,000.
    /// Above: 413 on polling, close code 1009 on WebSocket.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.core.max_payload = bytes;
        self.config.websocket_limits = sockeye_websocket::Limits::new(bytes);
        self.core.packets.max_attachment_bytes = self
            .core
            .packets
            .max_attachment_bytes
            .max(bytes.saturating_mul(10));
        self
    }

    /// The transports offered. Default polling and WebSocket.
    pub fn transports(mut self, transports: &[Transport]) -> Self {
        self.config.transports = transports.to_vec();
        self
    }

    /// A message that every session is sent right after it was opened. Default none.
    pub fn initial_packet(mut self, text: &str) -> Self {
        self.config.initial_packet = Some(format!("4{text}"));
        self
    }

    /// Whether polling sessions may upgrade. Default true.
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.allow_upgrades = allow;
        self
    }

    /// The parser. Default JSON; clients must use the same.
    pub fn parser(mut self, parser: Parser) -> Self {
        self.core.parser = parser;
        self
    }

    /// Compression of WebSocket messages. Default off. Without context takeover, the default of
    /// the options, a broadcast is compressed once for everyone and an idle connection costs no
    /// memory for it.
    pub fn per_message_deflate(mut self, options: DeflateOptions) -> Self {
        self.config.deflate = Some(options);
        self
    }

    /// Messages of more than `above` bytes that are compressed at the same time, over all workers;
    /// beyond, they are sent as they are. Default half the workers, at least 1, and 64 KiB.
    pub fn max_concurrent_deflate(mut self, messages: usize, above: usize) -> Self {
        self.config.max_concurrent_deflate = (Some(messages), above);
        self
    }

    /// Compression of polling answers of at least so many bytes, unless all that is in one was
    /// emitted with `compress(false)`. Default 1,024; `None`: off.
    pub fn http_compression(mut self, threshold: Option<usize>) -> Self {
        self.config.http_compression = threshold;
        self
    }

    /// A cookie with the session id on polling handshakes, for load balancers. Default none.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.config.cookie = Some(cookie);
        self
    }

    /// Cross-origin access. Default none: browsers allow the same origin only.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.config.cors = Some(cors);
        self
    }

    /// Which headers of the first request are kept. Default all.
    pub fn keep_headers(mut self, keep: KeepHeaders) -> Self {
        self.config.keep_headers = keep;
        self
    }

    /// Connection state recovery. Default off. On, every recoverable event carries an offset as
    /// one more argument, as in Node.js.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.config.skip_middlewares = recovery.skip_middlewares;
        self.config.recovery = Some(recovery);
        self
    }

    /// Where recovery keeps its state. Default: in this process.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }
}

/// # Limits
impl ServerBuilder {
    /// Worker threads, 1 to 255. Default: the CPUs this process may run on.
    pub fn workers(mut self, workers: usize) -> Self {
        self.config.workers = workers.clamp(1, 255);
        self
    }

    /// Whether workers write through io_uring. Default: where the system allows it.
    pub fn io_uring(mut self, io_uring: IoUring) -> Self {
        self.config.io_uring = io_uring;
        self
    }

    /// Bytes that may wait for one connection, and as many that may be on their way to its worker
    /// from other threads. Default 4 MiB. Beyond, volatile packets are dropped first, then the
    /// connection is closed so that the client comes back.
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.core.max_queued_bytes = bytes;
        self
    }

    /// Bytes that may wait for all connections together. Default 1 GiB for each worker.
    pub fn max_total_queued_bytes(mut self, bytes: usize) -> Self {
        self.core.max_total_queued_bytes = bytes;
        self
    }

    /// Time for a connection to take some of the bytes that wait. Default 10 s.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.core.write_timeout = millis(timeout);
        self
    }

    /// Events of a socket that may wait for its handler, by number and bytes, before its
    /// connection stops being read. Default 64 and 256 KiB.
    pub fn max_waiting(mut self, events: usize, bytes: usize) -> Self {
        self.core.max_waiting_events = events.max(1);
        self.core.max_waiting_bytes = bytes.max(1);
        self
    }

    /// Namespaces one connection may join. Default 100.
    pub fn max_namespaces(mut self, namespaces: usize) -> Self {
        self.core.max_namespaces = namespaces;
        self
    }

    /// Namespaces that may be made for clients that ask, at a time. Default 10,000.
    pub fn max_dynamic_namespaces(mut self, namespaces: usize) -> Self {
        self.config.max_dynamic_namespaces = namespaces;
        self
    }

    /// Whether a namespace made for a client goes with its last socket. Default true.
    pub fn cleanup_empty_namespaces(mut self, cleanup: bool) -> Self {
        self.config.cleanup_empty_namespaces = cleanup;
        self
    }

    /// Rooms one socket may be in. Default 1,000.
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        self.core.max_rooms = rooms;
        self
    }

    /// Acknowledgements one socket may owe. Default 1,000.
    pub fn max_pending_acks(mut self, acks: usize) -> Self {
        self.core.max_pending_acks = acks;
        self
    }

    /// How long an acknowledgement is awaited where nothing else is said. Default 30 s.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.config.ack_timeout = timeout;
        self
    }

    /// Binary attachments of one packet. Default 10, as in Node.js.
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.core.packets.max_attachments = attachments;
        self
    }

    /// Arrays and objects within each other. Default, and at most, 1,000.
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.core.packets.max_depth = depth;
        self
    }

    /// Arguments of one event. Default 4,096.
    pub fn max_args(mut self, args: usize) -> Self {
        self.core.packets.max_args = args;
        self
    }

    /// Sessions open at a time. Default 1,000,000. Beyond, a handshake is answered 503.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Bytes of broadcasts on their way from one worker to another. Default 64 MiB for each worker.
    /// Beyond, the worker they are for has been held up so long that its clients are closed to come
    /// back.
    pub fn max_inbox_bytes(mut self, bytes: usize) -> Self {
        self.config.max_inbox_bytes = bytes;
        self
    }

    /// Calls from elsewhere that wait for a worker: joins, leaves, and what is asked of many sockets.
    /// Default 100,000 for each worker. Beyond, a join or leave fails with
    /// [`RoomError::Busy`](crate::RoomError::Busy), and what is asked of many names this node as
    /// silent.
    pub fn max_inbox_calls(mut self, calls: usize) -> Self {
        self.config.max_inbox_calls = calls;
        self
    }

    /// Connections accepted and not yet part of a session, for each worker. Default 10,000.
    /// Beyond, the listener waits.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.config.max_handshakes = handshakes.max(1);
        self
    }

    /// Time for a request's head to arrive. Default 10 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.config.header_timeout = timeout;
        self
    }

    /// Time for a request's body to arrive. Default 30 s.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.config.body_timeout = timeout;
        self
    }

    /// How long a handler may hold its worker up before the log names it. Default 100 ms.
    pub fn blocking_limit(mut self, limit: Duration) -> Self {
        self.config.blocking_limit = limit;
        self
    }

    /// Gives freed memory back: `release` runs on the thread of a worker two seconds after
    /// 500 connections have come or gone there. Default nothing.
    ///
    /// Allocators keep freed pages for a while and let them go when they are asked for memory
    /// again, which a server that has fallen quiet does not do. With mimalloc, `release` is its
    /// `mi_collect`; with glibc, `malloc_trim`.
    ///
    /// ```
    /// let server = sockeye::Server::builder().release_memory(|| { /* mi_collect(false) */ }).build();
    /// ```
    pub fn release_memory(mut self, release: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.release_memory = Some(Arc::new(release));
        self
    }

    /// Three bytes that name this node in session ids. Default random.
    pub fn node(mut self, node: [u8; 3]) -> Self {
        self.config.node = node;
        self
    }

    /// State that handlers take as `State<T>`.
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        self.state.insert(TypeId::of::<T>(), Arc::new(state));
        self
    }

    /// Builds the server. Nothing runs yet.
    pub fn build(self) -> Server {
        Server::from_builder(self)
    }
}
