//! A socket at which jobs arrive and stay: so one knows that they run, in which process, and ends them when one likes.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Outcome;

/// Far longer than any start; then something is wrong.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

pub(crate) struct Meeting {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

/// A job that runs. It ends when this is dropped.
pub(crate) struct Guest {
    pub(crate) pid: u32,
    _socket: UnixStream,
}

impl Meeting {
    pub(crate) fn open() -> Outcome<Meeting> {
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join("socket"))?;
        Ok(Meeting { folder, listener })
    }

    /// The argument of [`meet`](crate::jobs::meet).
    pub(crate) fn address(&self) -> String {
        self.folder.path().join("socket").to_string_lossy().into_owned()
    }

    /// Waits until that many have come.
    pub(crate) fn wait(&self, guests: usize) -> Outcome<Vec<Guest>> {
        (0..guests).map(|_| self.next()).collect()
    }

    pub(crate) fn next(&self) -> Outcome<Guest> {
        if poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&PATIENCE))? == 0 {
            return Err("a job has not begun within a minute".into());
        }
        let (mut socket, _) = self.listener.accept()?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut pid = [0; 4];
        socket.read_exact(&mut pid)?;
        Ok(Guest { pid: u32::from_le_bytes(pid), _socket: socket })
    }
}
