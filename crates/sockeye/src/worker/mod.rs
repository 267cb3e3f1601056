//! A worker: one shard, the runtime it lives on, and the way in from elsewhere.
//!
//! Everything that touches a shard runs inside a [`Scope`] of its worker; a call from anywhere
//! else goes through the inbox. So the mutex around the shard is never waited for: it is what
//! makes the handles `Send` and `Sync`, not what keeps threads apart.

mod driver;
mod flush;
mod link;
mod release;
mod websocket;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use parking_lot::Mutex;
use sockeye_core::{Config, Effect, Key, Message, Queued, Shard};
use sockeye_protocol::engine::CloseReason;
use tokio::sync::oneshot;

use crate::engine_handle::EngineWatch;
use crate::net::Net;
use crate::server::ServerInner;

pub(crate) use driver::drive;
pub(crate) use flush::answer_poll;
pub(crate) use link::{Link, Signal};
pub(crate) use websocket::{Stream, WebSocketTask, Whole, with_read_buffer};

type Command = Box<dyn FnOnce(&mut Shard<Net>) + Send>;

thread_local! {
    static HERE: Cell<*const Worker> = const { Cell::new(std::ptr::null()) };
}

/// One shard and its surroundings.
pub(crate) struct Worker {
    pub(crate) index: u8,
    pub(crate) runtime: tokio::runtime::Handle,
    state: Mutex<Shard<Net>>,
    inbox: Mutex<Vec<Command>>,
    inbox_waiting: AtomicBool,
    /// Nobody looks into the inbox any more. Changed under its lock.
    ended: AtomicBool,
    turn_requested: AtomicBool,
    turn: tokio::sync::Notify,
    /// The time at which the driver wakes by itself.
    armed: AtomicU64,
    clock: AtomicU64,
    epoch: Instant,
    pub(crate) tasks: AtomicUsize,
    /// Bytes of the broadcasts in the inbox.
    inbox_bytes: AtomicUsize,
    /// Calls that may be refused and wait in the inbox.
    inbox_calls: AtomicUsize,
    /// A broadcast had no room in the inbox: everybody here is sent away.
    overrun: AtomicBool,
    /// Those who want to know what happens on sessions of this worker.
    pub(crate) engine_watch: EngineWatch,
    /// Writes go through io_uring.
    ring: AtomicBool,
}

/// What one broadcast in an inbox costs beside its message.
const COMMAND_COST: usize = 256;

impl Worker {
    pub(crate) fn new(index: u8, config: Arc<Config>, runtime: tokio::runtime::Handle) -> Self {
        Worker {
            index,
            runtime,
            state: Mutex::new(Shard::new(config, 0)),
            inbox: Mutex::new(Vec::new()),
            inbox_waiting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            turn_requested: AtomicBool::new(false),
            turn: tokio::sync::Notify::new(),
            armed: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            epoch: Instant::now(),
            tasks: AtomicUsize::new(0),
            inbox_bytes: AtomicUsize::new(0),
            inbox_calls: AtomicUsize::new(0),
            overrun: AtomicBool::new(false),
            engine_watch: EngineWatch::default(),
            ring: AtomicBool::new(false),
        }
    }

    /// Milliseconds since the worker was made, as of the last [`Worker::touch`]: at the latest the
    /// beginning of the task that runs now.
    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed) / 1000
    }

    /// Microseconds since the worker was made, as of the last [`Worker::touch`].
    pub(crate) fn now_micros(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Reads the clock. Once for each task that runs and each handler that was polled: asking it
    /// at every call would cost a tenth of an echo.
    pub(crate) fn touch(&self) -> u64 {
        let now = self.epoch.elapsed().as_micros() as u64;
        self.clock.store(now, Ordering::Relaxed);
        now
    }

    /// Whether the caller runs inside this worker.
    pub(crate) fn is_here(&self) -> bool {
        HERE.with(|here| std::ptr::eq(here.get(), self))
    }

    /// Runs `f` on the shard. Only from inside: see [`Worker::is_here`].
    ///
    /// What came through the inbox before is done first, so that nothing overtakes it.
    pub(crate) fn call<R>(&self, f: impl FnOnce(&mut Shard<Net>) -> R) -> R {
        let mut shard = self.state.lock();
        shard.observe(self.now());
        if self.inbox_waiting.load(Ordering::Acquire) {
            self.drain_inbox(&mut shard);
        }
        let result = f(&mut shard);
        let wanted = shard.is_dirty()
            || shard.has_effects()
            || shard.earliest_new_deadline() < self.armed.load(Ordering::Relaxed);
        drop(shard);
        if wanted {
            self.request_turn_here();
        }
        result
    }

    /// Runs `f` on the shard: at once from inside, through the inbox from elsewhere. When the
    /// worker has ended, `f` is dropped.
    pub(crate) fn submit(&self, f: impl FnOnce(&mut Shard<Net>) + Send + 'static) {
        if self.is_here() {
            // Tasks that the application has spawned run here too, and read no clock: what they
            // ask for may begin to wait for something.
            self.touch();
            return self.call(f);
        }
        {
            let mut inbox = self.inbox.lock();
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            inbox.push(Box::new(f));
        }
        self.inbox_waiting.store(true, Ordering::Release);
        self.request_turn();
    }

    /// As [`Worker::submit`], for a broadcast of `message` from elsewhere: at most `limit` bytes of
    /// them wait. A worker that is held up for so long that more would wait loses its clients, who
    /// come back, rather than one of their messages; returns whether that has just begun.
    pub(crate) fn submit_broadcast(
        self: &Arc<Self>,
        message: &Message,
        limit: usize,
        f: impl FnOnce(&mut Shard<Net>) + Send + 'static,
    ) -> bool {
        let cost = message.cost() + COMMAND_COST;
        let worker = self.clone();
        if self.inbox_bytes.fetch_add(cost, Ordering::AcqRel) + cost <= limit {
            self.submit(move |shard| {
                worker.inbox_bytes.fetch_sub(cost, Ordering::AcqRel);
                f(shard);
            });
            return false;
        }
        self.inbox_bytes.fetch_sub(cost, Ordering::AcqRel);
        if self.overrun.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.submit(move |shard| {
            worker.overrun.store(false, Ordering::Release);
            let keys: Vec<_> = shard.sessions().map(|(key, _)| key).collect();
            for key in keys {
                let why = "its worker was held up and broadcasts had no room";
                shard.close_now(key, CloseReason::TransportError, why);
            }
        });
        true
    }

    /// Like [`Worker::submit`], with the result. An error means that the worker is gone.
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Shard<Net>) -> R + Send + 'static,
    ) -> Answer<R> {
        if self.is_here() {
            return Answer::Ready(Some(self.call(f)));
        }
        let (sender, receiver) = oneshot::channel();
        self.submit(move |shard| {
            let _ = sender.send(f(shard));
        });
        Answer::Pending(receiver)
    }

    /// As [`Worker::ask`], refused while `limit` such calls wait already: a worker that is held up
    /// lets no more be asked of it than it may one day answer.
    pub(crate) fn try_ask<R: Send + 'static>(
        self: &Arc<Self>,
        limit: usize,
        f: impl FnOnce(&mut Shard<Net>) -> R + Send + 'static,
    ) -> Result<Answer<R>, Busy> {
        if self.is_here() {
            return Ok(Answer::Ready(Some(self.call(f))));
        }
        if self.inbox_calls.fetch_add(1, Ordering::AcqRel) >= limit {
            self.inbox_calls.fetch_sub(1, Ordering::AcqRel);
            return Err(Busy);
        }
        // Dropped unheard by a worker that has ended, it counts no more either.
        let place = InboxCall(self.clone());
        Ok(self.ask(move |shard| {
            drop(place);
            f(shard)
        }))
    }

    /// Runs `f` inside this worker: at once if the caller is, as a task otherwise.
    pub(crate) fn ask_inside<R: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Answer<R> {
        if self.is_here() {
            return Answer::Ready(Some(f()));
        }
        let (sender, receiver) = oneshot::channel();
        self.spawn(async move {
            let _ = sender.send(f());
        });
        Answer::Pending(receiver)
    }

    /// Executes what the shard asks for until it asks for nothing. Only at the top of a task:
    /// handlers run in here, and they may call the shard themselves.
    pub(crate) fn pump(self: &Arc<Self>, server: &Arc<ServerInner>) {
        let first = self.state.lock().next_effect();
        self.carry_out(server, first);
    }

    /// [`Worker::call`] and [`Worker::pump`] in one.
    pub(crate) fn call_and_pump<R>(
        self: &Arc<Self>,
        server: &Arc<ServerInner>,
        f: impl FnOnce(&mut Shard<Net>) -> R,
    ) -> R {
        let (result, first) = self.call(|shard| (f(shard), shard.next_effect()));
        self.carry_out(server, first);
        result
    }

    fn carry_out(self: &Arc<Self>, server: &Arc<ServerInner>, first: Option<Effect<Net>>) {
        let mut next = first;
        while let Some(effect) = next {
            next = crate::dispatch::execute(self, server, effect);
            if next.is_none() {
                // The lock is not held while an effect is carried out.
                next = self.state.lock().next_effect();
            }
        }
    }

    /// Spawns a task that runs inside this worker.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        self.runtime.spawn(Scope {
            place: Place(self.clone()),
            task,
        });
    }

    /// From anywhere. Not a mere load first: see [`driver`].
    pub(crate) fn request_turn(&self) {
        if !self.turn_requested.swap(true, Ordering::AcqRel) {
            self.turn.notify_one();
        }
    }

    /// From inside: on the thread of the driver, which a load cannot miss.
    fn request_turn_here(&self) {
        if !self.turn_requested.load(Ordering::Relaxed) {
            self.request_turn();
        }
    }

    fn drain_inbox(&self, shard: &mut Shard<Net>) {
        self.inbox_waiting.store(false, Ordering::Release);
        let commands = std::mem::take(&mut *self.inbox.lock());
        for command in commands {
            command(shard);
        }
    }

    /// Whether writes go through io_uring.
    pub(crate) fn has_ring(&self) -> bool {
        self.ring.load(Ordering::Relaxed)
    }

    fn set_ring(&self, ring: bool) {
        self.ring.store(ring, Ordering::Relaxed);
    }

    /// Runs `f` as if inside this worker.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(*const Worker);
        impl Drop for Restore {
            fn drop(&mut self) {
                HERE.with(|here| here.set(self.0));
            }
        }
        let _restore = HERE.with(|here| Restore(here.replace(self)));
        f()
    }
}

/// As many calls as may wait for a worker do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy;

/// The result of [`Worker::ask`]: `None` when the worker is gone.
pub(crate) enum Answer<R> {
    Ready(Option<R>),
    Pending(oneshot::Receiver<R>),
}

impl<R> Unpin for Answer<R> {}

impl<R> Future for Answer<R> {
    type Output = Option<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R>> {
        match self.get_mut() {
            Answer::Ready(result) => Poll::Ready(result.take()),
            Answer::Pending(receiver) => Pin::new(receiver).poll(cx).map(Result::ok),
        }
    }
}

pin_project_lite::pin_project! {
    /// A task that runs inside a worker.
    struct Scope<F> {
        place: Place,
        #[pin]
        task: F,
    }
}

impl<F: Future<Output = ()>> Future for Scope<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let scope = self.project();
        let worker = &scope.place.0;
        worker.touch();
        worker.enter(|| scope.task.poll(cx))
    }
}

/// A place among the calls that wait in an inbox.
struct InboxCall(Arc<Worker>);

impl Drop for InboxCall {
    fn drop(&mut self) {
        self.0.inbox_calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The worker that a task counts for.
struct Place(Arc<Worker>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections that had no room.
impl Worker {
    /// Tries the connections that had no room for `message` once more after writing what can be
    /// written; those that still have none are ended as slow consumers. Returns what became of
    /// the message on the last of them. Only from inside, as part of the call that has sent it.
    pub(crate) fn retry_full(&self, message: Option<&Arc<Message>>) -> Queued {
        let full = self.state.lock().take_full();
        let mut outcome = Queued::Refused;
        for key in full {
            outcome = match message {
                Some(message) => self.retry(key, message),
                None => {
                    self.go_on(|shard| shard.overflow(key));
                    Queued::Refused
                }
            };
        }
        outcome
    }

    /// Writes what `key` has queued and hands it `message` again. Only from inside.
    pub(crate) fn retry(&self, key: Key, message: &Arc<Message>) -> Queued {
        self.flush_one(key);
        self.go_on(|shard| {
            let queued = shard.enqueue(key, message);
            if queued == Queued::Refused {
                shard.overflow(key);
            }
            queued
        })
    }

    /// As [`Worker::retry_full`], inside a call: what is written, is written with the shard in
    /// hand. `refused` is told of each connection before it is ended.
    pub(crate) fn retry_full_within(
        shard: &mut Shard<Net>,
        message: &Arc<Message>,
        mut refused: impl FnMut(&mut Shard<Net>),
    ) -> Queued {
        let mut outcome = Queued::Refused;
        for key in shard.take_full() {
            flush::write_one(shard, key);
            outcome = shard.enqueue(key, message);
            if outcome == Queued::Refused {
                refused(shard);
                shard.overflow(key);
            }
        }
        outcome
    }

    /// Writes what can be written of a connection that has little room left, inside the call that is
    /// about to greet or refuse its client.
    pub(crate) fn relieve_within(shard: &mut Shard<Net>, key: Key) {
        let limit = shard.config().max_queued_bytes;
        if shard
            .session(key)
            .is_some_and(|session| session.out.bytes() > limit / 2)
        {
            flush::write_one(shard, key);
        }
    }

    /// As [`Worker::retry`], inside a call.
    pub(crate) fn retry_within(shard: &mut Shard<Net>, key: Key, message: &Arc<Message>) {
        flush::write_one(shard, key);
        if shard.enqueue(key, message) == Queued::Refused {
            shard.overflow(key);
        }
    }

    /// Like [`Worker::call`], as a part of the call before: what has come into the inbox since
    /// stays behind it.
    fn go_on<R>(&self, f: impl FnOnce(&mut Shard<Net>) -> R) -> R {
        let result = f(&mut self.state.lock());
        self.request_turn_here();
        result
    }
}
