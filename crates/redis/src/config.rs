//! How a node takes part in a cluster on Redis.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};
use sockeye_cluster::{BusError, BusErrorKind, BusKey, NodeId};

use crate::wire::{Streams, SubscriptionMode};

/// Which cluster on which Redis, and as whom.
///
/// ```
/// use sockeye_redis::RedisConfig;
///
/// let config = RedisConfig::new("rediss://user:secret@redis.example:6380/0?prefix=shop", "eu-1")?;
/// assert_eq!(config.prefix(), "shop");
/// # Ok::<(), sockeye_cluster::BusError>(())
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    pub(crate) node: NodeId,
    pub(crate) server: ConnectionInfo,
    pub(crate) mode: RedisMode,
    prefix: Option<Box<str>>,
    secret: Option<Box<[u8]>>,
    pub(crate) root_certificate: Option<Box<[u8]>>,
    pub(crate) socket_channels: bool,
    pub(crate) streams: Streams,
    pub(crate) max_queued_bytes: usize,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) response_timeout: Duration,
}

/// Which format the nodes of a cluster speak; all must speak the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RedisMode {
    /// That of our own nodes: each hears only the rooms that it has members of.
    #[default]
    Native,
    /// That of Node.js' `createAdapter`, for a cluster with Node.js servers.
    Classic,
    /// That of Node.js' `createShardedAdapter` with this mode of subscription; needs Redis 7.
    Sharded(SubscriptionMode),
    /// That of Node.js' streams adapter, as [`RedisConfig::streams`] says.
    Streams,
}

impl RedisMode {
    pub(crate) fn is_sharded(self) -> bool {
        matches!(self, Self::Sharded(_))
    }
}

impl RedisConfig {
    /// A Redis by its URL, and the name of this node, which no other node of the cluster may have.
    ///
    /// URLs are `redis://[user][:password@]host[:port][/db][?prefix=…]`, with `rediss` for TLS (see
    /// [`root_certificate`](RedisConfig::root_certificate)). Publish/subscribe knows no databases: so that clusters in different
    /// ones do not hear each other, the native mode makes a database other than 0 part of the prefix.
    ///
    /// # Errors
    ///
    /// When the URL is none, or has a parameter that is not known.
    pub fn new(url: &str, node: impl Into<NodeId>) -> Result<Self, BusError> {
        let misconfigured = |detail: &str| BusError::with(BusErrorKind::Misconfigured, detail);
        let (plain, query) = url.split_once('?').unwrap_or((url, ""));
        let mut prefix = None;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("prefix", value)) if is_plain(value) => prefix = Some(value.into()),
                Some(("prefix", _)) => {
                    return Err(misconfigured(
                        "the prefix in the URL may have letters, digits and . _ - : only",
                    ));
                }
                _ => return Err(misconfigured("an unknown parameter in the URL of Redis")),
            }
        }
        // What the URL is, is not repeated: it may have a password in it.
        let server = plain.into_connection_info();
        let server = server.map_err(|_| misconfigured("the URL of Redis is not valid"))?;
        let node = node.into();
        if node.as_str().is_empty() || node.as_str().len() > NodeId::MAX_LEN {
            return Err(misconfigured("a node's name has 1 to 255 bytes"));
        }
        Ok(Self {
            node,
            server,
            mode: RedisMode::Native,
            prefix,
            secret: None,
            root_certificate: None,
            socket_channels: false,
            streams: Streams::new(),
            max_queued_bytes: 16 * 1024 * 1024,
            heartbeat_interval: Duration::from_secs(2),
            heartbeat_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
        })
    }

    /// The format. Default: [`RedisMode::Native`].
    #[must_use]
    pub fn mode(mut self, mode: RedisMode) -> Self {
        self.mode = mode;
        self
    }

    /// What the names of channels begin with. Default: what the URL says, else `sockeye`, among
    /// Node.js servers `socket.io`. Kinds of formats must not share one.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Authenticates messages by a secret that all nodes share; in native mode only. Their clocks must
    /// agree within 30 s. Default: none.
    #[must_use]
    pub fn secret(mut self, secret: &[u8]) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// For TLS: the certificate (PEM) that the server's must go back to, instead of those that the system
    /// trusts.
    #[must_use]
    pub fn root_certificate(mut self, pem: &[u8]) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// In native mode: see [`Native::socket_channels`](crate::Native::socket_channels). Default false.
    #[must_use]
    pub fn socket_channels(mut self, socket_channels: bool) -> Self {
        self.socket_channels = socket_channels;
        self
    }

    /// The mode [`RedisMode::Streams`], with these names of streams and channels. They have a prefix of
    /// their own: that of the URL does not count then.
    #[must_use]
    pub fn streams(mut self, streams: Streams) -> Self {
        self.mode = RedisMode::Streams;
        self.streams = streams;
        self
    }

    /// Bytes that may wait to be published while Redis is slow or away; beyond it messages are dropped
    /// and the caller is told. Default: 16 MiB.
    #[must_use]
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.max_queued_bytes = bytes;
        self
    }

    /// How often a node says that it lives, and how long it may be silent before the others stop waiting for
    /// it. Default: 2 s and 10 s.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.heartbeat_interval = interval.max(Duration::from_millis(10));
        self.heartbeat_timeout = timeout.max(interval);
        self
    }

    /// How long Redis may take to answer before the connection is given up. Default: 10 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// What the names of channels begin with.
    pub fn prefix(&self) -> String {
        let prefix = self.prefix.as_deref();
        match self.mode {
            RedisMode::Classic | RedisMode::Sharded(_) => prefix.unwrap_or("socket.io").to_owned(),
            RedisMode::Streams => self.streams.prefix().to_owned(),
            RedisMode::Native => {
                let prefix = prefix.unwrap_or("sockeye");
                match self.server.redis_settings().db() {
                    0 => prefix.to_owned(),
                    db => format!("{prefix}/{db}"),
                }
            }
        }
    }

    /// The key, if messages are authenticated.
    ///
    /// # Errors
    ///
    /// When the mode cannot authenticate.
    pub(crate) fn key(&self) -> Result<Option<BusKey>, BusError> {
        match (&self.secret, self.mode) {
            (Some(secret), RedisMode::Native) => Ok(Some(BusKey::new(secret, &self.prefix()))),
            (Some(_), _) => Err(BusError::with(
                BusErrorKind::Misconfigured,
                "the format of Node.js cannot be authenticated: leave the secret out, or use the native mode",
            )),
            (None, _) => Ok(None),
        }
    }
}

fn is_plain(prefix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    !prefix.is_empty() && prefix.bytes().all(plain)
}

impl fmt::Debug for RedisConfig {
    /// Without the password and the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("node", &self.node)
            .field("server", &self.server.addr().to_string())
            .field("mode", &self.mode)
            .field("prefix", &self.prefix())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_says_where_and_under_which_prefix() {
        for (url, mode, prefix) in [
            ("redis://localhost", RedisMode::Native, "sockeye"),
            ("redis://localhost/3", RedisMode::Native, "sockeye/3"),
            ("redis://localhost/3", RedisMode::Classic, "socket.io"),
            ("redis://localhost/?prefix=a.b", RedisMode::Classic, "a.b"),
            (
                "rediss://u:p@localhost:1/0?prefix=a",
                RedisMode::Native,
                "a",
            ),
        ] {
            let config = RedisConfig::new(url, "n").unwrap().mode(mode);
            assert_eq!(config.prefix(), prefix, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_said_without_repeating_secrets() {
        for url in [
            "http://x",
            "",
            "redis://:hunter2@h/?prfix=a",
            "redis://:hunter2@h/?prefix=%20",
            "hunter2",
        ] {
            let error = RedisConfig::new(url, "n").unwrap_err();
            assert!(
                error.is_fatal() && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
        assert!(RedisConfig::new("redis://h", "").is_err());
        let config = RedisConfig::new("redis://u:hunter2@h/", "n")
            .unwrap()
            .secret(b"hunter3");
        assert!(!format!("{config:?}").contains("hunter"));
        assert!(config.mode(RedisMode::Classic).key().is_err());
    }
}
