//! One of the threads that use the pool, and know what may become of what they have submitted.

use std::time::Duration;

use sidestep::{JobError, Pool, as_completed};

use super::Table;
use super::jobs::{KINDS, behave, is_deadly, square};
use super::ledger::Ledger;
use super::random::Random;

/// What a job may end in: `Ok` with its result, or an error.
type Outcome = Result<Result<Vec<u8>, String>, JobError>;

pub(crate) fn one_thing(pool: &Pool, random: &mut Random, ledger: &Ledger, table: &Table) {
    match random.below(6) {
        0 => many(pool, random),
        1 => lazily(pool, random),
        _ => one_by_one(pool, random, ledger, table),
    }
}

fn many(pool: &Pool, random: &mut Random) {
    let count = random.below(3000);
    match pool.map(square, 0..count) {
        Ok(squares) => assert!(squares.into_iter().eq((0..count).map(|n| n * n))),
        Err(error) => assert!(is_killers_work(&error), "{error}"),
    }
}

fn lazily(pool: &Pool, random: &mut Random) {
    let take = random.below(500) as usize;
    for (n, outcome) in (0..).zip(pool.imap(square, 0..).take(take)) {
        match outcome {
            Ok(square) => assert_eq!(square, n * n),
            Err(error) => assert!(is_killers_work(&error), "{error}"),
        }
    }
}

fn one_by_one(pool: &Pool, random: &mut Random, ledger: &Ledger, table: &Table) {
    let retries = random.below(3) as u32;
    let jobs: Vec<_> = (0..1 + random.below(12))
        .map(|_| {
            let kind = if random.below(2) == 0 { "good" } else { random.pick(&KINDS) };
            let entry = ledger.entry(1 + retries);
            let args = (ledger.path(), entry, kind.to_owned());
            (pool.call(behave).retries(retries).apply_async(args), entry, kind)
        })
        .collect();
    let cancels: Vec<bool> = jobs.iter().map(|_| random.below(10) == 0).collect();
    let mut known = Vec::new();
    let mut handles = Vec::new();
    for ((handle, entry, kind), cancel) in jobs.into_iter().zip(cancels) {
        let cancelled = cancel && handle.cancel();
        known.push((handle.id(), entry, kind, cancelled));
        handles.push(handle);
    }
    for handle in as_completed(handles) {
        let (_, entry, kind, cancelled) =
            *known.iter().find(|(id, ..)| *id == handle.id()).expect("it is one of ours");
        let outcome = handle.get();
        check(kind, entry, cancelled, &outcome, ledger);
        *table.lock().expect("no thread has panicked").entry((kind, name(&outcome))).or_default() += 1;
    }
}

fn check(kind: &str, entry: u64, cancelled: bool, outcome: &Outcome, ledger: &Ledger) {
    let fine = match outcome {
        Ok(Ok(bytes)) => {
            assert!(bytes.starts_with(&entry.to_le_bytes()), "job {entry} has another's result");
            ledger.has_ended(entry) && !is_deadly(kind)
        }
        Ok(Err(text)) => kind == "err" && *text == entry.to_string(),
        Err(JobError::Panicked { .. }) => kind.starts_with("panic"),
        Err(JobError::Cancelled) => cancelled,
        // A machine that is busy enough makes any job too slow.
        Err(JobError::TimedOut { limit, .. }) => *limit == Duration::from_millis(150),
        // Two of them by the killer.
        Err(JobError::Poisoned { .. }) => true,
        Err(error @ JobError::WorkerLost { .. }) => is_deadly(kind) || is_killers_work(error),
        Err(_) => false,
    };
    assert!(fine, "job {entry} ({kind}, cancelled: {cancelled}): {outcome:?}");
}

/// Whether it is something that the killer can have done to any job.
fn is_killers_work(error: &JobError) -> bool {
    match error {
        JobError::WorkerLost { cause: sidestep::Cause::Signal(signal), .. } => [9, 15].contains(signal),
        JobError::TimedOut { .. } | JobError::Poisoned { .. } => true,
        _ => false,
    }
}

fn name(outcome: &Outcome) -> String {
    match outcome {
        Ok(Ok(_)) => "ok".into(),
        Ok(Err(_)) => "its own error".into(),
        Err(JobError::WorkerLost { cause, .. }) => format!("lost, {cause:?}"),
        Err(error) => {
            let debug = format!("{error:?}");
            debug.split([' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}
