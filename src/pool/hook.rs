//! What a caller wants to be told when a job ends.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Callbacks;
use crate::error::JobError;

pub(super) type Function<T> = Box<dyn FnMut(&T) + Send>;
/// Tells whether a result is so bad that the job is to be tried again.
pub(super) type Judge<R> = Arc<dyn Fn(&R) -> bool + Send + Sync>;

/// The callbacks of one call.
pub(super) struct Hooks<R> {
    pub(super) on_success: Option<Arc<Hook<R>>>,
    pub(super) on_error: Option<Arc<Hook<JobError>>>,
    pub(super) retry_if: Option<Judge<R>>,
}

impl<R> Default for Hooks<R> {
    fn default() -> Hooks<R> {
        Hooks { on_success: None, on_error: None, retry_if: None }
    }
}

impl<R> Clone for Hooks<R> {
    fn clone(&self) -> Hooks<R> {
        Hooks {
            on_success: self.on_success.clone(),
            on_error: self.on_error.clone(),
            retry_if: self.retry_if.clone(),
        }
    }
}

impl<R: Send + 'static> Hooks<R> {
    /// A value has come; the callback gets one of its own, decoded from the same bytes.
    pub(super) fn success(&self, value: impl FnOnce() -> Option<R>) {
        if let Some(hook) = &self.on_success
            && let Some(value) = value()
        {
            hook.call(value);
        }
    }
}

impl<R> Hooks<R> {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.tell_nobody() || self.retry_if.is_some()
    }

    /// Whether nobody wants to be told how a job ends.
    pub(super) fn tell_nobody(&self) -> bool {
        self.on_success.is_none() && self.on_error.is_none()
    }

    /// Whether a value is worth another attempt. A judge that panics has nothing against it.
    pub(super) fn is_bad(&self, value: impl FnOnce() -> Option<R>) -> bool {
        let judge = |judge: &Judge<R>| {
            let judged = || value().is_some_and(|value| judge(&value));
            catch_unwind(AssertUnwindSafe(judged)).unwrap_or(false)
        };
        self.retry_if.as_ref().is_some_and(judge)
    }

    pub(super) fn error(&self, error: &JobError) {
        if let Some(hook) = &self.on_error {
            hook.call(error.clone());
        }
    }
}

/// A callback, and what it is still to be called with.
pub(super) struct Hook<T> {
    callbacks: Arc<Callbacks>,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// Not here while it runs.
    function: Option<Function<T>>,
    waiting: VecDeque<T>,
    /// Turns that came while it ran.
    missed: usize,
}

impl<T: Send + 'static> Hook<T> {
    pub(super) fn new(callbacks: Arc<Callbacks>, function: Function<T>) -> Arc<Hook<T>> {
        let state = State { function: Some(function), waiting: VecDeque::new(), missed: 0 };
        Arc::new(Hook { callbacks, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(self: &Arc<Self>, value: T) {
        self.state().waiting.push_back(value);
        let hook = self.clone();
        self.callbacks.push(Box::new(move || hook.run()));
    }

    /// Runs the callback for the next value. It cannot run twice at a time: if it is still in an earlier call, then
    /// whoever is in there goes on with this one.
    fn run(&self) {
        let mut state = self.state();
        let Some(mut function) = state.function.take() else {
            state.missed += 1;
            return;
        };
        state.missed += 1;
        while state.missed > 0 {
            state.missed -= 1;
            let value = state.waiting.pop_front();
            drop(state);
            if let Some(value) = value {
                // Its panic was reported by the panic hook, and is nobody else's concern.
                let _ = catch_unwind(AssertUnwindSafe(|| function(&value)));
            }
            state = self.state();
        }
        state.function = Some(function);
    }
}
