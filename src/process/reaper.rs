//! Reaps children that nobody waits for any more, so that none stays a zombie and dropping one never blocks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::background::{Background, start};
use super::child::Process;

const FIRST_LOOK: Duration = Duration::from_millis(1);
/// Between two looks at a child that the kernel cannot kill just now, as when it waits for a dead disk.
const LAST_LOOK: Duration = Duration::from_millis(500);

static REAPER: Background<Arc<Process>> = Background::new("sidestep-reaper", serve);

/// Takes over a child that was sent SIGKILL.
pub(super) fn adopt(process: Arc<Process>) {
    if let Err((process, _)) = REAPER.send(process) {
        // Without a thread this one look is all that can be done.
        let _ = process.try_reap();
    }
}

/// Looks from time to time instead of waiting for an event: a zombie is in nobody's way, and while there is nothing
/// to reap this thread costs neither time nor descriptors.
fn serve(orphans: Receiver<Arc<Process>>) {
    let mut waiting: Vec<Arc<Process>> = Vec::new();
    let mut pause = FIRST_LOOK;
    loop {
        let next = match waiting.is_empty() {
            true => orphans.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => orphans.recv_timeout(pause),
        };
        match next {
            Ok(process) => {
                waiting.push(process);
                pause = FIRST_LOOK;
            }
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(LAST_LOOK),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        waiting.retain(|process| process.try_reap().is_none());
    }
}

/// Kills and reaps a child that has just been started and that there are no means to watch.
pub(super) fn kill_unwatched(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
    let reap = move || {
        let _ = waitpid(pid, None);
    };
    if start("sidestep-reap", reap).is_err() {
        let _ = waitpid(pid, None);
    }
}
