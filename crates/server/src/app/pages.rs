//! What is served over plain HTTP: the playground, health and metrics.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Response, StatusCode};

/// A file of the playground, part of the binary.
#[derive(Debug)]
struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

/// The page, where it says which path its client asks for: that of the server, once it is known.
static PAGE: &str = include_str!("../../assets/playground/index.html");
const PAGE_PATH: &str = r#"<meta name="sockeye-path" content="/socket.io/">"#;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

static ASSETS: &[Asset] = &[
    Asset {
        path: "/playground/app.js",
        kind: SCRIPT,
        content: include_bytes!("../../assets/playground/app.js"),
    },
    Asset {
        path: "/playground/style.css",
        kind: STYLE,
        content: include_bytes!("../../assets/playground/style.css"),
    },
    Asset {
        path: "/playground/sockeye.js",
        kind: SCRIPT,
        content: include_bytes!("../../assets/playground/sockeye.js"),
    },
];

/// Everything the page uses comes from this server; nothing is inline, nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The pages that the configuration leaves on.
#[derive(Debug)]
pub(crate) struct Pages {
    playground: bool,
    metrics: bool,
    /// What `/` is.
    page: Bytes,
}

impl Pages {
    /// `path` is where the server speaks Socket.IO.
    pub(crate) fn new(playground: bool, metrics: bool, path: &str) -> Self {
        let path = path.trim_end_matches('/');
        let path = path.replace('&', "&amp;").replace('"', "&quot;");
        let meta = format!(r#"<meta name="sockeye-path" content="{path}/">"#);
        Pages {
            playground,
            metrics,
            page: PAGE.replacen(PAGE_PATH, &meta, 1).into(),
        }
    }

    /// Whether a request for this path is answered with the metrics.
    pub(crate) fn wants_metrics(&self, path: &str) -> bool {
        self.metrics && path == "/metrics"
    }

    /// Answers a request; `metrics` is the text of the metrics where they are wanted.
    pub(crate) fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        metrics: String,
    ) -> Response<Bytes> {
        let file = match path {
            _ if !self.playground => None,
            "/" => Some((HTML, self.page.clone())),
            _ => ASSETS
                .iter()
                .find(|asset| asset.path == path)
                .map(|asset| (asset.kind, Bytes::from_static(asset.content))),
        };
        let known = file.is_some() || path == "/health" || self.wants_metrics(path);
        if !known {
            return plain(StatusCode::NOT_FOUND, "not found");
        }
        if method != Method::GET && method != Method::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match file {
            Some((kind, content)) => answer_file(kind, content, headers),
            None if path == "/health" => plain(StatusCode::OK, "ok"),
            None => response(StatusCode::OK, METRICS, Bytes::from(metrics)),
        }
    }
}

fn answer_file(kind: &'static str, content: Bytes, headers: &HeaderMap) -> Response<Bytes> {
    let tag = tag_of(&content);
    let unchanged = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|known| same_tag(known.trim(), &tag)));
    let mut answer = if unchanged {
        response(StatusCode::NOT_MODIFIED, kind, Bytes::new())
    } else {
        response(StatusCode::OK, kind, content)
    };
    let headers = answer.headers_mut();
    // Asked for again each time, so that a newer server never meets an older page.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    answer
}

fn tag_of(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// The weak comparison of RFC 9110 section 8.8.3.2.
fn same_tag(known: &str, tag: &str) -> bool {
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    response(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Pages {
        Pages::new(true, true, "/socket.io")
    }

    fn get(pages: &Pages, path: &str) -> Response<Bytes> {
        pages.answer(
            &Method::GET,
            path,
            &HeaderMap::new(),
            "figures\n".to_owned(),
        )
    }

    #[test]
    fn what_is_off_is_not_found() {
        let none = Pages::new(false, false, "/socket.io");
        for path in [
            "/",
            "/playground/app.js",
            "/playground/sockeye.js",
            "/metrics",
        ] {
            assert_eq!(get(&all(), path).status(), StatusCode::OK, "{path}");
            assert_eq!(get(&none, path).status(), StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(get(&none, "/health").status(), StatusCode::OK);
    }

    #[test]
    fn a_known_tag_is_not_sent_again() {
        let tag = get(&all(), "/").headers()[ETAG].clone();
        let weak = HeaderValue::from_str(&format!("\"x\", W/{}", tag.to_str().expect("ASCII")));
        for value in [tag, weak.expect("a value"), HeaderValue::from_static("*")] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value)]);
            let answer = all().answer(&Method::GET, "/", &headers, String::new());
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
            assert!(answer.body().is_empty());
        }
    }

    #[test]
    fn the_page_says_where_its_client_has_to_ask() {
        let body = |path: &str| {
            let answer = get(&Pages::new(true, true, path), "/");
            String::from_utf8(answer.into_body().to_vec()).expect("UTF-8")
        };
        assert_eq!(body("/socket.io"), PAGE);
        let other = body("/live/\"a&b\"/");
        let meta = r#"<meta name="sockeye-path" content="/live/&quot;a&amp;b&quot;/">"#;
        assert!(other.contains(meta), "{other}");
        assert!(!other.contains("socket.io"), "{other}");
    }
}
