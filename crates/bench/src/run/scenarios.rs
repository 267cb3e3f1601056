//! Which load a scenario is, who judges it, and what it adds to the report.

use super::{Extras, Sample, Session};
use crate::clock;
use crate::driver::{
    Churning, Echo, Fanout, Hold, Mixing, Ramping, Reconnecting, SlowFanout, Spiking, room,
};
use crate::error::BenchError;
use crate::history::{Audience, History};
use crate::plan::{Contract, CutBy, Pace, Reconnect, Scenario, Soak};
use crate::slope;
use std::io;

impl Session<'_> {
    pub(super) fn scenario(&mut self, extras: &mut Extras) -> Result<(Sample, Sample), BenchError> {
        let ready = self.engine.ready();
        let (plan, slots) = (self.plan, self.plan.slots());
        self.engine.desk().history = match plan.scenario {
            Scenario::Idle | Scenario::Storm { .. } => History::new(Audience::Everyone, 0, 0),
            _ => History::new(Audience::Sender, slots, slots),
        };
        let strangers = self.others.rooms.len() as u32;
        self.engine.desk().history.expect_strangers(strangers);
        match plan.scenario {
            Scenario::Idle | Scenario::Storm { reconnect: None } => self.load(&mut Hold),
            Scenario::Storm {
                reconnect: Some(reconnect),
            } => self.reconnect(reconnect, ready, extras),
            Scenario::Echo { window } => self.load(&mut Echo::closed(ready, window)),
            Scenario::Rate { per_second } => self.load(&mut Echo::open(ready, per_second)),
            Scenario::Fanout { publishers, pace } => {
                let mut fanout = self.fanout(&ready, publishers, pace);
                self.load(&mut fanout)
            }
            Scenario::Ramp(ramp) => self.load(&mut Ramping::new(plan, ramp, ready)),
            Scenario::Spike(spike) => {
                let mut driver = Spiking::new(plan, spike, ready);
                let samples = self.load(&mut driver)?;
                let began = self.began;
                let ticks = self.engine.desk().timeline.ticks();
                extras.spike = driver.report(ticks, began);
                Ok(samples)
            }
            Scenario::Soak(soak) => self.soak(soak, ready, extras),
            Scenario::Churn(churn) => {
                let mut driver = Churning::new(churn, ready, clock::now());
                let samples = self.load(&mut driver)?;
                extras.churn = Some(driver.report(&self.engine.setup().latency));
                Ok(samples)
            }
            Scenario::Mixed => {
                let Some(mix) = &plan.mix else {
                    return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
                };
                let mut driver = Mixing::new(plan, mix, self.doors.clone());
                let samples = self.load(&mut driver)?;
                extras.mixed = driver.report(self.engine.errors().total());
                Ok(samples)
            }
            Scenario::Slow(slow) => {
                let desk = self.engine.desk();
                let (slow_ones, fast): (Vec<u32>, Vec<u32>) =
                    ready.iter().partition(|index| desk.is_slow(**index));
                if fast.is_empty() {
                    return Err(BenchError::nobody(0));
                }
                let flags = desk.slow.clone();
                let fanout = self.fanout(&fast, slow.publishers, slow.pace);
                // Slow readers are receivers like the others, but may miss what they miss.
                self.judge_fanout(&fanout, &ready);
                let history = &mut self.engine.desk().history;
                slow_ones.iter().for_each(|&index| history.spare(index));
                let mut driver = SlowFanout::new(fanout, flags, slow_ones.len() as u32);
                let samples = self.load(&mut driver)?;
                extras.slow = Some(driver.report(self.engine.desk()));
                Ok(samples)
            }
        }
    }

    fn fanout(&mut self, ready: &[u32], publishers: u32, pace: Pace) -> Fanout {
        let mut fanout = Fanout::new(ready, publishers, self.plan.rooms, pace);
        if self.plan.contract == Contract::Serve {
            fanout.deafen();
        }
        self.judge_fanout(&fanout, ready);
        fanout
    }

    /// Judges by who shares a room with whom.
    fn judge_fanout(&mut self, fanout: &Fanout, ready: &[u32]) {
        let connections = self.plan.connections;
        let mut receivers = vec![None; connections as usize];
        for &index in ready {
            receivers[index as usize] = Some(room(index, self.plan.rooms));
        }
        let mut publishers = fanout.rooms();
        let own = publishers.len();
        publishers.extend_from_slice(&self.others.rooms);
        let count = publishers.len() as u32;
        let audience = Audience::Rooms {
            receivers,
            publishers,
        };
        let history = History::new(audience, connections, count);
        let desk = self.engine.desk();
        desk.history = history;
        desk.history.expect_others(own);
        if self.plan.contract == Contract::Serve {
            desk.history.deafen(fanout.publishers().to_vec());
        }
    }

    fn reconnect(
        &mut self,
        plan: Reconnect,
        ready: Vec<u32>,
        extras: &mut Extras,
    ) -> Result<(Sample, Sample), BenchError> {
        if plan.by == CutBy::Server {
            // Its process goes, and another one comes.
            self.mortal = true;
        }
        let mut driver = Reconnecting::new(plan, ready, clock::now());
        let samples = self.load(&mut driver)?;
        let failures = *self.engine.expected();
        let set_up = &self.engine.setup().latency;
        extras.reconnect = Some(driver.report(failures, set_up));
        Ok(samples)
    }

    fn soak(
        &mut self,
        soak: Soak,
        ready: Vec<u32>,
        extras: &mut Extras,
    ) -> Result<(Sample, Sample), BenchError> {
        let mut driver = match soak.pace {
            Pace::Window(window) => Echo::closed(ready, window),
            Pace::PerSecond(per_second) => Echo::open(ready, per_second),
        };
        let samples = self.load(&mut driver)?;
        let ticks = self.engine.desk().timeline.ticks();
        extras.drift = Some(slope::drift_of(ticks, &soak));
        Ok(samples)
    }
}
