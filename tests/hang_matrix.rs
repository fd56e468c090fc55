//! Where pools of worker processes are known to hang for ever: here each ends within a second, with a typed outcome.

mod scenario;

use std::sync::mpsc::channel;

use nix::sys::signal::Signal;
use scenario::jobs::{die, hold, pid, square};
use scenario::{
    Gate, all_up, assert_all_over, assert_usable, cause, is_alive, kill_all, promptly, scenario, send, within,
};
use serde::{Deserialize, Deserializer, Serialize};
use sidestep::{Cause, JobError, Pool, PoolError};

sidestep::worker_entry!();

#[test]
fn a_job_whose_worker_is_killed_resolves() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        let [worker] = gate.wait_for(1)[..] else { panic!("one job, one worker") };
        send(worker, Signal::SIGKILL);
        assert_eq!(cause(promptly("the loss", || handle.get())), Cause::Signal(9));
        assert_usable(&pool);
    });
}

#[test]
fn a_job_runs_after_all_idle_workers_were_killed() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        let before = all_up(&pool, 4);
        kill_all(&before);
        let worker = promptly("a job after it", || pool.apply(pid, ())).unwrap();
        assert!(!before.contains(&worker));
        assert_usable(&pool);
        within(scenario::SOON, "all four are replaced", || pool.stats().restarts == 4);
    });
}

#[test]
fn a_pool_whose_idle_workers_were_killed_is_terminated_at_once() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        kill_all(&all_up(&pool, 4));
        let handle = pool.apply_async(square, (3,));
        promptly("terminate", || pool.terminate());
        assert!(handle.ready(), "a job that nobody ran resolves too");
        assert!(matches!(promptly("join", || pool.join()), Ok(())));
        assert_all_over(&pool.stats());
    });
}

#[test]
fn a_job_that_exits_resolves() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let outcome = promptly("the exit", || pool.apply(die, ("1".to_owned(),)));
        assert_eq!(cause(outcome), Cause::Exit(1));
        assert_usable(&pool);
    });
}

/// An error that can be written, and not be read.
#[derive(Debug, Serialize)]
struct OneWay(String);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<OneWay, D::Error> {
        Err(serde::de::Error::custom("it takes two arguments"))
    }
}

#[sidestep::job]
fn fails_one_way() -> Result<(), OneWay> {
    Err(OneWay("and nobody will know why".into()))
}

#[test]
fn an_error_that_cannot_be_decoded_resolves_and_later_jobs_run() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        let outcome = promptly("the error", || pool.apply(fails_one_way, ()));
        match outcome {
            Err(JobError::Decode { job, message, .. }) => {
                assert_eq!(job, "fails_one_way");
                assert!(message.contains("two arguments"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert_usable(&pool);
        assert_eq!(pool.apply(pid, ()).unwrap(), worker, "the worker has done nothing wrong");
    });
}

#[test]
fn a_callback_that_panics_hangs_neither_its_job_nor_later_ones() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let handle = pool.call(square).on_success(|_| panic!("on purpose")).apply_async((3,));
        assert_eq!(promptly("its job", || handle.get()), Ok(9));
        let (sender, receiver) = channel();
        let later = pool.call(square).on_success(move |n| sender.send(*n).unwrap()).apply_async((4,));
        assert_eq!(promptly("a later job", || later.get()), Ok(16));
        assert_eq!(receiver.recv_timeout(scenario::SOON), Ok(16));
        assert_usable(&pool);
        pool.close();
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn a_handle_kept_past_its_pool_resolves() {
    scenario(|| {
        let gate = Gate::new("gate");
        let (done, running, queued, many) = {
            let pool = Pool::new(1).unwrap();
            let done = pool.apply_async(square, (5,));
            assert!(done.wait(scenario::SOON));
            let running = pool.apply_async(hold, (gate.arg(),));
            gate.wait_for(1);
            let queued = pool.apply_async(square, (6,));
            (done, running, queued, pool.map_async(square, 0..1000))
        };
        assert_eq!(promptly("one that was done", || done.get()), Ok(25));
        assert_eq!(promptly("one that ran", || running.get()), Err(JobError::PoolClosed));
        assert_eq!(promptly("one that waited", || queued.get()), Err(JobError::PoolClosed));
        assert_eq!(promptly("many", || many.get()), Err(JobError::PoolClosed));
    });
}

#[sidestep::job]
fn refuses_to_start(gate: String) -> Result<(), String> {
    scenario::jobs::arrive(&gate);
    Err("there is no such thing".into())
}

#[test]
fn an_initializer_that_fails_is_told_and_not_tried_for_ever() {
    scenario(|| {
        let gate = Gate::new("starts");
        let built = promptly("the failure", || {
            Pool::builder().workers(4).initializer(refuses_to_start, (gate.arg(),)).build()
        });
        match built {
            Err(PoolError::Initializer { message }) => assert_eq!(message, "there is no such thing"),
            other => panic!("{other:?}"),
        }
        let starts = gate.arrived();
        assert!(starts.len() <= 4, "each worker is tried once: {starts:?}");
        assert!(!starts.into_iter().any(is_alive));
    });
}

#[sidestep::job]
fn fourth_panics(n: u32) -> u32 {
    assert!(n != 3, "not this one");
    n
}

#[sidestep::job]
fn fourth_aborts(n: u32) -> u32 {
    if n == 3 {
        std::process::abort();
    }
    n
}

#[test]
fn a_chunk_with_a_failing_item_loses_only_that_item() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        for chunk in [1, 2, 8] {
            let panicked: Vec<_> =
                promptly("panic", || pool.call(fourth_panics).chunk_size(chunk).imap(0..8).collect());
            let aborted: Vec<_> =
                promptly("abort", || pool.call(fourth_aborts).chunk_size(chunk).imap(0..8).collect());
            for (results, name) in [(panicked, "panic"), (aborted, "abort")] {
                assert_eq!(results.len(), 8, "{name} in chunks of {chunk}");
                for (n, result) in (0..).zip(results) {
                    match (n, name, result) {
                        (3, "panic", Err(JobError::Panicked { message, .. })) => {
                            assert_eq!(message, "not this one");
                        }
                        (3, "abort", result) => assert_eq!(cause(result), Cause::Signal(6)),
                        (_, _, result) => assert_eq!(result, Ok(n), "{name} in chunks of {chunk}"),
                    }
                }
            }
        }
    });
}
