//! Plots as hand-written SVG: bars with their spread, readable on light and dark ground.

use sockeye_bench::stats::Spread;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 210.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// Room for the number behind the longest bar.
const NUMBER: f64 = 90.0;

/// One bar chart; several make a plot.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
    /// Vertical lines through all bars.
    pub(crate) marks: Vec<(f64, &'static str)>,
    pub(crate) unit: &'static str,
}

pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: Spread,
    pub(crate) style: Style,
}

/// How a bar stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Ours,
    Other,
    /// Floor and references: not in the race.
    Quiet,
}

impl Style {
    fn class(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Other => "other",
            Self::Quiet => "quiet",
        }
    }
}

const STYLE: &str = "\
  .ground { fill: #ffffff } .text { fill: #1f2328 } .dim { fill: #59636e } .line { stroke: #59636e }
  .ours { fill: #1f6feb } .other { fill: #8c959f } .quiet { fill: #d1d9e0 } .whisker { stroke: #1f2328 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .text { fill: #f0f6fc } .dim { fill: #9198a1 } .line { stroke: #9198a1 }
    .ours { fill: #4493f8 } .other { fill: #656c76 } .quiet { fill: #3d444d } .whisker { stroke: #f0f6fc }
  }
  text { font: 13px system-ui, sans-serif } .title { font-weight: 600 } .small { font-size: 11px }
";

/// The panels below each other.
pub(crate) fn svg(name: &str, panels: &[Panel]) -> String {
    let height_of = |panel: &Panel| {
        let head = if panel.marks.is_empty() { 34.0 } else { 48.0 };
        head + panel.bars.len() as f64 * ROW + 12.0
    };
    let height: f64 = panels.iter().map(height_of).sum::<f64>() + 8.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n",
        escape(name)
    );
    let mut top = 0.0;
    for panel in panels {
        draw(panel, top, &mut out);
        top += height_of(panel);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(panel: &Panel, top: f64, out: &mut String) {
    let highs = panel.bars.iter().map(|bar| bar.value.high);
    let longest = highs
        .chain(panel.marks.iter().map(|(at, _)| *at))
        .fold(0.0, f64::max);
    let room = WIDTH - LABEL - NUMBER - 16.0;
    let x = |value: f64| {
        LABEL
            + if longest > 0.0 {
                value / longest * room
            } else {
                0.0
            }
    };
    let mut put = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line}");
    };
    let title = escape(&panel.title);
    put(format_args!(
        "<text class=\"text title\" x=\"16\" y=\"{:.0}\">{title}</text>",
        top + 24.0
    ));
    let bars = top + if panel.marks.is_empty() { 34.0 } else { 48.0 };
    let bottom = bars + panel.bars.len() as f64 * ROW;
    for (index, bar) in panel.bars.iter().enumerate() {
        let y = bars + index as f64 * ROW;
        let middle = y + ROW / 2.0;
        let (class, value) = (bar.style.class(), bar.value);
        put(format_args!(
            "<text class=\"text\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LABEL - 8.0,
            middle + 4.5,
            escape(&bar.label)
        ));
        put(format_args!(
            "<rect class=\"{class}\" x=\"{LABEL}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
            middle - BAR / 2.0,
            (x(value.median) - LABEL).max(1.0)
        ));
        if value.high > value.low {
            put(format_args!(
                "<path class=\"whisker\" fill=\"none\" d=\"M{:.1} {middle:.1}H{:.1}M{:.1} {:.1}v6M{:.1} {:.1}v6\"/>",
                x(value.low),
                x(value.high),
                x(value.low),
                middle - 3.0,
                x(value.high),
                middle - 3.0
            ));
        }
        put(format_args!(
            "<text class=\"text\" x=\"{:.1}\" y=\"{:.1}\">{}{}</text>",
            x(value.high) + 6.0,
            middle + 4.5,
            number(value.median),
            escape(panel.unit)
        ));
    }
    for (at, name) in &panel.marks {
        put(format_args!(
            "<path class=\"line\" stroke-dasharray=\"3 3\" d=\"M{:.1} {bars:.1}V{bottom:.1}\"/>",
            x(*at)
        ));
        put(format_args!(
            "<text class=\"dim small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            x(*at),
            bars - 3.0
        ));
    }
}

/// Three digits, thousands apart.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let whole = format!("{:.0}", value);
            let cut = whole.len() - 3;
            format!("{},{}", &whole[..cut], &whole[cut..])
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let table = [
            (0.0, "0.00"),
            (0.021, "0.0210"),
            (0.7249, "0.72"),
            (12.34, "12.3"),
            (123.4, "123"),
            (28953.0, "28,953"),
        ];
        for (value, text) in table {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_plot_has_a_bar_for_each_and_stays_inside() {
        let value = |median| Spread {
            median,
            low: median / 2.0,
            high: median * 2.0,
        };
        let bar = |label: &str, median| Bar {
            label: label.into(),
            value: value(median),
            style: Style::Other,
        };
        let panel = Panel {
            title: "a < b".into(),
            bars: vec![bar("x", 1.0), bar("y", 300.0)],
            marks: vec![(2.0, "must")],
            unit: " µs",
        };
        let text = svg("name", &[panel]);
        assert_eq!(text.matches("class=\"other\"").count(), 2);
        assert!(text.contains("a &lt; b") && text.contains("prefers-color-scheme: dark"));
        let ends = text
            .split(" x=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok());
        assert!(ends.into_iter().all(|x| (0.0..WIDTH - 40.0).contains(&x)));
    }
}
