//! What is known of every item.

use std::ops::{Index, IndexMut};

use super::super::Verdict;

/// An item: the number of its task, and its place there.
pub(super) type Key = (u32, u64);

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Answered { cancelled: bool },
    Resolved(Verdict),
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) id: Option<u64>,
    /// The slot of the worker that could run it.
    pub(super) holder: Option<usize>,
    /// The last attempt that was noted as running; 0 if none was.
    pub(super) begun: u32,
    /// Attempts that have failed.
    pub(super) failed: u32,
    pub(super) committed: bool,
    pub(super) end: Option<End>,
}

/// Every item that was ever submitted, by its task.
#[derive(Debug, Default)]
pub(super) struct Items(Vec<Vec<Record>>);

impl Items {
    pub(super) fn add(&mut self, task: u32, count: u32) {
        let task = task as usize;
        if self.0.len() <= task {
            self.0.resize_with(task + 1, Vec::new);
        }
        let len = self.0[task].len() + count as usize;
        self.0[task].resize_with(len, Record::default);
    }

    /// Takes back what was added last: it was not taken.
    pub(super) fn take_back(&mut self, task: u32, count: u32) {
        let task = &mut self.0[task as usize];
        task.truncate(task.len() - count as usize);
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|task| task.len() as u64).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Record)> {
        let keyed = |(task, items): (usize, &'_ Vec<Record>)| (task as u32, items.len());
        let keys = self.0.iter().enumerate().map(keyed);
        keys.flat_map(|(task, len)| (0..len as u64).map(move |index| (task, index)))
            .map(|key| (key, &self[key]))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.0.iter_mut().flatten()
    }
}

impl Index<Key> for Items {
    type Output = Record;

    fn index(&self, (task, index): Key) -> &Record {
        &self.0[task as usize][index as usize]
    }
}

impl IndexMut<Key> for Items {
    fn index_mut(&mut self, (task, index): Key) -> &mut Record {
        &mut self.0[task as usize][index as usize]
    }
}
