//! Drivers decide what is sent when; the engine moves bytes.

mod echo;
mod fanout;

pub(crate) use echo::Echo;
pub(crate) use fanout::Fanout;

use crate::history::History;
use crate::latency::Latency;
use crate::stamp::Stamp;
use std::ops::Range;

/// One message to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) connection: u32,
    pub(crate) stamp: Stamp,
}

/// The load of a scenario. Whatever it orders is sent at the end of the call.
pub(crate) trait Driver {
    /// The load begins.
    fn start(&mut self, desk: &mut Desk);
    /// A message arrived, for the first time and where it should.
    fn message(&mut self, receiver: u32, stamp: Stamp, desk: &mut Desk);
    /// When [`Driver::due`] wants to be called.
    fn next_due(&self) -> Option<u64> {
        None
    }
    /// Sends what is due.
    fn due(&mut self, _desk: &mut Desk) {}
    /// A connection is gone.
    fn gone(&mut self, _connection: u32) {}
    /// No message has arrived for long: messages were lost.
    fn stalled(&mut self, _desk: &mut Desk) {}
}

/// Holds connections and sends nothing.
#[derive(Debug)]
pub(crate) struct Hold;

impl Driver for Hold {
    fn start(&mut self, _desk: &mut Desk) {}
    fn message(&mut self, _receiver: u32, _stamp: Stamp, _desk: &mut Desk) {}
}

/// Where drivers hand in orders and where all is counted.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The time of this turn.
    pub(crate) now: u64,
    pub(crate) orders: Vec<Order>,
    pub(crate) history: History,
    /// Set while the load is on.
    pub(crate) sending: bool,
    /// Set between the two samples of the measurement.
    pub(crate) counting: bool,
    /// Messages with a time in this range make the latency figures.
    pub(crate) window: Range<u64>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) latency: Latency,
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
    pub(crate) fn new(history: History) -> Self {
        Self {
            now: 0,
            orders: Vec::new(),
            history,
            sending: false,
            counting: false,
            window: 0..0,
            sent: 0,
            received: 0,
            latency: Latency::new(),
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
        self.orders.push(Order { connection, stamp });
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
        self.received += u64::from(self.counting);
        if self.window.contains(&stamp.time_ns) {
            self.latency.record(self.now.saturating_sub(stamp.time_ns));
        }
        true
    }
}
