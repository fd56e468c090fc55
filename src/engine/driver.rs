//! Waits for descriptors and for time. Whoever holds `io` does it: the pool's own thread, or a caller who waits.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use sidestep_worker::frame::Header;
use sidestep_worker::patience::{POLL, Patience};

use crate::process::{Flow, Interest, Ready};

use super::arena::Arena;
use super::results::Ends;
use super::scheduler::LOOK_EVERY;
use super::sleep::Sleep;
use super::{Core, Engine};

/// While he polls he looks into pages, which costs nothing, and asks the system no more often than this.
const ASK_EVERY: Duration = Duration::from_micros(4);
/// Time is looked at no more often than this while results come in.
const TICK: Duration = Duration::from_millis(1);

/// What the one who reads needs.
#[derive(Default)]
pub(super) struct Io {
    pub(super) ready: Vec<Ready>,
    pub(super) ends: Vec<Option<Ends>>,
    /// Outputs that could not be read for the moment.
    pub(super) paused: Vec<(usize, u32, Source)>,
    pub(super) frames: Vec<(Header, std::ops::Range<usize>)>,
    pub(super) next_tick: Option<Instant>,
    /// Slots into whose pages the one who polls looks.
    looked_at: Vec<usize>,
    patience: Patience,
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
            if let Some(mut io) = self.try_io() {
                self.stop_looking(&mut io);
            }
            let (timeout, finished) = self.sleep_time(Sleep::fall_in_thread);
            if finished {
                // A caller has seen the end meanwhile, and the bell that tells of it.
                return;
            }
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

    /// When there is something to be looked at.
    fn next_look(&self, core: &mut Core, now: Instant) -> Option<Duration> {
        let look = core.scheduler.next_look(now, &core.wires);
        let due = self.config.arena.as_ref().and_then(Arena::due);
        look.into_iter().chain(due.map(|due| due.saturating_duration_since(now))).min()
    }

    /// How long to sleep; notes it, so that whoever changes that wakes the sleeper.
    /// Also tells whether everything is over.
    fn sleep_time(&self, note: fn(&Sleep, Instant, Option<Duration>)) -> (Option<Duration>, bool) {
        let mut guard = self.core();
        let core = &mut *guard;
        let now = Instant::now();
        let time = self.next_look(core, now);
        note(&self.sleep, now, time);
        (time, core.finished)
    }

    /// Moves results until `done`, or the deadline. `false` at once if somebody else does so already, or if the pool has
    /// ended: then nothing comes any more, and its thread waits for this one to leave.
    pub(crate) fn drive(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        let Some(mut io) = self.try_io() else {
            self.rouse();
            return false;
        };
        let turn = self.turns.begin();
        let polls = self.free_core.load(Ordering::Relaxed) && io.patience.polls();
        let mut poll = Poll::begin(Instant::now(), polls);
        let mut over = false;
        self.begin_looking(&mut io);
        while !done() {
            let now = Instant::now();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let timeout = match poll.next(now, io.is_tick_due(now)) {
                Step::Look => {
                    self.look(&mut io);
                    continue;
                }
                Step::Ask => Some(Duration::ZERO),
                Step::Sleep => {
                    poll.give_up(&mut io.patience);
                    let (look, finished) = self.sleep_time(Sleep::fall);
                    self.stop_looking(&mut io);
                    over = finished;
                    if over || done() {
                        break;
                    }
                    left.into_iter().chain(look).min()
                }
            };
            let mut ready = std::mem::take(&mut io.ready);
            let _ = self.poller.wait(&mut ready, timeout);
            self.sleep.rise();
            io.ready = ready;
            self.process(&mut io);
        }
        poll.end(done(), &mut io.patience);
        drop(io);
        let (work, wake) = {
            let mut guard = self.core();
            let core = &mut *guard;
            let now = Instant::now();
            let look = self.next_look(core, now);
            // The bell that tells the thread of the end may have rung here.
            let wake = self.sleep.hand_over(now, look) || core.finished && self.sleep.thread_sleeps();
            (look.is_some_and(|look| look <= LOOK_EVERY), wake)
        };
        if wake {
            self.poller.wake();
        }
        turn.end(work);
        !over
    }

    // ---- pages ----

    /// Results of the workers that were sent something are looked for in their pages from now on.
    fn begin_looking(&self, io: &mut Io) {
        for at in self.core().wires.awaited.drain(..) {
            if !io.looked_at.contains(&at)
                && let Some(ends) = io.ends.get(at).and_then(Option::as_ref)
            {
                ends.page.results().look(true);
                io.looked_at.push(at);
            }
        }
    }

    fn look(&self, io: &mut Io) {
        for place in 0..io.looked_at.len() {
            let at = io.looked_at[place];
            let Some(ends) = io.ends.get(at).and_then(Option::as_ref).filter(|ends| ends.has_news()) else {
                continue;
            };
            let generation = ends.inbox.generation;
            let _reading = self.reading();
            if !self.look_at(io, at) {
                // It is in the pipe already.
                self.read_results(io, at, generation);
            }
        }
        std::hint::spin_loop();
    }

    /// From now on workers write their results as soon as they have nothing else to do. What they have not written
    /// because somebody looked is taken.
    fn stop_looking(&self, io: &mut Io) {
        for at in std::mem::take(&mut io.looked_at) {
            let Some(ends) = io.ends.get(at).and_then(Option::as_ref) else { continue };
            ends.page.results().look(false);
            let _reading = self.reading();
            self.look_at(io, at);
        }
    }

    /// This thread reads until that is dropped.
    fn reading(&self) -> Reading<'_> {
        self.reader.store(super::here(), Ordering::Relaxed);
        Reading(&self.reader)
    }

    /// Takes what the poller has told.
    fn process(&self, io: &mut Io) {
        let _reading = self.reading();
        let ready = std::mem::take(&mut io.ready);
        for event in &ready {
            let (slot, generation, source) = untoken(event.token);
            match source {
                Source::Results => self.read_results(io, slot, generation),
                Source::Exit => self.reap(io, slot, generation),
                Source::Jobs => self.with(|core, _| core.wires.has_room(slot, generation, &self.poller)),
                Source::Stderr | Source::Stdout => self.read_output(io, slot, generation, source),
            }
        }
        io.ready = ready;
        self.resume_outputs(io);
        self.take_arrivals(io);
        self.forget_shares();
        let now = Instant::now();
        if io.is_tick_due(now) {
            io.next_tick = Some(now + TICK);
            self.tick(io, now);
            if let Some(arena) = &self.config.arena {
                arena.give_back(now);
            }
        }
        if self.ending.load(Ordering::Acquire) {
            self.finish_if_over(io);
        }
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
}

struct Reading<'a>(&'a AtomicUsize);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How a caller waits: he polls for a while before he sleeps.
struct Poll {
    polls: bool,
    end: Instant,
    /// When the poller is asked next.
    ask: Instant,
}

enum Step {
    /// Look into the pages.
    Look,
    /// Look at everything there is.
    Ask,
    Sleep,
}

impl Poll {
    fn begin(now: Instant, polls: bool) -> Poll {
        Poll { polls, end: if polls { now + POLL } else { now }, ask: now + ASK_EVERY }
    }

    fn next(&mut self, now: Instant, tick: bool) -> Step {
        if now >= self.end {
            Step::Sleep
        } else if now >= self.ask || tick {
            self.ask = now + ASK_EVERY;
            Step::Ask
        } else {
            Step::Look
        }
    }

    /// He is about to sleep.
    fn give_up(&mut self, patience: &mut Patience) {
        if std::mem::take(&mut self.polls) {
            patience.learn(false);
        }
    }

    /// He waits no longer, because what he has waited for is there, or for another reason.
    fn end(self, came: bool, patience: &mut Patience) {
        if self.polls {
            patience.learn(came);
        }
    }
}

impl Io {
    fn is_tick_due(&self, now: Instant) -> bool {
        self.next_tick.is_none_or(|tick| tick <= now)
    }

    pub(super) fn end(&mut self, at: usize, generation: u32) -> Option<&mut Ends> {
        self.ends.get_mut(at)?.as_mut().filter(|ends| ends.inbox.generation == generation)
    }

    /// Gives back everything of the system's.
    pub(super) fn clear(&mut self) {
        *self = Io::default();
    }
}
