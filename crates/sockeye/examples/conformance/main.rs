//! A server for conformance tests: what clients of every kind need to check that Sockeye behaves
//! like other Socket.IO servers. All options come from environment variables.
//!
//! `FIXTURE_PORT=3000 FIXTURE_PROFILE=conformance cargo run --release --example conformance`

mod client_suite;
mod conformance;
mod control;
mod options;
mod protocol;
mod raw;

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use sockeye::Server;

use options::{Options, Profile};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let options = Options::from_env();
    let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))?;
    let port = listener.local_addr()?.port();
    let server = options.builder().release_memory(release_memory).build();
    raw::websocket_echo(&server);
    match options.profile {
        Profile::EngineClient => raw::engine_client(&server),
        _ => raw::engine_echo(&server),
    }
    match options.profile {
        Profile::Protocol => protocol::install(&server),
        Profile::ClientSuite => client_suite::install(&server),
        Profile::EngineClient => {}
        Profile::Conformance | Profile::Cluster => conformance::install(&server, &options),
    }
    endpoints(&server);
    println!("READY {port}");
    std::io::stdout().flush()?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        served = server.serve(listener) => served,
        _ = terminate.recv() => {
            server.close(Duration::from_secs(2)).await;
            Ok(())
        }
    }
}

/// Lets mimalloc give back what it holds free.
#[allow(unsafe_code, reason = "the allocator offers this as a C function only")]
fn release_memory() {
    // SAFETY: `mi_collect` may be called on any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// `/fixture/health` and `/fixture/stats`.
fn endpoints(server: &Server) {
    let inner = server.clone();
    server.fallback(move |request| {
        let server = inner.clone();
        async move {
            match request.uri().path() {
                "/fixture/health" => answer("text/plain", "ok".into()),
                "/fixture/stats" => {
                    let gauges = server.gauges().await;
                    let stats = serde_json::json!({
                        "engineSessions": gauges.sessions - gauges.raw_sessions,
                        "sockets": gauges.sockets,
                        "namespaces": gauges.namespaces,
                        "rooms": server.room_count("/").await,
                    });
                    answer("application/json", stats.to_string())
                }
                "/fixture/metrics" => answer("text/plain", server.metrics().await),
                _ => {
                    let mut answer = answer("text/plain", "not found".into());
                    *answer.status_mut() = StatusCode::NOT_FOUND;
                    answer
                }
            }
        }
    });
}

fn answer(kind: &'static str, body: String) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}
