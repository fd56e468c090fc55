//! One worker's place in the pool.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::limits::Doom;
use super::usage::Measured;
use super::{Down, Fate, Item, Lot, Payload, Target};

/// Where a worker is in its life.
///
/// ```text
///   Vacant -> Spawning -> Starting -> Ready -> Leaving -> Vacant
///                 |          |          |
///                 +----------+----------+--> Pausing or Vacant (it is gone), and again from the front
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody is here, nobody is wanted yet.
    Vacant,
    /// A process is being made.
    Spawning,
    /// A process exists and has not said that it is ready.
    Starting,
    /// It takes jobs.
    Ready,
    /// It was told to go, or was killed on purpose.
    Leaving,
    /// The last start failed; the next is tried then.
    Pausing(Instant),
}

impl State {
    pub(crate) fn has_process(self) -> bool {
        matches!(self, State::Starting | State::Ready | State::Leaving)
    }
}

/// A run that was sent.
#[derive(Debug)]
pub(super) struct Run<P> {
    pub(super) number: u32,
    pub(super) lot: Lot<P>,
    /// Items of it that were answered.
    pub(super) answered: u32,
    /// What the scheduler thinks that an item takes, in nanoseconds; 0 if it does not know.
    pub(super) pace: u64,
    /// Bytes of its arguments.
    pub(super) bytes: usize,
    pub(super) sent: Instant,
    /// What an item of it may take.
    pub(super) limit: Option<Duration>,
    /// Its items may be tried again.
    pub(super) again: bool,
}

impl<P: Payload> Run<P> {
    pub(super) fn left(&self) -> u32 {
        self.lot.count - self.answered
    }

    /// How many of the unanswered items are charged with their worker's end: those that may have run.
    ///
    /// A worker notes each item before it runs it. The note names the first unanswered item, or one that is
    /// answered: then none was running. Any other note means that results have gone missing, and each item up
    /// to the noted one may have run.
    pub(super) fn charged(&self, how: Down, claimed: u32) -> u32 {
        let claimed = claimed.saturating_sub(self.answered);
        match how {
            Down::Protocol => claimed,
            Down::Died(Some((run, item))) if run == self.number && item >= self.answered => {
                (item - self.answered).saturating_add(1).min(self.left())
            }
            // It has gone on to a later run, so all of this one must have been run.
            Down::Died(Some((run, _))) if (run.wrapping_sub(self.number) as i32) > 0 => claimed,
            Down::Died(_) | Down::NotSpawned => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Slot<P> {
    pub(super) state: State,
    /// Raised with each worker that begins here.
    pub(super) generation: u32,
    pub(super) pid: Option<u32>,
    /// When the state was entered.
    pub(super) since: Instant,
    /// Runs sent and not wholly answered, in the order sent.
    pub(super) flight: VecDeque<Run<P>>,
    /// The next run's number.
    pub(super) next_run: u32,
    /// When it last answered or was sent something while it had nothing.
    pub(super) progress: Instant,
    /// Items that it has answered.
    pub(super) done: u64,
    /// Items that it may still be sent.
    pub(super) quota: u64,
    /// When it is to be replaced for its age.
    pub(super) expires: Option<Instant>,
    /// Why it was killed, or asked to end, in the middle of an item.
    pub(super) doom: Option<Doom<P>>,
    /// What it used when it was last measured.
    pub(super) measured: Option<Measured>,
    /// It was sent something since it was last found idle.
    pub(super) to_measure: bool,
    /// What the unanswered items are thought to take, in nanoseconds.
    pub(super) ahead: u64,
    /// Bytes of the runs in flight.
    pub(super) ahead_bytes: usize,
    /// It is in the scheduler's list of that name.
    pub(super) in_idle: bool,
    pub(super) in_roomy: bool,
    pub(super) in_crowded: bool,
    /// It is idle, but what was sent and withdrawn still fills its page.
    pub(super) jammed: bool,
}

/// Items that were answered, as far as they share one fate.
pub(super) struct Answered<P> {
    pub(super) task: usize,
    pub(super) first: Item,
    pub(super) count: u32,
    pub(super) fate: Fate,
    /// The item's arguments, if it may be tried again; then there is one.
    pub(super) again: Option<Lot<P>>,
}

/// What a slot looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerView {
    pub(crate) slot: usize,
    pub(crate) generation: u32,
    pub(crate) state: State,
    pub(crate) pid: Option<u32>,
    pub(crate) since: Instant,
    /// The id of the first unanswered item.
    pub(crate) current: Option<u64>,
    /// When that one was sent or the one before it was answered.
    pub(crate) progress: Instant,
    pub(crate) done: u64,
}

impl<P: Payload> Slot<P> {
    pub(super) fn new(now: Instant) -> Slot<P> {
        Slot {
            state: State::Vacant,
            generation: 0,
            pid: None,
            since: now,
            flight: VecDeque::new(),
            next_run: 0,
            progress: now,
            done: 0,
            quota: 0,
            expires: None,
            doom: None,
            measured: None,
            to_measure: false,
            ahead: 0,
            ahead_bytes: 0,
            in_idle: false,
            in_roomy: false,
            in_crowded: false,
            jammed: false,
        }
    }

    pub(super) fn set(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    /// A new worker is to come here.
    pub(super) fn begin(&mut self, now: Instant) {
        self.generation += 1;
        self.next_run = 0;
        self.pid = None;
        self.done = 0;
        self.expires = None;
        self.doom = None;
        (self.measured, self.to_measure) = (None, false);
        self.set(State::Spawning, now);
    }

    /// The worker is gone, and so is what it had in flight.
    pub(super) fn end(&mut self, now: Instant) -> VecDeque<Run<P>> {
        self.pid = None;
        self.set(State::Vacant, now);
        self.take_flight()
    }

    pub(super) fn take_flight(&mut self) -> VecDeque<Run<P>> {
        (self.ahead, self.ahead_bytes) = (0, 0);
        std::mem::take(&mut self.flight)
    }

    /// A run was sent.
    pub(super) fn add(&mut self, run: Run<P>) {
        self.ahead = self.ahead.saturating_add(run.pace.saturating_mul(u64::from(run.left())));
        self.ahead_bytes += run.bytes;
        self.quota -= u64::from(run.left());
        self.flight.push_back(run);
    }

    /// Marks up to `count` items of the first run as answered and gives them.
    pub(super) fn answer(&mut self, count: u32) -> Option<Answered<P>> {
        let run = self.flight.front_mut()?;
        let (fate, most) = match &mut self.doom {
            None => (Fate::Wanted, u32::MAX),
            Some(doom) => doom.fate_of(&run.lot, run.number, run.answered),
        };
        let alone = run.again && fate == Fate::Wanted;
        let part = if alone { 1 } else { count.min(run.left()).min(most) };
        let again = alone.then(|| run.lot.part(run.answered, 1));
        let (task, first) = (run.lot.task, run.lot.item(run.answered));
        let answered = Answered { task, first, count: part, fate, again };
        run.answered += part;
        self.done += u64::from(part);
        self.ahead = self.ahead.saturating_sub(run.pace.saturating_mul(u64::from(part)));
        if run.left() == 0 {
            self.ahead_bytes -= run.bytes;
            self.flight.pop_front();
        }
        Some(answered)
    }

    /// Cuts up to `count` unanswered items off the end of a run; the run may be left empty.
    pub(super) fn cut(&mut self, run: usize, count: u32) -> Option<Lot<P>> {
        let run = self.flight.get_mut(run)?;
        let count = count.min(run.left());
        self.quota += u64::from(count);
        self.ahead = self.ahead.saturating_sub(run.pace.saturating_mul(u64::from(count)));
        (count > 0).then(|| run.lot.split_off(run.lot.count - count))
    }

    /// Runs that withdrawals have left empty are over.
    pub(super) fn drop_empty_runs(&mut self) {
        let bytes = &mut self.ahead_bytes;
        self.flight.retain(|run| {
            if run.left() == 0 {
                *bytes -= run.bytes;
            }
            run.left() > 0
        });
    }

    /// Bytes of the runs behind the first.
    pub(super) fn bytes_behind(&self) -> usize {
        self.ahead_bytes - self.flight.front().map_or(0, |run| run.bytes)
    }

    /// Whether its worker has nothing to do and may be sent something.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Ready && self.flight.is_empty() && self.quota > 0
    }

    /// Whether it has more than one item to answer.
    pub(super) fn is_crowded(&self) -> bool {
        self.flight.len() > 1 || self.flight.front().is_some_and(|run| run.left() > 1)
    }

    /// Items that it has not claimed, and what they are thought to take, in nanoseconds.
    pub(super) fn unclaimed(&self, claimed: impl Fn(u32) -> u32) -> (u32, u64) {
        self.flight.iter().fold((0, 0), |(items, nanos), run| {
            let count = run.lot.count - claimed(run.number).clamp(run.answered, run.lot.count);
            (items + count, nanos.saturating_add(run.pace.saturating_mul(u64::from(count))))
        })
    }

    /// Whether the item that runs may be one of these. The worker is in the last run of which it has claimed
    /// anything: those before it are done, and their results are committed, be they read or not.
    pub(super) fn may_run(&self, target: Target, claimed: impl Fn(u32) -> u32) -> bool {
        let mut begun = self.flight.iter().rev().filter_map(|run| {
            let last = claimed(run.number).min(run.lot.count).checked_sub(1)?;
            Some((run.lot.task, run.lot.item(last).index))
        });
        begun.next().is_some_and(|(task, index)| target.has(task, index))
    }

    /// Whether it was killed for their sake, and something of them is still to end.
    pub(super) fn is_killed_for(&self, target: Target) -> bool {
        match &self.doom {
            Some(Doom::Cancelled(other)) => *other == target && !self.flight.is_empty(),
            Some(Doom::Charged { retry: Some((lot, _)), .. }) => target.has(lot.task, lot.first.index),
            _ => false,
        }
    }

    /// Whether an item runs here that has not been charged.
    pub(super) fn is_busy(&self) -> bool {
        !self.flight.is_empty() && !matches!(self.doom, Some(Doom::Charged { retry: None, .. }))
    }

    /// Whether its item is to be tried again once it is gone.
    pub(super) fn is_to_retry(&self) -> bool {
        matches!(self.doom, Some(Doom::Charged { retry: Some(_), .. }))
    }

    pub(super) fn view(&self, slot: usize) -> WorkerView {
        WorkerView {
            slot,
            generation: self.generation,
            state: self.state,
            pid: self.pid,
            since: self.since,
            current: self.flight.front().map(|run| run.lot.item(run.answered).id),
            progress: self.progress,
            done: self.done,
        }
    }
}
