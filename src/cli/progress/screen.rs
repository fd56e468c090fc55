//! When what is shown: the state behind a display, and the thread that keeps it fresh.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::bar::Bar;
use super::snapshot::{Meter, Snapshot};
use super::{Run, json, plain};
use crate::cli::say::program;

/// A bar is drawn so often at most, and erased and drawn again for a message only if it stood for half as long.
const BAR_PERIOD: Duration = Duration::from_millis(100);
/// Jobs that have run for so long stand below it: shorter ones would only flicker.
const WORTH_SHOWING: Duration = Duration::from_millis(500);
const JSON_PERIOD: Duration = Duration::from_secs(1);
pub(super) const PLAIN_PERIOD: Duration = Duration::from_secs(10);

/// In which way progress is shown.
pub(super) enum Shape {
    Bar(Bar),
    Plain,
    Json,
}

/// Whether it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Shown,
    Hidden,
    /// The whole command stands still; afterwards it is as before.
    Paused {
        shown: bool,
    },
    Closed,
}

/// What a display shows.
pub(super) struct Screen {
    shape: Shape,
    state: State,
    meter: Meter,
    /// When it is to be shown next.
    due: Instant,
    /// When a bar was drawn last.
    drawn: Option<Instant>,
    /// What was written last did not end its line. The bar begins one of its own, or both would be erased with it.
    open_line: bool,
    /// There is a thread for it.
    kept: bool,
}

impl Screen {
    pub(super) fn new(shape: Shape, shown: bool, due: Instant) -> Screen {
        let state = if shown { State::Shown } else { State::Hidden };
        Screen { shape, state, meter: Meter::new(), due, drawn: None, open_line: false, kept: false }
    }

    #[cfg(test)]
    pub(super) fn is_shown(&self) -> bool {
        self.state == State::Shown
    }

    /// There was something to see on a terminal.
    pub(super) fn was_bar(&self) -> bool {
        self.drawn.is_some()
    }

    pub(super) fn toggle(&mut self) {
        match self.state {
            State::Shown => {
                self.erase();
                self.state = State::Hidden;
            }
            State::Hidden => {
                self.state = State::Shown;
                self.due = Instant::now();
            }
            State::Paused { .. } | State::Closed => {}
        }
    }

    pub(super) fn pause(&mut self) {
        self.erase();
        self.state = match self.state {
            State::Shown => State::Paused { shown: true },
            State::Hidden => State::Paused { shown: false },
            other => other,
        };
    }

    pub(super) fn resume(&mut self) {
        if let State::Paused { shown } = self.state {
            self.state = if shown { State::Shown } else { State::Hidden };
            if let Shape::Bar(_) = self.shape {
                self.due = Instant::now();
            }
        }
    }

    /// Shows nothing more. A program that reads along is told how it ended.
    pub(super) fn close(&mut self, run: &Run) {
        self.erase();
        if let (Shape::Json, State::Shown) = (&self.shape, self.state) {
            self.show(run);
        }
        self.state = State::Closed;
    }

    pub(super) fn erase(&mut self) {
        if let Shape::Bar(bar) = &mut self.shape {
            bar.erase();
        }
    }

    /// Lets someone else write to the same terminal.
    fn apart<R>(&mut self, run: &Run, text: &[u8], write: impl FnOnce() -> R) -> R {
        let Shape::Bar(bar) = &mut self.shape else { return write() };
        let stood = bar.is_drawn();
        bar.erase();
        let written = write();
        self.open_line = text.last().map_or(self.open_line, |last| *last != b'\n');
        let fresh = self.drawn.is_some_and(|drawn| drawn.elapsed() < BAR_PERIOD / 2);
        // If much is written, the bar comes back when it is due anyway.
        if stood && !fresh && self.state == State::Shown {
            self.show(run);
        }
        written
    }

    fn show(&mut self, run: &Run) {
        let rate = self.meter.rate(run.counts.sums().done());
        let snapshot = |most, at_least| run.snapshot(rate, most, at_least);
        match &mut self.shape {
            Shape::Bar(bar) => {
                bar.draw(&snapshot(bar.room(), WORTH_SHOWING), std::mem::take(&mut self.open_line));
                if bar.is_drawn() {
                    self.drawn = Some(Instant::now());
                }
            }
            Shape::Plain => {
                let line = plain::line(&snapshot(0, Duration::ZERO));
                write(&format!("{}: {line}\n", program()));
            }
            Shape::Json => write(&json::line(&snapshot(usize::MAX, Duration::ZERO))),
        }
    }

    fn period(&self) -> Duration {
        match self.shape {
            Shape::Bar(_) => BAR_PERIOD,
            Shape::Plain => PLAIN_PERIOD,
            Shape::Json => JSON_PERIOD,
        }
    }
}

/// Not with [`say`](crate::cli::say), which waits for the screen.
fn write(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

impl Run {
    /// Starts the thread that keeps the screen fresh, if something is to be seen and there is none yet. Where there can
    /// be no thread, there is no display.
    pub(super) fn keep_fresh(self: &Arc<Run>) {
        let mut screen = self.lock();
        if !screen.kept && screen.state == State::Shown {
            let run = Arc::clone(self);
            let thread = std::thread::Builder::new().name("display".into());
            screen.kept = thread.spawn(move || run.refresh()).is_ok();
        }
        drop(screen);
        self.changed.notify_all();
    }

    fn refresh(&self) {
        let mut screen = self.lock();
        loop {
            screen = match screen.state {
                State::Closed => return,
                State::Hidden | State::Paused { .. } => {
                    self.changed.wait(screen).unwrap_or_else(PoisonError::into_inner)
                }
                State::Shown => {
                    let now = Instant::now();
                    if now >= screen.due {
                        screen.show(self);
                        screen.due = now + screen.period();
                    }
                    let wait = screen.due.saturating_duration_since(now);
                    self.changed.wait_timeout(screen, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The screen, unless it is held for too long: by someone who writes to a terminal that stalls.
    pub(super) fn lock_within(&self, limit: Duration) -> Option<std::sync::MutexGuard<'_, Screen>> {
        let begin = Instant::now();
        loop {
            match self.screen.try_lock() {
                Ok(screen) => return Some(screen),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if begin.elapsed() < limit => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => return None,
            }
        }
    }

    /// Writes while no bar is in the way.
    pub(super) fn apart<R>(&self, text: &[u8], write: impl FnOnce() -> R) -> R {
        // A thread that panics may hold the lock itself.
        if !self.draws.load(Ordering::Relaxed) || std::thread::panicking() {
            return write();
        }
        self.lock().apart(self, text, write)
    }

    /// What is shown now.
    fn snapshot(&self, rate: f64, most: usize, at_least: Duration) -> Snapshot {
        let running = self.running.oldest(most, at_least);
        Snapshot::new(self.counts.sums(), self.total(), self.began.elapsed(), rate, running)
    }
}
