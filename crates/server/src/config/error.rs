//! What can be wrong with a configuration, told so that it can be mended.

use std::fmt;

/// Everything that is wrong with the configuration: all of it, not only the first finding.
#[derive(Debug)]
pub(crate) struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The file cannot be read or is not TOML.
    File { file: String, reason: String },
    /// There is no such key, variable, flag or command.
    Unknown {
        place: String,
        what: &'static str,
        name: String,
        nearest: String,
    },
    /// The value is not what the key takes.
    Value {
        place: String,
        key: String,
        value: String,
        expected: String,
    },
    /// A flag without its value.
    NoValue { flag: String, expected: String },
    /// Values that do not go together.
    Conflict { key: String, reason: String },
}

impl ConfigError {
    /// An error when there is at least one problem.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self { problems })
        }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, reason } => write!(f, "{file}: {reason}"),
            Self::Unknown {
                place,
                what,
                name,
                nearest,
            } => {
                write!(
                    f,
                    "{place}: unknown {what} `{name}`; did you mean `{nearest}`?"
                )
            }
            Self::Value {
                place,
                key,
                value,
                expected,
            } => {
                write!(
                    f,
                    "{place}: {key} = {value} is not accepted; expected {expected}"
                )
            }
            Self::NoValue { flag, expected } => {
                write!(f, "command line: {flag} needs a value: {expected}")
            }
            Self::Conflict { key, reason } => write!(f, "{key}: {reason}"),
        }
    }
}
