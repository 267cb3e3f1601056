//! Latency in constant memory.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart; what is longer counts as this: ten minutes.
const LONGEST_NS: u64 = 600_000_000_000;

/// A histogram of durations in nanoseconds, exact to three digits.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram.
    pub fn new() -> Self {
        // Proof: the bounds are constants that the crate documents as valid (low ≥ 1,
        // high ≥ 2 × low, at most 5 digits).
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds"))
    }

    /// Counts one duration.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Counts a duration as often as that.
    pub(crate) fn record_many(&mut self, nanoseconds: u64, count: u64) {
        self.0.saturating_record_n(nanoseconds, count);
    }

    /// Counts one duration of a *closed* loop that should have sent every `interval_ns`: if it
    /// took longer, the messages that were held back count as well, each from when it was due.
    pub fn record_corrected(&mut self, nanoseconds: u64, interval_ns: u64) {
        // Proof: the only error is a value above the bound, and it is capped to it.
        self.0
            .record_correct(nanoseconds.min(LONGEST_NS), interval_ns)
            .expect("value within bounds");
    }

    /// Adds what another histogram counted, for example that of another worker.
    pub fn merge(&mut self, other: &Self) {
        // Proof: both were made by `new` and have the same bounds.
        self.0.add(&other.0).expect("equal bounds");
    }

    /// Forgets what was counted.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// All that it holds, as pairs of nanoseconds and count.
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        let recorded = self.0.iter_recorded();
        recorded
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many of them were longer than `nanoseconds`.
    pub fn above(&self, nanoseconds: u64) -> u64 {
        self.0.len() - self.0.count_between(0, nanoseconds.min(LONGEST_NS))
    }

    /// The usual figures.
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        Percentiles {
            count: self.0.len(),
            mean_ms: self.0.mean() / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: if self.0.is_empty() {
                0.0
            } else {
                milliseconds(self.0.max())
            },
        }
    }

    /// The histogram itself, for plots.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// The percentiles that reports show, in milliseconds; all zero when nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many durations were counted.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_ms: f64,
    /// Half of them were at most this long.
    pub p50_ms: f64,
    /// Nine of ten.
    pub p90_ms: f64,
    /// 99 of a hundred.
    pub p99_ms: f64,
    /// 999 of a thousand.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_closed_loop_counts_what_it_held_back() {
        let mut latency = Latency::new();
        for _ in 0..99 {
            latency.record_corrected(1_000_000, 10_000_000);
        }
        latency.record_corrected(1_000_000_000, 10_000_000);
        // One answer took a second and held back 99 messages, 10 ms apart.
        assert_eq!(latency.count(), 199);
        assert!((latency.percentiles().p90_ms - 800.0).abs() < 15.0);
        assert!((latency.percentiles().p50_ms - 10.0).abs() < 10.1);
    }

    #[test]
    fn extremes_are_counted() {
        let mut latency = Latency::new();
        latency.record(0);
        latency.record(u64::MAX);
        latency.record_corrected(u64::MAX, LONGEST_NS);
        assert_eq!(latency.count(), 3);
        assert!(latency.percentiles().max_ms >= 599_000.0);
        assert_eq!(Latency::new().percentiles(), Percentiles::default());
    }

    #[test]
    fn two_halves_make_a_whole() {
        let (mut whole, mut half, mut rest) = (Latency::new(), Latency::new(), Latency::new());
        for value in (0..10_000).map(|i| i * 7_919) {
            whole.record(value);
            if value % 2 == 0 {
                half.record(value)
            } else {
                rest.record(value)
            };
        }
        half.merge(&rest);
        assert_eq!(half.percentiles(), whole.percentiles());
    }
}
