//! Brings the items of one task to the engine, many at a time.

use std::ops::Range;
use std::sync::Arc;

use sidestep_worker::codec::CodecError;

use crate::engine::scheduler::{TaskKey, TaskSpec};
use crate::engine::{Batch, Engine, Sink};

/// A batch is handed over when it has this many bytes,
const BYTES: usize = 64 << 10;
/// or this many items. The first ones are smaller, so that workers begin early.
const ITEMS: u32 = 4096;

/// The input side of a task of many items. Dropped before [`finish`](Self::finish), it withdraws the task: that is
/// what happens when the user's iterator panics.
pub(super) struct Feed {
    engine: Arc<Engine>,
    pub(super) task: TaskKey,
    batch: Batch,
    /// The index of the batch's first item.
    start: u64,
    limit: u32,
    pub(super) first_id: Option<u64>,
    /// Items that the engine has not taken: the task was withdrawn or the pool has ended.
    pub(super) refused: Vec<Range<u64>>,
    finished: bool,
}

impl Feed {
    /// `None` if the pool takes no more.
    pub(super) fn open(engine: &Arc<Engine>, sink: Arc<dyn Sink>, spec: TaskSpec) -> Option<Feed> {
        let limit = spec.chunk.unwrap_or(1).clamp(1, ITEMS);
        let task = engine.open_task(sink, spec)?;
        let engine = engine.clone();
        Some(Feed {
            engine,
            task,
            batch: Batch::default(),
            start: 0,
            limit,
            first_id: None,
            refused: Vec::new(),
            finished: false,
        })
    }

    /// Adds an item. `Ok(false)` if no more are wanted; an error gives the item's index, its id and what was wrong.
    pub(super) fn add(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    ) -> Result<bool, (u64, u64, CodecError)> {
        if let Err(error) = self.batch.push(encode) {
            self.hand_over();
            let index = self.start;
            self.start += 1;
            return Err((index, self.engine.count_failed(), error));
        }
        if self.batch.len() >= self.limit || self.batch.bytes() >= BYTES {
            self.hand_over();
            self.limit = (self.limit * 2).min(ITEMS);
        }
        Ok(self.refused.is_empty())
    }

    /// Gives the engine what has been gathered.
    pub(super) fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len();
        match self.engine.push(self.task, self.start, count, batch.into_args()) {
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

impl Drop for Feed {
    fn drop(&mut self) {
        if !self.finished {
            self.engine.withdraw(self.task, false);
            // They were pulled, so they count.
            self.hand_over();
            self.engine.finish_input(self.task);
        }
    }
}
