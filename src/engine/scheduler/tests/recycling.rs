//! Workers that have served long enough are replaced, and nobody's items suffer by it.

use std::time::Duration;

use super::super::*;
use super::items::End;
use super::rig::{MILLI, Rig};

fn jobs(most: u64) -> Recycling {
    Recycling { max_jobs: Some(most), max_age: None }
}

fn age(most: Duration) -> Recycling {
    Recycling { max_jobs: None, max_age: Some(most) }
}

fn up(workers: usize, recycling: Recycling) -> Rig {
    let mut rig = Rig::with(workers, recycling, Limits::default(), Bounds::default());
    rig.raise();
    rig
}

#[test]
fn a_run_is_no_longer_than_what_its_worker_has_left() {
    let mut rig = up(1, jobs(5));
    rig.map(0, 12, Some(4));
    let sizes = |rig: &Rig| rig.world.log.iter().map(|(_, keys)| keys.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&rig), [4, 1]);
    rig.drain();
    assert_eq!(sizes(&rig), [4, 1, 4, 1, 2]);
    let counts = rig.scheduler.counts();
    assert_eq!((counts.done, counts.retired, counts.restarts), (12, 2, 0));
    rig.finish_all();
}

#[test]
fn of_one_job_each_worker_gets_one() {
    let mut rig = up(2, jobs(1));
    rig.map(0, 10, None);
    rig.drain();
    assert!(rig.world.log.iter().all(|(_, keys)| keys.len() == 1));
    assert_eq!(rig.scheduler.counts().retired, 10);
    rig.finish_all();
}

#[test]
fn what_was_taken_back_does_not_count() {
    let mut rig = up(1, jobs(2));
    let task = rig.map(0, 2, None);
    rig.withdraw(task, false);
    assert_eq!(rig.scheduler.state(0), State::Ready);
    rig.map(0, 2, None);
    rig.serve(0, 1000);
    assert_eq!(rig.scheduler.counts().done, 2);
    assert_eq!(rig.scheduler.counts().retired, 1);
    rig.finish_all();
}

#[test]
fn at_its_age_a_worker_ends_what_it_runs_and_gives_back_the_rest() {
    let mut rig = up(1, age(Duration::from_secs(1)));
    rig.submit(0);
    rig.serve(0, 1000);
    rig.map(0, 4, Some(2));
    let running = rig.begin(0);
    rig.tick(Duration::from_secs(1));
    assert_eq!(rig.scheduler.state(0), State::Leaving);
    assert!(!rig.world.process(0).unwrap().killed);
    rig.serve(0, 1000);
    assert_eq!(rig.world.items[running].end, Some(End::Answered { cancelled: false }));
    rig.drain();
    let counts = rig.scheduler.counts();
    assert_eq!((counts.done, counts.retired, counts.restarts), (5, 1, 0));
    rig.finish_all();
}

#[test]
fn an_idle_worker_is_replaced_at_its_age_and_not_before() {
    let mut rig = up(1, age(Duration::from_secs(1)));
    let look = rig.scheduler.next_look(rig.world.now, &rig.world).unwrap();
    assert!((Duration::from_millis(900)..=Duration::from_secs(1)).contains(&look), "{look:?}");
    rig.tick(look - MILLI);
    assert_eq!(rig.scheduler.state(0), State::Ready);
    rig.tick(MILLI);
    assert_eq!(rig.scheduler.state(0), State::Leaving);
    rig.serve(0, 1000);
    assert_eq!(rig.world.spawns.len(), 1, "the next one starts at once");
    rig.finish_all();
}

#[test]
fn a_worker_is_never_too_old_for_its_first_job() {
    let mut rig = up(1, age(MILLI));
    rig.submit(0);
    rig.tick(Duration::from_secs(1));
    assert_eq!(rig.scheduler.state(0), State::Ready);
    rig.serve(0, 1000);
    assert_eq!(rig.scheduler.counts().done, 1);
    assert_eq!(rig.scheduler.counts().retired, 1);
    rig.finish_all();
}

#[test]
fn a_closed_pool_replaces_a_worker_only_for_what_waits() {
    let mut rig = up(1, jobs(2));
    rig.map(0, 4, Some(2));
    rig.close();
    rig.drain();
    assert_eq!(rig.scheduler.counts().done, 4);
    assert!(!rig.scheduler.has_processes());
    assert_eq!(rig.scheduler.slots[0].generation, 2);
    rig.finish_all();
}
