//! Connecting, and what went wrong.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, RedisError, ServerErrorKind,
    TlsCertificates,
};
use sockeye_cluster::{BusError, BusErrorKind};

use super::ears::{self, Source, Subscriber};
use crate::RedisConfig;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits longer and longer between attempts, each time between half and all of it at random: so that the
/// nodes of a cluster do not come back all at once.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST_WAIT)
    }

    /// How long to wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0.mul_f64(rand::random_range(0.5..1.0));
        self.0 = (self.0 * 2).min(LONGEST_WAIT);
        wait
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST_WAIT;
    }
}

/// A connection to publish on.
pub(super) async fn publisher(config: &RedisConfig) -> Result<MultiplexedConnection, BusError> {
    let client = client(config)?;
    // The deadline for answers is the outbox's business.
    let options = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.response_timeout))
        .set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&options);
    let mut connection = connecting.await.map_err(|failed| error(&failed))?;
    // Without a password a connection is made and each command is refused.
    let ping = redis::cmd("PING");
    let pong = ping.query_async::<String>(&mut connection);
    match tokio::time::timeout(config.response_timeout, pong).await {
        Ok(answer) => answer.map_err(|failed| error(&failed))?,
        Err(_) => return Err(in_time()),
    };
    Ok(connection)
}

/// A connection to listen on.
pub(super) async fn listener(config: &RedisConfig) -> Result<(Subscriber, Source), BusError> {
    let client = client(config)?;
    let connecting = async {
        if !config.mode.is_sharded() {
            return client.get_async_pubsub().await.map(ears::plain);
        }
        let (pushes, pushed) = tokio::sync::mpsc::unbounded_channel();
        let options = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_push_sender(pushes);
        let connection = client
            .get_multiplexed_async_connection_with_config(&options)
            .await?;
        Ok(ears::sharded(connection, pushed))
    };
    match tokio::time::timeout(config.response_timeout, connecting).await {
        Ok(connection) => connection.map_err(|failed| error(&failed)),
        Err(_) => Err(in_time()),
    }
}

fn client(config: &RedisConfig) -> Result<Client, BusError> {
    // For TLS; whoever has chosen another provider before has theirs.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let mut server = config.server.clone();
    if config.mode.is_sharded() {
        // Only there messages of shards are pushed beside answers.
        let settings = server.redis_settings().clone();
        server = server.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
    }
    let client = match (&config.root_certificate, server.addr()) {
        (Some(root), redis::ConnectionAddr::TcpTls { .. }) => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(root.to_vec()),
            };
            Client::build_with_tls(server, certificates)
        }
        _ => Client::open(server),
    };
    client.map_err(|failed| error(&failed))
}

fn in_time() -> BusError {
    BusError::with(BusErrorKind::Unavailable, "Redis does not answer in time")
}

/// What an error of Redis, or on the way there, means for a node.
pub(super) fn error(failed: &RedisError) -> BusError {
    let denied = matches!(failed.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    let kind = match failed.kind() {
        _ if denied => BusErrorKind::Denied,
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
            BusErrorKind::Denied
        }
        ErrorKind::InvalidClientConfig => BusErrorKind::Misconfigured,
        _ => BusErrorKind::Unavailable,
    };
    BusError::with(kind, failed.to_string())
}
