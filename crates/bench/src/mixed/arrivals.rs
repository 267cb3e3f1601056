//! How many clients there shall be, and when the next one comes: pure functions of time.

use std::time::Duration;

/// How many clients have come in `elapsed` of a phase whose rate goes evenly from `from` to `to`
/// a second over `duration`.
#[cfg(test)]
fn arrived(from: f64, to: f64, duration: Duration, elapsed: Duration) -> f64 {
    let (time, whole) = (elapsed.as_secs_f64(), duration.as_secs_f64());
    from * time + (to - from) * time * time / (2.0 * whole)
}

/// When client `number` of a phase comes, the first (0) at its beginning, in nanoseconds since
/// the phase began. It depends on nothing that happened before.
pub(crate) fn arrival(from: f64, to: f64, duration: Duration, number: u64) -> u64 {
    let count = number as f64;
    let slope = (to - from) / duration.as_secs_f64();
    // The root of slope/2·t² + from·t = count, in the form that does not cancel out. Before the
    // end of the phase the rate is positive, and so is what is under the root; beyond it the
    // rate may fall below zero, and nobody comes.
    let under = from * from + 2.0 * slope * count;
    if under < 0.0 {
        return u64::MAX;
    }
    let seconds = 2.0 * count / (from + under.sqrt());
    (seconds * 1e9) as u64
}

/// How many clients a phase wants at a time, `base` before it; and after how many nanoseconds
/// since its beginning that changes next.
pub(crate) fn wanted(base: u32, count: u32, ramp: Duration, elapsed_ns: u64) -> (u32, Option<u64>) {
    let ramp = ramp.as_nanos() as u64;
    let all = base.abs_diff(count);
    if elapsed_ns >= ramp || all == 0 {
        return (count, None);
    }
    // Below the ramp's nanoseconds, so that the product fits.
    let done = (u128::from(all) * u128::from(elapsed_ns) / u128::from(ramp)) as u32;
    let next = (u128::from(done + 1) * u128::from(ramp)).div_ceil(u128::from(all)) as u64;
    let now = match count > base {
        true => base + done,
        false => base - done,
    };
    (now, Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_steady_rate_is_evenly_spaced() {
        for number in 0..100 {
            let at = arrival(10.0, 10.0, Duration::from_secs(10), number);
            assert!(at.abs_diff(number * SECOND / 10) < 10, "{number}: {at}");
        }
    }

    #[test]
    fn a_ramp_of_clients_is_even_in_both_directions() {
        let ramp = Duration::from_secs(10);
        let table = [
            // base, count, at, wanted, next change
            (0, 10, 0, 0, Some(SECOND)),
            (0, 10, SECOND - 1, 0, Some(SECOND)),
            (0, 10, SECOND, 1, Some(2 * SECOND)),
            (10, 0, 5 * SECOND, 5, Some(6 * SECOND)),
            (3, 3, SECOND, 3, None),
            (0, 10, 10 * SECOND, 10, None),
        ];
        for (base, count, at, expected, next) in table {
            assert_eq!(
                wanted(base, count, ramp, at),
                (expected, next),
                "{base} {count} {at}"
            );
        }
        assert_eq!(wanted(5, 50, Duration::ZERO, 0), (50, None));
    }

    proptest! {
        /// Client `n` comes when, by the rate, `n` have come.
        #[test]
        fn arrivals_follow_the_rate(
            from in 0.1f64..1000.0, to in 0.1f64..1000.0, seconds in 1u64..1000, share in 0.0f64..1.0,
        ) {
            let duration = Duration::from_secs(seconds);
            let total = arrived(from, to, duration, duration);
            let number = (total * share) as u64;
            let at = arrival(from, to, duration, number);
            let elapsed = Duration::from_nanos(at);
            let count = arrived(from, to, duration, elapsed);
            prop_assert!((count - number as f64).abs() < 1e-3 * total.max(1.0), "{count} {number}");
            prop_assert!(arrival(from, to, duration, number + 1) >= at);
        }

        /// The count changes exactly when it is announced to, by one at least.
        #[test]
        fn changes_are_announced(
            base in 0u32..10_000, count in 0u32..10_000, ms in 1u64..100_000, share in 0.0f64..1.0,
        ) {
            let ramp = Duration::from_millis(ms);
            let at = (ramp.as_nanos() as f64 * share) as u64;
            let (now, next) = wanted(base, count, ramp, at);
            prop_assert!((base.min(count)..=base.max(count)).contains(&now));
            if let Some(next) = next {
                prop_assert!(next > at);
                prop_assert_eq!(wanted(base, count, ramp, next - 1).0, now);
                prop_assert_ne!(wanted(base, count, ramp, next).0, now);
            }
        }
    }
}
