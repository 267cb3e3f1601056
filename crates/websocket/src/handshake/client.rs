use super::server::copy_headers;
use super::{KEY, MAX_HEAD, MAX_HEADERS, accept_value, has_token, single, texts, write_headers};
use crate::deflate::{Agreed, DeflateOptions, check_answer, is_token, offer};
use base64::Engine;
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use std::fmt;

/// What a client asks for. The default has no sub-protocol, no compression and no further headers.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Sub-protocols in order of preference.
    pub protocols: Vec<String>,
    /// permessage-deflate, if it is to be offered.
    pub deflate: Option<DeflateOptions>,
    /// Further headers, such as `Origin`, `Cookie` or `Authorization`. Those that belong to the
    /// handshake itself are left out.
    pub headers: HeaderMap,
}

/// A client's handshake in progress.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    request: Vec<u8>,
    accept: String,
    protocols: Vec<String>,
    deflate: Option<DeflateOptions>,
}

/// A server's answer that makes the connection a WebSocket.
#[derive(Clone, Debug)]
pub struct Response {
    /// Length of the answer's head; what follows in the caller's bytes are the first frames.
    pub head_len: usize,
    /// The sub-protocol the server chose.
    pub protocol: Option<String>,
    /// What was agreed on, for [`Reader`](crate::Reader) and
    /// [`Deflater`](crate::deflate::Deflater).
    pub deflate: Option<Agreed>,
    /// All headers.
    pub headers: HeaderMap,
}

impl ClientHandshake {
    /// A request to `host` (with port where it is not the scheme's) for `path` (with query), with
    /// a random key.
    ///
    /// # Errors
    /// [`HandshakeError::is_request`]: a host, path or sub-protocol that cannot be part of a
    /// request, such as a path that does not begin with `/` or contains a line break.
    pub fn new(
        host: &str,
        path: &str,
        options: &ClientOptions,
    ) -> Result<ClientHandshake, HandshakeError> {
        ClientHandshake::with_key(host, path, options, rand::random())
    }

    /// As [`new`](Self::new) with a key of the caller's, which must not be guessable.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_key(
        host: &str,
        path: &str,
        options: &ClientOptions,
        key: [u8; 16],
    ) -> Result<ClientHandshake, HandshakeError> {
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !visible(host) {
            return Err(HandshakeError(Fault::Host));
        }
        if !path.starts_with('/') || !visible(path) || path.contains('#') {
            return Err(HandshakeError(Fault::Path));
        }
        if !options.protocols.iter().all(|protocol| is_token(protocol)) {
            return Err(HandshakeError(Fault::Protocols));
        }
        let key = KEY.encode(key);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\n\
             connection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n"
        );
        if !options.protocols.is_empty() {
            request += &format!(
                "sec-websocket-protocol: {}\r\n",
                options.protocols.join(", ")
            );
        }
        if let Some(deflate) = &options.deflate {
            request += &format!("sec-websocket-extensions: {}\r\n", offer(deflate));
        }
        let mut request = request.into_bytes();
        let mut further = options.headers.clone();
        for name in [
            HOST,
            UPGRADE,
            CONNECTION,
            SEC_WEBSOCKET_VERSION,
            SEC_WEBSOCKET_KEY,
            SEC_WEBSOCKET_PROTOCOL,
            SEC_WEBSOCKET_EXTENSIONS,
        ] {
            further.remove(name);
        }
        write_headers(&mut request, &further);
        Ok(ClientHandshake {
            request,
            accept: accept_value(key.as_bytes()),
            protocols: options.protocols.clone(),
            deflate: options.deflate,
        })
    }

    /// The request to send.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Judges the server's answer (RFC 6455 §4.1) in all bytes that came so far; `None` while its
    /// head is incomplete.
    ///
    /// # Errors
    /// The connection must not be used: see the questions of [`HandshakeError`].
    pub fn response(&mut self, bytes: &[u8]) -> Result<Option<Response>, HandshakeError> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut lines);
        let head_len = match head.parse(&bytes[..bytes.len().min(MAX_HEAD)]) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(HandshakeError(Fault::HeadTooLarge));
            }
            Err(_) => return Err(HandshakeError(Fault::NotHttp)),
        };
        let status = StatusCode::from_u16(head.code.unwrap_or_default())
            .map_err(|_| HandshakeError(Fault::NotHttp))?;
        if status != StatusCode::SWITCHING_PROTOCOLS || head.version != Some(1) {
            return Err(HandshakeError(Fault::Status(status)));
        }
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        copy_headers(head.headers, &mut headers).ok_or(HandshakeError(Fault::NotHttp))?;
        let (protocol, deflate) = self.judge(&headers).map_err(HandshakeError)?;
        Ok(Some(Response {
            head_len,
            protocol,
            deflate,
            headers,
        }))
    }

    fn judge(&self, headers: &HeaderMap) -> Result<(Option<String>, Option<Agreed>), Fault> {
        if !has_token(headers, &UPGRADE, "websocket") {
            return Err(Fault::Upgrade);
        }
        if !has_token(headers, &CONNECTION, "upgrade") {
            return Err(Fault::Connection);
        }
        match single(headers, &SEC_WEBSOCKET_ACCEPT) {
            Ok(Some(accept)) if accept == self.accept.as_bytes() => {}
            _ => return Err(Fault::Accept),
        }
        let protocol = match single(headers, &SEC_WEBSOCKET_PROTOCOL) {
            Ok(None) => None,
            Ok(Some(chosen)) => {
                let offered = self.protocols.iter().find(|p| p.as_bytes() == chosen);
                Some(offered.ok_or(Fault::Protocol)?.clone())
            }
            Err(_) => return Err(Fault::Protocol),
        };
        let values: Option<Vec<&str>> = texts(headers, &SEC_WEBSOCKET_EXTENSIONS).collect();
        let values = values.ok_or(Fault::Extensions)?;
        let deflate = check_answer(values.into_iter(), self.deflate.as_ref())
            .map_err(|_| Fault::Extensions)?;
        Ok((protocol, deflate))
    }
}

/// Why a client's handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeError(Fault);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Host,
    Path,
    Protocols,
    NotHttp,
    HeadTooLarge,
    Status(StatusCode),
    Upgrade,
    Connection,
    Accept,
    Protocol,
    Extensions,
}

impl HandshakeError {
    /// The request could not be made of what the caller gave.
    pub fn is_request(self) -> bool {
        matches!(self.0, Fault::Host | Fault::Path | Fault::Protocols)
    }

    /// The status of a server that answered HTTP but refused or redirected.
    pub fn status(self) -> Option<StatusCode> {
        match self.0 {
            Fault::Status(status) => Some(status),
            _ => None,
        }
    }

    /// The server chose a sub-protocol, extension or parameter that was not offered.
    pub fn is_negotiation(self) -> bool {
        matches!(self.0, Fault::Protocol | Fault::Extensions)
    }

    /// What came is not a WebSocket server's answer.
    pub fn is_protocol(self) -> bool {
        !self.is_request() && !self.is_negotiation() && self.status().is_none()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Fault::Host => "the host cannot be part of a request",
            Fault::Path => "the path must begin with `/` and be visible ASCII without `#`",
            Fault::Protocols => "a sub-protocol is not a token",
            Fault::NotHttp => "the answer is not HTTP",
            Fault::HeadTooLarge => "the answer's head is too large",
            Fault::Status(status) => return write!(f, "the server answered {status}, not 101"),
            Fault::Upgrade => "the answer lacks `Upgrade: websocket`",
            Fault::Connection => "the answer lacks `Connection: Upgrade`",
            Fault::Accept => "Sec-WebSocket-Accept does not belong to our key",
            Fault::Protocol => "the server chose a sub-protocol that was not offered",
            Fault::Extensions => "the server chose an extension that does not fit the offer",
        })
    }
}

impl std::error::Error for HandshakeError {}
