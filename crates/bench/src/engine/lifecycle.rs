//! How connections come, become ready, fail, leave and are lost.

use super::connection::{self, Connection, Phase};
use super::{Core, trickle};
use crate::driver::{Driver, End, Step};
use crate::latency::Latency;
use crate::plan::Transport;
use crate::target::Protocol;
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::io;

/// How far setting up has come.
#[derive(Debug)]
pub(crate) struct Setup {
    /// How many became ready, over the whole run.
    pub(crate) done: u32,
    pub(crate) failed: u32,
    /// Handshakes in flight.
    pub(crate) pending: u32,
    /// When the last connection was ready or had failed.
    pub(crate) progress: u64,
    /// Of those that became ready since this was last cleared.
    pub(crate) latency: Latency,
}

impl Setup {
    pub(super) fn new(now: u64) -> Self {
        Self {
            done: 0,
            failed: 0,
            pending: 0,
            progress: now,
            latency: Latency::new(),
        }
    }
}

/// Why a connection failed or was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Connect,
    /// With the HTTP status, if there was one.
    Refused(Option<u16>),
    Protocol,
    Closed,
    Unfinished,
}

impl Core {
    /// Lets a connection be opened when its turn comes, unless it is open.
    pub(super) fn enqueue(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.phase == Phase::Gone {
            connection.phase = Phase::Queued;
            self.queue.push_back(index);
        }
    }

    /// Opens connections as far as handshakes in flight allow. One that fails at once and is
    /// wanted again waits for the next turn.
    pub(super) fn open_queued<D: Driver>(&mut self, driver: &mut D) {
        for _ in 0..self.queue.len() {
            if self.setup.pending >= self.handshakes {
                return;
            }
            if let Some(index) = self.queue.pop_front()
                && self.connections[index as usize].phase == Phase::Queued
            {
                self.open(index, driver);
            }
        }
    }

    fn open<D: Driver>(&mut self, index: u32, driver: &mut D) {
        let started = self.start_stream(index, index as usize);
        self.setup.pending += 1;
        let connection = &mut self.connections[index as usize];
        *connection = Connection {
            phase: Phase::Connecting,
            since: self.desk.now,
            ..Connection::new()
        };
        match started {
            Ok(stream) => connection.stream = Some(stream),
            Err(_) => self.fail(index, Cause::Connect, driver),
        }
    }

    /// Starts a TCP connection of a client, with a token of its own.
    pub(super) fn start_stream(&mut self, index: u32, token: usize) -> io::Result<TcpStream> {
        let source = match self.sources.len() {
            0 => None,
            count => Some(self.sources[index as usize % count]),
        };
        let buffer = self.desk.is_slow(index).then_some(trickle::RECEIVE_BUFFER);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let mut stream = connection::connect(self.address, source, buffer)?;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(token), interest)?;
        Ok(stream)
    }

    pub(super) fn connected<D: Driver>(&mut self, index: u32, driver: &mut D) {
        if self.wire.protocol() == Protocol::Floor {
            return self.ready(index, driver);
        }
        if self.wire.transport(index) != Transport::WebSocket {
            return self.begin_polling(index, driver);
        }
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Upgrading;
        if connection.send(&self.wire.request(index)).is_err() {
            self.lost(index, driver);
        }
    }

    /// Namespace and room are joined; what remains is the upgrade, if there is one.
    pub(super) fn entered<D: Driver>(&mut self, index: u32, driver: &mut D) {
        if self.is_polling(index) && self.wire.transport(index) == Transport::Upgrade {
            self.connections[index as usize].phase = Phase::Switching;
        } else {
            self.ready(index, driver);
        }
    }

    pub(super) fn ready<D: Driver>(&mut self, index: u32, driver: &mut D) {
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Ready;
        connection.slow = self.desk.sending && self.desk.is_slow(index);
        let took = self.desk.now.saturating_sub(connection.since);
        self.setup.done += 1;
        self.setup.pending -= 1;
        self.setup.progress = self.desk.now;
        self.setup.latency.record(took);
        self.desk.timeline.ready(took);
        driver.ready(index, &mut self.desk);
    }

    /// The server is gone, or has closed.
    pub(super) fn lost<D: Driver>(&mut self, index: u32, driver: &mut D) {
        let cause = match self.connections[index as usize].phase {
            Phase::Connecting => Cause::Connect,
            Phase::Ready => Cause::Closed,
            _ => Cause::Refused(None),
        };
        self.fail(index, cause, driver);
    }

    /// Ends a connection for which something went wrong; one that leaves has left.
    pub(super) fn fail<D: Driver>(&mut self, index: u32, cause: Cause, driver: &mut D) {
        match self.connections[index as usize].phase {
            Phase::Gone | Phase::Queued => {}
            Phase::Leaving => self.end(index, End::Left, driver),
            Phase::Ready => {
                self.count(index, cause, driver);
                self.end(index, End::Lost, driver);
            }
            _ => {
                self.count(index, cause, driver);
                self.setup.failed += 1;
                self.close(index);
                driver.failed(index, &mut self.desk);
            }
        }
    }

    fn count<D: Driver>(&mut self, index: u32, cause: Cause, driver: &mut D) {
        let errors = if driver.expects_loss(index) {
            &mut self.expected
        } else {
            self.desk.timeline.error();
            &mut self.errors
        };
        match cause {
            Cause::Connect => errors.connect += 1,
            Cause::Refused(status) => {
                errors.refused += 1;
                errors.last_status = status.or(errors.last_status);
            }
            Cause::Protocol => errors.protocol += 1,
            Cause::Closed => errors.closed += 1,
            Cause::Unfinished => errors.unfinished += 1,
        }
    }

    /// Ends a connection that was ready.
    fn end<D: Driver>(&mut self, index: u32, end: End, driver: &mut D) {
        if self.connections[index as usize].phase == Phase::Ready {
            self.desk.timeline.unready();
        }
        self.close(index);
        driver.gone(index, end, &mut self.desk);
    }

    fn close(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.is_setting_up() {
            self.setup.pending -= 1;
            self.setup.progress = self.desk.now;
        }
        // Closing the descriptor takes it out of the poll.
        *connection = Connection::new();
    }

    /// Does what the driver ordered.
    pub(super) fn take_steps<D: Driver>(&mut self, driver: &mut D) {
        for step in std::mem::take(&mut self.desk.steps) {
            let (Step::Open(index) | Step::Leave(index) | Step::Cut(index)) = step;
            match (step, self.connections[index as usize].phase) {
                (Step::Open(_), _) => self.enqueue(index),
                (Step::Leave(_), Phase::Ready) => self.leave(index, driver),
                (Step::Cut(_), Phase::Ready) => self.end(index, End::Cut, driver),
                (Step::Leave(_) | Step::Cut(_), Phase::Queued) => {
                    self.connections[index as usize].phase = Phase::Gone;
                    driver.failed(index, &mut self.desk);
                }
                (_, Phase::Leaving | Phase::Gone) => {}
                (Step::Leave(_) | Step::Cut(_), _) => {
                    self.fail(index, Cause::Unfinished, driver);
                }
            }
        }
    }

    fn leave<D: Driver>(&mut self, index: u32, driver: &mut D) {
        self.wire.polling = self.is_polling(index);
        self.wire.put_leave(index, &mut self.out);
        if self.out.is_empty() {
            return self.end(index, End::Left, driver);
        }
        self.desk.timeline.unready();
        let connection = &mut self.connections[index as usize];
        (connection.phase, connection.since) = (Phase::Leaving, self.desk.now);
        self.leaving.push_back((self.desk.now, index));
        self.answer(index, driver);
    }

    /// Cuts those that the server did not let go in time.
    pub(super) fn let_go<D: Driver>(&mut self, driver: &mut D) {
        while let Some(&(since, index)) = self.leaving.front() {
            let connection = &self.connections[index as usize];
            let gone = connection.phase != Phase::Leaving || connection.since != since;
            if !gone && since + self.patience > self.desk.now {
                return;
            }
            self.leaving.pop_front();
            if !gone {
                self.end(index, End::Unanswered, driver);
            }
        }
    }
}
