//! Whether a job still costs the same when many wait, and when there are many workers.

use std::time::Instant;

use sidestep::Pool;

use super::alone::Alone;
use super::{millis, rate};
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::{add_one, meet};
use crate::meeting::Meeting;
use crate::processes::resident_kib;
use crate::row::Row;

/// What the argument itself takes.
const ARGUMENT: f64 = size_of::<i64>() as f64;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let plan = plan.at_most(3);
    let (few, many) = plan.size((10_000, 10_000_000), (1_000, 10_000));
    let figures = [
        Figure::less("memory of a queued job, beyond its argument", "bytes"),
        Figure::less("submitting a job that has to wait", "µs"),
        Figure::less("running a job that has waited", "µs"),
    ];
    let queued = Experiment::new(figures)
        .side(format!("Sidestep, {few} queued"), || Alone::Queue.in_a_copy(few))
        .side(format!("Sidestep, {many} queued"), || Alone::Queue.in_a_copy(many));
    let (some, crowd) = plan.size((16, 1_000), (2, 16));
    let jobs = plan.size(100_000, 1_000);
    let figures = [
        Figure::less("until every worker of a new pool is busy", "ms a worker"),
        Figure::less("a tiny job, submitted one by one", "µs"),
        Figure::less("the end of the pool", "ms a worker"),
    ];
    let workers = Experiment::new(figures)
        .side(format!("Sidestep, {some} workers"), || of(some, jobs))
        .side(format!("Sidestep, {crowd} workers"), || of(crowd, jobs));
    Ok([queued.run(&plan), workers.run(&plan)].concat())
}

/// Bytes of a queued job, and the microseconds of its submission and of its run.
pub(super) fn queue(jobs: usize) -> Outcome<Vec<f64>> {
    let pool = Pool::new(1)?;
    pool.map(add_one, 0..1_000)?;
    let meeting = Meeting::open()?;
    let _held = pool.apply_async(meet, (meeting.address(),));
    let guest = meeting.next()?;
    let (before, begin) = (resident_kib()?, Instant::now());
    for n in 0..jobs as i64 {
        // Without its handle it runs all the same.
        drop(pool.apply_async(add_one, (n,)));
    }
    let submitting = begin.elapsed();
    let bytes = resident_kib()?.saturating_sub(before) as f64 * 1024.0 / jobs as f64 - ARGUMENT;
    let begin = Instant::now();
    drop(guest);
    // Jobs of one worker run in the order of their submission.
    pool.apply(add_one, (0,))?;
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6 / jobs as f64;
    Ok(vec![bytes, micros(submitting), micros(begin.elapsed())])
}

fn of(workers: usize, jobs: usize) -> Outcome<Vec<f64>> {
    let meeting = Meeting::open()?;
    let begin = Instant::now();
    let pool = Pool::new(workers)?;
    let met: Vec<_> = (0..workers).map(|_| pool.apply_async(meet, (meeting.address(),))).collect();
    let guests = meeting.wait(workers)?;
    let start = millis(begin.elapsed()) / workers as f64;
    drop(guests);
    for job in met {
        job.get()??;
    }
    let rate = rate(jobs, || {
        let handles: Vec<_> = (0..jobs as i64).map(|n| pool.apply_async(add_one, (n,))).collect();
        handles.into_iter().try_for_each(|handle| {
            handle.get()?;
            Ok(())
        })
    })?;
    let begin = Instant::now();
    pool.close();
    pool.join()?;
    Ok(vec![start, 1e6 / rate, millis(begin.elapsed()) / workers as f64])
}
