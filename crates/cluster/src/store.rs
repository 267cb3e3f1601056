//! The seam for connection state recovery.

use std::sync::Arc;

use crate::{NotRecovered, Offset, Reply, Restored, SessionRecord, StoreError, StoredPacket};

/// Keeps what connection state recovery needs.
///
/// The promise to clients is that a recovery is complete or is none: `restore` returns everything
/// that the session has missed, in order and once, or the reason why it cannot.
///
/// How a server uses it:
///
/// 1. Each recoverable event is [`append`](Store::append)ed; the offset that comes back is sent as
///    its last argument. An event goes to its sockets in the order of the offsets.
/// 2. When a socket is lost in a way that it may return from, its state is
///    [`save_session`](Store::save_session)d, after its place in its rooms has been given up, so that
///    nothing is delivered to it that its `last_offset` does not tell.
/// 3. When a client returns, it is put into its rooms, holding back what arrives there, and
///    [`restore`](Store::restore)d: what was missed is sent, and of what was held back all that is
///    greater than [`Restored::head`].
///
/// All times are milliseconds of one clock, given by the caller.
pub trait Store: Send + Sync + 'static {
    /// Appends a packet to its namespace's sequence and assigns its offset.
    ///
    /// A packet that was assigned an offset but is not kept, for its size or by any other limit, makes
    /// the recovery of everybody who has not seen it fail with [`NotRecovered::Trimmed`].
    fn append(
        &self,
        namespace: &str,
        packet: Arc<StoredPacket>,
        now_ms: u64,
    ) -> Reply<Result<Offset, StoreError>>;

    /// The position of a namespace: everything appended later has a greater offset.
    fn head(&self, namespace: &str) -> Reply<Result<Offset, StoreError>>;

    /// Keeps a session for `ttl_ms`. One that is kept already under the same pid is replaced, unless
    /// it was marked lossy.
    fn save_session(
        &self,
        session: SessionRecord,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Reply<Result<(), StoreError>>;

    /// Takes a session and what it has missed since `offset`, the last one the client has seen.
    ///
    /// Any attempt that finds the session uses it up, whatever it answers. Offset and pid may be any
    /// text at all.
    fn restore(
        &self,
        namespace: &str,
        pid: &str,
        offset: Option<&str>,
        now_ms: u64,
    ) -> Reply<Result<Restored, NotRecovered>>;

    /// Notes that an event was dropped which the session should have had: it will not be recovered,
    /// even if it is saved only after this. The note is kept for `ttl_ms`; a socket that is still
    /// connected is better marked by [`SessionRecord::lossy`] when it is saved.
    fn mark_lossy(
        &self,
        namespace: &str,
        pid: &str,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Reply<Result<(), StoreError>>;

    /// Drops a session, for instance because its user was banned.
    fn forget(&self, namespace: &str, pid: &str) -> Reply<Result<(), StoreError>>;

    /// Drops what has expired by `now_ms`. To be called every few seconds.
    fn sweep(&self, now_ms: u64) -> Reply<Result<(), StoreError>>;

    /// What is held now, as far as this process knows.
    fn stats(&self) -> StoreStats;
}

/// What a store holds; all of it falls to zero when nothing happens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Sessions that may be recovered.
    pub sessions: usize,
    /// Bytes they take.
    pub session_bytes: usize,
    /// Sessions that may not be recovered any more and whose reason is still known.
    pub tombstones: usize,
    /// Namespaces with a sequence.
    pub namespaces: usize,
    /// Packets kept.
    pub packets: usize,
    /// Bytes they take.
    pub packet_bytes: usize,
}
