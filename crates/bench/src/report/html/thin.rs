//! Fewer ticks than were recorded, so that a plot of hours stays a plot.

use crate::latency::Percentiles;
use crate::timeline::Tick;
use std::collections::BTreeMap;

/// As many neighbours are put together as make at most `most` ticks for each stage.
pub(super) fn thin(ticks: &[Tick], most: usize) -> Vec<Tick> {
    let group = ticks.len().div_ceil(most.max(1)).max(1);
    ticks
        .chunk_by(|a, b| a.stage == b.stage)
        .flat_map(|stage| stage.chunks(group))
        .map(together)
        .collect()
}

fn together(ticks: &[Tick]) -> Tick {
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
        return Tick::default();
    };
    if ticks.len() == 1 {
        return first.clone();
    }
    let mut buckets = BTreeMap::new();
    for (value, count) in ticks.iter().flat_map(|tick| &tick.buckets) {
        *buckets.entry(*value).or_insert(0u64) += count;
    }
    let seconds: f64 = ticks.iter().map(|tick| tick.seconds).sum();
    let cores = ticks
        .iter()
        .map(|tick| tick.server_cores.map(|cores| cores * tick.seconds));
    let cores = cores
        .sum::<Option<f64>>()
        .map(|busy| busy / seconds.max(1e-9));
    Tick {
        at: first.at,
        seconds,
        stage: first.stage,
        connections: last.connections,
        set_up: ticks.iter().map(|tick| tick.set_up).sum(),
        sent: ticks.iter().map(|tick| tick.sent).sum(),
        received: ticks.iter().map(|tick| tick.received).sum(),
        errors: ticks.iter().map(|tick| tick.errors).sum(),
        latency: percentiles(&buckets),
        buckets: buckets.into_iter().collect(),
        server_cores: cores,
        rss: last.rss,
    }
}

fn percentiles(buckets: &BTreeMap<u64, u64>) -> Percentiles {
    let count: u64 = buckets.values().sum();
    if count == 0 {
        return Percentiles::default();
    }
    let at = |quantile: f64| {
        let wanted = ((quantile * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (value, count) in buckets {
            seen += count;
            if seen >= wanted {
                return *value as f64 / 1e6;
            }
        }
        0.0
    };
    let sum: f64 = buckets.iter().map(|(v, n)| *v as f64 * *n as f64).sum();
    Percentiles {
        count,
        mean_ms: sum / count as f64 / 1e6,
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: at(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_adds_up() {
        let ticks: Vec<Tick> = (0..1000)
            .map(|index| Tick {
                at: f64::from(index),
                seconds: 1.0,
                stage: if index < 10 {
                    "connecting"
                } else {
                    "measuring"
                },
                connections: index as u32,
                received: 2,
                errors: 1,
                buckets: vec![(1_000_000, 1), (u64::from(index as u32) * 1_000_000, 1)],
                server_cores: Some(0.5),
                ..Tick::default()
            })
            .collect();
        let few = thin(&ticks, 100);
        assert!((100..=102).contains(&few.len()), "{}", few.len());
        assert_eq!(few.iter().map(|tick| tick.received).sum::<u64>(), 2000);
        assert_eq!(few.iter().map(|tick| tick.errors).sum::<u64>(), 1000);
        let last = few.last().unwrap();
        assert_eq!((last.at, last.connections), (990.0, 999));
        assert_eq!((last.latency.count, last.latency.max_ms), (20, 999.0));
        assert!((last.server_cores.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(last.latency.p50_ms, 1.0);
        assert_eq!(thin(&ticks, 5000).len(), 1000);
        assert!(thin(&[], 10).is_empty());
    }
}
