//! A fault that waits for its moment.

use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sidestep_worker::entry::is_serving;
use sidestep_worker::{committed, try_context};

use super::{Fault, strike};

/// A worker without a job for this long is idle.
const QUIET: Duration = Duration::from_millis(10);

/// What a worker does at each end of a job, when a [`Trap`] can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Moment {
    /// The job's arguments are deserialised.
    Arguments,
    /// The job begins; it says so by [`Trap::at`].
    Start,
    /// The job is half-way; it says so by [`Trap::at`].
    Middle,
    /// The job's result is serialised. The trap must be a part of it.
    Result,
    /// The job has dropped the trap.
    Destructor,
    /// The result is committed: it counts, and the parent may not have read it yet. A second thread strikes, while the
    /// worker goes on.
    Committed,
    /// The worker has had nothing to do for 10 ms. A second thread strikes.
    Idle,
}

impl Moment {
    /// All of them, in the order in which they come.
    pub const ALL: &[Moment] = &[
        Moment::Arguments,
        Moment::Start,
        Moment::Middle,
        Moment::Result,
        Moment::Destructor,
        Moment::Committed,
        Moment::Idle,
    ];
}

/// An argument that harms the worker in which it is read, at its moment.
///
/// In a process that is no worker it is a value like any other. A job that sends a trap on, to a pool of its own, is in
/// a worker itself, and may be the one that is struck.
///
/// ```
/// use sidestep::faults::{Fault, Moment, Trap};
///
/// let trap = Trap::new(Moment::Start, Fault::Abort);
/// trap.at(Moment::Start); // nothing happens: we are no worker
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trap {
    when: Moment,
    how: Fault,
    /// It strikes in this attempt and in those before it.
    last: u32,
}

impl Trap {
    /// One that strikes in every attempt.
    pub fn new(when: Moment, how: Fault) -> Trap {
        Trap { when, how, last: u32::MAX }
    }

    /// Has it strike in a job's first attempts only; 0 disarms it.
    ///
    /// ```no_run
    /// use sidestep::faults::{self, Fault, Moment, Trap};
    ///
    /// # let pool = sidestep::Pool::new(2)?;
    /// let flaky = Trap::new(Moment::Middle, Fault::Segv).in_first(2);
    /// let outcome = pool.call(faults::trap).retries(2).apply((flaky,));
    /// assert!(outcome.is_ok());
    /// # Ok::<(), sidestep::PoolError>(())
    /// ```
    #[must_use]
    pub fn in_first(mut self, attempts: u32) -> Trap {
        self.last = attempts;
        self
    }

    /// Strikes, if this is a worker and the trap's moment. A job calls it for [`Moment::Start`] and [`Moment::Middle`];
    /// the other moments come by themselves.
    ///
    /// # Panics
    /// If it strikes and the fault is a panic.
    pub fn at(&self, moment: Moment) {
        if self.when == moment && self.is_armed() {
            strike(self.how);
        }
    }

    /// Whether this is a worker, and the attempt one of those.
    fn is_armed(&self) -> bool {
        is_serving() && try_context().map_or(1, |job| job.attempt()) <= self.last
    }

    /// In a job: sets the trap. For a moment when the job can do nothing any more, a thread waits.
    fn set(&self) {
        match self.when {
            Moment::Committed => {
                let before = committed();
                self.strike_once(move || committed() != before);
            }
            Moment::Idle => {
                let mut busy = Instant::now();
                self.strike_once(move || {
                    if try_context().is_some() {
                        busy = Instant::now();
                    }
                    busy.elapsed() > QUIET
                });
            }
            _ => self.at(Moment::Arguments),
        }
    }

    fn strike_once(&self, mut is_now: impl FnMut() -> bool + Send + 'static) {
        let how = self.how;
        std::thread::spawn(move || {
            while !is_now() {
                std::thread::yield_now();
            }
            strike(how);
        });
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.at(Moment::Result);
        (self.when, self.how, self.last).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Trap, D::Error> {
        let (when, how, last) = Deserialize::deserialize(deserializer)?;
        let trap = Trap { when, how, last };
        if trap.is_armed() {
            trap.set();
        }
        Ok(trap)
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.at(Moment::Destructor);
    }
}

/// A ready job: it works for about two milliseconds and gives its argument back, unless that strikes.
///
/// ```no_run
/// use sidestep::{Registry, faults};
///
/// sidestep::init_with(Registry::new().job("trap", faults::trap));
/// ```
pub fn trap(trap: Trap) -> Trap {
    trap.at(Moment::Start);
    work();
    trap.at(Moment::Middle);
    work();
    trap
}

/// Long enough that what the worker has done before is written and no longer in its hands.
fn work() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1) {
        std::hint::spin_loop();
    }
}
