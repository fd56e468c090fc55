//! From a worker's bytes to a handle's result.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use sidestep_worker::codec;
use sidestep_worker::frame::{Header, Kind, duration_of};
use sidestep_worker::wire::Fault;

use crate::error::{JobError, Place};
use crate::process::Stderr;

use super::Engine;
use super::driver::Io;
use super::inbox::{Inbox, Stopped};
use super::scheduler::{Answer, Item, Phase};
use super::sink::{Captured, Sink};

/// The reading ends of one worker.
pub(super) struct Ends {
    pub(super) inbox: Inbox,
    pub(super) stdout: Option<Arc<Stderr>>,
    pub(super) stderr: Arc<Stderr>,
    pub(super) captures: bool,
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

    /// Takes all whole frames that were read.
    pub(super) fn take_frames(&self, io: &mut Io, at: usize) {
        let Some(ends) = io.ends[at].as_mut() else { return };
        let mut frames = std::mem::take(&mut io.frames);
        let fault = loop {
            match ends.inbox.next() {
                Ok(Some((header, _)))
                    if !matches!(header.kind, Kind::Done | Kind::Fault) && !frames.is_empty() =>
                {
                    break Some(format!("a frame of kind {:?} came between results", header.kind));
                }
                Ok(Some((header, body))) if matches!(header.kind, Kind::Hello | Kind::Ready) => {
                    self.greet(at, header.kind, ends.inbox.body(body));
                }
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
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
    pub(super) fn settle(&self, ends: &Ends, at: usize, frames: &[(Header, std::ops::Range<usize>)]) -> bool {
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
                self.deliver(ends, at, &answers, frames);
                return false;
            }
        }
        self.deliver(ends, at, &answers, frames);
        true
    }

    pub(super) fn deliver(
        &self,
        ends: &Ends,
        at: usize,
        answers: &[Answer<Arc<dyn Sink>>],
        frames: &[(Header, std::ops::Range<usize>)],
    ) {
        let mut frames = frames.iter();
        let settled: Vec<(u32, u64)> = answers
            .iter()
            .map(|answer| {
                let mut done = 0;
                let mut nanos = 0;
                for (offset, (header, body)) in (0..answer.count).zip(frames.by_ref()) {
                    let item = Item {
                        index: answer.first.index + u64::from(offset),
                        id: answer.first.id + u64::from(offset),
                    };
                    nanos = duration_of(header.aux);
                    let outcome = ends.outcome(answer, item, *header, body.clone());
                    let output = ends.captured(item.id);
                    done += u32::from(answer.sink.accept(item, outcome, output));
                }
                (done, nanos)
            })
            .collect();
        self.with(|core, now| {
            for (answer, (done, nanos)) in answers.iter().zip(settled) {
                core.scheduler.settle(answer, done, nanos);
            }
            core.scheduler.refill(at, now, &mut core.wires);
        });
        for answer in answers {
            answer.sink.publish();
        }
    }
}

impl Ends {
    pub(super) fn outputs(&self) -> impl Iterator<Item = &Arc<Stderr>> {
        self.stdout.iter().chain([&self.stderr])
    }

    pub(super) fn outcome(
        &self,
        answer: &Answer<Arc<dyn Sink>>,
        item: Item,
        header: Header,
        body: std::ops::Range<usize>,
    ) -> Result<&[u8], JobError> {
        let body = self.inbox.body(body);
        if answer.cancelled {
            return Err(JobError::Cancelled);
        }
        if header.kind == Kind::Done {
            return Ok(body);
        }
        let place = Place { job: answer.sink.job().to_owned(), id: item.id, pid: Some(self.inbox.pid) };
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
