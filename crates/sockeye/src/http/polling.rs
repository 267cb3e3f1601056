//! HTTP long-polling.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use sockeye_core::{Key, PostError};
use sockeye_protocol::engine::{
    CloseReason, Deadline, ErrorCode, PollOutcome, PostOutcome, SessionId, Transport,
};
use tokio::sync::oneshot;

use crate::http::handshake::{HandshakeRequest, SessionSlot, open_session};
use crate::http::{Answer, refusal};
use crate::net::{Connection, PollAnswer, Writer};
use crate::server::{Route, ServerInner};
use crate::worker::Worker;
use crate::worker::answer_poll;

/// Milliseconds by which a wake may be late.
const WAKE_LATENESS: u64 = 3;

/// A session that a request names.
pub(crate) struct Found {
    pub(crate) worker: Arc<Worker>,
    pub(crate) key: Key,
    pub(crate) connection: Arc<Connection>,
    pub(crate) transport: Transport,
}

/// Looks a session up, on the worker its id names.
pub(crate) async fn find(server: &Arc<ServerInner>, id: SessionId) -> Option<Found> {
    if id.node() != server.config.node {
        return None;
    }
    let worker = server.worker_of(&id)?;
    let found = worker.ask(move |shard| {
        let key = shard.find_session(&id)?;
        let session = shard.session(key)?;
        Some((
            key,
            session.io.connection.clone(),
            session.engine().transport(),
        ))
    });
    let (key, connection, transport) = found.await??;
    Some(Found {
        worker,
        key,
        connection,
        transport,
    })
}

/// Opens a session and answers with what waits for it: the open packet.
pub(crate) async fn open(
    server: &Arc<ServerInner>,
    route: &Route,
    request: &Request<()>,
    extra: HeaderMap,
    slot: SessionSlot,
) -> Answer {
    let parts = HandshakeRequest::of(request, Transport::Polling);
    let worker = server.pick_worker();
    let (here, inner, route) = (worker.clone(), server.clone(), route.clone());
    let opened = worker
        .ask_inside(move || {
            let writer = Writer::Polling { poll: None };
            let (key, connection) = open_session(&inner, &here, &route, &parts, writer, slot);
            let payload = here.call(|shard| {
                let _ = shard.poll_opened(key);
                shard.take_payload(key, usize::MAX)
            });
            (payload.unwrap_or_default(), connection.id)
        })
        .await;
    let Some((payload, id)) = opened else {
        return refusal::full();
    };
    let mut answer = text(payload);
    if let Some(cookie) = &server.config.cookie
        && let Some(cookie) = cookie.header(&id.to_string())
    {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    for (name, value) in &extra {
        answer.headers_mut().append(name.clone(), value.clone());
    }
    answer
}

/// A request of a session that exists.
pub(crate) async fn request<B>(
    server: &Arc<ServerInner>,
    request: Request<()>,
    body: B,
    found: Found,
) -> Answer
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    match *request.method() {
        Method::GET => poll(server, request.headers(), found).await,
        Method::POST => post(server, request, body, found).await,
        _ => refusal::bare(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Ends the session if the client goes away while its poll is held.
struct PollGuard(Option<Found>);

impl Drop for PollGuard {
    fn drop(&mut self) {
        let Some(found) = self.0.take() else { return };
        let key = found.key;
        found.worker.submit(move |shard| shard.poll_aborted(key));
    }
}

async fn poll(server: &Arc<ServerInner>, headers: &HeaderMap, found: Found) -> Answer {
    // A deadline that has passed is held against a poll, however late this worker's turn is: the
    // deadline was armed by a wake that may have been late itself.
    let (clock, suspect) = (found.worker.clone(), found.key);
    let judged = found.worker.ask(move |shard| {
        let session = shard.session(suspect);
        if session.is_some_and(|s| s.engine().next_deadline() == Some(Deadline::Pong)) {
            shard.tick(clock.touch() / 1000 + WAKE_LATENESS);
            shard.judge_one(suspect);
        }
    });
    judged.await;
    let (key, worker) = (found.key, found.worker.clone());
    let (sender, receiver) = oneshot::channel();
    // From before the shard is asked: where this session lives elsewhere, the client may be gone
    // by the time the answer comes.
    let mut guard = PollGuard(Some(found));
    let outcome = worker.ask(move |shard| {
        let outcome = shard.poll_opened(key);
        if outcome == PollOutcome::Accepted {
            if let Some(session) = shard.session_mut(key)
                && let Writer::Polling { poll } = &mut session.io.writer
            {
                *poll = Some(sender);
            }
            answer_poll(shard, key);
        }
        outcome
    });
    let outcome = outcome.await.unwrap_or(PollOutcome::Closed);
    if outcome != PollOutcome::Accepted {
        guard.0 = None;
    }
    match outcome {
        PollOutcome::Accepted => {}
        PollOutcome::Refused(code) => return refusal::answer(code, None, false),
        PollOutcome::Overlap(_) => return refusal::bare(StatusCode::BAD_REQUEST),
        PollOutcome::Closed => return refusal::answer(ErrorCode::SessionIdUnknown, None, false),
    }
    let answer = receiver.await.unwrap_or(PollAnswer::Closed);
    guard.0 = None;
    let (payload, compress) = match answer {
        PollAnswer::Payload(payload, compress) => (payload, compress),
        PollAnswer::Closed => (b"1".to_vec(), false),
    };
    let threshold = server.config.http_compression.filter(|_| compress);
    let (payload, coding) = super::compress::compress(headers, threshold, payload);
    let mut answer = text(payload);
    if let Some(coding) = coding {
        answer
            .headers_mut()
            .insert(header::CONTENT_ENCODING, coding);
        let vary = HeaderValue::from_static("Accept-Encoding");
        answer.headers_mut().append(header::VARY, vary);
    }
    answer
}

/// Gives a POST up if it is not completed.
struct PostGuard(Option<(Arc<Worker>, Key)>);

impl Drop for PostGuard {
    fn drop(&mut self) {
        let Some((worker, key)) = self.0.take() else {
            return;
        };
        worker.submit(move |shard| shard.post_aborted(key));
    }
}

async fn post<B>(server: &Arc<ServerInner>, request: Request<()>, body: B, found: Found) -> Answer
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    let Found {
        worker,
        key,
        connection,
        ..
    } = found;
    let (parts, ()) = request.into_parts();
    let octets = parts.headers.get(header::CONTENT_TYPE);
    if octets.is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream")) {
        let why = "binary polling body on protocol 4";
        let end = worker.ask(move |s| s.close_now(key, CloseReason::TransportError, why));
        end.await;
        return refusal::bare(StatusCode::BAD_REQUEST);
    }
    let mut guard = PostGuard(Some((worker.clone(), key)));
    let started = worker.ask(move |shard| shard.post_started(key)).await;
    if started != Some(PostOutcome::Accepted) {
        guard.0 = None;
    }
    match started {
        Some(PostOutcome::Accepted) => {}
        Some(PostOutcome::Refused(code)) => return refusal::answer(code, None, false),
        Some(PostOutcome::Overlap(_)) => return refusal::bare(StatusCode::BAD_REQUEST),
        Some(PostOutcome::Closed) | None => {
            return refusal::answer(ErrorCode::SessionIdUnknown, None, false);
        }
    }
    let limit = server.config.core.max_payload;
    let reading = tokio::time::timeout(server.config.body_timeout, read_body(body, limit));
    let body = match reading.await {
        Ok(Ok(body)) => body,
        Ok(Err(Unreadable::TooLarge)) => {
            server.metrics.body_too_large.add(1);
            guard.0 = None;
            worker.ask(move |shard| shard.post_refused(key)).await;
            return close_after(StatusCode::PAYLOAD_TOO_LARGE);
        }
        Ok(Err(Unreadable::Broken)) => return close_after(StatusCode::BAD_REQUEST),
        Err(_) => return close_after(StatusCode::REQUEST_TIMEOUT),
    };
    guard.0 = None;
    let (here, inner, headers) = (worker.clone(), server.clone(), parts.headers);
    let taken = worker.ask_inside(move || {
        let taken = here.call(|shard| {
            let raw = shard
                .session_mut(key)
                .and_then(|session| session.io.raw.as_mut());
            if let Some(raw) = raw {
                raw.request = Some(Arc::new(headers));
            }
            let taken = shard.post(key, &body);
            let session = shard.session_mut(key);
            (taken, session.is_some_and(|session| session.is_paused()))
        });
        here.pump(&inner);
        here.call(|shard| {
            if let Some(raw) = shard.session_mut(key).and_then(|s| s.io.raw.as_mut()) {
                raw.request = None;
            }
        });
        taken
    });
    let (taken, paused) = taken.await.unwrap_or((Err(PostError::Gone), false));
    match taken {
        Ok(()) => {}
        Err(PostError::Gone) => return refusal::answer(ErrorCode::SessionIdUnknown, None, false),
        Err(PostError::Refused) => return refusal::answer(ErrorCode::BadRequest, None, false),
    }
    if paused {
        wait_until_read(&worker, key, &connection).await;
    }
    let mut answer = Response::new(Full::new(Bytes::from_static(b"ok")));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    answer
}

/// Back-pressure on polling: a POST is not answered while its socket's handlers are behind.
async fn wait_until_read(worker: &Arc<Worker>, key: Key, connection: &Arc<Connection>) {
    loop {
        let room = connection.room.notified();
        tokio::pin!(room);
        room.as_mut().enable();
        let paused = worker.ask(move |shard| shard.session(key).is_some_and(|s| s.is_paused()));
        if !paused.await.unwrap_or(false) {
            return;
        }
        room.await;
    }
}

enum Unreadable {
    TooLarge,
    Broken,
}

/// Reads a body of at most `limit` bytes; memory grows with what comes.
async fn read_body<B>(mut body: B, limit: usize) -> Result<Vec<u8>, Unreadable>
where
    B: Body + Unpin,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Unreadable::TooLarge);
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Unreadable::Broken);
        };
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if read.len() + data.remaining() > limit {
            return Err(Unreadable::TooLarge);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok(read)
}

fn close_after(status: StatusCode) -> Answer {
    let mut answer = refusal::bare(status);
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn text(payload: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(payload)));
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=UTF-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
