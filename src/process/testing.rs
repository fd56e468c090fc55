//! What the tests of this module share.

use std::os::fd::OwnedFd;
use std::process::{Command, Output as Outcome, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sidestep_worker::page::Page;

use super::launch::launch;
use super::{Child, Exit, Output, Plan, Program, Spawned, sys};

/// Nothing here takes this long unless it hangs.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// A page as it is made for a worker.
pub(crate) fn page() -> Page {
    Page::create(&sys::page_file(true).unwrap().into(), 1).unwrap()
}

pub(super) fn plan(program: &str) -> Plan {
    Plan {
        program: Program::Path(program.into()),
        env: Vec::new(),
        stdout: Output::Capture,
        stderr: Output::Capture,
        max_workers_hint: 4,
        memory: None,
        blocks: true,
    }
}

/// A shell with a worker's descriptors that runs `script`.
pub(super) fn shell(script: &str) -> Spawned {
    launch(&plan("/bin/sh"), Some(&["-c", script])).unwrap()
}

/// Waits for the child's end as the engine does.
pub(super) fn reap(child: &mut Child) -> Exit {
    let mut fds = [PollFd::from_borrowed_fd(child.exit_fd(), PollFlags::IN)];
    let limit = Timespec::try_from(LONG).unwrap();
    assert_eq!(poll(&mut fds, Some(&limit)).unwrap(), 1, "the child does not end");
    child.try_reap().expect("it has ended")
}

/// All that comes until every process that holds the other end has closed it.
pub(super) fn read_to_end(fd: &OwnedFd) -> String {
    let mut all = Vec::new();
    let begin = Instant::now();
    loop {
        let mut buffer = [0; 4096];
        match nix::unistd::read(fd, &mut buffer) {
            Ok(0) => return String::from_utf8(all).unwrap(),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(nix::errno::Errno::EAGAIN) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
        assert!(begin.elapsed() < LONG, "somebody holds the pipe open; so far: {all:?}");
    }
}

pub(super) fn eventually(what: &str, check: impl Fn() -> bool) {
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs an ignored test in a process of its own: for what changes the whole process.
pub(super) fn alone(test: &str) -> Outcome {
    let outcome = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("process::{test}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed =
        String::from_utf8_lossy(&outcome.stdout).into_owned() + &String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success() && printed.contains("1 passed"), "{test} alone: {printed}");
    outcome
}

pub(super) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
