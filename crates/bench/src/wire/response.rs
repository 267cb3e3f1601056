//! HTTP/1.1 answers with a body, as long-polling gets them (RFC 9112): a length or chunks.

use super::frame::{Invalid, MAX_FRAME};
use super::http::{MAX_HEAD, head_len};
use std::borrow::Cow;

/// Longest line before a chunk.
const MAX_LINE: usize = 1024;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    /// Whether the connection may be used again.
    pub(crate) keep_alive: bool,
    pub(crate) body: Cow<'a, [u8]>,
    /// Bytes of all of it.
    pub(crate) len: usize,
}

/// Reads an answer; `None` if more bytes are needed.
pub(crate) fn response(bytes: &[u8]) -> Result<Option<Response<'_>>, Invalid> {
    let Some(end) = head_len(&bytes[..bytes.len().min(MAX_HEAD)]) else {
        return if bytes.len() >= MAX_HEAD {
            Err(Invalid)
        } else {
            Ok(None)
        };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Invalid)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status.and_then(|line| line.get(..3)?.parse().ok());
    let status = status.ok_or(Invalid)?;
    let (mut length, mut chunks, mut keep_alive) = (None, false, true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>().map_err(|_| Invalid)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunks = value.eq_ignore_ascii_case("chunked");
            if !chunks {
                return Err(Invalid);
            }
        } else if name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case("close");
        }
    }
    let rest = &bytes[end..];
    let (body, len) = match (chunks, length) {
        (true, _) => match chunked(rest)? {
            Some((body, len)) => (Cow::Owned(body), len),
            None => return Ok(None),
        },
        (false, Some(length)) if length > MAX_FRAME => return Err(Invalid),
        (false, Some(length)) => match rest.get(..length) {
            Some(body) => (Cow::Borrowed(body), length),
            None => return Ok(None),
        },
        (false, None) if matches!(status, 204 | 304) => (Cow::Borrowed(&[][..]), 0),
        // A body that ends with the connection: no server of this protocol sends one.
        (false, None) => return Err(Invalid),
    };
    Ok(Some(Response {
        status,
        keep_alive,
        body,
        len: end + len,
    }))
}

/// The body of a chunked transfer, and how many bytes it took; `None` if more are needed.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Invalid> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = line(&bytes[at..])? else {
            return Ok(None);
        };
        at += line.len() + 2;
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).map_err(|_| Invalid)?.trim();
        if digits.starts_with('+') {
            return Err(Invalid);
        }
        let size = usize::from_str_radix(digits, 16).map_err(|_| Invalid)?;
        if size > MAX_FRAME || body.len() + size > MAX_FRAME {
            return Err(Invalid);
        }
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size) else {
            return Ok(None);
        };
        match bytes.get(at + size..at + size + 2) {
            None => return Ok(None),
            Some(b"\r\n") => {}
            Some(_) => return Err(Invalid),
        }
        body.extend_from_slice(chunk);
        at += size + 2;
    }
    // Trailers up to an empty line.
    loop {
        match line(&bytes[at..])? {
            None => return Ok(None),
            Some([]) => return Ok(Some((body, at + 2))),
            Some(trailer) => at += trailer.len() + 2,
        }
    }
}

/// What stands before the next line break.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Invalid> {
    match bytes
        .windows(2)
        .take(MAX_LINE)
        .position(|two| two == b"\r\n")
    {
        Some(end) => Ok(Some(&bytes[..end])),
        None if bytes.len() > MAX_LINE => Err(Invalid),
        None => Ok(None),
    }
}

/// The packets of a polling payload, Engine.IO v4: separated by U+001E.
pub(crate) fn packets(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let packets = payload.split(|&byte| byte == SEPARATOR);
    packets.filter(|packet| !packet.is_empty())
}

/// Stands between two packets of a payload.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// How much of a payload fits into one request: whole packets, at least the first.
pub(crate) fn fitting(payload: &[u8], most: usize) -> usize {
    if payload.len() <= most {
        return payload.len();
    }
    let fits = payload[..=most].iter().rposition(|&byte| byte == SEPARATOR);
    fits.or_else(|| payload.iter().position(|&byte| byte == SEPARATOR))
        .unwrap_or(payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunks(parts: &[Vec<u8>], extension: &str) -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            bytes.extend_from_slice(format!("{:x}{extension}\r\n", part.len()).as_bytes());
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    proptest! {
        /// Whole, in any cut, and with what follows left alone.
        #[test]
        fn a_body_is_read_as_written_and_only_when_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            extension in prop_oneof![Just(""), Just(";a=b"), Just("; x")],
        ) {
            let body = parts.concat();
            let plain = [
                format!("HTTP/1.1 200 OK\r\ncontent-LENGTH: {}\r\n\r\n", body.len()).as_bytes(),
                &body[..],
            ].concat();
            for bytes in [plain, chunks(&parts, extension)] {
                let followed = [&bytes[..], b"HTTP"].concat();
                let read = response(&followed).unwrap().unwrap();
                prop_assert_eq!((read.status, read.keep_alive, read.len), (200, true, bytes.len()));
                prop_assert_eq!(&*read.body, &body[..]);
                for cut in 0..bytes.len() {
                    prop_assert_eq!(response(&bytes[..cut]), Ok(None));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = response(&bytes);
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = response(&[&head[..], &bytes].concat());
        }

        #[test]
        fn what_fits_is_whole_packets(
            packets in prop::collection::vec(prop::collection::vec(1u8..20, 1..20), 1..20),
            most in 1usize..100,
        ) {
            let mut rest = &packets.join(&SEPARATOR)[..];
            let mut seen = Vec::new();
            while !rest.is_empty() {
                let fits = fitting(rest, most);
                let (now, later) = rest.split_at(fits);
                let some: Vec<_> = super::packets(now).map(<[u8]>::to_vec).collect();
                prop_assert!(now.len() <= most || some.len() == 1);
                seen.extend(some);
                rest = later.strip_prefix(&[SEPARATOR]).unwrap_or(later);
            }
            prop_assert_eq!(seen, packets);
        }
    }

    #[test]
    fn heads_and_nonsense_are_told_apart() {
        let close = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
        let read = response(close).unwrap().unwrap();
        assert_eq!(
            (read.status, read.keep_alive, &*read.body),
            (400, false, &b"{}"[..])
        );
        let trailers =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n";
        let read = response(trailers).unwrap().unwrap();
        assert_eq!((&*read.body, read.len), (&b"a"[..], trailers.len()));
        for wrong in [
            &b"HTTP/2 200\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
        ] {
            assert_eq!(
                response(wrong),
                Err(Invalid),
                "{}",
                String::from_utf8_lossy(wrong)
            );
        }
        assert_eq!(response(&vec![b'x'; MAX_HEAD]), Err(Invalid));
    }
}
