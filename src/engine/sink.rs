//! Where results go: the engine's view of a handle.

use std::ops::Range;

use sidestep_worker::frame::Header;

use crate::error::JobError;

use super::inbox::Inbox;
use super::scheduler::Item;

/// What a job has written, when the pool captures it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// What it wrote to stdout, if the pool's `stdout` is [`Output::Capture`](crate::Output::Capture).
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, if the pool's `stderr` is [`Output::Capture`](crate::Output::Capture).
    pub stderr: Vec<u8>,
}

/// The bytes of consecutive results.
#[derive(Clone)]
pub(crate) struct Values<'a> {
    inbox: &'a Inbox,
    frames: std::slice::Iter<'a, (Header, Range<usize>)>,
}

impl<'a> Values<'a> {
    pub(super) fn new(inbox: &'a Inbox, frames: &'a [(Header, Range<usize>)]) -> Values<'a> {
        Values { inbox, frames: frames.iter() }
    }

    /// The process that they came from.
    pub(super) fn pid(&self) -> u32 {
        self.inbox.pid
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (_, body) = self.frames.next()?;
        Some(self.inbox.body(body.clone()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.frames.size_hint()
    }
}

impl ExactSizeIterator for Values<'_> {}

/// Takes the outcomes of one task's items, on whichever thread moves results.
///
/// An outcome comes in two steps, so that it is counted before anybody sees it: [`accept`](Sink::accept) decodes it
/// and keeps it, [`publish`](Sink::publish) shows it. No lock of the engine is held in either.
pub(crate) trait Sink: Send + Sync {
    /// Keeps an item's outcome, which came from the process `by`, if from any; tells whether it is a value.
    fn accept(
        &self,
        item: Item,
        by: Option<u32>,
        outcome: Result<&[u8], JobError>,
        output: Option<Captured>,
    ) -> bool;
    /// Keeps the results of consecutive items, all of them bytes of values; tells how many are values indeed.
    fn accept_all(&self, first: Item, values: Values<'_>) -> u32 {
        accept_each(self, first, values)
    }
    /// Whether a value is so bad that the job is to be tried again. Asked before [`accept`](Sink::accept).
    fn is_bad(&self, item: Item, bytes: &[u8]) -> bool;
    /// Consecutive items' outcomes, which were accepted, are counted: wakes whoever waits for them.
    fn publish(&self, first: Item, count: u32);
    /// The name of an item's job.
    fn job(&self, item: Item) -> String;
}

/// [`Sink::accept_all`], one by one.
pub(crate) fn accept_each(sink: &(impl Sink + ?Sized), first: Item, values: Values<'_>) -> u32 {
    let by = Some(values.pid());
    (0..).zip(values).map(|(at, bytes)| u32::from(sink.accept(first.after(at), by, Ok(bytes), None))).sum()
}
