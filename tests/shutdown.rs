//! The end of a pool, in every way and order.

mod scenario;

use std::time::{Duration, Instant};

use scenario::jobs::{die, hold, spin, square};
use scenario::{Gate, all_up, assert_all_over, assert_usable, cause, eventually, number, promptly, scenario};
use sidestep::{Cause, JobError, JobHandle, Pool, PoolError};

sidestep::worker_entry!();

#[sidestep::job]
fn slow_square(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(5));
    n * n
}

#[test]
fn close_and_join_run_everything() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        let single: Vec<_> = (0..50).map(|n| pool.apply_async(slow_square, (n,))).collect();
        let many = pool.map_async(slow_square, 0..50);
        pool.close();
        pool.join().unwrap();
        for (n, handle) in (0..).zip(single) {
            assert!(handle.ready());
            assert_eq!(handle.get(), Ok(n * n));
        }
        assert_eq!(many.get().unwrap(), (0..50).map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(pool.stats().done, 100);
        assert!(pool.pids().is_empty());
        assert_all_over(&pool.stats());
    });
}

#[test]
fn join_needs_a_pool_that_is_closed() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.join(), Err(PoolError::Open));
        assert_eq!(pool.join_timeout(Duration::ZERO), Err(PoolError::Open));
        assert_usable(&pool);
    });
}

#[test]
fn join_gives_up_in_time_and_may_be_called_again() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        gate.wait_for(1);
        pool.close();
        let begin = Instant::now();
        assert_eq!(pool.join_timeout(Duration::from_millis(100)), Err(PoolError::StillRunning));
        assert!((100..1000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        gate.open();
        pool.join_timeout(Duration::MAX).unwrap();
        assert!(handle.get().is_ok());
        pool.join().unwrap();
    });
}

/// All that could be submitted to a pool that takes no more.
fn assert_refuses_everything(pool: &Pool) {
    let closed = JobError::PoolClosed;
    assert_eq!(pool.apply(square, (1,)).unwrap_err(), closed);
    assert_eq!(pool.apply_async(square, (1,)).get().unwrap_err(), closed);
    assert_eq!(pool.map(square, [1, 2]).unwrap_err(), closed);
    assert_eq!(pool.map_async(square, [1, 2]).get().unwrap_err(), closed);
    assert_eq!(pool.starmap(square, [(1,), (2,)]).unwrap_err(), closed);
    assert_eq!(pool.starmap_async(square, [(1,), (2,)]).get().unwrap_err(), closed);
    assert_eq!(pool.apply_by_name::<i64>("square", &(1i64,)).unwrap_err(), closed);
    assert_eq!(pool.apply_async_by_name::<i64>("square", &(1i64,)).get().unwrap_err(), closed);
    let lazy = [pool.imap(square, 0..3).collect::<Vec<_>>(), pool.imap_unordered(square, 0..3).collect()];
    for results in lazy {
        assert_eq!(results, [Err(JobError::PoolClosed)], "one error, then the end");
    }
    assert_all_over(&pool.stats());
}

#[test]
fn nothing_can_be_submitted_after_close() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        pool.close();
        assert_refuses_everything(&pool);
        pool.join().unwrap();
        assert_refuses_everything(&pool);
    });
}

#[test]
fn nothing_can_be_submitted_after_terminate() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        pool.terminate();
        assert_refuses_everything(&pool);
    });
}

#[test]
fn ten_thousand_waiting_jobs_do_not_hold_up_terminate() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        let gate = Gate::new("gate");
        let handles: Vec<_> = (0..10_000).map(|_| pool.apply_async(spin, (gate.arg(),))).collect();
        gate.wait_for(3);
        promptly("terminate", || pool.terminate());
        assert!(handles.iter().all(JobHandle::ready));
        assert!(handles.into_iter().all(|handle| handle.get() == Err(JobError::PoolClosed)));
        promptly("join", || pool.join()).unwrap();
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.failed), (10_000, 10_000));
        assert_all_over(&stats);
    });
}

#[test]
fn handles_keep_what_was_there_before_terminate() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let done = pool.apply_async(square, (3,));
        eventually("it is done", || done.ready());
        let gate = Gate::new("gate");
        let running = pool.apply_async(hold, (gate.arg(),));
        gate.wait_for(1);
        let queued: Vec<_> = (0..99).map(|n| pool.apply_async(square, (n,))).collect();
        pool.terminate();
        assert_eq!(done.get(), Ok(9));
        assert_eq!(running.get(), Err(JobError::PoolClosed));
        assert!(queued.into_iter().all(|handle| handle.get() == Err(JobError::PoolClosed)));
    });
}

type End = fn(&Pool);

/// What can be done to a pool to end it.
const ENDS: [(&str, End); 4] = [
    ("close", Pool::close),
    ("terminate", Pool::terminate),
    ("join", |pool| {
        let joined = pool.join_timeout(Duration::from_millis(20));
        assert!(matches!(joined, Ok(()) | Err(PoolError::Open | PoolError::StillRunning)), "{joined:?}");
    }),
    ("resize", |pool| {
        let _ = pool.resize(3);
    }),
];

#[test]
fn the_end_comes_in_every_order_and_twice() {
    scenario(|| {
        for first in ENDS {
            for second in ENDS {
                for third in ENDS {
                    let pool = Pool::new(2).unwrap();
                    let gate = Gate::new("gate");
                    let running = pool.apply_async(spin, (gate.arg(),));
                    let queued: Vec<_> = (0..5).map(|_| pool.apply_async(spin, (gate.arg(),))).collect();
                    for (name, end) in [first, second, third] {
                        promptly(name, || end(&pool));
                    }
                    promptly("drop", || drop(pool));
                    assert_eq!(running.get(), Err(JobError::PoolClosed));
                    assert!(queued.into_iter().all(|handle| handle.get() == Err(JobError::PoolClosed)));
                }
            }
        }
    });
}

#[test]
fn two_threads_may_end_it_at_once() {
    scenario(|| {
        for first in ENDS {
            for second in ENDS {
                let pool = Pool::new(2).unwrap();
                let gate = Gate::new("gate");
                let handles: Vec<_> = (0..10).map(|_| pool.apply_async(spin, (gate.arg(),))).collect();
                promptly("both", || {
                    std::thread::scope(|scope| {
                        let waiter = scope.spawn(|| handles[0].wait(Duration::from_secs(20)));
                        scope.spawn(|| first.1(&pool));
                        scope.spawn(|| second.1(&pool));
                        pool.terminate();
                        assert!(waiter.join().unwrap(), "who waits for a job is told");
                    });
                });
                assert!(handles.iter().all(JobHandle::ready));
            }
        }
    });
}

#[sidestep::job]
fn slow_start() {
    std::thread::sleep(Duration::from_millis(30 * (u64::from(std::process::id()) % 5)));
}

#[test]
fn the_end_may_come_while_workers_start() {
    scenario(|| {
        for (name, end) in ENDS {
            let pool = Pool::builder().workers(6).initializer(slow_start, ()).build().unwrap();
            let handle = pool.apply_async(square, (3,));
            promptly(name, || end(&pool));
            promptly("drop", || drop(pool));
            let outcome = promptly("the job", || handle.get());
            assert!(matches!(outcome, Ok(9) | Err(JobError::PoolClosed)), "{outcome:?}");
        }
        for _ in 0..20 {
            let pool = Pool::new(6).unwrap();
            pool.resize(8).unwrap();
            promptly("drop", || drop(pool));
        }
    });
}

#[test]
fn close_lets_workers_that_still_start_take_their_part() {
    scenario(|| {
        let pool = Pool::builder().workers(4).initializer(slow_start, ()).build().unwrap();
        let handle = pool.map_async(slow_square, 0..100);
        pool.close();
        pool.join().unwrap();
        assert_eq!(handle.get().unwrap().len(), 100);
    });
}

#[test]
fn who_waits_in_a_lazy_map_is_told_of_the_end() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let gate = Gate::new("gate");
        std::thread::scope(|scope| {
            let consumer = scope.spawn(|| pool.imap(hold, vec![gate.arg(); 10]).collect::<Vec<_>>());
            gate.wait_for(2);
            promptly("the end", || pool.terminate());
            let results = promptly("the consumer", || consumer.join().unwrap());
            assert!(!results.is_empty());
            assert!(results.iter().all(|result| *result == Err(JobError::PoolClosed)), "{results:?}");
        });
    });
}

#[test]
fn a_lazy_map_that_nobody_goes_on_with_does_not_hold_up_join() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let mut results = pool.imap(square, 0..);
        assert_eq!(results.next(), Some(Ok(0)));
        pool.close();
        promptly("join", || pool.join()).unwrap();
        let rest: Vec<_> = promptly("what is left of it", || results.take(1_000).collect());
        assert!(rest.len() < 1_000);
        let served = rest.iter().take_while(|result| result.is_ok()).count();
        assert!(rest[served..].iter().all(|result| *result == Err(JobError::PoolClosed)), "{rest:?}");
        assert_all_over(&pool.stats());
    });
}

#[test]
fn a_crash_after_close_costs_its_job_and_no_more() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let handles: Vec<_> = (0..20).map(|n| pool.apply_async(die_or_square, (n,))).collect();
        pool.close();
        pool.join().unwrap();
        for (n, handle) in (0..).zip(handles) {
            match n % 5 {
                3 => assert_eq!(cause(handle.get()), Cause::Signal(6)),
                _ => assert_eq!(handle.get(), Ok(n * n)),
            }
        }
        assert_all_over(&pool.stats());
    });
}

#[sidestep::job]
fn die_or_square(n: i64) -> i64 {
    if n % 5 == 3 {
        die("abort".into());
    }
    n * n
}

#[test]
fn a_worker_killed_after_close_does_not_hold_up_join() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        let worker = gate.wait_for(1)[0];
        let queued = pool.map_async(square, 0..100);
        pool.close();
        scenario::kill_all(&[worker]);
        promptly("join", || pool.join()).unwrap();
        assert_eq!(cause(handle.get()), Cause::Signal(9));
        assert_eq!(queued.get().unwrap().len(), 100);
    });
}

#[derive(serde::Deserialize)]
struct Stubborn;

impl serde::Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not me"))
    }
}

#[sidestep::job]
fn takes_stubborn(_: Stubborn) {}

#[test]
fn a_job_that_cannot_be_sent_does_not_hold_up_join() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let handle = pool.apply_async(takes_stubborn, (Stubborn,));
        pool.close();
        promptly("join", || pool.join()).unwrap();
        assert!(matches!(handle.get(), Err(JobError::Encode { .. })));
        assert_all_over(&pool.stats());
    });
}

/// `SIDESTEP_POOLS` sets how many times.
#[test]
fn dropping_an_idle_pool_is_quick_and_complete_a_hundred_times() {
    scenario(|| {
        let (before, memory) = (scenario::descriptors().len(), scenario::resident());
        for _ in 0..number("SIDESTEP_POOLS", 100) {
            let pool = Pool::new(1).unwrap();
            assert_eq!(pool.apply(square, (3,)), Ok(9));
            promptly("drop", || drop(pool));
            assert!(scenario::processes_below(std::process::id()).is_empty());
            eventually("the last descriptors go", || scenario::descriptors().len() == before);
        }
        let grown = scenario::resident().saturating_sub(memory);
        assert!(grown < 4096, "{grown} KiB");
    });
}

#[test]
fn workers_that_ignore_every_signal_do_not_hold_up_terminate() {
    #[sidestep::job]
    fn deaf(gate: String) {
        nix::sys::signal::SigSet::all().thread_block().unwrap();
        spin(gate);
    }
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let gate = Gate::new("gate");
        let handles = [(); 2].map(|()| pool.apply_async(deaf, (gate.arg(),)));
        gate.wait_for(2);
        promptly("terminate", || pool.terminate());
        assert!(handles.iter().all(JobHandle::ready));
    });
}

#[test]
fn a_thousand_jobs_in_flight_resolve_when_the_pool_is_dropped() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        all_up(&pool, 4);
        let handles: Vec<_> = (0..1000).map(|n| pool.apply_async(square, (n,))).collect();
        let many = pool.map_async(slow_square, 0..1000);
        promptly("drop", || drop(pool));
        for (n, handle) in (0..).zip(handles) {
            let outcome = handle.get();
            assert!(outcome == Ok(n * n) || outcome == Err(JobError::PoolClosed), "{outcome:?}");
        }
        assert_eq!(many.get(), Err(JobError::PoolClosed));
    });
}
