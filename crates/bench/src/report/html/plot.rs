//! A plot of lines, as SVG that takes its colours from the page.

use super::Escaped;
use super::axis::Axis;
use std::fmt::Write as _;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 268.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 42.0;

/// One line of a plot. A point without a value interrupts it.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A stretch of the horizontal axis with a name.
pub(super) struct Band {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Whether it stands out.
    pub(super) strong: bool,
}

/// Lines over a common axis.
pub(super) struct Plot<'a> {
    /// For readers that see no picture.
    pub(super) title: &'a str,
    pub(super) x: Axis,
    /// Marks of the horizontal axis with their labels.
    pub(super) x_marks: Vec<(f64, String)>,
    pub(super) x_title: &'a str,
    pub(super) y: Axis,
    pub(super) y_label: fn(f64) -> String,
    pub(super) bands: Vec<Band>,
    pub(super) series: Vec<Series>,
    /// Places to point at, with what is there.
    pub(super) notes: Vec<(f64, f64, String)>,
    /// Fill below the first line.
    pub(super) filled: bool,
}

impl Plot<'_> {
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            Escaped(self.title)
        );
        self.put_bands(&mut out);
        self.put_axes(&mut out);
        for (number, series) in self.series.iter().enumerate() {
            self.put_series(number, series, &mut out);
        }
        self.put_notes(&mut out);
        out.push_str("</svg>");
        if self.series.len() > 1 {
            out.push_str("<div class=\"legend\">");
            for (number, series) in self.series.iter().enumerate() {
                let _ = write!(
                    out,
                    "<span><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"line s{number}\" \
                     d=\"M0 4H24\"/></svg>{}</span>",
                    Escaped(&series.name)
                );
            }
            out.push_str("</div>");
        }
        out
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn at_y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn put_bands(&self, out: &mut String) {
        let height = HEIGHT - TOP - BOTTOM;
        for band in &self.bands {
            let (from, to) = (self.at_x(band.from), self.at_x(band.to));
            let class = if band.strong { "band strong" } else { "band" };
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{height}\">\
                 <title>{}</title></rect>",
                (to - from).max(0.0),
                Escaped(&band.name)
            );
            // Some six units a letter.
            if band.name.chars().count() as f64 * 6.2 < to - from {
                let _ = write!(
                    out,
                    "<text class=\"where\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    (from + to) / 2.0,
                    TOP - 6.0,
                    Escaped(&band.name)
                );
            }
        }
    }

    fn put_axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for mark in self.y.marks() {
            let y = self.at_y(mark);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.5,
                Escaped(&(self.y_label)(mark))
            );
        }
        for (mark, label) in &self.x_marks {
            let x = self.at_x(*mark);
            // A long label at the right edge ends there.
            let (class, at) = match label.chars().count() > 4 && x > right - 20.0 {
                true => ("y", WIDTH - 1.0),
                false => ("x", x),
            };
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
                 <text class=\"{class}\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 17.0,
                Escaped(label)
            );
        }
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
             <text class=\"x\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 7.0,
            Escaped(self.x_title)
        );
    }

    fn put_series(&self, number: usize, series: &Series, out: &mut String) {
        let mut line = String::new();
        let mut drawing = false;
        for (index, (x, y)) in series.points.iter().enumerate() {
            let Some(y) = y.filter(|y| y.is_finite()) else {
                drawing = false;
                continue;
            };
            let (x, y) = (self.at_x(*x), self.at_y(y));
            let _ = write!(line, "{}{x:.1} {y:.1}", if drawing { 'L' } else { 'M' });
            let follows = series
                .points
                .get(index + 1)
                .is_some_and(|(_, y)| y.is_some());
            if !drawing && !follows {
                // A point alone is drawn as a dot.
                line.push_str("h0");
            }
            drawing = true;
        }
        if self.filled && number == 0 {
            let area = self.area(&series.points);
            let _ = write!(out, "<path class=\"area s{number}\" d=\"{area}\"/>");
        }
        let _ = write!(out, "<path class=\"line s{number}\" d=\"{line}\"/>");
    }

    /// What is below a line, for each stretch without a gap.
    fn area(&self, points: &[(f64, Option<f64>)]) -> String {
        let bottom = HEIGHT - BOTTOM;
        let mut area = String::new();
        for stretch in points.split(|(_, y)| !y.is_some_and(f64::is_finite)) {
            let (Some((first, _)), Some((last, _))) = (stretch.first(), stretch.last()) else {
                continue;
            };
            let _ = write!(area, "M{:.1} {bottom}", self.at_x(*first));
            for (x, y) in stretch {
                let y = self.at_y(y.unwrap_or(0.0));
                let _ = write!(area, "L{:.1} {y:.1}", self.at_x(*x));
            }
            let _ = write!(area, "L{:.1} {bottom}Z", self.at_x(*last));
        }
        area
    }

    fn put_notes(&self, out: &mut String) {
        let height = HEIGHT - TOP - BOTTOM;
        for (from, to, text) in &self.notes {
            let (from, to) = (self.at_x(*from), self.at_x(*to));
            let _ = write!(
                out,
                "<rect class=\"note\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{height}\">\
                 <title>{}</title></rect>",
                (to - from).max(1.0),
                Escaped(text)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, Option<f64>)>) -> String {
        let series = Series {
            name: "a <b>".into(),
            points,
        };
        Plot {
            title: "\"title\"",
            x: Axis::exact(0.0, 10.0),
            x_marks: vec![(5.0, "five".into())],
            x_title: "seconds",
            y: Axis::exact(0.0, 1.0),
            y_label: |value| value.to_string(),
            bands: vec![Band {
                name: "&".into(),
                from: 0.0,
                to: 10.0,
                strong: true,
            }],
            series: vec![series],
            notes: Vec::new(),
            filled: false,
        }
        .svg()
    }

    #[test]
    fn a_gap_interrupts_the_line_and_a_lone_point_is_a_dot() {
        let svg = plot(vec![
            (0.0, Some(0.0)),
            (5.0, Some(1.0)),
            (6.0, None),
            (10.0, Some(0.5)),
        ]);
        assert!(
            svg.contains("d=\"M58.0 226.0L263.0 22.0M468.0 124.0h0\""),
            "{svg}"
        );
    }

    #[test]
    fn texts_are_escaped() {
        let svg = plot(Vec::new());
        assert!(svg.contains("aria-label=\"&quot;title&quot;\""));
        assert!(svg.contains("<title>&amp;</title>") && !svg.contains("a <b>"));
    }
}
