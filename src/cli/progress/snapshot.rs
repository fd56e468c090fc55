//! A run at one moment: what all kinds of display show.

use std::time::Duration;

use indicatif::ProgressBar;

use super::counts::Sums;
use super::running::Job;

/// How far a run has come.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    pub(super) done: u64,
    /// Of those: they did not do what they should.
    pub(super) failed: u64,
    /// How many there will be, if that is known.
    pub(super) total: Option<u64>,
    pub(super) elapsed: Duration,
    /// Jobs a second, those of the last seconds above all.
    pub(super) rate: f64,
    /// How long the rest takes at this rate.
    pub(super) eta: Option<Duration>,
    /// Some of the jobs that run, the oldest first.
    pub(super) running: Vec<Job>,
    /// Others that run as long.
    pub(super) more: usize,
}

/// Finds the rate at which jobs end. It is a bar that nobody sees: the estimate is all that is wanted of it.
#[derive(Debug)]
pub(super) struct Meter(ProgressBar);

impl Meter {
    pub(super) fn new() -> Meter {
        Meter(ProgressBar::hidden())
    }

    /// Jobs a second, after so many of them.
    pub(super) fn rate(&self, done: u64) -> f64 {
        self.0.update(|state| state.set_pos(done));
        self.0.per_sec()
    }
}

impl Snapshot {
    pub(super) fn new(
        sums: Sums,
        total: Option<u64>,
        elapsed: Duration,
        rate: f64,
        (running, of): (Vec<Job>, usize),
    ) -> Snapshot {
        let done = sums.done();
        let left = total.map(|total| total.saturating_sub(done));
        let eta = left.and_then(|left| match left {
            0 => Some(Duration::ZERO),
            _ if rate > 0.0 => Duration::try_from_secs_f64(left as f64 / rate).ok(),
            _ => None,
        });
        let more = of - running.len();
        Snapshot { done, failed: sums.bad(), total, elapsed, rate, eta, running, more }
    }

    /// Hundredths that are done; 100 only at the end.
    pub(super) fn percent(&self) -> Option<u64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((u128::from(self.done.min(total)) * 100 / u128::from(total)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(ok: u64, total: Option<u64>, rate: f64) -> Snapshot {
        let sums = Sums { ok, failed: 1, ..Sums::default() };
        Snapshot::new(sums, total, Duration::from_secs(1), rate, (Vec::new(), 0))
    }

    #[test]
    fn what_is_left_takes_its_time() {
        let seconds = |snapshot: Snapshot| snapshot.eta.map(|eta| eta.as_secs());
        assert_eq!(seconds(snapshot(9, Some(30), 2.0)), Some(10));
        assert_eq!(seconds(snapshot(9, Some(10), 0.0)), Some(0));
        // More than there were to be: the total was wrong.
        assert_eq!(seconds(snapshot(9, Some(5), 2.0)), Some(0));
        for unknown in [snapshot(9, None, 2.0), snapshot(9, Some(30), 0.0), snapshot(9, Some(u64::MAX), 1e-9)]
        {
            assert_eq!(unknown.eta, None);
        }
    }

    #[test]
    fn a_hundred_percent_is_the_end() {
        assert_eq!(snapshot(998, Some(1000), 1.0).percent(), Some(99));
        assert_eq!(snapshot(999, Some(1000), 1.0).percent(), Some(100));
        assert_eq!(snapshot(9, Some(5), 1.0).percent(), Some(100));
        assert_eq!((snapshot(9, None, 1.0).percent(), snapshot(9, Some(0), 1.0).percent()), (None, None));
    }
}
