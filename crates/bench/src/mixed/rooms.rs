//! Rooms as the generator's own clients know them: who is due which message.
//!
//! Messages of a room are numbered in the order in which they were published; the number is the
//! sequence of their stamp. A member is due what was published from the acknowledgement of its
//! `join` until it sends `leave` or ends its connection. What is on its way at either border may
//! arrive or not. A message of a publisher that was cut off before anybody had it, or that the
//! server refused, is due to nobody.

use crate::history::{Faults, Verdict};
use std::collections::{HashMap, VecDeque};

/// Messages of a room whose publishers are remembered. A member that is further behind than this
/// when it leaves has lost what is beyond.
const MAX_LOG: usize = 1 << 16;
/// Gaps remembered per member and room; beyond it the oldest is given up as lost.
const MAX_GAPS: usize = 4096;
/// Publishers remembered per member and room before those of forgotten messages are let go.
const MAX_PUBLISHERS: usize = 4096;

/// All rooms, and what went wrong in them.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    names: HashMap<String, u32>,
    rooms: Vec<Room>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Room {
    /// Messages published so far.
    published: u32,
    /// The last of them.
    log: VecDeque<Published>,
}

#[derive(Debug, Clone, Copy)]
struct Published {
    publisher: u32,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nobody has it yet.
    Open,
    /// The server has it: it was acknowledged or delivered.
    Confirmed,
    /// Due to nobody.
    Void,
}

/// A message of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) room: u32,
    pub(crate) number: u32,
}

/// One member's view of a room.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) room: u32,
    /// Messages before it were published before the join was sent, and are not followed.
    start: u32,
    /// The first message that is due, once the join is acknowledged.
    due_from: Option<u32>,
    /// The first that is due no more, once `leave` is sent.
    due_to: Option<u32>,
    /// Everything before it has arrived or is in `gaps`.
    next: u32,
    /// Missing numbers, ascending and disjoint; the end is excluded.
    gaps: VecDeque<(u32, u32)>,
    /// The last message of each publisher.
    last: HashMap<u32, u32>,
}

impl Rooms {
    /// The number of a room.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.names.get(name) {
            return number;
        }
        let number = self.rooms.len() as u32;
        self.names.insert(name.to_owned(), number);
        self.rooms.push(Room::default());
        number
    }

    /// A client sends its `join`.
    pub(crate) fn join(&self, room: u32) -> Member {
        let published = self.rooms[room as usize].published;
        Member {
            room,
            start: published,
            due_from: None,
            due_to: None,
            next: published,
            gaps: VecDeque::new(),
            last: HashMap::new(),
        }
    }

    /// The server has acknowledged it.
    pub(crate) fn joined(&self, member: &mut Member) {
        let published = self.rooms[member.room as usize].published;
        member.due_from.get_or_insert(published);
    }

    /// The client sends its `leave`.
    pub(crate) fn leave(&self, member: &mut Member) {
        let published = self.rooms[member.room as usize].published;
        member.due_to.get_or_insert(published);
    }

    /// The server has acknowledged it, or the client's connection is gone: counts what is lost
    /// for sure, which is what later messages of the same publisher have overtaken.
    pub(crate) fn left(&mut self, mut member: Member) {
        self.leave(&mut member);
        let room = &self.rooms[member.room as usize];
        let Some(range) = member.due() else { return };
        let lost = member.missing(range, room.published);
        let lost = lost.filter(|&number| match room.of(number) {
            Some(message) if message.fate == Fate::Void => false,
            Some(message) => member
                .last
                .get(&message.publisher)
                .is_some_and(|&last| last > number),
            None => true,
        });
        self.faults.lost += lost.count() as u64;
    }

    /// The run is over: everything due must have arrived.
    pub(crate) fn end(&mut self, member: Member) {
        self.faults.lost += self.missing(&member);
    }

    /// Messages that are due to a member, have not arrived, and may still.
    pub(crate) fn missing(&self, member: &Member) -> u64 {
        let room = &self.rooms[member.room as usize];
        let Some(range) = member.due() else { return 0 };
        let void = |number| {
            room.of(number)
                .is_some_and(|message| message.fate == Fate::Void)
        };
        let missing = member.missing(range, room.published);
        missing.filter(|&number| !void(number)).count() as u64
    }

    /// A client publishes. `member` is its own membership, if it has one and its messages shall
    /// not come back to it.
    pub(crate) fn publish(
        &mut self,
        room: u32,
        publisher: u32,
        member: Option<&mut Member>,
    ) -> Message {
        let state = &mut self.rooms[room as usize];
        let number = state.published;
        state.published += 1;
        if state.log.len() == MAX_LOG {
            state.log.pop_front();
        }
        state.log.push_back(Published {
            publisher,
            fate: Fate::Open,
        });
        if let Some(member) = member {
            self.arrive(member, number);
        }
        Message { room, number }
    }

    /// The server has a message.
    pub(crate) fn confirm(&mut self, message: Message) {
        self.decide(message, Fate::Confirmed);
    }

    /// A message is due to nobody, unless somebody has it already.
    pub(crate) fn void(&mut self, message: Message) {
        self.decide(message, Fate::Void);
    }

    fn decide(&mut self, message: Message, fate: Fate) {
        if let Some(published) = self.rooms[message.room as usize].of_mut(message.number)
            && published.fate == Fate::Open
        {
            published.fate = fate;
        }
    }

    /// Judges a message that arrived at `member`, or at a client that is none, and counts it if
    /// it is a fault.
    pub(crate) fn receive(
        &mut self,
        member: Option<&mut Member>,
        message: Message,
        publisher: u32,
        own: bool,
    ) -> Verdict {
        let verdict = self.judge(member, message, publisher, own);
        match verdict {
            Verdict::Unknown => self.faults.corrupt += 1,
            Verdict::Misdelivered => self.faults.misdelivered += 1,
            Verdict::Duplicate => self.faults.duplicated += 1,
            Verdict::Late => self.faults.reordered += 1,
            Verdict::InOrder | Verdict::Ahead => {}
        }
        verdict
    }

    fn judge(
        &mut self,
        member: Option<&mut Member>,
        message: Message,
        publisher: u32,
        own: bool,
    ) -> Verdict {
        let Some(room) = self.rooms.get_mut(message.room as usize) else {
            return Verdict::Unknown;
        };
        if message.number >= room.published {
            return Verdict::Unknown;
        }
        if let Some(published) = room.of_mut(message.number) {
            if published.publisher != publisher {
                return Verdict::Unknown;
            }
            published.fate = Fate::Confirmed;
        }
        let Some(member) = member else {
            return Verdict::Misdelivered;
        };
        if own {
            return Verdict::Misdelivered;
        }
        if message.number < member.start {
            return Verdict::InOrder;
        }
        if !self.arrive(member, message.number) {
            return Verdict::Duplicate;
        }
        let forgotten = self.rooms[member.room as usize].forgotten();
        member.remember(publisher, message.number, forgotten)
    }

    /// Whether a message arrives for the first time.
    fn arrive(&mut self, member: &mut Member, number: u32) -> bool {
        let first = member.arrive(number);
        while member.gaps.len() > MAX_GAPS {
            let Some((from, to)) = member.gaps.pop_front() else {
                break;
            };
            let room = &self.rooms[member.room as usize];
            let due_from = member.due_from.unwrap_or(u32::MAX);
            let due_to = member.due_to.unwrap_or(u32::MAX);
            let lost = (from.max(due_from)..to.min(due_to)).filter(|&number| {
                room.of(number)
                    .is_none_or(|message| message.fate != Fate::Void)
            });
            self.faults.lost += lost.count() as u64;
        }
        first
    }

    /// Counts a message whose stamp cannot be read.
    pub(crate) fn damaged(&mut self) {
        self.faults.corrupt += 1;
    }

    /// What went wrong so far, without what is still on its way.
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }
}

impl Room {
    /// The first message that is remembered.
    fn forgotten(&self) -> u32 {
        self.published - self.log.len() as u32
    }

    fn of(&self, number: u32) -> Option<&Published> {
        self.log.get(number.checked_sub(self.forgotten())? as usize)
    }

    fn of_mut(&mut self, number: u32) -> Option<&mut Published> {
        let index = number.checked_sub(self.forgotten())? as usize;
        self.log.get_mut(index)
    }
}

impl Member {
    /// What is due: from the first to before the last; `None` if the join was never acknowledged.
    fn due(&self) -> Option<(u32, Option<u32>)> {
        self.due_from.map(|from| (from, self.due_to))
    }

    fn missing(&self, (from, to): (u32, Option<u32>), published: u32) -> impl Iterator<Item = u32> {
        let to = to.unwrap_or(published).min(published);
        let tail = (self.next, published);
        let gaps = self.gaps.iter().copied().chain([tail]);
        gaps.flat_map(move |(start, end)| start.max(from)..end.min(to))
    }

    fn arrive(&mut self, number: u32) -> bool {
        if number >= self.next {
            if number > self.next {
                self.gaps.push_back((self.next, number));
            }
            self.next = number + 1;
            return true;
        }
        let index = self.gaps.partition_point(|&(_, to)| to <= number);
        let Some(&(from, to)) = self.gaps.get(index).filter(|(from, _)| *from <= number) else {
            return false;
        };
        self.gaps.remove(index);
        if number + 1 < to {
            self.gaps.insert(index, (number + 1, to));
        }
        if from < number {
            self.gaps.insert(index, (from, number));
        }
        true
    }

    /// Whether the publisher's messages arrive in order.
    fn remember(&mut self, publisher: u32, number: u32, forgotten: u32) -> Verdict {
        match self.last.get_mut(&publisher) {
            Some(last) if *last > number => return Verdict::Late,
            Some(last) => *last = number,
            None => {
                if self.last.len() >= MAX_PUBLISHERS {
                    self.last.retain(|_, last| *last >= forgotten);
                }
                self.last.insert(publisher, number);
            }
        }
        Verdict::InOrder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// A room with a member who has joined.
    fn joined() -> (Rooms, Member) {
        let mut rooms = Rooms::default();
        let room = rooms.number("lobby");
        let mut member = rooms.join(room);
        rooms.joined(&mut member);
        (rooms, member)
    }

    fn publish(rooms: &mut Rooms, publisher: u32) -> Message {
        rooms.publish(0, publisher, None)
    }

    fn faults(faults: Faults) -> [u64; 5] {
        [
            faults.lost,
            faults.duplicated,
            faults.reordered,
            faults.misdelivered,
            faults.corrupt,
        ]
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let (mut rooms, mut member) = joined();
        assert_eq!(rooms.number("lobby"), 0);
        let messages: Vec<_> = (0..6).map(|_| publish(&mut rooms, 9)).collect();
        let mut receive = |number: usize, publisher, own| {
            rooms.receive(Some(&mut member), messages[number], publisher, own)
        };
        assert_eq!(receive(0, 9, false), Verdict::InOrder);
        assert_eq!(receive(2, 9, false), Verdict::InOrder);
        assert_eq!(receive(1, 9, false), Verdict::Late);
        assert_eq!(receive(1, 9, false), Verdict::Duplicate);
        assert_eq!(receive(3, 8, false), Verdict::Unknown, "by somebody else");
        assert_eq!(
            receive(3, 9, true),
            Verdict::Misdelivered,
            "back to its sender"
        );
        assert_eq!(receive(5, 9, false), Verdict::InOrder);
        let stranger = rooms.receive(None, messages[4], 9, false);
        assert_eq!(stranger, Verdict::Misdelivered);
        let elsewhere = Message { room: 7, number: 0 };
        let unknown = rooms.receive(Some(&mut member), elsewhere, 9, false);
        assert_eq!(unknown, Verdict::Unknown);
        let never = Message { room: 0, number: 6 };
        let unknown = rooms.receive(Some(&mut member), never, 9, false);
        assert_eq!(unknown, Verdict::Unknown);
        rooms.damaged();
        assert_eq!(rooms.missing(&member), 2); // 3 and 4
        rooms.end(member);
        assert_eq!(faults(rooms.faults()), [2, 1, 1, 2, 4]);
    }

    #[test]
    fn a_member_is_due_what_comes_after_its_join_and_before_its_leave() {
        let mut rooms = Rooms::default();
        let room = rooms.number("r");
        let before = publish(&mut rooms, 1);
        let mut member = rooms.join(room);
        let meanwhile = publish(&mut rooms, 1);
        rooms.joined(&mut member);
        let during = publish(&mut rooms, 1);
        rooms.leave(&mut member);
        let after = publish(&mut rooms, 1);
        // What is on its way at the borders may arrive, what is between must.
        assert_eq!(rooms.missing(&member), 1);
        for message in [before, meanwhile, during, after] {
            let verdict = rooms.receive(Some(&mut member), message, 1, false);
            assert_eq!(verdict, Verdict::InOrder, "{message:?}");
        }
        rooms.left(member);
        assert!(rooms.faults().is_clean());
    }

    #[test]
    fn who_leaves_has_lost_only_what_was_overtaken() {
        let (mut rooms, mut member) = joined();
        let first = publish(&mut rooms, 1);
        let second = publish(&mut rooms, 1);
        let _other = publish(&mut rooms, 2); // on its way
        let third = publish(&mut rooms, 1);
        let _last = publish(&mut rooms, 1); // on its way
        rooms.receive(Some(&mut member), first, 1, false);
        rooms.receive(Some(&mut member), third, 1, false);
        assert_eq!(rooms.missing(&member), 3);
        rooms.left(member);
        assert_eq!(rooms.faults().lost, 1, "{second:?}");
    }

    #[test]
    fn what_the_server_never_had_is_due_to_nobody() {
        let (mut rooms, member) = joined();
        let refused = publish(&mut rooms, 1);
        let cut_off = publish(&mut rooms, 2);
        let taken = publish(&mut rooms, 2);
        rooms.confirm(taken);
        for message in [refused, cut_off, taken] {
            rooms.void(message);
        }
        assert_eq!(rooms.missing(&member), 1);
        rooms.end(member);
        assert_eq!(rooms.faults().lost, 1);
    }

    #[test]
    fn a_publisher_is_not_due_its_own_messages() {
        let (mut rooms, mut member) = joined();
        publish(&mut rooms, 2);
        rooms.publish(0, 1, Some(&mut member));
        let last = publish(&mut rooms, 2);
        rooms.receive(Some(&mut member), last, 2, false);
        rooms.end(member);
        assert_eq!(rooms.faults().lost, 1, "the first only");
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_forgotten() {
        let (mut rooms, mut member) = joined();
        let messages = 4 * MAX_GAPS + MAX_LOG;
        for number in 0..messages {
            let message = publish(&mut rooms, 1);
            if number % 2 == 1 {
                rooms.receive(Some(&mut member), message, 1, false);
            }
        }
        assert!(member.gaps.len() <= MAX_GAPS && rooms.rooms[0].log.len() <= MAX_LOG);
        rooms.end(member);
        assert_eq!(rooms.faults().lost, messages as u64 / 2);
    }

    proptest! {
        /// Against a model that remembers everything: several publishers, any arrivals.
        #[test]
        fn agrees_with_a_model(
            publishers in proptest::collection::vec(0u32..3, 1..40),
            arrivals in proptest::collection::vec(0usize..40, 0..80),
        ) {
            let (mut rooms, mut member) = joined();
            for &publisher in &publishers {
                publish(&mut rooms, publisher);
            }
            let (mut seen, mut last) = (HashSet::new(), HashMap::new());
            let mut expected = Faults::default();
            for number in arrivals.into_iter().filter(|&number| number < publishers.len()) {
                let publisher = publishers[number];
                let message = Message { room: 0, number: number as u32 };
                let verdict = rooms.receive(Some(&mut member), message, publisher, false);
                if !seen.insert(number) {
                    expected.duplicated += 1;
                    prop_assert_eq!(verdict, Verdict::Duplicate);
                } else if last.get(&publisher).is_some_and(|&last| last > number) {
                    expected.reordered += 1;
                    prop_assert_eq!(verdict, Verdict::Late);
                } else {
                    prop_assert_eq!(verdict, Verdict::InOrder);
                    last.insert(publisher, number);
                }
            }
            expected.lost = (publishers.len() - seen.len()) as u64;
            prop_assert_eq!(rooms.missing(&member), expected.lost);
            rooms.end(member);
            prop_assert_eq!(rooms.faults(), expected);
        }
    }
}
