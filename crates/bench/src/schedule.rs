//! When the messages of an open loop are due, whether or not the server keeps up.

/// A fixed rate from a start on. The time of message `i` depends on nothing that happened before
/// it: a late generator or a stalled server shifts no later message, and latency is counted from
/// the time a message was due. That is the correction for coordinated omission.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    issued: u64,
    /// Messages issued at earlier rates.
    before: u64,
}

impl Schedule {
    /// A schedule of `per_second` messages a second, the first at `start_ns`.
    ///
    /// A rate that is not a positive number counts as one message a second.
    pub fn new(per_second: f64, start_ns: u64) -> Self {
        Self {
            start_ns,
            interval_ns: interval(per_second),
            issued: 0,
            before: 0,
        }
    }

    /// Changes the rate. What part of an interval has passed counts at the new rate as well: many
    /// changes shift no message. What is due must have been taken.
    pub fn set_rate(&mut self, per_second: f64, now_ns: u64) {
        let left = self.next_due().saturating_sub(now_ns) as f64 / self.interval_ns;
        self.interval_ns = interval(per_second);
        self.start_ns = now_ns + (left.min(1.0) * self.interval_ns) as u64;
        self.before += self.issued;
        self.issued = 0;
    }

    /// When the next message is due.
    pub fn next_due(&self) -> u64 {
        self.start_ns + (self.issued as f64 * self.interval_ns) as u64
    }

    /// Number and due time of the next message, if it is due at `now_ns`.
    pub fn take(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        let due = self.next_due();
        if due > now_ns {
            return None;
        }
        self.issued += 1;
        Some((self.before + self.issued - 1, due))
    }
}

fn interval(per_second: f64) -> f64 {
    if per_second.is_finite() && per_second > 0.0 {
        1e9 / per_second
    } else {
        1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;
    use proptest::prelude::*;

    #[test]
    fn a_stall_is_charged_to_every_message_it_held_up() {
        // 100 messages a second for ten seconds; the server answers at once but for one second,
        // from 5 s to 6 s, in which the loop that sends and receives is stuck as well.
        let mut schedule = Schedule::new(100.0, 0);
        let mut latency = Latency::new();
        let mut naive = Latency::new();
        let mut now = 0;
        while now < 10_000_000_000 {
            if (5_000_000_000..6_000_000_000).contains(&now) {
                now = 6_000_000_000;
            }
            while let Some((_, due)) = schedule.take(now) {
                latency.record(now - due);
                naive.record(0);
            }
            now = schedule.next_due();
        }
        assert_eq!(latency.count(), 1000);
        let figures = latency.percentiles();
        // A hundred of a thousand waited, evenly between 0 and 1 s.
        assert!((figures.max_ms - 1000.0).abs() < 2.0, "{figures:?}");
        assert!((figures.p99_ms - 900.0).abs() < 15.0, "{figures:?}");
        assert!(figures.p50_ms < 0.01, "{figures:?}");
        assert!((latency.above(500_000_000) as i64 - 50).abs() <= 2);
        assert!(
            naive.percentiles().p99_ms < 0.01,
            "counted from sending, the stall is invisible"
        );
    }

    proptest! {
        #[test]
        fn messages_are_due_in_order_and_at_the_rate(
            rate in 0.5f64..1e6,
            start in 0u64..1 << 50,
            steps in proptest::collection::vec(0u64..10_000_000, 1..50),
        ) {
            let mut schedule = Schedule::new(rate, start);
            let (mut now, mut last, mut count) = (start, start, 0u64);
            for step in steps {
                now += step;
                while let Some((number, due)) = schedule.take(now) {
                    prop_assert_eq!(number, count);
                    prop_assert!(due >= last && due <= now);
                    (last, count) = (due, count + 1);
                }
                let expected = (now - start) as f64 * rate / 1e9 + 1.0;
                prop_assert!((count as f64 - expected).abs() <= 1.01);
            }
        }

        /// However often the rate changes, what is sent is what the rates add up to.
        #[test]
        fn changes_of_rate_lose_nothing(
            steps in proptest::collection::vec((1u64..50_000_000, 1.0f64..5000.0), 1..300),
        ) {
            let mut schedule = Schedule::new(100.0, 0);
            let (mut now, mut rate, mut expected, mut count) = (0, 100.0, 1.0, 0u64);
            for (step, next) in steps {
                now += step;
                expected += step as f64 * rate / 1e9;
                while let Some((number, due)) = schedule.take(now) {
                    prop_assert_eq!(number, count);
                    prop_assert!(due <= now);
                    count += 1;
                }
                prop_assert!((count as f64 - expected).abs() <= 1.01, "{count} {expected}");
                schedule.set_rate(next, now);
                rate = next;
            }
        }

        #[test]
        fn no_rate_divides_by_zero(rate: f64) {
            prop_assert!(Schedule::new(rate, 5).take(5).is_some());
        }
    }
}
