//! Jobs that change what their process has: it stays with their worker, and does nobody else any harm.

mod scenario;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use scenario::jobs::{arrive, hold, pid, square};
use scenario::{
    Gate, SOON, adopt_orphans, all_gone_within, all_up, assert_usable, dir, eventually, is_alive, promptly,
    scenario, send, state_of,
};
use sidestep::{Bytes, JobError, Pool};

sidestep::worker_entry!();

/// What a job finds: directory, mask, a variable and a blocked signal.
#[sidestep::job]
fn look() -> (PathBuf, u32, Option<String>, bool) {
    let mask = umask(Mode::empty());
    umask(mask);
    let blocked = SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1);
    (std::env::current_dir().unwrap(), mask.bits(), std::env::var("CHANGED").ok(), blocked)
}

#[sidestep::job]
fn change(place: String) {
    std::env::set_current_dir(place).unwrap();
    umask(Mode::S_IRWXO);
    // SAFETY: the worker's other thread does not look at the environment.
    unsafe { std::env::set_var("CHANGED", "yes") };
    SigSet::all().thread_block().unwrap();
    for (which, action) in [(Signal::SIGCHLD, SigHandler::SigIgn), (Signal::SIGPIPE, SigHandler::SigDfl)] {
        // SAFETY: neither runs a handler.
        unsafe { signal(which, action) }.unwrap();
    }
}

#[sidestep::job]
fn large() -> Bytes {
    vec![1; 3 << 20].into()
}

#[test]
fn what_a_job_changes_stays_with_its_worker_and_ends_with_it() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        let before = pool.apply(look, ()).unwrap();
        let place = dir().canonicalize().unwrap();
        pool.apply(change, (place.to_str().unwrap().to_owned(),)).unwrap();
        assert_eq!(pool.apply(look, ()), Ok((place, Mode::S_IRWXO.bits(), Some("yes".into()), true)));
        assert_eq!(pool.apply(large, ()).map(|bytes| bytes.len()), Ok(3 << 20));
        assert_usable(&pool);
        assert_eq!(pool.apply(pid, ()), Ok(worker));
        send(worker, Signal::SIGKILL);
        eventually("it is replaced", || pool.stats().restarts == 1);
        assert_eq!(pool.apply(look, ()), Ok(before));
    });
}

#[sidestep::job]
fn leave_zombies(count: usize) -> Vec<u32> {
    let leave = || Command::new("true").spawn().unwrap().id();
    (0..count).map(|_| leave()).collect()
}

#[test]
fn zombies_that_a_job_leaves_go_with_its_worker() {
    scenario(|| {
        adopt_orphans();
        let pool = Pool::builder().workers(1).max_jobs_per_worker(2).build().unwrap();
        let left = pool.apply(leave_zombies, (100,)).unwrap();
        eventually("all are zombies", || left.iter().all(|pid| state_of(*pid) == Some('Z')));
        // The last one that this worker serves.
        assert_eq!(pool.apply(square, (3,)), Ok(9));
        assert_usable(&pool);
        drop(pool);
        all_gone_within(SOON, "whoever adopts them can reap them");
    });
}

/// Starts a program in a session of its own.
#[sidestep::job]
fn set_free(gate: String) -> u32 {
    let program = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap().id();
    eventually("it has a session of its own", || {
        fs::read(format!("/proc/{program}/cmdline")).is_ok_and(|command| command.starts_with(b"sleep"))
    });
    arrive(&gate);
    hold(gate);
    program
}

#[test]
fn what_leaves_its_worker_s_session_outlives_the_pool_and_holds_up_nothing() {
    scenario(|| {
        adopt_orphans();
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(set_free, (gate.arg(),));
        let worker = gate.wait_for(1)[0];
        let [program] = scenario::processes_below(worker)[..] else { panic!("one program") };
        assert!(handle.cancel());
        assert_eq!(promptly("it", || handle.get()), Err(JobError::Cancelled));
        assert_usable(&pool);
        promptly("drop", || drop(pool));
        assert!(is_alive(program));
        send(program, Signal::SIGKILL);
        all_gone_within(SOON, "the program was killed");
    });
}

/// Closes the pipe that jobs come through, when the worker waits there for the next one.
#[sidestep::job]
fn close_when_idle(gate: String) {
    std::thread::spawn(move || {
        let main = format!("/proc/self/task/{}/syscall", std::process::id());
        let pipe = loop {
            let call = fs::read_to_string(&main).unwrap();
            let mut words = call.split(' ');
            let reads = words.next() == Some(&libc::SYS_read.to_string());
            match words.next().and_then(|fd| i32::from_str_radix(fd.trim_start_matches("0x"), 16).ok()) {
                Some(fd) if reads && sidestep::try_context().is_none() => break fd,
                _ => std::thread::yield_now(),
            }
        };
        nix::unistd::close(pipe).unwrap();
        arrive(&gate);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_channel_that_is_closed_while_its_worker_is_idle_costs_nobody() {
    scenario(|| {
        let (pool, gate) = (Pool::new(1).unwrap(), Gate::new("gate"));
        for n in 0..5 {
            let [worker] = all_up(&pool, 1)[..] else { panic!("one worker") };
            pool.apply(close_when_idle, (gate.arg(),)).unwrap();
            // Its watcher may see that first, and end it.
            eventually("it is closed", || gate.arrived().contains(&worker) || !pool.pids().contains(&worker));
            assert_eq!(promptly("the next job", || pool.apply(square, (n,))), Ok(n * n));
        }
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.restarts), (0, 5));
    });
}
