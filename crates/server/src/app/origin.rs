//! Which web pages may connect.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

use crate::config::Cors;

/// The origins that the configuration names, besides the server's own.
#[derive(Clone, Debug)]
pub(crate) struct AllowedOrigins(Cors);

impl AllowedOrigins {
    pub(crate) fn new(cors: &Cors) -> Self {
        Self(cors.clone())
    }

    /// Whether the configuration names this origin.
    pub(crate) fn lists(&self, origin: &str) -> bool {
        self.0.any
            || self.0.origins.iter().any(|known| known == origin)
            || self
                .0
                .patterns
                .iter()
                .any(|pattern| pattern.is_match(origin))
    }

    /// Whether a request with these headers may connect: it comes from no page, from a page of
    /// this server, or from one that the configuration names.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return self.0.any;
        };
        self.lists(origin) || is_own(origin, headers)
    }
}

/// Whether the origin's host and port are those that the request was sent to. The scheme may
/// differ: TLS often ends at a proxy.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    !authority.contains('@') && host.is_some_and(|host| same_authority(authority, host))
}

/// Compares `host[:port]`; the ports of http and https may be left out.
fn same_authority(left: &str, right: &str) -> bool {
    let parse = |text: &str| {
        let uri: Uri = format!("http://{text}/").parse().ok()?;
        let port = uri.port_u16().filter(|port| ![80, 443].contains(port));
        Some((uri.host()?.to_ascii_lowercase(), port))
    };
    parse(left).is_some_and(|left| Some(left) == parse(right))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(origin: &str, host: &str) -> HeaderMap {
        let value = |text| HeaderValue::from_str(text).expect("a header");
        HeaderMap::from_iter([(ORIGIN, value(origin)), (HOST, value(host))])
    }

    fn allowed(origins: &[&str], pattern: Option<&str>) -> AllowedOrigins {
        AllowedOrigins(Cors {
            any: origins.contains(&"*"),
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            patterns: pattern
                .iter()
                .filter_map(|text| regex::Regex::new(text).ok())
                .collect(),
            credentials: false,
        })
    }

    #[test]
    fn own_pages_and_programs_may() {
        let none = allowed(&[], None);
        assert!(none.allow(&HeaderMap::new()));
        for (origin, host) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://LocalHost:3000", "localhost:3000"),
            ("https://example.com", "example.com"),
            ("https://example.com", "example.com:443"),
            ("http://[::1]:3000", "[::1]:3000"),
        ] {
            assert!(none.allow(&headers(origin, host)), "{origin} {host}");
        }
    }

    #[test]
    fn other_pages_may_only_when_named() {
        let none = allowed(&[], None);
        for origin in [
            "http://evil.example",
            "http://127.0.0.1:3001",
            "http://127.0.0.1:3000.evil.example",
            "http://evil.example@127.0.0.1:3000",
            "null",
            "",
        ] {
            assert!(!none.allow(&headers(origin, "127.0.0.1:3000")), "{origin}");
            assert!(
                allowed(&["*"], None).allow(&headers(origin, "127.0.0.1:3000")),
                "{origin}"
            );
        }
        let some = allowed(
            &["https://a.example"],
            Some("^(?:https://[a-z]\\.example\\.com)$"),
        );
        for (origin, expected) in [
            ("https://a.example", true),
            ("https://a.example.evil", false),
            ("https://b.example.com", true),
            ("https://b.example.com.evil", false),
        ] {
            assert_eq!(
                some.allow(&headers(origin, "localhost")),
                expected,
                "{origin}"
            );
        }
    }
}
