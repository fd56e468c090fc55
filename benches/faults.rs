//! How long it takes until somebody is told: of a crash, of a limit, of a cancelled job; and until the pool is whole again.
//!
//! Figures are medians of fifty. A time limit's is what comes on top of the limit.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use sidestep::{JobError, Pool};

sidestep::worker_entry!();

const LIMIT: Duration = Duration::from_millis(30);

#[sidestep::job]
fn id() -> u32 {
    std::process::id()
}

#[sidestep::job]
fn abort() {
    std::process::abort()
}

#[sidestep::job]
fn hang() {
    std::thread::sleep(Duration::from_secs(1000));
}

fn pool() -> Pool {
    Pool::builder().workers(1).stderr(sidestep::Output::Null).build().expect("a pool for the benchmark")
}

/// Sums what `once` measures.
fn sum(rounds: u64, mut once: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| once()).sum()
}

fn faults(c: &mut Criterion) {
    let pool = pool();
    let mut group = c.benchmark_group("faults");
    group.sample_size(50).measurement_time(Duration::from_secs(5));
    group.bench_function("error after a crash", |bencher| {
        bencher.iter_custom(|rounds| {
            sum(rounds, || {
                pool.apply(id, ()).expect("it is whole");
                let begin = Instant::now();
                assert!(matches!(pool.apply(abort, ()), Err(JobError::WorkerLost { .. })));
                begin.elapsed()
            })
        });
    });
    group.bench_function("whole again after a crash", |bencher| {
        bencher.iter_custom(|rounds| {
            sum(rounds, || {
                pool.apply(abort, ()).expect_err("it aborts");
                let begin = Instant::now();
                pool.apply(id, ()).expect("it is whole");
                begin.elapsed()
            })
        });
    });
    group.bench_function("error after a limit", |bencher| {
        bencher.iter_custom(|rounds| {
            sum(rounds, || {
                pool.apply(id, ()).expect("it is whole");
                let begin = Instant::now();
                let outcome = pool.call(hang).timeout(LIMIT).apply(());
                assert!(matches!(outcome, Err(JobError::TimedOut { .. })));
                begin.elapsed().saturating_sub(LIMIT)
            })
        });
    });
    group.bench_function("cancel of a running job", |bencher| {
        bencher.iter_custom(|rounds| {
            sum(rounds, || {
                let handle = pool.apply_async(hang, ());
                // Long enough for it to begin: what has not begun is cancelled without a kill.
                std::thread::sleep(Duration::from_millis(5));
                let begin = Instant::now();
                handle.cancel();
                assert_eq!(handle.get(), Err(JobError::Cancelled));
                begin.elapsed()
            })
        });
    });
}

criterion_group!(benches, faults);
criterion_main!(benches);
