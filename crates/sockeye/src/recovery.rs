//! Connection state recovery: what a socket has missed is told when it returns, or it is told
//! that it cannot be.
//!
//! Between the moment at which the store tells what a socket has missed and the one at which the
//! socket stands in its rooms again, others go on publishing. So what is delivered on its worker
//! is held for it from before the store is asked; when it is let in, it gets of that what is
//! newer than what the store knew.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sockeye_cluster::{Form, NotRecovered, Offset, SessionRecord, StoredPacket};
use sockeye_core::{Class, Key, Message};
use sockeye_protocol::engine::SocketId;
use sockeye_protocol::socketio::{Args, Limits};

use crate::extract::DisconnectReason;
use crate::namespace::NamespaceInner;
use crate::publish::{Hold, settled};
use crate::server::ServerInner;
use crate::socket::Socket;
use crate::worker::Worker;

/// What a returning socket gets back.
pub(crate) struct Recovery {
    pub(crate) id: SocketId,
    pub(crate) pid: Box<str>,
    pub(crate) rooms: Vec<Box<str>>,
    pub(crate) data: Option<String>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) connected_at: Option<Offset>,
    missed: Vec<Arc<Message>>,
    /// Up to where `missed` is complete.
    head: Offset,
    hold: Hold,
    /// What was taken out of the store, and when it was put there.
    taken: (SessionRecord, u64),
}

impl Recovery {
    /// All that it has missed by now, in order. Only inside a call of its worker, in the one that
    /// lets it in. `None` when that was too much to be held.
    pub(crate) fn missed(&self) -> Option<Vec<Arc<Message>>> {
        let mut missed = self.missed.clone();
        missed.extend(self.hold.since(self.head, &self.id, &self.rooms)?);
        Some(missed)
    }
}

/// A stored packet as it is sent to a socket that missed it.
fn replay(namespace: &NamespaceInner, stored: &StoredPacket, offset: &Offset) -> Option<Message> {
    let limits = Limits {
        max_args: usize::MAX,
        max_attachments: usize::MAX,
        ..Limits::default()
    };
    let all = match stored.form {
        Form::MsgPack => Args::from_msgpack(stored.data.clone(), &limits).ok()?,
        _ => {
            let text = std::str::from_utf8(&stored.data).ok()?;
            Args::from_json(text, stored.attachments.clone(), &limits).ok()?
        }
    };
    let event = all.get(0)?.string()?;
    let args = all
        .skip(1)
        .to_parser(namespace.parser)
        .with_str(offset.as_str());
    Some(namespace.encode(None, &event, &args, Class::Normal, true))
}

/// Looks for the session that a connecting client claims.
pub(crate) async fn restore(
    server: &Arc<ServerInner>,
    worker: &Arc<Worker>,
    namespace: &Arc<NamespaceInner>,
    auth: &Args,
) -> Option<Recovery> {
    if !namespace.is_recoverable() {
        return None;
    }
    #[derive(serde::Deserialize)]
    struct Claim {
        pid: Option<String>,
        offset: Option<String>,
    }
    let claim: Claim = auth.get(0)?.deserialize().ok()?;
    let (pid, offset) = (claim.pid?, claim.offset);
    if let Some(old) = server.find_by_pid(&namespace.name, &pid) {
        // The client is back before its old connection was found to be dead.
        let connection = old.connection().clone();
        let gone = connection.worker.clone().ask(move |shard| {
            let reason = sockeye_protocol::engine::CloseReason::TransportClose;
            shard.close_now(connection.key(), reason, "its client has come back");
        });
        let _ = gone.await;
        worker.request_turn();
        old.closed().await;
    }
    let hold = Hold::new(namespace, worker);
    let refused = |reason: NotRecovered| {
        server.metrics.recoveries_refused.add(1);
        tracing::debug!(reason = reason.as_str(), "a session was not recovered");
    };
    let restored = server
        .store
        .restore(&namespace.name, &pid, offset.as_deref(), now_ms())
        .await
        .map_err(refused)
        .ok()?;
    if namespace.has_gap() {
        return refused_for_gap(server);
    }
    // What the store knew of is on its way to the workers, or was there before: see `let_in`.
    settled(namespace).await;
    let mut missed = Vec::with_capacity(restored.missed.len());
    let mut bytes = 0;
    for packet in &restored.missed {
        let message = replay(namespace, &packet.packet, &packet.offset)?;
        bytes += message.cost();
        missed.push(Arc::new(message));
    }
    if bytes > server.config.core.max_queued_bytes {
        // Its queue could not take it, and half of it would be worse than nothing.
        refused(NotRecovered::Limit);
        return None;
    }
    let taken = (restored.session.clone(), restored.saved_at_ms);
    let session = restored.session;
    Some(Recovery {
        id: SocketId::parse(&session.socket_id).ok()?,
        pid: session.pid,
        rooms: session.rooms,
        data: String::from_utf8(session.data.to_vec())
            .ok()
            .filter(|data| !data.is_empty()),
        user: session.user.map(|user| (*user).into()),
        connected_at: session.connected_at,
        missed,
        head: restored.head,
        hold,
        taken,
    })
}

/// Gives a session back to the store whose client could not be let in, because it has gone again
/// or the middleware has refused it: it may still return, within what is left of its time.
pub(crate) async fn put_back(server: &Arc<ServerInner>, recovery: Option<Recovery>) {
    let (Some(recovery), Some(config)) = (recovery, &server.config.recovery) else {
        return;
    };
    let (record, saved_at) = recovery.taken;
    let ttl = config.max_disconnection.as_millis() as u64;
    if let Err(error) = server.store.save_session(record, saved_at, ttl).await {
        tracing::warn!(%error, "a session whose client has gone again was not kept for recovery");
    }
}

/// An event is missing from the store: it cannot be said that nothing is missing.
fn refused_for_gap(server: &ServerInner) -> Option<Recovery> {
    server.metrics.recoveries_refused.add(1);
    tracing::debug!("a session was not recovered: an event could not be stored while it was away");
    None
}

/// Keeps what a socket needs to return, if it was lost in a way from which sockets return. Called
/// while its rooms still stand and nothing is delivered to it any more.
///
/// Until it is kept the socket can be found by its pid: a client that is back already waits for
/// it, and does not ask the store too early.
pub(crate) async fn save(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    key: Key,
    socket: &Socket,
    reason: DisconnectReason,
) {
    let Some(recovery) = &server.config.recovery else {
        return;
    };
    if reason.reason.is_recoverable()
        && let Some(record) = record(worker, server, key, socket).await
    {
        let ttl = recovery.max_disconnection.as_millis() as u64;
        if let Err(error) = server.store.save_session(record, now_ms(), ttl).await {
            tracing::warn!(%error, "a session was not kept for recovery");
        }
    }
    server.forget_pid(socket);
}

async fn record(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    key: Key,
    socket: &Socket,
) -> Option<SessionRecord> {
    let rooms = worker.call(|shard| shard.rooms_of(key));
    // Nothing newer than this can have been sent to it.
    let head = server.store.head(socket.namespace_name()).await.ok();
    socket.for_recovery(|kept| SessionRecord {
        pid: kept.pid.into(),
        socket_id: socket.id().into(),
        namespace: socket.namespace_name().into(),
        rooms: rooms
            .iter()
            .skip(1)
            .map(|room| room.as_str().into())
            .collect(),
        data: Bytes::copy_from_slice(kept.data.unwrap_or_default().as_bytes()),
        user: kept.user.map(Into::into),
        connected_at: kept.connected_at,
        last_offset: head,
        left_at: kept.left_at,
        // A queue that has no room for a recoverable event ends its connection; the store has it.
        lossy: false,
    })
}

/// How often what has expired is dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Drops what has expired, now and then, until the server is closed.
pub(crate) async fn sweep(server: Arc<ServerInner>) {
    while !server.is_closing() {
        if let Err(error) = server.store.sweep(now_ms()).await {
            tracing::warn!(%error, "expired sessions could not be dropped");
        }
        let stopped = server.stop.notified();
        let _ = tokio::time::timeout(SWEEP_INTERVAL, stopped).await;
    }
}

/// The store's clock: milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}
