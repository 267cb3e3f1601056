//! Setting up, from the first connection to the last.

use super::{Sample, Session};
use crate::clock;
use crate::driver::Hold;
use crate::error::BenchError;
use crate::plan::Scenario;
use crate::report::SetupReport;

impl Session<'_> {
    pub(super) fn connect(&mut self) -> Result<SetupReport, BenchError> {
        let before = self.sample()?;
        let patience = self.plan.patience.as_nanos() as u64;
        while !self.engine.is_settled() {
            let deadline = self.engine.setup().progress + patience;
            if clock::now() >= deadline {
                self.engine.give_up(&mut Hold);
                break;
            }
            self.turn(&mut Hold, deadline)?;
        }
        let after = self.sample()?;
        let report = self.set_up(&before, &after);
        if report.ready == 0 && self.plan.initial() > 0 {
            return Err(BenchError::nobody(report.failed));
        }
        // What comes later is counted by itself.
        self.engine.setup().latency.clear();
        match self.plan.scenario {
            Scenario::Ramp(ramp) if ramp.per_second.is_none() => {}
            _ => self.engine.set_handshakes(self.plan.slots()),
        }
        Ok(report)
    }

    fn set_up(&mut self, before: &Sample, after: &Sample) -> SetupReport {
        let seconds = (after.at - before.at) as f64 / 1e9;
        let cpu = after
            .server
            .zip(before.server)
            .map(|(after, before)| (after - before).total());
        let ready = self.engine.desk().timeline.connections;
        let setup = self.engine.setup();
        self.set_up = setup.latency.clone();
        SetupReport {
            ready,
            failed: setup.failed,
            seconds,
            per_second: f64::from(ready) / seconds.max(1e-9),
            server_us_each: cpu.map(|cpu| cpu * 1e6 / f64::from(ready.max(1))),
            latency: self.set_up.percentiles(),
        }
    }

    /// In a ramp the measurement is the set-up.
    pub(super) fn set_up_by_ramp(
        &mut self,
        setup: &mut SetupReport,
        before: &Sample,
        after: &Sample,
    ) -> Result<(), BenchError> {
        let done = self.engine.setup().done;
        if done == 0 {
            return Err(BenchError::nobody(self.engine.setup().failed));
        }
        *setup = SetupReport {
            ready: done,
            per_second: f64::from(done) / setup.seconds.max(1e-9),
            // Mixed with that of the messages.
            server_us_each: None,
            ..self.set_up(before, after)
        };
        setup.per_second = f64::from(done) / setup.seconds.max(1e-9);
        Ok(())
    }
}
