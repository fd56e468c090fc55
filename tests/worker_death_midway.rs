//! Workers that die while a result or an argument is on its way.

mod scenario;

use nix::sys::signal::Signal;
use scenario::jobs::{arrive, pid, square};
use scenario::{
    Gate, all_up, assert_all_over, assert_usable, cause, eventually, is_lost, promptly, scenario, send,
};
use sidestep::{Cause, JobError, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn tenth_aborts(n: u32) -> u32 {
    if n % 10 == 4 {
        std::process::abort();
    }
    n
}

#[test]
fn a_result_that_was_committed_outlives_its_worker() {
    scenario(|| {
        // The items before the fatal one are answered within the last microseconds of the worker's life.
        let pool = Pool::new(1).unwrap();
        for _ in 0..10 {
            let results: Vec<_> = pool.call(tenth_aborts).chunk_size(10).imap(0..30).collect();
            for (n, result) in (0..).zip(results) {
                match n % 10 {
                    4 => assert_eq!(cause(result), Cause::Signal(6)),
                    _ => assert_eq!(result, Ok(n)),
                }
            }
        }
        assert_usable(&pool);
    });
}

/// What fails in each way, one right after the other.
#[sidestep::job]
fn fails_and_ends(n: u32) -> u32 {
    match n % 3 {
        0 => n,
        1 => panic!("item {n}"),
        _ => std::process::exit(1),
    }
}

#[test]
fn a_panic_right_before_a_death_is_told_as_a_panic() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for chunk in [1, 3, 30] {
            let results = pool.call(fails_and_ends).chunk_size(chunk).imap(0..30);
            for (n, result) in (0..).zip(results.collect::<Vec<_>>()) {
                match (n % 3, result) {
                    (0, result) => assert_eq!(result, Ok(n)),
                    (1, Err(JobError::Panicked { message, .. })) => assert_eq!(message, format!("item {n}")),
                    (_, result) => assert_eq!((n % 3, cause(result)), (2, Cause::Exit(1))),
                }
            }
        }
    });
}

/// A thread of the job's kills the process some time after the job has returned.
#[sidestep::job]
fn die_after(nanos: u64) -> sidestep::Bytes {
    std::thread::spawn(move || {
        while sidestep::try_context().is_some() {
            std::hint::spin_loop();
        }
        let begin = std::time::Instant::now();
        while (begin.elapsed().as_nanos() as u64) < nanos {}
        send(std::process::id(), Signal::SIGKILL);
    });
    vec![7; 300_000].into()
}

#[test]
fn a_worker_killed_around_its_result_gives_it_or_loses_it_and_never_hangs() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        for step in 0..60 {
            match pool.apply(die_after, (step * 10_000,)) {
                Ok(result) => assert!(result.len() == 300_000 && result.iter().all(|byte| *byte == 7)),
                other => assert_eq!(cause(other), Cause::Signal(9)),
            }
            // This one may be with the worker that is about to die; then it pays for that.
            let next = pool.apply(square, (step as i64,));
            assert!(is_lost(&next) || next == Ok((step * step) as i64), "{next:?}");
        }
        eventually("the last one has died", || all_up(&pool, 2).len() == 2);
        assert_all_over(&pool.stats());
    });
}

#[test]
fn a_worker_killed_after_its_result_was_given_costs_nothing() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for n in 0..20 {
            let worker = pool.apply(pid, ()).unwrap();
            send(worker, Signal::SIGKILL);
            // Sent, most likely, before the death has come to notice.
            assert_eq!(promptly("the next job", || pool.apply(square, (n,))), Ok(n * n));
        }
        assert_eq!(pool.stats().failed, 0);
    });
}

#[test]
fn a_worker_killed_while_it_reads_a_large_argument_is_not_its_fault() {
    #[sidestep::job]
    fn length(bytes: sidestep::Bytes) -> usize {
        bytes.len()
    }
    scenario(|| {
        const SIZE: usize = 64 << 20;
        let pool = Pool::new(1).unwrap();
        let [worker] = all_up(&pool, 1)[..] else { panic!("one worker") };
        scenario::stop(worker);
        // The pipe is full, and the rest waits in the parent.
        let handle = pool.apply_async(length, (sidestep::Bytes::from(vec![1; SIZE]),));
        send(worker, Signal::SIGKILL);
        assert_eq!(handle.get(), Ok(SIZE));
        assert_eq!(pool.stats().failed, 0);
    });
}

#[test]
fn a_crash_while_an_argument_is_read_or_a_result_is_written_costs_that_job() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for (reads, writes) in [(true, false), (false, true)] {
            let before = pool.apply_async(square, (2,));
            let doomed = pool.apply_async(through, (Crashing { reads, writes },));
            let after = pool.apply_async(square, (3,));
            assert_eq!(before.get(), Ok(4));
            assert_eq!(cause(promptly("the crash", || doomed.get())), Cause::Signal(6));
            assert_eq!(after.get(), Ok(9));
        }
    });
}

#[derive(Debug)]
struct Crashing {
    reads: bool,
    writes: bool,
}

#[sidestep::job]
fn through(crashing: Crashing) -> Crashing {
    crashing
}

impl serde::Serialize for Crashing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.writes && sidestep::try_context().is_some() {
            std::process::abort();
        }
        (self.reads, self.writes).serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Crashing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Crashing, D::Error> {
        let (reads, writes) = <(bool, bool)>::deserialize(deserializer)?;
        if reads && sidestep::try_context().is_some() {
            std::process::abort();
        }
        Ok(Crashing { reads, writes })
    }
}

#[test]
fn a_worker_killed_in_the_middle_of_a_large_result_loses_it_whole() {
    #[sidestep::job]
    fn large(gate: String) -> sidestep::Bytes {
        arrive(&gate);
        vec![3; 64 << 20].into()
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for round in 0..6u64 {
            let gate = Gate::new(&format!("gate {round}"));
            let handle = pool.apply_async(large, (gate.arg(),));
            let worker = gate.wait_for(1)[0];
            std::thread::sleep(std::time::Duration::from_millis(round * 10));
            send(worker, Signal::SIGKILL);
            match handle.get() {
                Ok(bytes) => assert!(bytes.len() == 64 << 20 && bytes.iter().all(|byte| *byte == 3)),
                other => assert_eq!(cause(other.map(|_| ())), Cause::Signal(9)),
            }
            assert_usable(&pool);
        }
    });
}
