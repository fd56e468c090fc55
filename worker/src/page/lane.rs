//! A lane: bytes of one direction's stream, in the mapping, from the moment when they count until the other side has
//! them.
//!
//! They go to the other side on one of two ways, and on exactly one: the reader takes them out of the lane, which costs
//! no system call; or the writer takes them out for the pipe, because the reader sleeps there and has to be woken. `taken`
//! is the stream position up to which somebody has; both raise it by compare-and-swap only. The reader copies first and
//! raises it then: if the writer was faster, or has begun to fill the lane anew, that fails and the copy is thrown away.
//! The order of the stream stays: the reader takes nothing from the lane while bytes before it are still in the pipe.
//!
//! Of a dead worker the parent takes what is left. Until its bytes are wholly in the pipe they stay in the lane.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use crate::frame::{Assembler, FrameError};

/// Once a lane has so many bytes that were all taken, it is filled from its begin again: so one that is never full stays
/// in few of its pages.
const AGAIN: usize = 4096;

/// What both sides know of a lane. What one side writes and the other reads often lies in cache lines of its own.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    written: Written,
    taken: Taken,
    looks: Looks,
}

/// By the writer.
#[derive(Debug)]
#[repr(C, align(64))]
struct Written {
    /// Stream position behind the last byte that counts.
    committed: AtomicU64,
    /// Stream position of the lane's first byte.
    base: AtomicU64,
}

/// By both.
#[derive(Debug)]
#[repr(C, align(64))]
struct Taken {
    position: AtomicU64,
}

/// By the reader.
#[derive(Debug)]
#[repr(C, align(64))]
struct Looks {
    looks: AtomicU32,
}

/// A lane as either side sees it.
#[derive(Debug, Clone, Copy)]
pub struct Lane<'a> {
    pub(super) state: &'a State,
    pub(super) words: &'a [AtomicU64],
}

/// The writer's own knowledge of its lane. What it does with it is never changed by what the mapping says.
#[derive(Debug, Default)]
pub struct Filled {
    /// Bytes of the lane in use.
    used: usize,
    /// Stream position behind them.
    position: u64,
}

/// What a writer has taken back for the pipe.
#[derive(Debug)]
pub struct Untaken<'a> {
    lane: Lane<'a>,
    range: Range<usize>,
}

impl<'a> Untaken<'a> {
    /// A copy of the bytes, be they what was put in or what the other side has scribbled.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.range.len()];
        self.lane.copy(self.range.clone(), &mut bytes);
        bytes
    }

    /// The bytes where they lie.
    ///
    /// # Safety
    /// No other process writes into this lane, and nobody begins it again while the slice is used.
    pub unsafe fn as_slice(&self) -> &'a [u8] {
        let bytes = &self.lane.bytes()[self.range.clone()];
        // SAFETY: nothing that was put in changes until the lane is begun again; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), bytes.len()) }
    }
}

/// What the mapping says cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scribbled;

impl Filled {
    /// Bytes of the lane in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Puts the parts of a frame into the lane, and has them count together. `false` if the lane has no room for them.
    #[inline]
    pub fn put<const N: usize>(&mut self, lane: Lane<'_>, parts: [&[u8]; N]) -> bool {
        let count: usize = parts.iter().map(|part| part.len()).sum();
        if self.used + count > lane.len() {
            return false;
        }
        for part in parts {
            lane.fill(self.used, part);
            self.used += part.len();
        }
        self.position += count as u64;
        lane.state.written.committed.store(self.position, Ordering::Release);
        true
    }

    /// Has `write` write what the reader has not taken, and empties the lane. Until `write` has returned, all of it counts
    /// still as being in the lane.
    ///
    /// # Errors
    /// [`Scribbled`].
    pub fn take_for_pipe(
        &mut self,
        lane: Lane<'_>,
        write: impl FnOnce(Untaken<'_>),
    ) -> Result<(), Scribbled> {
        if self.used == 0 {
            return Ok(());
        }
        let left = self.position.wrapping_sub(lane.take_all(self.position));
        let begin =
            usize::try_from(left).ok().and_then(|left| self.used.checked_sub(left)).ok_or(Scribbled)?;
        if begin < self.used {
            write(Untaken { lane, range: begin..self.used });
        }
        self.begin_again(lane);
        Ok(())
    }

    /// Bytes have gone into the pipe without the lane, which is empty.
    pub fn skip(&mut self, lane: Lane<'_>, count: usize) {
        self.position += count as u64;
        self.begin_again(lane);
    }

    /// Whether the lane has much in it, all of which was taken.
    pub fn may_begin_again(&self, lane: Lane<'_>) -> bool {
        self.used >= AGAIN && lane.state.taken.position.load(Ordering::Acquire) == self.position
    }

    /// Fills the lane from its begin again. All of it was taken, and nobody is still writing from there into the pipe.
    pub fn begin_again(&mut self, lane: Lane<'_>) {
        self.used = 0;
        lane.state.written.base.store(self.position, Ordering::Release);
        lane.state.taken.position.store(self.position, Ordering::Release);
        lane.state.written.committed.store(self.position, Ordering::Release);
    }
}

impl<'a> Lane<'a> {
    fn len(self) -> usize {
        self.words.len() * 8
    }

    fn bytes(self) -> &'a [AtomicU8] {
        // SAFETY: the same memory, of which any bits are valid as bytes, which need no alignment.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len()) }
    }

    // ---- the writer ----

    #[inline]
    fn fill(self, at: usize, bytes: &[u8]) {
        let room = &self.bytes()[at..at + bytes.len()];
        let room = room.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: `room` has exactly `bytes.len()` bytes and cannot overlap a slice of the writer's own. The writer alone
        // writes here; the reader believes only copies that nothing was written into meanwhile.
        unsafe {
            match <[u8; 8]>::try_from(bytes) {
                // Headers and numbers: no call for so little.
                Ok(eight) => room.cast::<[u8; 8]>().write(eight),
                Err(_) => room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()),
            }
        }
    }

    /// Where what nobody had taken begins.
    fn take_all(self, position: u64) -> u64 {
        let taken = &self.state.taken.position;
        let mut begin = taken.load(Ordering::Acquire);
        while begin < position {
            match taken.compare_exchange_weak(begin, position, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => begin = now,
            }
        }
        begin
    }

    /// Writer, after something counts: whether the reader will look for it here before it sleeps.
    pub fn is_looked_at(self) -> bool {
        fence(Ordering::SeqCst);
        self.state.looks.looks.load(Ordering::Relaxed) != 0
    }

    /// Another thread of the writer's: has `write` write what counts and the reader has not taken; tells whether there was
    /// anything. The writer may add to the lane meanwhile, but does not begin it again.
    pub fn take_committed(self, write: impl FnOnce(Untaken<'_>)) -> bool {
        let committed = self.committed();
        let begin = self.take_all(committed);
        let range = self.range(begin, committed).filter(|range| !range.is_empty());
        range.is_some_and(|range| {
            write(Untaken { lane: self, range });
            true
        })
    }

    // ---- the reader ----

    /// Reader: will look here before it sleeps; or is about to sleep, and then has to look once more after this.
    pub fn look(self, looks: bool) {
        self.state.looks.looks.store(looks.into(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Stream position behind the last byte that counts, be it here or in the pipe.
    pub fn committed(self) -> u64 {
        self.state.written.committed.load(Ordering::Acquire)
    }

    /// Reader, who has `from` bytes of the stream: takes those behind them that count and that nobody has taken. How
    /// many; 0 also if the pipe has to be read first, or what the mapping says cannot be.
    ///
    /// # Errors
    /// Those of [`Assembler::room`].
    pub fn take(self, from: u64, into: &mut Assembler) -> Result<usize, FrameError> {
        let taken = &self.state.taken.position;
        if taken.load(Ordering::Acquire) != from {
            return Ok(0);
        }
        let committed = self.committed();
        let Some(range) = self.range(from, committed).filter(|range| !range.is_empty()) else { return Ok(0) };
        let count = range.len();
        self.copy(range, &mut into.room(count)?[..count]);
        if taken.compare_exchange(from, committed, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Ok(0);
        }
        into.filled(count);
        Ok(count)
    }

    /// Parent, of a dead worker: a copy of the bytes that count behind position `from` of the stream.
    ///
    /// # Errors
    /// [`Scribbled`].
    pub fn unread(self, from: u64) -> Result<Vec<u8>, Scribbled> {
        let committed = self.committed();
        if committed <= from {
            return Ok(Vec::new());
        }
        let range = self.range(from, committed).ok_or(Scribbled)?;
        Ok(Untaken { lane: self, range }.to_vec())
    }

    /// Where the lane has this part of the stream.
    fn range(self, from: u64, to: u64) -> Option<Range<usize>> {
        let base = self.state.written.base.load(Ordering::Acquire);
        let start = usize::try_from(from.checked_sub(base)?).ok()?;
        let end = usize::try_from(to.checked_sub(base)?).ok()?;
        (start <= end && end <= self.len()).then_some(start..end)
    }

    /// Copies a part of the lane, by words where it can: the writer may write there meanwhile.
    fn copy(self, range: Range<usize>, into: &mut [u8]) {
        let bytes = |from: usize, into: &mut [u8]| {
            for (to, byte) in into.iter_mut().zip(&self.bytes()[from..]) {
                *to = byte.load(Ordering::Relaxed);
            }
        };
        let (first, last) = (range.start.next_multiple_of(8), range.end / 8 * 8);
        if first >= last {
            return bytes(range.start, into);
        }
        let (head, rest) = into.split_at_mut(first - range.start);
        let (body, tail) = rest.split_at_mut(last - first);
        bytes(range.start, head);
        for (to, word) in body.as_chunks_mut().0.iter_mut().zip(&self.words[first / 8..last / 8]) {
            *to = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        bytes(last, tail);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::page;
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_counts_and_was_not_read_is_found() {
        let page = page();
        let (lane, mut filled) = (page.results(), Filled::default());
        filled.skip(lane, 1000);
        assert!(filled.put(lane, [b"abc", b"def"]));
        assert_eq!(lane.unread(1002).unwrap(), b"cdef");
        assert_eq!(lane.unread(1006).unwrap(), b"");
        assert_eq!(lane.unread(999), Err(Scribbled), "before the lane's begin");
        lane.state.written.committed.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(lane.unread(1002), Err(Scribbled), "a scribbled lane is no reason to panic");
        assert_eq!(lane.take(1000, &mut Assembler::new()), Ok(0));
        lane.state.taken.position.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(filled.take_for_pipe(lane, |_| {}), Err(Scribbled));
    }

    #[test]
    fn any_part_is_copied_byte_for_byte() {
        let page = page();
        let (lane, bytes) = (page.jobs(), (0..64).collect::<Vec<u8>>());
        assert!(Filled::default().put(lane, [&bytes]));
        for start in 0..32 {
            for end in start..64 {
                let mut copy = vec![99; end - start];
                lane.copy(start..end, &mut copy);
                assert_eq!(copy, bytes[start..end], "{start}..{end}");
            }
        }
    }

    #[test]
    fn one_that_is_emptied_in_time_stays_in_few_pages() {
        let page = page();
        let (lane, mut filled) = (page.results(), Filled::default());
        let mut position = 0;
        for _ in 0..1000 {
            if filled.may_begin_again(lane) {
                filled.begin_again(lane);
            }
            assert!(filled.put(lane, [&[7; 100]]));
            position += lane.take(position, &mut Assembler::new()).unwrap() as u64;
            assert!(filled.used() <= AGAIN + 100);
        }
        assert_eq!(position, 100_000);
    }

    /// A writer who fills and empties the lane at random, and a reader who takes from it and from the pipe.
    #[test]
    fn every_byte_comes_once_and_in_order_whoever_takes_it() {
        const ALL: u64 = 3_000_000;
        let (page, (writer, reader)) = (page(), channel::<Vec<u8>>());
        let lane = page.results();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut filled, mut random) = (Filled::default(), 1u64);
                let to_pipe = |filled: &mut Filled| {
                    filled.take_for_pipe(lane, |left| writer.send(left.to_vec()).unwrap()).unwrap();
                };
                while filled.position < ALL {
                    // Now and then it waits until the reader has it all, so that both of them take some.
                    while random >> 59 == 3
                        && lane.state.taken.position.load(Ordering::Acquire) < filled.position
                    {
                        std::thread::yield_now();
                    }
                    random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    let count = 1 + (random >> 33) % 700;
                    let bytes: Vec<u8> =
                        (filled.position..filled.position + count).map(|at| (at % 251) as u8).collect();
                    if random >> 60 == 0 {
                        to_pipe(&mut filled);
                        writer.send(bytes.clone()).unwrap();
                        filled.skip(lane, bytes.len());
                    } else if !filled.put(lane, [&bytes]) {
                        to_pipe(&mut filled);
                    }
                }
                to_pipe(&mut filled);
            });
            let (mut at, mut taken) = (0u64, 0);
            let check = |at: u64, bytes: &[u8]| {
                assert!(bytes.iter().zip(at..).all(|(byte, at)| *byte == (at % 251) as u8), "at {at}");
                at + bytes.len() as u64
            };
            while at < ALL {
                let mut frames = Assembler::new();
                if let Ok(count @ 1..) = lane.take(at, &mut frames) {
                    at = check(at, frames.waiting_bytes());
                    taken += count;
                }
                while let Ok(bytes) = reader.try_recv() {
                    at = check(at, &bytes);
                }
            }
            assert!(taken > 0, "the reader has taken nothing himself");
        });
    }
}
