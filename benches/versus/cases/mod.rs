//! What is compared: a file for each case.

mod alone;
#[cfg(feature = "cli")]
mod command;
mod compute;
mod death;
mod echo;
mod map;
mod memory;
mod round_trip;
mod scale;
mod start;
mod stream;
mod submit;

pub(crate) use alone::measure;

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
    Case { name: "E", title: "a new pool", run: start::run },
    Case { name: "F", title: "two workers that compute", run: compute::run },
    Case { name: "G", title: "memory of an idle worker that has worked", run: memory::run },
    Case { name: "H", title: "after SIGKILL of a busy worker", run: death::run },
    Case { name: "I", title: "imap_unordered over a lazy source", run: stream::run },
    Case { name: "S", title: "many queued jobs, many workers", run: scale::run },
    #[cfg(feature = "cli")]
    Case { name: "J", title: "the command", run: command::run },
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

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How many a second.
fn rate(count: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    Ok(count as f64 / took(work)?.as_secs_f64())
}
