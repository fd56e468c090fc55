//! What a worker does before it ends because its parent is gone.

use std::sync::OnceLock;

static ACT: OnceLock<fn()> = OnceLock::new();

/// Has `act` called before the worker and its group are killed. It ends what a job has started and what is not in the
/// group any more. It may be called on any thread, also in a signal handler, and must come back soon. The first one
/// counts.
pub fn before_the_end(act: fn()) {
    let _ = ACT.set(act);
}

/// Calls what was left for now.
pub(crate) fn act() {
    if let Some(act) = ACT.get() {
        act();
    }
}
