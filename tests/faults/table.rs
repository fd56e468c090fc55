//! What each fault does, to a job and to its worker.

use sidestep::faults::{Fault, Moment, Trap};
use sidestep::{Cause, JobError};

use Fate::{Deaf, Dies, Lives, Stopped};
use Outcome::{Cancelled, Lost, Panicked, Poisoned, Protocol, TimedOut, Value};

/// One fault.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) how: Fault,
    /// How a job ends that is struck before its result counts, if it is tried once. One that hangs is cancelled.
    pub(crate) outcome: Outcome,
    /// What becomes of a worker that is struck afterwards. The job has its result whatever that is.
    pub(crate) fate: Fate,
}

/// One for each of [`Fault::ALL`], in the same order.
pub(crate) const ROWS: &[Row] = &[
    Row { how: Fault::Segv, outcome: killed_by(libc::SIGSEGV), fate: Dies },
    Row { how: Fault::Bus, outcome: killed_by(libc::SIGBUS), fate: Dies },
    Row { how: Fault::Ill, outcome: killed_by(libc::SIGILL), fate: Dies },
    Row { how: Fault::Fpe, outcome: killed_by(libc::SIGFPE), fate: Dies },
    Row { how: Fault::Abort, outcome: killed_by(libc::SIGABRT), fate: Dies },
    Row { how: Fault::StackOverflow, outcome: killed_by(libc::SIGABRT), fate: Dies },
    Row { how: Fault::OutOfMemory, outcome: killed_by(libc::SIGABRT), fate: Dies },
    Row { how: Fault::Exit(0), outcome: Lost(Cause::Exit(0)), fate: Dies },
    Row { how: Fault::Kill, outcome: killed_by(libc::SIGKILL), fate: Dies },
    Row { how: Fault::Stop, outcome: Cancelled, fate: Stopped },
    Row { how: Fault::Hang, outcome: Cancelled, fate: Lives },
    Row { how: Fault::Spin, outcome: Cancelled, fate: Lives },
    Row { how: Fault::Panic, outcome: Panicked, fate: Lives },
    Row { how: Fault::PanicInDrop, outcome: killed_by(libc::SIGABRT), fate: Dies },
    Row { how: Fault::CloseDescriptors, outcome: Protocol, fate: Deaf },
];

const fn killed_by(signal: i32) -> Outcome {
    Lost(Cause::Signal(signal))
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Value,
    Lost(Cause),
    Panicked,
    Protocol,
    Cancelled,
    TimedOut,
    Poisoned,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn of(result: &Result<Trap, JobError>) -> Outcome {
        match result {
            Ok(_) => Value,
            Err(JobError::WorkerLost { cause, .. }) => Lost(*cause),
            Err(JobError::Panicked { .. }) => Panicked,
            Err(JobError::Protocol { .. }) => Protocol,
            Err(JobError::Cancelled) => Cancelled,
            Err(JobError::TimedOut { .. }) => TimedOut,
            Err(JobError::Poisoned { deaths: 3, .. }) => Poisoned,
            other => panic!("that is in no row: {other:?}"),
        }
    }
}

/// What becomes of a worker in which a thread strikes while no job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is replaced at once.
    Dies,
    /// It serves on.
    Lives,
    /// It serves on when it is continued.
    Stopped,
    /// It may notice only at the next job, which then ends in `Protocol`.
    Deaf,
}

/// How the job that is to be struck is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// As it is.
    Once,
    /// With a time limit.
    Limited,
    /// With a time limit and more retries than a poisonous job gets.
    Retried,
    /// The same, and only its first attempt is struck.
    Flaky,
}

/// Attempts after the first.
pub(crate) const RETRIES: u32 = 3;

/// How a call ends, and what it has cost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) outcome: Outcome,
    /// Workers that have died by themselves.
    pub(crate) restarts: u64,
    pub(crate) retried: u64,
}

impl Row {
    /// How a job ends that is struck before its result counts.
    pub(crate) fn under(&self, terms: Terms) -> Expected {
        let limited = if self.hangs() { TimedOut } else { self.outcome };
        let dies = matches!(self.outcome, Lost(_) | Protocol);
        match terms {
            Terms::Once => Expected { outcome: self.outcome, restarts: dies.into(), retried: 0 },
            Terms::Limited => Expected { outcome: limited, restarts: dies.into(), retried: 0 },
            Terms::Retried if dies => Expected { outcome: Poisoned, restarts: 3, retried: 2 },
            Terms::Retried => Expected { outcome: limited, restarts: 0, retried: RETRIES.into() },
            Terms::Flaky => Expected { outcome: Value, restarts: dies.into(), retried: 1 },
        }
    }

    /// Whether it leaves a job that is tried once under way for ever.
    pub(crate) fn hangs(&self) -> bool {
        self.outcome == Cancelled
    }
}

/// Whether the job's result does not count yet at that moment.
pub(crate) fn is_in_job(when: Moment) -> bool {
    !matches!(when, Moment::Committed | Moment::Idle)
}

/// All that there is to be tried. After its end it is all the same how a job was called.
pub(crate) fn cells() -> impl Iterator<Item = (Moment, &'static Row, Terms)> {
    let moments = Moment::ALL.iter().flat_map(|when| ROWS.iter().map(|row| (*when, row)));
    moments.flat_map(|(when, row)| {
        let terms: &[Terms] = match is_in_job(when) {
            true if row.hangs() => &[Terms::Once, Terms::Limited, Terms::Retried, Terms::Flaky],
            true => &[Terms::Once, Terms::Retried, Terms::Flaky],
            false => &[Terms::Once],
        };
        terms.iter().map(move |terms| (when, row, *terms))
    })
}

pub(crate) fn assert_complete() {
    let faults: Vec<Fault> = ROWS.iter().map(|row| row.how).collect();
    assert_eq!(faults, Fault::ALL);
}
