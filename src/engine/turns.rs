//! Who moves results: a caller who waits anyway, or the pool's own thread.
//!
//! A caller who waits for a result reads it himself, which saves waking another thread and being woken by it. The
//! pool's thread stays out of the way meanwhile, and for a moment longer: callers who come one after the other find
//! it parked. It comes back at once when a caller leaves work behind.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the pool's thread waits for the next caller.
const LEASE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Callers who read, or are about to.
    driving: usize,
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

    /// A caller begins to read.
    pub(super) fn begin(&self) {
        self.state().driving += 1;
    }

    /// He leaves; with `work` left behind the pool's thread takes over at once.
    pub(super) fn end(&self, work: bool) {
        let mut state = self.state();
        state.driving -= 1;
        state.left = Some(Instant::now());
        if work {
            self.call(state);
        }
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
            state = self.changed.wait_timeout(state, LEASE).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.parked = false;
        state.called = false;
        state.left = None;
    }
}
