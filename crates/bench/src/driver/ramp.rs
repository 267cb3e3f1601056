//! Connections that rise in steps, with echoes meanwhile.

use super::{Desk, Driver, Echo, End};
use crate::plan::{Plan, Ramp};
use crate::schedule::Schedule;
use crate::stamp::Stamp;

#[derive(Debug)]
pub(crate) struct Ramping {
    plan: Ramp,
    last: u32,
    patience: u64,
    echo: Echo,
    /// Steps begun.
    step: u32,
    /// Connections opened so far, and how many this step opens in all.
    opened: u32,
    until: u32,
    /// When connections of this step are opened, if not all at once.
    opening: Option<Schedule>,
    /// Opened and neither ready nor failed.
    pending: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Connections come; given up when none has come for long.
    Rising {
        deadline: u64,
    },
    Holding {
        until: u64,
    },
    Finished,
}

/// Connections after a step: equal steps, rounded so that the last one hits the target.
pub(crate) fn after_step(from: u32, to: u32, steps: u32, step: u32) -> u32 {
    let rise =
        u64::from(to.saturating_sub(from)) * u64::from(step.min(steps)) / u64::from(steps.max(1));
    // Not more than the difference.
    from + rise as u32
}

impl Ramping {
    pub(crate) fn new(plan: &Plan, ramp: Ramp, ready: Vec<u32>) -> Self {
        Self {
            plan: ramp,
            last: plan.connections,
            patience: plan.patience.as_nanos() as u64,
            echo: Echo::open(ready, 0.0),
            step: 0,
            opened: ramp.from,
            until: ramp.from,
            opening: None,
            pending: 0,
            stage: Stage::Waiting,
        }
    }

    fn next_step(&mut self, desk: &mut Desk) {
        let ramp = self.plan;
        if self.step == ramp.steps {
            self.stage = Stage::Finished;
            desk.timeline.end_phase(desk.now);
            return;
        }
        self.step += 1;
        self.until = after_step(ramp.from, self.last, ramp.steps, self.step);
        desk.enter_phase(format!("{} connections", self.until));
        let deadline = desk.now + self.patience;
        self.stage = Stage::Rising { deadline };
        self.opening = ramp
            .per_second
            .map(|per_second| Schedule::new(per_second, desk.now));
        self.open(desk);
    }

    fn open(&mut self, desk: &mut Desk) {
        while self.opened < self.until {
            if let Some(opening) = &mut self.opening
                && opening.take(desk.now).is_none()
            {
                return;
            }
            desk.open(self.opened);
            self.opened += 1;
            self.pending += 1;
        }
        self.settle(desk);
    }

    /// Begins to hold once all connections of the step are there or have failed.
    fn settle(&mut self, desk: &mut Desk) {
        if self.pending == 0 && self.opened == self.until && self.is_rising() {
            let until = desk.now + self.plan.hold.as_nanos() as u64;
            self.stage = Stage::Holding { until };
        }
    }

    fn is_rising(&self) -> bool {
        matches!(self.stage, Stage::Rising { .. })
    }

    fn arrived(&mut self, desk: &mut Desk) {
        self.pending = self.pending.saturating_sub(1);
        if let Stage::Rising { deadline } = &mut self.stage {
            *deadline = desk.now + self.patience;
        }
        self.settle(desk);
    }

    fn pace(&mut self, desk: &mut Desk) {
        let rate = self.plan.rate * self.echo.connections().len() as f64;
        self.echo.set_rate(rate, desk);
    }
}

impl Driver for Ramping {
    fn start(&mut self, desk: &mut Desk) {
        self.pace(desk);
    }

    fn measure(&mut self, desk: &mut Desk) {
        self.next_step(desk);
    }

    fn message(&mut self, receiver: u32, stamp: Stamp, desk: &mut Desk) {
        self.echo.message(receiver, stamp, desk);
    }

    fn next_due(&self) -> Option<u64> {
        let step = match (self.stage, &self.opening) {
            (Stage::Rising { .. }, Some(opening)) if self.opened < self.until => {
                Some(opening.next_due())
            }
            (Stage::Rising { deadline }, _) => Some(deadline),
            (Stage::Holding { until }, _) => Some(until),
            (Stage::Waiting | Stage::Finished, _) => None,
        };
        step.into_iter().chain(self.echo.next_due()).min()
    }

    fn due(&mut self, desk: &mut Desk) {
        self.echo.due(desk);
        match self.stage {
            Stage::Rising { .. } if self.opened < self.until => self.open(desk),
            Stage::Rising { deadline } if deadline <= desk.now => {
                // Nobody came for long. Who is still under way is cut.
                for connection in 0..self.opened {
                    if !self.echo.connections().contains(connection) {
                        desk.cut(connection);
                    }
                }
                self.pending = 0;
                self.settle(desk);
            }
            Stage::Holding { until } if until <= desk.now => self.next_step(desk),
            _ => {}
        }
    }

    fn ready(&mut self, connection: u32, desk: &mut Desk) {
        self.echo.admit(connection, desk);
        self.pace(desk);
        self.arrived(desk);
    }

    fn failed(&mut self, _connection: u32, desk: &mut Desk) {
        self.arrived(desk);
    }

    fn gone(&mut self, connection: u32, _end: End, desk: &mut Desk) {
        self.echo.dismiss(connection);
        self.pace(desk);
    }

    fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn steps_are_equal_and_hit_the_target(from in 0u32..1000, rise in 1u32..100_000, steps in 1u32..50) {
            let to = from + rise;
            let mut last = from;
            for step in 1..=steps {
                let next = after_step(from, to, steps, step);
                prop_assert!(next - last >= rise / steps && next - last <= rise / steps + 1);
                last = next;
            }
            prop_assert_eq!(last, to);
        }
    }
}
