//! The bar on a terminal, and the jobs that run below it.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use console::{Term, style, truncate_str};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};

use super::plain;
use super::running::Job;
use super::snapshot::Snapshot;
use super::units::whole_seconds;

/// From this width on there is room for a bar beside its text.
const WIDE: usize = 64;
/// What the bar itself takes then, with what stands around it.
const BAR_COLUMNS: usize = 23;
const WIDE_TEMPLATE: &str = "[{bar:20}] {text}";
const NARROW_TEMPLATE: &str = "{text}";
/// Jobs to show take a third of a terminal's lines, and no more than this.
const MOST_JOBS: usize = 10;

/// A bar that can be drawn and erased.
pub(super) struct Bar {
    term: Term,
    multi: MultiProgress,
    bar: ProgressBar,
    text: Arc<Mutex<String>>,
    wide: bool,
    drawn: bool,
}

impl Bar {
    /// `None` if standard error is nothing to draw on.
    pub(super) fn new() -> Option<Bar> {
        let term = Term::buffered_stderr();
        if !is_drawable() {
            return None;
        }
        // Whoever draws takes care himself not to do so too often.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Canvas(term.clone())), 100);
        let multi = MultiProgress::with_draw_target(target);
        let bar = multi.add(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        let text = Arc::default();
        bar.set_style(look(NARROW_TEMPLATE, &text));
        Some(Bar { term, multi, bar, text, wide: false, drawn: false })
    }

    /// How many jobs there is room for.
    pub(super) fn room(&self) -> usize {
        let (rows, _) = self.term.size();
        usize::from(rows / 3).min(MOST_JOBS)
    }

    /// Draws it anew; on a new line, if something else stands on this one.
    pub(super) fn draw(&mut self, snapshot: &Snapshot, open_line: bool) {
        // The shell, or whoever else has the terminal now, is not to be drawn over.
        if !has_terminal() {
            return;
        }
        if open_line {
            let _ = io::stderr().write_all(b"\n");
        }
        let columns = usize::from(self.term.size().1);
        let wide = columns >= WIDE && snapshot.total.is_some();
        let text = text(snapshot, columns, wide);
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
        if wide != self.wide {
            self.wide = wide;
            self.bar.set_style(look(if wide { WIDE_TEMPLATE } else { NARROW_TEMPLATE }, &self.text));
        }
        self.bar.update(|state| {
            if let Some(total) = snapshot.total {
                state.set_len(total.max(1));
            }
            state.set_pos(snapshot.done);
        });
        self.drawn = true;
    }

    /// Leaves the terminal as if it had never been there.
    pub(super) fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            // If the terminal is gone, so is the bar.
            let _ = self.multi.clear();
        }
    }

    pub(super) fn is_drawn(&self) -> bool {
        self.drawn
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.erase();
        self.multi.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// The terminal, with its cursor at the beginning of a line whenever something was drawn. A bar fills its lines, and what
/// is typed behind a full line, as ^C, goes to the next one: the bar would be erased from there, and leave a rest.
#[derive(Debug)]
struct Canvas(Term);

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        // In the same write: nothing can be typed before it.
        self.0.write_str("\r")?;
        self.0.flush()
    }
}

/// Whether standard error is a terminal that can do more than print.
pub(super) fn is_drawable() -> bool {
    Term::stderr().is_term() && !console::is_dumb()
}

/// Whether this process is in the terminal's foreground, as far as one can know.
fn has_terminal() -> bool {
    nix::unistd::tcgetpgrp(io::stderr().as_fd()).map_or(true, |group| group == nix::unistd::getpgrp())
}

fn look(template: &str, text: &Arc<Mutex<String>>) -> ProgressStyle {
    let text = Arc::clone(text);
    let write = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = out.write_str(&text.lock().unwrap_or_else(PoisonError::into_inner));
    };
    // Both templates are right; a test says so.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ").with_key("text", write)
}

/// The text beside the bar and below it.
fn text(snapshot: &Snapshot, columns: usize, wide: bool) -> String {
    let room = if wide { columns - BAR_COLUMNS } else { columns };
    let mut text = plain::head(snapshot, room, |bad| style(bad).for_stderr().red().to_string());
    for job in &snapshot.running {
        text += &format!("\n{}", style(job_line(job, columns)).for_stderr().dim());
    }
    if snapshot.more > 0 && !snapshot.running.is_empty() {
        let more = format!("  and {} more", snapshot.more);
        text += &format!("\n{}", style(truncate_str(&more, columns, "")).for_stderr().dim());
    }
    text
}

fn job_line(job: &Job, columns: usize) -> String {
    let line = format!("{:>8}  {}", whole_seconds(job.age), job.input);
    truncate_str(&line, columns, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::snapshot;
    use console::measure_text_width;

    #[test]
    fn templates_are_right() {
        for template in [WIDE_TEMPLATE, NARROW_TEMPLATE] {
            ProgressStyle::with_template(template).unwrap();
        }
        let around = WIDE_TEMPLATE.replace("{bar:20}", &"=".repeat(20)).replace("{text}", "");
        assert_eq!(around.len(), BAR_COLUMNS);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut snapshot = snapshot();
        snapshot.running[0].input = "日本語".repeat(40);
        for columns in [20, 30, 64, 80, 200] {
            for line in text(&snapshot, columns, columns >= WIDE).lines() {
                assert!(measure_text_width(line) <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn running_jobs_stand_below() {
        let mut snapshot = snapshot();
        snapshot.more = 12;
        let text = text(&snapshot, 40, false);
        let lines: Vec<_> = text.lines().map(console::strip_ansi_codes).collect();
        assert_eq!(lines[1..], ["     3 s  a.jpg", "     1 s  \"b c\"", "  and 12 more"]);
    }
}
