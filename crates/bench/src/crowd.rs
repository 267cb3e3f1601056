//! Connections that come and go step by step.

use crate::clock;
use crate::driver::Hold;
use crate::engine::Engine;
use crate::error::BenchError;
use crate::history::{Audience, History};
use crate::plan::Plan;
use crate::report::Errors;
use std::fmt;
use std::time::Duration;

/// Connections held by the calling thread, which come and go as the caller says: for measurements
/// that are no single scenario, such as what a server's memory does over generations of clients.
///
/// The plan gives target, handshakes in flight, namespace, credentials and room; its scenario,
/// number of connections and times are not used. Heartbeats are answered during the calls.
///
/// ```no_run
/// use sockeye_bench::{Crowd, Plan, Protocol, Scenario, Target};
/// use std::time::Duration;
///
/// let target = Target::parse("ws://127.0.0.1:3000", Protocol::SocketIo)?;
/// let mut crowd = Crowd::new(&Plan::new(target, Scenario::Idle))?;
/// crowd.come(10_000)?;
/// crowd.leave(5_000);
/// crowd.hold(Duration::from_secs(10))?;
/// assert_eq!((crowd.len(), crowd.errors().total()), (5_000, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Crowd {
    engine: Engine,
    patience: Duration,
    handshakes: u32,
    /// State of a xorshift generator, never zero.
    random: u64,
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").field("len", &self.len()).finish()
    }
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    ///
    /// If the system gives no poll.
    pub fn new(plan: &Plan) -> Result<Self, BenchError> {
        let mut none = plan.clone();
        none.connections = 0;
        Ok(Self {
            engine: Engine::new(&none, History::new(Audience::Everyone, 0, 0))?,
            patience: plan.patience,
            handshakes: plan.handshakes.max(1),
            random: clock::now() | 1,
        })
    }

    /// Connects `count` more and waits until each has joined namespace and room or has failed;
    /// returns how many there are now. What failed is counted in [`Crowd::errors`].
    ///
    /// # Errors
    ///
    /// If the generator's own poll fails.
    pub fn come(&mut self, count: u32) -> Result<usize, BenchError> {
        self.engine.want_more(count);
        let patience = self.patience.as_nanos() as u64;
        while !self.engine.is_settled() {
            let deadline = self.engine.setup().progress + patience;
            if clock::now() >= deadline {
                self.engine.give_up(&mut Hold);
                break;
            }
            self.engine.turn(&mut Hold, deadline)?;
        }
        Ok(self.len())
    }

    /// The same with all handshakes in flight at once, as after the restart of a server.
    ///
    /// # Errors
    ///
    /// If the generator's own poll fails.
    pub fn come_at_once(&mut self, count: u32) -> Result<usize, BenchError> {
        self.engine.set_handshakes(count.max(1));
        let there = self.come(count);
        self.engine.set_handshakes(self.handshakes);
        there
    }

    /// Resets `count` connections, chosen at random: the clients are gone without a word.
    pub fn leave(&mut self, count: usize) {
        let mut ready = self.engine.ready();
        for _ in 0..count.min(ready.len()) {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let at = (self.random % ready.len() as u64) as usize;
            self.engine.cut(ready.swap_remove(at));
        }
    }

    /// Holds the connections for a while.
    ///
    /// # Errors
    ///
    /// If the generator's own poll fails.
    pub fn hold(&mut self, time: Duration) -> Result<(), BenchError> {
        let until = clock::now() + time.as_nanos() as u64;
        while clock::now() < until {
            self.engine.turn(&mut Hold, until)?;
        }
        Ok(())
    }

    /// Connections that are there.
    pub fn len(&self) -> usize {
        self.engine.ready().len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heartbeats answered so far.
    pub fn pings(&mut self) -> u64 {
        self.engine.desk().pings
    }

    /// What went wrong so far.
    pub fn errors(&self) -> &Errors {
        self.engine.errors()
    }
}
