//! The event loop of one thread: readiness, set-up, frames in, orders out.
//!
//! One read buffer and one write buffer serve all connections. Registrations are edge-triggered
//! and made once; a read that does not fill the buffer has emptied the socket, so a message costs
//! one `recv`, one `send` and its share of a poll.

mod alarm;
mod connection;

use crate::clock;
use crate::driver::{Desk, Driver};
use crate::history::History;
use crate::latency::Latency;
use crate::plan::{Plan, Scenario};
use crate::report::Errors;
use crate::target::Protocol;
use crate::wire::frame::{self, Header, Invalid, opcode};
use crate::wire::http::{self, Answer};
use crate::wire::{Incoming, Wire};
use alarm::Alarm;
use connection::{Connection, Phase};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const ALARM: Token = Token(usize::MAX);
const BUFFER: usize = 256 * 1024;

pub(crate) struct Engine {
    events: Events,
    core: Core,
}

struct Core {
    poll: Poll,
    alarm: Option<Alarm>,
    address: SocketAddr,
    sources: Vec<IpAddr>,
    wanted: u32,
    handshakes: u32,
    connections: Vec<Connection>,
    wire: Wire,
    buffer: Vec<u8>,
    out: Vec<u8>,
    desk: Desk,
    setup: Setup,
    errors: Errors,
}

/// How far setting up has come.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) ready: u32,
    pub(crate) failed: u32,
    pub(crate) pending: u32,
    /// When the last connection was ready or had failed.
    pub(crate) progress: u64,
    pub(crate) latency: Latency,
}

impl Engine {
    pub(crate) fn new(plan: &Plan, history: History) -> io::Result<Self> {
        let poll = Poll::new()?;
        let now = clock::now();
        let handshakes = match plan.scenario {
            Scenario::Storm { .. } => plan.connections,
            _ => plan.handshakes.max(1),
        };
        Ok(Self {
            events: Events::with_capacity(1024),
            core: Core {
                alarm: Alarm::new(poll.registry(), ALARM)?,
                poll,
                address: plan.target.address(),
                sources: plan.sources.clone(),
                wanted: plan.connections,
                handshakes,
                connections: Vec::with_capacity(plan.connections as usize),
                wire: Wire::new(plan, now),
                buffer: vec![0; BUFFER],
                out: Vec::new(),
                desk: Desk::new(history),
                setup: Setup {
                    progress: now,
                    ..Setup::default()
                },
                errors: Errors::default(),
            },
        })
    }

    pub(crate) fn desk(&mut self) -> &mut Desk {
        &mut self.core.desk
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.core.setup
    }

    pub(crate) fn errors(&self) -> &Errors {
        &self.core.errors
    }

    /// The connections that are ready.
    pub(crate) fn ready(&self) -> Vec<u32> {
        let ready = |connection: &Connection| connection.phase == Phase::Ready;
        let connections = self.core.connections.iter().zip(0..);
        connections
            .filter(|(connection, _)| ready(connection))
            .map(|(_, index)| index)
            .collect()
    }

    /// Opens connections as far as handshakes in flight allow; whether all have been opened and
    /// are ready or failed.
    pub(crate) fn open(&mut self) -> bool {
        self.core.desk.now = clock::now();
        self.core.open();
        self.core.setup.pending == 0 && self.core.connections.len() == self.core.wanted as usize
    }

    /// Wants so many connections more than so far; [`Engine::open`] opens them.
    pub(crate) fn want_more(&mut self, count: u32) {
        self.core.wanted += count;
    }

    /// Resets a connection.
    pub(crate) fn cut(&mut self, index: u32) {
        self.core.drop_connection(index);
    }

    /// Gives up on connections that are not ready.
    pub(crate) fn give_up(&mut self) {
        self.core.wanted = self.core.connections.len() as u32;
        for index in 0..self.core.connections.len() {
            if self.core.connections[index].phase < Phase::Ready {
                self.core.errors.unfinished += 1;
                self.core.drop_connection(index as u32);
            }
        }
    }

    /// Begins the load.
    pub(crate) fn start<D: Driver>(&mut self, driver: &mut D) {
        let desk = &mut self.core.desk;
        desk.now = clock::now();
        desk.last_arrival = desk.now;
        desk.sending = true;
        driver.start(desk);
        self.core.send_orders(driver);
    }

    /// Tells the driver that messages were lost.
    pub(crate) fn stalled<D: Driver>(&mut self, driver: &mut D) {
        self.core.desk.now = clock::now();
        self.core.desk.last_arrival = self.core.desk.now;
        driver.stalled(&mut self.core.desk);
        self.core.send_orders(driver);
    }

    /// Waits for something to happen, `until` at the latest, and handles it.
    pub(crate) fn turn<D: Driver>(&mut self, driver: &mut D, until: u64) -> io::Result<()> {
        let core = &mut self.core;
        let due = driver.next_due().filter(|_| core.desk.sending);
        let timeout = core.timeout(due, until)?;
        match core.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            if event.token() != ALARM {
                core.desk.now = clock::now();
                core.event(event, driver);
            }
        }
        core.desk.now = clock::now();
        if core.desk.sending {
            driver.due(&mut core.desk);
            core.send_orders(driver);
        }
        Ok(())
    }
}

impl Core {
    fn timeout(&mut self, due: Option<u64>, until: u64) -> io::Result<Option<Duration>> {
        let now = clock::now();
        let at = due.map_or(until, |due| due.min(until));
        if at <= now {
            return Ok(Some(Duration::ZERO));
        }
        if let (Some(due), Some(alarm)) = (due, &mut self.alarm)
            && due <= until
        {
            alarm.arm(due)?;
            // The alarm is what ends the wait; the timeout only guards it.
            return Ok(Some(
                Duration::from_nanos(at - now) + Duration::from_millis(2),
            ));
        }
        Ok(Some(Duration::from_nanos(at - now)))
    }

    fn open(&mut self) {
        while self.setup.pending < self.handshakes && self.connections.len() < self.wanted as usize
        {
            let index = self.connections.len();
            let source = match self.sources.len() {
                0 => None,
                count => Some(self.sources[index % count]),
            };
            let mut connection = Connection {
                stream: None,
                phase: Phase::Connecting,
                since: self.desk.now,
                spill: None,
            };
            let interest = Interest::READABLE | Interest::WRITABLE;
            let started = connection::connect(self.address, source).and_then(|mut stream| {
                self.poll
                    .registry()
                    .register(&mut stream, Token(index), interest)?;
                Ok(stream)
            });
            match started {
                Ok(stream) => {
                    connection.stream = Some(stream);
                    self.setup.pending += 1;
                }
                Err(_) => {
                    connection.phase = Phase::Gone;
                    self.errors.connect += 1;
                    self.setup.failed += 1;
                    self.setup.progress = self.desk.now;
                }
            }
            self.connections.push(connection);
        }
    }

    fn event<D: Driver>(&mut self, event: &Event, driver: &mut D) {
        let index = event.token().0 as u32;
        let connection = &mut self.connections[index as usize];
        let Some(stream) = &connection.stream else {
            return;
        };
        if connection.phase == Phase::Connecting {
            if !event.is_writable() && !event.is_error() {
                return;
            }
            if !matches!(stream.take_error(), Ok(None)) {
                self.errors.connect += 1;
                return self.drop_connection(index);
            }
            self.connected(index, driver);
        } else if event.is_writable() && connection.flush().is_err() {
            return self.lost(index, driver);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(index, event.is_read_closed(), driver);
        }
    }

    fn connected<D: Driver>(&mut self, index: u32, driver: &mut D) {
        if self.wire.protocol() == Protocol::Floor {
            return self.ready(index);
        }
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Upgrading;
        if connection.send(self.wire.request()).is_err() {
            self.lost(index, driver);
        }
    }

    fn ready(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Ready;
        self.setup.ready += 1;
        self.setup.pending -= 1;
        self.setup.progress = self.desk.now;
        self.setup
            .latency
            .record(self.desk.now.saturating_sub(connection.since));
    }

    /// The server is gone, or has closed.
    fn lost<D: Driver>(&mut self, index: u32, driver: &mut D) {
        match self.connections[index as usize].phase {
            Phase::Gone => return,
            Phase::Connecting => self.errors.connect += 1,
            Phase::Ready => {
                self.errors.closed += 1;
                driver.gone(index);
            }
            _ => self.errors.refused += 1,
        }
        self.drop_connection(index);
    }

    /// The server does not speak the protocol.
    fn broken<D: Driver>(&mut self, index: u32, driver: &mut D) {
        self.errors.protocol += 1;
        if self.connections[index as usize].phase == Phase::Ready {
            driver.gone(index);
        }
        self.drop_connection(index);
    }

    fn drop_connection(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.phase < Phase::Ready {
            self.setup.failed += 1;
            self.setup.pending -= 1;
            self.setup.progress = self.desk.now;
        }
        connection.phase = Phase::Gone;
        // Closing the descriptor takes it out of the poll.
        connection.stream = None;
        connection.spill = None;
    }

    fn read<D: Driver>(&mut self, index: u32, to_the_end: bool, driver: &mut D) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let connection = &mut self.connections[index as usize];
            let Some(stream) = &mut connection.stream else {
                break;
            };
            let held = match &mut connection.spill {
                Some(spill) => {
                    let held = spill.inbound.len();
                    if buffer.len() < held + BUFFER / 2 {
                        buffer.resize(held + BUFFER, 0);
                    }
                    buffer[..held].copy_from_slice(&spill.inbound);
                    held
                }
                None => 0,
            };
            let end = match stream.read(&mut buffer[held..]) {
                Ok(0) => {
                    self.lost(index, driver);
                    break;
                }
                Ok(count) => held + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.lost(index, driver);
                    break;
                }
            };
            if held > 0 {
                connection.take_inbound();
            }
            match self.consume(index, &buffer[..end], driver) {
                Ok(consumed) if self.connections[index as usize].stream.is_some() => {
                    let connection = &mut self.connections[index as usize];
                    if consumed < end {
                        connection
                            .spill()
                            .inbound
                            .extend_from_slice(&buffer[consumed..end]);
                    } else {
                        connection.tidy();
                    }
                }
                Ok(_) => {}
                Err(Invalid) => self.broken(index, driver),
            }
            self.answer(index, driver);
            self.send_orders(driver);
            if end < buffer.len() && !to_the_end {
                break;
            }
        }
        if buffer.len() > 4 * BUFFER {
            buffer = vec![0; BUFFER];
        }
        self.buffer = buffer;
    }

    /// Handles all that is whole; returns how many bytes that was.
    fn consume<D: Driver>(
        &mut self,
        index: u32,
        bytes: &[u8],
        driver: &mut D,
    ) -> Result<usize, Invalid> {
        let mut at = 0;
        if self.connections[index as usize].phase == Phase::Upgrading {
            match http::answer(bytes)? {
                Answer::Partial => return Ok(0),
                Answer::Refused(status) => {
                    self.errors.refused += 1;
                    self.errors.last_status = Some(status);
                    self.drop_connection(index);
                    return Ok(bytes.len());
                }
                Answer::Switched(len) => at = len,
            }
            match self.wire.protocol() {
                Protocol::SocketIo => self.connections[index as usize].phase = Phase::Opening,
                _ => self.ready(index),
            }
        }
        while let Some(header) = self.wire.header(&bytes[at..])? {
            if header.mask.is_some() {
                return Err(Invalid); // RFC 6455, section 5.1: servers do not mask.
            }
            let Some(payload) = bytes[at..].get(header.len..header.total()) else {
                break;
            };
            at += header.total();
            if header.deflated {
                self.deflated(index, header, payload, driver)?;
            } else {
                self.frame(index, header.fin, header.opcode, payload, driver)?;
            }
            if self.connections[index as usize].stream.is_none() {
                break;
            }
        }
        Ok(at)
    }

    /// A deflated message, which has to be in one frame.
    fn deflated<D: Driver>(
        &mut self,
        index: u32,
        header: Header,
        payload: &[u8],
        driver: &mut D,
    ) -> Result<(), Invalid> {
        let mut inflater = self.wire.take_inflater().ok_or(Invalid)?;
        let done = match inflater.inflate(payload) {
            Ok(text) if header.fin => {
                self.desk.deflated += u64::from(self.desk.counting);
                self.frame(index, true, header.opcode, text, driver)
            }
            _ => Err(Invalid),
        };
        self.wire.return_inflater(inflater);
        done
    }

    fn frame<D: Driver>(
        &mut self,
        index: u32,
        fin: bool,
        opcode: u8,
        payload: &[u8],
        driver: &mut D,
    ) -> Result<(), Invalid> {
        match (opcode, fin) {
            (opcode::TEXT, true) => self.text(index, payload, driver),
            (opcode::TEXT, false) => {
                self.connections[index as usize].spill().message = Some(payload.to_vec());
            }
            (opcode::CONTINUATION, fin) => {
                let spill = self.connections[index as usize].spill.as_mut();
                let Some(message) = spill.and_then(|spill| spill.message.as_mut()) else {
                    return Ok(()); // The rest of a binary message.
                };
                if message.len() + payload.len() > frame::MAX_FRAME {
                    return Err(Invalid);
                }
                message.extend_from_slice(payload);
                if fin {
                    let message = std::mem::take(message);
                    self.connections[index as usize].spill().message = None;
                    self.text(index, &message, driver);
                }
            }
            (opcode::BINARY, _) => self.desk.unrelated += 1,
            (opcode::PING, _) => self.wire.put_control(opcode::PONG, payload, &mut self.out),
            (opcode::CLOSE, _) => self.lost(index, driver),
            _ => {}
        }
        Ok(())
    }

    fn text<D: Driver>(&mut self, index: u32, text: &[u8], driver: &mut D) {
        let phase = self.connections[index as usize].phase;
        match (self.wire.read(text), phase) {
            (Incoming::Message(stamp), Phase::Ready) => {
                if self.desk.accept(index, &stamp) {
                    driver.message(index, stamp, &mut self.desk);
                }
            }
            (Incoming::Ping, _) => {
                self.desk.pings += 1;
                self.wire.put_pong(&mut self.out);
            }
            (Incoming::Damaged, Phase::Ready) => self.desk.history.receive_damaged(),
            (Incoming::Open, Phase::Opening) => {
                self.wire.put_connect(&mut self.out);
                self.connections[index as usize].phase = Phase::Joining;
            }
            (Incoming::Connected, Phase::Joining) => {
                if self.wire.put_join(&mut self.out) {
                    self.connections[index as usize].phase = Phase::Entering;
                } else {
                    self.ready(index);
                }
            }
            (Incoming::Joined, Phase::Entering) => self.ready(index),
            (Incoming::Closed | Incoming::Refused, _) => self.lost(index, driver),
            _ => self.desk.unrelated += 1,
        }
    }

    /// Sends what was put out while handling frames of a connection.
    fn answer<D: Driver>(&mut self, index: u32, driver: &mut D) {
        if self.out.is_empty() {
            return;
        }
        let sent = self.connections[index as usize].send(&self.out);
        self.out.clear();
        if sent.is_err() {
            self.lost(index, driver);
        }
    }

    /// Sends what the driver ordered; neighbours for one connection leave in one write.
    fn send_orders<D: Driver>(&mut self, driver: &mut D) {
        let mut orders = std::mem::take(&mut self.desk.orders);
        for batch in orders.chunk_by(|a, b| a.connection == b.connection) {
            for order in batch {
                self.wire.put_message(&order.stamp, &mut self.out);
            }
            self.answer(batch[0].connection, driver);
        }
        orders.clear();
        self.desk.orders = orders;
    }
}
