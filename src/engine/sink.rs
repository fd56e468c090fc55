//! Where results go: the engine's view of a handle.

use crate::error::JobError;

use super::scheduler::Item;

/// What a job has written, when the pool captures it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// What it wrote to stdout, if the pool's `stdout` is [`Output::Capture`](crate::Output::Capture).
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, if the pool's `stderr` is [`Output::Capture`](crate::Output::Capture).
    pub stderr: Vec<u8>,
}

/// Takes the outcomes of one task's items, on whichever thread moves results.
///
/// An outcome comes in two steps, so that it is counted before anybody sees it: [`accept`](Sink::accept) decodes it
/// and keeps it, [`publish`](Sink::publish) shows it. No lock of the engine is held in either.
pub(crate) trait Sink: Send + Sync {
    /// Keeps an item's outcome; tells whether it is a value.
    fn accept(&self, item: Item, outcome: Result<&[u8], JobError>, output: Option<Captured>) -> bool;
    /// Whether a value is so bad that the job is to be tried again. Asked before [`accept`](Sink::accept).
    fn is_bad(&self, bytes: &[u8]) -> bool;
    /// Wakes whoever waits, if what was accepted is what they wait for.
    fn publish(&self);
    /// The job's name.
    fn job(&self) -> &str;
}
