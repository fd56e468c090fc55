//! What happens in a pool, as a stream: progress, job logs, reports and traces are made from it.

use std::fmt;

use super::Lot;

/// One thing that happened. Without a listener none is even made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Consecutive jobs came into the queue.
    Queued { id: u64, count: u32, job: u32 },
    /// A run of jobs was sent to a worker.
    Sent { id: u64, count: u32, slot: usize, attempt: u32 },
    /// Jobs that a worker has not begun came back into the queue.
    TakenBack { id: u64, count: u32, slot: usize },
    /// Consecutive jobs are over, each once. `slot` is that of their worker, if they had one.
    Ended { id: u64, count: u32, slot: Option<usize>, ending: Ending },
    /// A worker serves.
    WorkerUp { slot: usize, pid: u32 },
    /// A worker's process is gone, whether it has served or not.
    WorkerDown { slot: usize, pid: u32 },
}

/// How consecutive jobs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// They ran; `done` of them gave a value, and one of them took `nanos`.
    Ran { done: u32, nanos: u64 },
    /// They failed without an answer.
    Failed,
    /// They were cancelled. Of those that waited this is told when they leave the queue, which may be later than
    /// they are counted.
    Cancelled,
}

/// Whoever listens, if anybody does.
#[derive(Default)]
pub(crate) struct Listener(Option<Box<dyn FnMut(Event) + Send>>);

impl Listener {
    #[cfg(test)]
    pub(crate) fn new(listener: impl FnMut(Event) + Send + 'static) -> Listener {
        Listener(Some(Box::new(listener)))
    }

    pub(super) fn cancelled<P>(&mut self, lot: &Lot<P>, slot: Option<usize>) {
        let (id, count) = (lot.first.id, lot.count);
        self.tell(|| Event::Ended { id, count, slot, ending: Ending::Cancelled });
    }

    pub(crate) fn tell(&mut self, event: impl FnOnce() -> Event) {
        if let Some(listener) = &mut self.0 {
            listener(event());
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener" } else { "no listener" })
    }
}
