use super::write_headers;
use http::header::{ALLOW, CONNECTION, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::fmt;

/// Why a request does not become a WebSocket. `Display` says what was wrong and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not an HTTP request (400).
    MalformedRequest,
    /// The head exceeds [`MAX_HEAD`](super::MAX_HEAD) or [`MAX_HEADERS`](super::MAX_HEADERS) (431).
    HeadTooLarge,
    /// The method is not `GET` (405).
    MethodNotGet,
    /// The version is not HTTP/1.1 (400).
    HttpVersion,
    /// No `Host` header (400).
    MissingHost,
    /// A plain HTTP request: no `Upgrade: websocket` (426).
    NotAnUpgrade,
    /// `Connection` does not name `Upgrade` (400).
    ConnectionNotUpgrade,
    /// `Sec-WebSocket-Version` is missing (400).
    MissingVersion,
    /// `Sec-WebSocket-Version` is not 13 (426).
    UnsupportedVersion,
    /// `Sec-WebSocket-Key` is missing (400).
    MissingKey,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64, or appears twice (400).
    InvalidKey,
    /// `Sec-WebSocket-Protocol` is not a list of tokens (400).
    MalformedProtocols,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (400).
    MalformedExtensions,
}

impl Refusal {
    /// The status to answer with.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::MethodNotGet => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::NotAnUpgrade | Refusal::UnsupportedVersion => StatusCode::UPGRADE_REQUIRED,
            Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The headers to answer with: what the server wants instead.
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Refusal::MethodNotGet => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            // RFC 6455 §4.4, and RFC 9110 §15.5.22 for the other two.
            Refusal::NotAnUpgrade | Refusal::UnsupportedVersion => {
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            }
            Refusal::MissingVersion => {
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        headers
    }

    /// Appends the whole answer with the explanation as its body, for a server that writes HTTP
    /// by itself. The connection is closed after it.
    pub fn write_response(self, buf: &mut Vec<u8>) {
        let (status, body) = (self.status(), format!("{self}\n"));
        let reason = status.canonical_reason().unwrap_or_default();
        buf.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
        let mut headers = self.headers();
        headers.append(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain"),
        );
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        write_headers(buf, &headers);
        buf.extend_from_slice(body.as_bytes());
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::MalformedRequest => "not an HTTP/1.1 request",
            Refusal::HeadTooLarge => "request head too large: send fewer or shorter headers",
            Refusal::MethodNotGet => "a WebSocket handshake is a GET request",
            Refusal::HttpVersion => "a WebSocket handshake needs HTTP/1.1",
            Refusal::MissingHost => "the Host header is missing",
            Refusal::NotAnUpgrade => {
                "this address speaks WebSocket: connect with a WebSocket client; if you did, a \
                 proxy in between removes `Upgrade: websocket`"
            }
            Refusal::ConnectionNotUpgrade => {
                "`Connection: Upgrade` is missing: a proxy in between has to pass it on"
            }
            Refusal::MissingVersion => "`Sec-WebSocket-Version: 13` is missing",
            Refusal::UnsupportedVersion => "this server speaks WebSocket version 13 only",
            Refusal::MissingKey => "the Sec-WebSocket-Key header is missing",
            Refusal::InvalidKey => "Sec-WebSocket-Key must be one value of 16 bytes in base64",
            Refusal::MalformedProtocols => "Sec-WebSocket-Protocol must be a list of tokens",
            Refusal::MalformedExtensions => "Sec-WebSocket-Extensions does not follow RFC 6455",
        })
    }
}

impl std::error::Error for Refusal {}
