//! Single jobs that share a task.

use std::collections::hash_map::Entry;

use sidestep_worker::wire::Encoding;

use super::super::*;
use super::items::{End, Key};
use super::rig::{Bound, MILLI, Rig};
use super::world::{Doing, Load};

const ANSWERED: Option<End> = Some(End::Answered { cancelled: false });

impl Rig {
    /// One item that joins the last such if it can; `unique` tells whether their arguments can take one more.
    pub(super) fn join_on(&mut self, terms: Terms, job: u32, unique: bool) -> Option<usize> {
        let last = self.tasks.iter().enumerate().rev().find_map(|(number, record)| match record.key {
            Bound::Loose(key, _) => Some((number, key, record.items)),
            Bound::Call(_) => None,
        });
        let Some((number, first, items)) = last else { return self.submit_on(terms, job) };
        let spec = TaskSpec { job, encoding: Encoding::Binary, chunk: None, lazy: false, terms };
        let add = |load: &mut Load| {
            load.count += u32::from(unique);
            unique
        };
        let Some(key) = self.scheduler.join(first, &spec, add) else { return self.submit_on(terms, job) };
        self.world.items.add(number as u32, 1);
        assert_eq!(key, SingleKey { id: first.id + items, ..first });
        self.world.items[(number as u32, items)].id = Some(key.id);
        self.tasks[number].items += 1;
        self.check();
        Some(number)
    }

    /// Withdraws one of them.
    pub(super) fn cancel(&mut self, task: usize, index: u64) -> Withdrawn {
        let Bound::Loose(first, size) = self.tasks[task].key else { panic!("task {task} is a call") };
        let (key, item) = (SingleKey { id: first.id + index, ..first }, (task as u32, index));
        self.world.doing = Doing::Killing(task as u32, Some(index));
        let outcome = self.scheduler.withdraw_single(key, size, true, self.world.now, &mut self.world);
        self.world.doing = Doing::Other;
        let mut alive = self.world.processes.iter().flatten().filter(|of| !(of.killed || of.asked));
        assert!(alive.all(|process| process.runs() != Some(item)), "{item:?} still runs: {outcome:?}");
        let record = &self.world.items[item];
        let known = self.tasks[task].cancelled.entry(index);
        if outcome != Withdrawn::Nothing {
            known.insert_entry(outcome);
        } else if let Entry::Vacant(_) = known {
            let over = record.committed || record.end.is_some();
            assert!(over, "an item that is not over is said to be over");
        }
        self.check();
        outcome
    }

    /// Single jobs that join those that wait, if they can.
    fn bring_singles(&mut self, job: u32, count: usize) -> Vec<Key> {
        let bring = |_| {
            let task = self.join_on(Terms::default(), job, true).unwrap();
            (task as u32, self.tasks[task].items - 1)
        };
        (0..count).map(bring).collect()
    }

    fn drop_one(&mut self, (task, item): Key) -> Withdrawn {
        self.cancel(task as usize, item)
    }

    fn sent(&self) -> Vec<Vec<Key>> {
        self.world.log.iter().map(|(_, keys)| keys.clone()).collect()
    }
}

/// A worker that runs a job, others behind which wait together.
fn waiting(count: usize) -> (Rig, Key, Vec<Key>) {
    let mut rig = Rig::up(1);
    // What nobody knows is not sent ahead by more than one.
    let first = rig.bring_singles(0, 2)[0];
    rig.begin(0);
    let keys = rig.bring_singles(0, count);
    (rig, first, keys)
}

#[test]
fn those_that_wait_share_a_task_and_a_lot() {
    let (mut rig, _, keys) = waiting(100);
    assert_eq!((rig.scheduler.queue.len(), rig.scheduler.tasks.len()), (1, 3));
    assert_eq!(rig.scheduler.counts().queued, 101);
    rig.serve(0, 1000);
    assert!(rig.sent().iter().any(|run| run.len() > 20), "and go together: {:?}", rig.sent());
    rig.drain();
    assert!(keys.iter().all(|key| rig.world.items[*key].end == ANSWERED));
    rig.finish_all();
}

#[test]
fn no_more_share_one_than_there_is_room_for() {
    let (rig, _, _) = waiting(2 * SINGLES as usize);
    assert!(rig.scheduler.queue.len() > 1 && rig.scheduler.queue.len() < 4);
    rig.finish_all();
}

#[test]
fn of_those_that_wait_each_is_withdrawn_by_itself() {
    let (mut rig, _, keys) = waiting(10);
    assert_eq!([0, 4, 9].map(|at| rig.drop_one(keys[at])), [Withdrawn::Waiting; 3]);
    assert_eq!(rig.drop_one(keys[4]), Withdrawn::Nothing);
    rig.drain();
    let ended: Vec<_> = keys.iter().map(|key| rig.world.items[*key].end.is_some()).collect();
    assert_eq!(ended, [false, true, true, true, false, true, true, true, true, false]);
    rig.finish_all();
}

/// A worker that was sent many in one run and has begun none of them.
fn sent_together() -> (Rig, Vec<Key>) {
    let (mut rig, ..) = waiting(40);
    rig.work(0);
    rig.read(0, usize::MAX, 1000, false);
    rig.settle();
    let (_, run) = rig.world.log.iter().rev().find(|(_, run)| run.len() > 10).cloned().unwrap();
    (rig, run)
}

#[test]
fn one_that_lies_unclaimed_at_a_worker_is_taken_from_it_and_no_other_is_harmed() {
    let (mut rig, run) = sent_together();
    while rig.begin(0) != run[1] {
        rig.world.step(0, 1);
    }
    assert_eq!([3, 7, 5].map(|at| rig.drop_one(run[at])), [Withdrawn::Waiting; 3]);
    assert!(!rig.world.process(0).unwrap().killed);
    rig.drain();
    for (at, key) in run.iter().enumerate() {
        let expected = if [3, 5, 7].contains(&at) { None } else { ANSWERED };
        assert_eq!(rig.world.items[*key].end, expected, "{at}");
    }
    rig.finish_all();
}

#[test]
fn one_that_runs_is_killed_and_those_of_its_run_go_on() {
    let (mut rig, run) = sent_together();
    while rig.begin(0) != run[5] {
        rig.world.step(0, 1);
    }
    assert_eq!(rig.drop_one(run[4]), Withdrawn::Nothing, "it has run");
    assert_eq!(rig.drop_one(run[5]), Withdrawn::Running);
    assert_eq!(rig.drop_one(run[5]), Withdrawn::Running);
    assert_eq!(rig.drop_one(run[6]), Withdrawn::Waiting, "it lies in the queue again");
    rig.die(0, false);
    rig.drain();
    for (at, key) in run.iter().enumerate() {
        let expected = match at {
            5 => Some(End::Resolved(Verdict::Cancelled)),
            6 => None,
            _ => ANSWERED,
        };
        assert_eq!(rig.world.items[*key].end, expected, "{at}");
    }
    rig.finish_all();
}

#[test]
fn tiny_ones_gather_while_the_workers_are_busy_and_no_longer() {
    let mut rig = Rig::up(3);
    for _ in 0..40 {
        rig.bring_singles(0, 1);
        let at = *rig.receivers().last().unwrap();
        rig.serve(at, 100);
    }
    rig.world.log.clear();
    rig.bring_singles(0, 60);
    let sizes: Vec<_> = rig.sent().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1], "one for each core");
    assert_eq!(rig.scheduler.queue.len(), 1);
    let at = rig.receivers()[0];
    rig.serve(at, 100);
    assert_eq!(rig.sent().last().map(Vec::len), Some(58));
    rig.bring_singles(0, 10);
    // Those who work seem to be stuck: somebody else is woken.
    assert!(rig.scheduler.next_look(rig.world.now, &rig.world).unwrap() <= 2 * MILLI);
    rig.tick(6 * MILLI);
    let last: std::collections::BTreeSet<_> = rig.receivers().into_iter().collect();
    assert_eq!(last.len(), 3);
    rig.finish_all();
}
