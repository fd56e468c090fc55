//! A pool whose workers are a server's: it has as many as it has jobs, and gives some back when others want them.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::error::PoolError;
use crate::lending::{Counts, Listening, Notice, Pool};

use super::start::{JobTable, Start};
use super::{Config, Core, Engine};

impl Core {
    /// The pool is up although it has no worker: it knows the jobs, and borrows workers once it has some.
    pub(super) fn start_with_none(&mut self, config: &Config, now: Instant) {
        let Some(borrower) = &config.borrower else { return };
        self.table.get_or_init(|| JobTable::new(borrower.jobs().to_vec()));
        self.start = Start::Up;
        self.scheduler.be_elastic();
        self.scheduler.resize(config.workers, now, &mut self.wires);
    }
}

impl Engine {
    /// An engine whose workers are those of a server.
    pub(crate) fn start_borrowed(config: Config, listening: Listening) -> Result<Arc<Engine>, PoolError> {
        let engine = Engine::new(config)?;
        if let Err(error) = engine.listen(listening) {
            engine.end();
            return Err(error);
        }
        // What tests pools of one's own expects that all workers are there at once.
        if cfg!(sidestep_borrowed) {
            engine.start_workers()?;
        } else {
            engine.with(|core, now| core.start_with_none(&engine.config, now));
        }
        Ok(engine)
    }

    /// Hears what the server wants, from now on.
    fn listen(self: &Arc<Self>, listening: Listening) -> Result<(), PoolError> {
        let Some(borrower) = self.config.borrower.clone() else { return Ok(()) };
        let pool = Box::new(Hearing(Arc::downgrade(self)));
        listening.start(borrower, pool).map_err(|error| PoolError::Spawn {
            message: format!("no thread to hear what the shared pool's server says: {error}"),
        })
    }

    /// Waits for no worker any more, since nothing is left to be done.
    pub(super) fn borrow_no_more(&self) {
        if let Some(borrower) = &self.config.borrower {
            borrower.give_up();
        }
    }

    /// Nothing is borrowed any more.
    pub(super) fn leave_server(&self) {
        if let Some(borrower) = &self.config.borrower {
            borrower.hang_up();
        }
    }
}

/// Called on the connection's thread.
struct Hearing(Weak<Engine>);

impl Pool for Hearing {
    fn notice(&self, notice: Notice) {
        let Some(engine) = self.0.upgrade() else { return };
        match notice {
            Notice::Recall(count) => {
                engine.with(|core, now| core.scheduler.give_back(count, now, &mut core.wires));
            }
            Notice::Gone => {
                let Some(borrower) = &engine.config.borrower else { return };
                engine.with(|core, now| {
                    if !core.finished {
                        core.break_down(borrower.gone(), now);
                    }
                });
            }
        }
        engine.rouse();
        engine.ring();
    }

    fn counts(&self) -> Counts {
        let Some(engine) = self.0.upgrade() else { return Counts::default() };
        let counts = engine.core().scheduler.counts();
        Counts { queued: counts.queued, running: counts.running, done: counts.done, failed: counts.failed }
    }
}
