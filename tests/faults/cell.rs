//! One fault at one moment: the victim, a witness beside it, and what must hold afterwards.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::time::Duration;

use nix::sys::signal::Signal;
use sidestep::faults::{Fault, Moment, Trap, trap};
use sidestep::{JobError, JobHandle, Pool};

use crate::scenario::jobs::{hold, square};
use crate::scenario::{
    self, Gate, all_up, assert_all_over, assert_usable, eventually, promptly, send, state_of,
};
use crate::table::{Expected, Fate, Outcome, RETRIES, Row, Terms, is_in_job};

/// Notes that it has run.
#[sidestep::job]
fn note(ticket: u64) -> u64 {
    let log = fs::OpenOptions::new().append(true).create(true).open(scenario::dir().join("notes"));
    log.unwrap().write_all(format!("{ticket}\n").as_bytes()).unwrap();
    ticket
}

const BEFORE: Range<u64> = 0..10;
const AFTER: Range<u64> = 10..30;

/// A pool of two: one worker is to be struck, a job of the other's is to notice nothing.
struct Cell {
    pool: Pool,
    gate: Gate,
    /// A job that is under way all the time, and its worker.
    beside: (JobHandle<u32>, u32),
    victim: u32,
}

pub(crate) fn check(when: Moment, row: &Row, terms: Terms) {
    let cell = Cell::new();
    let pool = &cell.pool;
    assert_eq!(pool.map(note, BEFORE).unwrap(), BEFORE.collect::<Vec<_>>());
    let trap = match terms {
        Terms::Flaky => Trap::new(when, row.how).in_first(1),
        _ => Trap::new(when, row.how),
    };
    let struck = cell.call(trap.clone(), row, terms);
    if is_in_job(when) {
        let behind: Vec<_> = AFTER.map(|ticket| pool.apply_async(note, (ticket,))).collect();
        cell.ends(struck, row, terms);
        for (ticket, handle) in AFTER.zip(behind) {
            assert_eq!(handle.get(), Ok(ticket));
        }
    } else {
        cell.outlived_by(struck, trap, row);
        assert_eq!(pool.map(note, AFTER).unwrap(), AFTER.collect::<Vec<_>>());
    }
    assert_each_ran_once();
    cell.finish();
}

impl Cell {
    fn new() -> Cell {
        let moment = Duration::from_millis(1);
        let pool = Pool::builder().workers(2).retry_delay(moment, moment).grace(moment).build().unwrap();
        let gate = Gate::new("gate");
        let holds = pool.apply_async(hold, (gate.arg(),));
        let worker = gate.wait_for(1)[0];
        let victim = pool.pids().into_iter().find(|pid| *pid != worker).unwrap();
        Cell { pool, gate, beside: (holds, worker), victim }
    }

    fn call(&self, struck: Trap, row: &Row, terms: Terms) -> JobHandle<Trap> {
        // Tight only where it is to be reached.
        let limit = if row.hangs() { Duration::from_millis(100) } else { Duration::from_secs(20) };
        let call = self.pool.call(trap);
        let call = match terms {
            Terms::Once => call,
            Terms::Limited => call.timeout(limit),
            Terms::Retried | Terms::Flaky => call.timeout(limit).retries(RETRIES),
        };
        call.apply_async((struck,))
    }

    /// The job that is struck pays for it, and nobody else.
    fn ends(&self, struck: JobHandle<Trap>, row: &Row, terms: Terms) {
        eventually("the trap strikes", || has_struck(row.how));
        let Expected { outcome, restarts, retried } = row.under(terms);
        if outcome == Outcome::Cancelled {
            assert!(!struck.ready());
            assert!(struck.cancel());
        }
        let result = struck.get();
        assert_eq!(Outcome::of(&result), outcome);
        if let Err(JobError::WorkerLost { pid, stderr_tail, .. }) = result {
            assert_eq!(pid, Some(self.victim));
            assert!(stderr_tail.contains("injecting"), "{stderr_tail}");
        }
        let lives = row.outcome == Outcome::Panicked;
        eventually("it is replaced", || self.has_victim() == lives);
        self.assert_counts(restarts, retried, (outcome != Outcome::Value).into());
    }

    /// The job has its result, whatever becomes of its worker.
    fn outlived_by(&self, struck: JobHandle<Trap>, trap: Trap, row: &Row) {
        match row.fate {
            Fate::Stopped => {
                // If it was stopped before it has written what it has committed, that comes now.
                eventually("it is stopped", || state_of(self.victim) == Some('T'));
                send(self.victim, Signal::SIGCONT);
            }
            _ => eventually("the trap strikes", || has_struck(row.how)),
        }
        assert_eq!(promptly("its end", || struck.get()), Ok(trap));
        match row.fate {
            Fate::Dies => {
                eventually("it is replaced", || !self.has_victim());
                self.assert_counts(1, 0, 0);
            }
            Fate::Lives | Fate::Stopped => {
                assert_usable(&self.pool);
                assert!(self.has_victim());
                self.assert_counts(0, 0, 0);
            }
            Fate::Deaf => {
                let next = promptly("the next job", || self.pool.apply(square, (3,)));
                assert!(matches!(next, Ok(9) | Err(JobError::Protocol { .. })), "{next:?}");
                eventually("it is replaced", || !self.has_victim());
                self.assert_counts(1, 0, next.is_err().into());
            }
        }
    }

    fn has_victim(&self) -> bool {
        self.pool.pids().contains(&self.victim)
    }

    fn assert_counts(&self, restarts: u64, retried: u64, without_result: u64) {
        let stats = self.pool.stats();
        scenario::assert_conserves(&stats);
        let counted = (stats.restarts, stats.retried, stats.failed + stats.cancelled);
        assert_eq!(counted, (restarts, retried, without_result), "{stats:?}");
    }

    /// The pool serves with all its workers, the witness has noticed nothing, and the pool ends in good order.
    fn finish(self) {
        assert_usable(&self.pool);
        let (holds, worker) = self.beside;
        assert!(!holds.ready());
        self.gate.open();
        assert_eq!(holds.get(), Ok(worker));
        assert_eq!(all_up(&self.pool, 2).len(), 2);
        self.pool.close();
        promptly("join", || self.pool.join()).unwrap();
        assert_all_over(&self.pool.stats());
    }
}

/// What the trap has said on stderr has come through.
fn has_struck(how: Fault) -> bool {
    let said = format!("sidestep: injecting {how:?}");
    fs::read_to_string(scenario::dir().join("log")).unwrap().contains(&said)
}

fn assert_each_ran_once() {
    let notes = fs::read_to_string(scenario::dir().join("notes")).unwrap();
    let mut ran: Vec<u64> = notes.lines().map(|line| line.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (BEFORE.start..AFTER.end).collect::<Vec<_>>());
}
