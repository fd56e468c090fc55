//! The page's part of [blocks](crate::blocks).

use std::sync::atomic::Ordering;

use super::{BLOCKS_AT, NOTHING, Page};
use crate::blocks::Place;

impl Page {
    /// Bytes of blocks that this process can reach.
    pub fn blocks(&self) -> usize {
        self.map.len().saturating_sub(BLOCKS_AT)
    }

    /// Worker: writes into them.
    ///
    /// # Panics
    /// If that is not within [`blocks`](Self::blocks).
    pub(crate) fn write_block(&self, at: usize, bytes: &[u8]) {
        assert!(at.checked_add(bytes.len()).is_some_and(|end| end <= self.blocks()));
        // SAFETY: this lies within the mapping. Only one value at a time is written there, by its `Block`, and the parent
        // only reads, and copies without looking.
        unsafe {
            self.map.as_mut_ptr().add(BLOCKS_AT + at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        }
    }

    /// Worker: what it has written there.
    ///
    /// # Panics
    /// If that is not within [`blocks`](Self::blocks).
    ///
    /// # Safety
    /// Nobody writes there as long as it is borrowed.
    pub(crate) unsafe fn block(&self, at: usize, len: usize) -> &[u8] {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.blocks()));
        // SAFETY: this lies within the mapping, and any bytes are valid; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(BLOCKS_AT + at), len) }
    }

    /// Worker: gives the memory of the first so many bytes back to the system.
    pub(crate) fn forget_blocks(&self, len: usize) {
        #[cfg(target_os = "linux")]
        if len > 0 {
            let len = len.min(self.blocks());
            // SAFETY: they hold nothing any more, and read as zeros from now on.
            let _ =
                unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::Remove, BLOCKS_AT, len) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = len;
    }

    /// Parent: a copy of what lies in a place, whatever that is by now; `None` if it is outside, or there is no memory
    /// for it.
    pub fn fetch(&self, place: Place) -> Option<Vec<u8>> {
        let (at, len) = (usize::try_from(place.offset).ok()?, usize::try_from(place.len).ok()?);
        at.checked_add(len).filter(|end| *end <= self.blocks())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).ok()?;
        huge_pages(&bytes);
        // SAFETY: source and target have room for so many bytes. The worker may be writing there, against the rules: then
        // these are some bytes or others, and nobody has believed them yet; no reference to them is made.
        unsafe {
            bytes.as_mut_ptr().copy_from_nonoverlapping(self.map.as_ptr().add(BLOCKS_AT + at), len);
            bytes.set_len(len);
        }
        Some(bytes)
    }

    /// Parent: the next large result was copied or is not wanted, and its place may be used again.
    pub fn note_taken(&self) {
        self.control().asks.taken.fetch_add(1, Ordering::Release);
    }

    /// Worker: how many were.
    pub(crate) fn taken(&self) -> u64 {
        self.control().asks.taken.load(Ordering::Acquire)
    }

    /// Worker: the block of the arena that a job has kept a part of.
    pub fn note_kept(&self, block: Option<u64>) {
        self.control().notes.kept.store(block.unwrap_or(NOTHING), Ordering::Release);
    }

    /// Parent: that block.
    pub fn kept(&self) -> Option<u64> {
        Some(self.control().notes.kept.load(Ordering::Acquire)).filter(|block| *block != NOTHING)
    }

    /// Parent: the worker finds an arena among its descriptors.
    pub fn announce_arena(&self) {
        self.control().has_arena.store(1, Ordering::Release);
    }

    /// Worker: whether it does.
    pub(crate) fn has_arena(&self) -> bool {
        self.control().has_arena.load(Ordering::Acquire) != 0
    }
}

/// Memory that is new takes most of its time for page faults, unless it comes in large pages.
fn huge_pages(memory: &Vec<u8>) {
    const WORTH_IT: usize = 4 << 20;
    const PAGE_SIZE: usize = 4096;
    #[cfg(target_os = "linux")]
    if memory.capacity() >= WORTH_IT {
        let start = memory.as_ptr().addr().next_multiple_of(PAGE_SIZE);
        let len = memory.as_ptr().addr() + memory.capacity() - start;
        // SAFETY: this lies within one allocation, whose contents and protection it does not change.
        unsafe { libc::madvise(std::ptr::without_provenance_mut(start), len, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (memory, WORTH_IT, PAGE_SIZE);
}
