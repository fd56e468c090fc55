//! What else goes on in the process that has the pool: signals, other code's `wait`, too few descriptors.

mod scenario;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use scenario::jobs::{die, hold, square};
use scenario::{
    Gate, SOON, all_up, assert_all_over, assert_usable, cause, eventually, kill_all, promptly, scenario,
    send, within,
};
use sidestep::{Cause, Pool, PoolError};

sidestep::worker_entry!();

fn set(which: Signal, handler: SigHandler) {
    // SAFETY: neither the default nor ignoring runs any code, and the handlers used here touch one atomic number.
    unsafe { signal(which, handler) }.unwrap();
}

#[test]
fn a_program_that_ignores_sigchld_loses_only_the_statuses() {
    scenario(|| {
        set(Signal::SIGCHLD, SigHandler::SigIgn);
        let pool = Pool::new(2).unwrap();
        assert_usable(&pool);
        assert_eq!(cause(promptly("a crash", || pool.apply(die, ("abort".into(),)))), Cause::Unknown);
        assert_usable(&pool);
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        send(gate.wait_for(1)[0], Signal::SIGKILL);
        assert_eq!(cause(promptly("a kill", || handle.get())), Cause::Unknown);
        kill_all(&all_up(&pool, 2));
        assert_usable(&pool);
        pool.close();
        promptly("join", || pool.join()).unwrap();
        let pool = Pool::new(2).unwrap();
        promptly("drop", || drop(pool));
    });
}

#[test]
fn a_thread_that_waits_for_any_child_takes_only_the_statuses() {
    scenario(|| {
        let stop = AtomicBool::new(false);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                        Ok(status) if status.pid().is_some() => drop(taken.fetch_add(1, Ordering::Relaxed)),
                        _ => std::thread::yield_now(),
                    }
                }
            });
            let pool = Pool::new(2).unwrap();
            let mut crashes = 0;
            // Whoever waits first has the status; the race has to be lost now and then.
            eventually("some statuses are taken", || {
                let how = cause(promptly("a crash", || pool.apply(die, ("abort".into(),))));
                assert!(matches!(how, Cause::Unknown | Cause::Signal(6)), "{how:?}");
                assert_usable(&pool);
                crashes += 1;
                crashes >= 20 && taken.load(Ordering::Relaxed) >= 3
            });
            assert_eq!(pool.stats().restarts, crashes);
            pool.close();
            promptly("join", || pool.join()).unwrap();
            let pool = Pool::new(2).unwrap();
            promptly("drop", || drop(pool));
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_program_that_dies_of_sigpipe_does_not_die_of_its_workers() {
    scenario(|| {
        set(Signal::SIGPIPE, SigHandler::SigDfl);
        let pool = Pool::new(2).unwrap();
        for n in 0..30 {
            kill_all(&all_up(&pool, 2));
            // Into a pipe that nobody reads, if it comes before the news of the deaths.
            assert_eq!(pool.apply(square, (n,)), Ok(n * n));
        }
        assert_eq!(pool.stats().failed, 0);
    });
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_storm_of_signals_in_the_parent_changes_no_result() {
    scenario(|| {
        // Without SA_RESTART: every blocking call of every thread may be interrupted.
        let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler touches one atomic number.
        unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
        let every = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 0, tv_usec: 1000 },
            it_value: libc::timeval { tv_sec: 0, tv_usec: 1000 },
        };
        // SAFETY: both pointers are valid or null, as the call allows.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &every, std::ptr::null_mut()) };
        let pool = Pool::new(3).unwrap();
        while SIGNALS.load(Ordering::Relaxed) < 300 {
            assert_usable(&pool);
            let large = sidestep::Bytes::from(vec![5; 4 << 20]);
            assert!(pool.apply(echo, (large.clone(),)).unwrap() == large);
        }
        assert_eq!(cause(pool.apply(die, ("abort".into(),))), Cause::Signal(6));
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.restarts), (1, 1));
        pool.close();
        pool.join().unwrap();
    });
}

#[sidestep::job]
fn echo(bytes: sidestep::Bytes) -> sidestep::Bytes {
    bytes
}

/// Leaves this process room for so many descriptors beyond those that are open.
fn leave_room(descriptors: usize) {
    let limit = (scenario::descriptors().len() + descriptors) as u64;
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
}

#[test]
fn too_few_descriptors_for_all_workers_are_enough_for_some() {
    scenario(|| {
        leave_room(40);
        let pool = Pool::new(16).unwrap();
        let some = pool.pids().len();
        assert!((1..16).contains(&some), "{some} workers");
        assert_usable(&pool);
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        send(gate.wait_for(1)[0], Signal::SIGKILL);
        assert_eq!(cause(handle.get()), Cause::Signal(9));
        assert_usable(&pool);
        // Jobs need none.
        let many: Vec<_> = (0..20_000).map(|n| pool.apply_async(square, (n,))).collect();
        for (n, handle) in (0..).zip(many) {
            assert_eq!(handle.get(), Ok(n * n));
        }
        assert_all_over(&pool.stats());
        pool.close();
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn no_descriptors_at_all_are_told() {
    scenario(|| {
        for room in 0..12 {
            // The soft limit alone would be raised.
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            let own = std::fs::File::open("/dev/null").unwrap();
            leave_room(room);
            match promptly("the failure", || Pool::new(2)) {
                Err(PoolError::Spawn { message }) => assert!(message.contains("files"), "{message}"),
                Ok(pool) => assert_usable(&pool),
                Err(other) => panic!("room for {room}: {other:?}"),
            }
            drop(own);
            if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
                // Only root may raise it again.
                return;
            }
        }
    });
}

#[test]
fn a_pool_grows_to_its_size_once_there_are_descriptors_again() {
    if scenario::lacks_descriptors(150) {
        return;
    }
    scenario(|| {
        let files: Vec<_> = (0..60).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        leave_room(30);
        let pool = Pool::new(8).unwrap();
        assert!(pool.pids().len() < 8);
        drop(files);
        eventually("all are there", || pool.pids().len() == 8);
        all_up(&pool, 8);
        assert_eq!(pool.stats().restarts, 0);
    });
}

#[test]
fn a_soft_limit_is_raised_when_it_must_be() {
    scenario(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if hard < 512 {
            return;
        }
        setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
        let pool = Pool::new(24).unwrap();
        assert_eq!(pool.pids().len(), 24);
        all_up(&pool, 24);
    });
}

#[test]
fn several_pools_do_not_get_in_each_other_s_way() {
    scenario(|| {
        let pools: Vec<_> = (0..4).map(|_| Pool::new(2).unwrap()).collect();
        let gates: Vec<_> = (0..4).map(|n| Gate::new(&n.to_string())).collect();
        let handles: Vec<_> =
            pools.iter().zip(&gates).map(|(pool, gate)| pool.apply_async(hold, (gate.arg(),))).collect();
        let workers: Vec<_> = gates.iter().map(|gate| gate.wait_for(1)[0]).collect();
        send(workers[1], Signal::SIGKILL);
        within(SOON, "one pool has lost a job", || pools[1].stats().failed == 1);
        promptly("terminate", || pools[2].terminate());
        gates.iter().for_each(Gate::open);
        let outcomes: Vec<_> = handles.into_iter().map(|handle| handle.get().is_ok()).collect();
        assert_eq!(outcomes, [true, false, false, true]);
        assert_usable(&pools[0]);
        assert_usable(&pools[1]);
    });
}
