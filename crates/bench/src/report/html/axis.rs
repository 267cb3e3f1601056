//! Scales: from values to a place between 0 and 1, and where the marks go.

/// One axis of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Axis {
    Linear { low: f64, high: f64, unit: f64 },
    Logarithmic { low: f64, high: f64 },
}

impl Axis {
    /// From zero to the highest value, rounded up to a mark.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        Self::upwards(values, |_| 1.0)
    }

    /// The same for bytes, with marks that are round in KiB, MiB or GiB.
    pub(super) fn of_bytes(values: impl Iterator<Item = f64>) -> Self {
        let units = [1.0, 1024.0, 1_048_576.0, 1_073_741_824.0];
        Self::upwards(values, |high| {
            let fitting = units.into_iter().rev().find(|unit| *unit <= high);
            fitting.unwrap_or(1.0)
        })
    }

    fn upwards(values: impl Iterator<Item = f64>, unit: impl Fn(f64) -> f64) -> Self {
        let high = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let high = if high > 1e-9 { high } else { 1.0 };
        let unit = unit(high);
        let step = step(high / unit) * unit;
        Self::Linear {
            low: 0.0,
            high: (high / step).ceil() * step,
            unit,
        }
    }

    /// Exactly this range.
    pub(super) fn exact(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self::Linear {
            low,
            high,
            unit: 1.0,
        }
    }

    /// Whole decades around all positive values.
    pub(super) fn decades(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if high == 0.0 {
            (low, high) = (0.1, 1.0);
        }
        // No wider than nanoseconds to years.
        let low = 10f64.powf(low.log10().floor().clamp(-9.0, 12.0));
        let high = 10f64.powf(high.log10().ceil().clamp(-9.0, 12.0));
        Self::Logarithmic {
            low,
            high: if high > low { high } else { low * 10.0 },
        }
    }

    /// Where a value lies: 0 at the low end, 1 at the high one, never outside.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match *self {
            Self::Linear { low, high, .. } => (value - low) / (high - low),
            Self::Logarithmic { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        };
        if place.is_finite() {
            place.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// The values to mark.
    pub(super) fn marks(&self) -> Vec<f64> {
        match *self {
            Self::Linear { low, high, unit } => {
                let step = step((high - low) / unit) * unit;
                let first = (low / step).ceil() as i64;
                // A step is at least a tenth of the range; rounding adds one at most.
                (0..12)
                    .map(|index| (first + index) as f64 * step)
                    .take_while(|mark| *mark <= high + step * 1e-6)
                    .collect()
            }
            Self::Logarithmic { low, high } => {
                let decades = (high / low).log10().round() as i32;
                let parts: &[f64] = if decades <= 2 {
                    &[1.0, 2.0, 5.0]
                } else {
                    &[1.0]
                };
                (0..=decades)
                    .flat_map(|decade| parts.iter().map(move |part| (decade, *part)))
                    .map(|(decade, part)| low * 10f64.powi(decade) * part)
                    .filter(|mark| *mark <= high * 1.000_001)
                    .collect()
            }
        }
    }
}

/// A round distance of marks, of which four to nine make the range.
fn step(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = match rough / power {
        share if share < 1.5 => 1.0,
        share if share < 3.5 => 2.0,
        share if share < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_round() {
        let axis = Axis::from_zero([3.0, 47.0].into_iter());
        assert_eq!(axis.marks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        let mib = 1_048_576.0;
        let axis = Axis::of_bytes([1.0, 2.7 * mib].into_iter());
        assert_eq!(axis.marks()[..3], [0.0, 0.5 * mib, mib]);
        let axis = Axis::decades([0.3, 47.0, 0.0].into_iter());
        assert_eq!(axis.marks(), [0.1, 1.0, 10.0, 100.0]);
        let near = Axis::decades([2.0, 4.0].into_iter());
        assert_eq!(near.marks(), [1.0, 2.0, 5.0, 10.0]);
    }

    proptest! {
        #[test]
        fn every_value_has_its_place(values in proptest::collection::vec(any::<f64>(), 0..20)) {
            for axis in [
                Axis::from_zero(values.iter().copied()),
                Axis::decades(values.iter().copied()),
            ] {
                let marks = axis.marks();
                prop_assert!((2..=13).contains(&marks.len()) || marks.len() <= 22, "{axis:?}");
                for value in values.iter().chain(&marks) {
                    prop_assert!((0.0..=1.0).contains(&axis.place(*value)));
                }
                prop_assert!(axis.place(1.0) <= axis.place(2.0));
            }
        }
    }
}
