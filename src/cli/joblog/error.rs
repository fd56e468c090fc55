//! What can be wrong with a log.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::ending::CliError;
use crate::cli::say::reason;

/// A line longer than this is cut in messages.
const SHOWN: usize = 200;

/// Why a run cannot have its log, or cannot go on from it.
#[derive(Debug)]
pub(crate) enum LogError {
    /// The program whose job it is cannot be read, so nobody knows it again.
    Program {
        path: PathBuf,
        cause: io::Error,
    },
    Open {
        path: PathBuf,
        cause: io::Error,
    },
    /// Another run has it open.
    Busy {
        path: PathBuf,
    },
    Read {
        path: PathBuf,
        cause: io::Error,
    },
    Write {
        path: PathBuf,
        cause: io::Error,
    },
    /// A line of it is no line of a log.
    NoLog {
        path: PathBuf,
        line: u64,
        text: Vec<u8>,
    },
    /// A job of it is another one than here.
    OtherRun {
        path: PathBuf,
        line: u64,
        seq: u64,
        theirs: Vec<u8>,
        ours: Vec<u8>,
    },
}

impl LogError {
    pub(super) fn open(path: &Path, cause: io::Error) -> LogError {
        LogError::Open { path: path.to_owned(), cause }
    }
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogError::Program { path, cause } => write!(
                f,
                "cannot read the program {}: {}; without that a joblog cannot tell it from another",
                path.display(),
                reason(cause)
            ),
            LogError::Open { path, cause } => {
                write!(f, "cannot open the joblog {}: {}", path.display(), reason(cause))
            }
            LogError::Busy { path } => write!(
                f,
                "another run writes to the joblog {}; wait for its end, or give another file",
                path.display()
            ),
            LogError::Read { path, cause } => {
                write!(f, "cannot read the joblog {}: {}", path.display(), reason(cause))
            }
            LogError::Write { path, cause } => write!(
                f,
                "cannot write to the joblog {}: {}; what it lacks --resume runs again",
                path.display(),
                reason(cause)
            ),
            LogError::NoLog { path, line, text } => write!(
                f,
                "{} is no joblog (line {line} is {}); give another file",
                path.display(),
                shown(text)
            ),
            LogError::OtherRun { path, line, seq, theirs, ours } => {
                write!(f, "joblog {} belongs to another run (line {line} is ", path.display())?;
                match theirs == ours {
                    true => write!(
                        f,
                        "job {seq}, {}, of another build of the program or with other inputs)",
                        shown(theirs)
                    )?,
                    false => write!(f, "job {seq}, {}, which is {} here)", shown(theirs), shown(ours))?,
                }
                write!(f, "; give another file, or --resume=seq to go by numbers alone")
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Program { cause, .. }
            | LogError::Open { cause, .. }
            | LogError::Read { cause, .. }
            | LogError::Write { cause, .. } => Some(cause),
            LogError::Busy { .. } | LogError::NoLog { .. } | LogError::OtherRun { .. } => None,
        }
    }
}

impl From<LogError> for CliError {
    fn from(error: LogError) -> CliError {
        CliError::Log(error)
    }
}

/// A text as one can read it, and no terminal can be harmed by it.
fn shown(text: &[u8]) -> String {
    let cut = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
    let dots = if text.len() > SHOWN { "…" } else { "" };
    format!("{cut:?}{dots}")
}
