//! What the workers run, and rayon's threads too.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sidestep::{Bytes, Failure};

#[sidestep::job]
pub(crate) fn add_one(n: i64) -> i64 {
    n.wrapping_add(1)
}

#[sidestep::job]
pub(crate) fn echo(bytes: Bytes) -> Bytes {
    bytes
}

/// Computes for that long.
#[sidestep::job]
pub(crate) fn busy(nanos: u64) {
    let begin = Instant::now();
    let end = Duration::from_nanos(nanos);
    while begin.elapsed() < end {
        std::hint::spin_loop();
    }
}

/// Says at the socket which process this is, and stays until the socket is closed.
#[sidestep::job]
pub(crate) fn meet(socket: String) -> Result<(), Failure> {
    let mut socket = UnixStream::connect(socket)?;
    socket.write_all(&std::process::id().to_le_bytes())?;
    socket.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Counts primes in `from..to`, as naively as possible.
#[sidestep::job]
pub(crate) fn primes(from: u64, to: u64) -> u64 {
    (from.max(2)..to).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count() as u64
}
