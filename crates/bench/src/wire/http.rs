//! The client's half of the opening handshake, RFC 6455 section 4.1.

use super::frame::Invalid;

/// Key and answer of the example in RFC 6455, section 1.3. A constant key makes the request the
/// same bytes for every connection; a server cannot tell and has the same work.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Longest answer read.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// What the server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The head is not complete yet.
    Partial,
    /// Upgraded; frames start after this many bytes.
    Switched(usize),
    /// Another status.
    Refused(u16),
}

pub(crate) fn request(
    host: &str,
    path: &str,
    bearer: Option<&str>,
    extensions: Option<&str>,
) -> Vec<u8> {
    let extensions = extensions
        .map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"))
        .unwrap_or_default();
    let authorization = bearer
        .map(|token| format!("Authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{authorization}\
         {extensions}\r\n"
    )
    .into_bytes()
}

pub(crate) fn answer(bytes: &[u8]) -> Result<Answer, Invalid> {
    let Some(end) = head_len(bytes) else {
        return if bytes.len() > MAX_HEAD {
            Err(Invalid)
        } else {
            Ok(Answer::Partial)
        };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Invalid)?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .ok_or(Invalid)?;
    let status: u16 = status
        .get(..3)
        .and_then(|code| code.parse().ok())
        .ok_or(Invalid)?;
    if status != 101 {
        return Ok(Answer::Refused(status));
    }
    let accepted = lines
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT
        });
    if accepted {
        Ok(Answer::Switched(end))
    } else {
        Err(Invalid)
    }
}

/// Length of an HTTP head with its empty line, once it is complete.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
        Sec-WebSocket-ACCEPT:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n";

    #[test]
    fn an_upgrade_is_accepted_and_what_follows_is_left() {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes.extend_from_slice(b"\x81\x00");
        assert_eq!(answer(&bytes), Ok(Answer::Switched(GOOD.len())));
        for cut in 0..GOOD.len() {
            assert_eq!(answer(&bytes[..cut]), Ok(Answer::Partial));
        }
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n";
        assert_eq!(answer(refused), Ok(Answer::Refused(503)));
        let wrong_key = GOOD.replace("s3p", "abc");
        assert_eq!(answer(wrong_key.as_bytes()), Err(Invalid));
        assert_eq!(answer(b"SSH-2.0-x\r\n\r\n"), Err(Invalid));
        assert_eq!(answer(&vec![b'x'; MAX_HEAD + 1]), Err(Invalid));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = answer(&bytes);
            let _ = answer(&[b"HTTP/1.1 ", &bytes[..], b"\r\n\r\n"].concat());
        }
    }
}
