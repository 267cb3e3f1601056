//! The one table of settings. The help, the reference page, the defaults and the parsing of
//! file, environment and flags are all made from it.

use super::definition::Initial::{Integer, List, Switch, Text};
use super::definition::{Kind, Rule, Section, Setting, Unit};

/// Every section in the order of the reference.
pub(crate) static SECTIONS: &[Section] = &[
    Section {
        name: "server",
        title: "Server",
        intro: "Where the server listens and how it stops.",
    },
    Section {
        name: "engine",
        title: "Engine",
        intro: "The Engine.IO session: transports, heartbeat and the largest message.",
    },
    Section {
        name: "cors",
        title: "Cross-origin requests",
        intro: "Which web pages of other origins may connect from a browser. Without an entry only \
                pages of the server's own host and port may, by polling and by WebSocket alike; \
                behind a proxy that changes the Host header, list the origin of your pages. \
                Clients that are no web pages send no origin and are not asked for one.",
    },
    Section {
        name: "cookie",
        title: "Cookie",
        intro: "A cookie with the session id, for load balancers that route by cookie.",
    },
    Section {
        name: "compression",
        title: "Compression",
        intro: "Of WebSocket messages (RFC 7692) and of polling answers.",
    },
    Section {
        name: "recovery",
        title: "Connection state recovery",
        intro: "A client that lost its connection for a short time gets its id, its rooms and the \
                packets it missed.",
    },
    Section {
        name: "limits",
        title: "Limits",
        intro: "Every queue, count and size is bounded. What goes beyond is refused or closed as \
                the entry says.",
    },
    Section {
        name: "tls",
        title: "TLS",
        intro: "Serve HTTPS and WSS without a proxy in front. Only HTTP/1.1 is offered by ALPN.",
    },
    Section {
        name: "log",
        title: "Log",
        intro: "The log goes to standard error. Standard output gets the start-up lines only.",
    },
    Section {
        name: "http",
        title: "Pages and routes",
        intro: "What is served beside Socket.IO on the same port.",
    },
];

/// Defines a static for each setting and the table of them all.
macro_rules! settings {
    ($($name:ident: $path:literal, $flag:literal, $kind:expr, $default:expr, $short:expr, $long:expr;)*) => {
        $(
            pub(crate) static $name: Setting = Setting {
                path: $path,
                flag: $flag,
                kind: $kind,
                default: $default,
                short: $short,
                long: $long,
            };
        )*
        /// Every setting in the order of the help and the reference.
        pub(crate) static TABLE: &[&Setting] = &[$(&$name),*];
    };
}

const fn number(min: u64, max: u64) -> Kind {
    Kind::Integer {
        min,
        max,
        unit: Unit::None,
    }
}

const fn ms(min: u64, max: u64) -> Kind {
    Kind::Integer {
        min,
        max,
        unit: Unit::Milliseconds,
    }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Integer {
        min,
        max,
        unit: Unit::Bytes,
    }
}

const DAY_MS: u64 = 86_400_000;
const GIB: u64 = 1 << 30;

settings! {
    HOST: "server.host", "host", Kind::Text(Rule::Host), Text("127.0.0.1"),
        "Address to listen on",
        "Without authentication keys only a loopback address is accepted (127.0.0.0/8, ::1, \
         localhost); see `server.allow_unauthenticated`. `0.0.0.0` and `::` stand for every \
         address of the machine.";

    PORT: "server.port", "port", number(0, 65_535), Integer(3000),
        "TCP port to listen on; 0 lets the system choose",
        "With 0 the operating system picks a free port; the first start-up line on standard \
         output prints it.";

    PATH: "server.path", "path", Kind::Text(Rule::UrlPath), Text("/socket.io"),
        "URL path of the Socket.IO endpoint",
        "Clients name the same path in their `path` option. A trailing slash makes no difference.";

    WORKERS: "server.workers", "workers", number(0, 255), Integer(0),
        "Worker threads; 0 means one per CPU",
        "Each worker accepts and serves connections of its own, and a connection stays on its \
         worker for life. More workers than CPUs cost latency and gain nothing.";

    IO_URING: "server.io_uring", "io-uring", Kind::Text(Rule::OneOf(&["auto", "off"])), Text("auto"),
        "Write to many connections with one system call (Linux): auto or off",
        "`auto` uses io_uring where the system allows it; containers often forbid it, and Linux \
         before 5.19 lacks what is needed. Then each connection is written to by itself, which \
         costs more CPU where messages go to many. The log says at the start which it is, and the \
         metric `sockeye_io_uring_workers` for how many workers.";

    NODE: "server.node", "node-name", Kind::Text(Rule::Name), Text(""),
        "Name of this node; empty means the host name",
        "Told to clients in the `welcome` event and written in the log.";

    ALLOW_UNAUTHENTICATED: "server.allow_unauthenticated", "allow-unauthenticated",
        Kind::Switch, Switch(false),
        "Serve other machines although nobody has to authenticate",
        "In development mode (no authentication keys) the server refuses to listen on anything \
         but loopback, because everybody who reaches it may join every room and publish to it. \
         This switch lifts the refusal. Use it only where something in front of the server lets \
         in the right people alone.";

    SHUTDOWN_GRACE: "server.shutdown_grace_ms", "shutdown-grace-ms", ms(0, 3_600_000), Integer(5000),
        "Time that open connections get to close after SIGTERM or SIGINT",
        "The server stops accepting, closes every session and exits with status 0 as soon as all \
         are gone, at the latest after this time. A second signal ends it at once.";

    POLLING_CLOSE_TIMEOUT: "server.polling_close_timeout_ms", "polling-close-timeout-ms",
        ms(0, 3_600_000), Integer(2000),
        "Time at shutdown for a polling client to fetch what is left",
        "A client that polls gets what waits for it with its next poll, and learns of the end with \
         the one after it. One that never polls again is waited for no longer than this.";

    TRANSPORTS: "engine.transports", "transports",
        Kind::List { rule: Rule::OneOf(&["polling", "websocket"]), separator: ',' },
        List(&["polling", "websocket"]),
        "Enabled transports",
        "Stock clients begin with polling and upgrade to WebSocket. With `websocket` alone a \
         client must be told so (`transports: [\"websocket\"]`), and saves a round trip.";

    ALLOW_UPGRADES: "engine.allow_upgrades", "allow-upgrades", Kind::Switch, Switch(true),
        "Offer polling clients the upgrade to WebSocket",
        "A polling session costs several times the CPU and memory of a WebSocket session.";

    PING_INTERVAL: "engine.ping_interval_ms", "ping-interval-ms", ms(100, DAY_MS), Integer(25_000),
        "Time between two pings of the server",
        "Shorter notices dead connections sooner and costs one packet each way per connection and \
         interval. Keep it below the idle timeout of every proxy on the way.";

    PING_TIMEOUT: "engine.ping_timeout_ms", "ping-timeout-ms", ms(100, DAY_MS), Integer(20_000),
        "Time a client has to answer a ping",
        "A connection without an answer is closed with the reason `ping timeout`. A vanished peer \
         is noticed after at most interval plus timeout.";

    CONNECT_TIMEOUT: "engine.connect_timeout_ms", "connect-timeout-ms", ms(100, DAY_MS),
        Integer(45_000),
        "Time a connection has to join a namespace",
        "A connection that has joined none by then is closed.";

    UPGRADE_TIMEOUT: "engine.upgrade_timeout_ms", "upgrade-timeout-ms", ms(100, DAY_MS),
        Integer(10_000),
        "Time a transport upgrade may take",
        "An unfinished upgrade is given up; the session goes on with polling.";

    MAX_HTTP_BUFFER_SIZE: "engine.max_http_buffer_size", "max-http-buffer-size",
        bytes(1, GIB), Integer(1_000_000),
        "Largest message or polling request body",
        "A larger WebSocket message closes the connection with code 1009, a larger body is \
         answered 413. Announced to clients as `maxPayload`. Memory grows with what has \
         arrived, never with what was announced; the worst case per connection is this size.";

    WRITE_TIMEOUT: "engine.write_timeout_ms", "write-timeout-ms", ms(100, DAY_MS), Integer(10_000),
        "Time a connection has to take some of the bytes that wait for it",
        "A connection that takes none in this time is closed, so that a peer that vanished in the \
         middle of a message does not hold its queue until the heartbeat notices.";

    HEADER_TIMEOUT: "engine.header_timeout_ms", "header-timeout-ms", ms(100, DAY_MS),
        Integer(10_000),
        "Time the head of an HTTP request has to arrive",
        "Later the connection is closed: a byte now and then cannot hold it open.";

    BODY_TIMEOUT: "engine.body_timeout_ms", "body-timeout-ms", ms(100, DAY_MS), Integer(30_000),
        "Time the body of an HTTP request has to arrive",
        "Later the connection is closed.";

    CORS_ORIGINS: "cors.origins", "cors-origin", Kind::List { rule: Rule::Origin, separator: ',' },
        List(&[]),
        "Origins whose pages may connect, such as https://example.com; * for all",
        "Compared exactly. `*` admits every page and therefore cannot be combined with \
         `cors.credentials`.";

    CORS_PATTERNS: "cors.patterns", "cors-pattern",
        Kind::List { rule: Rule::Pattern, separator: ' ' }, List(&[]),
        "Regular expressions for origins whose pages may connect",
        "The whole origin must match: `https://[a-z]+\\.example\\.com` admits \
         `https://app.example.com` and nothing longer.";

    CORS_CREDENTIALS: "cors.credentials", "cors-credentials", Kind::Switch, Switch(false),
        "Let pages of other origins send cookies",
        "Needed when the client sets `withCredentials`, for example with `cookie.enabled`.";

    COOKIE_ENABLED: "cookie.enabled", "cookie", Kind::Switch, Switch(false),
        "Set a cookie with the session id at the polling handshake",
        "The cookie is `HttpOnly` and `SameSite=Lax`. One node needs none.";

    COOKIE_NAME: "cookie.name", "cookie-name", Kind::Text(Rule::Token), Text("io"),
        "Name of that cookie",
        "Used when `cookie.enabled` is set.";

    DEFLATE: "compression.websocket", "websocket-compression", Kind::Switch, Switch(false),
        "Offer permessage-deflate to WebSocket clients",
        "Saves bandwidth for text above a kibibyte and costs CPU; a message to a room is deflated \
         once and shared. Messages of the client need an inflater of about 40 KiB per connection \
         while one is being inflated.";

    DEFLATE_THRESHOLD: "compression.websocket_threshold", "websocket-compression-threshold",
        bytes(0, GIB), Integer(1024),
        "Smallest WebSocket message that is compressed",
        "Below a kibibyte the gain rarely pays for the work.";

    DEFLATE_LEVEL: "compression.websocket_level", "websocket-compression-level", number(1, 9),
        Integer(6),
        "Effort of WebSocket compression: 1 is fastest, 9 is smallest",
        "Level 1 costs about a third of the CPU of level 6 and compresses JSON about a tenth \
         less.";

    DEFLATE_WINDOW_BITS: "compression.websocket_window_bits", "websocket-compression-window-bits",
        number(9, 15), Integer(15),
        "Window of WebSocket compression, as a power of two",
        "15 is a window of 32 KiB. Smaller windows save memory at both ends and compress less. 8 \
         cannot be produced by zlib and is therefore not offered.";

    HTTP_COMPRESSION: "compression.http", "http-compression", Kind::Switch, Switch(true),
        "Compress polling answers when the client accepts it",
        "gzip or deflate, as the request's `Accept-Encoding` says.";

    HTTP_COMPRESSION_THRESHOLD: "compression.http_threshold", "http-compression-threshold",
        bytes(0, GIB), Integer(1024),
        "Smallest polling answer that is compressed",
        "Smaller answers go out as they are.";

    RECOVERY_ENABLED: "recovery.enabled", "recovery", Kind::Switch, Switch(false),
        "Keep the state of lost connections for their return",
        "Adds the offset to every packet, and the packets of the last while are kept in memory, \
         bounded by the other keys of this section. Stock clients use it without a change.";

    RECOVERY_WINDOW: "recovery.window_ms", "recovery-window-ms", ms(1, DAY_MS), Integer(120_000),
        "How long a lost connection can come back",
        "Longer means more kept packets. After it the client connects as a new one.";

    RECOVERY_SKIP_MIDDLEWARES: "recovery.skip_middlewares", "recovery-skip-middlewares",
        Kind::Switch, Switch(true),
        "Do not run namespace middlewares for a recovered connection",
        "Switch it off when a middleware must see every connection, for example to check that \
         credentials have not expired.";

    RECOVERY_MAX_PACKETS: "recovery.max_packets", "recovery-max-packets", number(1, 100_000_000),
        Integer(100_000),
        "Most packets kept per namespace",
        "Beyond it the oldest go; whoever would need them connects as a new client.";

    RECOVERY_MAX_BYTES: "recovery.max_bytes", "recovery-max-bytes", bytes(1024, 64 * GIB),
        Integer(64 << 20),
        "Most bytes of kept packets per namespace",
        "Beyond it the oldest go; whoever would need them connects as a new client.";

    OUTBOUND_BYTES: "limits.outbound_bytes", "outbound-bytes", bytes(1024, GIB), Integer(4 << 20),
        "Most bytes that wait for one connection to read them",
        "When full, volatile packets are dropped first; then the connection is closed as a slow \
         consumer, in the way that lets stock clients reconnect. Packets to a room are shared: \
         what waits for many counts for each, but is in memory once.";

    OUTBOUND_TOTAL: "limits.outbound_total_bytes", "outbound-total-bytes", bytes(1024, 1024 * GIB),
        Integer(GIB),
        "Most bytes that wait for all connections together",
        "A bound on the memory that slow readers can hold.";

    INBOUND_EVENTS: "limits.inbound_events", "inbound-events", number(1, 1_000_000), Integer(64),
        "Most events of one socket that wait for its handler",
        "Beyond it the server stops reading from the connection until the handler has caught up. \
         Nothing is lost, and the heartbeat waits meanwhile.";

    INBOUND_BYTES: "limits.inbound_bytes", "inbound-bytes", bytes(1024, GIB), Integer(256 << 10),
        "Most bytes of events of one socket that wait for its handler",
        "Beyond it the server stops reading, as with `limits.inbound_events`.";

    MAX_CONNECTIONS: "limits.max_connections", "max-connections", number(1, 100_000_000),
        Integer(1_000_000),
        "Most connections at a time",
        "Further ones are refused, in the way that lets clients try again. The open-file limit of \
         the process is the lower bound in practice; a start-up line prints it.";

    HANDSHAKES: "limits.handshakes", "max-handshakes", number(1, 10_000_000), Integer(10_000),
        "Most accepted connections of one worker that are not part of a session yet",
        "Beyond it the worker accepts no further ones until some have finished or timed out.";

    NAMESPACES: "limits.namespaces", "max-namespaces", number(1, 10_000), Integer(100),
        "Most namespaces one connection may join",
        "A further one is refused with a `connect_error`.";

    ROOMS: "limits.rooms", "max-rooms", number(1, 1_000_000), Integer(1000),
        "Most rooms one socket may be in",
        "A further `join` is answered with the error code `too_many_rooms`.";

    LISTED_MEMBERS: "limits.listed_members", "max-listed-members", number(0, 1_000_000), Integer(200),
        "Most members of a room who are told of one by one",
        "The members of a larger room are not listed: they get its size, once a second while it \
         changes, instead of `member:joined` and `member:left`.";

    PENDING_ACKS: "limits.pending_acks", "max-pending-acks", number(1, 1_000_000), Integer(1000),
        "Most acknowledgements of one socket the server waits for",
        "A further emit with acknowledgement fails at once.";

    ACK_TIMEOUT: "limits.ack_timeout_ms", "ack-timeout-ms", ms(1, DAY_MS), Integer(30_000),
        "How long the server waits for an acknowledgement",
        "Applies where the emit does not say otherwise.";

    ATTACHMENTS: "limits.attachments", "max-attachments", number(0, 10_000), Integer(10),
        "Most binary attachments of one packet",
        "A packet that announces more closes the connection with the reason `parse error`.";

    JSON_DEPTH: "limits.json_depth", "max-json-depth", number(1, 1000), Integer(1000),
        "Deepest nesting of arrays and objects in a packet",
        "A deeper packet closes the connection with the reason `parse error`.";

    ARGUMENTS: "limits.arguments", "max-arguments", number(1, 1_000_000), Integer(4096),
        "Most arguments of one event",
        "A packet with more closes the connection with the reason `parse error`.";

    TLS_CERT: "tls.cert", "tls-cert", Kind::Text(Rule::File), Text(""),
        "PEM file with the certificate chain; empty means no TLS",
        "The server's certificate first, then those that signed it. Needs `tls.key`.";

    TLS_KEY: "tls.key", "tls-key", Kind::Text(Rule::File), Text(""),
        "PEM file with the private key",
        "PKCS #8, PKCS #1 or SEC 1. Needs `tls.cert`.";

    LOG_LEVEL: "log.level", "log-level", Kind::Text(Rule::LogFilter), Text("info"),
        "What is logged: error, warn, info, debug, trace, off, or directives",
        "Directives set the level per part, such as `warn,sockeye=debug`.";

    LOG_FORMAT: "log.format", "log-format", Kind::Text(Rule::OneOf(&["text", "json"])),
        Text("text"),
        "Form of the log: text or json",
        "`json` writes one object per line.";

    PLAYGROUND: "http.playground", "playground", Kind::Switch, Switch(true),
        "Serve the playground page at /",
        "A page that joins rooms and talks. When off, `/` is answered 404.";

    METRICS: "http.metrics", "metrics", Kind::Switch, Switch(true),
        "Serve metrics at /metrics",
        "In the text format of Prometheus. Anybody who reaches the port can read them.";

    RELAY: "http.websocket_relay", "websocket-relay", Kind::Switch, Switch(true),
        "Serve the plain WebSocket relay at /ws",
        "For clients without Socket.IO: a message goes to the other plain WebSocket clients of \
         the same `?room=`.";
}
