//! The history checker: was every message delivered, once, in order, and to whom it belongs?
//!
//! It sees what was published and what arrived, keeps one counter per pair of receiver and
//! publisher while all is well, and remembers gaps only where something is missing. It does no
//! I/O and reads no clock.
//!
//! ```
//! use sockeye_bench::{Audience, History, Verdict};
//!
//! let mut history = History::new(Audience::Everyone, 2, 1);
//! let (first, second) = (history.publish(0), history.publish(0));
//! assert_eq!(history.receive(0, 0, first), Verdict::InOrder);
//! assert_eq!(history.receive(0, 0, second), Verdict::InOrder);
//! assert_eq!(history.receive(1, 0, second), Verdict::Ahead); // the first is missing
//! assert_eq!(history.receive(1, 0, first), Verdict::Late);
//! assert_eq!(history.receive(1, 0, first), Verdict::Duplicate);
//! let faults = history.faults();
//! assert_eq!((faults.lost, faults.reordered, faults.duplicated), (0, 1, 1));
//! ```

mod elsewhere;

use elsewhere::UNTOLD;
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// Most gaps remembered per pair of receiver and publisher. Beyond it the oldest gap counts as
/// lost for good, and what still arrives of it as duplicate.
const MAX_GAPS: usize = 1024;

/// Who shall get the messages of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// The publisher alone, as in echo; receivers and publishers are the same connections.
    Sender,
    /// Every receiver.
    Everyone,
    /// The receivers marked `true`; a receiver beyond the end is not among them.
    Members(Vec<bool>),
    /// Those in the same room; a receiver or publisher beyond the end is in none.
    Rooms {
        /// The room of each receiver; `None`: in none.
        receivers: Vec<Option<u32>>,
        /// The room of each publisher.
        publishers: Vec<u32>,
    },
}

impl Audience {
    fn includes(&self, receiver: u32, publisher: u32) -> bool {
        match self {
            Self::Sender => receiver == publisher,
            Self::Everyone => true,
            Self::Members(members) => members.get(receiver as usize).copied().unwrap_or(false),
            Self::Rooms {
                receivers,
                publishers,
            } => {
                let room = receivers.get(receiver as usize).copied().flatten();
                room.is_some() && room == publishers.get(publisher as usize).copied()
            }
        }
    }
}

/// What one arrival was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The one that was expected next.
    InOrder,
    /// One after the expected one: those between are missing so far.
    Ahead,
    /// A missing one, after later ones had arrived: counted as reordered.
    Late,
    /// One that had arrived before.
    Duplicate,
    /// One that belongs to another receiver.
    Misdelivered,
    /// One that was never published.
    Unknown,
}

impl Verdict {
    /// Whether the message arrived where it should, for the first time.
    pub fn is_delivery(self) -> bool {
        matches!(self, Self::InOrder | Self::Ahead | Self::Late)
    }
}

/// Faults of a history. All zero means: everything arrived once, in order, where it belonged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Published, due at a receiver, and not arrived.
    pub lost: u64,
    /// Arrived again.
    pub duplicated: u64,
    /// Arrived after a later message of the same publisher.
    pub reordered: u64,
    /// Arrived at a receiver that should not have it.
    pub misdelivered: u64,
    /// Arrived without ever having been published, or with a stamp that cannot be read, or with
    /// content that differs from what was sent.
    pub corrupt: u64,
}

impl Faults {
    /// Whether there are none.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind with its count.
    pub fn kinds(&self) -> [(&'static str, u64); 5] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("misdelivered", self.misdelivered),
            ("corrupt", self.corrupt),
        ]
    }
}

impl Add for Faults {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            lost: self.lost + more.lost,
            duplicated: self.duplicated + more.duplicated,
            reordered: self.reordered + more.reordered,
            misdelivered: self.misdelivered + more.misdelivered,
            corrupt: self.corrupt + more.corrupt,
        }
    }
}

/// The checker.
#[derive(Debug, Clone)]
pub struct History {
    audience: Audience,
    receivers: u32,
    published: Vec<u32>,
    /// Lanes of one receiver, one for each publisher it may hear of.
    width: usize,
    /// The place of each publisher among the lanes of those that hear it.
    place: Vec<u32>,
    lanes: Vec<Lane>,
    faults: Faults,
    excused: u64,
    /// Publishers of other processes, of which nothing should arrive here.
    strangers: u32,
    /// The receiver that each publisher is itself, if it shall not hear itself.
    selves: Vec<u32>,
}

/// One receiver's view of one publisher: 16 bytes.
#[derive(Debug, Clone, Default)]
struct Lane {
    next: u32,
    /// Nothing has arrived since it joined: what was published before may or may not arrive.
    fresh: bool,
    /// It has left.
    away: bool,
    /// What it misses is no fault.
    spared: bool,
    gaps: Option<Box<Gaps>>,
}

/// Ascending and disjoint.
#[derive(Debug, Clone, Default)]
struct Gaps(Vec<Gap>);

/// Missing sequence numbers, `from` included, `to` excluded.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from: u32,
    to: u32,
}

impl History {
    /// A history in which nothing happened yet. Receivers and publishers are numbered from 0.
    ///
    /// Memory: 16 bytes for each receiver (audience [`Audience::Sender`]) or for each pair of
    /// receiver and publisher; with [`Audience::Rooms`] each receiver counts with the publishers
    /// of the room that has most of them.
    pub fn new(audience: Audience, receivers: u32, publishers: u32) -> Self {
        let mut place: Vec<u32> = (0..publishers).collect();
        let mut width = publishers as usize;
        match &audience {
            Audience::Sender => (place, width) = (Vec::new(), 1),
            Audience::Rooms { publishers, .. } => {
                let mut heads = std::collections::HashMap::new();
                for (place, room) in place.iter_mut().zip(publishers) {
                    let head = heads.entry(room).or_insert(0);
                    *place = *head;
                    *head += 1;
                }
                width = heads.values().max().map_or(0, |most| *most as usize);
            }
            _ => {}
        }
        Self {
            audience,
            receivers,
            published: vec![0; publishers as usize],
            lanes: vec![Lane::default(); receivers as usize * width],
            width,
            place,
            faults: Faults::default(),
            excused: 0,
            strangers: 0,
            selves: Vec::new(),
        }
    }

    /// Notes which receiver each publisher is, from the first on: none shall get its own messages.
    pub fn deafen(&mut self, selves: Vec<u32>) {
        self.selves = selves;
    }

    fn is_due(&self, receiver: u32, publisher: u32) -> bool {
        self.selves.get(publisher as usize) != Some(&receiver)
            && self.audience.includes(receiver, publisher)
    }

    /// Notes that a receiver leaves: what has not reached it will not, and that is no fault.
    pub fn leave(&mut self, receiver: u32) {
        for (publisher, lane) in self.lanes_of(receiver) {
            let lane = &mut self.lanes[lane];
            if !lane.away {
                let published = self.published[publisher as usize];
                self.excused += u64::from(published.saturating_sub(lane.next)) + lane.absent();
                lane.away = true;
                lane.gaps = None;
            }
        }
    }

    /// Notes that a receiver that left is back: it shall get what is published from now on, and
    /// may get what is on its way, from some message on without a gap.
    pub fn join(&mut self, receiver: u32) {
        for (publisher, lane) in self.lanes_of(receiver) {
            let lane = &mut self.lanes[lane];
            let spared = lane.spared;
            *lane = Lane {
                next: self.published[publisher as usize],
                fresh: true,
                spared,
                ..Lane::default()
            };
        }
    }

    /// Notes that what a receiver misses is no fault; what it gets is judged all the same.
    pub fn spare(&mut self, receiver: u32) {
        for (_, lane) in self.lanes_of(receiver) {
            self.lanes[lane].spared = true;
        }
    }

    /// Deliveries that receivers did not get because they left.
    pub fn excused(&self) -> u64 {
        self.excused
    }

    /// The publishers that a receiver hears, and the lane of each.
    fn lanes_of(&self, receiver: u32) -> Vec<(u32, usize)> {
        if receiver >= self.receivers {
            return Vec::new();
        }
        let publishers = match self.audience {
            Audience::Sender => receiver..receiver + 1,
            _ => 0..self.published.len() as u32,
        };
        publishers
            .filter(|&publisher| (publisher as usize) < self.published.len())
            .filter(|&publisher| self.is_due(receiver, publisher))
            .map(|publisher| (publisher, self.lane(receiver, publisher)))
            .collect()
    }

    fn lane(&self, receiver: u32, publisher: u32) -> usize {
        match self.audience {
            Audience::Sender => receiver as usize,
            _ => receiver as usize * self.width + self.place[publisher as usize] as usize,
        }
    }

    /// Notes that a publisher sends its next message and returns that message's sequence number.
    ///
    /// # Panics
    ///
    /// If there is no such publisher.
    pub fn publish(&mut self, publisher: u32) -> u32 {
        let count = &mut self.published[publisher as usize];
        *count += 1;
        *count - 1
    }

    /// Messages published so far.
    pub fn published(&self) -> u64 {
        let told = self.published.iter().filter(|count| **count != UNTOLD);
        told.map(|&count| u64::from(count)).sum()
    }

    /// Judges one arrival and counts it if it is a fault.
    pub fn receive(&mut self, receiver: u32, publisher: u32, sequence: u32) -> Verdict {
        let known = self
            .published
            .get(publisher as usize)
            .is_some_and(|&count| sequence < count);
        let count = self.published.len() as u32;
        if publisher >= count && publisher - count < self.strangers && receiver < self.receivers {
            self.faults.misdelivered += 1;
            return Verdict::Misdelivered;
        }
        if !known || receiver >= self.receivers {
            self.faults.corrupt += 1;
            return Verdict::Unknown;
        }
        if !self.is_due(receiver, publisher) {
            self.faults.misdelivered += 1;
            return Verdict::Misdelivered;
        }
        let lane = self.lane(receiver, publisher);
        let lane = &mut self.lanes[lane];
        if lane.away {
            self.faults.misdelivered += 1;
            return Verdict::Misdelivered;
        }
        let (verdict, given_up) = lane.receive(sequence);
        if lane.spared {
            self.excused += given_up;
        } else {
            self.faults.lost += given_up;
        }
        match verdict {
            Verdict::Late => self.faults.reordered += 1,
            Verdict::Duplicate => self.faults.duplicated += 1,
            _ => {}
        }
        verdict
    }

    /// Counts an arrival whose stamp or content is damaged.
    pub fn receive_damaged(&mut self) {
        self.faults.corrupt += 1;
    }

    /// The faults so far; what is still on its way counts as lost.
    pub fn faults(&self) -> Faults {
        Faults {
            lost: self.faults.lost + self.missing(),
            ..self.faults
        }
    }

    /// How many faults are certain by now, without what may still arrive.
    pub(crate) fn seen(&self) -> u64 {
        self.faults.kinds().iter().map(|(_, count)| count).sum()
    }

    /// Deliveries due that have not arrived, and may still.
    pub fn missing(&self) -> u64 {
        self.absent(false)
    }

    /// The same for receivers that are spared.
    pub fn missing_spared(&self) -> u64 {
        self.absent(true)
    }

    fn absent(&self, spared: bool) -> u64 {
        let absent = |publisher: u32, lane: usize| {
            let lane = &self.lanes[lane];
            if lane.away || lane.spared != spared {
                return 0;
            }
            match self.published[publisher as usize] {
                UNTOLD => lane.absent(),
                published => u64::from(published.saturating_sub(lane.next)) + lane.absent(),
            }
        };
        if self.audience == Audience::Sender {
            let both = self.receivers.min(self.published.len() as u32);
            return (0..both).map(|i| absent(i, i as usize)).sum();
        }
        let mut missing = 0;
        for publisher in 0..self.published.len() as u32 {
            for receiver in 0..self.receivers {
                if self.is_due(receiver, publisher) {
                    missing += absent(publisher, self.lane(receiver, publisher));
                }
            }
        }
        missing
    }
}

impl Lane {
    /// Judges one arrival; also says how many earlier messages are given up as lost because
    /// there are too many gaps to remember.
    fn receive(&mut self, sequence: u32) -> (Verdict, u64) {
        if sequence == self.next || (self.fresh && sequence < self.next) {
            self.next = sequence + 1;
            self.fresh = false;
            return (Verdict::InOrder, 0);
        }
        self.fresh = false;
        if sequence > self.next {
            let gap = Gap {
                from: self.next,
                to: sequence,
            };
            self.next = sequence + 1;
            return (Verdict::Ahead, self.remember(gap));
        }
        let Some(gaps) = &mut self.gaps else {
            return (Verdict::Duplicate, 0);
        };
        let Some(given_up) = gaps.fill(sequence) else {
            return (Verdict::Duplicate, 0);
        };
        if gaps.0.is_empty() {
            self.gaps = None;
        }
        (Verdict::Late, given_up)
    }

    fn remember(&mut self, gap: Gap) -> u64 {
        let gaps = self.gaps.get_or_insert_default();
        gaps.0.push(gap);
        gaps.forget()
    }

    fn absent(&self) -> u64 {
        let gaps = self.gaps.iter().flat_map(|gaps| gaps.0.iter());
        gaps.map(|gap| u64::from(gap.to - gap.from)).sum()
    }
}

impl Gaps {
    /// Takes a sequence number out, if it is missing; how many are given up for it.
    fn fill(&mut self, sequence: u32) -> Option<u64> {
        let gaps = &mut self.0;
        let index = gaps.partition_point(|gap| gap.to <= sequence);
        let &Gap { from, to } = gaps.get(index).filter(|gap| gap.from <= sequence)?;
        match (sequence == from, sequence + 1 == to) {
            (true, true) => drop(gaps.remove(index)),
            (true, false) => gaps[index].from = sequence + 1,
            (false, true) => gaps[index].to = sequence,
            (false, false) => {
                gaps[index].to = sequence;
                gaps.insert(
                    index + 1,
                    Gap {
                        from: sequence + 1,
                        to,
                    },
                );
            }
        }
        Some(self.forget())
    }

    /// Keeps within [`MAX_GAPS`]; how many are given up for it.
    fn forget(&mut self) -> u64 {
        if self.0.len() <= MAX_GAPS {
            return 0;
        }
        let oldest = self.0.remove(0);
        u64::from(oldest.to - oldest.from)
    }
}

#[cfg(test)]
mod tests;
