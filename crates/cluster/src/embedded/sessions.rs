//! Sessions of sockets that have gone, and the memory of those that cannot return.

use std::collections::{BTreeMap, HashMap};

use super::EmbeddedConfig;
use crate::{NotRecovered, SessionRecord, StoreError};

/// What a session costs besides its contents: its place in the map and in the order of expiry.
const OVERHEAD: usize = 384;
/// What each of its rooms costs besides the name.
const ROOM_OVERHEAD: usize = 32;

#[derive(Debug)]
pub(super) struct Sessions {
    by_pid: HashMap<Box<str>, State>,
    live: BTreeMap<Order, Box<str>>,
    gone: BTreeMap<Order, Box<str>>,
    bytes: usize,
    sequence: u64,
    max: usize,
    max_bytes: usize,
    max_ttl_ms: u64,
}

/// When it expires, and a number that makes it unique.
type Order = (u64, u64);

#[derive(Debug)]
struct State {
    order: Order,
    namespace: Box<str>,
    kept: Result<Box<Saved>, NotRecovered>,
}

/// A session and when it was saved.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) record: SessionRecord,
    pub(super) at_ms: u64,
}

impl Sessions {
    pub(super) fn new(config: &EmbeddedConfig) -> Self {
        Self {
            by_pid: HashMap::new(),
            live: BTreeMap::new(),
            gone: BTreeMap::new(),
            bytes: 0,
            sequence: 0,
            max: config.max_sessions,
            max_bytes: config.max_session_bytes,
            max_ttl_ms: config.max_disconnection_ms,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn tombstones(&self) -> usize {
        self.gone.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn save(
        &mut self,
        record: SessionRecord,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Result<(), StoreError> {
        let order = self.order(now_ms, ttl_ms);
        let pid = record.pid.clone();
        let namespace = record.namespace.clone();
        let was_lossy = self.remove(&pid).is_some_and(|state| {
            matches!(state.kept, Err(NotRecovered::Lossy)) && state.order.0 > now_ms
        });
        if record.lossy || was_lossy {
            self.bury(pid, namespace, order, NotRecovered::Lossy);
            return Ok(());
        }
        if cost(&record) > self.max_bytes || self.max == 0 {
            self.bury(pid, namespace, order, NotRecovered::Limit);
            return Err(StoreError::TooLarge);
        }
        self.bytes += cost(&record);
        self.live.insert(order, pid.clone());
        let kept = Ok(Box::new(Saved {
            record,
            at_ms: now_ms,
        }));
        self.by_pid.insert(
            pid,
            State {
                order,
                namespace,
                kept,
            },
        );
        while self.live.len() > self.max || self.bytes > self.max_bytes {
            let Some((_, pid)) = self.live.first_key_value() else {
                break;
            };
            let pid = pid.clone();
            let Some(state) = self.remove(&pid) else {
                break;
            };
            self.bury(pid, state.namespace, state.order, NotRecovered::Limit);
        }
        Ok(())
    }

    pub(super) fn take(
        &mut self,
        namespace: &str,
        pid: &str,
        now_ms: u64,
    ) -> Result<Saved, NotRecovered> {
        match self.by_pid.get(pid) {
            Some(state) if *state.namespace == *namespace => {
                state.kept.as_ref().map_err(|reason| *reason)?;
            }
            _ => return Err(NotRecovered::UnknownSession),
        }
        let Some(state) = self.remove(pid) else {
            return Err(NotRecovered::UnknownSession);
        };
        let is_expired = state.order.0 <= now_ms;
        let reason = if is_expired {
            NotRecovered::Expired
        } else {
            NotRecovered::Taken
        };
        self.bury(pid.into(), state.namespace, state.order, reason);
        match state.kept {
            Ok(saved) if !is_expired => Ok(*saved),
            _ => Err(reason),
        }
    }

    pub(super) fn mark_lossy(&mut self, namespace: &str, pid: &str, now_ms: u64, ttl_ms: u64) {
        if self
            .by_pid
            .get(pid)
            .is_some_and(|state| *state.namespace != *namespace)
        {
            return;
        }
        let order = match self.remove(pid) {
            Some(State {
                order, kept: Ok(_), ..
            }) => order,
            _ => self.order(now_ms, ttl_ms),
        };
        self.bury(pid.into(), namespace.into(), order, NotRecovered::Lossy);
    }

    pub(super) fn forget(&mut self, namespace: &str, pid: &str) {
        if self
            .by_pid
            .get(pid)
            .is_some_and(|state| *state.namespace == *namespace)
        {
            self.remove(pid);
        }
    }

    /// A session that has expired is remembered for as long again as a session may be kept.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        while let Some((order, pid)) = self.gone.first_key_value()
            && order.0 <= now_ms
        {
            let pid = pid.clone();
            self.remove(&pid);
        }
        while let Some((order, pid)) = self.live.first_key_value()
            && order.0 <= now_ms
        {
            let pid = pid.clone();
            let Some(state) = self.remove(&pid) else {
                break;
            };
            let order = (state.order.0.saturating_add(self.max_ttl_ms), state.order.1);
            if order.0 > now_ms {
                self.bury(pid, state.namespace, order, NotRecovered::Expired);
            }
        }
        if self.by_pid.len() < self.by_pid.capacity() / 4 {
            self.by_pid.shrink_to(self.by_pid.len() * 2);
        }
    }

    fn order(&mut self, now_ms: u64, ttl_ms: u64) -> Order {
        self.sequence += 1;
        (
            now_ms.saturating_add(ttl_ms.min(self.max_ttl_ms)),
            self.sequence,
        )
    }

    fn remove(&mut self, pid: &str) -> Option<State> {
        let state = self.by_pid.remove(pid)?;
        match &state.kept {
            Ok(saved) => {
                self.live.remove(&state.order);
                self.bytes -= cost(&saved.record);
            }
            Err(_) => {
                self.gone.remove(&state.order);
            }
        }
        Some(state)
    }

    fn bury(&mut self, pid: Box<str>, namespace: Box<str>, order: Order, reason: NotRecovered) {
        self.gone.insert(order, pid.clone());
        self.by_pid.insert(
            pid,
            State {
                order,
                namespace,
                kept: Err(reason),
            },
        );
        while self.gone.len() > self.max {
            let Some((_, pid)) = self.gone.pop_first() else {
                break;
            };
            self.by_pid.remove(&pid);
        }
    }
}

fn cost(record: &SessionRecord) -> usize {
    OVERHEAD + record.len() + record.rooms.len() * ROOM_OVERHEAD
}
