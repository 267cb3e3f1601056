//! The tables of the page.

use super::{Escaped, Report, ms};
use crate::latency::Percentiles;
use crate::report::text::{bytes, grouped, rate, short};
use std::fmt::Write as _;

/// A table of a name and what it is.
fn pairs(out: &mut String, title: &str, rows: &[(&str, String)]) {
    let _ = write!(out, "<div><h3>{}</h3><table>", Escaped(title));
    for (name, value) in rows {
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td></tr>",
            Escaped(name),
            Escaped(value)
        );
    }
    out.push_str("</table></div>");
}

/// A table with a head; the first column is text, the others are figures.
fn grid(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    out.push_str("<div class=\"wide\"><table><tr>");
    for (column, name) in head.iter().enumerate() {
        let class = if column > 0 { " class=\"n\"" } else { "" };
        let _ = write!(out, "<th{class}>{}</th>", Escaped(name));
    }
    out.push_str("</tr>");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let class = if column > 0 { " class=\"n\"" } else { "" };
            let _ = write!(out, "<td{class}>{}</td>", Escaped(cell));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div>\n");
}

fn latency_row(name: &str, figures: &Percentiles) -> Vec<String> {
    let values = [
        figures.p50_ms,
        figures.p90_ms,
        figures.p99_ms,
        figures.p999_ms,
        figures.max_ms,
        figures.mean_ms,
    ];
    let mut row = vec![name.to_owned()];
    row.extend(values.into_iter().map(ms));
    row.push(grouped(figures.count));
    row
}

const LATENCY_HEAD: [&str; 8] = ["", "p50", "p90", "p99", "p99.9", "longest", "mean", "count"];

impl Report {
    pub(super) fn put_parameters(&self, out: &mut String) {
        let asked = &self.parameters;
        let mut rows = vec![
            ("server", asked.server.clone()),
            (
                "protocol",
                match asked.protocol.as_str() {
                    "socketio" => format!("Socket.IO over {}", asked.transport),
                    other => other.to_owned(),
                },
            ),
            ("connections", grouped(asked.connections.into())),
            ("scenario", asked.scenario_text()),
            (
                "payload",
                match self.mixed {
                    Some(_) => "as the scenario file says".to_owned(),
                    None => format!("{} B per message", grouped(asked.payload as u64)),
                },
            ),
            (
                "time",
                format!(
                    "{} s measured after {} s of the same load",
                    short(self.load.seconds),
                    short(asked.warmup_seconds)
                ),
            ),
            ("handshakes in flight", grouped(asked.handshakes.into())),
            ("namespace", asked.namespace.clone()),
        ];
        if let Some(room) = &asked.room {
            rows.push(("room", room.clone()));
        }
        if asked.rooms > 0 {
            rows.push(("rooms", grouped(asked.rooms.into())));
        }
        if asked.deflate {
            rows.push(("permessage-deflate", "offered".to_owned()));
        }
        if asked.authenticated {
            rows.push(("credentials", "sent, not shown here".to_owned()));
        }
        rows.retain(|(_, value)| !value.is_empty());
        out.push_str("<div class=\"pair\">");
        pairs(out, "Parameters", &rows);
        let machine = &self.machine;
        let mut rows = vec![
            ("system", machine.system.clone()),
            ("processor", machine.processor.clone()),
            ("cores", machine.cores.to_string()),
            ("memory", bytes(machine.memory)),
            ("begun", machine.began.clone()),
            ("generator", format!("sockeye bench {}", machine.version)),
        ];
        rows.retain(|(_, value)| !value.is_empty());
        pairs(out, "Machine of the generator", &rows);
        out.push_str("</div>\n");
    }

    pub(super) fn put_percentiles(&self, out: &mut String) {
        out.push_str("<h2>Latency</h2>\n");
        if self.load.latency.count > 0 {
            let clock = if self.generator.late.count > 0 {
                "The clock of a message starts when it was due by the schedule, whether or not it could \
                 leave then: what a stalled server held up is counted in full."
            } else {
                "The clock of a message starts when it is sent. Each sender waits for answers before it \
                 sends on, so this is the latency at the load that the server took."
            };
            let _ = writeln!(out, "<p>{}</p>", Escaped(clock));
        }
        let mut rows = vec![latency_row("set-up of a connection", &self.setup.latency)];
        if self.load.latency.count > 0 {
            rows.push(latency_row("message to its receiver", &self.load.latency));
        }
        if let Some(completion) = &self.load.completion {
            rows.push(latency_row("message to its last receiver", completion));
        }
        if self.generator.late.count > 0 {
            rows.push(latency_row("sent later than due", &self.generator.late));
        }
        grid(out, &LATENCY_HEAD, &rows);
    }

    pub(super) fn put_phases(&self, out: &mut String) {
        if self.phases.is_empty() {
            return;
        }
        out.push_str("<h2>Phases</h2>\n");
        let head = [
            "phase",
            "began",
            "length",
            "connections",
            "came",
            "set-up p99",
            "errors",
            "delivered/s",
            "p50",
            "p99",
            "longest",
            "server's CPU",
            "resident",
        ];
        let none = || "–".to_owned();
        let rows: Vec<Vec<String>> = self
            .phases
            .iter()
            .map(|phase| {
                let figure = |value: f64, count: u64| if count > 0 { ms(value) } else { none() };
                let seen = phase.latency.count;
                vec![
                    phase.name.clone(),
                    format!("{} s", short(phase.at)),
                    format!("{} s", short(phase.seconds)),
                    grouped(phase.connections.into()),
                    grouped(phase.set_up),
                    figure(phase.set_up_latency.p99_ms, phase.set_up_latency.count),
                    grouped(phase.errors),
                    rate(phase.received as f64 / phase.seconds.max(1e-9)),
                    figure(phase.latency.p50_ms, seen),
                    figure(phase.latency.p99_ms, seen),
                    figure(phase.latency.max_ms, seen),
                    phase
                        .server_cores
                        .map_or_else(none, |cores| format!("{cores:.2}")),
                    phase.rss.map_or_else(none, bytes),
                ]
            })
            .collect();
        grid(out, &head, &rows);
    }

    /// What single scenarios found.
    pub(super) fn put_scenario(&self, out: &mut String) {
        let details = self.details();
        for (title, rows) in &details {
            let _ = write!(out, "<h2>{}</h2>\n<div class=\"pair\">", Escaped(title));
            pairs(out, "", rows);
            out.push_str("</div>\n");
        }
    }

    pub(super) fn put_server(&self, out: &mut String) {
        let mut rows = Vec::new();
        if let Some(server) = &self.load.server {
            rows.push((
                "CPU during the measurement",
                format!("{:.2} cores", server.cores),
            ));
            if self.load.received > 0 {
                rows.push((
                    "CPU per delivery",
                    format!(
                        "{:.2} µs: {:.2} in the program, {:.2} in the kernel",
                        server.us_each(),
                        server.user_us_each,
                        server.system_us_each
                    ),
                ));
            }
        }
        if let Some(each) = self.setup.server_us_each {
            rows.push(("CPU per connection set up", format!("{} µs", short(each))));
        }
        if let Some(memory) = &self.memory {
            rows.push((
                "resident memory",
                format!(
                    "{} when empty, {} with all connections, {} at the end",
                    bytes(memory.empty.rss),
                    bytes(memory.full.rss),
                    bytes(memory.end.rss)
                ),
            ));
            rows.push((
                "memory per connection",
                format!(
                    "{:.0} B resident, {:.0} B proportional",
                    memory.rss_per_connection, memory.pss_per_connection
                ),
            ));
        }
        if let Some(foreign) = self.load.foreign_cores {
            rows.push((
                "other programs",
                format!("{foreign:.2} cores of this machine"),
            ));
        }
        if rows.is_empty() {
            return;
        }
        out.push_str("<h2>Server</h2>\n<div class=\"pair\">");
        pairs(out, "", &rows);
        out.push_str("</div>\n");
    }

    pub(super) fn put_trouble(&self, out: &mut String) {
        const FAULTS: [&str; 5] = [
            "published, due at a receiver, and never arrived",
            "arrived more than once",
            "arrived after a later message of the same publisher",
            "arrived at a receiver that should not have it",
            "arrived damaged, or without ever having been published",
        ];
        const ERRORS: [&str; 6] = [
            "the TCP connection failed",
            "the server said no in the handshake, or closed",
            "the server did not speak the protocol",
            "the server closed a connection that was ready",
            "the server did not finish the handshake in time",
            "a process of the generator ended without a result",
        ];
        out.push_str("<h2>Faults and errors</h2>\n");
        let rows = |kinds: &[(&str, u64)], meanings: &[&str]| -> Vec<Vec<String>> {
            let both = kinds.iter().zip(meanings);
            both.map(|((name, count), meaning)| vec![format!("{name}: {meaning}"), grouped(*count)])
                .collect()
        };
        out.push_str("<div class=\"pair\">");
        grid(
            out,
            &["faults of delivery", "count"],
            &rows(&self.faults.kinds(), &FAULTS),
        );
        grid(
            out,
            &["errors of connections", "count"],
            &rows(&self.errors.kinds(), &ERRORS),
        );
        out.push_str("</div>\n");
        if let Some(status) = self.errors.last_status {
            let _ = writeln!(out, "<p>The last refusal was HTTP status {status}.</p>");
        }
    }

    pub(super) fn put_generator(&self, out: &mut String) {
        let generator = &self.generator;
        out.push_str(
            "<h2>The generator itself</h2>\n<p>A load generator that is out of breath measures itself. \
             This one counts its own CPU, the time that it was ready to run and was not let, and how late \
             it sent what was due.</p>\n<div class=\"pair\">",
        );
        let mut rows = vec![
            (
                "CPU",
                format!("{:.2} cores; limit 0.9 per process", generator.cores),
            ),
            (
                "not let run",
                format!("{:.1} % of the time; limit 10 %", generator.waiting * 100.0),
            ),
        ];
        if !self.workers.is_empty() {
            let each = self.workers.iter();
            let each: Vec<String> = each.map(|one| format!("{:.2}", one.cores)).collect();
            rows.push(("CPU of each process", format!("{} cores", each.join(", "))));
        }
        if generator.late.count > 0 {
            rows.push((
                "sent late, p99",
                format!("{}; limit 5 ms", ms(generator.late.p99_ms)),
            ));
        }
        let outcome = self.outcome();
        rows.push((
            "exit status",
            format!("{}: {}", outcome.status(), outcome.meaning()),
        ));
        pairs(out, "", &rows);
        out.push_str("</div>\n");
    }
}
