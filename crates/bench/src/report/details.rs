//! What single scenarios found, in words: shared by the table and the page.

use super::Report;
use super::text::{bytes, grouped, short};
use crate::results::Drift;

/// A heading with its lines.
pub(super) type Detail = (&'static str, Vec<(&'static str, String)>);

impl Report {
    pub(super) fn details(&self) -> Vec<Detail> {
        let mut all = Vec::new();
        if let Some(reconnect) = &self.reconnect {
            let time = match reconnect.seconds {
                Some(seconds) => format!("{} s after the first was lost", short(seconds)),
                None => "never".to_owned(),
            };
            let mut rows = vec![
                ("lost", grouped(reconnect.lost.into())),
                ("back", grouped(reconnect.back.into())),
                ("all back", time),
                (
                    "attempts",
                    format!(
                        "{}, of which {} failed",
                        grouped(reconnect.attempts),
                        grouped(reconnect.failures.total())
                    ),
                ),
            ];
            if reconnect.time.count > 0 {
                rows.push(("each was away", spread(&reconnect.time)));
                rows.push(("set-up", spread(&reconnect.set_up)));
            }
            all.push(("Reconnection", rows));
        }
        if let Some(spike) = &self.spike {
            let after = match spike.recovered_after {
                Some(seconds) => format!("{} s after the spike", short(seconds)),
                None => "not within the run".to_owned(),
            };
            let threshold = format!("p99 below {} ms for a second", short(spike.threshold_ms));
            all.push(("Recovery", vec![("recovered", after), ("means", threshold)]));
        }
        if let Some(drift) = &self.drift {
            let enough = if drift.enough { "enough" } else { "too few" };
            let samples = format!("{}, {enough} to judge by", grouped(drift.samples as u64));
            let mut rows = vec![("samples", samples)];
            let memory = drift.memory.as_ref();
            rows.extend(memory.map(|memory| ("memory", slope(memory, signed_bytes))));
            let latency = [("median latency", &drift.p50), ("p99", &drift.p99)];
            for (name, drift) in latency {
                let text = drift
                    .as_ref()
                    .map(|drift| slope(drift, |v| format!("{} ms", short(v))));
                rows.extend(text.map(|text| (name, text)));
            }
            all.push(("Drift", rows));
        }
        if let Some(churn) = &self.churn {
            let rows = vec![
                ("took leave", grouped(churn.left)),
                ("unanswered", grouped(churn.unanswered)),
                ("cut", grouped(churn.cut)),
                ("came", grouped(churn.came)),
                ("skipped", grouped(churn.skipped)),
                ("set-up", spread(&churn.set_up)),
            ];
            all.push(("Churn", rows));
        }
        if let Some(slow) = &self.slow {
            let rows = vec![
                ("slow readers", grouped(slow.readers.into())),
                ("closed", grouped(slow.closed.into())),
                (
                    "reached them",
                    format!("{} messages", grouped(slow.received)),
                ),
                ("never did", format!("{} messages", grouped(slow.missing))),
            ];
            all.push(("Slow readers", rows));
        }
        all
    }
}

fn spread(figures: &crate::Percentiles) -> String {
    format!(
        "median {} ms, p99 {} ms, longest {} ms",
        short(figures.p50_ms),
        short(figures.p99_ms),
        short(figures.max_ms)
    )
}

fn slope(drift: &Drift, value: impl Fn(f64) -> String) -> String {
    format!(
        "{} in the middle, {} per hour, {:+.1} % over the run (allowed {:.0} %){}",
        value(drift.median),
        value(drift.per_hour),
        drift.relative * 100.0,
        drift.limit * 100.0,
        if drift.exceeded { ": EXCEEDED" } else { "" },
    )
}

fn signed_bytes(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", bytes(value.abs() as u64))
}
