//! What ties a borrowed worker to its borrower: a socket, one for each worker and each time that it is lent.
//!
//! The borrower's end is the [`Leash`]: signals for the worker go in, and it becomes readable when the worker is gone,
//! or free. The server has the [`Tether`]. If one side is gone the other sees the end of the stream: the server then
//! kills the worker, the borrower knows no more of it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use super::Exit;

/// A message of either side.
const LEN: usize = 8;

/// The borrower's end.
#[derive(Debug)]
pub(crate) struct Leash {
    stream: UnixStream,
    pid: u32,
    exit: Option<Exit>,
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Tether(UnixStream);

/// What a borrower wants of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Send a signal to it and its group.
    Signal(Signal),
    /// Nothing more: he is gone.
    Gone,
}

impl Leash {
    /// Both ends; the worker is not known yet.
    pub(crate) fn new() -> io::Result<(Leash, Tether)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok((Leash { stream: ours, pid: 0, exit: None }, Tether(theirs)))
    }

    /// The worker is this one.
    pub(crate) fn of(self, pid: u32) -> Leash {
        Leash { pid, ..self }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_off(&self) -> bool {
        self.exit.is_some()
    }

    /// Has the server send a signal to the worker's group.
    pub(super) fn kill_group(&self, signal: Signal) {
        if self.exit.is_none() {
            // A full socket means a server that does not look; when it is gone so is the worker.
            let _ = (&self.stream).write(&(signal as u64).to_le_bytes());
        }
    }

    /// How the worker has ended; code 0 also if it serves others from now on. `None` while it is ours.
    pub(super) fn try_reap(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            let mut message = [0; LEN];
            self.exit = match (&self.stream).read(&mut message) {
                Ok(LEN) => Some(exit_of(message)),
                Ok(_) => Some(Exit::Unknown),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
                Err(_) => Some(Exit::Unknown),
            };
        }
        self.exit
    }
}

impl AsFd for Leash {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Tether {
    /// What the borrower wants; `None` if there is nothing new.
    pub(crate) fn wish(&self) -> Option<Wish> {
        let mut message = [0; LEN];
        match (&self.0).read(&mut message) {
            Ok(LEN) => i32::try_from(u64::from_le_bytes(message))
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
                .map(Wish::Signal)
                .or(Some(Wish::Gone)),
            Ok(_) => Some(Wish::Gone),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(_) => Some(Wish::Gone),
        }
    }

    /// Tells the borrower that the worker has ended, or is free.
    pub(crate) fn tell(self, exit: Exit) {
        // Nothing was ever written here before, so that there is room.
        let _ = (&self.0).write(&message_of(exit));
    }
}

impl AsFd for Tether {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Tether {
    fn from(fd: OwnedFd) -> Tether {
        let stream = UnixStream::from(fd);
        let _ = stream.set_nonblocking(true);
        Tether(stream)
    }
}

fn message_of(exit: Exit) -> [u8; LEN] {
    let (kind, core, value) = match exit {
        Exit::Code(code) => (1, false, code),
        Exit::Signal { signal, core } => (2, core, signal),
        Exit::Unknown => (0, false, 0),
    };
    let mut message = [0; LEN];
    (message[0], message[1]) = (kind, core.into());
    message[4..].copy_from_slice(&value.to_le_bytes());
    message
}

fn exit_of(message: [u8; LEN]) -> Exit {
    let [kind, core, _, _, value @ ..] = message;
    let value = i32::from_le_bytes(value);
    match kind {
        1 => Exit::Code(value),
        2 => Exit::Signal { signal: value, core: core != 0 },
        _ => Exit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(exit: Option<Exit>) -> Option<Exit> {
        let (mut leash, tether) = Leash::new().unwrap();
        assert_eq!(leash.try_reap(), None);
        match exit {
            Some(exit) => tether.tell(exit),
            None => drop(tether),
        }
        leash.try_reap()
    }

    #[test]
    fn an_end_is_told_as_it_was() {
        let ends = [Exit::Code(0), Exit::Code(255), Exit::Signal { signal: 11, core: true }, Exit::Unknown];
        for exit in ends.into_iter().chain([Exit::Signal { signal: 40, core: false }]) {
            assert_eq!(told(Some(exit)), Some(exit));
        }
        assert_eq!(told(None), Some(Exit::Unknown), "the server is gone");
    }

    #[test]
    fn signals_come_in_order_and_then_the_end() {
        let (leash, tether) = Leash::new().unwrap();
        assert_eq!(tether.wish(), None);
        leash.kill_group(Signal::SIGTERM);
        leash.kill_group(Signal::SIGCONT);
        drop(leash);
        let wishes: Vec<_> = (0..3).map(|_| tether.wish().unwrap()).collect();
        assert_eq!(wishes, [Wish::Signal(Signal::SIGTERM), Wish::Signal(Signal::SIGCONT), Wish::Gone]);
    }
}
