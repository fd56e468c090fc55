//! A pool's state at one moment.

use std::time::{Duration, Instant};

use sidestep_worker::frame::duration_of;

use crate::engine::Engine;
use crate::engine::scheduler::{State, WorkerView};
use crate::process::Gauge;

/// A consistent snapshot of a pool; see [`Pool::stats`](crate::Pool::stats).
///
/// It conserves: `submitted = done + failed + cancelled + queued + running`. In `map` and its kind each item counts
/// as a job, from when it is pulled.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs submitted so far.
    pub submitted: u64,
    /// Jobs that wait, those included that were sent to a worker which has not begun them.
    pub queued: u64,
    /// Jobs that run, one for each worker at most.
    pub running: u64,
    /// Jobs that returned a value; a job's own `Err` is a value.
    pub done: u64,
    /// Jobs that ended in a [`JobError`](crate::JobError) other than `Cancelled`.
    pub failed: u64,
    /// Jobs that were cancelled or withdrawn.
    pub cancelled: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Of those that failed: they ran into their time limit.
    pub timed_out: u64,
    /// Of those that failed: their worker had more memory than its limit.
    pub over_memory: u64,
    /// Of those that failed: they used more processor time than their limit.
    pub over_cpu: u64,
    /// Of those that failed: they had killed too many workers to be tried again.
    pub poisoned: u64,
    /// Workers that were replaced because they had died.
    pub restarts: u64,
    /// Workers that were replaced because they had served long enough:
    /// [`max_jobs_per_worker`](crate::Builder::max_jobs_per_worker), [`max_age`](crate::Builder::max_age).
    pub retired: u64,
    /// The workers, in slot order.
    pub workers: Vec<WorkerStats>,
    /// What jobs have taken in their workers.
    pub latency: Quantiles,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its place in the pool.
    pub slot: usize,
    /// Its process, if it has one at the moment.
    pub pid: Option<u32>,
    /// What it does.
    pub state: WorkerState,
    /// The id of the job that it runs, as far as the parent knows.
    pub job: Option<u64>,
    /// For how long that job, or the one before it, has been under way.
    pub busy: Option<Duration>,
    /// Jobs that this process has ended.
    pub done: u64,
    /// Its resident memory in bytes, where the system tells.
    pub memory: Option<u64>,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It is not there: it was not needed, or its next start has to wait.
    Absent,
    /// It has not said yet that it is ready.
    Starting,
    /// It waits for a job.
    Idle,
    /// It runs one.
    Busy,
    /// It is about to end.
    Leaving,
}

/// How long jobs took: right to within 20 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quantiles {
    /// Half of the jobs took no longer.
    pub p50: Duration,
    /// Nine in ten.
    pub p90: Duration,
    /// Ninety-nine in a hundred.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Quantiles {
    fn of(durations: &[u64; 256]) -> Quantiles {
        let total: u64 = durations.iter().sum();
        let at = |share: f64| {
            let rank = (total as f64 * share).ceil().max(1.0) as u64;
            let mut seen = 0;
            let code = durations.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            Duration::from_nanos(code.map_or(0, |code| duration_of(code as u8)))
        };
        if total == 0 {
            return Quantiles::default();
        }
        Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

pub(super) fn stats(engine: &Engine) -> Stats {
    let now = Instant::now();
    let (counts, workers, durations) = engine.snapshot();
    Stats {
        submitted: counts.submitted,
        queued: counts.queued,
        running: counts.running,
        done: counts.done,
        failed: counts.failed,
        cancelled: counts.cancelled,
        retried: counts.retried,
        timed_out: counts.timed_out,
        over_memory: counts.over_memory,
        over_cpu: counts.over_cpu,
        poisoned: counts.poisoned,
        restarts: counts.restarts,
        retired: counts.retired,
        workers: workers.into_iter().map(|view| worker(view, now)).collect(),
        latency: Quantiles::of(&durations),
    }
}

fn worker(view: WorkerView, now: Instant) -> WorkerStats {
    let state = match view.state {
        State::Vacant | State::Pausing(_) => WorkerState::Absent,
        State::Spawning | State::Starting => WorkerState::Starting,
        State::Ready if view.current.is_none() => WorkerState::Idle,
        State::Ready => WorkerState::Busy,
        State::Leaving => WorkerState::Leaving,
    };
    WorkerStats {
        slot: view.slot,
        pid: view.pid,
        state,
        job: view.current,
        busy: view.current.map(|_| now.saturating_duration_since(view.progress)),
        done: view.done,
        memory: view.pid.and_then(|pid| Some(Gauge::open(pid).ok()?.read()?.memory)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidestep_worker::frame::duration_code;

    #[test]
    fn quantiles_of_a_known_distribution() {
        let mut durations = [0; 256];
        for millis in 1..=100u64 {
            durations[usize::from(duration_code(millis * 1_000_000))] += 1;
        }
        let quantiles = Quantiles::of(&durations);
        for (found, wanted) in [(quantiles.p50, 50.0), (quantiles.p90, 90.0), (quantiles.p99, 99.0)] {
            let found = found.as_secs_f64() * 1000.0;
            assert!((found / wanted - 1.0).abs() < 0.2, "{found} for {wanted}");
        }
        assert_eq!(Quantiles::of(&[0; 256]), Quantiles::default());
    }
}
