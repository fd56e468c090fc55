//! What a caller holds: the pool, its builder, one call's options, handles and iterators.

mod admission;
mod builder;
mod call;
mod completed;
mod decode;
mod feed;
mod handle;
mod hook;
mod imap;
mod many;
mod named;
mod pull;
#[cfg(feature = "cli")]
mod raw;
mod share;
mod stats;
mod stream;
mod submit;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sidestep_worker::Job;

use crate::engine::scheduler::Phase;
use crate::engine::{Condition, Engine};
use crate::error::{JobError, PoolError};

pub use builder::Builder;
pub use call::Call;
pub use completed::as_completed;
pub use handle::JobHandle;
pub use imap::Imap;
pub use many::MapHandle;
#[cfg(feature = "cli")]
pub(crate) use raw::{Desk, RawResult, Rouser, Ticket};
pub use stats::{Quantiles, Stats, WorkerState, WorkerStats};

/// A pool of worker processes.
///
/// All its methods take `&self`, and it can be used from any thread. Dropping it is [`terminate`](Self::terminate).
///
/// | method | its items are | waits | in order | gives |
/// |---|---|---|---|---|
/// | [`apply`](Self::apply) | one tuple of arguments | yes | – | the result |
/// | [`apply_async`](Self::apply_async) | one tuple of arguments | no | – | a [`JobHandle`] |
/// | [`map`](Self::map) | one argument each | yes | yes | all results |
/// | [`map_async`](Self::map_async) | one argument each | no | yes | a [`MapHandle`] |
/// | [`starmap`](Self::starmap) | a tuple of arguments each | yes | yes | all results |
/// | [`starmap_async`](Self::starmap_async) | a tuple of arguments each | no | yes | a [`MapHandle`] |
/// | [`imap`](Self::imap) | one argument each | in `next` | yes | results as they come |
/// | [`imap_unordered`](Self::imap_unordered) | one argument each | in `next` | no | results as they come |
#[derive(Debug)]
pub struct Pool {
    engine: Arc<Engine>,
}

impl Pool {
    /// A pool of `workers` processes, each a copy of this program.
    ///
    /// Returns when every worker has a process and the first one serves.
    ///
    /// # Errors
    /// See [`Builder::build`].
    ///
    /// ```no_run
    /// let pool = sidestep::Pool::new(4)?;
    /// # Ok::<(), sidestep::PoolError>(())
    /// ```
    pub fn new(workers: usize) -> Result<Pool, PoolError> {
        Pool::builder().workers(workers).build()
    }

    /// A pool of workers that another process keeps warm, and that several programs share: see [`Builder::connect`].
    ///
    /// # Errors
    /// See [`Builder::connect`].
    ///
    /// ```no_run
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// let pool = sidestep::Pool::connect("images")?;
    /// assert_eq!(pool.apply(add, (1, 2))?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "connect")]
    pub fn connect(name: &str) -> Result<Pool, PoolError> {
        Pool::builder().connect(name)
    }

    /// A pool with options.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Options for one call: see [`Call`].
    pub fn call<F>(&self, _f: F) -> Call<'_, F> {
        Call::new(self)
    }

    /// Runs a job and waits for its result.
    ///
    /// # Errors
    /// Whatever kept the job from giving one, see [`JobError`]. A job's own `Err` is a result.
    ///
    /// ```no_run
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # let pool = sidestep::Pool::new(2)?;
    /// assert_eq!(pool.apply(add, (1, 2))?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply<F, Args>(&self, f: F, args: Args) -> Result<F::Output, JobError>
    where
        F: Job<Args>,
    {
        self.call(f).apply(args)
    }

    /// Submits a job. The handle gives its result; an error of submitting is in the handle too.
    pub fn apply_async<F, Args>(&self, f: F, args: Args) -> JobHandle<F::Output>
    where
        F: Job<Args>,
    {
        self.call(f).apply_async(args)
    }

    /// Runs a job of one argument for each item and gives all results in the items' order.
    ///
    /// How many items go to a worker at a time is chosen as it goes; whatever it is, a crash or an error costs one
    /// item.
    ///
    /// # Errors
    /// That of the lowest failing item, as soon as all lower ones are known; what has not started then never runs, what
    /// runs may end and its result is dropped. For a result of every item whatever happens to others, use
    /// [`imap`](Self::imap).
    ///
    /// ```no_run
    /// # fn square(x: i64) -> i64 { x * x }
    /// # let pool = sidestep::Pool::new(2)?;
    /// assert_eq!(pool.map(square, [1, 2, 3])?, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map<F, A, I>(&self, f: F, items: I) -> Result<Vec<F::Output>, JobError>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.call(f).map(items)
    }

    /// [`map`](Self::map) without the wait.
    pub fn map_async<F, A, I>(&self, f: F, items: I) -> MapHandle<F::Output>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.call(f).map_async(items)
    }

    /// [`map`](Self::map) for a job of several arguments: each item is a tuple of them.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, Args, I>(&self, f: F, items: I) -> Result<Vec<F::Output>, JobError>
    where
        F: Job<Args>,
        I: IntoIterator<Item = Args>,
    {
        self.call(f).starmap(items)
    }

    /// [`starmap`](Self::starmap) without the wait.
    pub fn starmap_async<F, Args, I>(&self, f: F, items: I) -> MapHandle<F::Output>
    where
        F: Job<Args>,
        I: IntoIterator<Item = Args>,
    {
        self.call(f).starmap_async(items)
    }

    /// Runs a job for each item and gives each result, or its error, in the items' order, as soon as it is there.
    ///
    /// Input is pulled as results are asked for, a bounded number of items ahead, so that it may be endless. See [`Imap`].
    ///
    /// ```no_run
    /// # fn parse(line: String) -> usize { line.len() }
    /// # let pool = sidestep::Pool::new(2)?;
    /// for length in pool.imap(parse, std::io::stdin().lines().map_while(Result::ok)) {
    ///     println!("{}", length?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<F, A, I>(&self, f: F, items: I) -> Imap<'_, I::IntoIter, F::Output>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.call(f).imap(items)
    }

    /// [`imap`](Self::imap) in the order in which jobs end.
    pub fn imap_unordered<F, A, I>(&self, f: F, items: I) -> Imap<'_, I::IntoIter, F::Output>
    where
        F: Job<(A,)>,
        I: IntoIterator<Item = A>,
    {
        self.call(f).imap_unordered(items)
    }

    /// The process ids of the live workers, in slot order.
    pub fn pids(&self) -> Vec<u32> {
        let (_, workers, _) = self.engine.snapshot();
        workers.into_iter().filter_map(|view| view.pid).collect()
    }

    /// What the pool has done and what it does, at one moment.
    pub fn stats(&self) -> Stats {
        stats::stats(&self.engine)
    }

    /// Changes the number of workers. New ones start at once; those that are too many end when they have ended what
    /// they run, and what they had not begun goes to others.
    ///
    /// # Errors
    /// [`PoolError::Config`] for 0 workers, or if the pool was closed; why it is broken, if it is.
    pub fn resize(&self, workers: usize) -> Result<(), PoolError> {
        if workers == 0 {
            return Err(builder::no_workers());
        }
        match self.engine.phase() {
            Phase::Open => {
                self.engine.resize(workers);
                Ok(())
            }
            _ => Err(self.engine.broken().unwrap_or_else(|| PoolError::Config {
                what: "resize: the pool was closed and starts no more workers".into(),
            })),
        }
    }

    /// Takes no more jobs. Those that were submitted run to their end; then the finalizers run and the workers end.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Waits for all work, for all callbacks (but the one it is called from) and until every worker is gone. Call
    /// [`close`](Self::close) or [`terminate`](Self::terminate) before.
    ///
    /// # Errors
    /// [`PoolError::Open`] if the pool is open; why it broke, if it did; [`PoolError::Unreaped`] if processes do not end
    /// although they were killed.
    pub fn join(&self) -> Result<(), PoolError> {
        self.engine.join(None)
    }

    /// [`join`](Self::join), but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`join`](Self::join); [`PoolError::StillRunning`] if the time is up, then it may be called again.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), PoolError> {
        self.engine.join(Instant::now().checked_add(timeout))
    }

    /// Kills all workers and what their jobs have started, now. Every open handle gets [`JobError::PoolClosed`];
    /// finalizers do not run. Returns within a second, whatever the workers do.
    pub fn terminate(&self) {
        self.engine.end();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.engine.end();
    }
}

/// A job's name: this program's own jobs keep theirs for ever.
type Name = Cow<'static, str>;

/// Why a wait without a deadline has ended and there is nothing.
fn waited_while_reading() -> JobError {
    JobError::InvalidCall {
        what:
            "a Deserialize or a Waker waits for a job of the pool whose results the same thread is bringing; \
               submit it there and wait for it elsewhere"
                .into(),
    }
}

/// Waits until `ready`, or the deadline; moves results meanwhile, unless somebody else does.
///
/// `false` at the deadline, or at once where nothing can come: in the `Deserialize` of one of this pool's results, and
/// in a `Waker`.
///
/// `ready` must be cheap and take no lock; it turns true under the lock of `state`, before `changed` is notified.
fn wait<S>(
    engine: &Weak<Engine>,
    deadline: Option<Instant>,
    ready: &dyn Fn() -> bool,
    state: &Mutex<S>,
    changed: &Condition,
) -> bool {
    while !ready() {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        if let Some(engine) = engine.upgrade() {
            if engine.is_read_here() {
                return false;
            }
            if engine.drive(ready, deadline) {
                continue;
            }
        }
        // Somebody else moves results, or the pool is gone and everything has resolved.
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if ready() {
            break;
        }
        changed.wait(state, left);
    }
    true
}
