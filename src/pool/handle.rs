//! One job's result, before and after it is there.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::engine::scheduler::{Item, TaskKey, Withdrawn};
use crate::engine::{Captured, Condition, Engine, Sink};
use crate::error::{JobError, Place};

use super::Name;
use super::hook::Hooks;

/// A job that was submitted.
///
/// It is also a `Future`, on any executor. Dropping it lets the job run.
///
/// ```no_run
/// # fn add(a: i64, b: i64) -> i64 { a + b }
/// # let pool = sidestep::Pool::new(2)?;
/// let handle = pool.apply_async(add, (1, 2));
/// println!("{}", handle.get()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a job's result, or its error, is lost if nobody looks at it"]
pub struct JobHandle<R> {
    pub(super) cell: Arc<Cell<R>>,
    pub(super) engine: Weak<Engine>,
    pub(super) task: Option<TaskKey>,
}

impl<R> JobHandle<R> {
    /// Waits for the job and gives its result.
    ///
    /// # Errors
    /// Whatever kept the job from giving one. A job's own `Err` is a result, not an error.
    pub fn get(self) -> Result<R, JobError> {
        match self.cell.wait(&self.engine, None) {
            true => self.cell.take(),
            false => Err(super::waited_while_reading()),
        }
    }

    /// Waits for the job, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`JobError::StillRunning`] if the time is up, then it may be called again;
    /// [`JobError::Taken`] once it has given the result.
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<R, JobError> {
        if self.wait(timeout) { self.cell.take() } else { Err(JobError::StillRunning) }
    }

    /// Waits until the job is done or the time is up; tells whether it is done.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.cell.wait(&self.engine, Instant::now().checked_add(timeout))
    }

    /// Whether the job is done.
    pub fn ready(&self) -> bool {
        self.cell.is_ready()
    }

    /// Whether the job gave a result, as far as is known: `None` while it is not done.
    pub fn successful(&self) -> Option<bool> {
        self.cell.successful()
    }

    /// Withdraws the job if it has not started, so that it never runs; kills it if it runs. `false` if it is done.
    ///
    /// Nobody else's job is harmed: what the worker had not begun goes to another one.
    pub fn cancel(&self) -> bool {
        let (Some(engine), Some(task)) = (self.engine.upgrade(), self.task) else { return false };
        match engine.withdraw(task, true) {
            Withdrawn::Nothing => false,
            Withdrawn::Running => true,
            Withdrawn::Waiting => {
                self.cell.end(JobError::Cancelled);
                engine.ring();
                true
            }
        }
    }

    /// The job's id in its pool, the same as [`context().id()`](crate::Context::id) in the job.
    pub fn id(&self) -> u64 {
        self.cell.id.load(Ordering::Relaxed)
    }

    /// What the job has printed, once it is done and if the pool captures it.
    pub fn output(&self) -> Option<Captured> {
        self.cell.state().rare.as_ref()?.output.clone()
    }

    /// Calls `then` when the job is done, or now if it is. It runs on the thread that moves results: it may not block.
    pub(super) fn when_ready(&self, then: Box<dyn FnOnce() + Send>) {
        let mut state = self.cell.state();
        if matches!(state.stage, Stage::Running | Stage::Accepted(_)) {
            state.rare().then = Some(then);
        } else {
            drop(state);
            then();
        }
    }
}

impl<R> std::fmt::Debug for JobHandle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobHandle")
            .field("job", &self.cell.job)
            .field("id", &self.id())
            .field("ready", &self.ready())
            .finish()
    }
}

impl<R> Future for JobHandle<R> {
    type Output = Result<R, JobError>;

    /// # Panics
    /// Never; polled again after it has given the result it gives [`JobError::Taken`].
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell.poll(context)
    }
}

/// Where one result goes.
pub(super) struct Cell<R> {
    pub(super) job: Name,
    pub(super) id: AtomicU64,
    ready: AtomicBool,
    state: Mutex<State<R>>,
    changed: Condition,
    /// Makes the result from its bytes; `None` for a result that is made from nothing but outcomes.
    decode: fn(&[u8]) -> Result<R, String>,
    /// If there are any.
    hooks: Option<Box<Hooks<R>>>,
}

/// Very many cells may wait, so what most of them never have does not lie in them.
struct State<R> {
    stage: Stage<R>,
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    output: Option<Captured>,
    waker: Option<Waker>,
    then: Option<Box<dyn FnOnce() + Send>>,
}

impl<R> State<R> {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

enum Stage<R> {
    Running,
    /// It is there, and not yet counted.
    Accepted(Result<R, Box<JobError>>),
    Ready(Result<R, Box<JobError>>),
    /// It was taken; whether it was a value.
    Taken(bool),
}

/// Wakes a task, as its executor does it. If that panics, it is nobody else's concern, least of all of the one who
/// brings results.
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

impl<R> Cell<R> {
    pub(super) fn new(job: Name, decode: fn(&[u8]) -> Result<R, String>, hooks: Hooks<R>) -> Cell<R> {
        Cell {
            job,
            id: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            state: Mutex::new(State { stage: Stage::Running, rare: None }),
            changed: Condition::default(),
            decode,
            hooks: hooks.any().then(|| Box::new(hooks)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn successful(&self) -> Option<bool> {
        match &self.state().stage {
            Stage::Running | Stage::Accepted(_) => None,
            Stage::Ready(result) => Some(result.is_ok()),
            Stage::Taken(ok) => Some(*ok),
        }
    }

    /// Waits until it is ready or the deadline, and moves results meanwhile if nobody else does.
    pub(super) fn wait(&self, engine: &Weak<Engine>, deadline: Option<Instant>) -> bool {
        super::wait(engine, deadline, &|| self.is_ready(), &self.state, &self.changed)
    }

    fn take(&self) -> Result<R, JobError> {
        let mut state = self.state();
        match std::mem::replace(&mut state.stage, Stage::Taken(false)) {
            Stage::Ready(result) => {
                state.stage = Stage::Taken(result.is_ok());
                result.map_err(|error| *error)
            }
            Stage::Taken(ok) => {
                state.stage = Stage::Taken(ok);
                Err(JobError::Taken)
            }
            unready => {
                state.stage = unready;
                Err(JobError::StillRunning)
            }
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<R, JobError>> {
        let mut state = self.state();
        if matches!(state.stage, Stage::Running | Stage::Accepted(_)) {
            let before = state.rare().waker.replace(context.waker().clone());
            // A waker's end may be that of its whole task: not with the lock held.
            drop(state);
            drop(before);
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(self.take())
    }

    /// Ends it before it was ever submitted.
    pub(super) fn refuse(&self, id: u64, error: JobError) {
        self.id.store(id, Ordering::Relaxed);
        self.end(error);
    }

    /// Ends it without a result.
    fn end(&self, error: JobError) {
        self.keep_error(error, None);
        self.show();
    }

    fn keep_error(&self, error: JobError, output: Option<Captured>) {
        let told = self.hooks.as_ref().map(|hooks| (hooks, error.clone()));
        if self.keep(Err(Box::new(error)), output)
            && let Some((hooks, error)) = told
        {
            hooks.error(&error);
        }
    }

    fn keep(&self, result: Result<R, Box<JobError>>, output: Option<Captured>) -> bool {
        let mut state = self.state();
        let running = matches!(state.stage, Stage::Running);
        if running {
            state.stage = Stage::Accepted(result);
            if output.is_some() {
                state.rare().output = output;
            }
        }
        running
    }

    fn show(&self) {
        let mut state = self.state();
        match std::mem::replace(&mut state.stage, Stage::Running) {
            Stage::Accepted(result) => state.stage = Stage::Ready(result),
            other => {
                state.stage = other;
                return;
            }
        }
        self.ready.store(true, Ordering::Release);
        let (waker, then) = match &mut state.rare {
            Some(rare) => (rare.waker.take(), rare.then.take()),
            None => (None, None),
        };
        drop(state);
        self.changed.notify_all();
        wake(waker);
        if let Some(then) = then {
            then();
        }
    }
}

impl<R: Send + 'static> Sink for Cell<R> {
    fn accept(&self, item: Item, outcome: Result<&[u8], JobError>, output: Option<Captured>) -> bool {
        let place = || Place { job: self.job.to_string(), id: item.id, pid: None };
        let result = outcome.and_then(|bytes| {
            let value = (self.decode)(bytes).map_err(|message| place().decode(message))?;
            Ok((value, bytes))
        });
        match result {
            Ok((value, bytes)) => {
                let kept = self.keep(Ok(value), output);
                if kept && let Some(hooks) = &self.hooks {
                    hooks.success(|| (self.decode)(bytes).ok());
                }
                kept
            }
            Err(error) => {
                self.keep_error(error, output);
                false
            }
        }
    }

    fn is_bad(&self, bytes: &[u8]) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.is_bad(|| (self.decode)(bytes).ok()))
    }

    fn publish(&self) {
        self.show();
    }

    fn job(&self) -> &str {
        &self.job
    }
}
