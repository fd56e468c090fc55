//! What a job can ask about itself.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::link::Link;

/// Which job this is and where it runs; see [`context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    pub(crate) slot: u32,
}

impl Context {
    /// The job's id: the same in every attempt, different from that of any other job of the pool. It is what to
    /// hand to a database or a service that must not do the same thing twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The worker's place in its pool, from 0 to one less than the number of workers. A worker that replaces
    /// another has the same place.
    pub fn slot(&self) -> usize {
        self.slot as usize
    }

    /// Whether the pool asks the job to stop, because it has come to its limit of time or processor time. A job that
    /// handles SIGTERM, which would end it else, and looks at this from time to time can end in good order; one that does
    /// not is killed after the grace. What is cancelled, and what runs when the pool ends, is killed without being asked.
    pub fn stop_requested(&self) -> bool {
        Link::with(|link| link.page.asked_to_stop()).unwrap_or(false)
    }
}

/// The first item of the run.
static FIRST: Mutex<Context> = Mutex::new(Context { id: 0, attempt: 0, slot: 0 });
/// The item that runs, by its place in the run; noted for each, so without a lock.
static ITEM: AtomicU32 = AtomicU32::new(NONE);
const NONE: u32 = u32::MAX;

fn first() -> MutexGuard<'static, Context> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run begins; none of its items does yet.
pub(crate) fn begin_run(context: Context) {
    *first() = context;
}

/// An item of the run runs from now on, or none.
pub(crate) fn set(item: Option<u32>) {
    ITEM.store(item.unwrap_or(NONE), Ordering::Relaxed);
}

/// The job that runs in this process, from any of its threads.
///
/// # Panics
/// Outside of a job: in the parent, in an initializer or a finalizer. [`try_context`] does not.
pub fn context() -> Context {
    try_context().expect("sidestep::context() was called outside of a job; try_context() gives None there")
}

/// The job that runs in this process; `None` outside of a job.
pub fn try_context() -> Option<Context> {
    // No run begins while this looks.
    let first = first();
    let item = ITEM.load(Ordering::Relaxed);
    (item != NONE).then(|| Context { id: first.id + u64::from(item), ..*first })
}
