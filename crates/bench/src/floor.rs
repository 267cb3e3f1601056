//! The bare floor: what a loop of `read`, `write` and `send` calls costs on this machine.
//!
//! It accepts connections and speaks, by what they begin with, one of three languages:
//!
//! - unmasked WebSocket frames from the first byte on ([`crate::Protocol::Floor`]). A connection
//!   whose first message is an echo gets every byte back as it came, one `write` per `read`; one
//!   whose first message is a broadcast has each of its messages sent to every connection, one
//!   `send` each, or, when coalescing, one `send` for all that one `read` brought. This is the
//!   floor of the tables.
//! - WebSocket with a handshake, and the least of Socket.IO on top if the request asks for
//!   `EIO=4`: all answers constant. With these the same generator runs the same scenario; the
//!   difference to the above is what framing alone costs.
//!
//! It trusts its peer, keeps no session, sends no heartbeat unless told to, and closes what it does not
//! understand. Per connection it holds 8 bytes.

use crate::wire::frame::{self, opcode};
use crate::wire::http;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);
const BUFFER: usize = 64 * 1024;

/// A bound floor server.
#[derive(Debug)]
pub struct Floor {
    poll: Poll,
    listener: TcpListener,
    waker: Arc<Waker>,
    peers: Vec<Peer>,
    free: Vec<u32>,
    /// The start of frames or requests whose end has not come yet, by peer.
    rests: HashMap<usize, Vec<u8>>,
    coalesce: bool,
    beat: Option<Beat>,
}

/// Heartbeats of those that speak Socket.IO.
#[derive(Debug)]
struct Beat {
    interval: Duration,
    /// When each is due; all have the same interval, so the first is the next.
    due: VecDeque<(Instant, usize)>,
}

/// Ends a floor server from another thread.
#[derive(Debug, Clone)]
pub struct FloorStop(Arc<Waker>);

impl FloorStop {
    /// Makes [`Floor::run`] return.
    ///
    /// # Errors
    ///
    /// If the system does not deliver the wake-up.
    pub fn stop(&self) -> io::Result<()> {
        self.0.wake()
    }
}

#[derive(Debug)]
struct Peer {
    stream: Option<TcpStream>,
    tongue: Tongue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tongue {
    Unknown,
    RawEcho,
    RawPublisher,
    WebSocket,
    SocketIo,
}

impl Floor {
    /// Listens on an address; port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub fn bind(address: SocketAddr, coalesce: bool) -> io::Result<Self> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        Ok(Self {
            poll,
            listener,
            waker,
            peers: Vec::new(),
            free: Vec::new(),
            rests: HashMap::new(),
            coalesce,
            beat: None,
        })
    }

    /// Sends every Socket.IO connection an Engine.IO ping after each interval. It closes nobody
    /// who does not answer.
    pub fn beat(&mut self, interval: Duration) {
        self.beat = Some(Beat {
            interval,
            due: VecDeque::new(),
        });
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle that ends [`Floor::run`].
    pub fn stopper(&self) -> FloorStop {
        FloorStop(self.waker.clone())
    }

    /// Serves on the calling thread until stopped.
    ///
    /// # Errors
    ///
    /// If the poll itself fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER];
        let mut out = Vec::with_capacity(BUFFER);
        loop {
            let timeout = self.beat_due();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    STOP => return Ok(()),
                    LISTENER => self.accept()?,
                    Token(index) => self.serve(index, &mut buffer, &mut out),
                }
            }
        }
    }

    /// Sends the heartbeats that are due; how long until the next.
    fn beat_due(&mut self) -> Option<Duration> {
        let mut beat = self.beat.take()?;
        let now = Instant::now();
        while let Some(&(due, index)) = beat.due.front()
            && due <= now
        {
            beat.due.pop_front();
            // An unmasked text frame with the packet `2`. Who does not take it is gone.
            if self.peers[index].tongue != Tongue::SocketIo {
                continue;
            }
            if self.peers[index].stream.is_none() || self.write(index, b"\x81\x012").is_none() {
                self.close(index);
                continue;
            }
            beat.due.push_back((due + beat.interval, index));
        }
        let next = beat.due.front().map(|(due, _)| *due - now);
        self.beat = Some(beat);
        next
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                // Out of descriptors: what waits in the backlog stays there.
                Err(_) => return Ok(()),
            };
            stream.set_nodelay(true)?;
            let index = self
                .free
                .pop()
                .map_or(self.peers.len(), |index| index as usize);
            self.poll
                .registry()
                .register(&mut stream, Token(index), Interest::READABLE)?;
            let peer = Peer {
                stream: Some(stream),
                tongue: Tongue::Unknown,
            };
            match self.peers.get_mut(index) {
                Some(slot) => *slot = peer,
                None => self.peers.push(peer),
            }
        }
    }

    fn serve(&mut self, index: usize, buffer: &mut [u8], out: &mut Vec<u8>) {
        loop {
            let Some(peer) = self.peers.get_mut(index) else {
                return;
            };
            let Some(stream) = &mut peer.stream else {
                return;
            };
            let rest = if self.rests.is_empty() {
                None
            } else {
                self.rests.remove(&index)
            };
            let held = match rest {
                Some(rest) => {
                    buffer[..rest.len()].copy_from_slice(&rest);
                    rest.len()
                }
                None => 0,
            };
            let end = match stream.read(&mut buffer[held..]) {
                Ok(0) => return self.close(index),
                Ok(count) => held + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if held > 0 {
                        self.rests.insert(index, buffer[..held].to_vec());
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.close(index),
            };
            let Some(consumed) = self.handle(index, &mut buffer[..end], out) else {
                return self.close(index);
            };
            if consumed < end {
                if end == buffer.len() && consumed == 0 {
                    return self.close(index); // A message larger than the buffer.
                }
                self.rests.insert(index, buffer[consumed..end].to_vec());
            }
            if end < buffer.len() {
                return;
            }
        }
    }

    /// Answers all that is whole; how many bytes that was, or `None` to close.
    fn handle(&mut self, index: usize, bytes: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
        out.clear();
        let mut skip = 0;
        if self.peers[index].tongue == Tongue::Unknown {
            let tongue = if bytes[0] == b'G' {
                skip = match http::head_len(bytes) {
                    Some(len) => len,
                    None => return Some(0),
                };
                greet(&bytes[..skip], out)
            } else {
                let header = frame::header(bytes).ok()?;
                match header.and_then(|header| bytes.get(header.len)) {
                    Some(b'e') => Tongue::RawEcho,
                    Some(b'b') => Tongue::RawPublisher,
                    Some(_) => return None,
                    None => return Some(0),
                }
            };
            self.peers[index].tongue = tongue;
            if let (Tongue::SocketIo, Some(beat)) = (tongue, &mut self.beat) {
                beat.due.push_back((Instant::now() + beat.interval, index));
            }
        }
        let consumed = match self.peers[index].tongue {
            Tongue::RawEcho => {
                self.write(index, bytes)?;
                return Some(bytes.len());
            }
            Tongue::RawPublisher => self.publish_raw(bytes)?,
            tongue => skip + self.answer(tongue, &mut bytes[skip..], out)?,
        };
        if !out.is_empty() {
            self.write(index, out)?;
        }
        Some(consumed)
    }

    fn publish_raw(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(header) = frame::header(&bytes[at..]).ok()? {
            let Some(whole) = bytes[at..].get(..header.total()) else {
                break;
            };
            if !self.coalesce {
                self.send_to_all(whole);
            }
            at += whole.len();
        }
        if self.coalesce && at > 0 {
            self.send_to_all(&bytes[..at]);
        }
        Some(at)
    }

    /// Frames after a handshake: echoes into `out`, broadcasts to everyone.
    fn answer(&mut self, tongue: Tongue, bytes: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut all = Vec::new();
        let mut at = 0;
        while let Some(header) = frame::header(&bytes[at..]).ok()? {
            let Some(payload) = bytes[at..].get_mut(header.len..header.total()) else {
                break;
            };
            frame::apply_mask(header.mask?, payload);
            match (header.opcode, tongue, &*payload) {
                (opcode::TEXT, Tongue::WebSocket, [b'b', ..]) => {
                    frame::put(opcode::TEXT, None, payload, &mut all);
                }
                (opcode::TEXT, Tongue::WebSocket, _) => {
                    frame::put(opcode::TEXT, None, payload, out);
                }
                (opcode::TEXT, _, [b'4', b'0', ..]) => {
                    frame::put(opcode::TEXT, None, b"40{\"sid\":\"floor\"}", out);
                }
                (opcode::TEXT, _, [b'4', b'2', b'[', ..]) => {
                    frame::put(opcode::TEXT, None, payload, &mut all);
                }
                (opcode::TEXT, _, [b'4', b'2', event @ ..]) => {
                    let id = event
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit())
                        .count();
                    let name = event[id..].iter().position(|&byte| byte == b',')?;
                    let argument = &event[id + name + 1..];
                    let len = 3 + id + argument.len();
                    frame::put_header(opcode::TEXT, None, len, out);
                    out.extend_from_slice(b"43");
                    out.extend_from_slice(&event[..id]);
                    out.push(b'[');
                    out.extend_from_slice(argument);
                }
                (opcode::CLOSE, ..) => return None,
                _ => {}
            }
            at += header.total();
            if !self.coalesce && !all.is_empty() {
                self.send_to_all(&all);
                all.clear();
            }
        }
        if !all.is_empty() {
            self.send_to_all(&all);
        }
        Some(at)
    }

    fn send_to_all(&mut self, bytes: &[u8]) {
        for index in 0..self.peers.len() {
            if self.write(index, bytes).is_none() {
                self.close(index);
            }
        }
    }

    /// One system call; a peer that does not take it all is closed.
    fn write(&mut self, index: usize, bytes: &[u8]) -> Option<()> {
        let Some(stream) = &mut self.peers[index].stream else {
            return Some(());
        };
        match stream.write(bytes) {
            Ok(written) if written == bytes.len() => Some(()),
            _ => None,
        }
    }

    fn close(&mut self, index: usize) {
        if self.peers[index].stream.take().is_some() {
            self.rests.remove(&index);
            self.free.push(index as u32);
        }
    }
}

fn greet(request: &[u8], out: &mut Vec<u8>) -> Tongue {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
    out.extend_from_slice(b"Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(http::ACCEPT.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    if !request.windows(5).any(|five| five == b"EIO=4") {
        return Tongue::WebSocket;
    }
    let open = b"0{\"sid\":\"floor\",\"upgrades\":[],\"pingInterval\":25000,\
        \"pingTimeout\":20000,\"maxPayload\":60000}";
    frame::put(opcode::TEXT, None, open, out);
    Tongue::SocketIo
}
