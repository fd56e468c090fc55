//! Moves results, notices deaths, keeps time. Whoever holds `io` does it: the pool's own thread, or a caller who waits.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sidestep_worker::codec;
use sidestep_worker::frame::{Header, Kind, duration_of};
use sidestep_worker::page::LastWords;
use sidestep_worker::wire::{Fault, Mark};

use crate::error::{Cause, JobError, Place, PoolError};
use crate::process::{Exit, Flow, Interest, Poller, Ready, Spawned, Stderr};

use super::inbox::{Inbox, Stopped};
use super::outbox::Outbox;
use super::scheduler::{Answer, Down, Item, Phase, State, UNCLAIMED};
use super::sink::{Captured, Sink};
use super::sleep::Sleep;
use super::start::{self, Greeting, Start};
use super::wires::{self, Link, Loss};
use super::{Arrival, Core, Engine};

/// A caller who waits polls this long before he sleeps: waking a sleeper takes longer than a short job.
const SPIN: Duration = Duration::from_micros(50);
/// Time is looked at no more often than this while results come in.
const TICK: Duration = Duration::from_millis(1);
/// A worker that was told to go, has nothing left to answer and stays is killed after this long.
const LEAVING: Duration = Duration::from_secs(10);
/// A worker that has closed its result pipe and lives on for this long was not about to end: a job has closed it.
const CLOSED: Duration = Duration::from_millis(100);
/// A worker that has not read on in the middle of a frame for this long is not merely slow.
const STUCK: Duration = Duration::from_secs(5);
/// A killed worker that stays this long is given up to a background thread.
const UNREAPED: Duration = Duration::from_secs(5);

/// What the one who reads needs.
#[derive(Default)]
pub(super) struct Io {
    ready: Vec<Ready>,
    ends: Vec<Option<Ends>>,
    /// Outputs that could not be read for the moment.
    paused: Vec<(usize, u32, Source)>,
    frames: Vec<(Header, std::ops::Range<usize>)>,
    next_tick: Option<Instant>,
}

/// The reading ends of one worker.
struct Ends {
    inbox: Inbox,
    stdout: Option<Arc<Stderr>>,
    stderr: Arc<Stderr>,
    captures: bool,
}

/// What a descriptor of a worker's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Source {
    Results = 0,
    Exit = 1,
    Jobs = 2,
    Stderr = 3,
    Stdout = 4,
}

/// A name for the poller: slot, generation and source. An event of a worker that is gone names an old generation.
pub(super) fn token(slot: usize, generation: u32, source: Source) -> u64 {
    (slot as u64) << 32 | u64::from(generation & 0x1FFF_FFFF) << 3 | source as u64
}

fn untoken(token: u64) -> (usize, u32, Source) {
    let source = match token & 7 {
        0 => Source::Results,
        1 => Source::Exit,
        2 => Source::Jobs,
        3 => Source::Stderr,
        _ => Source::Stdout,
    };
    ((token >> 32) as usize, (token >> 3) as u32 & 0x1FFF_FFFF, source)
}

impl Engine {
    fn try_io(&self) -> Option<MutexGuard<'_, Io>> {
        match self.io.try_lock() {
            Ok(io) => Some(io),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The pool's own thread.
    pub(super) fn run(self: Arc<Self>) {
        let mut ready = Vec::new();
        while !self.core().finished {
            self.turns.park();
            let timeout = self.sleep_time(Sleep::fall_in_thread);
            let waited = self.poller.wait(&mut ready, timeout);
            self.sleep.thread_rises();
            if waited.is_err() {
                // A poller that fails would make this loop spin; workers' deaths still come to notice by time.
                std::thread::sleep(TICK);
            }
            match self.try_io() {
                Some(mut io) => {
                    self.sleep.rise();
                    std::mem::swap(&mut io.ready, &mut ready);
                    self.process(&mut io);
                }
                // A caller has begun to read. Descriptors tell him again, but a bell is heard only once, and this one
                // may have been for him.
                None => self.poller.wake(),
            }
            ready.clear();
        }
    }

    /// How long to sleep; notes it, so that whoever changes that wakes the sleeper.
    fn sleep_time(&self, note: fn(&Sleep, Option<Duration>)) -> Option<Duration> {
        let mut guard = self.core();
        let core = &mut *guard;
        let time = core.scheduler.next_look(Instant::now(), &core.wires);
        note(&self.sleep, time);
        time
    }

    /// Moves results until `done`, or the deadline. `false` at once if somebody else does so already.
    pub(crate) fn drive(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        let Some(mut io) = self.try_io() else {
            self.rouse();
            return false;
        };
        let turn = self.turns.begin();
        let spin_until = Instant::now() + SPIN;
        while !done() {
            let now = Instant::now();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let timeout = if now < spin_until {
                Some(Duration::ZERO)
            } else {
                let look = self.sleep_time(Sleep::fall);
                if done() {
                    break;
                }
                left.into_iter().chain(look).min()
            };
            let mut ready = std::mem::take(&mut io.ready);
            let _ = self.poller.wait(&mut ready, timeout);
            self.sleep.rise();
            io.ready = ready;
            self.process(&mut io);
        }
        drop(io);
        let (work, wake) = {
            let mut guard = self.core();
            let core = &mut *guard;
            let look = core.scheduler.next_look(Instant::now(), &core.wires);
            // The bell that tells the thread of the end may have rung here.
            let wake = self.sleep.hand_over(look) || core.finished && self.sleep.thread_sleeps();
            (look.is_some(), wake)
        };
        if wake {
            self.poller.wake();
        }
        turn.end(work);
        true
    }

    /// Takes what the poller has told.
    fn process(&self, io: &mut Io) {
        struct Reading<'a>(&'a AtomicUsize);
        impl Drop for Reading<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Relaxed);
            }
        }
        self.reader.store(super::here(), Ordering::Relaxed);
        let _reading = Reading(&self.reader);
        self.process_ready(io);
    }

    fn process_ready(&self, io: &mut Io) {
        let ready = std::mem::take(&mut io.ready);
        for event in &ready {
            let (slot, generation, source) = untoken(event.token);
            match source {
                Source::Results => self.read_results(io, slot, generation),
                Source::Exit => self.reap(io, slot, generation),
                Source::Jobs => self.with(|core, _| {
                    if core.wires.link(slot, generation).is_some() {
                        core.wires.flush_one(slot, &self.poller);
                    }
                }),
                Source::Stderr | Source::Stdout => self.read_output(io, slot, generation, source),
            }
        }
        io.ready = ready;
        self.resume_outputs(io);
        self.take_arrivals(io);
        let now = Instant::now();
        if io.next_tick.is_none_or(|tick| tick <= now) {
            io.next_tick = Some(now + TICK);
            self.tick(io, now);
        }
        if self.ending.load(Ordering::Acquire) {
            self.finish_if_over(io);
        }
    }

    // ---- results ----

    fn read_results(&self, io: &mut Io, at: usize, generation: u32) {
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
    fn take_frames(&self, io: &mut Io, at: usize) {
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
    fn settle(&self, ends: &Ends, at: usize, frames: &[(Header, std::ops::Range<usize>)]) -> bool {
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

    fn deliver(
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

    // ---- workers come ----

    fn take_arrivals(&self, io: &mut Io) {
        let arrivals = std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        for Arrival { slot, generation, spawned } in arrivals {
            match spawned {
                Ok(spawned) => self.install(io, slot, generation, spawned),
                Err(error) => self.with(|core, now| {
                    if core.start == Start::Pending && (!error.is_transient() || slot == 0) {
                        core.start = Start::Failed(PoolError::Spawn { message: error.to_string() });
                    }
                    core.scheduler.down(slot, Down::NotSpawned, now, &mut core.wires);
                    if core.start == Start::Up && !error.is_transient() && !core.scheduler.has_processes() {
                        // Nobody is left, and nobody will come: whoever waits would wait for ever.
                        core.break_down(PoolError::Spawn { message: error.to_string() }, now);
                    }
                }),
            }
            self.changed.notify_all();
        }
    }

    fn install(&self, io: &mut Io, at: usize, generation: u32, spawned: Spawned) {
        let plan = &self.config.plan;
        let captures = self.captures();
        let marks = captures.then(|| Mark { nonce: random_nonce() });
        let pid = spawned.child.pid();
        let stderr = Arc::new(Stderr::new(spawned.stderr, plan.stderr, marks, self.forwarder.clone()));
        let stdout = spawned.stdout.map(|fd| Arc::new(Stderr::new(fd, plan.stdout, marks, None)));
        let inbox = Inbox::new(spawned.results, generation, pid);
        let watch = |fd, source| self.poller.add(fd, token(at, generation, source), Interest::Read);
        let watched = watch(inbox.as_fd(), Source::Results)
            .and_then(|()| watch(spawned.child.exit_fd(), Source::Exit))
            .and_then(|()| watch(stderr.as_fd(), Source::Stderr))
            .and_then(|()| stdout.as_ref().map_or(Ok(()), |stdout| watch(stdout.as_fd(), Source::Stdout)));
        let link = Link {
            generation,
            child: spawned.child,
            page: spawned.page,
            outbox: Outbox::new(spawned.jobs),
            greeting: Greeting::Silent,
            fault: None,
            killed: None,
            closed: None,
            stderr: stderr.clone(),
        };
        let setup = wires::setup(self, at, marks);
        let installed = self.with(|core, now| {
            let fits = watched.is_ok() && core.wires.install(at, link, &setup).is_ok();
            if fits {
                core.scheduler.spawned(at, pid, now, &mut core.wires);
            } else {
                core.scheduler.down(at, Down::NotSpawned, now, &mut core.wires);
            }
            fits
        });
        if installed {
            if io.ends.len() <= at {
                io.ends.resize_with(at + 1, || None);
            }
            io.ends[at] = Some(Ends { inbox, stdout, stderr, captures });
        }
    }

    /// A worker's hello, or what it says about its initializer.
    fn greet(&self, at: usize, kind: Kind, body: &[u8]) {
        self.with(|core, now| {
            let outcome = match kind {
                Kind::Hello => core.meet(body, self.config.same_image),
                _ => start::read_ready(body),
            };
            let Some(link) = core.wires.links.get_mut(at).and_then(Option::as_mut) else { return };
            match (outcome, &link.greeting, kind) {
                (Ok(()), Greeting::Silent, Kind::Hello) => link.greeting = Greeting::Met,
                (Ok(()), Greeting::Met, Kind::Ready) => {
                    link.greeting = Greeting::Ready;
                    if core.start == Start::Pending {
                        core.start = Start::Up;
                    }
                    core.scheduler.ready(at, now, &mut core.wires);
                }
                (Err(error), ..) => {
                    link.greeting = Greeting::Refused(error);
                    core.wires.condemn(at, "it was turned away".into());
                }
                (Ok(()), ..) => core.wires.condemn(at, "it greeted twice".into()),
            }
        });
        self.changed.notify_all();
    }

    // ---- workers go ----

    /// A worker's process has ended: what it had finished is taken, what it ran is charged, it is replaced.
    fn reap(&self, io: &mut Io, at: usize, generation: u32) {
        let exit = {
            let mut core = self.core();
            let Some(link) = core.wires.link(at, generation) else { return };
            let Some(exit) = link.child.try_reap() else { return };
            self.poller.remove(link.child.exit_fd());
            exit
        };
        self.take_last_results(io, at, generation);
        let output = io.ends.get_mut(at).and_then(Option::take).and_then(|ends| {
            self.poller.remove(ends.inbox.as_fd());
            for output in ends.outputs() {
                self.poller.remove(output.as_fd());
                output.finish();
            }
            ends.captured_last()
        });
        let cause = match exit {
            Exit::Code(code) => Cause::Exit(code),
            Exit::Signal { signal, .. } => Cause::Signal(signal),
            Exit::Unknown => Cause::Unknown,
        };
        self.with(|core, now| core.bury(at, cause, output, &self.poller, now));
        self.changed.notify_all();
    }

    /// Drains the pipe, then takes what was committed and not written.
    fn take_last_results(&self, io: &mut Io, at: usize, generation: u32) {
        loop {
            let Some(ends) = io.end(at, generation) else { return };
            let stopped = ends.inbox.fill();
            self.take_frames(io, at);
            if stopped != Ok(Stopped::Turn) {
                break;
            }
        }
        let mut core = self.core();
        let (Some(link), Some(ends)) = (core.wires.link(at, generation), io.end(at, generation)) else {
            return;
        };
        if !ends.inbox.take_committed(&link.page) {
            link.fault.get_or_insert_with(|| "what it shared with its parent was overwritten".into());
        }
        drop(core);
        self.take_frames(io, at);
    }

    // ---- outputs ----

    fn read_output(&self, io: &mut Io, at: usize, generation: u32, source: Source) {
        let Some(ends) = io.end(at, generation) else { return };
        let output = match (source, &ends.stdout) {
            (Source::Stdout, Some(stdout)) => stdout.clone(),
            _ => ends.stderr.clone(),
        };
        match output.read_available() {
            Flow::Open | Flow::More => {}
            Flow::Ended => self.poller.remove(output.as_fd()),
            Flow::Paused => {
                let _ = self.poller.modify(output.as_fd(), token(at, generation, source), Interest::None);
                io.paused.push((at, generation, source));
            }
        }
    }

    /// Our own stderr may take more by now.
    fn resume_outputs(&self, io: &mut Io) {
        for (at, generation, source) in std::mem::take(&mut io.paused) {
            let Some(ends) = io.end(at, generation) else { continue };
            let output = ends.stderr.clone();
            let _ = self.poller.modify(output.as_fd(), token(at, generation, source), Interest::Read);
            self.read_output(io, at, generation, source);
        }
    }

    // ---- time ----

    fn tick(&self, io: &mut Io, now: Instant) {
        self.with(|core, _| {
            for at in core.scheduler.tick(now, &mut core.wires) {
                let Some(link) = core.wires.links[at].as_ref() else { continue };
                if link.outbox.has_moved(UNCLAIMED, now) {
                    continue;
                }
                let stopped = link.child.is_stopped();
                // It cannot claim what has not arrived. Sent to another one, it would not arrive any sooner.
                if !stopped && link.outbox.is_full() && link.outbox.has_moved(STUCK, now) {
                    continue;
                }
                core.scheduler.looked_at(at, stopped, now, &mut core.wires);
            }
            core.end_late(now, self.config.start_timeout);
        });
        self.abandon_late(io, now);
    }

    /// Processes that do not end although they were killed: their slots are given up.
    fn abandon_late(&self, io: &mut Io, now: Instant) {
        let late: Vec<usize> = {
            let core = self.core();
            let killed = |at: usize| {
                core.wires.links[at].as_ref().is_some_and(|link| link.killed_for(now) >= UNREAPED)
            };
            core.scheduler
                .workers()
                .filter(|view| view.state.has_process())
                .map(|view| view.slot)
                .filter(|at| killed(*at))
                .collect()
        };
        for at in late {
            if let Some(ends) = io.ends.get_mut(at).and_then(Option::take) {
                self.poller.remove(ends.inbox.as_fd());
                ends.outputs().for_each(|output| self.poller.remove(output.as_fd()));
            }
            self.with(|core, now| {
                let Some(link) = core.wires.links[at].as_ref() else { return };
                self.poller.remove(link.child.exit_fd());
                core.unreaped.push(link.child.pid());
                core.bury(at, Cause::Unknown, None, &self.poller, now);
            });
        }
    }
}

impl Io {
    fn end(&mut self, at: usize, generation: u32) -> Option<&mut Ends> {
        self.ends.get_mut(at)?.as_mut().filter(|ends| ends.inbox.generation == generation)
    }

    /// Gives back everything of the system's.
    pub(super) fn clear(&mut self) {
        *self = Io::default();
    }
}

impl Ends {
    fn outputs(&self) -> impl Iterator<Item = &Arc<Stderr>> {
        self.stdout.iter().chain([&self.stderr])
    }

    fn outcome(
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
    fn captured_last(&self) -> Option<(u64, Captured)> {
        let stdout = self.stdout.as_ref().and_then(|stdout| stdout.take_open());
        let stderr = self.stderr.take_open();
        let (id, _) = stdout.as_ref().or(stderr.as_ref())?;
        let id = *id;
        let bytes = |output: Option<(u64, Vec<u8>)>| output.map(|(_, bytes)| bytes).unwrap_or_default();
        Some((id, Captured { stdout: bytes(stdout), stderr: bytes(stderr) }))
    }

    fn captured(&self, id: u64) -> Option<Captured> {
        self.captures.then(|| Captured {
            stdout: self.stdout.as_ref().and_then(|stdout| stdout.take(id)).unwrap_or_default(),
            stderr: self.stderr.take(id).unwrap_or_default(),
        })
    }
}

impl Core {
    /// Takes leave of a worker whose process has ended or was given up.
    fn bury(
        &mut self,
        at: usize,
        cause: Cause,
        output: Option<(u64, Captured)>,
        poller: &Poller,
        now: Instant,
    ) {
        let Some(link) = self.wires.links[at].take() else { return };
        if link.outbox.watched {
            poller.remove(link.outbox.as_fd());
        }
        let words = link.page.last_words();
        let fault = link.fault.clone().or_else(|| match words {
            LastWords::None => None,
            LastWords::DescriptorLost => Some("a descriptor of the channel was closed or replaced".into()),
            LastWords::BadStream => Some("the worker could not read what it was sent".into()),
        });
        let how = if fault.is_some() { Down::Protocol } else { Down::Died(link.page.current()) };
        let tail = link.stderr.tail();
        let state = self.scheduler.state(at);
        if state == State::Starting {
            self.note_failed_start(&link, cause, &tail);
        }
        self.wires.loss =
            Some(Loss { pid: link.child.pid(), cause, stderr_tail: tail.clone(), fault, output });
        // The scheduler asks the page of a gone worker what was claimed.
        self.wires.links[at] = Some(link);
        let storm = self.scheduler.down(at, how, now, &mut self.wires);
        self.wires.links[at] = None;
        self.wires.loss = None;
        if storm {
            self.break_down(
                PoolError::RestartStorm { deaths: super::scheduler::STORM, stderr_tail: tail },
                now,
            );
        }
    }

    /// A start that fails while the pool waits for its first worker fails the pool; so does a worker that can never be used.
    fn note_failed_start(&mut self, link: &Link, cause: Cause, tail: &str) {
        let (error, lasting) = match &link.greeting {
            Greeting::Refused(error) => (error.clone(), !matches!(error, PoolError::Start { .. })),
            greeting => (start::ended_early(cause, *greeting == Greeting::Met, tail.to_owned()), false),
        };
        if self.start == Start::Pending {
            self.start = Start::Failed(error);
        } else if lasting {
            self.break_down(error, Instant::now());
        }
    }

    /// Whether work is to be moved soon to a worker that has none.
    pub(super) fn is_uneven(&mut self) -> bool {
        self.scheduler.is_uneven(&self.wires)
    }

    /// The pool cannot go on.
    fn break_down(&mut self, why: PoolError, now: Instant) {
        self.wires.broken.get_or_insert(why);
        self.scheduler.shut(Phase::Broken, now, &mut self.wires);
        if let Some(engine) = self.wires.engine.upgrade() {
            engine.ending.store(true, Ordering::Release);
        }
    }

    /// Kills workers that do not get ready, or do not go, in time.
    fn end_late(&mut self, now: Instant, start_timeout: Duration) {
        let late: Vec<_> = self
            .scheduler
            .workers()
            .filter(|view| match view.state {
                State::Starting => now.saturating_duration_since(view.since) >= start_timeout,
                State::Leaving => {
                    view.current.is_none()
                        && now.saturating_duration_since(view.since.max(view.progress)) >= LEAVING
                }
                _ => false,
            })
            .collect();
        for at in 0..self.wires.links.len() {
            let closed = self.wires.links[at].as_ref().and_then(|link| link.closed);
            if closed.is_some_and(|closed| now.saturating_duration_since(closed) >= CLOSED) {
                self.wires.condemn(at, "the job closed the worker's result pipe".into());
            }
        }
        for view in late {
            let Some(link) = self.wires.links[view.slot].as_mut() else { continue };
            if view.state == State::Starting && !matches!(link.greeting, Greeting::Refused(_)) {
                let met = link.greeting == Greeting::Met;
                link.greeting = Greeting::Refused(start::too_slow(met, start_timeout, link.stderr.tail()));
            }
            link.kill(Signal::SIGKILL);
        }
    }
}

/// Sixteen bytes that no job prints by chance: from the standard library's random hash keys.
fn random_nonce() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(std::process::id()).to_le_bytes();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random());
    nonce[8..].copy_from_slice(&random());
    nonce
}
