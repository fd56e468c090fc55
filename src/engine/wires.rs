//! What the scheduler's wishes mean for real processes.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sidestep_worker::codec;
use sidestep_worker::frame::Kind;
use sidestep_worker::page::{Begun, Page};
use sidestep_worker::wire::{Mark, RunHeader, Setup};

use crate::error::{Cause, JobError, Place, PoolError};
use crate::process::{self, Child, Interest, Output, Poller, Stderr};

use super::args::Args;
use super::driver::{Source, token};
use super::outbox::{Outbox, Writing};
use super::scheduler::{Effects, Item, Running, Verdict};
use super::shares::Gone;
use super::sink::{Captured, Sink};
use super::{Engine, start::Greeting};

/// Nobody looks at more pages than these.
const AWAITED: usize = 64;

/// The parent's ends of one worker.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) generation: u32,
    pub(super) child: Child,
    pub(super) page: Arc<Page>,
    pub(super) outbox: Outbox,
    pub(super) greeting: Greeting,
    /// The shared values that it was told of.
    pub(super) told: BTreeSet<u64>,
    /// Why it was killed, if it was killed for what it sent.
    pub(super) fault: Option<String>,
    /// When its result pipe was seen closed: it is ending, or a job has closed it.
    pub(super) closed: Option<Instant>,
    /// When it was asked to end, with a kill to follow.
    pub(super) stopped: Option<Instant>,
    /// When it was first killed.
    pub(super) killed: Option<Instant>,
    pub(super) stderr: Arc<Stderr>,
}

impl Link {
    pub(super) fn kill(&mut self, signal: Signal) {
        self.killed.get_or_insert_with(Instant::now);
        self.child.kill_group(signal);
    }

    /// Asks the worker and its group to end; a group that is stopped has to go on for that.
    fn stop(&mut self) {
        self.stopped.get_or_insert_with(Instant::now);
        self.page.ask_to_stop(true);
        self.child.kill_group(Signal::SIGTERM);
        self.child.kill_group(Signal::SIGCONT);
    }

    /// Sends a signal to the worker and its group; one that is stopped has to go on for that.
    #[cfg(feature = "cli")]
    fn signal(&mut self, signal: Signal) {
        if signal == Signal::SIGTERM {
            self.page.ask_to_stop(true);
        }
        self.child.kill_group(signal);
        self.child.kill_group(Signal::SIGCONT);
    }

    /// How long ago it was killed; nothing if it was not.
    pub(super) fn killed_for(&self, now: Instant) -> Duration {
        self.killed.map_or(Duration::ZERO, |killed| now.saturating_duration_since(killed))
    }
}

/// How a worker ended, for the error of the item that it ran.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    pub(super) cause: Cause,
    /// What probably happened, in words.
    pub(super) hint: Option<String>,
    pub(super) stderr_tail: String,
    /// What it did wrong, if it was killed for that.
    pub(super) fault: Option<String>,
    /// The limit that its memory had probably come to.
    pub(super) memory_limit: Option<u64>,
}

/// An outcome to be handed over once the engine's lock is free.
pub(super) struct Delivery {
    sink: Arc<dyn Sink>,
    item: Item,
    error: JobError,
    output: Option<Captured>,
}

impl Delivery {
    pub(super) fn hand_over(self) {
        self.sink.accept(self.item, None, Err(self.error), self.output);
        self.sink.publish(self.item, 1);
    }
}

/// What is to be written to a worker.
pub(super) struct Write {
    at: usize,
    generation: u32,
    writing: Writing,
}

impl Write {
    pub(super) fn run(&mut self) {
        self.writing.run();
    }
}

/// The outside of the scheduler: links, and what is to be done once its turn is over.
pub(super) struct Wires {
    pub(super) engine: Weak<Engine>,
    pub(super) links: Vec<Option<Link>>,
    pub(super) deliveries: Vec<Delivery>,
    /// Slots whose outbox has something new.
    pub(super) dirty: Vec<usize>,
    /// Shared values that are to be forgotten.
    pub(super) gone: Vec<Gone>,
    /// Slots that were sent something: a hint where results may come first.
    pub(super) awaited: Vec<usize>,
    /// The worker that is being charged.
    pub(super) loss: Option<Loss>,
    /// What the job that it runs has printed.
    pub(super) output: Option<(u64, Captured)>,
    /// Why the pool is broken.
    pub(super) broken: Option<PoolError>,
}

impl Wires {
    pub(super) fn new(engine: Weak<Engine>) -> Wires {
        Wires {
            engine,
            links: Vec::new(),
            deliveries: Vec::new(),
            dirty: Vec::new(),
            gone: Vec::new(),
            awaited: Vec::new(),
            loss: None,
            output: None,
            broken: None,
        }
    }

    pub(super) fn link(&mut self, at: usize, generation: u32) -> Option<&mut Link> {
        self.links.get_mut(at)?.as_mut().filter(|link| link.generation == generation)
    }

    /// Sends a signal to a worker and its group.
    #[cfg(feature = "cli")]
    pub(super) fn signal(&mut self, at: usize, signal: Signal) {
        if let Some(link) = self.live(at) {
            link.signal(signal);
        }
    }

    /// Stops all workers and their groups, or has them go on.
    #[cfg(feature = "cli")]
    pub(super) fn stop_all(&mut self, stop: bool) {
        let signal = if stop { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.links.iter().flatten().for_each(|link| link.child.kill_group(signal));
    }

    fn live(&mut self, at: usize) -> Option<&mut Link> {
        self.links.get_mut(at)?.as_mut()
    }

    fn page(&self, at: usize) -> Option<&Page> {
        Some(&self.links.get(at)?.as_ref()?.page)
    }

    /// Installs a new worker's link and sends it its setup.
    pub(super) fn install(
        &mut self,
        at: usize,
        mut link: Link,
        setup: &Setup,
    ) -> Result<(), codec::CodecError> {
        let mut body = Vec::new();
        codec::encode(setup, &mut body)?;
        link.outbox.push(Kind::Setup, &body);
        if self.links.len() <= at {
            self.links.resize_with(at + 1, || None);
        }
        self.links[at] = Some(link);
        self.dirty.push(at);
        Ok(())
    }

    /// Sends what is new; what is to be written for that, once the engine's lock is free.
    pub(super) fn flush(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Some(at) = self.dirty.pop() {
            let Some(link) = self.live(at) else { continue };
            let generation = link.generation;
            if let Some(writing) = link.outbox.flush(link.page.jobs()) {
                writes.push(Write { at, generation, writing });
            }
        }
        writes
    }

    /// Something was written; has the poller tell when a full pipe has room again. What else is to be written.
    pub(super) fn wrote(&mut self, write: Write, poller: &Poller) -> Option<Write> {
        let Write { at, generation, writing } = write;
        let link = self.link(at, generation)?;
        if link.outbox.wrote(writing) {
            let name = token(at, generation, Source::Jobs);
            if poller.add(link.outbox.as_fd(), name, Interest::Write).is_err() {
                link.outbox.has_room();
            }
            return None;
        }
        let writing = link.outbox.flush(link.page.jobs())?;
        Some(Write { at, generation, writing })
    }

    /// A worker's pipe has room again.
    pub(super) fn has_room(&mut self, at: usize, generation: u32, poller: &Poller) {
        if let Some(link) = self.link(at, generation)
            && link.outbox.waits_for_room()
        {
            poller.remove(link.outbox.as_fd());
            link.outbox.has_room();
            self.dirty.push(at);
        }
    }

    /// What lies in a worker's lane is to go through its pipe.
    pub(super) fn empty_lane(&mut self, at: usize) {
        if let Some(link) = self.live(at) {
            link.outbox.empty_lane(link.page.jobs());
            self.dirty.push(at);
        }
    }

    /// A worker has sent nonsense: it is killed, and what it may have run is charged when it is gone.
    pub(super) fn condemn(&mut self, at: usize, why: String) {
        if let Some(link) = self.live(at) {
            link.fault.get_or_insert(why);
            link.kill(Signal::SIGKILL);
        }
    }
}

impl Effects<Args, Arc<dyn Sink>> for Wires {
    fn spawn(&mut self, slot: usize, generation: u32) {
        let Some(engine) = self.engine.upgrade() else { return };
        let weak = self.engine.clone();
        let done = Box::new(move |spawned| {
            if let Some(engine) = weak.upgrade() {
                engine.arrive(slot, generation, spawned);
            }
        });
        let plan = engine.config.plan.clone();
        #[cfg(feature = "connect")]
        if let Some(borrower) = &engine.config.borrower {
            return borrower.borrow(plan, done);
        }
        process::spawn(plan, done);
    }

    fn send(&mut self, slot: usize, header: &RunHeader, args: &Args) {
        self.offer(slot, args.tickets());
        let Some(link) = self.live(slot) else { return };
        link.page.open_run(header.run, header.items);
        link.outbox.push_run(header, args);
        self.dirty.push(slot);
        if self.awaited.len() < AWAITED && !self.awaited.contains(&slot) {
            self.awaited.push(slot);
        }
    }

    fn withdraw(&mut self, slot: usize, run: u32, most: u32) -> u32 {
        self.page(slot).and_then(|page| page.withdraw(run, most)).map_or(0, |range| range.len() as u32)
    }

    fn claimed(&self, slot: usize, run: u32) -> u32 {
        self.page(slot).and_then(|page| page.claimed(run)).unwrap_or(0)
    }

    fn consumed(&self, slot: usize) -> u32 {
        self.page(slot).map_or(0, Page::consumed)
    }

    fn bye(&mut self, slot: usize) {
        if let Some(link) = self.live(slot) {
            link.outbox.push(Kind::Bye, &[]);
            self.dirty.push(slot);
        }
    }

    fn kill(&mut self, slot: usize) {
        if let Some(link) = self.live(slot) {
            link.kill(Signal::SIGKILL);
        }
    }

    fn stop(&mut self, slot: usize) {
        if let Some(link) = self.live(slot) {
            link.stop();
        }
    }

    fn running(&self, slot: usize) -> Option<Running> {
        let Begun { run, item, age, cpu_before } = self.page(slot)?.running()?;
        let (age, cpu_before) = (Duration::from_nanos(age), Duration::from_nanos(cpu_before));
        Some(Running { run, item, age, cpu_before })
    }

    fn halt(&mut self, slot: usize, halt: bool) {
        if let Some(page) = self.page(slot) {
            page.halt(halt);
        }
    }

    fn resolve(&mut self, sink: &Arc<dyn Sink>, item: Item, slot: Option<usize>, verdict: Verdict) {
        let pid = slot.and_then(|slot| Some(self.links.get(slot)?.as_ref()?.child.pid()));
        let place = Place { job: sink.job(item), id: item.id, pid };
        let loss = self.loss.as_ref();
        let error = match (verdict, loss) {
            (Verdict::Cancelled, _) => JobError::Cancelled,
            (Verdict::PoolClosed, _) => JobError::PoolClosed,
            (Verdict::PoolBroken, _) => JobError::PoolBroken {
                reason: self
                    .broken
                    .as_ref()
                    .map_or_else(|| "its workers no longer start".into(), |why| why.to_string()),
            },
            (Verdict::TimedOut { limit }, _) => {
                JobError::TimedOut { job: place.job, id: place.id, pid, limit }
            }
            (Verdict::Poisoned { deaths }, _) => {
                JobError::Poisoned { job: place.job, id: place.id, pid, deaths }
            }
            (Verdict::MemoryLimit { limit }, _)
            | (Verdict::Lost { .. }, Some(&Loss { fault: None, memory_limit: Some(limit), .. })) => {
                JobError::MemoryLimit { job: place.job, id: place.id, pid, limit }
            }
            (Verdict::CpuLimit { limit }, _) => {
                JobError::CpuLimit { job: place.job, id: place.id, pid, limit }
            }
            (Verdict::Lost { attempts }, Some(Loss { fault: None, cause, hint, stderr_tail, .. })) => {
                JobError::WorkerLost {
                    job: place.job,
                    id: place.id,
                    pid,
                    cause: *cause,
                    hint: hint.clone(),
                    stderr_tail: stderr_tail.clone(),
                    attempts,
                }
            }
            (Verdict::Lost { .. } | Verdict::Protocol, loss) => {
                let fault = loss.and_then(|loss| loss.fault.clone());
                place.protocol(
                    fault.unwrap_or_else(|| "what it shared with its parent was overwritten".into()),
                )
            }
        };
        let output = self.output.take_if(|(id, _)| *id == item.id);
        let output = output.map(|(_, output)| output);
        self.deliveries.push(Delivery { sink: sink.clone(), item, error, output });
    }
}

/// Private memory that a worker may have beyond twice its limit of resident memory, which is what its pages take that it
/// has touched: stacks of threads and other memory that is only reserved count here too.
const DATA: u64 = 1 << 30;

/// What a new worker is told.
pub(super) fn setup(engine: &Engine, slot: usize, mark: Option<Mark>) -> Setup {
    let config = &engine.config;
    Setup {
        slot: slot as u32,
        directory: config.directory.clone(),
        initializer: config.initializer.clone(),
        finalizer: config.finalizer.clone(),
        data_limit: config.limits.memory.map(|limit| limit.saturating_mul(2).saturating_add(DATA)),
        notes_cpu: config.limits.cpu.is_some(),
        nice: config.nice,
        core_dumps: config.core_dumps,
        mark,
        marks_stdout: config.plan.stdout == Output::Capture,
        marks_stderr: config.plan.stderr == Output::Capture,
    }
}
