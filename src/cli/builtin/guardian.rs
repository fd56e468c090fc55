//! A worker as the guardian of the programs that it runs: what they leave behind stays below it, and ends with it.

use std::io;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::process::Pid;
use sidestep_worker::{entry, orphaned};

use super::running::{Ran, Taker, finish};
use crate::cli::orphans;

/// The program that is being run: the one child whose status is waited for. [`NONE`] and [`STARTS`] are no process ids.
static OWN: AtomicI32 = AtomicI32::new(NONE);
const NONE: i32 = 0;
/// It may have a process already whose id is not known yet.
const STARTS: i32 = -1;

/// Runs a program to its end: gives it what it reads, and has what it writes taken.
pub(super) fn run(command: &mut Command, input: &[u8], taker: Taker) -> io::Result<Ran> {
    let _patience = entry::is_serving().then(Patience::begin);
    if !is_guardian() {
        return finish(command.spawn()?, input, taker);
    }
    OWN.store(STARTS, Ordering::Relaxed);
    let child = command.spawn();
    let own = child.as_ref().map_or(NONE, |child| child.id() as i32);
    OWN.store(own, Ordering::Relaxed);
    let ran = child.and_then(|child| finish(child, input, taker));
    OWN.store(NONE, Ordering::Relaxed);
    // Those that died while it started.
    if orphans::has_dead() {
        orphans::reap_but(None);
    }
    ran
}

/// While a program runs, what asks the whole group to end is for the program, which may have something to do before. The
/// worker goes on, and tells of the program's end as ever.
struct Patience([(Signal, Option<SigAction>); 3]);

impl Patience {
    fn begin() -> Patience {
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
        Patience([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].map(|signal| {
            // SAFETY: a handler that does nothing is safe at any moment. The program finds defaults: exec resets what is caught.
            (signal, unsafe { sigaction(signal, &action) }.ok())
        }))
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        for (signal, before) in &self.0 {
            if let Some(before) = before {
                // SAFETY: it is what was there before.
                let _ = unsafe { sigaction(*signal, before) };
            }
        }
    }
}

extern "C" fn nothing(_: i32) {}

/// Only a worker adopts: it runs nothing else meanwhile, so it has no other children of its own.
fn is_guardian() -> bool {
    static GUARDIAN: OnceLock<bool> = OnceLock::new();
    *GUARDIAN.get_or_init(|| {
        let adopts = entry::is_serving() && orphans::adopt();
        if adopts {
            orphaned::before_the_end(orphans::end_all);
            reap_at_once();
        }
        adopts
    })
}

/// An orphan that dies is reaped then, so that they never pile up, however long a program runs.
fn reap_at_once() {
    let flags = SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP;
    let action = SigAction::new(SigHandler::Handler(child_died), flags, SigSet::empty());
    // SAFETY: the handler makes system calls that POSIX allows in one, and touches nothing but an atomic and `errno`.
    let _ = unsafe { sigaction(Signal::SIGCHLD, &action) };
}

extern "C" fn child_died(_: i32) {
    let before = Errno::last_raw();
    match OWN.load(Ordering::Relaxed) {
        STARTS => {}
        own => orphans::reap_but(Pid::from_raw(own)),
    }
    Errno::set_raw(before);
}
