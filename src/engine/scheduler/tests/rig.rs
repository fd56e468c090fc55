//! A scheduler in its [`World`], driven as the engine drives it, and looked through after each step.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidestep_worker::wire::Encoding;

use super::super::limits::Doom;
use super::super::*;
use super::items::{End, Key};
use super::room::Line;
use super::told::Told;
use super::world::{Doing, Load, Process, World};

#[derive(Debug)]
pub(super) struct TaskRecord {
    pub(super) key: Bound,
    /// Items so far.
    pub(super) items: u64,
    pub(super) open: bool,
    pub(super) lazy: bool,
    pub(super) withdrawn: bool,
    /// It had its one item and no more to come whenever it was withdrawn, as a handle's task.
    single: bool,
    /// Then the outcome of that; of loose items, that of each that was withdrawn.
    pub(super) cancelled: HashMap<u64, Withdrawn>,
}

/// A task's key, or that of the first of some single jobs and the bytes of one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    Call(TaskKey),
    Loose(SingleKey, usize),
}

#[derive(Debug)]
pub(super) struct Rig {
    pub(super) scheduler: Scheduler<Load, u32>,
    pub(super) world: World,
    pub(super) tasks: Vec<TaskRecord>,
    /// Answers that were taken and are not yet settled: whose, how many with a value, how long.
    pub(super) unsettled: Vec<(Answer<Load, u32>, u32, u64)>,
    /// Whose answers were taken.
    pub(super) refill: Option<usize>,
    /// Items that could not be submitted.
    pub(super) refused: u64,
    pub(super) events: Arc<Mutex<Vec<Event>>>,
    pub(super) told: Told,
    pub(super) line: Line,
    next_pid: u32,
    /// It is not looked through for the moment.
    pub(super) unchecked: bool,
}

pub(super) const MILLI: Duration = Duration::from_millis(1);
const BACKOFF: Backoff = Backoff { first: MILLI, longest: Duration::from_millis(100) };

impl Rig {
    /// With processes that are still to be made.
    pub(super) fn new(workers: usize) -> Rig {
        Rig::with(workers, Recycling::default(), Limits::default(), Bounds::default())
    }

    /// The same, and they serve only so long, and only so much may be used by jobs and wait for them.
    pub(super) fn with(workers: usize, recycling: Recycling, limits: Limits, bounds: Bounds) -> Rig {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let mut scheduler = Scheduler::new(BACKOFF, recycling, limits, 2);
        let told = events.clone();
        scheduler.listen(Listener::new(move |event| told.lock().unwrap().push(event)));
        let world = World::new();
        let mut rig = Rig {
            scheduler,
            world,
            tasks: Vec::new(),
            unsettled: Vec::new(),
            refill: None,
            refused: 0,
            events,
            told: Told::default(),
            line: Line::new(bounds),
            next_pid: 100,
            unchecked: false,
        };
        rig.resize(workers);
        rig
    }

    /// With workers that serve.
    pub(super) fn up(workers: usize) -> Rig {
        let mut rig = Rig::new(workers);
        rig.raise();
        rig
    }

    /// All processes that are being made come, and serve.
    pub(super) fn raise(&mut self) {
        while !self.world.spawns.is_empty() {
            let at = self.spawned(0);
            self.ready(at);
        }
    }

    // ---- callers ----

    pub(super) fn open(&mut self, job: u32, chunk: Option<u32>, lazy: bool) -> Option<usize> {
        self.open_on(Terms::default(), job, chunk, lazy)
    }

    pub(super) fn open_on(
        &mut self,
        terms: Terms,
        job: u32,
        chunk: Option<u32>,
        lazy: bool,
    ) -> Option<usize> {
        let number = self.tasks.len();
        let spec = TaskSpec { job, encoding: Encoding::Binary, chunk, lazy, terms };
        let key = self.scheduler.open_task(number as u32, spec)?;
        let (key, cancelled) = (Bound::Call(key), HashMap::new());
        let (items, open, withdrawn, single) = (0, true, false, true);
        self.tasks.push(TaskRecord { key, items, open, lazy, withdrawn, single, cancelled });
        self.check();
        Some(number)
    }

    pub(super) fn push(&mut self, task: usize, count: u32, size: usize) -> bool {
        let record = &mut self.tasks[task];
        let (Bound::Call(key), from) = (record.key, record.items) else { panic!("task {task} is loose") };
        let keys = (0..u64::from(count)).map(|offset| (task as u32, from + offset));
        self.world.items.add(task as u32, count);
        let load = Load { task: task as u32, from, count, size };
        let now = self.world.now;
        let known = self.scheduler.tasks.get(key.index).is_some_and(|task| task.serial == key.serial);
        let first = self.scheduler.push(key, from, count, load, now, &mut self.world);
        match first {
            Some(first) => {
                record.items += u64::from(count);
                for (offset, key) in keys.enumerate() {
                    let id = first + offset as u64;
                    let known = self.world.items[key].id.get_or_insert(id);
                    assert_eq!(*known, id, "{key:?} was sent under another id");
                }
            }
            // They were pulled, so they count; nobody else knows of them.
            None => {
                self.world.items.take_back(task as u32, count);
                self.refused += u64::from(known) * u64::from(count);
            }
        }
        self.check();
        first.is_some()
    }

    pub(super) fn finish(&mut self, task: usize) {
        let Bound::Call(key) = self.tasks[task].key else { return };
        self.tasks[task].open = false;
        self.scheduler.finish_input(key, self.world.now, &mut self.world);
        self.check();
    }

    /// One item, as `apply` does it.
    pub(super) fn submit(&mut self, job: u32) -> Option<usize> {
        self.submit_on(Terms::default(), job)
    }

    pub(super) fn submit_on(&mut self, terms: Terms, job: u32) -> Option<usize> {
        let (number, size) = (self.tasks.len(), 100);
        let spec = TaskSpec { job, encoding: Encoding::Binary, chunk: None, lazy: false, terms };
        let load = Load { task: number as u32, from: 0, count: 1, size };
        self.world.items.add(number as u32, 1);
        let key = self.scheduler.submit(number as u32, spec, load, self.world.now, &mut self.world);
        if let Some(key) = key {
            self.world.items[(number as u32, 0)].id.get_or_insert(key.id);
            let (key, cancelled) = (Bound::Loose(key, size), HashMap::new());
            let (items, open, lazy, withdrawn, single) = (1, false, false, false, false);
            self.tasks.push(TaskRecord { key, items, open, lazy, withdrawn, single, cancelled });
        } else {
            self.world.items.take_back(number as u32, 1);
        }
        self.check();
        key.map(|_| number)
    }

    /// Many items, as `map` does it.
    pub(super) fn map(&mut self, job: u32, count: u32, chunk: Option<u32>) -> usize {
        let task = self.open(job, chunk, false).unwrap();
        self.push(task, count, 100);
        self.finish(task);
        task
    }

    pub(super) fn withdraw(&mut self, task: usize, kill: bool) -> Withdrawn {
        let Bound::Call(key) = self.tasks[task].key else { return self.cancel(task, 0) };
        self.world.doing = if kill { Doing::Killing(task as u32, None) } else { Doing::Other };
        let outcome = self.scheduler.withdraw(key, kill, self.world.now, &mut self.world);
        self.world.doing = Doing::Other;
        self.note_withdrawn(task, kill, outcome);
        self.check();
        outcome
    }

    fn note_withdrawn(&mut self, task: usize, kill: bool, outcome: Withdrawn) {
        let running = self.world.processes.iter().flatten().find(|process| {
            !(process.killed || process.asked)
                && process.runs().is_some_and(|(whose, _)| whose == task as u32)
        });
        assert!(!kill || running.is_none(), "task {task} still runs: {outcome:?}");
        let record = &mut self.tasks[task];
        record.single &= !record.open && record.items == 1;
        let first = !std::mem::replace(&mut record.withdrawn, true);
        if !record.single {
            return;
        }
        match outcome {
            // After one without a kill nobody is told what becomes of it.
            Withdrawn::Nothing if kill && first => {
                let item = &self.world.items[(task as u32, 0)];
                assert!(item.committed || item.end.is_some(), "an item that is not over is said to be over");
            }
            Withdrawn::Nothing => {}
            outcome => _ = record.cancelled.insert(0, outcome),
        }
    }

    pub(super) fn close(&mut self) {
        self.scheduler.close(self.world.now, &mut self.world);
        self.check();
    }

    pub(super) fn resize(&mut self, workers: usize) {
        self.scheduler.resize(workers, self.world.now, &mut self.world);
        self.check();
    }

    pub(super) fn shut(&mut self, phase: Phase) {
        self.world.doing = Doing::Shutting;
        self.scheduler.shut(phase, self.world.now, &mut self.world);
        self.world.doing = Doing::Other;
        self.check();
    }

    pub(super) fn count_failed(&mut self, count: u64) {
        self.refused += count;
        for _ in 0..count {
            self.scheduler.count_failed();
        }
        self.check();
    }

    // ---- the one who reads ----

    /// A process that was to be made is there; its slot.
    pub(super) fn spawned(&mut self, which: usize) -> usize {
        self.settle();
        let (at, _) = self.world.spawns.remove(which);
        self.world.put(at);
        self.next_pid += 1;
        self.scheduler.spawned(at, self.next_pid, self.world.now, &mut self.world);
        self.check();
        at
    }

    /// A process that was to be made could not be.
    pub(super) fn not_spawned(&mut self, which: usize) -> usize {
        self.settle();
        let (at, _) = self.world.spawns.remove(which);
        let broken = self.scheduler.down(at, Down::NotSpawned, self.world.now, &mut self.world);
        assert!(!broken, "a lack of means is no restart storm");
        self.check();
        at
    }

    pub(super) fn ready(&mut self, at: usize) {
        self.settle();
        let Some(process) = self.world.process_mut(at) else { return };
        if !std::mem::replace(&mut process.serves, true) {
            self.scheduler.ready(at, self.world.now, &mut self.world);
        }
        self.check();
    }

    /// Takes up to `count` results of a worker; they settle later, with `nanos` each and with a value unless `fail`.
    pub(super) fn read(&mut self, at: usize, count: usize, nanos: u64, fail: bool) {
        self.settle();
        let ended = matches!(self.scheduler.phase(), Phase::Broken | Phase::Terminated);
        let Some(process) = self.world.process_mut(at) else { return };
        let count = count.min(process.unread.len());
        let keys: Vec<Key> = process.unread.drain(..count).collect();
        if ended || keys.is_empty() {
            return;
        }
        let mut answers = Vec::new();
        let enough = self.scheduler.take_answers(at, count as u32, self.world.now, &mut answers);
        assert!(enough.is_some(), "{keys:?} were not expected");
        let mut keys = keys.into_iter();
        for answer in &answers {
            for offset in 0..u64::from(answer.count) {
                let (task, index) = keys.next().unwrap();
                assert_eq!((answer.sink, answer.first.index + offset), (task, index), "another's answer");
                let record = &mut self.world.items[(task, index)];
                assert_eq!(record.id, Some(answer.first.id + offset));
                record.holder = None;
                if answer.fate == Fate::Late {
                    continue;
                }
                assert_eq!(record.end, None, "{:?} is answered although it is over", (task, index));
                if !(fail && answer.may_try_again()) {
                    record.end = Some(End::Answered { cancelled: answer.fate == Fate::Cancelled });
                }
            }
        }
        assert_eq!(keys.next(), None);
        let done = |count| if fail { count - 1 } else { count };
        self.unsettled = answers
            .into_iter()
            .map(|answer| (done(answer.count), answer))
            .map(|(done, answer)| (answer, done, nanos))
            .collect();
        self.refill = Some(at);
        self.check();
    }

    pub(super) fn settle(&mut self) {
        for (mut answer, done, nanos) in std::mem::take(&mut self.unsettled) {
            let again = answer.may_try_again() && done == 0;
            let key = (answer.sink, answer.first.index);
            let tried = self.scheduler.settle(&mut answer, done, again, nanos, self.world.now);
            if tried {
                self.world.items[key].failed += 1;
            } else if again {
                self.world.items[key].end = Some(End::Answered { cancelled: false });
            }
        }
        if let Some(at) = self.refill.take() {
            self.scheduler.refill(at, self.world.now, &mut self.world);
        }
        self.check();
    }

    /// A worker's process ends, with what it has noted and committed by now.
    pub(super) fn die(&mut self, at: usize, protocol: bool) {
        self.settle();
        let Some(process) = self.world.process(at) else { return };
        let running = process.runs();
        self.read(at, usize::MAX, 1000, false);
        self.settle();
        let expired = match &self.scheduler.slots[at].doom {
            Some(Doom::Charged { retry: Some((lot, _)), .. }) => Some((lot.payload.task, lot.first.index)),
            _ => None,
        };
        let expired = expired.filter(|key| running != Some(*key));
        let current = self.world.end(at);
        let how = if protocol { Down::Protocol } else { Down::Died(current) };
        self.world.doing = Doing::Burying(how, running);
        let broken = self.scheduler.down(at, how, self.world.now, &mut self.world);
        self.world.doing = Doing::Other;
        self.world.forget(at);
        for key in running.into_iter().chain(expired) {
            let waits = |lot: &Lot<Load>| (lot.payload.task, lot.first.index) == key;
            let over = self.world.items[key].end.is_some();
            assert!(
                over || self.scheduler.delayed.values().any(waits),
                "{key:?} ran, and its worker died without its being charged"
            );
            self.world.items[key].failed += u32::from(!over);
        }
        if broken {
            self.shut(Phase::Broken);
        }
        self.check();
    }

    /// A worker's process ends as in [`die`](Self::die), with another note in its page than it has made.
    pub(super) fn die_with_note(&mut self, at: usize, note: (u32, u32)) {
        self.world.end(at);
        let how = Down::Died(Some(note));
        self.world.doing = Doing::BuryingScribbled;
        self.scheduler.down(at, how, self.world.now, &mut self.world);
        self.world.doing = Doing::Other;
        self.world.forget(at);
        self.check();
    }

    /// Time passes, and the engine looks at it.
    pub(super) fn tick(&mut self, time: Duration) {
        self.tick_with(time, usize::MAX);
    }

    /// The same, and of what a worker that seems late has answered no more than so much comes in one go.
    pub(super) fn tick_with(&mut self, time: Duration, results: usize) {
        self.settle();
        self.world.now += time;
        let now = self.world.now;
        for (at, before) in self.scheduler.whom_to_measure(now, &self.world) {
            let Some(usage) = self.world.process(at).map(|process| process.usage) else { continue };
            self.scheduler.measured(at, before, usage, now, &mut self.world);
            self.check();
        }
        for at in self.scheduler.overdue(&self.world) {
            self.read(at, results, 1000, false);
            self.settle();
            self.world.doing = Doing::Expiring(self.world.process(at).and_then(Process::runs));
            if let Some(overrun) = self.scheduler.halt(at, now, &mut self.world) {
                self.scheduler.expire(at, overrun, now, &mut self.world);
            }
            self.world.doing = Doing::Other;
            self.check();
        }
        for at in self.scheduler.tick(now, &mut self.world) {
            let stopped = self.world.process(at).is_some_and(|process| process.stopped);
            self.scheduler.looked_at(at, stopped, now, &mut self.world);
        }
        self.check();
    }

    // ---- workers ----

    pub(super) fn stop(&mut self, at: usize, stopped: bool) {
        if let Some(process) = self.world.process_mut(at) {
            process.stopped = stopped;
        }
    }

    /// A worker has so much memory, and has used more processor time.
    pub(super) fn use_up(&mut self, at: usize, memory: u64, cpu: Duration) {
        if let Some(process) = self.world.process_mut(at) {
            process.usage.memory = memory;
            process.usage.cpu += cpu;
        }
    }

    /// A worker goes as far as it can.
    pub(super) fn work(&mut self, at: usize) {
        while self.world.step(at, 3) {}
    }

    /// A worker goes on until it is in the middle of an item.
    pub(super) fn begin(&mut self, at: usize) -> Key {
        loop {
            assert!(self.world.step(at, 1), "worker {at} has nothing to begin");
            if let Some(key) = self.world.process(at).unwrap().runs() {
                return key;
            }
        }
    }

    /// A worker does all it was sent, and the parent learns of it.
    pub(super) fn serve(&mut self, at: usize, nanos: u64) {
        self.work(at);
        self.read(at, usize::MAX, nanos, false);
        self.settle();
        if self.world.process(at).is_some_and(|process| process.left) {
            self.die(at, false);
        }
    }
}
