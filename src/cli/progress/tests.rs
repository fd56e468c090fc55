//! What the tests of the display share, and those of its handle.

use std::time::{Duration, SystemTime};

use super::running::Job;
use super::snapshot::Snapshot;
use super::{Display, Progress, Setup, Talk, Totals};
use crate::cli::event::{Ended, Started, Status, Watcher};
use crate::cli::input::Input;

fn input(number: u64) -> Input {
    Input { number, values: vec![b"a.jpg".to_vec()], ..Input::default() }
}

/// Passes on that a job begins, some seconds ago.
pub(crate) fn started<R>(number: u64, slot: usize, age: u64, tell: impl FnOnce(&Started<'_>) -> R) -> R {
    let at = SystemTime::now() - Duration::from_secs(age);
    tell(&Started { input: &input(number), slot, pid: None, at })
}

/// Passes on that a job has ended, in the first place.
pub(crate) fn ended<R>(number: u64, status: Status, millis: u64, tell: impl FnOnce(&Ended<'_>) -> R) -> R {
    tell(&Ended {
        input: &input(number),
        command: b"",
        status,
        began: SystemTime::now(),
        took: Duration::from_millis(millis),
        attempt: 1,
        again: false,
        slot: Some(0),
        pid: None,
        usage: None,
        sent: 0,
        received: 0,
        stdout: b"",
        stderr: b"",
        error: None,
        details: "",
        args: None,
        worker: None,
    })
}

/// A run that has come some way.
pub(super) fn snapshot() -> Snapshot {
    let job = |seq, slot, pid, millis, input: &str| Job {
        seq,
        slot,
        pid,
        age: Duration::from_millis(millis),
        input: input.into(),
    };
    Snapshot {
        done: 412,
        failed: 1,
        total: Some(1000),
        elapsed: Duration::from_millis(10_800),
        rate: 38.2,
        eta: Some(Duration::from_secs_f64(588.0 / 38.2)),
        running: vec![job(413, 1, Some(31842), 3400, "a.jpg"), job(415, 2, None, 700, "\"b c\"")],
        more: 0,
    }
}

fn display(talk: Talk) -> Display {
    Display::new(Setup { progress: Progress::None, talk, typed: false })
}

fn running(display: &Display) -> Vec<u64> {
    display.0.running.oldest(usize::MAX, Duration::ZERO).0.iter().map(|job| job.seq).collect()
}

#[test]
fn a_job_runs_from_its_beginning_to_its_end() {
    let display = display(Talk::Normal);
    let mut reporter = display.reporter();
    started(4, 0, 0, |job| reporter.started(job));
    started(7, 1, 0, |job| reporter.started(job));
    assert_eq!(running(&display).len(), 2);
    ended(4, Status::Ok, 1, |job| reporter.ended(job)).unwrap();
    assert_eq!(running(&display), [8]);
    assert_eq!(display.0.counts.sums().ok, 1);
}

#[test]
fn the_end_of_a_job_whose_beginning_was_not_told_harms_no_other() {
    let display = display(Talk::Normal);
    let mut reporter = display.reporter();
    ended(3, Status::Ok, 1, |job| reporter.ended(job)).unwrap();
    started(4, 0, 0, |job| reporter.started(job));
    assert_eq!(running(&display), [5]);
}

#[test]
fn an_attempt_that_is_not_the_last_is_not_counted() {
    let display = display(Talk::Normal);
    let mut reporter = display.reporter();
    started(4, 0, 0, |job| reporter.started(job));
    let status = Status::Failed { code: 1 };
    ended(4, status, 1, |job| reporter.ended(&Ended { again: true, ..*job })).unwrap();
    assert_eq!((running(&display), display.0.counts.sums().done()), (vec![], 0));
}

#[test]
fn a_summary_says_as_much_as_is_wanted() {
    let lines = |talk, status| {
        let display = display(talk);
        ended(0, Status::Ok, 1, |job| display.reporter().ended(job)).unwrap();
        ended(1, status, 5, |job| display.reporter().ended(job)).unwrap();
        display.summary(Totals::default())
    };
    let bad = Status::Crashed { signal: Some(11) };
    assert!(lines(Talk::Quiet, bad).is_empty() && lines(Talk::Normal, Status::Ok).is_empty());
    assert_eq!(lines(Talk::Normal, bad), ["1 of 2 jobs failed"]);
    let verbose = lines(Talk::Verbose, Status::Ok);
    assert!(verbose.len() == 2 && verbose[0].ends_with(": 2 ok"), "{verbose:?}");
    assert!(verbose[1].contains(", max 5.0 ms; processor "), "{verbose:?}");
}

#[test]
fn after_a_pause_a_display_is_as_before() {
    let display = display(Talk::Normal);
    let shown = || display.0.lock().is_shown();
    assert!(!shown());
    display.pause();
    display.resume();
    assert!(!shown());
    display.0.lock().toggle();
    assert!(shown());
    display.pause();
    display.0.lock().toggle();
    assert!(!shown());
    display.0.lock().resume();
    assert!(shown());
    display.close();
    display.0.lock().resume();
    display.0.lock().toggle();
    assert!(!shown());
}

#[test]
fn what_an_earlier_run_has_done_is_not_waited_for() {
    let display = display(Talk::Normal);
    display.expect(3);
    let mut reporter = display.reporter();
    reporter.left_out();
    assert_eq!(display.0.total(), Some(2));
}
