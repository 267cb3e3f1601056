//! What the Rust peers share: the contract of ../../README.md.

use socket2::{Domain, Socket, Type};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};

/// What `auth.token` has to be.
pub const TOKEN: &str = "benchmark";
/// The room that `publish` goes to.
pub const ROOM: &str = "bench";

/// Listens on 127.0.0.1 at the port in `PORT`, with a backlog for all that connect at once.
pub fn listen() -> std::io::Result<tokio::net::TcpListener> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| std::io::Error::other("PORT is required"))?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(4096)?;
    tokio::net::TcpListener::from_std(socket.into())
}

/// Runs on tokio's default runtime, or on that of the calling thread with `current-thread` as an argument.
pub fn run(server: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    let mut builder = match std::env::args().nth(1).as_deref() {
        Some("current-thread") => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(server)
}
