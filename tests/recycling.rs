//! Workers that have served long enough are replaced, and whoever uses the pool does not notice.

mod scenario;

use std::collections::BTreeSet;
use std::iter::repeat_n;
use std::sync::mpsc::channel;
use std::time::Duration;

use scenario::jobs::{arrive, hold, pid, square};
use scenario::{
    Gate, all_up, assert_all_over, descriptors, eventually, is_alive, number, processes_below, promptly,
    resident, scenario, state_of,
};
use sidestep::{Builder, Cause, JobError, Pool, PoolError, WorkerState};

sidestep::worker_entry!();

#[sidestep::job]
fn come(gate: String) {
    arrive(&gate);
}

#[sidestep::job]
fn exits_at(n: i64, at: i64) -> i64 {
    if n == at {
        std::process::exit(3);
    }
    n
}

fn workers(workers: usize) -> Builder {
    Pool::builder().workers(workers)
}

#[test]
fn a_limit_of_one_gives_each_job_a_process_of_its_own() {
    scenario(|| {
        let pool = workers(2).max_jobs_per_worker(1).build().unwrap();
        let pids = pool.starmap(pid, repeat_n((), 30)).unwrap();
        assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 30);
        all_up(&pool, 2);
        let stats = pool.stats();
        assert_eq!((stats.done, stats.retired, stats.restarts), (30, 30, 0));
    });
}

#[test]
fn items_count_and_not_chunks() {
    scenario(|| {
        let pool = workers(1).max_jobs_per_worker(4).build().unwrap();
        let pids = pool.call(pid).chunk_size(10).starmap(repeat_n((), 22)).unwrap();
        let served: Vec<usize> = pids.chunk_by(|one, next| one == next).map(<[u32]>::len).collect();
        assert_eq!(served, [4, 4, 4, 4, 4, 2]);
    });
}

#[test]
fn no_item_is_lost_and_none_runs_twice() {
    scenario(|| {
        let pool = workers(3).max_jobs_per_worker(15).max_age(Duration::from_millis(20)).build().unwrap();
        let squares: Vec<i64> = (0..2000).map(|n| n * n).collect();
        assert_eq!(pool.map(square, 0..2000), Ok(squares.clone()));
        assert_eq!(pool.imap(square, 0..2000).collect::<Result<Vec<_>, _>>(), Ok(squares.clone()));
        let unordered: BTreeSet<_> = pool.imap_unordered(square, 0..2000).map(Result::unwrap).collect();
        assert_eq!(unordered, squares.into_iter().collect());
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.done, stats.restarts), (6000, 6000, 0));
        assert!(stats.retired >= 6000 / 15 - 3, "{stats:?}");
        assert_all_over(&stats);
    });
}

#[test]
fn the_finalizer_runs_in_each_worker_that_is_retired() {
    scenario(|| {
        let gate = Gate::new("ends");
        let pool = workers(1).max_jobs_per_worker(1).finalizer(come, (gate.arg(),)).build().unwrap();
        let mut pids = pool.starmap(pid, repeat_n((), 5)).unwrap();
        let mut ends = gate.wait_for(5);
        pids.sort_unstable();
        ends.sort_unstable();
        assert_eq!(ends, pids);
    });
}

#[test]
fn the_initializer_runs_in_each_worker_before_its_first_job() {
    scenario(|| {
        let gate = Gate::new("starts");
        let pool = workers(1).max_jobs_per_worker(1).initializer(come, (gate.arg(),)).build().unwrap();
        let pids = pool.starmap(pid, repeat_n((), 5)).unwrap();
        let starts = gate.arrived();
        assert!(pids.iter().all(|pid| starts.contains(pid)) && starts.len() <= 6, "{starts:?}");
    });
}

/// Comes to a gate; how many others have come that live.
#[sidestep::job]
fn come_alone(gate: String) -> usize {
    arrive(&gate);
    let came = std::fs::read_dir(gate).unwrap().map(|entry| entry.unwrap().file_name());
    let came: Vec<u32> = came.filter_map(|name| name.to_str()?.parse().ok()).collect();
    came.into_iter().filter(|worker| *worker != std::process::id() && is_alive(*worker)).count()
}

#[test]
fn a_worker_begins_when_the_one_before_it_has_ended() {
    scenario(|| {
        let gate = Gate::new("gate");
        let pool = workers(1).max_jobs_per_worker(1).build().unwrap();
        assert_eq!(pool.map(come_alone, vec![gate.arg(); 20]), Ok(vec![0; 20]));
        assert_eq!(gate.arrived().len(), 20);
    });
}

#[test]
fn a_closed_pool_goes_on_replacing_workers_until_all_is_done() {
    scenario(|| {
        for (size, jobs, all) in [(1, 1, 6), (3, 1, 6), (1, 2, 6), (2, 2, 8)] {
            let pool = workers(size).max_jobs_per_worker(jobs).build().unwrap();
            let gate = Gate::new(&format!("{size} {jobs}"));
            let handles: Vec<_> = (0..all).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
            gate.wait_for(size);
            pool.close();
            gate.open();
            pool.join().unwrap();
            assert!(handles.into_iter().all(|handle| handle.get().is_ok()), "{size} {jobs} {all}");
        }
    });
}

#[test]
fn no_replacement_escapes_the_end() {
    scenario(|| {
        for round in 0..10 {
            let pool = workers(3).max_jobs_per_worker(1).build().unwrap();
            let all = pool.map_async(square, 0..1000);
            eventually("workers are replaced", || pool.stats().retired >= round);
            promptly("drop", || drop(pool));
            assert!(processes_below(std::process::id()).is_empty());
            assert_eq!(all.get(), Err(JobError::PoolClosed));
        }
    });
}

#[test]
fn a_death_costs_its_job_and_is_no_retirement() {
    scenario(|| {
        let pool = workers(1).max_jobs_per_worker(3).build().unwrap();
        let results: Vec<_> = (0..9).map(|n| pool.apply_async(exits_at, (n, 4))).collect();
        for (n, result) in (0..).zip(results) {
            match result.get() {
                Ok(value) => assert!(value == n && n != 4),
                Err(error) => {
                    assert!(matches!(error, JobError::WorkerLost { cause: Cause::Exit(3), .. }), "{error}");
                    assert_eq!(n, 4);
                }
            }
        }
        all_up(&pool, 1);
        let stats = pool.stats();
        // Three, two with the one that it died in, three, one.
        assert_eq!((stats.retired, stats.restarts), (2, 1));
    });
}

#[test]
fn callbacks_and_cancelling_do_not_notice() {
    scenario(|| {
        let pool = workers(2).max_jobs_per_worker(1).build().unwrap();
        let (sender, results) = channel();
        let all = pool.call(square).on_success(move |n| sender.send(*n).unwrap()).map_async(0..20);
        assert!(all.get().is_ok());
        assert_eq!(results.iter().collect::<BTreeSet<_>>(), (0..20).map(|n| n * n).collect());
        let gate = Gate::new("gate");
        let held: Vec<_> = (0..4).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        gate.wait_for(2);
        assert!(held.iter().all(|handle| handle.cancel()));
        assert!(held.into_iter().all(|handle| matches!(handle.get(), Err(JobError::Cancelled))));
        assert_eq!(pool.map(square, 0..4), Ok(vec![0, 1, 4, 9]));
    });
}

#[test]
fn an_idle_worker_is_replaced_at_its_age() {
    scenario(|| {
        let pool = workers(2).max_age(Duration::from_millis(200)).build().unwrap();
        let before = all_up(&pool, 2);
        eventually("both are others", || {
            let now = pool.pids();
            now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
        });
        assert_eq!(pool.stats().restarts, 0);
    });
}

#[test]
fn a_job_that_runs_at_its_workers_age_ends() {
    scenario(|| {
        let pool = workers(1).max_age(Duration::from_secs(1)).build().unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        let gate = Gate::new("gate");
        let held = pool.apply_async(hold, (gate.arg(),));
        let behind = pool.apply_async(pid, ());
        gate.wait_for(1);
        eventually("it is to go", || pool.stats().workers[0].state == WorkerState::Leaving);
        gate.open();
        assert_eq!(held.get(), Ok(worker));
        assert_ne!(behind.get(), Ok(worker));
    });
}

/// `SIDESTEP_ONE_JOB_WORKERS` sets how many.
#[test]
fn many_workers_of_one_job_leave_nothing_behind() {
    scenario(|| {
        let all = number("SIDESTEP_ONE_JOB_WORKERS", 400);
        let pool = workers(4).max_jobs_per_worker(1).build().unwrap();
        assert_eq!(pool.map(square, 0..40).unwrap().len(), 40);
        all_up(&pool, 4);
        let (open, memory) = (descriptors().len(), resident());
        for result in pool.imap_unordered(square, 0..all as i64) {
            assert!(result.is_ok());
        }
        all_up(&pool, 4);
        let zombies =
            processes_below(std::process::id()).into_iter().filter(|pid| state_of(*pid) == Some('Z'));
        assert_eq!((descriptors().len(), zombies.count()), (open, 0));
        let grown = resident().saturating_sub(memory);
        assert!(grown < 4096, "{grown} KiB");
        assert_eq!(pool.stats().retired, all as u64 + 40);
    });
}

#[test]
fn limits_that_nothing_could_keep_are_refused() {
    for builder in [workers(1).max_jobs_per_worker(0), workers(1).max_age(Duration::ZERO)] {
        assert!(matches!(builder.build(), Err(PoolError::Config { .. })));
    }
}
