//! Where a run connects to, and what it speaks there.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

/// What is spoken with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Socket.IO v5 over Engine.IO v4 over WebSocket.
    SocketIo,
    /// WebSocket messages. The server echoes messages that start with `e` and sends those that
    /// start with `b` to every connection.
    WebSocket,
    /// The bare floor: the same messages in unmasked frames from the first byte on, without any
    /// handshake.
    Floor,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    protocol: Protocol,
    address: SocketAddr,
    host: String,
    path: String,
}

impl Target {
    /// Reads a URL such as `ws://127.0.0.1:3000` or `http://localhost:3000/chat/` and resolves
    /// its host.
    ///
    /// Schemes are `ws`, `http` and `tcp`, all without TLS. Without a path, Socket.IO is expected
    /// at `/socket.io/`; without a port, at 80. The Engine.IO query is added to the path.
    ///
    /// # Errors
    ///
    /// [`TargetError`] if the URL cannot be understood or its host not resolved.
    pub fn parse(url: &str, protocol: Protocol) -> Result<Self, TargetError> {
        let fail = |why| TargetError {
            url: url.to_owned(),
            why,
        };
        let (scheme, rest) = url.split_once("://").ok_or(fail(Why::NoScheme))?;
        match scheme {
            "ws" | "http" | "tcp" => {}
            "wss" | "https" => return Err(fail(Why::Tls)),
            _ => return Err(fail(Why::Scheme)),
        }
        let (host, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let with_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let lookup = if with_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let unresolved = || fail(Why::Unresolved);
        let mut addresses = lookup.to_socket_addrs().map_err(|_| unresolved())?;
        let address = addresses.next().ok_or_else(unresolved)?;
        let path = match (protocol, path) {
            (Protocol::SocketIo, path) => engine_path(path),
            (_, "") => "/".to_owned(),
            (_, path) => path.to_owned(),
        };
        Ok(Self {
            protocol,
            address,
            host: host.to_owned(),
            path,
        })
    }

    /// What is spoken.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where connections go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Host and port as the URL has them.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path and query of the request.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn engine_path(path: &str) -> String {
    const QUERY: &str = "EIO=4&transport=websocket";
    match path.split_once('?') {
        _ if path.is_empty() || path == "/" => format!("/socket.io/?{QUERY}"),
        Some(("", query)) => format!("/socket.io/?{QUERY}&{query}"),
        Some((path, query)) => format!("{path}?{QUERY}&{query}"),
        None => format!("{path}?{QUERY}"),
    }
}

/// A URL that names no server to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError {
    url: String,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    NoScheme,
    Scheme,
    Tls,
    Unresolved,
}

impl TargetError {
    /// Whether the URL asks for TLS, which a load generator should not spend its time on: put it
    /// behind the TLS terminator.
    pub fn is_tls(&self) -> bool {
        self.why == Why::Tls
    }

    /// Whether the URL is well formed but its host has no address.
    pub fn is_unresolved(&self) -> bool {
        self.why == Why::Unresolved
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::NoScheme => "has no scheme; try http://HOST:PORT",
            Why::Scheme => "has a scheme other than ws, http and tcp",
            Why::Tls => {
                "asks for TLS, which is not supported yet: use http:// behind the TLS terminator"
            }
            Why::Unresolved => "names a host that cannot be resolved",
        };
        write!(f, "the URL {:?} {why}", self.url)
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_requests() {
        let table = [
            (
                "ws://127.0.0.1:3000",
                "/socket.io/?EIO=4&transport=websocket",
            ),
            (
                "http://127.0.0.1:3000/",
                "/socket.io/?EIO=4&transport=websocket",
            ),
            (
                "ws://127.0.0.1:3000/chat/",
                "/chat/?EIO=4&transport=websocket",
            ),
            (
                "ws://127.0.0.1:3000?a=b",
                "/socket.io/?EIO=4&transport=websocket&a=b",
            ),
            (
                "ws://127.0.0.1:3000/x/?a=b",
                "/x/?EIO=4&transport=websocket&a=b",
            ),
        ];
        for (url, path) in table {
            let target = Target::parse(url, Protocol::SocketIo).unwrap();
            assert_eq!(target.path(), path, "{url}");
            assert_eq!(target.host(), "127.0.0.1:3000");
            assert_eq!(target.address(), "127.0.0.1:3000".parse().unwrap());
        }
        let plain = Target::parse("ws://127.0.0.1/ws-echo", Protocol::WebSocket).unwrap();
        assert_eq!((plain.path(), plain.address().port()), ("/ws-echo", 80));
        let six = Target::parse("tcp://[::1]:7", Protocol::Floor).unwrap();
        assert_eq!(six.address(), "[::1]:7".parse().unwrap());
    }

    #[test]
    fn refusals_say_why() {
        let error = |url| Target::parse(url, Protocol::WebSocket).unwrap_err();
        assert!(error("wss://127.0.0.1:1").is_tls());
        assert!(error("ws://").is_unresolved());
        assert!(error("127.0.0.1:1").to_string().contains("no scheme"));
        assert!(
            error("ftp://127.0.0.1")
                .to_string()
                .contains("scheme other")
        );
    }
}
