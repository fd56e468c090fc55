//! Who pays for a worker's death.

use super::super::*;
use super::items::End;
use super::rig::Rig;

const LOST: Option<End> = Some(End::Resolved(Verdict::Lost { attempts: 1 }));
const PROTOCOL: Option<End> = Some(End::Resolved(Verdict::Protocol));
const ANSWERED: Option<End> = Some(End::Answered { cancelled: false });

/// What became of the items of the first task.
fn ends(rig: &Rig) -> Vec<Option<End>> {
    let items = rig.tasks[0].items;
    (0..items).map(|index| rig.world.items[(0, index)].end.clone()).collect()
}

#[test]
fn the_item_that_ran_pays_and_the_others_run_again() {
    let mut rig = Rig::up(1);
    rig.map(0, 5, Some(5));
    for _ in 0..2 {
        rig.begin(0);
        rig.world.step(0, 1);
    }
    assert_eq!(rig.begin(0), (0, 2));
    rig.die(0, false);
    assert_eq!(ends(&rig), [ANSWERED, ANSWERED, LOST, None, None]);
    rig.drain();
    assert_eq!(ends(&rig), [ANSWERED, ANSWERED, LOST, ANSWERED, ANSWERED]);
    let counts = rig.scheduler.counts();
    assert_eq!((counts.done, counts.failed, counts.restarts), (4, 1, 1));
    rig.finish_all();
}

#[test]
fn items_that_were_claimed_and_not_begun_are_innocent() {
    let mut rig = Rig::up(1);
    rig.map(0, 5, Some(5));
    rig.world.step(0, 5);
    rig.world.step(0, 5);
    assert_eq!(rig.world.process(0).unwrap().begun().count(), 5);
    rig.die(0, false);
    assert_eq!(ends(&rig), [const { None }; 5]);
    rig.finish_all();
}

#[test]
fn a_death_after_the_commit_costs_nobody() {
    let mut rig = Rig::up(1);
    rig.map(0, 3, Some(3));
    rig.world.step(0, 3);
    rig.world.step(0, 3);
    rig.world.step(0, 3);
    rig.world.step(0, 3);
    assert_eq!(rig.world.process(0).unwrap().unread.len(), 1);
    rig.die(0, false);
    assert_eq!(ends(&rig), [ANSWERED, None, None]);
    rig.finish_all();
}

#[test]
fn an_idle_workers_death_costs_nobody_and_it_is_replaced_at_once() {
    let mut rig = Rig::up(1);
    rig.die(0, false);
    assert_eq!(rig.world.spawns.len(), 1);
    assert_eq!(rig.scheduler.counts().restarts, 1);
    rig.finish_all();
}

#[test]
fn runs_of_a_dead_worker_keep_their_order() {
    let mut rig = Rig::up(1);
    let first = rig.submit(0).unwrap();
    let second = rig.submit(0).unwrap();
    let third = rig.submit(0).unwrap();
    rig.die(0, false);
    rig.world.log.clear();
    rig.drain();
    let order: Vec<usize> = rig.world.log.iter().map(|(_, keys)| keys[0].0 as usize).collect();
    assert_eq!(order, [first, second, third]);
    rig.finish_all();
}

#[test]
fn a_worker_that_broke_the_protocol_pays_with_all_it_had_claimed() {
    let mut rig = Rig::up(1);
    rig.map(0, 6, Some(6));
    rig.world.step(0, 4);
    rig.world.step(0, 4);
    rig.world.step(0, 4);
    rig.world.step(0, 4);
    rig.die(0, true);
    assert_eq!(ends(&rig), [ANSWERED, PROTOCOL, PROTOCOL, PROTOCOL, None, None]);
    rig.finish_all();
}

#[test]
fn a_withdrawn_tail_does_not_count_as_run() {
    let mut rig = Rig::up(2);
    rig.map(0, 8, Some(8));
    let at = rig.world.log[0].0;
    rig.world.step(at, 2);
    rig.world.step(at, 2);
    rig.world.step(at, 2);
    rig.world.step(at, 2);
    rig.read(at, 1, 1000, false);
    rig.tick(super::rig::MILLI * 2);
    rig.begin(at);
    rig.die(at, false);
    let lost = ends(&rig).iter().filter(|end| **end == LOST).count();
    assert_eq!(lost, 1);
    rig.drain();
    assert_eq!(rig.scheduler.counts().done, 7);
    rig.finish_all();
}

#[test]
fn a_result_that_has_gone_missing_is_no_death_in_its_item() {
    let mut rig = Rig::up(1);
    rig.submit(0);
    rig.submit(0);
    rig.work(0);
    rig.world.process_mut(0).unwrap().unread.clear();
    rig.die_with_note(0, (1, 0));
    assert_eq!(ends(&rig), [PROTOCOL]);
    assert_eq!(rig.world.items[(1, 0)].end, LOST);
}

/// What a worker's note says about a run that it was sent: number 7, ten items, three of them answered.
fn charged(how: Down, claimed: u32) -> u32 {
    let rig = Rig::new(0);
    let lot = Lot {
        task: 0,
        first: Item { index: 0, id: 1 },
        count: 10,
        payload: super::world::Load { task: 0, from: 0, count: 10, size: 1 },
        tried: Tried::default(),
    };
    let sent = rig.world.now;
    let (limit, again) = (None, false);
    let run = slot::Run { number: 7, lot, answered: 3, pace: 0, bytes: 0, sent, limit, again };
    run.charged(how, claimed)
}

#[test]
fn a_note_names_the_one_that_pays() {
    assert_eq!(charged(Down::Died(None), 10), 0);
    assert_eq!(charged(Down::Died(Some((7, 2))), 10), 0, "the noted one is answered");
    assert_eq!(charged(Down::Died(Some((7, 3))), 10), 1);
    assert_eq!(charged(Down::Died(Some((6, 9))), 10), 0, "it had not come to this run");
    assert_eq!(charged(Down::NotSpawned, 10), 0);
}

#[test]
fn missing_results_are_paid_for_up_to_the_note() {
    assert_eq!(charged(Down::Died(Some((7, 5))), 10), 3);
    assert_eq!(charged(Down::Died(Some((8, 0))), 10), 7, "a later run was begun");
    assert_eq!(charged(Down::Died(Some((u32::MAX, 0))), 10), 0, "far behind, as numbers wrap");
    assert_eq!(charged(Down::Protocol, 6), 3);
    assert_eq!(charged(Down::Protocol, 0), 0);
}

#[test]
fn a_page_that_contradicts_itself_lets_nothing_run_twice() {
    assert_eq!(charged(Down::Died(Some((7, 3))), 0), 1, "it was noted, so it was claimed");
    assert_eq!(charged(Down::Died(Some((7, u32::MAX))), 10), 7);
}
