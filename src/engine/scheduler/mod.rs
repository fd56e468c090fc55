//! Who gets which item, who is charged with a death, what is taken back: a state machine without any I/O.
//!
//! Everything that happens comes in as a method call; everything that is to be done goes out through [`Effects`]. So
//! that random histories can test it by the million, it knows no processes, no pipes and no clock of its own.
//!
//! A *task* is one call of the user's: one item, or many. Its items come as *lots* (consecutive items with their
//! arguments) into one queue. A *run* is what a worker gets: a lot, or the front part of one. Workers answer items
//! in the order in which they were sent, so that an answer needs no number.
//!
//! ```text
//!   submit -> queue --dispatch--> run in flight --answered--> settled
//!               ^                     |
//!               +---- taken back <----+----> charged with its worker's death
//! ```

mod dispatch;
mod event;
mod lot;
mod sizing;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sidestep_worker::frame::duration_code;
use sidestep_worker::wire::{Encoding, RunHeader};
use slab::Slab;

pub(crate) use event::{Ending, Event, Listener};
pub(crate) use lot::{Lot, Payload};
use sizing::Paces;
use slot::Slot;
pub(crate) use slot::{State, WorkerView};

/// Deaths before hello, one after the other, that end the pool.
pub(super) const STORM: u32 = 5;
/// The pause before the first new try after a death before hello; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A worker that has not claimed what it was sent after this long is looked at.
pub(crate) const UNCLAIMED: Duration = Duration::from_millis(500);

/// What the scheduler asks of the world. Answers about claims come from the page that a worker shares.
pub(crate) trait Effects<P, S> {
    /// Start a worker; its `generation` comes back with everything that is said about it.
    fn spawn(&mut self, slot: usize, generation: u32);
    /// Put a run on its way.
    fn send(&mut self, slot: usize, header: &RunHeader, payload: &P);
    /// Take back up to `most` unclaimed items from the end of a run; how many there were.
    fn withdraw(&mut self, slot: usize, run: u32, most: u32) -> u32;
    /// How many items of a run the worker has claimed.
    fn claimed(&self, slot: usize, run: u32) -> u32;
    /// How many runs the worker has taken out of its pipe.
    fn consumed(&self, slot: usize) -> u32;
    /// Ask the worker to end in good order.
    fn bye(&mut self, slot: usize);
    /// Kill the worker and its group now.
    fn kill(&mut self, slot: usize);
    /// An item has ended without a result of its own.
    fn resolve(&mut self, sink: &S, item: Item, verdict: Verdict);
}

/// One item of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its place in its task, from 0.
    pub(crate) index: u64,
    /// Its id in the pool.
    pub(crate) id: u64,
}

/// How an item ended that has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its worker died while it ran.
    Lost,
    /// Its worker broke the protocol while it ran.
    Protocol,
    /// It was withdrawn before it ran, or killed by request.
    Cancelled,
    /// The pool ended.
    PoolClosed,
    /// The pool cannot go on.
    PoolBroken,
}

/// A task's key. It is used again once the task is over; the first id tells one task from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskKey {
    index: usize,
    serial: u64,
}

/// What a task needs besides its items.
#[derive(Debug, Clone)]
pub(crate) struct TaskSpec {
    /// The job's number in the workers' table.
    pub(crate) job: u32,
    /// How arguments and results are written.
    pub(crate) encoding: Encoding,
    /// Items in one run; `None` lets the scheduler choose.
    pub(crate) chunk: Option<u32>,
    /// Its items come as somebody asks for results, which may be never: a closed pool does not wait for them.
    pub(crate) lazy: bool,
}

#[derive(Debug)]
struct Task<S> {
    serial: u64,
    sink: S,
    spec: TaskSpec,
    /// Items in the queue.
    queued: u64,
    /// Lots in the queue, those of a withdrawn task too.
    lots: u32,
    /// Items in flight, or answered and not yet settled.
    active: u64,
    /// More items may come.
    open: bool,
    /// What has not started is to be dropped.
    withdrawn: bool,
}

/// Items that a worker has answered, in order: consecutive items of one task.
#[derive(Debug)]
pub(crate) struct Answer<S> {
    pub(crate) sink: S,
    pub(crate) first: Item,
    pub(crate) count: u32,
    /// Their results came after they were cancelled.
    pub(crate) cancelled: bool,
    task: usize,
    slot: usize,
}

/// How many items ended how; a consistent snapshot conserves
/// `submitted = done + failed + cancelled + queued + running`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) restarts: u64,
}

/// What [`Scheduler::withdraw`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// Everything was over already.
    Nothing,
    /// Something had not started and never will.
    Waiting,
    /// Something ran and was killed; it resolves when its worker is gone.
    Running,
}

/// How far a pool's life has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Takes jobs.
    Open,
    /// Takes no more, works off what it has.
    Closed,
    /// Cannot go on: everything resolves as `PoolBroken`.
    Broken,
    /// Was ended: everything resolves as `PoolClosed`.
    Terminated,
}

/// What was wrong with a start, for [`Scheduler::down`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Down {
    /// The process has ended; the item that it noted as running last.
    Died(Option<(u32, u32)>),
    /// The stream or the page made no sense, and the worker was killed for it.
    Protocol,
    /// No process could be made.
    NotSpawned,
}

/// The state machine; `P` carries arguments, `S` takes results.
#[derive(Debug)]
pub(crate) struct Scheduler<P, S> {
    phase: Phase,
    tasks: Slab<Task<S>>,
    queue: VecDeque<Lot<P>>,
    /// Items in the queue of tasks that are not withdrawn.
    queued: u64,
    /// Lots in the queue of tasks that are.
    dead_lots: usize,
    slots: Vec<Slot<P>>,
    /// Slots beyond this are to end.
    target: usize,
    /// Ready workers with nothing in flight; the one used last on top.
    idle: Vec<usize>,
    /// Workers that could take one more run ahead; may name some that no longer can.
    roomy: VecDeque<usize>,
    /// Workers with more than one item to answer; may name some that no longer have.
    crowded: Vec<usize>,
    /// Workers that are idle and can be sent nothing: [`tick`](Self::tick) looks when they can.
    jams: usize,
    paces: Paces,
    counts: Counts,
    /// Items answered and not yet settled.
    settling: u64,
    /// Open tasks that are not lazy.
    feeding: usize,
    next_id: u64,
    next_serial: u64,
    /// Starts that failed since a worker last became ready,
    failed_starts: u32,
    /// and how many of them were deaths before hello.
    early_deaths: u32,
    /// How many items took how long, by [duration code](duration_code).
    durations: Box<[u64; 256]>,
    listener: Listener,
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    pub(crate) fn new() -> Scheduler<P, S> {
        Scheduler {
            phase: Phase::Open,
            tasks: Slab::new(),
            queue: VecDeque::new(),
            queued: 0,
            dead_lots: 0,
            slots: Vec::new(),
            target: 0,
            idle: Vec::new(),
            roomy: VecDeque::new(),
            crowded: Vec::new(),
            jams: 0,
            paces: Paces::default(),
            counts: Counts::default(),
            settling: 0,
            feeding: 0,
            next_id: 1,
            next_serial: 0,
            failed_starts: 0,
            early_deaths: 0,
            durations: Box::new([0; 256]),
            listener: Listener::default(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    #[cfg(test)]
    pub(crate) fn listen(&mut self, listener: Listener) {
        self.listener = listener;
    }

    // ---- tasks ----

    /// Begins a task; its items follow. `None` if the pool takes no more.
    pub(crate) fn open_task(&mut self, sink: S, spec: TaskSpec) -> Option<TaskKey> {
        if self.phase != Phase::Open {
            return None;
        }
        self.feeding += usize::from(!spec.lazy);
        let serial = self.next_serial;
        self.next_serial += 1;
        let task = Task { serial, sink, spec, queued: 0, lots: 0, active: 0, open: true, withdrawn: false };
        Some(TaskKey { index: self.tasks.insert(task), serial })
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
        let id = self.next_id;
        let task = Self::find(&mut self.tasks, key)?;
        let over = match self.phase {
            Phase::Open => false,
            Phase::Closed => task.spec.lazy,
            Phase::Broken | Phase::Terminated => true,
        };
        if task.withdrawn || over {
            let ending = if task.withdrawn { Ending::Cancelled } else { Ending::Failed };
            self.count_unsent(count, ending);
            return None;
        }
        self.next_id += u64::from(count);
        self.counts.submitted += u64::from(count);
        let lot = Lot { task: key.index, first: Item { index, id }, count, payload };
        self.listener.tell(|| Event::Queued { id, count, job: task.spec.job });
        self.enqueue_back(lot);
        self.dispatch(now, effects);
        Some(id)
    }

    /// Counts an item that failed before it could be submitted, and gives it an id.
    pub(crate) fn count_failed(&mut self) -> u64 {
        self.count_unsent(1, Ending::Failed)
    }

    /// Counts items that ended before they came into the queue, and gives the first one's id.
    fn count_unsent(&mut self, count: u32, ending: Ending) -> u64 {
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
        if !task.withdrawn {
            task.withdrawn = true;
            if task.queued > 0 {
                outcome = Withdrawn::Waiting;
            }
            self.queued -= task.queued;
            self.counts.cancelled += task.queued;
            self.dead_lots += task.lots as usize;
            task.queued = 0;
        }
        for at in 0..self.slots.len() {
            if self.drop_unclaimed(at, key.index, effects) {
                outcome = Withdrawn::Waiting;
            }
        }
        for at in 0..self.slots.len() {
            if kill && self.kill_running(at, key, now, effects) {
                outcome = Withdrawn::Running;
            }
        }
        self.sweep();
        self.forget_if_over(key.index);
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
        outcome
    }

    /// Takes all unclaimed items of a task back from one worker; they count as cancelled.
    fn drop_unclaimed(&mut self, at: usize, task: usize, effects: &mut impl Effects<P, S>) -> bool {
        let mut dropped = 0;
        let slot = &mut self.slots[at];
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
    fn kill_running(
        &mut self,
        at: usize,
        key: TaskKey,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> bool {
        let slot = &self.slots[at];
        if slot.killed_for.is_some() {
            return slot.killed_for == Some(key) && !slot.flight.is_empty();
        }
        if !slot.may_run(key.index, |run| effects.claimed(at, run)) {
            return false;
        }
        self.take_back(at, u32::MAX, effects);
        let slot = &mut self.slots[at];
        // Since it was asked it may have begun another task's run; that one is innocent.
        if slot.flight.back().is_none_or(|run| run.lot.task != key.index) {
            return false;
        }
        slot.killed_for = Some(key);
        slot.set(State::Leaving, now);
        effects.kill(at);
        true
    }

    fn find(tasks: &mut Slab<Task<S>>, key: TaskKey) -> Option<&mut Task<S>> {
        tasks.get_mut(key.index).filter(|task| task.serial == key.serial)
    }

    fn forget_if_over(&mut self, index: usize) {
        if let Some(task) = self.tasks.get(index)
            && !task.open
            && task.lots == 0
            && task.active == 0
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
        answers: &mut Vec<Answer<S>>,
    ) -> Option<()> {
        let slot = &mut self.slots[at];
        slot.progress = now;
        while count > 0 {
            let (task, first, part) = slot.answer(count)?;
            let sink = self.tasks[task].sink.clone();
            let cancelled = slot.killed_for.is_some_and(|key| key.index == task);
            answers.push(Answer { sink, first, count: part, cancelled, task, slot: at });
            self.settling += u64::from(part);
            count -= part;
        }
        Some(())
    }

    /// Items are over: `done` of them with a value. They were answered, and their handles resolve after this.
    pub(crate) fn settle(&mut self, answer: &Answer<S>, done: u32, nanos: u64) {
        let count = u64::from(answer.count);
        self.settling -= count;
        if answer.cancelled {
            self.counts.cancelled += count;
        } else {
            self.counts.done += u64::from(done);
            self.counts.failed += count - u64::from(done);
        }
        let task = &mut self.tasks[answer.task];
        task.active -= count;
        self.paces.note(task.spec.job, nanos);
        self.durations[usize::from(duration_code(nanos))] += count;
        let Item { id, .. } = answer.first;
        let ending = if answer.cancelled { Ending::Cancelled } else { Ending::Ran { done, nanos } };
        let (slot, count) = (Some(answer.slot), answer.count);
        self.listener.tell(|| Event::Ended { id, count, slot, ending });
        self.forget_if_over(answer.task);
    }

    /// After answers: more work for the worker, or for whoever is idle.
    pub(crate) fn refill(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        self.note_room(at, effects);
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
    }

    // ---- workers ----

    /// Sets how many workers there are to be.
    pub(crate) fn resize(&mut self, workers: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        self.target = workers;
        while self.slots.len() < workers {
            self.slots.push(Slot::new(now));
        }
        for at in workers..self.slots.len() {
            self.retire(at, now, effects);
        }
        for at in 0..workers {
            self.revive(at, now, effects);
        }
        self.dispatch(now, effects);
    }

    /// Whether the pool wants a worker in a slot.
    fn wants(&self, at: usize) -> bool {
        at < self.target
            && match self.phase {
                Phase::Open => true,
                Phase::Closed => self.queued > 0 || self.feeding > 0,
                Phase::Broken | Phase::Terminated => false,
            }
    }

    /// Starts a worker in a vacant slot, if the pool wants one there.
    fn revive(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        let wanted = self.wants(at);
        let slot = &mut self.slots[at];
        if wanted && matches!(slot.state, State::Vacant) {
            slot.begin(now);
            effects.spawn(at, slot.generation);
        }
    }

    /// Lets a worker end in good order: what it has not claimed is taken back, what it runs it may end.
    fn retire(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        match self.slots[at].state {
            State::Ready => {
                self.take_back(at, u32::MAX, effects);
                self.slots[at].set(State::Leaving, now);
                effects.bye(at);
            }
            State::Starting => {
                self.slots[at].set(State::Leaving, now);
                effects.kill(at);
            }
            State::Pausing(_) => self.slots[at].set(State::Vacant, now),
            State::Vacant | State::Spawning | State::Leaving => {}
        }
    }

    /// A worker's process exists.
    pub(crate) fn spawned(&mut self, at: usize, pid: u32, now: Instant, effects: &mut impl Effects<P, S>) {
        let slot = &mut self.slots[at];
        slot.pid = Some(pid);
        slot.set(State::Starting, now);
        if !self.wants(at) {
            self.retire(at, now, effects);
        }
    }

    /// A worker has said hello and has run its initializer.
    pub(crate) fn ready(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        (self.failed_starts, self.early_deaths) = (0, 0);
        let slot = &mut self.slots[at];
        if slot.state != State::Starting {
            return;
        }
        slot.set(State::Ready, now);
        let pid = slot.pid.unwrap_or_default();
        self.listener.tell(|| Event::WorkerUp { slot: at, pid });
        self.note_room(at, effects);
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
    }

    /// A worker is gone, and all that it has answered was taken. Charges the item that ran, sends the others again.
    ///
    /// `true` if the pool breaks by it: too many starts have failed one after the other.
    pub(crate) fn down(
        &mut self,
        at: usize,
        how: Down,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> bool {
        let before = self.slots[at].state;
        let pid = self.slots[at].pid;
        self.charge(at, how, now, effects);
        let expected = before == State::Leaving;
        let started = before == State::Ready || expected;
        if let Some(pid) = pid {
            self.listener.tell(|| Event::WorkerDown { slot: at, pid });
            self.counts.restarts += u64::from(!expected && self.phase == Phase::Open);
        }
        if !started {
            self.failed_starts += 1;
            let pause = FIRST_PAUSE.saturating_mul(1 << (self.failed_starts - 1).min(10)).min(LONGEST_PAUSE);
            if self.wants(at) {
                self.slots[at].set(State::Pausing(now + pause), now);
            }
            self.early_deaths += u32::from(how != Down::NotSpawned);
            if how != Down::NotSpawned && self.early_deaths >= STORM {
                return true;
            }
        }
        self.revive(at, now, effects);
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
        false
    }

    /// Settles what a gone worker still had in flight.
    fn charge(&mut self, at: usize, how: Down, now: Instant, effects: &mut impl Effects<P, S>) {
        self.jams -= usize::from(std::mem::take(&mut self.slots[at].jammed));
        let killed_for = self.slots[at].killed_for.take();
        let flight = self.slots[at].end(now);
        let mut again = Vec::new();
        for mut run in flight {
            let claimed = effects.claimed(at, run.number).min(run.lot.count);
            let mut charged = run.charged(how, claimed);
            let verdict = if killed_for.is_some_and(|key| key.index == run.lot.task) {
                // Whoever cancelled them waits for them, those too that were claimed and had not begun.
                charged = run.left();
                Verdict::Cancelled
            } else if how == Down::Died(Some((run.number, run.answered))) {
                Verdict::Lost
            } else {
                Verdict::Protocol
            };
            for offset in run.answered..run.answered + charged {
                let item = run.lot.item(offset);
                self.end_item(run.lot.task, item, Some(at), verdict.clone(), effects);
            }
            run.lot.drop_front(run.answered + charged);
            if run.lot.count > 0 {
                again.push(run.lot);
            }
        }
        for lot in again.into_iter().rev() {
            self.tasks[lot.task].active -= u64::from(lot.count);
            let (id, count) = (lot.first.id, lot.count);
            self.listener.tell(|| Event::TakenBack { id, count, slot: at });
            self.enqueue_front(lot);
        }
    }

    /// An item in flight ends without a result.
    fn end_item(
        &mut self,
        task: usize,
        item: Item,
        slot: Option<usize>,
        verdict: Verdict,
        effects: &mut impl Effects<P, S>,
    ) {
        let ending = match verdict {
            Verdict::Cancelled => Ending::Cancelled,
            _ => Ending::Failed,
        };
        match ending {
            Ending::Cancelled => self.counts.cancelled += 1,
            _ => self.counts.failed += 1,
        }
        self.tasks[task].active -= 1;
        effects.resolve(&self.tasks[task].sink, item, verdict);
        self.listener.tell(|| Event::Ended { id: item.id, count: 1, slot, ending });
        self.forget_if_over(task);
    }

    // ---- the end ----

    /// Takes no more tasks; workers end as the work does.
    pub(crate) fn close(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
        self.retire_if_done(now, effects);
    }

    /// Once closed and out of work, the workers may go.
    pub(crate) fn retire_if_done(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        if self.phase == Phase::Closed && self.is_done() {
            for at in 0..self.slots.len() {
                self.retire(at, now, effects);
            }
        }
    }

    /// Ends everything: every item that has not been answered resolves, every worker is killed.
    pub(crate) fn shut(&mut self, phase: Phase, now: Instant, effects: &mut impl Effects<P, S>) {
        if matches!(self.phase, Phase::Terminated) || self.phase == phase {
            return;
        }
        self.phase = phase;
        let verdict = if phase == Phase::Broken { Verdict::PoolBroken } else { Verdict::PoolClosed };
        for at in 0..self.slots.len() {
            for run in self.slots[at].take_flight() {
                for offset in run.answered..run.lot.count {
                    self.end_item(run.lot.task, run.lot.item(offset), Some(at), verdict.clone(), effects);
                }
            }
            match self.slots[at].state {
                State::Starting | State::Ready | State::Leaving => {
                    self.slots[at].set(State::Leaving, now);
                    effects.kill(at);
                }
                State::Pausing(_) => self.slots[at].set(State::Vacant, now),
                State::Vacant | State::Spawning => {}
            }
        }
        self.empty_queue(verdict, effects);
        self.idle.clear();
        self.roomy.clear();
    }

    fn empty_queue(&mut self, verdict: Verdict, effects: &mut impl Effects<P, S>) {
        for lot in std::mem::take(&mut self.queue) {
            let task = &mut self.tasks[lot.task];
            task.lots -= 1;
            if !task.withdrawn {
                let count = u64::from(lot.count);
                task.queued -= count;
                task.active += count;
                self.queued -= count;
                for offset in 0..lot.count {
                    self.end_item(lot.task, lot.item(offset), None, verdict.clone(), effects);
                }
            } else {
                self.listener.cancelled(&lot, None);
            }
            self.forget_if_over(lot.task);
        }
        self.dead_lots = 0;
    }

    // ---- what is asked ----

    /// No item is queued, in flight or unsettled, and none is about to come.
    pub(crate) fn is_done(&self) -> bool {
        self.queued == 0
            && self.settling == 0
            && self.feeding == 0
            && self.slots.iter().all(|slot| slot.flight.is_empty())
    }

    /// Whether any process exists or is being made.
    pub(crate) fn has_processes(&self) -> bool {
        self.slots.iter().any(|slot| slot.state.has_process() || slot.state == State::Spawning)
    }

    pub(crate) fn counts(&self) -> Counts {
        let ended = self.counts.done + self.counts.failed + self.counts.cancelled;
        let live = self.counts.submitted - ended;
        let busy = self.slots.iter().filter(|slot| !slot.flight.is_empty()).count() as u64;
        let running = (busy + self.settling).min(live);
        Counts { queued: live - running, running, ..self.counts }
    }

    /// How many items took how long, by [duration code](duration_code).
    pub(crate) fn durations(&self) -> &[u64; 256] {
        &self.durations
    }

    /// What an item of a job has taken of late, in nanoseconds; 0 if nobody knows.
    pub(crate) fn pace(&self, job: u32) -> u64 {
        self.paces.of(job)
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        let shown = |(at, slot): &(usize, &Slot<P>)| *at < self.target || slot.state.has_process();
        self.slots.iter().enumerate().filter(shown).map(|(at, slot)| slot.view(at))
    }

    /// Whether a process is being made.
    pub(crate) fn is_spawning(&self) -> bool {
        self.slots.iter().any(|slot| slot.state == State::Spawning)
    }

    /// The state of a slot.
    pub(crate) fn state(&self, at: usize) -> State {
        self.slots[at].state
    }
}
