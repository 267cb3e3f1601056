//! A run that is one of several: the gates at which it waits for the others.

use super::Session;
use crate::clock;
use crate::driver::{Driver, Hold, room};
use crate::error::BenchError;
use crate::plan::Scenario;
use crate::workers::gate::{Opened, Point};

/// How long the loop may sleep at a gate.
const GLANCE_NS: u64 = 5_000_000;

/// What is known of the other processes.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Rooms of the publishers of others, those before this one's own first.
    pub(super) rooms: Vec<u32>,
}

impl Session<'_> {
    /// Waits at a gate, while connections go on; at once if this run is the only one.
    pub(super) fn pass<D: Driver>(
        &mut self,
        point: Point,
        driver: &mut D,
    ) -> Result<Option<Opened>, BenchError> {
        let Some(gate) = &mut self.gate else {
            return Ok(None);
        };
        gate.arrive(point)?;
        loop {
            if let Some(gate) = &mut self.gate
                && let Some(opened) = gate.opened()?
            {
                return Ok(Some(opened));
            }
            self.turn(driver, clock::now() + GLANCE_NS)?;
        }
    }

    /// Tells the others who publishes here, and learns who does there.
    pub(super) fn meet(&mut self) -> Result<(), BenchError> {
        if self.gate.is_none() {
            return Ok(());
        }
        let ready = self.engine.ready();
        let publishers: Vec<u32> = match self.plan.scenario {
            Scenario::Fanout { publishers, .. } => {
                let publishing = ready.iter().take(publishers as usize);
                publishing
                    .map(|&index| room(index, self.plan.rooms))
                    .collect()
            }
            Scenario::Idle | Scenario::Storm { .. } => Vec::new(),
            // In an echo everybody publishes, ready or not.
            _ => vec![0; self.plan.slots() as usize],
        };
        let own = publishers.len();
        let Some(opened) = self.pass(Point::Connected { publishers }, &mut Hold)? else {
            return Ok(());
        };
        let mut rooms = opened.all;
        rooms.drain(opened.own..opened.own + own);
        self.others = Others { rooms };
        let desk = self.engine.desk();
        (desk.first, desk.own) = (opened.own as u32, own as u32);
        Ok(())
    }

    /// Learns how much the others have published, when nobody publishes any more.
    pub(super) fn settle_accounts<D: Driver>(&mut self, driver: &mut D) -> Result<(), BenchError> {
        if self.gate.is_none() {
            return Ok(());
        }
        let desk = self.engine.desk();
        let own = desk.own as usize;
        let published = desk.history.published_by(own);
        let Some(mut opened) = self.pass(Point::Sent { published }, driver)? else {
            return Ok(());
        };
        for (begin, end) in opened.missing {
            opened.all[begin..end].fill(u32::MAX);
        }
        opened.all.drain(opened.own..opened.own + own);
        let history = &mut self.engine.desk().history;
        for (count, publisher) in opened.all.into_iter().zip(own as u32..) {
            // Nobody knows what a worker published that is gone.
            if count != u32::MAX {
                history.told(publisher, count);
            }
        }
        Ok(())
    }
}
