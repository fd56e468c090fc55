//! What is compared: a file for each case.

mod echo;
mod map;
mod round_trip;
mod submit;

use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Outcome;
use crate::experiment::Plan;
use crate::row::Row;

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Plan) -> Outcome<Vec<Row>>,
}

pub(crate) const ALL: &[Case] = &[
    Case { name: "A", title: "one tiny call there and back", run: round_trip::alone },
    Case {
        name: "A-busy",
        title: "one tiny call while all processors are busy",
        run: round_trip::among_busy,
    },
    Case {
        name: "A-16",
        title: "one tiny call to a pool of 16, and that pool at rest",
        run: round_trip::of_many,
    },
    Case { name: "B", title: "tiny jobs submitted one by one", run: submit::run },
    Case { name: "C", title: "map", run: map::run },
    Case { name: "D", title: "a block of bytes there and back", run: echo::run },
];

/// With as many threads as a pool has workers.
fn threads(threads: usize) -> Outcome<ThreadPool> {
    Ok(ThreadPoolBuilder::new().num_threads(threads).build()?)
}

fn took(work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed())
}

/// How many a second.
fn rate(count: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    Ok(count as f64 / took(work)?.as_secs_f64())
}
