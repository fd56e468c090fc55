//! What a worker costs while it has nothing to do.

use serde_json::json;
use sidestep::Pool;

use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::meet;
use crate::limits::{Copy, present};
use crate::meeting::Meeting;
use crate::processes::Memory;
use crate::python::Python;
use crate::row::Row;

const WORKERS: usize = 16;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let figures = [
        Figure::less("private memory, mean of 16", "KiB").headline(),
        Figure::less("proportional set size, mean of 16", "KiB"),
    ];
    let experiment = Experiment::new(figures)
        .side("Sidestep", workers)
        .side("an idle child that waits in a read", || {
            let children = present::children(WORKERS)?;
            mean(&children.iter().map(Copy::pid).collect::<Vec<_>>())
        })
        .side_with("Python", Python::start(), |python| python.ask("memory", json!([WORKERS])));
    Ok(experiment.run(&plan.at_most(3)))
}

/// Each of them has run a job.
fn workers() -> Outcome<Vec<f64>> {
    let pool = Pool::new(WORKERS)?;
    let meeting = Meeting::open()?;
    let jobs: Vec<_> = (0..WORKERS).map(|_| pool.apply_async(meet, (meeting.address(),))).collect();
    drop(meeting.wait(WORKERS)?);
    for job in jobs {
        job.get()??;
    }
    mean(&pool.pids())
}

fn mean(pids: &[u32]) -> Outcome<Vec<f64>> {
    let all = pids.iter().map(|pid| Memory::of(*pid)).collect::<Outcome<Vec<_>>>()?;
    let mean = |part: fn(&Memory) -> u64| all.iter().map(part).sum::<u64>() as f64 / all.len() as f64;
    Ok(vec![mean(|memory| memory.private), mean(|memory| memory.proportional)])
}
