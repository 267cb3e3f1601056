/// How far above its expectation a measurement may be before it is a loss.
const LOSS: f64 = 0.02;
/// How far below: a gain that nobody writes down would hide the next loss.
const GAIN: f64 = 0.025;

/// What something costs, where it is not exact to the last unit.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// What it is, with its unit.
    pub what: &'static str,
    /// What it costs.
    pub expected: f64,
}

impl Budget {
    /// Panics when `measured` is more than a fiftieth above the expectation, and when it is so far
    /// below it that a loss of a twentieth from there would not be noticed.
    #[track_caller]
    pub fn check(&self, measured: f64) {
        let Budget { what, expected } = self;
        println!("{what}: {measured:.1} (expected {expected})");
        assert!(
            measured <= expected * (1.0 + LOSS),
            "{what}: {measured:.1}, which is more than the {expected} it should cost"
        );
        assert!(
            measured >= expected * (1.0 - GAIN),
            "{what}: only {measured:.1} instead of {expected}: lower the expectation, so that \
             this stays so"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        what: "something",
        expected: 1000.0,
    };

    #[test]
    fn small_differences_pass() {
        for measured in [976.0, 1000.0, 1019.0] {
            BUDGET.check(measured);
        }
    }

    #[test]
    #[should_panic(expected = "more than the 1000")]
    fn a_loss_of_a_twentieth_is_noticed() {
        BUDGET.check(1050.0);
    }

    #[test]
    #[should_panic(expected = "more than the 1000")]
    fn a_loss_of_a_twentieth_is_noticed_after_any_gain_that_passes() {
        BUDGET.check((1000.0 * (1.0 - GAIN) + 0.001) * 1.05);
    }

    #[test]
    #[should_panic(expected = "lower the expectation")]
    fn a_gain_is_to_be_written_down() {
        BUDGET.check(950.0);
    }
}
