//! Large arguments: memory of the pool's, in blocks, that all of its workers can read and none can write.
//!
//! An argument is encoded into a block once, whatever becomes of the worker that runs it first. A block belongs to the
//! arguments that lie in it, and comes back here with them; one that a worker's job has kept (see
//! [`Page::kept`](sidestep_worker::page::Page::kept)) is not used again before the worker says that it is free, or is gone.
//!
//! Sizes are powers of two. Blocks are kept warm for a moment, because the first touch of memory takes ten times as long as
//! the second; then their memory goes back to the system.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use memmap2::MmapRaw;
use sidestep_worker::blocks::{Block, Blocks, Place, WARM};
use sidestep_worker::page::Page;

use crate::process::Memory;

/// The smallest block, as a power of two; sizes above it double.
const SMALLEST: u32 = 16;
/// How many sizes there are: the largest holds the largest body.
const SIZES: usize = 15;
/// Each block is mapped by itself, of which a process can do 65,530.
const MOST: usize = 4096;
/// Memory is provided in multiples of this.
const UNIT: usize = 64 << 10;

/// The blocks of one pool.
#[derive(Debug, Clone)]
pub(crate) struct Arena(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    state: Mutex<State>,
    /// How many blocks nobody uses and are warm.
    free: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    sizes: [Size; SIZES],
    /// All blocks lie before this.
    end: u64,
    /// How many have memory.
    blocks: usize,
    /// Those of the workers, which say what they have kept.
    pages: Vec<Weak<Page>>,
    /// Nothing is given out any more, and nothing that lies here changes.
    closed: bool,
}

/// The blocks of one size that nobody uses.
#[derive(Debug, Default)]
struct Size {
    /// With the moment since when; the one used last is the last one.
    free: VecDeque<(Extent, Instant)>,
    /// Those without memory.
    vacant: Vec<u64>,
}

/// A block's memory.
#[derive(Debug)]
struct Extent {
    offset: u64,
    map: MmapRaw,
    /// Bytes from its beginning that the system has provided.
    provided: usize,
}

impl Arena {
    pub(crate) fn new(memory: Arc<Memory>) -> Arena {
        Arena(Arc::new(Shared { memory, state: Mutex::default(), free: AtomicUsize::new(0) }))
    }

    /// A worker has come, which can read what lies here.
    pub(super) fn add_worker(&self, page: &Arc<Page>) {
        let mut state = self.0.state();
        state.pages.retain(|page| page.strong_count() > 0);
        state.pages.push(Arc::downgrade(page));
    }

    /// Leaves everything as it is from now on: what comes back may still be read by workers that are about to die, or that
    /// cannot be waited for.
    pub(super) fn close(&self) {
        self.0.state().closed = true;
    }

    /// When to [`give_back`](Self::give_back).
    pub(super) fn due(&self) -> Option<Instant> {
        if self.0.free.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let state = self.0.state();
        if state.closed {
            return None;
        }
        let oldest = state.sizes.iter().filter_map(|size| Some(size.free.front()?.1));
        oldest.min().map(|since| since + WARM)
    }

    /// Gives memory back to the system that nobody has used for a while.
    pub(super) fn give_back(&self, now: Instant) {
        let mut state = self.0.state();
        if state.closed {
            return;
        }
        for at in 0..SIZES {
            while state.sizes[at].free.front().is_some_and(|(_, since)| *since + WARM <= now) {
                let Some((extent, _)) = state.sizes[at].free.pop_front() else { break };
                if state.is_kept(extent.offset) {
                    state.sizes[at].free.push_back((extent, now));
                    continue;
                }
                self.0.memory.forget(extent.offset, extent.provided);
                state.sizes[at].vacant.push(extent.offset);
                state.blocks -= 1;
                self.0.free.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, least: usize) -> Option<Extent> {
        let size = size_of_block(least)?;
        let mut state = self.state();
        if state.closed {
            return None;
        }
        let free = (0..state.sizes[size].free.len()).rev();
        if let Some(at) = free.into_iter().find(|at| !state.is_kept(state.sizes[size].free[*at].0.offset)) {
            self.free.fetch_sub(1, Ordering::Relaxed);
            return state.sizes[size].free.remove(at).map(|(extent, _)| extent);
        }
        if state.blocks >= MOST {
            return None;
        }
        let len = 1 << (SMALLEST as usize + size);
        let vacant = state.sizes[size].vacant.pop();
        let offset = vacant.unwrap_or(state.end);
        match self.memory.map(offset, len) {
            Ok(map) => {
                state.blocks += 1;
                if vacant.is_none() {
                    state.end += len as u64;
                }
                Some(Extent { offset, map, provided: 0 })
            }
            Err(_) => {
                state.sizes[size].vacant.extend(vacant);
                None
            }
        }
    }

    fn put_back(&self, extent: Extent) {
        let size = (extent.map.len().ilog2() - SMALLEST) as usize;
        self.state().sizes[size].free.push_back((extent, Instant::now()));
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

impl State {
    fn is_kept(&self, offset: u64) -> bool {
        self.pages.iter().filter_map(Weak::upgrade).any(|page| page.kept() == Some(offset))
    }
}

/// The index of the smallest size that holds so many bytes.
fn size_of_block(bytes: usize) -> Option<usize> {
    let power = bytes.checked_next_power_of_two()?.ilog2();
    let size = power.saturating_sub(SMALLEST) as usize;
    (size < SIZES).then_some(size)
}

impl Blocks for Arena {
    fn take(&self, least: usize) -> Option<Box<dyn Block>> {
        let extent = self.0.take(least)?;
        let mut block = Written { shared: self.0.clone(), extent: Some(extent), len: 0 };
        block.provide(least).then(|| Box::new(block) as Box<dyn Block>)
    }
}

/// Arguments in a block.
#[derive(Debug)]
struct Written {
    shared: Arc<Shared>,
    /// `None` only once it is dropped.
    extent: Option<Extent>,
    len: usize,
}

impl Written {
    /// Whether there is memory up to there.
    fn provide(&mut self, end: usize) -> bool {
        let Some(extent) = &mut self.extent else { return false };
        if end <= extent.provided {
            return true;
        }
        let room = extent.map.len();
        let wanted = end.max(self.len.saturating_mul(2)).next_multiple_of(UNIT).min(room);
        let at = extent.offset + extent.provided as u64;
        if end > room || self.shared.memory.provide(at, wanted - extent.provided).is_err() {
            return false;
        }
        extent.provided = wanted;
        true
    }
}

impl Block for Written {
    fn append(&mut self, bytes: &[u8]) -> bool {
        let end = self.len.saturating_add(bytes.len());
        if !self.provide(end) {
            return false;
        }
        let Some(extent) = &self.extent else { return false };
        // SAFETY: so much of the mapping is there, as `provide` has seen. The block is this value's alone: no worker has
        // been told of it, or what was told is over.
        unsafe {
            extent.map.as_mut_ptr().add(self.len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        self.len = end;
        true
    }

    fn written(&self) -> &[u8] {
        let Some(extent) = &self.extent else { return &[] };
        // SAFETY: so much was written, and workers cannot write there.
        unsafe { std::slice::from_raw_parts(extent.map.as_ptr(), self.len) }
    }

    fn seal(&mut self) -> Place {
        let offset = self.extent.as_ref().map_or(0, |extent| extent.offset);
        Place { offset, len: self.len as u64 }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(extent) = self.extent.take() {
            self.shared.put_back(extent);
        }
    }
}

#[cfg(all(test, target_os = "linux", not(sidestep_portable)))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn arena() -> Arena {
        Arena::new(Arc::new(Memory::new().unwrap()))
    }

    fn write(arena: &Arena, bytes: &[u8]) -> Box<dyn Block> {
        let mut block = arena.take(bytes.len()).unwrap();
        assert!(block.append(bytes));
        block
    }

    /// What a worker reads in a place.
    fn read(arena: &Arena, place: Place) -> Vec<u8> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; place.len as usize];
        std::fs::File::from(arena.0.memory.reader().unwrap())
            .read_exact_at(&mut bytes, place.offset)
            .unwrap();
        bytes
    }

    #[test]
    fn blocks_lie_apart_and_are_used_again() {
        let arena = arena();
        let contents: Vec<Vec<u8>> = (1..40u8).map(|n| vec![n; n as usize * 10_000]).collect();
        let mut blocks: Vec<_> = contents.iter().map(|bytes| write(&arena, bytes)).collect();
        for (block, bytes) in blocks.iter_mut().zip(&contents) {
            assert_eq!(read(&arena, block.seal()), *bytes);
            assert_eq!(block.written(), bytes);
        }
        let end = arena.0.state().end;
        let last_small = blocks[5].seal();
        drop(blocks);
        assert_eq!(
            write(&arena, &[1; 50_000]).seal().offset,
            last_small.offset,
            "the one used last is warmest"
        );
        let again: Vec<_> = contents.iter().map(|bytes| write(&arena, bytes)).collect();
        assert_eq!(arena.0.state().end, end);
        drop(again);
    }

    #[test]
    fn one_grows_within_its_size_and_no_further() {
        let mut block = arena().take(1).unwrap();
        for _ in 0..64 {
            assert!(block.append(&[7; 1024]));
        }
        assert!(!block.append(&[8]));
        assert_eq!(block.written(), [7; 64 << 10]);
    }

    #[test]
    fn what_a_worker_has_kept_stays() {
        let arena = arena();
        let page = Arc::new(crate::process::testing::page());
        arena.add_worker(&page);
        let mut block = write(&arena, &[1; 100]);
        let place = block.seal();
        drop(block);
        page.note_kept(Some(place.offset));
        assert_ne!(write(&arena, &[2; 100]).seal().offset, place.offset);
        arena.give_back(Instant::now() + WARM);
        assert_eq!(read(&arena, place), [1; 100]);
        page.note_kept(None);
        arena.give_back(Instant::now() + WARM + WARM);
        assert_eq!(read(&arena, place), [0; 100]);
        page.note_kept(Some(place.offset));
        drop(page);
        assert_eq!(arena.due(), None);
        assert_eq!(arena.0.state().blocks, 0);
        write(&arena, &[3; 100]);
        assert!(arena.due().is_some_and(|due| due > Instant::now() - Duration::from_secs(1)));
    }

    #[test]
    fn once_it_is_closed_nothing_changes() {
        let arena = arena();
        let mut block = write(&arena, &[1; 100]);
        let place = block.seal();
        drop(block);
        arena.close();
        assert!(arena.take(100).is_none());
        assert_eq!(arena.due(), None);
        arena.give_back(Instant::now() + WARM);
        assert_eq!(read(&arena, place), [1; 100]);
    }

    #[test]
    fn there_are_so_many_and_none_too_large() {
        let arena = arena();
        assert!(arena.take((1 << 30) + 1).is_none());
        let all: Vec<_> = (0..MOST).map(|_| arena.take(1).unwrap()).collect();
        assert!(arena.take(1).is_none());
        drop(all);
        assert!(arena.take(1).is_some());
    }
}
