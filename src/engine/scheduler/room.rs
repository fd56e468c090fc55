//! Whether the queue has room, and who waits for it.
//!
//! Whoever brings items asks first. He gets a [`Grant`], which keeps room for him until he brings them, or a place in
//! the line of those who wait. The line is served from its front, so that each of several who bring much has his turn.

use std::collections::VecDeque;

use super::{Payload, Scheduler, TaskKey};

/// How much may wait, begun items not included; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) jobs: Option<usize>,
    /// Bytes of arguments. Items that have more than this wait alone.
    pub(crate) bytes: Option<usize>,
}

impl Bounds {
    pub(crate) fn is_unlimited(&self) -> bool {
        *self == Bounds::default()
    }

    /// What many items are to be brought in pieces of, so that there is room for the next while one is worked off.
    pub(crate) fn piece(&self) -> Load {
        let quarter = |limit: Option<usize>| limit.map_or(usize::MAX, |limit| (limit / 4).max(1));
        Load { jobs: quarter(self.jobs) as u64, bytes: quarter(self.bytes) }
    }
}

/// Items and the bytes of their arguments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) jobs: u64,
    pub(crate) bytes: usize,
}

/// Room that is kept for somebody. The empty one is for who needs none: nothing is limited, or what he brings is
/// refused anyway.
#[derive(Debug, Default)]
#[must_use = "the room stays taken until the items are brought"]
pub(crate) struct Grant(Load);

/// One who waits.
#[derive(Debug)]
struct Waiting<W> {
    /// The task that his items belong to, if it has begun.
    task: Option<TaskKey>,
    load: Load,
    who: W,
}

/// The queue's bounds, and those who wait.
#[derive(Debug)]
pub(crate) struct Room<W> {
    bounds: Bounds,
    /// What is kept for those who have a grant.
    granted: Load,
    line: VecDeque<Waiting<W>>,
}

impl<W> Room<W> {
    pub(crate) fn new(bounds: Bounds) -> Room<W> {
        Room { bounds, granted: Load::default(), line: VecDeque::new() }
    }

    /// Room for items, if there is some and nobody waits for it.
    pub(crate) fn ask<P: Payload, S: Clone>(
        &mut self,
        scheduler: &Scheduler<P, S>,
        task: Option<TaskKey>,
        load: Load,
    ) -> Option<Grant> {
        if !scheduler.takes(task) {
            return Some(Grant::default());
        }
        (self.line.is_empty() && self.fits(scheduler, load)).then(|| self.grant(load))
    }

    /// Stands at the end of the line.
    pub(crate) fn line_up(&mut self, task: Option<TaskKey>, load: Load, who: W) {
        self.line.push_back(Waiting { task, load, who });
    }

    /// Leaves the line.
    pub(crate) fn leave(&mut self, is: impl Fn(&W) -> bool) {
        self.line.retain(|waiting| !is(&waiting.who));
    }

    /// The items have come.
    pub(crate) fn redeem(&mut self, Grant(load): Grant) {
        self.granted.jobs -= load.jobs;
        self.granted.bytes -= load.bytes;
    }

    /// Lets those in whose turn it is, and those whose items nobody takes any more. Whether there were any.
    pub(crate) fn admit<P: Payload, S: Clone>(
        &mut self,
        scheduler: &Scheduler<P, S>,
        mut admitted: impl FnMut(W, Grant),
    ) -> bool {
        let before = self.line.len();
        for waiting in std::mem::take(&mut self.line) {
            if scheduler.takes(waiting.task) {
                self.line.push_back(waiting);
            } else {
                admitted(waiting.who, Grant::default());
            }
        }
        while let Some(Waiting { load, .. }) = self.line.front()
            && self.fits(scheduler, *load)
            && let Some(Waiting { load, who, .. }) = self.line.pop_front()
        {
            admitted(who, self.grant(load));
        }
        self.line.len() < before
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.line.is_empty()
    }

    fn grant(&mut self, load: Load) -> Grant {
        self.granted.jobs += load.jobs;
        self.granted.bytes += load.bytes;
        Grant(load)
    }

    fn fits<P: Payload, S: Clone>(&self, scheduler: &Scheduler<P, S>, load: Load) -> bool {
        let backlog = scheduler.backlog();
        let jobs = backlog.jobs + self.granted.jobs;
        let bytes = backlog.bytes + self.granted.bytes;
        // What is larger than the limit comes in when nothing else is there.
        self.bounds.jobs.is_none_or(|limit| jobs == 0 || jobs + load.jobs <= limit as u64)
            && self.bounds.bytes.is_none_or(|limit| bytes == 0 || bytes.saturating_add(load.bytes) <= limit)
    }
}
