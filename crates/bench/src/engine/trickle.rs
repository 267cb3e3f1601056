//! Connections that are read by and by only, or not at all.

use super::Core;
use super::connection::Phase;
use crate::driver::{Driver, is_slow};
use crate::plan::{Plan, Scenario};

/// Bytes that the kernel is asked to take for a slow reader (it doubles them).
pub(super) const RECEIVE_BUFFER: usize = 16 * 1024;
/// How often a slow reader reads.
const PERIOD_NS: u64 = 100_000_000;

#[derive(Debug)]
pub(super) struct Trickle {
    share: f64,
    /// Bytes that one reader reads each time, as a fraction of bytes.
    each: f64,
    /// What is left over of a byte.
    rest: f64,
    next: Option<u64>,
}

impl Trickle {
    pub(super) fn new(plan: &Plan) -> Option<Self> {
        let Scenario::Slow(slow) = plan.scenario else {
            return None;
        };
        Some(Self {
            share: slow.share,
            each: slow.read_rate as f64 * (PERIOD_NS as f64 / 1e9),
            rest: 0.0,
            next: None,
        })
    }

    pub(super) fn readers(&self, connections: u32) -> Vec<bool> {
        (0..connections).map(|i| is_slow(i, self.share)).collect()
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.next
    }

    /// How many bytes each may read now.
    fn take(&mut self, now: u64) -> Option<usize> {
        let due = self.next.filter(|due| *due <= now)?;
        // A late turn makes up for what it missed.
        let periods = (now - due) / PERIOD_NS + 1;
        self.next = Some(due + periods * PERIOD_NS);
        let bytes = self.each * periods as f64 + self.rest;
        self.rest = bytes.fract();
        Some(bytes as usize)
    }
}

impl Core {
    /// From now on slow readers are slow.
    pub(super) fn begin_trickle(&mut self) {
        let Some(trickle) = &mut self.trickle else {
            return;
        };
        trickle.next = (trickle.each > 0.0).then_some(self.desk.now + PERIOD_NS);
        for (index, connection) in self.connections.iter_mut().enumerate() {
            connection.slow = connection.phase == Phase::Ready && self.desk.is_slow(index as u32);
        }
    }

    /// From now on slow readers read all there is. Only so can be seen whom the server has closed:
    /// the end of a stream stands behind what was not read of it.
    pub(super) fn end_trickle<D: Driver>(&mut self, driver: &mut D) {
        if let Some(trickle) = &mut self.trickle {
            trickle.next = None;
        }
        for index in 0..self.connections.len() {
            if std::mem::take(&mut self.connections[index].slow) {
                self.read(index as u32, true, usize::MAX, driver);
            }
        }
    }

    /// Lets slow readers read what is due.
    pub(super) fn read_by_and_by<D: Driver>(&mut self, driver: &mut D) {
        let trickle = self.trickle.as_mut();
        let Some(bytes) = trickle.and_then(|trickle| trickle.take(self.desk.now)) else {
            return;
        };
        if bytes == 0 {
            return;
        }
        for index in 0..self.connections.len() {
            if self.connections[index].slow {
                self.read(index as u32, false, bytes, driver);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_reader_reads_at_its_rate(rate in 1u64..10_000_000, steps in proptest::collection::vec(0u64..400_000_000, 1..60)) {
            let mut trickle = Trickle {
                share: 1.0,
                each: rate as f64 / 10.0,
                rest: 0.0,
                next: Some(PERIOD_NS),
            };
            let (mut now, mut read) = (0, 0.0);
            for step in steps {
                now += step;
                read += trickle.take(now).unwrap_or(0) as f64;
                let due = (now / PERIOD_NS) as f64 * rate as f64 / 10.0;
                prop_assert!((read - due).abs() <= 1.0, "{read} {due}");
            }
        }
    }
}
