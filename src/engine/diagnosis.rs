//! Why a worker's process has probably ended, in plain words.
//!
//! There is no more to go by than its status, its last words on stderr, and whether the kernel has counted one more
//! process that it killed for want of memory.

use std::fmt;

use nix::sys::signal::Signal;

use crate::process::Exit;

/// Why a process that ran a job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// The job called `exit`.
    Exited(i32),
    /// Rust's runtime found a thread at the end of its stack.
    StackOverflow,
    /// Rust's allocator got no memory.
    Allocation {
        /// As the message has it.
        bytes: String,
    },
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// A panic that could not unwind.
    Panicked {
        /// What the panic said, and where, as far as that was printed.
        message: String,
    },
    /// It called `abort`, after a library had said this.
    Aborted {
        /// The library's last words, or nothing.
        words: Option<String>,
    },
    /// A signal that says enough.
    Signalled(Signal),
}

impl Reason {
    /// `out_of_memory` is whether the kernel has killed for want of memory meanwhile; `None` if it does not tell.
    pub(super) fn of(exit: Exit, stderr_tail: &str, out_of_memory: Option<bool>) -> Option<Reason> {
        let signal = match exit {
            Exit::Unknown => return None,
            Exit::Code(code) => return Some(Reason::Exited(code)),
            Exit::Signal { signal, .. } => Signal::try_from(signal).ok()?,
        };
        Some(match signal {
            Signal::SIGABRT => of_abort(stderr_tail),
            Signal::SIGKILL if out_of_memory == Some(true) => Reason::OutOfMemory,
            signal => Reason::Signalled(signal),
        })
    }

    /// Whether there was too little memory, as far as that can be told.
    pub(super) fn may_be_memory(&self) -> bool {
        matches!(self, Reason::Allocation { .. } | Reason::OutOfMemory | Reason::Signalled(Signal::SIGKILL))
    }
}

/// What stands in the last words of a process that was aborted.
fn of_abort(tail: &str) -> Reason {
    if tail.contains("has overflowed its stack") {
        return Reason::StackOverflow;
    }
    if let Some(bytes) = last_between(tail, "memory allocation of ", " bytes failed") {
        return Reason::Allocation { bytes: bytes.to_owned() };
    }
    if let Some((_, panic)) = tail.rsplit_once(" panicked at ") {
        return Reason::Panicked { message: message_of(panic) };
    }
    let last = tail.lines().rev().find(|line| FATAL.iter().any(|start| line.contains(start)));
    Reason::Aborted { words: last.map(|line| line.trim().to_owned()) }
}

/// What libraries of C and C++ say before they abort.
const FATAL: [&str; 8] = [
    "terminate called",
    "Assertion ",
    "double free",
    "free(): ",
    "malloc(): ",
    "corrupted ",
    "*** stack smashing detected",
    "*** buffer overflow detected",
];

fn last_between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.rsplit_once(start)?.1.split_once(end)?.0)
}

/// The place and the first line of the message, from what the default panic hook prints behind "panicked at".
fn message_of(panic: &str) -> String {
    let (place, message) = panic.split_once('\n').unwrap_or((panic, ""));
    let message = message.lines().next().unwrap_or_default().trim();
    match place.trim_end().trim_end_matches(':') {
        place if message.is_empty() => place.to_owned(),
        place => format!("{place}: {message}"),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Exited(code) => write!(f, "the job, or something that it uses, called exit({code})"),
            Reason::StackOverflow => {
                f.write_str("a stack overflowed; recurse less, or in a thread with a larger stack")
            }
            Reason::Allocation { bytes } => {
                write!(f, "it ran out of memory: an allocation of {bytes} bytes failed")
            }
            Reason::OutOfMemory => f.write_str("the system has killed it because memory ran out"),
            Reason::Panicked { message } => write!(f, "a panic that cannot unwind, at {message}"),
            Reason::Aborted { words: Some(words) } => write!(f, "it was aborted: {words}"),
            Reason::Aborted { words: None } => f.write_str("it called abort"),
            Reason::Signalled(signal) => f.write_str(of_signal(*signal)),
        }
    }
}

fn of_signal(signal: Signal) -> &'static str {
    match signal {
        Signal::SIGSEGV => "it used memory that is not its own: a bad pointer, or a stack that overflowed",
        Signal::SIGBUS => {
            "it used memory with nothing behind it: a mapped file that was cut, or a bad pointer"
        }
        Signal::SIGILL => "it came to an instruction that this processor does not have, or to a trap",
        Signal::SIGTRAP => "it came to a trap or a breakpoint",
        Signal::SIGFPE => "native code divided by zero, or overflowed in a division",
        Signal::SIGSYS => "a sandbox (seccomp) forbids a system call that it made",
        Signal::SIGXCPU => "it used up the processor time that the system allows it; see ulimit -t",
        Signal::SIGXFSZ => "it wrote a larger file than the system allows it; see ulimit -f",
        Signal::SIGPIPE => "it wrote into a pipe or a socket that nobody reads",
        Signal::SIGKILL => {
            "somebody killed it; if it was the system, for want of memory, the kernel's log says so"
        }
        _ => "the job itself or another process sent that signal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(exit: Exit, tail: &str, out_of_memory: Option<bool>) -> String {
        Reason::of(exit, tail, out_of_memory).map(|reason| reason.to_string()).unwrap_or_default()
    }

    fn signal(signal: Signal) -> Exit {
        Exit::Signal { signal: signal as i32, core: false }
    }

    #[test]
    fn each_end_has_its_words() {
        use Signal::*;
        let overflow =
            "\nthread 'main' (81) has overflowed its stack\nfatal runtime error: stack overflow, aborting";
        let panic =
            "thread 'main' (7) panicked at src/a.rs:3:5:\nno such page\nnote: run with `RUST_BACKTRACE=1`";
        let cleanup = "thread 'main' panicked at library/core/src/panicking.rs:233:5:\n\
                       panic in a destructor during cleanup\nthread caused non-unwinding panic. aborting.";
        let table = [
            (Exit::Code(0), "", "called exit(0)"),
            (Exit::Code(3), overflow, "called exit(3)"),
            (signal(SIGABRT), "", "it called abort"),
            (signal(SIGABRT), overflow, "a stack overflowed"),
            (signal(SIGABRT), "memory allocation of 99 bytes failed", "an allocation of 99 bytes failed"),
            (signal(SIGABRT), panic, "cannot unwind, at src/a.rs:3:5: no such page"),
            (signal(SIGABRT), cleanup, "panic in a destructor during cleanup"),
            (signal(SIGABRT), "thread 'main' panicked at src/a.rs:3:5", "at src/a.rs:3:5"),
            (
                signal(SIGABRT),
                "reading\nfree(): invalid pointer\n",
                "it was aborted: free(): invalid pointer",
            ),
            (signal(SIGABRT), "terminate called after throwing an instance of 'E'", "an instance of 'E'"),
            (signal(SIGSEGV), "", "a bad pointer, or a stack that overflowed"),
            (signal(SIGBUS), "", "a mapped file that was cut"),
            (signal(SIGILL), "", "an instruction that this processor does not have"),
            (signal(SIGFPE), "", "divided by zero"),
            (signal(SIGSYS), "", "seccomp"),
            (signal(SIGXCPU), "", "ulimit -t"),
            (signal(SIGXFSZ), "", "ulimit -f"),
            (signal(SIGTERM), "", "another process sent that signal"),
            (Exit::Signal { signal: 40, core: false }, "", ""),
            (Exit::Unknown, "", ""),
        ];
        for (exit, tail, wanted) in table {
            let found = hint(exit, tail, None);
            assert!(found.contains(wanted) && found.is_empty() == wanted.is_empty(), "{exit:?}: {found}");
        }
    }

    #[test]
    fn only_the_kernel_can_tell_who_has_killed() {
        assert!(hint(signal(Signal::SIGKILL), "", Some(true)).contains("memory ran out"));
        for unknown in [Some(false), None] {
            assert!(hint(signal(Signal::SIGKILL), "", unknown).contains("somebody killed it"));
        }
    }
}
