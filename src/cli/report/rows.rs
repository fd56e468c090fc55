//! What is told of single jobs: of the slowest and of those that failed with what they wrote last, of as many others as
//! fit what they were about.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use serde::Serialize;

use super::timeline::Record;
use crate::cli::event::{Ended, Status};

/// So many of the slowest jobs.
const SLOWEST: usize = 200;
/// So many of those that failed first, and so many of the last.
const FAILED: usize = 500;
/// Bytes of a job's output, of its end.
const TAIL: usize = 2048;
/// Bytes of an input or a command, of its begin,
const TEXT: usize = 1024;
/// and of those that stand for a job of which nothing else is told.
const NAME: usize = 120;
/// Bytes of all of these.
const NAMES: usize = 1 << 20;

/// A text of which the begin or the end may be left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Part {
    text: String,
    /// Bytes that are left out.
    #[serde(skip_serializing_if = "is_none")]
    cut: usize,
}

fn is_none(number: &usize) -> bool {
    *number == 0
}

impl Part {
    fn head(bytes: &[u8], most: usize) -> Part {
        let mut end = bytes.len().min(most);
        while end < bytes.len() && end > 0 && is_inside(bytes[end]) {
            end -= 1;
        }
        Part { text: String::from_utf8_lossy(&bytes[..end]).into_owned(), cut: bytes.len() - end }
    }

    fn tail(bytes: &[u8], most: usize) -> Part {
        let mut start = bytes.len().saturating_sub(most);
        while start > 0 && start < bytes.len() && is_inside(bytes[start]) {
            start += 1;
        }
        Part { text: String::from_utf8_lossy(&bytes[start..]).into_owned(), cut: start }
    }
}

/// Whether a byte continues a character.
fn is_inside(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// An attempt with its texts. Times are microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    number: u64,
    kind: u8,
    /// Its exit code or signal.
    code: Option<i32>,
    began: i64,
    took: u64,
    slot: Option<usize>,
    attempt: u32,
    again: bool,
    pid: Option<u32>,
    cpu: Option<u64>,
    max_rss: Option<u64>,
    input: Part,
    command: Part,
    error: Option<Part>,
    stdout: Part,
    stderr: Part,
}

impl Row {
    fn new(job: &Ended<'_>, record: &Record) -> Row {
        let code = match job.status {
            Status::Failed { code } => Some(code),
            Status::Killed { signal } => Some(signal),
            Status::Crashed { signal } => signal,
            Status::Ok | Status::TimedOut | Status::Ended | Status::Refused => None,
        };
        Row {
            number: record.number,
            kind: record.kind,
            code,
            began: record.began,
            took: record.took,
            slot: record.slot,
            attempt: job.attempt,
            again: record.again,
            pid: job.pid,
            cpu: job.usage.map(|usage| super::micros(usage.user + usage.system)),
            max_rss: job.usage.map(|usage| usage.max_rss),
            input: Part::head(&job.input.text(), TEXT),
            command: Part::head(job.command, TEXT),
            error: job.error.map(|error| Part::head(error.as_bytes(), TAIL)),
            stdout: Part::tail(job.stdout, TAIL),
            stderr: Part::tail(job.stderr, TAIL),
        }
    }
}

/// Ordered by how long it took; of two that took as long the earlier one counts for more.
#[derive(Debug)]
struct Slow(Row);

impl Slow {
    fn key(&self) -> (u64, Reverse<u64>) {
        (self.0.took, Reverse(self.0.number))
    }
}

impl Ord for Slow {
    fn cmp(&self, other: &Slow) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Slow {
    fn partial_cmp(&self, other: &Slow) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Slow {
    fn eq(&self, other: &Slow) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Slow {}

/// The jobs of which more is told than when they ran.
#[derive(Debug, Default)]
pub(super) struct Rows {
    slowest: BinaryHeap<Reverse<Slow>>,
    first_failed: Vec<Row>,
    last_failed: VecDeque<Row>,
    failed: u64,
    names: Vec<(u64, String)>,
    name_bytes: usize,
}

/// As the page gets them.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    slowest: Vec<&'a Row>,
    failed: Vec<&'a Row>,
    /// Failed attempts, also those of which no more is told.
    all_failed: u64,
    names: &'a [(u64, String)],
}

impl Rows {
    pub(super) fn add(&mut self, job: &Ended<'_>, record: &Record) {
        if job.status != Status::Ok {
            self.add_failed(Row::new(job, record));
        }
        let least = self.slowest.peek().map_or(0, |Reverse(slow)| slow.0.took);
        if self.slowest.len() < SLOWEST || record.took > least {
            self.slowest.push(Reverse(Slow(Row::new(job, record))));
            if self.slowest.len() > SLOWEST {
                self.slowest.pop();
            }
        }
        if self.name_bytes < NAMES && !job.again && !job.input.values.is_empty() {
            let name = Part::head(&job.input.text(), NAME);
            let text = if name.cut > 0 { name.text + "…" } else { name.text };
            // Beside the text there is its number.
            self.name_bytes += text.len() + 12;
            self.names.push((record.number, text));
        }
    }

    fn add_failed(&mut self, row: Row) {
        self.failed += 1;
        if self.first_failed.len() < FAILED {
            self.first_failed.push(row);
            return;
        }
        if self.last_failed.len() == FAILED {
            self.last_failed.pop_front();
        }
        self.last_failed.push_back(row);
    }

    /// What the page is told.
    pub(super) fn told(&self) -> Told<'_> {
        let mut slowest: Vec<_> = self.slowest.iter().map(|Reverse(slow)| slow).collect();
        slowest.sort_unstable_by(|a, b| b.cmp(a));
        Told {
            slowest: slowest.into_iter().map(|slow| &slow.0).collect(),
            failed: self.first_failed.iter().chain(&self.last_failed).collect(),
            all_failed: self.failed,
            names: &self.names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::tests::Job;

    fn rows(jobs: impl IntoIterator<Item = Job>) -> Rows {
        let mut rows = Rows::default();
        for job in jobs {
            job.tell(|ended| rows.add(ended, &Record::new(ended, 0)));
        }
        rows
    }

    #[test]
    fn a_part_is_cut_between_characters() {
        let text = "ä€x";
        let parts = |most| (Part::head(text.as_bytes(), most), Part::tail(text.as_bytes(), most));
        for (most, head, tail) in
            [(6, "ä€x", "ä€x"), (5, "ä€", "€x"), (4, "ä", "€x"), (3, "ä", "x"), (0, "", "")]
        {
            let (first, last) = parts(most);
            assert_eq!((first.text.as_str(), last.text.as_str()), (head, tail), "{most}");
            assert_eq!((first.cut, last.cut), (6 - head.len(), 6 - tail.len()), "{most}");
        }
        assert_eq!(Part::head(b"a\xffb", 9).text, "a\u{fffd}b");
        assert_eq!(Part::tail(&[0x80; 9], 4).text, "");
    }

    #[test]
    fn the_slowest_jobs_are_told_of_slowest_first() {
        let rows = rows((0..1000).map(|number| Job::ok(number, 1000 + number * 7919 % 1000)));
        let took: Vec<_> = rows.told().slowest.iter().map(|row| row.took).collect();
        assert_eq!(took, (1800..2000).rev().collect::<Vec<_>>());
    }

    #[test]
    fn of_many_failures_the_first_and_the_last_are_told() {
        let rows = rows((0..5000).map(|number| Job::failed(number, 1)));
        let told = rows.told();
        let numbers: Vec<_> = told.failed.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (0..500).chain(4500..5000).collect::<Vec<_>>());
        assert_eq!(told.all_failed, 5000);
    }

    #[test]
    fn names_and_tails_are_bounded() {
        let long =
            |number| Job { input: vec![b'x'; 10_000], stderr: vec![b'y'; 100_000], ..Job::failed(number, 1) };
        let rows = rows((0..20_000).map(long));
        let told = rows.told();
        assert!(told.names.len() > 5000);
        assert!(serde_json::to_vec(&told.names).unwrap().len() < 2 * NAMES);
        assert!(serde_json::to_vec(&told).unwrap().len() < 6 << 20);
        assert_eq!(told.failed[0].stderr.cut, 100_000 - TAIL);
    }
}
