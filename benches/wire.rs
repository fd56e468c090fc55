//! What the pieces of a message cost by themselves: values to bytes, bytes to frames, and the claim of an item.
//!
//! No process takes part. What the scheduler costs cannot be reached from here; `benches/pool.rs` has it in its figures.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sidestep::Bytes;
use sidestep_worker::codec::{decode, encode};
use sidestep_worker::frame::{Assembler, Kind, push};
use sidestep_worker::page::{PAGE, Page};

const FRAMES: u64 = 1_000;
const ITEMS: u32 = 1_000;

fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out).expect("it can be encoded");
    out
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let small = (2i64, 3i64);
    let numbers: Vec<i64> = (0..100_000).collect();
    let block = Bytes::from(vec![7; 1 << 20]);
    let mut out = Vec::new();
    group.bench_function("encode two i64", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode(black_box(&small), &mut out)
        });
    });
    let bytes = encoded(&small);
    group.bench_function("decode two i64", |bencher| {
        bencher.iter(|| decode::<(i64, i64)>(black_box(&bytes)));
    });
    group.throughput(Throughput::Elements(numbers.len() as u64));
    group.bench_function("encode a Vec of i64", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode(black_box(&numbers), &mut out)
        });
    });
    let bytes = encoded(&numbers);
    group.bench_function("decode a Vec of i64", |bencher| {
        bencher.iter(|| decode::<Vec<i64>>(black_box(&bytes)));
    });
    group.throughput(Throughput::Bytes(block.len() as u64));
    group.bench_function("encode Bytes of 1 MiB", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode(black_box(&block), &mut out)
        });
    });
    let bytes = encoded(&block);
    group.bench_function("decode Bytes of 1 MiB", |bencher| {
        bencher.iter(|| decode::<Bytes>(black_box(&bytes)));
    });
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frames");
    group.throughput(Throughput::Elements(FRAMES));
    let body = [7; 16];
    let stream = |out: &mut Vec<u8>| {
        out.clear();
        for number in 0..FRAMES {
            push(out, number, Kind::Done, 0, black_box(&body));
        }
    };
    let mut bytes = Vec::new();
    group.bench_function("write", |bencher| bencher.iter(|| stream(&mut bytes)));
    stream(&mut bytes);
    group.bench_function("read and check", |bencher| {
        bencher.iter_batched_ref(
            Assembler::new,
            |assembler| {
                assembler.extend(black_box(&bytes)).expect("they are frames");
                while let Some(frame) = assembler.next().expect("they are frames") {
                    black_box(frame);
                }
            },
            BatchSize::SmallInput,
        );
    });
}

fn claims(c: &mut Criterion) {
    let file = tempfile::tempfile().expect("a file for the page");
    file.set_len(PAGE as u64).expect("a page's length");
    let page = Page::create(&file, std::process::id()).expect("a page");
    let mut group = c.benchmark_group("claims");
    group.throughput(Throughput::Elements(u64::from(ITEMS)));
    group.bench_function("one item at a time", |bencher| {
        bencher.iter(|| {
            page.open_run(0, ITEMS);
            while let Some(items) = page.claim(0, 1) {
                black_box(items);
            }
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = codec, frames, claims
}
criterion_main!(benches);
