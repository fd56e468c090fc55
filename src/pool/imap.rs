//! Results as they come, from an iterator that is pulled as they go.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::scheduler::TaskSpec;
use crate::error::JobError;

use super::pull::{Encode, Puller};
use super::stream::Stream;

/// The results of an `imap` or `imap_unordered`, one for each item.
///
/// Input is pulled inside [`next`](Iterator::next) only, on the thread that calls it, a bounded number of items ahead of
/// the results: at first 4 for each worker, after the first result 32, more only as items prove short, and fewer if
/// arguments or results are large: 64 KiB of arguments for each worker, 4 MiB of results in all, but two items for each
/// worker in any case. So one who takes results slowly does not pile them up.
///
/// Dropping it withdraws what has not started. If the input panics, the panic comes out of `next`, after the results of
/// the items before it; the pool stays usable.
#[must_use = "jobs are submitted only as results are asked for"]
pub struct Imap<'p, I: Iterator, R>(Puller<'p, I, R>);

impl<'p, I: Iterator, R: Send + 'static> Imap<'p, I, R> {
    pub(super) fn new(
        engine: &'p Arc<Engine>,
        input: I,
        encode: Encode<I::Item>,
        results: Stream<R>,
        spec: Result<TaskSpec, JobError>,
    ) -> Self {
        Imap(Puller::new(engine, input, encode, results, spec))
    }

    /// The next result, if it is there before the time is up, else [`JobError::StillRunning`]: then a later call
    /// gives it.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, JobError>> {
        self.0.next_result(Some(timeout))
    }
}

impl<I: Iterator, R: Send + 'static> Iterator for Imap<'_, I, R> {
    type Item = Result<R, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_result(None)
    }
}

/// After the end comes the end.
impl<I: Iterator, R: Send + 'static> std::iter::FusedIterator for Imap<'_, I, R> {}

impl<I: Iterator, R> std::fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Imap(Puller { pulled, given, .. }) = self;
        f.debug_struct("Imap").field("pulled", pulled).field("given", given).finish_non_exhaustive()
    }
}
