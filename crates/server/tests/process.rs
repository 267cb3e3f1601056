//! The process: start-up lines, pages, the plain WebSocket relay, signals.

mod support;

use rustix::process::Signal;
use serde_json::json;
use support::client::{Client, Message, WebSocket};
use support::server::Server;

#[test]
fn the_start_up_lines_say_where_and_how() {
    let server = Server::start(&["--workers", "2"]);
    let port = server.port;
    assert_ne!(port, 0);
    assert_eq!(
        server.greeting[0],
        format!("Sockeye is listening on http://127.0.0.1:{port}/  (open it in two windows)")
    );
    let all = server.greeting.join("\n");
    for expected in [
        "development",
        "loopback only",
        "embedded",
        "workers",
        " 2",
        "open files",
    ] {
        assert!(all.contains(expected), "no {expected:?} in\n{all}");
    }
}

#[test]
fn without_a_page_nobody_is_sent_to_it() {
    let server = Server::start(&["--no-playground", "--no-metrics", "--no-websocket-relay"]);
    assert!(
        !server.greeting[0].contains("windows"),
        "{:?}",
        server.greeting
    );
    assert_eq!(server.get("/").status, 404);
    assert_eq!(server.get("/metrics").status, 404);
    assert!(WebSocket::try_open(&server, "/ws?room=a").is_err());
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn the_page_asks_where_the_server_answers() {
    let server = Server::start(&["--path", "/live"]);
    let page = String::from_utf8(server.get("/").body).expect("UTF-8");
    let path = page
        .split(r#"<meta name="sockeye-path" content=""#)
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("the path");
    assert_eq!(path, "/live/");
    let open = server.get(&format!("{path}?EIO=4&transport=polling"));
    assert_eq!(open.status, 200, "{}", open.head);
    assert_eq!(
        server.get("/socket.io/?EIO=4&transport=polling").status,
        404
    );
}

#[test]
fn pages_come_with_their_type_and_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains("content-type: text/html; charset=utf-8"),
        "{}",
        page.head
    );
    assert!(
        page.head.contains("x-content-type-options: nosniff"),
        "{}",
        page.head
    );
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'"),
        "{}",
        page.head
    );
    assert!(
        page.head.contains("cache-control: no-cache"),
        "{}",
        page.head
    );
    let body = String::from_utf8(page.body).expect("UTF-8");
    assert!(body.to_lowercase().contains("<!doctype html>"));

    // Everything that the page names is there.
    let mut found = 0;
    for attribute in ["src=\"", "href=\""] {
        for (start, _) in body.match_indices(attribute) {
            let path = body[start + attribute.len()..]
                .split('"')
                .next()
                .expect("a value");
            if path.starts_with("http") || path.starts_with('#') || path.starts_with("data:") {
                continue;
            }
            let path = format!("/{}", path.trim_start_matches("./").trim_start_matches('/'));
            assert_eq!(server.get(&path).status, 200, "{path}");
            found += 1;
        }
    }
    assert!(found >= 2, "the page has a script and a style");

    let tag = page
        .head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("a tag");
    let again = server.request("GET", "/", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = server.request("HEAD", "/", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        server.request("POST", "/", "Content-Length: 0\r\n").status,
        405
    );
}

#[test]
fn health_metrics_and_nothing_else() {
    let server = Server::start(&[]);
    let health = server.get("/health");
    assert_eq!((health.status, &health.body[..]), (200, &b"ok"[..]));
    let _client = Client::connect(&server);
    let metrics = server.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .head
            .contains("content-type: text/plain; version=0.0.4"),
        "{}",
        metrics.head
    );
    let text = String::from_utf8(metrics.body).expect("UTF-8");
    assert!(
        text.lines().any(|line| line.starts_with("sockeye_")),
        "{text}"
    );
    for path in ["/nothing", "/healthy", "/index.html/..", "/ws/x"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn plain_websockets_of_a_room_hear_each_other() {
    let server = Server::start(&["--workers", "2"]);
    let mut ada = WebSocket::open(&server, "/ws?room=caf%C3%A9");
    let mut ben = WebSocket::open(&server, "/ws?room=caf%C3%A9&x=1");
    let mut eve = WebSocket::open(&server, "/ws?room=other");
    let mut joined = false;
    // Ben is in the room when his own message reaches Ada; hers can only reach him after that.
    while !joined {
        ben.send("hello");
        joined = ada.next() == Some(Message::Text("hello".to_owned()));
    }
    ada.send("to Ben");
    ada.send_binary(&[0, 1, 255]);
    assert_eq!(ben.next(), Some(Message::Text("to Ben".to_owned())));
    assert_eq!(ben.next(), Some(Message::Binary(vec![0, 1, 255])));
    ben.send("to Ada");
    assert_eq!(ada.next(), Some(Message::Text("to Ada".to_owned())));
    let mut eva = WebSocket::open(&server, "/ws?room=other");
    eva.send("only here");
    assert_eq!(eve.next(), Some(Message::Text("only here".to_owned())));
}

#[test]
fn a_plain_websocket_without_a_room_is_closed() {
    let server = Server::start(&[]);
    for path in ["/ws", "/ws?room=", "/ws?room=a%00b", "/ws?room=%FF"] {
        let mut socket = WebSocket::open(&server, path);
        assert_eq!(socket.next(), Some(Message::Close(Some(1008))), "{path}");
    }
}

#[test]
fn a_signal_closes_every_session_and_ends_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&[]);
        let mut ada = Client::connect(&server);
        ada.expect("welcome");
        ada.call(json!(["join", "lobby"]));
        let mut plain = WebSocket::open(&server, "/ws?room=a");
        let idle = server.connect();
        server.signal(signal);
        while ada.socket().next().is_some() {}
        while plain.next().is_some() {}
        let finished = server.wait();
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        drop(idle);
    }
}

/// Clients that answer nothing may hold up the first signal for the whole grace, an hour here; the
/// second ends the process at once.
#[test]
fn a_second_signal_does_not_wait() {
    let server = Server::start(&["--shutdown-grace-ms", "3600000"]);
    let mut ada = Client::connect(&server);
    ada.expect("welcome");
    let _silent = WebSocket::open(&server, "/ws?room=a");
    server.signal(Signal::TERM);
    // The first has been noticed when this client is told; sent before, the two would be one.
    while ada.socket().next().is_some() {}
    server.signal(Signal::TERM);
    let finished = server.wait();
    assert_eq!(finished.status, 0);
    assert!(
        finished.stderr.contains("ended before all had closed"),
        "{}",
        finished.stderr
    );
}

/// A client that does not answer the close has until the end of the grace, and no longer.
#[test]
fn the_grace_is_a_bound() {
    let server = Server::start(&["--shutdown-grace-ms", "200"]);
    let mut ada = Client::connect(&server);
    ada.expect("welcome");
    let _silent = WebSocket::open(&server, "/ws?room=a");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().status, 0);
}

#[test]
fn a_taken_port_is_said_and_ends_with_status_1() {
    let server = Server::start(&[]);
    let finished = support::sockeye(&["serve", "--port", &server.port.to_string()], &[]);
    assert_eq!(finished.status, 1);
    assert!(
        finished
            .stderr
            .contains(&format!("127.0.0.1:{}", server.port)),
        "{}",
        finished.stderr
    );
}

#[test]
fn the_log_is_text_or_json_on_standard_error() {
    let server = Server::start(&["--log-format", "json", "--log-level", "debug"]);
    drop(Client::connect(&server));
    server.signal(Signal::TERM);
    let finished = server.wait();
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    let mut lines = 0;
    for line in finished.stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("one object per line");
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
        lines += 1;
    }
    assert!(lines > 0);
}

#[test]
fn pages_of_other_origins_need_to_be_named() {
    let server = Server::start(&["--cors-origin", "https://a.example"]);
    let polling = "/socket.io/?EIO=4&transport=polling";
    let websocket = "/socket.io/?EIO=4&transport=websocket";
    for (origin, allowed) in [
        ("http://localhost", true),
        ("https://a.example", true),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let header = format!("Origin: {origin}\r\n");
        let answer = server.request("GET", polling, &header);
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{origin}");
        let opened = WebSocket::try_open_with(&server, websocket, &header);
        assert_eq!(opened.is_ok(), allowed, "{origin}");
        let mut relay = WebSocket::try_open_with(&server, "/ws?room=a", &header).expect("a 101");
        relay.send("hello");
        if !allowed {
            assert_eq!(relay.next(), Some(Message::Close(Some(1008))), "{origin}");
        }
    }
    let answer = server.request("GET", polling, "Origin: https://a.example\r\n");
    assert!(
        answer
            .head
            .contains("access-control-allow-origin: https://a.example")
    );
}

#[test]
fn settings_reach_the_engine() {
    let server = Server::start(&[
        "--path",
        "/live",
        "--ping-interval-ms",
        "7000",
        "--ping-timeout-ms",
        "3000",
        "--max-http-buffer-size",
        "5000",
        "--no-allow-upgrades",
        "--cookie",
        "--cookie-name",
        "route",
        "--max-connections",
        "1",
    ]);
    let path = "/live/?EIO=4&transport=polling";
    let answer = server.get(path);
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("set-cookie: route="),
        "{}",
        answer.head
    );
    let open: serde_json::Value = serde_json::from_slice(&answer.body[1..]).expect("JSON");
    assert_eq!(open["pingInterval"], 7000);
    assert_eq!(open["pingTimeout"], 3000);
    assert_eq!(open["maxPayload"], 5000);
    assert_eq!(open["upgrades"], json!([]));
    assert_eq!(server.get(path).status, 503);
    assert_eq!(
        server.get("/socket.io/?EIO=4&transport=polling").status,
        404
    );
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let file = support::TempFile::new("empty.pem", "");
    let path = file.path().display().to_string();
    for cert in ["/nonexistent/cert.pem", &path] {
        let arguments = [
            "serve",
            "--port",
            "0",
            "--tls-cert",
            cert,
            "--tls-key",
            &path,
        ];
        let finished = support::sockeye(&arguments, &[]);
        assert_eq!(finished.status, 1);
        assert!(
            finished.stderr.contains(&format!("tls.cert = {cert}: ")),
            "{}",
            finished.stderr
        );
    }
}
