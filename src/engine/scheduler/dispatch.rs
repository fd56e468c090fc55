//! From the queue to the workers, and back again. Which worker: see `pick`.

use std::time::{Duration, Instant};

use sidestep_worker::page::{MAX_RUN, SLOTS};
use sidestep_worker::wire::RunHeader;

use super::sizing::{self, AHEAD_BYTES, SLIGHT};
use super::slot::{Run, Slot, State};
use super::{Effects, Event, LOOK_EVERY, Lot, Payload, Scheduler, Terms, UNCLAIMED};

/// Work that lies unclaimed at one worker is worth moving to an idle one if it takes longer than this, in nanoseconds.
const WORTH_MOVING: u64 = 200_000;
/// Or if its worker has not answered for this long, whatever it was thought to take.
const STALE: Duration = Duration::from_millis(1);
/// The same while there are as many at work as cores: it may have to wait for one.
const STALE_WITHOUT_CORE: Duration = Duration::from_millis(5);
/// How often idle workers look for such work.
const LEVEL_EVERY: Duration = Duration::from_millis(2);

impl<P: Payload, S: Clone> Scheduler<P, S> {
    pub(super) fn enqueue_back(&mut self, lot: Lot<P>) {
        if self.note_queued(&lot) {
            self.queue.push_back(lot);
        }
    }

    pub(super) fn enqueue_front(&mut self, lot: Lot<P>) {
        if self.note_queued(&lot) {
            self.queue.push_front(lot);
        } else {
            self.forget_if_over(lot.task);
        }
    }

    /// A withdrawn task's items do not come back: they are cancelled.
    fn note_queued(&mut self, lot: &Lot<P>) -> bool {
        let task = &mut self.tasks[lot.task];
        let count = u64::from(lot.count);
        if task.is_dropped() {
            self.counts.cancelled += count;
            self.listener.cancelled(lot, None);
            return false;
        }
        task.note_waiting(lot);
        task.lots += 1;
        task.queued += count;
        self.queued += count;
        let bytes = lot.payload.weight(lot.count);
        task.queued_bytes += bytes;
        self.queued_bytes += bytes;
        true
    }

    /// Items that were withdrawn leave the queue in one sweep, once they are the greater part of it.
    pub(super) fn sweep(&mut self) {
        if self.dead <= self.queued + 64 {
            return;
        }
        for mut lot in std::mem::take(&mut self.queue) {
            let index = lot.task;
            let task = &mut self.tasks[index];
            task.lots -= 1;
            while lot.count > 0 {
                let (wanted, count) = task.front(&lot);
                let part = lot.take_front(count);
                if wanted {
                    task.lots += 1;
                    self.queue.push_back(part);
                } else {
                    self.listener.cancelled(&part, None);
                }
            }
            self.forget_if_over(index);
        }
        self.dead = 0;
    }

    /// Sends what can be sent.
    pub(super) fn dispatch(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        self.distribute(now, effects);
        self.stretch(now, effects);
    }

    fn distribute(&mut self, now: Instant, effects: &mut impl Effects<P, S>) {
        while self.has_live_front() {
            let Some(at) = self.pick(now, effects) else { return };
            self.send(at, now, effects);
        }
        while !self.crowded.is_empty() && self.has_idle(effects) && self.level(now, effects) {
            while self.has_live_front() {
                let Some(at) = self.pick_idle(effects) else { break };
                self.send(at, now, effects);
            }
        }
    }

    /// Drops items that were withdrawn from the queue's front.
    fn has_live_front(&mut self) -> bool {
        while let Some(lot) = self.queue.front_mut() {
            let index = lot.task;
            let task = &mut self.tasks[index];
            let (wanted, count) = task.front(lot);
            if wanted {
                return true;
            }
            let dropped = lot.take_front(count);
            let is_empty = lot.count == 0;
            self.listener.cancelled(&dropped, None);
            self.dead -= u64::from(count);
            if is_empty {
                task.lots -= 1;
                self.queue.pop_front();
                self.forget_if_over(index);
            }
        }
        false
    }

    /// Sends the front of the queue to a worker, as much of it as makes a good run.
    fn send(&mut self, at: usize, now: Instant, effects: &mut impl Effects<P, S>) {
        let Some(mut lot) = self.queue.pop_front() else { return };
        let polls = self.has_free_core();
        let task = &mut self.tasks[lot.task];
        let pace = self.paces.of(task.spec.job);
        let share = self.queued / (2 * self.target.max(1) as u64);
        // More is about to come, for the others too.
        let least = if task.open { WORTH_MOVING } else { SLIGHT };
        let wanted = task.spec.chunk.unwrap_or_else(|| sizing::run_items(pace, share, least)).min(MAX_RUN);
        let (_, live) = task.front(&lot);
        let wanted = u64::from(wanted).min(self.slots[at].quota) as u32;
        let count = fitting(&lot, wanted.min(live));
        let bytes = lot.payload.weight(count);
        task.queued -= u64::from(count);
        task.queued_bytes -= bytes;
        self.queued_bytes -= bytes;
        task.active += u64::from(count);
        task.note_sent(lot.first, count);
        self.queued -= u64::from(count);
        if count < lot.count {
            let rest = lot.split_off(count);
            self.queue.push_front(rest);
        } else {
            task.lots -= 1;
        }
        let slot = &mut self.slots[at];
        let header = RunHeader {
            run: slot.next_run,
            job: task.spec.job,
            items: count,
            attempt: lot.tried.attempts + 1,
            first_id: lot.first.id,
            encoding: task.spec.encoding,
            watched: task.spec.terms.limit.is_some() || self.limits.any(),
            polls,
            apart: task.is_loose(),
        };
        effects.send(at, &header, &lot.payload);
        self.listener.tell(|| Event::Sent { id: header.first_id, count, slot: at, attempt: header.attempt });
        slot.next_run = slot.next_run.wrapping_add(1);
        if slot.flight.is_empty() {
            slot.progress = now;
        }
        let Terms { limit, retries } = task.spec.terms;
        let again = lot.tried.attempts < retries;
        self.watching |= limit.is_some();
        self.limits_time |= limit.is_some();
        slot.add(Run { number: header.run, lot, answered: 0, pace, bytes, sent: now, limit, again });
        self.begin_measuring(at, now);
        let slot = &mut self.slots[at];
        if slot.is_crowded() && !std::mem::replace(&mut slot.in_crowded, true) {
            self.crowded.push(at);
        }
        self.note_room(at, effects);
    }

    /// Moves unclaimed work from the worker that has most of it back to the queue, for an idle one. Without this
    /// a job would wait behind a long one although somebody is free.
    fn level(&mut self, now: Instant, effects: &mut impl Effects<P, S>) -> bool {
        let mut best: Option<(u64, usize, u32)> = None;
        let stale = self.stale();
        let slots = &mut self.slots;
        self.crowded.retain(|&at| {
            let slot = &mut slots[at];
            let (mut items, mut nanos) = (0, 0);
            if slot.state == State::Ready && slot.is_crowded() {
                (items, nanos) = slot.unclaimed(|run| effects.claimed(at, run));
            }
            // What is claimed stays so: until it is sent more there is nothing to move, however long it takes.
            slot.in_crowded = items > 0;
            if slot.in_crowded {
                let is_stale = now.saturating_duration_since(slot.progress) >= stale;
                let weight = if is_stale { u64::MAX } else { nanos };
                if weight > WORTH_MOVING && best.is_none_or(|(most, ..)| weight > most) {
                    best = Some((weight, at, items));
                }
            }
            slot.in_crowded
        });
        let Some((_, at, items)) = best else { return false };
        self.take_back(at, items.div_ceil(2), effects) > 0
    }

    /// A worker that has not answered for this long goes on no more, as far as can be told.
    pub(super) fn stale(&self) -> Duration {
        if self.has_free_core() { STALE } else { STALE_WITHOUT_CORE }
    }

    /// Takes unclaimed items back from the end of a worker's flight to the front of the queue; how many.
    pub(super) fn take_back(&mut self, at: usize, most: u32, effects: &mut impl Effects<P, S>) -> u32 {
        let mut left = most;
        for run in (0..self.slots[at].flight.len()).rev() {
            if left == 0 {
                break;
            }
            let number = self.slots[at].flight[run].number;
            let count = effects.withdraw(at, number, left);
            if let Some(lot) = self.slots[at].cut(run, count) {
                left -= lot.count;
                let (id, count) = (lot.first.id, lot.count);
                self.listener.tell(|| Event::TakenBack { id, count, slot: at });
                self.tasks[lot.task].active -= u64::from(lot.count);
                self.enqueue_front(lot);
            }
        }
        self.slots[at].drop_empty_runs();
        self.note_room(at, effects);
        most - left
    }

    // ---- time ----

    /// How long nothing needs to be looked at; `None` if only an event can change anything.
    pub(crate) fn next_look(&mut self, now: Instant, effects: &impl Effects<P, S>) -> Option<Duration> {
        let expiry = self.next_expiry().map(|expiry| expiry.saturating_duration_since(now));
        let pause = self.next_start().map(|start| start.saturating_duration_since(now));
        let jammed = self.jams > 0 && self.queued > 0;
        let look = if jammed || self.is_uneven(effects) {
            Some(LEVEL_EVERY)
        } else {
            self.is_under_way().then_some(LOOK_EVERY)
        };
        let times =
            [expiry, pause, look, self.next_limit(effects), self.next_measure(now), self.next_attempt(now)];
        times.into_iter().flatten().min()
    }

    /// When the next start is tried that has failed before.
    fn next_start(&mut self) -> Option<Instant> {
        if !self.pauses {
            return None;
        }
        let starts = self.slots.iter().filter_map(|slot| match slot.state {
            State::Pausing(until) => Some(until),
            _ => None,
        });
        let next = starts.min();
        self.pauses = next.is_some();
        next
    }

    /// Whether a worker has none while another has more than one item, or while something waits.
    pub(crate) fn is_uneven(&mut self, effects: &impl Effects<P, S>) -> bool {
        (self.queued > 0 || !self.crowded.is_empty()) && self.has_idle(effects)
    }

    /// Whether anything is expected of a worker.
    fn is_under_way(&self) -> bool {
        let is_under_way = |slot: &Slot<P>| match slot.state {
            State::Starting | State::Leaving => true,
            State::Ready => !slot.flight.is_empty(),
            State::Vacant | State::Spawning | State::Pausing(_) => false,
        };
        // One of those that could take more is at work most of the time: then not all have to be looked at.
        self.roomy.back().is_some_and(|at| is_under_way(&self.slots[*at]))
            || self.slots.iter().any(is_under_way)
    }

    /// Time has passed: tries failed starts again, replaces workers, levels, and names workers that ought to have claimed something.
    pub(crate) fn tick(&mut self, now: Instant, effects: &mut impl Effects<P, S>) -> Vec<usize> {
        for at in 0..self.slots.len() {
            if matches!(self.slots[at].state, State::Pausing(until) if until <= now) {
                self.slots[at].set(State::Vacant, now);
                self.revive(at, now, effects);
            }
            self.recycle(at, now, effects);
            if std::mem::take(&mut self.slots[at].jammed) {
                self.jams -= 1;
                self.note_room(at, effects);
            }
        }
        self.wake_delayed(now);
        self.dispatch(now, effects);
        (0..self.slots.len()).filter(|at| self.has_not_begun(*at, now, effects)).collect()
    }

    fn has_not_begun(&self, at: usize, now: Instant, effects: &impl Effects<P, S>) -> bool {
        let slot = &self.slots[at];
        let serves = matches!(slot.state, State::Ready | State::Leaving);
        let quiet = |since| serves && now.saturating_duration_since(since) >= UNCLAIMED;
        match slot.flight.front() {
            Some(first) => {
                quiet(first.sent.max(slot.progress))
                    && (effects.claimed(at, first.number) == 0 || self.is_between_items(at, effects))
            }
            // All that it was sent was withdrawn, and it does not even take that out of its pipe.
            None => slot.jammed && quiet(slot.progress),
        }
    }

    /// A worker that [`tick`](Self::tick) named was looked at. One that was stopped is replaced, and what it had not begun
    /// goes elsewhere without blame; one that gets no processor loses its work only if somebody else is idle.
    pub(crate) fn looked_at(
        &mut self,
        at: usize,
        stopped: bool,
        now: Instant,
        effects: &mut impl Effects<P, S>,
    ) {
        match self.slots[at].state {
            State::Ready => {}
            State::Leaving if stopped && self.halt_between_items(at, effects) => return effects.kill(at),
            _ => return,
        }
        let scribbled = self.unread(at, effects) > SLOTS;
        if stopped || scribbled {
            self.take_back(at, u32::MAX, effects);
            // What it has begun since then is innocent. If it was stopped between two items, no limit would ever end it.
            if self.slots[at].flight.is_empty() || stopped && self.halt_between_items(at, effects) {
                self.slots[at].set(State::Leaving, now);
                effects.kill(at);
            }
        } else if self.has_idle(effects) {
            self.take_back(at, u32::MAX, effects);
            // All others come before it.
            if self.idle.last() == Some(&at) {
                self.idle.rotate_right(1);
            }
        }
        self.dispatch(now, effects);
    }
}

/// As many items of a lot as wanted, fewer if they have many bytes, at least one.
fn fitting<P: Payload>(lot: &Lot<P>, wanted: u32) -> u32 {
    let mut count = wanted.clamp(1, lot.count);
    while count > 1 && lot.payload.weight(count) > AHEAD_BYTES {
        count /= 2;
    }
    count
}
