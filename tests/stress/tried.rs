//! Jobs under a limit that are tried again. Each attempt has a ticket of its own, so that the log tells if one is made
//! twice, or one more than there may be.

use std::time::Duration;

use sidestep::{JobError, JobHandle, Pool};

use super::log::{Log, note};
use super::random::Random;
use super::watch::{block_on, step};

const LIMIT: Duration = Duration::from_millis(60);

/// Its attempt's ticket, be that a good end or a bad one.
type End = Result<u64, u64>;

/// Behaves otherwise in each attempt.
#[sidestep::job]
fn attempt(first: u64, seed: u64) -> End {
    let attempt = u64::from(sidestep::context().attempt()) - 1;
    let ticket = first + attempt;
    note('B', ticket);
    match (seed >> (attempt * 4)) % 16 {
        0 => panic!("on purpose"),
        1 => std::process::abort(),
        2 => std::thread::sleep(Duration::from_secs(1000)),
        3 => std::thread::sleep(LIMIT - Duration::from_millis(2)),
        4..6 => {
            note('E', ticket);
            return Err(ticket);
        }
        6..8 => std::thread::sleep(Duration::from_millis(2)),
        _ => {}
    }
    note('E', ticket);
    Ok(ticket)
}

/// One or many of them.
pub(crate) fn tried(pool: &Pool, log: &Log, random: &mut Random) {
    let retries = random.below(4) as u32;
    let call = || pool.call(attempt).timeout(LIMIT).retries(retries).retry_if(End::is_err);
    let items: Vec<(u64, u64)> = (0..1 + random.below(20))
        .map(|_| (log.tickets(u64::from(retries) + 1)[0], random.below(1 << 32)))
        .collect();
    if random.below(3) == 0 {
        step("map of what is tried again");
        return match call().starmap(items.iter().copied()) {
            Ok(ends) => items.iter().zip(ends).for_each(|(item, end)| check(log, item.0, retries, Ok(end))),
            Err(error) => assert!(is_expected(&error), "{error:?}"),
        };
    }
    let handles: Vec<_> = items.iter().map(|item| call().apply_async(*item)).collect();
    for ((first, _), handle) in items.iter().zip(handles) {
        if let Some(outcome) = see(handle, random) {
            check(log, *first, retries, outcome);
        }
    }
}

/// Waits for a job in one of many ways, or not.
fn see(mut handle: JobHandle<End>, random: &mut Random) -> Option<Result<End, JobError>> {
    match random.below(6) {
        0 => return None,
        1 => {
            step("cancel of what is tried again");
            let cancelled = handle.cancel();
            let outcome = handle.get();
            let over = matches!(outcome, Err(JobError::Cancelled | JobError::PoolClosed));
            assert!(!cancelled || over, "cancelled, and yet {outcome:?}");
            return Some(outcome);
        }
        2 => {
            step("await of what is tried again");
            return Some(block_on(handle));
        }
        3 => {
            step("look at what is tried again");
            while !handle.ready() {
                random.pause(1000);
            }
        }
        4 => {
            step("get_timeout of what is tried again");
            while handle.get_timeout(Duration::from_micros(random.below(3000))) == Err(JobError::StillRunning)
            {
            }
            return None;
        }
        _ => step("get of what is tried again"),
    }
    Some(handle.get())
}

fn check(log: &Log, first: u64, retries: u32, outcome: Result<End, JobError>) {
    let last = first + u64::from(retries);
    match outcome {
        Ok(Ok(ticket)) => {
            assert!((first..=last).contains(&ticket), "another job's result");
            log.ended(ticket, Ok(ticket));
        }
        // A pool that is terminated between an answer and the next attempt has no better one.
        Ok(Err(ticket)) => assert!((first..=last).contains(&ticket), "another job's result"),
        Err(error @ JobError::WorkerLost { attempts, .. }) => {
            assert_eq!(attempts, retries + 1, "it gave up too early");
            log.ended(last, Err(error));
        }
        Err(error) => assert!(is_expected(&error), "{error:?}"),
    }
}

fn is_expected(error: &JobError) -> bool {
    use JobError::{Cancelled, Panicked, Poisoned, PoolClosed, TimedOut, WorkerLost};
    matches!(
        error,
        Cancelled
            | PoolClosed
            | Panicked { .. }
            | Poisoned { .. }
            | TimedOut { limit: LIMIT, .. }
            | WorkerLost { .. }
    )
}
