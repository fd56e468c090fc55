//! When a worker has served long enough, and a fresh process takes its place.
//!
//! It ends in good order and between items: what it has not begun is taken back, its finalizer runs, and once it is
//! gone the next one starts in its slot. No limit is the same for two workers in a row, nor for two that started
//! together: each is up to a tenth lower, so that a pool does not stand still while all are replaced at once.

use std::time::{Duration, Instant};

use super::chance::mix;
use super::slot::{Slot, State};
use super::{Effects, Payload, Scheduler};

/// How long a worker serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recycling {
    /// It gets no more items than this.
    pub(crate) max_jobs: Option<u64>,
    /// It is replaced at this age, counted from when it became ready.
    pub(crate) max_age: Option<Duration>,
}

/// Parts of a tenth that a limit may be lower.
const STEPS: u64 = 1024;

impl Recycling {
    /// How many items the worker of a slot's generation gets. Of less than ten none is left out.
    pub(super) fn jobs(&self, slot: usize, generation: u32) -> u64 {
        match self.max_jobs {
            Some(most) => most - spread(slot, generation) % (most / 10 + 1),
            None => u64::MAX,
        }
    }

    /// At what age it is replaced.
    pub(super) fn age(&self, slot: usize, generation: u32) -> Option<Duration> {
        let steps = (spread(slot, generation) % STEPS) as u32;
        self.max_age.map(|most| most - most / (10 * STEPS as u32) * steps)
    }
}

fn spread(slot: usize, generation: u32) -> u64 {
    mix((slot as u64) << 32 | u64::from(generation))
}

impl<P: Payload> Slot<P> {
    /// When its worker is to be replaced for its age. One that was sent something begins with that in any case:
    /// else jobs would go back and forth between workers that live too short to begin any.
    fn expiry(&self) -> Option<Instant> {
        let idle_or_proven = self.flight.is_empty() || self.done > 0;
        self.expires.filter(|_| self.state == State::Ready && idle_or_proven)
    }

    /// Whether its worker has served long enough.
    fn has_served(&self, now: Instant) -> bool {
        let spent = self.state == State::Ready && self.quota == 0 && self.flight.is_empty();
        spent || self.expiry().is_some_and(|expiry| expiry <= now)
    }
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// Lets a worker go that has served long enough.
    pub(super) fn recycle(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        if self.slots[at].has_served(now) {
            self.counts.retired += 1;
            self.retire(at, now, effects);
        } else if self.is_due(at) {
            self.owed -= 1;
            self.retire(at, now, effects);
        }
    }

    /// When the next worker is to be replaced for its age.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.recycling.max_age.and_then(|_| self.slots.iter().filter_map(Slot::expiry).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_jobs_are_exactly_so_many() {
        for most in 1..10 {
            let recycling = Recycling { max_jobs: Some(most), max_age: None };
            assert!((0..50).all(|slot| recycling.jobs(slot, 1) == most));
        }
    }

    #[test]
    fn limits_are_spread_over_the_last_tenth() {
        let age = Duration::from_secs(1000);
        let recycling = Recycling { max_jobs: Some(1000), max_age: Some(age) };
        let jobs: Vec<u64> = (0..64).map(|slot| recycling.jobs(slot, 1)).collect();
        let ages: Vec<Duration> = (0..64).filter_map(|slot| recycling.age(slot, 1)).collect();
        assert!(jobs.iter().all(|jobs| (900..=1000).contains(jobs)), "{jobs:?}");
        assert!(ages.iter().all(|limit| (age * 9 / 10..=age).contains(limit)), "{ages:?}");
        for share in 0..4 {
            let (low, high) = (900 + share * 25, 925 + share * 25);
            let within = jobs.iter().filter(|jobs| (low..high).contains(*jobs)).count();
            let young = ages.iter().filter(|age| (low..high).contains(&age.as_secs())).count();
            assert!((4..32).contains(&within) && (4..32).contains(&young), "{jobs:?} {ages:?}");
        }
    }

    #[test]
    fn without_limits_a_worker_serves_for_ever() {
        assert_eq!(Recycling::default().jobs(3, 4), u64::MAX);
        assert_eq!(Recycling::default().age(3, 4), None);
    }
}
