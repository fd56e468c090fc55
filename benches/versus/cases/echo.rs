//! Blocks of bytes that a job returns as they are.

use serde_json::json;
use sidestep::{Bytes, Pool};

use super::rate;
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs;
use crate::limits::echo::{Echo, Waits, copies};
use crate::python::Python;
use crate::row::Row;

const GIB: f64 = (1u64 << 30) as f64;
const LARGE_PIPE: usize = 1 << 20;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let pool = Pool::new(1)?;
    let mut rows = Vec::new();
    for (figure, size, times) in [
        (Figure::more("64 MiB", "GiB/s each way").headline(), 64 << 20, 2),
        (Figure::more("1 MiB", "GiB/s each way"), 1 << 20, plan.size(100, 2)),
        (Figure::more("1 KiB", "GiB/s each way"), 1 << 10, plan.size(5_000, 10)),
    ] {
        rows.extend(blocks(plan, &pool, figure, size, times));
    }
    Ok(rows)
}

fn blocks(plan: &Plan, pool: &Pool, figure: Figure, size: usize, times: usize) -> Vec<Row> {
    let pipe = || Echo::start(size, Waits::Asleep, Waits::Asleep);
    let mut bytes = Bytes::from(vec![7; size]);
    Experiment::new([figure])
        .side("Sidestep", move || {
            // What comes back is sent again, so that the caller copies nothing.
            each_way(size, times, || {
                bytes = pool.apply(jobs::echo, (std::mem::take(&mut bytes),))?;
                Ok(())
            })
        })
        .side_with("pipe of 64 KiB", pipe(), |echo| each_way(size, times, || echo.trip()))
        .side_with("pipe of 1 MiB", pipe().and_then(|echo| echo.with_pipes(LARGE_PIPE)), |echo| {
            each_way(size, times, || echo.trip())
        })
        .side("memcpy, warm", || Ok(vec![copies(size, times) / GIB]))
        .side_with("Python", Python::start(), |python| {
            let rates = python.ask("echoes", json!([size, times]))?;
            Ok(rates.into_iter().map(|rate| rate / GIB).collect())
        })
        .run(plan)
}

/// The first trip warms up what is kept.
fn each_way(size: usize, times: usize, mut trip: impl FnMut() -> Outcome<()>) -> Outcome<Vec<f64>> {
    trip()?;
    let bytes = rate(2 * size * times, || (0..times).try_for_each(|_| trip()))?;
    Ok(vec![bytes / GIB])
}
