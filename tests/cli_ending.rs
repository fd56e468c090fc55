//! How `pool-run` ends when something else wants it to, and what it takes meanwhile.
#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

fn pool_run(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn fifo(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    path
}

/// Opens the other end of a pipe that a job opens, so it waits until the job is there.
fn wait_for(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn stderr_of(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_full_disk_is_an_error() {
    for args in
        [&["exec", "echo", ":::", "x"][..], &["primes", "7"], &["--list"], &["--help"], &["--version"]]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = pool_run(args).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{args:?}: {stderr}");
        assert!(
            stderr.contains("cannot write to standard output: No space left on device"),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn a_full_disk_ends_an_endless_run() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = pool_run(&["primes"]).stdout(full).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    while stdin.write_all(b"2\n").is_ok() {}
    assert_eq!(child.wait().unwrap().code(), Some(125));
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    let mut child = pool_run(&["primes"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || while stdin.write_all(b"10\n").is_ok() {});
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "4\n");
    let stderr = stderr_of(&mut child);
    assert_eq!((child.wait().unwrap().signal(), stderr.as_str()), (Some(Signal::SIGPIPE as i32), ""));
    feeder.join().unwrap();
}

#[test]
fn a_signal_reaches_a_command_that_waits_for_input() {
    let mut child = pool_run(&["wc"]).spawn().unwrap();
    // Held open, since the end of its input would end the command too.
    let _stdin = child.stdin.take();
    // Whatever it is doing by now, it must not outlive this.
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let (started, release) = (fifo(&folder, "started"), fifo(&folder, "release"));
    let line = format!("echo > {}; cat {}; echo {{}}", started.display(), release.display());
    let script = "trap '' HUP; exec \"$0\" sh \"$1\" ::: x";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_pool-run"), &line]).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for(&started);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    fs::write(&release, "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"x\n"[..]));
}

#[test]
fn a_result_is_not_held_back_by_a_later_job() {
    let folder = tempfile::tempdir().unwrap();
    let release = fifo(&folder, "release");
    let line = format!("[ {{}} = fast ] || cat {}; echo {{}}", release.display());
    let mut child = pool_run(&["-w2", "--unordered", "sh", &line, ":::", "slow", "fast"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut read = || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(read(), "fast\n");
    fs::write(&release, "").unwrap();
    assert_eq!(read(), "slow\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_result_is_not_held_back_by_a_later_input() {
    for order in ["--unordered", "--keep-order"] {
        let mut child = pool_run(&["-w2", order, "primes"]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ask = |input: &[u8]| {
            stdin.write_all(input).unwrap();
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line
        };
        // The next input comes only after the result of the one before.
        for _ in 0..20 {
            assert_eq!((ask(b"10\n"), ask(b"20\n3")), ("4\n".into(), "8\n".into()), "{order}");
            assert_eq!(ask(b"0\n"), "10\n", "{order}");
        }
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}

/// Each but the first gives more than a fifth of what is held in memory; the first waits until the last has begun.
const HELD_BACK: &str =
    "case {} in 1) read line < FIFO;; 7) echo > FIFO;; esac; head -c 15000000 /dev/zero; echo {}";

#[test]
fn results_beyond_memory_wait_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let release = fifo(&folder, "release");
    // Open at both ends, so that nobody waits for the other one to open it.
    let _keep = File::options().read(true).write(true).open(&release).unwrap();
    let line = HELD_BACK.replace("FIFO", release.to_str().unwrap());
    let mut command = pool_run(&["-w2", "sh", &line, ":::", "1", "2", "3", "4", "5", "6", "7"]);
    let output = command.env("TMPDIR", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let marks: Vec<u8> = output.stdout.into_iter().filter(|byte| *byte != 0).collect();
    assert_eq!(marks, b"1\n2\n3\n4\n5\n6\n7\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the fifo is left");
}

#[test]
fn results_that_cannot_be_kept_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let line = HELD_BACK.replace("FIFO", fifo(&folder, "never").to_str().unwrap());
    let mut command = pool_run(&["-w2", "sh", &line, ":::", "1", "2", "3", "4", "5", "6"]);
    let output = command.env("TMPDIR", "/no/such").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("cannot keep results in a temporary file in /no/such"), "{stderr}");
}

/// A folder for temporary files that is full, or cannot be written, as on a disk of its own.
#[test]
#[cfg(target_os = "linux")]
fn results_for_which_there_is_no_room_are_an_error_and_not_cut() {
    let apart = |line: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-ec", line]);
        command
    };
    if !apart("mount -t tmpfs tmpfs /mnt").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: nothing can be mounted here");
        return;
    }
    for (how, why) in [("size=64k", "No space left on device"), ("size=64k,ro", "Read-only file system")] {
        let folder = tempfile::tempdir().unwrap();
        let line = HELD_BACK.replace("FIFO", fifo(&folder, "never").to_str().unwrap());
        let script = format!(r#"mount -t tmpfs -o {how} tmpfs /mnt; TMPDIR=/mnt exec "$@""#);
        let mut command = apart(&script);
        command.args(["sh", env!("CARGO_BIN_EXE_pool-run"), "-w2", "sh", &line, ":::"]);
        let output = command.args(["1", "2", "3", "4", "5", "6"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{stderr}");
        assert!(stderr.contains(&format!("in a temporary file in /mnt: {why}; make room")), "{stderr}");
    }
}

/// The most memory that a process has had so far, in KiB.
fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn many_lines_take_no_more_memory_than_few() {
    // What waits for its turn, while one of the workers gets no processor, may be no more than this.
    const AHEAD: u64 = 20_000;
    for order in ["--unordered", "--keep-order"] {
        let mut child = pool_run(&["--workers", "2", order, "primes"]).spawn().unwrap();
        let shown = Arc::new(AtomicU64::new(0));
        let (stdout, count) = (BufReader::new(child.stdout.take().unwrap()), shown.clone());
        let reader = thread::spawn(move || {
            for line in stdout.lines() {
                assert_eq!(line.unwrap(), "1", "2 is the only prime below 3");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut stdin = child.stdin.take().unwrap();
        let lines = b"3\n".repeat(1000);
        let mut written = 0;
        // What has been written is read, but for what a pipe holds.
        let mut write = |thousands| {
            for _ in 0..thousands {
                while written - shown.load(Ordering::Relaxed) > AHEAD {
                    assert!(!reader.is_finished(), "it has ended");
                    thread::yield_now();
                }
                stdin.write_all(&lines).unwrap();
                written += 1000;
            }
        };
        write(50);
        let early = peak(&child);
        write(250);
        let late = peak(&child);
        drop(stdin);
        assert!(child.wait().unwrap().success());
        reader.join().unwrap();
        assert_eq!(shown.load(Ordering::Relaxed), 300_000);
        assert!(late < early + 8 * 1024, "{order}: from {early} KiB to {late} KiB");
    }
}
