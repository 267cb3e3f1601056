//! Giving memory back after a herd of connections has come or gone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sockeye_core::Stats;

use crate::server::ServerInner;

/// Connections that have to come or go before memory is worth the walk through it.
const HERD: u64 = 500;
/// How long a herd is given to come to an end, in milliseconds.
const QUIET: u64 = 2_000;

/// When the memory of one worker is given back next.
#[derive(Default)]
pub(super) struct Release {
    /// Connections that had come or gone the last time.
    counted: u64,
    due: Option<u64>,
}

impl Release {
    /// Notes what has come and gone by `now`, in milliseconds; when to be asked again.
    pub(super) fn note(&mut self, stats: &Stats, now: u64, server: &ServerInner) -> Option<u64> {
        server.config.release_memory.as_ref()?;
        let count = stats.sessions_opened + stats.sessions_closed;
        if self.due.is_none() && count >= self.counted + HERD {
            self.due = Some(now + QUIET);
            self.counted = count;
        }
        self.due
    }

    /// Gives memory back if it is time.
    pub(super) fn run(&mut self, now: u64, server: &ServerInner) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = None;
        let Some(release) = &server.config.release_memory else {
            return;
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| release())) {
            crate::dispatch::panicked(server, "release_memory", &*panic);
        }
    }
}
