//! How a process dies or hangs.

use std::hint::black_box;
use std::io::Write;

use nix::sys::signal::{SigHandler, SigSet, Signal};
use serde::{Deserialize, Serialize};

/// A way in which a job can die, hang, or harm its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fault {
    /// It gets SIGSEGV, as by a wild pointer.
    Segv,
    /// It gets SIGBUS, as by a mapped file that was cut off.
    Bus,
    /// It gets SIGILL, as by an instruction that the processor does not have.
    Ill,
    /// It gets SIGFPE, as C code does that divides by zero.
    Fpe,
    /// It aborts.
    Abort,
    /// It recurses without end.
    StackOverflow,
    /// It asks for memory that there is not.
    OutOfMemory,
    /// It exits with this code; even 0 is no result.
    Exit(i32),
    /// It gets SIGKILL, as by the system when memory is short.
    Kill,
    /// It gets SIGSTOP, and goes on if somebody sends SIGCONT.
    Stop,
    /// It sleeps for ever.
    Hang,
    /// It computes for ever.
    Spin,
    /// It panics.
    Panic,
    /// A destructor panics while a panic unwinds.
    PanicInDrop,
    /// It closes all descriptors but stdin, stdout and stderr, the pool's own among them, and goes on.
    CloseDescriptors,
}

impl Fault {
    /// One of each kind, for tests that go through them.
    pub const ALL: &[Fault] = &[
        Fault::Segv,
        Fault::Bus,
        Fault::Ill,
        Fault::Fpe,
        Fault::Abort,
        Fault::StackOverflow,
        Fault::OutOfMemory,
        Fault::Exit(0),
        Fault::Kill,
        Fault::Stop,
        Fault::Hang,
        Fault::Spin,
        Fault::Panic,
        Fault::PanicInDrop,
        Fault::CloseDescriptors,
    ];
}

/// Does it to this process, here and now, and says so on stderr.
///
/// It returns only after [`Fault::Stop`], once the process was continued, and after [`Fault::CloseDescriptors`].
///
/// # Panics
/// With [`Fault::Panic`], which is what it is for.
///
/// ```no_run
/// use sidestep::faults::{Fault, strike};
///
/// /// Fails at its first attempt only.
/// #[sidestep::job]
/// fn flaky(n: u32) -> u32 {
///     if sidestep::context().attempt() == 1 {
///         strike(Fault::Segv);
///     }
///     n
/// }
/// # fn main() {}
/// ```
pub fn strike(fault: Fault) {
    // stderr may be closed, which is no reason to die in another way.
    let _ = writeln!(std::io::stderr(), "sidestep: injecting {fault:?}");
    match fault {
        Fault::Segv => get(Signal::SIGSEGV),
        Fault::Bus => get(Signal::SIGBUS),
        Fault::Ill => get(Signal::SIGILL),
        Fault::Fpe => get(Signal::SIGFPE),
        Fault::Kill => get(Signal::SIGKILL),
        Fault::Stop => get(Signal::SIGSTOP),
        Fault::Abort => std::process::abort(),
        Fault::StackOverflow => drop(black_box(recurse(0))),
        Fault::OutOfMemory => std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 1 << 40]>()),
        Fault::Exit(code) => std::process::exit(code),
        Fault::Hang => loop {
            std::thread::park();
        },
        Fault::Spin => loop {
            std::hint::spin_loop();
        },
        Fault::Panic => panic!("an injected panic"),
        Fault::PanicInDrop => {
            let _guard = PanicsInDrop;
            panic!("an injected panic, and its destructors panic too");
        }
        Fault::CloseDescriptors => close_descriptors(),
    }
}

/// Takes the signal as the kernel would give it: no handler is asked, and it cannot be blocked.
fn get(signal: Signal) {
    if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
        // SAFETY: the default action runs no code of this process.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
    let mut only = SigSet::empty();
    only.add(signal);
    let _ = only.thread_unblock();
    let _ = nix::sys::signal::raise(signal);
}

/// The compiler must neither see that it never ends nor make a loop of it.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    match black_box(depth) {
        u64::MAX => 0,
        _ => recurse(depth + 1) + frame[0],
    }
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("an injected panic in a destructor");
    }
}

fn close_descriptors() {
    let Ok(entries) = std::fs::read_dir("/dev/fd") else { return };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    for fd in names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2) {
        // SAFETY: it is not: whoever owns the descriptor loses it. That is the fault which was asked for, and memory
        // stays as it is.
        unsafe { libc::close(fd) };
    }
}
