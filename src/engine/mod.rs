//! Owns the queue and the workers of one pool.
//!
//! | part | what |
//! |---|---|
//! | [`scheduler`] | decides, without any I/O |
//! | `wires` | carries out what it decides |
//! | `driver` | waits for descriptors and for time, and calls the next three |
//! | `results`, `arrivals`, `departures` | results are handed over; a worker comes; a worker goes |
//! | `diagnosis` | why a worker has probably died |
//! | `borrowed` | workers that are a server's |
//! | `turns` | who does that: a waiting caller, or the pool's thread |
//! | `sleep` | whether those who wait have to be woken |
//! | `start`, `finish` | a worker's greeting; the pool's end |
//! | `admission` | callers wait for room in the queue |
//! | `outbox`, `inbox`, `args` | the parent's ends of the pipes, and what goes through |
//! | `arena` | where large arguments lie |
//! | `shares` | values that all workers can read |
//! | `loose` | single jobs that wait together |
//! | `condition` | a condition variable that costs nothing while nobody waits |
//! | `callbacks` | users' callbacks, on threads of their own |
//!
//! There are two locks. `core` is held for microseconds, by whoever submits, cancels or brings results. `io` is held by
//! the one who reads. Neither is held while anything of the user's runs, but for `Deserialize` of results (under
//! `io`). Whoever needs both takes `io` first.

mod admission;
mod arena;
mod args;
mod arrivals;
#[cfg(feature = "connect")]
mod borrowed;
mod callbacks;
mod condition;
mod departures;
mod diagnosis;
mod driver;
mod finish;
mod inbox;
mod loose;
mod outbox;
mod results;
pub(crate) mod scheduler;
mod shares;
mod sink;
mod sleep;
mod start;
mod turns;
mod wires;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sidestep_worker::blocks::Blocks;
use sidestep_worker::wire::NamedCall;

use crate::error::{JobError, PoolError};
#[cfg(feature = "connect")]
use crate::lending::Borrower;
use crate::process::{
    Forwarder, OomKills, Plan, Poller, SpawnError, Spawned, look_at_sigpipe, raise_descriptor_limit,
};

use admission::Rooms;
pub(crate) use arena::Arena;
pub(crate) use args::{Args, Batch};
pub(crate) use callbacks::Callbacks;
pub(crate) use condition::Condition;
use driver::Io;
use loose::Last;
pub(crate) use loose::Single;
use scheduler::{
    Backoff, Bounds, Counts, Grant, Limits, Phase, Recycling, Scheduler, TaskKey, TaskSpec, Terms, Withdrawn,
    WorkerView,
};
use shares::Shares;
pub use sink::Captured;
pub(crate) use sink::{Sink, Values, accept_each};
use sleep::Sleep;
pub(crate) use start::JobTable;
use start::Start;
use turns::Turns;
use wires::{Wires, Write};

/// What a pool was built with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) workers: usize,
    pub(crate) plan: Arc<Plan>,
    pub(crate) start_timeout: Duration,
    /// What holds for a call that says nothing else.
    pub(crate) terms: Terms,
    pub(crate) backoff: Backoff,
    /// What any job may use.
    pub(crate) limits: Limits,
    /// Added to this process's own.
    pub(crate) nice: i32,
    pub(crate) core_dumps: bool,
    /// How long a worker that is asked to end may take.
    pub(crate) grace: Duration,
    pub(crate) initializer: Option<NamedCall>,
    pub(crate) finalizer: Option<NamedCall>,
    /// The bytes of a path.
    pub(crate) directory: Option<Vec<u8>>,
    /// The workers run this program's own image.
    pub(crate) same_image: bool,
    pub(crate) name: String,
    pub(crate) recycling: Recycling,
    pub(crate) bounds: Bounds,
    /// Where large arguments lie.
    pub(crate) arena: Option<Arena>,
    /// Where workers come from, if they are not this pool's own.
    #[cfg(feature = "connect")]
    pub(crate) borrower: Option<Arc<Borrower>>,
}

/// One pool's engine.
pub(crate) struct Engine {
    pub(crate) config: Config,
    core: Mutex<Core>,
    /// The pool has started, or has finished.
    changed: Condvar,
    io: Mutex<Io>,
    poller: Arc<Poller>,
    turns: Turns,
    sleep: Sleep,
    /// The thread that is reading just now, by [`here`]; 0 if none is.
    reader: AtomicUsize,
    /// The workers' jobs, once one of them has said hello.
    table: Arc<OnceLock<JobTable>>,
    /// Fewer workers are at work than there are cores, when somebody last looked.
    free_core: AtomicBool,
    /// The pool is closed, terminated or broken: the one who reads looks whether anything is left.
    ending: AtomicBool,
    pub(crate) callbacks: Arc<Callbacks>,
    forwarder: Option<Forwarder>,
    arrivals: Mutex<Vec<Arrival>>,
    shares: Shares,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A number that no other living thread has.
fn here() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// A worker that was started, or was not.
struct Arrival {
    slot: usize,
    generation: u32,
    spawned: Result<Spawned, SpawnError>,
}

pub(crate) struct Core {
    scheduler: Scheduler<Args, Arc<dyn Sink>>,
    wires: Wires,
    room: Rooms,
    /// Single jobs that the next one may join.
    last: Option<Last>,
    start: Start,
    /// The same as the engine's.
    table: Arc<OnceLock<JobTable>>,
    /// Processes that were killed and could not be reaped in time.
    unreaped: Vec<u32>,
    oom_kills: Option<OomKills>,
    /// All workers are gone and everything of the system's was given back.
    finished: bool,
}

impl Engine {
    /// Starts the workers; returns when each has a process and the first one serves.
    pub(crate) fn start(config: Config) -> Result<Arc<Engine>, PoolError> {
        let engine = Engine::new(config)?;
        engine.start_workers()?;
        Ok(engine)
    }

    fn start_workers(self: &Arc<Self>) -> Result<(), PoolError> {
        let workers = self.config.workers;
        self.with(|core, now| core.scheduler.resize(workers, now, &mut core.wires));
        self.wait_for_start()
    }

    /// An engine without workers.
    fn new(config: Config) -> Result<Arc<Engine>, PoolError> {
        look_at_sigpipe();
        raise_descriptor_limit(config.workers);
        let poller = Poller::new().map_err(|error| PoolError::Spawn { message: error.to_string() })?;
        let poller = Arc::new(poller);
        let forwarder = (config.plan.stderr == crate::Output::Inherit).then(|| {
            let poller = poller.clone();
            Forwarder::new(Arc::new(move || poller.wake()))
        });
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let table = Arc::<OnceLock<JobTable>>::default();
        let engine = Arc::new_cyclic(|weak: &Weak<Engine>| Engine {
            core: Mutex::new(Core {
                scheduler: Scheduler::new(config.backoff, config.recycling, config.limits, cores),
                wires: Wires::new(weak.clone()),
                room: Rooms::new(config.bounds),
                last: None,
                start: Start::Pending,
                table: table.clone(),
                unreaped: Vec::new(),
                oom_kills: OomKills::watch(),
                finished: false,
            }),
            changed: Condvar::new(),
            io: Mutex::new(Io::default()),
            poller,
            turns: Turns::default(),
            sleep: Sleep::default(),
            reader: AtomicUsize::new(0),
            table,
            free_core: AtomicBool::new(true),
            ending: AtomicBool::new(false),
            callbacks: Arc::default(),
            forwarder,
            arrivals: Mutex::default(),
            shares: Shares::default(),
            thread: Mutex::default(),
            config,
        });
        let background = engine.clone();
        let thread = std::thread::Builder::new()
            .name(format!("sidestep-{}", engine.config.name))
            .spawn(move || background.run())
            .map_err(|error| PoolError::Spawn { message: format!("no thread for the pool: {error}") })?;
        engine.keep_thread(thread);
        Ok(engine)
    }

    fn wait_for_start(self: &Arc<Self>) -> Result<(), PoolError> {
        let mut core = self.core();
        loop {
            match &core.start {
                Start::Failed(error) => {
                    let error = error.clone();
                    drop(core);
                    self.end();
                    return Err(error);
                }
                Start::Up if !core.scheduler.is_spawning() => return Ok(()),
                Start::Up | Start::Pending => {}
            }
            core = self.changed.wait(core).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the core, then carries out what follows from it: writes, and outcomes to hand over.
    fn with<R>(&self, work: impl FnOnce(&mut Core, Instant) -> R) -> R {
        self.with_core(self.core(), work)
    }

    fn with_core<R>(&self, mut core: MutexGuard<'_, Core>, work: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let result = work(&mut core, Instant::now());
        let writes = core.wires.flush();
        let deliveries = std::mem::take(&mut core.wires.deliveries);
        self.free_core.store(core.scheduler.has_free_core(), Ordering::Relaxed);
        let soon = core.scheduler.take_watching() | core.is_uneven();
        let admitted = core.admit();
        drop(core);
        writes.into_iter().for_each(|write| self.write(write));
        if soon && self.sleep.too_long() {
            self.poller.wake();
        }
        // One who reads may wait for just these.
        let wake = !deliveries.is_empty() || admitted && !self.is_read_here();
        for delivery in deliveries {
            delivery.hand_over();
        }
        if wake {
            self.poller.wake();
        }
        result
    }

    /// Writes to a worker, without a lock, as long as there is something.
    fn write(&self, write: Write) {
        let mut next = Some(write);
        while let Some(mut write) = next {
            write.run();
            next = self.core().wires.wrote(write, &self.poller);
        }
    }

    /// Has somebody move results who does not know yet that there will be some.
    pub(crate) fn rouse(&self) {
        if self.sleep.too_deep() {
            self.poller.wake();
        }
        self.turns.nudge();
    }

    /// Has the one who reads look whether what he waits for has come another way.
    pub(crate) fn ring(&self) {
        self.poller.wake();
    }

    /// Whether the calling thread is reading: then it is in the `Deserialize` of a result or in somebody's `Waker`, and
    /// nothing can come while it is there.
    pub(crate) fn is_read_here(&self) -> bool {
        self.reader.load(Ordering::Relaxed) == here()
    }

    /// On the spawner's thread, and maybe with the core locked: only takes note.
    fn arrive(&self, slot: usize, generation: u32, spawned: Result<Spawned, SpawnError>) {
        let arrival = Arrival { slot, generation, spawned };
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        self.poller.wake();
        self.turns.nudge();
    }

    // ---- tasks ----

    /// Begins a task; `None` if the pool takes no more.
    pub(crate) fn open_task(&self, sink: Arc<dyn Sink>, spec: TaskSpec) -> Option<TaskKey> {
        self.core().scheduler.open_task(sink, spec)
    }

    /// Adds items to a task, for which there is room, and gives the first one's id; `None` if they are no longer wanted.
    pub(crate) fn push(
        &self,
        task: TaskKey,
        index: u64,
        count: u32,
        args: Args,
        grant: Grant,
    ) -> Option<u64> {
        self.with(|core, now| {
            core.room.redeem(grant);
            core.scheduler.push(task, index, count, args, now, &mut core.wires)
        })
    }

    pub(crate) fn finish_input(&self, task: TaskKey) {
        self.with(|core, now| core.scheduler.finish_input(task, now, &mut core.wires));
    }

    /// Counts an item that could not be submitted as failed, and gives it an id.
    pub(crate) fn count_failed(&self) -> u64 {
        self.core().scheduler.count_failed()
    }

    /// Withdraws what has not started of a task; with `kill` also what runs.
    pub(crate) fn withdraw(&self, task: TaskKey, kill: bool) -> Withdrawn {
        let withdrawn = self.with(|core, now| core.scheduler.withdraw(task, kill, now, &mut core.wires));
        self.rouse();
        withdrawn
    }

    // ---- what is asked ----

    /// Where large arguments are encoded.
    pub(crate) fn blocks(&self) -> Option<&dyn Blocks> {
        self.config.arena.as_ref().map(|arena| arena as &dyn Blocks)
    }

    /// Arguments come back although workers may still read them.
    fn close_arena(&self) {
        if let Some(arena) = &self.config.arena {
            arena.close();
        }
    }

    /// Whether what jobs print is kept.
    pub(crate) fn captures(&self) -> bool {
        let plan = &self.config.plan;
        plan.stdout == crate::Output::Capture || plan.stderr == crate::Output::Capture
    }

    pub(crate) fn table(&self) -> Option<&JobTable> {
        self.table.get()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.core().scheduler.phase()
    }

    /// Why the pool is broken.
    pub(crate) fn broken(&self) -> Option<PoolError> {
        self.core().wires.broken.clone()
    }

    /// Counts, workers and durations of one moment.
    pub(crate) fn snapshot(&self) -> (Counts, Vec<WorkerView>, Box<[u64; 256]>) {
        let core = self.core();
        (core.scheduler.counts(), core.scheduler.workers().collect(), Box::new(*core.scheduler.durations()))
    }

    /// What an item of a job has taken of late, in nanoseconds; 0 if nobody knows.
    pub(crate) fn pace(&self, job: u32) -> u64 {
        self.core().scheduler.pace(job)
    }

    /// Why nothing can be submitted.
    pub(crate) fn refusal(&self) -> JobError {
        match self.broken() {
            Some(why) => JobError::PoolBroken { reason: why.to_string() },
            None => JobError::PoolClosed,
        }
    }

    pub(crate) fn resize(&self, workers: usize) {
        raise_descriptor_limit(workers);
        self.with(|core, now| core.scheduler.resize(workers, now, &mut core.wires));
        self.rouse();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}
