//! The HTTP side: requests to sessions, sockets and routes.

mod compress;
mod cookie;
mod cors;
mod handshake;
mod polling;
mod query;
mod refusal;
mod serve;
mod service;
mod upgrade;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use sockeye_protocol::engine::{ErrorCode, ErrorContext, SessionId, Transport};

use crate::server::{Route, ServerInner};
use query::EngineQuery;

pub use cookie::{Cookie, SameSite};
pub use cors::{Cors, Origins};
pub use handshake::{EngineRequest, HandshakeRequest, HandshakeResponse, Refusal, RefusedRequest};
pub(crate) use handshake::{HandshakeHook, RequestHook};
pub use serve::PeerAddress;
pub(crate) use serve::serve;
#[cfg(feature = "tls")]
pub(crate) use serve::serve_tls;
pub use service::{SockeyeLayer, SockeyeService};

/// What every answer of ours is made of.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers one request, or gives it back when no endpoint takes it.
pub(crate) async fn handle<B>(
    server: Arc<ServerInner>,
    request: Request<B>,
) -> Result<Answer, Request<B>>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    let Some(route) = server.find_route(request.uri().path()) else {
        return Err(request);
    };
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    if let Route::WebSocket(handler, options) = &route {
        return Ok(upgrade::plain(
            server.clone(),
            request,
            handler.clone(),
            options.clone(),
        ));
    }
    let cors = match &server.config.cors {
        Some(cors) => cors.judge(&server, &request).await,
        None => cors::Verdict::default(),
    };
    if cors.is_refused() {
        server.metrics.origins_refused.add(1);
    }
    if cors.is_refused() && server.config.cors.as_ref().is_some_and(Cors::is_enforced) {
        tracing::debug!("request refused: its origin is not allowed");
        return Ok(refusal::answer(
            ErrorCode::Forbidden,
            None,
            is_upgrade(&request),
        ));
    }
    if cors.is_preflight() && request.method() == Method::OPTIONS {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        answer
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        cors.apply(answer.headers_mut());
        return Ok(answer);
    }
    let mut answer = match handshake::admit(&server, &request).await {
        Ok(extra) => {
            let mut answer = engine(&server, &route, request, body).await;
            for (name, value) in &extra {
                answer.headers_mut().append(name.clone(), value.clone());
            }
            answer
        }
        Err(refused) => {
            let (code, upgrade) = (ErrorCode::BadRequest, is_upgrade(&request));
            let context = Some(ErrorContext::MiddlewareFailure.as_str());
            server.request_refused(code, refused.message(), context, &request);
            refusal::answer(code, None, upgrade)
        }
    };
    cors.apply(answer.headers_mut());
    Ok(answer)
}

/// Answers a request that nobody takes.
pub(crate) async fn not_found(server: &Arc<ServerInner>, request: Request<()>) -> Answer {
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let mut answer = match server.find_fallback() {
        Some(fallback) if !upgrade => fallback(request).await.map(Full::new),
        _ => {
            let mut answer = Response::new(Full::new(Bytes::from_static(b"not found")));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
    };
    if upgrade {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

/// An Engine.IO request: checked in Node's order, then handed on.
async fn engine<B>(
    server: &Arc<ServerInner>,
    route: &Route,
    request: Request<()>,
    body: B,
) -> Answer
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
{
    let upgrade = is_upgrade(&request);
    let refuse = |code: ErrorCode, context: Option<ErrorContext>| {
        let context = context.map(ErrorContext::as_str);
        server.request_refused(code, code.message(), context, &request);
        refusal::answer(code, None, upgrade)
    };
    let query = EngineQuery::parse(request.uri());
    let transport = query
        .transport
        .filter(|t| server.config.transports.contains(t));
    let Some(transport) = transport else {
        return refuse(ErrorCode::TransportUnknown, None);
    };
    if let Some(origin) = request.headers().get(header::ORIGIN)
        && origin
            .as_bytes()
            .iter()
            .any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f)
    {
        return refuse(ErrorCode::BadRequest, Some(ErrorContext::InvalidOrigin));
    }
    if let Some(sid) = &query.sid {
        let Ok(id) = SessionId::parse(sid) else {
            return refuse(ErrorCode::SessionIdUnknown, None);
        };
        let Some(found) = polling::find(server, id).await else {
            return refuse(ErrorCode::SessionIdUnknown, None);
        };
        if upgrade {
            if transport != Transport::WebSocket {
                return refuse(ErrorCode::BadRequest, Some(ErrorContext::TransportMismatch));
            }
            return upgrade::probe(server.clone(), request, found);
        }
        if found.transport != transport {
            return refuse(ErrorCode::BadRequest, Some(ErrorContext::TransportMismatch));
        }
        if query.version != Some(4) {
            return refuse(ErrorCode::UnsupportedProtocolVersion, None);
        }
        return polling::request(server, request, body, found).await;
    }
    if request.method() != Method::GET {
        return refuse(ErrorCode::BadHandshakeMethod, None);
    }
    if (transport == Transport::WebSocket) != upgrade {
        return refuse(
            ErrorCode::BadRequest,
            Some(ErrorContext::TransportHandshakeError),
        );
    }
    if query.version != Some(4) {
        return refuse(ErrorCode::UnsupportedProtocolVersion, None);
    }
    let parts = HandshakeRequest::of(&request, transport);
    let extra = match handshake::decide(server, &parts).await {
        Ok(extra) => extra,
        Err(refusal) => {
            server.request_refused(ErrorCode::Forbidden, refusal.message(), None, &request);
            return refusal::answer(ErrorCode::Forbidden, Some(refusal.message()), upgrade);
        }
    };
    let Some(slot) = handshake::SessionSlot::take(server) else {
        server.metrics.connections_refused.add(1);
        return refusal::full();
    };
    if upgrade {
        return upgrade::open(server.clone(), route, request, extra, slot);
    }
    polling::open(server, route, &request, extra, slot).await
}

pub(crate) fn is_upgrade(request: &Request<()>) -> bool {
    let upgrade = request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}
