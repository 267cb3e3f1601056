//! The opening handshake against RFC 6455 §4, both sides.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use sockeye_websocket::deflate::DeflateOptions;
use sockeye_websocket::handshake::{
    AcceptOptions, Accepted, ClientHandshake, ClientOptions, MAX_HEAD, Refusal, Response, accept,
    read_request,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const KEY_BYTES: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A good request with some headers changed: `None` removes, an empty name adds nothing.
fn headers(changes: &[(&str, Option<&str>)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "example.com"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    for (name, value) in changes {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.remove(&name);
        for value in value.iter().flat_map(|value| value.split('\n')) {
            headers.append(&name, HeaderValue::from_str(value).unwrap());
        }
    }
    headers
}

fn ask(changes: &[(&str, Option<&str>)]) -> Result<Accepted, Refusal> {
    let options = AcceptOptions {
        protocols: vec!["chat".into(), "superchat".into()],
        deflate: Some(DeflateOptions::default()),
    };
    accept(&Method::GET, Version::HTTP_11, &headers(changes), &options)
}

/// §4.2.2: the answer to the request of §1.3.
#[test]
fn s4_2_2_a_good_request_is_answered() {
    let accepted = ask(&[]).unwrap();
    let headers = accepted.headers();
    assert_eq!(headers["sec-websocket-accept"], ACCEPT);
    assert_eq!(headers["upgrade"], "websocket");
    assert_eq!(headers["connection"], "Upgrade");
    assert_eq!(
        headers.len(),
        3,
        "nothing was chosen that was not asked for"
    );
    assert_eq!((accepted.protocol(), accepted.deflate()), (None, None));
    let mut bytes = Vec::new();
    accepted.write_response(&mut bytes);
    assert!(bytes.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(bytes.ends_with(b"\r\n\r\n"));
}

/// §4.2.1: tokens are compared without regard to case, within lists.
#[test]
fn s4_2_1_header_values_are_lists_in_any_case() {
    for (name, value) in [
        ("upgrade", "WebSocket"),
        ("upgrade", "h2c, websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("connection", "keep-alive\nUPGRADE"),
    ] {
        assert!(ask(&[(name, Some(value))]).is_ok(), "{name}: {value}");
    }
}

/// §4.2.1 and §4.4: each fault has its refusal.
#[test]
fn s4_2_1_each_fault_has_its_refusal() {
    let table: &[(&str, Option<&str>, Refusal, u16)] = &[
        ("host", None, Refusal::MissingHost, 400),
        ("upgrade", None, Refusal::NotAnUpgrade, 426),
        ("upgrade", Some("h2c"), Refusal::NotAnUpgrade, 426),
        ("connection", None, Refusal::ConnectionNotUpgrade, 400),
        (
            "connection",
            Some("close"),
            Refusal::ConnectionNotUpgrade,
            400,
        ),
        ("sec-websocket-version", None, Refusal::MissingVersion, 400),
        (
            "sec-websocket-version",
            Some("8"),
            Refusal::UnsupportedVersion,
            426,
        ),
        (
            "sec-websocket-version",
            Some("14"),
            Refusal::UnsupportedVersion,
            426,
        ),
        (
            "sec-websocket-version",
            Some("13\n13"),
            Refusal::UnsupportedVersion,
            426,
        ),
        ("sec-websocket-key", None, Refusal::MissingKey, 400),
        ("sec-websocket-key", Some(""), Refusal::InvalidKey, 400),
        (
            "sec-websocket-key",
            Some("c2hvcnQ="),
            Refusal::InvalidKey,
            400,
        ),
        (
            "sec-websocket-key",
            Some("dGhlIHNhbXBsZSBub25jZTEy"),
            Refusal::InvalidKey,
            400,
        ),
        (
            "sec-websocket-key",
            Some("????????????????????????"),
            Refusal::InvalidKey,
            400,
        ),
        (
            "sec-websocket-key",
            Some("dGhlIHNhbXBsZSBub25jZQ==\ndGhlIHNhbXBsZSBub25jZQ=="),
            Refusal::InvalidKey,
            400,
        ),
        (
            "sec-websocket-protocol",
            Some("a b"),
            Refusal::MalformedProtocols,
            400,
        ),
        (
            "sec-websocket-protocol",
            Some("chat,"),
            Refusal::MalformedProtocols,
            400,
        ),
        (
            "sec-websocket-extensions",
            Some("a;;"),
            Refusal::MalformedExtensions,
            400,
        ),
        (
            "sec-websocket-extensions",
            Some("x; y=\"a b\""),
            Refusal::MalformedExtensions,
            400,
        ),
    ];
    for (name, value, expected, status) in table {
        let refusal = ask(&[(name, *value)]).expect_err(name);
        assert_eq!(
            (refusal, refusal.status().as_u16()),
            (*expected, *status),
            "{name} {value:?}"
        );
        assert!(!refusal.to_string().is_empty());
    }
    let options = AcceptOptions::default();
    let good = headers(&[]);
    let post = accept(&Method::POST, Version::HTTP_11, &good, &options).unwrap_err();
    assert_eq!(
        (post.status(), &post.headers()["allow"]),
        (
            StatusCode::METHOD_NOT_ALLOWED,
            &HeaderValue::from_static("GET")
        )
    );
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let old = accept(&Method::GET, version, &good, &options).unwrap_err();
        assert_eq!(
            (old, old.status()),
            (Refusal::HttpVersion, StatusCode::BAD_REQUEST)
        );
    }
}

/// §4.4 and RFC 9110 §15.5.22: 426 says which protocol and version are wanted.
#[test]
fn s4_4_426_names_the_version() {
    for change in [("upgrade", None), ("sec-websocket-version", Some("7"))] {
        let headers = ask(&[change]).unwrap_err().headers();
        assert_eq!(headers["sec-websocket-version"], "13");
        assert_eq!(
            (&headers["upgrade"], &headers["connection"]),
            (
                &HeaderValue::from_static("websocket"),
                &HeaderValue::from_static("Upgrade")
            )
        );
    }
    let mut bytes = Vec::new();
    Refusal::UnsupportedVersion.write_response(&mut bytes);
    let answer = String::from_utf8(bytes).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
        "{answer}"
    );
    assert!(answer.contains("connection: close\r\n"));
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    assert!(answer.contains(&format!("content-length: {}\r\n", body.len())));
}

/// §4.2.2 (5): the first of the client's sub-protocols that the server speaks, or none.
#[test]
fn s4_2_2_sub_protocols() {
    for (asked, chosen) in [
        ("chat", Some("chat")),
        ("superchat, chat", Some("superchat")),
        ("unknown,\tchat", Some("chat")),
        ("unknown\nsuperchat", Some("superchat")),
        ("unknown", None),
        ("Chat", None),
    ] {
        let accepted = ask(&[("sec-websocket-protocol", Some(asked))]).unwrap();
        assert_eq!(accepted.protocol(), chosen, "{asked}");
        let header = accepted.headers().get("sec-websocket-protocol").cloned();
        assert_eq!(header.as_ref().map(|v| v.to_str().unwrap()), chosen);
    }
}

/// Raw requests: complete, in pieces, too long, and no HTTP at all. The rest is the caller's.
#[test]
fn requests_from_raw_bytes() {
    let client = ClientHandshake::new("h:1", "/p?q=1", &ClientOptions::default()).unwrap();
    let mut bytes = client.request().to_vec();
    for len in 0..bytes.len() {
        assert!(read_request(&bytes[..len]).unwrap().is_none(), "{len}");
    }
    bytes.extend_from_slice(b"\x81\x80frames");
    let (request, len) = read_request(&bytes).unwrap().unwrap();
    assert_eq!(&bytes[len..], b"\x81\x80frames");
    assert_eq!(
        (request.uri().path(), request.uri().query()),
        ("/p", Some("q=1"))
    );
    assert!(
        accept(
            request.method(),
            request.version(),
            request.headers(),
            &AcceptOptions::default()
        )
        .is_ok()
    );

    let endless = [&b"GET / HTTP/1.1\r\nx: "[..], &[b'a'; MAX_HEAD]].concat();
    assert!(read_request(&endless[..MAX_HEAD - 1]).unwrap().is_none());
    assert_eq!(read_request(&endless).unwrap_err().status().as_u16(), 431);
    let many = ["GET / HTTP/1.1\r\n", &"a: b\r\n".repeat(101), "\r\n"].concat();
    assert_eq!(
        read_request(many.as_bytes()).unwrap_err(),
        Refusal::HeadTooLarge
    );
    for bad in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
    ] {
        assert_eq!(read_request(bad).unwrap_err(), Refusal::MalformedRequest);
    }
    let (old, _) = read_request(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
    assert_eq!(old.version(), Version::HTTP_10);
}

fn client() -> ClientHandshake {
    let options = ClientOptions {
        protocols: vec!["chat".into()],
        ..ClientOptions::default()
    };
    ClientHandshake::with_key("example.com", "/", &options, KEY_BYTES).unwrap()
}

fn answered(lines: &[&str]) -> Result<Option<Response>, String> {
    let bytes = [&lines.join("\r\n"), "\r\n\r\n"].concat();
    client()
        .response(bytes.as_bytes())
        .map_err(|error| error.to_string())
}

const GOOD: [&str; 4] = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

/// §4.1: the request of a client.
#[test]
fn s4_1_the_clients_request() {
    let mut options = ClientOptions {
        protocols: vec!["a".into(), "b".into()],
        deflate: Some(DeflateOptions::default()),
        ..ClientOptions::default()
    };
    options
        .headers
        .insert("origin", HeaderValue::from_static("http://example.com"));
    options
        .headers
        .insert("sec-websocket-key", HeaderValue::from_static("forged"));
    let client = ClientHandshake::with_key("example.com:81", "/x", &options, KEY_BYTES).unwrap();
    let (request, _) = read_request(client.request()).unwrap().unwrap();
    let headers = request.headers();
    assert_eq!(headers["host"], "example.com:81");
    assert_eq!(headers["sec-websocket-key"], KEY);
    assert_eq!(headers.get_all("sec-websocket-key").iter().count(), 1);
    assert_eq!(headers["sec-websocket-version"], "13");
    assert_eq!(headers["sec-websocket-protocol"], "a, b");
    assert_eq!(headers["origin"], "http://example.com");
    assert!(headers.contains_key("sec-websocket-extensions"));
    // The key is fresh for each connection.
    let other = |_| {
        ClientHandshake::new("h", "/", &options)
            .unwrap()
            .request()
            .to_vec()
    };
    assert_ne!(other(0), other(1));
}

/// What would break out of the request line or a header is refused.
#[test]
fn s4_1_requests_cannot_be_smuggled() {
    let options = ClientOptions::default();
    for (host, path) in [
        ("h\r\nx: y", "/"),
        ("", "/"),
        ("h", ""),
        ("h", "x"),
        ("h", "/a b"),
        ("h", "/\r\nx: y"),
        ("h", "/#fragment"),
    ] {
        let error = ClientHandshake::new(host, path, &options).unwrap_err();
        assert!(error.is_request(), "{host} {path}");
    }
    let protocols = vec!["a\r\nx: y".to_owned()];
    let options = ClientOptions {
        protocols,
        ..ClientOptions::default()
    };
    assert!(
        ClientHandshake::new("h", "/", &options)
            .unwrap_err()
            .is_request()
    );
}

/// §4.1: what a client must check of the answer.
#[test]
fn s4_1_each_fault_of_the_answer_fails_the_connection() {
    let good = answered(&GOOD).unwrap().unwrap();
    assert_eq!((good.protocol, good.deflate), (None, None));

    let chosen = [&GOOD[..], &["Sec-WebSocket-Protocol: chat"]].concat();
    assert_eq!(
        answered(&chosen).unwrap().unwrap().protocol.as_deref(),
        Some("chat")
    );

    for (at, missing) in GOOD.iter().enumerate().skip(1) {
        let mut lines = GOOD.to_vec();
        lines.remove(at);
        assert!(answered(&lines).is_err(), "without {missing}");
    }
    for (at, line) in [
        (0, "HTTP/1.1 200 OK"),
        (0, "HTTP/1.0 101 Switching Protocols"),
        (0, "SSH-2.0-OpenSSH"),
        (1, "Upgrade: h2c"),
        (2, "Connection: close"),
        (3, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO="),
        (3, "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO="),
    ] {
        let mut lines = GOOD.to_vec();
        lines[at] = line;
        assert!(answered(&lines).is_err(), "{line}");
    }
    for line in [
        "Sec-WebSocket-Protocol: superchat",
        "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: x-unknown",
        "Sec-WebSocket-Extensions: ;",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ] {
        assert!(answered(&[&GOOD[..], &[line]].concat()).is_err(), "{line}");
    }
}

/// An HTTP refusal is told from a broken answer, in pieces or not, and heads are bounded.
#[test]
fn s4_1_refusals_pieces_and_bounds() {
    let error = client()
        .response(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
        .unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
    assert!(!error.is_protocol() && !error.is_negotiation());
    let error = client().response(b"nonsense\r\n\r\n").unwrap_err();
    assert!(error.is_protocol());

    let bytes = [GOOD.join("\r\n").as_bytes(), b"\r\n\r\n\x81\x02hi"].concat();
    let mut client = client();
    for len in 0..bytes.len() - 4 {
        assert!(client.response(&bytes[..len]).unwrap().is_none(), "{len}");
    }
    let response = client.response(&bytes).unwrap().unwrap();
    assert_eq!(&bytes[response.head_len..], b"\x81\x02hi");

    let endless = [&b"HTTP/1.1 101 S\r\nx: "[..], &[b'a'; MAX_HEAD]].concat();
    assert!(client.response(&endless).unwrap_err().is_protocol());
}
