//! Single jobs. Those that come one after the other and have to wait share a task and a lot, so that they cost hardly
//! more than the items of a `map`: in memory, in the queue, and on their way to a worker and back. Each is withdrawn by
//! itself all the same. A worker claims them one by one, so that what it has not begun can be taken from it.

use std::time::Instant;

use super::{Effects, Event, Item, Lot, Payload, Phase, Scheduler, Target, Task, TaskSpec, Tried, Withdrawn};

/// So many share a task.
pub(crate) const MOST: u64 = 128;

/// A single job's key: the place of its task, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SingleKey {
    pub(crate) task: u32,
    pub(crate) id: u64,
}

/// Some of a task's first [`MOST`] items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Set(u128);

impl Set {
    fn range(first: u64, count: u32) -> u128 {
        let ones = u128::MAX.checked_shr(MOST as u32 - count).unwrap_or(0);
        ones << first
    }

    fn insert(&mut self, first: u64, count: u32) {
        self.0 |= Set::range(first, count);
    }

    /// Whether all of them were in it.
    fn remove(&mut self, first: u64, count: u32) -> bool {
        let range = Set::range(first, count);
        let all = self.0 & range == range;
        self.0 &= !range;
        all
    }

    pub(super) fn contains(self, item: u64) -> bool {
        self.0 >> item & 1 == 1
    }

    /// How many from `first` on are in it, without a gap.
    fn run(self, first: u64) -> u32 {
        (self.0 >> first).trailing_ones()
    }

    /// How many from `first` on are not.
    fn gap(self, first: u64) -> u32 {
        (self.0 >> first).trailing_zeros()
    }
}

/// How a task's items belong together.
#[derive(Debug)]
pub(super) enum Bond {
    /// They are one call's, and are withdrawn together.
    Call { withdrawn: bool },
    /// They are single jobs, and are withdrawn one by one.
    Loose {
        first_id: u64,
        /// Those that wait in the queue and are wanted.
        waiting: Set,
        /// Those that were withdrawn.
        withdrawn: Set,
    },
}

impl<S> Task<S> {
    /// Whether an item is wanted no more.
    pub(super) fn is_withdrawn(&self, index: u64) -> bool {
        match &self.bond {
            Bond::Call { withdrawn } => *withdrawn,
            Bond::Loose { withdrawn, .. } => withdrawn.contains(index),
        }
    }

    /// Whether nothing of it is wanted, whatever comes.
    pub(super) fn is_dropped(&self) -> bool {
        matches!(self.bond, Bond::Call { withdrawn: true })
    }

    pub(super) fn is_loose(&self) -> bool {
        matches!(self.bond, Bond::Loose { .. })
    }

    /// Of a lot in the queue: whether its first item is wanted, and for how many of its items that holds.
    pub(super) fn front<P>(&self, lot: &Lot<P>) -> (bool, u32) {
        match &self.bond {
            Bond::Call { withdrawn } => (!*withdrawn, lot.count),
            Bond::Loose { waiting, .. } => match waiting.run(lot.first.index) {
                0 => (false, waiting.gap(lot.first.index).min(lot.count)),
                count => (true, count.min(lot.count)),
            },
        }
    }

    /// A lot has come into the queue.
    pub(super) fn note_waiting<P>(&mut self, lot: &Lot<P>) {
        if let Bond::Loose { waiting, .. } = &mut self.bond {
            waiting.insert(lot.first.index, lot.count);
        }
    }

    /// Items have left the queue.
    pub(super) fn note_sent(&mut self, first: Item, count: u32) {
        if let Bond::Loose { waiting, .. } = &mut self.bond {
            waiting.remove(first.index, count);
        }
    }
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// A single job: a task of its own, which others may [join](Self::join). `None` if the pool takes no more.
    pub(crate) fn submit(
        &mut self,
        sink: S,
        spec: TaskSpec,
        payload: P,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> Option<SingleKey> {
        if self.phase != Phase::Open {
            return None;
        }
        let (id, job) = (self.next_id, spec.job);
        let bond = Bond::Loose { first_id: id, waiting: Set::default(), withdrawn: Set::default() };
        let task = self.add_task(sink, spec, bond);
        self.note_submitted(job, 1);
        let first = Item { index: 0, id };
        self.enqueue_back(Lot { task, first, count: 1, payload, tried: Tried::default() });
        self.dispatch(now, effects);
        // Of so many tasks there can be no place; then one cannot be withdrawn.
        Some(SingleKey { task: u32::try_from(task).unwrap_or(u32::MAX), id })
    }

    /// Whether a job that comes now has to wait behind others.
    pub(crate) fn has_backlog(&self) -> bool {
        self.queued > 0
    }

    /// Adds a single job to those that came last, if these wait and it can be one of them: `add` appends its arguments to
    /// theirs, if it can. Nothing can be sent for it that could not be before.
    pub(crate) fn join(
        &mut self,
        first: SingleKey,
        spec: &TaskSpec,
        add: impl FnOnce(&mut P) -> bool,
    ) -> Option<SingleKey> {
        let id = self.next_id;
        let lot = self.queue.back_mut().filter(|lot| lot.task == first.task as usize)?;
        let task = self.tasks.get_mut(lot.task)?;
        let Bond::Loose { first_id, waiting, .. } = &mut task.bond else { return None };
        let index = id - *first_id;
        let is_next = *first_id == first.id && lot.item(lot.count) == Item { index, id };
        if !is_next || index >= MOST || self.phase != Phase::Open || task.spec != *spec {
            return None;
        }
        let before = lot.payload.weight(lot.count);
        if !add(&mut lot.payload) {
            return None;
        }
        lot.count += 1;
        waiting.insert(index, 1);
        let bytes = lot.payload.weight(lot.count) - before;
        task.queued += 1;
        self.queued += 1;
        task.queued_bytes += bytes;
        self.queued_bytes += bytes;
        self.note_submitted(spec.job, 1);
        Some(SingleKey { id, ..first })
    }

    /// Counts items that come into the queue, and gives the first one's id.
    pub(super) fn note_submitted(&mut self, job: u32, count: u32) -> u64 {
        let id = self.next_id;
        self.next_id += u64::from(count);
        self.counts.submitted += u64::from(count);
        self.listener.tell(|| Event::Queued { id, count, job });
        id
    }

    /// Drops a single job if it has not begun, and with `kill` kills it if it runs. `bytes` is what its arguments weigh.
    pub(crate) fn withdraw_single(
        &mut self,
        key: SingleKey,
        bytes: usize,
        kill: bool,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> Withdrawn {
        let index = key.task as usize;
        let Some(task) = self.tasks.get_mut(index) else { return Withdrawn::Nothing };
        let Bond::Loose { first_id, waiting, withdrawn } = &mut task.bond else { return Withdrawn::Nothing };
        let Some(item) = key.id.checked_sub(*first_id).filter(|item| *item < MOST) else {
            return Withdrawn::Nothing;
        };
        if kill {
            withdrawn.insert(item, 1);
        }
        let target = Target { task: index, item: Some(item) };
        let outcome = if waiting.remove(item, 1) {
            task.queued -= 1;
            task.queued_bytes -= bytes;
            self.queued -= 1;
            self.queued_bytes -= bytes;
            self.counts.cancelled += 1;
            self.dead += 1;
            Withdrawn::Waiting
        } else if self.cancel_delayed(target) || self.drop_from_flight(target, effects) {
            Withdrawn::Waiting
        } else if kill && (0..self.slots.len()).any(|at| self.kill_running(at, target, now, effects)) {
            Withdrawn::Running
        } else {
            Withdrawn::Nothing
        };
        if outcome == Withdrawn::Waiting {
            self.note_withdrawn(index, item);
        }
        self.after_withdrawal(index, now, effects);
        outcome
    }

    fn note_withdrawn(&mut self, task: usize, item: u64) {
        if let Some(Task { bond: Bond::Loose { withdrawn, .. }, .. }) = self.tasks.get_mut(task) {
            withdrawn.insert(item, 1);
        }
    }

    /// Lets the worker that runs a single job go when that has ended, and tells which one it is: it is about to be asked to
    /// end, and that must hit nothing else. What the job gives counts as ever. `None` if the job does not run.
    #[cfg(feature = "cli")]
    pub(crate) fn leave_after(
        &mut self,
        key: SingleKey,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> Option<usize> {
        let task = key.task as usize;
        let Bond::Loose { first_id, .. } = self.tasks.get(task)?.bond else { return None };
        let item = key.id.checked_sub(first_id).filter(|item| *item < MOST)?;
        let target = Target { task, item: Some(item) };
        let at = (0..self.slots.len()).find(|at| self.runs_last(*at, target, effects))?;
        self.retire(at, now, effects);
        self.dispatch(now, effects);
        // Since it was asked it may have begun something else, which is innocent.
        self.runs_last(at, target, effects).then_some(at)
    }

    /// Whether what a worker has begun last is part of it, as far as is known.
    #[cfg(feature = "cli")]
    fn runs_last(&self, at: usize, target: Target, effects: &impl Effects<P, S>) -> bool {
        let slot = &self.slots[at];
        slot.doom.is_none() && slot.may_run(target, |run| effects.claimed(at, run))
    }

    /// Takes an item back from the worker that was sent it, if that has not begun it. What was sent behind it in the same
    /// run goes back to the queue.
    fn drop_from_flight(&mut self, target: Target, effects: &mut impl Effects<P, S>) -> bool {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let place = slot.flight.iter().enumerate().find_map(|(run, sent)| {
                let place = target.places(&sent.lot).next()?;
                (place >= sent.answered).then_some((run, place))
            });
            let Some((run, place)) = place.filter(|_| slot.doom.is_none()) else { continue };
            let behind = slot.flight[run].lot.count - place;
            let count = effects.withdraw(at, slot.flight[run].number, behind);
            let Some(mut lot) = slot.cut(run, count) else { return false };
            slot.drop_empty_runs();
            let whole = lot.count == behind;
            if whole {
                let dropped = lot.take_front(1);
                self.tasks[target.task].active -= 1;
                self.counts.cancelled += 1;
                self.listener.cancelled(&dropped, Some(at));
            }
            if lot.count > 0 {
                self.send_again(lot, at);
            }
            self.note_room(at, effects);
            return whole;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_its_runs_and_its_gaps() {
        let mut set = Set::default();
        set.insert(0, 128);
        assert_eq!((set.run(0), set.run(127), set.gap(0)), (128, 1, 0));
        assert!(set.remove(10, 5) && !set.remove(9, 2));
        assert_eq!((set.run(0), set.gap(9), set.run(15)), (9, 6, 113));
        assert!(set.remove(15, 113));
        assert_eq!(set.gap(9), 128);
        set.insert(127, 1);
        assert_eq!((set.gap(20), set.run(127), set.contains(127), set.contains(0)), (107, 1, true, true));
        set.insert(5, 0);
        assert!(!set.contains(15));
    }
}
