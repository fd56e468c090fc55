//! Consecutive items of one task, with their arguments.

use super::Item;

/// The arguments of a lot's items.
pub(crate) trait Payload: Sized {
    /// Cuts off the items from `at` on.
    fn split_off(&mut self, at: u32) -> Self;
    /// The items from `at`, which are not asked for here again.
    fn part(&mut self, at: u32, count: u32) -> Self;
    /// Bytes of the first `count` items' arguments.
    fn weight(&self, count: u32) -> usize;
}

/// Items that wait or are in flight together.
#[derive(Debug)]
pub(crate) struct Lot<P> {
    /// Their task's place in the slab.
    pub(crate) task: usize,
    pub(crate) first: Item,
    pub(crate) count: u32,
    pub(crate) payload: P,
    pub(crate) tried: Tried,
}

/// What has become of a lot's items so far: an item that is tried again makes a lot of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// Attempts that have failed.
    pub(crate) attempts: u32,
    /// Workers that have died of it.
    pub(crate) deaths: u32,
}

impl<P: Payload> Lot<P> {
    /// The item at an offset.
    pub(crate) fn item(&self, offset: u32) -> Item {
        Item { index: self.first.index + u64::from(offset), id: self.first.id + u64::from(offset) }
    }

    /// Cuts off the items from `at` on.
    pub(crate) fn split_off(&mut self, at: u32) -> Lot<P> {
        let rest = Lot {
            task: self.task,
            first: self.item(at),
            count: self.count - at,
            payload: self.payload.split_off(at),
            tried: self.tried,
        };
        self.count = at;
        rest
    }

    /// The items from `at`, to be tried again.
    pub(crate) fn part(&mut self, at: u32, count: u32) -> Lot<P> {
        let (task, first) = (self.task, self.item(at));
        Lot { task, first, count, payload: self.payload.part(at, count), tried: self.tried }
    }

    /// Drops the first `count` items.
    pub(crate) fn drop_front(&mut self, count: u32) {
        if count > 0 {
            *self = self.split_off(count);
        }
    }

    /// Cuts off the first `count` items.
    pub(crate) fn take_front(&mut self, count: u32) -> Lot<P> {
        let rest = self.split_off(count);
        std::mem::replace(self, rest)
    }
}
