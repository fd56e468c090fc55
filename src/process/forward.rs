//! Writes what workers print to this process's own stderr, from one thread for all pools.
//!
//! Whoever reads our stderr may be slow or stopped. Only this thread waits for it; the bytes that wait are bounded
//! for each worker, beyond that its pipe fills and its job waits like any program whose reader is slow.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use slab::Slab;

use super::background;
use super::lane::{Lane, ROOM, Wake};

/// An unfinished line waits this long for its end.
const LINE_WAIT: Duration = Duration::from_millis(100);
/// A buffer larger than this is given back.
const KEEP: usize = 64 << 10;

type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// A pool's way to this process's stderr.
#[derive(Clone)]
pub(crate) struct Forwarder {
    channel: Arc<Channel>,
    wake: Wake,
    unwritten: Arc<AtomicUsize>,
}

impl Forwarder {
    /// `wake` is called, on the forwarder's thread, when a paused output can be read again.
    pub(crate) fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Forwarder {
        Forwarder { channel: to_stderr(), wake, unwritten: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn to(sink: impl FnMut(&[u8]) + Send + 'static, wake: Wake) -> Forwarder {
        Forwarder { channel: Arc::new(Channel::new(Box::new(sink))), wake, unwritten: Arc::default() }
    }

    /// Waits until all that this pool's workers have printed and that was read is written, or the time is up.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let left = |_: &mut State| self.unwritten.load(Ordering::Relaxed) > 0;
        let state = self.channel.state();
        let waited = self.channel.written.wait_timeout_while(state, timeout, left);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) fn open_lane(&self) -> OpenLane {
        let lane = Lane::new(self.wake.clone(), self.unwritten.clone());
        let key = self.channel.state().lanes.insert(lane);
        OpenLane { channel: self.channel.clone(), key }
    }
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").field("unwritten", &self.unwritten).finish_non_exhaustive()
    }
}

/// One worker's place in the forwarder.
pub(super) struct OpenLane {
    channel: Arc<Channel>,
    key: usize,
}

impl OpenLane {
    /// How many bytes may come now. If none, the pool is woken as soon as there is room.
    pub(super) fn room(&self) -> usize {
        let mut state = self.channel.state();
        let lane = &mut state.lanes[self.key];
        lane.paused = lane.room() == 0;
        lane.room()
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.channel.state();
        let now = Instant::now();
        if state.lanes[self.key].push(bytes, now) {
            state.unfinished.push_back((now, self.key));
            self.channel.changed.notify_one();
        }
        self.channel.announce(&mut state, self.key);
    }

    /// The worker has ended, its last line with it.
    pub(super) fn finish(&self) {
        let mut state = self.channel.state();
        state.lanes[self.key].release();
        self.channel.announce(&mut state, self.key);
    }
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        self.finish();
        let mut state = self.channel.state();
        state.lanes[self.key].closed = true;
        state.forget_if_done(self.key);
    }
}

/// Where all lanes end.
pub(super) struct Channel {
    state: Mutex<State>,
    /// There is something to write, or a line's time begins.
    changed: Condvar,
    /// Something was written.
    written: Condvar,
}

struct State {
    lanes: Slab<Lane>,
    /// Lanes that have something to write.
    ready: VecDeque<usize>,
    /// When a lane's unfinished line began; void if the lane says otherwise by now.
    unfinished: VecDeque<(Instant, usize)>,
    /// Taken by the thread when it starts.
    sink: Option<Sink>,
}

impl State {
    fn make_ready(&mut self, key: usize) -> bool {
        let lane = &mut self.lanes[key];
        let new = lane.has_whole_lines() && !lane.queued;
        if new {
            lane.queued = true;
            self.ready.push_back(key);
        }
        new
    }

    /// Unfinished lines whose time is up go as they are. Tells when the next one's will be.
    fn release_old_lines(&mut self, now: Instant) -> Option<Duration> {
        while let Some((since, key)) = self.unfinished.front().copied() {
            let left = LINE_WAIT.saturating_sub(now.saturating_duration_since(since));
            let waits = self.lanes.get(key).is_some_and(|lane| lane.since() == Some(since));
            if waits && !left.is_zero() {
                return Some(left);
            }
            self.unfinished.pop_front();
            if waits {
                self.lanes[key].release();
                self.make_ready(key);
            }
        }
        None
    }

    fn forget_if_done(&mut self, key: usize) {
        if self.lanes[key].closed && self.lanes[key].is_empty() {
            self.lanes.remove(key);
        }
    }

    /// Gives the one to wake, if somebody waits for the room that there is now.
    fn after_write(&mut self, key: usize) -> Option<Wake> {
        let lane = &mut self.lanes[key];
        lane.written();
        let wake = (lane.paused && lane.room() >= ROOM / 2).then(|| {
            lane.paused = false;
            lane.wake.clone()
        });
        self.forget_if_done(key);
        wake
    }

    fn discard(&mut self, key: usize) {
        self.ready.retain(|ready| *ready != key);
        let lane = &mut self.lanes[key];
        lane.queued = false;
        lane.release();
        lane.take(&mut Vec::new());
        lane.written();
    }
}

impl Channel {
    fn new(sink: Sink) -> Channel {
        let state = State {
            lanes: Slab::new(),
            ready: VecDeque::new(),
            unfinished: VecDeque::new(),
            sink: Some(sink),
        };
        Channel { state: Mutex::new(state), changed: Condvar::new(), written: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane has changed: has the thread look after it, and starts it if this is the first time.
    fn announce(self: &Arc<Channel>, state: &mut State, key: usize) {
        if state.make_ready(key) {
            self.changed.notify_one();
        }
        if let Some(sink) = state.sink.take() {
            let channel = self.clone();
            if background::start("sidestep-output", move || channel.serve(sink)).is_err() {
                // Without a thread the output is lost, but nobody waits for it. The next line tries again.
                state.sink = Some(Box::new(write_to_stderr));
                state.discard(key);
            }
        }
    }

    fn serve(&self, mut sink: Sink) {
        let mut piece = Vec::new();
        let mut state = self.state();
        loop {
            let next_line = state.release_old_lines(Instant::now());
            let Some(key) = state.ready.pop_front() else {
                state = match next_line {
                    Some(left) => {
                        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            };
            state.lanes[key].queued = false;
            state.lanes[key].take(&mut piece);
            drop(state);
            sink(&piece);
            piece.clear();
            if piece.capacity() > KEEP {
                piece = Vec::new();
            }
            state = self.state();
            let wake = state.after_write(key);
            self.written.notify_all();
            if let Some(wake) = wake {
                drop(state);
                wake();
                state = self.state();
            }
        }
    }
}

/// The way to our own stderr; a copy of the process that `fork` has made gets its own, with its own thread.
fn to_stderr() -> Arc<Channel> {
    static STDERR: Mutex<Option<(u32, Arc<Channel>)>> = Mutex::new(None);
    let mut current = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match &*current {
        Some((owner, channel)) if *owner == process => channel.clone(),
        _ => {
            let channel = Arc::new(Channel::new(Box::new(write_to_stderr)));
            *current = Some((process, channel.clone()));
            channel
        }
    }
}

/// Not through the standard library's lock: a program may hold it while it waits for a job that prints.
fn write_to_stderr(mut bytes: &[u8]) {
    let stderr = io::stderr();
    while !bytes.is_empty() {
        match nix::unistd::write(stderr.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let _ = poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            // Closed, or nobody reads it: there is nobody to tell.
            Err(_) => return,
        }
    }
}
