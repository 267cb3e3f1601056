//! What is counted while a scenario runs.

use super::plan::{EventId, Mix};
use crate::latency::Latency;

#[derive(Debug)]
pub(crate) struct Figures {
    /// By [`EventId`].
    pub(crate) events: Vec<EventFigures>,
    /// From coming to the joined namespace.
    pub(crate) connect: Latency,
    /// From publishing to each member.
    pub(crate) delivery: Latency,
    /// All acknowledgements of the events.
    pub(crate) ack: Latency,
    pub(crate) came: u64,
    pub(crate) finished: u64,
    pub(crate) most: u32,
    /// Clients that should have come when there were as many as there may be.
    pub(crate) not_started: u64,
    /// Connections attempted, and those that were there.
    pub(crate) attempts: u64,
    pub(crate) connected: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) late_acks: u64,
    pub(crate) double_acks: u64,
    pub(crate) unasked_acks: u64,
    /// What happened since this was last cleared.
    pub(crate) fresh: Fresh,
}

/// What the timeline has not heard of yet.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    pub(crate) sent: u64,
    /// When what was acknowledged or delivered had been due, and whether it is measured.
    pub(crate) received: Vec<(u64, bool)>,
    /// How late the generator was.
    pub(crate) late: Vec<u64>,
    pub(crate) unrelated: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct EventFigures {
    pub(crate) sent: u64,
    /// Sent with the wish for an acknowledgement.
    pub(crate) asked: u64,
    pub(crate) acked: u64,
    /// Acknowledged with an error.
    pub(crate) refused: u64,
    /// Not acknowledged in time.
    pub(crate) missing: u64,
    pub(crate) latency: Latency,
}

impl Figures {
    pub(crate) fn new(mix: &Mix) -> Self {
        Self {
            events: vec![EventFigures::default(); mix.events.len()],
            connect: Latency::new(),
            delivery: Latency::new(),
            ack: Latency::new(),
            came: 0,
            finished: 0,
            most: 0,
            not_started: 0,
            attempts: 0,
            connected: 0,
            published: 0,
            delivered: 0,
            late_acks: 0,
            double_acks: 0,
            unasked_acks: 0,
            fresh: Fresh::default(),
        }
    }

    pub(crate) fn event(&mut self, event: EventId) -> &mut EventFigures {
        &mut self.events[event.0]
    }

    /// What went wrong, and out of how many attempts: connections and messages. `errors` are
    /// those of connections.
    pub(crate) fn wrong(&self, errors: u64) -> (u64, u64) {
        let (mut wrong, mut all) = (0, 0);
        for event in &self.events {
            wrong += event.missing + event.refused;
            all += event.sent;
        }
        (
            wrong + errors + self.not_started,
            all + self.attempts + self.not_started,
        )
    }
}
