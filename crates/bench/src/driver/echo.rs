//! Echo in a closed loop, or at a rate in an open one.

use super::pool::Pool;
use super::{Desk, Driver, End};
use crate::schedule::Schedule;
use crate::stamp::{Kind, Stamp};

/// Echoes over connections that may come and go.
#[derive(Debug)]
pub(crate) struct Echo {
    pool: Pool,
    pace: Pace,
}

#[derive(Debug)]
enum Pace {
    Window(u32),
    Rate {
        per_second: f64,
        schedule: Option<Schedule>,
    },
}

impl Echo {
    pub(crate) fn closed(ready: Vec<u32>, window: u32) -> Self {
        Self {
            pool: Pool::new(ready),
            pace: Pace::Window(window.max(1)),
        }
    }

    /// At so many a second over all connections; zero: none.
    pub(crate) fn open(ready: Vec<u32>, per_second: f64) -> Self {
        Self {
            pool: Pool::new(ready),
            pace: Pace::Rate {
                per_second,
                schedule: None,
            },
        }
    }

    pub(crate) fn connections(&self) -> &Pool {
        &self.pool
    }

    /// Changes the rate of an open loop.
    pub(crate) fn set_rate(&mut self, rate: f64, desk: &mut Desk) {
        self.due(desk);
        let Pace::Rate {
            per_second,
            schedule,
        } = &mut self.pace
        else {
            return;
        };
        *per_second = rate;
        match schedule {
            _ if rate <= 0.0 => *schedule = None,
            Some(schedule) => schedule.set_rate(rate, desk.now),
            None => *schedule = Some(Schedule::new(rate, desk.now)),
        }
    }

    /// Lets a connection take part that has just become ready.
    pub(crate) fn admit(&mut self, connection: u32, desk: &mut Desk) {
        self.pool.insert(connection);
        if let Pace::Window(window) = self.pace
            && desk.sending
        {
            (0..window).for_each(|_| send(connection, desk.now, desk));
        }
    }

    /// Lets a connection go; whether it took part.
    pub(crate) fn dismiss(&mut self, connection: u32) -> bool {
        self.pool.remove(connection)
    }
}

impl Driver for Echo {
    fn start(&mut self, desk: &mut Desk) {
        match &mut self.pace {
            Pace::Window(window) => {
                for &connection in self.pool.members() {
                    for _ in 0..*window {
                        send(connection, desk.now, desk);
                    }
                }
            }
            Pace::Rate {
                per_second,
                schedule,
            } => {
                *schedule = (*per_second > 0.0).then(|| Schedule::new(*per_second, desk.now));
            }
        }
    }

    fn message(&mut self, receiver: u32, _stamp: Stamp, desk: &mut Desk) {
        if desk.sending && matches!(self.pace, Pace::Window(_)) {
            send(receiver, desk.now, desk);
        }
    }

    fn next_due(&self) -> Option<u64> {
        match &self.pace {
            Pace::Rate {
                schedule: Some(schedule),
                ..
            } if self.pool.len() > 0 => Some(schedule.next_due()),
            _ => None,
        }
    }

    fn due(&mut self, desk: &mut Desk) {
        let Pace::Rate {
            schedule: Some(schedule),
            ..
        } = &mut self.pace
        else {
            return;
        };
        while let Some((number, due)) = schedule.take(desk.now) {
            // Nobody is left who could send: that shows as errors and as messages not sent.
            let Some(connection) = self.pool.turn(number) else {
                continue;
            };
            desk.late.record(desk.now - due);
            send(connection, due, desk);
        }
    }

    fn gone(&mut self, connection: u32, _end: End, _desk: &mut Desk) {
        self.dismiss(connection);
    }

    fn stalled(&mut self, desk: &mut Desk) {
        if matches!(self.pace, Pace::Window(_)) {
            self.start(desk);
        }
    }
}

fn send(connection: u32, time_ns: u64, desk: &mut Desk) {
    let stamp = Stamp {
        kind: Kind::Echo,
        publisher: connection,
        sequence: 0,
        time_ns,
    };
    desk.send(connection, connection, stamp);
}
