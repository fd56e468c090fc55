//! How many items make a run, and how much work a worker has ahead: from what the jobs have cost so far.

/// A run is to take about this long, in nanoseconds: long against the cost of a run (microseconds), short against
/// what a person notices.
pub(super) const RUN: u64 = 500_000;
/// A worker has about this much work ahead, in nanoseconds.
pub(super) const AHEAD: u64 = 2_000_000;
/// And no more bytes than this, beyond the first run.
pub(super) const AHEAD_BYTES: usize = 128 << 10;
/// And no more runs than this.
pub(super) const AHEAD_RUNS: usize = 128;
/// It takes about this long to wake a worker, in nanoseconds.
pub(super) const WAKE: u64 = 30_000;
/// Single jobs that come one after the other wait for each other until they take about this long, in nanoseconds, as
/// long as the workers have something to do.
pub(super) const SLIGHT: u64 = 20_000;
/// Jobs that take longer than this are not sent ahead at all: the next one waits where every worker can get it.
pub(super) const LONG: u64 = 5_000_000;

/// What an item of each job has cost of late, in nanoseconds; 0 if unknown.
#[derive(Debug, Default)]
pub(super) struct Paces(Vec<u64>);

impl Paces {
    pub(super) fn of(&self, job: u32) -> u64 {
        self.0.get(job as usize).copied().unwrap_or(0)
    }

    /// The average of the last few, so that it follows a job whose items change.
    pub(super) fn note(&mut self, job: u32, nanos: u64) {
        let job = job as usize;
        if self.0.len() <= job {
            self.0.resize(job + 1, 0);
        }
        let pace = &mut self.0[job];
        *pace = if *pace == 0 {
            nanos.max(1)
        } else {
            (*pace / 4).saturating_mul(3).saturating_add(nanos / 4).max(1)
        };
    }
}

/// Items for a run, when each takes `pace` and `share` is what each worker would get of all that wait. For the sake of
/// sharing no run is made shorter than `least`, in nanoseconds.
pub(super) fn run_items(pace: u64, share: u64, least: u64) -> u32 {
    match RUN.checked_div(pace) {
        None => 1,
        Some(items) => items.clamp(1, share.max(least / pace).max(1)).min(u64::from(u16::MAX)) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_items_make_long_runs_and_long_items_short_ones() {
        assert_eq!(run_items(0, 1000, SLIGHT), 1, "nothing is known yet");
        assert_eq!(run_items(1_000_000, 1000, SLIGHT), 1);
        assert_eq!(run_items(1_000, 10_000, SLIGHT), 500);
        assert_eq!(run_items(20_000, 10, SLIGHT), 10, "the end is shared");
        assert_eq!(run_items(1_000, 10, SLIGHT), 20, "as far as that is worth it");
        assert_eq!(run_items(1, 0, SLIGHT), 20_000);
        assert_eq!(run_items(100_000, 0, SLIGHT), 1);
    }

    #[test]
    fn a_pace_follows_the_items() {
        let mut paces = Paces::default();
        paces.note(3, 100);
        assert_eq!((paces.of(3), paces.of(2), paces.of(9)), (100, 0, 0));
        for _ in 0..40 {
            paces.note(3, 10_000);
        }
        assert!(paces.of(3) > 9_000);
        paces.note(3, u64::MAX);
        paces.note(3, 0);
    }
}
