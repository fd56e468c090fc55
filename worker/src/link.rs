//! The worker's ends of the channel: what it reads, what it writes, and the thread that watches both.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use crate::blocks::ring::{ResultBlocks, Ring};
use crate::frame::{Assembler, Header, Kind};
use crate::own::Own;
use crate::page::{Filled, LastWords, OUT, Page, Untaken};
use crate::patience::{self, POLL, Patience};

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
    /// Held while results go into the pipe, and while their lane is begun again.
    pipe: Mutex<Own>,
    /// A pipe from the main thread to the watcher, which wakes it to look after results that wait. It is no eventfd:
    /// not every Unix has them, and they share one inode, so that nobody could tell ours from another.
    pub(crate) bell: Own,
    clapper: Own,
    /// The watcher is awake and looks after them.
    pub(crate) armed: AtomicBool,
    /// Several short items are being run, one right after the other.
    pub(crate) in_batch: AtomicBool,
    /// The watcher is to end.
    pub(crate) closing: AtomicBool,
    /// Where large results are put.
    pub(crate) ring: Ring,
    pid: u32,
}

/// The link in use. A worker has one for all its life, one that is [lent](crate::lent) has one after the other.
static LINK: RwLock<Option<&'static Link>> = RwLock::new(None);

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
            jobs: Own::new(jobs, 0)?,
            pipe: Mutex::new(Own::new(results, 1)?),
            bell: Own::new(move_high(bell.into(), above)?, 2)?,
            clapper: Own::new(move_high(clapper.into(), above)?, 3)?,
            armed: AtomicBool::new(false),
            in_batch: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ring: Ring::default(),
            pid: std::process::id(),
        };
        watch_for_forks()?;
        let link: &'static Link = Box::leak(Box::new(link));
        *LINK.write().unwrap_or_else(PoisonError::into_inner) = Some(link);
        Ok(link)
    }

    /// Asks something of the link, if this process is a worker that has one now.
    pub(crate) fn with<R>(ask: impl FnOnce(&Link) -> R) -> Option<R> {
        LINK.read().unwrap_or_else(PoisonError::into_inner).map(ask)
    }

    /// Gives a link back to the system, with its descriptors and its page.
    ///
    /// # Safety
    /// Nobody has the link any more that [`install`](Self::install) gave; the watcher has ended.
    pub(crate) unsafe fn remove(link: &'static Link) {
        // Whoever is within `with` comes out first, and nobody comes in again.
        *LINK.write().unwrap_or_else(PoisonError::into_inner) = None;
        // SAFETY: `install` has leaked it, and by the caller's promise this is the only reference that is left.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(link).cast_mut()) });
    }

    /// Where large results are put, if this process can reach what is meant for them.
    pub(crate) fn blocks(&'static self) -> Option<ResultBlocks> {
        let arm = || {
            Link::with(Link::arm);
        };
        (self.page.blocks() > 0).then_some(ResultBlocks { ring: &self.ring, page: &self.page, arm })
    }

    /// Ends this worker at once, with a word to the parent about why.
    pub(crate) fn end(&self, words: LastWords) -> ! {
        self.page.say_last(words);
        exit_now(EXIT_PROTOCOL)
    }

    /// User code has run: a copy that it has made with fork(), and that has come back from the job, must not speak
    /// for the worker. Asks no system call, so that it can be done for each item.
    #[inline]
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

    /// A job has run: if it has closed the channel, as one does that closes all descriptors, it does not get its result
    /// through. This asks the system, which takes as long as many a job, so it asks of one descriptor; what
    /// [`check_channel`](Self::check_channel) finds later costs nobody.
    pub(crate) fn check_results(&self) {
        if !self.pipe().is_own() {
            self.end(LastWords::DescriptorLost);
        }
    }

    /// User code has run, nothing of which is still to be answered: a lost channel ends the worker, and nobody pays who
    /// may be innocent.
    pub(crate) fn check_channel(&self) {
        if !self.jobs.is_own() {
            self.end(LastWords::DescriptorLost);
        }
        self.check_results();
    }

    fn pipe(&self) -> MutexGuard<'_, Own> {
        self.pipe.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Has the watcher look after results that wait.
    #[inline]
    pub(crate) fn arm(&self) {
        if !self.armed.load(Ordering::Relaxed)
            && !self.armed.swap(true, Ordering::AcqRel)
            && self.clapper.is_own()
        {
            let _ = nix::unistd::write(&self.clapper, &[1]);
        }
    }

    /// Has the watcher end, once it looks.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.armed.store(false, Ordering::Release);
        self.arm();
    }

    /// The watcher goes back to sleep: writes what may have come while it made up its mind. This waits for the lock: the
    /// main thread may have seen a watcher that was still awake.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
        self.write_waiting(&self.pipe());
    }

    /// The watcher's part: writes what has waited since its last look. Tells whether there was anything.
    pub(crate) fn flush_waiting(&self) -> bool {
        // A held lock means that the main thread is writing.
        self.pipe.try_lock().is_ok_and(|pipe| self.write_waiting(&pipe))
    }

    /// A lost channel is for the main thread to notice, which knows what was committed.
    fn write_waiting(&self, pipe: &Own) -> bool {
        pipe.is_own() && self.page.results().take_committed(|left| write_left(pipe, true, self, &left))
    }

    /// Reads until there is a frame. What was committed is written before it sleeps; and at once, unless the parent looks
    /// for it in the page. `polls`: a core is free for that.
    pub(crate) fn receive(&self, input: &mut Input, out: &mut Out, polls: bool) {
        let lane = self.page.jobs();
        while !input.frames.has_frame() {
            if self.take(input) {
                continue;
            }
            out.before_waiting();
            let is_sent = lane.committed() > input.position || polls && self.poll(input);
            if !is_sent {
                lane.look(false);
            }
            // What was sent and is not in the lane is in the pipe.
            if !self.take(input) {
                out.flush();
                self.read(input);
            }
            if !is_sent {
                lane.look(true);
            }
        }
    }

    /// Waits a moment for the parent to send more; tells whether it has.
    fn poll(&self, input: &mut Input) -> bool {
        if !input.patience.polls() {
            return false;
        }
        let lane = self.page.jobs();
        let came = patience::poll_until(Instant::now() + POLL, || lane.committed() > input.position);
        input.patience.learn(came);
        came
    }

    /// Takes what lies in the lane; tells whether there was anything.
    fn take(&self, input: &mut Input) -> bool {
        let Ok(count) = self.page.jobs().take(input.position, &mut input.frames) else {
            self.end(LastWords::BadStream);
        };
        input.position += count as u64;
        count > 0
    }

    /// Reads from the pipe, and sleeps there if it has to.
    fn read(&self, input: &mut Input) {
        self.check_process();
        if !self.jobs.is_own() {
            self.end(LastWords::DescriptorLost);
        }
        let Ok(room) = input.frames.room(READ) else { self.end(LastWords::BadStream) };
        match nix::unistd::read(&self.jobs, room) {
            Ok(0) => end_group(),
            Ok(count) => {
                input.frames.filled(count);
                input.position += count as u64;
                // A thread that some job has left behind may have closed the channel meanwhile. Nothing of what has come
                // is claimed yet, so that nobody pays.
                self.check_channel();
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait_for(&self.jobs, nix::poll::PollFlags::POLLIN),
            Err(_) => self.end(LastWords::DescriptorLost),
        }
    }
}

/// Once in a process, however many links it has.
fn watch_for_forks() -> io::Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the handler only stores into an atomic, which is allowed in a copy of a threaded process.
    match unsafe { libc::pthread_atfork(None, None, Some(note_fork)) } {
        0 => Ok(()),
        _ => Err(io::Error::other("no memory to watch for fork()")),
    }
}

/// What comes from the parent.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) frames: Assembler,
    /// Bytes read so far.
    position: u64,
    patience: Patience,
}

/// How many bytes of this worker's results count; `None` in a process that is none.
#[cfg(feature = "fault-injection")]
pub fn committed() -> Option<u64> {
    Link::with(|link| link.page.results().committed())
}

/// Bytes to ask for in one read when no large frame is under way.
const READ: usize = 16 << 10;

/// The main thread's side of the results' way: it alone adds to them.
#[derive(Debug)]
pub(crate) struct Out {
    link: &'static Link,
    /// Frames so far.
    number: u64,
    filled: Filled,
    /// When the first of them was committed that may not be in the pipe.
    oldest: Option<Instant>,
    /// No job has run since the pipe was last asked whether it is ours.
    asked: bool,
}

impl Out {
    pub(crate) fn new(link: &'static Link) -> Out {
        Out { link, number: 0, filled: Filled::default(), oldest: None, asked: false }
    }

    /// Commits one frame: from here on it counts, whatever happens to this process.
    #[inline]
    pub(crate) fn send(&mut self, kind: Kind, aux: u8, body: &[u8]) {
        let header = Header { len: body.len() as u32, kind, aux }.to_bytes(self.number);
        self.number += 1;
        let lane = self.link.page.results();
        if !self.filled.put(lane, [&header, body]) {
            self.flush();
            if !self.filled.put(lane, [&header, body]) {
                self.write_through(&header, body);
            }
        }
    }

    /// Writes everything that was committed.
    pub(crate) fn flush(&mut self) {
        if self.filled.used() > 0 {
            let pipe = self.link.pipe();
            let asked = self.asked;
            let write = |left: Untaken<'_>| write_left(&pipe, asked, self.link, &left);
            if self.filled.take_for_pipe(self.link.page.results(), write).is_err() {
                self.link.end(LastWords::BadStream);
            }
        }
        self.oldest = None;
    }

    /// Between two jobs: writes what has waited long enough.
    pub(crate) fn pause(&mut self, now: Instant) {
        if self.filled.used() == 0 {
            return;
        }
        let oldest = *self.oldest.get_or_insert(now);
        if self.filled.used() >= ENOUGH || now.saturating_duration_since(oldest) >= HOLD {
            self.flush();
        }
    }

    /// Something begins that may take long, mostly a job: the watcher looks after what was not written.
    #[inline]
    pub(crate) fn before_work(&mut self) {
        self.asked = false;
        if self.filled.used() > 0 {
            self.link.arm();
        }
    }

    /// A job has run: see [`Link::check_results`].
    pub(crate) fn check_results(&mut self) {
        self.link.check_results();
        self.asked = true;
    }

    /// Before it waits for more: what the parent does not look for in the lane it gets at once.
    fn before_waiting(&mut self) {
        let lane = self.link.page.results();
        if !lane.is_looked_at() {
            self.flush();
        } else if self.filled.may_begin_again(lane) {
            // Not while the watcher writes from there.
            let _pipe = self.link.pipe();
            self.filled.begin_again(lane);
            self.oldest = None;
        }
    }

    /// A frame larger than the lane counts when its last byte is in the pipe.
    fn write_through(&mut self, header: &[u8], body: &[u8]) {
        let pipe = self.link.pipe();
        write(&pipe, false, self.link, header);
        write(&pipe, false, self.link, body);
        self.filled.skip(self.link.page.results(), header.len() + body.len());
    }
}

fn write_left(results: &Own, asked: bool, link: &Link, left: &Untaken<'_>) {
    // SAFETY: the parent only reads results. Whoever begins their lane again holds the pipe's lock, as the caller does.
    write(results, asked, link, unsafe { left.as_slice() });
}

/// `asked`: it is known to be ours.
fn write(results: &Own, asked: bool, link: &Link, mut bytes: &[u8]) {
    link.check_process();
    if !asked && !results.is_own() {
        link.end(LastWords::DescriptorLost);
    }
    while !bytes.is_empty() {
        match nix::unistd::write(results, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait_for(results, nix::poll::PollFlags::POLLOUT),
            Err(Errno::EPIPE) => end_group(),
            Err(_) => link.end(LastWords::DescriptorLost),
        }
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
