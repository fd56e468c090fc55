//! Whether those who wait in the poller have to be woken: a bell costs a system call, so it rings only for a sleeper.
//!
//! A caller who reads and the pool's thread may sleep there at the same time, and a bell wakes either. The caller
//! keeps the time while he reads; when he leaves, the thread's own sleep counts again.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How deep a sleep is, by what it is too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Depth {
    /// Nothing: it is short, or there is none.
    Awake = 0,
    /// It has a limit, but work may have to be moved before that.
    Light = 1,
    /// It has no limit.
    Deep = 2,
}

/// A shorter sleep is in nobody's way.
const SHORT: Duration = Duration::from_millis(2);

impl Depth {
    fn of(time: Option<Duration>) -> Depth {
        match time {
            None => Depth::Deep,
            Some(time) if time > SHORT => Depth::Light,
            Some(_) => Depth::Awake,
        }
    }
}

/// Everything but [`Sleep::rise`] and the two that wake is done with the core locked: whoever brings work after that
/// sees the sleep, and whoever falls asleep after that sees the work.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    /// Of the one who keeps the time.
    depth: AtomicU8,
    /// Of the pool's thread.
    thread: AtomicU8,
}

impl Sleep {
    /// The one who reads is about to sleep for so long.
    pub(super) fn fall(&self, time: Option<Duration>) {
        self.depth.store(Depth::of(time) as u8, Ordering::Release);
    }

    /// The same, and he is the pool's thread.
    pub(super) fn fall_in_thread(&self, time: Option<Duration>) {
        self.thread.store(Depth::of(time) as u8, Ordering::Release);
        self.fall(time);
    }

    /// The pool's thread sleeps no more; if it does not get to read, it rings for whoever does.
    pub(super) fn thread_rises(&self) {
        self.thread.store(Depth::Awake as u8, Ordering::Release);
    }

    /// The one who reads sleeps no more.
    pub(super) fn rise(&self) {
        self.depth.store(Depth::Awake as u8, Ordering::Release);
    }

    /// A caller leaves, and there is something to be looked at after `time`: whether the pool's thread, if it sleeps,
    /// sleeps too long for that.
    pub(super) fn hand_over(&self, time: Option<Duration>) -> bool {
        let thread = self.thread.load(Ordering::Acquire);
        self.depth.store(thread, Ordering::Release);
        (Depth::of(time) as u8) < thread
    }

    /// Something is under way that was not: whether to ring.
    pub(super) fn too_deep(&self) -> bool {
        self.depth.load(Ordering::Acquire) == Depth::Deep as u8
            && self.depth.swap(Depth::Awake as u8, Ordering::AcqRel) == Depth::Deep as u8
    }

    /// Work is to be moved soon: whether to ring.
    pub(super) fn too_long(&self) -> bool {
        self.depth.load(Ordering::Acquire) != Depth::Awake as u8
            && self.depth.swap(Depth::Awake as u8, Ordering::AcqRel) != Depth::Awake as u8
    }

    /// Whether the pool's thread may sleep.
    pub(super) fn thread_sleeps(&self) -> bool {
        self.thread.load(Ordering::Acquire) != Depth::Awake as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Option<Duration> = Some(Duration::from_millis(100));

    #[test]
    fn a_bell_rings_once_and_only_for_a_sleep_that_is_too_long() {
        let sleep = Sleep::default();
        assert!(!sleep.too_deep() && !sleep.too_long());
        sleep.fall(LOOK);
        assert!(!sleep.too_deep());
        assert!(sleep.too_long() && !sleep.too_long());
        sleep.fall(None);
        assert!(sleep.too_deep() && !sleep.too_deep());
        sleep.fall(Some(SHORT));
        assert!(!sleep.too_long());
    }

    #[test]
    fn a_thread_that_slept_before_a_caller_came_is_woken_after_he_has_left() {
        let sleep = Sleep::default();
        sleep.fall_in_thread(None);
        sleep.fall(LOOK);
        sleep.rise();
        assert!(!sleep.hand_over(None), "nothing is left behind");
        assert!(sleep.too_deep(), "but then something comes");
        sleep.fall(LOOK);
        assert!(sleep.hand_over(LOOK), "something is left behind");
        sleep.thread_rises();
        assert!(!sleep.hand_over(LOOK));
    }
}
