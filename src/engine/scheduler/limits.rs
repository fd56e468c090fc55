//! Items that run for longer than they may.
//!
//! The clock starts when the worker begins the item; the page says when that was. At the limit the item is charged at
//! once, whatever its worker does then. The worker is asked to end, and killed after the grace; what else it was sent goes elsewhere without
//! blame. Halted before the next item, it begins nothing that its end could hit.

use std::time::{Duration, Instant};

use super::slot::{Run, State};
use super::{Effects, Fate, Lot, Payload, Scheduler, TaskKey, Verdict};

/// The item that a worker is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) run: u32,
    /// Its place in the run.
    pub(crate) item: u32,
    /// For how long.
    pub(crate) age: Duration,
}

/// Why a worker was killed, or asked to end, in the middle of an item.
#[derive(Debug)]
pub(super) enum Doom<P> {
    /// Whoever submitted this task wants it no more.
    Cancelled(TaskKey),
    /// An item was charged already.
    Charged {
        run: u32,
        /// Its place in the run.
        item: u32,
        /// It is tried again once the worker is gone, so that no two attempts run at a time.
        retry: Option<(Lot<P>, Verdict)>,
        /// Its result has come all the same.
        answered: bool,
    },
}

impl<P> Doom<P> {
    /// What the results of a run's items from `item` on are good for, and for how many of them that holds.
    pub(super) fn fate_of(&mut self, task: usize, number: u32, item: u32) -> (Fate, u32) {
        match self {
            Doom::Cancelled(key) if key.index == task => (Fate::Cancelled, u32::MAX),
            Doom::Charged { run, item: charged, answered, .. } if *run == number && item == *charged => {
                *answered = true;
                (Fate::Late, 1)
            }
            Doom::Charged { run, item: charged, .. } if *run == number && item < *charged => {
                (Fate::Wanted, *charged - item)
            }
            _ => (Fate::Wanted, u32::MAX),
        }
    }

    /// Whether it is this item that was charged.
    pub(super) fn has_charged(&self, number: u32, place: u32) -> bool {
        matches!(self, Doom::Charged { run, item, .. } if (*run, *item) == (number, place))
    }
}

impl<P: Payload> Run<P> {
    /// Whether one of its items is running for too long.
    fn is_overdue(&self, running: Running) -> bool {
        let unanswered = self.answered..self.lot.count;
        running.run == self.number
            && unanswered.contains(&running.item)
            && self.limit.is_some_and(|limit| running.age >= limit)
    }
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// Workers whose item runs for too long. What they have answered is to be read before [`expire`](Self::expire).
    pub(crate) fn overdue(&self, effects: &impl Effects<P, S>) -> Vec<usize> {
        (0..self.slots.len()).filter(|at| self.overdue_run(*at, effects).is_some()).collect()
    }

    /// The place in flight of the run whose item is overdue, and the item.
    fn overdue_run(&self, at: usize, effects: &impl Effects<P, S>) -> Option<(usize, Running)> {
        let slot = &self.slots[at];
        if slot.doom.is_some() || slot.flight.iter().all(|run| run.limit.is_none()) {
            return None;
        }
        let running = effects.running(at)?;
        let run = slot.flight.iter().position(|run| run.is_overdue(running))?;
        Some((run, running))
    }

    /// Charges the item that a worker runs for too long, if it does so still, and ends the worker.
    pub(crate) fn expire(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        let Some((_, found)) = self.overdue_run(at, effects) else { return };
        effects.halt(at, true);
        self.take_back(at, u32::MAX, effects);
        let Some((place, running)) = self.overdue_run(at, effects) else {
            // It has just ended. The worker may go on.
            effects.halt(at, false);
            return self.dispatch(now, effects);
        };
        debug_assert_eq!((found.run, found.item), (running.run, running.item));
        let slot = &mut self.slots[at];
        let run = &mut slot.flight[place];
        let verdict = Verdict::TimedOut { limit: run.limit.unwrap_or_default() };
        let (task, item) = (run.lot.task, run.lot.item(running.item));
        let lot = run.again.then(|| run.lot.part(running.item, 1));
        let retry = lot.filter(|lot| self.may_try_again(lot)).map(|lot| (lot, verdict));
        if retry.is_some() {
            // The one in flight and the one that waits.
            self.tasks[task].active += 1;
        } else {
            self.resolve(task, item, Some(at), verdict, effects);
        }
        let slot = &mut self.slots[at];
        slot.doom = Some(Doom::Charged { run: running.run, item: running.item, retry, answered: false });
        slot.set(State::Leaving, now);
        effects.stop(at);
        self.dispatch(now, effects);
    }

    /// A worker whose item was charged and has ended all the same is of no more use.
    pub(super) fn end_if_late(&mut self, at: usize, effects: &mut impl Effects<P, S>) {
        if matches!(self.slots[at].doom, Some(Doom::Charged { answered: true, .. })) {
            effects.kill(at);
        }
    }

    /// How long it takes at least until an item can be overdue.
    pub(super) fn next_limit(&self, effects: &impl Effects<P, S>) -> Option<Duration> {
        let busy = self.slots.iter().enumerate().filter(|(_, slot)| slot.doom.is_none());
        busy.filter_map(|(at, slot)| {
            let shortest = slot.flight.iter().filter_map(|run| run.limit).min()?;
            let running = effects.running(at).and_then(|running| {
                let run = slot.flight.iter().find(|run| run.number == running.run)?;
                let unanswered = run.answered..run.lot.count;
                let limit = run.limit.filter(|_| unanswered.contains(&running.item))?;
                Some(limit.saturating_sub(running.age))
            });
            // Whatever begins from now on.
            Some(running.map_or(shortest, |left| left.min(shortest)))
        })
        .min()
    }

    /// Whether something with a limit was sent since this was last asked: whoever sleeps may sleep too long for it.
    pub(crate) fn take_watching(&mut self) -> bool {
        std::mem::take(&mut self.watching)
    }
}
