//! Users' callbacks run here, on threads that move no results.
//!
//! One thread runs them in the order in which jobs ended. If one callback takes longer than 100 ms, a second thread
//! goes on with the others; the first one leaves when its callback returns.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// A callback that takes longer does not hold up the others.
const PATIENCE: Duration = Duration::from_millis(100);
/// A thread that has had nothing to do for this long ends.
const IDLE: Duration = Duration::from_secs(1);

type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Callbacks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Callback>,
    /// Callbacks that run, and the threads they run on.
    running: Vec<ThreadId>,
    /// Those of them that wait for the others themselves.
    waiting: Vec<ThreadId>,
    /// The thread whose turn it is, by number, and since when it has been in one callback.
    turn: u64,
    busy_since: Option<Instant>,
    /// A thread has the turn, or is about to.
    staffed: bool,
    /// A thread watches whether the one with the turn takes too long.
    watched: bool,
}

impl Callbacks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a callback after those that came before it.
    pub(crate) fn push(self: &Arc<Self>, callback: Callback) {
        let mut state = self.state();
        state.queue.push_back(callback);
        if !state.staffed {
            let turn = state.turn;
            state.staffed = self.start(move |callbacks| callbacks.work(turn));
        } else if state.busy_since.is_some() && !state.watched {
            state.watched = self.start(|callbacks| callbacks.watch());
        } else {
            self.changed.notify_all();
        }
        if !state.staffed {
            // No thread to be had: better late on this one than never.
            let callback = state.queue.pop_back();
            drop(state);
            if let Some(callback) = callback {
                let _ = catch_unwind(AssertUnwindSafe(callback));
            }
        }
    }

    fn start(self: &Arc<Self>, body: impl FnOnce(&Arc<Self>) + Send + 'static) -> bool {
        let this = self.clone();
        std::thread::Builder::new().name("sidestep-callback".into()).spawn(move || body(&this)).is_ok()
    }

    /// Runs callbacks until another thread has taken the turn, or there is nothing to do for a while.
    fn work(self: &Arc<Self>, turn: u64) {
        let me = std::thread::current().id();
        let mut state = self.state();
        let mut idle_since = Instant::now();
        while state.turn == turn {
            let Some(callback) = state.queue.pop_front() else {
                let left = IDLE.saturating_sub(idle_since.elapsed());
                if left.is_zero() {
                    state.staffed = false;
                    return;
                }
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            };
            state.running.push(me);
            state.busy_since = Some(Instant::now());
            if !state.queue.is_empty() && !state.watched {
                state.watched = self.start(|callbacks| callbacks.watch());
            }
            drop(state);
            // A callback that panics harms nothing; the panic hook has reported it.
            let _ = catch_unwind(AssertUnwindSafe(callback));
            state = self.state();
            state.running.retain(|id| *id != me);
            if state.turn == turn {
                state.busy_since = None;
            }
            idle_since = Instant::now();
            self.changed.notify_all();
        }
    }

    /// Takes the turn over when a callback takes too long while others wait; ends when there is nothing to watch.
    fn watch(self: &Arc<Self>) {
        let mut state = self.state();
        loop {
            let left = match state.busy_since {
                Some(since) if !state.queue.is_empty() => PATIENCE.saturating_sub(since.elapsed()),
                _ => break,
            };
            if left.is_zero() {
                state.turn += 1;
                state.busy_since = None;
                state.watched = false;
                let turn = state.turn;
                drop(state);
                return self.work(turn);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.watched = false;
    }

    /// Waits until all callbacks have run, but for the one that the calling thread is in, and for those that wait in
    /// here too. `false` at the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let me = std::thread::current().id();
        let mut state = self.state();
        if state.running.contains(&me) {
            state.waiting.push(me);
            // The others may have waited for this one.
            self.changed.notify_all();
        }
        let inside = state.waiting.contains(&me);
        let over = loop {
            let counts = |id: &ThreadId| !(inside && state.waiting.contains(id));
            if state.queue.is_empty() && !state.running.iter().any(counts) {
                break true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break false,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        state.waiting.retain(|id| *id != me);
        over
    }

    /// Whether the calling thread is in a callback of this pool.
    pub(crate) fn is_here(&self) -> bool {
        self.state().running.contains(&std::thread::current().id())
    }
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        write!(f, "Callbacks({} waiting, {} running)", state.queue.len(), state.running.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn they_run_in_order_and_a_panic_harms_nobody() {
        let callbacks = Arc::new(Callbacks::default());
        let (sender, receiver) = channel();
        for number in 0..100 {
            let sender = sender.clone();
            callbacks.push(Box::new(move || {
                sender.send(number).unwrap();
                assert!(number != 3, "one of them panics on purpose");
            }));
        }
        assert!(callbacks.wait(None));
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_slow_one_does_not_hold_up_the_others() {
        let callbacks = Arc::new(Callbacks::default());
        let (release, held) = channel::<()>();
        callbacks.push(Box::new(move || held.recv().unwrap()));
        let (sender, receiver) = channel();
        for number in 0..10 {
            let sender = sender.clone();
            callbacks.push(Box::new(move || sender.send(number).unwrap()));
        }
        let begin = Instant::now();
        for number in 0..10 {
            assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(number));
        }
        assert!(begin.elapsed() >= PATIENCE / 2);
        assert!(!callbacks.wait(Some(Instant::now())), "the slow one still runs");
        release.send(()).unwrap();
        assert!(callbacks.wait(None));
    }

    #[test]
    fn one_may_wait_for_the_others() {
        let callbacks = Arc::new(Callbacks::default());
        let (sender, receiver) = channel();
        let inner = callbacks.clone();
        callbacks.push(Box::new(move || sender.send((inner.is_here(), inner.wait(None))).unwrap()));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok((true, true)));
        assert!(!callbacks.is_here());
    }
}
