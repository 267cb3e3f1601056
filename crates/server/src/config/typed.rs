//! The configuration as the program reads it: typed, and consistent across keys.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::definition::Setting;
use super::table;
use super::value::Value;
use super::{ConfigError, Problem, Settings};

/// The effective configuration. The settings of the same names say what each field means.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) workers: usize,
    pub(crate) io_uring: sockeye::IoUring,
    pub(crate) node: String,
    pub(crate) shutdown_grace: Duration,
    pub(crate) polling_close_timeout: Duration,
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
    pub(crate) allow_upgrades: bool,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) max_http_buffer_size: usize,
    pub(crate) cors: Cors,
    /// The name of the session cookie, if there is to be one.
    pub(crate) cookie: Option<String>,
    pub(crate) deflate: Option<Deflate>,
    /// The smallest polling answer that is compressed, if any is.
    pub(crate) http_compression: Option<usize>,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<Tls>,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) playground: bool,
    pub(crate) metrics: bool,
    pub(crate) relay: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Cors {
    pub(crate) any: bool,
    pub(crate) origins: Vec<String>,
    pub(crate) patterns: Vec<regex::Regex>,
    pub(crate) credentials: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Deflate {
    pub(crate) threshold: usize,
    pub(crate) level: u8,
    pub(crate) window_bits: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    pub(crate) window: Duration,
    pub(crate) skip_middlewares: bool,
    pub(crate) max_packets: usize,
    pub(crate) max_bytes: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) outbound_bytes: usize,
    pub(crate) outbound_total_bytes: usize,
    pub(crate) inbound_events: usize,
    pub(crate) inbound_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) handshakes: usize,
    pub(crate) namespaces: usize,
    pub(crate) rooms: usize,
    pub(crate) listed_members: usize,
    pub(crate) pending_acks: usize,
    pub(crate) ack_timeout: Duration,
    pub(crate) attachments: usize,
    pub(crate) json_depth: usize,
    pub(crate) arguments: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Makes the typed configuration.
    ///
    /// # Errors
    ///
    /// Values that do not go together, such as a certificate without its key.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        ConfigError::check(conflicts(settings))?;
        let of = Reader(settings);
        let transports = of.list(&table::TRANSPORTS);
        let origins = of.list(&table::CORS_ORIGINS);
        Ok(Self {
            host: of.text(&table::HOST).to_owned(),
            port: of.number(&table::PORT) as u16,
            path: of.text(&table::PATH).trim_end_matches('/').to_owned(),
            io_uring: match of.text(&table::IO_URING) {
                "off" => sockeye::IoUring::Off,
                _ => sockeye::IoUring::Auto,
            },
            workers: match of.size(&table::WORKERS) {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                workers => workers,
            },
            node: match of.text(&table::NODE) {
                "" => host_name(),
                name => name.to_owned(),
            },
            shutdown_grace: of.duration(&table::SHUTDOWN_GRACE),
            polling_close_timeout: of.duration(&table::POLLING_CLOSE_TIMEOUT),
            polling: transports.iter().any(|name| name == "polling"),
            websocket: transports.iter().any(|name| name == "websocket"),
            allow_upgrades: of.switch(&table::ALLOW_UPGRADES),
            ping_interval: of.duration(&table::PING_INTERVAL),
            ping_timeout: of.duration(&table::PING_TIMEOUT),
            connect_timeout: of.duration(&table::CONNECT_TIMEOUT),
            upgrade_timeout: of.duration(&table::UPGRADE_TIMEOUT),
            write_timeout: of.duration(&table::WRITE_TIMEOUT),
            header_timeout: of.duration(&table::HEADER_TIMEOUT),
            body_timeout: of.duration(&table::BODY_TIMEOUT),
            max_http_buffer_size: of.size(&table::MAX_HTTP_BUFFER_SIZE),
            cors: Cors {
                any: origins.iter().any(|origin| origin == "*"),
                origins: origins
                    .iter()
                    .filter(|origin| *origin != "*")
                    .cloned()
                    .collect(),
                // Each pattern has been compiled when it was read; the anchors make it match
                // whole origins only.
                patterns: of
                    .list(&table::CORS_PATTERNS)
                    .iter()
                    .filter_map(|pattern| regex::Regex::new(&format!("^(?:{pattern})$")).ok())
                    .collect(),
                credentials: of.switch(&table::CORS_CREDENTIALS),
            },
            cookie: of
                .switch(&table::COOKIE_ENABLED)
                .then(|| of.text(&table::COOKIE_NAME).to_owned()),
            deflate: of.switch(&table::DEFLATE).then(|| Deflate {
                threshold: of.size(&table::DEFLATE_THRESHOLD),
                level: of.number(&table::DEFLATE_LEVEL) as u8,
                window_bits: of.number(&table::DEFLATE_WINDOW_BITS) as u8,
            }),
            http_compression: of
                .switch(&table::HTTP_COMPRESSION)
                .then(|| of.size(&table::HTTP_COMPRESSION_THRESHOLD)),
            recovery: of.switch(&table::RECOVERY_ENABLED).then(|| Recovery {
                window: of.duration(&table::RECOVERY_WINDOW),
                skip_middlewares: of.switch(&table::RECOVERY_SKIP_MIDDLEWARES),
                max_packets: of.size(&table::RECOVERY_MAX_PACKETS),
                max_bytes: of.size(&table::RECOVERY_MAX_BYTES),
            }),
            limits: Limits {
                outbound_bytes: of.size(&table::OUTBOUND_BYTES),
                outbound_total_bytes: of.size(&table::OUTBOUND_TOTAL),
                inbound_events: of.size(&table::INBOUND_EVENTS),
                inbound_bytes: of.size(&table::INBOUND_BYTES),
                max_connections: of.size(&table::MAX_CONNECTIONS),
                handshakes: of.size(&table::HANDSHAKES),
                namespaces: of.size(&table::NAMESPACES),
                rooms: of.size(&table::ROOMS),
                listed_members: of.size(&table::LISTED_MEMBERS),
                pending_acks: of.size(&table::PENDING_ACKS),
                ack_timeout: of.duration(&table::ACK_TIMEOUT),
                attachments: of.size(&table::ATTACHMENTS),
                json_depth: of.size(&table::JSON_DEPTH),
                arguments: of.size(&table::ARGUMENTS),
            },
            tls: match (of.text(&table::TLS_CERT), of.text(&table::TLS_KEY)) {
                ("", _) => None,
                (cert, key) => Some(Tls {
                    cert: cert.into(),
                    key: key.into(),
                }),
            },
            log_level: of.text(&table::LOG_LEVEL).to_owned(),
            log_format: match of.text(&table::LOG_FORMAT) {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            },
            playground: of.switch(&table::PLAYGROUND),
            metrics: of.switch(&table::METRICS),
            relay: of.switch(&table::RELAY),
        })
    }

    /// Whether only processes of this machine can reach the server.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Values that are fine alone and wrong together.
fn conflicts(settings: &Settings) -> Vec<Problem> {
    let of = Reader(settings);
    let mut problems = Vec::new();
    let mut conflict = |setting: &Setting, reason: &str| {
        let value = settings.get(setting);
        problems.push(Problem::Conflict {
            key: format!("{} = {value}", setting.path),
            reason: reason.to_owned(),
        });
    };
    if !is_loopback(of.text(&table::HOST)) && !of.switch(&table::ALLOW_UNAUTHENTICATED) {
        conflict(
            &table::HOST,
            "without authentication keys the server is in development mode and listens on \
             loopback only (127.0.0.1, ::1, localhost), because everybody who reaches it may \
             join every room; to serve other machines all the same, set \
             server.allow_unauthenticated = true (--allow-unauthenticated)",
        );
    }
    if of.list(&table::TRANSPORTS).is_empty() {
        conflict(
            &table::TRANSPORTS,
            "at least one transport is needed: polling, websocket",
        );
    }
    if of.switch(&table::CORS_CREDENTIALS)
        && of
            .list(&table::CORS_ORIGINS)
            .iter()
            .any(|origin| origin == "*")
    {
        conflict(
            &table::CORS_ORIGINS,
            "cannot be combined with cors.credentials: any page could act for its visitor; list \
             the origins",
        );
    }
    match (of.text(&table::TLS_CERT), of.text(&table::TLS_KEY)) {
        ("", "") => {}
        (_, "") => conflict(&table::TLS_CERT, "needs tls.key beside it"),
        ("", _) => conflict(&table::TLS_KEY, "needs tls.cert beside it"),
        (_, _) => {}
    }
    problems
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The name of the machine, as far as it is told.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(64)
        .collect();
    if name.is_empty() {
        "sockeye".to_owned()
    } else {
        name
    }
}

/// Reads settings by type. A setting of another type than asked for would be a mistake in this
/// file, which the tests find because they read every field.
struct Reader<'a>(&'a Settings);

impl<'a> Reader<'a> {
    fn switch(&self, setting: &Setting) -> bool {
        matches!(self.0.get(setting), Value::Switch(true))
    }

    fn number(&self, setting: &Setting) -> u64 {
        match self.0.get(setting) {
            Value::Integer(number) => *number,
            _ => 0,
        }
    }

    /// A count or a size; the bounds in the table are within 64 bits of address space.
    fn size(&self, setting: &Setting) -> usize {
        usize::try_from(self.number(setting)).unwrap_or(usize::MAX)
    }

    fn duration(&self, setting: &Setting) -> Duration {
        Duration::from_millis(self.number(setting))
    }

    fn text(&self, setting: &Setting) -> &'a str {
        match self.0.get(setting) {
            Value::Text(text) => text,
            _ => "",
        }
    }

    fn list(&self, setting: &Setting) -> &'a [String] {
        match self.0.get(setting) {
            Value::List(entries) => entries,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_by_any_name() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "localhost",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "0.0.0.0",
            "::",
            "192.168.1.1",
            "example.com",
            "localhost.example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_defaults_are_consistent() {
        let config = Config::new(&Settings::defaults()).expect("defaults");
        assert_eq!(config.port, 3000);
        assert_eq!(config.path, "/socket.io");
        assert!(config.polling && config.websocket && config.allow_upgrades);
        assert!(config.cookie.is_none() && config.deflate.is_none() && config.recovery.is_none());
        assert_eq!(config.http_compression, Some(1024));
        assert!(config.workers >= 1 && !config.node.is_empty());
        assert!(config.is_loopback());
        assert_eq!(config.limits.inbound_events, 64);
        assert_eq!(config.limits.ack_timeout, Duration::from_secs(30));
    }
}
