//! One call after another, each waited for.

use std::time::{Duration, Instant};

use serde_json::json;
use sidestep::Pool;

use super::{threads, took};
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::add_one;
use crate::limits::echo::{Echo, Waits};
use crate::limits::{Copy, Role};
use crate::processes::processor_time;
use crate::python::Python;
use crate::row::Row;

/// What a pipe carries for one call at least.
const BYTES: usize = 8;

pub(super) fn alone(plan: &Plan) -> Outcome<Vec<Row>> {
    let calls = plan.size(10_000, 200);
    let pool = Pool::new(1)?;
    let thread = threads(1)?;
    let [p50, p99] = figures("1 worker");
    let experiment = Experiment::new([p50.headline(), p99])
        .side("Sidestep", || latency(calls, || call(&pool)))
        .side("pipe, both sides poll", || pipe(calls, Waits::Polling, Waits::Polling))
        .side("pipe, the parent polls", || pipe(calls, Waits::Polling, Waits::Asleep))
        .side("pipe, both sides sleep", || pipe(calls, Waits::Asleep, Waits::Asleep))
        .side("rayon, install", || {
            latency(calls, || {
                std::hint::black_box(thread.install(|| add_one(std::hint::black_box(1))));
                Ok(())
            })
        })
        .side_with("Python", Python::start(), |python| python.ask("round_trip", json!([1, calls])));
    Ok(experiment.run(plan))
}

pub(super) fn among_busy(plan: &Plan) -> Outcome<Vec<Row>> {
    let calls = plan.size(1_000, 50);
    let pool = Pool::new(1)?;
    let processors = std::thread::available_parallelism()?.get();
    let _busy = (0..processors).map(|_| Copy::start(Role::Burn)).collect::<Outcome<Vec<_>>>()?;
    let experiment = Experiment::new(figures("1 worker"))
        .side("Sidestep", || latency(calls, || call(&pool)))
        .side("pipe, both sides sleep", || pipe(calls, Waits::Asleep, Waits::Asleep))
        .side_with("Python", Python::start(), |python| python.ask("round_trip", json!([1, calls])));
    Ok(experiment.run(plan))
}

pub(super) fn of_many(plan: &Plan) -> Outcome<Vec<Row>> {
    let calls = plan.size(10_000, 200);
    let pool = Pool::new(16)?;
    let experiment = Experiment::new(figures("16 workers"))
        .side("Sidestep", || latency(calls, || call(&pool)))
        .side("pipe, both sides sleep", || pipe(calls, Waits::Asleep, Waits::Asleep))
        .side_with("Python", Python::start(), |python| python.ask("round_trip", json!([16, calls])));
    let mut rows = experiment.run(plan);
    let rest = plan.size(Duration::from_secs(3), Duration::from_millis(200));
    let idle = Figure::less("processor time of 16 idle workers and their parent", "µs a second");
    rows.extend(Experiment::new([idle]).side("Sidestep", || idle_time(&pool, rest)).run(&plan.at_most(1)));
    Ok(rows)
}

fn figures(of: &str) -> [Figure; 2] {
    ["p50", "p99"].map(|quantile| Figure::less(format!("{quantile}, {of}"), "µs"))
}

fn call(pool: &Pool) -> Outcome<()> {
    pool.apply(add_one, (1,))?;
    Ok(())
}

fn pipe(calls: usize, parent: Waits, child: Waits) -> Outcome<Vec<f64>> {
    let mut echo = Echo::start(BYTES, parent, child)?;
    latency(calls, || echo.trip())
}

/// Microseconds: half of the calls take no longer, 99 in 100.
fn latency(calls: usize, mut call: impl FnMut() -> Outcome<()>) -> Outcome<Vec<f64>> {
    for _ in 0..100 {
        call()?;
    }
    let mut times = (0..calls).map(|_| took(&mut call)).collect::<Outcome<Vec<Duration>>>()?;
    times.sort();
    Ok([times[calls / 2], times[calls * 99 / 100]].map(|time| time.as_secs_f64() * 1e6).to_vec())
}

/// What a pool takes of the processors while it has nothing to do.
fn idle_time(pool: &Pool, rest: Duration) -> Outcome<Vec<f64>> {
    let mut pids = pool.pids();
    pids.push(std::process::id());
    let total = || pids.iter().map(|pid| processor_time(*pid)).sum::<Outcome<Duration>>();
    // The last call's reader stays awake for a moment.
    std::thread::sleep(Duration::from_millis(50));
    let (before, begin) = (total()?, Instant::now());
    std::thread::sleep(rest);
    let seconds = begin.elapsed().as_secs_f64();
    Ok(vec![(total()? - before).as_secs_f64() * 1e6 / seconds])
}
