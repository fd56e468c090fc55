//! What each fault does, to a job and to its worker.

use sidestep::faults::{Fault, Moment};

use Ending::{Cancelled, Exit, Panicked, Protocol, Signal};
use Fate::{Deaf, Dies, Lives, Stopped};

/// One fault.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) how: Fault,
    /// How a job ends that is struck before its result counts.
    pub(crate) ending: Ending,
    /// What becomes of a worker that is struck afterwards. The job has its result whatever that is.
    pub(crate) fate: Fate,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its worker is lost by this signal.
    Signal(i32),
    /// Its worker is lost by an exit.
    Exit(i32),
    /// It has panicked; its worker lives on.
    Panicked,
    /// It has lost the channel, and its worker has ended.
    Protocol,
    /// It does not end until it is cancelled, which ends its worker.
    Cancelled,
}

/// What becomes of a worker in which a thread strikes while no job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is replaced at once.
    Dies,
    /// It serves on.
    Lives,
    /// It serves again when it is continued.
    Stopped,
    /// It may notice only at the next job, which then ends in `Protocol`.
    Deaf,
}

/// One for each of [`Fault::ALL`], in the same order.
pub(crate) const ROWS: &[Row] = &[
    Row { how: Fault::Segv, ending: Signal(libc::SIGSEGV), fate: Dies },
    Row { how: Fault::Bus, ending: Signal(libc::SIGBUS), fate: Dies },
    Row { how: Fault::Ill, ending: Signal(libc::SIGILL), fate: Dies },
    Row { how: Fault::Fpe, ending: Signal(libc::SIGFPE), fate: Dies },
    Row { how: Fault::Abort, ending: Signal(libc::SIGABRT), fate: Dies },
    Row { how: Fault::StackOverflow, ending: Signal(libc::SIGABRT), fate: Dies },
    Row { how: Fault::OutOfMemory, ending: Signal(libc::SIGABRT), fate: Dies },
    Row { how: Fault::Exit(0), ending: Exit(0), fate: Dies },
    Row { how: Fault::Kill, ending: Signal(libc::SIGKILL), fate: Dies },
    Row { how: Fault::Stop, ending: Cancelled, fate: Stopped },
    Row { how: Fault::Hang, ending: Cancelled, fate: Lives },
    Row { how: Fault::Spin, ending: Cancelled, fate: Lives },
    Row { how: Fault::Panic, ending: Panicked, fate: Lives },
    Row { how: Fault::PanicInDrop, ending: Signal(libc::SIGABRT), fate: Dies },
    Row { how: Fault::CloseDescriptors, ending: Protocol, fate: Deaf },
];

/// Whether the job's result does not count yet at that moment.
pub(crate) fn is_in_job(when: Moment) -> bool {
    !matches!(when, Moment::Committed | Moment::Idle)
}

pub(crate) fn assert_complete() {
    let faults: Vec<Fault> = ROWS.iter().map(|row| row.how).collect();
    assert_eq!(faults, Fault::ALL);
}
