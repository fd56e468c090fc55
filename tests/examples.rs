//! The examples run and print what they say.
#![cfg(feature = "macros")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// More than any of them takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Where cargo has put an example: beside the directory of this test's own binary.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("this binary has a path");
    path.pop();
    path.set_file_name("examples");
    path.push(name);
    assert!(
        path.is_file(),
        "{} is not there; `cargo build --examples` makes it, and so does `cargo test` without `--test`",
        path.display()
    );
    path
}

/// Runs an example to its end; one that hangs is killed.
fn run(name: &str, args: &[&str]) -> Output {
    let child = Command::new(example(name))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let (done, is_done) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = is_done.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if hangs {
            // Nobody has reaped it yet, so the number is still its own.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        hangs
    });
    let output = child.wait_with_output().expect("the example's output can be read");
    drop(done);
    let hung = watchdog.join().expect("the watchdog does not panic");
    assert!(!hung, "the example {name} hangs; so far: {}", show(&output));
    output
}

fn show(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\nstdout:\n{stdout}\nstderr:\n{stderr}", output.status)
}

/// Runs an example that succeeds, and finds these lines in what it prints, in this order.
#[track_caller]
fn prints(name: &str, args: &[&str], lines: &[&str]) {
    let output = run(name, args);
    assert!(output.status.success(), "{name}: {}", show(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut printed = stdout.lines();
    for line in lines {
        assert!(printed.any(|printed| printed.contains(line)), "{name} lacks {line:?}: {}", show(&output));
    }
}

#[test]
fn hello_shows_the_six_calls() {
    prints(
        "hello",
        &[],
        &[
            "apply:           Hello: john_wick_0",
            "apply_async:     Hello: john_wick_1",
            r#"map:             ["Hello: john_wick_1", "Hello: john_wick_2", "Hello: john_wick_3"]"#,
            "starmap:         [3, 7]",
            "imap:            Hello: john_wick_3",
        ],
    );
    prints("hello", &[], &["in the callback: Hello: john_wick_2"]);
}

#[test]
fn crash_isolation_loses_one_job_of_a_hundred() {
    prints(
        "crash_isolation",
        &[],
        &["root(50) is lost: signal 11", "100 others have their result", "workers replaced: 1; root(81) = 9"],
    );
}

#[test]
fn async_handles_are_awaited() {
    prints(
        "async_handles",
        &[],
        &[
            "primes below 100: 25, below 10000: 1229",
            "in a task: 43",
            "a map: [4, 8, 10]",
            "a panic: attempt to divide by zero, at examples/async_handles.rs:",
        ],
    );
}

#[cfg(feature = "cli")]
#[test]
fn own_command_has_its_own_jobs_and_the_built_in_ones() {
    prints("own_command", &["--list"], &["collatz", "gcd", "sha256"]);
    prints("own_command", &["gcd", "12", ":::", "18", "20", "35"], &["6", "4", "1"]);
    prints("own_command", &["--workers", "2", "collatz", ":::", "1", "6", "27"], &["0", "8", "111"]);
    prints("own_command", &["primes", "100"], &["25"]);
    let output = run("own_command", &["collatz", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("0 does not get to 1"), "{}", show(&output));
}
