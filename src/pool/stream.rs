//! Where the results of an `imap` go until they are asked for.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::engine::scheduler::{Item, TaskKey};
use crate::engine::{Captured, Engine, Signal, Sink};
use crate::error::{JobError, Place};

use super::Name;
use super::hook::Hooks;

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
    changed: Signal,
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
    ordered: VecDeque<Option<Kept<R>>>,
    first: u64,
    /// In the order in which they came.
    unordered: VecDeque<(u64, Kept<R>)>,
    backlog: Backlog,
}

struct Kept<R> {
    result: Result<R, JobError>,
    /// What it took on its way, with what its job has printed.
    bytes: u64,
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
    pub(super) fn new(
        job: Name,
        decode: fn(&[u8]) -> Result<R, String>,
        hooks: Hooks<R>,
        order: Order,
    ) -> Stream<R> {
        Stream {
            job,
            state: Mutex::new(Waiting {
                ordered: VecDeque::new(),
                first: 0,
                unordered: VecDeque::new(),
                backlog: Backlog::default(),
            }),
            changed: Signal::default(),
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

    fn put(&self, index: u64, result: Result<R, JobError>, bytes: u64) {
        let mut state = self.state();
        let kept = Kept { result, bytes };
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

    pub(super) fn take(&self) -> Option<(u64, Result<R, JobError>)> {
        let mut state = self.state();
        let taken = match self.order {
            Order::Input => state.ordered.front_mut().and_then(Option::take).map(|kept| {
                state.ordered.pop_front();
                state.first += 1;
                (state.first - 1, kept)
            }),
            Order::Completion => state.unordered.pop_front(),
        };
        self.show(&state);
        let (index, Kept { result, bytes }) = taken?;
        state.backlog.remove(bytes);
        Some((index, result))
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

    /// Waits until a result can be taken, or `other` than that is the case: `false` if neither is by the deadline, or can
    /// come while the calling thread waits.
    pub(super) fn wait(
        &self,
        engine: &Arc<Engine>,
        deadline: Option<Instant>,
        other: &dyn Fn() -> bool,
    ) -> bool {
        let ready = || self.shown.load(Ordering::Acquire) || other();
        super::wait(&Arc::downgrade(engine), deadline, &ready, &self.state, &self.changed)
    }

    /// Has the one who waits look again at what else he waits for.
    #[cfg(feature = "cli")]
    pub(super) fn rouse(&self) {
        drop(self.state());
        self.changed.notify_all();
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
        self.put(index, Err(error), 0);
        self.publish();
    }

    /// Nothing can be submitted: there is one result, and nobody's.
    pub(super) fn refuse_all(&self, error: JobError) {
        self.put(0, Err(error), 0);
        self.publish();
    }
}

impl<R: Send + 'static> Sink for Stream<R> {
    fn accept(&self, item: Item, outcome: Result<&[u8], JobError>, output: Option<Captured>) -> bool {
        let printed = output.as_ref().map_or(0, |output| output.stdout.len() + output.stderr.len());
        let size = outcome.as_ref().map_or(0, |bytes| bytes.len()) + printed;
        let result = outcome.and_then(|bytes| {
            let place = || Place { job: self.job.to_string(), id: item.id, pid: None };
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
        self.put(item.index, result, size as u64);
        ok
    }

    fn is_bad(&self, bytes: &[u8]) -> bool {
        self.hooks.is_bad(|| (self.decode)(bytes).ok())
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
