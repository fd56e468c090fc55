//! What workers use, measured from outside while they have something to do.
//!
//! A measurement counts for an item that ran before and runs after it: only that one was measured. A worker that has
//! too much memory without such an item is replaced in good order, and nobody pays.

use std::time::{Duration, Instant};

use crate::process::Usage;

use super::slot::Slot;
use super::{Effects, Payload, Running, Scheduler, Verdict};

/// How often workers are measured that have something to do.
const EVERY: Duration = Duration::from_millis(10);

/// What an item of the pool may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Resident memory of its worker, in bytes.
    pub(crate) memory: Option<u64>,
    /// Processor time of all its worker's threads while it runs.
    pub(crate) cpu: Option<Duration>,
}

/// What a worker used, and the item that it was in before that was looked at, if any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    usage: Usage,
    before: Option<Running>,
}

impl Limits {
    pub(crate) fn any(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some()
    }

    /// The limit that the item has come to that runs after a measurement, if it ran before it too.
    pub(super) fn exceeded(&self, measured: &Measured, after: Running) -> Option<Verdict> {
        let Measured { usage, before } = measured;
        before.filter(|before| before.is_item(after))?;
        if let Some(limit) = self.memory.filter(|limit| usage.memory > *limit) {
            return Some(Verdict::MemoryLimit { limit });
        }
        let cpu = usage.cpu.saturating_sub(after.cpu_before);
        self.cpu.filter(|limit| cpu >= *limit).map(|limit| Verdict::CpuLimit { limit })
    }
}

impl<P> Slot<P> {
    fn is_to_measure(&self) -> bool {
        self.to_measure && self.state.has_process()
    }
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// A worker was sent something that is limited.
    pub(super) fn begin_measuring(&mut self, at: usize, now: Instant) {
        if self.limits.any() {
            self.slots[at].to_measure = true;
            self.watching |= self.next_measure.is_none();
            self.next_measure.get_or_insert(now + EVERY);
        }
    }

    /// How long until workers are to be measured.
    pub(super) fn next_measure(&self, now: Instant) -> Option<Duration> {
        let at = self.next_measure.filter(|_| self.slots.iter().any(Slot::is_to_measure))?;
        Some(at.saturating_duration_since(now))
    }

    /// Workers to be measured now, and the item that each is in; [`measured`](Self::measured) takes what was found.
    pub(crate) fn whom_to_measure(
        &mut self,
        now: Instant,
        effects: &impl Effects<P, S>,
    ) -> Vec<(usize, Option<Running>)> {
        if self.next_measure.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let due = |at: &usize| self.slots[*at].is_to_measure();
        let due: Vec<_> = (0..self.slots.len()).filter(due).map(|at| (at, effects.running(at))).collect();
        self.next_measure = (!due.is_empty()).then(|| now + EVERY);
        due
    }

    /// A worker was measured while, or after, it was in an item.
    pub(crate) fn measured(
        &mut self,
        at: usize,
        before: Option<Running>,
        usage: Usage,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) {
        let slot = &mut self.slots[at];
        slot.measured = Some(Measured { usage, before });
        slot.to_measure = !slot.flight.is_empty();
        if self.overrun(at, effects).is_none() {
            self.relieve(at, now, effects);
        }
    }

    /// Replaces a worker that has too much memory although no item is to blame.
    pub(super) fn relieve(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        let memory = self.slots[at].measured.map(|measured| measured.usage.memory);
        if self.limits.memory.is_some_and(|limit| memory > Some(limit)) {
            self.retire(at, now, effects);
            self.dispatch(now, effects);
        }
    }

    /// The limit of a worker's memory, if there was little left of it when that was last measured.
    pub(crate) fn memory_limit_near(&self, at: usize) -> Option<u64> {
        let usage = self.slots[at].measured?.usage;
        self.limits.memory.filter(|limit| usage.memory >= limit - limit / 10)
    }
}
