//! The opening handshake (RFC 6455 §4): an HTTP/1.1 upgrade.
//!
//! A server that has parsed the request by itself, or whose HTTP library has, asks [`accept`];
//! one that reads raw bytes uses [`read_request`] before. A client uses [`ClientHandshake`].
//! Bytes that came behind a head stay with the caller: they are the first frames.
//!
//! ```
//! use sockeye_websocket::handshake::{self, AcceptOptions, ClientHandshake, ClientOptions};
//!
//! let mut client = ClientHandshake::new("example.com", "/chat", &ClientOptions::default())?;
//!
//! let (request, len) = handshake::read_request(client.request())?.expect("it is complete");
//! assert_eq!(len, client.request().len());
//! let accepted = handshake::accept(
//!     request.method(),
//!     request.version(),
//!     request.headers(),
//!     &AcceptOptions::default(),
//! )?;
//! let mut answer = Vec::new();
//! accepted.write_response(&mut answer);
//! answer.extend_from_slice(b"\x81\x02hi"); // a frame in the same segment
//!
//! let response = client.response(&answer)?.expect("it is complete");
//! assert_eq!(&answer[response.head_len..], b"\x81\x02hi");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod refusal;
mod server;

pub use client::{ClientHandshake, ClientOptions, HandshakeError, Response};
pub use refusal::Refusal;
pub use server::{AcceptOptions, Accepted, accept, read_request};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName};
use sha1::{Digest, Sha1};

/// Largest head, in bytes, that [`read_request`] and [`ClientHandshake::response`] take.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most header lines that they take.
pub const MAX_HEADERS: usize = 100;

/// Keys are compared by length only after decoding, so stray bits in the last digit do not matter.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
fn accept_value(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    KEY.encode(hash.finalize())
}

/// Whether `key` is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let mut bytes = [0; 18];
    key.len() == 24 && KEY.decode_slice(key, &mut bytes) == Ok(16)
}

/// Whether a comma-separated header names `token`, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The header's value when it appears exactly once; whether it appears at all.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Repeated> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.as_bytes());
    if values.next().is_some() {
        Err(Repeated)
    } else {
        Ok(first)
    }
}

struct Repeated;

/// The values of a header as text; `None` among them when one is not.
fn texts<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'h str>> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().ok())
}

fn write_headers(buf: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        buf.extend_from_slice(name.as_str().as_bytes());
        buf.extend_from_slice(b": ");
        buf.extend_from_slice(value.as_bytes());
        buf.extend_from_slice(b"\r\n");
    }
    buf.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3.
    #[test]
    fn the_accept_value_of_the_rfc() {
        assert_eq!(
            accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn keys_are_sixteen_bytes_in_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for key in [
            &b""[..],
            b"x",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZTEy",
        ] {
            assert!(!is_key(key));
        }
        assert!(!is_key(b"dGhlIHNhbXBsZSBub25j!Q=="));
    }
}
