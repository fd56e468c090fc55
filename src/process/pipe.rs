//! Writing into a pipe whose reader may be gone.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

/// Whether SIGPIPE would end this process. Rust programs ignore it from the start, but a host may have changed that.
static DEADLY: AtomicBool = AtomicBool::new(false);

/// Looks at what SIGPIPE does here; at the start of each pool.
pub(crate) fn look_at_sigpipe() {
    DEADLY.store(!is_ignored(), Ordering::Relaxed);
}

fn is_ignored() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null action sigaction only reads, into memory that is ours and large enough.
    let read = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeroes is a valid sigaction, and a successful call has filled it.
    read == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// write(2); a reader that is gone is an error and never a signal.
pub(crate) fn write(fd: impl AsFd, bytes: &[u8]) -> nix::Result<usize> {
    if !DEADLY.load(Ordering::Relaxed) {
        return nix::unistd::write(fd, bytes);
    }
    let mut pipe = SigSet::empty();
    pipe.add(Signal::SIGPIPE);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&pipe), Some(&mut before))?;
    let written = nix::unistd::write(fd, bytes);
    if written == Err(Errno::EPIPE) && !before.contains(Signal::SIGPIPE) {
        // It is pending for this thread now; taken here it ends nobody.
        let _ = pipe.wait();
    }
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    written
}
