//! The bodies of frames.
//!
//! A run's body is laid out by hand, because it is the hot path and its arguments must not be copied:
//!
//! ```text
//!   run u32 | job u32 | items u32 | attempt u32 | first id u64 | encoding u8 | watched u8 | polls u8 | apart u8
//!   then for each item:  length u32 | its arguments
//!                   or:  u32::MAX   | the place where they lie: offset u64 | length u64
//! ```
//!
//! All other bodies are serde types, encoded by the [codec](crate::codec).

use serde::{Deserialize, Serialize};

use crate::blocks::Place;

/// How a job's arguments and its result are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Encoding {
    /// bincode, through the codec.
    Binary = 0,
    /// JSON: the arguments are an array. The result's first byte tells a value (0) from a job's own `Err` (1).
    Json = 1,
    /// Text: each argument is `length u32 | bytes`. The result is as in `Json`, as a person would write it.
    Text = 2,
}

/// The fixed part of a run's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunHeader {
    /// The run's number among all of its worker, from 0.
    pub run: u32,
    /// The job's place in the worker's table.
    pub job: u32,
    /// How many items follow.
    pub items: u32,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The first item's id; the others follow.
    pub first_id: u64,
    /// How arguments and results are written.
    pub encoding: Encoding,
    /// The parent wants to know when each item begins, and may halt the worker before the next one.
    pub watched: bool,
    /// A core is free for the worker to poll on, once it has nothing to do.
    pub polls: bool,
    /// Each item may be withdrawn by itself: they are claimed one by one.
    pub apart: bool,
}

impl RunHeader {
    /// Bytes of it.
    pub const LEN: usize = 28;
    /// Bytes before each item's arguments.
    pub const PIECE: usize = 4;

    /// Appends it to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        for number in [self.run, self.job, self.items, self.attempt] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.first_id.to_le_bytes());
        let flags = [self.watched, self.polls, self.apart].map(u8::from);
        out.push(self.encoding as u8);
        out.extend_from_slice(&flags);
    }

    /// Takes it off the front of a body.
    pub fn read(body: &[u8]) -> Option<(RunHeader, &[u8])> {
        let (head, rest) = body.split_first_chunk::<{ RunHeader::LEN }>()?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let encoding = match head[24] {
            0 => Encoding::Binary,
            1 => Encoding::Json,
            2 => Encoding::Text,
            _ => return None,
        };
        let first_id = u64::from(number(16)) | u64::from(number(20)) << 32;
        let header = RunHeader {
            run: number(0),
            job: number(4),
            items: number(8),
            attempt: number(12),
            first_id,
            encoding,
            watched: head[25] != 0,
            polls: head[26] != 0,
            apart: head[27] != 0,
        };
        Some((header, rest))
    }
}

/// Stands for the length of arguments that lie in a block.
const PLACED: u32 = u32::MAX;

/// Bytes of a piece that tells a place.
pub const PLACED_PIECE: usize = RunHeader::PIECE + Place::LEN;

/// Takes a piece that tells a place off the front of `bytes`, where [`take_piece`] finds none.
pub fn take_place(bytes: &mut &[u8]) -> Option<Place> {
    let rest = bytes.strip_prefix(&PLACED.to_le_bytes())?;
    let (place, rest) = rest.split_first_chunk()?;
    *bytes = rest;
    Some(Place::from_bytes(*place))
}

/// Appends one.
pub fn push_place(out: &mut Vec<u8>, place: Place) {
    out.extend_from_slice(&PLACED.to_le_bytes());
    out.extend_from_slice(&place.to_bytes());
}

/// Takes a length-prefixed piece off the front of `bytes`.
pub fn take_piece<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (piece, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    Some(piece)
}

/// Appends a length-prefixed piece.
pub fn push_piece(out: &mut Vec<u8>, piece: &[u8]) {
    out.extend_from_slice(&(piece.len() as u32).to_le_bytes());
    out.extend_from_slice(piece);
}

/// A job called by name: how initializers and finalizers travel, before the parent knows the worker's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCall {
    /// The job's name.
    pub name: String,
    /// Its arguments, in [`Encoding::Binary`].
    pub args: Vec<u8>,
}

/// Parent to worker, first of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The worker's place in its pool.
    pub slot: u32,
    /// Where the worker is to work; the bytes of a path.
    pub directory: Option<Vec<u8>>,
    /// Runs once before any job.
    pub initializer: Option<NamedCall>,
    /// Runs once when the worker ends in good order.
    pub finalizer: Option<NamedCall>,
    /// Bytes of private memory that it may not exceed; kept by the system, for allocations.
    pub data_limit: Option<u64>,
    /// It is to note the processor time that it has used whenever an item begins that is watched.
    pub notes_cpu: bool,
    /// Added to its niceness.
    pub nice: i32,
    /// A crash may leave a core dump.
    pub core_dumps: bool,
    /// What to mark in captured outputs, where each job's part of them begins and ends.
    pub mark: Option<Mark>,
    /// Whether stdout is captured.
    pub marks_stdout: bool,
    /// Whether stderr is.
    pub marks_stderr: bool,
}

/// What a worker writes into a captured output around each job's part of it.
///
/// It is a nonce of the worker's own, so that no job prints it by chance, then the job's id, or [`Mark::END`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Random, made by the parent for each worker.
    pub nonce: [u8; 16],
}

impl Mark {
    /// Bytes of a mark in the stream.
    pub const LEN: usize = 24;
    /// Stands for "between jobs".
    pub const END: u64 = u64::MAX;

    /// The bytes that say "from here on it belongs to `id`".
    pub fn bytes(&self, id: u64) -> [u8; Mark::LEN] {
        let mut bytes = [0; Mark::LEN];
        bytes[..16].copy_from_slice(&self.nonce);
        bytes[16..].copy_from_slice(&id.to_le_bytes());
        bytes
    }
}

/// Worker to parent, first of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`](crate::page::PROTOCOL); first, so that any version can read it.
    pub protocol: u32,
    /// Which build of which program this is.
    pub build: String,
    /// The worker's jobs, in the order of their numbers.
    pub jobs: Vec<JobInfo>,
}

/// What a job looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<ArgInfo>,
    /// Its result's type, without module paths.
    pub output: String,
    /// A hash of name, argument types and result type with their full paths.
    pub signature: u64,
    /// Its doc comment.
    pub doc: String,
}

impl JobInfo {
    /// Whether a result has nothing to show, if it is no error.
    pub fn returns_nothing(&self) -> bool {
        let output = &self.output;
        output == "()" || output.starts_with("Result<(), ") || output == "Option<()>"
    }
}

/// One argument of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgInfo {
    /// Its name in the source; empty if the job was registered without the macro.
    pub name: String,
    /// Its type, without module paths.
    pub ty: String,
}

/// Why an item has no result although its worker lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The job panicked.
    Panicked {
        /// The panic's message.
        message: String,
        /// `file:line:column`.
        location: String,
        /// The backtrace, if one was asked for (`RUST_BACKTRACE`).
        backtrace: String,
    },
    /// The arguments do not decode.
    Decode(String),
    /// The result does not encode.
    Encode(String),
    /// The result is larger than a frame may be, in bytes.
    TooLarge(u64),
    /// There is no such job.
    NotRegistered(String),
}

impl Fault {
    /// A failure outside of any job's own code.
    pub(crate) fn plain(message: String) -> Fault {
        Fault::Panicked { message, location: String::new(), backtrace: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_run_header_survives(run: u32, job: u32, items: u32, attempt: u32, first_id: u64, text: bool, flags: [bool; 3]) {
            let [watched, polls, apart] = flags;
            let encoding = if text { Encoding::Text } else { Encoding::Binary };
            let header = RunHeader { run, job, items, attempt, first_id, encoding, watched, polls, apart };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            bytes.push(9);
            prop_assert_eq!(RunHeader::read(&bytes), Some((header, &[9u8][..])));
        }

        #[test]
        fn pieces_survive_wherever_they_lie(pieces: Vec<Result<Vec<u8>, (u64, u64)>>) {
            let mut bytes = Vec::new();
            for piece in &pieces {
                match piece {
                    Ok(here) => push_piece(&mut bytes, here),
                    Err((offset, len)) => push_place(&mut bytes, Place { offset: *offset, len: *len }),
                }
            }
            let mut rest = bytes.as_slice();
            for piece in pieces {
                match piece {
                    Ok(here) => prop_assert_eq!(take_piece(&mut rest), Some(here.as_slice())),
                    Err((offset, len)) => {
                        prop_assert_eq!(take_piece(&mut rest), None);
                        prop_assert_eq!(take_place(&mut rest), Some(Place { offset, len }));
                    }
                }
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_a_run_or_nothing(bytes: Vec<u8>) {
            if let Some((_, mut rest)) = RunHeader::read(&bytes) {
                while take_piece(&mut rest).is_some() || take_place(&mut rest).is_some() {}
            }
        }
    }
}
