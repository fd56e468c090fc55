//! What somebody else wants of a run: a signal, a deadline. They say so from their threads; the run heeds it on its own.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pool::Rouser;

/// How far a run is to go. Each is more than the one before, and nobody takes one back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Course {
    /// As long as there are inputs.
    #[default]
    On,
    /// What runs may end; nothing more is begun.
    Drain,
    /// What runs is asked to end.
    End,
}

impl Course {
    fn of(number: u8) -> Course {
        match number {
            0 => Course::On,
            1 => Course::Drain,
            _ => Course::End,
        }
    }
}

/// How long a drain that somebody wants may take. It is for those who are killed some time after, so that time counts
/// in which the command was stopped, too.
#[derive(Debug)]
pub(super) struct Grace {
    time: Option<Duration>,
    ends: Option<Instant>,
}

impl Grace {
    /// Without a time it takes as long as it takes.
    pub(super) fn new(time: Option<Duration>) -> Grace {
        Grace { time, ends: None }
    }

    /// When it ends, once it has begun.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Whether a drain that is wanted now, or since a while, has taken too long.
    pub(super) fn is_over(&mut self, wanted: Course, now: Instant) -> bool {
        if wanted == Course::Drain && self.ends.is_none() {
            self.ends = self.time.and_then(|time| now.checked_add(time));
        }
        wanted == Course::Drain && self.ends.is_some_and(|ends| ends <= now)
    }
}

/// The place where it is said.
#[derive(Default)]
pub(crate) struct Orders {
    course: AtomicU8,
    /// How far the run goes by now.
    heeded: AtomicU8,
    /// How long the command was stopped, in nanoseconds.
    stopped: AtomicU64,
    /// Held while the command is stopped.
    still: Mutex<()>,
    rouser: Mutex<Option<Rouser>>,
}

impl Orders {
    /// Has a run go no further than that.
    pub(crate) fn give(&self, course: Course) {
        self.course.fetch_max(course as u8, Ordering::AcqRel);
        if let Some(rouser) = &*self.rouser() {
            rouser.rouse();
        }
    }

    /// Whether there is a run that heeds them: not before it begins, nor once it is over.
    pub(crate) fn are_heeded(&self) -> bool {
        self.rouser().is_some()
    }

    /// The run goes no further than that.
    pub(super) fn heed(&self, course: Course) {
        self.heeded.fetch_max(course as u8, Ordering::AcqRel);
    }

    /// Whether there is a run that still goes further than that.
    pub(crate) fn are_ignored(&self, course: Course) -> bool {
        self.are_heeded() && Course::of(self.heeded.load(Ordering::Acquire)) < course
    }

    /// Has the run do nothing while `stop` stops the command with its jobs; no time passes for them.
    pub(crate) fn stand_still(&self, stop: impl FnOnce() -> Duration) {
        // Whoever goes on first must not see that it is late before it is known why.
        let _still = self.still.lock().unwrap_or_else(PoisonError::into_inner);
        let time = stop();
        self.stopped.fetch_add(time.as_nanos() as u64, Ordering::AcqRel);
    }

    /// For how long it was since this was last asked.
    pub(crate) fn take_stopped(&self) -> Option<Duration> {
        drop(self.still.lock().unwrap_or_else(PoisonError::into_inner));
        let nanos = self.stopped.swap(0, Ordering::AcqRel);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    pub(crate) fn course(&self) -> Course {
        Course::of(self.course.load(Ordering::Acquire))
    }

    /// Notes who is to be woken by an order, from now on or no more.
    pub(crate) fn wake(&self, rouser: Option<Rouser>) {
        *self.rouser() = rouser;
    }

    fn rouser(&self) -> MutexGuard<'_, Option<Rouser>> {
        self.rouser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Orders").field(&self.course()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_begins_with_the_drain() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut grace = Grace::new(Some(Duration::from_millis(100)));
        assert!(!grace.is_over(Course::On, after(0)) && grace.ends().is_none());
        assert!(!grace.is_over(Course::Drain, after(500)) && !grace.is_over(Course::Drain, after(599)));
        assert_eq!(grace.ends(), Some(after(600)));
        assert!(grace.is_over(Course::Drain, after(600)) && !grace.is_over(Course::End, after(600)));
        assert!(!Grace::new(None).is_over(Course::Drain, after(0)));
        let mut endless = Grace::new(Some(Duration::MAX));
        assert!(!endless.is_over(Course::Drain, after(0)) && endless.ends().is_none());
    }
}
