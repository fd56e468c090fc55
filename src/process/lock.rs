//! Files that one process has at a time.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A program that has just been started holds a lock of its parent's for a moment, until it is itself: so one that
/// stays for less than this is nobody's.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// Takes a file for this process, as long as it is open; whether another one has it. Where files cannot be locked, nobody
/// knows.
pub(crate) fn is_taken(file: &File) -> bool {
    let begun = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            Err(Errno::WOULDBLOCK) => return true,
            Ok(()) | Err(_) => return false,
        }
    }
}
