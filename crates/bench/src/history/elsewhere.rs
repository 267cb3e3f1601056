//! Publishers in other processes: what they published is known only at the end.

use super::History;

/// Published elsewhere, and nobody has told how much.
pub(super) const UNTOLD: u32 = u32::MAX;

impl History {
    /// Notes that all publishers but the first `own` publish in other processes. What arrives of
    /// them is judged as it comes; what is missing, once [`History::told`] says how much there
    /// was.
    pub(crate) fn expect_others(&mut self, own: usize) {
        if let Some(others) = self.published.get_mut(own..) {
            others.fill(UNTOLD);
        }
    }

    /// Notes that messages of so many more publishers, numbered after all others, belong to
    /// receivers of other processes: one that arrives here is misdelivered.
    pub(crate) fn expect_strangers(&mut self, strangers: u32) {
        self.strangers = strangers;
    }

    /// How many messages each of the first `own` publishers has published.
    pub(crate) fn published_by(&self, own: usize) -> Vec<u32> {
        self.published.iter().take(own).copied().collect()
    }

    /// Notes how many messages a publisher of another process has published.
    ///
    /// What arrived beyond that number was never published.
    pub(crate) fn told(&mut self, publisher: u32, count: u32) {
        let Some(published) = self.published.get_mut(publisher as usize) else {
            return;
        };
        *published = count;
        for receiver in 0..self.receivers {
            if !self.is_due(receiver, publisher) {
                continue;
            }
            let lane = self.lane(receiver, publisher);
            let lane = &mut self.lanes[lane];
            if lane.next <= count {
                continue;
            }
            let gone = lane.absent();
            if let Some(gaps) = &mut lane.gaps {
                gaps.0.retain_mut(|gap| {
                    gap.to = gap.to.min(count);
                    gap.from < gap.to
                });
            }
            let beyond = u64::from(lane.next - count) - (gone - lane.absent());
            lane.next = count;
            self.faults.corrupt += beyond;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Audience, Faults, Verdict};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_missing_of_others_until_they_told() {
        let mut history = History::new(Audience::Everyone, 2, 2);
        history.expect_others(1);
        history.publish(0);
        assert_eq!(history.missing(), 2);
        assert_eq!(history.receive(0, 1, 0), Verdict::InOrder);
        assert_eq!(history.receive(0, 1, 2), Verdict::Ahead);
        assert_eq!(history.receive(0, 1, 2), Verdict::Duplicate);
        assert_eq!(history.missing(), 2 + 1, "and the gap that is known");
        history.told(1, 4);
        assert_eq!(history.missing(), 2 + 2 + 4);
    }

    #[test]
    fn who_was_never_heard_of_publishes_nothing() {
        let mut history = History::new(Audience::Sender, 2, 2);
        history.expect_strangers(3);
        history.publish(0);
        assert_eq!(history.receive(0, 4, 0), Verdict::Misdelivered);
        assert_eq!(history.receive(0, 5, 0), Verdict::Unknown);
        let faults = history.faults();
        assert_eq!((faults.misdelivered, faults.corrupt), (1, 1));
    }

    proptest! {
        /// What is told late comes to the same as what is known from the start, but that order
        /// beyond the end cannot be judged.
        #[test]
        fn told_late_is_known_early(
            published in 0u32..30,
            arrivals in proptest::collection::vec(0u32..36, 0..60),
        ) {
            let mut early = History::new(Audience::Everyone, 1, 1);
            (0..published).for_each(|_| { early.publish(0); });
            let mut late = History::new(Audience::Everyone, 1, 1);
            late.expect_others(0);
            let mut beyond = std::collections::HashSet::new();
            for &sequence in &arrivals {
                if sequence < published || beyond.insert(sequence) {
                    early.receive(0, 0, sequence);
                    late.receive(0, 0, sequence);
                }
            }
            late.told(0, published);
            let (early, late) = (early.faults(), late.faults());
            let judged = |faults: Faults| (faults.lost, faults.duplicated, faults.corrupt);
            prop_assert_eq!(judged(early), judged(late));
            prop_assert!(late.reordered >= early.reordered);
        }
    }
}
