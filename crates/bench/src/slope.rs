//! Is there a trend? Robust against outliers: a few slow samples neither make one nor hide one.

use crate::plan::Soak;
use crate::results::{Drift, DriftReport};
use crate::timeline::Tick;

/// Samples below which nothing is judged.
const ENOUGH: usize = 20;
/// Most samples compared with each other; more are put together in groups, each with its median.
const MOST: usize = 1000;
/// Quantile of the normal distribution at 99 %: a trend that chance shows in one run of a hundred.
const CERTAIN: f64 = 2.326;

/// The slope of Theil and Sen: the median of the slopes between all pairs of points. `None` if
/// there are no two points at different places.
///
/// It stands while less than 29 % of the points are off by any amount.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes: Vec<f64> = pairs(points)
        .filter(|(a, b)| a.0 != b.0)
        .map(|(a, b)| (b.1 - a.1) / (b.0 - a.0))
        .collect();
    median(&mut slopes)
}

/// How sure a rise is, in standard deviations of chance (the test of Mann and Kendall, ties
/// counted): above 2.33 one run of a hundred shows it without a trend.
pub fn mann_kendall(points: &[(f64, f64)]) -> f64 {
    let rises: f64 = pairs(points)
        .map(|(a, b)| match b.1.total_cmp(&a.1) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Less => -1.0,
        })
        .sum();
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
    let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
    values.sort_by(f64::total_cmp);
    let ties = values
        .chunk_by(|a, b| a == b)
        .map(|tie| spread(tie.len() as f64));
    let variance = spread(points.len() as f64) - ties.sum::<f64>();
    if variance <= 0.0 || rises == 0.0 {
        return 0.0;
    }
    (rises - rises.signum()) / variance.sqrt()
}

/// The drift of samples, each at a time in seconds; `None` if there are none to compare or their
/// median is zero.
fn drift(samples: &[(f64, f64)], limit: f64) -> Option<Drift> {
    let points = thin(samples);
    let slope = theil_sen(&points)?;
    let median = median(&mut points.iter().map(|point| point.1).collect::<Vec<_>>())?;
    let span = points.last()?.0 - points.first()?.0;
    if median <= 0.0 {
        return None;
    }
    let relative = slope * span / median;
    let trend = mann_kendall(&points);
    Some(Drift {
        median,
        per_hour: slope * 3600.0,
        relative,
        trend,
        limit,
        exceeded: samples.len() >= ENOUGH && trend > CERTAIN && relative > limit,
    })
}

/// The drift over a soak, told from its ticks.
pub(crate) fn drift_of(ticks: &[Tick], soak: &Soak) -> DriftReport {
    let whole = soak.sample.as_secs_f64() / 2.0;
    let ticks: Vec<_> = ticks
        .iter()
        .filter(|tick| tick.stage == "measuring" && tick.seconds >= whole)
        .collect();
    let latencies = |of: fn(&crate::Percentiles) -> f64| -> Vec<_> {
        let ticks = ticks.iter().filter(|tick| tick.latency.count > 0);
        ticks.map(|tick| (tick.at, of(&tick.latency))).collect()
    };
    let memory = ticks.iter();
    let memory: Vec<_> = memory
        .filter_map(|tick| Some((tick.at, tick.rss? as f64)))
        .collect();
    DriftReport {
        samples: ticks.len(),
        enough: ticks.len() >= ENOUGH,
        memory: drift(&memory, soak.max_memory_drift),
        p50: drift(&latencies(|latency| latency.p50_ms), soak.max_latency_drift),
        p99: drift(&latencies(|latency| latency.p99_ms), soak.max_latency_drift),
    }
}

fn pairs(points: &[(f64, f64)]) -> impl Iterator<Item = ((f64, f64), (f64, f64))> {
    let after = |i: usize| points[i + 1..].iter().copied();
    let pairs = points.iter().enumerate();
    pairs.flat_map(move |(i, &a)| after(i).map(move |b| (a, b)))
}

fn thin(samples: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = samples.len().div_ceil(MOST).max(1);
    let middle = |group: &[(f64, f64)]| {
        let mut values: Vec<f64> = group.iter().map(|sample| sample.1).collect();
        let at = group.iter().map(|sample| sample.0).sum::<f64>() / group.len() as f64;
        median(&mut values).map(|value| (at, value))
    };
    samples.chunks(group).filter_map(middle).collect()
}

fn median(values: &mut [f64]) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let (below, &mut upper, _) = values.select_nth_unstable_by(values.len() / 2, f64::total_cmp);
    if last % 2 == 0 {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(count: usize, slope: f64) -> Vec<(f64, f64)> {
        (0..count)
            .map(|i| (i as f64, 1000.0 + slope * i as f64))
            .collect()
    }

    #[test]
    fn a_leak_is_found_and_a_stable_server_is_not_blamed() {
        let leak = drift(&line(100, 2.0), 0.1).unwrap();
        assert!(leak.exceeded, "{leak:?}");
        assert!((leak.relative - 198.0 / 1099.0).abs() < 1e-9, "{leak:?}");
        assert_eq!(leak.per_hour, 7200.0);
        assert!(
            !drift(&line(100, 0.5), 0.1).unwrap().exceeded,
            "below the limit"
        );
        assert!(
            !drift(&line(100, -9.0), 0.1).unwrap().exceeded,
            "it shrinks"
        );
        assert!(
            !drift(&line(ENOUGH - 1, 90.0), 0.1).unwrap().exceeded,
            "too few samples"
        );
        assert!(drift(&line(ENOUGH, 90.0), 0.1).unwrap().exceeded);
        assert_eq!(drift(&[], 0.1), None);
        assert_eq!(drift(&[(1.0, 1.0)], 0.1), None);
        assert_eq!(drift(&[(1.0, 0.0), (2.0, 0.0)], 0.1), None);
    }

    #[test]
    fn many_samples_are_put_together() {
        let drift = drift(&line(100_000, 0.01), 0.5).unwrap();
        assert!((drift.relative - 1000.0 / 1500.0).abs() < 0.01, "{drift:?}");
        assert!(drift.exceeded);
    }

    #[test]
    fn mann_and_kendall_by_hand() {
        // Ten rising values: S = 45, variance 10 × 9 × 25 / 18 = 125.
        let z = mann_kendall(&line(10, 1.0));
        assert!((z - 44.0 / 125f64.sqrt()).abs() < 1e-9, "{z}");
        assert_eq!(mann_kendall(&line(10, 0.0)), 0.0);
        assert_eq!(mann_kendall(&[]), 0.0);
    }

    proptest! {
        #[test]
        fn a_quarter_of_outliers_changes_little(
            slope in -10.0f64..10.0,
            outliers in proptest::collection::vec((0usize..60, -1e6f64..1e6), 0..12),
        ) {
            let mut points = line(60, slope);
            for (at, value) in outliers {
                points[at].1 = value;
            }
            // Less than 29 % are off: the slope is still among those of the untouched pairs.
            let found = theil_sen(&points).unwrap();
            prop_assert!((found - slope).abs() < 1e-6, "{found} {slope}");
        }

        #[test]
        fn shifting_and_stretching_does_what_it_should(
            values in proptest::collection::vec(0.0f64..100.0, 2..40),
            shift in -50.0f64..50.0,
            factor in 0.1f64..10.0,
        ) {
            let points = |of: &dyn Fn(f64) -> f64| -> Vec<_> {
                values.iter().enumerate().map(|(i, v)| (i as f64, of(*v))).collect()
            };
            let plain = theil_sen(&points(&|v| v)).unwrap();
            let moved = theil_sen(&points(&|v| v * factor + shift)).unwrap();
            prop_assert!((moved - plain * factor).abs() < 1e-6);
            let turned = theil_sen(&points(&|v| -v)).unwrap();
            prop_assert!((turned + plain).abs() < 1e-9);
        }

        #[test]
        fn the_median_is_the_middle(mut values in proptest::collection::vec(-1e3f64..1e3, 1..50)) {
            let middle = median(&mut values).unwrap();
            let below = values.iter().filter(|v| **v < middle).count();
            let above = values.iter().filter(|v| **v > middle).count();
            prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
        }
    }
}
