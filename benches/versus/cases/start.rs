//! From nothing to a result, and to workers that are all at work.

use std::time::Instant;

use serde_json::json;
use sidestep::Pool;

use super::millis;
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::{add_one, meet};
use crate::limits::present;
use crate::meeting::Meeting;
use crate::python::Python;
use crate::row::Row;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (workers, plan) in [(1, *plan), (16, *plan), (64, plan.at_most(3)), (256, plan.at_most(3))] {
        if workers <= plan.size(256, 16) {
            rows.extend(of(workers, &plan));
        }
    }
    Ok(rows)
}

fn of(workers: usize, plan: &Plan) -> Vec<Row> {
    let of = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    let first = Figure::less(format!("first result, {of}"), "ms");
    let every = Figure::less(format!("all busy at once, {of}"), "ms");
    let every = if workers == 16 { every.headline() } else { every };
    Experiment::new([first, every])
        .side("Sidestep", || pool(workers))
        .side("bare children: one of them, all", || bare(workers))
        .side_with("Python", Python::start(), |python| python.ask("start", json!([workers])))
        .run(plan)
}

fn pool(workers: usize) -> Outcome<Vec<f64>> {
    let begin = Instant::now();
    let pool = Pool::new(workers)?;
    pool.apply(add_one, (1,))?;
    let first = begin.elapsed();
    drop(pool);
    let meeting = Meeting::open()?;
    let begin = Instant::now();
    let pool = Pool::new(workers)?;
    let _jobs: Vec<_> = (0..workers).map(|_| pool.apply_async(meet, (meeting.address(),))).collect();
    let _guests = meeting.wait(workers)?;
    Ok([first, begin.elapsed()].map(millis).to_vec())
}

fn bare(children: usize) -> Outcome<Vec<f64>> {
    let times = [1, children].map(|children| {
        let begin = Instant::now();
        let _here = present::children(children)?;
        Ok::<_, Box<dyn std::error::Error>>(millis(begin.elapsed()))
    });
    times.into_iter().collect()
}
