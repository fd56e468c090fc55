//! Waiting until the queue has room.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::Engine;
use crate::engine::scheduler::{Grant, Load, TaskKey};

/// Waits for room for items of a task, or of one that is yet to begin; moves results meanwhile. `None` at the deadline.
///
/// What nobody takes any more needs no room.
pub(super) fn admit(
    engine: &Arc<Engine>,
    task: Option<TaskKey>,
    load: Load,
    deadline: Option<Instant>,
) -> Option<Grant> {
    match engine.line_up(task, load) {
        Ok(grant) => Some(grant),
        Err(waiter) => {
            let ready = || waiter.is_admitted();
            super::wait(&Arc::downgrade(engine), deadline, &ready, &waiter.grant, &waiter.changed);
            engine.end_wait(&waiter)
        }
    }
}
