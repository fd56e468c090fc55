//! What can go wrong around a run of `pool-run`, and that it does not hang, lose a job, or say what is not so.
#![cfg(feature = "cli")]

use std::fs;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{SigHandler, Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

mod common;
use common::{eventually, limited, step};

/// A folder of a test's own, in which the command runs.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        // Whoever started these tests in the background may ignore it, and the command would too.
        // SAFETY: the default action runs no code of this process.
        unsafe { nix::sys::signal::signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn pipe(&self, name: &str) {
        mkfifo(&self.path(name), Mode::S_IRWXU).unwrap();
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
        command.args(args).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().unwrap())
    }
}

/// A command that a failed test does not leave behind.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Waits for its end; what it has written to both outputs.
    fn end(mut self) -> (ExitStatus, String, String) {
        step("waiting until the command ends");
        let mut texts = [String::new(), String::new()];
        self.0.stdout.take().unwrap().read_to_string(&mut texts[0]).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut texts[1]).unwrap();
        let [stdout, stderr] = texts;
        (self.0.wait().unwrap(), stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// What threads of a process wait in, where the system tells it.
fn signals_are_taken(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok())
        .any(|name| name == "signals\n")
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_before_the_run_begins_ends_the_command_at_once() {
    limited(|| {
        let place = Place::new();
        place.pipe("inputs");
        // It waits until somebody writes to the pipe, which nobody does.
        let run = place.start(&["-a", "inputs", "sh", "echo {}"]);
        eventually("signals are taken", || signals_are_taken(run.0.id()));
        run.signal(Signal::SIGINT);
        let (status, stdout, stderr) = run.end();
        assert_eq!((status.signal(), stdout.as_str()), (Some(Signal::SIGINT as i32), ""));
        assert!(stderr.starts_with("pool-run: interrupted: 0 ok, 0 failed, 0 not run"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    });
}

#[test]
fn a_job_that_is_ended_with_the_run_is_in_the_log_that_can_say_so() {
    limited(|| {
        let place = Place::new();
        place.pipe("gate");
        let line = "case {} in bad) read word < gate; exit 3;; *) echo > gate; exec sleep 1000;; esac";
        let args = ["-w2", "--halt", "now,fail=1", "--joblog", "log.jsonl", "--report", "report.html"];
        let run = place.start(&[&args[..], &["sh", line, ":::", "good", "bad", "late"]].concat());
        let (status, _, stderr) = run.end();
        assert_eq!(status.code(), Some(3), "{stderr}");
        assert!(stderr.ends_with("halted: 0 ok, 1 failed, 2 not run; --resume runs the rest\n"), "{stderr}");
        let log = fs::read_to_string(place.path("log.jsonl")).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains(r#""status":"failed""#) && lines[1].contains(r#""status":"ended""#),
            "{log}"
        );
    });
}

#[test]
fn a_file_with_the_number_of_workers_may_vanish() {
    limited(|| {
        let place = Place::new();
        place.pipe("started");
        fs::write(place.path("workers"), "1\n").unwrap();
        // It runs for longer than it takes until the command looks again.
        let line = "case {} in a) echo > started; sleep 1.2;; esac; echo {}";
        let run = place.start(&["-w", "workers", "sh", line, ":::", "a", "b", "c"]);
        step("waiting until a job runs");
        fs::read(place.path("started")).unwrap();
        fs::remove_file(place.path("workers")).unwrap();
        let (status, stdout, stderr) = run.end();
        assert_eq!((status.code(), stdout.as_str(), stderr.as_str()), (Some(0), "a\nb\nc\n", ""));
    });
}

#[test]
fn a_terminal_that_hangs_up_ends_a_run_after_what_runs() {
    limited(|| {
        let place = Place::new();
        ["started", "release"].iter().for_each(|name| place.pipe(name));
        let pty = openpty(None, None).unwrap();
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        let line = "echo $$ > started; read word < release; echo {} >> ran";
        let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
        command.args(["-w1", "sh", line, ":::", "a", "b"]).current_dir(place.0.path());
        command.stdin(pty.slave.try_clone().unwrap()).stdout(pty.slave.try_clone().unwrap());
        command.stderr(pty.slave);
        // SAFETY: these are system calls only; nothing is allocated or locked.
        unsafe {
            command.pre_exec(|| {
                // Whoever started these tests in the background may ignore it, and the command would too.
                nix::sys::signal::signal(Signal::SIGHUP, SigHandler::SigDfl)?;
                rustix::process::setsid()?;
                // Its standard input by now.
                rustix::process::ioctl_tiocsctty(BorrowedFd::borrow_raw(0))?;
                Ok(())
            })
        };
        let mut run = Running(command.spawn().unwrap());
        // With it the test's copies of the terminal go.
        drop(command);
        step("waiting until a job runs");
        fs::read(place.path("started")).unwrap();
        drop(pty.master);
        fs::write(place.path("release"), "go\n").unwrap();
        step("waiting until the command ends");
        let status = run.0.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGHUP as i32), "{status}");
        assert_eq!(fs::read_to_string(place.path("ran")).unwrap(), "a\n");
    });
}
