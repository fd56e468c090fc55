//! Ctrl-C and its like.
//!
//! A thread of its own waits for them, so that what they cause is ordinary code and not a signal handler. They are
//! blocked before any other thread starts; all threads inherit that.

use std::io::{self, IsTerminal};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

/// The signals that end the command in good order.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// Those that want something else of it.
const OTHERS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGUSR1, Signal::SIGUSR2];

/// What a signal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// That the command ends; how often that was wanted, this time included.
    End { signal: Signal, times: u32 },
    /// That it stops until it is told to go on.
    Stop,
    /// That it tells what it is doing.
    Tell,
    /// That it shows more, or less, of it.
    Toggle,
}

impl Wish {
    /// The same, where the first steps of an end are left out.
    pub(super) fn sooner(self, skipped: u32) -> Wish {
        match self {
            Wish::End { signal, times } => Wish::End { signal, times: times.saturating_add(skipped) },
            other => other,
        }
    }
}

/// The signals, held back.
pub(super) struct Blocked(SigSet);

/// Holds the signals back, from this thread and from all that it starts later.
///
/// A signal that was ignored when the command started stays so: that is how `nohup`, and a shell's `&`, keep a
/// program from being interrupted.
pub(super) fn block() -> io::Result<Blocked> {
    let signals: SigSet = ENDING.into_iter().chain(OTHERS).filter(|signal| !is_ignored(*signal)).collect();
    signals.thread_block()?;
    Ok(Blocked(signals))
}

impl Blocked {
    /// Calls `grant` for each of the signals that comes, in a thread of its own.
    pub(super) fn watch(self, mut grant: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
        let wait = move || {
            let mut times = 0;
            while let Ok(signal) = self.0.wait() {
                grant(match signal {
                    Signal::SIGTSTP => Wish::Stop,
                    Signal::SIGUSR1 => Wish::Tell,
                    Signal::SIGUSR2 => Wish::Toggle,
                    signal => {
                        times += 1;
                        Wish::End { signal, times }
                    }
                });
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait)?;
        Ok(())
    }
}

/// Stops this process until somebody has it go on.
pub(super) fn stop() {
    let _ = raise(Signal::SIGSTOP);
}

/// How whoever has sent a signal can do so again: at a terminal they may not know that it was one.
pub(super) fn way_of(signal: Signal) -> &'static str {
    match signal {
        Signal::SIGINT if io::stderr().is_terminal() => "Ctrl-C",
        _ => "signal",
    }
}

/// Ends this process by a signal, so that whoever started it sees that it did not end by itself.
pub(super) fn die_by(signal: Signal) -> ! {
    let mut signals = SigSet::empty();
    signals.add(signal);
    let _ = set_default(signal);
    let _ = signals.thread_unblock();
    let _ = raise(signal);
    // Only where the signal cannot kill: as process 1 of a container.
    std::process::exit(128 + signal as i32)
}

fn is_ignored(signal: Signal) -> bool {
    let Ok(before) = set_default(signal) else { return false };
    // SAFETY: this puts back what was there a moment ago.
    let _ = unsafe { sigaction(signal, &before) };
    matches!(before.handler(), SigHandler::SigIgn)
}

/// Gives a signal its default action; returns the one before.
pub(super) fn set_default(signal: Signal) -> nix::Result<SigAction> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { sigaction(signal, &action) }
}
