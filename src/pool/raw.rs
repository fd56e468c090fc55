//! Jobs called with arguments that are encoded already: what the command does.
//!
//! Whoever has a [`Desk`] hands in single jobs, each with a number of his own, and gets them back as they end. He can
//! withdraw each, and ask those that run to end.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use nix::sys::signal::Signal;
use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec::{CodecError, MAX_BODY};
use sidestep_worker::wire::{Encoding, RunHeader};

use crate::engine::scheduler::{Item, SingleKey, TaskSpec, Terms, Withdrawn};
use crate::engine::{Captured, Condition, Engine, Single, Sink};
use crate::error::JobError;

use super::Pool;
use super::admission::admit;

/// Where jobs of one name are handed in and come back.
pub(crate) struct Desk<'p> {
    engine: &'p Arc<Engine>,
    spec: TaskSpec,
    over: Arc<Over>,
}

/// A job that has been handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    key: SingleKey,
    weight: usize,
}

/// A job that has come back.
#[derive(Debug)]
pub(crate) struct RawResult {
    /// The number that it was handed in with.
    pub(crate) number: u64,
    /// The process that it ran in, if that has told of its end.
    pub(crate) by: Option<u32>,
    pub(crate) outcome: Result<Vec<u8>, JobError>,
    /// What the job has printed, if the pool captures it.
    pub(crate) output: Option<Captured>,
}

/// Jobs that are over and were not taken.
struct Over {
    job: String,
    results: Mutex<VecDeque<RawResult>>,
    changed: Condition,
    /// There are some.
    any: AtomicBool,
}

impl Over {
    fn results(&self) -> MutexGuard<'_, VecDeque<RawResult>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, result: RawResult) {
        let mut results = self.results();
        results.push_back(result);
        self.any.store(true, Ordering::Release);
        drop(results);
        self.changed.notify_all();
    }
}

/// One job's place, until it is shown there.
struct Place {
    over: Arc<Over>,
    number: u64,
    kept: Mutex<Option<RawResult>>,
}

impl Place {
    fn kept(&self) -> MutexGuard<'_, Option<RawResult>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Place {
    fn accept(
        &self,
        _: Item,
        by: Option<u32>,
        outcome: Result<&[u8], JobError>,
        output: Option<Captured>,
    ) -> bool {
        let ok = outcome.is_ok();
        let outcome = outcome.map(<[u8]>::to_vec);
        *self.kept() = Some(RawResult { number: self.number, by, outcome, output });
        ok
    }

    fn is_bad(&self, _: Item, _: &[u8]) -> bool {
        false
    }

    fn publish(&self, _: Item, _: u32) {
        if let Some(result) = self.kept().take() {
            self.over.add(result);
        }
    }

    fn job(&self, _: Item) -> String {
        self.over.job.clone()
    }
}

impl Pool {
    /// A desk for a job.
    pub(crate) fn desk(&self, job: &str, encoding: Encoding) -> Result<Desk<'_>, JobError> {
        let (number, _) = self.find(job)?;
        let over = Over {
            job: job.to_owned(),
            results: Mutex::default(),
            changed: Condition::default(),
            any: AtomicBool::new(false),
        };
        // Whoever hands jobs in sees to their limits and attempts himself.
        let spec = TaskSpec { job: number, encoding, chunk: None, lazy: false, terms: Terms::default() };
        Ok(Desk { engine: &self.engine, spec, over: Arc::new(over) })
    }

    /// The program of the workers, if they are a server's.
    pub(crate) fn lent_program(&self) -> Option<&Path> {
        self.engine.config.borrower.as_ref().map(|borrower| borrower.program())
    }

    /// How many workers it was made with, or may borrow.
    pub(crate) fn most_workers(&self) -> usize {
        self.engine.config.workers
    }

    /// Stops all workers with what they run, or has them go on.
    pub(crate) fn stop_all(&self, stop: bool) {
        self.engine.stop_all(stop);
    }
}

impl Desk<'_> {
    /// Hands a job in.
    ///
    /// # Errors
    /// The arguments are longer than can be sent, or the pool takes no more.
    pub(crate) fn submit(&self, number: u64, mut args: Vec<u8>) -> Result<Ticket, JobError> {
        let size = args.len() + RunHeader::LEN + RunHeader::PIECE;
        if size > MAX_BODY {
            let place = crate::error::Place { job: self.over.job.clone(), id: 0, pid: None };
            return Err(place.encode(CodecError::TooLarge { size }));
        }
        let block = Buffer::new(&mut args, self.engine.blocks()).finish(0);
        let single = Single { bytes: &args, block, tickets: Vec::new() };
        let load = single.load();
        let grant = admit(self.engine, None, load, None).unwrap_or_default();
        let sink = Arc::new(Place { over: self.over.clone(), number, kept: Mutex::default() });
        match self.engine.submit(sink, self.spec.clone(), single, grant) {
            Some(key) => Ok(Ticket { key, weight: load.bytes }),
            None => Err(self.engine.refusal()),
        }
    }

    /// Takes the next one that is over. Waits for it until the deadline, or until `other` is true.
    pub(crate) fn next(&self, deadline: Option<Instant>, other: &dyn Fn() -> bool) -> Option<RawResult> {
        let ready = || self.over.any.load(Ordering::Acquire) || other();
        super::wait(&Arc::downgrade(self.engine), deadline, &ready, &self.over.results, &self.over.changed);
        let mut results = self.over.results();
        let result = results.pop_front();
        self.over.any.store(!results.is_empty(), Ordering::Release);
        result
    }

    /// Withdraws a job that has not begun, which then does not come back: `true` for that. With `kill` one that runs is
    /// killed, and comes back as cancelled.
    pub(crate) fn withdraw(&self, ticket: Ticket, kill: bool) -> bool {
        self.engine.withdraw_single(ticket.key, ticket.weight, kill) == Withdrawn::Waiting
    }

    /// Sends a signal to the worker that runs a job, and to what it has started; it then runs nothing else, and what
    /// the job gives counts. `false` if the job does not run.
    pub(crate) fn signal(&self, ticket: Ticket, signal: Signal) -> bool {
        self.engine.signal_single(ticket.key, signal)
    }

    /// What the job takes of late, in nanoseconds; 0 if nobody knows.
    pub(crate) fn pace(&self) -> u64 {
        self.engine.pace(self.spec.job)
    }

    /// What wakes the one who waits for a result, to look at what else he waits for.
    pub(crate) fn rouser(&self) -> Rouser {
        Rouser { engine: Arc::downgrade(self.engine), over: self.over.clone() }
    }
}

/// Tells, from any thread, that there is something else than a result.
#[derive(Clone)]
pub(crate) struct Rouser {
    engine: Weak<Engine>,
    over: Arc<Over>,
}

impl Rouser {
    pub(crate) fn rouse(&self) {
        drop(self.over.results());
        self.over.changed.notify_all();
        if let Some(engine) = self.engine.upgrade() {
            engine.ring();
        }
    }
}
