//! When each job ran, where, and how it ended: about eight bytes each.
//!
//! An attempt is four numbers, as differences from the one before and with seven bits a byte. Jobs are told of as they
//! end, so that the ends of two that follow each other differ by little. The page decodes the same bytes.
//!
//! More than a browser likes to open are *thinned*: every second one is left out, as often as needed.

use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use tempfile::{SpooledTempFile, spooled_tempfile};

use crate::cli::event::{Ended, Status};

/// So many attempts are kept at most, about 16 MB of page.
const MOST: u64 = 1_500_000;
/// Bytes held in memory before they go to a temporary file.
const IN_MEMORY: usize = 1 << 20;
/// In a record's key: it was tried again.
const AGAIN: u64 = 8;

/// An attempt, in microseconds from the run's begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) began: i64,
    pub(super) took: u64,
    pub(super) slot: Option<usize>,
    /// [`kind`]
    pub(super) kind: u8,
    pub(super) again: bool,
}

/// A number for how a job has ended, as the page has it.
fn kind(status: Status) -> u8 {
    match status {
        Status::Ok => 0,
        Status::Failed { .. } => 1,
        Status::Killed { .. } => 2,
        Status::Crashed { .. } => 3,
        Status::TimedOut => 4,
        Status::Ended => 5,
        Status::Refused => 6,
    }
}

impl Record {
    pub(super) fn new(job: &Ended<'_>, began: i64) -> Record {
        Record {
            number: job.input.number,
            began,
            took: super::micros(job.took),
            slot: job.slot,
            kind: kind(job.status),
            again: job.again,
        }
    }

    pub(super) fn end(&self) -> i64 {
        self.began.saturating_add_unsigned(self.took)
    }
}

/// What differences are taken from.
#[derive(Debug, Default, Clone, Copy)]
struct Last {
    number: i64,
    end: i64,
}

impl Last {
    fn write(&mut self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        let slot = record.slot.map_or(0, |slot| slot as u64 + 1);
        let again = if record.again { AGAIN } else { 0 };
        let (number, end) = (record.number as i64, record.end());
        let numbers = [
            slot << 4 | again | u64::from(record.kind),
            zigzag(number.wrapping_sub(self.number)),
            zigzag(end.wrapping_sub(self.end)),
            record.took,
        ];
        *self = Last { number, end };
        numbers.into_iter().try_for_each(|number| write_number(number, out))
    }

    fn read(&mut self, bytes: &mut impl Read) -> io::Result<Record> {
        let key = read_number(bytes)?;
        self.number = self.number.wrapping_add(unzigzag(read_number(bytes)?));
        self.end = self.end.wrapping_add(unzigzag(read_number(bytes)?));
        let took = read_number(bytes)?;
        Ok(Record {
            number: self.number as u64,
            began: self.end.wrapping_sub(took as i64),
            took,
            slot: (key >> 4).checked_sub(1).map(|slot| slot as usize),
            kind: (key & (AGAIN - 1)) as u8,
            again: key & AGAIN != 0,
        })
    }
}

/// Small numbers of either sign are small ones without.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn write_number(mut number: u64, out: &mut impl Write) -> io::Result<()> {
    let mut bytes = [0; 10];
    let mut len = 0;
    while number >= 128 {
        bytes[len] = number as u8 | 128;
        number >>= 7;
        len += 1;
    }
    bytes[len] = number as u8;
    out.write_all(&bytes[..=len])
}

fn read_number(bytes: &mut impl Read) -> io::Result<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        bytes.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 127).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte[0] < 128 {
            return Ok(number);
        }
    }
}

/// All attempts of a run, or one in so many.
#[derive(Debug)]
pub(super) struct Timeline {
    bytes: BufWriter<SpooledTempFile>,
    last: Last,
    /// Attempts there have been,
    seen: u64,
    /// and how many are kept,
    kept: u64,
    /// which is one in so many.
    step: u64,
    most: u64,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline::with_most(MOST)
    }
}

impl Timeline {
    pub(super) fn with_most(most: u64) -> Timeline {
        let bytes = BufWriter::new(spooled_tempfile(IN_MEMORY));
        Timeline { bytes, last: Last::default(), seen: 0, kept: 0, step: 1, most }
    }

    pub(super) fn step(&self) -> u64 {
        self.step
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Adds an attempt that has ended.
    pub(super) fn add(&mut self, record: Record) -> io::Result<()> {
        if self.kept == self.most {
            self.thin()?;
        }
        if self.seen.is_multiple_of(self.step) {
            self.last.write(&record, &mut self.bytes)?;
            self.kept += 1;
        }
        self.seen += 1;
        Ok(())
    }

    fn thin(&mut self) -> io::Result<()> {
        let mut thinner = Timeline::with_most(self.most);
        let (mut last, count) = (Last::default(), self.kept);
        let mut bytes = self.read()?;
        for at in 0..count {
            let record = last.read(&mut bytes)?;
            if at % 2 == 0 {
                thinner.last.write(&record, &mut thinner.bytes)?;
                thinner.kept += 1;
            }
        }
        drop(bytes);
        (thinner.seen, thinner.step) = (self.seen, self.step * 2);
        *self = thinner;
        Ok(())
    }

    /// All of its bytes, from the first one.
    pub(super) fn read(&mut self) -> io::Result<impl Read> {
        self.bytes.flush()?;
        let file = self.bytes.get_mut();
        file.rewind()?;
        Ok(BufReader::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(timeline: &mut Timeline) -> Vec<Record> {
        let (mut last, kept) = (Last::default(), timeline.kept());
        let mut bytes = timeline.read().unwrap();
        let records = (0..kept).map(|_| last.read(&mut bytes).unwrap()).collect();
        assert!(last.read(&mut bytes).is_err(), "there is more than was written");
        records
    }

    fn ok(number: u64, began: i64, took: u64) -> Record {
        Record { number, began, took, slot: Some(number as usize % 8), kind: 0, again: false }
    }

    #[test]
    fn a_million_jobs_are_less_than_nine_megabytes() {
        let mut timeline = Timeline::default();
        for number in 0..1_000_000 {
            // Eight workers, a millisecond each, which end in any order.
            timeline.add(ok(number ^ 5, number as i64 * 125 + (number * 7919 % 300) as i64, 900)).unwrap();
        }
        let mut bytes = Vec::new();
        timeline.read().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!((timeline.step(), timeline.kept()), (1, 1_000_000));
        assert!(bytes.len() < 9_000_000, "{}", bytes.len());
    }

    #[test]
    fn too_many_jobs_are_thinned_evenly() {
        let mut timeline = Timeline::with_most(100);
        for number in 0..1000 {
            timeline.add(ok(number, number as i64, 1)).unwrap();
        }
        let numbers: Vec<_> = records(&mut timeline).iter().map(|record| record.number).collect();
        assert_eq!(timeline.step(), 16);
        assert_eq!(numbers, (0..1000).step_by(16).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(jobs in proptest::collection::vec(
            (any::<u32>(), -1i64 << 50..1 << 50, 0u64..1 << 50, proptest::option::of(0usize..70_000), 0u8..7,
                any::<bool>()),
            0..50,
        )) {
            let jobs: Vec<_> = jobs
                .into_iter()
                .map(|(number, began, took, slot, kind, again)| {
                    Record { number: number.into(), began, took, slot, kind, again }
                })
                .collect();
            let mut timeline = Timeline::default();
            jobs.iter().for_each(|job| timeline.add(*job).unwrap());
            prop_assert_eq!(records(&mut timeline), jobs);
        }
    }
}
