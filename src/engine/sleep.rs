//! Whether those who wait in the poller have to be woken: a bell costs a system call, so it rings only for one who
//! sleeps for too long.
//!
//! A caller who reads and the pool's thread may sleep there at the same time, and a bell wakes either. The caller
//! keeps the time while he reads; when he leaves, the thread's own sleep counts again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::scheduler::LOOK_EVERY;

/// A shorter sleep is in nobody's way.
const SHORT: Duration = Duration::from_millis(2);

/// Instead of a moment: there is no sleep.
const AWAKE: u64 = 0;
/// Instead of a moment: the sleep has no end of its own.
const NEVER: u64 = u64::MAX;

/// Everything but [`Sleep::rise`] and the two that wake is done with the core locked: whoever brings work after that
/// sees the sleep, and whoever falls asleep after that sees the work.
///
/// A moment is a number of nanoseconds since `origin`.
#[derive(Debug)]
pub(super) struct Sleep {
    origin: Instant,
    /// When the one who keeps the time wakes.
    end: AtomicU64,
    /// When the pool's thread does.
    thread: AtomicU64,
}

impl Default for Sleep {
    fn default() -> Sleep {
        Sleep { origin: Instant::now(), end: AtomicU64::new(AWAKE), thread: AtomicU64::new(AWAKE) }
    }
}

impl Sleep {
    /// The one who reads is about to sleep for so long.
    pub(super) fn fall(&self, now: Instant, time: Option<Duration>) {
        self.end.store(self.moment(now, time), Ordering::Release);
    }

    /// The same, and he is the pool's thread.
    pub(super) fn fall_in_thread(&self, now: Instant, time: Option<Duration>) {
        self.thread.store(self.moment(now, time), Ordering::Release);
        self.fall(now, time);
    }

    /// The pool's thread sleeps no more; if it does not get to read, it rings for whoever does.
    pub(super) fn thread_rises(&self) {
        self.thread.store(AWAKE, Ordering::Release);
    }

    /// The one who reads sleeps no more.
    pub(super) fn rise(&self) {
        self.end.store(AWAKE, Ordering::Release);
    }

    /// A caller leaves, and there is something to be looked at after `time`: whether the pool's thread, if it sleeps,
    /// sleeps too long for that.
    pub(super) fn hand_over(&self, now: Instant, time: Option<Duration>) -> bool {
        let thread = self.thread.load(Ordering::Acquire);
        self.end.store(thread, Ordering::Release);
        self.is_too_late(thread, now, time)
    }

    /// Something is under way that was not: whether to ring.
    pub(super) fn too_deep(&self) -> bool {
        self.interrupt(LOOK_EVERY)
    }

    /// Work is to be moved soon: whether to ring.
    pub(super) fn too_long(&self) -> bool {
        self.interrupt(Duration::ZERO)
    }

    /// Whether the pool's thread may sleep.
    pub(super) fn thread_sleeps(&self) -> bool {
        self.thread.load(Ordering::Acquire) != AWAKE
    }

    /// Whether somebody sleeps for longer than so; told once.
    fn interrupt(&self, time: Duration) -> bool {
        let end = self.end.load(Ordering::Acquire);
        end != AWAKE
            && self.is_too_late(end, Instant::now(), Some(time))
            && self.end.compare_exchange(end, AWAKE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn is_too_late(&self, end: u64, now: Instant, time: Option<Duration>) -> bool {
        end > self.moment(now, time).saturating_add(nanos(SHORT))
    }

    fn moment(&self, now: Instant, time: Option<Duration>) -> u64 {
        let since = nanos(now.saturating_duration_since(self.origin));
        time.map_or(NEVER, |time| since.saturating_add(nanos(time)).max(AWAKE + 1))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
    const LOOK: Option<Duration> = Some(LOOK_EVERY);

    #[test]
    fn a_bell_rings_once_and_only_for_a_sleep_that_is_too_long() {
        let (sleep, now) = (Sleep::default(), Instant::now());
        assert!(!sleep.too_deep() && !sleep.too_long());
        sleep.fall(now, LOOK);
        assert!(!sleep.too_deep());
        assert!(sleep.too_long() && !sleep.too_long());
        for long in [HOUR, None] {
            sleep.fall(now, long);
            assert!(sleep.too_deep() && !sleep.too_deep());
        }
        sleep.fall(now, Some(SHORT));
        assert!(!sleep.too_long());
    }

    #[test]
    fn a_thread_that_slept_before_a_caller_came_is_woken_after_he_has_left() {
        let (sleep, now) = (Sleep::default(), Instant::now());
        sleep.fall_in_thread(now, None);
        sleep.fall(now, LOOK);
        sleep.rise();
        assert!(!sleep.hand_over(now, None), "nothing is left behind");
        assert!(sleep.too_deep(), "but then something comes");
        sleep.fall(now, LOOK);
        assert!(sleep.hand_over(now, LOOK), "something is left behind");
        sleep.thread_rises();
        assert!(!sleep.hand_over(now, LOOK));
    }

    #[test]
    fn a_thread_is_woken_for_what_comes_before_its_sleep_ends_and_for_nothing_else() {
        let (sleep, now) = (Sleep::default(), Instant::now());
        sleep.fall_in_thread(now, HOUR);
        assert!(sleep.hand_over(now, LOOK));
        assert!(!sleep.hand_over(now, HOUR), "that is what it sleeps for");
        let later = now + LOOK_EVERY;
        assert!(!sleep.hand_over(later, HOUR.map(|hour| hour - LOOK_EVERY)), "and so is that");
    }
}
