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
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::Duration;

use sockeye_core::{Effect, EngineData, Key};
use sockeye_protocol::Text;
use sockeye_protocol::engine::CloseReason;
use sockeye_protocol::socketio::{Args, Packet, ToArgs};
use sockeye_websocket::close_code;

use crate::ack::Reply;
use crate::engine::EngineMessage;
use crate::error::EventError;
use crate::extract::{Context, DisconnectReason};
use crate::handler::{ErasedHandler, HandlerFuture};
use crate::listeners::{Listener, Moment};
use crate::namespace::Seat;
use crate::net::{Io, Net, PollAnswer, Writer};
use crate::server::ServerInner;
use crate::socket::{Socket, SocketState};
use crate::worker::{Signal, Worker};

/// Does one thing a shard has asked for.
///
/// Returns what it asks for next, where that is known already.
pub(crate) fn execute(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    effect: Effect<Net>,
) -> Option<Effect<Net>> {
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
        } => return handle(worker, server, socket, host, packet),
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
    None
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

/// Handles an event, and those that wait behind it; returns what the shard asks for next.
fn handle(
    worker: &Arc<Worker>,
    server: &Arc<ServerInner>,
    key: Key,
    socket: Socket,
    mut packet: Box<Packet>,
) -> Option<Effect<Net>> {
    loop {
        if let Some(running) = start(server, &socket, packet) {
            let (worker, server) = (worker.clone(), server.clone());
            worker
                .clone()
                .spawn(handle_rest(worker, server, key, socket, running));
            return None;
        }
        // The next event, or else the next effect: one visit to the shard for both.
        let (event, effect) = worker.call(|shard| match shard.next_event(key) {
            Some(event) => (Some(event), None),
            None => (None, shard.next_effect()),
        });
        match event {
            Some(event) => packet = event,
            None => return effect,
        }
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
        if let Some(running) = start(&server, &socket, packet) {
            running.await;
        }
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
        if let Some(running) = start(server, socket, packet) {
            running.await;
        }
    }
}

/// Calls the listeners of an event and polls them once, where they stand. Returns what has to
/// wait; most handlers do not, and cost nothing but the memory of their future.
fn start(server: &Arc<ServerInner>, socket: &Socket, packet: Box<Packet>) -> Option<Running> {
    let ack = packet.id;
    let namespace = socket.namespace_inner().listeners();
    let own = socket.own_listeners(&packet.event);
    let (name, listeners) = namespace.named(&packet.event);
    if own.is_none() && namespace.is_plain() && listeners.is_empty() && !namespace.has_fallback() {
        return None;
    }
    let (event, mut future): (EventText<'_>, HandlerFuture) = match (listeners, own) {
        ([only], None) if namespace.is_plain() && !only.once => {
            let context = Context::of_event(socket.clone(), packet);
            let future = start_handler(server, name, &*only.handler, context);
            (EventText::Known(name), future)
        }
        (listeners, own) => {
            let mut all: Vec<Listener> = namespace.of_moment(Moment::Any).cloned().collect();
            let mut guards: Vec<Listener> = namespace.of_moment(Moment::Packet).cloned().collect();
            let mut own_listeners: &[Listener] = &[];
            if let Some(own) = &own {
                guards.extend(own.of_moment(Moment::Packet).cloned());
                all.extend(own.of_moment(Moment::Any).cloned());
                own_listeners = own.of_event(&packet.event);
            }
            all.extend(listeners.iter().chain(own_listeners).cloned());
            if listeners.is_empty() && own_listeners.is_empty() {
                let own = own.iter().flat_map(|own| own.of_moment(Moment::Fallback));
                all.extend(namespace.of_moment(Moment::Fallback).chain(own).cloned());
            }
            let event = packet.event.clone();
            let context = Context::of_event(socket.clone(), packet);
            let future = Box::pin(handle_all(server.clone(), guards, all, context));
            (EventText::Given(event), future)
        }
    };
    let mut cx = TaskContext::from_waker(Waker::noop());
    match poll_handler(server, socket, &event, &mut future, &mut cx) {
        Poll::Ready(reply) => {
            answer(socket, &event, ack, reply);
            None
        }
        Poll::Pending => Some(Running {
            server: server.clone(),
            socket: socket.clone(),
            event: event.to_text(),
            ack,
            future,
        }),
    }
}

/// The name of an event, for logs: its listener knows it, or it came with the packet.
enum EventText<'a> {
    Known(&'a str),
    Given(Text),
}

impl EventText<'_> {
    fn to_text(&self) -> Text {
        match self {
            EventText::Known(name) => Text::from(*name),
            EventText::Given(name) => name.clone(),
        }
    }
}

impl std::ops::Deref for EventText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            EventText::Known(name) => name,
            EventText::Given(name) => name,
        }
    }
}

/// An event whose handlers wait for something; completes when it has been answered.
struct Running {
    server: Arc<ServerInner>,
    socket: Socket,
    event: Text,
    ack: Option<u64>,
    future: HandlerFuture,
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let running = &mut *self;
        let (server, socket) = (&running.server, &running.socket);
        let reply = ready!(poll_handler(
            server,
            socket,
            &running.event,
            &mut running.future,
            cx
        ));
        answer(socket, &running.event, running.ack, reply);
        Poll::Ready(())
    }
}

/// Polls the handlers of an event: a panic becomes an error, and one that holds up its worker is
/// named in the log.
fn poll_handler(
    server: &ServerInner,
    socket: &Socket,
    event: &str,
    future: &mut HandlerFuture,
    cx: &mut TaskContext<'_>,
) -> Poll<Reply> {
    let worker = &socket.connection().worker;
    let begun = worker.now_micros();
    let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
    let took = Duration::from_micros(worker.touch().saturating_sub(begun));
    if took >= server.config.blocking_limit {
        blocked(server, socket, event, took);
    }
    polled.unwrap_or_else(|panic| {
        panicked(server, event, &*panic);
        Poll::Ready(Reply::Error(internal_error()))
    })
}

#[cold]
fn blocked(server: &ServerInner, socket: &Socket, event: &str, took: Duration) {
    server.metrics.blocking_handlers.add(1);
    tracing::warn!(
        event,
        namespace = socket.namespace_name(),
        took_ms = took.as_millis() as u64,
        "a handler blocks its worker: every connection of the worker waits; move the work \
         to `tokio::task::spawn_blocking`"
    );
}

/// Acknowledges an event, if its client has asked for that and a handler has answered.
fn answer(socket: &Socket, event: &str, ack: Option<u64>, reply: Reply) {
    let Some(id) = ack else { return };
    let sent = match reply {
        Reply::None => return,
        Reply::Answer(args) => socket.send_ack(id, &args),
        Reply::Error(error) => {
            error_args(socket, &error).map_or(Ok(()), |args| socket.send_ack(id, &args))
        }
    };
    if sent.is_err() {
        tracing::debug!(event, "an acknowledgement found its connection gone");
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
        let decision = start_handler(&server, context.event(), &*guard.handler, context.again());
        let decision = decision.await;
        if let Reply::Error(error) = decision {
            return Reply::Error(error);
        }
    }
    let mut answer = Reply::None;
    for listener in listeners {
        if listener.once && !context.socket.forget_listener(listener.id) {
            continue;
        }
        let reply = start_handler(
            &server,
            context.event(),
            &*listener.handler,
            context.again(),
        );
        let reply = reply.await;
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
    server: &ServerInner,
    what: &str,
    handler: &dyn ErasedHandler,
    context: Context,
) -> HandlerFuture {
    match catch_unwind(AssertUnwindSafe(|| handler.call(context))) {
        Ok(future) => future,
        Err(panic) => {
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
        let what = context.socket.namespace_name();
        let future = start_handler(server, what, &*listener.handler, context.again());
        let handler = CatchPanic(future);
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
    let seat = Seat::of(&socket);
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
    drop(seat);
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
            let noop = || PollAnswer::Payload(b"6".to_vec(), false);
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

pub(crate) fn panicked(server: &ServerInner, what: &str, panic: &(dyn Any + Send)) {
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
