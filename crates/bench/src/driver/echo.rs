//! Echo in a closed loop, or at a rate in an open one.

use super::{Desk, Driver};
use crate::schedule::Schedule;
use crate::stamp::{Kind, Stamp};

#[derive(Debug)]
pub(crate) struct Echo {
    ready: Vec<u32>,
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
            ready,
            pace: Pace::Window(window.max(1)),
        }
    }

    pub(crate) fn open(ready: Vec<u32>, per_second: f64) -> Self {
        Self {
            ready,
            pace: Pace::Rate {
                per_second,
                schedule: None,
            },
        }
    }
}

impl Driver for Echo {
    fn start(&mut self, desk: &mut Desk) {
        match &mut self.pace {
            Pace::Window(window) => {
                for &connection in &self.ready {
                    for _ in 0..*window {
                        send(connection, desk.now, desk);
                    }
                }
            }
            Pace::Rate {
                per_second,
                schedule,
            } => {
                *schedule = Some(Schedule::new(*per_second, desk.now));
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
            } => Some(schedule.next_due()),
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
            desk.late.record(desk.now - due);
            let turn = (number % self.ready.len() as u64) as usize;
            send(self.ready[turn], due, desk);
        }
    }

    fn gone(&mut self, connection: u32) {
        if self.ready.len() > 1 {
            self.ready.retain(|&ready| ready != connection);
        }
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
