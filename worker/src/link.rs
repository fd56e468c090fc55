//! The worker's ends of the channel: what it reads, what it writes, and the thread that watches both.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;

use crate::frame::{Assembler, HEADER, Header, Kind};
use crate::page::{LastWords, OUT, Page};

/// The child's code when it ends for a reason of the protocol's own.
pub(crate) const EXIT_PROTOCOL: i32 = 125;

/// Results wait at most this long for more to be written together with them.
const HOLD: Duration = Duration::from_micros(200);
/// Or until there are this many bytes of them.
const ENOUGH: usize = OUT / 2;

/// All that the worker shares between its main thread and its watcher.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) page: Page,
    pub(crate) jobs: Own,
    out: Mutex<Out>,
    /// A pipe from the main thread to the watcher, which wakes it to look after results that wait. It is no eventfd:
    /// not every Unix has them, and they share one inode, so that nobody could tell ours from another.
    pub(crate) bell: Own,
    clapper: Own,
    /// The watcher is awake and looks after them.
    pub(crate) armed: AtomicBool,
    /// Several short items are being run, one right after the other.
    pub(crate) in_batch: AtomicBool,
    pid: u32,
}

static LINK: OnceLock<Link> = OnceLock::new();

/// Set in a copy of this process that fork() has made.
static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_fork() {
    FORKED.store(true, Ordering::Relaxed);
}

impl Link {
    /// `above` is the least number that the worker's own descriptors may have.
    pub(crate) fn install(
        page: Page,
        jobs: OwnedFd,
        results: OwnedFd,
        above: RawFd,
    ) -> io::Result<&'static Link> {
        let (bell, clapper) = io::pipe()?;
        let link = Link {
            page,
            jobs: Own::new(jobs)?,
            out: Mutex::new(Out {
                results: Own::new(results)?,
                number: 0,
                position: 0,
                used: 0,
                oldest: None,
            }),
            bell: Own::new(move_high(bell.into(), above)?)?,
            clapper: Own::new(move_high(clapper.into(), above)?)?,
            armed: AtomicBool::new(false),
            in_batch: AtomicBool::new(false),
            pid: std::process::id(),
        };
        // SAFETY: the handler only stores into an atomic, which is allowed in a copy of a threaded process.
        if unsafe { libc::pthread_atfork(None, None, Some(note_fork)) } != 0 {
            return Err(io::Error::other("no memory to watch for fork()"));
        }
        Ok(LINK.get_or_init(|| link))
    }

    /// The link, in a worker.
    pub(crate) fn get() -> Option<&'static Link> {
        LINK.get()
    }

    /// Ends this worker at once, with a word to the parent about why.
    pub(crate) fn end(&self, words: LastWords) -> ! {
        self.page.say_last(words);
        exit_now(EXIT_PROTOCOL)
    }

    /// User code has run: a copy that it has made with fork(), and that has come back from the job, must not speak
    /// for the worker. Asks no system call, so that it can be done for each item.
    pub(crate) fn check_fork(&self) {
        if FORKED.load(Ordering::Relaxed) {
            exit_now(EXIT_PROTOCOL);
        }
    }

    /// The same, also for a copy that was made behind the C library's back.
    fn check_process(&self) {
        if std::process::id() != self.pid {
            exit_now(EXIT_PROTOCOL);
        }
    }

    /// User code has run: whoever has closed the channel does not get its result through. A batch is looked at as a
    /// whole when all its results are committed: then the worker ends, and nobody pays who may be innocent.
    pub(crate) fn check_channel(&self) {
        if !(self.jobs.is_own() && self.bell.is_own() && self.out().results.is_own()) {
            self.end(LastWords::DescriptorLost);
        }
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Commits one frame: from here on it counts, whatever happens to this process. With `more` to be run at once,
    /// the watcher sees to it that it does not wait for that.
    pub(crate) fn send(&self, kind: Kind, aux: u8, body: &[u8], more: bool) {
        self.out().push(self, kind, aux, body);
        if more {
            self.arm();
        }
    }

    fn arm(&self) {
        if !self.armed.load(Ordering::Relaxed)
            && !self.armed.swap(true, Ordering::AcqRel)
            && self.clapper.is_own()
        {
            let _ = nix::unistd::write(&self.clapper, &[1]);
        }
    }

    /// Writes everything that was committed.
    pub(crate) fn flush(&self) {
        self.out().flush(self);
    }

    /// Between two jobs: writes what has waited long enough, and has the watcher look after the rest.
    pub(crate) fn pause(&self, now: Instant) {
        let mut out = self.out();
        let Some(oldest) = out.oldest else { return };
        if out.used >= ENOUGH || now.saturating_duration_since(oldest) >= HOLD {
            out.flush(self);
        } else {
            self.arm();
        }
    }

    /// The watcher goes back to sleep: writes what may have come while it made up its mind. This waits for the lock: the
    /// main thread may be in it, and may have seen a watcher that was still awake.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
        self.out().flush_if_own(self);
    }

    /// The watcher's part: writes what has waited since its last look. Tells whether there was anything.
    pub(crate) fn flush_waiting(&self) -> bool {
        // A held lock means that the main thread is writing, or adds something and will look itself.
        let Ok(mut out) = self.out.try_lock() else { return false };
        let waiting = out.used > 0;
        out.flush_if_own(self);
        waiting
    }

    /// Reads until there is a frame. What was committed is written before it blocks.
    pub(crate) fn receive(&self, input: &mut Assembler) {
        while !input.has_frame() {
            self.flush();
            let Ok(room) = input.room(READ) else { self.end(LastWords::BadStream) };
            self.check_process();
            if !self.jobs.is_own() {
                self.end(LastWords::DescriptorLost);
            }
            match nix::unistd::read(&self.jobs, room) {
                Ok(0) => end_group(),
                Ok(count) => {
                    input.filled(count);
                    // A thread that some job has left behind may have closed the channel meanwhile. Nothing of what
                    // has come is claimed yet, so that nobody pays.
                    self.check_channel();
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait_for(&self.jobs, nix::poll::PollFlags::POLLIN),
                Err(_) => self.end(LastWords::DescriptorLost),
            }
        }
    }
}

/// How many bytes of this worker's results count; `None` in a process that is none.
#[cfg(feature = "fault-injection")]
pub fn committed() -> Option<u64> {
    Link::get().map(|link| link.page.committed())
}

/// Bytes to ask for in one read when no large frame is under way.
const READ: usize = 16 << 10;

/// What the worker has committed and not yet written.
#[derive(Debug)]
struct Out {
    results: Own,
    /// Frames so far.
    number: u64,
    /// Stream position behind the last committed byte.
    position: u64,
    /// Bytes of the out-buffer in use.
    used: usize,
    /// When the first of them was committed.
    oldest: Option<Instant>,
}

impl Out {
    fn push(&mut self, link: &Link, kind: Kind, aux: u8, body: &[u8]) {
        let header = Header { len: body.len() as u32, kind, aux }.to_bytes(self.number);
        let whole = HEADER + body.len();
        self.number += 1;
        if self.used + whole > OUT {
            self.flush(link);
        }
        if whole > OUT {
            return self.write_through(link, &header, body);
        }
        link.page.put(self.used, &header);
        link.page.put(self.used + HEADER, body);
        self.used += whole;
        self.position += whole as u64;
        self.oldest.get_or_insert_with(Instant::now);
        link.page.commit(self.position);
    }

    fn flush(&mut self, link: &Link) {
        if self.used == 0 {
            return;
        }
        self.write(link, link.page.written(0..self.used));
        link.page.rebase(self.position);
        self.used = 0;
        self.oldest = None;
    }

    /// The watcher's flush. A lost channel is for the main thread to notice, which knows what was committed.
    fn flush_if_own(&mut self, link: &Link) {
        if self.used > 0 && self.results.is_own() {
            self.flush(link);
        }
    }

    /// A frame larger than the out-buffer counts when its last byte is in the pipe.
    fn write_through(&mut self, link: &Link, header: &[u8], body: &[u8]) {
        self.write(link, header);
        self.write(link, body);
        self.position += (header.len() + body.len()) as u64;
        link.page.rebase(self.position);
        link.page.commit(self.position);
    }

    fn write(&self, link: &Link, mut bytes: &[u8]) {
        link.check_process();
        if !self.results.is_own() {
            link.end(LastWords::DescriptorLost);
        }
        while !bytes.is_empty() {
            match nix::unistd::write(&self.results, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait_for(&self.results, nix::poll::PollFlags::POLLOUT),
                Err(Errno::EPIPE) => end_group(),
                Err(_) => link.end(LastWords::DescriptorLost),
            }
        }
    }
}

/// A descriptor of the protocol, which user code may have closed or replaced.
#[derive(Debug)]
pub(crate) struct Own {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

impl Own {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Own> {
        let stat = fstat(&fd)?;
        Ok(Own { fd, device: stat.st_dev, inode: stat.st_ino })
    }

    pub(crate) fn is_own(&self) -> bool {
        fstat(&self.fd).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (self.device, self.inode))
    }
}

impl AsFd for Own {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A job may have made a descriptor non-blocking: then this waits instead. The watcher ends it if the parent is gone.
fn wait_for(fd: &Own, what: nix::poll::PollFlags) {
    let _ = nix::poll::poll(&mut [nix::poll::PollFd::new(fd.as_fd(), what)], nix::poll::PollTimeout::NONE);
}

/// Moves a descriptor out of the way of programs' usual numbers, and keeps it from programs that jobs start.
pub(crate) fn move_high(fd: OwnedFd, above: RawFd) -> io::Result<OwnedFd> {
    let moved = File::from(fd);
    let high = nix::fcntl::fcntl(&moved, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(above));
    match high {
        // SAFETY: F_DUPFD_CLOEXEC has just made this descriptor, nobody else knows it.
        Ok(high) => Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(high) }),
        Err(_) => {
            // No number free up there: it stays where it is.
            nix::fcntl::fcntl(&moved, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
            debug_assert!(moved.as_raw_fd() >= 3);
            Ok(moved.into())
        }
    }
}

/// The parent is gone: ends the worker and everything that its jobs have started and that is still in its group. A
/// group that the worker does not lead is somebody else's.
pub(crate) fn end_group() -> ! {
    crate::orphaned::act();
    let group = nix::unistd::getpgrp();
    if group == nix::unistd::getpid() {
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    exit_now(EXIT_PROTOCOL)
}

/// A number that programs rarely use, and that the limit allows.
pub(crate) fn high_number() -> RawFd {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((256, 256));
    (soft.min(1024) as RawFd - 32).max(10)
}

/// Ends this process without running anything that user code has registered.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(code) }
}
