//! The page: budgets, tables and plots, all written from the results.

use crate::cases::{BUDGETS, Budget, CASES, Case, Load, MANY, Over};
use crate::plot::{Bar, Panel, Style, number, svg};
use crate::results::{DISTURBED, Point, Results};
use crate::servers::{KNOWN, Known, Role, by_id};
use sockeye_bench::stats::Spread;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Spread, as a share of the median, from which on a figure is called noisy.
const NOISY: f64 = 0.3;

/// Peers that have a column in the table of budgets.
const COLUMNS: &[&str] = &["socketioxide", "socketioxide-ct", "socket.io", "eiows"];

/// Writes the page and, into a folder beside it, its plots.
pub(crate) fn write(results: &Results, page: &Path, plots: &Path) -> io::Result<()> {
    fs::create_dir_all(plots)?;
    let folder = plots
        .file_name()
        .map_or("".into(), |name| name.to_string_lossy());
    let mut text = format!("{HEAD}\n");
    if let Some(caution) = &results.caution {
        let _ = writeln!(text, "> **Not to be quoted.** {caution}\n");
    }
    let _ = writeln!(
        text,
        "Taken {} on {}, {} cores, {} GiB, {}. Versions are [below](#versions).\n",
        results.when,
        results.machine.cpu,
        results.machine.cores,
        results.machine.memory_gib,
        results.machine.kernel,
    );
    let _ = writeln!(text, "## Budgets\n\n{}", budgets(results));
    let figure = |name: &str, title: &str, panels: Vec<Panel>| -> io::Result<String> {
        let panels: Vec<Panel> = panels
            .into_iter()
            .filter(|panel| !panel.bars.is_empty())
            .collect();
        if panels.is_empty() {
            return Ok(String::new());
        }
        fs::write(plots.join(name), svg(title, &panels))?;
        Ok(format!("![{title}]({folder}/{name})\n\n"))
    };
    for (heading, file, ids) in SECTIONS {
        if !ids.iter().any(|id| results.has(id)) {
            continue;
        }
        let _ = writeln!(text, "## {heading}\n");
        let cases = CASES.iter().filter(|case| ids.contains(&case.id));
        let panels = cases
            .clone()
            .flat_map(|case| panels(results, case))
            .collect();
        text.push_str(&figure(file, heading, panels)?);
        for case in cases.filter(|case| results.has(case.id)) {
            let _ = writeln!(
                text,
                "### {} (`{}`)\n\n{}",
                case.title,
                case.id,
                table(results, case)
            );
        }
    }
    let _ = writeln!(text, "{METHOD}\n## Versions\n");
    for version in &results.versions {
        let _ = writeln!(text, "- {} {}", version.what, version.version);
    }
    for missing in &results.missing {
        let _ = writeln!(
            text,
            "- **not measured:** {} – {}",
            missing.what, missing.why
        );
    }
    let rule = if results.machine.io_uring { "" } else { " not" };
    let _ = writeln!(
        text,
        "- io_uring is{rule} open to every process of this kernel"
    );
    fs::write(page, text)
}

const HEAD: &str = "\
# Benchmarks

Sockeye beside other servers, on one machine, in one run: one core for the server, one for the load generator. `make bench` measures
and writes this page, its plots and [results.json](benchmarks/results.json); nobody edits it by hand.
";

const METHOD: &str = "\
## How it is measured

- Server on one core, generator on another (`taskset`, `sched_setaffinity`); a fresh server process for every single run.
- Cost is CPU time: user and system time of the server's process, as the kernel counts it, divided by echoes, deliveries or connections.
  On the loopback `send` also does the receiver's half of TCP, so these figures are higher than with a network card, for all alike.
- The **floor** is a bare loop of `read`, `write` and `send` calls without any protocol ([floor.rs](../crates/bench/src/floor.rs)), loaded by the
  same generator. It sends one message per call, also where several are in flight. Of `idle` it does the heartbeats and nothing else.
- Rounds are interleaved: one round goes through all servers of all cases before the next begins. Tables give the median and, in
  brackets, the lowest and the highest run. \u{201c}× floor\u{201d} is the median of ratios taken within a round.
- Other work on the machine is watched: runs with more than a quarter of a core of it are left out while three quieter ones are left.
- Latency in an open loop counts from when a message was due (coordinated omission). In a closed loop it is queueing.
- Every message carries publisher, sequence and time. Runs in which some were lost, doubled or reordered are marked FAULTS.
  A latency that the generator itself may have limited is marked with \u{2020}; its CPU time holds.
- All Socket.IO servers keep one contract, a check of `auth.token` included ([benchmarks/README.md](../benchmarks/README.md)). Sockeye runs with its default
  limits, one worker and mimalloc. References speak WebSocket without Socket.IO.
- Memory is the resident set of the server process; what the kernel holds for its sockets is not in it. Growth is that of what the connections added,
  over what they added at the first fill; what is left after all have gone is the whole process over the whole process.
- What takes minutes (`memory`, `idle`) is repeated less often: `BENCH_LONG_ROUNDS`.

## Repeat it

```sh
make bench                                        # everything, about 25 minutes on a quiet machine
make bench BENCH_QUICK=1                          # about 5 minutes, rough
make bench BENCH_ONLY=echo1,fan1k BENCH_ROUNDS=7  # some cases; the others on this page stay
make bench BENCH_PEERS=floor,ours                 # some servers
make bench BENCH_LONG_ROUNDS=5 BENCH_ONLY=memory  # what takes minutes, more often
make bench-document                               # the page again from results.json
```

Two cores have to be idle otherwise. `BENCH_CORES=0,1` names the server's and the generator's.
";

const SECTIONS: &[(&str, &str, &[&str])] = &[
    ("Echo", "echo.svg", &["echo1", "echo8", "rate"]),
    (
        "Fan-out",
        "fan-out.svg",
        &["fan1k", "fan1k8", "fan10k", "fan10k8"],
    ),
    ("Compression", "compression.svg", &["json1k", "json1kz"]),
    ("Fairness to small loads", "beside.svg", &["beside"]),
    ("Memory", "memory.svg", &["memory"]),
    ("Idle connections", "idle.svg", &["idle"]),
];

/// The table of budgets, also for the terminal.
pub(crate) fn budgets(results: &Results) -> String {
    let ring = results.machine.io_uring;
    let columns: Vec<&Known> = COLUMNS
        .iter()
        .filter(|id| results.runs.iter().any(|run| run.server == **id))
        .filter_map(|id| by_id(id))
        .collect();
    let mut text = String::from(
        "| what | Sockeye | floor, or what it is compared with | ratio | must | aim | reached |",
    );
    columns
        .iter()
        .for_each(|peer| text.push_str(&format!(" {} |", peer.name)));
    text.push_str("\n|---|---:|---:|---:|---:|---:|---|");
    columns.iter().for_each(|_| text.push_str("---:|"));
    text.push('\n');
    for budget in BUDGETS.iter().filter(|budget| results.has(budget.case)) {
        let judged = budget.judged(results, "ours");
        let reached = judged.map_or("–", |value| budget.standing(value.median, ring).word());
        let (unit, relative) = (budget.unit, !matches!(budget.over, Over::Nothing));
        let _ = write!(
            text,
            "| {} (`{}`) | {} | {} | {} | {} | {} | {reached} |",
            budget.what,
            budget.case,
            with_unit(budget.figure(results, "ours"), unit),
            with_unit(budget.base(results, "ours"), unit),
            with_unit(budget.ratio(results, "ours"), "×"),
            limit(budget, Some(budget.must(ring))),
            limit(budget, budget.aim),
        );
        for peer in &columns {
            let value = budget.judged(results, peer.id);
            let unit = if relative { "×" } else { unit };
            let _ = write!(
                text,
                " {} |",
                value.map_or("–".into(), |v| plain(v.median, unit))
            );
        }
        text.push('\n');
    }
    text
}

fn limit(budget: &Budget, value: Option<f64>) -> String {
    let unit = if matches!(budget.over, Over::Nothing) {
        budget.unit
    } else {
        "×"
    };
    value.map_or("–".into(), |value| plain(value, unit))
}

fn plain(value: f64, unit: &str) -> String {
    match unit {
        "" => number(value),
        unit => format!("{} {unit}", number(value)),
    }
}

fn with_unit(value: Option<Spread>, unit: &str) -> String {
    value.map_or("–".into(), |value| match value.low < value.high {
        true => format!(
            "{} ({}–{})",
            plain(value.median, unit),
            number(value.low),
            number(value.high)
        ),
        false => plain(value.median, unit),
    })
}

/// Columns of a table: heading, figure, whether its spread is shown.
type Columns = &'static [(&'static str, &'static str, bool)];

fn columns(case: &Case) -> Columns {
    match case.load {
        Load::Memory => &[
            ("bytes each", "rss_each", true),
            ("empty, MiB", "empty_mib", false),
            ("full, MiB", "full_mib", false),
            ("after turnovers, ×", "growth_turnover", true),
            ("after reconnection, ×", "growth_reconnect", true),
            ("left, ×", "left", true),
            ("set-up with room, CPU µs", "setup_us", true),
        ],
        Load::Idle => &[
            ("CPU s per 1,000 and minute", "idle_cpu", true),
            ("heartbeats each", "heartbeats_each", false),
            ("CPU µs per heartbeat", "heartbeat_us", false),
        ],
        Load::BesideRoom { .. } => &[
            ("p50 ms", "p50_ms", false),
            ("p99 ms", "p99_ms", true),
            ("p99.9 ms", "p999_ms", false),
            ("room: p99 ms", "room_p99_ms", false),
        ],
        _ => &[
            ("CPU µs each", "cpu_us", true),
            ("user", "user_us", false),
            ("system", "system_us", false),
            ("× floor", "", true),
            ("per second", "per_second", false),
            ("p50 ms", "p50_ms", false),
            ("p99 ms", "p99_ms", false),
            ("set-up, CPU µs", "setup_us", false),
            ("generator µs", "generator_us", false),
        ],
    }
}

fn table(results: &Results, case: &Case) -> String {
    let mut columns = columns(case).to_vec();
    if !case.servers.contains(&"floor") {
        columns.retain(|(_, figure, _)| !figure.is_empty());
    }
    let mut text = String::from("| server |");
    columns
        .iter()
        .for_each(|(heading, ..)| text.push_str(&format!(" {heading} |")));
    text.push_str(" runs |\n|---|");
    columns.iter().for_each(|_| text.push_str("---:|"));
    text.push_str("---|\n");
    for server in KNOWN
        .iter()
        .filter(|known| case.servers.contains(&known.id))
    {
        let kept = results.kept(case.id, server.id);
        if kept.is_empty() {
            continue;
        }
        let name = match server.role {
            Role::Ours => format!("**{}**", server.name),
            Role::Reference => format!("*{}*", server.name),
            _ => server.name.into(),
        };
        let _ = write!(text, "| {name} |");
        let mut noisy = false;
        let invalid = kept.iter().any(|run| !run.valid);
        for (_, figure, spread) in &columns {
            let point = |server, figure| Point {
                case: case.id,
                server,
                figure,
            };
            let value = match *figure {
                "" => results.ratio(point(server.id, "cpu_us"), point("floor", "cpu_us")),
                figure => results.spread(point(server.id, figure)),
            };
            noisy |= *spread && value.is_some_and(|value| value.relative() > NOISY);
            let mut cell = match value {
                Some(value) if *spread => with_unit(Some(value), ""),
                value => value.map_or("–".into(), |value| number(value.median)),
            };
            if invalid && figure.ends_with("_ms") {
                cell.push('†');
            }
            let _ = write!(text, " {cell} |");
        }
        let mut notes = kept.len().to_string();
        if let Some(run) = kept.iter().find(|run| !run.faults.is_empty()) {
            let faulty = kept.iter().filter(|run| !run.faults.is_empty()).count();
            let _ = write!(notes, ", FAULTS in {faulty} (such as {})", run.faults);
        }
        if kept.iter().any(|run| run.others > DISTURBED) {
            notes.push_str(", disturbed");
        }
        if noisy {
            notes.push_str(", noisy");
        }
        let _ = writeln!(text, " {notes} |");
    }
    text
}

fn panels(results: &Results, case: &Case) -> Vec<Panel> {
    let one = |figure: &'static str, what: String, unit, marks| Panel {
        title: what,
        bars: bars(results, case, figure),
        marks,
        unit,
    };
    let limits = |figure: &str| {
        let of = BUDGETS
            .iter()
            .find(|b| (b.case, b.figure) == (case.id, figure));
        let absolute = of.filter(|budget| matches!(budget.over, Over::Nothing));
        absolute.map_or(Vec::new(), |b| {
            vec![(b.must(results.machine.io_uring), "must")]
        })
    };
    match case.load {
        Load::Memory => vec![
            one(
                "rss_each",
                format!("Resident bytes per connection, {MANY} of them"),
                " B",
                limits("rss_each"),
            ),
            one(
                "left",
                "Resident after all have gone, over the full figure".into(),
                " ×",
                limits("left"),
            ),
        ],
        Load::Idle => vec![one(
            "idle_cpu",
            format!("CPU s per 1,000 connections and minute: {}", case.title),
            " s",
            limits("idle_cpu"),
        )],
        Load::BesideRoom { .. } => vec![one(
            "p99_ms",
            format!("p99: {}", case.title),
            " ms",
            limits("p99_ms"),
        )],
        _ => {
            let floor = Point {
                case: case.id,
                server: "floor",
                figure: "cpu_us",
            };
            let mark = results.spread(floor).map(|floor| (floor.median, "floor"));
            let title = format!("CPU per {}: {}", case.unit, case.title);
            vec![one("cpu_us", title, " µs", mark.into_iter().collect())]
        }
    }
}

fn bars(results: &Results, case: &Case, figure: &str) -> Vec<Bar> {
    let bar = |server: &'static Known| {
        let value = results.spread(Point {
            case: case.id,
            server: server.id,
            figure,
        })?;
        let style = match server.role {
            Role::Ours => Style::Ours,
            Role::Peer => Style::Other,
            Role::Floor | Role::Reference => Style::Quiet,
        };
        Some(Bar {
            label: server.name.into(),
            value,
            style,
        })
    };
    KNOWN
        .iter()
        .filter(|known| case.servers.contains(&known.id))
        .filter_map(bar)
        .collect()
}
