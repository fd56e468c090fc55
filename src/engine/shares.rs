//! Values that a pool shares with its workers: who was told of which, and when their memory is free.
//!
//! A worker is told of a value before the first run that names it. When nobody has the value any more and no arguments
//! name it, those who were told are told to forget it; its block is given back when all of them have, or are gone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sidestep_worker::blocks::{Block, Place};
use sidestep_worker::frame::Kind;
use sidestep_worker::shared::{Offer, Ticket};

use super::Engine;
use super::wires::Wires;

/// Pools and shared values of this process so far.
static POOLS: AtomicU64 = AtomicU64::new(0);
static VALUES: AtomicU64 = AtomicU64::new(0);

/// What an engine knows of its shared values.
#[derive(Debug)]
pub(super) struct Shares {
    /// The pool's number.
    pub(super) pool: u64,
    dropped: Mutex<Vec<Gone>>,
    any_dropped: AtomicBool,
}

impl Default for Shares {
    fn default() -> Shares {
        let pool = POOLS.fetch_add(1, Ordering::Relaxed);
        Shares { pool, dropped: Mutex::default(), any_dropped: AtomicBool::new(false) }
    }
}

/// A value that nobody has any more.
#[derive(Debug)]
pub(super) struct Gone {
    id: u64,
    /// Given back once those who were told of it have forgotten it.
    _block: Option<Box<dyn Block>>,
    /// Their slots.
    told: Vec<usize>,
}

/// A shared value as long as somebody has it, or arguments name it.
struct Share {
    id: u64,
    pool: u64,
    content: Content,
    inner: Vec<Arc<dyn Ticket>>,
    engine: Weak<Engine>,
}

enum Content {
    Placed(Place, Option<Box<dyn Block>>),
    Here(Vec<u8>),
}

impl Ticket for Share {
    fn id(&self) -> u64 {
        self.id
    }

    fn pool(&self) -> u64 {
        self.pool
    }

    fn offer(&self) -> Vec<u8> {
        match &self.content {
            Content::Placed(place, _) => Offer::Placed(*place).to_body(self.id),
            Content::Here(bytes) => Offer::Here(bytes).to_body(self.id),
        }
    }

    fn inner(&self) -> &[Arc<dyn Ticket>] {
        &self.inner
    }
}

impl Drop for Share {
    /// This may be called with the core locked, so it only takes note.
    fn drop(&mut self) {
        let Some(engine) = self.engine.upgrade() else { return };
        let block = match &mut self.content {
            Content::Placed(_, block) => block.take(),
            Content::Here(_) => None,
        };
        let gone = Gone { id: self.id, _block: block, told: Vec::new() };
        engine.shares.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(gone);
        engine.shares.any_dropped.store(true, Ordering::Release);
        engine.poller.wake();
    }
}

impl Engine {
    /// The pool's number among all of this process.
    pub(crate) fn number(&self) -> u64 {
        self.shares.pool
    }

    /// Keeps an encoded value for the workers. `inner` are those that it refers to.
    pub(crate) fn share(
        self: &Arc<Self>,
        bytes: Vec<u8>,
        block: Option<Box<dyn Block>>,
        inner: Vec<Arc<dyn Ticket>>,
    ) -> Arc<dyn Ticket> {
        let content = match block {
            Some(mut block) => Content::Placed(block.seal(), Some(block)),
            None => Content::Here(bytes),
        };
        let id = VALUES.fetch_add(1, Ordering::Relaxed);
        Arc::new(Share { id, pool: self.shares.pool, content, inner, engine: Arc::downgrade(self) })
    }

    /// Has workers forget what nobody has any more.
    pub(super) fn forget_shares(&self) {
        if self.shares.any_dropped.swap(false, Ordering::AcqRel) {
            let gone =
                std::mem::take(&mut *self.shares.dropped.lock().unwrap_or_else(PoisonError::into_inner));
            self.with(|core, _| gone.into_iter().for_each(|gone| core.wires.forget(gone)));
        }
    }
}

impl Wires {
    /// Tells a worker of the values that a run names, as far as it does not know them.
    pub(super) fn offer(&mut self, at: usize, tickets: &[Arc<dyn Ticket>]) {
        for ticket in tickets {
            self.offer(at, ticket.inner());
            let Some(link) = self.links.get_mut(at).and_then(Option::as_mut) else { return };
            if link.told.insert(ticket.id()) {
                link.outbox.push(Kind::Share, &ticket.offer());
            }
        }
    }

    fn forget(&mut self, mut gone: Gone) {
        for (at, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link.as_mut() else { continue };
            if !link.told.remove(&gone.id) {
                continue;
            }
            link.outbox.push(Kind::Forget, &gone.id.to_le_bytes());
            gone.told.push(at);
            self.dirty.push(at);
        }
        if !gone.told.is_empty() {
            self.gone.push(gone);
        }
    }

    /// A worker has nothing left of a value. `false` if it was not told to forget it.
    pub(super) fn forgotten(&mut self, at: usize, id: u64) -> bool {
        let Some(gone) = self.gone.iter_mut().find(|gone| gone.id == id) else { return false };
        let Some(told) = gone.told.iter().position(|told| *told == at) else { return false };
        gone.told.swap_remove(told);
        self.gone.retain(|gone| !gone.told.is_empty());
        true
    }

    /// A worker is gone, and so is what it had.
    pub(super) fn all_forgotten(&mut self, at: usize) {
        self.gone.retain_mut(|gone| {
            gone.told.retain(|told| *told != at);
            !gone.told.is_empty()
        });
    }
}
