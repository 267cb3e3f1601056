//! All clients of a scenario: who comes and goes, what each does next, and what it meets. It does
//! no I/O and reads no clock: readiness and packets go in, [`Act`]s come out.

mod life;
mod steps;
#[cfg(test)]
mod tests;

use super::arrivals::{arrival, wanted};
use super::client::{Client, State};
use super::figures::{Figures, Fresh};
use super::plan::{Load, Mix, Parting, Tokens};
use super::rooms::Rooms;
use crate::plan::Credential;
use crate::wire::packet::Packet;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::Duration;

/// Steps of one client in a row before others have their turn.
const STEPS_IN_A_ROW: usize = 1000;
/// How long a client that is lost for good holds its place, so that it is not replaced at once.
const FAILED: Duration = Duration::from_secs(1);
/// Longest delay before a lost client's first attempt to come back, and before any.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// What the connections shall do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Connects a slot that has no connection: [`Play::ready`] or [`Play::failed`] follows.
    Open { slot: u32, credential: Credential },
    /// Sends a text message: this range of [`Play::text`].
    Send { slot: u32, text: Range<usize> },
    /// Ends the connection, or what is to become one: [`Play::gone`] or [`Play::failed`]
    /// follows.
    Close { slot: u32, parting: Parting },
}

/// What the command line says for all behaviours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) namespace: String,
    pub(crate) auth: Option<String>,
    pub(crate) bearer: Option<String>,
    /// Handshakes in flight while a number of clients is held.
    pub(crate) handshakes: u32,
    /// Distinguishes the stamps of this run from those of others.
    pub(crate) run: u32,
    /// Milliseconds since 1970 when the monotonic clock showed zero.
    pub(crate) epoch_ms: u64,
}

pub(crate) struct Play<'m> {
    mix: &'m Mix,
    defaults: Defaults,
    /// The time of this call.
    now: u64,
    clients: Vec<Option<Box<Client>>>,
    free: Vec<u32>,
    /// Slots of clients that are not leaving.
    present: Vec<u32>,
    timers: BinaryHeap<Reverse<Timer>>,
    phases: Phases,
    /// Turns of the behaviours.
    credits: Vec<f64>,
    next_number: u64,
    next_session: u32,
    handshaking: u32,
    random: SmallRng,
    rooms: Rooms,
    figures: Figures,
    acts: Vec<Act>,
    text: String,
    scratch: String,
}

/// Where in the phases the run is.
#[derive(Debug, Default)]
struct Phases {
    /// When each ends.
    ends: Vec<u64>,
    began: u64,
    current: usize,
    /// Clients present when it began.
    base: u32,
    /// Clients that have come in it by the rate.
    arrived: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at: u64,
    slot: u32,
    what: Due,
    client: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Client,
    Acks,
}

impl<'m> Play<'m> {
    /// The phases begin `now`.
    pub(crate) fn new(mix: &'m Mix, defaults: Defaults, now: u64) -> Self {
        let mut end = now;
        let ends = mix.phases.iter().map(|phase| {
            end += phase.duration.as_nanos() as u64;
            end
        });
        Self {
            phases: Phases {
                ends: ends.collect(),
                began: now,
                ..Phases::default()
            },
            credits: vec![0.0; mix.behaviours.len()],
            random: SmallRng::seed_from_u64(mix.seed),
            figures: Figures::new(mix),
            mix,
            defaults,
            now,
            clients: Vec::new(),
            free: Vec::new(),
            present: Vec::new(),
            timers: BinaryHeap::new(),
            next_number: 0,
            next_session: 0,
            handshaking: 0,
            rooms: Rooms::default(),
            acts: Vec::new(),
            text: String::new(),
            scratch: String::new(),
        }
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What was counted since this was last taken from.
    pub(crate) fn fresh(&mut self) -> &mut Fresh {
        &mut self.figures.fresh
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Clients that are there or on their way.
    pub(crate) fn population(&self) -> u32 {
        self.present.len() as u32
    }

    /// The phase that is on; `None` once all are over.
    pub(crate) fn phase(&self) -> Option<usize> {
        (self.phases.current < self.mix.phases.len()).then_some(self.phases.current)
    }

    /// The phase that is on at a time.
    pub(crate) fn phase_at(&self, time: u64) -> Option<usize> {
        let phase = self.phases.ends.partition_point(|&end| end <= time);
        (phase < self.mix.phases.len()).then_some(phase)
    }

    /// When the phase that is on ends, or the last one ended.
    pub(crate) fn phase_end(&self) -> u64 {
        let last = self.phases.ends.len() - 1;
        self.phases.ends[self.phases.current.min(last)]
    }

    /// What there is to do; the texts are in [`Play::text`] until [`Play::done`].
    pub(crate) fn take_acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    pub(crate) fn text(&self, range: Range<usize>) -> &str {
        &self.text[range]
    }

    /// Hands the list back once all is done, so that its memory is used again.
    pub(crate) fn done(&mut self, mut acts: Vec<Act>) {
        if self.acts.is_empty() {
            acts.clear();
            self.acts = acts;
            self.text.clear();
        }
    }

    /// When [`Play::turn`] wants to be called next.
    pub(crate) fn next_due(&self) -> u64 {
        let timer = self
            .timers
            .peek()
            .map_or(u64::MAX, |Reverse(timer)| timer.at);
        let Some(phase) = self.phase() else {
            return timer;
        };
        let began = self.phases.began;
        let load = match self.mix.phases[phase].load {
            Load::Arrivals { from, to } => {
                let duration = self.mix.phases[phase].duration;
                began.saturating_add(arrival(from, to, duration, self.phases.arrived))
            }
            Load::Clients { count, ramp } => {
                let elapsed = self.now.saturating_sub(began);
                let (_, next) = wanted(self.phases.base, count, ramp, elapsed);
                next.map_or(u64::MAX, |next| began + next)
            }
        };
        timer.min(load).min(self.phase_end())
    }

    /// Does what is due.
    pub(crate) fn turn(&mut self, now: u64) {
        self.now = now;
        while let Some(&Reverse(timer)) = self.timers.peek()
            && timer.at <= now
        {
            self.timers.pop();
            self.timer(timer);
        }
        while self.phase().is_some() {
            let end = self.phase_end();
            self.balance(now.min(end));
            if now < end {
                break;
            }
            self.phases.current += 1;
            self.phases.began = end;
            self.phases.base = self.population();
            self.phases.arrived = 0;
        }
    }

    /// Lets clients come and go as the phase says, up to a time within it.
    fn balance(&mut self, until: u64) {
        let phase = &self.mix.phases[self.phases.current];
        let elapsed = until - self.phases.began;
        match phase.load {
            Load::Arrivals { from, to } => {
                let due = |number| arrival(from, to, phase.duration, number);
                let whole = phase.duration.as_nanos() as u64;
                while due(self.phases.arrived) <= elapsed.min(whole - 1) {
                    let due = self.phases.began + due(self.phases.arrived);
                    self.phases.arrived += 1;
                    self.figures.fresh.late.push(self.now.saturating_sub(due));
                    self.come(due);
                }
            }
            Load::Clients { count, ramp } => {
                let (wanted, _) = wanted(self.phases.base, count, ramp, elapsed);
                while self.population() < wanted
                    && self.handshaking < self.defaults.handshakes
                    && self.there() < self.mix.max_clients
                {
                    self.come(self.now);
                }
                while self.population() > wanted {
                    let index = self.random.random_range(0..self.present.len());
                    self.dismiss(self.present[index]);
                }
            }
        }
    }

    /// Clients that have a slot, those included that are leaving.
    fn there(&self) -> u32 {
        (self.clients.len() - self.free.len()) as u32
    }

    fn come(&mut self, due: u64) {
        let there = self.there();
        if there >= self.mix.max_clients {
            self.figures.not_started += 1;
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() as u32 - 1
        });
        let number = self.next_number;
        self.next_number += 1;
        let behaviour = self.whose_turn();
        let mut client = Client::new(number, slot, behaviour, self.mix.seed, due);
        let timestamp = self.timestamp();
        client.token = match &self.mix.tokens {
            Tokens::None => String::new(),
            Tokens::List(list) => list[(number % list.len() as u64) as usize].clone(),
            Tokens::Template(template) => {
                let mut token = String::new();
                template.render(&mut client.values(timestamp), &mut token);
                token
            }
        };
        client.choose(&self.mix.behaviours[behaviour], timestamp);
        client.place = self.present.len();
        self.present.push(slot);
        self.figures.came += 1;
        self.figures.most = self.figures.most.max(there + 1);
        self.open(&mut client, due);
        self.put(client);
    }

    /// The behaviour of the next client: shares are kept as evenly as whole clients can.
    fn whose_turn(&mut self) -> usize {
        let behaviours = &self.mix.behaviours;
        let total: f64 = behaviours.iter().map(|behaviour| behaviour.share).sum();
        for (credit, behaviour) in self.credits.iter_mut().zip(behaviours) {
            *credit += behaviour.share;
        }
        let (mut best, mut most) = (0, f64::MIN);
        for (index, &credit) in self.credits.iter().enumerate() {
            if credit > most {
                (best, most) = (index, credit);
            }
        }
        self.credits[best] -= total;
        best
    }

    /// A client is too many.
    fn dismiss(&mut self, slot: u32) {
        self.with(slot, |driver, client| driver.let_go(client));
    }

    /// It goes now, or as soon as it has what it waits for.
    fn let_go(&mut self, client: &mut Client) {
        if !client.leaving {
            client.leaving = true;
            self.remove_present(client);
        }
        match client.state {
            State::Closing => {}
            State::Ready if !client.acks.is_empty() => {}
            State::Ready => self.close(client, Parting::Clean),
            State::Connecting { .. } => self.close(client, Parting::Cut),
            State::Absent | State::Failed => {}
        }
    }

    fn remove_present(&mut self, client: &Client) {
        self.present.swap_remove(client.place);
        if let Some(&moved) = self.present.get(client.place)
            && let Some(moved) = &mut self.clients[moved as usize]
        {
            moved.place = client.place;
        }
    }

    fn open(&mut self, client: &mut Client, due: u64) {
        let behaviour = &self.mix.behaviours[client.behaviour];
        let timestamp = self.timestamp();
        let auth = behaviour.auth.as_ref().map(|template| {
            let mut auth = String::new();
            template.render(&mut client.values(timestamp), &mut auth);
            auth
        });
        let bearer = behaviour.bearer.as_ref().map(|template| {
            let mut bearer = String::new();
            template.render(&mut client.values(timestamp), &mut bearer);
            // Nothing that would end the header's line.
            bearer.retain(|c| c.is_ascii_graphic());
            bearer
        });
        // Of 2^24 numbers, as many as a stamp has.
        client.session = self.next_session & 0xff_ffff;
        self.next_session = self.next_session.wrapping_add(1);
        client.state = State::Connecting { since: due };
        self.handshaking += 1;
        self.figures.attempts += 1;
        let timeout = self.mix.connect_timeout.as_nanos() as u64;
        self.resume(client, self.now + timeout);
        let default = &self.defaults;
        self.acts.push(Act::Open {
            slot: client.slot,
            credential: Credential {
                auth: auth.or_else(|| default.auth.clone()),
                bearer: bearer.or_else(|| default.bearer.clone()),
                namespace: behaviour.namespace.clone(),
                transport: behaviour.transport,
            },
        });
    }

    /// The namespace is joined.
    pub(crate) fn ready(&mut self, slot: u32, now: u64) {
        self.now = now;
        self.with(slot, Self::connected);
    }

    /// The connection did not come to be.
    pub(crate) fn failed(&mut self, slot: u32, now: u64) {
        self.now = now;
        self.with(slot, Self::disconnected);
    }

    /// The connection is gone, by [`Act::Close`] or not.
    pub(crate) fn gone(&mut self, slot: u32, now: u64) {
        self.now = now;
        self.with(slot, Self::disconnected);
    }

    /// Whether a connection ends because the scenario wants it to.
    pub(crate) fn is_closing(&self, slot: u32) -> bool {
        let client = self.clients.get(slot as usize);
        client
            .and_then(Option::as_ref)
            .is_some_and(|client| client.state == State::Closing)
    }

    /// A packet arrived, other than those that come and go with a connection.
    pub(crate) fn packet(&mut self, slot: u32, packet: Packet<'_>, now: u64) {
        self.now = now;
        match packet {
            Packet::Ack { id, arguments } => {
                self.with(slot, |driver, client| driver.ack(client, id, arguments));
            }
            Packet::Event { name, arguments } if name == self.mix.contract.message.as_bytes() => {
                self.with(slot, |driver, client| driver.message(client, arguments));
            }
            _ => self.figures.fresh.unrelated += 1,
        }
    }

    /// Whether anybody waits for an acknowledgement.
    pub(crate) fn is_waiting(&self) -> bool {
        let mut clients = self.clients.iter().flatten();
        clients.any(|client| !client.acks.is_empty())
    }

    /// Messages that are due to members and may still arrive.
    pub(crate) fn missing(&self) -> u64 {
        let members = self.clients.iter().flatten().flat_map(|c| &c.members);
        members.map(|member| self.rooms.missing(member)).sum()
    }

    /// The run is over: whatever has not arrived is lost.
    pub(crate) fn end(&mut self) {
        for slot in 0..self.clients.len() as u32 {
            self.with(slot, |driver, client| {
                for pending in client.acks.reset() {
                    driver.figures.event(pending.event).missing += 1;
                }
                for member in std::mem::take(&mut client.members) {
                    driver.rooms.end(member);
                }
            });
        }
    }
}

/// What all of it needs.
impl Play<'_> {
    fn timestamp(&self) -> u64 {
        self.defaults.epoch_ms + self.now / 1_000_000
    }

    /// Whether a time lies in a phase that counts.
    fn is_measured(&self, time: u64) -> bool {
        self.phase_at(time)
            .is_some_and(|phase| self.mix.phases[phase].measured)
    }

    fn resume(&mut self, client: &mut Client, at: u64) {
        client.resume_at = Some(at);
        self.timers.push(Reverse(Timer {
            at,
            slot: client.slot,
            what: Due::Client,
            client: client.number,
        }));
    }

    fn watch_acks(&mut self, client: &mut Client) {
        let Some(at) = client.acks.earliest_deadline() else {
            return;
        };
        if client.acks.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        client.acks.timer = Some(at);
        self.timers.push(Reverse(Timer {
            at,
            slot: client.slot,
            what: Due::Acks,
            client: client.number,
        }));
    }

    /// Takes a client out, does something with it, and puts it back if it is still one.
    fn with(&mut self, slot: u32, f: impl FnOnce(&mut Self, &mut Client)) {
        let Some(mut client) = self.clients.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        f(self, &mut client);
        if client.leaving && client.state == State::Absent {
            self.figures.finished += 1;
            self.free.push(slot);
        } else {
            self.clients[slot as usize] = Some(client);
        }
    }

    fn put(&mut self, client: Client) {
        let slot = client.slot as usize;
        self.clients[slot] = Some(Box::new(client));
    }
}
