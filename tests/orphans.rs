//! However the pool's process ends, none of its workers, and nothing that their jobs have started, is left a second
//! later.

mod scenario;

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use scenario::jobs::{arrive, hold, pid, spin};
use scenario::{
    Gate, Root, SOON, all_gone_within, all_up, assert_usable, eventually, processes_below, scenario,
    scenario_with_root, state_of,
};
use sidestep::Pool;

sidestep::worker_entry!();

/// Sleeps for ever: the process that has the pool is to be ended.
fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}

/// A pool all of whose workers are in a job at the gate.
fn pool_with<F>(workers: usize, job: F) -> Pool
where
    F: sidestep::Job<(String,)> + Copy,
{
    let pool = Pool::new(workers).unwrap();
    let gate = Gate::new("gate");
    (0..workers).for_each(|_| drop(pool.apply_async(job, (gate.arg(),))));
    gate.wait_for(workers);
    pool
}

/// Starts the root and waits until so many of its processes have come to the gate.
fn started(start: &dyn Fn() -> Root, count: usize) -> Root {
    let root = start();
    Gate::new("gate").wait_for(count);
    root
}

#[test]
fn a_killed_parent_leaves_no_worker_that_is_idle() {
    scenario_with_root(
        || {
            let pool = Pool::new(4).unwrap();
            all_up(&pool, 4);
            arrive(&Gate::new("gate").arg());
            wait_for_the_end();
        },
        |start| started(start, 1).kill(),
    );
}

#[test]
fn a_killed_parent_leaves_no_worker_that_never_looks_up() {
    if scenario::lacks_descriptors(150) {
        return;
    }
    scenario_with_root(
        || {
            let _pool = pool_with(16, spin);
            wait_for_the_end();
        },
        |start| {
            let root = started(start, 16);
            assert_eq!(processes_below(root.pid()).len(), 16);
            root.kill();
        },
    );
}

/// Two processes, one of them not even a child of the worker's any more.
#[sidestep::job]
fn start_others(gate: String) {
    let script = format!("sleep 1000 & echo > '{gate}'/$!; sleep 1000");
    Command::new("sh").args(["-c", &script]).spawn().unwrap().wait().unwrap();
}

#[test]
fn a_killed_parent_leaves_nothing_that_jobs_have_started() {
    scenario_with_root(
        || {
            let _pool = pool_with(4, start_others);
            wait_for_the_end();
        },
        |start| {
            let root = started(start, 4);
            eventually("all have two", || processes_below(root.pid()).len() >= 16);
            root.kill();
        },
    );
}

#[test]
fn a_killed_parent_leaves_no_worker_that_is_stopped() {
    scenario_with_root(
        || {
            let pool = pool_with(3, start_others);
            // As a command that was stopped from the terminal, its workers with it, and is then killed.
            pool.pids().into_iter().for_each(scenario::stop);
            arrive(&Gate::new("stopped").arg());
            wait_for_the_end();
        },
        |start| {
            let root = started(start, 3);
            Gate::new("stopped").wait_for(1);
            root.kill();
        },
    );
}

#[sidestep::job]
fn block_all_signals(gate: String) {
    SigSet::all().thread_block().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
        // SAFETY: to ignore a signal runs no handler.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }.unwrap();
    }
    spin(gate);
}

#[test]
fn a_job_that_blocks_all_signals_is_no_shelter() {
    scenario_with_root(
        || {
            let _pool = pool_with(2, block_all_signals);
            wait_for_the_end();
        },
        |start| started(start, 2).kill(),
    );
}

#[sidestep::job]
#[cfg(target_os = "linux")]
fn refuse_the_death_signal(gate: String) {
    nix::sys::prctl::set_pdeathsig(None).unwrap();
    spin(gate);
}

#[test]
#[cfg(target_os = "linux")]
fn the_end_of_the_pipe_is_enough() {
    scenario_with_root(
        || {
            let _pool = pool_with(2, refuse_the_death_signal);
            wait_for_the_end();
        },
        |start| started(start, 2).kill(),
    );
}

#[sidestep::job]
fn close_everything(gate: String) {
    arrive(&gate);
    close_range();
    loop {
        std::hint::spin_loop();
    }
}

/// Every descriptor but the three usual ones.
fn close_range() {
    // SAFETY: what is closed under the library's feet is what the test is about; nothing here uses a descriptor after it.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
}

#[test]
fn a_job_that_closes_its_descriptors_is_no_shelter() {
    scenario_with_root(
        || {
            let _pool = pool_with(2, close_everything);
            wait_for_the_end();
        },
        |start| started(start, 2).kill(),
    );
}

#[test]
fn a_parent_that_exits_with_its_pool_in_a_static_leaves_nothing() {
    static POOL: OnceLock<Pool> = OnceLock::new();
    scenario_with_root(
        || {
            let _ = POOL.set(pool_with(2, spin));
            std::process::exit(0);
        },
        |start| assert_eq!(start().ends().code(), Some(0)),
    );
}

#[test]
fn a_parent_that_forgets_its_pool_leaves_nothing() {
    scenario_with_root(
        || std::mem::forget(pool_with(2, spin)),
        |start| assert_eq!(start().ends().code(), Some(0)),
    );
}

#[test]
fn a_parent_that_panics_with_jobs_in_flight_leaves_nothing() {
    scenario_with_root(
        || {
            let _pool = pool_with(2, spin);
            panic!("on purpose");
        },
        |start| assert_eq!(start().ends().code(), Some(101)),
    );
}

#[test]
fn a_parent_that_aborts_leaves_nothing() {
    scenario_with_root(
        || {
            let _pool = pool_with(2, start_others);
            std::process::abort();
        },
        |start| assert_eq!(start().ends().code(), None),
    );
}

#[test]
fn a_parent_that_is_killed_while_its_workers_start_leaves_nothing() {
    scenario_with_root(
        || {
            let gate = Gate::new("gate");
            std::thread::scope(|scope| {
                scope.spawn(|| Pool::new(8).map(std::mem::forget));
                eventually("the first workers are there", || !processes_below(std::process::id()).is_empty());
                arrive(&gate.arg());
                wait_for_the_end();
            });
        },
        |start| {
            for round in 0..12 {
                let root = start();
                let gate = Gate::new("gate");
                eventually("it starts", || gate.arrived().contains(&root.pid()));
                std::thread::sleep(Duration::from_micros(500 * round));
                root.kill();
            }
        },
    );
}

/// A pool in a pool, and so on; the innermost jobs keep their processors busy.
#[sidestep::job]
fn nest(gate: String, depth: u32) -> u32 {
    if depth == 0 {
        spin(gate);
        return 0;
    }
    let pool = Pool::new(2).unwrap();
    pool.starmap(nest, vec![(gate, depth - 1); 2]).map_or(0, |sums| sums.iter().sum())
}

#[test]
fn a_whole_tree_of_pools_dies_with_its_root() {
    scenario_with_root(
        || {
            let pool = Pool::new(1).unwrap();
            let gate = Gate::new("gate");
            let _ = pool.apply(nest, (gate.arg(), 2));
        },
        |start| {
            let root = started(start, 4);
            assert_eq!(processes_below(root.pid()).len(), 7);
            root.kill();
        },
    );
}

#[test]
fn a_whole_tree_of_pools_ends_with_its_pool() {
    scenario(|| {
        scenario::adopt_orphans();
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(nest, (gate.arg(), 2));
        gate.wait_for(4);
        scenario::promptly("drop", || drop(pool));
        assert!(handle.get().is_err());
        all_gone_within(SOON, "the pool was dropped");
    });
}

/// The sum of a map in a pool of the job's own.
#[sidestep::job]
fn nested_sum(n: i64) -> i64 {
    let pool = Pool::new(2).unwrap();
    let squares = pool.map(scenario::jobs::square, 0..n).unwrap();
    pool.close();
    pool.join().unwrap();
    squares.iter().sum()
}

#[test]
fn a_pool_made_inside_a_job_works() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(nested_sum, [3, 4, 5]).unwrap(), [5, 14, 30]);
        assert_usable(&pool);
    });
}

#[test]
fn the_thread_that_made_the_pool_may_end() {
    scenario(|| {
        let pool = std::thread::spawn(|| Pool::new(3).unwrap()).join().unwrap();
        let workers = all_up(&pool, 3);
        let gate = Gate::new("gate");
        let handle =
            std::thread::scope(|scope| scope.spawn(|| pool.apply_async(hold, (gate.arg(),))).join().unwrap());
        gate.wait_for(1);
        assert_usable(&pool);
        assert_eq!(pool.pids(), workers, "they are still the same");
        gate.open();
        assert!(handle.get().is_ok());
        // One that replaces another was not started by a thread of the caller's either.
        scenario::send(workers[0], Signal::SIGKILL);
        eventually("it is replaced", || pool.stats().restarts == 1);
        assert_usable(&pool);
    });
}

#[test]
fn workers_have_sessions_of_their_own() {
    #[sidestep::job]
    fn session() -> [i32; 3] {
        let number = |result: nix::Result<nix::unistd::Pid>| result.map_or(0, nix::unistd::Pid::as_raw);
        [number(nix::unistd::getsid(None)), nix::unistd::getpgrp().as_raw(), pid() as i32]
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let [session, group, worker] = pool.apply(session, ()).unwrap();
        assert_eq!((session, group), (worker, worker));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_pool_takes_in_no_orphan_and_no_child_of_its_program() {
    scenario(|| {
        let mut child =
            Command::new("sh").args(["-c", "read line; exit 7"]).stdin(Stdio::piped()).spawn().unwrap();
        let pool = Pool::new(2).unwrap();
        let workers = all_up(&pool, 2);
        drop(child.stdin.take());
        scenario::kill_all(&workers);
        assert_usable(&pool);
        drop(pool);
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert!(!nix::sys::prctl::get_child_subreaper().unwrap());
    });
}

#[test]
fn the_terminal_s_signals_do_not_reach_workers() {
    scenario_with_root(
        || {
            // As a program that handles Ctrl-C itself.
            nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0)).unwrap();
            for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
                // SAFETY: to ignore a signal runs no handler.
                unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }.unwrap();
            }
            let pool = Pool::new(2).unwrap();
            let gate = Gate::new("gate");
            let handles = [(); 2].map(|()| pool.apply_async(hold, (gate.arg(),)));
            gate.wait_for(2);
            for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
                nix::sys::signal::killpg(nix::unistd::getpgrp(), signal).unwrap();
            }
            assert!(pool.pids().iter().all(|worker| state_of(*worker).is_some_and(|state| state != 'Z')));
            gate.open();
            let [first, second] = handles;
            first.get().unwrap();
            second.get().unwrap();
            assert_eq!(pool.stats().restarts, 0);
        },
        |start| assert_eq!(start().ends().code(), Some(0)),
    );
}
