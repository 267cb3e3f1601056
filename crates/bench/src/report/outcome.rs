//! What a run comes to, and the exit status that says so.

use serde::Serialize;

/// What a run comes to. Each has an exit status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every connection held, every message arrived once, in order and where it belonged, and
    /// the figures are the server's.
    Clean,
    /// Messages were lost, doubled, reordered, damaged or reached the wrong one.
    Faults,
    /// Connections failed, were refused, cut or broke the protocol.
    Errors,
    /// Memory or latency grew over the run beyond what was allowed.
    Drift,
    /// A threshold of the scenario was missed.
    Threshold,
    /// The generator was the bottleneck: throughput and latency are not the server's.
    NotValid,
}

impl Outcome {
    /// The exit status of a command that ran it.
    pub const fn status(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Faults => 4,
            Self::Errors => 5,
            Self::Drift => 6,
            Self::Threshold => 7,
            Self::NotValid => 8,
        }
    }
}

/// Every exit status of the command with its meaning, for the help.
pub const STATUSES: &[(u8, &str)] = &[
    (0, "clean and valid"),
    (
        1,
        "the run could not take place: a process that cannot be observed, a file that cannot be written",
    ),
    (2, "the command line is wrong"),
    (3, "not a single connection could be set up"),
    (
        4,
        "faults: messages lost, doubled, reordered, damaged or misdelivered",
    ),
    (5, "connections failed, were refused or were cut"),
    (6, "drift: memory or latency grew beyond what was allowed"),
    (7, "a threshold of the scenario was missed"),
    (
        8,
        "not valid: the generator was the bottleneck; nothing else was wrong",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_status_of_its_own_that_the_help_explains() {
        use Outcome::{Clean, Drift, Errors, Faults, NotValid, Threshold};
        let mut seen = Vec::new();
        for outcome in [Clean, Faults, Errors, Drift, Threshold, NotValid] {
            let status = outcome.status();
            assert!(STATUSES.iter().any(|(known, _)| *known == status));
            assert!(!seen.contains(&status), "{outcome:?}");
            seen.push(status);
        }
    }
}
