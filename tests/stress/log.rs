//! What jobs have done, as their workers have seen it, and what their callers were told.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sidestep::JobError;

/// On the worker's side: one line, written at once.
pub(crate) fn note(what: char, ticket: u64) {
    let line = format!("{what} {ticket} {}\n", std::process::id());
    let file = OpenOptions::new().append(true).create(true).open(crate::scenario::dir().join("jobs"));
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

/// On the callers' side.
#[derive(Default)]
pub(crate) struct Log {
    next: AtomicU64,
    outcomes: Mutex<HashMap<u64, Result<u64, JobError>>>,
}

impl Log {
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets(1)[0]
    }

    /// So many in a row: other threads take theirs meanwhile, and an attempt's ticket is counted from the first one's.
    pub(crate) fn tickets(&self, count: u64) -> Vec<u64> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        (first..first + count).collect()
    }

    /// A job's handle has told how it ended.
    pub(crate) fn ended(&self, ticket: u64, outcome: Result<u64, JobError>) {
        match &outcome {
            Ok(value) => assert_eq!(*value, ticket, "another job's result"),
            Err(JobError::WorkerLost { pid: Some(_), .. } | JobError::Cancelled | JobError::PoolClosed) => {}
            Err(error) => panic!("ticket {ticket}: {error:?}"),
        }
        let before = self.outcomes.lock().unwrap().insert(ticket, outcome);
        assert_eq!(before, None, "ticket {ticket} has ended twice");
    }

    /// A whole `map` has ended with the error of one of its items.
    pub(crate) fn one_of_many(&self, tickets: &[u64], error: &JobError) {
        assert!(
            matches!(
                error,
                JobError::WorkerLost { pid: Some(_), .. } | JobError::Cancelled | JobError::PoolClosed
            ),
            "one of {tickets:?}: {error:?}"
        );
    }

    /// Compares both sides.
    pub(crate) fn check(&self) {
        let text = std::fs::read_to_string(crate::scenario::dir().join("jobs")).unwrap_or_default();
        let (mut begun, mut ended) = (HashMap::new(), HashMap::new());
        for line in text.lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            let (ticket, pid): (u64, u32) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
            let side = if parts[0] == "B" { &mut begun } else { &mut ended };
            assert_eq!(side.insert(ticket, pid), None, "{line}: the second time");
        }
        let outcomes = self.outcomes.lock().unwrap();
        let (mut lost, mut unseen) = (0, 0);
        for (ticket, outcome) in outcomes.iter() {
            match outcome {
                Ok(_) => assert!(ended.contains_key(ticket), "{ticket} is done and has not run"),
                Err(JobError::WorkerLost { pid, .. }) => {
                    lost += 1;
                    match begun.get(ticket) {
                        Some(begun) => assert_eq!(Some(*begun), *pid, "{ticket} is charged to another"),
                        // It was killed between its note in the page and the one in the file.
                        None => unseen += 1,
                    }
                }
                Err(_) => {}
            }
        }
        println!("{} jobs, {} begun, {lost} lost, {unseen} of them unseen", outcomes.len(), begun.len());
        assert!(unseen <= 5 + lost / 4, "{unseen} of {lost} lost jobs were not seen to run");
    }
}
