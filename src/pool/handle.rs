//! One job's result, before and after it is there.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sidestep_worker::registry;

use crate::engine::scheduler::{Item, SingleKey, Withdrawn};
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
        let (Some(engine), Some(key)) = (self.engine.upgrade(), self.cell.key()) else { return false };
        match engine.withdraw_single(key, self.cell.weight.load(Ordering::Relaxed) as usize, true) {
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
        if self.cell.is_ready() {
            drop(state);
            then();
        } else {
            state.rare().then = Some(then);
        }
    }
}

impl<R> std::fmt::Debug for JobHandle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobHandle")
            .field("job", &self.cell.name())
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

/// Where one result goes. Very many may wait, so what most of them never have does not lie in them.
pub(super) struct Cell<R> {
    pub(super) id: AtomicU64,
    /// The place of its task; `NO_TASK` if it has none.
    task: AtomicU32,
    /// Bytes of its arguments.
    weight: AtomicU32,
    /// The job's number in this program, if that is what it is known by.
    number: u32,
    /// The result was counted, and may be seen. It turns true under the lock of the state.
    ready: AtomicBool,
    changed: Condition,
    state: Mutex<State<R>>,
    /// Makes the result from its bytes; `None` for a result that is made from nothing but outcomes.
    decode: fn(&[u8]) -> Result<R, String>,
    more: Option<Box<More<R>>>,
}

const _: () = assert!(size_of::<Cell<u64>>() <= 80, "each job that waits has one");

const NO_TASK: u32 = u32::MAX;

/// Which job it is.
pub(super) enum Which {
    /// One of this program's.
    Own(u32),
    Named(Name),
}

/// What few have that were submitted.
struct More<R> {
    name: Option<Name>,
    hooks: Hooks<R>,
}

struct State<R> {
    stage: Stage<R>,
    rare: Option<Box<Rare>>,
}

/// What few have to whom something happens.
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
    /// It is there; it may be seen once the cell is ready.
    Done(Result<R, Box<JobError>>),
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
    pub(super) fn new(which: Which, decode: fn(&[u8]) -> Result<R, String>, hooks: Hooks<R>) -> Cell<R> {
        let (number, name) = match which {
            Which::Own(number) => (number, None),
            Which::Named(name) => (u32::MAX, Some(name)),
        };
        let more = (name.is_some() || hooks.any()).then(|| Box::new(More { name, hooks }));
        Cell {
            id: AtomicU64::new(0),
            task: AtomicU32::new(NO_TASK),
            weight: AtomicU32::new(0),
            number,
            ready: AtomicBool::new(false),
            changed: Condition::default(),
            state: Mutex::new(State { stage: Stage::Running, rare: None }),
            decode,
            more,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hooks(&self) -> Option<&Hooks<R>> {
        self.more.as_ref().map(|more| &more.hooks)
    }

    fn name(&self) -> &str {
        let name = self.more.as_ref().and_then(|more| more.name.as_deref());
        let own = || Some(registry::table()?.info(self.number)?.name.as_str());
        name.or_else(own).unwrap_or_default()
    }

    pub(super) fn place(&self, id: u64) -> Place {
        Place { job: self.name().to_owned(), id, pid: None }
    }

    /// It is on its way.
    pub(super) fn submitted(&self, SingleKey { task, id }: SingleKey, weight: usize) {
        self.id.store(id, Ordering::Relaxed);
        self.weight.store(weight as u32, Ordering::Relaxed);
        self.task.store(task, Ordering::Relaxed);
    }

    fn key(&self) -> Option<SingleKey> {
        let task = Some(self.task.load(Ordering::Relaxed)).filter(|task| *task != NO_TASK)?;
        Some(SingleKey { task, id: self.id.load(Ordering::Relaxed) })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn successful(&self) -> Option<bool> {
        let state = self.state();
        match &state.stage {
            Stage::Done(result) => self.is_ready().then(|| result.is_ok()),
            Stage::Running => None,
            Stage::Taken(ok) => Some(*ok),
        }
    }

    /// Waits until it is ready or the deadline, and moves results meanwhile if nobody else does.
    pub(super) fn wait(&self, engine: &Weak<Engine>, deadline: Option<Instant>) -> bool {
        super::wait(engine, deadline, &|| self.is_ready(), &self.state, &self.changed)
    }

    fn take(&self) -> Result<R, JobError> {
        let mut state = self.state();
        if !self.is_ready() {
            return Err(JobError::StillRunning);
        }
        match std::mem::replace(&mut state.stage, Stage::Taken(false)) {
            Stage::Done(result) => {
                state.stage = Stage::Taken(result.is_ok());
                result.map_err(|error| *error)
            }
            other => {
                state.stage = other;
                Err(JobError::Taken)
            }
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<R, JobError>> {
        let mut state = self.state();
        if !self.is_ready() {
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
        let told = self.hooks().map(|hooks| (hooks, error.clone()));
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
            state.stage = Stage::Done(result);
            if output.is_some() {
                state.rare().output = output;
            }
        }
        running
    }

    /// What was kept may be seen.
    fn show(&self) {
        let mut state = self.state();
        if self.is_ready() || matches!(state.stage, Stage::Running) {
            return;
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
    fn accept(
        &self,
        item: Item,
        _: Option<u32>,
        outcome: Result<&[u8], JobError>,
        output: Option<Captured>,
    ) -> bool {
        let result = outcome.and_then(|bytes| {
            let value = (self.decode)(bytes).map_err(|message| self.place(item.id).decode(message))?;
            Ok((value, bytes))
        });
        match result {
            Ok((value, bytes)) => {
                let kept = self.keep(Ok(value), output);
                if kept && let Some(hooks) = self.hooks() {
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

    fn is_bad(&self, _: Item, bytes: &[u8]) -> bool {
        self.hooks().is_some_and(|hooks| hooks.is_bad(|| (self.decode)(bytes).ok()))
    }

    fn publish(&self, _: Item, _: u32) {
        self.show();
    }

    fn job(&self, _: Item) -> String {
        self.name().to_owned()
    }
}
