//! A few publishers, many receivers.

use super::{Desk, Driver, End};
use crate::plan::Pace;
use crate::schedule::Schedule;
use crate::stamp::{Kind, Stamp};
use std::collections::VecDeque;

/// Most messages whose completion an open loop follows per publisher; the oldest is let go.
const MAX_FOLLOWED: usize = 4096;

#[derive(Debug)]
pub(crate) struct Fanout {
    /// The connection of each publisher.
    publishers: Vec<u32>,
    /// By room, those that count.
    receivers: Vec<u32>,
    pace: Pace,
    schedule: Option<Schedule>,
    followed: Vec<Followed>,
    /// Whether publishers hear themselves.
    echoing: bool,
}

/// Messages of one publisher that have not reached everyone.
#[derive(Debug, Default)]
struct Followed {
    /// Sequence number of the first of `remaining`.
    first: u32,
    /// Receivers that each message has yet to reach.
    remaining: VecDeque<u32>,
}

impl Fanout {
    /// The first `publishers` of the `ready` connections publish, all in the same room receive;
    /// rooms are taken in turn by number. Without rooms there is one.
    pub(crate) fn new(ready: &[u32], publishers: u32, rooms: u32, pace: Pace) -> Self {
        let publishers = ready[..ready.len().min(publishers as usize)].to_vec();
        let mut receivers = vec![0; rooms.max(1) as usize];
        for &index in ready {
            receivers[room(index, rooms) as usize] += 1;
        }
        Self {
            receivers,
            pace,
            schedule: None,
            followed: publishers.iter().map(|_| Followed::default()).collect(),
            publishers,
            echoing: true,
        }
    }

    /// Publishers do not hear themselves.
    pub(crate) fn deafen(&mut self) {
        self.echoing = false;
    }

    /// The connection of each publisher.
    pub(crate) fn publishers(&self) -> &[u32] {
        &self.publishers
    }

    /// The room of each publisher.
    pub(crate) fn rooms(&self) -> Vec<u32> {
        let rooms = self.receivers.len() as u32;
        let publishers = self.publishers.iter();
        publishers.map(|&index| room(index, rooms)).collect()
    }

    fn publish(&mut self, publisher: usize, time_ns: u64, desk: &mut Desk) {
        let stamp = Stamp {
            kind: Kind::Broadcast,
            publisher: 0,
            sequence: 0,
            time_ns,
        };
        let followed = &mut self.followed[publisher];
        if followed.remaining.len() == MAX_FOLLOWED {
            followed.remaining.pop_front();
            followed.first += 1;
        }
        let room = room(self.publishers[publisher], self.receivers.len() as u32);
        let others = self.receivers[room as usize].saturating_sub(u32::from(!self.echoing));
        followed.remaining.push_back(others);
        desk.send(self.publishers[publisher], publisher as u32, stamp);
    }
}

/// The room of a connection.
pub(crate) fn room(connection: u32, rooms: u32) -> u32 {
    connection % rooms.max(1)
}

impl Driver for Fanout {
    fn start(&mut self, desk: &mut Desk) {
        match self.pace {
            Pace::Window(window) => {
                for publisher in 0..self.publishers.len() {
                    for _ in 0..window.max(1) {
                        self.publish(publisher, desk.now, desk);
                    }
                }
            }
            // All may publish in other processes.
            Pace::PerSecond(_) if self.publishers.is_empty() => {}
            Pace::PerSecond(rate) => self.schedule = Some(Schedule::new(rate, desk.now)),
        }
    }

    fn message(&mut self, receiver: u32, stamp: Stamp, desk: &mut Desk) {
        if desk.is_slow(receiver) {
            return;
        }
        let publisher = stamp.publisher as usize;
        // Others publish in other processes.
        let Some(followed) = self.followed.get_mut(publisher) else {
            return;
        };
        let Some(index) = stamp.sequence.checked_sub(followed.first) else {
            return;
        };
        let Some(remaining) = followed.remaining.get_mut(index as usize) else {
            return;
        };
        *remaining = remaining.saturating_sub(1);
        if *remaining > 0 {
            return;
        }
        while followed.remaining.front() == Some(&0) {
            followed.remaining.pop_front();
            followed.first += 1;
        }
        if desk.window.contains(&stamp.time_ns) {
            desk.completion
                .record(desk.now.saturating_sub(stamp.time_ns));
        }
        if desk.sending && matches!(self.pace, Pace::Window(_)) {
            self.publish(publisher, desk.now, desk);
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.schedule.as_ref().map(Schedule::next_due)
    }

    fn due(&mut self, desk: &mut Desk) {
        let Some(mut schedule) = self.schedule else {
            return;
        };
        while let Some((number, due)) = schedule.take(desk.now) {
            desk.late.record(desk.now - due);
            self.publish((number % self.publishers.len() as u64) as usize, due, desk);
        }
        self.schedule = Some(schedule);
    }

    fn gone(&mut self, connection: u32, _end: End, desk: &mut Desk) {
        if !desk.is_slow(connection) {
            let room = room(connection, self.receivers.len() as u32);
            let receivers = &mut self.receivers[room as usize];
            *receivers = receivers.saturating_sub(1).max(1);
        }
    }

    fn stalled(&mut self, desk: &mut Desk) {
        if matches!(self.pace, Pace::Window(_)) {
            for followed in &mut self.followed {
                followed.first += followed.remaining.len() as u32;
                followed.remaining.clear();
            }
            self.start(desk);
        }
    }
}
