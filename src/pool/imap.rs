//! Results as they come, from an input that is pulled as they go.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sidestep_worker::codec::CodecError;

use crate::engine::scheduler::{Item, TaskKey, TaskSpec};
use crate::engine::{Captured, Engine, Sink};
use crate::error::{JobError, Place};

use super::feed::Feed;
use super::hook::Hooks;

/// Items that are pulled ahead for each worker until it is known what they take.
const FIRST_AHEAD: u64 = 32;
/// Work that is pulled ahead for each worker once that is known, in nanoseconds,
const AHEAD: u64 = 2_000_000;
/// and no more bytes of arguments than this for each,
const AHEAD_BYTES: u64 = 64 << 10;
/// but this many items in any case, so that nobody waits for input.
const LEAST_AHEAD: u64 = 2;

/// The results of an `imap` or `imap_unordered`, one for each item.
///
/// Input is pulled inside [`next`](Iterator::next) only, on the thread that calls it, a bounded number of items ahead of
/// the results: at first 32 for each worker, more only as items prove short. Dropping it withdraws what has not
/// started. If the input panics, the panic comes out of `next`, after the results of the items before it; the pool
/// stays usable.
#[must_use = "jobs are submitted only as results are asked for"]
pub struct Imap<'p, I: Iterator, R> {
    engine: &'p Arc<Engine>,
    input: Input<I>,
    encode: fn(I::Item, &mut Vec<u8>) -> Result<(), CodecError>,
    results: Arc<Stream<R>>,
    feed: Option<Feed>,
    job: u32,
    order: Order,
    /// Items pulled, and results given.
    pulled: u64,
    given: u64,
    /// Bytes of all arguments so far.
    bytes: u64,
    /// Items to be pulled ahead of the results.
    window: u64,
}

/// In which order results come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the input.
    Input,
    /// That in which jobs end.
    Completion,
}

enum Input<I> {
    Open(I),
    Ended,
    /// It has panicked; the panic comes out once all results before it have been given.
    Panicked(Box<dyn Any + Send>),
}

impl<'p, I: Iterator, R: Send + 'static> Imap<'p, I, R> {
    #[expect(clippy::too_many_arguments, reason = "it is called in one place, with what a call consists of")]
    pub(super) fn new(
        engine: &'p Arc<Engine>,
        input: I,
        encode: fn(I::Item, &mut Vec<u8>) -> Result<(), CodecError>,
        decode: fn(&[u8]) -> Result<R, String>,
        name: String,
        spec: TaskSpec,
        hooks: Hooks<R>,
        order: Order,
    ) -> Self {
        let results = Arc::new(Stream::new(name, decode, hooks, order));
        let job = spec.job;
        let feed = Feed::open(engine, results.clone(), spec);
        let refusal = match &feed {
            Some(feed) => results.task.set(feed.task).err().map(|_| engine.refusal()),
            None => Some(engine.refusal()),
        };
        let imap = Imap {
            engine,
            input: Input::Open(input),
            encode,
            results,
            feed,
            job,
            order,
            pulled: 0,
            given: 0,
            bytes: 0,
            window: 0,
        };
        imap.or_refused(refusal)
    }

    pub(super) fn refused(
        engine: &'p Arc<Engine>,
        input: I,
        encode: fn(I::Item, &mut Vec<u8>) -> Result<(), CodecError>,
        decode: fn(&[u8]) -> Result<R, String>,
        error: JobError,
    ) -> Self {
        let results = Arc::new(Stream::new(String::new(), decode, Hooks::default(), Order::Completion));
        let imap = Imap {
            engine,
            input: Input::Open(input),
            encode,
            results,
            feed: None,
            job: 0,
            order: Order::Completion,
            pulled: 0,
            given: 0,
            bytes: 0,
            window: 0,
        };
        imap.or_refused(Some(error))
    }

    /// An unordered one over encoded arguments, which keeps what jobs print.
    #[cfg(feature = "cli")]
    pub(super) fn raw(
        engine: &'p Arc<Engine>,
        input: I,
        encode: fn(I::Item, &mut Vec<u8>) -> Result<(), CodecError>,
        decode: fn(&[u8]) -> Result<R, String>,
        name: String,
        spec: TaskSpec,
    ) -> Self {
        Self::new(engine, input, encode, decode, name, spec, Hooks::default(), Order::Completion)
    }

    #[cfg(feature = "cli")]
    pub(super) fn take_output(&self, index: u64) -> Option<Captured> {
        self.results.take_output(index)
    }

    /// One that cannot be fed gives one error and ends.
    fn or_refused(mut self, error: Option<JobError>) -> Self {
        if let Some(error) = error {
            self.input = Input::Ended;
            self.pulled = 1;
            self.results.put(0, Err(error));
            self.results.publish();
        }
        self
    }

    /// The next result, if it is there before the time is up, else [`JobError::StillRunning`]: then a later call
    /// gives it.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, JobError>> {
        self.advance(Instant::now().checked_add(timeout)).map(|next| self.without_output(next))
    }

    fn without_output(&self, (index, result): (u64, Result<R, JobError>)) -> Result<R, JobError> {
        if self.engine.captures() {
            self.results.take_output(index);
        }
        result
    }

    /// The next result and the place of its item in the input.
    pub(super) fn advance(&mut self, deadline: Option<Instant>) -> Option<(u64, Result<R, JobError>)> {
        self.pull();
        if self.given == self.pulled {
            if let Input::Panicked(panic) = std::mem::replace(&mut self.input, Input::Ended) {
                resume_unwind(panic);
            }
            return None;
        }
        let engine = Arc::downgrade(self.engine);
        let results = &self.results;
        let shown = || results.shown.load(Ordering::Acquire);
        if !super::wait(&engine, deadline, &shown, &results.state, &results.changed) {
            let error = match deadline {
                Some(_) => JobError::StillRunning,
                None => super::waited_while_reading(),
            };
            return Some((self.given, Err(error)));
        }
        let taken = results.take();
        self.given += u64::from(taken.is_some());
        taken
    }

    /// Pulls input until enough is under way.
    fn pull(&mut self) {
        let under_way = self.pulled - self.given;
        if under_way * 2 > self.window && under_way >= LEAST_AHEAD || !matches!(self.input, Input::Open(_)) {
            return;
        }
        let workers = self.engine.config.workers as u64;
        let pace = self.engine.pace(self.job);
        let wanted = AHEAD.checked_div(pace).unwrap_or(0).max(FIRST_AHEAD) * workers;
        self.window = wanted.min((self.window * 2).max(FIRST_AHEAD * workers));
        while self.pulled - self.given < self.window && self.has_room(workers) && self.pull_one() {}
        if let Some(feed) = &mut self.feed {
            feed.hand_over();
            if !feed.refused.is_empty() {
                self.stop();
            }
        }
    }

    /// Whether the arguments under way, by their average size, leave room for one more.
    fn has_room(&self, workers: u64) -> bool {
        let under_way = self.pulled - self.given;
        let average = self.bytes / self.pulled.max(1);
        under_way < LEAST_AHEAD * workers || under_way * average < AHEAD_BYTES * workers
    }

    /// Pulls one item; `false` if there is no more.
    fn pull_one(&mut self) -> bool {
        let (Input::Open(input), Some(feed)) = (&mut self.input, &mut self.feed) else { return false };
        let item = match catch_unwind(AssertUnwindSafe(|| input.next())) {
            Ok(Some(item)) => item,
            Ok(None) => {
                self.stop();
                return false;
            }
            Err(panic) => {
                self.stop();
                self.input = Input::Panicked(panic);
                return false;
            }
        };
        self.pulled += 1;
        let (encode, bytes) = (self.encode, &mut self.bytes);
        let added = feed.add(|out| {
            let start = out.len();
            encode(item, out)?;
            *bytes += (out.len() - start) as u64;
            Ok(())
        });
        match added {
            Ok(wanted) => wanted,
            Err((index, id, error)) => {
                let place = Place { job: self.results.job.clone(), id, pid: None };
                self.results.refuse(index, place.encode(error));
                true
            }
        }
    }

    /// The input has ended, or nobody takes it any more: then what was pulled and not taken fails.
    fn stop(&mut self) {
        self.input = Input::Ended;
        let Some(mut feed) = self.feed.take() else { return };
        feed.finish();
        for index in feed.refused.drain(..).flatten() {
            self.results.refuse(index, self.engine.refusal());
        }
    }
}

impl<I: Iterator, R: Send + 'static> Iterator for Imap<'_, I, R> {
    type Item = Result<R, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance(None).map(|next| self.without_output(next))
    }
}

/// After the end comes the end.
impl<I: Iterator, R: Send + 'static> std::iter::FusedIterator for Imap<'_, I, R> {}

impl<I: Iterator, R> Drop for Imap<'_, I, R> {
    fn drop(&mut self) {
        self.results.withdraw(self.engine);
    }
}

impl<I: Iterator, R> std::fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (pulled, given) = (self.pulled, self.given);
        f.debug_struct("Imap")
            .field("order", &self.order)
            .field("pulled", &pulled)
            .field("given", &given)
            .finish_non_exhaustive()
    }
}

/// Where the results of a stream go until they are asked for.
pub(super) struct Stream<R> {
    job: String,
    state: Mutex<Waiting<R>>,
    changed: Condvar,
    decode: fn(&[u8]) -> Result<R, String>,
    hooks: Hooks<R>,
    order: Order,
    /// What jobs have printed, by place in the input, if the pool captures it.
    outputs: Mutex<HashMap<u64, Captured>>,
    task: OnceLock<TaskKey>,
    /// A result can be taken.
    shown: AtomicBool,
}

/// Results that are there and not yet given.
struct Waiting<R> {
    /// By place in the input; the first one is the next to be given.
    ordered: VecDeque<Option<Result<R, JobError>>>,
    first: u64,
    /// In the order in which they came.
    unordered: VecDeque<(u64, Result<R, JobError>)>,
}

impl<R> Stream<R> {
    fn new(job: String, decode: fn(&[u8]) -> Result<R, String>, hooks: Hooks<R>, order: Order) -> Stream<R> {
        Stream {
            job,
            state: Mutex::new(Waiting { ordered: VecDeque::new(), first: 0, unordered: VecDeque::new() }),
            changed: Condvar::new(),
            decode,
            hooks,
            order,
            outputs: Mutex::default(),
            task: OnceLock::new(),
            shown: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, Waiting<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, index: u64, result: Result<R, JobError>) {
        let mut state = self.state();
        match self.order {
            Order::Completion => state.unordered.push_back((index, result)),
            Order::Input => {
                let Some(at) = index.checked_sub(state.first) else { return };
                if state.ordered.len() as u64 <= at {
                    state.ordered.resize_with(at as usize + 1, || None);
                }
                state.ordered[at as usize] = Some(result);
            }
        }
    }

    /// Notes whether a result can be taken: the next in order, or any.
    fn show(&self, state: &Waiting<R>) {
        let there = match self.order {
            Order::Input => matches!(state.ordered.front(), Some(Some(_))),
            Order::Completion => !state.unordered.is_empty(),
        };
        self.shown.store(there, Ordering::Release);
    }

    fn take(&self) -> Option<(u64, Result<R, JobError>)> {
        let mut state = self.state();
        let taken = match self.order {
            Order::Input => state.ordered.front_mut().and_then(Option::take).map(|result| {
                state.ordered.pop_front();
                state.first += 1;
                (state.first - 1, result)
            }),
            Order::Completion => state.unordered.pop_front(),
        };
        self.show(&state);
        taken
    }

    /// What an item's job has printed; given once.
    pub(super) fn take_output(&self, index: u64) -> Option<Captured> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }

    fn withdraw(&self, engine: &Arc<Engine>) {
        if let Some(task) = self.task.get() {
            engine.withdraw(*task, false);
        }
    }
}

impl<R: Send + 'static> Stream<R> {
    /// An item that could not be submitted.
    fn refuse(&self, index: u64, error: JobError) {
        self.hooks.error(&error);
        self.put(index, Err(error));
        self.publish();
    }
}

impl<R: Send + 'static> Sink for Stream<R> {
    fn accept(&self, item: Item, outcome: Result<&[u8], JobError>, output: Option<Captured>) -> bool {
        let result = outcome.and_then(|bytes| {
            let place = || Place { job: self.job.clone(), id: item.id, pid: None };
            let value = (self.decode)(bytes).map_err(|message| place().decode(message))?;
            self.hooks.success(|| (self.decode)(bytes).ok());
            Ok(value)
        });
        if let Err(error) = &result {
            self.hooks.error(error);
        }
        if let Some(output) = output {
            self.outputs.lock().unwrap_or_else(PoisonError::into_inner).insert(item.index, output);
        }
        let ok = result.is_ok();
        self.put(item.index, result);
        ok
    }

    fn publish(&self) {
        let state = self.state();
        self.show(&state);
        drop(state);
        self.changed.notify_all();
    }

    fn job(&self) -> &str {
        &self.job
    }
}
