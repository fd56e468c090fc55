//! Items that run for too long, and items that are tried again.

use std::time::Duration;

use super::super::*;
use super::items::End;
use super::rig::{MILLI, Rig};

const LIMIT: Duration = Duration::from_millis(100);
const ANSWERED: Option<End> = Some(End::Answered { cancelled: false });
const TIMED_OUT: Option<End> = Some(End::Resolved(Verdict::TimedOut { limit: LIMIT }));
const NO_RETRY: Terms = Terms { limit: Some(LIMIT), retries: 0 };
const RETRIES: Terms = Terms { limit: Some(LIMIT), retries: 2 };

impl Rig {
    /// One chunk of so many items on the first worker, which is in the middle of its second item.
    fn in_the_second_of(&mut self, count: u32, terms: Terms) -> usize {
        let task = self.open_on(terms, 0, Some(count), false).unwrap();
        self.push(task, count, 100);
        self.finish(task);
        self.begin(0);
        self.world.step(0, count);
        assert_eq!(self.begin(0), (task as u32, 1));
        task
    }

    fn end(&self, task: usize, index: u64) -> Option<End> {
        self.world.items[(task as u32, index)].end.clone()
    }

    fn asked(&self, at: usize) -> bool {
        self.world.process(at).unwrap().asked
    }
}

#[test]
fn an_overdue_item_is_charged_at_once_and_its_chunk_mates_go_on() {
    let mut rig = Rig::up(1);
    let task = rig.in_the_second_of(5, NO_RETRY);
    rig.tick(LIMIT - MILLI);
    assert_eq!(rig.end(task, 1), None);
    rig.tick(MILLI);
    assert_eq!(rig.end(task, 0), ANSWERED, "what was answered is read first");
    assert_eq!(rig.end(task, 1), TIMED_OUT);
    assert!(rig.asked(0));
    rig.die(0, false);
    rig.drain();
    assert!((2..5).all(|index| rig.end(task, index) == ANSWERED));
    let counts = rig.scheduler.counts();
    assert_eq!((counts.done, counts.failed, counts.restarts), (4, 1, 0), "it was no accident");
    rig.finish_all();
}

#[test]
fn somebody_looks_when_the_limit_comes() {
    let mut rig = Rig::up(1);
    rig.in_the_second_of(2, NO_RETRY);
    rig.tick(LIMIT / 2);
    assert_eq!(rig.scheduler.next_look(rig.world.now, &rig.world), Some(LIMIT / 2));
    rig.finish_all();
}

#[test]
fn an_item_that_has_ended_is_not_overdue_however_late_its_result_is_read() {
    let mut rig = Rig::up(1);
    let task = rig.in_the_second_of(2, RETRIES);
    rig.world.step(0, 1);
    rig.tick_with(LIMIT * 2, 0);
    assert!(!rig.asked(0));
    rig.serve(0, 1000);
    assert_eq!((rig.end(task, 0), rig.end(task, 1)), (ANSWERED, ANSWERED));
    rig.finish_all();
}

#[test]
fn what_a_worker_begins_after_an_item_that_has_ended_is_not_hit_by_its_limit() {
    let mut rig = Rig::up(1);
    let timed = rig.submit_on(NO_RETRY, 0).unwrap();
    rig.begin(0);
    let other = rig.submit(1).unwrap();
    // It ends, and the worker has claimed the next one and not noted it.
    (0..4).for_each(|_| assert!(rig.world.step(0, 1)));
    rig.tick_with(LIMIT * 2, 0);
    rig.work(0);
    rig.serve(0, 1000);
    assert_eq!((rig.end(timed, 0), rig.end(other, 0)), (ANSWERED, ANSWERED));
    rig.finish_all();
}

#[test]
fn a_page_written_over_after_the_charge_changes_no_count() {
    let mut rig = Rig::up(1);
    let task = rig.in_the_second_of(2, NO_RETRY);
    rig.tick(LIMIT);
    rig.world.process_mut(0).unwrap().scribble_claims();
    rig.withdraw(task, false);
    let counts = rig.scheduler.counts();
    assert_eq!((counts.done, counts.failed, counts.cancelled), (1, 1, 0));
    rig.die(0, false);
    rig.finish_all();
}

#[test]
fn the_next_item_does_not_begin_in_a_worker_that_is_to_end() {
    let mut rig = Rig::up(1);
    let task = rig.open_on(NO_RETRY, 0, Some(3), false).unwrap();
    rig.push(task, 3, 100);
    rig.finish(task);
    rig.world.step(0, 3);
    rig.world.step(0, 3);
    rig.begin(0);
    rig.tick(LIMIT);
    // It ends all the same, and finds itself halted before the next one, which it had claimed.
    rig.work(0);
    assert_eq!(rig.world.items[(task as u32, 1)].begun, 0);
    rig.read(0, 1, 1000, false);
    rig.settle();
    assert_eq!(rig.end(task, 0), TIMED_OUT, "what comes late is dropped");
    assert!(rig.world.process(0).unwrap().killed, "the worker has nothing to do any more");
    rig.die(0, false);
    assert_eq!((rig.end(task, 1), rig.end(task, 2)), (None, None), "they are innocent");
    rig.drain();
    assert_eq!((rig.end(task, 1), rig.end(task, 2)), (ANSWERED, ANSWERED));
    rig.finish_all();
}

#[test]
fn the_next_attempt_waits_until_the_last_ones_worker_is_gone() {
    let mut rig = Rig::up(2);
    let task = rig.submit_on(RETRIES, 0).unwrap();
    let at = rig.receivers()[0];
    rig.begin(at);
    rig.tick(LIMIT);
    assert!(rig.asked(at));
    rig.tick(LIMIT * 10);
    assert_eq!(rig.receivers().len(), 1, "nobody else has got it");
    assert_eq!(rig.scheduler.counts().retried, 0);
    rig.die(at, false);
    assert_eq!(rig.scheduler.counts().retried, 1);
    assert_eq!(rig.end(task, 0), None);
    rig.drain();
    assert_eq!(rig.end(task, 0), ANSWERED);
    rig.finish_all();
}

#[test]
fn an_item_that_is_to_be_tried_again_ends_with_the_pool() {
    for gone in [false, true] {
        let mut rig = Rig::up(1);
        let task = rig.submit_on(RETRIES, 0).unwrap();
        rig.begin(0);
        rig.tick(LIMIT);
        if gone {
            rig.die(0, false);
        }
        rig.shut(Phase::Terminated);
        assert_eq!(rig.end(task, 0), Some(End::Resolved(Verdict::PoolClosed)));
        rig.finish_all();
    }
}

#[test]
fn an_item_that_is_to_be_tried_again_can_be_cancelled() {
    for gone in [false, true] {
        let mut rig = Rig::up(1);
        let task = rig.submit_on(RETRIES, 0).unwrap();
        rig.begin(0);
        rig.tick(LIMIT);
        if gone {
            rig.die(0, false);
        }
        let outcome = rig.withdraw(task, true);
        assert_eq!(outcome, if gone { Withdrawn::Waiting } else { Withdrawn::Running });
        rig.drain();
        assert_eq!(rig.scheduler.counts().cancelled, 1);
        rig.finish_all();
    }
}

#[test]
fn the_third_death_is_the_last_whatever_the_retries() {
    let mut rig = Rig::up(1);
    let task = rig.submit_on(Terms { limit: None, retries: 9 }, 0).unwrap();
    for _ in 0..3 {
        rig.raise();
        rig.tick(LIMIT);
        rig.begin(0);
        rig.die(0, false);
    }
    assert_eq!(rig.end(task, 0), Some(End::Resolved(Verdict::Poisoned { deaths: 3 })));
    rig.finish_all();
}

#[test]
fn a_failed_item_waits_behind_those_that_have_not_been_tried() {
    let mut rig = Rig::up(1);
    let failed = rig.submit_on(RETRIES, 0).unwrap();
    rig.begin(0);
    rig.work(0);
    rig.read(0, 1, 20_000_000, true);
    rig.settle();
    for _ in 0..3 {
        rig.submit(0);
    }
    rig.tick(LIMIT);
    rig.drain();
    let order: Vec<u32> = rig.world.log.iter().flat_map(|(_, keys)| keys).map(|key| key.0).collect();
    assert_eq!(order.first(), Some(&(failed as u32)));
    assert_eq!(order.last(), Some(&(failed as u32)));
    rig.finish_all();
}
