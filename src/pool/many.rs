//! The results of a whole `map`, before and after they are there.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::engine::scheduler::{Item, TaskKey};
use crate::engine::{Captured, Condition, Engine, Sink, Values};
use crate::error::{JobError, Place};

use super::Name;
use super::decode::Decoder;
use super::hook::Hooks;

/// A `map` or `starmap` that was submitted: its results come all at once, in the order of the items.
///
/// It ends with the error of the lowest failing item, as soon as all lower ones are known; what has not started then
/// never runs. It is also a `Future`, on any executor. Dropping it lets the jobs run.
#[must_use = "the results, or the error, are lost if nobody looks at them"]
pub struct MapHandle<R> {
    pub(super) results: Arc<Results<R>>,
    pub(super) engine: Weak<Engine>,
}

impl<R> MapHandle<R> {
    /// Waits for all jobs and gives their results.
    ///
    /// # Errors
    /// That of the lowest failing item.
    pub fn get(self) -> Result<Vec<R>, JobError> {
        match self.results.wait(&self.engine, None) {
            true => self.results.take(),
            false => Err(super::waited_while_reading()),
        }
    }

    /// Waits for all jobs, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`JobError::StillRunning`] if the time is up, then it may be called again;
    /// [`JobError::Taken`] once it has given the results.
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<Vec<R>, JobError> {
        if self.wait(timeout) { self.results.take() } else { Err(JobError::StillRunning) }
    }

    /// Waits until all is done or the time is up; tells whether it is done.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.results.wait(&self.engine, Instant::now().checked_add(timeout))
    }

    /// Whether all is done.
    pub fn ready(&self) -> bool {
        self.results.is_ready()
    }

    /// Whether every job gave a result: `None` while it is not done.
    pub fn successful(&self) -> Option<bool> {
        match &self.results.state().stage {
            Stage::Filling | Stage::Known(_) => None,
            Stage::Ready(results) => Some(results.is_ok()),
            Stage::Taken(ok) => Some(*ok),
        }
    }

    /// Withdraws the jobs that have not started and kills those that run. `false` if all is done.
    pub fn cancel(&self) -> bool {
        if !self.results.end(JobError::Cancelled) {
            return false;
        }
        self.results.withdraw(true);
        if let Some(engine) = self.engine.upgrade() {
            engine.ring();
        }
        true
    }

    /// The first job's id in its pool; 0 if there is none.
    pub fn id(&self) -> u64 {
        *self.results.id.get().unwrap_or(&0)
    }

    /// What the jobs have printed, one after the other in the order of the items, once all is done and if the pool
    /// captures it.
    pub fn output(&self) -> Option<Captured> {
        if !self.ready() {
            return None;
        }
        let state = self.results.state();
        (!state.outputs.is_empty()).then(|| {
            let mut whole = Captured::default();
            for part in state.outputs.values() {
                whole.stdout.extend_from_slice(&part.stdout);
                whole.stderr.extend_from_slice(&part.stderr);
            }
            whole
        })
    }
}

impl<R> std::fmt::Debug for MapHandle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (job, ready) = (&self.results.job, self.ready());
        f.debug_struct("MapHandle").field("job", job).field("id", &self.id()).field("ready", &ready).finish()
    }
}

impl<R> Future for MapHandle<R> {
    type Output = Result<Vec<R>, JobError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.results.state();
        if matches!(state.stage, Stage::Filling | Stage::Known(_)) {
            let before = state.waker.replace(context.waker().clone());
            // A waker's end may be that of its whole task: not with the lock held.
            drop(state);
            drop(before);
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(self.results.take())
    }
}

/// Where the results of many items go.
pub(super) struct Results<R> {
    job: Name,
    /// The first item's id.
    pub(super) id: OnceLock<u64>,
    task: OnceLock<(Weak<Engine>, TaskKey)>,
    ready: AtomicBool,
    state: Mutex<State<R>>,
    changed: Condition,
    decoder: Decoder<R>,
    hooks: Hooks<R>,
}

struct State<R> {
    stage: Stage<R>,
    /// Those of the first items, of all that come before one that is not known.
    values: Vec<R>,
    /// Those of later ones, each with the index of its first.
    later: BTreeMap<usize, Vec<R>>,
    /// How many items there are, once the input has ended.
    total: Option<usize>,
    /// The lowest failing item so far.
    error: Option<(usize, JobError)>,
    outputs: BTreeMap<u64, Captured>,
    waker: Option<Waker>,
}

enum Stage<R> {
    Filling,
    /// It is an error, and what has not begun is about to be withdrawn: nobody has seen it, nothing else replaces it.
    Known(JobError),
    Ready(Result<Vec<R>, JobError>),
    Taken(bool),
}

impl<R> State<R> {
    /// Values of consecutive items.
    fn put_all(&mut self, index: usize, mut values: Vec<R>) {
        if index > self.values.len() {
            if !values.is_empty() {
                self.later.insert(index, values);
            }
            return;
        }
        self.values.append(&mut values);
        while let Some(next) = self.later.first_entry().filter(|next| *next.key() == self.values.len()) {
            self.values.append(&mut next.remove());
        }
    }

    /// An item's value, or what it has instead.
    fn put(&mut self, index: usize, result: Result<R, JobError>) {
        match result {
            Ok(value) if index == self.values.len() && self.later.is_empty() => self.values.push(value),
            Ok(value) => self.put_all(index, vec![value]),
            Err(error) => {
                if self.error.as_ref().is_none_or(|(lowest, _)| index < *lowest) {
                    self.error = Some((index, error));
                }
            }
        }
    }

    /// Settles the outcome of the whole, if it is known by now and was not before.
    fn decide(&mut self) -> bool {
        if !matches!(self.stage, Stage::Filling) {
            return false;
        }
        let known = self.values.len();
        if let Some((_, error)) = self.error.take_if(|(index, _)| *index <= known) {
            self.stage = Stage::Known(error);
        } else if self.total == Some(known) {
            self.stage = Stage::Ready(Ok(std::mem::take(&mut self.values)));
        }
        !matches!(self.stage, Stage::Filling)
    }

    /// An error may be seen from now on.
    fn show(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Filling) {
            Stage::Known(error) => Stage::Ready(Err(error)),
            other => other,
        };
    }
}

impl<R> Results<R> {
    pub(super) fn new(job: Name, decoder: Decoder<R>, hooks: Hooks<R>) -> Results<R> {
        let state = State {
            stage: Stage::Filling,
            values: Vec::new(),
            later: BTreeMap::new(),
            total: None,
            error: None,
            outputs: BTreeMap::new(),
            waker: None,
        };
        Results {
            job,
            id: OnceLock::new(),
            task: OnceLock::new(),
            ready: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Condition::default(),
            decoder,
            hooks,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self, id: u64) -> Place {
        Place { job: self.job.to_string(), id, pid: None }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(super) fn belongs_to(&self, engine: &Arc<Engine>, task: TaskKey) {
        let _ = self.task.set((Arc::downgrade(engine), task));
    }

    /// How many items there are in all.
    pub(super) fn set_total(&self, total: usize) {
        self.state().total = Some(total);
        self.settle();
    }

    /// Ends the whole now; `false` if it has ended before.
    pub(super) fn end(&self, error: JobError) -> bool {
        let mut state = self.state();
        if !matches!(state.stage, Stage::Filling) {
            return false;
        }
        state.stage = Stage::Ready(Err(error));
        self.announce(state);
        true
    }

    /// Shows the outcome if it is known. If it is an error, the rest is withdrawn first: whoever sees the error may rely
    /// on it that nothing more begins.
    fn settle(&self) {
        let mut state = self.state();
        if !state.decide() {
            return;
        }
        if matches!(state.stage, Stage::Known(_)) {
            drop(state);
            self.withdraw(false);
            state = self.state();
        }
        state.show();
        self.announce(state);
    }

    fn announce(&self, mut state: MutexGuard<'_, State<R>>) {
        self.ready.store(true, Ordering::Release);
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        super::handle::wake(waker);
    }

    pub(super) fn withdraw(&self, kill: bool) {
        if let Some((engine, task)) = self.task.get()
            && let Some(engine) = engine.upgrade()
        {
            engine.withdraw(*task, kill);
        }
    }

    fn wait(&self, engine: &Weak<Engine>, deadline: Option<Instant>) -> bool {
        super::wait(engine, deadline, &|| self.is_ready(), &self.state, &self.changed)
    }

    fn take(&self) -> Result<Vec<R>, JobError> {
        let mut state = self.state();
        match std::mem::replace(&mut state.stage, Stage::Filling) {
            Stage::Ready(results) => {
                state.stage = Stage::Taken(results.is_ok());
                results
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
}

impl<R: Send + 'static> Results<R> {
    /// An item that could not even be submitted.
    pub(super) fn refuse(&self, index: usize, error: JobError) {
        self.hooks.error(&error);
        self.state().put(index, Err(error));
        self.settle();
    }
}

impl<R: Send + 'static> Sink for Results<R> {
    fn accept(
        &self,
        item: Item,
        _: Option<u32>,
        outcome: Result<&[u8], JobError>,
        output: Option<Captured>,
    ) -> bool {
        let result = outcome.and_then(|bytes| {
            let value = self.decoder.one(bytes).map_err(|message| self.place(item.id).decode(message))?;
            self.hooks.success(|| self.decoder.one(bytes).ok());
            Ok(value)
        });
        if let Err(error) = &result {
            self.hooks.error(error);
        }
        let ok = result.is_ok();
        let mut state = self.state();
        if let Some(output) = output {
            state.outputs.insert(item.index, output);
        }
        if matches!(state.stage, Stage::Filling) {
            state.put(item.index as usize, result);
        }
        ok
    }

    fn accept_all(&self, first: Item, mut values: Values<'_>) -> u32 {
        if !self.hooks.tell_nobody() {
            return crate::engine::accept_each(self, first, values);
        }
        let (mut next, mut done) = (first, 0);
        while values.len() > 0 {
            let mut decoded = Vec::with_capacity(values.len());
            let outcome = self.decoder.many(&mut values, &mut decoded);
            done += decoded.len() as u32;
            let after = next.after(decoded.len() as u64);
            let mut state = self.state();
            let is_filling = matches!(state.stage, Stage::Filling);
            if is_filling {
                state.put_all(next.index as usize, decoded);
            }
            next = after;
            if let Err(message) = outcome {
                if is_filling {
                    state.put(next.index as usize, Err(self.place(next.id).decode(message)));
                }
                next = next.after(1);
            }
        }
        done
    }

    fn is_bad(&self, _: Item, bytes: &[u8]) -> bool {
        self.hooks.is_bad(|| self.decoder.one(bytes).ok())
    }

    fn publish(&self, _: Item, _: u32) {
        self.settle();
    }

    fn job(&self, _: Item) -> String {
        self.job.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_takes_the_place_of_an_error_while_the_rest_is_withdrawn() {
        let results = Results::<u8>::new(Name::default(), Decoder::CODEC, Hooks::default());
        let mut state = results.state();
        state.put(0, Err(JobError::InvalidCall { what: "first".into() }));
        assert!(state.decide());
        drop(state);
        // The one who feeds learns that no more is wanted; someone cancels; the last of the items comes.
        assert!(!results.end(JobError::PoolClosed));
        results.set_total(1);
        assert!(!results.is_ready() && matches!(results.take(), Err(JobError::StillRunning)));
        let mut state = results.state();
        state.show();
        results.announce(state);
        let outcome = results.take();
        assert!(matches!(&outcome, Err(JobError::InvalidCall { what }) if what == "first"), "{outcome:?}");
    }
}
