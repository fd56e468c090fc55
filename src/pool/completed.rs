//! Handles in the order in which their jobs end.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use crate::engine::Engine;

use super::JobHandle;

/// Gives handles as their jobs end; the next one may be asked for its result at once.
///
/// They may be of several pools. What comes first is what was done before, in the order of the handles.
///
/// Inside of the `Deserialize` of a result, while which no other result of its pool can come, that pool's handles are
/// given as they are; their [`get`](JobHandle::get) refuses to wait.
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
    let mut pools: Vec<_> = handles.iter().flatten().map(|handle| handle.engine.clone()).collect();
    pools.dedup_by(|one, next| one.ptr_eq(next));
    let mut left = handles.len();
    std::iter::from_fn(move || {
        while left > 0 {
            let at = done.pop(|| {
                let read = pools.iter().find(|pool| is_read_here(pool))?;
                handles.iter().position(|handle| handle.as_ref().is_some_and(|h| h.engine.ptr_eq(read)))
            });
            // One that was given as it was may get done later.
            if let Some(handle) = handles[at].take() {
                left -= 1;
                return Some(handle);
            }
        }
        None
    })
}

/// Whether nothing of a pool can come before the calling thread goes on.
fn is_read_here(pool: &Weak<Engine>) -> bool {
    pool.upgrade().is_some_and(|engine| engine.is_read_here())
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

    /// The next one; while there is none, one for which there is no use in waiting. Each handle's job resolves,
    /// whatever happens, so that this ends.
    fn pop(&self, hopeless: impl Fn() -> Option<usize>) -> usize {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match queue.pop_front().or_else(&hopeless) {
                Some(at) => return at,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
