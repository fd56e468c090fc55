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

mod attempts;
mod chance;
mod dispatch;
mod elastic;
mod end;
mod event;
mod limits;
mod loose;
mod lot;
mod pick;
mod recycling;
mod room;
mod sizing;
mod slot;
mod target;
mod tasks;
#[cfg(test)]
mod tests;
mod usage;
mod workers;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sidestep_worker::wire::{Encoding, RunHeader};
use slab::Slab;

use attempts::Delayed;
pub(crate) use attempts::{Backoff, Terms};
pub(crate) use event::{Ending, Event, Listener};
pub(crate) use limits::Running;
use loose::Bond;
pub(crate) use loose::{MOST as SINGLES, SingleKey};
pub(crate) use lot::{Lot, Payload, Tried};
pub(crate) use recycling::Recycling;
pub(crate) use room::{Bounds, Grant, Load, Room};
use sizing::Paces;
use slot::Slot;
pub(crate) use slot::{State, WorkerView};
use target::Target;
pub(crate) use usage::Limits;
pub(super) use workers::STORM;

/// A worker that has not claimed what it was sent after this long is looked at.
pub(crate) const UNCLAIMED: Duration = Duration::from_millis(500);
/// How often everything that has no time of its own is looked at while anything is under way.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    /// Ask the worker and its group to end, and kill them after the grace.
    fn stop(&mut self, slot: usize);
    /// The item of a watched run that the worker is in.
    fn running(&self, slot: usize) -> Option<Running>;
    /// Have the worker begin nothing more that is watched, or take that back.
    fn halt(&mut self, slot: usize, halt: bool);
    /// An item has ended without a result of its own. `slot` is where it ran, if it did.
    fn resolve(&mut self, sink: &S, item: Item, slot: Option<usize>, verdict: Verdict);
}

/// One item of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its place in its task, from 0.
    pub(crate) index: u64,
    /// Its id in the pool.
    pub(crate) id: u64,
}

impl Item {
    /// The one that comes so many places after it.
    pub(crate) fn after(self, count: u64) -> Item {
        Item { index: self.index + count, id: self.id + count }
    }
}

/// How an item ended that has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its worker died while it ran, in the last of so many attempts.
    Lost { attempts: u32 },
    /// So many workers have died of it.
    Poisoned { deaths: u32 },
    /// It ran for longer than this.
    TimedOut { limit: Duration },
    /// Its worker had more memory than this while it ran, in bytes.
    MemoryLimit { limit: u64 },
    /// It used more processor time than this.
    CpuLimit { limit: Duration },
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskSpec {
    /// The job's number in the workers' table.
    pub(crate) job: u32,
    /// How arguments and results are written.
    pub(crate) encoding: Encoding,
    /// Items in one run; `None` lets the scheduler choose.
    pub(crate) chunk: Option<u32>,
    /// Its items come as somebody asks for results, which may be never: a closed pool does not wait for them.
    pub(crate) lazy: bool,
    /// What an item may take, and how often it is tried.
    pub(crate) terms: Terms,
}

#[derive(Debug)]
struct Task<S> {
    serial: u64,
    sink: S,
    spec: TaskSpec,
    /// Items in the queue,
    queued: u64,
    /// and the bytes of their arguments.
    queued_bytes: usize,
    /// Lots in the queue, those of a withdrawn task too.
    lots: u32,
    /// Items in flight, or answered and not yet settled, or about to be tried again once their worker is gone.
    active: u64,
    /// Items that wait for their next attempt.
    delayed: u64,
    /// More items may come.
    open: bool,
    bond: Bond,
}

/// Items that a worker has answered, in order: consecutive items of one task.
#[derive(Debug)]
pub(crate) struct Answer<P, S> {
    pub(crate) sink: S,
    pub(crate) first: Item,
    pub(crate) count: u32,
    pub(crate) fate: Fate,
    /// The item's arguments, if it may be tried again; then there is one.
    again: Option<Lot<P>>,
    task: usize,
    slot: usize,
}

impl<P, S> Answer<P, S> {
    /// Whether an item that has failed may be tried again.
    pub(crate) fn may_try_again(&self) -> bool {
        self.again.is_some()
    }
}

/// What results are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Somebody waits for them.
    Wanted,
    /// They came after their items were cancelled.
    Cancelled,
    /// They came after their items were charged with something else.
    Late,
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
    /// Attempts after the first.
    pub(crate) retried: u64,
    /// Of those that failed.
    pub(crate) timed_out: u64,
    pub(crate) over_memory: u64,
    pub(crate) over_cpu: u64,
    pub(crate) poisoned: u64,
    pub(crate) restarts: u64,
    pub(crate) retired: u64,
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
    /// Items in the queue of tasks that are not withdrawn,
    queued: u64,
    /// and the bytes of their arguments.
    queued_bytes: usize,
    /// Items in the queue that were withdrawn.
    dead: u64,
    slots: Vec<Slot<P>>,
    /// How many threads can run at a time.
    cores: usize,
    /// Slots beyond this are to end.
    target: usize,
    /// There are to be no more workers than items.
    is_elastic: bool,
    /// Workers that are still to be given back.
    owed: usize,
    recycling: Recycling,
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
    /// Items that wait for their next attempt.
    delayed: Delayed<P>,
    backoff: Backoff,
    /// Runs with a limit were sent since somebody last asked.
    watching: bool,
    /// Something with a limit of time was ever sent: without that nobody looks for such.
    limits_time: bool,
    /// A slot may be pausing.
    pauses: bool,
    /// What any item may use.
    limits: Limits,
    /// When workers are to be measured next; never while nothing runs.
    next_measure: Option<Instant>,
    /// Open tasks that are not lazy.
    feeding: usize,
    next_id: u64,
    next_serial: u64,
    /// Starts that failed since a worker last became ready,
    failed_starts: u32,
    /// and how many of them were deaths before hello.
    early_deaths: u32,
    /// How many items took how long, by [duration code](sidestep_worker::frame::duration_code).
    durations: Box<[u64; 256]>,
    listener: Listener,
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    pub(crate) fn new(
        backoff: Backoff,
        recycling: Recycling,
        limits: Limits,
        cores: usize,
    ) -> Scheduler<P, S> {
        Scheduler {
            phase: Phase::Open,
            tasks: Slab::new(),
            queue: VecDeque::new(),
            queued: 0,
            queued_bytes: 0,
            dead: 0,
            slots: Vec::new(),
            cores,
            target: 0,
            is_elastic: false,
            owed: 0,
            recycling,
            idle: Vec::new(),
            roomy: VecDeque::new(),
            crowded: Vec::new(),
            jams: 0,
            paces: Paces::default(),
            counts: Counts::default(),
            settling: 0,
            delayed: Delayed::default(),
            backoff,
            watching: false,
            limits_time: false,
            pauses: false,
            limits,
            next_measure: None,
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

    /// No item is queued, in flight or unsettled, and none is about to come.
    pub(crate) fn is_done(&self) -> bool {
        self.queued == 0
            && self.settling == 0
            && self.feeding == 0
            && self.delayed.is_empty()
            && self.slots.iter().all(|slot| slot.flight.is_empty() && !slot.is_to_retry())
    }

    /// Whether any process exists or is being made.
    pub(crate) fn has_processes(&self) -> bool {
        self.slots.iter().any(|slot| slot.state.has_process() || slot.state == State::Spawning)
    }

    pub(crate) fn counts(&self) -> Counts {
        let ended = self.counts.done + self.counts.failed + self.counts.cancelled;
        let live = self.counts.submitted - ended;
        let busy = self.slots.iter().filter(|slot| slot.is_busy()).count() as u64;
        let running = (busy + self.settling).min(live);
        Counts { queued: live - running, running, ..self.counts }
    }

    /// What has not begun, in the queue or at a worker. Of a run that has begun no bytes are counted.
    pub(crate) fn backlog(&self) -> Load {
        let ahead: usize = self.slots.iter().map(Slot::bytes_behind).sum();
        Load { jobs: self.counts().queued, bytes: self.queued_bytes + ahead }
    }

    /// How many items took how long, by [duration code](sidestep_worker::frame::duration_code).
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
