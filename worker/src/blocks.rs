//! Large values do not go through pipes and lanes: they lie in blocks of memory that both processes see, and a frame
//! tells where.
//!
//! - The *arguments* of a job lie in the pool's arena, one file for all its workers: the parent writes it, a worker
//!   has it open for reading only. So they are written once, whatever becomes of the worker that runs them first, and
//!   [`Bytes`](crate::Bytes) are read where they lie.
//! - *Results* lie in the worker's own page, behind its lanes, in a ring. The parent copies them out before he
//!   believes anything.
//!
//! What is touched for the first time costs several times as much as what is warm, so blocks are kept for a moment
//! ([`WARM`]) and then given back to the system.

use std::fmt::Debug;
use std::time::Duration;

pub(crate) mod arena;
pub(crate) mod ring;

/// A value that takes more bytes than this is put into a block.
pub const LARGE: usize = 32 << 10;
/// How long memory that nobody uses is kept.
pub const WARM: Duration = Duration::from_secs(1);

/// Where a large value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From the beginning of the arena or of the ring, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

impl Place {
    /// Bytes of it in a frame.
    pub const LEN: usize = 16;

    /// As it stands in a frame.
    pub fn to_bytes(self) -> [u8; Place::LEN] {
        let mut bytes = [0; Place::LEN];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// Reads it from a frame.
    pub fn from_bytes(bytes: [u8; Place::LEN]) -> Place {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        Place { offset: number(0), len: number(8) }
    }
}

/// A piece of shared memory that a value is written into. Dropped, it is given back.
pub trait Block: Debug + Send + Sync {
    /// Appends; if there is no room for all of it, nothing, and `false`.
    fn append(&mut self, bytes: &[u8]) -> bool;
    /// What was appended so far.
    fn written(&self) -> &[u8];
    /// Nothing more is appended: where the other process finds it.
    fn seal(&mut self) -> Place;
}

/// Where blocks come from.
pub trait Blocks: Debug + Sync {
    /// An empty block with room for at least so many bytes; `None` if there is none now.
    fn take(&self, least: usize) -> Option<Box<dyn Block>>;
}

/// What a value is encoded into: memory of this process, and a block instead of that once the value is large.
#[derive(Debug)]
pub struct Buffer<'a> {
    /// Small values, one behind the other.
    pub bytes: &'a mut Vec<u8>,
    pub(crate) large: Large<'a>,
}

/// The one large value, and where it may lie.
#[derive(Debug)]
pub(crate) struct Large<'a> {
    block: Option<Box<dyn Block>>,
    blocks: Option<&'a dyn Blocks>,
}

impl<'a> Buffer<'a> {
    /// Appends to `bytes`; with `blocks` only what is small.
    #[inline]
    pub fn new(bytes: &'a mut Vec<u8>, blocks: Option<&'a dyn Blocks>) -> Buffer<'a> {
        Buffer { bytes, large: Large { block: None, blocks } }
    }

    /// Bytes of the value that begins at `start`.
    #[inline]
    pub fn len(&self, start: usize) -> usize {
        self.large.block.as_ref().map_or(self.bytes.len() - start, |block| block.written().len())
    }

    /// Whether the value that begins at `start` may lie in a block.
    #[inline]
    pub fn is_large(&self, start: usize) -> bool {
        self.large.block.is_some() || self.bytes.len() - start > LARGE
    }

    /// The block that the value is in that begins at `start`, if it is large and there was one.
    pub fn finish(&mut self, start: usize) -> Option<Box<dyn Block>> {
        if self.large.block.is_none() && self.is_large(start) {
            self.large.append(self.bytes, start, &[]);
        }
        self.large.block.take()
    }

    /// Takes everything from `start` on back.
    pub fn truncate(&mut self, start: usize) {
        self.bytes.truncate(start);
        self.large.block = None;
    }
}

impl Large<'_> {
    /// Appends to the value that begins at `start` of `small` and is large by now.
    #[cold]
    #[inline(never)]
    pub(crate) fn append(&mut self, small: &mut Vec<u8>, start: usize, bytes: &[u8]) {
        if self.block.as_mut().is_some_and(|block| block.append(bytes)) {
            return;
        }
        let so_far = self.block.as_ref().map_or(&small[start..], |block| block.written());
        let larger = self.blocks.and_then(|blocks| blocks.take(so_far.len() + bytes.len()));
        let filled =
            larger.and_then(|mut block| (block.append(so_far) && block.append(bytes)).then_some(block));
        if filled.is_some() {
            small.truncate(start);
            self.block = filled;
            return;
        }
        // There is none: it goes the way of small ones.
        self.blocks = None;
        if let Some(block) = self.block.take() {
            small.extend_from_slice(block.written());
        }
        small.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use std::cell::Cell;

    /// Blocks in this process's own memory, of no more than `most` bytes each.
    #[derive(Debug)]
    struct Heap {
        most: usize,
        taken: std::sync::Mutex<Cell<u32>>,
    }

    #[derive(Debug)]
    struct OnHeap(Vec<u8>, usize);

    impl Block for OnHeap {
        fn append(&mut self, bytes: &[u8]) -> bool {
            let fits = self.0.len() + bytes.len() <= self.1;
            if fits {
                self.0.extend_from_slice(bytes);
            }
            fits
        }

        fn written(&self) -> &[u8] {
            &self.0
        }

        fn seal(&mut self) -> Place {
            Place { offset: 0, len: self.0.len() as u64 }
        }
    }

    impl Blocks for Heap {
        fn take(&self, least: usize) -> Option<Box<dyn Block>> {
            let taken = self.taken.lock().unwrap();
            taken.set(taken.get() + 1);
            (least <= self.most)
                .then(|| Box::new(OnHeap(Vec::new(), least.next_power_of_two())) as Box<dyn Block>)
        }
    }

    fn heap(most: usize) -> Heap {
        Heap { most, taken: std::sync::Mutex::default() }
    }

    /// What is in the vector, and what is in the block.
    fn encoded(heap: &Heap, value: &impl serde::Serialize) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut bytes = vec![1, 2, 3];
        let mut buffer = Buffer::new(&mut bytes, Some(heap));
        codec::encode_into(value, &mut buffer).unwrap();
        let block = buffer.finish(3).map(|block| block.written().to_vec());
        assert_eq!(bytes[..3], [1, 2, 3]);
        (bytes[3..].to_vec(), block)
    }

    fn plain(value: &impl serde::Serialize) -> Vec<u8> {
        let mut out = Vec::new();
        codec::encode(value, &mut out).unwrap();
        out
    }

    #[test]
    fn small_values_ask_for_no_block() {
        let heap = heap(1 << 20);
        let value = vec![7u64; LARGE / 8 - 1];
        assert_eq!(encoded(&heap, &value), (plain(&value), None));
        assert_eq!(heap.taken.lock().unwrap().get(), 0);
    }

    #[test]
    fn large_ones_go_into_a_block_that_grows() {
        let heap = heap(1 << 20);
        let value: Vec<u64> = (0..100_000).collect();
        assert_eq!(encoded(&heap, &value), (Vec::new(), Some(plain(&value))));
        let taken = heap.taken.lock().unwrap().get();
        assert!((2..10).contains(&taken), "{taken} blocks");
    }

    #[test]
    fn without_a_block_they_stay() {
        for most in [0, LARGE * 2, LARGE * 8] {
            let value: Vec<u64> = (0..100_000).collect();
            assert_eq!(encoded(&heap(most), &value), (plain(&value), None));
        }
    }

    #[test]
    fn what_fails_leaves_nothing() {
        struct Fails;
        impl serde::Serialize for Fails {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let heap = heap(1 << 20);
        let mut bytes = vec![1, 2, 3];
        let mut buffer = Buffer::new(&mut bytes, Some(&heap));
        assert!(codec::encode_into(&(vec![1u64; LARGE], Fails), &mut buffer).is_err());
        assert!(buffer.finish(3).is_none());
        assert_eq!(bytes, [1, 2, 3]);
    }

    #[test]
    fn a_place_survives_its_frame() {
        let place = Place { offset: 1 << 40 | 5, len: 0x0102_0304_0506_0708 };
        assert_eq!(Place::from_bytes(place.to_bytes()), place);
    }
}
