//! Pools that grow and shrink while they work.

mod scenario;

use nix::sys::signal::Signal;
use scenario::jobs::{hold, square};
use scenario::{
    Gate, all_up, assert_all_over, assert_usable, eventually, is_alive, promptly, scenario, send, within,
};
use sidestep::{Pool, PoolError};

sidestep::worker_entry!();

#[sidestep::job]
fn slow_square(n: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_micros(300));
    n * n
}

#[test]
fn no_job_is_lost_when_the_pool_grows_and_shrinks_again_and_again() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        for round in 0..3 {
            let many = pool.map_async(slow_square, 0..1000);
            let single: Vec<_> = (0..200).map(|n| pool.apply_async(slow_square, (n,))).collect();
            for size in [12, 2, 1, 12, 6, 1, 8, 5] {
                promptly("resize", || pool.resize(size)).unwrap();
                if size % 2 == 0 {
                    let before = pool.stats().done;
                    let all = (round + 1) * 1200;
                    eventually("some more have ended", || pool.stats().done >= all.min(before + 30));
                }
            }
            assert_eq!(many.get().unwrap(), (0..1000).map(|n| n * n).collect::<Vec<_>>(), "round {round}");
            for (n, handle) in (0..).zip(single) {
                assert_eq!(handle.get(), Ok(n * n));
            }
            assert_eq!(all_up(&pool, 5).len(), 5);
            assert_all_over(&pool.stats());
        }
        let stats = pool.stats();
        assert_eq!((stats.done, stats.restarts), (3600, 0), "workers that were too many did not die");
    });
}

#[test]
fn workers_that_are_too_many_end_what_they_run() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        all_up(&pool, 4);
        let gate = Gate::new("gate");
        let handles: Vec<_> = (0..4).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        gate.wait_for(4);
        // These wait for whoever stays.
        let queued = pool.map_async(square, 0..50);
        promptly("resize", || pool.resize(1)).unwrap();
        gate.open();
        let mut workers: Vec<_> = handles.into_iter().map(|handle| handle.get().unwrap()).collect();
        workers.sort_unstable();
        workers.dedup();
        assert_eq!(workers.len(), 4, "each ended where it had begun");
        assert_eq!(queued.get().unwrap().len(), 50);
        eventually("three are gone", || pool.pids().len() == 1);
        within(scenario::SOON, "their processes too", || {
            workers.iter().filter(|worker| is_alive(**worker)).count() == 1
        });
    });
}

#[test]
fn idle_workers_that_are_too_many_go_at_once() {
    scenario(|| {
        let pool = Pool::new(8).unwrap();
        let before = all_up(&pool, 8);
        pool.resize(2).unwrap();
        within(scenario::SOON, "six are gone", || pool.pids() == before[..2]);
        assert_usable(&pool);
    });
}

#[test]
fn new_workers_take_what_waits() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let handles: Vec<_> = (0..6).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        gate.wait_for(1);
        pool.resize(6).unwrap();
        gate.wait_for(6);
        gate.open();
        assert!(handles.into_iter().all(|handle| handle.get().is_ok()));
    });
}

#[test]
fn sizes_change_faster_than_workers_start() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        for size in (1..20).chain((1..20).rev()) {
            pool.resize(size).unwrap();
        }
        pool.resize(3).unwrap();
        assert_usable(&pool);
        eventually("three are left", || pool.stats().workers.len() == 3);
        all_up(&pool, 3);
        assert_eq!(pool.stats().restarts, 0);
    });
}

#[test]
fn a_death_while_the_pool_shrinks_costs_its_job_and_no_more() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        all_up(&pool, 3);
        let gate = Gate::new("gate");
        let handles: Vec<_> = (0..3).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        gate.wait_for(3);
        pool.resize(1).unwrap();
        let leaving = pool.stats().workers[2].pid.unwrap();
        send(leaving, Signal::SIGKILL);
        within(scenario::SOON, "its job pays", || pool.stats().failed == 1);
        gate.open();
        let lost: Vec<_> = handles.into_iter().filter_map(|handle| handle.get().err()).collect();
        assert!(matches!(&lost[..], [error] if error.pid() == Some(leaving)), "{lost:?}");
        eventually("one is left", || pool.stats().workers.len() == 1);
        assert_usable(&pool);
    });
}

#[test]
fn a_pool_cannot_be_empty_nor_change_once_it_is_closed() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        assert!(matches!(pool.resize(0), Err(PoolError::Config { .. })));
        assert!(matches!(Pool::new(0), Err(PoolError::Config { .. })));
        assert_usable(&pool);
        pool.close();
        assert!(matches!(pool.resize(2), Err(PoolError::Config { .. })));
        pool.join().unwrap();
        assert!(matches!(pool.resize(2), Err(PoolError::Config { .. })));
    });
}
