//! Handles in the order in which their jobs end.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::JobHandle;

/// Gives handles as their jobs end; the next one may be asked for its result at once.
///
/// They may be of several pools. What comes first is what was done before, in the order of the handles.
///
/// ```no_run
/// # fn work(n: u32) -> u32 { n }
/// # let pool = sidestep::Pool::new(2)?;
/// let handles = (0..10).map(|n| pool.apply_async(work, (n,)));
/// for handle in sidestep::as_completed(handles) {
///     println!("{}: {:?}", handle.id(), handle.get());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn as_completed<R>(
    handles: impl IntoIterator<Item = JobHandle<R>>,
) -> impl Iterator<Item = JobHandle<R>> {
    let done = Arc::new(Done::default());
    let mut handles: Vec<_> = handles.into_iter().map(Some).collect();
    for (at, handle) in handles.iter().enumerate() {
        let done = done.clone();
        if let Some(handle) = handle {
            handle.when_ready(Box::new(move || done.push(at)));
        }
    }
    let mut left = handles.len();
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        handles[done.pop()].take()
    })
}

/// Which handles are done and were not given yet.
#[derive(Default)]
struct Done {
    queue: Mutex<VecDeque<usize>>,
    changed: Condvar,
}

impl Done {
    fn push(&self, at: usize) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(at);
        self.changed.notify_one();
    }

    /// Each handle's job resolves, whatever happens, so that this ends.
    fn pop(&self) -> usize {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match queue.pop_front() {
                Some(at) => return at,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
