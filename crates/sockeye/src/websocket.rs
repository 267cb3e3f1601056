//! Plain WebSockets: no protocol above RFC 6455.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use sockeye_websocket::deflate::{Agreed, DeflateGate, DeflateOptions, Deflater};
use sockeye_websocket::{
    Closing, Event, Input, Limits, OpCode, Reader, Role, close_code, header, ping_frame, pong_frame,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use crate::http::HandshakeRequest;
use crate::server::ServerInner;
use crate::worker::with_read_buffer;

pub use sockeye_websocket::CloseFrame;

/// How long a peer may take to answer our close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(3);

/// How long what a peer still sends is read and forgotten, once all is said.
const LAST_READ: Duration = Duration::from_secs(2);

/// Bytes of control frames that may wait for a peer that takes nothing before it is not read any
/// more. One read may bring them beyond it.
const MAX_ANSWERS: usize = 16 << 10;

/// How a plain WebSocket endpoint behaves.
#[derive(Clone, Debug)]
pub struct WebSocketOptions {
    /// Largest message taken in, in bytes. Default 1,000,000. Beyond: close code 1009.
    pub max_message_size: usize,
    /// Sub-protocols spoken: the first of them that the client names is chosen. Default none.
    pub protocols: Vec<String>,
    /// Compression. Default none.
    pub deflate: Option<DeflateOptions>,
    /// Time for a frame or message that has begun to arrive in full. Default 60 s.
    pub message_timeout: Duration,
    /// Silence after which the peer is sent a ping; `None`: never. Default 25 s.
    pub ping_interval: Option<Duration>,
    /// Time for anything to come after a ping before the peer is taken for dead. Default 20 s.
    pub ping_timeout: Duration,
    /// Time for the peer to take some of what is sent. Default 20 s.
    pub write_timeout: Duration,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        WebSocketOptions {
            max_message_size: 1_000_000,
            protocols: Vec::new(),
            deflate: None,
            message_timeout: Duration::from_secs(60),
            ping_interval: Some(Duration::from_secs(25)),
            ping_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Bytes),
}

/// A byte stream in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A plain WebSocket connection, in the hands of the application.
///
/// Pings are answered, silent peers asked, and closes completed while [`WebSocket::recv`] is
/// awaited, and it reads while something still leaves. Nothing is read ahead of it beyond what one
/// read brings, so a slow application slows its peer down.
///
/// Every method may be given up before it completes, as the branches of `tokio::select!` are: no
/// message that came is lost, and no frame is cut. What was about to be written is kept and
/// leaves, before all else, with whatever is awaited next.
pub struct WebSocket {
    stream: Box<dyn Duplex>,
    reader: Reader,
    limits: Limits,
    deflater: Option<Deflater>,
    gate: DeflateGate,
    closing: Closing,
    received: VecDeque<Message>,
    /// Control frames to be written next.
    answers: Vec<u8>,
    /// Frames that are being written, and how much of the first has left.
    outgoing: VecDeque<Bytes>,
    sent: usize,
    /// When the peer must have taken some of them.
    write_deadline: Option<Instant>,
    /// Something was written that a buffer below may hold still.
    unflushed: bool,
    /// Nothing can be written any more.
    broken: bool,
    /// Until when the peer's rest is read, once all is said.
    last_read: Option<Instant>,
    early: Vec<u8>,
    close_frame: Option<CloseFrame>,
    ended: bool,
    handshake: HandshakeRequest,
    protocol: Option<String>,
    server: Arc<ServerInner>,
    /// When the message that is arriving began.
    begun: Option<Instant>,
    /// When our close frame was sent.
    closed: Option<Instant>,
    /// When something last came.
    heard: Instant,
    /// When a ping was sent that nothing has come after.
    pinged: Option<Instant>,
    message_timeout: Duration,
    ping_interval: Option<Duration>,
    ping_timeout: Duration,
    write_timeout: Duration,
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebSocket({})", self.handshake.uri)
    }
}

impl WebSocket {
    pub(crate) fn new(
        server: Arc<ServerInner>,
        stream: Box<dyn Duplex>,
        agreed: Option<Agreed>,
        options: &WebSocketOptions,
        handshake: HandshakeRequest,
    ) -> Self {
        let deflater = agreed.zip(options.deflate.as_ref());
        WebSocket {
            stream,
            reader: Reader::new(Role::Server, agreed),
            limits: Limits::new(options.max_message_size),
            deflater: deflater
                .map(|(agreed, options)| Deflater::new(agreed, Role::Server, options)),
            gate: server.deflate_gate.clone(),
            closing: Closing::new(Role::Server),
            received: VecDeque::new(),
            answers: Vec::new(),
            outgoing: VecDeque::new(),
            sent: 0,
            write_deadline: None,
            unflushed: false,
            broken: false,
            last_read: None,
            early: Vec::new(),
            close_frame: None,
            ended: false,
            handshake,
            protocol: None,
            server,
            begun: None,
            closed: None,
            heard: Instant::now(),
            pinged: None,
            message_timeout: options.message_timeout,
            ping_interval: options.ping_interval,
            ping_timeout: options.ping_timeout,
            write_timeout: options.write_timeout,
        }
    }

    /// What the handshake brought: bytes behind it, and the sub-protocol.
    pub(crate) fn begin(&mut self, early: Vec<u8>, protocol: Option<String>) {
        self.early = early;
        self.protocol = protocol;
    }

    /// The request that opened it.
    pub fn handshake(&self) -> &HandshakeRequest {
        &self.handshake
    }

    /// The sub-protocol that was chosen.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The peer's close frame, once it has come.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.close_frame.as_ref()
    }

    /// The next message; `None` when the connection is over.
    pub async fn recv(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Some(message);
            }
            if self.ended {
                return self.end().await;
            }
            if !self.early.is_empty() {
                let mut early = std::mem::take(&mut self.early);
                self.take_in(&mut early);
                continue;
            }
            if self.server.is_closing() {
                self.begin_close(close_code::GOING_AWAY, "");
            }
            let read = self.read_in_time().await;
            match read {
                Ok(0) | Err(_) => {
                    self.ended = true;
                }
                Ok(_) => {}
            }
        }
    }

    /// Sends a message; completes when the peer's side of the connection has taken it. Given up
    /// before that, once it has begun to leave, it is sent all the same.
    ///
    /// # Errors
    /// When the connection is over or the peer takes nothing in time.
    pub async fn send(&mut self, message: Message) -> io::Result<()> {
        if self.closing.is_sent() || self.broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        // What was left behind first: at most one message waits here.
        self.flush().await?;
        let (opcode, payload) = match message {
            Message::Text(text) => (OpCode::Text, Bytes::from(text)),
            Message::Binary(data) => (OpCode::Binary, data),
        };
        self.push_message(opcode, payload);
        self.flush().await
    }

    /// Not a part of [`WebSocket::send`]: the permit is the whole server's, and must be given back
    /// before a peer is awaited.
    fn push_message(&mut self, opcode: OpCode, payload: Bytes) {
        if let Some(deflater) = &mut self.deflater
            && let Some(_permit) = self.gate.try_enter(payload.len())
        {
            self.outgoing.push_back(deflater.frame(opcode, &payload));
            return;
        }
        let head = header(opcode, true, false, None, payload.len());
        if payload.len() <= 16 << 10 {
            let frame = [head.as_ref(), &payload].concat();
            self.outgoing.push_back(frame.into());
        } else {
            let head = Bytes::copy_from_slice(head.as_ref());
            self.outgoing.extend([head, payload]);
        }
    }

    /// Begins the close handshake; [`WebSocket::recv`] completes it.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        if self.begin_close(code, reason) {
            return self.flush().await;
        }
        Ok(())
    }

    /// Lets a close frame be written next; whether it is the first.
    fn begin_close(&mut self, code: u16, reason: &str) -> bool {
        let frame = self.closing.start(code, reason);
        if let Some(frame) = &frame {
            self.closed = Some(Instant::now());
            self.answers.extend_from_slice(frame);
        }
        frame.is_some()
    }

    /// Writes what waits and reads meanwhile. Returns when something was read, when all has left
    /// that waited, or when the server begins to close; an error when what is due has not come in
    /// time.
    async fn read_in_time(&mut self) -> io::Result<usize> {
        let server = self.server.clone();
        let stopped = server.stop.notified();
        tokio::pin!(stopped);
        stopped.as_mut().enable();
        let told = self.closing.is_sent();
        if server.is_closing() && !told {
            return Ok(1);
        }
        // While something leaves, the time for that is what counts: an answer can only come to what
        // has arrived.
        let (waits, reading) = (self.has_waiting(), self.answers.len() < MAX_ANSWERS);
        let deadline = match (self.closed, self.begun) {
            (Some(closed), _) => (!waits).then(|| closed + CLOSE_WAIT),
            (None, begun) => begun
                .filter(|_| reading)
                .map(|begun| begun + self.message_timeout),
        };
        let silence = match (self.pinged, self.ping_interval) {
            _ if waits => None,
            (Some(pinged), _) => Some(pinged + self.ping_timeout),
            (None, Some(interval)) => Some(self.heard + interval),
            (None, None) => None,
        };
        let (late, silent) = (until(deadline), until(silence));
        tokio::select! {
            biased;
            read = self.exchange(reading) => read,
            () = stopped, if !told => Ok(1),
            () = late => Err(io::ErrorKind::TimedOut.into()),
            () = silent => self.silent(),
        }
    }

    /// Nothing has come for long: asks the peer, or takes it for dead when it was asked before.
    fn silent(&mut self) -> io::Result<usize> {
        if self.pinged.is_some() || self.closing.is_sent() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.pinged = Some(Instant::now());
        self.answers.extend_from_slice(&ping_frame(&[]));
        Ok(1)
    }

    /// Writes what waits and, if it is `reading`, reads once meanwhile: how much, or 1 when all has
    /// left. Given up, it goes on where it was when it is called again.
    async fn exchange(&mut self, reading: bool) -> io::Result<usize> {
        let waits = self.has_waiting();
        let timer = tokio::time::sleep_until(self.write_deadline.unwrap_or_else(Instant::now));
        tokio::pin!(timer);
        std::future::poll_fn(|cx| {
            match self.poll_write_waiting(cx) {
                Poll::Ready(Ok(())) if waits || !reading => return Poll::Ready(Ok(1)),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.break_off(error))),
                Poll::Pending => {
                    let limit = self.write_timeout;
                    let deadline = *self
                        .write_deadline
                        .get_or_insert_with(|| Instant::now() + limit);
                    if timer.deadline() != deadline {
                        timer.as_mut().reset(deadline);
                    }
                    if timer.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(self.break_off(takes_nothing())));
                    }
                }
            }
            if reading {
                return self.poll_read_in(cx);
            }
            Poll::Pending
        })
        .await
    }

    fn poll_read_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_read_buffer(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut read))?;
            let len = read.filled().len();
            self.take_in(&mut buffer[..len]);
            Poll::Ready(Ok(len))
        })
    }

    fn take_in(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            self.heard = Instant::now();
            self.pinged = None;
        }
        let before = self.received.len();
        self.decode(bytes);
        if !self.reader.has_partial() {
            self.begun = None;
        } else if self.received.len() > before || self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
    }

    fn decode(&mut self, bytes: &mut [u8]) {
        let mut input = Input::new(bytes);
        while !self.ended {
            match self.reader.next(&self.limits, &mut input) {
                Ok(Some(Event::Text(text))) => {
                    self.received.push_back(Message::Text(text.into_string()));
                }
                Ok(Some(Event::Binary(data))) => {
                    self.received.push_back(Message::Binary(data.into_bytes()));
                }
                Ok(Some(Event::Ping(data))) => {
                    // No more is read while many answers wait.
                    if !self.closing.is_sent() {
                        self.answers.extend_from_slice(&pong_frame(&data));
                    }
                }
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close(frame))) => {
                    if let Some(answer) = self.closing.received(frame.as_ref()) {
                        self.answers.extend_from_slice(&answer);
                    }
                    self.close_frame = frame;
                    self.ended = true;
                }
                Ok(None) => return,
                Err(error) => {
                    if let Some(last) = self.closing.start(error.close_code(), error.reason()) {
                        self.answers.extend_from_slice(&last);
                    }
                    self.ended = true;
                }
            }
        }
    }

    fn has_waiting(&self) -> bool {
        !self.outgoing.is_empty() || !self.answers.is_empty() || self.unflushed
    }

    /// Writes what waits. Given up, it goes on where it was when it is called again.
    async fn flush(&mut self) -> io::Result<()> {
        self.exchange(false).await.map(|_| ())
    }

    fn poll_write_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            self.answers.clear();
            return Poll::Ready(Ok(()));
        }
        loop {
            let Some(first) = self.outgoing.front() else {
                if self.answers.is_empty() {
                    break;
                }
                // Only now: what waits in both stays within the bound of one.
                let answers = std::mem::take(&mut self.answers);
                self.outgoing.push_back(answers.into());
                continue;
            };
            if self.sent == first.len() {
                self.outgoing.pop_front();
                self.sent = 0;
                continue;
            }
            let stream = Pin::new(&mut *self.stream);
            let written = ready!(stream.poll_write(cx, &first[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.write_deadline = None;
            self.unflushed = true;
            self.sent += written;
        }
        if self.unflushed {
            ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
            self.unflushed = false;
            self.write_deadline = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing can be written any more.
    fn break_off(&mut self, error: io::Error) -> io::Error {
        self.outgoing.clear();
        self.answers.clear();
        self.unflushed = false;
        (self.broken, self.ended) = (true, true);
        error
    }

    /// Completes the end: what was answered leaves, the peer's rest is read and forgotten.
    async fn end(&mut self) -> Option<Message> {
        if !self.broken {
            let _ = self.flush().await;
        }
        let last = async {
            // Over TLS it writes, and so may wait for a peer that takes nothing.
            let _ = self.stream.shutdown().await;
            let read_all = std::future::poll_fn(|cx| {
                with_read_buffer(|buffer| {
                    loop {
                        let mut read = ReadBuf::new(&mut *buffer);
                        if ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut read)).is_err()
                            || read.filled().is_empty()
                        {
                            return Poll::Ready(());
                        }
                    }
                })
            });
            read_all.await;
        };
        let until = *self
            .last_read
            .get_or_insert_with(|| Instant::now() + LAST_READ);
        let _ = tokio::time::timeout_at(until, last).await;
        None
    }
}

/// The close code of a connection that ended as it should.
pub const NORMAL_CLOSE: u16 = close_code::NORMAL;

fn takes_nothing() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
