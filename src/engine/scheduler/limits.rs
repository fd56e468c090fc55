//! Items that take more than they may: time, memory or processor time.
//!
//! The clocks start when the worker begins the item; the page says when that was. At a limit the item is charged at
//! once, whatever its worker does then. The worker is asked to end, and killed after the grace, or at once if it has too
//! much memory; what else it was sent goes elsewhere without blame. Halted before the next item, it begins nothing that
//! its end could hit.

use std::time::{Duration, Instant};

use super::slot::{Run, State};
use super::{Effects, Fate, Lot, Payload, Scheduler, Target, Verdict};

/// The item that a worker is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) run: u32,
    /// Its place in the run.
    pub(crate) item: u32,
    /// For how long.
    pub(crate) age: Duration,
    /// Processor time that the worker had used before, if there is a limit of that.
    pub(crate) cpu_before: Duration,
}

impl Running {
    /// Whether it is the same item, not whether it is as old.
    pub(super) fn is_item(self, other: Running) -> bool {
        (self.run, self.item) == (other.run, other.item)
    }
}

/// Why a worker was killed, or asked to end, in the middle of an item.
#[derive(Debug)]
pub(super) enum Doom<P> {
    /// Whoever submitted these wants them no more.
    Cancelled(Target),
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
    pub(super) fn fate_of(&mut self, lot: &Lot<P>, number: u32, item: u32) -> (Fate, u32) {
        match self {
            Doom::Cancelled(target) => match target.places(lot) {
                places if places.contains(&item) => (Fate::Cancelled, places.end - item),
                places if item < places.start => (Fate::Wanted, places.start - item),
                _ => (Fate::Wanted, u32::MAX),
            },
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

/// An item that has come to one of its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overrun {
    /// Its run's place in flight.
    place: usize,
    /// Its place in the run.
    item: u32,
    verdict: Verdict,
}

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// Workers whose item has come to a limit. What they have answered is to be read before [`halt`](Self::halt).
    pub(crate) fn overdue(&self, effects: &impl Effects<P, S>) -> Vec<usize> {
        (0..self.slots.len()).filter(|at| self.overrun(*at, effects).is_some()).collect()
    }

    /// The limit that a worker's item has come to by now.
    pub(super) fn overrun(&self, at: usize, effects: &impl Effects<P, S>) -> Option<Overrun> {
        let (place, running) = self.limited_item(at, effects)?;
        let (slot, run) = (&self.slots[at], &self.slots[at].flight[place]);
        let used_up = slot.measured.as_ref().and_then(|measured| self.limits.exceeded(measured, running));
        let too_long =
            run.limit.filter(|limit| running.age >= *limit).map(|limit| Verdict::TimedOut { limit });
        Some(Overrun { place, item: running.item, verdict: used_up.or(too_long)? })
    }

    /// The item that a worker is in, if it is limited, and the place in flight of its run. What the page says is believed
    /// as far as it can be: only what was claimed and is not answered can run.
    fn limited_item(&self, at: usize, effects: &impl Effects<P, S>) -> Option<(usize, Running)> {
        let slot = &self.slots[at];
        if slot.doom.is_some() || slot.flight.iter().all(|run| !self.is_limited(run)) {
            return None;
        }
        let running = effects.running(at)?;
        let place = slot.flight.iter().position(|run| run.number == running.run)?;
        let run = &slot.flight[place];
        let begun = run.answered..run.lot.count.min(effects.claimed(at, run.number));
        begun.contains(&running.item).then_some((place, running))
    }

    fn is_limited(&self, run: &Run<P>) -> bool {
        run.limit.is_some() || self.limits.any()
    }

    /// Whether a worker is in none of its items, all of which are limited: no clock runs there.
    pub(super) fn is_between_items(&self, at: usize, effects: &impl Effects<P, S>) -> bool {
        let slot = &self.slots[at];
        let limited = !slot.flight.is_empty() && slot.flight.iter().all(|run| self.is_limited(run));
        limited && slot.doom.is_none() && effects.running(at).is_none()
    }

    /// Has a worker that is in none of its items begin no other. `false` if it has just begun one: it may go on.
    pub(super) fn halt_between_items(&self, at: usize, effects: &mut impl Effects<P, S>) -> bool {
        if !self.is_between_items(at, effects) {
            return false;
        }
        effects.halt(at, true);
        let between = self.is_between_items(at, effects);
        if !between {
            effects.halt(at, false);
        }
        between
    }

    /// Has a worker begin nothing more whose item has come to a limit, and gives that item, which is then to be charged.
    /// `None` if it has just ended: the worker may go on.
    pub(crate) fn halt(
        &mut self,
        at: usize,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) -> Option<Overrun> {
        if self.overrun(at, effects).is_none() {
            self.relieve(at, now, effects);
            return None;
        }
        effects.halt(at, true);
        self.take_back(at, u32::MAX, effects);
        let overrun = self.overrun(at, effects);
        if overrun.is_none() {
            effects.halt(at, false);
            self.relieve(at, now, effects);
            self.dispatch(now, effects);
        }
        overrun
    }

    /// Charges an item that has come to a limit, and ends its worker, which is halted.
    pub(crate) fn expire(
        &mut self,
        at: usize,
        overrun: Overrun,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) {
        let Overrun { place, item, verdict } = overrun;
        let run = &mut self.slots[at].flight[place];
        let number = run.number;
        let last = verdict.after(run.lot.tried);
        let (task, who) = (run.lot.task, run.lot.item(item));
        let lot = (run.again && last.may_pass()).then(|| run.lot.part(item, 1));
        let retry = lot.filter(|lot| self.may_try_again(lot)).map(|lot| (lot, verdict));
        if retry.is_some() {
            // The one in flight and the one that waits.
            self.tasks[task].active += 1;
        } else {
            self.resolve(task, who, Some(at), last, effects);
        }
        let slot = &mut self.slots[at];
        slot.doom = Some(Doom::Charged { run: number, item, retry, answered: false });
        slot.set(State::Leaving, now);
        match verdict {
            // It may take all there is before it has ended in good order.
            Verdict::MemoryLimit { .. } => effects.kill(at),
            _ => effects.stop(at),
        }
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
        if !self.limits_time {
            return None;
        }
        let busy = self.slots.iter().enumerate().filter(|(_, slot)| slot.doom.is_none());
        busy.filter_map(|(at, slot)| {
            // Whatever begins from now on.
            let shortest = slot.flight.iter().filter_map(|run| run.limit).min()?;
            let item = self.limited_item(at, effects);
            let left =
                item.and_then(|(place, item)| Some(slot.flight[place].limit?.saturating_sub(item.age)));
            Some(left.map_or(shortest, |left| left.min(shortest)))
        })
        .min()
    }

    /// Whether something with a limit was sent since this was last asked: whoever sleeps may sleep too long for it.
    pub(crate) fn take_watching(&mut self) -> bool {
        std::mem::take(&mut self.watching)
    }
}
