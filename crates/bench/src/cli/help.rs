//! Help that teaches: what a scenario does and shows, what the server must answer, an example,
//! its flags.

use super::scenarios::SCENARIOS;
use super::{Flag, flags, flags_of};
use crate::report::STATUSES;
use std::fmt::Write as _;

/// Flags by what they are for; those of a single scenario come first of all.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Server",
        &[
            "url",
            "protocol",
            "transport",
            "deflate",
            "namespace",
            "auth",
            "token",
            "tokens",
            "room",
            "event",
        ],
    ),
    (
        "Load",
        &["connections", "payload", "handshakes", "sources", "workers"],
    ),
    (
        "Time",
        &["warmup", "duration", "settle", "drain", "patience"],
    ),
    ("Output", &["pid", "tree", "json", "html", "quiet", "help"]),
];

/// What is to be known of a scenario beyond its line in the list.
struct Lesson {
    scenario: &'static str,
    shows: &'static str,
    needs: &'static str,
    example: &'static str,
}

const ECHO: &str = "It must acknowledge the event `echo` with its argument. With Node.js:\n\
                    \x20     io.on(\"connection\", (socket) => socket.on(\"echo\", (data, ack) => ack(data)));\n\
                    \x20   `sockeye serve` does. --event NAME names another event.";
const NOTHING: &str = "With a room (--room, `bench` unless changed) it must acknowledge the event `join`;\n\
                       \x20   --room '' joins none. `sockeye serve` does.";

const BROADCAST: &str = "It must send the event `broadcast` on, with its argument, to every connection of the\n\
                         \x20   namespace, the sender included. With Node.js:\n\
                         \x20     io.on(\"connection\", (socket) => socket.on(\"broadcast\", (data) => io.emit(\"broadcast\", data)));\n\
                         \x20   --event NAME names another event. `sockeye serve` sends to rooms: --contract serve.";

const LESSONS: &[Lesson] = &[
    Lesson {
        scenario: "idle",
        shows: "What a connection costs at rest: memory of the server per connection and the CPU of\n\
                \x20   its heartbeats (with --pid), and whether all of them stay.",
        needs: NOTHING,
        example: "idle --url http://127.0.0.1:3000 --connections 10000 --duration 1m --pid 4711",
    },
    Lesson {
        scenario: "storm",
        shows: "What happens when everybody comes at once, as after a restart: how long until all are\n\
                \x20   connected, the slowest of them, and what it costs the server. With --reconnect (or --await-kill, and\n\
                \x20   you kill and restart the server) all are lost at once and come back as stock clients do.",
        needs: NOTHING,
        example: "storm --url http://127.0.0.1:3000 --connections 5000 --pid 4711",
    },
    Lesson {
        scenario: "echo",
        shows: "The most that the server can do: each connection sends its next message when an answer\n\
                \x20   has come, so throughput adapts to the server. Raise --window until throughput no longer\n\
                \x20   grows. Its latency is the round trip at full load, not what users will see: for that\n\
                \x20   use `rate`.",
        needs: ECHO,
        example: "echo --url http://127.0.0.1:3000 --connections 100 --duration 5s --window 1",
    },
    Lesson {
        scenario: "rate",
        shows: "The latency at a given load. Messages leave on a schedule whether or not the server\n\
                \x20   keeps up, and the clock of each starts when it was due: a server that stalls for a\n\
                \x20   second is charged for every message it held up (no coordinated omission).",
        needs: ECHO,
        example: "rate --url http://127.0.0.1:3000 --connections 1000 --rate 10000 --duration 30s",
    },
    Lesson {
        scenario: "fanout",
        shows: "How fast one message reaches many: time to each receiver and to the last of them, and\n\
                \x20   the CPU per delivery (with --pid). With --window it is as fast as the server goes, with\n\
                \x20   --rate it is on a schedule. Every receiver is checked for loss, order and duplicates.",
        needs: BROADCAST,
        example: "fanout --url http://127.0.0.1:3000 --connections 1000 --rate 20 --duration 10s",
    },
    Lesson {
        scenario: "ramp",
        shows: "Where the limits are: connections rise in steps, each is held, and each has its own\n\
                \x20   figures: set-up, errors, latency of messages (with --rate), the server's CPU and memory\n\
                \x20   (with --pid). The step at which one of them bends is the limit to plan with.",
        needs: ECHO,
        example: "ramp --url http://127.0.0.1:3000 --connections 10000 --steps 10 --hold 10s --rate 0.1",
    },
    Lesson {
        scenario: "spike",
        shows: "Whether a burst does lasting harm: a base load, then at once many more connections or\n\
                \x20   messages, then the base load again. Figures before, during and after, and how long after\n\
                \x20   the spike latency was back to normal.",
        needs: ECHO,
        example: "spike --url http://127.0.0.1:3000 --connections 500 --rate 500 --spike-connections 2000",
    },
    Lesson {
        scenario: "soak",
        shows: "What only hours show: leaks and slow decay. Samples of memory (with --pid) and latency\n\
                \x20   make a robust slope; drift beyond the limit makes the exit status 6.",
        needs: ECHO,
        example: "soak --url http://127.0.0.1:3000 --connections 200 --rate 200 --duration 4h --pid 4711",
    },
    Lesson {
        scenario: "churn",
        shows: "What coming and going costs: while the number of connections is held, some leave at\n\
                \x20   random, properly or by a cut, and as many come. Shows the time of set-up under that load,\n\
                \x20   and with --pid whether memory comes back.",
        needs: NOTHING,
        example: "churn --url http://127.0.0.1:3000 --connections 2000 --per-second 200 --duration 1m",
    },
    Lesson {
        scenario: "slow",
        shows: "Whether slow readers hurt the others: a share of the receivers of a fan-out reads slowly\n\
                \x20   or not at all. Latency and faults are those of the others; how many of the slow ones the\n\
                \x20   server closed, and with --pid what it kept for them, tells how it is bounded.",
        needs: BROADCAST,
        example: "slow --url http://127.0.0.1:3000 --connections 500 --share 0.1 --rate 50 --duration 20s",
    },
    Lesson {
        scenario: "mixed",
        shows: "How the server bears what your users do: a file says who comes when, what shares of\n\
                \x20   them do, with which tokens and payloads, and which thresholds must hold (exit status 7\n\
                \x20   if not). Messages published to rooms are checked for loss, order, duplicates and wrong\n\
                \x20   recipients; acknowledgements are timed for each event.",
        needs: MIXED,
        example: "mixed --url http://127.0.0.1:3000 --file chat.toml",
    },
];

const MIXED: &str = "What the file says. Without a [server] section the events of `sockeye serve`: join, leave,\n\
                     \x20   publish, message. docs/load-testing.md explains a file line by line. It stands in\n\
                     \x20   place of --connections, --duration and the like.";

const COMMON: &str = "http://127.0.0.1:3000 stands for your server: any that speaks Socket.IO 3 or 4, or with\n\
                      --protocol websocket plain WebSocket. https:// is not supported yet.";

/// The text of `sockeye bench --help`, or of `sockeye bench SCENARIO --help`.
///
/// A name that is no scenario gives the general text.
pub fn help(scenario: Option<&str>) -> String {
    match SCENARIOS.iter().find(|(name, _)| Some(*name) == scenario) {
        Some((name, short)) => of_scenario(name, short),
        None => overview(),
    }
}

/// What a scenario shows, as running text.
pub(crate) fn what_it_shows(scenario: &str) -> Option<String> {
    let lesson = LESSONS.iter().find(|lesson| lesson.scenario == scenario)?;
    let words: Vec<&str> = lesson.shows.split_whitespace().collect();
    Some(words.join(" ").replace('`', ""))
}

fn overview() -> String {
    let mut text = format!(
        "Load a Socket.IO or WebSocket server and check that every message arrives.\n\n\
         Usage: sockeye bench SCENARIO --url URL [FLAGS]\n\n\
         {COMMON}\n\nScenarios:\n"
    );
    for (name, short) in SCENARIOS {
        // Writing to a String cannot fail; here and below the results are of no interest.
        let _ = writeln!(text, "  {name:<8} {short}");
    }
    text.push_str(
        "\nTry it:\n\
         \x20 sockeye serve\n\
         \x20 sockeye bench echo --url http://127.0.0.1:3000 --connections 100 --duration 5s\n\n\
         `sockeye bench SCENARIO --help` explains a scenario, what it shows and its own flags.\n",
    );
    put_groups(&mut text, |flag| flag.scenarios.is_empty());
    put_statuses(&mut text);
    text
}

fn of_scenario(name: &str, short: &str) -> String {
    let mut text = format!("{name}: {short}\n\nUsage: sockeye bench {name} --url URL [FLAGS]\n");
    if let Some(lesson) = LESSONS.iter().find(|lesson| lesson.scenario == name) {
        let _ = write!(
            text,
            "\nWhat it shows:\n    {}\n\nWhat the server needs:\n    {}\n\nExample:\n    sockeye bench {}\n",
            lesson.shows, lesson.needs, lesson.example
        );
    }
    let own: Vec<&Flag> = flags_of(name)
        .filter(|flag| !flag.scenarios.is_empty())
        .collect();
    if !own.is_empty() {
        let _ = write!(text, "\nFlags of {name}:\n");
        for flag in own {
            put_flag(flag, &mut text);
        }
    }
    put_groups(&mut text, |flag| flag.scenarios.is_empty());
    put_statuses(&mut text);
    text
}

fn put_groups(text: &mut String, wanted: impl Fn(&Flag) -> bool) {
    let grouped = |flag: &Flag| GROUPS.iter().any(|(_, names)| names.contains(&flag.name));
    for (title, names) in GROUPS {
        let _ = write!(text, "\n{title}:\n");
        for name in *names {
            let flag = flags().find(|flag| flag.name == *name);
            if let Some(flag) = flag.filter(|flag| wanted(flag)) {
                put_flag(flag, text);
            }
        }
    }
    let mut rest = flags()
        .filter(|flag| wanted(flag) && !grouped(flag))
        .peekable();
    if rest.peek().is_some() {
        text.push_str("\nFurther flags:\n");
    }
    for flag in rest {
        put_flag(flag, text);
    }
}

fn put_flag(flag: &Flag, text: &mut String) {
    let usage = format!("--{} {}", flag.name, flag.value);
    let _ = write!(text, "  {usage:<22} {}", flag.help);
    if !flag.default.is_empty() {
        let _ = write!(text, " [{}]", flag.default);
    }
    text.push('\n');
}

fn put_statuses(text: &mut String) {
    text.push_str("\nExit status:\n");
    for (status, meaning) in STATUSES {
        let _ = writeln!(text, "  {status}  {meaning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    #[test]
    fn every_flag_is_explained_where_it_belongs() {
        for flag in flags() {
            let pattern = format!("\n  --{} ", flag.name);
            for (scenario, _) in SCENARIOS {
                let text = help(Some(scenario));
                assert_eq!(text.contains(&pattern), flag.is_of(scenario), "{pattern}");
            }
            let general = help(None).contains(&pattern);
            assert_eq!(general, flag.scenarios.is_empty(), "{pattern}");
        }
    }

    #[test]
    fn every_flag_has_its_group() {
        assert!(!help(None).contains("Further flags"), "{}", help(None));
    }

    #[test]
    fn every_example_is_a_command_line() {
        for lesson in LESSONS {
            let example = lesson.example.replace("--file ", "--file scenarios/");
            let line = example.split(' ').map(String::from);
            let command = parse(line).unwrap_or_else(|error| panic!("{}: {error}", lesson.example));
            let Command::Run { plan, .. } = command else {
                panic!("{}", lesson.example)
            };
            assert_eq!(plan.scenario.name(), lesson.scenario);
        }
    }

    #[test]
    fn every_status_is_listed() {
        for (status, _) in STATUSES {
            assert!(help(None).contains(&format!("\n  {status}  ")));
        }
    }
}
