//! From a worker's bytes to a handle's result.

use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use sidestep_worker::blocks;
use sidestep_worker::bytes::hosted;
use sidestep_worker::codec;
use sidestep_worker::frame::{Header, Kind, duration_of};
use sidestep_worker::page::Page;
use sidestep_worker::wire::Fault;

use crate::error::{JobError, Place};
use crate::process::{Gauge, Stderr};

use super::Engine;
use super::args::Args;
use super::driver::Io;
use super::inbox::{Inbox, Stopped};
use super::scheduler::{Answer, Fate, Item, Phase};
use super::sink::{Captured, Sink, Values};

/// The reading ends of one worker.
pub(super) struct Ends {
    pub(super) inbox: Inbox,
    pub(super) page: Arc<Page>,
    pub(super) stdout: Option<Arc<Stderr>>,
    pub(super) stderr: Arc<Stderr>,
    pub(super) captures: bool,
    /// If there are limits of what it may use.
    pub(super) gauge: Option<Gauge>,
}

impl Engine {
    pub(super) fn read_results(&self, io: &mut Io, at: usize, generation: u32) {
        let Some(ends) = io.end(at, generation) else { return };
        match ends.inbox.fill() {
            Ok(Stopped::Empty | Stopped::Turn) => self.take_frames(io, at),
            Ok(Stopped::End) => {
                self.poller.remove(ends.inbox.as_fd());
                self.take_frames(io, at);
                self.with(|core, now| {
                    if let Some(link) = core.wires.link(at, generation) {
                        link.closed.get_or_insert(now);
                    }
                });
                self.reap(io, at, generation);
            }
            Err(error) => {
                // It stays an error until the worker is gone.
                self.poller.remove(ends.inbox.as_fd());
                self.with(|core, _| core.wires.condemn(at, error.to_string()));
            }
        }
    }

    /// Takes what a worker has committed, without a system call; tells whether there was anything.
    pub(super) fn look_at(&self, io: &mut Io, at: usize) -> bool {
        let Some(ends) = io.ends.get_mut(at).and_then(Option::as_mut) else { return false };
        match ends.inbox.take(&ends.page) {
            Ok(false) => false,
            Ok(true) => {
                self.take_frames(io, at);
                true
            }
            Err(error) => {
                self.with(|core, _| core.wires.condemn(at, error.to_string()));
                true
            }
        }
    }

    /// Takes all whole frames that were read.
    pub(super) fn take_frames(&self, io: &mut Io, at: usize) {
        let Some(ends) = io.ends[at].as_mut() else { return };
        let mut frames = std::mem::take(&mut io.frames);
        let fault = loop {
            let mut other = None;
            let taken = ends.inbox.take_while(|header, body| {
                let is_result = matches!(header.kind, Kind::Done | Kind::Placed | Kind::Fault);
                if is_result {
                    frames.push((header, body));
                } else {
                    other = Some((header.kind, body));
                }
                is_result
            });
            match (taken, other) {
                (Err(error), _) => break Some(error.to_string()),
                (Ok(()), None) => break None,
                (Ok(()), Some((kind @ (Kind::Hello | Kind::Ready), body))) if frames.is_empty() => {
                    self.greet(at, kind, ends.inbox.body(body));
                }
                (Ok(()), Some((Kind::Forgotten, body))) => {
                    let id = ends.inbox.body(body).try_into().ok().map(u64::from_le_bytes);
                    if !id.is_some_and(|id| self.with(|core, _| core.wires.forgotten(at, id))) {
                        break Some("it forgot what it was not told to forget".into());
                    }
                }
                (Ok(()), Some((kind, _))) => {
                    break Some(format!("a frame of kind {kind:?} came where none can"));
                }
            }
        };
        let fault = if self.settle(ends, at, &frames) {
            fault
        } else {
            Some("it answered more than it was asked".into())
        };
        if let Some(fault) = fault {
            self.with(|core, _| core.wires.condemn(at, fault));
        }
        frames.clear();
        io.frames = frames;
    }

    /// Results are handed over in three steps: whose they are, what they are, that they are counted. Only the first
    /// and the last need the core. `false` if there are more than were asked for.
    pub(super) fn settle(&self, ends: &Ends, at: usize, frames: &[(Header, Range<usize>)]) -> bool {
        if frames.is_empty() {
            return true;
        }
        let mut answers = Vec::new();
        {
            let mut core = self.core();
            if matches!(core.scheduler.phase(), Phase::Broken | Phase::Terminated) {
                return true;
            }
            if core.scheduler.take_answers(at, frames.len() as u32, Instant::now(), &mut answers).is_none() {
                // What was taken before it came to light stays answered.
                drop(core);
                self.deliver(ends, at, &mut answers, frames);
                return false;
            }
        }
        self.deliver(ends, at, &mut answers, frames);
        true
    }

    pub(super) fn deliver(
        &self,
        ends: &Ends,
        at: usize,
        answers: &mut [Answer<Args, Arc<dyn Sink>>],
        frames: &[(Header, Range<usize>)],
    ) {
        let mut rest = frames;
        let accept = |answer: &Answer<Args, Arc<dyn Sink>>| {
            let (own, others) = rest.split_at(rest.len().min(answer.count as usize));
            rest = others;
            ends.accept(answer, own)
        };
        let mut read: Vec<Read<'_>> = answers.iter().map(accept).collect();
        self.with(|core, now| {
            for (answer, read) in answers.iter_mut().zip(&mut read) {
                let again = read.bad.is_some();
                read.again = core.scheduler.settle(answer, read.done, again, read.nanos, now);
            }
            core.scheduler.refill(at, now, &mut core.wires);
        });
        for (answer, read) in answers.iter().zip(read) {
            if read.again || answer.fate == Fate::Late {
                continue;
            }
            if let Some((outcome, output)) = read.bad {
                give(outcome, |outcome| {
                    answer.sink.accept(answer.first, Some(ends.inbox.pid), outcome, output)
                });
            }
            answer.sink.publish(answer.first, answer.count);
        }
    }
}

/// What a job has returned, or why it has not, and what it has printed.
type Outcome<'a> = (Result<Body<'a>, JobError>, Option<Captured>);

/// A result, encoded.
enum Body<'a> {
    /// In the stream that it came in.
    Here(&'a [u8]),
    /// It was large: a copy of what lay in its block.
    Copied(Arc<Vec<u8>>),
}

/// Lets somebody read an outcome. What is decoded from a copy may stay there.
fn give<T>(outcome: Result<Body<'_>, JobError>, read: impl FnOnce(Result<&[u8], JobError>) -> T) -> T {
    match outcome {
        Ok(Body::Here(bytes)) => read(Ok(bytes)),
        Ok(Body::Copied(bytes)) => hosted(bytes, |bytes| read(Ok(bytes))),
        Err(error) => read(Err(error)),
    }
}

/// What became of the items of one answer.
struct Read<'a> {
    /// How many gave a value.
    done: u32,
    nanos: u64,
    /// The one item's outcome, if it is to be tried again: then nobody has seen it yet.
    bad: Option<Outcome<'a>>,
    /// It is tried again.
    again: bool,
}

impl Ends {
    /// Whether something may have been committed that was not read.
    pub(super) fn has_news(&self) -> bool {
        self.page.results().committed() != self.inbox.read()
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &Arc<Stderr>> {
        self.stdout.iter().chain([&self.stderr])
    }

    /// Hands the items of an answer over, but for one that is to be tried again.
    fn accept(&self, answer: &Answer<Args, Arc<dyn Sink>>, frames: &[(Header, Range<usize>)]) -> Read<'_> {
        let mut read = Read { done: 0, nanos: 0, bad: None, again: false };
        read.nanos = frames.last().map_or(0, |(header, _)| duration_of(header.aux));
        if self.are_plain(answer, frames) {
            read.done = answer.sink.accept_all(answer.first, Values::new(&self.inbox, frames));
            return read;
        }
        for (offset, (header, body)) in (0..).zip(frames) {
            let Item { index, id } = answer.first;
            let item = Item { index: index + offset, id: id + offset };
            let output = self.captured(item.id);
            let outcome = self.outcome(answer, item, *header, body.clone());
            if header.kind == Kind::Placed {
                self.page.note_taken();
            }
            if answer.fate == Fate::Late {
                continue;
            }
            if answer.may_try_again() && is_bad(&answer.sink, item, &outcome) {
                read.done += u32::from(outcome.is_ok());
                read.bad = Some((outcome, output));
            } else {
                let by = Some(self.inbox.pid);
                let accept = |outcome: Result<&[u8], JobError>| answer.sink.accept(item, by, outcome, output);
                read.done += u32::from(give(outcome, accept));
            }
        }
        read
    }

    /// Whether nothing is to be done with results but to decode and to keep them.
    fn are_plain(&self, answer: &Answer<Args, Arc<dyn Sink>>, frames: &[(Header, Range<usize>)]) -> bool {
        let wanted = answer.fate == Fate::Wanted && !answer.may_try_again() && !self.captures;
        wanted && frames.iter().all(|(header, _)| header.kind == Kind::Done)
    }

    fn outcome(
        &self,
        answer: &Answer<Args, Arc<dyn Sink>>,
        item: Item,
        header: Header,
        body: Range<usize>,
    ) -> Result<Body<'_>, JobError> {
        let body = self.inbox.body(body);
        if answer.fate != Fate::Wanted {
            return Err(JobError::Cancelled);
        }
        if header.kind == Kind::Done {
            return Ok(Body::Here(body));
        }
        let place = Place { job: answer.sink.job(item), id: item.id, pid: Some(self.inbox.pid) };
        if header.kind == Kind::Placed {
            let copy =
                body.try_into().ok().and_then(|bytes| self.page.fetch(blocks::Place::from_bytes(bytes)));
            let copy = copy.map(|copy| Body::Copied(Arc::new(copy)));
            return copy.ok_or_else(|| {
                place.protocol("its result lies where none can be, or there is no memory for it".into())
            });
        }
        match codec::decode::<Fault>(body) {
            Ok(fault) => Err(place.fault(fault)),
            Err(error) => Err(place.protocol(error.to_string())),
        }
    }

    /// What the job that the worker died in had printed.
    pub(super) fn captured_last(&self) -> Option<(u64, Captured)> {
        let stdout = self.stdout.as_ref().and_then(|stdout| stdout.take_open());
        let stderr = self.stderr.take_open();
        let (id, _) = stdout.as_ref().or(stderr.as_ref())?;
        let id = *id;
        let bytes = |output: Option<(u64, Vec<u8>)>| output.map(|(_, bytes)| bytes).unwrap_or_default();
        Some((id, Captured { stdout: bytes(stdout), stderr: bytes(stderr) }))
    }

    pub(super) fn captured(&self, id: u64) -> Option<Captured> {
        self.captures.then(|| Captured {
            stdout: self.stdout.as_ref().and_then(|stdout| stdout.take(id)).unwrap_or_default(),
            stderr: self.stderr.take(id).unwrap_or_default(),
        })
    }
}

/// Whether an outcome is worth another attempt.
fn is_bad(sink: &Arc<dyn Sink>, item: Item, outcome: &Result<Body<'_>, JobError>) -> bool {
    match outcome {
        Ok(Body::Here(bytes)) => sink.is_bad(item, bytes),
        Ok(Body::Copied(bytes)) => hosted(bytes.clone(), |bytes| sink.is_bad(item, bytes)),
        Err(error) => matches!(error, JobError::Panicked { .. }),
    }
}
