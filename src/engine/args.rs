//! Encoded arguments, from the caller's thread to a worker's pipe.

use std::ops::Range;
use std::sync::Arc;

use sidestep_worker::blocks::{Block, Blocks, Buffer, Place};
use sidestep_worker::shared::Ticket;
use sidestep_worker::wire::{PLACED_PIECE, RunHeader, push_piece, push_place};

use super::scheduler::{self, Payload};

/// The arguments of a lot's items, encoded.
#[derive(Debug)]
pub(crate) enum Args {
    /// One item's.
    One(Box<[u8]>),
    /// One item's that lie in a block. Few do, so they do not make all others longer.
    Placed(Box<Placed>),
    /// Some of a batch's.
    Part {
        /// The batch, shared by all lots that were cut from it.
        batch: Arc<Batch>,
        /// The first item's place in it.
        from: u32,
        /// How many items.
        count: u32,
    },
}

/// The arguments of many items, as they go into a run: each with its length before it.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each item's piece ends.
    ends: Vec<u32>,
    /// The shared values that they name.
    tickets: Vec<Arc<dyn Ticket>>,
    /// What does not lie in `bytes`, in the order of the items.
    placed: Vec<Placed>,
    /// Bytes of all of that.
    placed_bytes: usize,
}

/// An item's arguments, which lie in a block.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Its place in the batch.
    item: u32,
    place: Place,
    /// Given back with the arguments.
    _block: Box<dyn Block>,
}

impl Batch {
    /// An empty one with room for as much as another has.
    pub(crate) fn like(other: &Batch) -> Batch {
        let (bytes, ends) = (Vec::with_capacity(other.bytes.len()), Vec::with_capacity(other.ends.len()));
        Batch { bytes, ends, ..Batch::default() }
    }

    /// Adds an item: `encode` appends its arguments. On an error the batch is as before.
    // Part of the loop over items, which is too long for the compiler to see that by itself.
    #[inline(always)]
    pub(crate) fn push<E>(
        &mut self,
        blocks: Option<&dyn Blocks>,
        encode: impl FnOnce(&mut Buffer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let body = start + RunHeader::PIECE;
        self.bytes.extend_from_slice(&[0; RunHeader::PIECE]);
        let mut buffer = Buffer::new(&mut self.bytes, blocks);
        if let Err(error) = encode(&mut buffer) {
            buffer.truncate(start);
            return Err(error);
        }
        let block = if buffer.is_large(body) { buffer.finish(body) } else { None };
        match block {
            None => {
                let len = (self.bytes.len() - body) as u32;
                self.bytes[start..body].copy_from_slice(&len.to_le_bytes());
            }
            Some(block) => self.place(start, block),
        }
        self.ends.push(self.bytes.len() as u32);
        Ok(())
    }

    /// So many single jobs may wait together.
    pub(crate) const SINGLES: usize = scheduler::SINGLES as usize;

    /// The first of several single jobs, most of which have as many arguments as it.
    pub(crate) fn of_singles(bytes: &[u8]) -> Batch {
        let piece = RunHeader::PIECE + bytes.len();
        let mut batch = Batch {
            bytes: Vec::with_capacity(Batch::SINGLES * piece),
            ends: Vec::with_capacity(Batch::SINGLES),
            ..Batch::default()
        };
        batch.append(bytes);
        batch
    }

    fn append(&mut self, bytes: &[u8]) {
        push_piece(&mut self.bytes, bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Takes back what an item has left that did not come to its end.
    pub(crate) fn truncate(&mut self) {
        self.bytes.truncate(self.start(self.len()));
    }

    #[cold]
    fn place(&mut self, start: usize, mut block: Box<dyn Block>) {
        self.bytes.truncate(start);
        let place = block.seal();
        push_place(&mut self.bytes, place);
        self.placed.push(Placed { item: self.len(), place, _block: block });
        self.placed_bytes += place.len as usize;
    }

    /// Bytes in blocks of the items in a range.
    fn placed(&self, items: Range<u32>) -> usize {
        self.placed
            .iter()
            .filter(|placed| items.contains(&placed.item))
            .map(|placed| placed.place.len as usize)
            .sum()
    }

    /// Notes what the items name of the values that are shared.
    pub(crate) fn name(&mut self, tickets: Vec<Arc<dyn Ticket>>) {
        for ticket in tickets {
            if !self.tickets.iter().any(|other| Arc::ptr_eq(other, &ticket)) {
                self.tickets.push(ticket);
            }
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.placed_bytes
    }

    fn start(&self, item: u32) -> usize {
        match item.checked_sub(1) {
            Some(before) => self.ends[before as usize] as usize,
            None => 0,
        }
    }

    pub(crate) fn into_args(self) -> Args {
        let count = self.len();
        Args::Part { batch: Arc::new(self), from: 0, count }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("items", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Args {
    /// One item's, as they were encoded; `block` instead of `bytes` if there is one.
    pub(crate) fn one(bytes: &[u8], block: Option<Box<dyn Block>>, tickets: Vec<Arc<dyn Ticket>>) -> Args {
        if !tickets.is_empty() {
            return Args::naming(bytes, block, tickets);
        }
        match block {
            None => Args::One(bytes.into()),
            Some(mut block) => {
                let place = block.seal();
                Args::Placed(Box::new(Placed { item: 0, place, _block: block }))
            }
        }
    }

    #[cold]
    fn naming(bytes: &[u8], block: Option<Box<dyn Block>>, tickets: Vec<Arc<dyn Ticket>>) -> Args {
        let mut batch = Batch { tickets, ..Batch::default() };
        match block {
            None => batch.append(bytes),
            Some(block) => {
                batch.place(0, block);
                batch.ends.push(batch.bytes.len() as u32);
            }
        }
        batch.into_args()
    }

    /// What the arguments of one item [weigh](Payload::weight).
    pub(crate) fn weight_of(bytes: &[u8], block: Option<&dyn Block>) -> usize {
        match block {
            None => RunHeader::PIECE + bytes.len(),
            Some(block) => PLACED_PIECE + block.written().len(),
        }
    }

    /// Adds one more item's, if nobody else has these.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        let Args::Part { batch, from: 0, count } = self else { return false };
        let Some(batch) = Arc::get_mut(batch).filter(|batch| batch.len() == *count) else { return false };
        batch.append(bytes);
        *count += 1;
        true
    }

    /// The shared values that they name.
    pub(crate) fn tickets(&self) -> &[Arc<dyn Ticket>] {
        match self {
            Args::One(_) | Args::Placed(_) => &[],
            Args::Part { batch, .. } => &batch.tickets,
        }
    }

    /// Bytes that the first `count` items take in a run.
    pub(crate) fn wire_len(&self, count: u32) -> usize {
        match self {
            Args::One(args) => RunHeader::PIECE + args.len(),
            Args::Placed(_) => PLACED_PIECE,
            Args::Part { batch, from, .. } => batch.start(from + count) - batch.start(*from),
        }
    }

    fn take(&mut self) -> Args {
        std::mem::replace(self, Args::One(Box::default()))
    }

    /// Appends the first `count` items as they go into a run.
    pub(crate) fn write(&self, count: u32, out: &mut Vec<u8>) {
        match self {
            Args::One(args) => push_piece(out, args),
            Args::Placed(placed) => push_place(out, placed.place),
            Args::Part { batch, from, .. } => {
                out.extend_from_slice(&batch.bytes[batch.start(*from)..batch.start(from + count)]);
            }
        }
    }
}

const _: () = assert!(size_of::<Args>() <= 24, "each job that waits has one");

impl Payload for Args {
    fn split_off(&mut self, at: u32) -> Args {
        match self {
            // A lot of one item is cut before it or behind it; what is left of it has no items.
            Args::One(_) | Args::Placed(_) if at == 0 => self.take(),
            Args::One(_) | Args::Placed(_) => Args::One(Box::default()),
            Args::Part { batch, from, count } => {
                let rest = Args::Part { batch: batch.clone(), from: *from + at, count: *count - at };
                *count = at;
                rest
            }
        }
    }

    fn part(&mut self, at: u32, count: u32) -> Args {
        match self {
            Args::One(_) | Args::Placed(_) => self.take(),
            Args::Part { batch, from, .. } => Args::Part { batch: batch.clone(), from: *from + at, count },
        }
    }

    fn weight(&self, count: u32) -> usize {
        let placed = match self {
            Args::One(_) => 0,
            Args::Placed(placed) => placed.place.len as usize,
            Args::Part { batch, .. } if batch.placed.is_empty() => 0,
            Args::Part { batch, from, .. } => batch.placed(*from..*from + count),
        };
        self.wire_len(count) + placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_writes_its_own_items() {
        let mut batch = Batch::default();
        for item in 0..10u8 {
            batch
                .push(None, |out| {
                    out.bytes.extend(vec![item; item as usize]);
                    Ok::<_, ()>(())
                })
                .unwrap();
        }
        assert_eq!(
            batch.push(None, |out| {
                out.bytes.push(1);
                Err("no")
            }),
            Err("no")
        );
        assert_eq!(batch.len(), 10);
        let mut front = batch.into_args();
        let mut back = front.split_off(3);
        let tail = back.split_off(2);
        let pieces = |args: &Args, count| {
            let mut out = Vec::new();
            args.write(count, &mut out);
            assert_eq!(out.len(), args.weight(count));
            let mut rest = out.as_slice();
            std::iter::from_fn(|| sidestep_worker::wire::take_piece(&mut rest).map(<[u8]>::len))
                .collect::<Vec<_>>()
        };
        assert_eq!(pieces(&front, 3), [0, 1, 2]);
        assert_eq!(pieces(&back, 2), [3, 4]);
        assert_eq!(pieces(&tail, 1), [5]);
    }

    #[test]
    fn one_item_can_be_taken_back_whole() {
        let mut one = Args::One(vec![7; 5].into());
        let back = one.split_off(0);
        assert_eq!(back.weight(1), 9);
    }
}
