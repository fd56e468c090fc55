//! A pool that has no more workers than items, because others may want them.
//!
//! It keeps those that it has, also while they are idle, until somebody wants them back: idle ones go at once, of the
//! others those that first come to the end of an item.

use std::time::Instant;

use super::slot::State;
use super::{Effects, Payload, Scheduler};

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// There are to be no more workers than items, from now on.
    #[cfg(any(test, feature = "connect"))]
    pub(crate) fn be_elastic(&mut self) {
        self.is_elastic = true;
    }

    /// Items that are not over.
    fn live(&self) -> u64 {
        self.counts.submitted - self.counts.done - self.counts.failed - self.counts.cancelled
    }

    /// Workers that are there, or are to come.
    fn crew(&self) -> usize {
        let is_crew = |state| matches!(state, State::Spawning | State::Starting | State::Ready);
        self.slots.iter().filter(|slot| is_crew(slot.state)).count()
    }

    /// Workers that may run something.
    pub(super) fn staff(&self) -> usize {
        if self.is_elastic { self.crew() } else { self.target.min(self.slots.len()) }
    }

    /// Whether there is something to do for one more worker.
    pub(super) fn has_use_for_one(&self) -> bool {
        !self.is_elastic || (self.crew() as u64) < self.live()
    }

    /// Has workers come for items that have none, and lets go whom others want.
    pub(super) fn stretch(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        if !self.is_elastic {
            return;
        }
        while self.owed > 0
            && let Some(at) = self.slots.iter().position(|slot| slot.is_idle())
        {
            self.owed -= 1;
            self.retire(at, now, effects);
        }
        let mut missing = self.live().saturating_sub(self.crew() as u64);
        for at in 0..self.target {
            if missing == 0 {
                break;
            }
            if self.slots[at].state == State::Vacant && self.wants(at) {
                self.revive(at, now, effects);
                missing -= 1;
            }
        }
    }

    /// So many workers are to be given back.
    #[cfg(any(test, feature = "connect"))]
    pub(crate) fn give_back(&mut self, count: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        self.owed = self.owed.saturating_add(count).min(self.crew());
        self.stretch(now, effects);
    }

    /// A worker has come to the end of an item: whether it is one of those that are to be given back.
    pub(super) fn is_due(&self, at: usize) -> bool {
        self.owed > 0 && self.slots[at].state == State::Ready
    }
}
