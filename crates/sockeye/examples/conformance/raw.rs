//! Echo without Socket.IO: plain WebSocket and raw Engine.IO.

use std::time::SystemTime;

use http::HeaderValue;
use http::header::SET_COOKIE;
use sockeye::websocket::WebSocketOptions;
use sockeye::{DeflateOptions, EngineSocket, HandshakeResponse, Refusal, Server, WebSocket};

const ECHO_LIMIT: usize = 64 << 20;

pub(crate) fn websocket_echo(server: &Server) {
    let options = WebSocketOptions {
        max_message_size: ECHO_LIMIT,
        ping_interval: None,
        deflate: Some(DeflateOptions {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            ..DeflateOptions::default()
        }),
        ..WebSocketOptions::default()
    };
    server.websocket("/ws-echo", options, async |mut socket: WebSocket| {
        while let Some(message) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    });
}

pub(crate) fn engine_echo(server: &Server) {
    server.engine("/engine.io", async |mut socket: EngineSocket| {
        while let Some(message) = socket.recv().await {
            let sent = match message.as_text() {
                Some(text) => socket.send_text(text),
                None => socket.send_binary(message.as_bytes()),
            };
            if sent.is_err() {
                return;
            }
        }
    });
}

pub(crate) fn engine_client(server: &Server) {
    server.on_handshake(async |request| {
        if request.query_value("deny").is_some() {
            return Err(Refusal::new());
        }
        let now = SystemTime::now();
        let cookies = [
            "1=1; Max-Age=86400".to_owned(),
            "2=2; Path=/; HttpOnly; Secure; SameSite=Strict".to_owned(),
            "3=3; Max-Age=0".to_owned(),
            format!("4=4; Expires={}", httpdate::fmt_http_date(now)),
        ];
        let mut response = HandshakeResponse::new();
        for cookie in cookies
            .iter()
            .filter_map(|cookie| HeaderValue::from_str(cookie).ok())
        {
            response = response.header(SET_COOKIE, cookie);
        }
        Ok(response)
    });
    server.engine("/engine.io", async |mut socket: EngineSocket| {
        if socket.send_text("hi").is_err() {
            return;
        }
        while let Some(message) = socket.recv().await {
            let sent = match message.as_text() {
                Some("give binary") => socket.send_binary(&[0, 1, 2, 3, 4]),
                Some("give utf8") => socket.send_text("пойду спать всем спокойной ночи"),
                Some("sendHeaders") => {
                    let headers = message.request_headers().into_iter().flatten();
                    let fields = headers.map(|(name, value)| {
                        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                        (name.as_str().to_owned(), value.into())
                    });
                    let fields: serde_json::Map<_, _> = fields.collect();
                    socket.send_text(&serde_json::Value::Object(fields).to_string())
                }
                Some(text) => socket.send_text(text),
                None => socket.send_binary(message.as_bytes()),
            };
            if sent.is_err() {
                return;
            }
        }
    });
}
