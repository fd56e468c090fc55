//! How far a run has come, for whoever asks from another thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::cli::input::InputError;

/// Counts of inputs and jobs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    taken: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    /// An earlier run has done them.
    left_out: AtomicU64,
    running: AtomicU64,
    /// There are no more inputs than those taken.
    drained: AtomicBool,
    /// How many inputs there are, if that is known from the start.
    total: OnceLock<u64>,
    /// Why no more inputs could be read.
    broken: Mutex<Option<InputError>>,
}

impl Tally {
    /// An input was read.
    pub(crate) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// All were read.
    pub(crate) fn drained(&self) {
        self.drained.store(true, Ordering::Relaxed);
    }

    /// The next one could not be read.
    pub(crate) fn broken(&self, error: InputError) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why an input could not be read; given once.
    pub(crate) fn take_error(&self) -> Option<InputError> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn ended(&self, ok: bool) {
        if ok { &self.ok } else { &self.failed }.fetch_add(1, Ordering::Relaxed);
    }

    /// An input need not be run.
    pub(crate) fn left_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// So many jobs run.
    pub(crate) fn running(&self, jobs: usize) {
        self.running.store(jobs as u64, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how many inputs there are.
    pub(crate) fn expect(&self, total: usize) {
        let _ = self.total.set(total as u64);
    }

    /// How many inputs there are, if that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        let drained = self.drained.load(Ordering::Relaxed);
        self.total.get().copied().or_else(|| drained.then(|| self.taken.load(Ordering::Relaxed)))
    }

    /// How many jobs failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn ok(&self) -> u64 {
        self.ok.load(Ordering::Relaxed)
    }

    /// How many have not been run, as far as is known, and whether there may be more.
    fn left(&self) -> (u64, bool) {
        let known = self.total().unwrap_or_else(|| self.taken.load(Ordering::Relaxed));
        let over = self.ok() + self.failed() + self.left_out.load(Ordering::Relaxed);
        (known.saturating_sub(over), self.total().is_none())
    }

    /// Whether some input was left out.
    pub(crate) fn has_left_some(&self) -> bool {
        let (left, more) = self.left();
        left > 0 || more
    }

    /// What to say when a run is to end once what runs has ended. If nothing runs, that is now.
    pub(crate) fn draining(&self, again: &str) -> Option<String> {
        let running = self.running.load(Ordering::Relaxed);
        if running == 0 {
            return None;
        }
        let (left, more) = self.left();
        let waiting = left.saturating_sub(running);
        let rest = match (waiting, more) {
            (0, true) => "more inputs not read".to_owned(),
            (waiting, false) => format!("{waiting} not started"),
            (waiting, true) => format!("{waiting} not started, more inputs not read"),
        };
        Some(format!("draining {}, {rest}; {again} again to end {}", jobs(running), them(running)))
    }

    /// What to say when what runs is ended too.
    pub(crate) fn ending(&self, again: &str) -> String {
        let running = self.running.load(Ordering::Relaxed);
        if running == 0 {
            // What keeps it are results that nobody takes.
            return format!("nothing runs any more; {again} again to leave results that are not written");
        }
        format!("ending {}; {again} again to kill {}", jobs(running), them(running))
    }

    /// What to say when a run has ended before its inputs did.
    pub(crate) fn interruption(&self, how: &str) -> String {
        let (left, more) = self.left();
        let rest = if more { ", nor the inputs that were not read yet" } else { "" };
        format!("{how}: {} ok, {} failed, {left} not run{rest}", self.ok(), self.failed())
    }
}

fn jobs(count: u64) -> String {
    match count {
        1 => "1 running job".to_owned(),
        count => format!("{count} running jobs"),
    }
}

fn them(count: u64) -> &'static str {
    if count == 1 { "it" } else { "them" }
}
