//! The report as a page: one file, without scripts and without anything from elsewhere.

mod axis;
mod figures;
mod plot;
mod tables;
mod thin;

use super::text::{bytes, grouped, rate, short};
use super::{Outcome, Report, Validity};
use std::fmt::{self, Write as _};

const STYLE: &str = include_str!("style.css");

impl Report {
    /// The report as an HTML page, for readers who were not there.
    ///
    /// It is one file that fetches nothing and runs no script. Every text that comes from
    /// outside is escaped.
    pub fn html(&self) -> String {
        let title = format!("{} against {}", self.scenario, self.parameters.server);
        let mut out = String::with_capacity(200_000);
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head><body><main>\n\
             <h1>{title}</h1><p class=\"faint\">Load test of {}, begun {}, by sockeye bench {}</p>\n",
            short_length(self.load.seconds),
            Escaped(&self.machine.began),
            Escaped(&self.machine.version),
            title = Escaped(&title),
        );
        self.put_verdict(&mut out);
        self.put_tiles(&mut out);
        out.push_str("<h2>What was done</h2>\n");
        if let Some(shows) = crate::cli::what_it_shows(self.scenario) {
            let _ = writeln!(out, "<p>{}</p>", Escaped(&shows));
        }
        self.put_parameters(&mut out);
        self.put_figures(&mut out);
        self.put_percentiles(&mut out);
        self.put_phases(&mut out);
        self.put_scenario(&mut out);
        self.put_server(&mut out);
        self.put_trouble(&mut out);
        self.put_generator(&mut out);
        out.push_str(
            "<footer><p>A <em>delivery</em> is one message that reached one receiver; a message to a \
             room of a thousand makes a thousand. A <em>percentile</em> is the latency that so many of a \
             hundred deliveries did not exceed: a p99 of 20 ms means that one in a hundred took longer. \
             Percentiles are taken from all deliveries of the measurement, not averaged.</p>\
             </footer></main></body></html>\n",
        );
        out
    }

    fn put_verdict(&self, out: &mut String) {
        let outcome = self.outcome();
        let (class, headline) = match outcome {
            Outcome::Clean => ("", "Clean and valid"),
            Outcome::Faults => ("bad", "Messages were not delivered as they should"),
            Outcome::Errors => ("bad", "Connections went wrong"),
            Outcome::Drift => ("bad", "The server drifts"),
            Outcome::Threshold => ("bad", "A threshold was missed"),
            Outcome::NotValid => ("warn", "Not valid as throughput or latency of the server"),
        };
        let _ = write!(
            out,
            "<section class=\"verdict {class}\"><strong>{headline}</strong><p>"
        );
        let mut sentences = Vec::new();
        if self.faults.is_clean() && self.load.received > 0 {
            sentences
                .push("Every message arrived once, in order and where it belonged.".to_owned());
        } else if !self.faults.is_clean() {
            let all: u64 = self.faults.kinds().iter().map(|(_, count)| count).sum();
            sentences.push(format!("{} faults of delivery.", grouped(all)));
        }
        match self.errors.total() {
            0 => sentences.push("No connection went wrong.".to_owned()),
            all => sentences.push(format!("{} connections went wrong.", grouped(all))),
        }
        sentences.push(
            match self.generator.validity {
                Validity::Valid => {
                    "The load generator had time to spare: the figures are the server's."
                }
                Validity::GeneratorBound => {
                    "The load generator was the bottleneck: throughput and latency on this page are \
                     its own. Faults, errors, CPU and memory of the server hold."
                }
            }
            .to_owned(),
        );
        let _ = write!(out, "{}</p>", Escaped(&sentences.join(" ")));
        for (what, remedy) in self.generator.limits.advice() {
            let _ = write!(
                out,
                "<p>Why: {}. What to do: {}.</p>",
                Escaped(what),
                Escaped(remedy)
            );
        }
        if let Some(hint) = self.hint() {
            let _ = write!(out, "<p>Hint: {}.</p>", Escaped(hint));
        }
        out.push_str("</section>\n");
    }

    fn put_tiles(&self, out: &mut String) {
        let mut tiles = vec![(
            "connections ready",
            format!(
                "{} of {}",
                grouped(self.setup.ready.into()),
                grouped(self.connections.into())
            ),
            self.setup.failed > 0,
        )];
        let load = &self.load;
        if load.received > 0 {
            tiles.push(("deliveries per second", rate(load.per_second), false));
            tiles.push(("latency, median", ms(load.latency.p50_ms), false));
            tiles.push(("latency, p99", ms(load.latency.p99_ms), false));
            tiles.push(("latency, longest", ms(load.latency.max_ms), false));
        } else {
            tiles.push(("set-up, median", ms(self.setup.latency.p50_ms), false));
            tiles.push(("set-up, p99", ms(self.setup.latency.p99_ms), false));
        }
        if let Some(server) = load.server {
            tiles.push(("server's CPU", format!("{:.2} cores", server.cores), false));
            if load.received > 0 {
                let each = format!("{} µs", short(server.us_each()));
                tiles.push(("server's CPU per delivery", each, false));
            }
        }
        if let Some(memory) = &self.memory {
            tiles.push(("server's memory", bytes(memory.full.rss), false));
        }
        let faults: u64 = self.faults.kinds().iter().map(|(_, count)| count).sum();
        tiles.push(("faults", grouped(faults), faults > 0));
        let errors = self.errors.total();
        tiles.push(("errors", grouped(errors), errors > 0));
        out.push_str("<div class=\"tiles\">");
        for (label, figure, bad) in tiles {
            let class = if bad { "tile bad" } else { "tile" };
            let _ = write!(
                out,
                "<div class=\"{class}\"><b>{}</b><span>{label}</span></div>",
                Escaped(&figure)
            );
        }
        out.push_str("</div>\n");
    }
}

/// Text of HTML, in an element or a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Control characters are not allowed in HTML.
                letter if letter.is_control() => f.write_char('\u{fffd}')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

fn short_length(seconds: f64) -> String {
    match seconds {
        s if s >= 7200.0 => format!("{} hours", short(s / 3600.0)),
        s if s >= 120.0 => format!("{} minutes", short(s / 60.0)),
        s => format!("{} seconds", short(s)),
    }
}

/// Milliseconds in the unit that suits them.
fn ms(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v >= 1000.0 => format!("{} s", short(v / 1000.0)),
        v if v >= 0.1 => format!("{} ms", short(v)),
        v => format!("{} µs", short(v * 1000.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::sample;

    const HOSTILE: &str = "\"'><script>alert(1)</script><!-- &amp; \u{0}";

    /// Every tag closed in order, every attribute quoted, no bare angle bracket.
    fn check(page: &str) -> usize {
        let (mut open, mut seen, mut rest) = (Vec::new(), 0, page);
        while let Some(at) = rest.find('<') {
            assert!(!rest[..at].contains('>'), "a bare bracket: {}", &rest[..at]);
            let end = rest.find('>').expect("a tag that ends");
            let tag = &rest[at + 1..end];
            assert!(!tag.contains('<'), "{tag}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            seen += 1;
            rest = &rest[end + 1..];
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "before {rest:.40}");
            } else if !tag.ends_with('/') && !matches!(name, "!doctype" | "meta") {
                open.push(name);
            }
            if name == "style" {
                rest = &rest[rest.find("</style>").expect("a style that ends")..];
            }
        }
        assert!(open.is_empty(), "{open:?}");
        seen
    }

    #[test]
    fn the_page_is_whole_and_says_everything() {
        let page = sample().html();
        assert!(check(&page) > 500);
        for expected in [
            "fanout against 127.0.0.1:3000/socket.io/",
            "998 of 1,000",
            "Latency by percentile",
            "Latency over time",
            "Messages per second",
            "Errors",
            "CPU of the server",
            "Memory of the server",
            "4 faults of delivery",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(
            page.contains("What to do:"),
            "the verdict comes with advice"
        );
        for foreign in [
            "http:", "https:", "src=", "href=", "url(", "@import", "secret",
        ] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let mut report = sample();
        let parameters = &mut report.parameters;
        for text in [
            &mut parameters.server,
            &mut parameters.protocol,
            &mut parameters.transport,
            &mut parameters.namespace,
            &mut report.machine.system,
            &mut report.machine.processor,
            &mut report.machine.version,
            &mut report.machine.began,
            &mut report.phases[0].name,
        ] {
            *text = HOSTILE.to_owned();
        }
        parameters.room = Some(HOSTILE.to_owned());
        parameters.scenario = serde_json::json!({ "file": HOSTILE, HOSTILE: 1 });
        let page = report.html();
        check(&page);
        assert!(!page.contains("<script") && !page.contains("<!--") && !page.contains('\0'));
        assert!(
            page.matches("&quot;&#39;&gt;&lt;script&gt;alert(1)")
                .count()
                >= 9
        );
    }

    #[test]
    fn nothing_at_all_is_a_page_too() {
        let mut report = sample();
        (report.timeline, report.phases) = (Vec::new(), Vec::new());
        report.load.latency = Default::default();
        report.load.histogram = Default::default();
        report.load.completion = None;
        report.setup.latency = Default::default();
        (report.load.received, report.memory, report.load.server) = (0, None, None);
        check(&report.html());
        assert!(!report.html().contains("NaN"));
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "50 µs"),
            (1.5, "1.5 ms"),
            (2500.0, "2.5 s"),
        ] {
            assert_eq!(ms(value), text);
        }
    }
}
