//! What holds after each step.

use std::collections::HashMap;

use super::super::limits::Doom;
use super::super::sizing::{AHEAD, AHEAD_BYTES, AHEAD_RUNS, LONG, SLIGHT};
use super::super::*;
use super::rig::Rig;
use super::world::Load;

impl Rig {
    pub(super) fn check(&mut self) {
        if self.unchecked {
            return;
        }
        self.check_slots();
        self.check_sums();
        self.check_counts();
        self.check_progress();
        self.check_line();
    }

    fn check_slots(&self) {
        for (at, slot) in self.scheduler.slots.iter().enumerate() {
            assert_eq!(slot.state.has_process(), self.world.process(at).is_some(), "slot {at}");
            let coming = self.world.spawns.iter().any(|(other, _)| *other == at);
            assert_eq!(slot.state == State::Spawning, coming, "slot {at} is {:?}", slot.state);
            let mut last = None;
            for run in &slot.flight {
                assert!(last < Some(run.number), "runs stand in the order sent");
                last = Some(run.number);
                assert!(run.left() > 0, "an empty run is in flight");
                assert!(self.world.claimed(at, run.number) <= run.lot.count, "the page's slot is its own");
                let charged =
                    |place: &u32| slot.doom.as_ref().is_some_and(|doom| doom.has_charged(run.number, *place));
                for offset in (run.answered..run.lot.count).filter(|place| !charged(place)) {
                    let key = (run.lot.payload.task, run.lot.item(offset).index);
                    assert_eq!(self.world.items[key].holder, Some(at), "{key:?} is in flight and not there");
                }
            }
            let time: u64 = slot.flight.iter().map(|run| run.pace * u64::from(run.left())).sum();
            let bytes: usize = slot.flight.iter().map(|run| run.bytes).sum();
            assert_eq!((slot.ahead, slot.ahead_bytes), (time, bytes), "slot {at}");
            if slot.state == State::Ready {
                let left: u64 = slot.flight.iter().map(|run| u64::from(run.left())).sum();
                let most = self.scheduler.recycling.jobs(at, slot.generation);
                assert_eq!(slot.done + left + slot.quota, most, "slot {at} got more or less than its share");
            }
            let Some(last) = slot.flight.back() else { continue };
            if slot.flight.len() > 1 {
                assert!(slot.flight.len() <= AHEAD_RUNS);
                assert!(bytes - last.bytes < AHEAD_BYTES, "too many bytes lie at one worker");
                assert!(
                    slot.flight.iter().rev().skip(1).all(|run| run.pace < LONG),
                    "long jobs are waited for"
                );
            }
            if slot.flight.len() > 2 {
                let before = time - last.pace * u64::from(last.left());
                assert!(before < AHEAD, "too much work lies at one worker");
            }
        }
    }

    fn check_sums(&self) {
        let s = &self.scheduler;
        let mut lots = HashMap::<usize, (u64, u64, usize)>::new();
        let mut dead = 0;
        for lot in &s.queue {
            assert!(lot.count > 0 && s.tasks.contains(lot.task));
            let (number, items, bytes) = lots.entry(lot.task).or_default();
            let live = self.live(lot);
            *number += 1;
            *items += live;
            *bytes += lot.payload.size * live as usize;
            dead += u64::from(lot.count) - live;
        }
        let mut active = HashMap::<usize, u64>::new();
        for run in s.slots.iter().flat_map(|slot| &slot.flight) {
            *active.entry(run.lot.task).or_default() += u64::from(run.left());
        }
        let mut settling = 0;
        for (answer, ..) in &self.unsettled {
            settling += u64::from(answer.count);
            *active.entry(answer.task).or_default() += u64::from(answer.count);
        }
        for slot in &s.slots {
            if let Some(Doom::Charged { retry: Some((lot, _)), .. }) = &slot.doom {
                *active.entry(lot.task).or_default() += 1;
            }
        }
        let mut delayed = HashMap::<usize, u64>::new();
        s.delayed.values().for_each(|lot| *delayed.entry(lot.task).or_default() += u64::from(lot.count));
        let (mut queued, mut queued_bytes) = (0, 0);
        for (index, task) in &s.tasks {
            let (number, items, bytes) = lots.get(&index).copied().unwrap_or_default();
            if let Bond::Loose { waiting, .. } = &task.bond {
                let waiting = (0..SINGLES).filter(|item| waiting.contains(*item)).count();
                assert_eq!(waiting as u64, items, "an item is said to wait that does not, or waits twice");
            }
            queued += items;
            queued_bytes += bytes;
            assert_eq!((u64::from(task.lots), task.queued, task.queued_bytes), (number, items, bytes));
            assert_eq!(task.active, active.get(&index).copied().unwrap_or_default());
            assert_eq!(task.delayed, delayed.get(&index).copied().unwrap_or_default());
            assert!(
                task.open || task.lots > 0 || task.active > 0 || task.delayed > 0,
                "a task is kept that is over"
            );
        }
        assert_eq!((s.queued, s.dead, s.settling), (queued, dead, settling));
        assert_eq!(s.queued_bytes, queued_bytes);
        assert_eq!(s.jams, s.slots.iter().filter(|slot| slot.jammed).count());
        let feeding = self.tasks.iter().filter(|task| task.open && !task.lazy).count();
        assert_eq!(s.feeding, feeding);
    }

    /// How many items of a lot in the queue are wanted.
    fn live(&self, lot: &Lot<Load>) -> u64 {
        let mut indexes = lot.first.index..lot.first.index + u64::from(lot.count);
        match &self.scheduler.tasks[lot.task].bond {
            Bond::Call { withdrawn: true } => 0,
            Bond::Call { .. } => u64::from(lot.count),
            Bond::Loose { waiting, .. } => {
                indexes.by_ref().filter(|item| waiting.contains(*item)).count() as u64
            }
        }
    }

    /// The counters, the events and the records tell the same.
    fn check_counts(&mut self) {
        let counts = self.scheduler.counts();
        assert_eq!(
            counts.submitted,
            counts.done + counts.failed + counts.cancelled + counts.queued + counts.running
        );
        assert_eq!(counts.submitted, self.world.items.len() + self.refused);
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        events.into_iter().for_each(|event| self.told.hear(event));
        let dead: u64 = self.scheduler.queue.iter().map(|lot| u64::from(lot.count) - self.live(lot)).sum();
        let told = &self.told;
        assert_eq!((told.submitted, told.done, told.failed), (counts.submitted, counts.done, counts.failed));
        assert_eq!(told.cancelled + dead, counts.cancelled);
    }

    /// Only tiny jobs wait, which may become more, and somebody else is at work.
    fn grows(&self) -> bool {
        let s = &self.scheduler;
        let busy = s.slots.iter().filter(|slot| slot.state == State::Ready && !slot.flight.is_empty());
        let last = s.queue.back().filter(|lot| s.queue.len() == 1 && s.tasks[lot.task].is_loose());
        (busy.count() > 0 || self.refill.is_some())
            && last.is_some_and(|lot| s.paces.of(s.tasks[lot.task].spec.job) < SLIGHT)
    }

    /// Nobody waits for what could be had.
    fn check_progress(&self) {
        let s = &self.scheduler;
        if matches!(s.phase, Phase::Broken | Phase::Terminated) {
            return;
        }
        for (at, slot) in s.slots.iter().enumerate() {
            let idle = slot.state == State::Ready && slot.flight.is_empty() && self.refill != Some(at);
            let waits = s.queued > 0 && !self.grows();
            assert!(!idle || !waits || slot.jammed, "worker {at} is idle while jobs wait");
        }
        let wanted = s.slots.iter().take(s.target);
        let vacant = wanted.clone().filter(|slot| slot.state == State::Vacant).count();
        if s.phase == Phase::Open {
            assert_eq!(vacant, 0, "a slot is forgotten");
        } else if (s.queued > 0 || s.feeding > 0) && s.target > 0 {
            assert!(vacant < s.target, "nobody will ever do what waits");
        }
    }
}
