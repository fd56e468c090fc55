//! Who moves results: a caller who waits anyway, or the pool's own thread.
//!
//! A caller who waits for a result reads it himself, which saves waking another thread and being woken by it. The
//! pool's thread stays out of the way meanwhile, and for a moment longer: callers who come one after the other find
//! it parked. It comes back at once when a caller leaves work behind.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the pool's thread waits for the next caller.
const LEASE: Duration = Duration::from_millis(1);
/// Callers who have read for longer than this wake the thread when they leave. Until then it looks itself whether
/// they are still there, so that a short call costs no wake-up.
const LONG: Duration = Duration::from_millis(8);

#[derive(Debug, Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Callers who read, or are about to.
    driving: usize,
    /// Since when there has been one all the time.
    since: Option<Instant>,
    /// When the last one left.
    left: Option<Instant>,
    /// The pool's thread waits here.
    parked: bool,
    /// Somebody wants it to go on now.
    called: bool,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A caller begins to read. He stops when the turn is dropped.
    pub(super) fn begin(&self) -> Turn<'_> {
        let mut state = self.state();
        if state.driving == 0 {
            state.since = Some(Instant::now());
        }
        state.driving += 1;
        Turn { turns: self, work: true }
    }

    /// Something is to be done, and whoever asks does not do it himself.
    pub(super) fn nudge(&self) {
        let state = self.state();
        if state.parked && state.driving == 0 {
            self.call(state);
        }
    }

    fn call(&self, mut state: MutexGuard<'_, State>) {
        state.called = true;
        if state.parked {
            self.changed.notify_one();
        }
    }

    /// The pool's thread: waits while callers read.
    pub(super) fn park(&self) {
        let mut state = self.state();
        loop {
            let fresh = state.left.is_some_and(|left| left.elapsed() < LEASE);
            if state.driving == 0 && (state.called || !fresh) {
                break;
            }
            state.parked = true;
            state = if state.driving > 0 && state.is_long() {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.changed.wait_timeout(state, LEASE).unwrap_or_else(PoisonError::into_inner).0
            };
        }
        state.parked = false;
        state.called = false;
        state.left = None;
    }
}

impl State {
    /// Callers have read for so long that the thread does not look for their end any more.
    fn is_long(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= LONG)
    }
}

/// A caller's turn to read.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    /// He may leave work behind.
    work: bool,
}

impl Turn<'_> {
    /// He leaves; with `work` left behind the pool's thread takes over at once.
    pub(super) fn end(mut self, work: bool) {
        self.work = work;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.driving -= 1;
        state.left = Some(Instant::now());
        if self.work || state.driving == 0 && state.is_long() {
            self.turns.call(state);
        }
    }
}
