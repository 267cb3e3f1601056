//! Whether a result says something about the server.

use serde::Serialize;

/// Whether a result says something about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// It does.
    Valid,
    /// Throughput and latency are those of the generator, which was busy all the time, was not
    /// let run, or sent late. CPU time and memory of the server hold.
    GeneratorBound,
}

/// What of the generator limited a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// It used more than 0.9 of its core. In a closed loop that a busy server answers, that is no
    /// reproach.
    pub busy: bool,
    /// It was ready to run and was not let for more than a tenth of the time.
    pub starved: bool,
    /// One in a hundred messages of an open loop left more than 5 ms after it was due.
    pub late: bool,
}

/// Above this share of a core the generator counts as busy.
const BUSY: f64 = 0.9;
/// Above this share of time spent waiting for a core it counts as starved.
const STARVED: f64 = 0.1;
/// Above this lateness at the 99th percentile an open loop is not the schedule it claims to be.
const LATE_MS: f64 = 5.0;

impl Limits {
    pub(crate) fn judge(
        open_loop: bool,
        generator_cores: f64,
        waiting: f64,
        late_p99_ms: f64,
        server_cores: Option<f64>,
    ) -> Self {
        let server_busy = !open_loop && server_cores.is_some_and(|cores| cores > BUSY);
        Self {
            busy: generator_cores > BUSY && !server_busy,
            starved: waiting > STARVED,
            late: late_p99_ms > LATE_MS,
        }
    }

    /// The verdict.
    pub fn validity(&self) -> Validity {
        if *self == Self::default() {
            Validity::Valid
        } else {
            Validity::GeneratorBound
        }
    }

    /// What happened, and what to do about it, for each limit that was met.
    pub fn advice(&self) -> Vec<(&'static str, &'static str)> {
        let all = [
            (
                self.busy,
                "the generator used its whole core",
                "use fewer messages or connections, share the load among processes with \
                 --workers, or give --pid so that a busy server can be told from a busy generator",
            ),
            (
                self.starved,
                "the generator was often not let run by the system",
                "free a core for it: stop other work, pin server and generator to different \
                 cores (taskset), or run the generator on another machine",
            ),
            (
                self.late,
                "the generator sent later than its schedule said",
                "lower --rate, share it among processes with --workers, or free a core",
            ),
        ];
        let met = all.into_iter().filter(|(met, ..)| *met);
        met.map(|(_, what, remedy)| (what, remedy)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_the_generator_is_not_called_the_servers() {
        let limits = |busy, starved, late| Limits {
            busy,
            starved,
            late,
        };
        let none = Limits::default();
        let table = [
            // open loop, generator cores, waiting, late p99, server cores
            (false, 0.5, 0.0, 0.0, Some(1.0), none),
            (false, 1.0, 0.0, 0.0, Some(0.99), none),
            (false, 1.0, 0.0, 0.0, Some(0.5), limits(true, false, false)),
            (false, 1.0, 0.0, 0.0, None, limits(true, false, false)),
            (false, 0.5, 0.3, 0.0, Some(0.5), limits(false, true, false)),
            (true, 0.95, 0.0, 0.1, Some(0.99), limits(true, false, false)),
            (true, 0.3, 0.0, 20.0, Some(0.2), limits(false, false, true)),
            (true, 0.3, 0.0, 1.0, Some(0.2), none),
        ];
        for (open_loop, cores, waiting, late, server, expected) in table {
            let judged = Limits::judge(open_loop, cores, waiting, late, server);
            assert_eq!(
                judged, expected,
                "{open_loop} {cores} {waiting} {late} {server:?}"
            );
            let valid = judged.validity() == Validity::Valid;
            assert_eq!(valid, expected == none);
            assert_eq!(valid, judged.advice().is_empty());
        }
    }
}
