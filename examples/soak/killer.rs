//! Kills and stops workers at random moments.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sidestep::Pool;

use super::random::Random;

pub(crate) fn work(pool: &Pool, random: &mut Random, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        let pids = pool.pids();
        if pids.is_empty() {
            continue;
        }
        let signal = random.pick(&[Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSTOP]);
        // It may be gone by now. Pids are given out in order, so nobody else has its number so soon.
        let _ = kill(Pid::from_raw(random.pick(&pids) as i32), signal);
        if random.below(10) == 0 {
            let _ = pool.resize(1 + random.below(4) as usize);
        }
    }
}
