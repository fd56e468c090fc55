//! The log of a run (`--joblog`), and how another run goes on from it (`--resume`).
//!
//! A line says that a job is over and its result was shown, so it is written after the result, never before. Whatever
//! kills the command in between, its next run repeats that job: a result may then be shown twice, none is ever missing.
//! So that this takes a moment only and no longer, the log asks for results to be flushed before it writes
//! ([`JobLog::after`]).
//!
//! A log is what GNU parallel writes, or JSON if its name ends in `.jsonl`. Which jobs a log is about shows in the lines
//! themselves (`key`), so that nobody goes on from a log of something else.

mod append;
mod done;
mod error;
mod json;
mod key;
mod open;
mod read;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tsv;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ending::CliError;
use super::event::{Ended, Status, Watcher};
use append::Appender;
pub(crate) use done::{Decision, Done};
pub(crate) use error::LogError;
pub(crate) use key::{Run, digest};

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tsv,
    Json,
}

impl Format {
    fn of(path: &Path) -> Format {
        match path.extension() {
            Some(extension) if extension == "jsonl" => Format::Json,
            _ => Format::Tsv,
        }
    }
}

/// Which jobs need not run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// All that are in the log.
    Logged,
    /// Those that did what they should.
    Succeeded,
}

/// How a job is known to be one of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// It has the number, and is the same.
    Same,
    /// It has the number.
    Number,
}

/// How a run goes on from a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resume {
    pub(crate) skip: Skip,
    pub(crate) check: Check,
}

/// A log that is being written. It may be told of jobs from any thread.
#[derive(Debug)]
pub(crate) struct JobLog {
    path: PathBuf,
    format: Format,
    run: Run,
    file: Appender,
}

impl JobLog {
    /// Opens a log: an empty one, or to go on from it, with what is in it. It starts threads.
    ///
    /// # Errors
    /// The file cannot be used, another run writes to it, or it is no log.
    pub(crate) fn open(path: &Path, run: Run, resume: Option<Resume>) -> Result<(JobLog, Done), LogError> {
        let format = Format::of(path);
        let (file, done) = open::open(path, format, run.clone(), resume)?;
        let file = Appender::new(file).map_err(|cause| LogError::open(path, cause))?;
        Ok((JobLog { path: path.to_owned(), format, run, file }, done))
    }

    /// Has something done before lines are written: results shown. As long as that fails, lines wait.
    pub(crate) fn after(mut self, before: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> JobLog {
        self.file.after(Box::new(before));
        self
    }

    /// The line about a job; `None` if there is none to write.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(crate) fn line(&self, job: &Ended<'_>) -> Result<Option<Vec<u8>>, LogError> {
        match self.format {
            _ if job.again => Ok(None),
            // GNU parallel does not tell of those either; and it could not be told apart from a job that took too long.
            Format::Tsv if job.status == Status::Ended => Ok(None),
            Format::Tsv => Ok(Some(tsv::line(job))),
            Format::Json => json::line(&self.run, job).map(Some).map_err(|cause| self.failed(cause)),
        }
    }

    /// Adds a line, now or in a moment.
    ///
    /// # Errors
    /// It cannot be written, or one before it could not.
    pub(crate) fn append(&self, line: &[u8]) -> Result<(), LogError> {
        self.file.append(line).map_err(|cause| self.failed(cause))
    }

    /// Writes what waits, and has it reach the disk. Later lines are lost.
    ///
    /// # Errors
    /// Lines cannot be written.
    pub(crate) fn finish(&self) -> Result<(), LogError> {
        self.file.finish().map_err(|cause| self.failed(cause))
    }

    /// Writes what waits, without anything done before it, if nobody else writes for longer than that: for the end by a
    /// signal, once all results were shown.
    pub(crate) fn flush_within(&self, limit: Duration) {
        self.file.flush_within(limit);
    }

    fn failed(&self, cause: io::Error) -> LogError {
        LogError::Write { path: self.path.clone(), cause }
    }
}

impl Watcher for JobLog {
    fn ended(&mut self, job: &Ended<'_>) -> Result<(), CliError> {
        match self.line(job)? {
            Some(line) => Ok(self.append(&line)?),
            None => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), CliError> {
        Ok(self.finish()?)
    }
}
