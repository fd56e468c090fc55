//! Cuts a stream into blocks that end where a record does (`--pipe`).
//!
//! What is cut is what GNU parallel cuts: as much as fits a block, up to the last end of a record in it. Only a record that
//! is longer than a block differs: it is a block of its own, where GNU parallel makes all blocks after it larger.

use std::fs::File;
use std::io::{self, Read};

use memchr::memmem;

/// Bytes that are asked for at once.
const READ: usize = 64 << 10;

/// Where blocks end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) size: Size,
    /// What a record ends in,
    pub(crate) end: Vec<u8>,
    /// and what the next one begins with. If both are empty, a block may end anywhere.
    pub(crate) begin: Vec<u8>,
}

/// How large a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// As many records as fit, but one at least.
    Bytes(usize),
    /// So many records.
    Records(usize),
}

impl Cut {
    /// What a block ends before or behind: a record's end and the beginning of the next.
    fn mark(&self) -> Vec<u8> {
        [&self.end[..], &self.begin].concat()
    }

    /// Where the first mark may begin: what only begins a record does not end the one before if it is the first.
    fn first(&self) -> usize {
        usize::from(self.end.is_empty())
    }
}

/// A stream that is being cut.
#[derive(Debug)]
pub(crate) struct Blocks<R = File> {
    stream: R,
    cut: Cut,
    mark: Vec<u8>,
    /// What was read; what lies before `start` was given.
    read: Vec<u8>,
    start: usize,
    /// No mark that was not found begins before this, counted from `start`,
    looked: usize,
    /// and so many were found.
    found: usize,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(stream: R, cut: Cut) -> Blocks<R> {
        let (mark, looked) = (cut.mark(), cut.first());
        Blocks { stream, cut, mark, read: Vec::new(), start: 0, looked, found: 0, ended: false }
    }

    /// The next block; `None` at the end. The last one may end without a record's end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(len) = self.find_end() {
                return Ok(Some(self.give(len)));
            }
            if self.ended {
                let rest = self.read.len() - self.start;
                return Ok((rest > 0).then(|| self.give(rest)));
            }
            self.read_on()?;
        }
    }

    /// The length of the next block, if its end was read.
    fn find_end(&mut self) -> Option<usize> {
        let there = &self.read[self.start..];
        let unmarked = |len: usize| (len + 1).saturating_sub(self.mark.len());
        let wanted = match self.cut.size {
            Size::Bytes(size) if there.len() < size => return None,
            Size::Bytes(size) => {
                if self.looked == self.cut.first() {
                    let last = memmem::rfind(&there[..size], &self.mark).map(|at| at + self.cut.end.len());
                    if last.is_some_and(|end| end > 0) {
                        return last;
                    }
                    self.looked = self.looked.max(unmarked(size));
                }
                1
            }
            Size::Records(count) => count,
        };
        while let Some(at) = there.get(self.looked..).and_then(|rest| memmem::find(rest, &self.mark)) {
            let end = self.looked + at + self.cut.end.len();
            self.found += 1;
            if self.found >= wanted {
                return Some(end);
            }
            self.looked = end + self.cut.first();
        }
        self.looked = self.looked.max(unmarked(there.len()));
        None
    }

    fn give(&mut self, len: usize) -> Vec<u8> {
        let block = self.read[self.start..self.start + len].to_vec();
        (self.start, self.looked, self.found) = (self.start + len, self.cut.first(), 0);
        block
    }

    fn read_on(&mut self) -> io::Result<()> {
        self.read.drain(..self.start);
        self.start = 0;
        let len = self.read.len();
        self.read.resize(len + READ, 0);
        let more = loop {
            match self.stream.read(&mut self.read[len..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                more => break more,
            }
        };
        self.read.truncate(len + *more.as_ref().unwrap_or(&0));
        self.ended = more? == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(size: Size, end: &[u8], begin: &[u8]) -> Cut {
        Cut { size, end: end.to_vec(), begin: begin.to_vec() }
    }

    fn blocks(text: &[u8], cut: Cut) -> Vec<String> {
        let mut blocks = Blocks::new(text, cut);
        std::iter::from_fn(|| blocks.next().unwrap()).map(|block| String::from_utf8(block).unwrap()).collect()
    }

    #[test]
    fn blocks_end_where_records_do() {
        let bytes = |size, end: &str, text: &str| {
            blocks(text.as_bytes(), cut(Size::Bytes(size), end.as_bytes(), b""))
        };
        assert!(bytes(3, "\n", "").is_empty());
        assert_eq!(bytes(4, "\n", "a\nb\nc\nd"), ["a\nb\n", "c\nd"]);
        assert_eq!(bytes(3, ";", "a;b;c;d"), ["a;", "b;", "c;", "d"]);
        assert_eq!(bytes(5, "END", "aENDbENDcENDd"), ["aEND", "bEND", "cEND", "d"]);
        assert_eq!(bytes(3, "", "abcdefgh"), ["abc", "def", "gh"]);
        assert_eq!(bytes(9, "\n", "a\nb"), ["a\nb"]);
    }

    #[test]
    fn a_record_that_is_longer_than_a_block_is_whole() {
        let long = "x".repeat(3 * READ);
        let text = format!("a\n{long}\nb\nc\n{long}");
        let found = blocks(text.as_bytes(), cut(Size::Bytes(4), b"\n", b""));
        assert_eq!(found, ["a\n", &format!("{long}\n"), "b\nc\n", &long]);
    }

    #[test]
    fn records_are_counted() {
        let records = |count, end: &str, begin: &str, text: &str| {
            blocks(text.as_bytes(), cut(Size::Records(count), end.as_bytes(), begin.as_bytes()))
        };
        assert_eq!(records(2, "\n", "", "a\nb\n\nd\ne"), ["a\nb\n", "\nd\n", "e"]);
        assert_eq!(records(1, "aa", "", "aaaaa"), ["aa", "aa", "a"]);
        assert_eq!(records(2, "", ">", ">a\n>b\n>c"), [">a\n>b\n", ">c"]);
        assert_eq!(records(1, "\n", ">", ">a\nx\n>b"), [">a\nx\n", ">b"]);
        assert_eq!(records(3, "", "", "abcdefg"), ["abc", "def", "g"]);
    }

    #[test]
    fn a_record_may_be_known_by_its_beginning() {
        let found = blocks(b">a\nx\n>b\ny\n>c\n", cut(Size::Bytes(8), b"", b">"));
        assert_eq!(found, [">a\nx\n", ">b\ny\n", ">c\n"]);
    }

    /// A stream that gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(into.len());
            self.0.read(&mut into[..len])
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_comes(
            text in "[ab;]{0,40}", end in "[ab;]{0,2}", begin in "[a;]{0,2}", size in 1usize..9, by in 1usize..7,
            counted: bool,
        ) {
            let size = if counted { Size::Records(size) } else { Size::Bytes(size) };
            let at_once = blocks(text.as_bytes(), cut(size, end.as_bytes(), begin.as_bytes()));
            prop_assert_eq!(at_once.concat(), text.clone());
            let mut slow = Blocks::new(Slow(text.as_bytes(), by), cut(size, end.as_bytes(), begin.as_bytes()));
            let slowly: Vec<_> = std::iter::from_fn(|| slow.next().unwrap()).collect();
            prop_assert_eq!(slowly, at_once.iter().map(|block| block.as_bytes().to_vec()).collect::<Vec<_>>());
            prop_assert!(at_once.iter().all(|block| !block.is_empty()));
            let mut at = 0;
            for block in &at_once[..at_once.len().saturating_sub(1)] {
                at += block.len();
                prop_assert!(text[..at].ends_with(&end) && text[at..].starts_with(&begin));
            }
        }
    }
}
