//! Deadlines: heartbeats, joins, upgrades, writes, acknowledgements.

use sockeye_protocol::engine::CloseReason;

use crate::acks::AckFailure;
use crate::arena::Key;
use crate::host::{AckWaiter, Host};
use crate::shard::{SPARE, Shard, Timer};

impl<H: Host> Shard<H> {
    /// Tells the shard the time and lets what is due happen.
    ///
    /// A peer whose pong is overdue is only suspected here: call [`Shard::judge`] after the
    /// sockets that are readable have been read, so that a stall of ours reaps nobody.
    pub fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.advance(self.now, &mut expired);
        for timer in expired.drain(..) {
            self.expire(timer);
        }
        if expired.capacity() <= SPARE {
            self.expired = expired;
        }
    }

    /// Tells the shard the time and nothing else: deadlines armed from now on count from here.
    pub fn observe(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// When [`Shard::tick`] should be called next.
    pub fn next_tick(&mut self) -> Option<u64> {
        self.earliest = u64::MAX;
        self.wheel.next_wake()
    }

    /// The earliest deadline armed since [`Shard::next_tick`] was last called: whoever sleeps
    /// beyond it has to wake earlier.
    pub fn earliest_new_deadline(&self) -> u64 {
        self.earliest
    }

    /// Whether peers are suspected of being dead.
    pub fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Closes the suspected peers whose pong still has not come.
    pub fn judge(&mut self) {
        for key in std::mem::take(&mut self.suspects) {
            self.judge_suspect(key);
        }
    }

    /// Closes one peer if it is suspected: a request of it has just been read, and brought no pong.
    pub fn judge_one(&mut self, key: Key) {
        if let Some(at) = self.suspects.iter().position(|suspect| *suspect == key) {
            self.suspects.swap_remove(at);
            self.judge_suspect(key);
        }
    }

    fn judge_suspect(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !session.awaits_pong() || session.heartbeat.is_some() || session.is_closing() {
            return;
        }
        if session.paused {
            // We are the ones who do not read: the deadline starts anew when we do. The peer
            // hears another ping, lest it takes us for dead.
            let ping = self.ping.clone();
            let _ = self.enqueue(key, &ping);
            self.arm_heartbeat(key, self.config.ping_timeout);
            return;
        }
        self.stats.ping_timeouts += 1;
        self.close_now(key, CloseReason::PingTimeout, "no pong in time");
    }

    /// Arms the one heartbeat timer of a session.
    pub(crate) fn arm_heartbeat(&mut self, key: Key, after: u64) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let Some(timer) = session.heartbeat.take() {
            self.wheel.cancel(timer);
        }
        let deadline = coarse(self.now.saturating_add(after), after);
        let timer = self.arm_at(deadline, Timer::Heartbeat(key));
        if let Some(session) = self.sessions.get_mut(key) {
            session.heartbeat = Some(timer);
        }
    }

    /// A pong came: the next ping is due one interval from now, give or take a little, so that
    /// connections that were opened together do not stay together.
    pub(crate) fn rearm_after_pong(&mut self, key: Key) {
        let interval = self.config.ping_interval;
        let spread = self.spread((interval / 10).min(self.config.ping_timeout / 4));
        self.arm_heartbeat(key, interval + spread);
    }

    /// The connection refused bytes: it must take some before the write deadline.
    pub fn write_blocked(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.blocked = true;
        if session.writing.is_some() {
            return;
        }
        let timer = self.arm(self.config.write_timeout, Timer::Write(key));
        if let Some(session) = self.sessions.get_mut(key) {
            session.writing = Some(timer);
        }
    }

    /// The connection has taken bytes: the write deadline starts anew or ends.
    pub fn write_progressed(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.blocked = false;
        if let Some(timer) = session.writing.take() {
            self.wheel.cancel(timer);
        }
    }

    /// Something waits for a polling client that holds no poll: it must fetch it before the write
    /// deadline, or before an upgrade would have failed, whichever is later.
    pub fn await_poll(&mut self, key: Key) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        if session.writing.is_some() || !session.lacks_poll() {
            return;
        }
        let wait = self.config.write_timeout.max(self.config.upgrade_timeout);
        let timer = self.arm(wait, Timer::Write(key));
        if let Some(session) = self.sessions.get_mut(key) {
            session.writing = Some(timer);
        }
    }

    fn expire(&mut self, timer: Timer) {
        match timer {
            Timer::Heartbeat(key) => self.heartbeat_due(key),
            Timer::Join(key) => {
                let Some(session) = self.sessions.get_mut(key) else {
                    return;
                };
                session.patience = None;
                if session.sockets.is_empty() {
                    self.stats.connect_timeouts += 1;
                    self.close_now(key, CloseReason::ForcedClose, "joined no namespace in time");
                }
            }
            Timer::Upgrade(key) => self.upgrade_timed_out(key),
            Timer::Noop(key) => self.noop_timer_fired(key),
            Timer::Write(key) => {
                let Some(session) = self.sessions.get_mut(key) else {
                    return;
                };
                session.writing = None;
                if session.blocked || session.lacks_poll() {
                    self.stats.write_timeouts += 1;
                    let why = "slow consumer: no write progress in time";
                    self.close_now(key, CloseReason::TransportError, why);
                }
            }
            Timer::Close(key) => {
                let Some(session) = self.sessions.get(key) else {
                    return;
                };
                let (reason, detail) = session.closing().unwrap_or((CloseReason::ForcedClose, ""));
                self.close_now(key, reason, detail);
            }
            Timer::Ack(socket, id) => {
                let Some(socket) = self.sockets.get_mut(socket) else {
                    return;
                };
                let id = u64::from(id[0]) << 32 | u64::from(id[1]);
                if let Some((_, waiter)) = socket.acks.remove(id) {
                    self.stats.ack_timeouts += 1;
                    waiter.resolve(Err(AckFailure::Timeout));
                }
            }
        }
    }

    fn heartbeat_due(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.heartbeat = None;
        if session.is_closing() {
            return; // It has a deadline of its own, and no ping would be sent any more.
        }
        if session.awaits_pong() {
            self.suspects.push(key);
            return;
        }
        if !session.engine.ping_due() {
            return;
        }
        let ping = self.ping.clone();
        let _ = self.enqueue(key, &ping);
        self.arm_heartbeat(key, self.config.ping_timeout);
    }
}

/// A deadline that is far away may be late by a hundredth, so that the heartbeats of many
/// connections share their wakes.
fn coarse(deadline: u64, after: u64) -> u64 {
    match after / 256 {
        0..8 => deadline,
        grain => deadline.checked_next_multiple_of(grain).unwrap_or(deadline),
    }
}
