//! What runs in each worker before its first job and after its last.

mod scenario;

use std::time::Duration;

use nix::sys::signal::Signal;
use scenario::jobs::{arrive, hold, pid, square};
use scenario::{
    Gate, all_up, assert_all_over, assert_usable, eventually, is_alive, is_lost, kill_all, promptly,
    scenario, send,
};
use sidestep::{Builder, Failure, JobError, Pool, PoolError};

sidestep::worker_entry!();

#[sidestep::job]
fn come(gate: String) {
    arrive(&gate);
}

/// Does what stands in a file of the scenario's, so that it can change.
#[sidestep::job]
fn do_as_told(told: String) -> Result<(), Failure> {
    match std::fs::read_to_string(&told)?.as_str() {
        "go on" => Ok(()),
        "err" => Err(Failure::new("the model is missing")),
        "panic" => panic!("the model is broken"),
        "exit" => {
            eprintln!("out of luck");
            std::process::exit(6)
        }
        "crash" => std::process::abort(),
        "hang" => loop {
            std::thread::park();
        },
        other => panic!("{other}?"),
    }
}

fn tell(what: &str) -> String {
    let told = scenario::dir().join("told");
    let fresh = scenario::dir().join("fresh");
    std::fs::write(&fresh, what).unwrap();
    std::fs::rename(fresh, &told).unwrap();
    told.to_str().unwrap().to_owned()
}

fn told(what: &str) -> Builder {
    let timeout = start_timeout(what);
    Pool::builder().workers(2).start_timeout(timeout).initializer(do_as_told, (tell(what),))
}

/// Short where one is to hang; else a worker that gets no processor for a while is not to be taken for one.
fn start_timeout(what: &str) -> Duration {
    Duration::from_millis(if what == "hang" { 300 } else { 10_000 })
}

#[test]
fn it_runs_once_in_each_worker_before_any_job() {
    #[sidestep::job]
    fn is_initialized(gate: String) -> bool {
        std::path::Path::new(&gate).join(std::process::id().to_string()).exists()
    }
    scenario(|| {
        let gate = Gate::new("starts");
        let pool = Pool::builder().workers(3).initializer(come, (gate.arg(),)).build().unwrap();
        assert!(pool.map(is_initialized, vec![gate.arg(); 200]).unwrap().into_iter().all(|yes| yes));
        let mut workers = all_up(&pool, 3);
        let mut starts = gate.arrived();
        workers.sort_unstable();
        starts.sort_unstable();
        assert_eq!(starts, workers);
        send(workers[0], Signal::SIGKILL);
        eventually("the death is seen", || pool.stats().restarts == 1);
        all_up(&pool, 3);
        assert!(pool.map(is_initialized, vec![gate.arg(); 200]).unwrap().into_iter().all(|yes| yes));
        assert_eq!(gate.arrived().len(), 4);
    });
}

#[test]
fn its_err_and_its_panic_are_told() {
    scenario(|| {
        for (what, wanted) in [("err", "the model is missing"), ("panic", "the model is broken")] {
            match promptly(what, || told(what).build()) {
                Err(PoolError::Initializer { message }) => assert!(message.contains(wanted), "{message}"),
                other => panic!("{what}: {other:?}"),
            }
        }
    });
}

#[test]
fn its_end_of_the_process_is_told() {
    scenario(|| {
        for (what, wanted) in [("exit", "exited with code 6"), ("crash", "SIGABRT")] {
            match promptly(what, || told(what).build()) {
                Err(PoolError::Start { message, stderr_tail }) => {
                    assert!(message.contains(wanted) && message.contains("initializer"), "{message}");
                    assert_eq!(stderr_tail.contains("out of luck"), what == "exit");
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    });
}

#[test]
fn one_that_hangs_is_given_up_at_the_start_timeout() {
    scenario(|| match promptly("it", || told("hang").build()) {
        Err(PoolError::Start { message, .. }) => {
            assert!(message.contains("initializer") && message.contains("300ms"), "{message}");
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn one_that_is_no_job_is_told() {
    fn not_registered() {}
    scenario(|| match Pool::builder().workers(1).initializer(not_registered as fn(), ()).build() {
        Err(PoolError::Config { what }) => assert!(what.contains("initializer"), "{what}"),
        other => panic!("{other:?}"),
    });
}

/// A pool whose initializer would fail from now on, and why it broke once its workers were gone.
fn breaks_on_replacement(what: &str) -> PoolError {
    let pool = told("go on").start_timeout(start_timeout(what)).build().unwrap();
    all_up(&pool, 2);
    let gate = Gate::new(what);
    let running = [(); 2].map(|()| pool.apply_async(hold, (gate.arg(),)));
    let workers = gate.wait_for(2);
    let queued = pool.apply_async(square, (3,));
    tell(what);
    kill_all(&workers[..1]);
    eventually("the pool breaks", || queued.ready());
    match queued.get() {
        Err(JobError::PoolBroken { reason }) => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    }
    let [first, second] = running.map(sidestep::JobHandle::get);
    assert!(is_lost(&first) != is_lost(&second), "one was killed, the other ended with the pool");
    let later = pool.apply(square, (1,));
    assert!(matches!(later, Err(JobError::PoolBroken { .. })), "{later:?}");
    let error = promptly("join", || pool.join()).unwrap_err();
    assert!(!workers.into_iter().any(is_alive));
    assert_all_over(&pool.stats());
    error
}

#[test]
fn one_that_fails_in_a_replacement_breaks_the_pool_at_once() {
    scenario(|| {
        for (what, wanted) in [("err", "the model is missing"), ("panic", "the model is broken")] {
            match breaks_on_replacement(what) {
                PoolError::Initializer { message } => assert!(message.contains(wanted), "{message}"),
                other => panic!("{what}: {other:?}"),
            }
        }
    });
}

#[test]
fn one_that_ends_its_process_or_hangs_in_replacements_breaks_the_pool_after_five() {
    scenario(|| {
        for what in ["exit", "hang"] {
            let error = breaks_on_replacement(what);
            assert!(matches!(error, PoolError::RestartStorm { deaths: 5, .. }), "{what}: {error:?}");
        }
    });
}

#[test]
fn a_job_is_no_less_a_job_for_being_an_initializer() {
    scenario(|| {
        let pool = told("go on").build().unwrap();
        // Before the second worker is told something else.
        all_up(&pool, 2);
        assert!(pool.apply(do_as_told, (tell("go on"),)).unwrap().is_ok());
        assert!(pool.apply(do_as_told, (tell("err"),)).unwrap().is_err());
    });
}

// ---- the finalizer ----

fn with_finalizer(gate: &Gate) -> Pool {
    Pool::builder().workers(2).finalizer(come, (gate.arg(),)).build().unwrap()
}

#[test]
fn the_finalizer_runs_in_each_worker_after_close() {
    scenario(|| {
        let gate = Gate::new("ends");
        let pool = with_finalizer(&gate);
        let mut workers = all_up(&pool, 2);
        let handle = pool.map_async(square, 0..100);
        pool.close();
        pool.join().unwrap();
        assert!(handle.get().is_ok());
        let mut ends = gate.arrived();
        ends.sort_unstable();
        workers.sort_unstable();
        assert_eq!(ends, workers);
    });
}

#[test]
fn the_finalizer_runs_in_workers_that_are_too_many() {
    scenario(|| {
        let gate = Gate::new("ends");
        let pool = with_finalizer(&gate);
        let workers = all_up(&pool, 2);
        pool.resize(1).unwrap();
        assert_eq!(gate.wait_for(1), workers[1..]);
        assert_usable(&pool);
    });
}

#[test]
fn the_finalizer_does_not_run_on_terminate_nor_on_drop() {
    scenario(|| {
        let gate = Gate::new("ends");
        let pool = with_finalizer(&gate);
        all_up(&pool, 2);
        pool.terminate();
        pool.join().unwrap();
        let pool = with_finalizer(&gate);
        all_up(&pool, 2);
        drop(pool);
        assert!(gate.arrived().is_empty());
    });
}

#[test]
fn a_finalizer_that_fails_does_not_harm_the_end() {
    #[sidestep::job]
    fn ends_badly(how: String) -> Result<(), Failure> {
        match how.as_str() {
            "err" => Err(Failure::new("no")),
            "panic" => panic!("no"),
            _ => std::process::exit(3),
        }
    }
    scenario(|| {
        for how in ["err", "panic", "exit"] {
            let pool = Pool::builder().workers(2).finalizer(ends_badly, (how.to_owned(),)).build().unwrap();
            all_up(&pool, 2);
            let handle = pool.apply_async(pid, ());
            pool.close();
            promptly(how, || pool.join()).unwrap();
            assert!(handle.get().is_ok());
        }
    });
}

#[test]
fn a_finalizer_that_hangs_does_not_hold_up_terminate() {
    scenario(|| {
        let gate = Gate::new("ends");
        let pool = Pool::builder().workers(2).finalizer(hold, (gate.arg(),)).build().unwrap();
        all_up(&pool, 2);
        pool.close();
        gate.wait_for(2);
        assert_eq!(pool.join_timeout(Duration::from_millis(50)), Err(PoolError::StillRunning));
        promptly("terminate", || pool.terminate());
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn a_finalizer_that_hangs_is_given_up_after_ten_seconds() {
    scenario(|| {
        let gate = Gate::new("ends");
        let pool = Pool::builder().workers(1).finalizer(hold, (gate.arg(),)).build().unwrap();
        all_up(&pool, 1);
        pool.close();
        gate.wait_for(1);
        assert_eq!(pool.join_timeout(Duration::from_secs(8)), Err(PoolError::StillRunning));
        pool.join_timeout(Duration::from_secs(4)).unwrap();
    });
}
