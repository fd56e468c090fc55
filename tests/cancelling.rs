//! `cancel`: what has not started never runs, what runs is killed, nobody else is harmed.

mod common;

use std::time::{Duration, Instant};

use common::{Gate, LONG, eventually, finish, limited, pool};
use sidestep::{JobError, JobHandle, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn square(x: i64) -> i64 {
    x * x
}

#[sidestep::job]
fn gated(ticket: String, name: String) -> u32 {
    common::pass(&ticket, &name);
    std::process::id()
}

#[sidestep::job]
fn arrive(ticket: String, name: String) {
    common::arrive(&ticket, &name);
}

fn usable(pool: &Pool) {
    assert_eq!(pool.map(square, 0..10), Ok((0..10).map(|x| x * x).collect()));
}

/// Two jobs that stay until the gate is opened.
fn occupy(pool: &Pool, gate: &mut Gate) -> Vec<JobHandle<u32>> {
    let busy = (0..2).map(|n| pool.apply_async(gated, (gate.ticket(), format!("busy {n}")))).collect();
    (0..2).for_each(|_| drop(gate.arrival()));
    busy
}

/// All that jobs have said, up to a last one of our own.
fn arrivals(pool: &Pool, gate: &mut Gate) -> Vec<String> {
    pool.apply(arrive, (gate.ticket(), "the end".into())).expect("it only arrives");
    std::iter::from_fn(|| Some(gate.arrival()).filter(|name| name != "the end")).collect()
}

#[test]
fn a_queued_job_that_is_cancelled_never_runs() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let _busy = occupy(&pool, &mut gate);
        let queued: Vec<_> =
            (0..10).map(|n| pool.apply_async(arrive, (gate.ticket(), n.to_string()))).collect();
        assert!(queued[5].cancel());
        assert!(queued[5].ready());
        assert_eq!(queued[5].successful(), Some(false));
        assert!(!queued[5].cancel(), "it is done");
        gate.open();
        for (n, handle) in queued.into_iter().enumerate() {
            let expected = if n == 5 { Err(JobError::Cancelled) } else { Ok(()) };
            assert_eq!(handle.get(), expected, "{n}");
        }
        let mut ran = arrivals(&pool, &mut gate);
        ran.sort_unstable();
        assert_eq!(ran, ["0", "1", "2", "3", "4", "6", "7", "8", "9"]);
        assert_eq!(pool.stats().cancelled, 1);
        finish(&pool);
    });
}

#[test]
fn a_job_that_was_sent_and_has_not_started_never_runs() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        // The worker has more than one job in its pipe, for they have been short.
        for x in 0..50 {
            assert_eq!(pool.apply(square, (x,)), Ok(x * x));
        }
        for round in 0..20 {
            let mut gate_of_round = Gate::new();
            let busy = pool.apply_async(gated, (gate_of_round.ticket(), "busy".into()));
            let next: Vec<_> =
                (0..3).map(|n| pool.apply_async(arrive, (gate.ticket(), format!("{round} {n}")))).collect();
            gate_of_round.arrival();
            assert!(next.iter().all(|handle| handle.cancel() && handle.ready()));
            gate_of_round.open();
            assert!(busy.get().is_ok());
            assert!(next.into_iter().all(|handle| handle.get() == Err(JobError::Cancelled)));
        }
        assert_eq!(arrivals(&pool, &mut gate), [""; 0]);
        finish(&pool);
    });
}

#[test]
fn a_running_job_that_is_cancelled_is_killed_and_no_other() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let doomed = pool.apply_async(gated, (gate.ticket(), "doomed".into()));
        assert_eq!(gate.arrival(), "doomed");
        let other = pool.apply_async(gated, (gate.ticket(), "other".into()));
        assert_eq!(gate.arrival(), "other");
        let behind: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
        let begin = Instant::now();
        assert!(doomed.cancel());
        assert_eq!(doomed.get(), Err(JobError::Cancelled));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        for (x, handle) in (0..).zip(behind) {
            assert_eq!(handle.get(), Ok(x * x));
        }
        assert!(!other.ready());
        gate.open();
        assert!(other.get().is_ok());
        usable(&pool);
        let stats = pool.stats();
        assert_eq!((stats.cancelled, stats.failed), (1, 0), "{stats:?}");
        finish(&pool);
    });
}

#[test]
fn cancelling_twice_is_as_good_as_once() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        let doomed = pool.apply_async(gated, (gate.ticket(), "doomed".into()));
        gate.arrival();
        assert!(doomed.cancel());
        // Either it is being killed, or it is gone.
        let again = doomed.cancel();
        assert!(again || doomed.ready(), "a job that is not done can be cancelled");
        assert!(doomed.wait(LONG));
        assert!(!doomed.cancel());
        assert_eq!(doomed.get(), Err(JobError::Cancelled));
        usable(&pool);
        finish(&pool);
    });
}

#[test]
fn a_job_that_is_done_cannot_be_cancelled() {
    limited(|| {
        let pool = pool(1);
        let handle = pool.apply_async(square, (3,));
        assert!(handle.wait(LONG));
        assert!(!handle.cancel() && !handle.cancel());
        assert_eq!(handle.get(), Ok(9));
        let pids = pool.pids();
        usable(&pool);
        assert_eq!(pool.pids(), pids, "nobody was killed");
        let all = pool.map_async(square, 0..3);
        assert!(all.wait(LONG));
        assert!(!all.cancel());
        assert_eq!(all.get(), Ok(vec![0, 1, 4]));
    });
}

#[test]
fn a_job_can_be_cancelled_the_moment_it_starts() {
    limited(|| {
        let pool = pool(1);
        for _ in 0..100 {
            let mut gate = Gate::new();
            // The first one's result may not have been read when the second one has begun.
            let first = pool.apply_async(square, (3,));
            let second = pool.apply_async(gated, (gate.ticket(), "it".into()));
            gate.arrival();
            assert!(second.cancel(), "it runs");
            assert_eq!(second.get(), Err(JobError::Cancelled));
            assert_eq!(first.get(), Ok(9));
        }
        finish(&pool);
    });
}

#[test]
fn a_cancelled_map_stops_running_and_waiting_items() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let items: Vec<_> = (0..100).map(|n| (gate.ticket(), n.to_string())).collect();
        let all = pool.call(gated).chunk_size(5).starmap_async(items);
        for _ in 0..2 {
            gate.arrival();
        }
        assert!(all.cancel());
        assert!(all.ready() && !all.cancel());
        assert_eq!(all.successful(), Some(false));
        assert_eq!(all.get(), Err(JobError::Cancelled));
        usable(&pool);
        assert_eq!(arrivals(&pool, &mut gate), [""; 0]);
        eventually("the killed ones are counted", || pool.stats().cancelled == 100);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.done), (0, 11), "{stats:?}");
        finish(&pool);
    });
}

#[test]
fn of_jobs_that_wait_together_each_is_cancelled_by_itself() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let busy = occupy(&pool, &mut gate);
        let handles: Vec<_> = (0..3000).map(|x| (x, pool.apply_async(square, (x,)))).collect();
        for (x, handle) in handles.iter().rev() {
            assert!(x % 3 > 0 || handle.cancel() && handle.ready() && !handle.cancel(), "{x}");
        }
        assert_eq!(pool.stats().cancelled, 1000);
        gate.open();
        for (x, handle) in handles {
            let expected = if x % 3 == 0 { Err(JobError::Cancelled) } else { Ok(x * x) };
            assert_eq!(handle.get(), expected, "{x}");
        }
        for handle in busy {
            handle.get().unwrap();
        }
        let stats = pool.stats();
        assert_eq!((stats.done, stats.cancelled, stats.failed), (2002, 1000, 0), "{stats:?}");
        finish(&pool);
    });
}

#[test]
fn one_that_runs_among_many_is_killed_alone() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        let before: Vec<_> = (0..500).map(|x| (x, pool.apply_async(square, (x,)))).collect();
        let stuck: Vec<_> =
            (0..5).map(|n| pool.apply_async(gated, (gate.ticket(), format!("stuck {n}")))).collect();
        let after: Vec<_> = (0..500).map(|x| (x, pool.apply_async(square, (x,)))).collect();
        for (n, handle) in stuck.into_iter().enumerate() {
            assert_eq!(gate.arrival(), format!("stuck {n}"));
            assert!(handle.cancel());
            assert_eq!(handle.get(), Err(JobError::Cancelled));
        }
        for (x, handle) in before.into_iter().chain(after) {
            assert_eq!(handle.get(), Ok(x * x));
        }
        let stats = pool.stats();
        assert_eq!((stats.done, stats.cancelled, stats.failed), (1000, 5, 0), "{stats:?}");
        usable(&pool);
        finish(&pool);
    });
}

#[test]
fn cancelling_races_with_the_end_and_both_agree() {
    limited(|| {
        let pool = pool(2);
        let (mut cancelled, mut done) = (0, 0);
        for round in 0..500u64 {
            let handle = pool.apply_async(square, (5,));
            if round % 3 > 0 {
                std::hint::black_box((0..round * 20).sum::<u64>());
            }
            let said = handle.cancel();
            match handle.get() {
                Ok(25) => {
                    assert!(!said, "what was cancelled gives no value");
                    done += 1;
                }
                Err(JobError::Cancelled) => {
                    assert!(said, "what was not cancelled gives its value");
                    cancelled += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        let stats = pool.stats();
        assert_eq!((stats.done, stats.cancelled, stats.failed), (done, cancelled, 0), "{stats:?}");
        finish(&pool);
    });
}

#[test]
fn a_storm_of_cancels_harms_nobody_else() {
    limited(|| {
        let pool = pool(3);
        let kept: Vec<_> = (0..2000)
            .filter_map(|x| {
                let handle = pool.apply_async(square, (x,));
                if x % 2 == 0 { Some((x, handle)) } else { handle.cancel().then_some(()).and(None) }
            })
            .collect();
        for (x, handle) in kept {
            assert_eq!(handle.get(), Ok(x * x));
        }
        let stats = pool.stats();
        assert_eq!(stats.failed, 0, "{stats:?}");
        finish(&pool);
    });
}
