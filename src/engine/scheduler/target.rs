//! What is withdrawn.

use std::ops::Range;

use super::Lot;

/// What is withdrawn: all of a task, or one item of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) task: usize,
    pub(super) item: Option<u64>,
}

impl Target {
    /// Whether an item of a task is part of it.
    pub(super) fn has(self, task: usize, index: u64) -> bool {
        self.task == task && self.item.is_none_or(|item| item == index)
    }

    /// Its items' places in a lot.
    pub(super) fn places<P>(self, lot: &Lot<P>) -> Range<u32> {
        match self.item {
            _ if self.task != lot.task => 0..0,
            None => 0..lot.count,
            Some(item) => match item.checked_sub(lot.first.index) {
                Some(place) if place < u64::from(lot.count) => place as u32..place as u32 + 1,
                _ => 0..0,
            },
        }
    }
}
