//! Workers come and go, and so does the pool.

use std::time::Duration;

use super::super::*;
use super::items::End;
use super::rig::{Bound, MILLI, Rig};

#[test]
fn jobs_wait_for_the_first_worker() {
    let mut rig = Rig::new(2);
    rig.submit(0);
    assert_eq!(rig.spawned(0), 0);
    assert!(rig.world.log.is_empty());
    rig.ready(0);
    assert_eq!(rig.world.log.len(), 1);
    rig.finish_all();
}

#[test]
fn deaths_before_hello_back_off() {
    let mut rig = Rig::new(1);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        rig.spawned(0);
        rig.die(0, false);
        assert!(rig.world.spawns.is_empty(), "the next one has to wait");
        let pause = rig.scheduler.next_look(rig.world.now, &rig.world).unwrap();
        pauses.push(pause);
        rig.tick(pause - MILLI);
        assert!(rig.world.spawns.is_empty());
        rig.tick(MILLI);
        assert_eq!(rig.world.spawns.len(), 1);
    }
    assert_eq!(pauses, [50, 100, 200, 400].map(Duration::from_millis));
    rig.finish_all();
}

#[test]
fn five_deaths_before_hello_break_the_pool() {
    let mut rig = Rig::up(2);
    rig.map(0, 10, Some(2));
    rig.die(0, false);
    for _ in 0..5 {
        assert_eq!(rig.scheduler.phase(), Phase::Open);
        while rig.world.spawns.is_empty() {
            rig.tick(Duration::from_secs(1));
        }
        rig.spawned(0);
        rig.die(0, false);
    }
    assert_eq!(rig.scheduler.phase(), Phase::Broken);
    assert_eq!(rig.scheduler.counts().failed, 10);
    assert!(rig.world.process(1).unwrap().killed);
    assert!(rig.open(0, None, false).is_none());
    rig.finish_all();
}

#[test]
fn a_worker_that_serves_ends_a_row_of_failed_starts() {
    let mut rig = Rig::new(1);
    for _ in 0..3 {
        for _ in 0..4 {
            rig.spawned(0);
            rig.die(0, false);
            rig.tick(Duration::from_secs(5));
        }
        rig.spawned(0);
        rig.ready(0);
        rig.die(0, false);
    }
    assert_eq!(rig.scheduler.phase(), Phase::Open);
    rig.finish_all();
}

#[test]
fn a_lack_of_means_is_neither_a_storm_nor_a_restart() {
    let mut rig = Rig::up(1);
    rig.resize(4);
    for _ in 0..20 {
        while !rig.world.spawns.is_empty() {
            rig.not_spawned(0);
        }
        rig.tick(Duration::from_secs(5));
    }
    rig.spawned(0);
    rig.die(1, false);
    assert_eq!(rig.scheduler.phase(), Phase::Open, "one death is no storm");
    assert_eq!(rig.scheduler.counts().restarts, 1);
    rig.finish_all();
}

#[test]
fn a_smaller_pool_ends_what_runs_and_moves_the_rest() {
    let mut rig = Rig::up(2);
    rig.map(0, 4, Some(2));
    let running = rig.begin(1);
    rig.resize(1);
    assert_eq!(rig.scheduler.state(1), State::Leaving);
    rig.serve(1, 1000);
    assert_eq!(rig.world.items[running].end, Some(End::Answered { cancelled: false }));
    assert_eq!(rig.scheduler.state(1), State::Vacant);
    rig.drain();
    assert_eq!(rig.scheduler.counts().done, 4);
    assert_eq!(rig.scheduler.counts().restarts, 0);
    rig.finish_all();
}

#[test]
fn a_pool_that_grows_again_gets_its_worker_back() {
    let mut rig = Rig::up(2);
    rig.resize(1);
    rig.resize(3);
    assert_eq!(rig.scheduler.state(1), State::Leaving);
    rig.serve(1, 1000);
    rig.raise();
    assert!((0..3).all(|at| rig.scheduler.state(at) == State::Ready));
    rig.finish_all();
}

#[test]
fn a_start_that_is_no_longer_wanted_is_ended() {
    let mut rig = Rig::new(2);
    rig.resize(1);
    rig.spawned(1);
    assert_eq!(rig.scheduler.state(1), State::Leaving);
    assert!(rig.world.process(1).unwrap().killed);
    rig.die(1, false);
    assert_eq!(rig.scheduler.state(1), State::Vacant);
    rig.finish_all();
}

#[test]
fn a_closed_pool_works_off_what_it_has_and_its_workers_leave() {
    let mut rig = Rig::up(2);
    rig.map(0, 50, Some(3));
    rig.close();
    assert!(rig.open(0, None, false).is_none());
    assert!(rig.scheduler.has_processes());
    rig.drain();
    assert_eq!(rig.scheduler.counts().done, 50);
    assert!(!rig.scheduler.has_processes());
    rig.finish_all();
}

#[test]
fn a_closed_pool_takes_the_rest_of_a_call_that_has_begun() {
    let mut rig = Rig::up(1);
    let task = rig.open(0, None, false).unwrap();
    rig.push(task, 1, 1);
    rig.close();
    rig.serve(0, 1000);
    assert_eq!(rig.scheduler.state(0), State::Ready);
    assert!(rig.push(task, 1, 1));
    rig.finish(task);
    rig.serve(0, 1000);
    assert_eq!(rig.scheduler.counts().done, 2);
    rig.finish_all();
}

#[test]
fn a_closed_pool_does_not_wait_for_lazy_input() {
    let mut rig = Rig::up(1);
    let task = rig.open(0, None, true).unwrap();
    rig.push(task, 1, 1);
    rig.close();
    assert!(!rig.push(task, 1, 1));
    rig.drain();
    assert!(!rig.scheduler.has_processes());
    assert_eq!(rig.scheduler.counts().done, 1);
    rig.finish_all();
}

#[test]
fn a_closed_pool_replaces_workers_while_input_comes() {
    let mut rig = Rig::up(1);
    let task = rig.open(0, None, false).unwrap();
    rig.push(task, 1, 1);
    rig.close();
    rig.begin(0);
    rig.die(0, false);
    assert!(rig.push(task, 3, 1));
    rig.finish(task);
    rig.drain();
    assert_eq!(rig.scheduler.counts().done, 3);
    rig.finish_all();
}

#[test]
fn a_closed_pool_that_shrinks_keeps_somebody_for_what_waits() {
    let mut rig = Rig::up(2);
    rig.teach_long();
    rig.close();
    rig.die(0, false);
    assert_eq!(rig.scheduler.state(0), State::Vacant, "nothing waits for it");
    rig.resize(1);
    rig.drain();
    rig.finish_all();
}

impl Rig {
    /// Worker 1 runs an item and has others behind it; worker 0 is idle and nothing waits.
    fn teach_long(&mut self) {
        self.map(0, 3, Some(3));
        assert_eq!(self.world.log[0].0, 1);
        self.begin(1);
    }
}

#[test]
fn a_closed_pools_last_job_dies_and_nobody_replaces_its_worker() {
    let mut rig = Rig::up(1);
    rig.submit(0);
    rig.begin(0);
    rig.close();
    rig.die(0, false);
    assert!(!rig.scheduler.has_processes());
    rig.finish_all();
}

#[test]
fn the_end_resolves_everything_at_once() {
    for (phase, verdict) in [(Phase::Terminated, Verdict::PoolClosed), (Phase::Broken, Verdict::PoolBroken)] {
        let mut rig = Rig::up(2);
        rig.map(0, 10, Some(2));
        let begun = rig.begin(0);
        rig.world.step(0, 1);
        rig.read(0, 1, 1000, false);
        rig.shut(phase);
        rig.settle();
        let ends =
            |end: &End| rig.world.items.iter().filter(|(_, item)| item.end.as_ref() == Some(end)).count();
        assert_eq!(ends(&End::Resolved(verdict)), 9);
        assert_eq!(rig.world.items[begun].end, Some(End::Answered { cancelled: false }));
        assert!(rig.world.processes.iter().flatten().all(|process| process.killed));
        let counts = rig.scheduler.counts();
        assert_eq!((counts.done, counts.failed), (1, 9));
        rig.finish_all();
    }
}

#[test]
fn a_broken_pool_can_be_terminated_and_a_terminated_one_does_not_break() {
    let mut rig = Rig::up(1);
    rig.shut(Phase::Broken);
    rig.shut(Phase::Terminated);
    assert_eq!(rig.scheduler.phase(), Phase::Terminated);
    rig.shut(Phase::Broken);
    assert_eq!(rig.scheduler.phase(), Phase::Terminated);
    rig.finish_all();
}

#[test]
fn a_start_during_the_end_is_ended_too() {
    let mut rig = Rig::new(1);
    rig.shut(Phase::Terminated);
    assert!(rig.scheduler.has_processes(), "it is still being made");
    rig.spawned(0);
    assert!(rig.world.process(0).unwrap().killed);
    rig.die(0, false);
    assert!(!rig.scheduler.has_processes());
    rig.finish_all();
}

#[test]
fn a_task_that_is_over_is_not_taken_for_the_next_in_its_place() {
    let mut rig = Rig::up(1);
    let place = |rig: &Rig, task: usize| match rig.tasks[task].key {
        Bound::Call(key) => key.index,
        Bound::Loose(key, _) => key.task as usize,
    };
    let call = rig.map(0, 1, None);
    rig.serve(0, 1000);
    let single = rig.submit(0).unwrap();
    rig.serve(0, 1000);
    let last = rig.submit(0).unwrap();
    assert!(place(&rig, call) == place(&rig, last) && place(&rig, single) == place(&rig, last));
    assert_eq!(rig.withdraw(call, true), Withdrawn::Nothing);
    assert_eq!(rig.withdraw(single, true), Withdrawn::Nothing);
    assert!(!rig.push(call, 1, 1));
    rig.finish_all();
}

#[test]
fn items_that_could_not_be_submitted_are_counted() {
    let mut rig = Rig::up(1);
    rig.count_failed(3);
    rig.submit(0);
    assert_eq!(rig.world.items[(0, 0)].id, Some(4));
    assert_eq!(rig.scheduler.counts().failed, 3);
    rig.finish_all();
}

/// Closed, with nobody left but a worker that is one too many.
fn with_one_too_many(submit: impl Fn(&mut Rig)) -> Rig {
    let mut rig = Rig::up(2);
    submit(&mut rig);
    submit(&mut rig);
    rig.begin(0);
    rig.begin(1);
    rig.resize(1);
    rig.close();
    rig.serve(0, 1000);
    rig.die(0, false);
    assert!(rig.world.spawns.is_empty(), "nothing is left for another one");
    rig
}

#[test]
fn what_comes_back_from_the_last_worker_of_a_closed_pool_finds_another() {
    let mut rig = with_one_too_many(|rig| {
        let task = rig.open(0, Some(3), false).unwrap();
        rig.push(task, 3, 100);
        rig.finish(task);
        let at = rig.receivers()[rig.receivers().len() - 1];
        assert!((0..2).all(|_| rig.world.step(at, 3)));
    });
    rig.die(1, false);
    assert_eq!(rig.scheduler.counts().queued, 2);
    rig.finish_all();
}

#[test]
fn what_is_tried_again_in_a_closed_pool_finds_a_worker() {
    let mut rig =
        with_one_too_many(|rig| assert!(rig.submit_on(Terms { limit: None, retries: 1 }, 0).is_some()));
    rig.die(1, false);
    assert_eq!(rig.scheduler.counts().retried, 1);
    rig.finish_all();
}
