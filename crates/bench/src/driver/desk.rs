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
    #[allow(dead_code)] // Scenarios that speak for themselves.
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
        stamp.publisher = publisher;
        stamp.sequence = self.history.publish(publisher);
        self.sent += u64::from(self.counting);
        self.timeline.sent();
        self.orders.push(Order {
            connection,
            what: Outgoing::Message(stamp),
        });
    }

    /// Orders a packet as it is, without framing.
    #[allow(dead_code)] // Scenarios that speak for themselves.
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

    /// Judges and counts an arrival; whether it is a delivery.
    pub(crate) fn accept(&mut self, receiver: u32, stamp: &Stamp) -> bool {
        self.last_arrival = self.now;
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
