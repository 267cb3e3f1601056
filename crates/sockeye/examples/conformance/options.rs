//! The options of the process.

use std::str::FromStr;
use std::time::Duration;

use sockeye::{Cors, DeflateOptions, Parser, Recovery, Server, ServerBuilder, Transport};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Protocol,
    ClientSuite,
    EngineClient,
    Conformance,
    Cluster,
}

pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) profile: Profile,
    pub(crate) node_name: String,
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: usize,
    connect_timeout: u64,
    upgrade_timeout: u64,
    recovery: u64,
    transports: Vec<Transport>,
    deflate: bool,
    compression: bool,
    cors: Option<String>,
    parser: Parser,
}

impl Options {
    pub(crate) fn from_env() -> Self {
        let text = |name: &str| std::env::var(format!("FIXTURE_{name}")).ok();
        let profile = match text("PROFILE").as_deref() {
            Some("protocol") => Profile::Protocol,
            Some("client-suite") => Profile::ClientSuite,
            Some("engine-client") => Profile::EngineClient,
            Some("cluster") => Profile::Cluster,
            None | Some("conformance") => Profile::Conformance,
            Some(other) => fail(&format!("FIXTURE_PROFILE={other} is no profile")),
        };
        let (interval, timeout, payload, connect, recovery) = match profile {
            Profile::Protocol => (300, 200, 1_000_000, 1_000, 0),
            Profile::ClientSuite => (2_000, 20_000, 1_000_000, 45_000, 120_000),
            Profile::EngineClient => (500, 20_000, 100, 45_000, 0),
            Profile::Conformance => (25_000, 20_000, 100_000, 2_000, 0),
            Profile::Cluster => (25_000, 20_000, 1_000_000, 5_000, 0),
        };
        let names = text("TRANSPORTS").unwrap_or_else(|| "polling,websocket".into());
        Options {
            port: number("PORT").unwrap_or_else(|| fail("FIXTURE_PORT is required")),
            profile,
            node_name: text("NODE_NAME").unwrap_or_else(|| "sockeye".into()),
            ping_interval: number("PING_INTERVAL").unwrap_or(interval),
            ping_timeout: number("PING_TIMEOUT").unwrap_or(timeout),
            max_payload: number("MAX_HTTP_BUFFER_SIZE").unwrap_or(payload),
            connect_timeout: number("CONNECT_TIMEOUT").unwrap_or(connect),
            upgrade_timeout: number("UPGRADE_TIMEOUT").unwrap_or(10_000),
            recovery: number("RECOVERY_MS").unwrap_or(recovery),
            transports: names
                .split(',')
                .filter_map(|name| Transport::parse(name.trim()))
                .collect(),
            deflate: text("PERMESSAGE_DEFLATE").as_deref() == Some("1"),
            compression: text("HTTP_COMPRESSION").as_deref() != Some("0"),
            cors: text("CORS_ORIGIN").filter(|origin| !origin.is_empty()),
            parser: match text("PARSER").as_deref() {
                Some("msgpack") => Parser::Msgpack,
                _ => Parser::Json,
            },
        }
    }

    pub(crate) fn builder(&self) -> ServerBuilder {
        let mut builder = Server::builder()
            .ping_interval(Duration::from_millis(self.ping_interval))
            .ping_timeout(Duration::from_millis(self.ping_timeout))
            .max_payload(self.max_payload)
            .connect_timeout(Duration::from_millis(self.connect_timeout))
            .upgrade_timeout(Duration::from_millis(self.upgrade_timeout))
            .transports(&self.transports)
            .http_compression(self.compression.then_some(1024))
            .parser(self.parser);
        if self.recovery > 0 {
            builder = builder.recovery(Recovery::within(Duration::from_millis(self.recovery)));
        }
        if self.deflate {
            builder = builder.per_message_deflate(DeflateOptions::default());
        }
        if let Some(origin) = &self.cors {
            builder = builder.cors(Cors::origin(origin).with_credentials());
        }
        builder
    }
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(format!("FIXTURE_{name}")).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => fail(&format!("FIXTURE_{name}={text} is no number in range")),
    }
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(2)
}
