//! `map`: tiny items, whose cost is the pool's; and items that take time, which two workers should halve.

use std::time::Duration;

use rayon::prelude::*;
use serde_json::json;
use sidestep::Pool;

use super::{rate, threads, took};
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::{add_one, busy};
use crate::limits::frames;
use crate::python::Python;
use crate::row::Row;

const WORKERS: usize = 2;
const CHUNKS: [usize; 4] = [1_000, 10_000, 50_000, 250_000];

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let pool = Pool::new(WORKERS)?;
    let mut rows = tiny(plan, &pool)?;
    for (name, nanos, items) in [
        ("1 µs", 1_000, plan.size(200_000, 1_000)),
        ("100 µs", 100_000, plan.size(4_000, 20)),
        ("10 ms", 10_000_000, plan.size(60, 2)),
    ] {
        rows.extend(even(plan, &pool, name, &vec![nanos; items])?);
    }
    rows.extend(uneven(plan, &pool)?);
    Ok(rows)
}

fn tiny(plan: &Plan, pool: &Pool) -> Outcome<Vec<Row>> {
    let items = plan.size(1_000_000, 10_000);
    let threads = threads(WORKERS)?;
    let python = |python: &mut Python, chunks| python.ask("tiny_map", json!([WORKERS, items, chunks]));
    // The second of two: the side before was another's, and has left neither workers nor memory as they are in use.
    let warm = |map: &dyn Fn() -> Outcome<()>| {
        map()?;
        Ok(vec![rate(items, map)?])
    };
    let default = || check(pool.map(add_one, 0..items as i64)?);
    let mut experiment = Experiment::new([Figure::more("a tiny function, 2 workers", "items/s").headline()])
        .side("Sidestep", || warm(&default));
    // Each size by itself: the best of several that were measured once is better than any of them is.
    for size in CHUNKS {
        let map = move || check(pool.call(add_one).chunk_size(size).map(0..items as i64)?);
        experiment = experiment.side(format!("Sidestep, chunks of {size}"), move || warm(&map));
    }
    let experiment = experiment
        .side("pipes, 4096 frames a write", || Ok(vec![frames::rate(WORKERS, 4096, 4 * items)?]))
        .side("rayon", || {
            let all = || (0..items as i64).into_par_iter().map(add_one).collect();
            Ok(vec![rate(items, || check(threads.install(all)))?])
        })
        .side_with("Python", Python::start(), |tool| python(tool, json!([null])))
        .side_with("Python, best of 4 chunk sizes", Python::start(), |tool| python(tool, json!(CHUNKS)));
    Ok(experiment.run(plan))
}

fn check(results: Vec<i64>) -> Outcome<()> {
    match results.last() {
        Some(last) if *last == results.len() as i64 => Ok(()),
        last => Err(format!("the last result is {last:?}").into()),
    }
}

/// Items that all take the same: 1 is half of the time that they take one after another.
fn even(plan: &Plan, pool: &Pool, name: &str, items: &[u64]) -> Outcome<Vec<Row>> {
    let threads = threads(WORKERS)?;
    let efficiency = |parallel: Duration| -> Outcome<Vec<f64>> {
        let serial = took(|| {
            items.iter().for_each(|nanos| busy(*nanos));
            Ok(())
        })?;
        Ok(vec![serial.as_secs_f64() / (WORKERS as f64 * parallel.as_secs_f64())])
    };
    let experiment = Experiment::new([Figure::more(format!("efficiency, items of {name}"), "of 1")])
        .side("Sidestep", || efficiency(on_pool(pool, items)?))
        .side("rayon", || efficiency(on_threads(&threads, items)?))
        .side_with("Python", Python::start(), |python| efficiency(on_python(python, items)?));
    Ok(experiment.run(plan))
}

/// One item is a hundred times slower than the others, and comes when nine tenths of them are done.
fn uneven(plan: &Plan, pool: &Pool) -> Outcome<Vec<Row>> {
    const TINY: u64 = 100_000;
    const SLOW: u64 = 100 * TINY;
    let mut items = vec![TINY; plan.size(2_000, 200)];
    let late = items.len() / 10 * 9;
    items[late] = SLOW;
    let ideal = items.iter().sum::<u64>() as f64 / WORKERS as f64;
    let tail = |parallel: Duration| Ok(vec![(parallel.as_nanos() as f64 - ideal) / 1e6]);
    let threads = threads(WORKERS)?;
    let figure = Figure::less("time over the ideal, one item of 10 ms near the end of items of 100 µs", "ms");
    let experiment = Experiment::new([figure])
        .side("Sidestep", || tail(on_pool(pool, &items)?))
        .side("rayon", || tail(on_threads(&threads, &items)?))
        .side_with("Python", Python::start(), |python| tail(on_python(python, &items)?));
    Ok(experiment.run(plan))
}

fn on_pool(pool: &Pool, items: &[u64]) -> Outcome<Duration> {
    took(|| {
        pool.map(busy, items.iter().copied())?;
        Ok(())
    })
}

fn on_threads(threads: &rayon::ThreadPool, items: &[u64]) -> Outcome<Duration> {
    took(|| {
        threads.install(|| items.par_iter().for_each(|nanos| busy(*nanos)));
        Ok(())
    })
}

fn on_python(python: &mut Python, items: &[u64]) -> Outcome<Duration> {
    let seconds: Vec<f64> = items.iter().map(|nanos| *nanos as f64 / 1e9).collect();
    let took = python.ask("busy_map", json!([WORKERS, seconds]))?;
    Ok(Duration::from_secs_f64(took.first().copied().unwrap_or_default()))
}
