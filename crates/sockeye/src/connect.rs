//! Joining a namespace: find it, recover or ask its middleware, let in or refuse.

use std::sync::Arc;

use sockeye_core::{Key, Message};
use sockeye_protocol::engine::{CloseReason, SocketId};
use sockeye_protocol::socketio::{Args, ToArgs, encode_connect, encode_connect_error};

use crate::dispatch::{handle_waiting, run_moment};
use crate::error::ConnectError;
use crate::extract::Context;
use crate::listeners::Moment;
use crate::namespace::NamespaceInner;
use crate::publish::settled;
use crate::recovery::{self, Recovery};
use crate::server::ServerInner;
use crate::socket::{Socket, SocketState};
use crate::worker::Worker;

/// Decides on a client that asks for a namespace, and runs the connection handlers if it is let in.
pub(crate) async fn connect(
    worker: Arc<Worker>,
    server: Arc<ServerInner>,
    session: Key,
    name: Box<str>,
    auth: Option<Box<Args>>,
) {
    let auth = auth.map_or_else(Args::new, |auth| *auth);
    let Some(seat) = server.find_namespace(&name, &auth, &worker).await else {
        server.metrics.connects_refused.add(1);
        return refuse(
            &worker,
            session,
            &name,
            &ConnectError::new("Invalid namespace"),
        );
    };
    let namespace = seat.namespace().clone();
    let Some(connection) = worker.call(|s| s.session(session).map(|s| s.io.connection.clone()))
    else {
        return;
    };
    let recovered = recovery::restore(&server, &worker, &namespace, &auth).await;
    let socket = match &recovered {
        Some(recovery) => Socket::restored(&connection, &namespace, auth.clone(), recovery),
        None => Socket::connecting(&connection, &namespace, auth.clone()),
    };
    if recovered.is_none() || !server.config.skip_middlewares {
        let context = Context::of_socket(socket.clone(), auth, None);
        let verdict = run_moment(&server, namespace.middlewares(), context).await;
        if let Err(error) = verdict {
            server.metrics.connects_refused.add(1);
            socket.set_state(SocketState::Disconnected);
            socket.release();
            // Before the client hears of it: it may ask again at once.
            recovery::put_back(&server, recovered).await;
            return refuse(&worker, session, &name, &error.into());
        }
    }
    if recovered.is_none() && namespace.is_recoverable() {
        // All that is older is with this worker when the socket is let in, so that it never gets
        // an event from before the place at which its recovery would begin.
        let head = server.store.head(&namespace.name).await.ok();
        settled(&namespace).await;
        socket.set_connected_at(head);
    }
    let entered = let_in(
        &worker,
        &server,
        session,
        &namespace,
        &socket,
        recovered.as_ref(),
    );
    let Some(key) = entered else {
        socket.set_state(SocketState::Disconnected);
        socket.release();
        return recovery::put_back(&server, recovered).await;
    };
    seat.keep();
    drop(recovered);
    let listeners = socket.moment_listeners(Moment::Connection);
    let context = Context::of_socket(socket.clone(), Args::default(), None);
    let _ = run_moment(&server, listeners, context).await;
    handle_waiting(&worker, &server, key, &socket).await;
}

/// Puts the socket into its namespace and its rooms, and greets it, in one step.
fn let_in(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    session: Key,
    namespace: &Arc<NamespaceInner>,
    socket: &Socket,
    recovered: Option<&Recovery>,
) -> Option<Key> {
    let id: SocketId = *socket.socket_id();
    // The call does what waits in the inbox first: all that was published before is delivered, or
    // held if this is a recovery, before the socket stands in its rooms.
    let key = worker.call(|shard| {
        namespace.watch_rooms(shard);
        Worker::relieve_within(shard, session);
        let mut greeting: Vec<Arc<Message>> = Vec::new();
        if let Some(recovered) = recovered {
            let Some(missed) = recovered.missed() else {
                let why = "too much was sent to it while it came back";
                shard.close_now(session, CloseReason::TransportError, why);
                return None;
            };
            greeting.extend(missed);
        }
        let (sid, pid) = (id.as_str(), socket.pid());
        let connect = shard.encode(|parser, out| {
            let packet = encode_connect(parser, &namespace.name, sid, pid.as_deref());
            out.extend_from_slice(&packet.first);
        });
        greeting.push(Arc::new(connect));
        let key = shard.accept(session, &namespace.name, id, &greeting, |key| {
            socket.set_key(key);
            socket.clone()
        })?;
        socket.set_state(SocketState::Connected);
        let restored = recovered
            .iter()
            .flat_map(|recovered| recovered.rooms.iter());
        let early = socket.take_early_rooms();
        for room in restored
            .map(|room| &**room)
            .chain(early.iter().map(|room| &**room))
        {
            let _ = shard.join(key, room);
        }
        Some(key)
    })?;
    let _ = worker.retry_full(None);
    server.remember_pid(socket);
    if recovered.is_some() {
        server.metrics.recoveries.add(1);
    }
    server.metrics.connects.add(1);
    Some(key)
}

fn refuse(worker: &Arc<Worker>, session: Key, name: &str, error: &ConnectError) {
    worker.call(|shard| {
        let answer = shard.encode(|parser, out| {
            let data = error.data().and_then(|data| (data,).to_args(parser).ok());
            let data = data.as_ref().and_then(|data| data.get(0));
            let packet = encode_connect_error(parser, name, error.message(), data);
            out.extend_from_slice(&packet.first);
        });
        Worker::relieve_within(shard, session);
        shard.reject(session, name, &Arc::new(answer));
    });
    let _ = worker.retry_full(None);
}
