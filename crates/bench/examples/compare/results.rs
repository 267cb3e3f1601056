//! What was measured, as it is kept in `results.json`.

use serde::{Deserialize, Serialize};
use sockeye_bench::stats::{Spread, quiet};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Other work, in cores, from which on a run counts as disturbed.
pub(crate) const DISTURBED: f64 = 0.25;
/// Runs that are kept even when all were disturbed.
const LEAST: usize = 3;

/// All runs of one campaign, and what took part.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Days and seconds are of no use to a reader: `2026-11-21 05:11 UTC`.
    pub(crate) when: String,
    /// Why the figures must not be quoted, if so.
    pub(crate) caution: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) versions: Vec<Version>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory_gib: f64,
    /// Whether the kernel lets everybody use io_uring.
    pub(crate) io_uring: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) what: String,
    pub(crate) version: String,
}

/// Something that should have taken part and did not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// One case with one server in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) case: String,
    pub(crate) server: String,
    pub(crate) round: usize,
    pub(crate) figures: BTreeMap<String, f64>,
    /// CPU cores busy with neither server nor generator.
    pub(crate) others: f64,
    /// What went wrong with connections and messages; empty if nothing did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) faults: String,
    /// The generator did not limit throughput and latency.
    pub(crate) valid: bool,
}

/// A figure of one server in one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point<'a> {
    pub(crate) case: &'a str,
    pub(crate) server: &'a str,
    pub(crate) figure: &'a str,
}

impl Results {
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
    }

    /// Writes one run per line, so that versions can be compared.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut head = serde_json::to_value(self)?;
        let runs: Vec<String> = self
            .runs
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()?;
        // `Results` is an object with this key.
        head["runs"] = serde_json::Value::Array(Vec::new());
        let head = serde_json::to_string_pretty(&head)?;
        let runs = format!("\"runs\": [\n    {}\n  ]", runs.join(",\n    "));
        fs::write(path, head.replacen("\"runs\": []", &runs, 1) + "\n")
    }

    /// Puts in what a later campaign measured: its runs replace those of the same case and server.
    pub(crate) fn merge(&mut self, newer: Results) {
        let replaced = |run: &Run| {
            let same = |new: &Run| new.case == run.case && new.server == run.server;
            newer.runs.iter().any(same)
        };
        self.runs.retain(|run| !replaced(run));
        self.runs.extend(newer.runs);
        self.when = newer.when;
        self.caution = newer.caution;
        self.machine = newer.machine;
        self.versions = newer.versions;
        self.missing = newer.missing;
    }

    pub(crate) fn has(&self, case: &str) -> bool {
        self.runs.iter().any(|run| run.case == case)
    }

    fn of(&self, point: Point<'_>) -> impl Iterator<Item = (&Run, f64)> {
        self.runs
            .iter()
            .filter(move |run| run.case == point.case && run.server == point.server)
            .filter_map(move |run| Some((run, *run.figures.get(point.figure)?)))
    }

    /// The undisturbed runs of a case with a server.
    pub(crate) fn kept(&self, case: &str, server: &str) -> Vec<&Run> {
        let runs: Vec<&Run> = self
            .runs
            .iter()
            .filter(|run| run.case == case && run.server == server)
            .collect();
        let others: Vec<f64> = runs.iter().map(|run| run.others).collect();
        let keep = quiet(&others, DISTURBED, LEAST);
        let kept = runs.into_iter().zip(keep).filter(|(_, keep)| *keep);
        kept.map(|(run, _)| run).collect()
    }

    /// A figure over the undisturbed runs.
    pub(crate) fn spread(&self, point: Point<'_>) -> Option<Spread> {
        let kept = self.kept(point.case, point.server);
        Spread::of(
            kept.iter()
                .filter_map(|run| run.figures.get(point.figure).copied()),
        )
    }

    /// Ratios of two figures, each taken within a round, over the rounds in which neither was
    /// disturbed.
    pub(crate) fn ratio(&self, point: Point<'_>, base: Point<'_>) -> Option<Spread> {
        let mut ratios = Vec::new();
        let mut others = Vec::new();
        for (run, value) in self.of(point) {
            let Some((other, below)) = self.of(base).find(|(other, _)| other.round == run.round)
            else {
                continue;
            };
            if below > 0.0 {
                ratios.push(value / below);
                others.push(run.others.max(other.others));
            }
        }
        let keep = quiet(&others, DISTURBED, LEAST);
        Spread::of(
            ratios
                .into_iter()
                .zip(keep)
                .filter(|(_, keep)| *keep)
                .map(|(r, _)| r),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(case: &str, server: &str, round: usize, value: f64, others: f64) -> Run {
        Run {
            case: case.into(),
            server: server.into(),
            round,
            figures: [("cpu_us".to_owned(), value)].into(),
            others,
            faults: String::new(),
            valid: true,
        }
    }

    fn point<'a>(case: &'a str, server: &'a str) -> Point<'a> {
        Point {
            case,
            server,
            figure: "cpu_us",
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut results = Results::default();
        for (round, (ours, floor)) in [(2.0, 1.0), (30.0, 10.0), (4.0, 4.0)]
            .into_iter()
            .enumerate()
        {
            results.runs.push(run("echo1", "ours", round, ours, 0.0));
            results.runs.push(run("echo1", "floor", round, floor, 0.0));
        }
        // A round that failed for the floor has no ratio.
        results.runs.push(run("echo1", "ours", 3, 99.0, 0.0));
        let ratio = results
            .ratio(point("echo1", "ours"), point("echo1", "floor"))
            .unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high), (2.0, 1.0, 3.0));
        assert_eq!(
            results.ratio(point("echo1", "ours"), point("echo1", "ws")),
            None
        );
        assert_eq!(results.spread(point("echo1", "ours")).unwrap().high, 99.0);
    }

    #[test]
    fn disturbed_rounds_are_left_out_whoever_was_disturbed() {
        let mut results = Results::default();
        for round in 0..4 {
            let noise = if round == 3 { 0.9 } else { 0.0 };
            results.runs.push(run(
                "a",
                "ours",
                round,
                if round == 3 { 9.0 } else { 2.0 },
                0.0,
            ));
            results.runs.push(run("a", "floor", round, 1.0, noise));
        }
        let ratio = results
            .ratio(point("a", "ours"), point("a", "floor"))
            .unwrap();
        assert_eq!((ratio.low, ratio.high), (2.0, 2.0));
    }

    #[test]
    fn results_are_read_as_written_and_merged_by_case_and_server() {
        let mut results = Results {
            when: "then".into(),
            runs: vec![run("a", "ours", 1, 1.5, 0.1), run("b", "ours", 1, 2.0, 0.0)],
            ..Results::default()
        };
        let path =
            std::env::temp_dir().join(format!("sockeye-results-{}.json", std::process::id()));
        results.write(&path).unwrap();
        let read = Results::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read.runs.len(), 2);
        assert_eq!(read.runs[0].figures["cpu_us"], 1.5);
        let newer = Results {
            when: "now".into(),
            runs: vec![run("a", "ours", 1, 7.0, 0.0)],
            ..Results::default()
        };
        results.merge(newer);
        assert_eq!(results.when, "now");
        assert_eq!(results.spread(point("a", "ours")).unwrap().median, 7.0);
        assert!(results.has("b"));
    }
}
