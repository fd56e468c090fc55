//! Rows as aligned text.

use std::fmt::Write;

use crate::cases::Case;
use crate::row::{Better, Row, Spread};

const SIDE: usize = 34;

/// What one has to know of the machine and of the columns.
pub(crate) fn heading(rounds: usize) -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{processors} processors, load {load} at the start, {rounds} rounds.\n\
         \"times\" is how many times better Sidestep is, in the same round: above 1 it is the better one.\n\
         Efficiency is serial time / (2 × parallel time).\n"
    )
}

/// The rows of one case.
pub(crate) fn text(case: &Case, rows: &[Row]) -> String {
    let title = format!("{}  {}", case.name, case.title);
    let mut text =
        format!("{title:<width$} {:>9} {:>9} {:>9}   times\n", "median", "min", "max", width = SIDE + 4);
    for figure in rows.chunk_by(|a, b| a.figure == b.figure) {
        let Some(first) = figure.first() else { continue };
        let direction = match first.better {
            Better::Less => "less is better",
            Better::More => "more is better",
        };
        let _ = writeln!(text, "  {}, {} ({direction})", first.figure, first.unit);
        for row in figure {
            let _ = writeln!(text, "    {:<SIDE$} {}", row.side, cells(row));
        }
    }
    text
}

fn cells(row: &Row) -> String {
    let Some(Spread { min, median, max }) = row.value else {
        return format!("n/a: {}", row.missing.as_deref().unwrap_or("it gave nothing"));
    };
    let mut cells = format!("{:>9} {:>9} {:>9}", number(median), number(min), number(max));
    if let Some(ratio) = row.ratio {
        let _ = write!(cells, "   {}", number(ratio.median));
        if ratio.min < ratio.max {
            let _ = write!(cells, " ({} … {})", number(ratio.min), number(ratio.max));
        }
    }
    if let Some(missing) = &row.missing {
        let _ = write!(cells, "   later: {missing}");
    }
    cells
}

/// Three digits that mean something.
pub(crate) fn number(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 || size == 0.0 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    format!("{value:.digits$}{suffix}")
}
