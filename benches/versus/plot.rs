//! The headlines as a chart: one bar for each side, on a logarithmic scale, to the right where Sidestep is better.
//!
//! It is one SVG file without scripts or fonts of its own, readable on white and on black.

use std::fmt::Write;

use crate::cases;
use crate::row::{Rank, Row, Spread};
use crate::table::number;

const WIDTH: f64 = 860.0;
/// Names stand to the left of it, bars to the right.
const LEFT: f64 = 250.0;
/// Bars end before it, so that there is room for their numbers.
const RIGHT: f64 = WIDTH - 70.0;
const TOP: f64 = 64.0;
const LINE: f64 = 18.0;
const GAP: f64 = 12.0;

const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #333 }
.case { font-weight: bold }
.axis { fill: #777; text-anchor: middle }
.side { text-anchor: end }
.title { font-size: 15px; font-weight: bold }
line { stroke: #999; stroke-opacity: 0.4 }
.one { stroke: #777; stroke-opacity: 1 }
.spread { stroke: #777; stroke-opacity: 0.9 }
.better { fill: #2a9d6f }
.worse { fill: #d08a3c }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .axis { fill: #999 } }
";

/// Powers of ten, from the lowest to the highest ratio.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of<'a>(spreads: impl Iterator<Item = &'a Spread>) -> Scale {
        let start = Scale { low: -1.0, high: 1.0 };
        spreads.fold(start, |scale, spread| Scale {
            low: scale.low.min(spread.min.log10().floor()),
            high: scale.high.max(spread.max.log10().ceil()),
        })
    }

    fn x(self, ratio: f64) -> f64 {
        LEFT + (ratio.log10() - self.low) / (self.high - self.low) * (RIGHT - LEFT)
    }
}

/// The chart of all rows that stand for their case.
pub(crate) fn svg(rows: &[Row]) -> String {
    let shown: Vec<_> =
        rows.iter().filter(|row| row.rank == Rank::Headline && drawable(row).is_some()).collect();
    let scale = Scale::of(shown.iter().filter_map(|row| drawable(row)));
    let mut body = String::new();
    let mut y = TOP;
    for group in shown.chunk_by(|a, b| a.case == b.case && a.figure == b.figure) {
        y += GAP;
        heading(&mut body, group[0], y);
        for row in group {
            y += LINE;
            bar(&mut body, scale, row, y);
        }
        y += LINE;
    }
    let height = y + GAP;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\">\n<style>{STYLE}</style>\n{}{body}</svg>\n",
        axis(scale, y)
    )
}

/// What can be drawn on a logarithmic scale.
fn drawable(row: &Row) -> Option<&Spread> {
    row.ratio.as_ref().filter(|ratio| ratio.min > 0.0)
}

fn axis(scale: Scale, bottom: f64) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "<text class=\"title\" x=\"8\" y=\"20\">How many times better Sidestep is</text>");
    let _ = writeln!(
        out,
        "<text x=\"8\" y=\"38\">median of rounds; the thin line goes from the worst to the best round</text>"
    );
    for power in scale.low as i32..=scale.high as i32 {
        let x = scale.x(10f64.powi(power));
        let class = if power == 0 { " class=\"one\"" } else { "" };
        let label = if power < 0 {
            format!("1/{}", 10i64.pow(power.unsigned_abs()))
        } else {
            format!("{}", 10i64.pow(power.unsigned_abs()))
        };
        let _ = writeln!(out, "<line{class} x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>");
        let _ = writeln!(out, "<text class=\"axis\" x=\"{x:.1}\" y=\"{:.1}\">{label}×</text>", TOP - 6.0);
    }
    out
}

fn heading(out: &mut String, first: &Row, y: f64) {
    let title = cases::ALL.iter().find(|case| case.name == first.case).map_or("", |case| case.title);
    let text = escape(&format!("{}  {title}: {}", first.case, first.figure));
    let _ = writeln!(out, "<text class=\"case\" x=\"8\" y=\"{y:.1}\">{text}</text>");
}

fn bar(out: &mut String, scale: Scale, row: &Row, y: f64) {
    let Some(ratio) = drawable(row) else { return };
    let (one, end) = (scale.x(1.0), scale.x(ratio.median));
    let class = if ratio.median >= 1.0 { "better" } else { "worse" };
    let (middle, height) = (y - 4.0, 10.0);
    let side = escape(&row.side);
    let _ = writeln!(out, "<text class=\"side\" x=\"{:.1}\" y=\"{y:.1}\">{side}</text>", LEFT - 10.0);
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height}\"/>",
        one.min(end),
        middle - height / 2.0,
        (end - one).abs().max(1.0)
    );
    let (low, high) = (scale.x(ratio.min), scale.x(ratio.max));
    let _ = writeln!(
        out,
        "<line class=\"spread\" x1=\"{low:.1}\" y1=\"{middle:.1}\" x2=\"{high:.1}\" y2=\"{middle:.1}\"/>"
    );
    let at = end.max(high).max(one) + 5.0;
    let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{y:.1}\">{}×</text>", number(ratio.median));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
