//! Reading a log back, line by line, however long it is.

use std::io::{self, BufRead};

use super::done::End;
use super::{Format, json, tsv};

/// What a line says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// From 1.
    pub(super) seq: u64,
    pub(super) end: End,
    /// What the job is known by.
    pub(super) check: u64,
    pub(super) command: Vec<u8>,
}

/// Why it is no log.
#[derive(Debug)]
pub(super) enum Unread {
    Io(io::Error),
    /// A line is something else.
    Line(u64, Vec<u8>),
}

impl From<io::Error> for Unread {
    fn from(cause: io::Error) -> Unread {
        Unread::Io(cause)
    }
}

/// Reads all lines, with their numbers from 1. Returns how many bytes of the file they are: what comes behind them is a
/// line that was not written to its end.
pub(super) fn read(
    mut file: impl BufRead,
    format: Format,
    mut each: impl FnMut(u64, Entry),
) -> Result<u64, Unread> {
    let (mut whole, mut line) = (0, Vec::new());
    for number in 1.. {
        line.clear();
        let len = file.read_until(b'\n', &mut line)? as u64;
        if line.pop_if(|last| *last == b'\n').is_none() {
            // Nothing that is not ours may be cut off, so a first line has to look like one.
            return match whole == 0 && !may_begin(format, &line) {
                true => Err(Unread::Line(number, line)),
                false => Ok(whole),
            };
        }
        whole += len;
        match parse(format, number, &line) {
            Some(Some(entry)) => each(number, entry),
            Some(None) => {}
            None => return Err(Unread::Line(number, line)),
        }
    }
    Ok(whole)
}

/// What a line says: nothing, if it is the header.
fn parse(format: Format, number: u64, line: &[u8]) -> Option<Option<Entry>> {
    match format {
        Format::Tsv if number == 1 && tsv::HEADER.strip_suffix(b"\n") == Some(line) => Some(None),
        Format::Tsv => tsv::parse(line).map(Some),
        Format::Json => json::parse(line).map(Some),
    }
}

fn may_begin(format: Format, torn: &[u8]) -> bool {
    match format {
        _ if torn.is_empty() => true,
        Format::Tsv => tsv::may_begin(torn),
        Format::Json => json::may_begin(torn),
    }
}
