//! Logs that are written and read back.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::read::read;
use super::testing::{ended, input};
use super::*;
use crate::cli::input::Input;

const SAME: Resume = Resume { skip: Skip::Logged, check: Check::Same };
const FAILED: Resume = Resume { skip: Skip::Succeeded, check: Check::Same };
const FORMATS: [&str; 2] = ["log", "log.jsonl"];

fn run() -> Run {
    Run::of("sh", b"")
}

fn command(input: &Input) -> Vec<u8> {
    [b"echo ", &input.text()[..]].concat()
}

/// Adds jobs to a log.
fn write(path: &Path, resume: Option<Resume>, jobs: &[(u64, &[u8], Status)]) {
    let (mut log, _) = JobLog::open(path, run(), resume).unwrap();
    for (seq, value, status) in jobs {
        let input = input(*seq, &[value]);
        log.ended(&ended(&input, &command(&input), *status)).unwrap();
    }
    log.close().unwrap();
}

fn open(path: &Path, resume: Resume) -> Result<Done, LogError> {
    JobLog::open(path, run(), Some(resume)).map(|(_, done)| done)
}

fn skips(done: &Done, seq: u64, value: &[u8]) -> bool {
    let input = input(seq, &[value]);
    done.decide(&input, &command(&input)).unwrap() == Decision::Skip
}

/// Of each format a new log.
fn logs() -> impl Iterator<Item = (TempDir, PathBuf)> {
    FORMATS.into_iter().map(|name| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        (folder, path)
    })
}

#[test]
fn jobs_of_a_log_are_skipped() {
    for (_folder, path) in logs() {
        write(&path, None, &[(1, b"a", Status::Ok), (3, b"c", Status::Failed { code: 1 })]);
        let done = open(&path, SAME).unwrap();
        let skipped =
            [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d")].map(|(seq, value)| skips(&done, seq, value));
        assert_eq!((skipped, done.len()), ([true, false, true, false], 2));
        let done = open(&path, FAILED).unwrap();
        assert_eq!((skips(&done, 1, b"a"), skips(&done, 3, b"c"), done.len()), (true, false, 1));
    }
}

#[test]
fn the_last_line_about_a_job_counts() {
    for (_folder, path) in logs() {
        let bad = Status::Crashed { signal: Some(11) };
        write(&path, None, &[(1, b"a", bad), (2, b"b", Status::Ok)]);
        write(&path, Some(FAILED), &[(1, b"a", Status::Ok), (2, b"b", bad)]);
        let done = open(&path, FAILED).unwrap();
        assert_eq!((skips(&done, 1, b"a"), skips(&done, 2, b"b")), (true, false));
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(lines, if path.extension().is_some() { 4 } else { 5 });
    }
}

#[test]
fn what_ended_with_its_run_runs_again() {
    for (_folder, path) in logs() {
        write(&path, None, &[(1, b"a", Status::Ended), (2, b"b", Status::TimedOut)]);
        let done = open(&path, SAME).unwrap();
        assert_eq!((skips(&done, 1, b"a"), skips(&done, 2, b"b")), (false, true));
    }
}

#[test]
fn an_attempt_that_is_not_the_last_is_not_in_the_log() {
    for (_folder, path) in logs() {
        let (mut log, _) = JobLog::open(&path, run(), None).unwrap();
        let input = input(1, &[b"a"]);
        let attempt = ended(&input, b"echo a", Status::Failed { code: 1 });
        log.ended(&Ended { again: true, ..attempt }).unwrap();
        log.close().unwrap();
        drop(log);
        assert_eq!(open(&path, SAME).unwrap().len(), 0);
    }
}

#[test]
fn another_run_is_refused() {
    for (_folder, path) in logs() {
        write(&path, None, &[(1, b"a", Status::Ok), (2, b"b", Status::Ok)]);
        let line = if path.extension().is_some() { 2 } else { 3 };
        for resume in [SAME, FAILED] {
            let done = open(&path, resume).unwrap();
            let other = input(2, &[b"x"]);
            assert_eq!(
                done.decide(&other, b"echo x").unwrap_err().to_string(),
                format!(
                    "joblog {} belongs to another run (line {line} is job 2, \"echo b\", which is \"echo x\" here); \
                     give another file, or --resume=seq to go by numbers alone",
                    path.display()
                )
            );
        }
        let done = open(&path, Resume { skip: Skip::Logged, check: Check::Number }).unwrap();
        assert_eq!(done.decide(&input(2, &[b"x"]), b"echo x").unwrap(), Decision::Skip);
    }
}

#[test]
fn json_notices_another_program_and_other_values() {
    let (_folder, path) = logs().last().unwrap();
    write(&path, None, &[(1, b"a", Status::Ok)]);
    let (_, other) = JobLog::open(&path, Run::of("sh", b"other"), Some(SAME)).unwrap();
    let error = other.decide(&input(1, &[b"a"]), b"echo a").unwrap_err().to_string();
    assert!(error.contains("another build of the program or with other inputs"), "{error}");
    let done = open(&path, SAME).unwrap();
    assert!(done.decide(&input(1, &[b"b"]), b"echo a").is_err());
}

#[test]
fn a_log_begins_anew_unless_a_run_goes_on() {
    for (_folder, path) in logs() {
        write(&path, None, &[(1, b"a", Status::Ok)]);
        let before = fs::read(&path).unwrap();
        write(&path, Some(SAME), &[]);
        assert_eq!(fs::read(&path).unwrap(), before);
        write(&path, None, &[]);
        let header = if path.extension().is_some() { &b""[..] } else { tsv::HEADER };
        assert_eq!(fs::read(&path).unwrap(), header);
    }
}

#[test]
fn a_log_that_is_not_there_yet_is_empty() {
    for (_folder, path) in logs() {
        assert_eq!(open(&path, SAME).unwrap().len(), 0);
        assert!(path.exists());
    }
}

#[test]
fn a_line_that_was_not_written_to_its_end_is_cut_off() {
    for (_folder, path) in logs() {
        write(&path, None, &[(1, b"a", Status::Ok), (2, b"b\nc", Status::Ok)]);
        let whole = fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let begun = whole[..len].iter().filter(|byte| **byte == b'\n').count() as u64;
            let header = u64::from(path.extension().is_none());
            assert_eq!(open(&path, SAME).unwrap().len(), begun.saturating_sub(header), "{len}");
            let kept = fs::read(&path).unwrap();
            assert!(whole.starts_with(&kept) && kept.last().is_none_or(|last| *last == b'\n'), "{len}");
        }
    }
}

#[test]
fn something_else_is_refused_and_left_as_it_is() {
    for (_folder, path) in logs() {
        for text in ["hello", "hello\nworld\n", "\n", "{\"seq\"=", "Seq\tHost\nx"] {
            fs::write(&path, text).unwrap();
            let error = open(&path, SAME).unwrap_err().to_string();
            assert!(error.contains("is no joblog (line 1 is "), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        write(&path, None, &[(1, b"a", Status::Ok)]);
        let text = fs::read_to_string(&path).unwrap() + "\x1bhello\n";
        fs::write(&path, &text).unwrap();
        let error = open(&path, SAME).unwrap_err().to_string();
        assert!(error.contains("is \"\\u{1b}hello\"); give another file"), "{error}");
    }
}

#[test]
fn one_run_at_a_time_writes_to_a_log() {
    for (_folder, path) in logs() {
        write(&path, None, &[(1, b"a", Status::Ok)]);
        let before = fs::read(&path).unwrap();
        let _open = JobLog::open(&path, run(), Some(SAME)).unwrap();
        for resume in [None, Some(SAME)] {
            let error = JobLog::open(&path, run(), resume).map(|_| ()).unwrap_err();
            assert!(matches!(error, LogError::Busy { .. }), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_log_that_cannot_be_written_is_named() {
    let error = |path: &str| JobLog::open(Path::new(path), run(), None).map(|_| ()).unwrap_err().to_string();
    assert!(error("/no/such/log").starts_with("cannot open the joblog /no/such/log: No such file"));
    assert!(error("/dev/full").starts_with("cannot write to the joblog /dev/full: No space left on device;"));
}

#[test]
fn a_device_can_be_a_log() {
    for resume in [None, Some(SAME)] {
        let (log, done) = JobLog::open(Path::new("/dev/null"), run(), resume).unwrap();
        let _another = JobLog::open(Path::new("/dev/null"), run(), resume).unwrap();
        assert_eq!(done.len(), 0);
        log.finish().unwrap();
    }
}

#[test]
fn numbers_may_have_gaps() {
    for (_folder, path) in logs() {
        let seqs = [1, 63, 64, 65, 1 << 40, u64::MAX - 1];
        write(&path, None, &seqs.map(|seq| (seq, &b"v"[..], Status::Ok)));
        let done = open(&path, SAME).unwrap();
        assert!(seqs.into_iter().all(|seq| skips(&done, seq, b"v")));
        assert!(!skips(&done, 2, b"v") && !skips(&done, 128, b"v") && done.len() == 6);
    }
}

fn statuses() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Ok),
        any::<i32>()
            .prop_filter("0 is no failure", |code| *code != 0)
            .prop_map(|code| Status::Failed { code }),
        (1..64).prop_map(|signal| Status::Killed { signal }),
        Just(Status::TimedOut),
    ]
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        jobs in prop::collection::vec((1..200u64, prop::collection::vec(any::<u8>(), 0..40), statuses()), 0..40)
    ) {
        for (_folder, path) in logs() {
            let given: Vec<_> = jobs.iter().map(|(seq, value, status)| (*seq, &value[..], *status)).collect();
            write(&path, None, &given);
            let (all, good) = (open(&path, SAME).unwrap(), open(&path, FAILED).unwrap());
            let last: std::collections::BTreeMap<_, _> = given.iter().map(|job| (job.0, job)).collect();
            for (seq, value, status) in last.values() {
                prop_assert!(skips(&all, *seq, value));
                prop_assert_eq!(skips(&good, *seq, value), *status == Status::Ok);
            }
            prop_assert_eq!(all.len(), last.len() as u64);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            Just(tsv::HEADER.to_vec()),
            Just(b"1\t:\t1.5\t 0.1\t0\t0\t0\t0\tx".to_vec()),
            Just(br#"{"seq":1,"status":"ok","key":"00000000000000000000000000000000","command":"x"}"#.to_vec()),
            Just(b"\n".to_vec()),
        ], 0..8)
    ) {
        let bytes = pieces.concat();
        for format in [Format::Tsv, Format::Json] {
            let mut entries = 0;
            if let Ok(whole) = read(&bytes[..], format, |_, _| entries += 1) {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                prop_assert!(bytes[whole as usize..].iter().all(|byte| *byte != b'\n'));
                prop_assert!(entries == lines || format == Format::Tsv && entries + 1 == lines);
            }
        }
    }
}
