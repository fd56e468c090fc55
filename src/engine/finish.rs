//! The pool's end, in each of its ways.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::error::PoolError;

use super::Engine;
use super::driver::Io;
use super::scheduler::Phase;

/// How long the end waits for killed processes before it leaves them to the pool's thread.
pub(super) const END_WAIT: Duration = Duration::from_millis(700);
/// What workers have printed is given this long to get to our own stderr.
const FLUSH_WAIT: Duration = Duration::from_millis(200);

impl Engine {
    /// Takes no more tasks.
    pub(crate) fn close(&self) {
        self.with(|core, now| core.scheduler.close(now, &mut core.wires));
        self.announce_end();
    }

    /// Kills everything now; every open handle resolves before this returns.
    pub(crate) fn terminate(&self) {
        self.close_arena();
        self.with(|core, now| core.scheduler.shut(Phase::Terminated, now, &mut core.wires));
        self.announce_end();
    }

    fn announce_end(&self) {
        self.ending.store(true, Ordering::Release);
        self.poller.wake();
        self.turns.nudge();
    }

    /// [`terminate`](Self::terminate), then waits until the processes are gone, but not for ever.
    pub(crate) fn end(&self) {
        self.terminate();
        if self.is_read_here() {
            // Nothing ends while this thread is here; whoever reads sees to the rest.
            return;
        }
        let here = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.wait_finished(Some(Instant::now() + END_WAIT))
            && let Some(thread) = here
            && thread.thread().id() != std::thread::current().id()
        {
            // It has nothing left to do; with it the last descriptors go.
            let _ = thread.join();
        }
        if let Some(forwarder) = &self.forwarder {
            forwarder.flush(FLUSH_WAIT);
        }
    }

    /// Waits until all workers are gone. `false` at the deadline.
    pub(super) fn wait_finished(&self, deadline: Option<Instant>) -> bool {
        let mut core = self.core();
        while !core.finished {
            core = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(core).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.changed.wait_timeout(core, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    /// Waits for all work, all callbacks and every process.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> Result<(), PoolError> {
        if self.phase() == Phase::Open {
            return Err(PoolError::Open);
        }
        if self.is_read_here() {
            return Err(PoolError::StillRunning);
        }
        if !self.wait_finished(deadline) || !self.callbacks.wait(deadline) {
            return Err(PoolError::StillRunning);
        }
        if let Some(forwarder) = &self.forwarder {
            forwarder.flush(FLUSH_WAIT);
        }
        let core = self.core();
        if let Some(why) = &core.wires.broken {
            return Err(why.clone());
        }
        match core.unreaped.as_slice() {
            [] => Ok(()),
            pids => Err(PoolError::Unreaped { pids: pids.to_vec() }),
        }
    }

    /// When nothing is left, gives everything back. On the thread of the one who reads.
    pub(super) fn finish_if_over(&self, io: &mut Io) {
        let mut core = self.core();
        let over = match core.scheduler.phase() {
            Phase::Open => false,
            Phase::Closed => core.scheduler.is_done(),
            Phase::Broken | Phase::Terminated => true,
        };
        #[cfg(feature = "connect")]
        if over && !core.finished {
            // Without the lock, which is taken for those that were waited for.
            drop(core);
            self.borrow_no_more();
            core = self.core();
        }
        if !over || core.finished || core.scheduler.has_processes() {
            return;
        }
        io.clear();
        core.wires.links.clear();
        core.finished = true;
        drop(core);
        #[cfg(feature = "connect")]
        self.leave_server();
        self.changed.notify_all();
        self.poller.wake();
        self.turns.nudge();
    }
}

impl Engine {
    /// Remembers the pool's own thread.
    pub(super) fn keep_thread(self: &Arc<Self>, thread: std::thread::JoinHandle<()>) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }
}
