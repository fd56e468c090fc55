//! Chunks of pure computing: two workers should take half of the time.

use std::hint::black_box;

use rayon::prelude::*;
use serde_json::json;
use sidestep::Pool;

use super::{threads, took};
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::primes;
use crate::python::Python;
use crate::row::Row;

const WORKERS: usize = 2;
const CHUNKS: u64 = 64;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let limit = plan.size(2_000_000, 20_000);
    let chunks: Vec<_> = (0..CHUNKS).map(|n| (n * limit / CHUNKS, (n + 1) * limit / CHUNKS)).collect();
    let pool = Pool::new(WORKERS)?;
    let threads = threads(WORKERS)?;
    let efficiency = |parallel: &dyn Fn() -> Outcome<u64>| -> Outcome<Vec<f64>> {
        let count = |all: &dyn Fn() -> Outcome<u64>| {
            took(|| {
                black_box(all()?);
                Ok(())
            })
        };
        let parallel = count(parallel)?;
        let serial = count(&|| Ok(chunks.iter().map(|(from, to)| primes(*from, *to)).sum()))?;
        Ok(vec![serial.as_secs_f64() / (WORKERS as f64 * parallel.as_secs_f64())])
    };
    let name = "efficiency, primes in 64 chunks";
    let experiment = Experiment::new([Figure::more(name, "of 1").headline()])
        .side("Sidestep", || efficiency(&|| Ok(pool.starmap(primes, chunks.iter().copied())?.iter().sum())))
        .side("rayon", || {
            let all = || chunks.par_iter().with_max_len(1).map(|(from, to)| primes(*from, *to)).sum();
            efficiency(&|| Ok(threads.install(all)))
        })
        .side_with("Python", Python::start(), |python| {
            // It takes a hundred times longer for the same.
            python.ask("compute", json!([WORKERS, limit / 20, CHUNKS]))
        });
    Ok(experiment.run(plan))
}
