//! Jobs that several of the tests need.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

#[sidestep::job]
pub fn square(n: i64) -> i64 {
    n * n
}

#[sidestep::job]
pub fn pid() -> u32 {
    std::process::id()
}

/// Comes to a gate and waits there.
#[sidestep::job]
pub fn hold(gate: String) -> u32 {
    arrive(&gate);
    let open = Path::new(&gate).join("open");
    while !open.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::process::id()
}

/// Comes to a gate and then keeps its processor busy for ever.
#[sidestep::job]
pub fn spin(gate: String) {
    arrive(&gate);
    loop {
        std::hint::spin_loop();
    }
}

/// Ends its process in one of many ways.
#[sidestep::job]
pub fn die(how: String) {
    let signal = |signal| {
        nix::sys::signal::raise(signal).unwrap();
    };
    use nix::sys::signal::Signal;
    match how.as_str() {
        "abort" => std::process::abort(),
        "segv" => signal(Signal::SIGSEGV),
        "bus" => signal(Signal::SIGBUS),
        "fpe" => signal(Signal::SIGFPE),
        "ill" => signal(Signal::SIGILL),
        "term" => signal(Signal::SIGTERM),
        "kill" => signal(Signal::SIGKILL),
        // SAFETY: there is nothing at that address, which is the point.
        "pointer" => unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
        // SAFETY: `_exit` takes any number.
        "_exit" => unsafe { libc::_exit(99) },
        code => std::process::exit(code.parse().unwrap()),
    }
    unreachable!("{how} has not ended it");
}

pub fn arrive(gate: &str) {
    File::create(Path::new(gate).join(std::process::id().to_string())).unwrap();
}
