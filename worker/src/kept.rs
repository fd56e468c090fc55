//! A job that has failed, as a file keeps it: all that it takes to run it again.
//!
//! The command writes such files, and the program that has the job may read one itself ([`replay`](crate::replay)), so
//! both have to agree on them. The first line is JSON, so that anyone sees what it is; behind it are the arguments, as
//! they were handed in.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::wire::Encoding;

/// The format that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// A job that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What is known of it.
    pub header: Header,
    /// Its arguments; empty if it has none.
    pub args: Vec<u8>,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`]; its name says what the file is.
    pub sidestep_failed_job: u32,
    /// The job's name.
    pub job: String,
    /// Which one of its run it was, from 1.
    pub number: u64,
    /// What it was about, for people.
    pub input: String,
    /// How it ended: a word,
    pub status: String,
    /// the end of a sentence, with lines that explain it,
    pub error: String,
    /// and what it had written to standard error last.
    pub stderr: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The place of its worker, from 0.
    pub slot: u32,
    /// The program that has the job; `None` for what every command has built in.
    pub program: Option<Program>,
    /// Where it ran.
    pub directory: Raw,
    /// What the command had put into its environment.
    pub environment: Vec<(Raw, Raw)>,
    /// How the arguments are written.
    pub encoding: Encoding,
    /// Bytes of them, which follow; `None` if no arguments could be made of its input, so that it has never run.
    pub arguments: Option<u64>,
}

/// A program, and how it is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Where it is.
    pub path: Raw,
    /// What was in it; `None` if it could not be read.
    pub sha256: Option<String>,
    /// It was the command itself, with jobs of its own.
    pub own: bool,
}

/// Bytes that are mostly a text, and then stand as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Raw {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl From<&OsStr> for Raw {
    fn from(text: &OsStr) -> Raw {
        match text.to_str() {
            Some(text) => Raw::Text(text.to_owned()),
            None => Raw::Bytes(text.as_bytes().to_vec()),
        }
    }
}

impl Raw {
    /// The bytes themselves.
    pub fn to_os_string(&self) -> OsString {
        match self {
            Raw::Text(text) => text.into(),
            Raw::Bytes(bytes) => OsString::from_vec(bytes.clone()),
        }
    }
}

/// Why there is no job that was kept.
#[derive(Debug)]
pub enum NotKept {
    /// The file cannot be read.
    File(io::Error),
    /// They are something else.
    Other,
    /// They are of another version of the format.
    Version(u64),
    /// The first line is damaged.
    Header(String),
    /// There are more arguments, or fewer, than there should be.
    Length {
        /// Bytes that there should be,
        expected: u64,
        /// and that there are.
        found: u64,
    },
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotKept::File(error) => error.fmt(f),
            NotKept::Other => f.write_str("it is no file that --failed-dir has written"),
            NotKept::Version(version) => write!(
                f,
                "it has version {version} of the format, and this program knows {VERSION}: \
                 replay it with the release that has written it"
            ),
            NotKept::Header(why) => write!(f, "its first line is damaged: {why}"),
            NotKept::Length { expected, found } => {
                write!(f, "it should have {expected} bytes of arguments, and has {found}: it is not whole")
            }
        }
    }
}

impl std::error::Error for NotKept {}

impl Header {
    /// What stands in the file before the arguments.
    ///
    /// # Errors
    /// None that could be thought of: it is made of texts and numbers.
    pub fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// What every version has.
#[derive(Deserialize)]
struct AnyVersion {
    sidestep_failed_job: u64,
}

impl Kept {
    /// The file of such a job, at that path.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Kept, NotKept> {
        Kept::from_bytes(&std::fs::read(path).map_err(NotKept::File)?)
    }

    /// Reads it, from any bytes.
    ///
    /// # Errors
    /// They are no [line](Header::line) with its arguments.
    pub fn from_bytes(bytes: &[u8]) -> Result<Kept, NotKept> {
        let (line, args) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&bytes[..end], &bytes[end + 1..]),
            None => (bytes, &[][..]),
        };
        if !line.starts_with(b"{\"sidestep_failed_job\":") {
            return Err(NotKept::Other);
        }
        let damaged = |error: serde_json::Error| NotKept::Header(error.to_string());
        let AnyVersion { sidestep_failed_job: version } = serde_json::from_slice(line).map_err(damaged)?;
        if version != u64::from(VERSION) {
            return Err(NotKept::Version(version));
        }
        let header: Header = serde_json::from_slice(line).map_err(damaged)?;
        let (expected, found) = (header.arguments.unwrap_or(0), args.len() as u64);
        if expected != found {
            return Err(NotKept::Length { expected, found });
        }
        Ok(Kept { header, args: args.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(args: &[u8], path: &[u8], text: &str) -> Header {
        let raw = || Raw::from(OsStr::from_bytes(path));
        Header {
            sidestep_failed_job: VERSION,
            job: text.to_owned(),
            number: 7,
            input: text.to_owned(),
            status: "crashed".into(),
            error: text.to_owned(),
            stderr: text.to_owned(),
            attempts: 1,
            slot: 0,
            program: Some(Program { path: raw(), sha256: Some("00".into()), own: true }),
            directory: raw(),
            environment: vec![(raw(), raw())],
            encoding: Encoding::Text,
            arguments: Some(args.len() as u64),
        }
    }

    fn written(header: &Header, args: &[u8]) -> Vec<u8> {
        [&header.line().unwrap(), args].concat()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(args: Vec<u8>, path: Vec<u8>, text: String) {
            let header = header(&args, &path, &text);
            let kept = Kept::from_bytes(&written(&header, &args)).unwrap();
            prop_assert_eq!(kept.header.directory.to_os_string().into_vec(), path.clone());
            prop_assert_eq!(kept, Kept { header, args });
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, at: usize, by: u8) {
            let _ = Kept::from_bytes(&bytes);
            let _ = Kept::from_bytes(&[b"{\"sidestep_failed_job\":1,", &bytes[..]].concat());
            let mut whole = written(&header(&bytes, &bytes, "x"), &bytes);
            let at = at % whole.len();
            whole[at] = by;
            let _ = Kept::from_bytes(&whole);
        }

        #[test]
        fn no_part_is_taken_for_the_whole(args: Vec<u8>, len: usize) {
            let whole = written(&header(&args, b"/", "x"), &args);
            let len = len % whole.len();
            // Of the last byte without arguments nothing is missing but the end of the line.
            prop_assert!(Kept::from_bytes(&whole[..len]).is_err() || args.is_empty() && len + 1 == whole.len());
        }
    }

    #[test]
    fn other_files_and_other_versions_are_told_apart() {
        assert!(matches!(Kept::from_bytes(b""), Err(NotKept::Other)));
        assert!(matches!(Kept::from_bytes(b"#!/bin/sh\n"), Err(NotKept::Other)));
        let later = b"{\"sidestep_failed_job\":2,\"what\":\"nobody knows\"}\n";
        assert!(matches!(Kept::from_bytes(later), Err(NotKept::Version(2))));
        let damaged = b"{\"sidestep_failed_job\":1}\n";
        assert!(matches!(Kept::from_bytes(damaged), Err(NotKept::Header(_))));
    }
}
