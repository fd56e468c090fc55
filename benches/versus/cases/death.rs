//! A worker that is killed while it runs a job: when does the caller know, and when is the pool what it was?

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sidestep::{JobHandle, Pool};

use super::millis;
use crate::Outcome;
use crate::experiment::{Experiment, Figure, Plan};
use crate::jobs::meet;
use crate::limits::present;
use crate::meeting::Meeting;
use crate::python::Python;
use crate::row::Row;

const WORKERS: usize = 2;

pub(super) fn run(plan: &Plan) -> Outcome<Vec<Row>> {
    let pool = Pool::new(WORKERS)?;
    let error = Experiment::new([Figure::less("the call's error", "ms")])
        .side("Sidestep", || error_after_kill(&pool))
        .side("kill and wait for a bare child", || {
            let child = present::children(1)?.remove(0);
            let begin = Instant::now();
            child.kill()?;
            Ok(vec![millis(begin.elapsed())])
        })
        .side_with("Python", Python::start(), |python| python.ask("error_after_kill", json!([WORKERS])));
    let whole = Experiment::new([Figure::less("as many workers as before", "ms").headline()])
        .side("Sidestep", || whole_after_kill(&pool))
        .side("kill a bare child, start another", || {
            let child = present::children(1)?.remove(0);
            let begin = Instant::now();
            child.kill()?;
            let _other = present::children(1)?;
            Ok(vec![millis(begin.elapsed())])
        })
        .side_with("Python", Python::start(), |python| python.ask("whole_after_kill", json!([WORKERS])));
    Ok([error.run(plan), whole.run(plan)].concat())
}

type Lost = JobHandle<Result<(), sidestep::Failure>>;

/// A job whose worker is killed: its handle, the killed process, and when that was.
fn killed(pool: &Pool) -> Outcome<(Lost, u32, Instant)> {
    let meeting = Meeting::open()?;
    let handle = pool.apply_async(meet, (meeting.address(),));
    let guest = meeting.next()?;
    let pid = i32::try_from(guest.pid).ok().and_then(Pid::from_raw).ok_or("a job's process has no number")?;
    let begin = Instant::now();
    kill_process(pid, Signal::KILL)?;
    Ok((handle, guest.pid, begin))
}

fn error_after_kill(pool: &Pool) -> Outcome<Vec<f64>> {
    let (handle, _, begin) = killed(pool)?;
    match handle.get() {
        Err(_) => Ok(vec![millis(begin.elapsed())]),
        Ok(_) => Err("the killed job has a result".into()),
    }
}

fn whole_after_kill(pool: &Pool) -> Outcome<Vec<f64>> {
    let (_handle, pid, begin) = killed(pool)?;
    loop {
        let pids = pool.pids();
        if pids.len() == WORKERS && !pids.contains(&pid) {
            return Ok(vec![millis(begin.elapsed())]);
        }
        // Whoever looks all the time keeps the pool from its work.
        std::thread::sleep(Duration::from_micros(100));
    }
}
