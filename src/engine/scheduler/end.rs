//! The pool's end: in good order, or at once.

use std::time::Instant;

use super::limits::Doom;
use super::slot::State;
use super::{Effects, Payload, Phase, Scheduler, Verdict};

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// Takes no more tasks; workers end as the work does.
    pub(crate) fn close(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
        self.retire_if_done(now, effects);
    }

    /// Once closed and out of work, the workers may go.
    pub(crate) fn retire_if_done(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        if self.phase == Phase::Closed && self.is_done() {
            for at in 0..self.slots.len() {
                self.retire(at, now, effects);
            }
        }
    }

    /// Ends everything: every item that has not been answered resolves, every worker is killed.
    pub(crate) fn shut(&mut self, phase: Phase, now: Instant, effects: &mut impl Effects<P, S>) {
        if matches!(self.phase, Phase::Terminated) || self.phase == phase {
            return;
        }
        self.phase = phase;
        let verdict = if phase == Phase::Broken { Verdict::PoolBroken } else { Verdict::PoolClosed };
        for at in 0..self.slots.len() {
            let is_idle = self.slots[at].flight.is_empty();
            self.end_flight(at, verdict, effects);
            match self.slots[at].state {
                // A borrowed one that does nothing is of use to others.
                State::Starting | State::Ready if self.is_elastic && is_idle => {
                    self.slots[at].set(State::Leaving, now);
                    effects.bye(at);
                }
                State::Leaving if self.is_elastic && is_idle => {}
                State::Starting | State::Ready | State::Leaving => {
                    self.slots[at].set(State::Leaving, now);
                    effects.kill(at);
                }
                State::Pausing(_) => self.slots[at].set(State::Vacant, now),
                State::Vacant | State::Spawning => {}
            }
        }
        self.empty_queue(verdict, effects);
        self.end_delayed(verdict, effects);
        self.idle.clear();
        self.roomy.clear();
    }

    /// What a worker has not answered ends, and what was to be tried again for its sake.
    fn end_flight(&mut self, at: usize, verdict: Verdict, effects: &mut impl Effects<P, S>) {
        let doom = self.slots[at].doom.take();
        for run in self.slots[at].take_flight() {
            for place in run.answered..run.lot.count {
                if doom.as_ref().is_some_and(|doom| doom.has_charged(run.number, place)) {
                    self.tasks[run.lot.task].active -= 1;
                    self.forget_if_over(run.lot.task);
                } else {
                    self.end_item(run.lot.task, run.lot.item(place), Some(at), verdict, effects);
                }
            }
        }
        if let Some(Doom::Charged { retry: Some((lot, _)), .. }) = doom {
            self.end_item(lot.task, lot.first, Some(at), verdict, effects);
        }
    }

    pub(super) fn empty_queue(&mut self, verdict: Verdict, effects: &mut impl Effects<P, S>) {
        for mut lot in std::mem::take(&mut self.queue) {
            while lot.count > 0 {
                let task = &mut self.tasks[lot.task];
                let (wanted, count) = task.front(&lot);
                let part = lot.take_front(count);
                if !wanted {
                    self.listener.cancelled(&part, None);
                    continue;
                }
                task.note_sent(part.first, count);
                task.queued -= u64::from(count);
                task.active += u64::from(count);
                self.queued -= u64::from(count);
                let bytes = part.payload.weight(count);
                task.queued_bytes -= bytes;
                self.queued_bytes -= bytes;
                for offset in 0..count {
                    self.end_item(part.task, part.item(offset), None, verdict, effects);
                }
            }
            self.tasks[lot.task].lots -= 1;
            self.forget_if_over(lot.task);
        }
        self.dead = 0;
    }
}
