//! Connection state recovery: what a socket has missed is told when it returns, or it is told
//! that it cannot be.
//!
//! Every event that is neither volatile nor acknowledged gets an offset from the store before it
//! is sent. Events of a namespace leave in the order of their offsets: while the store is asked,
//! what comes behind waits in the [`Outbox`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sockeye_cluster::{Form, Offset, Reply, SessionRecord, StoreError, StoredPacket};
use sockeye_core::{Class, Key, Message, Queued};
use sockeye_protocol::engine::SocketId;
use sockeye_protocol::socketio::{Args, Limits, ToArgs};

use crate::error::EmitError;
use crate::extract::DisconnectReason;
use crate::namespace::NamespaceInner;
use crate::room::Room;
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
    pub(crate) missed: Vec<Arc<Message>>,
}

/// Events of a namespace that wait for the store, in order.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    draining: bool,
}

struct Waiting {
    offset: Reply<Result<Offset, StoreError>>,
    delivery: Delivery,
}

struct Delivery {
    to: To,
    event: Box<str>,
    args: Args,
    compress: bool,
}

enum To {
    Socket(Socket),
    Rooms(Vec<Room>, Vec<Room>),
}

/// Emits a recoverable event to one socket.
pub(crate) fn emit(
    socket: &Socket,
    event: &str,
    args: Args,
    compress: bool,
) -> Result<Queued, EmitError> {
    let delivery = Delivery {
        to: To::Socket(socket.clone()),
        event: event.into(),
        args,
        compress,
    };
    let rooms = vec![socket.id().into()];
    EmitError::check(publish(
        socket.namespace_inner(),
        rooms,
        Vec::new(),
        delivery,
    ))
}

/// Emits a recoverable event to rooms.
pub(crate) fn broadcast(
    namespace: &Arc<NamespaceInner>,
    (rooms, except): (Vec<Room>, Vec<Room>),
    event: &str,
    args: Args,
    compress: bool,
) -> Result<(), EmitError> {
    let names = |rooms: &[Room]| rooms.iter().map(|room| (**room).into()).collect();
    let (stored_rooms, stored_except) = (names(&rooms), names(&except));
    let delivery = Delivery {
        to: To::Rooms(rooms, except),
        event: event.into(),
        args,
        compress,
    };
    let _ = publish(namespace, stored_rooms, stored_except, delivery);
    Ok(())
}

fn publish(
    namespace: &Arc<NamespaceInner>,
    rooms: Vec<Box<str>>,
    except: Vec<Box<str>>,
    delivery: Delivery,
) -> Queued {
    let stored = Arc::new(store_form(namespace, rooms, except, &delivery));
    let mut outbox = namespace.outbox.lock();
    let offset = namespace
        .server()
        .store
        .append(&namespace.name, stored, now_ms());
    if outbox.waiting.is_empty() && !outbox.draining {
        match offset.into_ready() {
            Ok(offset) => {
                drop(outbox);
                return deliver(namespace, delivery, offset);
            }
            Err(pending) => outbox.waiting.push_back(Waiting {
                offset: pending,
                delivery,
            }),
        }
        outbox.draining = true;
        let (namespace, server) = (namespace.clone(), namespace.server().clone());
        server.spawn(async move { drain(namespace).await });
        return Queued::Queued;
    }
    outbox.waiting.push_back(Waiting { offset, delivery });
    Queued::Queued
}

async fn drain(namespace: Arc<NamespaceInner>) {
    loop {
        let next = {
            let mut outbox = namespace.outbox.lock();
            let next = outbox.waiting.pop_front();
            outbox.draining = next.is_some();
            next
        };
        let Some(Waiting { offset, delivery }) = next else {
            return;
        };
        let offset = offset.await;
        let _ = deliver(&namespace, delivery, offset);
    }
}

fn deliver(
    namespace: &Arc<NamespaceInner>,
    delivery: Delivery,
    offset: Result<Offset, StoreError>,
) -> Queued {
    let Delivery {
        to,
        event,
        args,
        compress,
    } = delivery;
    let args = match &offset {
        Ok(offset) => args.with_str(offset.as_str()),
        Err(error) => {
            // Without an offset it is delivered like any event, and cannot be recovered.
            tracing::warn!(%error, namespace = &*namespace.name, "an event was not stored");
            args
        }
    };
    let message = namespace.encode(None, &event, &args, Class::Normal, compress);
    let message = Arc::new(message);
    match to {
        To::Socket(socket) => socket.send(message),
        To::Rooms(rooms, except) => {
            namespace.deliver(&rooms, &except, &message);
            Queued::Queued
        }
    }
}

fn store_form(
    namespace: &NamespaceInner,
    rooms: Vec<Box<str>>,
    except: Vec<Box<str>>,
    delivery: &Delivery,
) -> StoredPacket {
    let name = (&*delivery.event,)
        .to_args(namespace.parser)
        .unwrap_or_default();
    let all = name.with(&delivery.args);
    let (form, data, attachments) = match (all.as_json(), all.as_msgpack()) {
        (Some((text, attachments)), _) => (
            Form::Json,
            Bytes::copy_from_slice(text.as_bytes()),
            attachments.to_vec(),
        ),
        (None, Some(bytes)) => (Form::MsgPack, bytes.clone(), Vec::new()),
        (None, None) => (Form::Json, Bytes::new(), Vec::new()),
    };
    StoredPacket {
        rooms,
        except,
        form,
        data,
        attachments,
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
    let restored = server
        .store
        .restore(&namespace.name, &pid, offset.as_deref(), now_ms())
        .await;
    let restored = match restored {
        Ok(restored) => restored,
        Err(reason) => {
            server.metrics.recoveries_refused.add(1);
            tracing::debug!(reason = reason.as_str(), "a session was not recovered");
            return None;
        }
    };
    let mut missed = Vec::with_capacity(restored.missed.len());
    for packet in &restored.missed {
        missed.push(Arc::new(replay(namespace, &packet.packet, &packet.offset)?));
    }
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
    })
}

/// Keeps what a socket needs to return, if it was lost in a way from which sockets return. Called
/// while its rooms still stand and nothing is delivered to it any more.
pub(crate) fn save(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    key: Key,
    socket: &Socket,
    reason: DisconnectReason,
) {
    let Some(recovery) = &server.config.recovery else {
        return;
    };
    server.forget_pid(socket);
    if !reason.reason.is_recoverable() {
        return;
    }
    let (rooms, lossy) = worker.call(|shard| {
        let lossy = shard.socket(key).is_some_and(|state| state.is_lossy());
        (shard.rooms_of(key), lossy)
    });
    // Nothing newer than this can have been sent to it.
    let head = server
        .store
        .head(socket.namespace_name())
        .into_ready()
        .ok()
        .and_then(Result::ok);
    let record = socket.for_recovery(|kept| SessionRecord {
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
        lossy,
    });
    let Some(record) = record else { return };
    let ttl = recovery.max_disconnection.as_millis() as u64;
    match server
        .store
        .save_session(record, now_ms(), ttl)
        .into_ready()
    {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a session was not kept for recovery"),
        Err(pending) => server.spawn(async move {
            if let Err(error) = pending.await {
                tracing::warn!(%error, "a session was not kept for recovery");
            }
        }),
    }
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
