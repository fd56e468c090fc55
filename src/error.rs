//! What can go wrong: with one job, and with a whole pool.

use std::fmt;
use std::time::Duration;

/// How a worker's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It exited with this code.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// Another part of the program has taken its status away (by a `wait` for any child, or by ignoring SIGCHLD).
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Exit(code) => write!(f, "exited with code {code}"),
            Cause::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "was killed by {name} (signal {signal})"),
                Err(_) => write!(f, "was killed by signal {signal}"),
            },
            Cause::Unknown => f.write_str("ended, and its status was taken by another part of the program"),
        }
    }
}

/// Why a job has no result.
///
/// A job's own failure is not one of these: a job that returns a `Result` gives its `Err` as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields `job`, `id` and `pid` say the same in each variant: see the enum's doc"
)]
pub enum JobError {
    /// The job panicked. Its worker lives on.
    Panicked { job: String, id: u64, pid: Option<u32>, message: String, location: String, backtrace: String },
    /// The job's worker died while it ran the job.
    WorkerLost {
        job: String,
        id: u64,
        pid: Option<u32>,
        /// How the process ended.
        cause: Cause,
        /// What probably happened, in words, where the system tells.
        hint: Option<String>,
        /// The last lines that the worker wrote to stderr, at most 8 KiB.
        stderr_tail: String,
        /// How many times the job was tried.
        attempts: u32,
    },
    /// The job ran longer than its limit and was killed.
    TimedOut { job: String, id: u64, pid: Option<u32>, limit: Duration },
    /// The job's worker used more memory than its limit, in bytes, and was killed.
    MemoryLimit { job: String, id: u64, pid: Option<u32>, limit: u64 },
    /// The job used more processor time than its limit.
    CpuLimit { job: String, id: u64, pid: Option<u32>, limit: Duration },
    /// The job has killed its worker this many times and is not tried again.
    Poisoned { job: String, id: u64, pid: Option<u32>, deaths: u32 },
    /// An argument or the result could not be serialised.
    Encode { job: String, id: u64, pid: Option<u32>, message: String },
    /// Arguments or result do not fit the types that the other side has.
    Decode { job: String, id: u64, pid: Option<u32>, message: String },
    /// Arguments or result take more bytes than a frame may have.
    TooLarge { job: String, id: u64, pid: Option<u32>, size: u64, limit: u64 },
    /// The worker's messages made no sense, and it was killed: the job has written over the channel or closed it.
    Protocol { job: String, id: u64, pid: Option<u32>, message: String },
    /// An option of the call cannot be.
    InvalidCall { what: String },
    /// No job is registered for this function or under this name.
    NotRegistered { name: String },
    /// The pool cannot go on: its workers no longer start.
    PoolBroken { reason: String },
    /// The job was cancelled.
    Cancelled,
    /// The pool was closed, terminated or dropped.
    PoolClosed,
    /// The job is not done yet; ask again.
    StillRunning,
    /// The result was taken before.
    Taken,
}

/// Where a job stood that has no result: what the struct variants of [`JobError`] share.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) job: String,
    pub(crate) id: u64,
    pub(crate) pid: Option<u32>,
}

impl Place {
    /// What the worker says about an item is the job's error.
    pub(crate) fn fault(self, fault: sidestep_worker::wire::Fault) -> JobError {
        use sidestep_worker::wire::Fault;
        let Place { job, id, pid } = self;
        match fault {
            Fault::Panicked { message, location, backtrace } => {
                JobError::Panicked { job, id, pid, message, location, backtrace }
            }
            Fault::Decode(message) => JobError::Decode { job, id, pid, message },
            Fault::Encode(message) => JobError::Encode { job, id, pid, message },
            Fault::TooLarge(size) => JobError::TooLarge { job, id, pid, size, limit: MAX_BODY },
            Fault::NotRegistered(name) => JobError::NotRegistered { name },
        }
    }

    /// An argument that cannot be sent.
    pub(crate) fn encode(self, error: sidestep_worker::codec::CodecError) -> JobError {
        use sidestep_worker::codec::CodecError;
        let Place { job, id, pid } = self;
        match error {
            CodecError::TooLarge { size } => {
                JobError::TooLarge { job, id, pid, size: size as u64, limit: MAX_BODY }
            }
            CodecError::Invalid(message) => JobError::Encode { job, id, pid, message },
        }
    }

    pub(crate) fn decode(self, message: String) -> JobError {
        let Place { job, id, pid } = self;
        JobError::Decode { job, id, pid, message }
    }

    pub(crate) fn protocol(self, message: String) -> JobError {
        let Place { job, id, pid } = self;
        JobError::Protocol { job, id, pid, message }
    }
}

const MAX_BODY: u64 = sidestep_worker::codec::MAX_BODY as u64;

impl JobError {
    /// The job's name, where the error is about one that was submitted.
    pub fn job(&self) -> Option<&str> {
        self.place().map(|(job, ..)| job)
    }

    /// The job's id in its pool.
    pub fn id(&self) -> Option<u64> {
        self.place().map(|(_, id, _)| id)
    }

    /// The worker in which it happened, if it had got to one.
    pub fn pid(&self) -> Option<u32> {
        self.place().and_then(|(_, _, pid)| pid)
    }

    fn place(&self) -> Option<(&str, u64, Option<u32>)> {
        use JobError::*;
        match self {
            Panicked { job, id, pid, .. }
            | WorkerLost { job, id, pid, .. }
            | TimedOut { job, id, pid, .. }
            | MemoryLimit { job, id, pid, .. }
            | CpuLimit { job, id, pid, .. }
            | Poisoned { job, id, pid, .. }
            | Encode { job, id, pid, .. }
            | Decode { job, id, pid, .. }
            | TooLarge { job, id, pid, .. }
            | Protocol { job, id, pid, .. } => Some((job, *id, *pid)),
            _ => None,
        }
    }

    /// What happened, without where.
    fn what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use JobError::*;
        match self {
            Panicked { message, location, .. } if location.is_empty() => write!(f, "panicked: {message}"),
            Panicked { message, location, .. } => write!(f, "panicked at {location}: {message}"),
            WorkerLost { cause, hint, attempts, .. } => {
                write!(f, "lost its worker, which {cause}")?;
                if let Some(hint) = hint {
                    write!(f, " ({hint})")?;
                }
                if *attempts > 1 { write!(f, ", at the last of {attempts} attempts") } else { Ok(()) }
            }
            TimedOut { limit, .. } => write!(f, "ran longer than {limit:?} and was killed"),
            MemoryLimit { limit, .. } => write!(f, "used more memory than its limit of {limit} bytes"),
            CpuLimit { limit, .. } => write!(f, "used more processor time than {limit:?}"),
            Poisoned { deaths, .. } => {
                write!(f, "has killed its worker {deaths} times and is not tried again")
            }
            Encode { message, .. } => {
                write!(f, "has an argument or a result that cannot be serialised: {message}")
            }
            Decode { message, .. } => write!(f, "got data that does not fit its types: {message}"),
            TooLarge { size, limit, .. } => {
                write!(
                    f,
                    "has arguments or a result of {size} bytes, more than {limit}; pass a file's path instead"
                )
            }
            Protocol { message, .. } => {
                write!(
                    f,
                    "broke the channel to its worker ({message}); it must leave descriptors alone that it did not open"
                )
            }
            InvalidCall { what } => write!(f, "the call cannot be made: {what}"),
            NotRegistered { name } => write!(
                f,
                "no job is registered for {name}: mark the function with #[sidestep::job] or add it to the Registry \
                 given to sidestep::init_with, and pass the function itself, not a pointer to it"
            ),
            PoolBroken { reason } => write!(f, "the pool cannot go on: {reason}"),
            Cancelled => f.write_str("the job was cancelled"),
            PoolClosed => f.write_str("the pool is closed and takes no more jobs"),
            StillRunning => f.write_str("the job is not done yet"),
            Taken => f.write_str("the job's result was taken before"),
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((job, id, pid)) = self.place() {
            write!(f, "job {id} \"{job}\"")?;
            if let Some(pid) = pid {
                write!(f, " in process {pid}")?;
            }
            f.write_str(" ")?;
        }
        self.what(f)
    }
}

impl std::error::Error for JobError {}

/// Why a pool could not be made, or has ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// No worker process could be started.
    Spawn {
        /// What the system said, and what to do about it.
        message: String,
    },
    /// A worker has started and never got ready.
    Start {
        /// What it did instead.
        message: String,
        /// The last lines that it wrote to stderr.
        stderr_tail: String,
    },
    /// The worker runs another program, or another build of this one, than this process.
    Mismatch {
        /// What this process is.
        ours: String,
        /// What the worker is.
        theirs: String,
    },
    /// Workers die again and again before they get ready.
    RestartStorm {
        /// How many have died, one after the other.
        deaths: u32,
        /// The last lines that the last one wrote to stderr.
        stderr_tail: String,
    },
    /// The initializer has failed.
    Initializer {
        /// Its panic or its error.
        message: String,
    },
    /// A pool that several programs share cannot be reached, or its server has ended.
    Server {
        /// Its name.
        name: String,
        /// What is wrong, and what to do about it.
        message: String,
    },
    /// An option of the builder cannot be.
    Config {
        /// Which, and why.
        what: String,
    },
    /// A worker copy tried to make a pool before it reached `sidestep::init()`.
    Nested,
    /// The pool is still open: call `close` or `terminate` before `join`.
    Open,
    /// These processes could not be reaped within five seconds; a background thread goes on waiting for them.
    Unreaped {
        /// Their ids.
        pids: Vec<u32>,
    },
    /// The time given to `join_timeout` was not enough; the pool goes on closing.
    StillRunning,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::Spawn { message } => write!(f, "cannot start a worker: {message}"),
            PoolError::Start { message, stderr_tail } => {
                write!(
                    f,
                    "a worker did not get ready: {message}; call sidestep::init() in the first line of main \
                     (in tests and benches: sidestep::worker_entry!() at file level)"
                )?;
                tail(f, stderr_tail)
            }
            PoolError::Mismatch { ours, theirs } => write!(
                f,
                "the worker is another build than this process (here {ours}, there {theirs}); \
                 start this program again after an update, or rebuild the worker's"
            ),
            PoolError::RestartStorm { deaths, stderr_tail } => {
                write!(f, "{deaths} workers in a row died before they got ready")?;
                tail(f, stderr_tail)
            }
            PoolError::Initializer { message } => write!(f, "the initializer failed: {message}"),
            PoolError::Server { name, message } => write!(f, "the shared pool {name}: {message}"),
            PoolError::Config { what } => f.write_str(what),
            PoolError::Nested => f.write_str(
                "a worker copy tried to make a pool before it served: call sidestep::init() in the first line of main",
            ),
            PoolError::Open => f.write_str("the pool is still open: call close() or terminate() before join()"),
            PoolError::Unreaped { pids } => {
                write!(f, "processes {pids:?} were killed and do not end; they are probably stuck in the kernel")
            }
            PoolError::StillRunning => f.write_str("the pool is still working off its jobs"),
        }
    }
}

fn tail(f: &mut fmt::Formatter<'_>, stderr_tail: &str) -> fmt::Result {
    if stderr_tail.is_empty() { Ok(()) } else { write!(f, "; it wrote:\n{stderr_tail}") }
}

impl std::error::Error for PoolError {}
