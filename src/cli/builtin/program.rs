//! What `exec` and `sh` take and give.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sidestep_worker::Bytes;

use super::Text;

/// A program to be run, for one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// The program and its arguments; for `sh` the line.
    pub(crate) words: Vec<Word>,
    /// The number of the job, from 1.
    pub(crate) number: u64,
    /// What it reads; without it, nothing.
    pub(crate) stdin: Option<Bytes>,
    pub(crate) outputs: Outputs,
}

/// What becomes of what a program writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outputs {
    /// It is a part of the result.
    #[default]
    Kept,
    /// It is sent while the program runs, and kept as well if that is wanted.
    Sent { kept: bool },
    /// The program has the outputs of its worker.
    Own,
}

/// A word of a command. The number of the worker that runs it goes between its pieces: only that worker knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Word(Vec<Bytes>);

impl From<Vec<u8>> for Word {
    fn from(text: Vec<u8>) -> Word {
        Word(vec![text.into()])
    }
}

impl Word {
    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Vec<u8>) {
        self.0.push(piece.into());
    }

    /// Adds to the last piece.
    pub(crate) fn extend(&mut self, text: &[u8]) {
        match self.0.pop() {
            Some(last) => self.push([&last[..], text].concat()),
            None => self.push(text.to_vec()),
        }
    }

    /// The text for the worker with that number.
    pub(crate) fn text(&self, slot: u32) -> Vec<u8> {
        self.with(slot.to_string().as_bytes())
    }

    /// The text with something else in the number's place.
    pub(crate) fn with(&self, number: &[u8]) -> Vec<u8> {
        let pieces: Vec<&[u8]> = self.0.iter().map(|piece| &piece[..]).collect();
        pieces.join(number)
    }
}

/// A program that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Its exit code; `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    /// The signal that killed it.
    pub(crate) signal: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) stdout: Text,
    /// What it wrote to standard error.
    pub(crate) stderr: Text,
    /// When it began, since 1970.
    #[serde(with = "seconds")]
    pub(crate) began: Duration,
    #[serde(with = "seconds")]
    pub(crate) took: Duration,
    /// Processor time in its own code,
    #[serde(with = "seconds")]
    pub(crate) user: Duration,
    /// and in the system's.
    #[serde(with = "seconds")]
    pub(crate) system: Duration,
    /// The most memory that it had at a time, in bytes. Linux counts in what its worker had when it began.
    pub(crate) max_rss: u64,
    /// Its worker's number, from 1,
    pub(crate) slot: u32,
    /// and process.
    pub(crate) pid: u32,
}

/// A length of time: for people, seconds.
mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_f64(time.as_secs_f64()),
            false => time.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        match deserializer.is_human_readable() {
            true => Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom),
            false => Duration::deserialize(deserializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidestep_worker::codec;

    #[test]
    fn times_travel_exactly_and_read_as_seconds() {
        let took = Duration::new(1, 250_000_001);
        let finished = Finished { took, ..Finished::default() };
        let mut out = Vec::new();
        codec::encode(&finished, &mut out).unwrap();
        assert_eq!(codec::decode::<Finished>(&out).unwrap(), finished);
        let json = serde_json::to_string(&finished).unwrap();
        assert!(json.contains("\"took\":1.250000001,"), "{json}");
        assert_eq!(serde_json::from_str::<Finished>(&json).unwrap(), finished);
    }
}
