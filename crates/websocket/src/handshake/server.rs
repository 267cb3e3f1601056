use super::{
    MAX_HEAD, MAX_HEADERS, Refusal, accept_value, has_token, is_key, single, texts, write_headers,
};
use crate::deflate::{Agreed, DeflateOptions, is_token, negotiate};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};

/// What a server offers to those who connect. The default has no sub-protocol and no compression.
#[derive(Clone, Debug, Default)]
pub struct AcceptOptions {
    /// Sub-protocols the server speaks. The first that the client names is chosen; when it names
    /// none of them the answer names none either, and a caller that needs one looks at
    /// [`Accepted::protocol`].
    pub protocols: Vec<String>,
    /// permessage-deflate, if the server speaks it.
    pub deflate: Option<DeflateOptions>,
}

/// A request that may become a WebSocket.
#[derive(Clone, Debug)]
pub struct Accepted {
    accept: HeaderValue,
    protocol: Option<HeaderValue>,
    extension: Option<HeaderValue>,
    deflate: Option<Agreed>,
}

/// Judges a request (RFC 6455 §4.2.1) and chooses sub-protocol and extension (§4.2.2). Origins
/// are the caller's to judge.
///
/// # Errors
/// The first fault, with the status and the headers to refuse with.
pub fn accept(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    options: &AcceptOptions,
) -> Result<Accepted, Refusal> {
    if method != Method::GET {
        return Err(Refusal::MethodNotGet);
    }
    if version != Version::HTTP_11 {
        return Err(Refusal::HttpVersion);
    }
    if !headers.contains_key(HOST) {
        return Err(Refusal::MissingHost);
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(Refusal::NotAnUpgrade);
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(Refusal::ConnectionNotUpgrade);
    }
    match single(headers, &SEC_WEBSOCKET_VERSION) {
        Ok(Some(b"13")) => {}
        Ok(None) => return Err(Refusal::MissingVersion),
        _ => return Err(Refusal::UnsupportedVersion),
    }
    let key = match single(headers, &SEC_WEBSOCKET_KEY) {
        Ok(Some(key)) if is_key(key) => key,
        Ok(None) => return Err(Refusal::MissingKey),
        _ => return Err(Refusal::InvalidKey),
    };
    let protocol = choose_protocol(headers, &options.protocols)?;
    let extensions: Option<Vec<&str>> = texts(headers, &SEC_WEBSOCKET_EXTENSIONS).collect();
    let extensions = extensions.ok_or(Refusal::MalformedExtensions)?;
    let chosen = negotiate(extensions.into_iter(), options.deflate.as_ref())
        .map_err(|_| Refusal::MalformedExtensions)?;
    let (deflate, extension) = chosen.unzip();
    Ok(Accepted {
        accept: header_value(&accept_value(key)),
        protocol: protocol.map(header_value),
        extension: extension.as_deref().map(header_value),
        deflate,
    })
}

impl Accepted {
    /// The sub-protocol chosen, one of [`AcceptOptions::protocols`].
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_ref().and_then(|value| value.to_str().ok())
    }

    /// What [`Reader`](crate::Reader) and [`Deflater`](crate::deflate::Deflater) need to know.
    pub fn deflate(&self) -> Option<Agreed> {
        self.deflate
    }

    /// The headers of the answer, whose status is 101.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(5);
        self.insert_headers(&mut headers);
        headers
    }

    /// Puts the headers of the answer into `headers`.
    pub fn insert_headers(&self, headers: &mut HeaderMap) {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(protocol) = &self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        if let Some(extension) = &self.extension {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extension.clone());
        }
    }

    /// Appends the whole answer, for a server that writes HTTP by itself.
    pub fn write_response(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        write_headers(buf, &self.headers());
    }
}

/// Reads a request's head from raw bytes: the request and the length of its head, or `None` while
/// it is incomplete (call again with more; what follows the head are the first frames).
///
/// # Errors
/// Bytes that are no HTTP/1.x request, and heads beyond [`MAX_HEAD`] or [`MAX_HEADERS`].
pub fn read_request(bytes: &[u8]) -> Result<Option<(Request<()>, usize)>, Refusal> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut lines);
    let len = match head.parse(&bytes[..bytes.len().min(MAX_HEAD)]) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::HeadTooLarge);
        }
        Err(_) => return Err(Refusal::MalformedRequest),
    };
    let version = if head.version == Some(1) {
        Version::HTTP_11
    } else {
        Version::HTTP_10
    };
    let builder = Request::builder()
        .method(head.method.unwrap_or_default())
        .uri(head.path.unwrap_or_default())
        .version(version);
    let mut request = builder.body(()).map_err(|_| Refusal::MalformedRequest)?;
    copy_headers(head.headers, request.headers_mut()).ok_or(Refusal::MalformedRequest)?;
    Ok(Some((request, len)))
}

/// Moves parsed lines into a map; `None` when one is not a header.
pub(super) fn copy_headers(lines: &[httparse::Header<'_>], into: &mut HeaderMap) -> Option<()> {
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(line.value).ok()?;
        into.append(name, value);
    }
    Some(())
}

/// The first sub-protocol of the client's list that the server speaks.
fn choose_protocol<'o>(
    headers: &HeaderMap,
    spoken: &'o [String],
) -> Result<Option<&'o str>, Refusal> {
    let mut chosen = None;
    for value in texts(headers, &SEC_WEBSOCKET_PROTOCOL) {
        let value = value.ok_or(Refusal::MalformedProtocols)?;
        for name in value.split(',').map(|name| name.trim_matches([' ', '\t'])) {
            if !is_token(name) {
                return Err(Refusal::MalformedProtocols);
            }
            if chosen.is_none() {
                chosen = spoken.iter().find(|spoken| *spoken == name);
            }
        }
    }
    Ok(chosen.map(String::as_str))
}

/// From text that is made of tokens and separators, or base64.
fn header_value(text: &str) -> HeaderValue {
    // Visible ASCII always makes a value; the empty one is never used.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
