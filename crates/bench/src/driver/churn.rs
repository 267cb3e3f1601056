//! Connections leave, chosen at random, and others come in their place.

use super::pool::Dice;
use super::{Desk, Driver, Echo, End};
use crate::latency::Latency;
use crate::plan::Churn;
use crate::results::ChurnReport;
use crate::schedule::Schedule;
use crate::stamp::Stamp;

#[derive(Debug)]
pub(crate) struct Churning {
    plan: Churn,
    echo: Echo,
    schedule: Option<Schedule>,
    dice: Dice,
    left: u64,
    unanswered: u64,
    cut: u64,
    came: u64,
    skipped: u64,
}

impl Churning {
    pub(crate) fn new(plan: Churn, ready: Vec<u32>, seed: u64) -> Self {
        Self {
            plan,
            echo: Echo::open(ready, plan.rate),
            schedule: None,
            dice: Dice::new(seed),
            left: 0,
            unanswered: 0,
            cut: 0,
            came: 0,
            skipped: 0,
        }
    }

    pub(crate) fn report(&self, set_up: &Latency) -> ChurnReport {
        ChurnReport {
            left: self.left,
            unanswered: self.unanswered,
            cut: self.cut,
            came: self.came,
            skipped: self.skipped,
            set_up: set_up.percentiles(),
            buckets: set_up.buckets(),
        }
    }

    fn depart(&mut self, desk: &mut Desk) {
        let number = self.dice.next() >> 16;
        let Some(connection) = self.echo.connections().turn(number) else {
            self.skipped += 1;
            return;
        };
        self.echo.dismiss(connection);
        // What is on its way to it is not waited for.
        desk.history.leave(connection);
        if self.dice.share() < self.plan.cut {
            self.cut += 1;
            desk.cut(connection);
        } else {
            self.left += 1;
            desk.leave(connection);
        }
    }
}

impl Driver for Churning {
    fn start(&mut self, desk: &mut Desk) {
        self.echo.start(desk);
        self.schedule = Some(Schedule::new(self.plan.per_second, desk.now));
    }

    fn message(&mut self, receiver: u32, stamp: Stamp, desk: &mut Desk) {
        self.echo.message(receiver, stamp, desk);
    }

    fn next_due(&self) -> Option<u64> {
        let departure = self.schedule.as_ref().map(Schedule::next_due);
        departure.into_iter().chain(self.echo.next_due()).min()
    }

    fn due(&mut self, desk: &mut Desk) {
        self.echo.due(desk);
        let Some(mut schedule) = self.schedule else {
            return;
        };
        while let Some((_, due)) = schedule.take(desk.now) {
            desk.late.record(desk.now - due);
            self.depart(desk);
        }
        self.schedule = Some(schedule);
    }

    fn ready(&mut self, connection: u32, desk: &mut Desk) {
        self.came += 1;
        desk.history.join(connection);
        self.echo.admit(connection, desk);
    }

    fn failed(&mut self, connection: u32, desk: &mut Desk) {
        if desk.sending {
            desk.open(connection);
        }
    }

    fn gone(&mut self, connection: u32, end: End, desk: &mut Desk) {
        self.echo.dismiss(connection);
        if end == End::Lost {
            return;
        }
        self.unanswered += u64::from(end == End::Unanswered);
        if desk.sending {
            desk.open(connection);
        }
    }
}
