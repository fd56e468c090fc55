//! Jobs that do well, and jobs that do everything else.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};

use super::ledger;

/// Ways in which a job behaves. Those from [`DEADLY`] on do not end by themselves, or take their worker along.
pub(crate) const KINDS: [&str; 14] = [
    "good",
    "slow",
    "large",
    "talks",
    "err",
    "panic",
    "panics late",
    "abort",
    "segv",
    "overflow",
    "exit",
    "kill",
    "hang",
    "deaf",
];
const DEADLY: usize = 7;

pub(crate) fn is_deadly(kind: &str) -> bool {
    KINDS[DEADLY..].contains(&kind)
}

#[sidestep::job]
pub(crate) fn square(n: u64) -> u64 {
    n * n
}

/// Behaves as it is told, and keeps the ledger.
#[sidestep::job]
pub(crate) fn behave(path: String, entry: u64, kind: String) -> Result<Vec<u8>, String> {
    let path = Path::new(&path);
    ledger::begin(path, entry);
    let mut result = entry.to_le_bytes().to_vec();
    match kind.as_str() {
        "good" => {}
        "slow" => std::thread::sleep(Duration::from_millis(entry % 20)),
        "large" => result.resize(300_000 + entry as usize % 1000, 7),
        "talks" => (0..200).for_each(|line| eprintln!("line {line} of {entry}")),
        "err" => return Err(entry.to_string()),
        "panic" => panic!("on purpose"),
        "panics late" => {
            std::thread::sleep(Duration::from_millis(2));
            panic!("on purpose, later")
        }
        deadly => die(deadly),
    }
    ledger::end(path, entry);
    Ok(result)
}

fn die(how: &str) {
    match how {
        "abort" => std::process::abort(),
        // SAFETY: there is nothing at that address, which is the point.
        "segv" => unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
        "overflow" => drop(deeper(1)),
        "exit" => std::process::exit(0),
        "kill" => drop(raise(Signal::SIGKILL)),
        "deaf" => {
            let _ = nix::sys::signal::SigSet::all().thread_block();
            std::thread::sleep(Duration::from_secs(1000));
        }
        _ => std::thread::sleep(Duration::from_secs(1000)),
    }
}

/// Goes deeper than any stack.
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let room = std::hint::black_box([depth; 1000]);
    room[depth as usize % 1000] + std::hint::black_box(deeper(depth + 1))
}
