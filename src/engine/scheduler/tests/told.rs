//! The stream of events, as one who hears nothing else understands it.

use std::collections::HashMap;

use super::super::{Ending, Event};

/// Where a job is, as far as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing was told.
    Nowhere,
    Queue,
    Worker,
    Over,
}

#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) submitted: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    /// By id.
    jobs: Vec<At>,
    /// Workers that serve, by slot.
    serving: HashMap<usize, u32>,
}

impl Told {
    fn go(&mut self, event: Event, id: u64, count: u32, from: At, to: At) {
        let (first, end) = (id as usize, id as usize + count as usize);
        if self.jobs.len() < end {
            self.jobs.resize(end, At::Nowhere);
        }
        for at in &mut self.jobs[first..end] {
            assert_eq!(std::mem::replace(at, to), from, "{event:?}");
        }
    }

    /// Takes an event, which has to fit those before it.
    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Queued { id, count, .. } => {
                self.submitted += u64::from(count);
                self.go(event, id, count, At::Nowhere, At::Queue);
            }
            Event::Sent { id, count, slot, .. } => {
                assert!(self.serving.contains_key(&slot), "a run is sent to nobody");
                self.go(event, id, count, At::Queue, At::Worker);
            }
            Event::TakenBack { id, count, .. } => self.go(event, id, count, At::Worker, At::Queue),
            Event::Ended { id, count, slot, ending } => {
                let known = self.jobs.get(id as usize).is_some_and(|at| *at != At::Nowhere);
                self.submitted += if known { 0 } else { u64::from(count) };
                let from = match slot {
                    Some(_) => At::Worker,
                    None if known => At::Queue,
                    None => At::Nowhere,
                };
                self.go(event, id, count, from, At::Over);
                match ending {
                    Ending::Ran { done, .. } => {
                        self.done += u64::from(done);
                        self.failed += u64::from(count - done);
                    }
                    Ending::Failed => self.failed += u64::from(count),
                    Ending::Cancelled => self.cancelled += u64::from(count),
                }
            }
            Event::WorkerUp { slot, pid } => {
                assert_eq!(self.serving.insert(slot, pid), None, "slot {slot} has two workers");
            }
            Event::WorkerDown { slot, pid } => {
                assert!(self.serving.remove(&slot).is_none_or(|up| up == pid), "{event:?} is another");
            }
        }
    }

    /// In the end everything that began is over.
    pub(super) fn check_ends(&self) {
        let open = self.jobs.iter().filter(|at| matches!(at, At::Queue | At::Worker)).count();
        assert_eq!(open, 0, "ends were not told");
    }
}
