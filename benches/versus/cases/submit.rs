//! Jobs that are submitted one by one, all results taken.

use serde_json::json;
use sidestep::Pool;

use super::{rate, threads};
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::add_one;
use crate::limits::frames;
use crate::python::Python;
use crate::row::Row;

const WORKERS: usize = 2;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let jobs = plan.size(100_000, 1_000);
    let pool = Pool::new(WORKERS)?;
    let threads = threads(WORKERS)?;
    pool.map(add_one, 0..100)?;
    let frames = |batch, jobs| Ok(vec![frames::rate(WORKERS, batch, jobs)?]);
    let experiment = Experiment::new([Figure::more("2 workers", "jobs/s").headline()])
        .side("Sidestep, apply_async", || Ok(vec![rate(jobs, || one_by_one(&pool, jobs))?]))
        .side("pipes, 1 frame a write", || frames(1, jobs))
        .side("pipes, 16 frames a write", || frames(16, 10 * jobs))
        .side("pipes, 256 frames a write", || frames(256, 10 * jobs))
        .side("rayon, spawn", || Ok(vec![rate(jobs, || spawned(&threads, jobs))?]))
        .side_with("Python, apply_async", Python::start(), |python| {
            python.ask("submit", json!([WORKERS, jobs]))
        });
    Ok(experiment.run(plan))
}

fn one_by_one(pool: &Pool, jobs: usize) -> Outcome<()> {
    let handles: Vec<_> = (0..jobs as i64).map(|n| pool.apply_async(add_one, (n,))).collect();
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.get()?, n as i64 + 1);
    }
    Ok(())
}

/// Results come through a channel, as a caller would take them.
fn spawned(threads: &rayon::ThreadPool, jobs: usize) -> Outcome<()> {
    let (results, taken) = std::sync::mpsc::channel();
    for n in 0..jobs as i64 {
        let results = results.clone();
        threads.spawn(move || {
            let _ = results.send(add_one(n));
        });
    }
    drop(results);
    match taken.into_iter().count() {
        all if all == jobs => Ok(()),
        some => Err(format!("rayon gave {some} of {jobs} results").into()),
    }
}
