//! All connections are lost; each tries until it is back.

use super::pool::Dice;
use super::{Desk, Driver, End};
use crate::latency::Latency;
use crate::plan::{CutBy, Reconnect};
use crate::report::Errors;
use crate::results::ReconnectReport;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(crate) struct Reconnecting {
    plan: Reconnect,
    ready: Vec<u32>,
    dice: Dice,
    /// When who tries again.
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
    /// By connection: when it was lost, and how often it has tried since.
    lost_at: Vec<(u64, u32)>,
    lost: u32,
    back: u32,
    first: u64,
    last: u64,
    attempts: u64,
    time: Latency,
    measuring: bool,
}

impl Reconnecting {
    pub(crate) fn new(plan: Reconnect, ready: Vec<u32>, seed: u64) -> Self {
        let slots = ready.iter().max().map_or(0, |last| *last as usize + 1);
        Self {
            plan,
            ready,
            dice: Dice::new(seed),
            waiting: BinaryHeap::new(),
            lost_at: vec![(0, 0); slots],
            lost: 0,
            back: 0,
            first: 0,
            last: 0,
            attempts: 0,
            time: Latency::new(),
            measuring: false,
        }
    }

    /// What became of it, of the errors that it expected.
    pub(crate) fn report(&self, expected: Errors, set_up: &Latency) -> ReconnectReport {
        // To be closed is what it is about; what remains are attempts that failed.
        let failures = Errors {
            closed: 0,
            ..expected
        };
        ReconnectReport {
            lost: self.lost,
            back: self.back,
            seconds: (self.back == self.lost && self.lost > 0)
                .then(|| self.last.saturating_sub(self.first) as f64 / 1e9),
            attempts: self.attempts,
            failures,
            time: self.time.percentiles(),
            set_up: set_up.percentiles(),
        }
    }

    fn try_later(&mut self, connection: u32, desk: &mut Desk) {
        let (_, tries) = self.lost_at[connection as usize];
        let delay = delay(&self.plan, tries, self.dice.share());
        self.waiting.push(Reverse((desk.now + delay, connection)));
    }
}

/// Full jitter: a share of a delay that doubles from `base` up to `cap`. Who may come at once and
/// fails shall not try in a tight loop.
fn delay(plan: &Reconnect, tries: u32, share: f64) -> u64 {
    let (base, cap) = (plan.base.as_secs_f64(), plan.cap.as_secs_f64());
    let base = if tries == 0 { base } else { base.max(0.05) };
    let longest = (base * 2f64.powi(tries.min(60) as i32)).min(cap.max(base));
    (longest * share * 1e9) as u64
}

impl Driver for Reconnecting {
    fn start(&mut self, _desk: &mut Desk) {}

    fn measure(&mut self, desk: &mut Desk) {
        self.measuring = true;
        if self.plan.by == CutBy::Generator {
            desk.enter_phase("reconnecting");
            self.ready.iter().for_each(|&index| desk.cut(index));
        } else {
            desk.enter_phase("until the server goes");
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse((at, _))| *at)
    }

    fn due(&mut self, desk: &mut Desk) {
        while let Some(&Reverse((at, connection))) = self.waiting.peek() {
            if at > desk.now {
                return;
            }
            self.waiting.pop();
            self.attempts += 1;
            self.lost_at[connection as usize].1 += 1;
            desk.open(connection);
        }
    }

    fn ready(&mut self, connection: u32, desk: &mut Desk) {
        let (at, _) = self.lost_at[connection as usize];
        self.back += 1;
        self.last = desk.now;
        self.time.record(desk.now.saturating_sub(at));
    }

    fn failed(&mut self, connection: u32, desk: &mut Desk) {
        if desk.sending {
            self.try_later(connection, desk);
        }
    }

    fn gone(&mut self, connection: u32, end: End, desk: &mut Desk) {
        if !desk.sending {
            return;
        }
        if self.lost == 0 {
            self.first = desk.now;
            if end == End::Lost {
                desk.enter_phase("reconnecting");
            }
        }
        let entry = &mut self.lost_at[connection as usize];
        // One that was back already and is lost again is waited for again, and counted once.
        if entry.1 == 0 {
            self.lost += 1;
        } else {
            self.back = self.back.saturating_sub(1);
        }
        *entry = (desk.now, entry.1.min(1));
        self.try_later(connection, desk);
    }

    fn expects_loss(&self, _connection: u32) -> bool {
        self.measuring
    }

    fn is_finished(&self) -> bool {
        self.lost as usize == self.ready.len() && self.back == self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn the_longest_delay_doubles_up_to_the_cap() {
        let plan = Reconnect::new(CutBy::Server);
        let longest: Vec<u64> = (0..6).map(|n| delay(&plan, n, 1.0) / 1_000_000).collect();
        assert_eq!(longest, [1000, 2000, 4000, 5000, 5000, 5000]);
        let at_once = Reconnect {
            base: Duration::ZERO,
            ..plan
        };
        assert_eq!(delay(&at_once, 0, 0.99), 0);
        assert_eq!(delay(&at_once, 1, 1.0), 100_000_000);
    }

    proptest! {
        #[test]
        fn no_delay_is_above_the_cap(tries: u32, share in 0.0f64..1.0) {
            let plan = Reconnect::new(CutBy::Server);
            prop_assert!(delay(&plan, tries, share) <= 5_000_000_000);
        }
    }
}
