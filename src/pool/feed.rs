//! Brings the items of one task to the engine, many at a time.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec::CodecError;
use sidestep_worker::shared::{self, collect};

use crate::engine::scheduler::{Grant, Load, TaskKey, TaskSpec};
use crate::engine::{Batch, Engine, Sink};

use super::admission::admit;
use super::submit::{fitting, panicked};

/// A batch is handed over when it has this many bytes,
const BYTES: usize = 64 << 10;
/// or this many items. The first ones are smaller, so that workers begin early.
const ITEMS: u32 = 4096;

/// What happens to a whole batch for which the queue has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The caller waits.
    Waits,
    /// It stays here, and the caller adds no more: see [`Feed::is_full`].
    Stays,
}

/// How far [`Feed::fill`] has come.
pub(super) enum Filled {
    /// The batch was whole. It was handed over, if there was room.
    Whole,
    /// There are no more items.
    NoMore,
    /// The last item could not be encoded.
    Failed { index: u64, id: u64, error: CodecError },
    /// Whoever was asked for the next item has panicked.
    Panicked(Box<dyn Any + Send>),
}

/// The input side of a task of many items. Dropped before [`finish`](Self::finish), it withdraws the task: that is
/// what happens when the user's iterator panics.
pub(super) struct Feed {
    engine: Arc<Engine>,
    pub(super) task: TaskKey,
    full: Full,
    batch: Batch,
    /// The index of the batch's first item.
    start: u64,
    /// The batch is whole with so many items,
    items: u32,
    /// which grow to this,
    most_items: u32,
    /// or with so many bytes.
    bytes: usize,
    pub(super) first_id: Option<u64>,
    /// Items that the engine has not taken: the task was withdrawn or the pool has ended.
    pub(super) refused: Vec<Range<u64>>,
    /// Bytes of the batches before this one.
    handed_over: u64,
    finished: bool,
}

impl Feed {
    /// `None` if the pool takes no more.
    pub(super) fn open(
        engine: &Arc<Engine>,
        sink: Arc<dyn Sink>,
        spec: TaskSpec,
        full: Full,
    ) -> Option<Feed> {
        let piece = engine.config.bounds.piece();
        let most_items = piece.jobs.min(u64::from(ITEMS)) as u32;
        let items = spec.chunk.unwrap_or(1).clamp(1, most_items);
        let task = engine.open_task(sink, spec)?;
        Some(Feed {
            engine: engine.clone(),
            task,
            full,
            batch: Batch::default(),
            start: 0,
            items,
            most_items,
            bytes: piece.bytes.min(BYTES),
            first_id: None,
            refused: Vec::new(),
            handed_over: 0,
            finished: false,
        })
    }

    /// Adds what `next` gives, until the batch is whole: then it is handed over.
    pub(super) fn fill<T>(
        &mut self,
        mut next: impl FnMut() -> Option<T>,
        encode: impl Fn(T, &mut Buffer<'_>) -> Result<(), CodecError>,
    ) -> Filled {
        let is_encoding = Cell::new(false);
        let next = || {
            is_encoding.set(false);
            let item = next();
            is_encoding.set(true);
            item
        };
        // Caught once for all of them: both may panic, and the one is not the other's fault.
        match catch_unwind(AssertUnwindSafe(|| self.add(next, encode))) {
            Ok(Ok(true)) => {
                self.hand_over();
                self.items = (self.items * 2).min(self.most_items);
                Filled::Whole
            }
            Ok(Ok(false)) => Filled::NoMore,
            Ok(Err(error)) => self.failed(error),
            Err(panic) if is_encoding.get() => {
                self.batch.truncate();
                self.failed(panicked(panic))
            }
            Err(panic) => Filled::Panicked(panic),
        }
    }

    /// Whether the batch is whole; otherwise there are no more items.
    fn add<T>(
        &mut self,
        mut next: impl FnMut() -> Option<T>,
        encode: impl Fn(T, &mut Buffer<'_>) -> Result<(), CodecError>,
    ) -> Result<bool, CodecError> {
        let (blocks, pool) = (self.engine.blocks(), self.engine.number());
        let batch = &mut self.batch;
        while batch.len() < self.items && batch.bytes() < self.bytes {
            let Some(item) = next() else { return Ok(false) };
            let mut tickets = Vec::new();
            batch.push(blocks, |out| {
                if shared::is_in_use() {
                    let encode = || slowly(item, out, &encode);
                    tickets = collect(pool, encode)?;
                    Ok(())
                } else {
                    fitting(out, |out| encode(item, out))
                }
            })?;
            if !tickets.is_empty() {
                batch.name(tickets);
            }
        }
        Ok(true)
    }

    #[cold]
    fn failed(&mut self, error: CodecError) -> Filled {
        // A batch has no gaps, so it ends before this one, be there room or not.
        self.push(Grant::default());
        let index = self.start;
        self.start += 1;
        Filled::Failed { index, id: self.engine.count_failed(), error }
    }

    /// Whether the batch is whole.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= self.items || self.batch.bytes() >= self.bytes
    }

    /// Bytes of all items so far.
    pub(super) fn total_bytes(&self) -> u64 {
        self.handed_over + self.batch.bytes() as u64
    }

    /// Items that the engine does not have yet.
    pub(super) fn pending(&self) -> u64 {
        u64::from(self.batch.len())
    }

    /// Whether the engine has everything, and wants more.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.batch.is_empty() && self.refused.is_empty()
    }

    /// Gives the engine what has been gathered.
    pub(super) fn hand_over(&mut self) {
        if !self.batch.is_empty() {
            let (task, load) = (Some(self.task), self.load());
            let grant = match self.full {
                Full::Waits => admit(&self.engine, task, load, None),
                Full::Stays => self.engine.ask(task, load),
            };
            if let Some(grant) = grant {
                self.push(grant);
            }
        }
    }

    /// The same, but waits for room until a deadline: `false` then.
    pub(super) fn hand_over_by(&mut self, deadline: Option<Instant>) -> bool {
        let grant = admit(&self.engine, Some(self.task), self.load(), deadline);
        grant.map(|grant| self.push(grant)).is_some()
    }

    fn load(&self) -> Load {
        Load { jobs: self.pending(), bytes: self.batch.bytes() }
    }

    fn push(&mut self, grant: Grant) {
        if self.batch.is_empty() {
            return;
        }
        let next = Batch::like(&self.batch);
        let batch = std::mem::replace(&mut self.batch, next);
        let count = batch.len();
        self.handed_over += batch.bytes() as u64;
        match self.engine.push(self.task, self.start, count, batch.into_args(), grant) {
            Some(id) => {
                self.first_id.get_or_insert(id);
            }
            None => self.refused.push(self.start..self.start + u64::from(count)),
        }
        self.start += u64::from(count);
    }

    /// The input has ended; how many items it had.
    pub(super) fn finish(&mut self) -> u64 {
        self.hand_over();
        self.finished = true;
        self.engine.finish_input(self.task);
        self.start
    }
}

/// [`fitting`], not compiled into the loop over items.
#[cold]
fn slowly<T>(
    item: T,
    out: &mut Buffer<'_>,
    encode: &impl Fn(T, &mut Buffer<'_>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    fitting(out, |out| encode(item, out))
}

impl Drop for Feed {
    fn drop(&mut self) {
        if !self.finished {
            self.engine.withdraw(self.task, false);
            // They were pulled, so they count.
            self.push(Grant::default());
            self.engine.finish_input(self.task);
        }
    }
}
