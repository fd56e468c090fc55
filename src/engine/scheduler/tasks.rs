//! What callers bring and take back: tasks, their items, and the answers to them.

use std::time::Instant;

use sidestep_worker::frame::duration_code;
use slab::Slab;

use super::limits::Doom;
use super::slot::{Answered, State};
use super::{
    Answer, Bond, Effects, Ending, Event, Fate, Item, Lot, Payload, Phase, Scheduler, Target, Task, TaskKey,
    TaskSpec, Tried, Withdrawn,
};

impl<S> Task<S> {
    fn takes(&self, phase: Phase) -> bool {
        !self.is_dropped()
            && match phase {
                Phase::Open => true,
                Phase::Closed => !self.spec.lazy,
                Phase::Broken | Phase::Terminated => false,
            }
    }
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// Begins a task; its items follow. `None` if the pool takes no more.
    pub(crate) fn open_task(&mut self, sink: S, spec: TaskSpec) -> Option<TaskKey> {
        if self.phase != Phase::Open {
            return None;
        }
        self.feeding += usize::from(!spec.lazy);
        let index = self.add_task(sink, spec, Bond::Call { withdrawn: false });
        Some(TaskKey { index, serial: self.tasks[index].serial })
    }

    pub(super) fn add_task(&mut self, sink: S, spec: TaskSpec, bond: Bond) -> usize {
        let serial = self.next_serial;
        self.next_serial += 1;
        let open = matches!(bond, Bond::Call { .. });
        let (queued, queued_bytes, lots, active, delayed) = (0, 0, 0, 0, 0);
        let task = Task { serial, sink, spec, queued, queued_bytes, lots, active, delayed, open, bond };
        self.tasks.insert(task)
    }

    /// Adds items to a task, the first one's place being `index`, sends what can be sent and gives the first one's id.
    /// `None` if the task was withdrawn or the pool takes no more; then they count as cancelled or failed, and the
    /// caller tells whoever waits.
    pub(crate) fn push(
        &mut self,
        key: TaskKey,
        index: u64,
        count: u32,
        payload: P,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> Option<u64> {
        let task = Self::find(&mut self.tasks, key)?;
        if !task.takes(self.phase) {
            let ending = if task.is_withdrawn(index) { Ending::Cancelled } else { Ending::Failed };
            self.count_unsent(count, ending);
            return None;
        }
        let job = task.spec.job;
        let id = self.note_submitted(job, count);
        let lot = Lot { task: key.index, first: Item { index, id }, count, payload, tried: Tried::default() };
        self.enqueue_back(lot);
        self.dispatch(now, effects);
        Some(id)
    }

    /// Whether items of a task would be taken, or of one that is yet to begin.
    pub(crate) fn takes(&self, key: Option<TaskKey>) -> bool {
        let Some(key) = key else { return self.phase == Phase::Open };
        let task = self.tasks.get(key.index).filter(|task| task.serial == key.serial);
        task.is_some_and(|task| task.takes(self.phase))
    }

    /// Counts an item that failed before it could be submitted, and gives it an id.
    pub(crate) fn count_failed(&mut self) -> u64 {
        self.count_unsent(1, Ending::Failed)
    }

    /// Counts items that ended before they came into the queue, and gives the first one's id.
    pub(super) fn count_unsent(&mut self, count: u32, ending: Ending) -> u64 {
        let id = self.next_id;
        self.next_id += u64::from(count);
        self.counts.submitted += u64::from(count);
        match ending {
            Ending::Cancelled => self.counts.cancelled += u64::from(count),
            _ => self.counts.failed += u64::from(count),
        }
        self.listener.tell(|| Event::Ended { id, count, slot: None, ending });
        id
    }

    /// No more items come.
    pub(crate) fn finish_input(&mut self, key: TaskKey, now: Instant, effects: &mut impl Effects<P, S>) {
        if let Some(task) = Self::find(&mut self.tasks, key)
            && std::mem::replace(&mut task.open, false)
        {
            self.feeding -= usize::from(!task.spec.lazy);
            self.forget_if_over(key.index);
            self.retire_if_done(now, effects);
        }
    }

    /// Drops what has not started, and with `kill` also what runs.
    pub(crate) fn withdraw(
        &mut self,
        key: TaskKey,
        kill: bool,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> Withdrawn {
        let Some(task) = Self::find(&mut self.tasks, key) else { return Withdrawn::Nothing };
        let mut outcome = Withdrawn::Nothing;
        let target = Target { task: key.index, item: None };
        task.bond = Bond::Call { withdrawn: true };
        let queued = std::mem::take(&mut task.queued);
        if queued > 0 {
            outcome = Withdrawn::Waiting;
        }
        self.queued -= queued;
        self.queued_bytes -= std::mem::take(&mut task.queued_bytes);
        self.counts.cancelled += queued;
        self.dead += queued;
        if self.cancel_delayed(target) {
            outcome = Withdrawn::Waiting;
        }
        for at in 0..self.slots.len() {
            if self.drop_unclaimed(at, key.index, effects) {
                outcome = Withdrawn::Waiting;
            }
        }
        for at in 0..self.slots.len() {
            if kill && self.kill_running(at, target, now, effects) {
                outcome = Withdrawn::Running;
            }
        }
        self.after_withdrawal(key.index, now, effects);
        outcome
    }

    pub(super) fn after_withdrawal(&mut self, task: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        self.sweep();
        self.forget_if_over(task);
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
    }

    /// Takes all unclaimed items of a task back from one worker; they count as cancelled.
    pub(super) fn drop_unclaimed(
        &mut self,
        at: usize,
        task: usize,
        effects: &mut impl Effects<P, S>,
    ) -> bool {
        let mut dropped = 0;
        let slot = &mut self.slots[at];
        if slot.doom.is_some() {
            // Everything unclaimed was taken back, and what the page says now would touch what was charged.
            return false;
        }
        for run in 0..slot.flight.len() {
            if slot.flight[run].lot.task == task {
                let count = effects.withdraw(at, slot.flight[run].number, u32::MAX);
                if let Some(lot) = slot.cut(run, count) {
                    dropped += u64::from(lot.count);
                    self.listener.cancelled(&lot, Some(at));
                }
            }
        }
        if dropped == 0 {
            return false;
        }
        slot.drop_empty_runs();
        self.tasks[task].active -= dropped;
        self.counts.cancelled += dropped;
        self.note_room(at, effects);
        true
    }

    /// Kills a worker for the sake of the item that it runs. What it has not begun goes back to the queue first:
    /// then the kill, which may come late, can hit nobody else's item.
    pub(super) fn kill_running(
        &mut self,
        at: usize,
        target: Target,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> bool {
        let slot = &self.slots[at];
        if slot.doom.is_some() {
            return slot.is_killed_for(target);
        }
        if !slot.may_run(target, |run| effects.claimed(at, run)) {
            return false;
        }
        self.take_back(at, u32::MAX, effects);
        let slot = &mut self.slots[at];
        // Since it was asked it may have begun something else, which is innocent.
        if slot
            .flight
            .back()
            .is_none_or(|run| !target.has(run.lot.task, run.lot.item(run.lot.count - 1).index))
        {
            return false;
        }
        slot.doom = Some(Doom::Cancelled(target));
        slot.set(State::Leaving, now);
        effects.kill(at);
        true
    }

    pub(super) fn find(tasks: &mut Slab<Task<S>>, key: TaskKey) -> Option<&mut Task<S>> {
        tasks.get_mut(key.index).filter(|task| task.serial == key.serial)
    }

    pub(super) fn forget_if_over(&mut self, index: usize) {
        if let Some(task) = self.tasks.get(index)
            && !task.open
            && task.lots == 0
            && task.active == 0
            && task.delayed == 0
        {
            self.tasks.remove(index);
        }
    }

    // ---- answers ----

    /// The items that a worker's next `count` results belong to. `None` if it answers more than it was sent.
    pub(crate) fn take_answers(
        &mut self,
        at: usize,
        mut count: u32,
        now: Instant,
        answers: &mut Vec<Answer<P, S>>,
    ) -> Option<()> {
        let slot = &mut self.slots[at];
        slot.progress = now;
        while count > 0 {
            let Answered { task, first, count: part, fate, again } = slot.answer(count)?;
            let sink = self.tasks[task].sink.clone();
            answers.push(Answer { sink, first, count: part, fate, again, task, slot: at });
            self.settling += u64::from(part);
            count -= part;
        }
        Some(())
    }

    /// Items were answered: `done` of them with a value. They are over, and their handles resolve after this; but one
    /// that `may_try_again` is not if that is wanted and still can be. Then this is `true`.
    pub(crate) fn settle(
        &mut self,
        answer: &mut Answer<P, S>,
        done: u32,
        again: bool,
        nanos: u64,
        now: Instant,
    ) -> bool {
        let count = u64::from(answer.count);
        self.settling -= count;
        let job = self.tasks[answer.task].spec.job;
        self.paces.note(job, nanos);
        if again && self.try_again(answer, now) {
            return true;
        }
        self.tasks[answer.task].active -= count;
        let ending = match answer.fate {
            Fate::Wanted => Some(Ending::Ran { done, nanos }),
            Fate::Cancelled => Some(Ending::Cancelled),
            Fate::Late => None,
        };
        if let Some(ending) = ending {
            self.count_answered(count, done.into(), ending);
            self.durations[usize::from(duration_code(nanos))] += count;
            let (Item { id, .. }, slot, count) = (answer.first, Some(answer.slot), answer.count);
            self.listener.tell(|| Event::Ended { id, count, slot, ending });
        }
        self.forget_if_over(answer.task);
        false
    }

    fn count_answered(&mut self, count: u64, done: u64, ending: Ending) {
        if ending == Ending::Cancelled {
            self.counts.cancelled += count;
        } else {
            self.counts.done += done;
            self.counts.failed += count - done;
        }
    }

    /// After answers: more work for the worker, or for whoever is idle.
    pub(crate) fn refill(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        self.end_if_late(at, effects);
        self.note_room(at, effects);
        self.recycle(at, now, effects);
        if self.phase == Phase::Closed {
            // What is to be tried again may need a worker that was let go.
            self.revive_all(now, effects);
        }
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
    }
}
