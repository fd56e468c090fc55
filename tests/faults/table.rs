//! What each fault does, to a job and to its worker.

use sidestep::faults::{Fault, Moment, Trap};
use sidestep::{Cause, JobError};

use Fate::{Deaf, Dies, Lives, Stopped};
use Outcome::{Cancelled, Lost, Panicked, Poisoned, Protocol, TimedOut};

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

/// How a job ends that has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
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
        let retries = if terms == Terms::Retried { RETRIES.into() } else { 0 };
        match self.outcome {
            Lost(_) | Protocol if retries > 0 => Expected { outcome: Poisoned, restarts: 3, retried: 2 },
            Lost(_) | Protocol => Expected { outcome: self.outcome, restarts: 1, retried: 0 },
            Cancelled if terms != Terms::Once => {
                Expected { outcome: TimedOut, restarts: 0, retried: retries }
            }
            Panicked => Expected { outcome: Panicked, restarts: 0, retried: retries },
            outcome => Expected { outcome, restarts: 0, retried: 0 },
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

/// All that there is to be tried: after its end it is all the same how a job was called.
pub(crate) fn cells() -> impl Iterator<Item = (Moment, &'static Row, Terms)> {
    let moments = Moment::ALL.iter().flat_map(|when| ROWS.iter().map(|row| (*when, row)));
    moments.flat_map(|(when, row)| {
        let terms: &[Terms] = match is_in_job(when) {
            true => &[Terms::Once, Terms::Limited, Terms::Retried],
            false => &[Terms::Once],
        };
        terms.iter().map(move |terms| (when, row, *terms))
    })
}

pub(crate) fn assert_complete() {
    let faults: Vec<Fault> = ROWS.iter().map(|row| row.how).collect();
    assert_eq!(faults, Fault::ALL);
}
