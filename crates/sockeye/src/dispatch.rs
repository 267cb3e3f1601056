//! Carrying out what a shard asks for: events to handlers, goodbyes, messages.
//!
//! A handler is polled once where it stands. Only one that has to wait becomes a task of its own;
//! that task then also runs the events that have queued up behind it, so that one socket's events
//! are handled in order and one at a time.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use sockeye_core::{Effect, EngineData, Key};
use sockeye_protocol::engine::CloseReason;
use sockeye_protocol::socketio::{Args, Packet, ToArgs};
use sockeye_websocket::close_code;

use crate::ack::Reply;
use crate::engine::EngineMessage;
use crate::error::EventError;
use crate::extract::{Context, DisconnectReason};
use crate::handler::{ErasedHandler, HandlerFuture};
use crate::listeners::{Listener, Moment};
use crate::net::{Io, Net, PollAnswer, Writer};
use crate::server::ServerInner;
use crate::socket::{Socket, SocketState};
use crate::worker::{Signal, Worker};

/// Does one thing a shard has asked for.
pub(crate) fn execute(worker: &Arc<Worker>, server: &Arc<ServerInner>, effect: Effect<Net>) {
    match effect {
        Effect::Connect {
            session,
            namespace,
            auth,
        } => {
            let job =
                crate::connect::connect(worker.clone(), server.clone(), session, namespace, auth);
            run(worker, server, Box::pin(job));
        }
        Effect::Event {
            socket,
            host,
            packet,
        } => handle(worker, server, socket, host, packet),
        Effect::Message { session, data } => deliver_raw(worker, session, data),
        Effect::Disconnecting {
            socket,
            host,
            reason,
            detail,
        } => {
            let reason = DisconnectReason { reason, detail };
            let job = disconnect(worker.clone(), server.clone(), socket, host, reason);
            run(worker, server, Box::pin(job));
        }
        Effect::Closed {
            session: _,
            io,
            reason,
            detail,
        } => close(server, io, reason, detail),
        Effect::EndProbe { session } => {
            let probe = worker.call(|shard| shard.session_mut(session)?.io.probe.take());
            if let Some(probe) = probe {
                probe.close(close_code::NO_STATUS);
            }
        }
        Effect::Engine { session, event } => worker.engine_watch.tell(server, session, event),
        Effect::Room { host, room, change } => {
            let namespace = host.namespace_inner();
            namespace.room_watch.tell(server, &host, room, change);
        }
        Effect::Resume { session } => worker.call(|shard| {
            let Some(session) = shard.session(session) else {
                return;
            };
            session.io.connection.room.notify_waiters();
            if let Writer::WebSocket { link, .. } = &session.io.writer {
                link.signal(Signal::Resume);
            }
        }),
    }
}

/// Polls a job once where it stands, and spawns it if it has to wait.
fn run(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    mut job: Pin<Box<dyn Future<Output = ()> + Send>>,
) {
    let mut cx = TaskContext::from_waker(Waker::noop());
    match catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(&mut cx))) {
        Ok(Poll::Ready(())) => {}
        Ok(Poll::Pending) => {
            let (worker, server) = (worker.clone(), server.clone());
            worker.clone().spawn(async move {
                job.await;
                worker.pump(&server);
            });
        }
        Err(panic) => panicked(server, "a connection or disconnection", &*panic),
    }
}

/// Handles an event, and those that wait behind it.
fn handle(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    key: Key,
    socket: Socket,
    packet: Packet,
) {
    let mut next = Some(packet);
    while let Some(packet) = next {
        let mut running = Running::start(server, &socket, packet);
        let mut cx = TaskContext::from_waker(Waker::noop());
        if Pin::new(&mut running).poll(&mut cx).is_pending() {
            let (worker, server) = (worker.clone(), server.clone());
            worker
                .clone()
                .spawn(handle_rest(worker, server, key, socket, running));
            return;
        }
        next = worker.call(|shard| shard.next_event(key));
    }
}

async fn handle_rest(
    worker: Arc<Worker>,
    server: Arc<ServerInner>,
    key: Key,
    socket: Socket,
    running: Running,
) {
    running.await;
    worker.pump(&server);
    while let Some(packet) = worker.call(|shard| shard.next_event(key)) {
        Running::start(&server, &socket, packet).await;
        worker.pump(&server);
    }
    worker.pump(&server);
}

/// Handles what came while the connection handlers ran.
pub(crate) async fn handle_waiting(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    key: Key,
    socket: &Socket,
) {
    while let Some(packet) = worker.call(|shard| shard.next_event(key)) {
        Running::start(server, socket, packet).await;
    }
}

/// An event that is being handled; completes when it has been answered.
struct Running {
    server: Arc<ServerInner>,
    socket: Socket,
    event: sockeye_protocol::Text,
    ack: Option<u64>,
    future: Option<HandlerFuture>,
}

impl Running {
    fn start(server: &Arc<ServerInner>, socket: &Socket, packet: Packet) -> Self {
        let (event, ack) = (packet.event.clone(), packet.id);
        let namespace = socket.namespace_inner().listeners();
        let own = socket.own_listeners(&event);
        let context = Context::of_event(socket.clone(), packet);
        let future = match (namespace.of_event(&event), &own) {
            ([only], None) if namespace.is_plain() && !only.once => {
                Some(start_handler(server, &*only.handler, context))
            }
            ([], None) if namespace.is_plain() && !namespace.has_fallback() => None,
            (listeners, own) => {
                let mut all: Vec<Listener> = namespace.of_moment(Moment::Any).cloned().collect();
                let mut guards: Vec<Listener> =
                    namespace.of_moment(Moment::Packet).cloned().collect();
                let mut own_listeners: &[Listener] = &[];
                if let Some(own) = own {
                    guards.extend(own.of_moment(Moment::Packet).cloned());
                    all.extend(own.of_moment(Moment::Any).cloned());
                    own_listeners = own.of_event(&event);
                }
                all.extend(listeners.iter().chain(own_listeners).cloned());
                if listeners.is_empty() && own_listeners.is_empty() {
                    let own = own.iter().flat_map(|own| own.of_moment(Moment::Fallback));
                    all.extend(namespace.of_moment(Moment::Fallback).chain(own).cloned());
                }
                Some(Box::pin(handle_all(server.clone(), guards, all, context)) as HandlerFuture)
            }
        };
        Running {
            server: server.clone(),
            socket: socket.clone(),
            event,
            ack,
            future,
        }
    }

    fn finish(&mut self, reply: Reply) {
        let Some(id) = self.ack else { return };
        let sent = match reply {
            Reply::None => return,
            Reply::Answer(args) => self.socket.send_ack(id, &args),
            Reply::Error(error) => error_args(&self.socket, &error)
                .map_or(Ok(()), |args| self.socket.send_ack(id, &args)),
        };
        if sent.is_err() {
            tracing::debug!(
                event = &*self.event,
                "an acknowledgement found its connection gone"
            );
        }
    }
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(mut future) = self.future.take() else {
            return Poll::Ready(());
        };
        let begun = self.socket.connection().worker.now_micros();
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let took = Duration::from_micros(
            self.socket
                .connection()
                .worker
                .touch()
                .saturating_sub(begun),
        );
        if took >= self.server.config.blocking_limit {
            self.server.metrics.blocking_handlers.add(1);
            tracing::warn!(
                event = &*self.event,
                namespace = self.socket.namespace_name(),
                took_ms = took.as_millis() as u64,
                "a handler blocks its worker: every connection of the worker waits; move the work \
                 to `tokio::task::spawn_blocking`"
            );
        }
        match polled {
            Ok(Poll::Ready(reply)) => self.finish(reply),
            Ok(Poll::Pending) => {
                self.future = Some(future);
                return Poll::Pending;
            }
            Err(panic) => {
                panicked(&self.server, &self.event.clone(), &*panic);
                self.finish(Reply::Error(internal_error()));
            }
        }
        Poll::Ready(())
    }
}

/// Runs the guards, then every listener in turn; the first answer counts.
async fn handle_all(
    server: Arc<ServerInner>,
    guards: Vec<Listener>,
    listeners: Vec<Listener>,
    mut context: Context,
) -> Reply {
    let answered = context.share_answer();
    for guard in guards {
        if let Reply::Error(error) = start_handler(&server, &*guard.handler, context.again()).await
        {
            return Reply::Error(error);
        }
    }
    let mut answer = Reply::None;
    for listener in listeners {
        if listener.once && !context.socket.forget_listener(listener.id) {
            continue;
        }
        let reply = start_handler(&server, &*listener.handler, context.again()).await;
        if matches!(answer, Reply::None) {
            answer = reply;
        }
    }
    if !matches!(answer, Reply::None) && answered.swap(true, Ordering::AcqRel) {
        return Reply::None;
    }
    answer
}

/// Calls a handler; a panic before its future exists is the same as one in it.
fn start_handler(
    server: &Arc<ServerInner>,
    handler: &dyn ErasedHandler,
    context: Context,
) -> HandlerFuture {
    let event = context.event.clone();
    let socket = context.socket.clone();
    match catch_unwind(AssertUnwindSafe(|| handler.call(context))) {
        Ok(future) => future,
        Err(panic) => {
            let what = if event.is_empty() {
                socket.namespace_name()
            } else {
                event.as_str()
            };
            panicked(server, what, &*panic);
            Box::pin(std::future::ready(Reply::Error(internal_error())))
        }
    }
}

/// Runs all listeners of a moment in turn; an error of one ends the round and is returned.
pub(crate) async fn run_moment(
    server: &Arc<ServerInner>,
    listeners: Vec<Listener>,
    context: Context,
) -> Result<(), EventError> {
    for listener in listeners {
        let handler = CatchPanic(start_handler(server, &*listener.handler, context.again()));
        match handler.await {
            Ok(Reply::Error(error)) => return Err(error),
            Ok(_) => {}
            Err(panic) => {
                panicked(server, context.socket.namespace_name(), &*panic);
                return Err(internal_error());
            }
        }
    }
    Ok(())
}

/// A future of the application's: a panic is its result.
pub(crate) struct CatchPanic<T>(pub(crate) Pin<Box<dyn Future<Output = T> + Send>>);

impl<T> Future for CatchPanic<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Says goodbye to a socket: the handlers see its rooms, then it is out of them.
async fn disconnect(
    worker: Arc<Worker>,
    server: Arc<ServerInner>,
    key: Key,
    socket: Socket,
    reason: DisconnectReason,
) {
    socket.set_state(SocketState::Disconnecting);
    let context = Context::of_socket(socket.clone(), Args::default(), Some(reason));
    let listeners = socket.moment_listeners(Moment::Disconnecting);
    // Rooms and slot are held while these run, but not for ever.
    let handlers = run_moment(&server, listeners, context.again());
    if tokio::time::timeout(server.config.ack_timeout, handlers)
        .await
        .is_err()
    {
        tracing::warn!(
            namespace = socket.namespace_name(),
            "a disconnecting handler takes too long; its socket leaves"
        );
    }
    crate::recovery::save(&worker, &server, key, &socket, reason).await;
    worker.call(|shard| shard.finish_disconnect(key));
    socket.set_state(SocketState::Disconnected);
    server.metrics.count_disconnect(reason.reason);
    let listeners = socket.moment_listeners(Moment::Disconnect);
    let _ = run_moment(&server, listeners, context).await;
    socket.namespace_inner().socket_left(&worker);
    socket.release();
}

fn close(server: &Arc<ServerInner>, io: Io, reason: CloseReason, detail: &'static str) {
    server.session_closed(&io.connection, reason, detail);
    io.connection.room.notify_waiters();
    if let Some(probe) = io.probe {
        probe.close(close_code::NO_STATUS);
    }
    match io.writer {
        Writer::Polling { poll: Some(poll) } => {
            // A client that says goodbye itself gets its poll back; any other learns of the end.
            let noop = || PollAnswer::Payload(b"6".to_vec());
            let by_client = reason == CloseReason::TransportClose;
            let _ = poll.send(if by_client {
                noop()
            } else {
                PollAnswer::Closed
            });
        }
        Writer::Polling { poll: None } => {}
        Writer::WebSocket { link, .. } => link.close(close_code::NO_STATUS),
    }
}

fn deliver_raw(worker: &Arc<Worker>, key: Key, data: EngineData) {
    worker.call(|shard| {
        let bound = EngineMessage::bound(shard.config());
        let Some(session) = shard.session_mut(key) else {
            return;
        };
        let Some(raw) = &session.io.raw else { return };
        let message = EngineMessage {
            data,
            request: raw.request.clone(),
        };
        let weight = message.weight();
        let before = raw.waiting.fetch_add(weight, Ordering::AcqRel);
        if raw.sender.send(message).is_err() {
            return shard.close(
                key,
                CloseReason::ForcedClose,
                "nobody receives its messages",
            );
        }
        if before + weight > bound {
            shard.pause(key);
        }
    });
}

pub(crate) fn internal_error() -> EventError {
    EventError::new("internal", "the handler failed")
}

pub(crate) fn error_args(socket: &Socket, error: &EventError) -> Option<Args> {
    (error.to_value(),).to_args(socket.parser()).ok()
}

pub(crate) fn panicked(server: &Arc<ServerInner>, what: &str, panic: &(dyn Any + Send)) {
    server.metrics.handler_panics.add(1);
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(
        event = what,
        panic = text,
        "a handler panicked; its socket goes on"
    );
}
