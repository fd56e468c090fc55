//! Which worker gets the next run.

use std::time::Instant;

use sidestep_worker::page::SLOTS;

use super::sizing::{AHEAD, AHEAD_BYTES, AHEAD_RUNS, LONG, RUN, SLIGHT, WAKE};
use super::slot::State;
use super::{Effects, Payload, Scheduler};

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// The worker for the next run: an idle one, the one used last first; else one that has room for more. What is over
    /// sooner than an idle worker is awake goes to one that is awake. `None` also for a lot that may grow: it is in no hurry
    /// while those who are awake have something to do.
    pub(super) fn pick(&mut self, now: Instant, effects: &impl Effects<P, S>) -> Option<usize> {
        let free = self.has_free_core();
        if self.may_grow() {
            let waits = !free && self.is_served(now);
            return if waits { None } else { self.pick_idle(effects) };
        }
        if self.is_over_soon()
            && let Some(at) = self.pick_awake(if free { WAKE } else { RUN }, effects)
        {
            return Some(at);
        }
        if let Some(at) = self.pick_idle(effects) {
            return Some(at);
        }
        while let Some(at) = self.roomy.pop_front() {
            self.slots[at].in_roomy = false;
            if self.has_room(at, effects) {
                return Some(at);
            }
        }
        None
    }

    /// An idle worker.
    pub(super) fn pick_idle(&mut self, effects: &impl Effects<P, S>) -> Option<usize> {
        let at = if self.has_idle(effects) { self.idle.pop()? } else { return None };
        self.slots[at].in_idle = false;
        Some(at)
    }

    /// A worker that is at work and has no more than so much ahead, in nanoseconds: the one that was sent something last, or
    /// least lately. If it gets stuck, others take from it what it has not begun.
    fn pick_awake(&mut self, ahead: u64, effects: &impl Effects<P, S>) -> Option<usize> {
        let is_soon_done = |at: &usize| self.slots[*at].ahead <= ahead && self.has_room(*at, effects);
        let at = if self.roomy.back().is_some_and(is_soon_done) {
            self.roomy.pop_back()?
        } else if self.roomy.front().is_some_and(is_soon_done) {
            self.roomy.pop_front()?
        } else {
            return None;
        };
        self.slots[at].in_roomy = false;
        Some(at)
    }

    /// Whether the lot at the queue's front takes no time to speak of.
    fn is_over_soon(&self) -> bool {
        self.queue.front().is_some_and(|lot| {
            let pace = self.paces.of(self.tasks[lot.task].spec.job);
            pace > 0 && pace.saturating_mul(u64::from(lot.count)) < WAKE
        })
    }

    /// Whether the lot at the queue's front is hardly worth a run yet, and single jobs that come may join it.
    fn may_grow(&self) -> bool {
        self.queue.len() == 1
            && self.queue.front().is_some_and(|lot| {
                let task = &self.tasks[lot.task];
                let pace = self.paces.of(task.spec.job);
                task.is_loose() && pace > 0 && pace.saturating_mul(u64::from(lot.count)) < SLIGHT
            })
    }

    /// Whether one of those at work goes on with it, as far as can be told.
    fn is_served(&mut self, now: Instant) -> bool {
        while let Some(&at) = self.roomy.back() {
            let slot = &self.slots[at];
            if slot.state == State::Ready && !slot.flight.is_empty() {
                return now.saturating_duration_since(slot.progress) < self.stale();
            }
            self.roomy.pop_back();
            self.slots[at].in_roomy = false;
        }
        false
    }

    /// Whether a worker is idle; forgets listed ones that no longer are.
    pub(super) fn has_idle(&mut self, effects: &impl Effects<P, S>) -> bool {
        while let Some(&at) = self.idle.last() {
            let idle = self.slots[at].is_idle();
            if idle && self.has_place(at, effects) {
                return true;
            }
            self.idle.pop();
            self.slots[at].in_idle = false;
            if idle {
                self.slots[at].jammed = true;
                self.jams += 1;
            }
        }
        false
    }

    /// Whether the page of a ready worker has a place for another run. A run keeps its place until the worker has
    /// taken it out of the pipe and all its results are read, so that the pipe cannot fill with withdrawn runs either.
    fn has_place(&self, at: usize, effects: &impl Effects<P, S>) -> bool {
        let slot = &self.slots[at];
        let first = slot.flight.front().map_or(slot.next_run, |run| run.number);
        let read = slot.next_run.wrapping_sub(first) as usize;
        read.max(self.unread(at, effects)) + 2 <= SLOTS
    }

    /// Runs that lie in a worker's pipe, by what its page says.
    pub(super) fn unread(&self, at: usize, effects: &impl Effects<P, S>) -> usize {
        self.slots[at].next_run.wrapping_sub(effects.consumed(at)) as usize
    }

    fn has_room(&self, at: usize, effects: &impl Effects<P, S>) -> bool {
        let slot = &self.slots[at];
        if slot.state != State::Ready || slot.quota == 0 || !self.has_place(at, effects) {
            return false;
        }
        let Some(last) = slot.flight.back() else { return true };
        match slot.flight.len() {
            1 => last.pace < LONG && slot.ahead_bytes < AHEAD_BYTES,
            runs => {
                last.pace > 0 && runs < AHEAD_RUNS && slot.ahead < AHEAD && slot.ahead_bytes < AHEAD_BYTES
            }
        }
    }

    /// Lists a worker where [`pick`](Self::pick) finds it, if it can take a run.
    pub(super) fn note_room(&mut self, at: usize, effects: &impl Effects<P, S>) {
        let slot = &self.slots[at];
        if slot.state != State::Ready {
            return;
        }
        if slot.flight.is_empty() {
            if slot.is_idle() && !slot.in_idle && !slot.jammed {
                self.slots[at].in_idle = true;
                self.idle.push(at);
            }
        } else if !slot.in_roomy && self.has_room(at, effects) {
            self.slots[at].in_roomy = true;
            self.roomy.push_back(at);
        }
    }

    /// Whether there are fewer workers at work than cores: then one more thread, or one less, is in nobody's way.
    pub(crate) fn has_free_core(&self) -> bool {
        self.staff().saturating_sub(self.idle.len()) < self.cores
    }
}
