//! Retries: what fails is tried again, as often as was said, never twice at a time, and its caller sees one end.

mod scenario;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scenario::jobs::{die, spin, square};
use scenario::{Gate, assert_usable, dir, eventually, promptly, scenario};
use sidestep::{Builder, JobError, Pool};

sidestep::worker_entry!();

fn quick(workers: usize) -> Builder {
    Pool::builder().workers(workers).retry_delay(Duration::from_millis(1), Duration::from_millis(10))
}

/// Fails in the way that is said until its attempt is a good one; gives the attempt.
#[sidestep::job]
fn fail_until(good: u32, how: String) -> Result<u32, String> {
    let attempt = sidestep::context().attempt();
    if attempt < good {
        match how.as_str() {
            "panic" => panic!("attempt {attempt}"),
            "err" => return Err(format!("attempt {attempt}")),
            "hang" => std::thread::sleep(Duration::from_secs(1000)),
            how => die(how.into()),
        }
    }
    Ok(attempt)
}

#[test]
fn a_job_is_tried_until_it_does_well() {
    scenario(|| {
        let pool = quick(2).retries(3).timeout(Duration::from_millis(300)).build().unwrap();
        for how in ["panic", "abort", "0", "hang"] {
            let good = if how == "panic" { 4 } else { 3 };
            assert_eq!(pool.apply(fail_until, (good, how.into())), Ok(Ok(good)), "{how}");
        }
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.done, stats.failed, stats.retried), (4, 4, 0, 9));
        assert_eq!(stats.restarts, 4, "time limits are no accidents");
    });
}

#[test]
fn the_last_failure_is_the_one_that_is_told() {
    scenario(|| {
        let pool = quick(1).retries(1).build().unwrap();
        match pool.apply(fail_until, (9, "panic".into())) {
            Err(JobError::Panicked { message, .. }) => assert_eq!(message, "attempt 2"),
            other => panic!("{other:?}"),
        }
        match pool.apply(fail_until, (9, "7".into())) {
            Err(JobError::WorkerLost { attempts, .. }) => assert_eq!(attempts, 2),
            other => panic!("{other:?}"),
        }
        assert_usable(&pool);
    });
}

#[test]
fn a_job_that_kills_three_workers_is_poison_whatever_its_retries() {
    scenario(|| {
        let pool = quick(2).retries(100).build().unwrap();
        let healthy = pool.map_async(square, 0..1000);
        match pool.apply(fail_until, (1000, "segv".into())) {
            Err(JobError::Poisoned { deaths, pid: Some(_), .. }) => assert_eq!(deaths, 3),
            other => panic!("{other:?}"),
        }
        assert_eq!(healthy.get(), Ok((0..1000).map(|n| n * n).collect()));
        let stats = pool.stats();
        assert_eq!((stats.restarts, stats.failed, stats.poisoned), (3, 1, 1));
    });
}

#[test]
fn a_bad_result_is_tried_again_if_somebody_says_what_is_bad() {
    scenario(|| {
        let pool = quick(1).build().unwrap();
        let call = || pool.call(fail_until).retry_if(Result::<u32, String>::is_err);
        assert_eq!(call().retries(2).apply((3, "err".into())), Ok(Ok(3)));
        assert_eq!(
            call().retries(1).apply((3, "err".into())),
            Ok(Err("attempt 2".into())),
            "the last counts"
        );
        assert_eq!(call().apply((2, "err".into())), Ok(Err("attempt 1".into())), "there is no retry");
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.retried), (3, 0, 3));
        let judge = |_: &Result<u32, String>| panic!("the judge's own panic");
        assert_eq!(
            pool.call(fail_until).retries(5).retry_if(judge).apply((2, "err".into())),
            Ok(Err("attempt 1".into())),
            "a judge that panics has nothing against it"
        );
        let other = pool.call(square).retry_if(|text: &String| text.is_empty()).apply((1,));
        assert!(matches!(other, Err(JobError::InvalidCall { what }) if what.contains("i64")));
    });
}

/// Every third one fails the first time.
#[sidestep::job]
fn square_in_the_end(n: i64) -> i64 {
    if n % 3 == 0 && sidestep::context().attempt() == 1 {
        match n % 2 {
            0 => panic!("on purpose"),
            _ => std::process::abort(),
        }
    }
    n * n
}

#[test]
fn items_of_all_methods_are_tried_again_each_by_itself_and_order_is_kept() {
    scenario(|| {
        let pool = quick(2).retries(2).build().unwrap();
        let wanted: Vec<i64> = (0..60).map(|n| n * n).collect();
        assert_eq!(pool.map(square_in_the_end, 0..60), Ok(wanted.clone()));
        assert_eq!(pool.call(square_in_the_end).chunk_size(20).map(0..60), Ok(wanted.clone()));
        let ordered: Vec<_> = pool.imap(square_in_the_end, 0..60).map(Result::unwrap).collect();
        assert_eq!(ordered, wanted);
        let mut unordered: Vec<_> =
            pool.imap_unordered(square_in_the_end, 0..60).map(Result::unwrap).collect();
        unordered.sort_unstable();
        assert_eq!(unordered, wanted);
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.retried), (240, 0, 80));
    });
}

/// Says in a file when it begins and ends; the first two attempts do not end by themselves.
#[sidestep::job]
fn stay(log: String) {
    let attempt = sidestep::context().attempt();
    let mine = Path::new(&log).join("running");
    if alive(&mine) {
        fs::write(Path::new(&log).join("beside"), format!("attempt {attempt}")).unwrap();
    }
    fs::write(&mine, std::process::id().to_string()).unwrap();
    nix::sys::signal::SigSet::all().thread_block().unwrap();
    if attempt < 3 {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn alive(file: &Path) -> bool {
    let pid = fs::read_to_string(file).ok().and_then(|text| text.parse().ok());
    pid.is_some_and(scenario::is_alive)
}

#[test]
fn two_attempts_never_run_at_a_time() {
    scenario(|| {
        let limit = Duration::from_millis(100);
        // On a busy machine the third may come to the limit too.
        let pool = quick(3).retries(8).timeout(limit).grace(Duration::from_millis(200)).build().unwrap();
        let log = dir().to_str().unwrap().to_owned();
        assert_eq!(pool.apply(stay, (log,)), Ok(()));
        assert!(!dir().join("beside").exists(), "{:?}", fs::read_to_string(dir().join("beside")));
    });
}

#[test]
fn attempts_come_after_a_pause_that_grows() {
    scenario(|| {
        let first = Duration::from_millis(100);
        let pool = Pool::builder().workers(1).retries(2).retry_delay(first, first * 10).build().unwrap();
        let begin = Instant::now();
        assert_eq!(pool.apply(fail_until, (3, "panic".into())), Ok(Ok(3)));
        assert!(begin.elapsed() >= first * 3 / 2, "half of each pause at least: {:?}", begin.elapsed());
    });
}

#[test]
fn callbacks_hear_of_the_last_attempt_only() {
    scenario(|| {
        let pool = quick(1).retries(2).build().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (good, bad) = (heard.clone(), heard.clone());
        let call = pool
            .call(fail_until)
            .on_success(move |result: &Result<u32, String>| good.lock().unwrap().push(format!("{result:?}")))
            .on_error(move |error| bad.lock().unwrap().push(error.to_string()));
        call.apply((3, "panic".into())).unwrap().unwrap();
        pool.close();
        pool.join().unwrap();
        assert_eq!(*heard.lock().unwrap(), ["Ok(3)"]);
    });
}

/// A pool in which a job waits for its second attempt for a long time.
fn waiting() -> (Pool, sidestep::JobHandle<Result<u32, String>>) {
    let long = Duration::from_secs(1000);
    let pool = Pool::builder().workers(1).retries(1).retry_delay(long, long).build().unwrap();
    let handle = pool.apply_async(fail_until, (2, "panic".into()));
    eventually("it waits", || pool.stats().retried == 1);
    assert!(!handle.ready());
    assert_eq!((pool.stats().queued, pool.stats().running), (1, 0));
    (pool, handle)
}

#[test]
fn a_job_that_waits_for_its_next_attempt_can_be_cancelled() {
    scenario(|| {
        let (pool, handle) = waiting();
        assert!(handle.cancel() && handle.ready());
        assert_eq!(handle.get(), Err(JobError::Cancelled));
        assert_eq!(pool.stats().cancelled, 1);
        pool.close();
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn a_pool_that_ends_waits_for_no_attempt() {
    scenario(|| {
        let (pool, handle) = waiting();
        promptly("terminate", || pool.terminate());
        assert_eq!(handle.get(), Err(JobError::PoolClosed));
        let (pool, handle) = waiting();
        promptly("drop", || drop(pool));
        assert_eq!(handle.get(), Err(JobError::PoolClosed));
    });
}

#[test]
fn a_closed_pool_works_off_its_attempts() {
    scenario(|| {
        let pool = quick(2).retries(2).build().unwrap();
        let handles: Vec<_> =
            ["panic", "abort"].map(|how| pool.apply_async(fail_until, (3, how.into()))).into();
        pool.close();
        pool.join().unwrap();
        for handle in handles {
            assert_eq!(handle.get(), Ok(Ok(3)));
        }
    });
}

#[test]
fn a_cancelled_job_is_not_tried_again() {
    scenario(|| {
        let pool = quick(1).retries(5).build().unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(spin, (gate.arg(),));
        gate.wait_for(1);
        assert!(handle.cancel());
        assert_eq!(handle.get(), Err(JobError::Cancelled));
        assert_usable(&pool);
        assert_eq!((gate.arrived().len(), pool.stats().retried), (1, 0));
    });
}
