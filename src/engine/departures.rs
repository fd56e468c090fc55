//! A worker's end, and those that come too late to it.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sidestep_worker::page::LastWords;

use crate::error::{Cause, PoolError};
use crate::process::{Exit, Gauge, OomKills, Poller};

use super::diagnosis::Reason;
use super::driver::Io;
use super::inbox::Stopped;
use super::scheduler::{Down, Phase, State, UNCLAIMED};
use super::sink::Captured;
use super::start::{self, Greeting, Start};
use super::wires::{Link, Loss};
use super::{Core, Engine};

/// A worker that was told to go, has nothing left to answer and stays is killed after this long.
const LEAVING: Duration = Duration::from_secs(10);
/// A worker that has closed its result pipe and lives on for this long was not about to end, however busy the machine: a
/// job has closed it.
const CLOSED: Duration = Duration::from_secs(1);
/// A worker that has not read on in the middle of a frame for this long is not merely slow.
const STUCK: Duration = Duration::from_secs(5);
/// A killed worker that stays this long is given up to a background thread.
const UNREAPED: Duration = Duration::from_secs(5);

impl Engine {
    /// A worker's process has ended: what it had finished is taken, what it ran is charged, it is replaced.
    pub(super) fn reap(&self, io: &mut Io, at: usize, generation: u32) {
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
        self.with(|core, now| core.bury(at, exit, output, &self.poller, now));
        self.changed.notify_all();
    }

    /// Drains the pipe, then takes what was committed and not written.
    pub(super) fn take_last_results(&self, io: &mut Io, at: usize, generation: u32) {
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

    // ---- time ----

    pub(super) fn tick(&self, io: &mut Io, now: Instant) {
        self.measure(io, now);
        self.expire(io);
        self.with(|core, _| {
            for at in core.scheduler.tick(now, &mut core.wires) {
                let Some(link) = core.wires.links[at].as_ref() else { continue };
                if link.outbox.has_moved(UNCLAIMED, now) {
                    continue;
                }
                let stopped = link.child.is_stopped();
                // It does not look into its lane, whatever it says there.
                core.wires.empty_lane(at);
                let Some(link) = core.wires.links[at].as_ref() else { continue };
                // It cannot claim what has not arrived. Sent to another one, it would not arrive any sooner.
                if !stopped && link.outbox.is_full() && link.outbox.has_moved(STUCK, now) {
                    continue;
                }
                core.scheduler.looked_at(at, stopped, now, &mut core.wires);
            }
            core.end_late(now, self.config.start_timeout, self.config.grace);
        });
        self.abandon_late(io, now);
    }

    /// Looks at what workers use, where that is limited.
    fn measure(&self, io: &Io, now: Instant) {
        if !self.config.limits.any() {
            return;
        }
        let due = {
            let mut guard = self.core();
            let core = &mut *guard;
            core.scheduler.whom_to_measure(now, &core.wires)
        };
        for (at, before) in due {
            let gauge = io.ends.get(at).and_then(Option::as_ref).and_then(|ends| ends.gauge.as_ref());
            let Some(usage) = gauge.and_then(Gauge::read) else { continue };
            self.with(|core, now| core.scheduler.measured(at, before, usage, now, &mut core.wires));
        }
    }

    /// Ends items that have come to a limit. Those that have just ended are answered first.
    fn expire(&self, io: &mut Io) {
        let overdue = {
            let core = self.core();
            let overdue = core.scheduler.overdue(&core.wires).into_iter();
            overdue.filter_map(|at| Some((at, core.wires.links[at].as_ref()?.generation))).collect::<Vec<_>>()
        };
        for (at, generation) in overdue {
            self.read_results(io, at, generation);
            let Some(ends) = io.end(at, generation) else { continue };
            self.with(|core, now| {
                let Some(overrun) = core.scheduler.halt(at, now, &mut core.wires) else { return };
                // Taken from one that has just ended, it would be missing when its result is read.
                core.wires.output = ends.captured_last();
                core.scheduler.expire(at, overrun, now, &mut core.wires);
                core.wires.output = None;
            });
        }
    }

    /// Processes that do not end although they were killed: their slots are given up.
    pub(super) fn abandon_late(&self, io: &mut Io, now: Instant) {
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
        if !late.is_empty() {
            self.close_arena();
        }
        for at in late {
            if let Some(ends) = io.ends.get_mut(at).and_then(Option::take) {
                self.poller.remove(ends.inbox.as_fd());
                ends.outputs().for_each(|output| self.poller.remove(output.as_fd()));
            }
            self.with(|core, now| {
                let Some(link) = core.wires.links[at].as_ref() else { return };
                self.poller.remove(link.child.exit_fd());
                core.unreaped.push(link.child.pid());
                core.bury(at, Exit::Unknown, None, &self.poller, now);
            });
        }
    }
}

impl Core {
    /// Takes leave of a worker whose process has ended or was given up.
    pub(super) fn bury(
        &mut self,
        at: usize,
        exit: Exit,
        output: Option<(u64, Captured)>,
        poller: &Poller,
        now: Instant,
    ) {
        let Some(link) = self.wires.links[at].take() else { return };
        if link.outbox.waits_for_room() {
            poller.remove(link.outbox.as_fd());
        }
        let words = link.page.last_words();
        let fault = link.fault.clone().or_else(|| match words {
            LastWords::None | LastWords::NoThread => None,
            LastWords::DescriptorLost => Some("a descriptor of the channel was closed or replaced".into()),
            LastWords::BadStream => Some("the worker could not read what it was sent".into()),
        });
        let state = self.scheduler.state(at);
        let no_thread = words == LastWords::NoThread && state == State::Starting;
        // A worker that could still say why it ends has noted what it ran.
        let how = match (&link.fault, no_thread) {
            (Some(_), _) => Down::Protocol,
            (None, true) => Down::NotSpawned,
            (None, false) => Down::Died(link.page.current()),
        };
        let tail = link.stderr.tail();
        let cause = cause_of(exit);
        if no_thread {
            self.note_no_thread(at);
        } else if state == State::Starting {
            self.note_failed_start(&link, cause, &tail);
        }
        let reason = self.reason(&link, exit, &tail);
        let hint = reason.as_ref().map(|reason| words_of(reason, exit));
        let of_memory = reason.is_some_and(|reason| reason.may_be_memory());
        let memory_limit = self.scheduler.memory_limit_near(at).filter(|_| of_memory);
        self.wires.loss = Some(Loss { cause, hint, stderr_tail: tail.clone(), fault, memory_limit });
        self.wires.output = output;
        // The scheduler asks the page of a gone worker what was claimed.
        self.wires.links[at] = Some(link);
        let storm = self.scheduler.down(at, how, now, &mut self.wires);
        self.wires.links[at] = None;
        self.wires.all_forgotten(at);
        (self.wires.loss, self.wires.output) = (None, None);
        if storm {
            self.break_down(
                PoolError::RestartStorm { deaths: super::scheduler::STORM, stderr_tail: tail },
                now,
            );
        }
    }

    /// What probably happened to a worker.
    fn reason(&mut self, link: &Link, exit: Exit, tail: &str) -> Option<Reason> {
        let killed_by_others = matches!(exit, Exit::Signal { signal, .. } if signal == Signal::SIGKILL as i32)
            && link.killed.is_none();
        let out_of_memory = self.oom_kills.as_mut().filter(|_| killed_by_others).map(OomKills::take_one);
        Reason::of(exit, tail, out_of_memory)
    }

    /// The system has no room for a worker's second thread: as if it had none for the worker.
    fn note_no_thread(&mut self, at: usize) {
        if self.start == Start::Pending && at == 0 {
            let message = "a worker got no second thread: as many processes run as may".into();
            self.start = Start::Failed(PoolError::Spawn { message });
        }
    }

    /// A start that fails while the pool waits for its first worker fails the pool; so does a worker that can never be used.
    pub(super) fn note_failed_start(&mut self, link: &Link, cause: Cause, tail: &str) {
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
    pub(super) fn break_down(&mut self, why: PoolError, now: Instant) {
        self.wires.broken.get_or_insert(why);
        let engine = self.wires.engine.upgrade();
        if let Some(engine) = &engine {
            engine.close_arena();
        }
        self.scheduler.shut(Phase::Broken, now, &mut self.wires);
        if let Some(engine) = engine {
            engine.ending.store(true, Ordering::Release);
        }
    }

    /// Kills workers that do not get ready, or do not go, or do not heed that they are to stop, in time.
    pub(super) fn end_late(&mut self, now: Instant, start_timeout: Duration, grace: Duration) {
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
        for link in self.wires.links.iter_mut().flatten() {
            let stopped = link.stopped.filter(|_| link.killed.is_none());
            if stopped.is_some_and(|stopped| now.saturating_duration_since(stopped) >= grace) {
                link.kill(Signal::SIGKILL);
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

fn words_of(reason: &Reason, exit: Exit) -> String {
    match exit {
        Exit::Signal { core: true, .. } => format!("{reason}; it left a core dump"),
        _ => reason.to_string(),
    }
}

fn cause_of(exit: Exit) -> Cause {
    match exit {
        Exit::Code(code) => Cause::Exit(code),
        Exit::Signal { signal, .. } => Cause::Signal(signal),
        Exit::Unknown => Cause::Unknown,
    }
}
