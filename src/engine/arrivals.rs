//! A new worker, from its process to its first job.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use sidestep_worker::frame::Kind;
use sidestep_worker::wire::Mark;

use crate::error::PoolError;
use crate::process::{Gauge, Interest, Spawned, Stderr};

use super::driver::{Io, Source, token};
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::results::Ends;
use super::scheduler::Down;
use super::start::{self, Greeting, Start};
use super::wires::{self, Link};
use super::{Arrival, Engine};

impl Engine {
    pub(super) fn take_arrivals(&self, io: &mut Io) {
        let arrivals = std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        for Arrival { slot, generation, spawned } in arrivals {
            match spawned {
                Ok(spawned) => self.install(io, slot, generation, spawned),
                Err(error) => self.with(|core, now| {
                    if core.start == Start::Pending && (!error.is_transient() || slot == 0) {
                        core.start = Start::Failed(PoolError::Spawn { message: error.to_string() });
                    }
                    core.scheduler.down(slot, Down::NotSpawned, now, &mut core.wires);
                    if core.start == Start::Up && !error.is_transient() && !core.scheduler.has_processes() {
                        // Nobody is left, and nobody will come: whoever waits would wait for ever.
                        core.break_down(PoolError::Spawn { message: error.to_string() }, now);
                    }
                }),
            }
            self.changed.notify_all();
        }
    }

    pub(super) fn install(&self, io: &mut Io, at: usize, generation: u32, spawned: Spawned) {
        let plan = &self.config.plan;
        let captures = self.captures();
        let marks = captures.then(|| Mark { nonce: random_nonce() });
        let pid = spawned.child.pid();
        let stderr = Arc::new(Stderr::new(spawned.stderr, plan.stderr, marks, self.forwarder.clone()));
        let stdout = spawned.stdout.map(|fd| Arc::new(Stderr::new(fd, plan.stdout, marks, None)));
        let inbox = Inbox::new(spawned.results, generation, pid);
        let watch = |fd, source| self.poller.add(fd, token(at, generation, source), Interest::Read);
        let watched = watch(inbox.as_fd(), Source::Results)
            .and_then(|()| watch(spawned.child.exit_fd(), Source::Exit))
            .and_then(|()| watch(stderr.as_fd(), Source::Stderr))
            .and_then(|()| stdout.as_ref().map_or(Ok(()), |stdout| watch(stdout.as_fd(), Source::Stdout)));
        let gauge = self.config.limits.any().then(|| Gauge::open(pid)).transpose();
        let page = Arc::new(spawned.page);
        if let Some(arena) = &self.config.arena {
            arena.add_worker(&page);
        }
        let link = Link {
            generation,
            child: spawned.child,
            page: page.clone(),
            outbox: Outbox::new(spawned.jobs),
            greeting: Greeting::Silent,
            told: BTreeSet::new(),
            fault: None,
            stopped: None,
            killed: None,
            closed: None,
            stderr: stderr.clone(),
        };
        let setup = wires::setup(self, at, marks);
        let installed = self.with(|core, now| {
            let fits = watched.is_ok() && gauge.is_ok() && core.wires.install(at, link, &setup).is_ok();
            if fits {
                core.scheduler.spawned(at, pid, now, &mut core.wires);
            } else {
                core.scheduler.down(at, Down::NotSpawned, now, &mut core.wires);
            }
            fits
        });
        if installed {
            if io.ends.len() <= at {
                io.ends.resize_with(at + 1, || None);
            }
            let gauge = gauge.ok().flatten();
            io.ends[at] = Some(Ends { inbox, page, stdout, stderr, captures, gauge });
        }
    }

    /// A worker's hello, or what it says about its initializer.
    pub(super) fn greet(&self, at: usize, kind: Kind, body: &[u8]) {
        self.with(|core, now| {
            let outcome = match kind {
                Kind::Hello => core.meet(body, self.config.same_image),
                _ => start::read_ready(body),
            };
            let Some(link) = core.wires.links.get_mut(at).and_then(Option::as_mut) else { return };
            match (outcome, &link.greeting, kind) {
                (Ok(()), Greeting::Silent, Kind::Hello) => link.greeting = Greeting::Met,
                (Ok(()), Greeting::Met, Kind::Ready) => {
                    link.greeting = Greeting::Ready;
                    if core.start == Start::Pending {
                        core.start = Start::Up;
                    }
                    core.scheduler.ready(at, now, &mut core.wires);
                }
                (Err(error), ..) => {
                    link.greeting = Greeting::Refused(error);
                    core.wires.condemn(at, "it was turned away".into());
                }
                (Ok(()), ..) => core.wires.condemn(at, "it greeted twice".into()),
            }
        });
        self.changed.notify_all();
    }
}

/// Sixteen bytes that no job prints by chance: from the standard library's random hash keys.
fn random_nonce() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(std::process::id()).to_le_bytes();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random());
    nonce[8..].copy_from_slice(&random());
    nonce
}
