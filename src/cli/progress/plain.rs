//! Progress in one line: for the bar's head, and for where there is no terminal.

use std::fmt::Write;

use super::snapshot::Snapshot;
use super::units::{human_time, rate, whole_seconds};

/// One part of the head of a bar, and how soon it goes if there is no room for it.
struct Part {
    text: String,
    /// What is least goes first.
    worth: u8,
    bad: bool,
}

/// The parts in the order in which they stand.
fn parts(snapshot: &Snapshot) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |worth, bad, text: Option<String>| parts.extend(text.map(|text| Part { text, worth, bad }));
    let Snapshot { done, failed, total, .. } = snapshot;
    add(
        u8::MAX,
        false,
        Some(total.map_or_else(|| format!("{done} done"), |total| format!("{done}/{total}"))),
    );
    add(2, false, snapshot.percent().map(|percent| format!("{percent}%")));
    add(4, true, (*failed > 0).then(|| format!("{failed} failed")));
    add(1, false, rate(snapshot.rate));
    add(3, false, snapshot.eta.map(|eta| format!("eta {}", whole_seconds(eta))));
    parts
}

/// What stands at the head of a bar, in so many columns if that is possible at all. `paint` marks what is bad.
pub(super) fn head(snapshot: &Snapshot, columns: usize, paint: impl Fn(&str) -> String) -> String {
    let mut parts = parts(snapshot);
    // All of it is ASCII.
    while parts.iter().map(|part| part.text.len() + 2).sum::<usize>() > columns + 2 {
        let least = parts.iter().enumerate().min_by_key(|(_, part)| part.worth);
        match least {
            Some((at, part)) if part.worth < u8::MAX => drop(parts.remove(at)),
            _ => break,
        }
    }
    let shown: Vec<String> =
        parts.into_iter().map(|part| if part.bad { paint(&part.text) } else { part.text }).collect();
    shown.join("  ")
}

/// A message for where nothing can be drawn over.
pub(super) fn line(snapshot: &Snapshot) -> String {
    let Snapshot { done, failed, total, elapsed, .. } = snapshot;
    let mut line = match (total, snapshot.percent()) {
        (Some(total), Some(percent)) => format!("{done} of {total} jobs done ({percent}%)"),
        _ => format!("{done} jobs done"),
    };
    let _ = write!(line, " in {}, {failed} failed", human_time(*elapsed));
    if let Some(rate) = rate(snapshot.rate) {
        let _ = write!(line, ", {rate}");
    }
    if let Some(eta) = snapshot.eta {
        let _ = write!(line, ", eta {}", whole_seconds(eta));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::snapshot;

    fn head_in(snapshot: &Snapshot, columns: usize) -> String {
        head(snapshot, columns, |text| text.to_owned())
    }

    #[test]
    fn the_head_fits_its_columns() {
        let full = snapshot();
        for (columns, text) in [
            (80, "412/1000  41%  1 failed  38/s  eta 15 s"),
            (39, "412/1000  41%  1 failed  38/s  eta 15 s"),
            (38, "412/1000  41%  1 failed  eta 15 s"),
            (32, "412/1000  1 failed  eta 15 s"),
            (20, "412/1000  1 failed"),
            (10, "412/1000"),
            (3, "412/1000"),
        ] {
            assert_eq!(head_in(&full, columns), text);
        }
    }

    #[test]
    fn without_a_total_there_is_no_end_in_sight() {
        let mut open = snapshot();
        (open.total, open.eta, open.failed) = (None, None, 0);
        assert_eq!(head_in(&open, 80), "412 done  38/s");
        assert_eq!(line(&open), "412 jobs done in 10.8 s, 0 failed, 38/s");
    }

    #[test]
    fn only_what_is_bad_is_painted() {
        assert!(head(&snapshot(), 80, |text| format!("<{text}>")).contains("41%  <1 failed>  38/s"));
    }

    #[test]
    fn a_line_tells_all() {
        assert_eq!(line(&snapshot()), "412 of 1000 jobs done (41%) in 10.8 s, 1 failed, 38/s, eta 15 s");
    }
}
