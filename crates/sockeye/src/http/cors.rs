//! Cross-origin access: who may, and what the answers say.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};

use crate::dispatch::{CatchPanic, panicked};
use crate::server::ServerInner;

type BoxFuture = Pin<Box<dyn Future<Output = bool> + Send>>;
type Predicate = Arc<dyn Fn(String, HeaderMap, Uri) -> BoxFuture + Send + Sync>;

/// Which origins may use the server from a browser.
#[derive(Clone)]
pub enum Origins {
    /// Any. With credentials the origin is echoed, as browsers ask for.
    Any,
    /// Those listed, exactly.
    Listed(Vec<String>),
    /// Those that match a regular expression.
    Pattern(regex::Regex),
    /// Those a predicate accepts, given origin, headers and URL of the request.
    Predicate(Predicate),
}

impl std::fmt::Debug for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origins::Any => f.write_str("Any"),
            Origins::Listed(list) => write!(f, "Listed({list:?})"),
            Origins::Pattern(pattern) => write!(f, "Pattern({pattern})"),
            Origins::Predicate(_) => f.write_str("Predicate"),
        }
    }
}

impl Origins {
    /// Origins a predicate accepts.
    pub fn predicate<F, Fut>(predicate: F) -> Self
    where
        F: Fn(String, HeaderMap, Uri) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let boxed =
            move |origin, headers, uri| -> BoxFuture { Box::pin(predicate(origin, headers, uri)) };
        Origins::Predicate(Arc::new(boxed))
    }
}

/// Cross-origin access (the Fetch standard, "CORS protocol").
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: Option<Duration>,
    enforced: bool,
}

impl Cors {
    /// Access for these origins, without credentials.
    pub fn new(origins: Origins) -> Self {
        Cors {
            origins,
            credentials: false,
            methods: HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
            headers: None,
            exposed: None,
            max_age: None,
            enforced: false,
        }
    }

    /// Access for one origin.
    pub fn origin(origin: &str) -> Self {
        Cors::new(Origins::Listed(vec![origin.to_owned()]))
    }

    /// Lets browsers send cookies and authentication.
    pub fn with_credentials(mut self) -> Self {
        self.credentials = true;
        self
    }

    /// The headers requests may have. Default: whatever a preflight asks for.
    pub fn allowed_headers(mut self, headers: &str) -> Self {
        self.headers = HeaderValue::from_str(headers).ok();
        self
    }

    /// The headers scripts may read.
    pub fn exposed_headers(mut self, headers: &str) -> Self {
        self.exposed = HeaderValue::from_str(headers).ok();
        self
    }

    /// How long browsers may remember a preflight.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Refuses requests of other origins (403, code 4), WebSockets included. Otherwise, as in
    /// Node.js, only browsers' scripts are kept from the answers, and a WebSocket is open to every
    /// page: browsers do not ask before they open one.
    pub fn enforced(mut self) -> Self {
        self.enforced = true;
        self
    }

    pub(crate) fn is_enforced(&self) -> bool {
        self.enforced
    }

    /// Decides on a request. A panic of the predicate is a no.
    pub(crate) async fn judge(&self, server: &Arc<ServerInner>, request: &Request<()>) -> Verdict {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let text = origin
            .as_ref()
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let allowed = match &self.origins {
            Origins::Any => true,
            Origins::Listed(list) => list.iter().any(|known| known == text),
            Origins::Pattern(pattern) => !text.is_empty() && pattern.is_match(text),
            Origins::Predicate(predicate) => {
                let (headers, uri) = (request.headers().clone(), request.uri().clone());
                let (predicate, text) = (predicate.clone(), text.to_owned());
                let question =
                    async move { !text.is_empty() && predicate(text, headers, uri).await };
                let answer = CatchPanic(Box::pin(question)).await;
                answer.unwrap_or_else(|panic| {
                    panicked(server, "the predicate of origins", &*panic);
                    false
                })
            }
        };
        let mut headers = HeaderMap::new();
        let preflight = request.method() == Method::OPTIONS;
        let single = match &self.origins {
            Origins::Any if !self.credentials => Some(HeaderValue::from_static("*")),
            // A fixed origin is named to everybody, as Node's middleware does; the browser compares.
            Origins::Listed(list) if list.len() == 1 => HeaderValue::from_str(&list[0]).ok(),
            _ => origin.clone().filter(|_| allowed),
        };
        if !matches!((&self.origins, self.credentials), (Origins::Any, false)) {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(single) = single {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, single);
            if self.credentials {
                let yes = HeaderValue::from_static("true");
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
        }
        if preflight {
            self.preflight(request, &mut headers);
        } else if let Some(exposed) = &self.exposed {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
        Verdict {
            headers,
            preflight,
            refused: !allowed && !text.is_empty(),
        }
    }

    fn preflight(&self, request: &Request<()>, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let asked = request
            .headers()
            .get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(allowed) = self.headers.as_ref().or(asked) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
            if self.headers.is_none() {
                let vary = HeaderValue::from_static("Access-Control-Request-Headers");
                headers.append(header::VARY, vary);
            }
        }
        if let Some(age) = self.max_age {
            headers.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from(age.as_secs()),
            );
        }
    }
}

/// What was decided on a request.
#[derive(Default)]
pub(crate) struct Verdict {
    headers: HeaderMap,
    preflight: bool,
    refused: bool,
}

impl Verdict {
    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight
    }

    /// Whether the browser will keep the answer from its script.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
    }
}
