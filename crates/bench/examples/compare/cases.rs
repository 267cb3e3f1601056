//! What is measured with whom, and the budgets that the figures are held against.

use crate::results::{Point, Results};
use sockeye_bench::stats::Spread;
use std::time::Duration;

/// Connections of the cases on memory and idle CPU. A process may open 20,000 files.
pub(crate) const MANY: u32 = 15_000;

/// One case: a load, measured with each of its servers in each round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What CPU time is divided by.
    pub(crate) unit: &'static str,
    pub(crate) load: Load,
    pub(crate) connections: u32,
    pub(crate) servers: &'static [&'static str],
    /// Takes a minute or more per server, and is therefore repeated less often.
    pub(crate) long: bool,
}

/// What a case does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Load {
    /// Closed loop of echoes.
    Echo { window: u32 },
    /// Open loop of echoes.
    Rate { per_second: f64 },
    /// Closed loop of one publisher.
    Fanout { window: u32 },
    /// The same with 1 KiB of text that deflates as JSON does, deflated or not.
    Json { deflate: bool },
    /// Echoes in an open loop beside a large room that gets messages.
    BesideRoom {
        per_second: f64,
        room: u32,
        room_per_second: f64,
    },
    /// Fill, turnover by halves, reconnection of all, departure of all.
    Memory,
    /// Heartbeats alone.
    Idle,
}

const ALL: &[&str] = &[
    "floor",
    "ours",
    "socketioxide",
    "socketioxide-ct",
    "socket.io",
    "eiows",
    "tungstenite",
    "ws",
];
const ALL_AND_TWO_WORKERS: &[&str] = &[
    "floor",
    "ours",
    "ours2",
    "socketioxide",
    "socketioxide-ct",
    "socket.io",
    "eiows",
    "tungstenite",
    "ws",
];
const LARGE: &[&str] = &[
    "floor",
    "ours",
    "socketioxide",
    "socket.io",
    "eiows",
    "tungstenite",
    "ws",
];
const SOCKET_IO: &[&str] = &["ours", "socketioxide", "socket.io", "eiows"];
const DEFLATING: &[&str] = &["ours", "socket.io"];
const HEARTBEATS: &[&str] = &["floor", "ours", "socketioxide", "socket.io", "eiows"];

const fn case(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    load: Load,
    connections: u32,
    servers: &'static [&'static str],
) -> Case {
    Case {
        id,
        title,
        unit,
        load,
        connections,
        servers,
        long: matches!(load, Load::Memory | Load::Idle),
    }
}

/// All cases, in the order of the document.
pub(crate) const CASES: &[Case] = &[
    case(
        "echo1",
        "Echo with ack, 200 connections, 1 in flight, 64 B",
        "echo",
        Load::Echo { window: 1 },
        200,
        ALL_AND_TWO_WORKERS,
    ),
    case(
        "echo8",
        "Echo with ack, 200 connections, 8 in flight, 64 B",
        "echo",
        Load::Echo { window: 8 },
        200,
        ALL,
    ),
    case(
        "rate",
        "10,000 echoes/s over 1,000 connections, open loop, 64 B",
        "echo",
        Load::Rate {
            per_second: 10_000.0,
        },
        1000,
        ALL,
    ),
    case(
        "fan1k",
        "Fan-out to 1,000, 1 in flight, 128 B",
        "delivery",
        Load::Fanout { window: 1 },
        1000,
        ALL_AND_TWO_WORKERS,
    ),
    case(
        "fan1k8",
        "Fan-out to 1,000, 8 in flight, 128 B",
        "delivery",
        Load::Fanout { window: 8 },
        1000,
        ALL,
    ),
    case(
        "fan10k",
        "Fan-out to 10,000, 1 in flight, 128 B",
        "delivery",
        Load::Fanout { window: 1 },
        10_000,
        LARGE,
    ),
    case(
        "fan10k8",
        "Fan-out to 10,000, 8 in flight, 128 B",
        "delivery",
        Load::Fanout { window: 8 },
        10_000,
        LARGE,
    ),
    case(
        "json1k",
        "Fan-out of 1 KiB JSON to 1,000, 1 in flight, not deflated",
        "delivery",
        Load::Json { deflate: false },
        1000,
        DEFLATING,
    ),
    case(
        "json1kz",
        "Fan-out of 1 KiB JSON to 1,000, 1 in flight, deflated without context takeover",
        "delivery",
        Load::Json { deflate: true },
        1000,
        DEFLATING,
    ),
    case(
        "beside",
        "1,000 echoes/s over 100 connections, while a room of 10,000 gets 5 messages/s",
        "echo",
        Load::BesideRoom {
            per_second: 1000.0,
            room: 10_000,
            room_per_second: 5.0,
        },
        100,
        SOCKET_IO,
    ),
    case(
        "memory",
        "Resident memory, 15,000 connections with auth.token, in one room",
        "connection",
        Load::Memory,
        MANY,
        SOCKET_IO,
    ),
    case(
        "idle",
        "Heartbeats every 25 s, 15,000 connections",
        "heartbeat",
        Load::Idle,
        MANY,
        HEARTBEATS,
    ),
];

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) warmup: Duration,
    pub(crate) measure: Duration,
    /// Turnovers of half the connections.
    pub(crate) turnovers: u32,
    pub(crate) idle: Duration,
    /// From the departure of all until memory is read.
    pub(crate) gone: Duration,
}

impl Times {
    /// 75 s are three heartbeats of each connection.
    pub(crate) const FULL: Times = Times {
        warmup: Duration::from_millis(500),
        measure: Duration::from_millis(1500),
        turnovers: 10,
        idle: Duration::from_secs(75),
        gone: Duration::from_secs(10),
    };
    /// One heartbeat, and less of everything else.
    pub(crate) const QUICK: Times = Times {
        warmup: Duration::from_millis(200),
        measure: Duration::from_millis(500),
        turnovers: 3,
        idle: Duration::from_secs(25),
        gone: Duration::from_secs(10),
    };
    /// To see that everything works.
    pub(crate) const SMOKE: Times = Times {
        warmup: Duration::from_millis(50),
        measure: Duration::from_millis(200),
        turnovers: 1,
        idle: Duration::from_secs(1),
        gone: Duration::from_millis(500),
    };
}

/// What a budget's figure is divided by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Over {
    /// Nothing: it is a figure of its own.
    Nothing,
    /// The same figure of the floor in the same case.
    Floor,
    /// The same figure of the same server in another case.
    Case(&'static str),
    /// The same figure of our server with one worker.
    OneWorker,
}

/// A figure with its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) what: &'static str,
    pub(crate) case: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) over: Over,
    must: f64,
    /// In place of `must` where io_uring is not to be had.
    must_without_ring: Option<f64>,
    /// `None`: no number was set.
    pub(crate) aim: Option<f64>,
}

const fn budget(
    what: &'static str,
    (case, figure, unit): (&'static str, &'static str, &'static str),
    over: Over,
    must: f64,
    aim: f64,
) -> Budget {
    Budget {
        what,
        case,
        figure,
        unit,
        over,
        must,
        must_without_ring: None,
        aim: Some(aim),
    }
}

/// All budgets, in the order of the document.
pub(crate) const BUDGETS: &[Budget] = &[
    budget(
        "resident memory per idle connection",
        ("memory", "rss_each", "B"),
        Over::Nothing,
        2400.0,
        1500.0,
    ),
    budget(
        "the same after ten turnovers of half, over the first fill",
        ("memory", "growth_turnover", "×"),
        Over::Nothing,
        1.25,
        1.10,
    ),
    budget(
        "the same after all reconnected at once, over the first fill",
        ("memory", "growth_reconnect", "×"),
        Over::Nothing,
        1.25,
        1.10,
    ),
    budget(
        "resident memory 10 s after all have gone, over the full one",
        ("memory", "left", "×"),
        Over::Nothing,
        0.40,
        0.25,
    ),
    Budget {
        must_without_ring: Some(1.15),
        ..budget(
            "CPU per delivery, fan-out to 1,000",
            ("fan1k", "cpu_us", "µs"),
            Over::Floor,
            0.95,
            0.72,
        )
    },
    Budget {
        must_without_ring: Some(1.15),
        ..budget(
            "CPU per delivery, fan-out to 10,000",
            ("fan10k", "cpu_us", "µs"),
            Over::Floor,
            0.95,
            0.72,
        )
    },
    budget(
        "CPU per delivery, fan-out to 1,000, 8 in flight",
        ("fan1k8", "cpu_us", "µs"),
        Over::Floor,
        0.30,
        0.18,
    ),
    budget(
        "CPU per delivery, fan-out to 10,000, 8 in flight",
        ("fan10k8", "cpu_us", "µs"),
        Over::Floor,
        0.30,
        0.18,
    ),
    budget(
        "CPU per echo with ack, 200 connections",
        ("echo1", "cpu_us", "µs"),
        Over::Floor,
        1.20,
        1.06,
    ),
    budget(
        "CPU per echo with ack, 200 connections, 8 in flight",
        ("echo8", "cpu_us", "µs"),
        Over::Floor,
        1.7,
        1.2,
    ),
    budget(
        "CPU per connection set up",
        ("fan10k", "setup_us", "µs"),
        Over::Nothing,
        50.0,
        25.0,
    ),
    Budget {
        aim: None,
        ..budget(
            "idle CPU per 1,000 connections per minute",
            ("idle", "idle_cpu", "s"),
            Over::Nothing,
            0.021,
            0.0,
        )
    },
    budget(
        "CPU per echo, 10,000/s over 1,000 connections",
        ("rate", "cpu_us", "µs"),
        Over::Floor,
        1.25,
        1.1,
    ),
    budget(
        "p99 of these echoes",
        ("rate", "p99_ms", "ms"),
        Over::Nothing,
        3.0,
        1.5,
    ),
    budget(
        "fairness: p99 over p50, echo, 8 in flight",
        ("echo8", "p99_over_p50", "×"),
        Over::Nothing,
        4.0,
        2.0,
    ),
    budget(
        "deflations per message, fan-out to 1,000",
        ("json1kz", "deflations", ""),
        Over::Nothing,
        1.0,
        1.0,
    ),
    budget(
        "CPU per deflated delivery, over the undeflated one",
        ("json1kz", "cpu_us", "µs"),
        Over::Case("json1k"),
        1.3,
        1.1,
    ),
    budget(
        "CPU per delivery of two workers, over one",
        ("fan1k", "cpu_us", "µs"),
        Over::OneWorker,
        1.15,
        1.05,
    ),
    budget(
        "CPU per echo of two workers, over one",
        ("echo1", "cpu_us", "µs"),
        Over::OneWorker,
        1.15,
        1.05,
    ),
    budget(
        "p99 of 1,000 echoes/s beside a room of 10,000",
        ("beside", "p99_ms", "ms"),
        Over::Nothing,
        15.0,
        5.0,
    ),
];

/// How a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Aim,
    Must,
    Missed,
}

impl Standing {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Aim => "aim",
            Self::Must => "must",
            Self::Missed => "**missed**",
        }
    }
}

impl Budget {
    pub(crate) fn must(&self, io_uring: bool) -> f64 {
        match self.must_without_ring {
            Some(must) if !io_uring => must,
            _ => self.must,
        }
    }

    fn point<'a>(&'a self, server: &'a str) -> Point<'a> {
        Point {
            case: self.case,
            server,
            figure: self.figure,
        }
    }

    /// The figure itself, in its unit.
    pub(crate) fn figure(&self, results: &Results, server: &str) -> Option<Spread> {
        results.spread(self.point(self.subject(server)))
    }

    /// What the figure is put in relation to, in its unit: what it is divided by, or else the floor.
    pub(crate) fn base(&self, results: &Results, server: &str) -> Option<Spread> {
        results.spread(self.base_point(server).unwrap_or(self.floor()))
    }

    /// The figure over its base.
    pub(crate) fn ratio(&self, results: &Results, server: &str) -> Option<Spread> {
        let base = self.base_point(server).unwrap_or(self.floor());
        results.ratio(self.point(self.subject(server)), base)
    }

    fn floor(&self) -> Point<'_> {
        self.point("floor")
    }

    /// What is held against the limits: the figure, or its ratio.
    pub(crate) fn judged(&self, results: &Results, server: &str) -> Option<Spread> {
        let point = self.point(self.subject(server));
        match self.base_point(server) {
            None => results.spread(point),
            Some(base) => results.ratio(point, base),
        }
    }

    pub(crate) fn standing(&self, judged: f64, io_uring: bool) -> Standing {
        // Figures are shown with two or three digits; what shows as the limit has reached it.
        let within = |limit: f64| judged <= limit * 1.005;
        match self.aim {
            Some(aim) if within(aim) => Standing::Aim,
            _ if within(self.must(io_uring)) => Standing::Must,
            _ => Standing::Missed,
        }
    }

    fn subject<'a>(&self, server: &'a str) -> &'a str {
        match (self.over, server) {
            (Over::OneWorker, "ours") => "ours2",
            (Over::OneWorker, _) => "",
            _ => server,
        }
    }

    fn base_point<'a>(&'a self, server: &'a str) -> Option<Point<'a>> {
        let (case, server) = match self.over {
            Over::Nothing => return None,
            Over::Floor => (self.case, "floor"),
            Over::Case(case) => (case, server),
            Over::OneWorker => (self.case, "ours"),
        };
        Some(Point {
            case,
            server,
            figure: self.figure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers;

    #[test]
    fn budgets_name_cases_and_cases_name_servers() {
        let case = |id: &str| CASES.iter().find(|case| case.id == id);
        for budget in BUDGETS {
            let found = case(budget.case).expect(budget.what);
            assert!(found.servers.contains(&"ours"), "{}", budget.what);
            match budget.over {
                Over::Floor => assert!(found.servers.contains(&"floor"), "{}", budget.what),
                Over::Case(other) => assert!(case(other).is_some(), "{}", budget.what),
                Over::OneWorker => assert!(found.servers.contains(&"ours2"), "{}", budget.what),
                Over::Nothing => {}
            }
            assert!(budget.aim.is_none_or(|aim| aim <= budget.must));
        }
        for case in CASES {
            assert!(case.servers.iter().all(|id| servers::by_id(id).is_some()));
        }
    }

    #[test]
    fn limits_are_reached_by_what_shows_as_them() {
        let budget = BUDGETS.iter().find(|b| b.case == "fan1k").unwrap();
        assert_eq!(budget.standing(0.72, true), Standing::Aim);
        assert_eq!(budget.standing(0.953, true), Standing::Must);
        assert_eq!(budget.standing(0.97, true), Standing::Missed);
        assert_eq!(budget.standing(1.15, false), Standing::Must);
    }
}
