//! The line that shows a run while it goes on, redrawn in place on a terminal.

use crate::plan::{Plan, Scenario};
use crate::report::text::{grouped, rate, short};
use crate::run::{Progress, Stage};
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

/// Cells of the bar.
const BAR: usize = 20;
/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// Shows progress on standard error, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Live {
    shown: bool,
    view: View,
}

/// What the line is made from beside the progress itself.
#[derive(Debug)]
struct View {
    connections: u32,
    stages: [Option<Duration>; 3],
    last: Option<(Duration, u64)>,
    per_second: f64,
}

impl Live {
    pub(crate) fn new(plan: &Plan, quiet: bool) -> Self {
        Self {
            shown: !quiet && io::stderr().is_terminal(),
            view: View::new(plan),
        }
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        if !self.shown {
            return;
        }
        let line = self.view.line(progress, columns());
        // A terminal that went away takes the line with it.
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn columns() -> usize {
    let told = rustix::termios::tcgetwinsize(io::stderr()).map(|size| usize::from(size.ws_col));
    told.ok().filter(|told| *told > 0).unwrap_or(COLUMNS)
}

impl View {
    fn new(plan: &Plan) -> Self {
        let measured = match plan.scenario {
            // These last until they are done.
            Scenario::Ramp(_) | Scenario::Storm { reconnect: Some(_) } => None,
            _ => Some(plan.duration),
        };
        Self {
            connections: plan.connections,
            stages: [Some(plan.settle), Some(plan.warmup), measured],
            last: None,
            per_second: 0.0,
        }
    }

    /// The line, no wider than the terminal less one column: what does not fit is left out, the
    /// least important first.
    fn line(&mut self, progress: &Progress, columns: usize) -> String {
        self.update(progress);
        let (name, length) = match progress.stage {
            Stage::Connecting => ("connecting", None),
            Stage::Settling => ("settling", self.stages[0]),
            Stage::WarmingUp => ("warming up", self.stages[1]),
            Stage::Measuring => ("measuring", self.stages[2]),
            Stage::Draining => ("draining", None),
        };
        let elapsed = progress.elapsed.as_secs_f64();
        let share = match (progress.stage, length) {
            (Stage::Connecting, _) => {
                let come = progress.ready.saturating_add(progress.failed);
                Some(f64::from(come) / f64::from(self.connections.max(1)))
            }
            (_, Some(length)) if !length.is_zero() => Some(elapsed / length.as_secs_f64()),
            _ => None,
        };
        let time = match length {
            Some(length) => format!("{:.0}/{} s", elapsed.floor(), short(length.as_secs_f64())),
            None => format!("{:.0} s", elapsed.floor()),
        };
        let mut parts = vec![format!("{name:<10}")];
        parts.extend(share.map(bar));
        parts.push(time);
        parts.push(format!("{} connected", grouped(progress.ready.into())));
        if progress.errors > 0 || progress.faults > 0 {
            parts.push(format!(
                "{} errors, {} faults",
                grouped(progress.errors),
                grouped(progress.faults)
            ));
        }
        if progress.stage == Stage::Measuring && progress.received > 0 {
            parts.push(format!("{}/s", rate(self.per_second)));
            parts.push(format!("p99 {} ms", short(progress.p99_ms)));
        }
        let mut line = String::new();
        let mut width = 0;
        for part in parts {
            let wide = part.chars().count() + if line.is_empty() { 0 } else { 2 };
            if width + wide >= columns {
                break;
            }
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&part);
            width += wide;
        }
        line
    }

    fn update(&mut self, progress: &Progress) {
        if progress.stage != Stage::Measuring {
            self.last = None;
            return;
        }
        if let Some((elapsed, received)) = self.last {
            let seconds = progress.elapsed.saturating_sub(elapsed).as_secs_f64();
            if seconds > 0.0 {
                self.per_second = progress.received.saturating_sub(received) as f64 / seconds;
            }
        }
        self.last = Some((progress.elapsed, progress.received));
    }
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Protocol, Target};

    fn view() -> View {
        let target = Target::parse("ws://127.0.0.1:9", Protocol::SocketIo).unwrap();
        View::new(&Plan::new(target, Scenario::Echo { window: 1 }))
    }

    fn progress(stage: Stage, seconds: u64, received: u64) -> Progress {
        Progress {
            stage,
            elapsed: Duration::from_secs(seconds),
            ready: 100,
            failed: 0,
            received,
            errors: 0,
            faults: 0,
            p99_ms: 1.25,
        }
    }

    #[test]
    fn a_known_length_has_a_bar_and_the_rate_is_that_of_now() {
        let mut view = view();
        view.line(&progress(Stage::Measuring, 1, 1000), 120);
        let line = view.line(&progress(Stage::Measuring, 2, 21_000), 120);
        assert_eq!(
            line,
            "measuring   [########------------]  2/5 s  100 connected  20,000/s  p99 1.25 ms"
        );
        let line = view.line(&progress(Stage::Draining, 1, 0), 120);
        assert_eq!(line, "draining    1 s  100 connected");
        let mut failing = progress(Stage::Connecting, 1, 0);
        (failing.ready, failing.failed, failing.errors) = (30, 20, 20);
        assert_eq!(
            view.line(&failing, 120),
            "connecting  [##########----------]  1 s  30 connected  20 errors, 0 faults"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 0..120 {
            let line = view().line(&progress(Stage::Measuring, 2, 1000), columns);
            assert!(line.chars().count() < columns.max(1), "{columns}: {line:?}");
        }
    }
}
