//! Single jobs that wait together, and where the results of each of them go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[cfg(feature = "cli")]
use nix::sys::signal::Signal;
use sidestep_worker::blocks::Block;
use sidestep_worker::shared::Ticket;

use crate::error::JobError;

use super::args::{Args, Batch};
use super::scheduler::{Grant, Item, Load, SingleKey, TaskSpec, Withdrawn};
use super::sink::{Captured, Sink, Values};
use super::{Core, Engine};

/// Jobs whose arguments are longer than this do not wait together: these would stay until the last of the jobs is over.
const SMALL: usize = 1 << 10;

/// A single job's arguments, encoded.
pub(crate) struct Single<'a> {
    pub(crate) bytes: &'a [u8],
    /// They lie here instead.
    pub(crate) block: Option<Box<dyn Block>>,
    /// The shared values that they name.
    pub(crate) tickets: Vec<Arc<dyn Ticket>>,
}

impl Single<'_> {
    /// What is to be asked room for.
    pub(crate) fn load(&self) -> Load {
        Load { jobs: 1, bytes: Args::weight_of(self.bytes, self.block.as_deref()) }
    }

    fn may_join(&self) -> bool {
        self.block.is_none() && self.tickets.is_empty() && self.bytes.len() <= SMALL
    }
}

/// The sinks of single jobs that share a task, until their outcomes are shown.
#[derive(Default)]
struct Cells(Mutex<Vec<Option<Arc<dyn Sink>>>>);

impl Cells {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Arc<dyn Sink>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, item: Item) -> Option<Arc<dyn Sink>> {
        self.lock().get(item.index as usize)?.clone()
    }

    /// Takes some out, in order; what is read from bytes may use the pool, so that the lock cannot be held.
    fn take(&self, first: Item, count: usize) -> Vec<Option<Arc<dyn Sink>>> {
        let first = first.index as usize;
        let mut cells = self.lock();
        cells.iter_mut().skip(first).take(count).map(Option::take).collect()
    }

    fn put_back(&self, first: Item, taken: Vec<Option<Arc<dyn Sink>>>) {
        let first = first.index as usize;
        self.lock().iter_mut().skip(first).zip(taken).for_each(|(cell, taken)| *cell = taken);
    }
}

impl Sink for Cells {
    fn accept(
        &self,
        item: Item,
        by: Option<u32>,
        outcome: Result<&[u8], JobError>,
        output: Option<Captured>,
    ) -> bool {
        self.get(item).is_some_and(|cell| cell.accept(item, by, outcome, output))
    }

    fn accept_all(&self, first: Item, values: Values<'_>) -> u32 {
        let cells = self.take(first, values.len());
        let by = Some(values.pid());
        let mut done = 0;
        for ((offset, cell), bytes) in (0..).zip(&cells).zip(values) {
            let accepted =
                cell.as_ref().is_some_and(|cell| cell.accept(first.after(offset), by, Ok(bytes), None));
            done += u32::from(accepted);
        }
        self.put_back(first, cells);
        done
    }

    fn is_bad(&self, item: Item, bytes: &[u8]) -> bool {
        self.get(item).is_some_and(|cell| cell.is_bad(item, bytes))
    }

    fn publish(&self, first: Item, count: u32) {
        for (offset, cell) in (0..).zip(self.take(first, count as usize)) {
            if let Some(cell) = cell {
                cell.publish(first.after(offset), 1);
            }
        }
    }

    fn job(&self, item: Item) -> String {
        self.get(item).map(|cell| cell.job(item)).unwrap_or_default()
    }
}

/// The single jobs that came last and had to wait.
pub(super) struct Last {
    first: SingleKey,
    cells: Arc<Cells>,
}

impl Engine {
    /// Brings a single job, for which there is room; `None` if the pool takes no more.
    pub(crate) fn submit(
        &self,
        sink: Arc<dyn Sink>,
        spec: TaskSpec,
        single: Single<'_>,
        grant: Grant,
    ) -> Option<SingleKey> {
        let mut core = self.core();
        core.room.redeem(grant);
        if single.may_join() && core.scheduler.has_backlog() {
            // Whoever waits cannot be sent now: there is nothing else to be done.
            if let Some(key) = core.join(&sink, &spec, single.bytes) {
                return Some(key);
            }
            return self.with_core(core, |core, now| core.submit_first(sink, spec, single.bytes, now));
        }
        let args = Args::one(single.bytes, single.block, single.tickets);
        self.with_core(core, |core, now| core.scheduler.submit(sink, spec, args, now, &mut core.wires))
    }

    /// Withdraws a single job if it has not begun, and with `kill` kills it if it runs. `bytes` is what its [`Load`] said.
    pub(crate) fn withdraw_single(&self, key: SingleKey, bytes: usize, kill: bool) -> Withdrawn {
        let withdrawn =
            self.with(|core, now| core.scheduler.withdraw_single(key, bytes, kill, now, &mut core.wires));
        self.rouse();
        withdrawn
    }

    /// Sends a signal to the worker that runs a single job, and to its group, and has it run nothing after that. What
    /// the job gives counts as ever. `false` if it does not run.
    #[cfg(feature = "cli")]
    pub(crate) fn signal_single(&self, key: SingleKey, signal: Signal) -> bool {
        self.with(|core, now| {
            let Some(at) = core.scheduler.leave_after(key, now, &mut core.wires) else { return false };
            core.wires.signal(at, signal);
            true
        })
    }

    /// Stops all workers with what they run, or has them go on.
    #[cfg(feature = "cli")]
    pub(crate) fn stop_all(&self, stop: bool) {
        self.core().wires.stop_all(stop);
    }
}

impl Core {
    /// A job that has to wait, with those that came last.
    fn join(&mut self, sink: &Arc<dyn Sink>, spec: &TaskSpec, bytes: &[u8]) -> Option<SingleKey> {
        let Last { first, cells } = self.last.as_ref()?;
        let key = self.scheduler.join(*first, spec, |args| args.append(bytes))?;
        cells.lock().push(Some(sink.clone()));
        Some(key)
    }

    /// A job that has to wait, and that others may join.
    fn submit_first(
        &mut self,
        sink: Arc<dyn Sink>,
        spec: TaskSpec,
        bytes: &[u8],
        now: Instant,
    ) -> Option<SingleKey> {
        let mut list = Vec::with_capacity(Batch::SINGLES);
        list.push(Some(sink));
        let cells = Arc::new(Cells(Mutex::new(list)));
        let args = Batch::of_singles(bytes).into_args();
        let first = self.scheduler.submit(cells.clone(), spec, args, now, &mut self.wires)?;
        self.last = Some(Last { first, cells });
        Some(first)
    }
}
