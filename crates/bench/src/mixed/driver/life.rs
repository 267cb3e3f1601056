//! What happens to a client: its connection, its timers, its acknowledgements and messages.

use super::super::client::{Arrival, Client, Meaning, State};
use super::super::plan::{Parting, WhenLost};
use super::super::rooms::Message;
use super::super::stamp::RoomStamp;
use super::{Act, BACK_OFF, Due, FAILED, Play, Timer};
use rand::Rng as _;

impl Play<'_> {
    pub(super) fn connected(&mut self, client: &mut Client) {
        let State::Connecting { since } = client.state else {
            self.figures.fresh.unrelated += 1;
            return;
        };
        self.handshaking -= 1;
        client.state = State::Ready;
        client.attempts = 0;
        client.resume_at = None;
        client.clock = self.now;
        self.figures.connected += 1;
        if self.is_measured(since) {
            let time = self.now.saturating_sub(since);
            self.figures.connect.record(time);
        }
        self.advance(client);
    }

    pub(super) fn disconnected(&mut self, client: &mut Client) {
        match client.state {
            State::Absent | State::Failed => {}
            State::Closing => self.parted(client),
            State::Connecting { .. } | State::Ready => {
                self.leave_connection(client, true);
                self.lost_client(client);
            }
        }
    }

    /// What becomes of a client whose connection is lost, or never was.
    fn lost_client(&mut self, client: &mut Client) {
        client.state = State::Absent;
        if client.leaving {
            return;
        }
        let behaviour = &self.mix.behaviours[client.behaviour];
        match behaviour.when_lost {
            WhenLost::Reconnect => {
                (client.step, client.attempts) = (0, client.attempts + 1);
                client.loops.clear();
                let (base, cap) = BACK_OFF;
                let longest = base.saturating_mul(1 << client.attempts.min(8)) / 2;
                let longest = longest.min(cap).as_nanos() as u64;
                let delay = client.random.random_range(0..=longest);
                client.comes_back = true;
                self.resume(client, self.now + delay);
            }
            WhenLost::Leave => {
                client.state = State::Failed;
                self.resume(client, self.now + FAILED.as_nanos() as u64);
            }
        }
    }

    /// Forgets what belonged to a connection. `cut`: the server may not have heard the last
    /// words.
    fn leave_connection(&mut self, client: &mut Client, cut: bool) {
        if matches!(client.state, State::Connecting { .. }) {
            self.handshaking -= 1;
        }
        client.resume_at = None;
        let unconfirmed = client.take_unconfirmed();
        if cut {
            for message in unconfirmed {
                self.rooms.void(message);
            }
        }
        for member in std::mem::take(&mut client.members) {
            self.rooms.left(member);
        }
        let lost = client.acks.reset();
        if client.state == State::Ready && cut {
            for pending in lost {
                self.figures.event(pending.event).missing += 1;
            }
        }
    }

    /// Ends a client's connection because the scenario says so.
    pub(super) fn close(&mut self, client: &mut Client, parting: Parting) {
        // What it still waits for, it has decided not to wait for.
        client.acks.reset();
        self.leave_connection(client, parting == Parting::Cut);
        client.state = State::Closing;
        self.acts.push(Act::Close {
            slot: client.slot,
            parting,
        });
    }

    /// A goodbye is through.
    fn parted(&mut self, client: &mut Client) {
        client.state = State::Absent;
        client.resume_at = None;
        client.clock = self.now;
        if !client.leaving {
            self.advance(client);
        }
    }

    pub(super) fn timer(&mut self, timer: Timer) {
        self.with(timer.slot, |driver, client| {
            if client.number != timer.client {
                return;
            }
            match timer.what {
                Due::Acks if client.acks.timer == Some(timer.at) => driver.expire(client),
                Due::Client if client.resume_at == Some(timer.at) => {
                    client.resume_at = None;
                    driver.wake(client, timer.at);
                }
                _ => {}
            }
        });
    }

    /// A client's own timer fires.
    fn wake(&mut self, client: &mut Client, due: u64) {
        match client.state {
            State::Connecting { .. } => {
                // Too long: an error, counted as such where it is closed.
                self.acts.push(Act::Close {
                    slot: client.slot,
                    parting: Parting::Cut,
                });
            }
            State::Failed => {
                client.state = State::Absent;
                self.let_go(client);
            }
            State::Closing => {}
            State::Ready | State::Absent => {
                self.figures.fresh.late.push(self.now.saturating_sub(due));
                client.clock = due;
                match std::mem::take(&mut client.comes_back) {
                    true => self.open(client, due),
                    false => self.advance(client),
                }
            }
        }
    }

    fn expire(&mut self, client: &mut Client) {
        client.acks.timer = None;
        let mut goes_on = false;
        while let Some(pending) = client.acks.expire(self.now) {
            self.figures.event(pending.event).missing += 1;
            if let Meaning::Leave(room) = pending.meaning
                && let Some(member) = client.take_member(room)
            {
                self.rooms.left(member);
            }
            if client.acks.awaited == Some(pending.id) {
                client.acks.awaited = None;
                goes_on = true;
            }
        }
        self.watch_acks(client);
        if goes_on || client.acks.is_empty() {
            self.answered(client, goes_on);
        }
    }

    pub(super) fn ack(&mut self, client: &mut Client, id: u32, arguments: &[u8]) {
        if client.state != State::Ready {
            self.figures.fresh.unrelated += 1;
            return;
        }
        let pending = match client.acks.arrive(id) {
            Arrival::Answer(pending) => pending,
            Arrival::Late => {
                self.figures.late_acks += 1;
                return;
            }
            Arrival::Double => {
                self.figures.double_acks += 1;
                return;
            }
            Arrival::Unasked => {
                self.figures.unasked_acks += 1;
                return;
            }
        };
        if self.now > pending.deadline {
            // After the last phase nobody watches the clock.
            self.figures.event(pending.event).missing += 1;
            self.figures.late_acks += 1;
            return;
        }
        let refused = is_error(arguments);
        for message in client.confirmed(id) {
            match pending.meaning == Meaning::Publish(message) && refused {
                true => self.rooms.void(message),
                false => self.rooms.confirm(message),
            }
        }
        let time = self.now.saturating_sub(pending.since);
        let event = self.figures.event(pending.event);
        match refused {
            true => event.refused += 1,
            false => event.acked += 1,
        }
        if pending.measured {
            event.latency.record(time);
            self.figures.ack.record(time);
        }
        let fresh = &mut self.figures.fresh.received;
        fresh.push((pending.since, pending.measured));
        match pending.meaning {
            Meaning::Join(room) if refused => drop(client.take_member(room)),
            Meaning::Join(room) => {
                if let Some(member) = client.member(room) {
                    self.rooms.joined(member);
                }
            }
            Meaning::Leave(room) => {
                if let Some(member) = client.take_member(room) {
                    self.rooms.left(member);
                }
            }
            Meaning::Event | Meaning::Publish(_) => {}
        }
        let goes_on = client.acks.awaited == Some(id);
        if goes_on {
            client.acks.awaited = None;
        }
        if goes_on || client.acks.is_empty() {
            self.answered(client, goes_on);
        }
    }

    /// An acknowledgement that mattered is there, or will not come.
    fn answered(&mut self, client: &mut Client, goes_on: bool) {
        if client.leaving || client.ended {
            if client.acks.is_empty() {
                self.let_go(client);
            }
        } else if goes_on {
            client.clock = self.now;
            self.advance(client);
        }
    }

    pub(super) fn message(&mut self, client: &mut Client, arguments: &[u8]) {
        if client.state != State::Ready || !self.mix.verify {
            self.figures.fresh.unrelated += 1;
            return;
        }
        let contract = &self.mix.contract;
        let stamp = match RoomStamp::find(arguments, &contract.stamp_field) {
            Some(Ok(stamp)) if stamp.run == self.defaults.run => stamp,
            Some(Err(_)) => return self.rooms.damaged(),
            _ => {
                self.figures.fresh.unrelated += 1;
                return;
            }
        };
        let (publisher, time) = (stamp.stamp.publisher, stamp.stamp.time_ns);
        let own = publisher == client.session && !contract.includes_sender;
        let message = Message {
            room: stamp.room,
            number: stamp.stamp.sequence,
        };
        let member = client.member(stamp.room);
        let verdict = self.rooms.receive(member, message, publisher, own);
        if !verdict.is_delivery() {
            return;
        }
        self.figures.delivered += 1;
        let measured = self.is_measured(time);
        self.figures.fresh.received.push((time, measured));
        if measured {
            let time = self.now.saturating_sub(time);
            self.figures.delivery.record(time);
        }
    }
}

/// Whether an acknowledgement says `{"error": …}`.
fn is_error(arguments: &[u8]) -> bool {
    let start = &arguments[..arguments.len().min(64)];
    let Some(rest) = start.trim_ascii_start().strip_prefix(b"{") else {
        return false;
    };
    let Some(rest) = rest.trim_ascii_start().strip_prefix(b"\"error\"") else {
        return false;
    };
    rest.trim_ascii_start().starts_with(b":")
}
