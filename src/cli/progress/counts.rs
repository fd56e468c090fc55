//! What has ended so far, and how long it took.
//!
//! One thread counts, others look on. So a count is a load and a store, which costs next to nothing: there are runs
//! whose jobs take microseconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sidestep_worker::frame::{duration_code, duration_of};

use crate::cli::event::{Ended, Status};

/// Jobs by how they have ended.
#[derive(Debug)]
pub(crate) struct Counts {
    ok: AtomicU64,
    failed: AtomicU64,
    crashed: AtomicU64,
    timed_out: AtomicU64,
    ended: AtomicU64,
    left_out: AtomicU64,
    /// In nanoseconds.
    longest: AtomicU64,
    /// How many jobs took so long, by the code for a duration that workers use too.
    times: [AtomicU64; 256],
}

/// [`Counts`] of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) ok: u64,
    /// They gave an error, or were refused.
    pub(crate) failed: u64,
    pub(crate) crashed: u64,
    pub(crate) timed_out: u64,
    /// They ran when the run was ended.
    pub(crate) ended: u64,
}

impl Sums {
    /// All that did not do what they should.
    pub(crate) fn bad(&self) -> u64 {
        self.failed + self.crashed + self.timed_out + self.ended
    }

    pub(crate) fn done(&self) -> u64 {
        self.ok + self.bad()
    }
}

/// What parts of the jobs took at most, to within ten percent; `max` is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantiles {
    pub(crate) p50: Duration,
    pub(crate) p90: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            ok: AtomicU64::default(),
            failed: AtomicU64::default(),
            crashed: AtomicU64::default(),
            timed_out: AtomicU64::default(),
            ended: AtomicU64::default(),
            left_out: AtomicU64::default(),
            longest: AtomicU64::default(),
            times: [const { AtomicU64::new(0) }; 256],
        }
    }
}

impl Counts {
    /// Counts a job that is over. Only ever called by one thread at a time.
    pub(super) fn count(&self, job: &Ended<'_>) {
        let counter = match job.status {
            Status::Ok => &self.ok,
            Status::Failed { .. } | Status::Killed { .. } | Status::Refused => &self.failed,
            Status::Crashed { .. } => &self.crashed,
            Status::TimedOut => &self.timed_out,
            Status::Ended => &self.ended,
        };
        add_one(counter);
        if job.status != Status::Refused {
            let nanos = u64::try_from(job.took.as_nanos()).unwrap_or(u64::MAX);
            add_one(&self.times[usize::from(duration_code(nanos))]);
            if nanos > self.longest.load(Ordering::Relaxed) {
                self.longest.store(nanos, Ordering::Relaxed);
            }
        }
    }

    /// Counts an input that is no job of this run. Only ever called by the thread that counts.
    pub(super) fn leave_out(&self) {
        add_one(&self.left_out);
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    pub(super) fn sums(&self) -> Sums {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sums {
            ok: get(&self.ok),
            failed: get(&self.failed),
            crashed: get(&self.crashed),
            timed_out: get(&self.timed_out),
            ended: get(&self.ended),
        }
    }

    /// `None` if no job has run.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let times: Vec<u64> = self.times.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let all: u64 = times.iter().sum();
        let max = Duration::from_nanos(self.longest.load(Ordering::Relaxed));
        let at = |percent: u64| {
            let mut rest = (all * percent).div_ceil(100);
            let code = times.iter().position(|count| {
                rest = rest.saturating_sub(*count);
                rest == 0
            });
            // The middle of the longest ones' step may be beyond the longest of them.
            code.map_or(max, |code| Duration::from_nanos(duration_of(code as u8))).min(max)
        };
        (all > 0).then(|| Quantiles { p50: at(50), p90: at(90), p99: at(99), max })
    }
}

fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::ended;

    #[test]
    fn jobs_are_counted_by_their_end() {
        let counts = Counts::default();
        for status in [
            Status::Ok,
            Status::Ok,
            Status::Failed { code: 3 },
            Status::Killed { signal: 9 },
            Status::Refused,
            Status::Crashed { signal: None },
            Status::TimedOut,
            Status::Ended,
        ] {
            ended(0, status, 1, |job| counts.count(job));
        }
        let sums = counts.sums();
        assert_eq!(sums, Sums { ok: 2, failed: 3, crashed: 1, timed_out: 1, ended: 1 });
        assert_eq!((sums.bad(), sums.done()), (6, 8));
    }

    #[test]
    fn quantiles_are_right_to_within_a_tenth() {
        let counts = Counts::default();
        assert_eq!(counts.quantiles(), None);
        for millis in 1..=1000 {
            ended(0, Status::Ok, millis, |job| counts.count(job));
        }
        let Quantiles { p50, p90, p99, max } = counts.quantiles().unwrap();
        for (found, millis) in [(p50, 500.0), (p90, 900.0), (p99, 990.0)] {
            let ratio = found.as_secs_f64() * 1000.0 / millis;
            assert!((0.88..1.12).contains(&ratio), "{found:?} for {millis} ms");
        }
        assert_eq!(max, Duration::from_secs(1));
    }

    #[test]
    fn no_quantile_is_above_the_longest() {
        let counts = Counts::default();
        ended(0, Status::Ok, 1, |job| counts.count(job));
        let Quantiles { p50, max, .. } = counts.quantiles().unwrap();
        assert!(p50 <= max && max == Duration::from_millis(1));
    }
}
