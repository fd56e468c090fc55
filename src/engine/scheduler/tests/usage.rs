//! What is measured, whom it holds against, and when nobody is looked at.

use std::time::Duration;

use super::super::*;
use super::items::End;
use super::rig::{MILLI, Rig};

const LIMITS: Limits = Limits { memory: Some(100), cpu: Some(Duration::from_millis(50)) };

fn limited(workers: usize) -> Rig {
    let mut rig = Rig::with(workers, Recycling::default(), LIMITS, Bounds::default());
    rig.raise();
    rig
}

fn end_of(rig: &Rig, index: u64) -> Option<End> {
    rig.world.items[(0, index)].end.clone()
}

#[test]
fn an_item_that_ran_before_and_after_a_measurement_pays() {
    for (memory, millis, verdict) in
        [(101, 0, Verdict::MemoryLimit { limit: 100 }), (100, 50, Verdict::CpuLimit { limit: 50 * MILLI })]
    {
        let mut rig = limited(1);
        rig.map(0, 3, Some(3));
        rig.begin(0);
        rig.use_up(0, memory, millis * MILLI);
        rig.tick(10 * MILLI);
        assert_eq!(end_of(&rig, 0), Some(End::Resolved(verdict)));
        let process = rig.world.process(0).unwrap();
        assert_eq!((process.killed, process.asked), (memory > 100, memory <= 100));
        assert_eq!(process.unclaimed(), 0, "the others go elsewhere");
        rig.die(0, false);
        rig.finish_all();
    }
}

#[test]
fn nobody_pays_for_what_was_measured_before_it_began() {
    let mut rig = limited(1);
    rig.map(0, 3, Some(3));
    rig.begin(0);
    rig.use_up(0, 150, 60 * MILLI);
    rig.world.now += 10 * MILLI;
    let due = rig.scheduler.whom_to_measure(rig.world.now, &rig.world);
    let [(0, before @ Some(_))] = due[..] else { panic!("{due:?}") };
    rig.begin(0);
    let usage = rig.world.process(0).unwrap().usage;
    rig.scheduler.measured(0, before, usage, rig.world.now, &mut rig.world);
    assert_eq!(rig.scheduler.state(0), State::Leaving, "it is replaced");
    rig.use_up(0, 10, Duration::ZERO);
    rig.finish_all();
}

#[test]
fn an_idle_worker_is_measured_once_more_and_replaced_if_it_has_too_much() {
    let mut rig = limited(1);
    rig.map(0, 1, None);
    rig.serve(0, 1000);
    rig.use_up(0, 150, Duration::ZERO);
    assert_eq!(rig.scheduler.next_look(rig.world.now, &rig.world), Some(10 * MILLI));
    rig.tick(10 * MILLI);
    assert_eq!(rig.scheduler.state(0), State::Leaving);
    rig.serve(0, 1000);
    rig.raise();
    assert_eq!(rig.scheduler.next_look(rig.world.now, &rig.world), None, "there is nothing to measure");
    rig.finish_all();
}

#[test]
fn an_item_that_exceeds_its_memory_in_three_workers_is_poison() {
    let mut rig = limited(1);
    rig.submit_on(Terms { limit: None, retries: 2 }, 0);
    for _ in 0..3 {
        rig.tick(100 * MILLI);
        rig.begin(0);
        rig.use_up(0, 150, Duration::ZERO);
        rig.tick(10 * MILLI);
        rig.die(0, false);
        rig.raise();
    }
    assert_eq!(end_of(&rig, 0), Some(End::Resolved(Verdict::Poisoned { deaths: 3 })));
    rig.finish_all();
}
