//! Descriptors of the protocol, which user code may have closed or replaced.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::stat::fstat;

/// A descriptor, and how it is told from any other that may have its number by now.
#[derive(Debug)]
pub(crate) struct Own {
    fd: OwnedFd,
    identity: Identity,
}

#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// What was written on it: asked for after each job, in a third of the time that the other takes.
    Mark(i32),
    File {
        device: u64,
        inode: u64,
    },
}

impl Own {
    /// One whose open file nobody else has; `number` tells it from the others of the protocol.
    pub(crate) fn new(fd: OwnedFd, number: u8) -> io::Result<Own> {
        match mark::put(&fd, number) {
            Some(mark) => Ok(Own { fd, identity: Identity::Mark(mark) }),
            None => Own::shared(fd),
        }
    }

    /// One whose open file others have too: it is told by the file.
    pub(crate) fn shared(fd: OwnedFd) -> io::Result<Own> {
        let identity = file_of(&fd)?;
        Ok(Own { fd, identity })
    }

    pub(crate) fn is_own(&self) -> bool {
        match &self.identity {
            Identity::Mark(mark) => mark::of(&self.fd) == *mark,
            file => file_of(&self.fd).is_ok_and(|now| now == *file),
        }
    }
}

fn file_of(fd: &OwnedFd) -> io::Result<Identity> {
    let stat = fstat(fd)?;
    Ok(Identity::File { device: stat.st_dev, inode: stat.st_ino })
}

impl AsFd for Own {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An open file has a place for the signal that it is to send when something happens to it. It sends none unless it is
/// told to, but keeps the number: one of the last real-time signals, which no program puts there by chance.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod mark {
    use std::os::fd::{AsRawFd, OwnedFd};

    // Those of <asm-generic/fcntl.h>, which libc lacks; a few architectures have others.
    const F_SETSIG: i32 = 10;
    const F_GETSIG: i32 = 11;

    pub(super) fn put(fd: &OwnedFd, number: u8) -> Option<i32> {
        let signal = libc::SIGRTMAX() - i32::from(number);
        // SAFETY: this sets a number in the open file that `fd` owns, which without O_ASYNC has no effect.
        let done = unsafe { libc::fcntl(fd.as_raw_fd(), F_SETSIG, signal) } == 0;
        (done && of(fd) == signal).then_some(signal)
    }

    /// -1 if the number is that of no open file any more.
    pub(super) fn of(fd: &OwnedFd) -> i32 {
        // SAFETY: this only reads a number, and any descriptor may be asked, also a closed one.
        unsafe { libc::fcntl(fd.as_raw_fd(), F_GETSIG) }
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod mark {
    use std::os::fd::OwnedFd;

    pub(super) fn put(_: &OwnedFd, _: u8) -> Option<i32> {
        None
    }

    pub(super) fn of(_: &OwnedFd) -> i32 {
        -1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    fn both_kinds(number: u8) -> Vec<Own> {
        let fd = || OwnedFd::from(io::pipe().unwrap().0);
        vec![Own::new(fd(), number).unwrap(), Own::shared(fd()).unwrap()]
    }

    fn replace(own: &Own, by: &OwnedFd) {
        // SAFETY: `own` owns the number that is replaced, and still does after that.
        assert!(unsafe { libc::dup2(by.as_raw_fd(), own.as_fd().as_raw_fd()) } >= 0);
    }

    #[test]
    fn a_descriptor_that_was_left_alone_is_ours() {
        assert!(both_kinds(1).iter().all(Own::is_own));
    }

    #[test]
    fn one_that_was_replaced_is_not() {
        let other = OwnedFd::from(io::pipe().unwrap().0);
        for own in both_kinds(1) {
            replace(&own, &other);
            assert!(!own.is_own(), "{own:?}");
        }
    }

    #[test]
    fn one_that_was_replaced_by_another_of_ours_is_not() {
        for (own, other) in both_kinds(1).into_iter().zip(both_kinds(2)) {
            replace(&own, &other.fd);
            assert!(!own.is_own(), "{own:?}");
        }
    }

    #[test]
    fn one_that_was_closed_is_not() {
        for own in both_kinds(1) {
            // Nobody else has numbers as high as this one.
            let high = crate::link::move_high(own.fd.try_clone().unwrap(), 900).unwrap();
            let own = Own { fd: high, ..own };
            // SAFETY: the number is given up below without closing it again.
            unsafe { libc::close(own.fd.as_raw_fd()) };
            assert!(!own.is_own(), "{own:?}");
            let _ = own.fd.into_raw_fd();
        }
    }
}
