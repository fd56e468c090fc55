//! The poller on epoll.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::process::poller::timespec;
use crate::process::{Interest, Ready};

/// The token of the poller's own bell.
const BELL: u64 = u64::MAX;
/// Events taken at a time; the others stay ready.
const AT_ONCE: usize = 128;
/// Below this a timeout's part of a millisecond counts.
const SHORT: Duration = Duration::from_millis(10);

/// Waits for many descriptors at once. They are told again and again as long as they are ready.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    bell: OwnedFd,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
        Ok(Poller { epoll, bell })
    }

    /// `token` is anything but `u64::MAX`.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        debug_assert_ne!(token, BELL);
        if interest != Interest::None {
            epoll::add(&self.epoll, fd, EventData::new_u64(token), flags(interest))?;
        }
        Ok(())
    }

    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        if interest == Interest::None {
            // epoll tells of an end even if nothing is asked for, so it must not know the descriptor at all.
            self.remove(fd);
            return Ok(());
        }
        match epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags(interest)) {
            Err(Errno::NOENT) => self.add(fd, token, interest),
            result => Ok(result?),
        }
    }

    /// Call it before the descriptor is closed.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Puts what is ready into `ready` in place of what was there; nothing if the time is up, if it was woken, or
    /// if a signal came.
    pub(crate) fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let mut space = [MaybeUninit::uninit(); AT_ONCE];
        let timeout = self.sleep_short(timeout)?.map(timespec);
        let events = match epoll::wait(&self.epoll, &mut space, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let (token, flags) = (event.data.u64(), event.flags);
            match token {
                BELL => self.silence(),
                token => ready.push(Ready {
                    token,
                    readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                    writable: flags.intersects(EventFlags::OUT | EventFlags::ERR),
                }),
            }
        }
        Ok(())
    }

    /// epoll counts whole milliseconds, `poll` nanoseconds: it does the waiting where the difference matters. An
    /// epoll descriptor is itself readable when there are events.
    fn sleep_short(&self, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        match timeout {
            Some(timeout) if !timeout.is_zero() && timeout < SHORT => {
                let mut fds = [PollFd::from_borrowed_fd(self.epoll.as_fd(), PollFlags::IN)];
                match poll(&mut fds, Some(&timespec(timeout))) {
                    Ok(_) | Err(Errno::INTR) => Ok(Some(Duration::ZERO)),
                    Err(error) => Err(error.into()),
                }
            }
            timeout => Ok(timeout),
        }
    }

    /// Makes a wait return, one that is under way or the next.
    pub(crate) fn wake(&self) {
        // Full means that it rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.reads());
    flags.set(EventFlags::OUT, interest.writes());
    flags
}
