//! Callers ask for room in the queue here, and wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::scheduler::{Grant, Load, Room, TaskKey};
use super::{Condition, Core, Engine};

/// One who waits for room. He is admitted with the engine's lock held, so that he is in line or has his grant.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    pub(crate) grant: Mutex<Option<Grant>>,
    pub(crate) changed: Condition,
    admitted: AtomicBool,
}

impl Waiter {
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Acquire)
    }

    fn admit(&self, grant: Grant) {
        let mut place = self.grant.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(grant);
        self.admitted.store(true, Ordering::Release);
        self.changed.notify_all();
    }
}

pub(super) type Rooms = Room<Arc<Waiter>>;

impl Engine {
    /// Room for items that are about to be brought, if there is some now.
    pub(crate) fn ask(&self, task: Option<TaskKey>, load: Load) -> Option<Grant> {
        if self.is_exempt() {
            return Some(Grant::default());
        }
        let core = &mut *self.core();
        core.room.ask(&core.scheduler, task, load)
    }

    /// The same, or a place in the line of those who wait.
    pub(crate) fn line_up(&self, task: Option<TaskKey>, load: Load) -> Result<Grant, Arc<Waiter>> {
        if self.is_exempt() {
            return Ok(Grant::default());
        }
        let core = &mut *self.core();
        core.room.ask(&core.scheduler, task, load).ok_or_else(|| {
            let waiter = Arc::<Waiter>::default();
            core.room.line_up(task, load, waiter.clone());
            waiter
        })
    }

    /// Ends a wait; what was granted, if anything.
    pub(crate) fn end_wait(&self, waiter: &Arc<Waiter>) -> Option<Grant> {
        if !waiter.is_admitted() {
            // Whoever stood behind him may have room.
            self.with(|core, _| core.room.leave(|other| Arc::ptr_eq(other, waiter)));
        }
        waiter.grant.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Nothing is limited, or the caller may not wait: in a callback, and where nothing can come while he is there.
    fn is_exempt(&self) -> bool {
        self.config.bounds.is_unlimited() || self.is_read_here() || self.callbacks.is_here()
    }
}

impl Core {
    /// Lets in who waits and has room by now; whether there was anybody.
    pub(super) fn admit(&mut self) -> bool {
        self.room.is_awaited() && self.room.admit(&self.scheduler, |waiter, grant| waiter.admit(grant))
    }
}
