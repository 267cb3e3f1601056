//! What the tests stand on: a server on a port of its own, a client that does what it is told.

pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod tls;
pub(crate) mod websocket;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use sockeye::{Namespace, Server, ServerBuilder, Socket};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub(crate) use client::{Client, Packet};
pub(crate) use http::{Polling, request};
pub(crate) use websocket::{Frame, Wire};

/// Longest wait for anything; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server that listens.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// A server with all defaults and one worker.
    pub(crate) fn start(setup: impl FnOnce(&Server)) -> Self {
        Self::with(Server::builder().workers(1), setup)
    }

    pub(crate) fn with(builder: ServerBuilder, setup: impl FnOnce(&Server)) -> Self {
        let server = builder.build();
        setup(&server);
        Self::serve(server)
    }

    /// Lets a server listen that is set up already.
    pub(crate) fn serve(server: Server) -> Self {
        let (listener, address) = listen();
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        Running { server, address }
    }

    /// Mounts a server into axum, so that sessions go to its workers in turn.
    pub(crate) async fn mounted(builder: ServerBuilder, setup: impl FnOnce(&Server)) -> Self {
        let server = builder.build();
        setup(&server);
        let (listener, address) = listen();
        listener.set_nonblocking(true).expect("an option");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let router = axum::Router::new().fallback_service(server.service());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Running { server, address }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// A counter or gauge, without its prefix.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        metric(&self.server, name).await
    }

    /// Waits until a counter or gauge has a value.
    pub(crate) async fn until_metric(&self, name: &str, value: u64) {
        eventually(name, async || self.metric(name).await == value).await;
    }

    /// Waits until nothing is left of any client.
    pub(crate) async fn until_empty(&self) {
        let empty = async || {
            let gauges = self.server.gauges().await;
            gauges.sessions == 0
                && gauges.sockets == 0
                && gauges.rooms == 0
                && gauges.timers == 0
                && gauges.queued_bytes == 0
        };
        let waiting = tokio::time::timeout(PATIENCE, until(empty)).await;
        assert!(
            waiting.is_ok(),
            "something is left: {:?}",
            self.server.gauges().await
        );
    }
}

/// The sockets that connect to a namespace from now on.
pub(crate) fn sockets(namespace: &Namespace) -> UnboundedReceiver<Socket> {
    let (sender, receiver) = unbounded_channel();
    namespace.on_connection(move |socket: Socket| {
        let _ = sender.send(socket);
        std::future::ready(())
    });
    receiver
}

/// A listener on a free port.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Accepted connections inherit them: what fits on the way is then the same on every system.
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 256 << 10).expect("an option");
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, 256 << 10).expect("an option");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

pub(crate) async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.metrics().await;
    let total = format!("sockeye_{name}_total ");
    let gauge = format!("sockeye_{name} ");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&total).or(line.strip_prefix(&gauge)));
    line.unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
        .parse()
        .expect("a number")
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    let done = tokio::time::timeout(PATIENCE, until(condition)).await;
    assert!(done.is_ok(), "never came true: {what}");
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Awaits something that must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"))
}
