//! Time that both processes measure alike: `Instant` keeps its number to itself.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which no change of the date moves.
pub fn now() -> u64 {
    // The clock exists wherever the standard library's `Instant` does.
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of processor time that this process has used, all its threads together.
pub(crate) fn processor() -> u64 {
    nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn nanos(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
