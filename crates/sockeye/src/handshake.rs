//! What is known of a session's first request, in one compact block.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};

/// Which headers of the first request a session keeps.
#[derive(Clone, Debug, Default)]
pub enum KeepHeaders {
    /// All of them.
    #[default]
    All,
    /// Those listed.
    Listed(Vec<HeaderName>),
    /// None.
    None,
}

impl KeepHeaders {
    fn keeps(&self, name: &HeaderName) -> bool {
        match self {
            KeepHeaders::All => true,
            KeepHeaders::Listed(names) => names.contains(name),
            KeepHeaders::None => false,
        }
    }
}

/// The first request of a session: headers, query, address and time.
///
/// It lives as long as the session, so it is kept small: one allocation holds the URL and all
/// headers that the configuration keeps.
#[derive(Debug)]
pub struct Handshake {
    /// The URL, then `name\0value\0` for each header.
    text: Box<[u8]>,
    url_len: u32,
    address: Option<SocketAddr>,
    issued: u64,
    secure: bool,
}

impl Handshake {
    pub(crate) fn new(
        uri: &http::Uri,
        headers: &HeaderMap,
        keep: &KeepHeaders,
        address: Option<SocketAddr>,
        secure: bool,
    ) -> Self {
        let url = uri
            .path_and_query()
            .map_or_else(|| uri.path(), |all| all.as_str());
        let kept = || headers.iter().filter(|(name, _)| keep.keeps(name));
        let size = kept()
            .map(|(name, value)| name.as_str().len() + value.len() + 2)
            .sum::<usize>();
        let mut text = Vec::with_capacity(url.len() + size);
        text.extend_from_slice(url.as_bytes());
        for (name, value) in kept() {
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(0);
            text.extend_from_slice(value.as_bytes());
            text.push(0);
        }
        let issued = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Handshake {
            text: text.into_boxed_slice(),
            url_len: url.len() as u32,
            address,
            issued: issued.as_millis() as u64,
            secure,
        }
    }

    /// The path and query of the request.
    pub fn url(&self) -> &str {
        std::str::from_utf8(&self.text[..self.url_len as usize]).unwrap_or_default()
    }

    /// The headers that were kept, in order, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut parts = self.text[self.url_len as usize..].split(|byte| *byte == 0);
        std::iter::from_fn(move || {
            let name = parts.next().filter(|name| !name.is_empty())?;
            Some((std::str::from_utf8(name).unwrap_or_default(), parts.next()?))
        })
    }

    /// The first header of this name (lower case), if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(known, _)| *known == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The query's parameters, percent-decoded, in order.
    pub fn query(&self) -> impl Iterator<Item = (String, String)> {
        let query = self.url().split_once('?').map_or("", |(_, query)| query);
        parse_query(query)
    }

    /// The first value of a query parameter.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// The peer's address, where the host told it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether the connection was encrypted up to us.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the request named an origin: a page's script made it (`xdomain` in Node.js). False
    /// where that header is not kept.
    pub fn is_cross_domain(&self) -> bool {
        self.header("origin").is_some()
    }

    /// When the request came, in milliseconds since 1970.
    pub fn issued(&self) -> u64 {
        self.issued
    }
}

/// The parameters of a query string, percent-decoded.
pub(crate) fn parse_query(query: &str) -> impl Iterator<Item = (String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name), percent_decode(value))
        })
}

fn percent_decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let rest = bytes.as_slice_ahead();
                match rest {
                    Some((high, low)) => {
                        out.push(high << 4 | low);
                        bytes.nth(1);
                    }
                    None => out.push(b'%'),
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Looks two hexadecimal digits ahead.
trait HexAhead {
    fn as_slice_ahead(&self) -> Option<(u8, u8)>;
}

impl HexAhead for std::str::Bytes<'_> {
    fn as_slice_ahead(&self) -> Option<(u8, u8)> {
        let mut ahead = self.clone();
        let mut digit = || ahead.next().and_then(|byte| (byte as char).to_digit(16));
        Some((digit()? as u8, digit()? as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_keeps_url_and_headers_in_order() {
        let uri: http::Uri = "/socket.io/?EIO=4&x=%C3%A4+b&flag&bad=%zz".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "probe".parse().unwrap());
        headers.append("x-many", "1".parse().unwrap());
        headers.append("x-many", "".parse().unwrap());
        let handshake = Handshake::new(&uri, &headers, &KeepHeaders::All, None, true);
        assert_eq!(handshake.query_value("x").as_deref(), Some("ä b"));
        assert_eq!(handshake.query_value("flag").as_deref(), Some(""));
        assert_eq!(handshake.query_value("bad").as_deref(), Some("%zz"));
        assert_eq!(handshake.header("user-agent"), Some("probe"));
        assert_eq!(handshake.headers().count(), 3);
        assert!(!handshake.is_cross_domain());

        let listed = KeepHeaders::Listed(vec![HeaderName::from_static("user-agent")]);
        assert_eq!(
            Handshake::new(&uri, &headers, &listed, None, true)
                .headers()
                .count(),
            1
        );
        assert_eq!(
            Handshake::new(&uri, &headers, &KeepHeaders::None, None, true)
                .headers()
                .count(),
            0
        );
    }
}
