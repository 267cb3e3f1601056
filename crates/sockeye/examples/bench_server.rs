//! The server that `make bench` measures: the library with its default limits, a middleware that checks `auth.token`, and
//! the events of benchmarks/README.md.
//!
//! `PORT=3000 cargo run --release -p sockeye --example bench_server`
//!
//! `BENCH_WORKERS` sets the number of workers (default 1), `BENCH_DEFLATE=1` switches permessage-deflate on. `GET /metrics`
//! answers with the counters of the library.

use bytes::Bytes;
use http::{Response, StatusCode};
use sockeye::{Args, Auth, ConnectError, Data, DeflateOptions, NoAck, Server, Socket};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKEN: &str = "benchmark";
const ROOM: &str = "bench";

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port: u16 = number("PORT").ok_or_else(|| std::io::Error::other("PORT is required"))?;
    let mut builder = Server::builder()
        .release_memory(release_memory)
        .workers(number("BENCH_WORKERS").unwrap_or(1));
    if number("BENCH_DEFLATE") == Some(1u8) {
        builder = builder.per_message_deflate(DeflateOptions::default());
    }
    let server = builder.build();
    install(&server);
    let inner = server.clone();
    server.fallback(move |request| {
        let server = inner.clone();
        async move {
            if request.uri().path() == "/metrics" {
                return Response::new(Bytes::from(server.metrics().await));
            }
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
    });
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    // Room for all that connect at once, as the peers have it.
    rustix::net::listen(&listener, 4096)?;
    server.serve(listener).await
}

#[derive(serde::Deserialize)]
struct Credentials {
    token: String,
}

fn install(server: &Server) {
    let root = server.of("/");
    root.middleware(
        async |Auth(auth): Auth<Credentials>| match auth.token == TOKEN {
            true => Ok(()),
            false => Err(ConnectError::new("unauthorized")),
        },
    );
    root.on("echo", async |args: Args| args);
    root.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room).await
    });
    root.on(
        "broadcast",
        async |socket: Socket, Data(text): Data<String>| {
            let _ = socket.namespace().emit("broadcast", text);
            NoAck
        },
    );
    root.on(
        "publish",
        async |socket: Socket, Data(text): Data<String>| {
            let _ = socket.namespace().to(ROOM).emit("publish", text);
            NoAck
        },
    );
}

/// Lets mimalloc give back what it holds free.
#[allow(unsafe_code, reason = "the allocator offers this as a C function only")]
fn release_memory() {
    // SAFETY: `mi_collect` may be called on any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
