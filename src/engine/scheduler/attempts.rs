//! Items that are tried again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::chance::mix;
use super::{
    Answer, Counts, Effects, Ending, Event, Item, Lot, Payload, Phase, Scheduler, Target, Tried, Verdict,
};

/// An item that this many workers have died of is not tried again, whatever its retries.
const POISON: u32 = 3;
/// No pause is longer, so that its end is a moment that the clock knows.
const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What an item may take, and how often it is tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How long it may run.
    pub(crate) limit: Option<Duration>,
    /// How many attempts may follow the first.
    pub(crate) retries: u32,
}

/// The pause before an attempt: it doubles with each, from the first up to the longest, less up to a half by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// Chance comes from the item's id, so that the same history makes the same pauses.
    fn pause(self, id: u64, tried: Tried) -> Duration {
        let longest = self.longest.min(CENTURY);
        let doubled = self.first.saturating_mul(1 << (tried.attempts - 1).min(30)).min(longest);
        let chance = mix(id ^ u64::from(tried.attempts) << 56) as f64 / u64::MAX as f64;
        doubled.mul_f64(1.0 - 0.5 * chance)
    }
}

impl Counts {
    /// An item has ended without a result of its own.
    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Cancelled => self.cancelled += 1,
            _ => self.failed += 1,
        }
        match verdict {
            Verdict::TimedOut { .. } => self.timed_out += 1,
            Verdict::MemoryLimit { .. } => self.over_memory += 1,
            Verdict::CpuLimit { .. } => self.over_cpu += 1,
            Verdict::Poisoned { .. } => self.poisoned += 1,
            _ => {}
        }
    }
}

impl Verdict {
    /// What it is for an item that has failed before: of too many deaths one is poison.
    pub(super) fn after(self, tried: Tried) -> Verdict {
        let deaths = tried.deaths + 1;
        match self {
            verdict if verdict.is_death() && deaths >= POISON => Verdict::Poisoned { deaths },
            Verdict::Lost { .. } => Verdict::Lost { attempts: tried.attempts + 1 },
            verdict => verdict,
        }
    }

    /// Whether the item's worker has died of it.
    fn is_death(self) -> bool {
        matches!(self, Verdict::Lost { .. } | Verdict::MemoryLimit { .. })
    }

    /// Whether the item has come to one of its limits.
    fn is_limit(self) -> bool {
        matches!(self, Verdict::TimedOut { .. } | Verdict::MemoryLimit { .. } | Verdict::CpuLimit { .. })
    }

    /// Whether another attempt may go better.
    pub(super) fn may_pass(self) -> bool {
        self.is_limit() || matches!(self, Verdict::Lost { .. })
    }
}

/// Items that wait for their next attempt, by when that is and by id.
pub(super) type Delayed<P> = BTreeMap<(Instant, u64), Lot<P>>;

impl<P: Payload, S: Clone> Scheduler<P, S> {
    /// Whether an item that has failed once more may be tried again.
    pub(super) fn may_try_again(&self, lot: &Lot<P>) -> bool {
        let task = &self.tasks[lot.task];
        let wanted = !task.is_withdrawn(lot.first.index);
        let goes_on = wanted && matches!(self.phase, Phase::Open | Phase::Closed);
        goes_on && lot.tried.attempts < task.spec.terms.retries
    }

    /// An item in flight has failed, and its worker is gone: it is tried again, or over.
    pub(super) fn fail(
        &mut self,
        mut lot: Lot<P>,
        at: usize,
        verdict: Verdict,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) {
        let deaths = u32::from(verdict.is_death());
        let verdict = verdict.after(lot.tried);
        lot.tried.deaths += deaths;
        if verdict.may_pass() && self.may_try_again(&lot) {
            return self.delay(lot, at, now);
        }
        let verdict = match verdict {
            verdict if verdict.is_limit() && self.tasks[lot.task].is_withdrawn(lot.first.index) => {
                Verdict::Cancelled
            }
            verdict => verdict,
        };
        self.end_item(lot.task, lot.first, Some(at), verdict, effects);
    }

    /// An item that was active waits for its next attempt.
    fn delay(&mut self, mut lot: Lot<P>, at: usize, now: Instant) {
        lot.tried.attempts += 1;
        self.counts.retried += 1;
        let task = &mut self.tasks[lot.task];
        task.active -= 1;
        task.delayed += 1;
        let id = lot.first.id;
        self.listener.tell(|| Event::TakenBack { id, count: 1, slot: at });
        self.delayed.insert((now + self.backoff.pause(id, lot.tried), id), lot);
    }

    /// Has an answered item tried again. `false` if nobody wants that any more.
    pub(super) fn try_again(&mut self, answer: &mut Answer<P, S>, now: Instant) -> bool {
        let Some(lot) = answer.again.take().filter(|lot| self.may_try_again(lot)) else { return false };
        self.delay(lot, answer.slot, now);
        true
    }

    /// Those whose time has come go to the queue's end: whoever failed waits behind those that did not.
    pub(super) fn wake_delayed(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let lot = first.remove();
            self.tasks[lot.task].delayed -= 1;
            self.enqueue_back(lot);
        }
    }

    /// How long until the next one's time comes.
    pub(super) fn next_attempt(&self, now: Instant) -> Option<Duration> {
        self.delayed.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now))
    }

    /// Items that were withdrawn are not tried again; whether there were any.
    pub(super) fn cancel_delayed(&mut self, target: Target) -> bool {
        let before = self.tasks[target.task].delayed;
        if before == 0 {
            return false;
        }
        let Scheduler { delayed, tasks, counts, listener, .. } = self;
        let task = &mut tasks[target.task];
        delayed.retain(|_, lot| {
            let dropped = target.has(lot.task, lot.first.index);
            if dropped {
                listener.cancelled(lot, None);
                task.delayed -= 1;
            }
            !dropped
        });
        counts.cancelled += before - task.delayed;
        task.delayed < before
    }

    /// The pool ends: nothing is tried again.
    pub(super) fn end_delayed(&mut self, verdict: Verdict, effects: &mut impl Effects<P, S>) {
        for lot in std::mem::take(&mut self.delayed).into_values() {
            let task = &mut self.tasks[lot.task];
            task.delayed -= 1;
            task.active += 1;
            self.end_item(lot.task, lot.first, None, verdict, effects);
        }
    }

    /// An item ends without a result of its own; it may still be in flight.
    pub(super) fn resolve(
        &mut self,
        task: usize,
        item: Item,
        slot: Option<usize>,
        verdict: Verdict,
        effects: &mut impl Effects<P, S>,
    ) {
        let ending = match verdict {
            Verdict::Cancelled => Ending::Cancelled,
            _ => Ending::Failed,
        };
        self.counts.add(verdict);
        effects.resolve(&self.tasks[task].sink, item, slot, verdict);
        self.listener.tell(|| Event::Ended { id: item.id, count: 1, slot, ending });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(5) };
        for attempts in 1..40 {
            let whole = (50u64 << (attempts - 1).min(20)).min(5000);
            for id in 0..50 {
                let pause = backoff.pause(id, Tried { attempts, deaths: 0 }).as_millis() as u64;
                assert!((whole / 2..=whole).contains(&pause), "{pause} of {whole} ms in attempt {attempts}");
            }
        }
        let endless = Backoff { first: Duration::MAX, longest: Duration::MAX };
        assert!(endless.pause(1, Tried { attempts: 40, deaths: 0 }) >= CENTURY / 2);
        let pauses = [1, 2, 3].map(|id| backoff.pause(id, Tried { attempts: 1, deaths: 0 }));
        assert!(pauses[0] != pauses[1] && pauses[1] != pauses[2]);
    }
}
