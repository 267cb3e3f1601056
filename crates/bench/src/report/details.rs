//! What single scenarios found, in words: shared by the table and the page.

use super::Report;
use super::text::{bytes, grouped, short};
use crate::mixed::{ERROR_SHARE, EventReport, MixedReport, ThresholdReport};
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
        if let Some(mixed) = &self.mixed {
            all.extend(scenario_file(mixed));
        }
        all
    }
}

/// What a scenario file found, each event and each threshold on a line of its own.
fn scenario_file(mixed: &MixedReport) -> Vec<Detail> {
    let clients = &mixed.clients;
    let mut rows = vec![
        ("name", mixed.name.clone()),
        (
            "clients",
            format!(
                "{} came, {} went, {} at a time at most",
                grouped(clients.came),
                grouped(clients.finished),
                grouped(clients.most.into())
            ),
        ),
        (
            "connections",
            format!(
                "{} of {} ready",
                grouped(clients.connected),
                grouped(clients.connections)
            ),
        ),
    ];
    if clients.not_started > 0 {
        let text = format!(
            "{} clients, above max_clients",
            grouped(clients.not_started)
        );
        rows.push(("NOT STARTED", text));
    }
    if mixed.connect.count > 0 {
        rows.push(("set-up", spread(&mixed.connect)));
    }
    if mixed.published > 0 {
        let text = format!(
            "{} messages, delivered {} times",
            grouped(mixed.published),
            grouped(mixed.delivered)
        );
        rows.push(("published", text));
    }
    if mixed.delivery.count > 0 {
        rows.push(("delivery", spread(&mixed.delivery)));
    }
    let share = format!("{} %", short(mixed.error_share * 100.0));
    rows.push(("gone wrong", share));
    let odd = [
        ("ACKS TWICE", mixed.double_acks),
        ("ACKS UNASKED", mixed.unasked_acks),
        ("acks too late", mixed.late_acks),
    ];
    rows.extend(
        odd.into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name, grouped(count))),
    );
    let events = mixed.events.iter().map(|event| ("event", of_event(event)));
    let mut all = vec![("Scenario file", rows), ("Events", events.collect())];
    if !mixed.thresholds.is_empty() {
        let thresholds = mixed.thresholds.iter().map(|threshold| {
            let name = if threshold.holds { "holds" } else { "MISSED" };
            (name, of_threshold(threshold))
        });
        all.push(("Thresholds", thresholds.collect()));
    }
    all
}

fn of_event(event: &EventReport) -> String {
    let mut text = format!("{}: {} sent", event.event, grouped(event.sent));
    if event.asked > 0 {
        let acked = event.acked + event.refused;
        text.push_str(&format!(", {} acknowledged", grouped(acked)));
    }
    for (count, what) in [
        (event.refused, "of these with an error"),
        (event.missing, "NOT acknowledged in time"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    if event.latency.count > 0 {
        text.push_str(&format!("; {}", spread(&event.latency)));
    }
    text
}

fn of_threshold(threshold: &ThresholdReport) -> String {
    let is_share = threshold.of == ERROR_SHARE;
    let value = |value: f64| match is_share {
        true => format!("{} %", short(value * 100.0)),
        false => format!("{} ms", short(value)),
    };
    let found = threshold
        .found
        .map_or("nothing to measure".to_owned(), value);
    let limit = value(threshold.limit);
    format!("{}: {found}, allowed {limit}", threshold.of)
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
