//! Workers that do not get ready later, when they are to replace others.

use std::time::Duration;

use sidestep::{JobError, Pool, PoolError};

use crate::kinds::{PROGRAM, change};
use crate::scenario::{
    Gate, all_up, assert_all_over, assert_usable, eventually, jobs, kill_all, promptly, scenario, within,
};

/// Five starts one after the other, with pauses in between that grow.
const STORM: Duration = Duration::from_secs(5);

/// A pool whose first workers are all right.
fn pool(kind: &str) -> Pool {
    let start_timeout = Duration::from_millis(200);
    let pool = Pool::builder().workers(2).env(PROGRAM, kind).start_timeout(start_timeout).build().unwrap();
    all_up(&pool, 2);
    pool
}

/// Kills the workers when the others would no longer do; gives why the pool broke.
fn breaks(pool: &Pool) -> PoolError {
    let gate = Gate::new("gate");
    let running = [(); 2].map(|()| pool.apply_async(jobs::hold, (gate.arg(),)));
    let workers = gate.wait_for(2);
    let queued: Vec<_> = (0..50).map(|n| pool.apply_async(jobs::square, (n,))).collect();
    change();
    kill_all(&workers);
    within(STORM, "the pool breaks", || queued.iter().all(sidestep::JobHandle::ready));
    for handle in running {
        // Its own death may come to notice later than that nobody can take its place.
        let outcome = handle.get();
        let ended = crate::scenario::is_lost(&outcome) || matches!(outcome, Err(JobError::PoolBroken { .. }));
        assert!(ended, "{outcome:?}");
    }
    for handle in queued {
        let outcome = handle.get();
        assert!(matches!(outcome, Err(JobError::PoolBroken { .. })), "{outcome:?}");
    }
    let later = promptly("a later job", || pool.apply(jobs::square, (1,)));
    assert!(matches!(later, Err(JobError::PoolBroken { .. })), "{later:?}");
    let lazy: Vec<_> = pool.imap(jobs::square, 0..3).collect();
    assert!(matches!(lazy[..], [Err(JobError::PoolBroken { .. })]), "{lazy:?}");
    assert!(pool.resize(4).is_err());
    let error = promptly("join", || pool.join()).unwrap_err();
    assert!(pool.pids().is_empty());
    assert_all_over(&pool.stats());
    error
}

pub(crate) fn workers_that_no_longer_start_break_the_pool() {
    scenario(|| {
        match breaks(&pool("exits later")) {
            PoolError::RestartStorm { deaths, stderr_tail } => {
                assert_eq!(deaths, 5);
                assert_eq!(stderr_tail.trim_end(), "there is no licence for this");
            }
            other => panic!("{other:?}"),
        }
        let starts = Gate::new("starts").arrived().len();
        assert!((5..=7).contains(&starts), "{starts} starts");
    });
}

pub(crate) fn workers_that_no_longer_say_hello_break_the_pool() {
    scenario(|| {
        let error = breaks(&pool("blocks later"));
        assert!(matches!(error, PoolError::RestartStorm { .. }), "{error:?}");
    });
}

pub(crate) fn a_worker_with_other_jobs_breaks_the_pool() {
    scenario(|| {
        let error = breaks(&pool("has other jobs later"));
        assert!(matches!(error, PoolError::Mismatch { .. }), "{error:?}");
    });
}

pub(crate) fn a_program_that_is_gone_breaks_the_pool_once_its_last_worker_has_died() {
    scenario(|| {
        let path = crate::image::copy("copy");
        let pool = Pool::builder().workers(2).program(&path).build().unwrap();
        let workers = all_up(&pool, 2);
        std::fs::remove_file(&path).unwrap();
        kill_all(&workers[..1]);
        eventually("one is gone", || pool.pids().len() == 1);
        assert_usable(&pool);
        assert_eq!(pool.stats().restarts, 1, "a start that never took place replaces nobody");
        kill_all(&workers[1..]);
        let outcome = promptly("a job that nobody can serve", || pool.apply(jobs::square, (2,)));
        match outcome {
            Err(JobError::PoolBroken { reason }) => assert!(reason.contains("no such file"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(promptly("join", || pool.join()), Err(PoolError::Spawn { .. })));
    });
}

pub(crate) fn workers_that_start_every_other_time_heal_the_pool() {
    scenario(|| {
        let pool = pool("exits every other time later");
        change();
        for _ in 0..3 {
            kill_all(&all_up(&pool, 2));
            eventually("both deaths are seen", || pool.pids().len() < 2 || pool.stats().restarts > 0);
            assert_usable(&pool);
        }
        all_up(&pool, 2);
        assert_eq!(pool.stats().failed, 0);
    });
}

pub(crate) fn a_broken_pool_can_be_closed_and_dropped() {
    scenario(|| {
        let pool = pool("exits later");
        breaks(&pool);
        promptly("close", || pool.close());
        promptly("terminate", || pool.terminate());
        assert!(matches!(promptly("join", || pool.join()), Err(PoolError::RestartStorm { .. })));
        promptly("drop", || drop(pool));
    });
}
