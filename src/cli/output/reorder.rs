//! Results in the order of their inputs, in bounded memory.
//!
//! Workers end jobs in any order. What cannot be shown yet is kept in memory up to a limit, and beyond it in two
//! temporary files that have no name: one holds the records, the other at `16 * n` where record `n` is. So a first
//! job that takes an hour costs disk, not memory, however many others end meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes held in memory before records go to disk.
pub(crate) const IN_MEMORY: usize = 64 << 20;
/// What a record in memory costs beside its own bytes, about.
const OVERHEAD: usize = 96;
/// Bytes of an entry in the index file.
const ENTRY: u64 = 16;

/// Takes numbered records in any order and gives them back from 0 upwards, without a gap.
#[derive(Debug)]
pub(crate) struct Reorder {
    next: u64,
    limit: usize,
    held: usize,
    memory: HashMap<u64, Vec<u8>>,
    spill: Option<Spill>,
}

impl Reorder {
    pub(crate) fn new(limit: usize) -> Reorder {
        Reorder { next: 0, limit, held: 0, memory: HashMap::new(), spill: None }
    }

    /// Whether record `number` can be shown at once; then it counts as given back.
    pub(crate) fn pass(&mut self, number: u64) -> bool {
        let passes = number == self.next;
        self.next += u64::from(passes);
        passes
    }

    /// Keeps a record for later.
    pub(crate) fn keep(&mut self, number: u64, record: Vec<u8>) -> io::Result<()> {
        let cost = record.len() + OVERHEAD;
        if self.held + cost <= self.limit {
            self.held += cost;
            self.memory.insert(number, record);
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new()?),
        };
        spill.write(number, &record)
    }

    /// The next record, if it is there.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let record = match self.memory.remove(&self.next) {
            Some(record) => {
                self.held -= record.len() + OVERHEAD;
                Some(record)
            }
            None => match &mut self.spill {
                Some(spill) => spill.take(self.next)?,
                None => None,
            },
        };
        self.next += u64::from(record.is_some());
        Ok(record)
    }
}

/// Records on disk. The files vanish with the process, however it ends.
#[derive(Debug)]
struct Spill {
    records: File,
    index: File,
    end: u64,
    waiting: u64,
}

impl Spill {
    fn new() -> io::Result<Spill> {
        Ok(Spill { records: tempfile::tempfile()?, index: tempfile::tempfile()?, end: 0, waiting: 0 })
    }

    fn write(&mut self, number: u64, record: &[u8]) -> io::Result<()> {
        self.records.write_all_at(record, self.end)?;
        // One more than the length, since all zeros is what a hole in the file reads as.
        let entry = [self.end, record.len() as u64 + 1].map(u64::to_le_bytes).concat();
        self.index.write_all_at(&entry, number * ENTRY)?;
        self.end += record.len() as u64;
        self.waiting += 1;
        Ok(())
    }

    fn take(&mut self, number: u64) -> io::Result<Option<Vec<u8>>> {
        if self.waiting == 0 {
            return Ok(None);
        }
        let Some((start, len)) = self.find(number)? else { return Ok(None) };
        let mut record = vec![0; len];
        self.records.read_exact_at(&mut record, start)?;
        self.waiting -= 1;
        if self.waiting == 0 {
            // All entries are below what comes next, so nothing old can be found in a shorter index.
            self.records.set_len(0)?;
            self.index.set_len(0)?;
            self.end = 0;
        }
        Ok(Some(record))
    }

    fn find(&self, number: u64) -> io::Result<Option<(u64, usize)>> {
        let mut start = [0; 8];
        let mut len = [0; 8];
        match self.index.read_exact_at(&mut len, number * ENTRY + 8) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(len) = u64::from_le_bytes(len).checked_sub(1) else { return Ok(None) };
        self.index.read_exact_at(&mut start, number * ENTRY)?;
        Ok(Some((u64::from_le_bytes(start), len as usize)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds records in the given order; returns what came out, and how much was on disk at most.
    fn run(order: &[u64], limit: usize) -> (Vec<Vec<u8>>, u64) {
        let mut reorder = Reorder::new(limit);
        let mut out = Vec::new();
        let mut on_disk = 0;
        for number in order {
            let record = vec![*number as u8; (*number as usize * 7) % 50];
            match reorder.pass(*number) {
                true => out.push(record),
                false => reorder.keep(*number, record).unwrap(),
            }
            while let Some(record) = reorder.next().unwrap() {
                out.push(record);
            }
            on_disk = on_disk.max(reorder.spill.as_ref().map_or(0, |spill| spill.waiting));
            assert!(reorder.held <= limit);
        }
        assert!(reorder.memory.is_empty() && reorder.held == 0);
        assert!(
            reorder
                .spill
                .is_none_or(|spill| spill.waiting == 0 && spill.records.metadata().unwrap().len() == 0)
        );
        (out, on_disk)
    }

    #[test]
    fn a_slow_first_job_costs_disk_not_memory() {
        let order: Vec<u64> = (1..5000).chain([0]).collect();
        let (out, on_disk) = run(&order, 10_000);
        assert_eq!(out.len(), 5000);
        assert!(on_disk > 4000, "{on_disk}");
        assert_eq!(run(&(0..100).collect::<Vec<_>>(), 0).1, 0);
    }

    proptest! {
        #[test]
        fn any_order_comes_out_in_order(
            order in Just((0..300).collect::<Vec<u64>>()).prop_shuffle(),
            limit in 0usize..20_000,
        ) {
            let (out, _) = run(&order, limit);
            let expected = (0..300u64).map(|n| vec![n as u8; (n as usize * 7) % 50]).collect::<Vec<_>>();
            prop_assert_eq!(out, expected);
        }
    }
}
