//! Workers that are stopped by a signal: their jobs go elsewhere, and they are replaced.

mod scenario;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use scenario::jobs::{hold, square};
use scenario::{
    Gate, SOON, all_up, assert_all_over, assert_usable, eventually, is_alive, promptly, scenario, send, stop,
    within,
};
use sidestep::{Bytes, JobError, Pool};

sidestep::worker_entry!();

/// The pool waits half a second before it suspects anybody.
const NOTICED: Duration = Duration::from_millis(1500);

#[test]
fn a_job_sent_to_a_stopped_worker_is_served_elsewhere_without_blame() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let workers = all_up(&pool, 2);
        workers.iter().for_each(|worker| stop(*worker));
        let handle = pool.apply_async(square, (7,));
        let stats = pool.stats();
        let (with, without): (Vec<_>, Vec<_>) = stats.workers.iter().partition(|worker| worker.job.is_some());
        let [(with, without)] = with.iter().zip(&without).collect::<Vec<_>>()[..] else {
            panic!("{stats:?}")
        };
        let begin = Instant::now();
        send(without.pid.unwrap(), Signal::SIGCONT);
        assert_eq!(handle.get(), Ok(49));
        assert!(begin.elapsed() < NOTICED, "{:?}", begin.elapsed());
        assert_eq!(pool.stats().failed, 0);
        eventually("the stopped one is gone", || !is_alive(with.pid.unwrap()));
        let successors = all_up(&pool, 2);
        assert!(successors.contains(&without.pid.unwrap()) && !successors.contains(&with.pid.unwrap()));
        assert_usable(&pool);
    });
}

#[test]
fn the_only_worker_is_replaced_when_it_is_stopped_and_gets_a_job() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = all_up(&pool, 1)[0];
        stop(worker);
        let begin = Instant::now();
        assert_eq!(pool.apply(square, (7,)), Ok(49));
        assert!(begin.elapsed() < NOTICED, "{:?}", begin.elapsed());
        assert!(!is_alive(worker));
        assert_ne!(pool.pids(), [worker]);
    });
}

#[test]
fn a_pool_that_sleeps_until_its_workers_are_old_notices_one_that_is_stopped() {
    scenario(|| {
        let pool = Pool::builder().workers(1).max_age(Duration::from_secs(3600)).build().unwrap();
        stop(all_up(&pool, 1)[0]);
        let handle = pool.apply_async(square, (7,));
        within(NOTICED, "it is served although nobody waits for it", || handle.ready());
        assert_eq!(handle.get(), Ok(49));
    });
}

#[test]
fn a_full_queue_passes_stopped_workers_by() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        all_up(&pool, 4).iter().for_each(|worker| stop(*worker));
        let handle = pool.map_async(square, 0..1000);
        assert_eq!(handle.get().unwrap(), (0..1000).map(|n| n * n).collect::<Vec<_>>());
        assert_all_over(&pool.stats());
    });
}

#[test]
fn an_idle_worker_that_is_stopped_and_then_killed_is_replaced() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let workers = all_up(&pool, 2);
        stop(workers[0]);
        send(workers[0], Signal::SIGKILL);
        within(SOON, "it is replaced", || pool.stats().restarts == 1 && pool.pids().len() == 2);
        assert_usable(&pool);
    });
}

#[test]
fn a_stopped_job_goes_on_when_it_is_continued() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        let worker = gate.wait_for(1)[0];
        stop(worker);
        gate.open();
        // Long enough that a worker which had not begun its job would have lost it.
        assert!(!handle.wait(Duration::from_millis(800)));
        assert_usable(&pool);
        send(worker, Signal::SIGCONT);
        assert_eq!(handle.get(), Ok(worker));
    });
}

#[test]
fn a_job_that_stops_its_own_worker_can_be_cancelled() {
    #[sidestep::job]
    fn stops_itself(gate: String) {
        scenario::jobs::arrive(&gate);
        nix::sys::signal::raise(Signal::SIGSTOP).unwrap();
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(stops_itself, (gate.arg(),));
        gate.wait_for(1);
        assert!(handle.cancel());
        assert_eq!(promptly("it", || handle.get()), Err(JobError::Cancelled));
        assert_usable(&pool);
    });
}

#[test]
fn stopped_workers_do_not_hold_up_the_end() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        gate.wait_for(1);
        all_up_or_busy(&pool, 3).iter().for_each(|worker| stop(*worker));
        promptly("terminate", || pool.terminate());
        assert_eq!(handle.get(), Err(JobError::PoolClosed));
        promptly("join", || pool.join()).unwrap();
    });
}

/// More bytes than a pipe takes.
const MUCH: usize = 16 << 20;

#[sidestep::job]
fn length(bytes: Bytes) -> usize {
    bytes.len()
}

#[test]
fn a_job_can_be_cancelled_whose_argument_is_still_being_sent() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = all_up(&pool, 1)[0];
        stop(worker);
        let handle = pool.apply_async(length, (Bytes::from(vec![1; MUCH]),));
        assert!(handle.cancel());
        assert_eq!(promptly("it", || handle.get()), Err(JobError::Cancelled));
        send(worker, Signal::SIGCONT);
        // What is left of it does not get in the way of the next one.
        assert_usable(&pool);
        assert_eq!((pool.apply(length, (vec![1; MUCH].into(),)), pool.stats().failed), (Ok(MUCH), 0));
    });
}

#[test]
fn a_worker_that_is_stopped_while_it_reads_an_argument_is_replaced_and_no_limit_counts() {
    scenario(|| {
        let pool = Pool::builder().workers(1).timeout(Duration::from_millis(300)).build().unwrap();
        let worker = all_up(&pool, 1)[0];
        stop(worker);
        assert_eq!(pool.apply(length, (vec![1; MUCH].into(),)), Ok(MUCH));
        assert!(!is_alive(worker));
        assert_eq!(pool.stats().failed, 0);
    });
}

fn all_up_or_busy(pool: &Pool, workers: usize) -> Vec<u32> {
    scenario::eventually("they serve", || {
        let stats = pool.stats();
        let starting = |worker: &sidestep::WorkerStats| worker.state == sidestep::WorkerState::Starting;
        stats.workers.len() == workers && !stats.workers.iter().any(starting)
    });
    pool.pids()
}

/// Tiny jobs leave their worker between two of them for most of its time. No clock runs there.
#[test]
fn one_that_is_stopped_at_any_moment_holds_up_no_limited_job() {
    scenario(|| {
        let limit = Duration::from_millis(200);
        for round in 0..16u64 {
            // Every other one gets too old meanwhile.
            let age = [Duration::from_millis(15), Duration::from_secs(3600)][round as usize % 2];
            let builder = Pool::builder().workers(2).timeout(limit).grace(limit);
            let pool = builder.max_age(age).build().unwrap();
            let workers = all_up(&pool, 2);
            let handle = pool.map_async(square, 0..30_000);
            std::thread::sleep(Duration::from_micros(round * 700));
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(workers[0] as i32), Signal::SIGSTOP);
            let begin = Instant::now();
            let outcome = handle.get();
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(4), "round {round}: {took:?}");
            // The one that it was stopped in has come to its limit, or is lost with it.
            assert!(
                matches!(outcome, Ok(_) | Err(JobError::TimedOut { .. } | JobError::WorkerLost { .. })),
                "{outcome:?}"
            );
            assert_usable(&pool);
        }
    });
}
