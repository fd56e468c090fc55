//! How the command ends, and with which code.
//!
//! Several threads can find a reason to end: the main one, the one that waits for signals, the one that flushes
//! results. The first one ends the process; the others stop where they are, so that nothing is said twice.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::input::InputError;
use super::joblog::LogError;
use super::jobs::UnknownJob;
use super::replay::ReplayError;
use super::say::{reason, say};
use super::{orphans, progress, signals};
use crate::lending::ServeError;
use crate::{JobError, Pool, PoolError};

/// Jobs failed, as many as this at most; more are [`MANY_FAILED`].
const MOST_FAILED: u64 = 100;
const MANY_FAILED: u8 = 101;
/// The whole run's time was up.
pub(super) const DEADLINE: u8 = 124;
/// The command itself failed.
pub(super) const INTERNAL: u8 = 125;
pub(super) const CANNOT_START: u8 = 126;
pub(super) const NOT_FOUND: u8 = 127;
const USAGE: u8 = 64;

/// The code that tells how many jobs failed.
pub(super) fn code_of_failures(failed: u64) -> u8 {
    match failed {
        0..=MOST_FAILED => failed as u8,
        _ => MANY_FAILED,
    }
}

/// Why the command cannot do its work.
#[derive(Debug)]
pub(super) enum CliError {
    Usage(clap::Error),
    UnknownJob(UnknownJob),
    NoProgram { path: PathBuf, cause: io::Error },
    UnusableProgram { path: PathBuf, cause: io::Error },
    CannotStart { path: PathBuf, cause: PoolError },
    Pool(PoolError),
    Serve(ServeError),
    Workers(String),
    Job(JobError),
    Input(InputError),
    Output(io::Error),
    Spill(io::Error),
    File { path: PathBuf, cause: io::Error },
    Thread(io::Error),
    Log(LogError),
    Replay(ReplayError),
}

impl CliError {
    fn code(&self) -> u8 {
        match self {
            CliError::Usage(_) | CliError::Workers(_) => USAGE,
            CliError::UnknownJob(_) | CliError::NoProgram { .. } => NOT_FOUND,
            CliError::UnusableProgram { .. } | CliError::CannotStart { .. } => CANNOT_START,
            CliError::Replay(error) => error.code(),
            _ => INTERNAL,
        }
    }

    fn tell(&self) {
        match self {
            CliError::Usage(error) => {
                let _ = error.print();
            }
            other => say(other),
        }
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CliError::Usage(error) => error.fmt(f),
            CliError::UnknownJob(error) => error.fmt(f),
            CliError::NoProgram { path, cause } => {
                write!(f, "there is no program {}: {}; --exe takes a path", path.display(), reason(cause))
            }
            CliError::UnusableProgram { path, cause } => {
                write!(f, "cannot start {}: {}", path.display(), reason(cause))
            }
            CliError::CannotStart { path, cause } => write!(f, "cannot use {}: {cause}", path.display()),
            CliError::Pool(error) => error.fmt(f),
            CliError::Serve(error) => error.fmt(f),
            CliError::Workers(error) => error.fmt(f),
            CliError::Job(error) => error.fmt(f),
            CliError::Input(error) => error.fmt(f),
            CliError::Output(error) => {
                write!(f, "cannot write to standard output: {}; results are missing", reason(error))
            }
            CliError::Spill(error) => write!(
                f,
                "cannot keep results in a temporary file in {}: {}; \
                 make room there, set TMPDIR, or use --unordered",
                std::env::temp_dir().display(),
                reason(error)
            ),
            CliError::File { path, cause } => {
                let room =
                    if cause.kind() == io::ErrorKind::StorageFull { "make room there, or " } else { "" };
                write!(f, "cannot write {}: {}; {room}name another file", path.display(), reason(cause))
            }
            CliError::Thread(error) => write!(f, "cannot start a thread: {}", reason(error)),
            CliError::Log(error) => error.fmt(f),
            CliError::Replay(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CliError {}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> CliError {
        CliError::Usage(error)
    }
}

/// Ends the process for an error, while there is no pool.
pub(super) fn leave(error: &CliError) -> ! {
    if let CliError::Output(cause) = error
        && cause.kind() == io::ErrorKind::BrokenPipe
    {
        // Whoever read our results has enough. Every program ends so, quietly.
        signals::die_by(Signal::SIGPIPE);
    }
    error.tell();
    std::process::exit(error.code().into())
}

/// Ends the process together with its pool.
#[derive(Default)]
pub(super) struct Ending {
    pool: OnceLock<Pool>,
    begun: AtomicBool,
}

impl Ending {
    /// Takes the pool, which from now on ends with the process.
    pub(super) fn own(&self, pool: Pool) -> &Pool {
        self.pool.get_or_init(|| pool)
    }

    /// Returns to the first thread that ends the process; any later one stops here for good.
    pub(super) fn begin(&self) {
        if self.begun.swap(true, Ordering::AcqRel) {
            loop {
                std::thread::park();
            }
        }
        if let Some(display) = progress::current() {
            display.close();
        }
    }

    /// Stops what runs while `stop` does, and has it go on then; for how long that was.
    pub(super) fn pause(&self, stop: impl FnOnce()) -> Duration {
        let pool = self.pool.get();
        if let Some(pool) = pool {
            pool.stop_all(true);
        }
        let begin = Instant::now();
        stop();
        if let Some(pool) = pool {
            pool.stop_all(false);
        }
        begin.elapsed()
    }

    /// Kills what still runs, and what jobs have left behind.
    pub(super) fn terminate(&self) {
        if let Some(pool) = self.pool.get() {
            pool.terminate();
        }
        orphans::end_all();
    }

    /// Ends the process for an error.
    pub(super) fn fail(&self, error: &CliError) -> ! {
        self.begin();
        self.terminate();
        leave(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_failures() {
        for (failed, code) in [(0, 0), (1, 1), (100, 100), (101, 101), (256, 101), (u64::MAX, 101)] {
            assert_eq!(code_of_failures(failed), code);
        }
    }
}
