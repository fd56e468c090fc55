//! Encoded arguments, from the caller's thread to a worker's pipe.

use std::sync::Arc;

use sidestep_worker::wire::push_piece;

use super::scheduler::Payload;

/// The arguments of a lot's items, encoded.
#[derive(Debug)]
pub(crate) enum Args {
    /// One item's.
    One(Box<[u8]>),
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
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each item's piece ends.
    ends: Vec<u32>,
}

impl Batch {
    /// An empty one with room for as much as another has.
    pub(crate) fn like(other: &Batch) -> Batch {
        Batch { bytes: Vec::with_capacity(other.bytes.len()), ends: Vec::with_capacity(other.ends.len()) }
    }

    /// Adds an item: `encode` appends its arguments. On an error the batch is as before.
    pub(crate) fn push<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        if let Err(error) = encode(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let len = (self.bytes.len() - start - 4) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.ends.push(self.bytes.len() as u32);
        Ok(())
    }

    pub(crate) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
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

impl Args {
    /// Bytes that the first `count` items take in a run.
    pub(crate) fn wire_len(&self, count: u32) -> usize {
        match self {
            Args::One(args) => 4 + args.len(),
            Args::Part { batch, from, .. } => batch.start(from + count) - batch.start(*from),
        }
    }

    /// Appends the first `count` items as they go into a run.
    pub(crate) fn write(&self, count: u32, out: &mut Vec<u8>) {
        match self {
            Args::One(args) => push_piece(out, args),
            Args::Part { batch, from, .. } => {
                out.extend_from_slice(&batch.bytes[batch.start(*from)..batch.start(from + count)]);
            }
        }
    }
}

impl Payload for Args {
    fn split_off(&mut self, at: u32) -> Args {
        match self {
            // A lot of one item is cut before it or behind it; what is left of it has no items.
            Args::One(args) if at == 0 => Args::One(std::mem::take(args)),
            Args::One(_) => Args::One(Box::default()),
            Args::Part { batch, from, count } => {
                let rest = Args::Part { batch: batch.clone(), from: *from + at, count: *count - at };
                *count = at;
                rest
            }
        }
    }

    fn part(&mut self, at: u32, count: u32) -> Args {
        match self {
            Args::One(args) => Args::One(std::mem::take(args)),
            Args::Part { batch, from, .. } => Args::Part { batch: batch.clone(), from: *from + at, count },
        }
    }

    fn weight(&self, count: u32) -> usize {
        self.wire_len(count)
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
                .push(|out| {
                    out.extend(vec![item; item as usize]);
                    Ok::<_, ()>(())
                })
                .unwrap();
        }
        assert_eq!(
            batch.push(|out| {
                out.push(1);
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
