//! What programs leave running outside of their worker's process group (`setsid`, a daemon), where a kill of the group
//! misses it.
//!
//! Linux gives a child subreaper the orphans among its descendants. It does not say which of its children it has started
//! and which adopted, so a process can do so only if it knows the former. The command does: they are its workers. So does
//! a worker that does nothing but run programs. Any other program may have children that it waits for, and daemons that
//! it means to leave behind, which is why this is no part of the library.
//!
//! An orphan that is killed leaves its own children to us in turn, so it takes no search to kill a whole tree: only to
//! look again until there is nobody. Apart from [`adopt`] everything here may be called in a signal handler.

use std::ffi::CString;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, kill_process, waitid};

/// Between two looks whether all have died.
const NAP: Duration = Duration::from_millis(1);
/// What has not died by then cannot be killed just now, as when it waits for a dead disk.
const LOOKS: u32 = 500;

/// The kernel's list of the children of the main thread. Adopted ones are there, and the workers are not: another thread
/// starts them.
static CHILDREN: OnceLock<CString> = OnceLock::new();

/// Takes in all orphans among the descendants of this process from now on. Tells whether it does: not where the system
/// has no such thing or hides the list of children, and not if others than ours could be on it.
pub(super) fn adopt() -> bool {
    let path = format!("/proc/self/task/{}/children", getpid());
    let Ok(path) = CString::new(path) else { return false };
    // Process 1 gets the orphans of all. Who was started by `exec` may have the children of the program before it.
    let others = getpid() == Pid::INIT || !matches!(waitid(WaitId::All, look()), Err(Errno::CHILD));
    !others
        && open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()
        && become_subreaper()
        && CHILDREN.set(path).is_ok()
}

#[cfg(all(target_os = "linux", not(sidestep_portable)))]
fn become_subreaper() -> bool {
    nix::sys::prctl::set_child_subreaper(true).is_ok()
}

#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
fn become_subreaper() -> bool {
    false
}

fn look() -> WaitIdOptions {
    WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT
}

/// Kills all children of the main thread and all below them, and reaps them.
pub(super) fn end_all() {
    for _ in 0..LOOKS {
        let mut found = false;
        for_each_child(|pid| {
            found = true;
            kill_or_reap(pid);
        });
        if !found {
            return;
        }
        std::thread::sleep(NAP);
    }
}

/// Sends SIGKILL to all children of the main thread that live, and reaps those that have died.
pub(super) fn kill() {
    for_each_child(kill_or_reap);
}

/// Reaps the children of the main thread that have died, but for `own`.
pub(super) fn reap_but(own: Option<Pid>) {
    for_each_child(|pid| {
        if Some(pid) != own {
            let _ = try_reap(pid);
        }
    });
}

/// Whether any child has died and was not reaped.
pub(super) fn has_dead() -> bool {
    matches!(waitid(WaitId::All, look()), Ok(Some(_)))
}

/// A number that is no child's any more is never signalled.
fn kill_or_reap(pid: Pid) {
    if let Ok(None) = try_reap(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn try_reap(pid: Pid) -> Result<Option<WaitIdStatus>, Errno> {
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Calls `each` with the children of the main thread. It may miss some while others come and go, but never all.
fn for_each_child(mut each: impl FnMut(Pid)) {
    let Some(path) = CHILDREN.get() else { return };
    let Ok(list) = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return };
    let mut buffer = [0; 4096];
    let mut numbers = Numbers::default();
    while let Ok(count @ 1..) = read(&list, &mut buffer) {
        let pids = buffer[..count].iter().filter_map(|byte| numbers.take(*byte));
        pids.filter_map(Pid::from_raw).for_each(&mut each);
    }
}

/// Numbers with a blank after each, which may come in pieces.
#[derive(Debug, Default)]
struct Numbers(i32);

impl Numbers {
    fn take(&mut self, byte: u8) -> Option<i32> {
        match byte {
            b'0'..=b'9' => {
                self.0 = self.0.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'));
                None
            }
            _ => Some(std::mem::take(&mut self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_across_pieces() {
        let mut numbers = Numbers::default();
        let mut read = |piece: &str| piece.bytes().filter_map(|byte| numbers.take(byte)).collect::<Vec<_>>();
        assert_eq!(read("12 3456 7"), [12, 3456]);
        assert_eq!(read("89 "), [789]);
    }
}
