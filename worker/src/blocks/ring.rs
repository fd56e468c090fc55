//! The worker's large results: a ring of blocks in its own page, which the parent copies out in the order in which they
//! were sent.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Block, Blocks, LARGE, Place, WARM};
use crate::page::Page;

/// Results that may wait to be copied, if they are large:
const WAITING: usize = 2;
/// more of them only up to this many bytes. Beyond that the pipe keeps the worker back, as it does with small ones.
const WAITING_BYTES: usize = 8 << 20;
/// Blocks begin at multiples of this.
const ALIGN: usize = 64;

/// Hands out the memory behind the page's lanes.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    state: Mutex<State>,
    /// It holds memory that the system could have back.
    warm: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Those that the parent may not have copied yet, oldest first.
    sent: VecDeque<Range<usize>>,
    /// How many were sent so far.
    count: u64,
    /// One is being written.
    writing: bool,
    /// All that was ever touched lies before this.
    touched: usize,
    used: Option<Instant>,
}

impl State {
    /// Forgets those that the parent says he has copied.
    fn collect(&mut self, taken: u64) {
        while !self.sent.is_empty() && self.count - (self.sent.len() as u64) < taken {
            self.sent.pop_front();
        }
    }

    /// A piece that is free, of a ring with so many bytes.
    fn free(&self, least: usize, size: usize) -> Range<usize> {
        let (Some(first), Some(last)) = (self.sent.front(), self.sent.back()) else { return 0..size };
        if last.end <= first.start {
            return last.end..first.start;
        }
        // What was touched already comes first. But a value that comes in many small pieces does not tell how long it will
        // be, so it gets the longest.
        let (before, behind) = (0..first.start, last.end..size);
        let is_known = least > 2 * LARGE && before.len() >= least;
        if is_known || before.len() >= behind.len() { before } else { behind }
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self.sent.iter().map(Range::len).sum();
        self.writing || self.sent.len() >= WAITING && bytes > WAITING_BYTES
    }
}

impl Ring {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`give_back`](Self::give_back) is to be called from time to time.
    pub(crate) fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire)
    }

    /// Gives memory back to the system that nobody has used for a while.
    pub(crate) fn give_back(&self, page: &Page) {
        let mut state = self.state();
        state.collect(page.taken());
        let unused = state.used.is_none_or(|used| used.elapsed() >= WARM);
        if unused && state.sent.is_empty() && !state.writing {
            page.forget_blocks(state.touched);
            state.touched = 0;
            self.warm.store(false, Ordering::Release);
        }
    }
}

/// The ring and the page it lies in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResultBlocks {
    pub(crate) ring: &'static Ring,
    pub(crate) page: &'static Page,
    /// Has somebody look after memory that is warm.
    pub(crate) arm: fn(),
}

impl Blocks for ResultBlocks {
    fn take(&self, least: usize) -> Option<Box<dyn Block>> {
        let mut state = self.ring.state();
        state.collect(self.page.taken());
        let free = state.free(least, self.page.blocks());
        if state.is_full() || free.len() < least {
            return None;
        }
        state.writing = true;
        drop(state);
        Some(Box::new(Written { from: *self, start: free.start, room: free.len(), len: 0, sealed: false }))
    }
}

/// A result on its way into the ring. There is one at a time.
#[derive(Debug)]
struct Written {
    from: ResultBlocks,
    start: usize,
    room: usize,
    len: usize,
    sealed: bool,
}

impl Block for Written {
    fn append(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.room - self.len {
            return false;
        }
        self.from.page.write_block(self.start + self.len, bytes);
        self.len += bytes.len();
        true
    }

    fn written(&self) -> &[u8] {
        // SAFETY: this process alone writes results; this piece is nobody else's until it is sealed and sent, and then
        // nobody writes there before the parent has said that he has copied it.
        unsafe { self.from.page.block(self.start, self.len) }
    }

    fn seal(&mut self) -> Place {
        let end = (self.start + self.len).next_multiple_of(ALIGN).min(self.start + self.room);
        self.leave(|state| {
            state.sent.push_back(self.start..end);
            state.count += 1;
        });
        self.sealed = true;
        Place { offset: self.start as u64, len: self.len as u64 }
    }
}

impl Written {
    fn leave(&self, also: impl FnOnce(&mut State)) {
        let mut state = self.from.ring.state();
        state.writing = false;
        state.touched = state.touched.max(self.start + self.len);
        state.used = Some(Instant::now());
        also(&mut state);
        drop(state);
        if !self.from.ring.warm.swap(true, Ordering::AcqRel) {
            (self.from.arm)();
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.sealed {
            self.leave(|_| {});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::BLOCKS;

    fn blocks() -> ResultBlocks {
        let (ring, page) = (Box::leak(Box::default()), Box::leak(Box::new(crate::page::tests::page())));
        ResultBlocks { ring, page, arm: || {} }
    }

    fn send(blocks: ResultBlocks, bytes: &[u8]) -> Option<Place> {
        let mut block = blocks.take(bytes.len())?;
        assert!(block.append(bytes));
        assert_eq!(block.written(), bytes);
        Some(block.seal())
    }

    #[test]
    fn what_was_sent_is_copied_in_its_order() {
        let blocks = blocks();
        let mut places = VecDeque::new();
        for round in 0..1000usize {
            let bytes = vec![round as u8; (round * 7919) % 3_000_000 + 1];
            let place = send(blocks, &bytes).expect("there is room for two");
            places.push_back((place, bytes));
            while places.len() > round % 2 {
                let (place, bytes) = places.pop_front().unwrap();
                assert_eq!(blocks.page.fetch(place).as_ref(), Some(&bytes));
                blocks.page.note_taken();
            }
        }
    }

    #[test]
    fn it_does_not_take_more_than_the_parent_copies() {
        let blocks = blocks();
        let large = vec![1; WAITING_BYTES];
        assert!(send(blocks, &large).is_some() && send(blocks, &large).is_some());
        assert_eq!(send(blocks, &[1]), None);
        blocks.page.note_taken();
        assert_eq!(
            send(blocks, &large[..100_000]).map(|place| place.offset),
            Some(0),
            "what is warm comes first"
        );
        assert!(blocks.take(BLOCKS).is_none());
    }

    #[test]
    fn one_is_written_at_a_time_and_one_that_was_dropped_is_free() {
        let blocks = blocks();
        let first = blocks.take(10);
        assert!(first.is_some() && blocks.take(10).is_none());
        drop(first);
        let mut block = blocks.take(BLOCKS).expect("the whole ring");
        assert!(block.append(&[1; 100]) && !block.append(&vec![1; BLOCKS]));
        assert_eq!(block.written().len(), 100);
    }

    #[test]
    fn memory_goes_back_when_nobody_uses_it() {
        let blocks = blocks();
        send(blocks, &[7; 100_000]).unwrap();
        blocks.ring.state().used = None;
        blocks.ring.give_back(blocks.page);
        assert!(blocks.ring.is_warm(), "it is not copied yet");
        blocks.page.note_taken();
        blocks.ring.give_back(blocks.page);
        assert!(!blocks.ring.is_warm());
        let place = Place { offset: 0, len: 100_000 };
        assert_eq!(blocks.page.fetch(place).unwrap(), vec![0; 100_000]);
    }

    #[test]
    fn a_place_outside_is_not_read() {
        let page = crate::page::tests::page();
        for (offset, len) in
            [(0, BLOCKS as u64 + 1), (BLOCKS as u64, 1), (u64::MAX, 2), (1, u64::MAX), (u64::MAX, u64::MAX)]
        {
            assert_eq!(page.fetch(Place { offset, len }), None, "{offset} {len}");
        }
        assert_eq!(page.fetch(Place { offset: BLOCKS as u64, len: 0 }), Some(Vec::new()));
    }
}
