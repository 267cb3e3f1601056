//! WebSocket upgrades: the answer, and getting the raw stream back from the HTTP layer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sockeye_core::Key;
use sockeye_protocol::engine::{ErrorCode, Transport};
use sockeye_websocket::deflate::{Agreed, DeflateOptions};
use sockeye_websocket::handshake::{AcceptOptions, Accepted, accept};
use tokio::net::TcpStream;

use crate::deflate::Outgoing;
use crate::http::handshake::{HandshakeRequest, SessionSlot, guarded, open_session};
use crate::http::polling::Found;
use crate::http::{Answer, refusal};
use crate::net::Writer;
use crate::server::{Route, ServerInner};
use crate::websocket::{WebSocket, WebSocketOptions};
use crate::worker::{Link, WebSocketTask, Whole, Worker};

type Handler = Arc<dyn Fn(WebSocket) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Validates an upgrade request.
fn negotiate(
    request: &Request<()>,
    protocols: Vec<String>,
    deflate: Option<DeflateOptions>,
) -> Result<Accepted, Box<Answer>> {
    let options = AcceptOptions { protocols, deflate };
    accept(
        request.method(),
        request.version(),
        request.headers(),
        &options,
    )
    .map_err(|fault| {
        let mut answer = Response::new(Full::new(fault.to_string().into()));
        *answer.status_mut() = fault.status();
        for (name, value) in &fault.headers() {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
        let close = http::HeaderValue::from_static("close");
        answer.headers_mut().insert(http::header::CONNECTION, close);
        Box::new(answer)
    })
}

/// The answer that switches protocols.
fn switching(accepted: &Accepted, extra: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    accepted.insert_headers(answer.headers_mut());
    for (name, value) in extra {
        answer.headers_mut().append(name.clone(), value.clone());
    }
    answer
}

/// Opens a session on a WebSocket.
pub(crate) fn open(
    server: Arc<ServerInner>,
    route: &Route,
    mut request: Request<()>,
    extra: HeaderMap,
    slot: SessionSlot,
) -> Answer {
    let accepted = match negotiate(&request, Vec::new(), server.config.deflate) {
        Ok(accepted) => accepted,
        Err(answer) => return *answer,
    };
    let answer = switching(&accepted, &extra);
    let parts = HandshakeRequest::of(&request, Transport::WebSocket);
    let (route, agreed) = (route.clone(), accepted.deflate());
    take_back(
        server.clone(),
        &mut request,
        move |worker, stream, early| {
            carry(
                &server, &worker, &route, &parts, slot, agreed, stream, early,
            );
        },
    );
    answer
}

/// Lets a WebSocket probe a session that is on polling.
pub(crate) fn probe(server: Arc<ServerInner>, mut request: Request<()>, found: Found) -> Answer {
    let accepted = match negotiate(&request, Vec::new(), server.config.deflate) {
        Ok(accepted) => accepted,
        Err(answer) => return *answer,
    };
    if !server.config.allow_upgrades {
        return refusal::answer(ErrorCode::BadRequest, None, true);
    }
    let answer = switching(&accepted, &HeaderMap::new());
    let agreed = accepted.deflate();
    let Found { worker, key, .. } = found;
    let upgrade = hyper::upgrade::on(&mut request);
    let (inner, local) = (server.clone(), worker.is_here());
    worker.clone().spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        match raw_stream(upgraded, &inner, local) {
            Ok((stream, early)) => {
                let Some((link, read)) = split(stream) else {
                    return;
                };
                let task =
                    WebSocketTask::probe(worker.clone(), inner, link.clone(), read, key, agreed);
                begin_probe(&worker, key, &link);
                start(&worker, task, early);
            }
            Err(None) => {}
            Err(Some(stream)) => {
                let link = Arc::new(Link::new(None));
                let task = WebSocketTask::probe(
                    worker.clone(),
                    inner,
                    link.clone(),
                    Whole(stream),
                    key,
                    agreed,
                );
                begin_probe(&worker, key, &link);
                start(&worker, task, Vec::new());
            }
        }
    });
    answer
}

fn start<S: crate::worker::Stream>(worker: &Arc<Worker>, task: WebSocketTask<S>, early: Vec<u8>) {
    worker.spawn(task.with_early(early));
}

/// Asks whether a WebSocket may probe, and makes it known to its session.
fn begin_probe(worker: &Arc<Worker>, key: Key, link: &Arc<Link>) {
    let may = worker.call(|shard| {
        let may = shard.probe_opened(key);
        if may && let Some(session) = shard.session_mut(key) {
            session.io.probe = Some(link.clone());
        }
        may
    });
    if !may {
        link.close(sockeye_websocket::close_code::NO_STATUS);
    }
}

/// A plain WebSocket, for the application.
pub(crate) fn plain(
    server: Arc<ServerInner>,
    mut request: Request<()>,
    handler: Handler,
    options: Arc<WebSocketOptions>,
) -> Answer {
    let accepted = match negotiate(&request, options.protocols.clone(), options.deflate) {
        Ok(accepted) => accepted,
        Err(answer) => return *answer,
    };
    let Some(slot) = SessionSlot::take(&server) else {
        server.metrics.connections_refused.add(1);
        return refusal::full();
    };
    let answer = switching(&accepted, &HeaderMap::new());
    let handshake = HandshakeRequest::of(&request, Transport::WebSocket);
    let (agreed, protocol) = (accepted.deflate(), accepted.protocol().map(str::to_owned));
    let inner = server.clone();
    take_back(server, &mut request, move |worker, stream, early| {
        let mut socket = WebSocket::new(inner.clone(), stream.boxed(), agreed, &options, handshake);
        socket.begin(early, protocol);
        worker.spawn(guarded(inner, "a WebSocket handler", async move {
            let _slot = slot;
            handler(socket).await;
        }));
    });
    answer
}

/// A stream that was taken back, or could not be.
pub(crate) enum Taken {
    Tcp(TcpStream),
    Other(TokioIo<Upgraded>),
}

impl Taken {
    fn boxed(self) -> Box<dyn crate::websocket::Duplex> {
        match self {
            Taken::Tcp(stream) => Box::new(stream),
            Taken::Other(stream) => Box::new(stream),
        }
    }
}

/// Waits for the upgrade and hands the raw stream to a worker.
fn take_back(
    server: Arc<ServerInner>,
    request: &mut Request<()>,
    then: impl FnOnce(Arc<Worker>, Taken, Vec<u8>) + Send + 'static,
) {
    let upgrade = hyper::upgrade::on(request);
    let worker = server.pick_worker();
    let local = worker.is_here();
    worker.clone().spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        match raw_stream(upgraded, &server, local) {
            Ok((stream, early)) => then(worker, Taken::Tcp(stream), early),
            Err(Some(stream)) => then(worker, Taken::Other(stream), Vec::new()),
            Err(None) => {}
        }
    });
}

/// The TCP stream below an upgraded connection, registered with this runtime (it is already, if
/// it is `local`), and what was read ahead of it; or the connection as it is.
fn raw_stream(
    upgraded: Upgraded,
    server: &Arc<ServerInner>,
    local: bool,
) -> Result<(TcpStream, Vec<u8>), Option<TokioIo<Upgraded>>> {
    let parts = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf.to_vec())),
        Err(upgraded) => {
            hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)
                .map(|parts| (parts.io.into_inner(), parts.read_buf.to_vec()))
        }
    };
    let (stream, early) = match parts {
        Ok(parts) => parts,
        Err(upgraded) => {
            server.metrics.driven_as_is.add(1);
            return Err(Some(TokioIo::new(upgraded)));
        }
    };
    if local {
        return Ok((stream, early));
    }
    // It was accepted by another runtime: its readiness is told there.
    match stream.into_std().and_then(TcpStream::from_std) {
        Ok(stream) => Ok((stream, early)),
        Err(error) => {
            tracing::error!(%error, "an upgraded connection could not be moved to its worker");
            Err(None)
        }
    }
}

fn split(stream: TcpStream) -> Option<(Arc<Link>, tokio::net::tcp::OwnedReadHalf)> {
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    Some((Arc::new(Link::new(Some(write))), read))
}

#[expect(clippy::too_many_arguments, reason = "what a session is made of")]
fn carry(
    server: &Arc<ServerInner>,
    worker: &Arc<Worker>,
    route: &Route,
    request: &HandshakeRequest,
    slot: SessionSlot,
    agreed: Option<Agreed>,
    stream: Taken,
    early: Vec<u8>,
) {
    let options = server.config.deflate.as_ref();
    let deflate = agreed.zip(options).map(|(agreed, options)| {
        Box::new(Outgoing::new(agreed, options, server.deflate_gate.clone()))
    });
    match stream {
        Taken::Tcp(stream) => {
            let Some((link, read)) = split(stream) else {
                return;
            };
            let writer = Writer::WebSocket {
                link: link.clone(),
                deflate,
            };
            let (key, _) = open_session(server, worker, route, request, writer, slot);
            let (inner, here) = (server.clone(), worker.clone());
            let task = WebSocketTask::carrier(here, inner, link.clone(), read, key, agreed);
            start(worker, task, early);
        }
        Taken::Other(stream) => {
            let link = Arc::new(Link::new(None));
            let writer = Writer::WebSocket {
                link: link.clone(),
                deflate,
            };
            let (key, _) = open_session(server, worker, route, request, writer, slot);
            let (inner, here) = (server.clone(), worker.clone());
            let task =
                WebSocketTask::carrier(here, inner, link.clone(), Whole(stream), key, agreed);
            start(worker, task, early);
        }
    }
}
