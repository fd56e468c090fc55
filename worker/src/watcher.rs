//! The worker's second thread. It lives as long as the link and does what cannot wait for a job to end: it ends the
//! worker and its whole group when the parent is gone, writes results that wait behind a long job, and gives memory back
//! that large results have left.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::unistd::getppid;

use crate::blocks::WARM;
use crate::link::{Link, end_group};
use crate::page::LastWords;

/// Results that the main thread holds back are written after this long, in milliseconds.
const TICK: u8 = 1;
/// Ticks without anything to write before the watcher goes back to sleep.
const QUIET: u8 = 3;

/// How often it looks after memory that is kept warm.
const WARM_MILLIS: u16 = WARM.as_millis() as u16;

/// Sent by the kernel when the parent's spawning thread ends. A signal that nothing else uses and that can be
/// caught: one that cannot would end the worker before it has ended what its jobs have started.
#[cfg(target_os = "linux")]
const PARENT_ENDED: Signal = Signal::SIGSTKFLT;

/// Small, but not so small that a program with large thread-local storage leaves nothing of it.
const STACK: usize = 256 << 10;

/// Our parent's process id as this process saw it at its start; 0 if it is out of sight, in another namespace. If it had
/// died before that, its end of the pipe tells.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Starts the watcher. Until it runs, the end of the pipe is noticed by the main thread.
pub(crate) fn start(link: &'static Link) -> std::io::Result<JoinHandle<()>> {
    PARENT.store(getppid().as_raw(), Ordering::Relaxed);
    // A worker that is stopped could neither see the end of the pipe nor take the watcher's signal. Each thread has a
    // death signal of its own; this one only has the process go on.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGCONT);
    std::thread::Builder::new().name("sidestep-watcher".into()).stack_size(STACK).spawn(move || watch(link))
}

fn watch(link: &'static Link) {
    only_the_death_signal();
    let mut quiet = 0;
    loop {
        let armed = link.armed.load(Ordering::Acquire);
        let mut fds = [
            // No events asked for: only the end of the stream and errors are told.
            PollFd::new(link.jobs.as_fd(), PollFlags::empty()),
            PollFd::new(link.bell.as_fd(), PollFlags::POLLIN),
        ];
        let timeout = match (armed, link.ring.is_warm()) {
            (true, _) => PollTimeout::from(TICK),
            (false, true) => PollTimeout::from(WARM_MILLIS),
            (false, false) => PollTimeout::NONE,
        };
        let _ = poll(&mut fds, timeout);
        let [jobs, bell] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::POLLNVAL));
        if (jobs | bell).contains(PollFlags::POLLNVAL) || !(link.jobs.is_own() && link.bell.is_own()) {
            if link.in_batch.load(Ordering::Acquire) {
                // The main thread will see it in a moment.
                std::thread::sleep(Duration::from_millis(TICK.into()));
                continue;
            }
            link.end(LastWords::DescriptorLost);
        }
        if jobs.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            end_group();
        }
        if link.closing.load(Ordering::Acquire) {
            return;
        }
        if bell.contains(PollFlags::POLLIN) {
            let _ = nix::unistd::read(&link.bell, &mut [0; 64]);
            quiet = 0;
        } else if armed {
            quiet = if link.flush_waiting() { 0 } else { quiet + 1 };
            if quiet > QUIET {
                quiet = 0;
                link.disarm();
            }
        } else {
            link.ring.give_back(&link.page);
        }
    }
}

/// Signals meant for the job's own handlers stay with the main thread; this one takes the parent's death, also when
/// a job has blocked every signal.
#[cfg(target_os = "linux")]
fn only_the_death_signal() {
    let mut blocked = SigSet::all();
    blocked.remove(PARENT_ENDED);
    let _ = nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None);
    let action = SigAction::new(SigHandler::Handler(parent_ended), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler calls only what POSIX allows in a signal handler: getppid, kill and _exit.
    let _ = unsafe { sigaction(PARENT_ENDED, &action) };
    let _ = nix::sys::prctl::set_pdeathsig(PARENT_ENDED);
    // The parent may have died before the line above.
    if getppid().as_raw() != PARENT.load(Ordering::Relaxed) {
        end_group();
    }
}

#[cfg(not(target_os = "linux"))]
fn only_the_death_signal() {
    let _ = nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
}

#[cfg(target_os = "linux")]
extern "C" fn parent_ended(_: i32) {
    // It also comes when only the thread that started us has ended; then the parent is still ours.
    if getppid().as_raw() != PARENT.load(Ordering::Relaxed) {
        end_group();
    }
}
