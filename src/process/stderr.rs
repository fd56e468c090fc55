//! One output pipe of a worker: its stderr, or its captured stdout.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use sidestep_worker::wire::Mark;

use super::capture::Splitter;
use super::forward::OpenLane;
use super::tail::Tail;
use super::{Forwarder, Output};

/// Bytes read in one call.
const PIECE: usize = 16 << 10;
/// Bytes read before others get their turn.
const TURN: usize = 256 << 10;
/// Bytes read at most to come to something that is in the pipe already: more than a pipe can hold, yet no endless
/// stream from what a job has left behind.
const LAST_TURN: usize = 2 << 20;

/// What to do next about an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It is empty for now: read it when the poller tells.
    Open,
    /// There is more: others first.
    More,
    /// This process's own stderr is blocked. Until the forwarder wakes its pool, the poller should have no interest
    /// in it, for it would be told at once.
    Paused,
    /// Nothing will come any more: the poller should forget it.
    Ended,
}

/// Reads one output of a worker. Never blocks; may be used from any thread.
#[derive(Debug)]
pub(crate) struct Stderr {
    fd: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tail: Tail,
    way: Way,
    ended: bool,
}

/// Where the bytes go besides the tail.
enum Way {
    Dropped,
    Forwarded(OpenLane),
    Captured(Box<Splitter>),
}

impl Stderr {
    /// `fd` is the read end, non-blocking. `mark` is for [`Output::Capture`], `forward` for [`Output::Inherit`].
    pub(crate) fn new(fd: OwnedFd, mode: Output, mark: Option<Mark>, forward: Option<Forwarder>) -> Stderr {
        let way = match (mode, mark, forward) {
            (Output::Inherit, _, Some(forwarder)) => Way::Forwarded(forwarder.open_lane()),
            (Output::Capture, Some(mark), _) => Way::Captured(Box::new(Splitter::new(mark))),
            _ => Way::Dropped,
        };
        Stderr { fd, state: Mutex::new(State { tail: Tail::new(), way, ended: false }) }
    }

    /// Reads what there is, up to a bound.
    pub(crate) fn read_available(&self) -> Flow {
        self.state().read(self.fd.as_fd(), TURN, |_| false)
    }

    /// The last of it as text.
    pub(crate) fn tail(&self) -> String {
        self.state().tail.to_string_lossy()
    }

    /// The worker has ended: reads what it left in the pipe and ends its last line. It does not wait for the
    /// stream's end, which something that a job has started may hold back for ever.
    pub(crate) fn finish(&self) {
        self.state().finish(self.fd.as_fd());
    }

    /// What a job has printed whose result has come. It reads as far as the job's mark, which the worker writes
    /// before the result.
    pub(crate) fn take(&self, id: u64) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.read(self.fd.as_fd(), LAST_TURN, |splitter| splitter.has(id));
        state.splitter()?.take(id)
    }

    /// The job that was under way when the worker ended, and what it had printed; after [`finish`](Self::finish).
    pub(crate) fn take_open(&self) -> Option<(u64, Vec<u8>)> {
        self.state().splitter()?.take_open()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Stderr {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl State {
    fn splitter(&mut self) -> Option<&mut Splitter> {
        match &mut self.way {
            Way::Captured(splitter) => Some(splitter),
            _ => None,
        }
    }

    /// Reads until there is nothing, `budget` is used up, or `enough` of a captured stream has come.
    fn read(&mut self, fd: BorrowedFd<'_>, mut budget: usize, enough: impl Fn(&Splitter) -> bool) -> Flow {
        let mut buffer = [0; PIECE];
        loop {
            if self.ended {
                return Flow::Ended;
            }
            let room = match &self.way {
                Way::Forwarded(lane) => lane.room(),
                Way::Captured(splitter) if enough(splitter) => return Flow::More,
                Way::Captured(_) | Way::Dropped => PIECE,
            };
            match (room, budget) {
                (0, _) => return Flow::Paused,
                (_, 0) => return Flow::More,
                _ => {}
            }
            match nix::unistd::read(fd, &mut buffer[..room.min(budget).min(PIECE)]) {
                Ok(count @ 1..) => {
                    budget -= count;
                    self.pass_on(&buffer[..count]);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Flow::Open,
                Ok(0) | Err(_) => self.end(),
            }
        }
    }

    fn pass_on(&mut self, bytes: &[u8]) {
        match &mut self.way {
            Way::Dropped => self.tail.push(bytes),
            Way::Forwarded(lane) => {
                self.tail.push(bytes);
                lane.push(bytes);
            }
            Way::Captured(splitter) => splitter.push(bytes, |data| self.tail.push(data)),
        }
    }

    /// Reads past the bound of what may wait, which no job is left to be slowed by.
    fn finish(&mut self, fd: BorrowedFd<'_>) {
        let mut buffer = [0; PIECE];
        let mut budget = LAST_TURN;
        while !self.ended && budget > 0 {
            match nix::unistd::read(fd, &mut buffer) {
                Ok(count @ 1..) => {
                    budget = budget.saturating_sub(count);
                    self.pass_on(&buffer[..count]);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Ok(0) | Err(_) => self.ended = true,
            }
        }
        self.settle();
    }

    fn end(&mut self) {
        self.ended = true;
        self.settle();
    }

    /// What was held back for the rest of its line, or as a possible mark, goes as it is.
    fn settle(&mut self) {
        match &mut self.way {
            Way::Dropped => {}
            Way::Forwarded(lane) => lane.finish(),
            Way::Captured(splitter) => splitter.finish(|data| self.tail.push(data)),
        }
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Way::Dropped => "Dropped",
            Way::Forwarded(_) => "Forwarded",
            Way::Captured(_) => "Captured",
        })
    }
}

#[cfg(test)]
mod tests;
