//! What a scenario has left behind, or hangs in.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Descriptors and zombies may outlast a pool by as much as its background threads need.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// What is open here, by number.
pub fn descriptors() -> BTreeMap<i32, String> {
    descriptors_of("self")
}

fn descriptors_of(pid: &str) -> BTreeMap<i32, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
        })
        .filter(|(_, target)| !target.ends_with("/fd"))
        .collect()
}

/// No child, no zombie, and no descriptor more than before.
pub(super) fn assert_none(before: &BTreeMap<i32, String>) {
    let deadline = Instant::now() + AFTERWARDS;
    loop {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let children = waitid(WaitId::All, look).err() != Some(rustix::io::Errno::CHILD);
        let open = descriptors();
        if !children && open.len() <= before.len() {
            return;
        }
        if Instant::now() > deadline {
            panic!(
                "left behind:\n{}descriptors before {before:?}\ndescriptors after {open:?}",
                what_hangs(std::process::id())
            );
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// From now on this process gets the orphans of its children, and theirs.
pub fn adopt_orphans() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
}

/// Waits until no process below this one is left, and reaps them all.
pub fn all_gone_within(limit: Duration, what: &str) {
    let begin = Instant::now();
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(status) if status.pid().is_some() => continue,
            _ => {}
        }
        if begin.elapsed() > limit {
            let tree = what_hangs(std::process::id());
            processes_below(std::process::id()).into_iter().for_each(end);
            panic!("{what}: after {limit:?} there are still\n{tree}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All living descendants of a process and its zombies.
pub fn processes_below(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let all: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parents: BTreeMap<u32, u32> = all.iter().filter_map(|pid| Some((*pid, parent(*pid)?))).collect();
    let is_below = |pid: &u32| {
        let mut at = *pid;
        while let Some(parent) = parents.get(&at) {
            if *parent == root {
                return true;
            }
            at = *parent;
        }
        false
    };
    all.into_iter().filter(is_below).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].split(' ').nth(1)?.parse().ok()
}

/// A process and all below it, each with what its threads wait for and what it has open.
pub(super) fn what_hangs(root: u32) -> String {
    let mut text = String::new();
    for pid in std::iter::once(root).chain(processes_below(root)) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let _ = writeln!(text, "process {pid}, {:?}: {command}", super::state_of(pid));
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let (name, waits, call) = (read("comm"), read("wchan"), read("syscall"));
            let _ = writeln!(text, "    {}: {waits}, {}", name.trim(), call.trim());
        }
        let _ = writeln!(text, "    open: {:?}", descriptors_of(&pid.to_string()));
    }
    text
}

pub(super) fn kill_tree(root: u32) {
    // The children first, so that none is lost from sight when its parent ends.
    processes_below(root).into_iter().for_each(end);
    end(root);
}

fn end(pid: u32) {
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
}
