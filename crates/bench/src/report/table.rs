//! The report as a table for people.

use super::text::{bytes, grouped, rate, short};
use super::{Outcome, Report, Validity};
use crate::latency::Percentiles;
use std::fmt::{self, Write as _};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        self.head(&mut page);
        self.connections(&mut page);
        self.messages(&mut page);
        self.latencies(&mut page);
        self.phase_lines(&mut page);
        for (title, rows) in self.details() {
            page.heading(title);
            for (label, text) in rows {
                page.line(label, &text);
            }
        }
        self.server(&mut page);
        self.troubles(&mut page);
        self.generator(&mut page);
        self.result(&mut page);
        f.write_str(&page.0)
    }
}

/// Lines of a label and its text, under headings.
#[derive(Default)]
struct Page(String);

/// Width of a label.
const LABEL: usize = 16;
/// Width of a figure in a table of percentiles.
const FIGURE: usize = 11;
/// Where long texts are broken.
const WIDTH: usize = 96;

impl Page {
    fn heading(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// A label and its text; a long text goes on below itself.
    fn line(&mut self, label: &str, text: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "  {label:<LABEL$}");
        let mut column = 0;
        for (number, word) in text.split(' ').enumerate() {
            let width = word.chars().count();
            if number > 0 && LABEL + 2 + column + 1 + width > WIDTH {
                let _ = write!(self.0, "\n  {:LABEL$}", "");
                column = 0;
            } else if number > 0 {
                self.0.push(' ');
                column += 1;
            }
            self.0.push_str(word);
            column += width;
        }
        self.0.push('\n');
    }

    /// A heading with the names of columns.
    fn columns(&mut self, title: &str, names: &[&str]) {
        self.heading(title);
        self.0.pop();
        let pad = (LABEL + 2).saturating_sub(title.chars().count());
        let _ = write!(self.0, "{:pad$}", "");
        for name in names {
            let _ = write!(self.0, "{name:>FIGURE$}");
        }
        self.0.push('\n');
    }

    /// A label and its figures below the names of columns.
    fn figures(&mut self, label: &str, figures: &[String]) {
        let label: String = label.chars().take(LABEL).collect();
        let _ = write!(self.0, "  {label:<LABEL$}");
        for figure in figures {
            let _ = write!(self.0, "{figure:>FIGURE$}");
        }
        self.0.push('\n');
    }

    fn percentiles(&mut self, label: &str, figures: &Percentiles) {
        let values = [
            figures.p50_ms,
            figures.p90_ms,
            figures.p99_ms,
            figures.p999_ms,
            figures.max_ms,
            figures.mean_ms,
        ];
        let mut texts: Vec<String> = values.into_iter().map(milliseconds).collect();
        texts.push(grouped(figures.count));
        self.figures(label, &texts);
    }
}

impl Report {
    fn head(&self, page: &mut Page) {
        let parameters = &self.parameters;
        page.heading(&format!(
            "{}: {} connections to {} ({})",
            self.scenario,
            grouped(parameters.connections.into()),
            parameters.server,
            parameters.protocol,
        ));
        let own = parameters.scenario_text();
        let load = format!(
            "{}{}{} s measured after {} s warm-up",
            if own.is_empty() {
                String::new()
            } else {
                format!("{own}, ")
            },
            // Payloads of a scenario file differ.
            match self.mixed {
                Some(_) => String::new(),
                None => format!("payload {} B, ", parameters.payload),
            },
            short(self.load.seconds),
            short(parameters.warmup_seconds),
        );
        page.line("load", &load);
        let machine = &self.machine;
        let processor = match machine.processor.as_str() {
            "" => String::new(),
            name => format!(", {name}"),
        };
        page.line(
            "generator on",
            &format!("{}, {} cores{processor}", machine.system, machine.cores),
        );
    }

    fn connections(&self, page: &mut Page) {
        let setup = &self.setup;
        page.heading("Connections");
        page.line(
            "ready",
            &format!(
                "{} of {} in {} s, {} per second",
                grouped(setup.ready.into()),
                grouped(self.connections.into()),
                short(setup.seconds),
                rate(setup.per_second),
            ),
        );
        if setup.failed > 0 {
            page.line("failed", &grouped(setup.failed.into()));
        }
        if let Some(each) = setup.server_us_each {
            page.line(
                "server's CPU",
                &format!("{} µs per connection", short(each)),
            );
        }
    }

    fn messages(&self, page: &mut Page) {
        let load = &self.load;
        page.heading("Messages");
        let line = |count: u64| {
            let each = if load.seconds > 0.0 {
                count as f64 / load.seconds
            } else {
                0.0
            };
            format!("{:>14} {:>14} per second", grouped(count), rate(each))
        };
        if load.sent + load.received > 0 {
            page.line("sent", &line(load.sent));
            page.line("delivered", &line(load.received));
        }
        page.line("heartbeats", &line(load.pings));
        if load.unrelated > 0 {
            page.line("unrelated", &line(load.unrelated));
        }
    }

    fn latencies(&self, page: &mut Page) {
        page.columns(
            "Latency, ms",
            &["p50", "p90", "p99", "p99.9", "max", "mean", "count"],
        );
        page.percentiles("set-up", &self.setup.latency);
        if self.load.latency.count > 0 {
            page.percentiles("message", &self.load.latency);
        }
        if let Some(completion) = &self.load.completion {
            page.percentiles("last receiver", completion);
        }
        if self.generator.late.count > 0 {
            page.percentiles("sent late by", &self.generator.late);
        }
    }

    fn phase_lines(&self, page: &mut Page) {
        if self.phases.is_empty() {
            return;
        }
        page.columns(
            "Phases",
            &[
                "seconds",
                "ready",
                "errors",
                "per second",
                "p50 ms",
                "p99 ms",
                "cores",
            ],
        );
        for phase in &self.phases {
            let each = phase.received as f64 / phase.seconds.max(1e-9);
            page.figures(
                &phase.name,
                &[
                    short(phase.seconds),
                    grouped(phase.connections.into()),
                    grouped(phase.errors),
                    rate(each),
                    milliseconds(phase.latency.p50_ms),
                    milliseconds(phase.latency.p99_ms),
                    phase
                        .server_cores
                        .map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}")),
                ],
            );
        }
    }

    fn server(&self, page: &mut Page) {
        if self.load.server.is_none() && self.memory.is_none() {
            return;
        }
        page.heading("Server");
        if let Some(server) = &self.load.server {
            page.line("CPU", &format!("{:.2} cores", server.cores));
            if self.load.received > 0 {
                page.line(
                    "per delivery",
                    &format!(
                        "{:.2} µs ({:.2} program, {:.2} kernel)",
                        server.us_each(),
                        server.user_us_each,
                        server.system_us_each,
                    ),
                );
            }
        }
        if let Some(memory) = &self.memory {
            page.line(
                "resident",
                &format!(
                    "{} when empty, {} with all connections, {} at the end",
                    bytes(memory.empty.rss),
                    bytes(memory.full.rss),
                    bytes(memory.end.rss),
                ),
            );
            page.line(
                "per connection",
                &format!(
                    "{:.0} B resident, {:.0} B proportional",
                    memory.rss_per_connection, memory.pss_per_connection,
                ),
            );
        }
        if let Some(foreign) = self.load.foreign_cores {
            page.line(
                "other programs",
                &format!("{foreign:.2} cores of this machine"),
            );
        }
    }

    fn troubles(&self, page: &mut Page) {
        page.heading("Trouble");
        page.line("faults", &kinds(&self.faults.kinds()));
        let mut errors = kinds(&self.errors.kinds());
        if let Some(status) = self.errors.last_status {
            let _ = write!(errors, " (last HTTP status {status})");
        }
        page.line("errors", &errors);
    }

    fn generator(&self, page: &mut Page) {
        let generator = &self.generator;
        page.heading("Generator");
        let each = match self.load.received {
            0 => String::new(),
            _ => format!(", {:.2} µs per delivery", generator.us_each),
        };
        page.line("CPU", &format!("{:.2} cores{each}", generator.cores));
        if !self.workers.is_empty() {
            let each = self.workers.iter();
            let each: Vec<String> = each.map(|one| format!("{:.2}", one.cores)).collect();
            let text = format!("{} cores in {} processes", each.join(", "), each.len());
            page.line("by process", &text);
        }
        page.line(
            "not let run",
            &format!("{:.1} % of the time", generator.waiting * 100.0),
        );
    }

    fn result(&self, page: &mut Page) {
        page.heading("Result");
        let verdict = match self.generator.validity {
            Validity::Valid => "VALID: the figures are the server's",
            Validity::GeneratorBound => {
                "NOT VALID: the generator was the bottleneck. Throughput and latency are its own; \
                 faults, errors, CPU and memory of the server hold."
            }
        };
        page.line("validity", verdict);
        for (what, remedy) in self.generator.limits.advice() {
            page.line("why", what);
            page.line("what to do", remedy);
        }
        if let Some(hint) = self.hint() {
            page.line("hint", hint);
        }
        let outcome = self.outcome();
        page.line(
            "exit status",
            &format!("{}, {}", outcome.status(), outcome.meaning()),
        );
    }
}

impl Outcome {
    pub(super) fn meaning(self) -> &'static str {
        let known = super::STATUSES
            .iter()
            .find(|(status, _)| *status == self.status());
        // A test holds every outcome to the list.
        known.map_or("", |(_, meaning)| meaning)
    }
}

fn kinds(all: &[(&str, u64)]) -> String {
    let met: Vec<String> = all
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {}", grouped(*count)))
        .collect();
    if met.is_empty() {
        "none".to_owned()
    } else {
        met.join(", ")
    }
}

fn milliseconds(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{v:.0}"),
        v if v >= 100.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_go_on_below_themselves() {
        let mut page = Page::default();
        page.line("label", &"word ".repeat(40));
        assert!(page.0.lines().count() > 1);
        for line in page.0.lines() {
            assert!(line.chars().count() <= WIDTH, "{line:?}");
            assert!(line.starts_with("  label  ") || line.starts_with(&" ".repeat(LABEL + 2)));
        }
    }
}
