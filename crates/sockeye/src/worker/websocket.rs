//! The task of a WebSocket connection that carries, or is about to carry, an engine session.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use sockeye_core::{Key, Message, ProbeReply, Queued, Session, Shard};
use sockeye_protocol::engine::Transport;
use sockeye_websocket::deflate::Agreed;
use sockeye_websocket::{Event, Input, Reader, Role, close_code, close_frame, text_frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::deflate::Outgoing;
use crate::net::{Net, PollAnswer, Writer};
use crate::server::ServerInner;
use crate::worker::flush::{Taken, settle};
use crate::worker::{Link, Signal, Worker};

/// Bytes read at once, into a buffer that belongs to the thread.
const READ_SIZE: usize = 64 << 10;
/// Reads of one connection before the others get their turn.
const MAX_READS: usize = 4;
/// How long a peer may take to answer our close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
/// How often a connection that is not read is checked for a peer that has gone.
const HANG_UP_CHECK: Duration = Duration::from_secs(1);

thread_local! {
    static READ_BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Lends the thread's read buffer to `f`. A nested call gets one of its own.
pub(crate) fn with_read_buffer<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = READ_BUFFER
        .take()
        .unwrap_or_else(|| vec![0; READ_SIZE].into_boxed_slice());
    let result = f(&mut buffer);
    READ_BUFFER.set(Some(buffer));
    result
}

/// The reading half of a TCP connection, or a whole stream of another kind.
pub(crate) trait Stream: Send + Unpin + 'static {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>)
    -> Poll<io::Result<()>>;
    /// Writes, where the shard cannot do so itself.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Sends what is left, says that no more follows, and waits for the peer to do the same.
    fn finish(self, link: Arc<Link>, last: Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Bare TCP: the shard writes through the link.
impl Stream for tokio::net::tcp::OwnedReadHalf {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self).poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        _: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn finish(self, link: Arc<Link>, last: Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if !link.is_mid_message() {
                let _ = link.try_write(&[io::IoSlice::new(&last)]);
            }
            link.shutdown();
            let mut read = self;
            drain(&mut read).await;
        })
    }
}

/// Any other stream: its task writes.
pub(crate) struct Whole<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for Whole<S> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn finish(self, link: Arc<Link>, last: Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut stream = self.0;
        Box::pin(async move {
            let goodbye = async {
                if !link.is_mid_message() {
                    stream.write_all(&last).await?;
                }
                stream.flush().await?;
                stream.shutdown().await
            };
            if tokio::time::timeout(CLOSE_WAIT, goodbye)
                .await
                .is_ok_and(|done| done.is_ok())
            {
                drain(&mut stream).await;
            }
        })
    }
}

/// Reads and forgets until the peer closes: a connection closed with unread data is reset, and
/// the reset may overtake our last bytes.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let read_all = async {
        while let Ok(n) = std::future::poll_fn(|cx| {
            with_read_buffer(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok::<_, io::Error>(buffer.filled().len()))
            })
        })
        .await
            && n > 0
        {}
    };
    let _ = tokio::time::timeout(CLOSE_WAIT, read_all).await;
}

/// What the connection is to its session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It carries the session.
    Carrier,
    /// It probes: the session is on polling still.
    Probe,
    /// It has probed in vain: the session knows it no more.
    Failed,
}

/// The task of one connection.
pub(crate) struct WebSocketTask<S: Stream> {
    worker: Arc<Worker>,
    server: Arc<ServerInner>,
    link: Arc<Link>,
    stream: Option<S>,
    reader: Reader,
    key: Key,
    standing: Standing,
    paused: bool,
    blocked: bool,
    /// Bytes to take in before any other: they came with the handshake, or were read ahead.
    early: Vec<u8>,
    /// Something rare is going on.
    rare: Option<Rare>,
}

enum Rare {
    /// Not reading: now and then the peer is checked for life.
    Watching(Pin<Box<tokio::time::Sleep>>),
    /// Saying goodbye.
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl<S: Stream> WebSocketTask<S> {
    /// A connection that carries its session from the start.
    pub(crate) fn carrier(
        worker: Arc<Worker>,
        server: Arc<ServerInner>,
        link: Arc<Link>,
        stream: S,
        key: Key,
        agreed: Option<Agreed>,
    ) -> Self {
        Self::new(worker, server, link, stream, key, agreed, Standing::Carrier)
    }

    /// A connection that probes an existing session.
    pub(crate) fn probe(
        worker: Arc<Worker>,
        server: Arc<ServerInner>,
        link: Arc<Link>,
        stream: S,
        key: Key,
        agreed: Option<Agreed>,
    ) -> Self {
        Self::new(worker, server, link, stream, key, agreed, Standing::Probe)
    }

    fn new(
        worker: Arc<Worker>,
        server: Arc<ServerInner>,
        link: Arc<Link>,
        stream: S,
        key: Key,
        agreed: Option<Agreed>,
        standing: Standing,
    ) -> Self {
        WebSocketTask {
            worker,
            server,
            link,
            stream: Some(stream),
            reader: Reader::new(Role::Server, agreed),
            key,
            standing,
            paused: false,
            blocked: false,
            early: Vec::new(),
            rare: None,
        }
    }

    /// Bytes that came with the handshake: taken in first.
    pub(crate) fn with_early(mut self, bytes: Vec<u8>) -> Self {
        self.early = bytes;
        self
    }

    /// Decodes and dispatches what was read.
    fn take_in(&mut self, bytes: &mut [u8]) {
        let limits = self.server.config.websocket_limits;
        let mut input = Input::new(bytes);
        loop {
            match self.reader.next(&limits, &mut input) {
                Ok(Some(event)) => self.event(event),
                Ok(None) => break,
                Err(error) => {
                    self.link.set_close_code(error.close_code());
                    self.server.metrics.websocket_errors.add(1);
                    self.gone(false);
                    break;
                }
            }
            if self.link.is_closed() {
                break;
            }
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let key = self.key;
        if self.standing == Standing::Probe {
            return self.probe_event(event);
        }
        let is_paused = |shard: &Shard<Net>| shard.session(key).is_some_and(Session::is_paused);
        let paused = match event {
            Event::Text(text) => self.worker.call_and_pump(&self.server, |shard| {
                shard.websocket_text(key, &text);
                is_paused(shard)
            }),
            Event::Binary(data) => self.worker.call_and_pump(&self.server, |shard| {
                shard.websocket_binary(key, &data);
                is_paused(shard)
            }),
            Event::Ping(data) => {
                let pong = Arc::new(Message::pong(&data));
                let queued = self.worker.call(|shard| shard.enqueue(key, &pong));
                if queued == Queued::Refused {
                    let _ = self.worker.retry(key, &pong);
                }
                return self.worker.pump(&self.server);
            }
            Event::Pong(_) => return,
            Event::Close(frame) => {
                let code = frame.map_or(close_code::NO_STATUS, |frame| frame.code);
                self.link.set_close_code(code);
                return self.gone(true);
            }
        };
        self.paused |= paused;
    }

    fn probe_event(&mut self, event: Event<'_>) {
        let key = self.key;
        let reply = match event {
            Event::Text(text) => {
                self.switch_on(|task| task.worker.call(|shard| shard.probe_text(key, &text)))
            }
            Event::Ping(_) | Event::Pong(_) => return,
            Event::Binary(_) | Event::Close(_) => ProbeReply::Close,
        };
        match reply {
            ProbeReply::Pong => {
                // Nothing else is written here before the switch: this cannot cut a frame.
                self.write_aside(&text_frame("3probe"));
            }
            ProbeReply::Switch => self.standing = Standing::Carrier,
            ProbeReply::Close => {
                self.standing = Standing::Failed;
                self.worker.call(|shard| shard.probe_closed(key));
                self.link.close(close_code::NO_STATUS);
            }
        }
    }

    /// Runs `probe`, and when it says that the session has moved here, moves it in the same
    /// breath: nothing is written in between.
    fn switch_on(&mut self, probe: impl FnOnce(&mut Self) -> ProbeReply) -> ProbeReply {
        let reply = probe(self);
        if reply != ProbeReply::Switch {
            return reply;
        }
        let (key, link) = (self.key, self.link.clone());
        let deflate = self
            .reader
            .deflate()
            .zip(self.server.config.deflate.as_ref());
        let gate = self.server.deflate_gate.clone();
        let deflate =
            deflate.map(|(agreed, options)| Box::new(Outgoing::new(agreed, options, gate)));
        self.worker.call(|shard| {
            let Some(session) = shard.session_mut(key) else {
                return;
            };
            session.io.connection.set_transport(Transport::WebSocket);
            session.io.probe = None;
            let writer = Writer::WebSocket { link, deflate };
            let before = std::mem::replace(&mut session.io.writer, writer);
            if let Writer::Polling { poll: Some(poll) } = before {
                let _ = poll.send(PollAnswer::Payload(b"6".to_vec(), false));
            }
            shard.mark_dirty(key);
        });
        reply
    }

    /// Writes a small frame outside the session's queue.
    fn write_aside(&mut self, frame: &Bytes) {
        let slices = [io::IoSlice::new(frame)];
        let written = if self.link.is_direct() {
            self.link.try_write(&slices).unwrap_or(0)
        } else {
            let waker = std::task::Waker::noop();
            let mut cx = Context::from_waker(waker);
            let Some(stream) = &mut self.stream else {
                return;
            };
            match stream.poll_write(&mut cx, &slices) {
                Poll::Ready(Ok(written)) => {
                    self.blocked |= stream.poll_flush(&mut cx).is_pending();
                    written
                }
                _ => 0,
            }
        };
        if written < frame.len() {
            self.link.close(close_code::NO_STATUS);
        }
    }

    /// The connection is of no more use to its session.
    fn gone(&mut self, clean: bool) {
        let key = self.key;
        match self.standing {
            Standing::Carrier => self.worker.call(|shard| shard.transport_closed(key, clean)),
            Standing::Probe => self.worker.call(|shard| shard.probe_closed(key)),
            Standing::Failed => {}
        }
        if self.standing == Standing::Probe {
            self.standing = Standing::Failed;
        }
        self.worker.pump(&self.server);
        self.link.close(close_code::NO_STATUS);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.standing == Standing::Probe {
            // The answer to a probe is written at once: not before the connection is writable.
            ready!(self.link.poll_writable(cx));
        }
        if !self.early.is_empty() {
            let mut early = std::mem::take(&mut self.early);
            self.take_in(&mut early);
        }
        for _ in 0..MAX_READS {
            if self.paused || self.link.is_closed() {
                return Poll::Ready(());
            }
            let read = with_read_buffer(|buffer| {
                let Some(stream) = &mut self.stream else {
                    return Poll::Ready(Ok(0));
                };
                let mut read = ReadBuf::new(buffer);
                let result = ready!(stream.poll_read(cx, &mut read));
                let len = read.filled().len();
                if result.is_ok() && len > 0 {
                    self.take_in(&mut buffer[..len]);
                }
                Poll::Ready(result.map(|()| len))
            });
            match ready!(read) {
                Ok(0) => self.gone(true),
                Err(_) => self.gone(false),
                Ok(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what waits, on a stream that only this task may write to.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let key = self.key;
            let taken = self.worker.call(|shard| {
                let taken = Taken::from(shard.session_mut(key)?);
                if taken.is_none() {
                    shard.drained(key);
                }
                taken
            });
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(());
            };
            let Some(taken) = taken else {
                // What the stream itself holds (TLS records) leaves when there is room for it.
                self.blocked = stream.poll_flush(cx).is_pending();
                return Poll::Ready(());
            };
            let slices = taken.slices();
            let outcome = match stream.poll_write(cx, &slices) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            };
            drop(slices);
            let blocked = matches!(&outcome, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            let failed = outcome.is_err() && !blocked;
            self.worker.call(|shard| settle(shard, key, outcome));
            self.worker.pump(&self.server);
            if blocked {
                self.blocked = true;
                return Poll::Pending;
            }
            if failed {
                return Poll::Ready(());
            }
        }
    }

    /// Begins the end: what is partly written stays so, a close frame follows if it can.
    fn close(&mut self) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        let last = close_frame(self.link.close_code(), "");
        self.rare = Some(Rare::Closing(stream.finish(self.link.clone(), last)));
    }
}

impl<S: Stream> Future for WebSocketTask<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        loop {
            if let Some(Rare::Closing(closing)) = &mut task.rare {
                return closing.as_mut().poll(cx);
            }
            let signals = task.link.take_signals(cx);
            if signals.has(Signal::Close) {
                task.close();
                continue;
            }
            if signals.has(Signal::Resume) {
                task.paused = false;
                task.rare = None;
            }
            task.blocked |= signals.has(Signal::Blocked);
            if task.link.is_direct() {
                if task.blocked && task.link.poll_writable(cx).is_ready() {
                    task.blocked = false;
                    let key = task.key;
                    task.worker.call(|shard| {
                        if let Some(session) = shard.session_mut(key) {
                            session.blocked = false;
                        }
                        shard.mark_dirty(key);
                    });
                }
            } else if signals.has(Signal::Write) || task.blocked {
                task.blocked = false;
                let _ = task.poll_write(cx);
            }
            if task.paused {
                ready!(task.poll_watch(cx));
                continue;
            }
            ready!(task.poll_read(cx));
        }
    }
}

impl<S: Stream> WebSocketTask<S> {
    /// While nothing is read, a peer that has closed is noticed within a second.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.link.is_closed() {
            return Poll::Ready(());
        }
        let resumed = self.worker.call(|shard| {
            shard
                .session(self.key)
                .is_none_or(|session| !session.is_paused())
        });
        if resumed {
            self.paused = false;
            self.rare = None;
            return Poll::Ready(());
        }
        loop {
            let Some(Rare::Watching(sleep)) = &mut self.rare else {
                self.rare = Some(Rare::Watching(Box::pin(tokio::time::sleep(HANG_UP_CHECK))));
                continue;
            };
            ready!(sleep.as_mut().poll(cx));
            self.rare = None;
            let gone = if self.link.is_direct() {
                self.link.is_hung_up()
            } else {
                self.read_ahead(cx)
            };
            if gone {
                self.gone(true);
                return Poll::Ready(());
            }
        }
    }

    /// Reads ahead on a stream whose descriptor is not ours to ask, as much again as may wait for
    /// handlers, so that a peer that has gone shows behind what it sent last. Whether it has.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> bool {
        let most = self.server.config.core.max_waiting_bytes;
        while self.early.len() < most {
            let room = (most - self.early.len()).min(READ_SIZE);
            let Some(stream) = &mut self.stream else {
                return false;
            };
            let early = &mut self.early;
            let read = with_read_buffer(|buffer| {
                let mut read = ReadBuf::new(&mut buffer[..room]);
                let result = ready!(stream.poll_read(cx, &mut read));
                early.extend_from_slice(read.filled());
                Poll::Ready(result.map(|()| read.filled().len()))
            });
            match read {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
            }
        }
        false
    }
}
