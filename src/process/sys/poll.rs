//! The poller on `poll`, for systems without epoll.
//!
//! One thread at a time polls, the others wait for their turn. Whoever changes what is waited for rings the bell, a
//! pipe, so that the one that polls begins anew with the change.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::process::poller::timespec;
use crate::process::{Interest, Ready};

/// Waits for many descriptors at once. They are told again and again as long as they are ready.
#[derive(Debug)]
pub(crate) struct Poller {
    state: Mutex<State>,
    turn: Condvar,
    bell: OwnedFd,
    ringer: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    watched: HashMap<RawFd, (u64, Interest)>,
    polling: bool,
    woken: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let (bell, ringer) = io::pipe()?;
        let (bell, ringer) = (OwnedFd::from(bell), OwnedFd::from(ringer));
        for fd in [&bell, &ringer] {
            rustix::fs::fcntl_setfl(fd, rustix::fs::fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Poller { state: Mutex::default(), turn: Condvar::new(), bell, ringer })
    }

    /// `token` is anything but `u64::MAX`.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.modify(fd, token, interest)
    }

    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let mut state = self.state();
        if state.watched.insert(fd.as_raw_fd(), (token, interest)) != Some((token, interest)) {
            self.ring(&state);
        }
        Ok(())
    }

    /// Call it before the descriptor is closed.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        let mut state = self.state();
        if state.watched.remove(&fd.as_raw_fd()).is_some() {
            self.ring(&state);
        }
    }

    /// Puts what is ready into `ready` in place of what was there; nothing if the time is up, if it was woken, or
    /// if a signal came.
    pub(crate) fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.state();
        while state.polling {
            let Some(state_then) = self.wait_for_turn(state, deadline) else { return Ok(()) };
            state = state_then;
        }
        state.polling = true;
        drop(state);
        let result = self.poll_until(ready, deadline);
        self.state().polling = false;
        self.turn.notify_one();
        result
    }

    fn wait_for_turn<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, State>> {
        let Some(deadline) = deadline else {
            return Some(self.turn.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // The turn may have been offered to us just now.
            self.turn.notify_one();
            return None;
        }
        Some(self.turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    fn poll_until(&self, ready: &mut Vec<Ready>, deadline: Option<Instant>) -> io::Result<()> {
        loop {
            let watched = self.snapshot();
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let mut fds = Vec::with_capacity(watched.len() + 1);
            fds.push(PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN));
            for (fd, _, interest) in &watched {
                // SAFETY: whoever added it removes it before it is closed, and that rings the bell; should poll
                // meet a closed number all the same, it says so.
                let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
                fds.push(PollFd::from_borrowed_fd(fd, flags(*interest)));
            }
            match poll(&mut fds, timeout.map(timespec).as_ref()) {
                Ok(0) | Err(Errno::INTR) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let rang = !fds[0].revents().is_empty();
            let events: Vec<_> = fds[1..].iter().map(PollFd::revents).collect();
            if self.collect(rang, &watched, &events, ready) {
                return Ok(());
            }
        }
    }

    fn snapshot(&self) -> Vec<(RawFd, u64, Interest)> {
        let state = self.state();
        let wanted = state.watched.iter().filter(|(_, (_, interest))| *interest != Interest::None);
        wanted.map(|(fd, (token, interest))| (*fd, *token, *interest)).collect()
    }

    /// Takes the outcome of one poll; tells whether the wait is over.
    fn collect(
        &self,
        rang: bool,
        watched: &[(RawFd, u64, Interest)],
        events: &[PollFlags],
        ready: &mut Vec<Ready>,
    ) -> bool {
        let mut state = self.state();
        if rang {
            while matches!(rustix::io::read(&self.bell, &mut [0; 64]), Ok(64)) {}
        }
        for ((fd, token, interest), events) in watched.iter().zip(events) {
            // It may have been removed meanwhile, and the number be another's.
            if events.is_empty() || state.watched.get(fd) != Some(&(*token, *interest)) {
                continue;
            }
            if events.contains(PollFlags::NVAL) {
                state.watched.remove(fd);
                continue;
            }
            ready.push(Ready {
                token: *token,
                readable: events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
                writable: events.intersects(PollFlags::OUT | PollFlags::ERR),
            });
        }
        std::mem::take(&mut state.woken) || !ready.is_empty()
    }

    /// Makes a wait return, one that is under way or the next.
    pub(crate) fn wake(&self) {
        let mut state = self.state();
        state.woken = true;
        let _ = rustix::io::write(&self.ringer, &[1]);
    }

    fn ring(&self, state: &State) {
        if state.polling {
            // Full means that it rings already.
            let _ = rustix::io::write(&self.ringer, &[1]);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flags(interest: Interest) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.reads());
    flags.set(PollFlags::OUT, interest.writes());
    flags
}
