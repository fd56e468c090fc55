//! What jobs of `pool-run` leave running outside of their worker's process group does not outlive it, nor its worker.
#![cfg(all(feature = "cli", target_os = "linux", not(sidestep_portable)))]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

/// Nothing here takes this long unless it hangs.
const LONG: Duration = Duration::from_secs(20);

/// Whether there is something to read, or a process to reap.
fn comes_within(limit: Duration, fd: impl AsFd) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

/// A process, whoever's child it is. It does not outlive the test.
struct Process(OwnedFd);

impl Process {
    fn new(pid: &str) -> Process {
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        Process(pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    fn ends_within(&self, limit: Duration) -> bool {
        comes_within(limit, &self.0)
    }

    fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.0, rustix::process::Signal::KILL);
    }
}

/// Named pipes over which jobs and the test wait for each other, and the commands that run there.
struct Place {
    folder: TempDir,
    commands: RefCell<Vec<Process>>,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap(), commands: RefCell::default() };
        ["up", "go", "release"]
            .into_iter()
            .for_each(|name| mkfifo(&place.path(name), Mode::S_IRWXU).unwrap());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until a job says something.
    fn hear(&self) -> String {
        // Open at both ends, so that nobody waits for the other one to open it.
        let pipe = File::options().read(true).write(true).open(self.path("up")).unwrap();
        assert!(comes_within(LONG, &pipe), "no job says anything");
        let mut line = String::new();
        BufReader::new(pipe).read_line(&mut line).unwrap();
        line
    }

    /// Lets the job that reads this pipe go on.
    fn open(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
    }

    /// Starts the command in this folder with a line of shell, once for each input.
    fn run(&self, line: &str, inputs: &[&str]) -> Child {
        let mut command = pool_run();
        command.args(["-w1", "sh", line, ":::"]).args(inputs).current_dir(self.folder.path());
        let child = command.spawn().unwrap();
        self.commands.borrow_mut().push(Process::new(&child.id().to_string()));
        child
    }
}

fn pool_run() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn pid_of(child: &Child) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(child.id() as i32)
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Has a session of its own, tells its process id, and stays.
const ESCAPE: &str = "setsid sh -c 'echo $$ > up; exec sleep 1000' > /dev/null 2>&1 &";

/// The same as a daemon does it: nobody who knows it is left.
const DAEMON: &str = "(setsid sh -c 'sh -c \"echo \\$\\$ > up; trap : TERM HUP; while :; do sleep 1000; done\" &' > /dev/null 2>&1 &);";

#[test]
fn a_run_that_ends_leaves_none() {
    for left in [ESCAPE, DAEMON] {
        let place = Place::new();
        let child = place.run(&format!("{left} cat release; echo {{}}"), &["x"]);
        let stray = Process::new(&place.hear());
        assert!(stray.is_alive());
        place.open("release");
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        assert_eq!((status.code(), text(&stdout), text(&stderr)), (Some(0), "x\n", ""));
        assert!(!stray.is_alive(), "{left}");
    }
}

#[test]
fn a_run_that_is_interrupted_leaves_none() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // Whoever started these tests in the background may ignore it, and the command would too.
        // SAFETY: the default action runs no code of this process.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }.unwrap();
        for left in [ESCAPE, DAEMON] {
            let place = Place::new();
            let mut child = place.run(&format!("{left} cat release; echo {{}}"), &["x"]);
            let stray = Process::new(&place.hear());
            // The first one has what runs end by itself, the second ends it.
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            kill(pid_of(&child), signal).unwrap();
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            assert!(line.contains("draining 1 running job"), "{line}");
            assert!(stray.is_alive());
            kill(pid_of(&child), signal).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
            assert!(!stray.is_alive(), "{signal} {left}");
        }
    }
}

#[test]
fn a_run_that_is_killed_leaves_none() {
    let in_its_job = |left| format!("{left} cat release #");
    let after_its_job = |left| format!("[ {{}} = last ] && exec cat release; {left} exit");
    for line in [ESCAPE, DAEMON].into_iter().flat_map(|left| [in_its_job(left), after_its_job(left)]) {
        let place = Place::new();
        let mut child = place.run(&line, &["first", "last"]);
        let stray = Process::new(&place.hear());
        kill(pid_of(&child), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(stray.ends_within(Duration::from_secs(1)), "{line}");
    }
}

#[test]
fn a_worker_that_dies_leaves_none() {
    for left in [ESCAPE, DAEMON] {
        let place = Place::new();
        let line =
            format!("[ {{}} = last ] && cat release && exit; {left} cat go; kill -KILL $PPID; sleep 1000");
        let child = place.run(&line, &["first", "last"]);
        let stray = Process::new(&place.hear());
        place.open("go");
        assert!(stray.ends_within(LONG), "{left}");
        // The command has gone on meanwhile.
        place.open("release");
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert_eq!(status.code(), Some(1), "{}", text(&stderr));
        assert!(text(&stderr).contains("SIGKILL"), "{}", text(&stderr));
    }
}

#[test]
fn one_may_outlive_its_job() {
    let place = Place::new();
    let mut child =
        place.run(&format!("[ {{}} = last ] && exec cat release; {DAEMON} exit"), &["first", "last"]);
    let stray = Process::new(&place.hear());
    // This waits for the other end, and so for the last job.
    let release = File::options().write(true).open(place.path("release")).unwrap();
    assert!(stray.is_alive());
    drop(release);
    assert!(child.wait().unwrap().success());
    assert!(!stray.is_alive());
}

/// How many children of a process are zombies.
fn zombies_of(pid: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_zombie = |pid: &&str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('Z'))
    };
    children.split_whitespace().filter(is_zombie).count()
}

#[test]
fn those_that_end_by_themselves_are_reaped_while_a_job_runs() {
    let place = Place::new();
    let line = "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); (: &); done; echo $PPID > up; cat release #";
    let child = place.run(line, &["x"]);
    let worker = place.hear().trim().parse().unwrap();
    let begin = Instant::now();
    while zombies_of(worker) > 0 {
        assert!(begin.elapsed() < LONG, "there are still {}", zombies_of(worker));
        std::thread::yield_now();
    }
    place.open("release");
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn they_take_no_status_from_a_job() {
    let place = Place::new();
    let numbers: Vec<String> = (1..=100).map(|number| number.to_string()).collect();
    let inputs: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let line = "(true &); (setsid true &); (true &); exit {}";
    let Output { status, stderr, .. } = place.run(line, &inputs).wait_with_output().unwrap();
    assert_eq!(status.code(), Some(100));
    for number in inputs {
        assert!(text(&stderr).contains(&format!("code {number}\n")), "{number}: {}", text(&stderr));
    }
}

#[test]
fn children_of_the_program_before_it_are_left_alone() {
    let place = Place::new();
    let script =
        "sleep 1000 > /dev/null 2>&1 & echo $!; exec \"$0\" sh 'kill -KILL $PPID; sleep 1000 #' ::: x";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_pool-run")]).current_dir(place.folder.path());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let stray = Process::new(&pid);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(stray.is_alive());
}
