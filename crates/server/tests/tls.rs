//! HTTPS and WSS without a proxy in front.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use rustix::process::Signal;
use serde_json::json;
use support::client::{Client, Message, WebSocket};
use support::server::{PATIENCE, Server};
use support::{TempFile, sockeye};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A certificate for `localhost` and its key, as files.
struct Identity {
    cert: TempFile,
    key: TempFile,
    der: CertificateDer<'static>,
}

impl Identity {
    fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("a certificate");
        Identity {
            cert: TempFile::new(&format!("{name}.crt"), &pem("CERTIFICATE", made.cert.der())),
            key: TempFile::new(
                &format!("{name}.key"),
                &pem("PRIVATE KEY", &made.signing_key.serialize_der()),
            ),
            der: made.cert.der().clone(),
        }
    }

    fn flags(&self) -> [String; 2] {
        [
            format!("--tls-cert={}", self.cert.path().display()),
            format!("--tls-key={}", self.key.path().display()),
        ]
    }

    fn serve(&self) -> Server {
        let flags = self.flags();
        Server::start(&flags.each_ref().map(String::as_str))
    }

    /// Connects as a client that trusts this certificate alone, and offers HTTP/2 too.
    fn connect(&self, server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        StreamOwned::new(connection, server.connect())
    }
}

/// The text form of RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

#[test]
fn clients_come_over_https_and_wss() {
    let identity = Identity::new("good");
    let server = identity.serve();
    let link = format!("https://127.0.0.1:{}/", server.port);
    assert!(server.greeting[0].contains(&link), "{}", server.greeting[0]);

    let mut stream = identity.connect(&server);
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("written");
    let mut answer = Vec::new();
    // A server may leave without TLS's own goodbye.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("ok"), "{answer}");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));

    let mut clients = [0, 1].map(|_| {
        let stream = Box::new(identity.connect(&server));
        let path = "/socket.io/?EIO=4&transport=websocket";
        let socket = WebSocket::over(stream, path, "").expect("an upgrade");
        let mut client = Client::over(socket, "40");
        client.expect("welcome");
        client.call(json!(["join", "safe"]));
        client
    });
    let [ada, ben] = &mut clients;
    ada.expect("member:joined");
    // More than one TLS record in both directions.
    let text = "x".repeat(100_000);
    let sent = ben.call(json!(["publish", "safe", "note", text]));
    assert_eq!(sent, json!({"delivered": 1}));
    assert_eq!(ada.expect("message")["data"], text.as_str());

    server.signal(Signal::TERM);
    let last = ada.socket().next();
    assert!(matches!(last, None | Some(Message::Close(_))), "{last:?}");
    assert_eq!(server.wait().status, 0);
}

#[test]
fn who_does_not_speak_tls_is_not_answered_and_harms_nobody() {
    let identity = Identity::new("plain");
    let server = identity.serve();
    let mut stream = server.connect();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let stranger = Identity::new("stranger");
    let mut stream = stranger.connect(&server);
    stream
        .sock
        .set_read_timeout(Some(PATIENCE))
        .expect("an option");
    let refused = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let refused = refused.and_then(|()| stream.flush());
    assert!(refused.is_err(), "a certificate that is not trusted");

    let socket = WebSocket::over(Box::new(identity.connect(&server)), "/ws?room=a", "");
    assert!(socket.is_ok(), "the server goes on");
}

#[test]
fn files_that_are_no_certificate_or_key_are_named() {
    let good = Identity::new("files");
    let other = Identity::new("other");
    let nonsense = TempFile::new("nonsense.pem", "this is no certificate\n");
    let missing = std::env::temp_dir().join("sockeye-no-such-file.pem");
    let path = |file: &TempFile| file.path().display().to_string();
    let (cert, key, nonsense) = (path(&good.cert), path(&good.key), path(&nonsense));
    for (cert, key, setting, file) in [
        (&nonsense, &key, "tls.cert", &nonsense),
        (&cert, &nonsense, "tls.key", &nonsense),
        (&cert, &cert, "tls.key", &cert),
        (&cert, &path(&other.key), "tls.cert", &cert),
        (
            &missing.display().to_string(),
            &key,
            "tls.cert",
            &missing.display().to_string(),
        ),
    ] {
        let flags = [
            "serve".to_owned(),
            "--port=0".to_owned(),
            format!("--tls-cert={cert}"),
            format!("--tls-key={key}"),
        ];
        let run = sockeye(&flags.each_ref().map(String::as_str), &[]);
        assert_ne!(run.status, 0, "{cert} {key}");
        assert!(!run.stdout.contains("listening"), "{}", run.stdout);
        assert!(run.stderr.contains(setting), "{setting}: {}", run.stderr);
        assert!(run.stderr.contains(file.as_str()), "{file}: {}", run.stderr);
    }
    // One without the other.
    let alone = sockeye(&["check", &format!("--tls-cert={cert}")], &[]);
    assert_eq!(alone.status, 2);
    assert!(alone.stderr.contains("tls.key"), "{}", alone.stderr);
}
