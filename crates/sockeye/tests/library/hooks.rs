//! The HTTP side: hooks, limits, cookie, CORS, compression.

use std::time::Duration;

use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderName, HeaderValue};
use serde_json::json;
use sockeye::{
    Cookie, Cors, HandshakeResponse, KeepHeaders, Origins, Refusal, SameSite, Server, Socket,
    Transport,
};

use std::sync::{Arc, Mutex};

use crate::support::client::PATH;
use crate::support::http::Answer;
use crate::support::{Client, Polling, Running, Wire, request};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";

async fn handshake(running: &Running, headers: &str) -> Answer {
    request(running.address, "GET", POLL, headers, "").await
}

#[tokio::test]
async fn handshake_hooks_refuse_and_add_headers() {
    let running = Running::start(|server| {
        server.on_handshake(async |request| {
            tokio::task::yield_now().await;
            match request.query_value("token").as_deref() {
                Some("good") => Ok(HandshakeResponse::new()
                    .header(
                        HeaderName::from_static("x-first"),
                        HeaderValue::from_static("1"),
                    )
                    .header(
                        HeaderName::from_static("x-other"),
                        HeaderValue::from_static("o"),
                    )),
                Some(_) => Err(Refusal::with_message("bad token")),
                None => Err(Refusal::new()),
            }
        });
        server.on_handshake(async |request| {
            assert!(request.address.is_some() && !request.secure);
            let transport = match request.transport {
                Transport::Polling => "polling",
                _ => "websocket",
            };
            let name = HeaderName::from_static("x-first");
            Ok(HandshakeResponse::new()
                .header(name.clone(), HeaderValue::from_static("2"))
                .header(name, HeaderValue::from_static(transport)))
        });
    });
    let answer = handshake(&running, "").await;
    assert_eq!(
        (answer.status, answer.text()),
        (403, r#"{"code":4,"message":"Forbidden"}"#)
    );
    let path = format!("{POLL}&token=x");
    let answer = request(running.address, "GET", &path, "", "").await;
    assert_eq!(
        (answer.status, answer.text()),
        (403, r#"{"code":4,"message":"bad token"}"#)
    );
    let refused = Wire::open_with(running.address, PATH, Default::default()).await;
    let refused = refused.err().expect("refused");
    assert!(
        refused.starts_with("HTTP/1.1 400 ") && refused.ends_with("Forbidden"),
        "{refused}"
    );

    let path = format!("{POLL}&token=good");
    let answer = request(running.address, "GET", &path, "", "").await;
    let firsts = answer.headers.iter().filter(|(name, _)| name == "x-first");
    let firsts: Vec<_> = firsts.map(|(_, value)| value.as_str()).collect();
    assert_eq!(firsts, ["1", "2", "polling"]);
    assert_eq!(answer.header("x-other"), Some("o"));
    let wire = Wire::open(running.address, &format!("{PATH}&token=good")).await;
    let firsts: Vec<_> = wire.response.headers.get_all("x-first").iter().collect();
    assert_eq!(firsts, ["1", "2", "websocket"]);
    assert_eq!(running.metric("requests_refused").await, 3);
}

#[tokio::test]
async fn beyond_max_connections_handshakes_are_answered_503() {
    let builder = Server::builder().workers(1).max_connections(2);
    let running = Running::with(builder, |_| {});
    let client = running.connect().await;
    let polling = Polling::connect(running.address).await;
    let answer = handshake(&running, "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("5"));
    let refused = Wire::open_with(running.address, PATH, Default::default()).await;
    assert!(refused.err().expect("refused").starts_with("HTTP/1.1 503 "));
    assert_eq!(running.metric("connections_refused").await, 2);
    // What was refused takes no place; what goes makes one.
    drop(client);
    running.until_metric("sessions", 1).await;
    running.connect().await;
    polling.post("1").await;
}

#[tokio::test]
async fn a_cookie_names_the_session() {
    let cookie = Cookie {
        name: "where".into(),
        path: "/x".into(),
        http_only: true,
        secure: true,
        same_site: SameSite::Strict,
        max_age: Some(60),
    };
    let running = Running::with(Server::builder().workers(1).cookie(cookie), |_| {});
    let answer = handshake(&running, "").await;
    let open: serde_json::Value = serde_json::from_str(&answer.text()[1..]).expect("JSON");
    let sid = open["sid"].as_str().expect("an id");
    let expected = format!("where={sid}; Max-Age=60; Path=/x; HttpOnly; Secure; SameSite=Strict");
    assert_eq!(answer.header("set-cookie"), Some(&*expected));
    let plain = Running::start(|_| {});
    assert_eq!(handshake(&plain, "").await.header("set-cookie"), None);
}

async fn allowed(running: &Running, origin: &str) -> Option<String> {
    let answer = handshake(running, &format!("Origin: {origin}\r\n")).await;
    assert_eq!(answer.status, 200, "it is the browser that refuses");
    answer
        .header("access-control-allow-origin")
        .map(str::to_owned)
}

fn with_cors(cors: Cors) -> Running {
    Running::with(Server::builder().workers(1).cors(cors), |_| {})
}

#[tokio::test]
async fn enforced_origins_refuse_polling_and_websocket() {
    let running = with_cors(Cors::origin("https://a.example").enforced());
    for (origin, status) in [
        ("", 200),
        ("Origin: https://a.example\r\n", 200),
        ("Origin: https://b.example\r\n", 403),
    ] {
        assert_eq!(handshake(&running, origin).await.status, status, "{origin}");
    }
    let upgrade = "Origin: https://b.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let url = "/socket.io/?EIO=4&transport=websocket";
    let answer = request(running.address, "GET", url, upgrade, "").await;
    assert_eq!(answer.status, 400);
    assert_eq!(running.metric("origins_refused").await, 2);
}

#[tokio::test]
async fn cors_by_list_pattern_and_predicate() {
    let some = |origin: &str| Some(origin.to_owned());
    let list = vec![
        "https://a.example".to_owned(),
        "https://b.example".to_owned(),
    ];
    let listed = with_cors(Cors::new(Origins::Listed(list)));
    assert_eq!(
        allowed(&listed, "https://a.example").await,
        some("https://a.example")
    );
    assert_eq!(
        allowed(&listed, "https://b.example").await,
        some("https://b.example")
    );
    assert_eq!(allowed(&listed, "https://c.example").await, None);
    assert_eq!(listed.metric("origins_refused").await, 1);

    let pattern = regex::Regex::new(r"^https://[a-z]+\.example$").expect("a pattern");
    let pattern = with_cors(Cors::new(Origins::Pattern(pattern)).with_credentials());
    assert_eq!(
        allowed(&pattern, "https://x.example").await,
        some("https://x.example")
    );
    assert_eq!(allowed(&pattern, "https://x.example.evil").await, None);
    assert_eq!(pattern.metric("origins_refused").await, 1);

    let asks = with_cors(Cors::new(Origins::predicate(
        |origin, headers, uri| async move {
            tokio::task::yield_now().await;
            let key = headers.get("x-key").is_some_and(|key| key == "k");
            key && origin.ends_with("//p") && uri.path().starts_with("/socket.io")
        },
    )));
    assert_eq!(allowed(&asks, "http://p").await, None);
    let answer = handshake(&asks, "Origin: http://p\r\nX-Key: k\r\n").await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://p")
    );
    assert_eq!(answer.header("vary"), Some("Origin"));
    assert_eq!(asks.metric("origins_refused").await, 1);

    let any = with_cors(Cors::new(Origins::Any));
    assert_eq!(allowed(&any, "http://anything").await, some("*"));
    let none = Running::start(|_| {});
    assert_eq!(allowed(&none, "http://anything").await, None);
}

#[tokio::test]
async fn cors_preflight_and_credentials() {
    let cors = Cors::origin("https://a.example")
        .with_credentials()
        .exposed_headers("x-shown")
        .max_age(Duration::from_secs(600));
    let running = with_cors(cors);
    let headers = "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\
                   Access-Control-Request-Headers: x-mine\r\n";
    let answer = request(running.address, "OPTIONS", POLL, headers, "").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    let expected = [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-headers", "x-mine"),
        ("access-control-max-age", "600"),
    ];
    for (name, value) in expected {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(
        answer
            .header("access-control-allow-methods")
            .is_some_and(|all| all.contains("POST"))
    );
    let answer = handshake(&running, "Origin: https://a.example\r\n").await;
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(
        answer.header("access-control-expose-headers"),
        Some("x-shown")
    );
    // With credentials a wildcard is no answer (Fetch standard, "CORS protocol").
    let any = with_cors(Cors::new(Origins::Any).with_credentials());
    assert_eq!(allowed(&any, "http://x").await.as_deref(), Some("http://x"));
}

#[tokio::test]
async fn polling_answers_are_compressed_when_it_is_worth_it() {
    use std::io::Read;
    let mut connected = None;
    let running = Running::start(|server| {
        connected = Some(crate::support::sockets(&server.of("/")));
    });
    let mut connected = connected.expect("set up");
    let polling = Polling::connect(running.address).await;
    let socket: Socket = connected.recv().await.expect("a socket");
    let long = "long ".repeat(1000);
    let expected = format!(r#"42["n","{long}"]"#);
    for coding in ["gzip", "deflate", "br"] {
        let _ = socket.emit("n", &long);
        let headers = format!("Accept-Encoding: {coding}\r\n");
        let answer = request(running.address, "GET", &polling.path(), &headers, "").await;
        let mut text = String::new();
        let told = answer.header("content-encoding");
        match coding {
            "gzip" => GzDecoder::new(&answer.body[..]).read_to_string(&mut text),
            "deflate" => ZlibDecoder::new(&answer.body[..]).read_to_string(&mut text),
            _ => (&answer.body[..]).read_to_string(&mut text),
        }
        .expect("as told");
        assert_eq!(told, (coding != "br").then_some(coding));
        assert_eq!(text, expected);
        assert_eq!(answer.body.len() < 200, told.is_some());
    }
    let _ = socket.emit("n", "short");
    let headers = "Accept-Encoding: gzip\r\n";
    let answer = request(running.address, "GET", &polling.path(), headers, "").await;
    assert_eq!(answer.header("content-encoding"), None);
}

#[tokio::test]
async fn the_fallback_answers_what_no_endpoint_takes() {
    let running = Running::start(|server| {
        server.fallback(async |request| {
            let body = format!("no {}", request.uri().path());
            http::Response::builder()
                .status(418)
                .body(body.into())
                .expect("a response")
        });
    });
    let answer = request(running.address, "GET", "/tea", "", "").await;
    assert_eq!((answer.status, answer.text()), (418, "no /tea"));
    running.connect().await;
    let bare = Running::start(|_| {});
    assert_eq!(
        request(bare.address, "GET", "/tea", "", "").await.status,
        404
    );
}

#[tokio::test]
async fn only_the_headers_asked_for_are_kept() {
    let keep = KeepHeaders::Listed(vec![HeaderName::from_static("x-kept")]);
    let running = Running::with(Server::builder().workers(1).keep_headers(keep), |server| {
        server.of("/").on("headers", async |socket: Socket| {
            let names = socket
                .handshake()
                .headers()
                .map(|(name, _)| name.to_owned());
            names.collect::<Vec<_>>()
        });
    });
    let mut headers = http::HeaderMap::new();
    headers.insert("x-kept", HeaderValue::from_static("1"));
    headers.insert("x-gone", HeaderValue::from_static("1"));
    let options = sockeye_websocket::handshake::ClientOptions {
        headers,
        ..Default::default()
    };
    let wire = Wire::open_with(running.address, PATH, options)
        .await
        .expect("accepted");
    let mut client = Client::over(wire).await;
    client.join("/", None).await.expect("let in");
    assert_eq!(client.call("headers", json!([])).await, [json!(["x-kept"])]);
}

#[tokio::test]
async fn a_panic_in_a_hook_a_predicate_or_a_route_is_counted_and_refuses() {
    let origins = Origins::predicate(async |origin: String, _, _| {
        assert!(!origin.contains("panic"), "a predicate that panics");
        true
    });
    let builder = Server::builder().workers(1).cors(Cors::new(origins));
    let running = Running::with(builder, |server| {
        server.on_handshake(async |request| {
            assert!(request.query_value("panic").is_none(), "a hook that panics");
            Ok(HandshakeResponse::new())
        });
        server.engine("/raw", async |_| panic!("an engine handler that panics"));
        let options = sockeye::websocket::WebSocketOptions::default();
        server.websocket("/plain", options, async |_| panic!("a handler that panics"));
    });
    let answer = request(running.address, "GET", &format!("{POLL}&panic=1"), "", "").await;
    assert_eq!(
        (answer.status, answer.text()),
        (403, r#"{"code":4,"message":"internal error"}"#)
    );
    assert_eq!(allowed(&running, "https://panic.example").await, None);
    let fine = "https://fine.example";
    assert_eq!(allowed(&running, fine).await.as_deref(), Some(fine));
    let mut raw = Wire::open(running.address, "/raw/?EIO=4&transport=websocket").await;
    while raw.recv().await.is_some() {}
    let mut plain = Wire::open(running.address, "/plain").await;
    while plain.recv().await.is_some() {}
    running.until_metric("handler_panics", 4).await;
    drop(running.connect().await);
}

#[tokio::test]
async fn request_hooks_see_every_request_and_refusals_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let builder = Server::builder().workers(1).initial_packet("welcome");
    let running = Running::with(builder, move |server| {
        server.on_request(async |request| {
            if request.headers.contains_key("x-bad") {
                return Err(Refusal::with_message("no"));
            }
            let seen = HeaderValue::from_str(request.method.as_str()).expect("a method");
            Ok(HandshakeResponse::new().header(HeaderName::from_static("x-seen"), seen))
        });
        server.on_connection_error(move |refused| {
            let what = (refused.code, refused.context, refused.upgrade);
            let request = refused.request;
            let sent_bad = request.headers.contains_key("x-bad");
            assert_eq!(request.uri.path(), "/socket.io/");
            assert_eq!(sent_bad, request.method == "POST");
            heard.lock().expect("no panic").push(what);
        });
    });
    let opened = handshake(&running, "").await;
    assert_eq!(opened.header("x-seen"), Some("GET"));
    let (open, initial) = opened.text().split_once('\u{1e}').expect("two packets");
    assert!(open.starts_with("0{"));
    assert_eq!(initial, "4welcome");
    let sid = &open[9..29];
    let path = format!("{POLL}&sid={sid}");
    let posted = request(running.address, "POST", &path, "", "40").await;
    assert_eq!(posted.header("x-seen"), Some("POST"));
    let refused = request(running.address, "POST", &path, "X-Bad: 1\r\n", "40").await;
    assert_eq!(refused.text(), r#"{"code":3,"message":"Bad request"}"#);
    let unknown = "/socket.io/?EIO=4&transport=carrier-pigeon";
    request(running.address, "GET", unknown, "", "").await;
    let told = told.lock().expect("no panic").clone();
    assert_eq!(
        told,
        [(3, Some("MIDDLEWARE_FAILURE"), false), (0, None, false)]
    );
}

/// What a handler has captured may take other handlers back when it goes.
#[test]
fn a_handler_that_is_taken_back_may_take_back_another_as_it_goes() {
    struct Guard(sockeye::Namespace, sockeye::ListenerId);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.off(self.1);
        }
    }
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let server = Server::new();
        let namespace = server.of("/");
        let first = namespace.on("first", async || ());
        let guard = std::sync::Arc::new(Guard(namespace.clone(), first));
        let second = namespace.on("second", move || {
            let _guard = &guard;
            std::future::ready(())
        });
        let there = namespace.off(second);
        let _ = sender.send((there, namespace.event_names().len()));
    });
    let done = done.recv_timeout(crate::support::PATIENCE);
    assert_eq!(done, Ok((true, 0)), "it waits for itself");
}
