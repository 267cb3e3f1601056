//! The event loop of one thread: readiness, connections that come and go, frames in, orders out.
//!
//! One read buffer and one write buffer serve all connections. Registrations are edge-triggered
//! and made once; a read that does not fill the buffer has emptied the socket, so a message costs
//! one `recv`, one `send` and its share of a poll.

mod alarm;
mod connection;
mod lifecycle;
mod polling;
mod read;
mod trickle;

pub(crate) use lifecycle::Setup;

use crate::clock;
use crate::driver::{Desk, Driver, Hold, Outgoing};
use crate::history::History;
use crate::plan::{Plan, Scenario};
use crate::report::Errors;
use crate::timeline::Timeline;
use crate::wire::Wire;
use alarm::Alarm;
use connection::{Connection, Phase};
use lifecycle::Cause;
use mio::event::Event;
use mio::{Events, Poll, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use trickle::Trickle;

const ALARM: Token = Token(usize::MAX);
const BUFFER: usize = 256 * 1024;

pub(crate) struct Engine {
    events: Events,
    core: Core,
    /// Nanoseconds spent waiting for something to happen.
    waited: u64,
}

struct Core {
    poll: Poll,
    alarm: Option<Alarm>,
    address: SocketAddr,
    sources: Vec<IpAddr>,
    handshakes: u32,
    patience: u64,
    connections: Vec<Connection>,
    /// Those to be opened.
    queue: VecDeque<u32>,
    /// Those that have said that they leave, and when.
    leaving: VecDeque<(u64, u32)>,
    trickle: Option<Trickle>,
    wire: Wire,
    buffer: Vec<u8>,
    out: Vec<u8>,
    desk: Desk,
    setup: Setup,
    errors: Errors,
    /// Errors that the scenario expects.
    expected: Errors,
}

impl Engine {
    pub(crate) fn new(plan: &Plan, history: History) -> io::Result<Self> {
        let poll = Poll::new()?;
        let now = clock::now();
        let handshakes = match plan.scenario {
            Scenario::Storm { .. } => plan.connections,
            _ => plan.handshakes.max(1),
        };
        let slots = plan.slots() as usize;
        let mut core = Core {
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            address: plan.target.address(),
            sources: plan.sources.clone(),
            handshakes,
            patience: plan.patience.as_nanos() as u64,
            connections: (0..slots).map(|_| Connection::new()).collect(),
            queue: VecDeque::new(),
            leaving: VecDeque::new(),
            trickle: Trickle::new(plan),
            wire: Wire::new(plan, now),
            buffer: vec![0; BUFFER],
            out: Vec::new(),
            desk: Desk::new(history, Timeline::new(now, plan.tick())),
            setup: Setup::new(now),
            errors: Errors::default(),
            expected: Errors::default(),
        };
        if let Some(trickle) = &core.trickle {
            core.desk.slow = trickle.readers(slots as u32);
        }
        (0..plan.initial()).for_each(|index| core.enqueue(index));
        Ok(Self {
            events: Events::with_capacity(1024),
            core,
            waited: 0,
        })
    }

    pub(crate) fn desk(&mut self) -> &mut Desk {
        &mut self.core.desk
    }

    pub(crate) fn setup(&mut self) -> &mut Setup {
        &mut self.core.setup
    }

    pub(crate) fn errors(&self) -> &Errors {
        &self.core.errors
    }

    /// Errors that the scenario expects.
    pub(crate) fn expected(&self) -> &Errors {
        &self.core.expected
    }

    /// Nanoseconds spent waiting for something to happen, so far.
    pub(crate) fn waited(&self) -> u64 {
        self.waited
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

    /// Opens so many connections more, as handshakes in flight allow.
    pub(crate) fn want_more(&mut self, count: u32) {
        let core = &mut self.core;
        let mut wanted = count;
        for index in 0..core.connections.len() {
            if wanted > 0 && core.connections[index].phase == Phase::Gone {
                core.enqueue(index as u32);
                wanted -= 1;
            }
        }
        for _ in 0..wanted {
            core.connections.push(Connection::new());
            core.enqueue(core.connections.len() as u32 - 1);
        }
        core.setup.progress = clock::now();
    }

    /// Resets a connection.
    pub(crate) fn cut(&mut self, index: u32) {
        self.core.desk.cut(index);
        self.core.take_steps(&mut Hold);
    }

    /// Whether no connection is to be opened or being set up.
    pub(crate) fn is_settled(&self) -> bool {
        self.core.setup.pending == 0 && self.core.queue.is_empty()
    }

    /// Gives up on connections that are not ready.
    pub(crate) fn give_up<D: Driver>(&mut self, driver: &mut D) {
        for index in std::mem::take(&mut self.core.queue) {
            self.core.connections[index as usize].phase = Phase::Gone;
        }
        for index in 0..self.core.connections.len() {
            if self.core.connections[index].is_setting_up() {
                self.core.fail(index as u32, Cause::Unfinished, driver);
            }
        }
    }

    /// Lets so many handshakes be in flight from now on.
    pub(crate) fn set_handshakes(&mut self, handshakes: u32) {
        self.core.handshakes = handshakes.max(1);
    }

    /// Begins the load.
    pub(crate) fn start<D: Driver>(&mut self, driver: &mut D) {
        let desk = &mut self.core.desk;
        desk.now = clock::now();
        desk.last_arrival = desk.now;
        desk.sending = true;
        driver.start(desk);
        self.core.begin_trickle();
        self.core.finish_turn(driver);
    }

    /// Begins the measurement.
    pub(crate) fn measure<D: Driver>(&mut self, driver: &mut D) {
        self.core.desk.now = clock::now();
        driver.measure(&mut self.core.desk);
        self.core.finish_turn(driver);
    }

    /// Ends the load: nothing more is sent, and slow readers read what waits for them.
    pub(crate) fn stop<D: Driver>(&mut self, driver: &mut D) {
        self.core.desk.now = clock::now();
        (self.core.desk.counting, self.core.desk.sending) = (false, false);
        self.core.end_trickle(driver);
        self.core.finish_turn(driver);
    }

    /// Tells the driver that messages were lost.
    pub(crate) fn stalled<D: Driver>(&mut self, driver: &mut D) {
        self.core.desk.now = clock::now();
        self.core.desk.last_arrival = self.core.desk.now;
        driver.stalled(&mut self.core.desk);
        self.core.finish_turn(driver);
    }

    /// Waits for something to happen, `until` at the latest, and handles it.
    pub(crate) fn turn<D: Driver>(&mut self, driver: &mut D, until: u64) -> io::Result<()> {
        let core = &mut self.core;
        core.desk.now = clock::now();
        core.open_queued(driver);
        let due = driver.next_due().filter(|_| core.desk.sending);
        let trickle = core.trickle.as_ref().and_then(Trickle::next_due);
        let until = trickle.map_or(until, |at| at.min(until));
        let timeout = core.timeout(due, until)?;
        let before = clock::now();
        match core.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.waited += clock::now().saturating_sub(before);
        for event in &self.events {
            if event.token() != ALARM {
                core.desk.now = clock::now();
                if polling::is_side(event.token()) {
                    core.side_event(event, driver);
                } else {
                    core.event(event, driver);
                }
            }
        }
        core.desk.now = clock::now();
        core.read_by_and_by(driver);
        core.let_go(driver);
        if core.desk.sending {
            driver.due(&mut core.desk);
        }
        core.finish_turn(driver);
        if core.desk.now >= core.desk.timeline.due() {
            core.desk.timeline.cut(core.desk.now);
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
                return self.fail(index, Cause::Connect, driver);
            }
            self.connected(index, driver);
        } else if event.is_writable() && connection.flush().is_err() {
            return self.lost(index, driver);
        }
        if self.connections[index as usize].slow {
            // What waits to be read waits; a server that has closed will not take it back.
            if event.is_read_closed() || event.is_error() {
                self.lost(index, driver);
            }
        } else if event.is_readable() || event.is_read_closed() {
            self.read(index, event.is_read_closed(), usize::MAX, driver);
        }
    }

    /// Sends what the driver ordered, and lets come and go whom it ordered to.
    fn finish_turn<D: Driver>(&mut self, driver: &mut D) {
        self.send_orders(driver);
        while !self.desk.steps.is_empty() {
            self.take_steps(driver);
            self.send_orders(driver);
        }
    }

    /// Sends what was put out while handling frames of a connection.
    fn answer<D: Driver>(&mut self, index: u32, driver: &mut D) {
        if self.out.is_empty() {
            return;
        }
        if self.is_polling(index) {
            let out = std::mem::take(&mut self.out);
            return self.post(index, &out, driver);
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
            let index = batch[0].connection;
            self.wire.polling = self.is_polling(index);
            for order in batch {
                match &order.what {
                    Outgoing::Message(stamp) => {
                        self.wire.put_message(index, stamp, &mut self.out);
                    }
                    Outgoing::Text(text) => self.wire.put_text(text, &mut self.out),
                }
            }
            self.answer(index, driver);
        }
        orders.clear();
        // What answering ordered waits for the next turn at most.
        orders.append(&mut self.desk.orders);
        self.desk.orders = orders;
    }
}
