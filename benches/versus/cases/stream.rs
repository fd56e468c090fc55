//! A source that is larger than memory: how quickly it streams through, what that takes, and how far it is read ahead.

use std::cell::Cell;
use std::time::Duration;

use serde_json::json;
use sidestep::Pool;

use super::alone::Alone;
use super::rate;
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::add_one;
use crate::limits::frames;
use crate::processes::{peak_kib, reset_peak, resident_kib};
use crate::python::Python;
use crate::row::Row;

const WORKERS: usize = 2;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let items = plan.size(10_000_000, 10_000);
    // What Python does in the same time.
    let fewer = items / 50;
    let figures = [
        Figure::more("items of an i64, 2 workers", "items/s").headline(),
        Figure::less("growth of the parent's peak memory", "MiB"),
    ];
    let rates = Experiment::new(figures)
        .side("Sidestep", || Alone::Stream.in_a_copy(items))
        .side("pipes, 256 frames a write", || Ok(vec![frames::rate(WORKERS, 256, items)?]))
        .side_with(format!("Python, {fewer} items"), Python::start(), |python| {
            python.ask("stream", json!([WORKERS, fewer]))
        });
    let pause = plan.size(Duration::from_secs(1), Duration::from_millis(50));
    let ahead =
        Experiment::new([Figure::less("read ahead of a caller that has taken one and pauses", "items")])
            .side("Sidestep", || read_ahead(pause))
            .side_with("Python", Python::start(), |python| {
                python.ask("read_ahead", json!([WORKERS, pause.as_secs_f64()]))
            });
    Ok([rates.run(&plan.at_most(3)), ahead.run(&plan.at_most(1))].concat())
}

/// Items a second, and the growth of the peak in MiB.
pub(super) fn streamed(items: usize) -> Outcome<Vec<f64>> {
    let pool = Pool::new(WORKERS)?;
    pool.map(add_one, 0..1_000)?;
    reset_peak()?;
    let before = resident_kib()?;
    let rate = rate(items, || {
        for result in pool.imap_unordered(add_one, 0..items as i64) {
            result?;
        }
        Ok(())
    })?;
    Ok(vec![rate, peak_kib()?.saturating_sub(before) as f64 / 1024.0])
}

fn read_ahead(pause: Duration) -> Outcome<Vec<f64>> {
    let pool = Pool::new(WORKERS)?;
    let pulled = Cell::new(0u32);
    let source = (0..).inspect(|_| pulled.set(pulled.get() + 1));
    let mut results = pool.imap_unordered(add_one, source);
    results.next().ok_or("an endless source gave nothing")??;
    std::thread::sleep(pause);
    Ok(vec![f64::from(pulled.get())])
}
