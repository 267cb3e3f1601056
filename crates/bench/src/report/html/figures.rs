//! The plots of a report.

use super::axis::Axis;
use super::plot::{Band, Plot, Series};
use super::thin::thin;
use super::{Escaped, Report, ms};
use crate::latency::{Latency, Percentiles};
use crate::report::text::{bytes, grouped, rate, short};
use crate::timeline::Tick;
use std::fmt::Write as _;

/// Most points of a line over time.
const POINTS: usize = 240;

impl Report {
    pub(super) fn put_figures(&self, out: &mut String) {
        out.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
        self.put_distribution(out);
        let ticks = thin(&self.timeline, POINTS);
        if ticks.len() > 1 {
            let time = Time::of(self, &ticks);
            time.put_latency(out);
            time.put_rates(out);
            time.put_connections(out);
            time.put_errors(out);
            time.put_server(out);
        }
        out.push_str("</div>\n");
    }

    fn put_distribution(&self, out: &mut String) {
        let mut series = Vec::new();
        if self.load.latency.count > 0 {
            series.push(("message", from_histogram(&self.load.histogram)));
        }
        if let Some(completion) = &self.load.completion
            && completion.count > 0
        {
            series.push(("last receiver", from_percentiles(completion)));
        }
        if self.setup.latency.count > 0 {
            series.push((
                "set-up of a connection",
                from_percentiles(&self.setup.latency),
            ));
        }
        let widest = series.iter().flat_map(|(_, points)| points);
        let most = widest.map(|(nines, _)| *nines).fold(2.0, f64::max).ceil();
        // Labels of many nines are long: then every second one is left out.
        let last = most as usize;
        let shown = |nines: usize| last <= 4 || nines < 3 || (last - nines).is_multiple_of(2);
        let marks = (0..=last).map(|nines| match shown(nines) {
            true => (nines as f64, nines_label(nines)),
            false => (nines as f64, String::new()),
        });
        let values = series.iter().flat_map(|(_, points)| points);
        let plot = Plot {
            title: "Latency by percentile, in milliseconds, on logarithmic axes",
            x: Axis::exact(0.0, most),
            x_marks: marks.collect(),
            x_title: "share of deliveries that were at most so late",
            y: Axis::decades(values.map(|(_, value)| *value)),
            y_label: ms,
            bands: Vec::new(),
            series: series
                .into_iter()
                .map(|(name, points)| Series {
                    name: name.to_owned(),
                    points: points.into_iter().map(|(x, y)| (x, Some(y))).collect(),
                })
                .collect(),
            notes: Vec::new(),
            filled: false,
        };
        put_figure(
            out,
            "",
            "Latency by percentile",
            &plot,
            "Go right to ever rarer cases: at 99 % one in a hundred is above the line, at 99.9 % one in a \
             thousand. A flat line means that all fare alike; a step up means that some wait for something.",
        );
    }
}

/// The distribution in steps of a twentieth of a nine: how many nines, and milliseconds there.
fn from_histogram(latency: &Latency) -> Vec<(f64, f64)> {
    let count = latency.count() as f64;
    let most = count.log10().max(0.5);
    let steps = (most * 20.0).ceil() as usize;
    let mut points: Vec<(f64, f64)> = (0..=steps)
        .map(|step| (step as f64 / 20.0).min(most))
        .map(|nines| {
            let quantile = 1.0 - 10f64.powf(-nines);
            let value = latency.histogram().value_at_quantile(quantile);
            (nines, value as f64 / 1e6)
        })
        .collect();
    points.dedup_by(|b, a| a.0 == b.0);
    points
}

fn from_percentiles(figures: &Percentiles) -> Vec<(f64, f64)> {
    let most = (figures.count as f64).log10();
    let known = [
        (0.5f64, figures.p50_ms),
        (0.9, figures.p90_ms),
        (0.99, figures.p99_ms),
        (0.999, figures.p999_ms),
    ];
    let mut points: Vec<(f64, f64)> = known
        .into_iter()
        .map(|(quantile, value)| (-(1.0 - quantile).log10(), value))
        .filter(|(nines, _)| *nines < most.max(0.4))
        .collect();
    points.push((most.max(0.5), figures.max_ms));
    points
}

/// `0`: none below; `1`: nine of ten; `2`: 99 of a hundred …
fn nines_label(nines: usize) -> String {
    match nines {
        0 => "0%".to_owned(),
        1 => "90%".to_owned(),
        2 => "99%".to_owned(),
        more => format!("99.{}%", "9".repeat(more - 2)),
    }
}

/// What the plots over time share.
struct Time<'a> {
    report: &'a Report,
    ticks: &'a [Tick],
    end: f64,
}

impl<'a> Time<'a> {
    fn of(report: &'a Report, ticks: &'a [Tick]) -> Self {
        let end = ticks.iter().map(|tick| tick.at + tick.seconds);
        Self {
            report,
            ticks,
            end: end.fold(0.0, f64::max),
        }
    }

    fn plot(&self, title: &'a str, y: Axis, y_label: fn(f64) -> String) -> Plot<'a> {
        let x = Axis::exact(0.0, self.end);
        let unit = match self.end {
            end if end > 7200.0 => (3600.0, "hours since the run began"),
            end if end > 180.0 => (60.0, "minutes since the run began"),
            _ => (1.0, "seconds since the run began"),
        };
        let marks = Axis::exact(0.0, self.end / unit.0).marks();
        Plot {
            title,
            x,
            x_marks: marks
                .into_iter()
                .map(|mark| (mark * unit.0, short(mark)))
                .collect(),
            x_title: unit.1,
            y,
            y_label,
            bands: self.bands(),
            series: Vec::new(),
            notes: Vec::new(),
            filled: false,
        }
    }

    /// The stages of the run, or the phases where the measurement has some.
    fn bands(&self) -> Vec<Band> {
        let phases = &self.report.phases;
        let stages = self.ticks.chunk_by(|a, b| a.stage == b.stage);
        let stages = stages.filter_map(|stage| {
            let (first, last) = (stage.first()?, stage.last()?);
            let measuring = first.stage == "measuring";
            (!measuring || phases.is_empty()).then(|| Band {
                name: first.stage.replace('_', " "),
                from: first.at,
                to: last.at + last.seconds,
                strong: measuring,
            })
        });
        let phases = phases.iter().zip(0..).map(|(phase, number)| Band {
            name: phase.name.clone(),
            from: phase.at,
            to: phase.at + phase.seconds,
            strong: number % 2 == 0,
        });
        stages.chain(phases).collect()
    }

    fn line(&self, name: &str, value: impl Fn(&Tick) -> Option<f64>) -> Series {
        let middle = |tick: &Tick| tick.at + tick.seconds / 2.0;
        Series {
            name: name.to_owned(),
            points: self
                .ticks
                .iter()
                .map(|tick| (middle(tick), value(tick)))
                .collect(),
        }
    }

    fn notes(&self, text: impl Fn(&Tick) -> String) -> Vec<(f64, f64, String)> {
        let note = |tick: &Tick| {
            let label = format!("{} s: {}", short(tick.at), text(tick));
            (tick.at, tick.at + tick.seconds, label)
        };
        self.ticks.iter().map(note).collect()
    }

    fn put_latency(&self, out: &mut String) {
        let of = |figure: fn(&Percentiles) -> f64| {
            move |tick: &Tick| Some(figure(&tick.latency)).filter(|_| tick.latency.count > 0)
        };
        let lines = [
            self.line("median", of(|figures| figures.p50_ms)),
            self.line("p99", of(|figures| figures.p99_ms)),
            self.line("longest", of(|figures| figures.max_ms)),
        ];
        let values = || lines.iter().flat_map(|line| &line.points);
        if values().all(|(_, value)| value.is_none()) {
            return;
        }
        let y = Axis::decades(values().filter_map(|(_, value)| *value));
        let mut plot = self.plot("Latency over time, in milliseconds", y, ms);
        plot.series = lines.into();
        plot.notes = self.notes(|tick| {
            format!(
                "median {}, p99 {}, longest {}",
                ms(tick.latency.p50_ms),
                ms(tick.latency.p99_ms),
                ms(tick.latency.max_ms)
            )
        });
        put_figure(
            out,
            "",
            "Latency over time",
            &plot,
            "Logarithmic: each line upwards is ten times as long (or as its mark says). Look for steps and \
             for teeth that come back: pauses, garbage collection, other work on the machine.",
        );
    }

    fn put_rates(&self, out: &mut String) {
        // Of a tick that is much shorter than the others, a rate says nothing.
        let longest = self
            .ticks
            .iter()
            .map(|tick| tick.seconds)
            .fold(0.0, f64::max);
        let per_second = |count: u64, tick: &Tick| {
            let whole = tick.seconds > 0.0 && tick.seconds >= longest / 5.0;
            whole.then(|| count as f64 / tick.seconds)
        };
        let lines = [
            self.line("delivered", |tick| per_second(tick.received, tick)),
            self.line("sent", |tick| per_second(tick.sent, tick)),
        ];
        let values = || lines.iter().flat_map(|line| &line.points);
        if !values().any(|(_, value)| value.is_some_and(|value| value > 0.0)) {
            return;
        }
        let y = Axis::from_zero(values().filter_map(|(_, value)| *value));
        let mut plot = self.plot("Messages per second over time", y, rate);
        plot.series = lines.into();
        plot.filled = true;
        plot.notes = self.notes(|tick| {
            let each = |count| rate(count as f64 / tick.seconds.max(1e-9));
            format!(
                "{}/s delivered, {}/s sent",
                each(tick.received),
                each(tick.sent)
            )
        });
        put_figure(
            out,
            "",
            "Messages per second",
            &plot,
            "In an echo the two lines should be one; in a fan-out each message sent is delivered many times. \
             Deliveries that fall while sending goes on are messages that pile up.",
        );
    }

    fn put_connections(&self, out: &mut String) {
        let line = self.line("ready", |tick| Some(f64::from(tick.connections)));
        let values = line.points.iter().filter_map(|(_, value)| *value);
        let y = Axis::from_zero(values);
        let mut plot = self.plot("Connections over time", y, rate);
        plot.series = vec![line];
        plot.filled = true;
        plot.notes = self.notes(|tick| {
            format!(
                "{} ready, {} came",
                grouped(tick.connections.into()),
                grouped(tick.set_up)
            )
        });
        put_figure(
            out,
            "",
            "Connections",
            &plot,
            "Those that are ready: in the namespace and, where asked, in the room. It should rise once and \
             stay, unless the scenario makes connections leave.",
        );
    }

    fn put_errors(&self, out: &mut String) {
        let all: u64 = self.ticks.iter().map(|tick| tick.errors).sum();
        if all == 0 {
            return;
        }
        let line = self.line("errors", |tick| Some(tick.errors as f64));
        let y = Axis::from_zero(line.points.iter().filter_map(|(_, value)| *value));
        let mut plot = self.plot("Errors over time", y, rate);
        plot.series = vec![line];
        plot.filled = true;
        plot.notes = self.notes(|tick| format!("{} errors", grouped(tick.errors)));
        put_figure(
            out,
            "errors",
            "Errors",
            &plot,
            "Connections that failed or were lost, when it happened. All at once is a limit or a crash; a few \
             all the time is something that wears.",
        );
    }

    fn put_server(&self, out: &mut String) {
        // The system counts in hundredths of a second: a short tick says nothing.
        let whole = |tick: &&Tick| tick.seconds >= 0.1;
        let cores = self.line("cores", |tick| Some(tick).filter(whole)?.server_cores);
        if cores.points.iter().any(|(_, value)| value.is_some()) {
            let y = Axis::from_zero(cores.points.iter().filter_map(|(_, value)| *value));
            let mut plot = self.plot("CPU of the server over time, in cores", y, short);
            plot.series = vec![cores];
            plot.filled = true;
            plot.notes =
                self.notes(|tick| format!("{:.2} cores", tick.server_cores.unwrap_or(0.0)));
            put_figure(
                out,
                "",
                "CPU of the server, in cores",
                &plot,
                "Time that its threads ran, as the operating system counts it, over time that passed. At as \
                 many cores as it may use, it is the limit.",
            );
        }
        let memory = self.line("resident", |tick| tick.rss.map(|rss| rss as f64));
        if memory.points.iter().any(|(_, value)| value.is_some()) {
            let y = Axis::of_bytes(memory.points.iter().filter_map(|(_, value)| *value));
            let mut plot = self.plot("Resident memory of the server over time", y, |value| {
                bytes(value as u64)
            });
            plot.series = vec![memory];
            plot.filled = true;
            plot.notes = self.notes(|tick| bytes(tick.rss.unwrap_or(0)));
            put_figure(
                out,
                "",
                "Memory of the server",
                &plot,
                "Resident set. It should rise with the connections and then stay level; a slope that goes on \
                 under constant load is a leak until proven otherwise.",
            );
        }
    }
}

fn put_figure(out: &mut String, class: &str, title: &str, plot: &Plot<'_>, caption: &str) {
    let _ = writeln!(
        out,
        "<figure class=\"{class}\"><h3>{}</h3>{}<figcaption>{}</figcaption></figure>",
        Escaped(title),
        plot.svg(),
        Escaped(caption)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nines_are_percentages() {
        let labels: Vec<String> = (0..5).map(nines_label).collect();
        assert_eq!(labels, ["0%", "90%", "99%", "99.9%", "99.99%"]);
    }

    proptest! {
        // Histograms are large.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_distribution_never_falls(values in proptest::collection::vec(1u64..1 << 40, 1..400)) {
            let mut latency = Latency::new();
            for value in values {
                latency.record(value);
            }
            for points in [from_histogram(&latency), from_percentiles(&latency.percentiles())] {
                prop_assert!(points.len() >= 2 || latency.count() < 3);
                prop_assert!(points.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "{points:?}");
            }
        }
    }
}
