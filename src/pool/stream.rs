//! Where the results of an `imap` go until they are asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::engine::scheduler::{Item, TaskKey};
use crate::engine::{Captured, Condition, Engine, Sink, Values, accept_each};
use crate::error::{JobError, Place};

use super::Name;
use super::decode::Decoder;
use super::hook::Hooks;

/// Results that are taken together at most,
const TOGETHER: usize = 64;
/// or until they have so many bytes.
const TOGETHER_BYTES: u64 = 16 << 10;

/// In which order results come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the input.
    Input,
    /// That in which jobs end.
    Completion,
}

/// The results of one task, as they come.
pub(super) struct Stream<R> {
    pub(super) job: Name,
    state: Mutex<Waiting<R>>,
    changed: Condition,
    decoder: Decoder<R>,
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
    ordered: VecDeque<Option<Kept<R>>>,
    first: u64,
    /// In the order in which they came.
    unordered: VecDeque<(u64, Kept<R>)>,
    backlog: Backlog,
}

struct Kept<R> {
    /// An error takes much more room than most values.
    result: Result<R, Box<JobError>>,
    /// What it took on its way, with what its job has printed.
    bytes: u64,
}

impl<R> Waiting<R> {
    fn next(&mut self, order: Order) -> Option<(u64, Kept<R>)> {
        match order {
            Order::Input => {
                let kept = self.ordered.front_mut().and_then(Option::take)?;
                self.ordered.pop_front();
                self.first += 1;
                Some((self.first - 1, kept))
            }
            Order::Completion => self.unordered.pop_front(),
        }
    }
}

/// How much waits to be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) results: u64,
    pub(super) bytes: u64,
    /// Bytes of a result, of late.
    pub(super) average: u64,
}

impl Backlog {
    /// What it will have been in bytes when so many results have come that are not given.
    pub(super) fn expected(&self, results: u64) -> u64 {
        self.bytes + results.saturating_sub(self.results) * self.average
    }

    fn add(&mut self, bytes: u64) {
        self.results += 1;
        self.bytes += bytes;
        self.average = if self.average == 0 { bytes } else { (self.average * 3 + bytes) / 4 };
    }

    fn remove(&mut self, bytes: u64) {
        self.results -= 1;
        self.bytes -= bytes;
    }
}

impl<R> Stream<R> {
    pub(super) fn new(job: Name, decoder: Decoder<R>, hooks: Hooks<R>, order: Order) -> Stream<R> {
        Stream {
            job,
            state: Mutex::new(Waiting {
                ordered: VecDeque::new(),
                first: 0,
                unordered: VecDeque::new(),
                backlog: Backlog::default(),
            }),
            changed: Condition::default(),
            decoder,
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

    fn put(&self, state: &mut Waiting<R>, index: u64, result: Result<R, JobError>, bytes: u64) {
        let kept = Kept { result: result.map_err(Box::new), bytes };
        match self.order {
            Order::Completion => state.unordered.push_back((index, kept)),
            Order::Input => {
                let Some(at) = index.checked_sub(state.first) else { return };
                if state.ordered.len() as u64 <= at {
                    state.ordered.resize_with(at as usize + 1, || None);
                }
                state.ordered[at as usize] = Some(kept);
            }
        }
        state.backlog.add(bytes);
    }

    /// Notes whether a result can be taken: the next in order, or any.
    fn show(&self, state: &Waiting<R>) {
        let there = match self.order {
            Order::Input => matches!(state.ordered.front(), Some(Some(_))),
            Order::Completion => !state.unordered.is_empty(),
        };
        self.shown.store(there, Ordering::Release);
    }

    /// Takes some of the results that can be given: one, and more while they are few and small.
    pub(super) fn take(&self, into: &mut VecDeque<(u64, Result<R, Box<JobError>>)>) {
        let mut state = self.state();
        let mut size = 0;
        while into.len() < TOGETHER && size < TOGETHER_BYTES {
            let Some((index, Kept { result, bytes })) = state.next(self.order) else { break };
            state.backlog.remove(bytes);
            size += bytes;
            into.push_back((index, result));
        }
        self.show(&state);
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.state().backlog
    }

    /// Notes whose results they are.
    pub(super) fn opened(&self, task: TaskKey) {
        let _ = self.task.set(task);
    }

    /// What an item's job has printed; given once.
    pub(super) fn take_output(&self, index: u64) -> Option<Captured> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }

    /// Waits until a result can be taken: `false` if none can by the deadline, or can come while the calling thread waits.
    pub(super) fn wait(&self, engine: &Arc<Engine>, deadline: Option<Instant>) -> bool {
        let ready = || self.shown.load(Ordering::Acquire);
        super::wait(&Arc::downgrade(engine), deadline, &ready, &self.state, &self.changed)
    }

    pub(super) fn withdraw(&self, engine: &Arc<Engine>) {
        if let Some(task) = self.task.get() {
            engine.withdraw(*task, false);
        }
    }
}

impl<R: Send + 'static> Stream<R> {
    /// An item that could not be submitted.
    pub(super) fn refuse(&self, index: u64, error: JobError) {
        self.hooks.error(&error);
        self.put(&mut self.state(), index, Err(error), 0);
        self.show_all();
    }

    /// Whoever waits sees what has come.
    fn show_all(&self) {
        let state = self.state();
        self.show(&state);
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing can be submitted: there is one result, and nobody's.
    pub(super) fn refuse_all(&self, error: JobError) {
        self.put(&mut self.state(), 0, Err(error), 0);
        self.show_all();
    }
}

impl<R: Send + 'static> Sink for Stream<R> {
    fn accept(
        &self,
        item: Item,
        _: Option<u32>,
        outcome: Result<&[u8], JobError>,
        output: Option<Captured>,
    ) -> bool {
        let printed = output.as_ref().map_or(0, |output| output.stdout.len() + output.stderr.len());
        let size = outcome.as_ref().map_or(0, |bytes| bytes.len()) + printed;
        let result = outcome.and_then(|bytes| {
            let place = || Place { job: self.job.to_string(), id: item.id, pid: None };
            let value = self.decoder.one(bytes).map_err(|message| place().decode(message))?;
            self.hooks.success(|| self.decoder.one(bytes).ok());
            Ok(value)
        });
        if let Err(error) = &result {
            self.hooks.error(error);
        }
        if let Some(output) = output {
            self.outputs.lock().unwrap_or_else(PoisonError::into_inner).insert(item.index, output);
        }
        let ok = result.is_ok();
        self.put(&mut self.state(), item.index, result, size as u64);
        ok
    }

    fn accept_all(&self, first: Item, mut values: Values<'_>) -> u32 {
        if !self.hooks.tell_nobody() {
            return accept_each(self, first, values);
        }
        let mut sizes = values.clone().map(|bytes| bytes.len() as u64);
        let (mut items, mut done) = ((0..).map(|at| first.after(at)), 0);
        while values.len() > 0 {
            let mut decoded = Vec::with_capacity(values.len());
            let outcome = self.decoder.many(&mut values, &mut decoded);
            done += decoded.len() as u32;
            let mut state = self.state();
            for ((value, item), bytes) in decoded.into_iter().zip(&mut items).zip(&mut sizes) {
                self.put(&mut state, item.index, Ok(value), bytes);
            }
            if let (Err(message), Some(item), Some(bytes)) = (outcome, items.next(), sizes.next()) {
                let place = Place { job: self.job.to_string(), id: item.id, pid: None };
                self.put(&mut state, item.index, Err(place.decode(message)), bytes);
            }
        }
        done
    }

    fn is_bad(&self, _: Item, bytes: &[u8]) -> bool {
        self.hooks.is_bad(|| self.decoder.one(bytes).ok())
    }

    fn publish(&self, _: Item, _: u32) {
        self.show_all();
    }

    fn job(&self, _: Item) -> String {
        self.job.to_string()
    }
}
