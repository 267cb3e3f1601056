//! The scenario `mixed`: what clients do, and how many of them, is read from a file.
//!
//! [`Mix::load`] reads a scenario file into types; [`Mix::parse`] reads its text. What a file may
//! say is told in docs/load-testing.md, with examples in `crates/bench/scenarios`.

mod arrivals;
mod client;
mod driver;
mod figures;
mod parse;
mod plan;
mod report;
mod rooms;
mod stamp;
mod table;
mod template;

pub(crate) use driver::{Act, Defaults, Play};
pub use parse::{MAX_ARRIVALS, MAX_BEHAVIOURS, MAX_CLIENTS, MAX_DEPTH, MAX_PHASES, MAX_STEPS};
pub use plan::{
    Answer, Behaviour, Contract, EventId, Limits, Load, Mix, Parting, Phase, PublishArgument, Step,
    Think, Thresholds, Tokens, WhenLost,
};
pub(crate) use report::ERROR_SHARE;
pub use report::{Clients, EventReport, MixedReport, ThresholdReport};
pub use table::MixError;
pub use template::{
    JsonTemplate, MAX_RANDOM_STRING, PLACEHOLDERS, Template, TemplateError, Values,
};

use std::fmt;
use std::path::Path;

impl Mix {
    /// Reads a scenario file. Files that it names are looked for beside it.
    ///
    /// # Errors
    ///
    /// [`MixError`] if a file cannot be read, or for the first thing in it that is not understood,
    /// with its line and what is expected there.
    pub fn load(path: &Path) -> Result<Self, MixError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| MixError::new(&file, None, format!("cannot be read: {error}")))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        parse::parse(&file, &text, &|name| {
            std::fs::read_to_string(folder.join(name))
        })
    }

    /// Reads the text of a scenario file; `file` is its name, for errors, and names that it
    /// mentions are relative to the current directory.
    ///
    /// # Errors
    ///
    /// As [`Mix::load`].
    ///
    /// ```
    /// use sockeye_bench::mixed::Mix;
    ///
    /// let text = r#"
    ///     [[phase]]
    ///     duration = "10s"
    ///     clients = 100
    ///
    ///     [[behaviour]]
    ///     steps = [ { repeat = "forever", every = "1s", steps = [ { emit = "ping", ack = true } ] } ]
    /// "#;
    /// assert_eq!(Mix::parse("example.toml", text)?.phases.len(), 1);
    ///
    /// let error = Mix::parse("example.toml", &text.replace("clients", "client")).unwrap_err();
    /// assert_eq!(error.line(), Some(4));
    /// assert!(error.to_string().contains("did you mean clients?"));
    /// # Ok::<(), sockeye_bench::mixed::MixError>(())
    /// ```
    pub fn parse(file: &str, text: &str) -> Result<Self, MixError> {
        parse::parse(file, text, &|name| std::fs::read_to_string(name))
    }
}

/// In a few words, for whoever checks a file.
impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration().as_secs_f64();
        write!(f, "{}: understood. {seconds} s:", self.name)?;
        for phase in &self.phases {
            let seconds = phase.duration.as_secs_f64();
            match phase.load {
                Load::Clients { count, .. } => {
                    write!(f, "\n  {}: {count} clients, {seconds} s", phase.name)?;
                }
                Load::Arrivals { from, to } => write!(
                    f,
                    "\n  {}: {from} to {to} new clients per second, {seconds} s",
                    phase.name
                )?,
            }
        }
        let shares: f64 = self
            .behaviours
            .iter()
            .map(|behaviour| behaviour.share)
            .sum();
        for behaviour in &self.behaviours {
            let share = 100.0 * behaviour.share / shares;
            let (name, steps) = (&behaviour.name, behaviour.steps.len());
            write!(f, "\n  {share:.0} % {name}: {steps} steps")?;
        }
        Ok(())
    }
}
