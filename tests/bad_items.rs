//! Bad items among many good ones that go to a worker together.

mod common;

use std::time::Duration;

use common::{finish, limited, pool};
use sidestep::{Cause, JobError};

sidestep::worker_entry!();

#[sidestep::job]
fn closes_all(n: u64, bad: u64) -> u64 {
    if n == bad {
        // SAFETY: what is closed under the worker's feet is what the test is about.
        unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
    }
    n
}

#[sidestep::job]
fn aborts(n: u64, every: u64) -> u64 {
    if n % every == every - 1 {
        std::process::abort();
    }
    n
}

#[sidestep::job]
fn panics(n: u64, every: u64) -> u64 {
    assert!(n % every != every - 1);
    n
}

#[sidestep::job]
fn sometimes_slow(n: u64) -> u64 {
    if n % 1000 == 999 {
        std::thread::sleep(Duration::from_millis(20));
    }
    n
}

#[test]
fn one_that_closes_the_channel_costs_no_other() {
    limited(|| {
        let pool = pool(2);
        for (chunk, bad) in [(1, 500), (10, 505), (1000, 999), (1000, 300)] {
            let handles: Vec<_> = (0..1000).map(|n| pool.apply_async(closes_all, (n, bad))).collect();
            let whole = pool.call(closes_all).chunk_size(chunk).starmap((0..1000).map(|n| (n, bad)));
            assert!(matches!(&whole, Ok(_) | Err(JobError::Protocol { .. })), "{whole:?}");
            let mut lost = Vec::new();
            for (n, handle) in (0..).zip(handles) {
                match handle.get() {
                    Err(JobError::Protocol { .. }) => lost.push(n),
                    other => assert_eq!(other, Ok(n)),
                }
            }
            assert_eq!(lost, [bad]);
        }
        finish(&pool);
    });
}

#[test]
fn those_that_abort_cost_themselves() {
    limited(|| {
        let pool = pool(2);
        let handles: Vec<_> = (0..1000).map(|n| pool.apply_async(aborts, (n, 50))).collect();
        for (n, handle) in (0..).zip(handles) {
            match handle.get() {
                Err(JobError::WorkerLost { cause: Cause::Signal(6), .. }) if n % 50 == 49 => {}
                other => assert_eq!(other, Ok(n)),
            }
        }
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed), (980, 20), "{stats:?}");
        finish(&pool);
    });
}

#[test]
fn those_that_panic_cost_themselves_and_no_worker() {
    limited(|| {
        let pool = pool(2);
        let pids = pool.pids();
        let handles: Vec<_> = (0..2000).map(|n| pool.apply_async(panics, (n, 7))).collect();
        for (n, handle) in (0..).zip(handles) {
            match handle.get() {
                Err(JobError::Panicked { .. }) if n % 7 == 6 => {}
                other => assert_eq!(other, Ok(n)),
            }
        }
        assert_eq!(pool.pids(), pids);
        finish(&pool);
    });
}

#[test]
fn slow_ones_among_quick_ones_give_everything() {
    limited(|| {
        let pool = pool(2);
        assert_eq!(pool.map(sometimes_slow, 0..20_000), Ok((0..20_000).collect()));
        finish(&pool);
    });
}
