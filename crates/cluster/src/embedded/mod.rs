//! The engine that keeps everything in this process's memory.

mod config;
mod log;
mod offsets;
mod sessions;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use config::EmbeddedConfig;
use log::Log;
use offsets::Epoch;
use sessions::Sessions;

use crate::{
    NotRecovered, Offset, Reply, Restored, SessionRecord, Store, StoreError, StoreStats,
    StoredPacket,
};

/// A [`Store`] in memory: survives lost connections, not the process.
///
/// One value serves all shards of a process. Packets of different namespaces do not wait for each
/// other; within a namespace they are put in order under a lock that is held for about the time
/// of two hash lookups. All answers are there at once.
///
/// ```
/// use std::sync::Arc;
/// use sockeye_cluster::{Embedded, EmbeddedConfig, SessionRecord, Store, StoredPacket};
///
/// // The epoch tells this process's offsets from those of the one before it.
/// let store = Embedded::new(EmbeddedConfig::default(), 0x5eed_0f_7157);
/// let event = |data: &'static str| Arc::new(StoredPacket { data: data.into(), ..Default::default() });
/// let seen = store.append("/", event("[\"a\"]"), 0).into_ready().unwrap().unwrap();
/// let session = SessionRecord { pid: "p".into(), namespace: "/".into(), ..Default::default() };
/// store.save_session(session, 10, 120_000).into_ready().unwrap().unwrap();
/// let _ = store.append("/", event("[\"b\"]"), 20);
///
/// let restored = store.restore("/", "p", Some(seen.as_str()), 30).into_ready().unwrap().unwrap();
/// assert_eq!(restored.missed[0].packet.data, "[\"b\"]");
/// ```
#[derive(Debug)]
pub struct Embedded {
    config: EmbeddedConfig,
    epoch: Epoch,
    /// The last number given out, in any namespace: so no offset is one in two of them.
    counter: AtomicU64,
    namespaces: RwLock<HashMap<Box<str>, Arc<Namespace>>>,
    packets: AtomicUsize,
    bytes: AtomicUsize,
    sessions: Mutex<Sessions>,
}

#[derive(Debug)]
struct Namespace {
    log: Mutex<Log>,
    /// A copy of the log's, to be read without its lock.
    bytes: AtomicUsize,
    packets: AtomicUsize,
}

impl Embedded {
    /// An empty store. `epoch` must differ from that of every earlier store whose clients may
    /// still be around: the time of the start and some random bits will do.
    pub fn new(config: EmbeddedConfig, epoch: u64) -> Self {
        Self {
            sessions: Mutex::new(Sessions::new(&config)),
            config,
            epoch: Epoch::new(epoch),
            counter: AtomicU64::new(0),
            namespaces: RwLock::default(),
            packets: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// The limits.
    pub fn config(&self) -> &EmbeddedConfig {
        &self.config
    }

    /// Drops the packets of a namespace that has been closed for good. Sessions in it can no longer
    /// be recovered.
    pub fn forget_namespace(&self, namespace: &str) {
        let mut namespaces = self
            .namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = namespaces.remove(namespace) {
            self.change(&gone, Log::close);
        }
    }

    fn namespace(&self, name: &str) -> Arc<Namespace> {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = namespaces.get(name) {
            return Arc::clone(namespace);
        }
        drop(namespaces);
        let mut namespaces = self
            .namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = namespaces.get(name) {
            return Arc::clone(namespace);
        }
        let namespace = Arc::new(Namespace {
            log: Mutex::new(Log::new(self.next())),
            bytes: AtomicUsize::new(0),
            packets: AtomicUsize::new(0),
        });
        namespaces.insert(name.into(), Arc::clone(&namespace));
        namespace
    }

    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Changes a log and brings the gauges up to date.
    fn change<R>(&self, namespace: &Namespace, change: impl FnOnce(&mut Log) -> R) -> R {
        let mut log = lock(&namespace.log);
        let before = (log.len(), log.bytes());
        let result = change(&mut log);
        // Wrapping, so that one addition does for growth and shrinkage.
        self.packets
            .fetch_add(log.len().wrapping_sub(before.0), Ordering::Relaxed);
        self.bytes
            .fetch_add(log.bytes().wrapping_sub(before.1), Ordering::Relaxed);
        namespace.packets.store(log.len(), Ordering::Relaxed);
        namespace.bytes.store(log.bytes(), Ordering::Relaxed);
        result
    }

    fn is_over_total(&self, share: usize) -> bool {
        let (packets, bytes) = (self.config.max_packets, self.config.max_bytes);
        self.packets.load(Ordering::Relaxed) > packets - packets / 64 * share
            || self.bytes.load(Ordering::Relaxed) > bytes - bytes / 64 * share
    }

    /// The namespaces that hold most give up their oldest, until a little more than needed is free:
    /// so that this is not done for each packet.
    fn trim_total(&self) {
        while self.is_over_total(1) {
            let over_bytes = self.bytes.load(Ordering::Relaxed)
                > self.config.max_bytes - self.config.max_bytes / 64;
            let namespaces = self
                .namespaces
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            let size = |namespace: &Arc<Namespace>| {
                let gauge = if over_bytes {
                    &namespace.bytes
                } else {
                    &namespace.packets
                };
                gauge.load(Ordering::Relaxed)
            };
            let Some(largest) = namespaces.values().max_by_key(|n| size(n)).cloned() else {
                return;
            };
            drop(namespaces);
            let trimmed = self.change(&largest, |log| {
                let before = log.len();
                // A quarter at most, then another namespace may be the largest.
                let keep = before - before.div_ceil(4);
                log.trim_while(|log| log.len() > keep);
                before - log.len()
            });
            if trimmed == 0 {
                return; // somebody else has trimmed it meanwhile
            }
        }
    }

    fn take(
        &self,
        namespace: &str,
        pid: &str,
        now_ms: u64,
    ) -> Result<sessions::Saved, NotRecovered> {
        lock(&self.sessions).take(namespace, pid, now_ms)
    }
}

impl Store for Embedded {
    fn append(
        &self,
        namespace: &str,
        packet: Arc<StoredPacket>,
        now_ms: u64,
    ) -> Reply<Result<Offset, StoreError>> {
        let counter = loop {
            let namespace = self.namespace(namespace);
            let pushed = self.change(&namespace, |log| {
                // Under the lock, so that the log is in the order of the numbers.
                let counter = self.next();
                log.push(counter, &packet, now_ms, &self.config)
                    .then_some(counter)
            });
            // A log that was closed after it had been looked up is not in the map any more.
            if let Some(counter) = pushed {
                break counter;
            }
        };
        if self.is_over_total(0) {
            self.trim_total();
        }
        Reply::ready(Ok(self.epoch.offset(counter)))
    }

    fn head(&self, namespace: &str) -> Reply<Result<Offset, StoreError>> {
        let namespace = self.namespace(namespace);
        let head = lock(&namespace.log).head();
        Reply::ready(Ok(self.epoch.offset(head)))
    }

    fn save_session(
        &self,
        session: SessionRecord,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Reply<Result<(), StoreError>> {
        Reply::ready(lock(&self.sessions).save(session, now_ms, ttl_ms))
    }

    fn restore(
        &self,
        namespace: &str,
        pid: &str,
        offset: Option<&str>,
        now_ms: u64,
    ) -> Reply<Result<Restored, NotRecovered>> {
        let saved = match self.take(namespace, pid, now_ms) {
            Ok(saved) => saved,
            Err(reason) => return Reply::ready(Err(reason)),
        };
        let position = match self.epoch.position(&saved, offset) {
            Ok(position) => position,
            Err(reason) => return Reply::ready(Err(reason)),
        };
        let namespace = self.namespace(namespace);
        let found = lock(&namespace.log).missed(&saved, position, &self.config, &self.epoch);
        Reply::ready(found.map(|(missed, head)| Restored {
            session: saved.record,
            saved_at_ms: saved.at_ms,
            missed,
            head: self.epoch.offset(head),
        }))
    }

    fn mark_lossy(
        &self,
        namespace: &str,
        pid: &str,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Reply<Result<(), StoreError>> {
        lock(&self.sessions).mark_lossy(namespace, pid, now_ms, ttl_ms);
        Reply::ready(Ok(()))
    }

    fn forget(&self, namespace: &str, pid: &str) -> Reply<Result<(), StoreError>> {
        lock(&self.sessions).forget(namespace, pid);
        Reply::ready(Ok(()))
    }

    fn sweep(&self, now_ms: u64) -> Reply<Result<(), StoreError>> {
        lock(&self.sessions).sweep(now_ms);
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Arc<Namespace>> = namespaces.values().cloned().collect();
        drop(namespaces);
        let mut idle = 0;
        for namespace in all {
            idle += usize::from(self.change(&namespace, |log| {
                log.expire(now_ms, &self.config);
                log.is_idle(now_ms, &self.config)
            }));
        }
        if idle > 0 {
            let mut namespaces = self
                .namespaces
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            // A log that somebody holds at this moment may be about to get a packet.
            namespaces.retain(|_, namespace| {
                Arc::strong_count(namespace) > 1
                    || !lock(&namespace.log).is_idle(now_ms, &self.config)
            });
            namespaces.shrink_to_fit();
        }
        Reply::ready(Ok(()))
    }

    fn stats(&self) -> StoreStats {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        let sessions = lock(&self.sessions);
        StoreStats {
            sessions: sessions.len(),
            session_bytes: sessions.bytes(),
            tombstones: sessions.tombstones(),
            namespaces,
            packets: self.packets.load(Ordering::Relaxed),
            packet_bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// A panic while a lock was held can only be one of memory running out, before anything was
/// changed: what the lock guards is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
