//! What only Linux has: pidfds, sealed memory files, `/proc`.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use sidestep_worker::page::{PAGE, WITH_BLOCKS};

use super::portable;

/// Tells when a child has ended.
#[derive(Debug)]
pub(crate) enum Watch {
    Pidfd(OwnedFd),
    /// The kernel is too old, or a sandbox forbids it.
    Fallback(portable::Watch),
}

impl Watch {
    pub(crate) fn start(pid: Pid) -> io::Result<Watch> {
        match open(pid) {
            Ok(fd) => Ok(Watch::Pidfd(fd)),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => Err(error.into()),
            Err(_) => portable::Watch::start(pid).map(Watch::Fallback),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Watch::Pidfd(fd) => fd.as_fd(),
            Watch::Fallback(watch) => watch.fd(),
        }
    }

    pub(crate) fn id(&self, pid: Pid) -> WaitId<'_> {
        match self {
            Watch::Pidfd(fd) => WaitId::PidFd(fd.as_fd()),
            Watch::Fallback(watch) => watch.id(pid),
        }
    }

    pub(crate) fn signal(&self, pid: Pid, signal: Signal) {
        match (self, rustix::process::Signal::from_named_raw(signal as i32)) {
            (Watch::Pidfd(fd), Some(signal)) => drop(pidfd_send_signal(fd, signal)),
            (Watch::Pidfd(_), None) => {}
            (Watch::Fallback(watch), _) => watch.signal(pid, signal),
        }
    }
}

/// A pidfd that can also be waited for; a kernel that has the one but not the other cannot serve.
fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    let id = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::SRCH)?;
    let fd = pidfd_open(id, PidfdFlags::empty())?;
    waitid(WaitId::PidFd(fd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)?;
    Ok(fd)
}

/// The image itself, whatever has become of its file.
pub(crate) fn image() -> io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.symlink_metadata().is_ok() {
        return Ok(own.to_owned());
    }
    // Without /proc the kernel's own note is left: the path that this program was started by.
    let started = Path::new(OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()));
    if started.is_absolute() { Ok(started.to_owned()) } else { portable::image() }
}

/// A file in memory that can be neither cut nor grown, so that touching its mapping never fails; with blocks, which take no
/// memory before they are touched, if so long a file is allowed.
pub(crate) fn page_file(blocks: bool) -> io::Result<OwnedFd> {
    let len = if blocks && may_be_long() { WITH_BLOCKS } else { PAGE };
    let page_file = || {
        let file = memory_file()?;
        file.set_len(len as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(file.into())
    };
    match page_file() {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => Err(error),
        Err(_) => portable::page_file(blocks),
        file => file,
    }
}

fn memory_file() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match memfd_create("sidestep", flags | MemfdFlags::NOEXEC_SEAL) {
        // A kernel before 6.3 does not know the flag, later ones may insist on it.
        Err(Errno::INVAL) => memfd_create("sidestep", flags)?,
        other => other?,
    };
    Ok(fd.into())
}

/// Whether a file may have any length: one that grows beyond a limit ends the process with a signal.
fn may_be_long() -> bool {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_none()
}

/// A file in memory that cannot be cut.
pub(crate) fn shared_file() -> io::Result<OwnedFd> {
    let file = memory_file()?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Makes a file longer; an error if files may not have any length.
pub(crate) fn extend(file: &File, len: u64) -> io::Result<()> {
    if may_be_long() { file.set_len(len) } else { Err(Errno::FBIG.into()) }
}

/// Opens the file of a descriptor again.
pub(crate) fn read_only(file: &File) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?.into())
}

pub(crate) fn provide(file: &File, offset: u64, len: usize) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::empty(), offset, len as u64)?)
}

pub(crate) fn forget(file: &File, offset: u64, len: usize) {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = fallocate(file, hole, offset, len as u64);
}

/// Reads the state from `/proc`: the field behind the name, which may itself hold blanks and parentheses.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    let Some(name_end) = stat.iter().rposition(|byte| *byte == b')') else { return false };
    matches!(stat.get(name_end + 2), Some(b'T' | b't'))
}
