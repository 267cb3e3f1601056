//! The figures of the measurement.

use super::{Sample, Session};
use crate::plan::Scenario;
use crate::report::{GeneratorReport, Limits, LoadReport, ServerReport};

impl Session<'_> {
    pub(super) fn figures(
        &mut self,
        before: &Sample,
        after: &Sample,
    ) -> (LoadReport, GeneratorReport) {
        let open_loop = self.plan.scenario.is_open_loop();
        let desk = self.engine.desk();
        let seconds = (after.at - before.at) as f64 / 1e9;
        let each = |cpu: f64| {
            if desk.received == 0 {
                0.0
            } else {
                cpu * 1e6 / desk.received as f64
            }
        };
        let server = after.server.zip(before.server).map(|(after, before)| {
            let cpu = after - before;
            ServerReport {
                cpu,
                cores: cpu.total() / seconds,
                user_us_each: each(cpu.user),
                system_us_each: each(cpu.system),
            }
        });
        let own = (after.thread.running - before.thread.running) as f64 / 1e9;
        let queued = (after.thread.waiting - before.thread.waiting) as f64 / 1e9 / seconds;
        // Neither on a core nor waiting for something to happen: stopped, or held by the kernel.
        let busy = seconds - (after.waited - before.waited) as f64 / 1e9;
        let waiting = queued.max((busy - own) / seconds);
        let foreign_cores = match (server, after.machine.zip(before.machine)) {
            (Some(server), Some((after, before))) => {
                Some(((after - before - server.cpu.total() - own) / seconds).max(0.0))
            }
            _ => None,
        };
        let late = desk.late.percentiles();
        let cores = own / seconds;
        let limits = Limits::judge(
            open_loop,
            cores,
            waiting,
            late.p99_ms,
            server.map(|server| server.cores),
        );
        let generator = GeneratorReport {
            cores,
            us_each: each(own),
            waiting,
            late,
            limits,
            validity: limits.validity(),
        };
        let completion = matches!(
            self.plan.scenario,
            Scenario::Fanout { .. } | Scenario::Slow(_)
        );
        let histogram = desk.timeline.total();
        let load = LoadReport {
            seconds,
            sent: desk.sent,
            received: desk.received,
            per_second: desk.received as f64 / seconds,
            pings: desk.pings,
            deflated: desk.deflated,
            unrelated: desk.unrelated,
            latency: histogram.percentiles(),
            completion: completion.then(|| desk.completion.percentiles()),
            server,
            foreign_cores,
            histogram,
        };
        (load, generator)
    }
}
