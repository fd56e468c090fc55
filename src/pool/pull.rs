//! Pulls input as its results are asked for: nobody has to hold all of either.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec::CodecError;
use sidestep_worker::wire::RunHeader;

use crate::engine::scheduler::TaskSpec;
use crate::engine::{Captured, Engine};
use crate::error::{JobError, Place};

use super::feed::{Feed, Filled, Full};
use super::stream::{Backlog, Stream};

/// Items that are pulled ahead for each worker until there is a result: it may turn out to be large.
const START_AHEAD: u64 = 4;
/// As many as this are until it is known how long an item takes.
const FIRST_AHEAD: u64 = 32;
/// Work that is pulled ahead for each worker once that is known, in nanoseconds,
const AHEAD: u64 = 2_000_000;
/// and no more bytes of arguments than this for each,
const AHEAD_BYTES: u64 = 64 << 10;
/// and no more bytes of results in all, be they there and not taken or still to come,
const RESULT_BYTES: u64 = 4 << 20;
/// but this many items in any case, so that nobody waits for input.
const LEAST_AHEAD: u64 = 2;
/// Items are pulled one by one if their arguments or their results take more than this; else it is not looked before each
/// whether there is room, but before so many.
const SMALL: u64 = 256;
const SEVERAL: u64 = 32;

/// The arguments of a job as bytes.
pub(super) type Encode<T> = fn(T, &mut Buffer<'_>) -> Result<(), CodecError>;

/// The two ends of one task: what goes in and what comes out, on one thread.
pub(super) struct Puller<'p, I: Iterator, R> {
    engine: &'p Arc<Engine>,
    input: Input<I>,
    encode: Encode<I::Item>,
    pub(super) results: Arc<Stream<R>>,
    /// Some of them, taken together and not given yet.
    taken: VecDeque<(u64, Result<R, Box<JobError>>)>,
    feed: Option<Feed>,
    job: u32,
    /// Items pulled, and results given.
    pub(super) pulled: u64,
    pub(super) given: u64,
    /// Items to be pulled ahead of the results.
    window: u64,
}

enum Input<I> {
    Open(I),
    Ended,
    /// It has panicked; the panic comes out once all results before it have been given.
    Panicked(Box<dyn Any + Send>),
}

impl<'p, I: Iterator, R: Send + 'static> Puller<'p, I, R> {
    /// Without a `spec` it gives that error and ends.
    pub(super) fn new(
        engine: &'p Arc<Engine>,
        input: I,
        encode: Encode<I::Item>,
        results: Stream<R>,
        spec: Result<TaskSpec, JobError>,
    ) -> Self {
        let results = Arc::new(results);
        let job = spec.as_ref().map_or(0, |spec| spec.job);
        let feed = spec.and_then(|spec| {
            let feed =
                Feed::open(engine, results.clone(), spec, Full::Stays).ok_or_else(|| engine.refusal())?;
            results.opened(feed.task);
            Ok(feed)
        });
        let (input, feed, pulled) = match feed {
            Ok(feed) => (Input::Open(input), Some(feed), 0),
            Err(error) => {
                results.refuse_all(error);
                (Input::Ended, None, 1)
            }
        };
        Puller {
            engine,
            input,
            encode,
            results,
            taken: VecDeque::new(),
            feed,
            job,
            pulled,
            given: 0,
            window: 0,
        }
    }

    /// The next result, and the place of its item in the input.
    pub(super) fn advance(&mut self, deadline: Option<Instant>) -> Option<(u64, Result<R, JobError>)> {
        loop {
            if let Some((index, result)) = self.taken.pop_front() {
                self.given += 1;
                return Some((index, result.map_err(|error| *error)));
            }
            if !self.is_settled() {
                self.pull();
            }
            if let Some(feed) = self.held_up() {
                if !feed.hand_over_by(deadline) {
                    return Some((self.given, Err(JobError::StillRunning)));
                }
                continue;
            }
            if self.given == self.pulled {
                if let Input::Panicked(panic) = std::mem::replace(&mut self.input, Input::Ended) {
                    resume_unwind(panic);
                }
                return None;
            }
            if !self.results.wait(self.engine, deadline) {
                let error = match deadline {
                    Some(_) => JobError::StillRunning,
                    None => super::waited_while_reading(),
                };
                return Some((self.given, Err(error)));
            }
            self.results.take(&mut self.taken);
        }
    }

    /// The same without a place, and what the job has printed is dropped.
    pub(super) fn next_result(&mut self, timeout: Option<Duration>) -> Option<Result<R, JobError>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (index, result) = self.advance(deadline)?;
        self.take_output(index);
        Some(result)
    }

    /// What the job of an item has printed, if the pool captures it.
    pub(super) fn take_output(&self, index: u64) -> Option<Captured> {
        self.engine.captures().then(|| self.results.take_output(index)).flatten()
    }

    /// If all that was pulled and not given waits for room in the queue, so that no result can come before that.
    fn held_up(&mut self) -> Option<&mut Feed> {
        let waiting = self.pulled - self.given;
        self.feed.as_mut().filter(|feed| feed.pending() > 0 && feed.pending() == waiting)
    }

    /// Items to be pulled ahead in any case.
    fn least(&self) -> u64 {
        let each = if self.given == 0 { START_AHEAD } else { FIRST_AHEAD };
        each * self.engine.config.workers as u64
    }

    fn has_enough(&self) -> bool {
        let under_way = self.pulled - self.given;
        under_way * 2 > self.window.max(self.least()) && under_way >= LEAST_AHEAD
    }

    /// Whether nothing is to be pulled now, and nothing waits to be handed over.
    fn is_settled(&self) -> bool {
        match (&self.input, &self.feed) {
            (Input::Open(_), Some(feed)) => feed.is_up_to_date() && self.has_enough(),
            (Input::Ended, feed) => feed.is_none(),
            _ => false,
        }
    }

    /// Pulls input until enough is under way.
    fn pull(&mut self) {
        self.hand_over();
        if !matches!(self.input, Input::Open(_)) || self.has_enough() {
            return;
        }
        let (workers, least) = (self.engine.config.workers as u64, self.least());
        let pace = self.engine.pace(self.job);
        let wanted = AHEAD.checked_div(pace).unwrap_or(0).max(FIRST_AHEAD) * workers;
        self.window = wanted.min((self.window * 2).max(least));
        let results = self.results.backlog();
        let is_small = self.bytes_each() <= SMALL && (1..=SMALL).contains(&results.average);
        while self.pulled - self.given < self.window {
            if !self.has_room(workers, results) {
                if is_small {
                    // Not to be asked again before each of many.
                    self.window = self.pulled - self.given;
                }
                break;
            }
            if !self.pull_some(is_small) {
                break;
            }
        }
        self.hand_over();
    }

    /// Gives the engine what was pulled, if its queue has room; in the end the news that it was all, too.
    fn hand_over(&mut self) {
        let Some(feed) = &mut self.feed else { return };
        feed.hand_over();
        if !feed.refused.is_empty() {
            self.input = Input::Ended;
        }
        if feed.pending() == 0 && matches!(self.input, Input::Ended | Input::Panicked(_)) {
            self.finish();
        }
    }

    /// Whether the arguments under way and their results, by their average size, leave room for one more.
    fn has_room(&self, workers: u64, results: Backlog) -> bool {
        let under_way = self.pulled - self.given;
        let average = if under_way == 0 { 0 } else { self.bytes_each() };
        let fits = under_way.saturating_mul(average) < AHEAD_BYTES * workers
            && results.expected(under_way) < RESULT_BYTES;
        let is_full = self.feed.as_ref().is_none_or(Feed::is_full);
        (fits || under_way < LEAST_AHEAD * workers) && !is_full
    }

    /// Pulls some items; `false` if there is none now, or no more are wanted.
    fn pull_some(&mut self, is_small: bool) -> bool {
        let mut left = if is_small { SEVERAL.min(self.window - (self.pulled - self.given)) } else { 1 };
        let (Input::Open(input), Some(feed)) = (&mut self.input, &mut self.feed) else { return false };
        let (mut ended, pulled) = (false, &mut self.pulled);
        let next = || {
            left = left.checked_sub(1)?;
            let item = input.next();
            ended = item.is_none();
            *pulled += u64::from(!ended);
            item
        };
        match feed.fill(next, self.encode) {
            Filled::Whole => return feed.refused.is_empty(),
            Filled::NoMore if ended => self.input = Input::Ended,
            // So many were pulled as were to be.
            Filled::NoMore => return true,
            Filled::Panicked(panic) => self.input = Input::Panicked(panic),
            Filled::Failed { index, id, error } => {
                let place = Place { job: self.results.job.to_string(), id, pid: None };
                self.results.refuse(index, place.encode(error));
                return true;
            }
        }
        false
    }

    /// What the arguments of an item take, so far.
    fn bytes_each(&self) -> u64 {
        let bytes = self.feed.as_ref().map_or(0, Feed::total_bytes);
        bytes.checked_div(self.pulled).map_or(u64::MAX, |bytes| bytes.saturating_sub(RunHeader::PIECE as u64))
    }

    /// All is handed over. What was pulled and not taken fails.
    fn finish(&mut self) {
        let Some(mut feed) = self.feed.take() else { return };
        feed.finish();
        for index in feed.refused.drain(..).flatten() {
            self.results.refuse(index, self.engine.refusal());
        }
    }
}

impl<I: Iterator, R> Drop for Puller<'_, I, R> {
    fn drop(&mut self) {
        self.results.withdraw(self.engine);
    }
}
