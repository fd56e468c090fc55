//! Orphans that come to the command itself.

use std::io;

use nix::sys::signal::{SigSet, Signal};

use super::{orphans, signals};

/// How long what a job has left behind may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// For jobs whose workers adopt orphans themselves: what comes to the command comes from a worker that has ended.
    UntilItsWorkerEnds,
    /// For other jobs: nobody knows which worker it is from, and that one may still need it.
    UntilAllEnd,
}

/// Orphans come to this process; it hears of those that die.
pub(super) struct Strays(SigSet);

/// Takes orphans in, where that can be done. No thread may have been started before.
pub(super) fn adopt() -> io::Result<Option<Strays>> {
    if !orphans::adopt() {
        return Ok(None);
    }
    let mut died = SigSet::empty();
    died.add(Signal::SIGCHLD);
    // Whoever started us may have left it ignored, and then it never comes.
    signals::set_default(Signal::SIGCHLD)?;
    died.thread_block()?;
    Ok(Some(Strays(died)))
}

impl Strays {
    /// Looks at them, in a thread of its own, whenever a child has died: a worker, which may have left some, or one of
    /// them, which may have left others.
    pub(super) fn watch(self, stay: Stay) -> io::Result<()> {
        let look = move || {
            while self.0.wait().is_ok() {
                match stay {
                    Stay::UntilItsWorkerEnds => orphans::kill(),
                    Stay::UntilAllEnd => orphans::reap_but(None),
                }
            }
        };
        std::thread::Builder::new().name("strays".into()).spawn(look)?;
        Ok(())
    }
}
