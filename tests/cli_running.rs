//! When jobs of `pool-run` begin, how long they may take, how often they are tried, and when a run ends early. What GNU
//! parallel can do too is in `parity`.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;

/// Standard output, standard error and exit code of a program, in a folder of its own.
fn run(program: &Path, args: &[&str]) -> (String, String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), program, args)
}

fn run_in(folder: &Path, program: &Path, args: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn pool_run(args: &[&str]) -> (String, String, Option<i32>) {
    run(cargo_bin!("pool-run"), args)
}

#[test]
fn an_end_at_once_ends_what_runs() {
    let begin = Instant::now();
    let line = "echo {}; test {} = a && exit 5; exec sleep 100";
    let (out, err, code) = pool_run(&["-w2", "--halt", "now,fail=1", "sh", line, ":::", "b", "a", "c"]);
    assert!(begin.elapsed() < Duration::from_secs(50));
    assert_eq!((out.as_str(), code), ("a\n", Some(5)), "{err}");
    assert!(err.contains("halted: 0 ok, 1 failed, 2 not run"), "{err}");
}

#[test]
fn a_soft_end_lets_what_runs_end() {
    let folder = tempfile::tempdir().unwrap();
    // The second one ends once the first one's failure is known.
    let line = "test {} = a && exit 4; until grep -q 'exit 4' log; do sleep 0.01; done; echo {}";
    let args = ["-w2", "--joblog", "log", "--halt", "soon,fail=1", "sh", line, ":::", "a", "b", "c", "d"];
    let (out, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
    assert_eq!((out.as_str(), code), ("b\n", Some(4)), "{err}");
    assert!(err.contains("halted: 1 ok, 1 failed, 2 not run"), "{err}");
}

#[test]
fn a_limit_may_be_a_share_of_the_median() {
    let begin = Instant::now();
    let inputs = ["0.1", "0.1", "0.1", "0.1", "100", "0.1"];
    let args = [&["-w1", "--timeout", "500%", "sh", "sleep {}; echo {}", ":::"][..], &inputs].concat();
    let (out, err, code) = pool_run(&args);
    assert!(begin.elapsed() < Duration::from_secs(50));
    assert_eq!((out.as_str(), code), ("0.1\n0.1\n0.1\n0.1\n0.1\n", Some(1)), "{err}");
    assert!(err.contains("sh failed on 100 (input 5): it was ended after"), "{err}");
}

#[test]
fn a_program_may_end_in_good_order() {
    let line = "trap 'echo bye; exit 7' TERM; echo hello; while :; do sleep 0.01; done #";
    let (out, err, code) =
        pool_run(&["-w1", "--timeout", "200ms", "--term-seq", "TERM,30s,KILL", "sh", line, ":::", "a"]);
    assert_eq!((out.as_str(), code), ("hello\nbye\n", Some(1)), "{err}");
    assert!(err.contains("it was ended after"), "{err}");
}

#[test]
fn a_worker_that_dies_is_no_failure_of_the_job() {
    let kill_worker = "echo x >> tried; kill -9 $PPID; sleep 100 #";
    let tries = |options: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let args = [options, &["sh", kill_worker, ":::", "a"]].concat();
        let (_, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
        assert_eq!(code, Some(1), "{err}");
        (fs::read_to_string(folder.path().join("tried")).unwrap().lines().count(), err)
    };
    assert_eq!(tries(&["--retries", "5"]).0, 1);
    assert_eq!(tries(&["--crash-retries", "1"]).0, 2);
    let (count, err) = tries(&["--crash-retries", "10"]);
    assert!(count == 3 && err.contains("it has killed 3 workers, and is not tried again"), "{count} {err}");
}

#[test]
fn attempts_have_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let args = ["--retries", "3", "--retry-delay", "200ms", "sh", "echo >> tried; exit 1 #", ":::", "a"];
    let (_, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
    assert_eq!(code, Some(1), "{err}");
    // 200 and 400 ms, each less up to a half.
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    assert_eq!(fs::read_to_string(folder.path().join("tried")).unwrap(), "\n\n\n");
}

#[test]
fn a_run_ends_at_its_deadline() {
    let begin = Instant::now();
    let (out, err, code) =
        pool_run(&["-w1", "--deadline", "500ms", "sh", "echo {}; sleep {}", ":::", "0", "100", "0"]);
    assert!(begin.elapsed() < Duration::from_secs(50));
    assert_eq!((out.as_str(), code), ("0\n", Some(124)), "{err}");
    assert!(err.contains("the deadline has passed: 1 ok, 0 failed, 2 not run"), "{err}");
}

#[test]
fn workers_are_replaced() {
    let pids = |options: &[&str]| {
        let args = [options, &["-w1", "sh", "echo $PPID #", ":::", "a", "b", "c", "d"]].concat();
        let out = pool_run(&args).0;
        let mut pids: Vec<_> = out.lines().map(str::to_owned).collect();
        pids.dedup();
        pids.len()
    };
    assert_eq!(pids(&[]), 1);
    assert_eq!(pids(&["--recycle", "2"]), 2);
    assert_eq!(pids(&["--recycle", "1"]), 4);
}

#[test]
#[cfg(target_os = "linux")]
fn a_gate_that_never_opens_begins_nothing_until_it_is_enough() {
    for options in [["--memfree", "1000P"], ["--load", "0.000001"]] {
        let args = [&options[..], &["--deadline", "1s", "sh", "touch x #", ":::", "a"]].concat();
        let folder = tempfile::tempdir().unwrap();
        // The load is that of the whole machine: something has to run, so that it is never 0.
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let (_, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert_eq!(code, Some(124), "{options:?} {err}");
        assert!(!folder.path().join("x").exists(), "{options:?}");
    }
    assert_eq!(pool_run(&["--memfree", "1k", "--load", "1000000", "primes", "10"]).0, "4\n");
}

#[test]
fn wrong_values_are_refused() {
    for bad in [
        &["--halt", "later"][..],
        &["--timeout", "0"],
        &["--term-seq", "X"],
        &["--retries", "0"],
        &["--memfree", "x"],
        &["--load", "none"],
        &["--delay", "soon"],
        &["-w", "0%"],
    ] {
        let (_, err, code) = pool_run(&[bad, &["primes", "1"]].concat());
        assert!(code == Some(64) && err.contains(bad[0].trim_start_matches("-w")), "{bad:?}: {err}");
    }
}
