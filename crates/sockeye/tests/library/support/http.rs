//! HTTP by hand: one request for each connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;
use super::websocket::Duplex;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// Makes a request. `headers` are lines, each with its end.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let stream = TcpStream::connect(address).await.expect("a connection");
    request_over(Box::new(stream), method, path, headers, body).await
}

pub(crate) async fn request_over(
    mut stream: Box<dyn Duplex>,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(body.as_bytes()).await.expect("written");
    stream.flush().await.expect("written");
    let mut bytes = Vec::new();
    // A TLS peer may leave without a goodbye.
    let _ = soon("an answer", stream.read_to_end(&mut bytes)).await;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).expect("text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_lowercase(), value.trim().to_owned())
    };
    Answer {
        status: status.expect("a status").parse().expect("a number"),
        headers: lines.map(header).collect(),
        body: bytes[end + 4..].to_vec(),
    }
}

/// A session on polling.
#[derive(Clone)]
pub(crate) struct Polling {
    address: SocketAddr,
    pub(crate) sid: String,
}

impl Polling {
    /// Opens a session.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let path = "/socket.io/?EIO=4&transport=polling";
        let answer = request(address, "GET", path, "", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let open: serde_json::Value = serde_json::from_str(&answer.text()[1..]).expect("JSON");
        let sid = open["sid"].as_str().expect("an id").to_owned();
        Polling { address, sid }
    }

    /// Opens a session and joins `/`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let polling = Self::open(address).await;
        polling.post("40").await;
        let greeting = polling.poll().await;
        assert!(greeting.starts_with("40{"), "{greeting}");
        polling
    }

    pub(crate) fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    /// What waits for it.
    pub(crate) async fn poll(&self) -> String {
        let answer = request(self.address, "GET", &self.path(), "", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text().to_owned()
    }

    /// Sends a payload.
    pub(crate) async fn post(&self, body: &str) {
        let answer = request(self.address, "POST", &self.path(), "", body).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
}
