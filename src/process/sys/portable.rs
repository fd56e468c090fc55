//! The same with what every Unix has.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, PipeReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::process::Usage;

/// The thread that has seen a child's end has closed the pipe by then, in milliseconds.
const CLOSES_WITHIN: u8 = 100;

/// Tells when a child has ended: a thread waits for that and then closes its end of a pipe.
#[derive(Debug)]
pub(crate) struct Watch {
    end: PipeReader,
}

impl Watch {
    pub(crate) fn start(pid: Pid) -> io::Result<Watch> {
        let (end, held) = io::pipe()?;
        let wait = move || {
            wait_for(pid);
            drop(held);
        };
        super::super::background::start("sidestep-wait", wait)?;
        Ok(Watch { end })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    pub(crate) fn id(&self, pid: Pid) -> WaitId<'_> {
        wait_id(pid)
    }

    pub(crate) fn signal(&self, pid: Pid, signal: Signal) {
        let _ = kill(pid, signal);
    }
}

impl Drop for Watch {
    /// A child that was reaped may have been so before the thread has closed its end: whoever has waited for the child
    /// finds no descriptor of it left.
    fn drop(&mut self) {
        let _ =
            poll(&mut [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)], PollTimeout::from(CLOSES_WITHIN));
    }
}

fn wait_id(pid: Pid) -> WaitId<'static> {
    // A pid is never 0 or less, and if it were, a number that no process has is waited for in vain.
    WaitId::Pid(rustix::process::Pid::from_raw(pid.as_raw()).unwrap_or(rustix::process::Pid::INIT))
}

/// Until the process is a zombie, or its status was taken by somebody else.
fn wait_for(pid: Pid) {
    let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(wait_id(pid), end), Err(rustix::io::Errno::INTR)) {}
}

pub(crate) fn image() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// A file without a name. It is written in full, so that a full disk is an error here and not a SIGBUS later; therefore it
/// has no blocks.
pub(crate) fn page_file(_blocks: bool) -> io::Result<OwnedFd> {
    let random = RandomState::new().hash_one(std::process::id());
    let path = std::env::temp_dir().join(format!("sidestep-{}-{random:016x}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(&[0; sidestep_worker::page::PAGE])?;
    Ok(file.into())
}

/// Memory that a pool's workers can only read needs a file that cannot be cut, and a second way to open it.
#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
pub(crate) mod shared {
    use super::*;

    pub(crate) fn shared_file() -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn read_only(_: &File) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn extend(_: &File, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn provide(_: &File, _: u64, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn forget(_: &File, _: u64, _: usize) {}
}

/// Nobody can make one: other systems tell in other ways, if at all, what a process uses.
#[derive(Debug)]
pub(crate) enum Gauge {}

#[cfg_attr(
    all(target_os = "linux", not(sidestep_portable)),
    expect(dead_code, reason = "Linux knows better")
)]
impl Gauge {
    pub(crate) fn open(_pid: u32) -> io::Result<Gauge> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn read(&self) -> Option<Usage> {
        match *self {}
    }
}

#[cfg_attr(
    all(target_os = "linux", not(sidestep_portable)),
    expect(dead_code, reason = "Linux knows better")
)]
pub(crate) fn is_stopped(pid: Pid) -> bool {
    let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(wait_id(pid), look), Ok(Some(status)) if status.stopped())
}
