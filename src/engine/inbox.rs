//! The parent's end of a worker's result pipe.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use sidestep_worker::frame::{Assembler, FrameError, Header};
use sidestep_worker::page::Page;

/// Bytes asked for in one read.
const READ: usize = 64 << 10;
/// Bytes taken from one worker before the others have their turn.
const TURN: usize = 1 << 20;

/// A worker's stream of results.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) generation: u32,
    pub(crate) pid: u32,
    pipe: OwnedFd,
    assembler: Assembler,
    /// Stream position: all bytes that were read.
    read: u64,
}

/// Why reading has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// There is no more at the moment.
    Empty,
    /// There may be more.
    Turn,
    /// The worker's end is closed.
    End,
}

impl Inbox {
    pub(crate) fn new(pipe: OwnedFd, generation: u32, pid: u32) -> Inbox {
        Inbox { generation, pid, pipe, assembler: Assembler::new(), read: 0 }
    }

    /// Reads what there is, within reason.
    pub(crate) fn fill(&mut self) -> Result<Stopped, FrameError> {
        let mut taken = 0;
        while taken < TURN {
            let room = self.assembler.room(READ)?;
            let asked = room.len().min(READ);
            match nix::unistd::read(&self.pipe, room) {
                Ok(0) => return Ok(Stopped::End),
                Ok(count) => {
                    self.assembler.filled(count);
                    self.read += count as u64;
                    taken += count;
                    if count < asked {
                        return Ok(Stopped::Empty);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Stopped::Empty),
                Err(_) => return Ok(Stopped::End),
            }
        }
        Ok(Stopped::Turn)
    }

    /// How many bytes were read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Takes what the worker has committed from where it lies, if the pipe has nothing that comes before it; tells
    /// whether there was anything.
    pub(crate) fn take(&mut self, page: &Page) -> Result<bool, FrameError> {
        let count = page.results().take(self.read, &mut self.assembler)?;
        self.read += count as u64;
        Ok(count > 0)
    }

    /// Of a dead worker: takes what it had committed and not written. `false` if the page makes no sense.
    pub(crate) fn take_committed(&mut self, page: &Page) -> bool {
        let Ok(bytes) = page.results().unread(self.read) else { return false };
        self.read += bytes.len() as u64;
        self.assembler.extend(&bytes).is_ok()
    }

    /// Takes whole frames until `take` says `false`; their bodies stay where they are until the next
    /// [`fill`](Self::fill).
    #[inline]
    pub(crate) fn take_while(
        &mut self,
        take: impl FnMut(Header, Range<usize>) -> bool,
    ) -> Result<(), FrameError> {
        self.assembler.take_while(take)
    }

    #[inline]
    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        self.assembler.bytes(range)
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
