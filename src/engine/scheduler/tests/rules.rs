//! Who gets what, and when it is taken back.

use super::super::sizing::AHEAD_RUNS;
use super::super::*;
use super::items::{End, Key};
use super::rig::{MILLI, Rig};

impl Rig {
    /// The sizes of all runs sent so far.
    fn sizes(&self) -> Vec<usize> {
        self.world.log.iter().map(|(_, keys)| keys.len()).collect()
    }

    /// The slots that runs were sent to so far.
    pub(super) fn receivers(&self) -> Vec<usize> {
        self.world.log.iter().map(|(at, _)| *at).collect()
    }

    /// How many workers have got some.
    fn busy(&self) -> usize {
        self.receivers().into_iter().collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Has the scheduler learn that items of a job take so long.
    fn teach(&mut self, job: u32, nanos: u64) {
        for _ in 0..40 {
            self.submit(job);
            let at = *self.receivers().last().unwrap();
            self.serve(at, nanos);
        }
        self.world.log.clear();
    }

    fn end_of(&self, key: Key) -> Option<End> {
        self.world.items[key].end.clone()
    }
}

#[test]
fn of_several_idle_workers_the_one_used_last_gets_the_job() {
    let mut rig = Rig::up(3);
    for _ in 0..5 {
        rig.submit(0);
        let at = rig.receivers()[0];
        rig.serve(at, 1000);
    }
    assert!(rig.receivers().iter().all(|at| *at == rig.receivers()[0]));
    rig.finish_all();
}

#[test]
fn unknown_jobs_go_one_by_one() {
    let mut rig = Rig::up(2);
    rig.map(0, 100, None);
    assert_eq!(rig.sizes(), [1, 1, 1, 1], "one that runs and one ahead, for each");
    rig.finish_all();
}

#[test]
fn short_jobs_go_in_long_runs_and_the_end_is_shared() {
    let mut rig = Rig::up(2);
    rig.teach(0, 1000);
    rig.map(0, 3000, None);
    let sizes = rig.sizes();
    assert_eq!(sizes[0], 500, "half a millisecond");
    assert!(sizes.len() > 4, "{sizes:?}");
    rig.drain();
    let last = *rig.sizes().last().unwrap();
    assert!(last <= 20, "the last run has {last} items of a microsecond");
    rig.finish_all();
}

#[test]
fn a_chunk_size_is_kept() {
    let mut rig = Rig::up(1);
    rig.map(0, 25, Some(10));
    rig.drain();
    assert_eq!(rig.sizes(), [10, 10, 5]);
    rig.finish_all();
}

#[test]
fn large_arguments_make_small_runs() {
    let mut rig = Rig::up(1);
    let task = rig.open(0, Some(1000), false).unwrap();
    rig.push(task, 1000, 10_000);
    assert!(rig.sizes()[0] <= 13, "{:?}", rig.sizes());
    rig.push(task, 1, 10_000_000);
    rig.finish_all();
}

#[test]
fn long_jobs_are_not_sent_ahead() {
    let mut rig = Rig::up(1);
    rig.teach(0, 10_000_000);
    rig.map(0, 10, None);
    assert_eq!(rig.sizes(), [1]);
    rig.finish_all();
}

#[test]
fn a_worker_has_about_two_milliseconds_of_work_ahead() {
    let mut rig = Rig::up(1);
    rig.teach(0, 100_000);
    rig.map(0, 1000, None);
    let items: usize = rig.sizes().iter().sum();
    assert!((20..=25).contains(&items), "{items} items of 0.1 ms");
    rig.finish_all();
}

#[test]
fn tiny_jobs_wake_no_more_workers_than_are_worth_it() {
    let mut rig = Rig::up(6);
    rig.teach(0, 1000);
    rig.teach(1, 100_000);
    (0..100).for_each(|_| _ = rig.submit(0));
    assert_eq!(rig.busy(), 2, "as many as there are cores");
    (0..4).for_each(|_| _ = rig.submit(1));
    assert_eq!(rig.busy(), 6, "long ones are worth it");
    rig.finish_all();
}

#[test]
fn no_more_than_so_many_runs_are_ahead() {
    let mut rig = Rig::up(1);
    rig.teach(0, 1);
    for _ in 0..1000 {
        rig.submit(0);
    }
    assert_eq!(rig.world.log.len(), AHEAD_RUNS);
    rig.finish_all();
}

#[test]
fn work_behind_a_long_job_goes_to_an_idle_worker() {
    let mut rig = Rig::up(2);
    rig.map(0, 4, None);
    let long = rig.begin(0);
    rig.serve(1, 1000);
    assert_eq!(rig.scheduler.next_look(rig.world.now, &rig.world), Some(2 * MILLI));
    rig.tick(2 * MILLI);
    rig.serve(1, 1000);
    let ended: Vec<u64> = (0..4).filter(|index| rig.end_of((0, *index)).is_some()).collect();
    assert_eq!(ended.len(), 3, "all but the long one: {ended:?}");
    assert_eq!(rig.end_of(long), None);
    rig.finish_all();
}

#[test]
fn work_that_takes_no_time_is_not_moved() {
    let mut rig = Rig::up(2);
    rig.teach(0, 1000);
    let busy = rig.receivers().first().copied().unwrap_or(1);
    rig.map(0, 3, Some(3));
    rig.tick(MILLI / 10);
    assert_eq!(rig.sizes(), [3], "worker {busy} keeps them");
    rig.finish_all();
}

#[test]
fn a_pool_with_nothing_to_do_is_not_looked_at() {
    let mut rig = Rig::up(4);
    rig.map(0, 100, None);
    rig.drain();
    rig.tick(MILLI);
    assert_eq!(rig.scheduler.next_look(rig.world.now, &rig.world), None);
    rig.finish_all();
}

#[test]
fn what_waits_is_withdrawn_and_never_runs() {
    let mut rig = Rig::up(1);
    rig.map(0, 2, None);
    let late = rig.submit(0).unwrap();
    assert_eq!(rig.withdraw(late, true), Withdrawn::Waiting);
    assert_eq!(rig.withdraw(late, true), Withdrawn::Nothing);
    rig.drain();
    assert_eq!(rig.world.log.len(), 2);
    assert_eq!(rig.scheduler.counts().cancelled, 1);
    rig.finish_all();
}

#[test]
fn what_lies_unclaimed_at_a_worker_is_withdrawn_without_a_kill() {
    let mut rig = Rig::up(1);
    let first = rig.submit(0).unwrap();
    let second = rig.submit(0).unwrap();
    rig.begin(0);
    assert_eq!(rig.withdraw(second, true), Withdrawn::Waiting);
    assert!(!rig.world.process(0).unwrap().killed);
    rig.drain();
    assert!(rig.end_of((first as u32, 0)).is_some());
    assert_eq!(rig.end_of((second as u32, 0)), None);
    rig.finish_all();
}

#[test]
fn a_running_job_is_killed_and_what_lay_behind_it_runs_elsewhere() {
    let mut rig = Rig::up(1);
    let first = rig.submit(0).unwrap();
    let second = rig.submit(0).unwrap();
    rig.begin(0);
    assert_eq!(rig.withdraw(first, true), Withdrawn::Running);
    assert!(rig.world.process(0).unwrap().killed);
    rig.die(0, false);
    assert_eq!(rig.end_of((first as u32, 0)), Some(End::Resolved(Verdict::Cancelled)));
    rig.drain();
    assert_eq!(rig.end_of((second as u32, 0)), Some(End::Answered { cancelled: false }));
    assert_eq!(rig.scheduler.counts().restarts, 0, "it was no accident");
    rig.finish_all();
}

#[test]
fn a_job_that_is_being_killed_can_be_cancelled_once_more() {
    let mut rig = Rig::up(1);
    let task = rig.submit(0).unwrap();
    rig.begin(0);
    assert_eq!(rig.withdraw(task, true), Withdrawn::Running);
    assert_eq!(rig.withdraw(task, true), Withdrawn::Running);
    rig.finish_all();
}

#[test]
fn a_running_job_is_killed_although_earlier_results_are_unread() {
    let mut rig = Rig::up(1);
    let first = rig.submit(0).unwrap();
    let second = rig.submit(0).unwrap();
    assert_eq!(rig.begin(0).0, first as u32);
    assert_eq!(
        {
            rig.world.step(0, 1);
            rig.begin(0).0
        },
        second as u32
    );
    assert_eq!(rig.withdraw(second, true), Withdrawn::Running);
    rig.die(0, false);
    assert_eq!(rig.end_of((first as u32, 0)), Some(End::Answered { cancelled: false }));
    assert_eq!(rig.end_of((second as u32, 0)), Some(End::Resolved(Verdict::Cancelled)));
    rig.finish_all();
}

#[test]
fn a_job_that_has_ended_does_not_cost_the_next_one_its_worker() {
    let mut rig = Rig::up(1);
    let first = rig.submit(0).unwrap();
    rig.submit(0).unwrap();
    rig.begin(0);
    rig.world.step(0, 1);
    rig.begin(0);
    assert_eq!(rig.withdraw(first, true), Withdrawn::Nothing);
    assert!(!rig.world.process(0).unwrap().killed);
    rig.finish_all();
}

#[test]
fn a_job_that_was_claimed_and_not_begun_when_the_kill_hit_resolves() {
    let mut rig = Rig::up(1);
    let task = rig.submit(0).unwrap();
    rig.world.step(0, 1);
    rig.world.step(0, 1);
    assert_eq!(rig.world.process(0).unwrap().begun().count(), 1);
    assert_eq!(rig.withdraw(task, true), Withdrawn::Running);
    rig.die(0, false);
    assert_eq!(rig.end_of((task as u32, 0)), Some(End::Resolved(Verdict::Cancelled)));
    rig.finish_all();
}

#[test]
fn a_job_on_a_worker_that_is_leaving_can_be_cancelled() {
    let mut rig = Rig::up(2);
    let task = rig.submit(0).unwrap();
    let at = rig.receivers()[0];
    assert_eq!(at, 1);
    rig.begin(1);
    rig.resize(1);
    assert_eq!(rig.withdraw(task, true), Withdrawn::Running);
    assert!(rig.world.process(1).unwrap().killed);
    rig.finish_all();
}

#[test]
fn a_result_that_comes_after_the_kill_is_a_cancelled_one() {
    let mut rig = Rig::up(1);
    let task = rig.submit(0).unwrap();
    rig.begin(0);
    assert_eq!(rig.withdraw(task, true), Withdrawn::Running);
    rig.world.step(0, 1);
    rig.die(0, false);
    assert_eq!(rig.end_of((task as u32, 0)), Some(End::Answered { cancelled: true }));
    let counts = rig.scheduler.counts();
    assert_eq!((counts.done, counts.failed, counts.cancelled), (0, 0, 1));
    rig.finish_all();
}

#[test]
fn a_withdrawn_map_lets_what_runs_end() {
    let mut rig = Rig::up(2);
    let task = rig.map(0, 1000, Some(10));
    rig.begin(0);
    assert_eq!(rig.withdraw(task, false), Withdrawn::Waiting);
    assert!(!rig.push(task, 5, 1));
    rig.drain();
    let counts = rig.scheduler.counts();
    assert_eq!((counts.done, counts.cancelled), (1, 999 + 5));
    rig.finish_all();
}

#[test]
fn a_stopped_worker_is_replaced_and_nobody_is_blamed() {
    let mut rig = Rig::up(1);
    rig.stop(0, true);
    rig.map(0, 5, Some(2));
    rig.tick(499 * MILLI);
    assert!(!rig.world.process(0).unwrap().killed, "it has half a second");
    rig.tick(MILLI);
    assert!(rig.world.process(0).unwrap().killed);
    rig.die(0, false);
    rig.drain();
    assert_eq!(rig.scheduler.counts().done, 5);
    rig.finish_all();
}

#[test]
fn a_worker_that_gets_no_processor_loses_its_job_to_an_idle_one() {
    let mut rig = Rig::up(2);
    rig.submit(0);
    let starved = rig.receivers()[0];
    rig.tick(500 * MILLI);
    assert_eq!(rig.receivers(), [starved, 1 - starved]);
    assert!(!rig.world.process(starved).unwrap().killed);
    rig.finish_all();
}

#[test]
fn a_worker_that_gets_no_processor_keeps_its_job_if_nobody_is_idle() {
    let mut rig = Rig::up(1);
    rig.submit(0);
    rig.tick(500 * MILLI);
    assert_eq!(rig.world.log.len(), 1);
    rig.finish_all();
}

#[test]
fn a_stopped_worker_that_went_on_in_time_is_not_killed() {
    let mut rig = Rig::up(1);
    rig.submit(0);
    rig.world.now += 500 * MILLI;
    let now = rig.world.now;
    let named = rig.scheduler.tick(now, &mut rig.world);
    assert_eq!(named, [0]);
    rig.begin(0);
    rig.scheduler.looked_at(0, true, now, &mut rig.world);
    assert!(!rig.world.process(0).unwrap().killed, "its job has begun and is innocent");
    rig.finish_all();
}

#[test]
fn withdrawn_jobs_do_not_pile_up_in_a_stopped_workers_pipe() {
    let mut rig = Rig::up(1);
    rig.stop(0, true);
    for _ in 0..1000 {
        let task = rig.submit(0).unwrap();
        assert_eq!(rig.withdraw(task, true), Withdrawn::Waiting);
    }
    assert!(rig.world.log.len() < 256, "{} runs lie in the pipe", rig.world.log.len());
    rig.submit(0);
    let look = rig.scheduler.next_look(rig.world.now, &rig.world).expect("somebody has to look");
    rig.tick(look);
    rig.tick(500 * MILLI);
    assert!(rig.world.process(0).unwrap().killed);
    rig.finish_all();
}

#[test]
fn a_worker_whose_pipe_was_full_of_withdrawn_jobs_is_used_again() {
    let mut rig = Rig::up(1);
    for _ in 0..1000 {
        let task = rig.submit(0).unwrap();
        rig.withdraw(task, true);
    }
    rig.submit(0);
    rig.work(0);
    let look = rig.scheduler.next_look(rig.world.now, &rig.world).expect("somebody has to look");
    rig.tick(look);
    rig.serve(0, 1000);
    assert_eq!(rig.scheduler.counts().done, 1);
    rig.finish_all();
}

#[test]
fn a_run_keeps_its_place_in_the_page_until_its_results_are_read() {
    let mut rig = Rig::up(1);
    rig.submit(0);
    rig.work(0);
    for _ in 0..1000 {
        let task = rig.submit(0).unwrap();
        rig.withdraw(task, true);
        rig.work(0);
    }
    rig.finish_all();
}

#[test]
fn the_queue_forgets_what_was_withdrawn() {
    let mut rig = Rig::up(1);
    rig.map(0, 2, None);
    let tasks: Vec<_> = (0..1000).map(|_| rig.submit(0).unwrap()).collect();
    for task in &tasks[1..] {
        rig.withdraw(*task, true);
    }
    assert!(rig.scheduler.queue.len() < 100, "{} lots are kept", rig.scheduler.queue.len());
    rig.finish_all();
}
