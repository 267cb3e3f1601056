//! Drivers decide what is sent when, and who comes and goes; the engine moves bytes.

mod churn;
mod desk;
mod echo;
mod fanout;
mod mixed;
mod pool;
mod ramp;
mod reconnect;
mod slow;
mod spike;

pub(crate) use churn::Churning;
pub(crate) use desk::{Desk, Outgoing, Step};
pub(crate) use echo::Echo;
pub(crate) use fanout::{Fanout, room};
pub(crate) use mixed::{Doors, Mixing};
pub(crate) use ramp::{Ramping, after_step};
pub(crate) use reconnect::Reconnecting;
pub(crate) use slow::{SlowFanout, is_slow};
pub(crate) use spike::{Spiking, left_behind};

use crate::stamp::Stamp;

/// How a connection that was ready ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed it, or broke the protocol.
    Lost,
    /// As ordered by [`Desk::cut`].
    Cut,
    /// As ordered by [`Desk::leave`].
    Left,
    /// The same, but the server did not let it go in time.
    Unanswered,
}

/// The load of a scenario. Whatever it orders is done at the end of the call.
pub(crate) trait Driver {
    /// The load begins.
    fn start(&mut self, desk: &mut Desk);
    /// The measurement begins, after the warm-up.
    fn measure(&mut self, _desk: &mut Desk) {}
    /// A message arrived, for the first time and where it should.
    fn message(&mut self, _receiver: u32, _stamp: Stamp, _desk: &mut Desk) {}
    /// When [`Driver::due`] wants to be called.
    fn next_due(&self) -> Option<u64> {
        None
    }
    /// Sends what is due.
    fn due(&mut self, _desk: &mut Desk) {}
    /// A connection that was opened by [`Desk::open`] is ready.
    fn ready(&mut self, _connection: u32, _desk: &mut Desk) {}
    /// A connection that was opened by [`Desk::open`] did not become ready.
    fn failed(&mut self, _connection: u32, _desk: &mut Desk) {}
    /// A connection is gone.
    fn gone(&mut self, _connection: u32, _end: End, _desk: &mut Desk) {}
    /// Whether the end of this connection, or its failure to come, is part of the scenario and
    /// no error.
    fn expects_loss(&self, _connection: u32) -> bool {
        false
    }
    /// No message has arrived for long: messages were lost.
    fn stalled(&mut self, _desk: &mut Desk) {}
    /// Whether the measurement is over before its time.
    fn is_finished(&self) -> bool {
        false
    }
    /// Faults that it has seen and the history has not.
    fn faults(&self) -> u64 {
        0
    }
    /// Whether it waits, after the measurement, for what is no message of the history.
    fn is_waiting(&self) -> bool {
        false
    }
    /// A text of the server that is none of the run's messages, from a connection that is ready.
    fn text(&mut self, _receiver: u32, _text: &[u8], desk: &mut Desk) {
        desk.unrelated += 1;
    }
}

/// Holds connections and sends nothing.
#[derive(Debug)]
pub(crate) struct Hold;

impl Driver for Hold {
    fn start(&mut self, _desk: &mut Desk) {}
}
