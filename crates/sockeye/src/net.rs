//! What this crate attaches to the sessions, sockets and acknowledgements of a shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use sockeye_core::{AckFailure, AckWaiter, Host, Key, Shard};
use sockeye_protocol::engine::{SessionId, SocketId, Transport};
use sockeye_protocol::socketio::Args;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::deflate::Outgoing;
use crate::engine::EngineMessage;
use crate::handshake::Handshake;
use crate::socket::Socket;
use crate::worker::{Link, Worker};

/// The host of our shards.
pub(crate) struct Net;

impl Host for Net {
    type Io = Io;
    type Socket = Socket;
    type Waiter = Waiter;
}

/// The connection of a session, as its shard holds it.
pub(crate) struct Io {
    pub(crate) connection: Arc<Connection>,
    pub(crate) writer: Writer,
    /// A WebSocket that probes the session while it is on polling.
    pub(crate) probe: Option<Arc<Link>>,
    /// Where the messages of a raw engine session go.
    pub(crate) raw: Option<Box<RawInbox>>,
    /// Somebody may know of bytes that wait, and wait for them to leave.
    pub(crate) watched: bool,
}

impl Io {
    /// Tells those who hold handles how many bytes wait, after each write. Most of the time nothing
    /// has waited that anybody knew of and nothing does: then what they share is not touched.
    pub(crate) fn tell_backlog(&mut self, bytes: usize) {
        if std::mem::replace(&mut self.watched, bytes > 0) || bytes > 0 {
            self.connection.set_backlog(bytes);
        }
    }
}

/// The way out.
pub(crate) enum Writer {
    /// The poll the client holds open, if it does.
    Polling {
        poll: Option<oneshot::Sender<PollAnswer>>,
    },
    /// A WebSocket.
    WebSocket {
        link: Arc<Link>,
        deflate: Option<Box<Outgoing>>,
    },
}

/// What a held poll is answered with.
#[derive(Debug)]
pub(crate) enum PollAnswer {
    /// Packets, and whether they may be compressed.
    Payload(Vec<u8>, bool),
    /// The session is over.
    Closed,
}

/// The application's end of a raw engine session.
pub(crate) struct RawInbox {
    pub(crate) sender: mpsc::UnboundedSender<EngineMessage>,
    pub(crate) waiting: Arc<AtomicUsize>,
    /// The headers of the POST that is being taken in.
    pub(crate) request: Option<Arc<http::HeaderMap>>,
}

/// What handles share of a session.
pub(crate) struct Connection {
    pub(crate) id: SessionId,
    pub(crate) worker: Arc<Worker>,
    pub(crate) handshake: Handshake,
    key: AtomicU64,
    transport: AtomicU8,
    /// Bytes that the kernel or a poll has yet to take, as of the last write.
    backlog: AtomicUsize,
    /// Bytes on their way to the shard from elsewhere.
    in_transit: AtomicUsize,
    /// It was found full from elsewhere, and is being ended.
    overflowed: AtomicBool,
    /// Woken when bytes have left.
    pub(crate) room: Notify,
}

impl Connection {
    pub(crate) fn new(
        id: SessionId,
        worker: Arc<Worker>,
        handshake: Handshake,
        transport: Transport,
    ) -> Self {
        Connection {
            id,
            worker,
            handshake,
            key: AtomicU64::new(Key::NONE.to_bits()),
            transport: AtomicU8::new(transport as u8),
            backlog: AtomicUsize::new(0),
            in_transit: AtomicUsize::new(0),
            overflowed: AtomicBool::new(false),
            room: Notify::new(),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::from_bits(self.key.load(Ordering::Acquire))
    }

    pub(crate) fn set_key(&self, key: Key) {
        self.key.store(key.to_bits(), Ordering::Release);
    }

    pub(crate) fn transport(&self) -> Transport {
        if self.transport.load(Ordering::Acquire) == Transport::WebSocket as u8 {
            Transport::WebSocket
        } else {
            Transport::Polling
        }
    }

    pub(crate) fn set_transport(&self, transport: Transport) {
        self.transport.store(transport as u8, Ordering::Release);
    }

    /// Bytes that wait, seen from anywhere.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed) + self.in_transit.load(Ordering::Relaxed)
    }

    /// Counts bytes that are about to be on their way from elsewhere, unless more than `limit`
    /// would be: a worker that is held up is told no more than a queue may hold.
    pub(crate) fn depart(self: &Arc<Self>, bytes: usize, limit: usize) -> Option<Transit> {
        let before = self.in_transit.fetch_add(bytes, Ordering::Relaxed);
        let transit = Transit {
            connection: self.clone(),
            bytes,
        };
        (before == 0 || before + bytes <= limit).then_some(transit)
    }

    /// Ends it as a slow consumer, from elsewhere: told once, however often it is found full.
    pub(crate) fn overflow(self: &Arc<Self>) {
        if !self.overflowed.swap(true, Ordering::Relaxed) {
            let connection = self.clone();
            self.worker
                .submit(move |shard| shard.overflow(connection.key()));
        }
    }

    /// See [`Io::tell_backlog`].
    fn set_backlog(&self, bytes: usize) {
        let before = self.backlog.load(Ordering::Relaxed);
        self.backlog.store(bytes, Ordering::Relaxed);
        if bytes < before || bytes == 0 {
            self.room.notify_waiters();
        }
    }
}

/// Bytes on their way to the shard, while it lives.
pub(crate) struct Transit {
    connection: Arc<Connection>,
    bytes: usize,
}

impl Transit {
    /// The bytes have come: whoever waits for them to leave is told when they have.
    pub(crate) fn arrive(self, shard: &mut Shard<Net>) {
        if let Some(session) = shard.session_mut(self.connection.key()) {
            session.io.watched = true;
        }
    }
}

impl Drop for Transit {
    fn drop(&mut self) {
        self.connection
            .in_transit
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Who awaits an acknowledgement.
pub(crate) enum Waiter {
    /// One emit to one socket.
    One(oneshot::Sender<Result<Args, AckFailure>>),
    /// A broadcast: one of many.
    Many(Arc<Collector>, SocketId),
}

impl AckWaiter for Waiter {
    fn resolve(self, answer: Result<Args, AckFailure>) {
        match self {
            Waiter::One(sender) => {
                let _ = sender.send(answer);
            }
            Waiter::Many(collector, id) => collector.add(id, answer),
        }
    }
}

/// Collects the answers to a broadcast.
pub(crate) struct Collector {
    state: Mutex<Collected>,
}

struct Collected {
    answers: Vec<(SocketId, Args)>,
    missing: Vec<SocketId>,
    outstanding: usize,
    done: Option<oneshot::Sender<()>>,
}

impl Collector {
    /// One more socket was asked.
    pub(crate) fn expect(&self) {
        self.state.lock().outstanding += 1;
    }

    fn add(&self, id: SocketId, answer: Result<Args, AckFailure>) {
        let mut state = self.state.lock();
        match answer {
            Ok(args) => state.answers.push((id, args)),
            Err(_) => state.missing.push(id),
        }
        state.settle();
    }

    /// The answers, and who did not answer.
    pub(crate) fn take(&self) -> (Vec<(SocketId, Args)>, Vec<SocketId>) {
        let mut state = self.state.lock();
        (
            std::mem::take(&mut state.answers),
            std::mem::take(&mut state.missing),
        )
    }
}

/// Somebody may still ask: a shard that has not asked all of its sockets, or has yet to hear of
/// the question. A shard that is gone drops its part, and nobody waits for it.
pub(crate) struct Part(pub(crate) Arc<Collector>);

impl Part {
    /// The first part of a collection, complete when all parts are gone and all who were asked
    /// have answered.
    pub(crate) fn begin() -> (Part, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let state = Mutex::new(Collected {
            answers: Vec::new(),
            missing: Vec::new(),
            outstanding: 1,
            done: Some(sender),
        });
        (Part(Arc::new(Collector { state })), receiver)
    }
}

impl Clone for Part {
    fn clone(&self) -> Self {
        self.0.expect();
        Part(self.0.clone())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.state.lock().settle();
    }
}

impl Collected {
    fn settle(&mut self) {
        self.outstanding -= 1;
        if self.outstanding == 0
            && let Some(done) = self.done.take()
        {
            let _ = done.send(());
        }
    }
}
