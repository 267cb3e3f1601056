//! The recoverable packets of one namespace.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::EmbeddedConfig;
use super::offsets::{Epoch, Position};
use super::sessions::Saved;
use crate::{Missed, NotRecovered, StoredPacket};

/// What a packet costs besides its contents: the two allocations, its place in the log and in the
/// index of each of its rooms.
const OVERHEAD: usize = 192;
const ROOM_OVERHEAD: usize = 96;

/// Packets in order, oldest first, and for each room which of them went there: so a recovery costs
/// what it brings, not what is kept.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    to_all: VecDeque<u64>,
    by_room: HashMap<Box<str>, VecDeque<u64>>,
    /// The newest position of which packets may be missing; at first, a number given to no packet.
    floor: u64,
    /// When the newest of the packets that are gone was appended.
    floor_ms: u64,
    /// When the newest packet was appended.
    newest_ms: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Entry {
    counter: u64,
    at_ms: u64,
    packet: Arc<StoredPacket>,
}

impl Log {
    pub(super) fn new(floor: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            to_all: VecDeque::new(),
            by_room: HashMap::new(),
            floor,
            floor_ms: 0,
            newest_ms: 0,
            is_closed: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Places in the indexes by room.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.to_all.len()
            + self
                .by_room
                .values()
                .map(|places| places.len().max(1))
                .sum::<usize>()
    }

    /// The number of the newest packet, kept or not.
    pub(super) fn head(&self) -> u64 {
        self.entries
            .back()
            .map_or(self.floor, |entry| entry.counter)
    }

    /// `counter` is greater than any before. A packet too large to be kept empties the log: nobody
    /// who has not seen it can be recovered, so nothing before it is of use. `false` when the log was
    /// closed.
    pub(super) fn push(
        &mut self,
        counter: u64,
        packet: &Arc<StoredPacket>,
        now_ms: u64,
        config: &EmbeddedConfig,
    ) -> bool {
        if self.is_closed {
            return false;
        }
        self.expire(now_ms, config);
        self.newest_ms = self.newest_ms.max(now_ms);
        self.bytes += cost(packet);
        if packet.rooms.is_empty() {
            self.to_all.push_back(counter);
        }
        for room in &packet.rooms {
            match self.by_room.get_mut(room) {
                Some(counters) => counters.push_back(counter),
                None => {
                    self.by_room.insert(room.clone(), VecDeque::from([counter]));
                }
            }
        }
        // Of shards whose clocks were read in another order than they came here, the later one.
        let at_ms = self.newest_ms;
        self.entries.push_back(Entry {
            counter,
            at_ms,
            packet: Arc::clone(packet),
        });
        let limit = config.max_bytes_per_namespace.min(config.max_bytes);
        let count = config.max_packets_per_namespace.min(config.max_packets);
        self.trim_while(|log| log.bytes > limit || log.entries.len() > count);
        true
    }

    pub(super) fn expire(&mut self, now_ms: u64, config: &EmbeddedConfig) {
        let age = config.max_disconnection_ms.saturating_add(config.settle_ms);
        self.trim_while(|log| {
            log.entries
                .front()
                .is_some_and(|oldest| now_ms.saturating_sub(oldest.at_ms) > age)
        });
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
            self.to_all.shrink_to(self.to_all.len() * 2);
            self.by_room.shrink_to(self.by_room.len() * 2);
        }
    }

    pub(super) fn is_idle(&self, now_ms: u64, config: &EmbeddedConfig) -> bool {
        self.entries.is_empty() && now_ms.saturating_sub(self.newest_ms) > config.namespace_idle_ms
    }

    /// Drops everything, and takes nothing any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.trim_while(|_| true);
    }

    /// Drops the oldest packet for as long as `is_over`.
    pub(super) fn trim_while(&mut self, is_over: impl Fn(&Self) -> bool) {
        while !self.entries.is_empty() && is_over(self) {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= cost(&oldest.packet);
            self.floor = oldest.counter;
            self.floor_ms = oldest.at_ms;
            if oldest.packet.rooms.is_empty() {
                self.to_all.pop_front();
            }
            for room in &oldest.packet.rooms {
                // A room may be named twice, and is gone then.
                let Some(counters) = self.by_room.get_mut(room) else {
                    continue;
                };
                while counters
                    .front()
                    .is_some_and(|counter| *counter <= oldest.counter)
                {
                    counters.pop_front();
                }
                if counters.is_empty() {
                    self.by_room.remove(room);
                } else if counters.len() < counters.capacity() / 4 {
                    counters.shrink_to(counters.len() * 2);
                }
            }
        }
    }

    /// What a session has missed since `position`, and the position now.
    pub(super) fn missed(
        &self,
        saved: &Saved,
        position: Position,
        config: &EmbeddedConfig,
        epoch: &Epoch,
    ) -> Result<(Vec<Missed>, u64), NotRecovered> {
        self.check(saved, position, config)?;
        let (id, rooms) = (&saved.record.socket_id, &saved.record.rooms);
        let own = std::iter::once(id).chain(rooms);
        let indexes = own
            .filter_map(|room| self.by_room.get(room))
            .chain([&self.to_all]);
        let mut counters = Vec::new();
        for index in indexes {
            let from = index.partition_point(|counter| *counter <= position.counter);
            if index.len() - from > config.max_missed_packets.saturating_mul(2) {
                return Err(NotRecovered::Limit);
            }
            counters.extend(index.range(from..));
        }
        counters.sort_unstable();
        counters.dedup();
        let rooms: std::collections::HashSet<&str> =
            rooms.iter().chain([id]).map(|room| &**room).collect();
        let (mut missed, mut bytes) = (Vec::new(), 0);
        for counter in counters {
            let Some(entry) = self.find(counter) else {
                continue;
            };
            if entry
                .packet
                .except
                .iter()
                .any(|room| rooms.contains(&**room))
            {
                continue;
            }
            bytes += entry.packet.len();
            if missed.len() >= config.max_missed_packets || bytes > config.max_missed_bytes {
                return Err(NotRecovered::Limit);
            }
            let packet = Arc::clone(&entry.packet);
            missed.push(Missed {
                offset: epoch.offset(counter),
                packet,
            });
        }
        Ok((missed, self.head()))
    }

    fn check(
        &self,
        saved: &Saved,
        position: Position,
        config: &EmbeddedConfig,
    ) -> Result<(), NotRecovered> {
        if position.counter == self.floor {
            return Ok(());
        }
        if position.counter > self.floor {
            let known = self.find(position.counter).is_some();
            return if known {
                Ok(())
            } else {
                Err(NotRecovered::UnknownOffset)
            };
        }
        // Packets are gone that are newer than what the client has seen. But if it has all that was
        // ever queued to it, and each of the packets that are gone had been queued to all it was
        // meant for before this session was saved, none of them was meant for it.
        let settled = self.floor_ms.saturating_add(config.settle_ms) <= saved.at_ms;
        if position.is_complete && settled {
            return Ok(());
        }
        Err(NotRecovered::Trimmed)
    }

    fn find(&self, counter: u64) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by_key(&counter, |entry| entry.counter)
            .ok()?;
        self.entries.get(at)
    }
}

fn cost(packet: &StoredPacket) -> usize {
    let rooms = packet.rooms.len().max(1) + packet.except.len();
    OVERHEAD + packet.len() + rooms * ROOM_OVERHEAD + packet.attachments.len() * 32
}
