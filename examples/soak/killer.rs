//! Kills and stops workers at random moments.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sidestep::{Pool, WorkerState};

use super::random::Random;

pub(crate) fn work(pool: &Pool, random: &mut Random, over: &AtomicBool) {
    let mut ready = HashSet::new();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        let Some(pid) = victim(pool, random, &mut ready) else { continue };
        let signal = random.pick(&[Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGSTOP]);
        // It may be gone by now. Pids are given out in order, so nobody else has its number so soon.
        let _ = kill(Pid::from_raw(pid as i32), signal);
        if random.below(10) == 0 {
            let _ = pool.resize(1 + random.below(4) as usize);
        }
    }
}

/// Any worker; but one that starts only if another has got ready since the last such one was hit. A pool of which all
/// workers die before they are ready is right to give up. `ready` are those that were when that was.
fn victim(pool: &Pool, random: &mut Random, ready: &mut HashSet<u32>) -> Option<u32> {
    let workers = pool.stats().workers;
    let serves = |state| matches!(state, WorkerState::Idle | WorkerState::Busy);
    let now_ready: HashSet<u32> = workers.iter().filter(|w| serves(w.state)).filter_map(|w| w.pid).collect();
    let may_hit_all = now_ready.difference(ready).next().is_some();
    let pids: Vec<u32> = workers
        .iter()
        .filter(|worker| may_hit_all || worker.state != WorkerState::Starting)
        .filter_map(|worker| worker.pid)
        .collect();
    if pids.is_empty() {
        return None;
    }
    let pid = random.pick(&pids);
    if workers.iter().any(|worker| worker.pid == Some(pid) && worker.state == WorkerState::Starting) {
        *ready = now_ready;
    }
    Some(pid)
}
