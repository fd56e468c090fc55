//! A condition variable that costs nothing while nobody waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Duration;

/// Wakes those who wait for a change of what a lock protects. The standard library's asks the system each time.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    condvar: Condvar,
    /// Those who wait. It is raised under the lock: whoever notifies after a change under the lock sees those who do not
    /// see the change.
    waiting: AtomicU32,
}

impl Condition {
    /// Waits, but no longer than `timeout`; it may end for no reason.
    pub(crate) fn wait<T>(&self, guard: MutexGuard<'_, T>, timeout: Option<Duration>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match timeout {
            Some(timeout) => drop(self.condvar.wait_timeout(guard, timeout)),
            None => drop(self.condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)),
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends all waits; after the change.
    pub(crate) fn notify_all(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.condvar.notify_all();
        }
    }
}
