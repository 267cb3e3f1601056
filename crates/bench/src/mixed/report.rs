//! What a scenario found.

use super::figures::{EventFigures, Figures};
use super::plan::{Limits, Mix};
use crate::history::Faults;
use crate::latency::{Latency, Percentiles};
use serde::Serialize;
use std::time::Duration;

/// What a scenario file adds to a report.
#[derive(Debug, Clone, Serialize)]
pub struct MixedReport {
    /// Name of the scenario.
    pub name: String,
    /// Clients, by what became of them.
    pub clients: Clients,
    /// From when a client was due to come to its joined namespace.
    pub connect: Percentiles,
    /// From when a message was due to be published to each member that got it.
    pub delivery: Percentiles,
    /// Messages published with a stamp, and their deliveries.
    pub published: u64,
    /// Deliveries of these.
    pub delivered: u64,
    /// Each event, in the order of the file.
    pub events: Vec<EventReport>,
    /// Acknowledgements that came after their timeout.
    pub late_acks: u64,
    /// Acknowledgements that came again: faults of the server.
    pub double_acks: u64,
    /// Acknowledgements of what was never sent: faults of the server.
    pub unasked_acks: u64,
    /// Share of the attempts (connections and messages) that went wrong.
    pub error_share: f64,
    /// What had to hold.
    pub thresholds: Vec<ThresholdReport>,
    /// What the stamps of published messages say.
    #[serde(skip)]
    pub faults: Faults,
}

/// The clients of a scenario.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Clients {
    /// Who came.
    pub came: u64,
    /// Who went before the end.
    pub finished: u64,
    /// Most at a time.
    pub most: u32,
    /// Who should have come when there were as many as there may be.
    pub not_started: u64,
    /// Connections attempted; a client may have several, one after the other.
    pub connections: u64,
    /// Connections that joined their namespace.
    pub connected: u64,
}

/// One event that a scenario sends.
#[derive(Debug, Clone, Serialize)]
pub struct EventReport {
    /// Its name.
    pub event: String,
    /// How often it was sent.
    pub sent: u64,
    /// How often an acknowledgement was wanted.
    pub asked: u64,
    /// Acknowledged in time.
    pub acked: u64,
    /// Acknowledged in time, with `{"error": …}`.
    pub refused: u64,
    /// Not acknowledged in time.
    pub missing: u64,
    /// From when it was due to its acknowledgement, in phases that are measured.
    pub latency: Percentiles,
}

/// A threshold and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThresholdReport {
    /// Of what: `ack publish p99`, `error share`.
    pub of: String,
    /// The most allowed: milliseconds, or a share.
    pub limit: f64,
    /// What was found; `None` if there was nothing to measure.
    pub found: Option<f64>,
    /// Whether it holds. What could not be measured does not.
    pub holds: bool,
}

impl MixedReport {
    /// `errors`: connections that went wrong.
    pub(crate) fn new(mix: &Mix, figures: &Figures, faults: Faults, errors: u64) -> Self {
        let (wrong, all) = figures.wrong(errors);
        let error_share = wrong as f64 / all.max(1) as f64;
        Self {
            name: mix.name.clone(),
            clients: Clients {
                came: figures.came,
                finished: figures.finished,
                most: figures.most,
                not_started: figures.not_started,
                connections: figures.attempts,
                connected: figures.connected,
            },
            connect: figures.connect.percentiles(),
            delivery: figures.delivery.percentiles(),
            published: figures.published,
            delivered: figures.delivered,
            events: mix
                .events
                .iter()
                .zip(&figures.events)
                .filter(|(_, figures)| figures.sent > 0)
                .map(|(event, figures)| EventReport::new(event, figures))
                .collect(),
            late_acks: figures.late_acks,
            double_acks: figures.double_acks,
            unasked_acks: figures.unasked_acks,
            error_share,
            thresholds: thresholds(mix, figures, error_share),
            faults,
        }
    }

    /// Whether every threshold holds.
    pub fn holds(&self) -> bool {
        self.thresholds.iter().all(|threshold| threshold.holds)
    }

    /// Whether no acknowledgement came twice or without a reason.
    pub fn is_faultless(&self) -> bool {
        self.double_acks == 0 && self.unasked_acks == 0
    }

    /// Whether nothing went wrong, or no more than a threshold `error_share` allows.
    pub fn tolerates_errors(&self) -> bool {
        self.error_share == 0.0 || self.thresholds.iter().any(|t| t.of == ERROR_SHARE)
    }
}

/// What the threshold `error_share` is called in reports.
pub(crate) const ERROR_SHARE: &str = "error share";

impl EventReport {
    fn new(event: &str, figures: &EventFigures) -> Self {
        Self {
            event: event.to_owned(),
            sent: figures.sent,
            asked: figures.asked,
            acked: figures.acked,
            refused: figures.refused,
            missing: figures.missing,
            latency: figures.latency.percentiles(),
        }
    }
}

fn thresholds(mix: &Mix, figures: &Figures, error_share: f64) -> Vec<ThresholdReport> {
    let wanted = &mix.thresholds;
    let mut found = Vec::new();
    if let Some(limit) = wanted.error_share {
        found.push(ThresholdReport {
            of: ERROR_SHARE.into(),
            limit,
            found: Some(error_share),
            holds: error_share <= limit,
        });
    }
    judge("connect", &wanted.connect, &figures.connect, &mut found);
    judge("delivery", &wanted.delivery, &figures.delivery, &mut found);
    for (event, limits) in &wanted.ack {
        let of = format!("ack {}", mix.event(*event));
        let latency = figures.events.get(event.0).map(|event| &event.latency);
        judge(&of, limits, latency.unwrap_or(&Latency::new()), &mut found);
    }
    found
}

fn judge(of: &str, limits: &Limits, latency: &Latency, found: &mut Vec<ThresholdReport>) {
    let percentiles = latency.percentiles();
    let table: [(&str, Option<Duration>, f64); 5] = [
        ("p50", limits.p50, percentiles.p50_ms),
        ("p90", limits.p90, percentiles.p90_ms),
        ("p99", limits.p99, percentiles.p99_ms),
        ("p99.9", limits.p999, percentiles.p999_ms),
        ("max", limits.max, percentiles.max_ms),
    ];
    for (name, limit, value) in table {
        let Some(limit) = limit else { continue };
        let limit = limit.as_secs_f64() * 1e3;
        let value = (percentiles.count > 0).then_some(value);
        found.push(ThresholdReport {
            of: format!("{of} {name}"),
            limit,
            found: value,
            holds: value.is_some_and(|value| value <= limit),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[phase]]
        duration = "1s"
        clients = 1
        [[behaviour]]
        steps = [ { emit = "a", ack = true }, { emit = "b", ack = true } ]
        [thresholds]
        error_share = "1%"
        connect.p99 = "10ms"
        ack.a = { p50 = "10ms", max = "20ms" }
        ack.b.p99 = "10ms"
    "#;

    #[test]
    fn thresholds_hold_or_not_and_need_something_to_measure() {
        let mix = Mix::parse("a.toml", FILE).unwrap();
        let mut figures = Figures::new(&mix);
        figures.attempts = 100;
        figures.connect.record(9_000_000);
        figures.events[0].sent = 100;
        figures.events[0].missing = 1;
        (0..9).for_each(|_| figures.events[0].latency.record(5_000_000));
        figures.events[0].latency.record(25_000_000);
        let report = MixedReport::new(&mix, &figures, Faults::default(), 1);
        let judged: Vec<_> = report
            .thresholds
            .iter()
            .map(|threshold| (threshold.of.as_str(), threshold.holds))
            .collect();
        let expected = [
            ("error share", true),
            ("connect p99", true),
            ("ack a p50", true),
            ("ack a max", false),
            ("ack b p99", false),
        ];
        assert_eq!(judged, expected);
        assert_eq!(report.error_share, 0.01);
        assert!(!report.holds() && report.tolerates_errors() && report.is_faultless());
        assert_eq!(report.events.len(), 1, "b was never sent");
        let worse = MixedReport::new(&mix, &figures, Faults::default(), 3);
        assert!(!worse.thresholds[0].holds);
    }
}
