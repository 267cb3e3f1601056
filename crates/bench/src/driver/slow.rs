//! A fan-out of which some receivers read slowly or not at all.

use super::{Desk, Driver, End, Fanout};
use crate::latency::Latency;
use crate::results::SlowReport;
use crate::stamp::Stamp;

/// Whether a connection reads slowly, for a share of all; they are spread evenly, and the first
/// is slow only if all are.
pub(crate) fn is_slow(connection: u32, share: f64) -> bool {
    let before = |count: u32| (f64::from(count) * share.clamp(0.0, 1.0) + 1e-9).floor();
    before(connection + 1) > before(connection)
}

#[derive(Debug)]
pub(crate) struct SlowFanout {
    fanout: Fanout,
    slow: Vec<bool>,
    readers: u32,
    began: u64,
    closed: u32,
    closed_after: Latency,
}

impl SlowFanout {
    /// `slow` by connection, of `readers` that were ready.
    pub(crate) fn new(fanout: Fanout, slow: Vec<bool>, readers: u32) -> Self {
        Self {
            fanout,
            slow,
            readers,
            began: 0,
            closed: 0,
            closed_after: Latency::new(),
        }
    }

    pub(crate) fn report(&self, desk: &Desk) -> SlowReport {
        SlowReport {
            readers: self.readers,
            closed: self.closed,
            closed_after: self.closed_after.percentiles(),
            received: desk.slow_received,
            missing: desk.history.missing_spared() + desk.history.excused(),
        }
    }
}

impl Driver for SlowFanout {
    fn start(&mut self, desk: &mut Desk) {
        self.began = desk.now;
        self.fanout.start(desk);
    }

    fn message(&mut self, receiver: u32, stamp: Stamp, desk: &mut Desk) {
        self.fanout.message(receiver, stamp, desk);
    }

    fn next_due(&self) -> Option<u64> {
        self.fanout.next_due()
    }

    fn due(&mut self, desk: &mut Desk) {
        self.fanout.due(desk);
    }

    fn gone(&mut self, connection: u32, end: End, desk: &mut Desk) {
        if self.expects_loss(connection) && end == End::Lost {
            self.closed += 1;
            if desk.sending {
                let after = desk.now.saturating_sub(self.began);
                self.closed_after.record(after);
            }
        }
        self.fanout.gone(connection, end, desk);
    }

    fn expects_loss(&self, connection: u32) -> bool {
        self.slow.get(connection as usize).copied().unwrap_or(false)
    }

    fn stalled(&mut self, desk: &mut Desk) {
        self.fanout.stalled(desk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_share_is_met_at_every_number(share in 0.0f64..=1.0, connections in 1u32..2000) {
            let slow = (0..connections).filter(|&index| is_slow(index, share)).count();
            let expected = f64::from(connections) * share;
            prop_assert!((slow as f64 - expected).abs() <= 1.0, "{slow} {expected}");
            prop_assert!(!is_slow(0, share.min(0.999)));
        }
    }
}
