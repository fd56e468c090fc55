//! Workers come and go: how many there are to be, and who pays when one dies.

use std::time::{Duration, Instant};

use super::limits::Doom;
use super::slot::{Slot, State};
use super::{Down, Effects, Event, Item, Lot, Payload, Phase, Scheduler, Verdict};

/// Deaths before hello, one after the other, that end the pool.
pub(in crate::engine) const STORM: u32 = 5;
/// The pause before the first new try after a death before hello; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// Sets how many workers there are to be.
    pub(crate) fn resize(&mut self, workers: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        self.target = workers;
        while self.slots.len() < workers {
            self.slots.push(Slot::new(now));
        }
        for at in workers..self.slots.len() {
            self.retire(at, now, effects);
        }
        self.revive_all(now, effects);
        self.dispatch(now, effects);
    }

    /// Whether the pool wants a worker in a slot.
    pub(super) fn wants(&self, at: usize) -> bool {
        at < self.target
            && match self.phase {
                Phase::Open => true,
                Phase::Closed => self.queued > 0 || self.feeding > 0 || self.is_to_retry(),
                Phase::Broken | Phase::Terminated => false,
            }
    }

    /// Starts a worker in a vacant slot, if the pool wants one there.
    pub(super) fn revive(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        let wanted = self.wants(at) && self.has_use_for_one();
        let slot = &mut self.slots[at];
        if wanted && matches!(slot.state, State::Vacant) {
            slot.begin(now);
            effects.spawn(at, slot.generation);
        }
    }

    /// The same in all slots.
    pub(super) fn revive_all(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        for at in 0..self.target {
            self.revive(at, now, effects);
        }
    }

    /// Lets a worker end in good order: what it has not claimed is taken back, what it runs it may end.
    pub(super) fn retire(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        match self.slots[at].state {
            State::Ready => {
                self.take_back(at, u32::MAX, effects);
                self.slots[at].set(State::Leaving, now);
                effects.bye(at);
            }
            // One that is borrowed is of use to others.
            State::Starting if self.is_elastic => {
                self.slots[at].set(State::Leaving, now);
                effects.bye(at);
            }
            State::Starting => {
                self.slots[at].set(State::Leaving, now);
                effects.kill(at);
            }
            State::Pausing(_) => self.slots[at].set(State::Vacant, now),
            State::Vacant | State::Spawning | State::Leaving => {}
        }
    }

    /// A worker's process exists.
    pub(crate) fn spawned(&mut self, at: usize, pid: u32, now: Instant, effects: &mut impl Effects<P, S>) {
        let slot = &mut self.slots[at];
        slot.pid = Some(pid);
        slot.set(State::Starting, now);
        if !self.wants(at) {
            self.retire(at, now, effects);
        }
    }

    /// A worker has said hello and has run its initializer.
    pub(crate) fn ready(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        (self.failed_starts, self.early_deaths) = (0, 0);
        let slot = &mut self.slots[at];
        if slot.state != State::Starting {
            return;
        }
        slot.set(State::Ready, now);
        slot.quota = self.recycling.jobs(at, slot.generation);
        let age = self.recycling.age(at, slot.generation);
        slot.expires = age.and_then(|age| now.checked_add(age));
        let pid = slot.pid.unwrap_or_default();
        self.listener.tell(|| Event::WorkerUp { slot: at, pid });
        self.note_room(at, effects);
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
    }

    /// A worker is gone, and all that it has answered was taken. Charges the item that ran, sends the others again.
    ///
    /// `true` if the pool breaks by it: too many starts have failed one after the other.
    pub(crate) fn down(
        &mut self,
        at: usize,
        how: Down,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> bool {
        let before = self.slots[at].state;
        let pid = self.slots[at].pid;
        self.charge(at, how, now, effects);
        self.owed = self.owed.min(self.staff());
        let expected = before == State::Leaving;
        let started = before == State::Ready || expected;
        if let Some(pid) = pid {
            self.listener.tell(|| Event::WorkerDown { slot: at, pid });
            self.counts.restarts += u64::from(!expected && self.phase == Phase::Open);
        }
        if !started {
            self.failed_starts += 1;
            let pause = FIRST_PAUSE.saturating_mul(1 << (self.failed_starts - 1).min(10)).min(LONGEST_PAUSE);
            if self.wants(at) {
                self.slots[at].set(State::Pausing(now + pause), now);
                self.pauses = true;
            }
            self.early_deaths += u32::from(how != Down::NotSpawned);
            if how != Down::NotSpawned && self.early_deaths >= STORM {
                return true;
            }
        }
        // What has come back from a slot that is one too many is for another, which may have been let go.
        self.revive_all(now, effects);
        self.dispatch(now, effects);
        self.retire_if_done(now, effects);
        false
    }

    /// Whether anything waits for another attempt.
    fn is_to_retry(&self) -> bool {
        !self.delayed.is_empty() || self.slots.iter().any(Slot::is_to_retry)
    }

    /// Settles what a gone worker still had in flight.
    pub(super) fn charge(&mut self, at: usize, how: Down, now: Instant, effects: &mut impl Effects<P, S>) {
        self.jams -= usize::from(std::mem::take(&mut self.slots[at].jammed));
        let doom = self.slots[at].doom.take();
        let how = match (&doom, how) {
            // Whatever it noted after that item, it has not begun.
            (Some(Doom::Charged { run, item, .. }), Down::Died(_)) => Down::Died(Some((*run, *item))),
            _ => how,
        };
        let flight = self.slots[at].end(now);
        let mut innocent = Vec::new();
        for run in flight {
            let claimed = effects.claimed(at, run.number).min(run.lot.count);
            let mut charged = run.charged(how, claimed);
            let cancelled = match &doom {
                Some(Doom::Cancelled(target)) => target.places(&run.lot),
                _ => 0..0,
            };
            if cancelled.end > run.answered {
                // Whoever cancelled them waits for them, those too that were claimed and had not begun.
                charged = charged.max(cancelled.end - run.answered);
            }
            let verdict = match how {
                Down::Died(Some(noted)) if noted == (run.number, run.answered) => {
                    Verdict::Lost { attempts: 0 }
                }
                _ => Verdict::Protocol,
            };
            let mut lot = run.lot;
            lot.drop_front(run.answered);
            let rest = lot.split_off(charged);
            for place in run.answered..run.answered + charged {
                let behind = lot.split_off(1);
                if doom.as_ref().is_some_and(|doom| doom.has_charged(run.number, place)) {
                    self.tasks[lot.task].active -= 1;
                    self.forget_if_over(lot.task);
                } else {
                    let verdict = if cancelled.contains(&place) { Verdict::Cancelled } else { verdict };
                    self.fail(lot, at, verdict, now, effects);
                }
                lot = behind;
            }
            if rest.count > 0 {
                innocent.push(rest);
            }
        }
        if let Some(Doom::Charged { retry: Some((lot, verdict)), .. }) = doom {
            self.fail(lot, at, verdict, now, effects);
        }
        for lot in innocent.into_iter().rev() {
            self.send_again(lot, at);
        }
    }

    /// What a gone worker has not begun goes back to the queue.
    pub(super) fn send_again(&mut self, lot: Lot<P>, at: usize) {
        self.tasks[lot.task].active -= u64::from(lot.count);
        let (id, count) = (lot.first.id, lot.count);
        self.listener.tell(|| Event::TakenBack { id, count, slot: at });
        self.enqueue_front(lot);
    }

    /// An active item ends without a result.
    pub(super) fn end_item(
        &mut self,
        task: usize,
        item: Item,
        slot: Option<usize>,
        verdict: Verdict,
        effects: &mut impl Effects<P, S>,
    ) {
        self.resolve(task, item, slot, verdict, effects);
        self.tasks[task].active -= 1;
        self.forget_if_over(task);
    }
}
