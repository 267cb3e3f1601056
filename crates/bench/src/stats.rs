//! Figures of repeated runs.

/// Median, lowest and highest of some runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one; the mean of the two in the middle if their number is even.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// `None` if there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&low, &high) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Self { median, low, high })
    }

    /// Distance of the highest from the lowest, as a share of the median.
    pub fn relative(&self) -> f64 {
        if self.median == 0.0 {
            0.0
        } else {
            (self.high - self.low) / self.median
        }
    }
}

/// Which runs to keep when other work disturbed some: those with less than `limit`, but never
/// fewer than the `least` quietest.
pub fn quiet(disturbance: &[f64], limit: f64, least: usize) -> Vec<bool> {
    let mut sorted = disturbance.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = least.min(sorted.len()).checked_sub(1);
    let allowed = last.map_or(limit, |last| sorted[last].max(limit));
    disturbance.iter().map(|&value| value <= allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(
            odd,
            Spread {
                median: 2.0,
                low: 1.0,
                high: 3.0
            }
        );
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
        assert_eq!(odd.relative(), 1.0);
    }

    #[test]
    fn disturbed_runs_are_left_out_while_enough_are_left() {
        assert_eq!(
            quiet(&[0.1, 0.9, 0.2, 0.1], 0.25, 3),
            [true, false, true, true]
        );
        assert_eq!(
            quiet(&[0.5, 0.9, 0.2, 0.6], 0.25, 3),
            [true, false, true, true]
        );
        assert_eq!(quiet(&[0.5, 0.9], 0.25, 3), [true, true]);
        assert!(quiet(&[], 0.25, 3).is_empty());
    }
}
