//! Refusals in Node's form: status, type and body.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use sockeye_protocol::engine::ErrorCode;

use crate::http::Answer;

/// The answer to a refused Engine.IO request: JSON with code and message, or for an upgrade 400
/// with the bare message.
pub(crate) fn answer(code: ErrorCode, message: Option<&str>, upgrade: bool) -> Answer {
    let (status, kind, body) = if upgrade {
        let message = message.unwrap_or_else(|| code.message());
        (code.upgrade_status(), "text/html", message.to_owned())
    } else {
        (code.status(), "application/json", code.body(message))
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if upgrade {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

/// The server has as many sessions as it may have, or is closing: come back later.
pub(crate) fn full() -> Answer {
    let body = r#"{"code":4,"message":"Server is full"}"#;
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An answer with a status and nothing else.
pub(crate) fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
