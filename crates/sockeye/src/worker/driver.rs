//! The driver of a worker: one turn after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::server::ServerInner;
use crate::worker::Worker;
use crate::worker::flush::Flusher;
use crate::worker::release::Release;

/// Runs the turns of `worker`, whose thread this is, until the server is gone.
///
/// A turn begins after the connections that were readable have been read: their tasks were
/// woken before this one. It lets deadlines expire, executes what came through the inbox, and
/// writes to one batch of the connections for which something is queued.
pub(crate) async fn drive(worker: Arc<Worker>, server: Arc<ServerInner>) {
    let mut flusher = Flusher::open(&worker, server.config.io_uring);
    let sleep = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(sleep);
    let mut armed = u64::MAX;
    let mut release = Release::default();
    let mut more = false;
    loop {
        if more {
            tokio::task::yield_now().await;
        } else {
            tokio::select! {
                biased;
                () = worker.turn.notified() => {}
                () = &mut sleep, if armed != u64::MAX => armed = u64::MAX,
            }
        }
        // Not a mere store: whoever found a turn requested already has to be seen below.
        worker.turn_requested.swap(false, Ordering::AcqRel);
        let now = worker.touch() / 1000;
        let suspects = {
            let mut shard = worker.state.lock();
            shard.tick(now);
            if worker.inbox_waiting.load(Ordering::Acquire) {
                worker.drain_inbox(&mut shard);
            }
            shard.has_suspects()
        };
        // What was done so far is not the time of the first handler.
        worker.touch();
        worker.pump(&server);
        more = worker.flush(&mut flusher);
        if suspects {
            // Whoever is readable is read before a deadline is held against it.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            worker.call(|shard| shard.judge());
            worker.pump(&server);
        }
        // Asked at the end: what ran in between may have armed deadlines before all others.
        release.run(now, &server);
        let next = {
            let mut shard = worker.state.lock();
            let release = release.note(shard.stats(), now, &server);
            let tick = shard.next_tick();
            tick.into_iter().chain(release).min().unwrap_or(u64::MAX)
        };
        worker.armed.store(next, Ordering::Relaxed);
        if next != armed {
            armed = next;
            if next != u64::MAX {
                let wait = Duration::from_millis(next.saturating_sub(worker.touch() / 1000));
                sleep.as_mut().reset(tokio::time::Instant::now() + wait);
            }
        }
        if server.is_stopped() && worker.end_if_idle() {
            return;
        }
    }
}

impl Worker {
    /// Ends the worker if nothing lives here and nothing is asked: whoever asks later is told.
    fn end_if_idle(&self) -> bool {
        let shard = self.state.lock();
        let inbox = self.inbox.lock();
        let idle = shard.session_count() == 0 && !shard.has_effects() && inbox.is_empty();
        if idle {
            self.ended.store(true, Ordering::Release);
        }
        idle
    }
}
