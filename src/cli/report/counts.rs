//! Sums over a run: what the page says at its top, also of jobs that it does not show one by one.

use serde::Serialize;

use super::timeline::Record;
use crate::cli::event::Ended;

/// How many ways there are for a job to end.
const KINDS: usize = 7;

/// Times are microseconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Jobs that are over.
    jobs: u64,
    /// How many of them ended how, in the order of the timeline's kinds.
    kinds: [u64; KINDS],
    /// Attempts after which there was another one.
    retries: u64,
    /// From the run's begin until the last job's end.
    wall: i64,
    /// Slots in which jobs ran.
    slots: usize,
    /// How long jobs ran, all together.
    busy: u64,
    /// Jobs of which it is known what they used,
    measured: u64,
    user: u64,
    system: u64,
    /// and the most memory that one of them had.
    max_rss: u64,
}

impl Counts {
    pub(super) fn add(&mut self, job: &Ended<'_>, record: &Record) {
        match record.again {
            true => self.retries += 1,
            false => {
                self.jobs += 1;
                self.kinds[usize::from(record.kind) % KINDS] += 1;
            }
        }
        self.wall = self.wall.max(record.end());
        self.slots = self.slots.max(record.slot.map_or(0, |slot| slot + 1));
        self.busy = self.busy.saturating_add(record.took);
        if let Some(usage) = job.usage {
            self.measured += 1;
            self.user += super::micros(usage.user);
            self.system += super::micros(usage.system);
            self.max_rss = self.max_rss.max(usage.max_rss);
        }
    }
}
