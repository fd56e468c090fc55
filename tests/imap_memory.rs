//! What waits takes little memory, and an `imap` whose results are taken slowly does not pile them up. The peak of a
//! whole process is measured, so each test has one of its own.

mod scenario;

use scenario::jobs::{hold, square};
use scenario::{Gate, descriptors, eventually, scenario};
use sidestep::{Bytes, JobError, Pool};

sidestep::worker_entry!();

const MIB: usize = 1 << 20;

#[sidestep::job]
fn large(n: usize) -> Bytes {
    Bytes::from(vec![n as u8; MIB])
}

/// The first item takes as long as the others.
#[sidestep::job]
fn large_behind_the_first(n: usize) -> Bytes {
    if n == 0 {
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    Bytes::from(vec![n as u8; MIB])
}

/// The most memory that this process has had, in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

/// Takes results so slowly that all that can come has come before each.
fn take_slowly(pool: &Pool, results: impl Iterator<Item = Result<Bytes, sidestep::JobError>>, most: usize) {
    let before = peak();
    let mut taken = 0;
    for result in results {
        assert_eq!(result.unwrap().len(), MIB);
        taken += 1;
        eventually("nothing is under way", || {
            let stats = pool.stats();
            stats.queued + stats.running == 0
        });
        let grown = peak() - before;
        assert!(grown < most, "{grown} MiB after {taken} results");
    }
    assert_eq!(taken, 1000);
}

#[test]
fn results_that_nobody_takes_are_not_piled_up() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        take_slowly(&pool, pool.imap(large, 0..1000), 24);
    });
}

#[test]
fn results_in_any_order_are_not_piled_up() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        take_slowly(&pool, pool.imap_unordered(large, 0..1000), 24);
    });
}

#[test]
fn results_behind_a_late_one_are_not_piled_up() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        take_slowly(&pool, pool.imap(large_behind_the_first, 0..1000), 24);
    });
}

#[test]
fn a_limited_queue_does_not_change_that() {
    scenario(|| {
        let pool = Pool::builder().workers(2).queue_limit(100).queue_bytes(MIB).build().unwrap();
        take_slowly(&pool, pool.imap(large, 0..1000), 24);
    });
}

#[test]
fn many_jobs_that_wait_take_little_memory_and_no_descriptor() {
    scenario(|| {
        const MANY: i64 = 200_000;
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let busy = pool.apply_async(hold, (gate.arg(),));
        gate.wait_for(1);
        let (before, open) = (peak(), descriptors().len());
        let handles: Vec<_> = (0..MANY).map(|n| pool.apply_async(square, (n,))).collect();
        assert_eq!((pool.stats().queued, descriptors().len()), (MANY as u64, open));
        let each = (peak() - before) * MIB / MANY as usize;
        assert!(each < 1024, "{each} bytes a job");
        drop(pool);
        assert_eq!(busy.get(), Err(JobError::PoolClosed));
        assert!(handles.into_iter().all(|handle| handle.get() == Err(JobError::PoolClosed)));
    });
}
