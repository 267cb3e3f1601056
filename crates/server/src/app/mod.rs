//! The application that `sockeye serve` runs: the contract of docs/serve-protocol.md.

mod crowds;
mod names;
mod origin;
mod pages;
mod refusal;
mod relay;
mod rooms;

use std::sync::Arc;

use http::Request;
use sockeye::{
    Cookie, Cors, DeflateOptions, EmbeddedConfig, HandshakeRequest, HandshakeResponse, Origins,
    Recovery, Refusal, Server, ServerBuilder, Transport,
};

use crate::config::Config;
use crowds::Crowds;
use origin::AllowedOrigins;
use pages::Pages;
use relay::Relay;
use rooms::Node;

/// Where plain WebSocket clients find the relay.
pub(crate) const RELAY_PATH: &str = "/ws";

/// The server with its routes, ready to serve.
pub(crate) struct Application {
    pub(crate) server: Server,
    relay: Arc<Relay>,
}

impl Application {
    /// Builds the server as the configuration says. Nothing runs yet.
    pub(crate) fn new(config: &Config) -> Self {
        let server = builder(config)
            .state(Node {
                name: config.node.clone(),
                crowds: Crowds::new(config.limits.listed_members),
            })
            .build();
        rooms::register(&server);

        let origins = Arc::new(AllowedOrigins::new(&config.cors));
        let hook = origins.clone();
        server.on_handshake(move |request| std::future::ready(judge(&hook, &request)));

        let relay = Arc::new(Relay::new(config.limits.outbound_bytes, origins));
        if config.relay {
            relay::register(&relay, &server, config);
        }
        serve_pages(
            &server,
            Pages::new(config.playground, config.metrics, &config.path),
        );
        Self { server, relay }
    }

    /// Closes every session; completes when all are gone, at the latest after the grace.
    pub(crate) async fn close(&self, config: &Config) {
        self.relay.close();
        self.server.close(config.shutdown_grace).await;
    }
}

/// Pages of other origins are refused on every transport: browsers ask nobody before they open a
/// WebSocket.
fn judge(
    origins: &AllowedOrigins,
    request: &HandshakeRequest,
) -> Result<HandshakeResponse, Refusal> {
    if origins.allow(&request.headers) {
        return Ok(HandshakeResponse::new());
    }
    tracing::info!(
        origin = ?request.headers.get(http::header::ORIGIN),
        "refused a page of another origin; cors.origins lists those that may connect"
    );
    Err(Refusal::with_message("Origin not allowed"))
}

fn serve_pages(server: &Server, pages: Pages) {
    let (own, pages) = (server.clone(), Arc::new(pages));
    server.fallback(move |request: Request<()>| {
        let (server, pages) = (own.clone(), pages.clone());
        async move {
            let path = request.uri().path();
            let metrics = if pages.wants_metrics(path) {
                server.metrics().await
            } else {
                String::new()
            };
            pages.answer(request.method(), path, request.headers(), metrics)
        }
    });
}

fn builder(config: &Config) -> ServerBuilder {
    let limits = &config.limits;
    let mut transports = Vec::new();
    if config.polling {
        transports.push(Transport::Polling);
    }
    if config.websocket {
        transports.push(Transport::WebSocket);
    }
    let mut builder = Server::builder()
        .release_memory(release_memory)
        .path(&config.path)
        .workers(config.workers)
        .io_uring(config.io_uring)
        .transports(&transports)
        .allow_upgrades(config.allow_upgrades)
        .ping_interval(config.ping_interval)
        .ping_timeout(config.ping_timeout)
        .connect_timeout(config.connect_timeout)
        .upgrade_timeout(config.upgrade_timeout)
        .write_timeout(config.write_timeout)
        .polling_close_timeout(config.polling_close_timeout)
        .header_timeout(config.header_timeout)
        .body_timeout(config.body_timeout)
        .max_payload(config.max_http_buffer_size)
        .http_compression(config.http_compression)
        .max_queued_bytes(limits.outbound_bytes)
        // The library's bound is for each worker.
        .max_total_queued_bytes(limits.outbound_total_bytes / config.workers)
        .max_waiting(limits.inbound_events, limits.inbound_bytes)
        .max_connections(limits.max_connections)
        .max_handshakes(limits.handshakes)
        .max_namespaces(limits.namespaces)
        .max_rooms(limits.rooms)
        .max_pending_acks(limits.pending_acks)
        .ack_timeout(limits.ack_timeout)
        .max_attachments(limits.attachments)
        .max_depth(limits.json_depth)
        .max_args(limits.arguments);
    if let Some(name) = &config.cookie {
        builder = builder.cookie(Cookie {
            name: name.clone(),
            ..Cookie::default()
        });
    }
    if let Some(options) = deflate(config) {
        builder = builder.per_message_deflate(options);
    }
    if let Some(cors) = cors(config) {
        builder = builder.cors(cors);
    }
    if let Some(recovery) = recovery(config) {
        builder = builder.recovery(recovery);
    }
    builder
}

fn deflate(config: &Config) -> Option<DeflateOptions> {
    config.deflate.as_ref().map(|deflate| DeflateOptions {
        threshold: deflate.threshold,
        level: deflate.level,
        server_max_window_bits: deflate.window_bits,
        client_max_window_bits: deflate.window_bits,
        ..DeflateOptions::default()
    })
}

fn cors(config: &Config) -> Option<Cors> {
    let cors = &config.cors;
    let origins = match (cors.any, cors.origins.is_empty(), cors.patterns.is_empty()) {
        (true, ..) => Origins::Any,
        (false, true, true) => return None,
        (false, false, true) => Origins::Listed(cors.origins.clone()),
        (false, _, false) => {
            let allowed = AllowedOrigins::new(cors);
            Origins::predicate(move |origin, _, _| std::future::ready(allowed.lists(&origin)))
        }
    };
    let access = Cors::new(origins);
    Some(if cors.credentials {
        access.with_credentials()
    } else {
        access
    })
}

fn recovery(config: &Config) -> Option<Recovery> {
    let wanted = config.recovery.as_ref()?;
    let mut store = EmbeddedConfig::default();
    store.max_disconnection_ms = u64::try_from(wanted.window.as_millis()).unwrap_or(u64::MAX);
    store.max_packets_per_namespace = wanted.max_packets;
    store.max_bytes_per_namespace = wanted.max_bytes;
    store.max_packets = store.max_packets.max(wanted.max_packets);
    store.max_bytes = store.max_bytes.max(wanted.max_bytes);
    let mut recovery = Recovery::within(wanted.window);
    recovery.skip_middlewares = wanted.skip_middlewares;
    recovery.store = store;
    Some(recovery)
}

/// Lets mimalloc give back what it holds free.
#[allow(unsafe_code, reason = "the allocator offers this as a C function only")]
fn release_memory() {
    // SAFETY: `mi_collect` may be called on any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
