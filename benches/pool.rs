//! What a call costs, what many cost, and what a pool costs to start.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sidestep::{Bytes, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[sidestep::job]
fn double(n: i64) -> i64 {
    n.wrapping_mul(2)
}

#[sidestep::job]
fn echo(bytes: Bytes) -> Bytes {
    bytes
}

const ONE_BY_ONE: i64 = 10_000;
const ITEMS: i64 = 1_000_000;

fn pool(workers: usize) -> Pool {
    Pool::new(workers).expect("a pool for the benchmark")
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip");
    for workers in [1, 16] {
        let pool = pool(workers);
        group.bench_function(BenchmarkId::new("workers", workers), |bencher| {
            bencher.iter(|| pool.apply(add, (black_box(2), 3)).unwrap());
        });
    }
}

fn one_by_one(c: &mut Criterion) {
    let pool = pool(2);
    let mut group = c.benchmark_group("one by one");
    group.sample_size(20).throughput(Throughput::Elements(ONE_BY_ONE as u64));
    group.bench_function("apply_async, 2 workers", |bencher| {
        bencher.iter(|| {
            let handles: Vec<_> = (0..ONE_BY_ONE).map(|n| pool.apply_async(add, (n, 1))).collect();
            handles.into_iter().map(|handle| handle.get().unwrap()).sum::<i64>()
        });
    });
}

fn map(c: &mut Criterion) {
    let pool = pool(2);
    let mut group = c.benchmark_group("map");
    group.sample_size(10).throughput(Throughput::Elements(ITEMS as u64));
    group.bench_function("a million i64, 2 workers", |bencher| {
        bencher.iter(|| pool.map(double, 0..ITEMS).unwrap());
    });
}

fn echoes(c: &mut Criterion) {
    let pool = pool(1);
    let mut group = c.benchmark_group("echo");
    for (name, size) in [("1 KiB", 1 << 10), ("64 MiB", 64 << 20)] {
        let bytes = Bytes::from(vec![7; size]);
        // There and back.
        group.throughput(Throughput::Bytes(2 * size as u64));
        group.sample_size(if size > 1 << 20 { 10 } else { 100 });
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || bytes.clone(),
                |bytes| pool.apply(echo, (bytes,)).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
}

/// Until `Pool::new` returns; the end of the pool is not counted.
fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.sample_size(20);
    for workers in [1, 16] {
        group.bench_function(BenchmarkId::new("workers", workers), |bencher| {
            bencher.iter_batched(|| (), |()| pool(workers), BatchSize::PerIteration);
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = round_trip, one_by_one, map, echoes, start
}
criterion_main!(benches);
