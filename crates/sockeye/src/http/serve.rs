//! Serving by ourselves: each worker accepts on the same listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::{handle, not_found};
use crate::server::ServerInner;
use crate::worker::Worker;

/// How long to wait when there are no descriptors left; doubled up to a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Connections that may wait to be accepted, as far as the system allows. What finds no room is
/// tried again by its client after a second: a herd would come back in seconds instead of at once.
const BACKLOG: i32 = 4096;
/// Bytes of a request's head, and of what is read ahead.
const MAX_HEAD: usize = 32 << 10;

/// Who is on the other side. Hosts that mount the service put it into a request's extensions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PeerAddress {
    /// The peer's address.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted up to us.
    pub secure: bool,
}

/// Accepts until the server is closed.
pub(crate) async fn serve(
    server: &Arc<ServerInner>,
    listener: std::net::TcpListener,
) -> io::Result<()> {
    run(
        server,
        listener,
        |server, worker, stream, peer, permit| async move {
            let peer = PeerAddress {
                address: Some(peer),
                secure: false,
            };
            connection(server, worker, stream, peer, permit).await;
        },
    )
    .await
}

/// Accepts behind TLS until the server is closed.
#[cfg(feature = "tls")]
pub(crate) async fn serve_tls(
    server: &Arc<ServerInner>,
    listener: std::net::TcpListener,
    mut config: tokio_rustls::rustls::ServerConfig,
) -> io::Result<()> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    run(
        server,
        listener,
        move |server, worker, stream, peer, permit| {
            let acceptor = acceptor.clone();
            async move {
                let wait = server.config.header_timeout;
                let Ok(Ok(stream)) = tokio::time::timeout(wait, acceptor.accept(stream)).await
                else {
                    return;
                };
                let peer = PeerAddress {
                    address: Some(peer),
                    secure: true,
                };
                connection(server, worker, stream, peer, permit).await;
            }
        },
    )
    .await
}

async fn run<F, Fut>(
    server: &Arc<ServerInner>,
    listener: std::net::TcpListener,
    each: F,
) -> io::Result<()>
where
    F: Fn(Arc<ServerInner>, Arc<Worker>, TcpStream, SocketAddr, OwnedSemaphorePermit) -> Fut
        + Clone
        + Send
        + Sync
        + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    // Asked for again, only the backlog changes.
    rustix::net::listen(&listener, BACKLOG)?;
    let mut ends = Vec::new();
    for worker in server.workers() {
        let listener = listener.try_clone()?;
        let (sender, end) = tokio::sync::oneshot::channel();
        let (inner, here, each) = (server.clone(), worker.clone(), each.clone());
        worker.spawn(async move {
            let result = match TcpListener::from_std(listener) {
                Ok(listener) => {
                    accept(&inner, &here, listener, each).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            let _ = sender.send(result);
        });
        ends.push(end);
    }
    drop(listener);
    for end in ends {
        end.await.unwrap_or(Ok(()))?;
    }
    Ok(())
}

async fn accept<F, Fut>(
    server: &Arc<ServerInner>,
    worker: &Arc<Worker>,
    listener: TcpListener,
    each: F,
) where
    F: Fn(Arc<ServerInner>, Arc<Worker>, TcpStream, SocketAddr, OwnedSemaphorePermit) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let handshakes = Arc::new(Semaphore::new(server.config.max_handshakes));
    let mut pause = ACCEPT_PAUSE;
    loop {
        let stopped = server.stop.notified();
        tokio::pin!(stopped);
        stopped.as_mut().enable();
        if server.is_closing() {
            return;
        }
        let next = async {
            // The permit is there while the semaphore is: nobody closes it.
            let permit = handshakes.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = next => accepted,
        };
        match accepted {
            Some((permit, Ok((stream, peer)))) => {
                pause = ACCEPT_PAUSE;
                let _ = stream.set_nodelay(true);
                worker.spawn(each(server.clone(), worker.clone(), stream, peer, permit));
            }
            Some((_, Err(error))) => {
                // A connection that was reset before it was accepted is nobody's loss; want of
                // descriptors (EMFILE) passes when others close.
                if is_transient(&error) {
                    continue;
                }
                server.metrics.accept_errors.add(1);
                tracing::warn!(%error, "a connection could not be accepted; waiting a little");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            None => return,
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Serves one connection's requests, until it ends or becomes a WebSocket.
async fn connection<S>(
    server: Arc<ServerInner>,
    _worker: Arc<Worker>,
    stream: S,
    peer: PeerAddress,
    permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let inner = server.clone();
    // The place among the handshakes is given back with the first request's head.
    let permit = std::cell::Cell::new(Some(permit));
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        drop(permit.take());
        let server = inner.clone();
        request.extensions_mut().insert(peer);
        Box::pin(async move {
            let answer = match handle(server.clone(), request).await {
                Ok(answer) => answer,
                Err(request) => not_found(&server, request.map(|_| ())).await,
            };
            Ok::<_, std::convert::Infallible>(answer)
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.config.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = Box::pin(connection);
    let stopped = server.stop.notified();
    tokio::pin!(stopped);
    stopped.as_mut().enable();
    let outcome = if server.is_closing() {
        connection.as_mut().graceful_shutdown();
        connection.await
    } else {
        tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stopped => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an HTTP connection ended with an error");
    }
}
