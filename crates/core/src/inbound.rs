//! Events of one socket that wait for its handler: in order, bounded.

use std::collections::VecDeque;

/// What to do with an event that has arrived.
#[derive(Debug)]
pub enum Admission<E> {
    /// No handler of this socket runs: run this one now.
    Run(E),
    /// It waits for its turn.
    Waiting,
}

/// Whether a handler runs, and what waits for it.
///
/// The bound is a threshold for reading, not for keeping: an event that has arrived is never
/// dropped. Beyond the bound the connection stops being read, so that at most what one read
/// brings is kept on top of it.
#[derive(Debug)]
pub struct Inbound<E> {
    busy: bool,
    waiting: Option<Box<Waiting<E>>>,
}

#[derive(Debug)]
struct Waiting<E> {
    events: VecDeque<(E, usize)>,
    bytes: usize,
}

impl<E> Default for Inbound<E> {
    fn default() -> Self {
        Inbound {
            busy: false,
            waiting: None,
        }
    }
}

impl<E> Inbound<E> {
    /// Takes in an event of `bytes` bytes.
    pub fn admit(&mut self, event: E, bytes: usize) -> Admission<E> {
        if !self.busy {
            self.busy = true;
            return Admission::Run(event);
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::new(Waiting {
                events: VecDeque::new(),
                bytes: 0,
            })
        });
        waiting.events.push_back((event, bytes));
        waiting.bytes += bytes;
        Admission::Waiting
    }

    /// Marks the socket as busy with something that is not an event (its connection handler).
    pub fn occupy(&mut self) {
        self.busy = true;
    }

    /// The running handler has finished: the next event to run, if any.
    pub fn take_next(&mut self) -> Option<E> {
        let Some(waiting) = &mut self.waiting else {
            self.busy = false;
            return None;
        };
        let next = waiting.events.pop_front();
        waiting.bytes -= next.as_ref().map_or(0, |(_, bytes)| *bytes);
        if waiting.events.is_empty() {
            self.waiting = None;
        }
        self.busy = next.is_some();
        next.map(|(event, _)| event)
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.waiting
            .as_ref()
            .map_or(0, |waiting| waiting.events.len())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    /// Whether more waits than the bounds allow, so that reading must stop.
    pub fn is_over(&self, max_events: usize, max_bytes: usize) -> bool {
        let over = |w: &Waiting<E>| w.events.len() >= max_events || w.bytes >= max_bytes;
        self.waiting.as_deref().is_some_and(over)
    }

    /// Whether so little waits that reading may go on: half the bounds.
    pub fn is_relaxed(&self, max_events: usize, max_bytes: usize) -> bool {
        !self.is_over(max_events.div_ceil(2), max_bytes.div_ceil(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_run_one_at_a_time_and_in_order(steps in proptest::collection::vec(any::<bool>(), 0..80)) {
            let mut inbound = Inbound::default();
            let (mut sent, mut ran, mut running) = (0, Vec::new(), false);
            for arrives in steps {
                if arrives {
                    match inbound.admit(sent, 1) {
                        Admission::Run(event) => {
                            prop_assert!(!running);
                            running = true;
                            ran.push(event);
                        }
                        Admission::Waiting => prop_assert!(running),
                    }
                    sent += 1;
                } else if running {
                    match inbound.take_next() {
                        Some(event) => ran.push(event),
                        None => running = false,
                    }
                }
            }
            while running {
                match inbound.take_next() {
                    Some(event) => ran.push(event),
                    None => running = false,
                }
            }
            prop_assert_eq!(ran, (0..sent).collect::<Vec<_>>());
            prop_assert!(inbound.is_empty());
        }
    }

    #[test]
    fn reading_stops_at_the_bound_and_resumes_at_half() {
        let mut inbound = Inbound::default();
        for n in 0..5 {
            let _ = inbound.admit(n, 10);
        }
        assert!(inbound.is_over(4, 1000));
        assert!(inbound.is_over(100, 40));
        assert!(!inbound.is_over(5, 41));
        inbound.take_next();
        inbound.take_next();
        assert!(!inbound.is_relaxed(4, 1000));
        inbound.take_next();
        assert!(inbound.is_relaxed(4, 1000));
    }
}
