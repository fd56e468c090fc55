//! What signals do to `pool-run`: the first lets what runs end, the second ends it, the third kills it.
#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A run whose jobs do as the pipes `started` and `release` say.
struct Running {
    folder: TempDir,
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    /// `line` is a line of shell, in a folder with the two pipes.
    fn new(options: &[&str], line: &str, inputs: &[&str]) -> Running {
        let folder = tempfile::tempdir().unwrap();
        for name in ["started", "release"] {
            mkfifo(&folder.path().join(name), Mode::S_IRWXU).unwrap();
        }
        // Whoever started these tests in the background may ignore it, and the command would too.
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP] {
            // SAFETY: the default action runs no code of this process.
            unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
        command.args(options).args(["sh", line, ":::"]).args(inputs).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Running { folder, child, stderr }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until a job says that it has started; what it says.
    fn started(&self) -> String {
        fs::read_to_string(self.path("started")).unwrap()
    }

    /// Lets a job go on that waits for it.
    fn release(&self) {
        File::options().write(true).open(self.path("release")).unwrap().write_all(b"go\n").unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// The next line of standard error.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// How it ended, and what it has written.
    fn end(mut self) -> (ExitStatus, String, String) {
        let mut texts = [String::new(), String::new()];
        self.child.stdout.take().unwrap().read_to_string(&mut texts[0]).unwrap();
        self.stderr.read_to_string(&mut texts[1]).unwrap();
        let [stdout, stderr] = texts;
        (self.child.wait().unwrap(), stdout, stderr)
    }
}

const WAITS: &str = "echo {} > started; cat release; echo {}";

#[test]
fn the_first_signal_lets_what_runs_end() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut run = Running::new(&["-w1"], WAITS, &["a", "b", "c"]);
        assert_eq!(run.started(), "a\n");
        run.signal(signal);
        assert_eq!(run.line(), "pool-run: draining 1 running job, 2 not started; signal again to end it\n");
        run.release();
        let (status, stdout, stderr) = run.end();
        // It counts, and nothing more was begun. Whoever asked for it is told that it did not end by itself.
        assert_eq!(status.signal(), Some(signal as i32), "{status}");
        assert_eq!(stdout, "go\na\n");
        assert_eq!(stderr, "pool-run: interrupted: 1 ok, 0 failed, 2 not run\n");
    }
}

#[test]
fn the_second_signal_ends_what_runs() {
    let mut run = Running::new(&["-w1"], WAITS, &["a", "b", "c"]);
    run.started();
    run.signal(Signal::SIGINT);
    assert!(run.line().contains("draining"));
    run.signal(Signal::SIGTERM);
    assert_eq!(run.line(), "pool-run: ending 1 running job; signal again to kill it\n");
    let (status, stdout, stderr) = run.end();
    assert_eq!((status.signal(), stdout.as_str()), (Some(Signal::SIGINT as i32), ""));
    assert_eq!(stderr, "pool-run: interrupted: 0 ok, 0 failed, 3 not run\n");
}

/// Cannot be asked to end.
const DEAF: &str = "trap '' TERM INT HUP; echo $$ > started; while :; do sleep 1000; done #";

#[test]
fn what_does_not_end_is_killed_in_the_end() {
    let mut run = Running::new(&["-w1", "--term-seq", "TERM,100ms,HUP,100ms,KILL"], DEAF, &["a"]);
    let program: i32 = run.started().trim().parse().unwrap();
    run.signal(Signal::SIGTERM);
    assert!(run.line().contains("draining"));
    let begin = Instant::now();
    run.signal(Signal::SIGTERM);
    let (status, _, _) = run.end();
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
    assert!((Duration::from_millis(200)..LONG).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    // Where the command adopts nobody it takes a moment until somebody else has reaped it.
    eventually("the program's end", || kill(Pid::from_raw(program), None).is_err());
}

#[test]
fn the_third_signal_kills_at_once() {
    let mut run = Running::new(&["-w1", "--term-seq", "TERM,1h,KILL"], DEAF, &["a", "b"]);
    let program: i32 = run.started().trim().parse().unwrap();
    for expected in ["draining", "ending", "killed: 0 ok, 0 failed, 2 not run"] {
        run.signal(Signal::SIGINT);
        let line = run.line();
        assert!(line.contains(expected), "{line}");
    }
    let (status, _, _) = run.end();
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32));
    // Where the command adopts nobody it takes a moment until somebody else has reaped it.
    eventually("the program's end", || kill(Pid::from_raw(program), None).is_err());
}

#[test]
fn the_second_signal_ends_what_runs_also_if_nobody_reads() {
    let line = "case {} in big) head -c 1000000 /dev/zero;; *) echo $$ > started; exec sleep 1000;; esac #";
    let mut run = Running::new(&["-w2"], line, &["big", "other"]);
    let program: i32 = run.started().trim().parse().unwrap();
    let unread = || rustix::io::ioctl_fionread(run.child.stdout.as_ref().unwrap()).unwrap();
    // As much as a pipe holds, however much that is.
    let mut before = 0;
    eventually("a full pipe", || {
        std::thread::sleep(Duration::from_millis(50));
        unread() > 0 && std::mem::replace(&mut before, unread()) == unread()
    });
    run.signal(Signal::SIGTERM);
    // Of two that wait together any may come first.
    assert!(run.line().contains("draining"));
    run.signal(Signal::SIGINT);
    let mut child = run.child;
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    eventually("the program's end", || kill(Pid::from_raw(program), None).is_err());
}

#[test]
fn the_first_signal_says_nothing_of_jobs_if_none_runs() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("inputs");
    mkfifo(&inputs, Mode::S_IRWXU).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
    let child = command.arg("-a").arg(&inputs).arg("wc").stderr(Stdio::piped()).spawn().unwrap();
    // It can be opened when the command has opened it.
    let _held = File::options().write(true).open(&inputs).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let expected =
        "pool-run: interrupted: 0 ok, 0 failed, 0 not run, nor the inputs that were not read yet\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn the_first_signal_ends_what_runs_if_it_is_to_kill() {
    let options = ["-w1", "--on-signal=kill", "--term-seq", "TERM,1h,KILL"];
    let mut run = Running::new(&options, WAITS, &["a", "b"]);
    run.started();
    run.signal(Signal::SIGHUP);
    assert_eq!(run.line(), "pool-run: ending 1 running job; signal again to kill it\n");
    let (status, stdout, stderr) = run.end();
    assert_eq!((status.signal(), stdout.as_str()), (Some(Signal::SIGHUP as i32), ""));
    assert_eq!(stderr, "pool-run: interrupted: 0 ok, 0 failed, 2 not run\n");
    // One more kills.
    let mut run = Running::new(&options, DEAF, &["a"]);
    run.started();
    for expected in ["ending", "killed: 0 ok, 0 failed, 1 not run"] {
        run.signal(Signal::SIGINT);
        let line = run.line();
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(run.end().0.signal(), Some(Signal::SIGINT as i32));
}

#[test]
fn a_drain_that_takes_longer_than_its_grace_is_an_end() {
    let mut run = Running::new(&["-w1", "--grace", "100ms"], WAITS, &["a", "b"]);
    run.started();
    run.signal(Signal::SIGTERM);
    assert!(run.line().contains("draining"));
    let line = run.line();
    assert_eq!(line, "pool-run: the grace is over; ending 1 running job; signal again to kill it\n");
    let (status, stdout, stderr) = run.end();
    assert_eq!((status.signal(), stdout.as_str()), (Some(Signal::SIGTERM as i32), ""));
    assert_eq!(stderr, "pool-run: interrupted: 0 ok, 0 failed, 2 not run\n");
    // Whoever ends in time is not ended.
    let mut run = Running::new(&["-w1", "--grace", "1h"], WAITS, &["a", "b"]);
    run.started();
    run.signal(Signal::SIGTERM);
    assert!(run.line().contains("draining"));
    run.release();
    assert_eq!(run.end().1, "go\na\n");
}

#[test]
fn one_code_may_stand_for_all_failures() {
    let code = |options: &[&str], line: &str| {
        let run = Running::new(options, line, &["1", "2", "3"]);
        run.end().0.code()
    };
    assert_eq!(code(&["--fail-code=9"], "exit {}"), Some(9));
    assert_eq!(code(&["--fail-code=9"], "true"), Some(0));
    assert_eq!(code(&["--fail-code=9", "-w1", "--halt=now,fail=1"], "exit 3"), Some(9));
    assert_eq!(code(&["--fail-code=9", "--deadline=50ms"], "sleep 1000 #"), Some(124));
}

#[test]
fn results_in_order_are_shown_up_to_the_end() {
    let line = "case {} in 1) echo {} > started; cat release;; esac; echo {}";
    let mut run = Running::new(&["-w1"], line, &["1", "2"]);
    run.started();
    run.signal(Signal::SIGINT);
    assert!(run.line().contains("draining"));
    run.release();
    assert_eq!(run.end().1, "go\n1\n");
}

/// The state of a process, as in ps(1).
fn state_of(pid: i32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LONG, "{what} does not come");
        std::thread::yield_now();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_stop_stops_what_runs_and_no_time_passes() {
    let line = "echo $$ > started; read word < release; echo {} $word #";
    let run = Running::new(&["-w1", "--timeout", "2s"], line, &["a"]);
    let program: i32 = run.started().trim().parse().unwrap();
    let command = run.child.id() as i32;
    run.signal(Signal::SIGTSTP);
    eventually("the stop", || state_of(command) == 'T' && state_of(program) == 'T');
    // The sleep is what is tested: it is longer than the job may take.
    std::thread::sleep(Duration::from_secs(3));
    run.signal(Signal::SIGCONT);
    eventually("the way on", || state_of(program) != 'T');
    run.release();
    let (status, stdout, stderr) = run.end();
    assert_eq!((status.code(), stdout.as_str(), stderr.as_str()), (Some(0), "a go\n", ""));
}
