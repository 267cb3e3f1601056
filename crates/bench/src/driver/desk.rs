//! Where drivers hand in orders and where all is counted.

use crate::history::History;
use crate::latency::Latency;
use crate::stamp::Stamp;
use crate::timeline::Timeline;
use std::ops::Range;

/// Something to send.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) connection: u32,
    pub(crate) what: Outgoing,
}

#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    /// A message of the run.
    Message(Stamp),
    /// A packet, as it is.
    Text(Box<[u8]>),
}

/// What shall become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Open(u32),
    Leave(u32),
    Cut(u32),
}

#[derive(Debug)]
pub(crate) struct Desk {
    /// The time of this turn.
    pub(crate) now: u64,
    pub(crate) orders: Vec<Order>,
    pub(crate) steps: Vec<Step>,
    pub(crate) history: History,
    /// Publishers of other processes that are numbered before those of this one.
    pub(crate) first: u32,
    /// Publishers of this process; counted only where there are others.
    pub(crate) own: u32,
    pub(crate) timeline: Timeline,
    /// Set while the load is on.
    pub(crate) sending: bool,
    /// Set between the two samples of the measurement.
    pub(crate) counting: bool,
    /// Messages with a time in this range make the latency figures.
    pub(crate) window: Range<u64>,
    /// The connections that read slowly; what they get makes no figures. Empty: none.
    pub(crate) slow: Vec<bool>,
    pub(crate) slow_received: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// From publishing to the last receiver.
    pub(crate) completion: Latency,
    /// How late the generator was itself, in an open loop.
    pub(crate) late: Latency,
    pub(crate) pings: u64,
    /// Messages that came deflated, while counting.
    pub(crate) deflated: u64,
    pub(crate) unrelated: u64,
    pub(crate) last_arrival: u64,
}

impl Desk {
    pub(crate) fn new(history: History, timeline: Timeline) -> Self {
        Self {
            now: 0,
            orders: Vec::new(),
            steps: Vec::new(),
            history,
            first: 0,
            own: 0,
            timeline,
            sending: false,
            counting: false,
            window: 0..0,
            slow: Vec::new(),
            slow_received: 0,
            sent: 0,
            received: 0,
            completion: Latency::new(),
            late: Latency::new(),
            pings: 0,
            deflated: 0,
            unrelated: 0,
            last_arrival: 0,
        }
    }

    /// Orders the next message of a publisher.
    pub(crate) fn send(&mut self, connection: u32, publisher: u32, mut stamp: Stamp) {
        stamp.publisher = self.first + publisher;
        stamp.sequence = self.history.publish(publisher);
        self.sent += u64::from(self.counting);
        self.timeline.sent();
        self.orders.push(Order {
            connection,
            what: Outgoing::Message(stamp),
        });
    }

    /// Orders a packet as it is, without framing.
    pub(crate) fn send_text(&mut self, connection: u32, text: impl Into<Box<[u8]>>) {
        let what = Outgoing::Text(text.into());
        self.orders.push(Order { connection, what });
    }

    /// Opens a connection that is not open.
    pub(crate) fn open(&mut self, connection: u32) {
        self.steps.push(Step::Open(connection));
    }

    /// Lets a connection say that it leaves, and go when the server lets it.
    pub(crate) fn leave(&mut self, connection: u32) {
        self.steps.push(Step::Leave(connection));
    }

    /// Resets a connection.
    pub(crate) fn cut(&mut self, connection: u32) {
        self.steps.push(Step::Cut(connection));
    }

    /// Another phase of the measurement begins.
    pub(crate) fn enter_phase(&mut self, name: impl Into<String>) {
        self.timeline.enter_phase(self.now, name);
    }

    /// Whether something that was sent may still arrive; slow readers may find their end as well.
    pub(crate) fn is_awaiting(&self) -> bool {
        self.history.missing() > 0 || self.history.missing_spared() > 0
    }

    /// The number by which this process knows a publisher: its own come first.
    fn known_as(&self, publisher: u32) -> u32 {
        match publisher.checked_sub(self.first) {
            None => self.own + publisher,
            Some(own) if own < self.own => own,
            Some(_) => publisher,
        }
    }

    /// Judges and counts an arrival; whether it is a delivery. Its stamp then has the number by
    /// which this process knows the publisher.
    pub(crate) fn accept(&mut self, receiver: u32, stamp: &mut Stamp) -> bool {
        self.last_arrival = self.now;
        stamp.publisher = self.known_as(stamp.publisher);
        if !self
            .history
            .receive(receiver, stamp.publisher, stamp.sequence)
            .is_delivery()
        {
            return false;
        }
        if self.is_slow(receiver) {
            self.slow_received += u64::from(self.counting);
            return true;
        }
        self.received += u64::from(self.counting);
        self.timeline.received();
        if self.window.contains(&stamp.time_ns) {
            self.timeline.latency(stamp.time_ns, self.now);
        }
        true
    }

    pub(crate) fn is_slow(&self, receiver: u32) -> bool {
        self.slow.get(receiver as usize).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Audience;
    use std::time::Duration;

    #[test]
    fn every_publisher_has_one_number_and_the_own_come_first() {
        let history = History::new(Audience::Everyone, 0, 0);
        let mut desk = Desk::new(history, Timeline::new(0, Duration::from_secs(1)));
        let known = |desk: &Desk| (0..6).map(|p| desk.known_as(p)).collect::<Vec<_>>();
        assert_eq!(known(&desk), [0, 1, 2, 3, 4, 5], "alone");
        (desk.first, desk.own) = (2, 3);
        assert_eq!(known(&desk), [3, 4, 0, 1, 2, 5]);
        (desk.first, desk.own) = (2, 0);
        assert_eq!(known(&desk), [0, 1, 2, 3, 4, 5]);
    }
}
