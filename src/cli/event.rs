//! What happens to the jobs of a run, for all that tell of it: the log, the display, the report, the files of results.
//!
//! The run calls its watchers one after the other, on the thread that takes results. So they lock nothing, and are quick.

use std::time::{Duration, SystemTime};

use super::ending::CliError;
use super::input::Input;

/// How a job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It did what it should.
    Ok,
    /// It gave an error; a program its exit code.
    Failed { code: i32 },
    /// The program that it ran was killed by a signal.
    Killed { signal: i32 },
    /// Its worker died: by a signal, or by an end of the process.
    Crashed { signal: Option<i32> },
    /// It took too long, and was ended.
    TimedOut,
    /// The run was ended, and it with it.
    Ended,
    /// Its input was nothing that the job takes: it was not begun.
    Refused,
}

impl Status {
    /// The exit code that a log tells: as GNU parallel does, -1 for a job that took too long.
    pub(crate) fn exit_value(self) -> i32 {
        match self {
            Status::Ok | Status::Killed { .. } => 0,
            Status::Failed { code } => code,
            Status::Crashed { signal: Some(_) } => 0,
            Status::TimedOut | Status::Ended => -1,
            Status::Crashed { signal: None } | Status::Refused => 1,
        }
    }

    /// The signal that a log tells; 0 for none.
    pub(crate) fn signal(self) -> i32 {
        match self {
            Status::Killed { signal } | Status::Crashed { signal: Some(signal) } => signal,
            Status::TimedOut | Status::Ended => 15,
            Status::Ok | Status::Failed { .. } | Status::Crashed { signal: None } | Status::Refused => 0,
        }
    }

    /// One word, for machines and people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed { .. } => "failed",
            Status::Killed { .. } => "killed",
            Status::Crashed { .. } => "crashed",
            Status::TimedOut => "timed out",
            Status::Ended => "ended",
            Status::Refused => "refused",
        }
    }
}

/// What a job has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time in its own code,
    pub(crate) user: Duration,
    /// and in the system's.
    pub(crate) system: Duration,
    /// The most memory that it had at a time, in bytes.
    pub(crate) max_rss: u64,
}

/// An attempt at a job that begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started<'a> {
    pub(crate) input: &'a Input,
    /// The place that it has among those that run, from 0.
    pub(crate) slot: usize,
    /// Its worker's process, if that is known.
    pub(crate) pid: Option<u32>,
    pub(crate) at: SystemTime,
}

/// An attempt at a job that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<'a> {
    /// Its number, from 0, and its values.
    pub(crate) input: &'a Input,
    /// What was run, as one would type it.
    pub(crate) command: &'a [u8],
    pub(crate) status: Status,
    /// When it began; the moment of its refusal, if it was not begun.
    pub(crate) began: SystemTime,
    pub(crate) took: Duration,
    /// From 1.
    pub(crate) attempt: u32,
    /// There is another attempt to come: the job is not over.
    pub(crate) again: bool,
    /// The place that it had among those that ran, from 0; `None` if it was not begun.
    pub(crate) slot: Option<usize>,
    /// Its worker's process, if that is known.
    pub(crate) pid: Option<u32>,
    /// `None` where it is not known.
    pub(crate) usage: Option<Usage>,
    /// Bytes that it was given on standard input.
    pub(crate) sent: u64,
    /// Bytes of its result, or that its program wrote to standard output, if that came by here.
    pub(crate) received: u64,
    /// Its result, or what its program wrote to standard output; nothing if that was shown meanwhile and nobody keeps it.
    pub(crate) stdout: &'a [u8],
    /// What it, or its program, wrote to standard error.
    pub(crate) stderr: &'a [u8],
    /// What went wrong, if it failed: a sentence's end, as in "it ended with exit code 3",
    pub(crate) error: Option<&'a str>,
    /// and lines that explain it, as a backtrace, or what a lost worker had written last.
    pub(crate) details: &'a str,
    /// What it was called with, if somebody wants to keep that and its input was good for it.
    pub(crate) args: Option<&'a [u8]>,
    /// Its worker's number, from 1, if it says so itself.
    pub(crate) worker: Option<u32>,
}

/// Someone who is told what happens.
pub(crate) trait Watcher {
    /// An attempt begins. Jobs that are over in a moment may be told of only when they have ended.
    fn started(&mut self, job: &Started<'_>) {
        let _ = job;
    }

    /// An attempt has ended. Of those that are not over, [`Ended::again`] is true.
    ///
    /// # Errors
    /// What was to be written cannot be: the run ends.
    fn ended(&mut self, job: &Ended<'_>) -> Result<(), CliError>;

    /// An earlier run has done the job of an input: it is none of this run's.
    fn left_out(&mut self) {}

    /// There is nothing more to come.
    ///
    /// # Errors
    /// As [`ended`](Self::ended).
    fn close(&mut self) -> Result<(), CliError> {
        Ok(())
    }
}
