//! Limits of memory and processor time: whoever comes to one ends, and nobody else pays.

#![cfg(all(target_os = "linux", not(sidestep_portable)))]

mod scenario;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use scenario::jobs::{arrive, hold, pid, spin, square};
use scenario::{Gate, all_up, assert_usable, eventually, is_alive, is_lost, scenario, send};
use sidestep::{Builder, JobError, Output, Pool, PoolError};

sidestep::worker_entry!();

const MIB: usize = 1 << 20;
/// Well above what the test program itself takes.
const MEMORY: usize = 200 * MIB;
const CPU: Duration = Duration::from_millis(200);

fn roomy(workers: usize) -> Builder {
    Pool::builder().workers(workers).memory_limit(MEMORY as u64).stderr(Output::Null)
}

fn resident(bytes: usize) -> Vec<u8> {
    black_box(vec![1u8; bytes])
}

/// Comes to a gate, touches so much memory, and stays.
#[sidestep::job]
fn fill(gate: String, bytes: usize) -> usize {
    let memory = resident(bytes);
    arrive(&gate);
    let open = Path::new(&gate).join("open");
    while !open.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    memory.len()
}

/// Takes more and more.
#[sidestep::job]
fn devour() {
    let mut all = Vec::new();
    loop {
        all.push(resident(MIB));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn assert_memory_limit<R: std::fmt::Debug>(outcome: Result<R, JobError>) -> u32 {
    match outcome {
        Err(JobError::MemoryLimit { limit, pid: Some(pid), .. }) if limit == MEMORY as u64 => pid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_takes_too_much_memory_ends_and_its_worker_is_replaced() {
    scenario(|| {
        let pool = roomy(2).build().unwrap();
        let before = all_up(&pool, 2);
        let pid = assert_memory_limit(pool.apply(devour, ()));
        assert!(before.contains(&pid));
        eventually("it is gone", || !is_alive(pid));
        assert_usable(&pool);
        let after = all_up(&pool, 2);
        assert!(!after.contains(&pid) && after.iter().any(|pid| before.contains(pid)));
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.over_memory, stats.restarts), (1, 1, 0));
    });
}

#[test]
fn what_lay_behind_it_runs_elsewhere_without_blame() {
    #[sidestep::job]
    fn devour_if(greedy: bool) -> bool {
        if greedy {
            devour();
        }
        greedy
    }
    scenario(|| {
        let pool = roomy(1).build().unwrap();
        let outcomes: Vec<_> = pool.call(devour_if).chunk_size(20).imap((0..20).map(|n| n == 7)).collect();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Err(JobError::MemoryLimit { .. }) => assert_eq!(n, 7),
                other => assert_eq!((n != 7, other), (true, Ok(false))),
            }
        }
    });
}

#[test]
fn a_job_below_the_limit_is_left_alone_and_its_memory_is_shown() {
    scenario(|| {
        let pool = roomy(1).build().unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(fill, (gate.arg(), MEMORY / 2));
        gate.wait_for(1);
        let memory = pool.stats().workers[0].memory.unwrap() as usize;
        assert!((MEMORY / 2..MEMORY).contains(&memory), "{memory}");
        gate.open();
        assert_eq!(handle.get(), Ok(MEMORY / 2));
    });
}

#[test]
fn a_limit_counts_as_a_death_for_retries_and_poison() {
    #[sidestep::job]
    fn devour_at_first() -> u32 {
        let attempt = sidestep::context().attempt();
        if attempt == 1 {
            devour();
        }
        attempt
    }
    scenario(|| {
        let quick = |retries| roomy(1).retries(retries).retry_delay(Duration::ZERO, Duration::ZERO).build();
        let pool = quick(1).unwrap();
        assert_eq!(pool.apply(devour_at_first, ()), Ok(2));
        assert_memory_limit(pool.apply(devour, ()));
        for retries in [2, 100] {
            let outcome = quick(retries).unwrap().apply(devour, ());
            assert!(matches!(outcome, Err(JobError::Poisoned { deaths: 3, .. })), "{outcome:?}");
        }
    });
}

#[test]
fn a_worker_that_is_killed_close_to_its_limit_has_come_to_it() {
    scenario(|| {
        for (share, near) in [(95, true), (20, false)] {
            let pool = roomy(1).build().unwrap();
            let gate = Gate::new(&share.to_string());
            let own = pool.stats().workers[0].memory.unwrap() as usize;
            let handle = pool.apply_async(fill, (gate.arg(), MEMORY * share / 100 - own.min(MEMORY / 10)));
            let worker = gate.wait_for(1)[0];
            // Whoever waits measures it meanwhile.
            assert!(!handle.wait(Duration::from_millis(100)));
            send(worker, Signal::SIGKILL);
            let outcome = handle.get();
            match near {
                true => drop(assert_memory_limit(outcome)),
                false => assert!(is_lost(&outcome), "{outcome:?}"),
            }
        }
    });
}

#[test]
fn a_worker_that_an_earlier_job_has_filled_is_replaced_and_nobody_pays() {
    /// Fills its worker after it has ended.
    #[sidestep::job]
    fn fill_later(gate: String) {
        std::thread::spawn(move || {
            hold(gate.clone());
            std::mem::forget(resident(MEMORY + MEMORY / 2));
            std::fs::write(Path::new(&gate).join("full"), "").unwrap();
        });
    }
    scenario(|| {
        let pool = roomy(1).retries(1).build().unwrap();
        let gate = Gate::new("gate");
        pool.apply(fill_later, (gate.arg(),)).unwrap();
        let full = gate.wait_for(1)[0];
        gate.open();
        eventually("it is full", || Path::new(&gate.arg()).join("full").exists());
        assert_eq!(pool.apply(square, (3,)), Ok(9));
        eventually("it is replaced", || !is_alive(full));
        assert_ne!(pool.apply(pid, ()), Ok(full));
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.restarts), (3, 0, 0));
    });
}

#[test]
fn many_short_jobs_that_leak_all_pass() {
    #[sidestep::job]
    fn leak(n: u32) -> u32 {
        std::mem::forget(resident(MIB / 4));
        n
    }
    scenario(|| {
        let pool = roomy(2).retries(1).build().unwrap();
        let mut workers = std::collections::HashSet::new();
        for round in 0..4 {
            assert_eq!(pool.map(leak, 0..500), Ok((0..500).collect()), "round {round}");
            workers.extend(pool.pids());
        }
        assert!(workers.len() > 2, "no worker was replaced");
        assert_eq!(pool.stats().failed, 0);
    });
}

#[test]
fn an_allocation_far_beyond_the_limit_fails() {
    #[sidestep::job]
    fn reserve(bytes: usize) -> bool {
        Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
    }
    #[sidestep::job]
    fn data_limit() -> u64 {
        getrlimit(Resource::RLIMIT_DATA).unwrap().0
    }
    scenario(|| {
        let pool = roomy(1).build().unwrap();
        let limit = pool.apply(data_limit, ()).unwrap() as usize;
        assert_eq!(limit, 2 * MEMORY + 1024 * MIB);
        // Memory that is only reserved is not resident.
        assert_eq!(pool.apply(reserve, (limit / 2,)), Ok(true));
        assert_eq!(pool.apply(reserve, (limit,)), Ok(false));
    });
}

/// What this process has used of the processor.
fn used() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

#[test]
fn a_pool_with_limits_that_has_nothing_to_do_sleeps() {
    scenario(|| {
        let pool = roomy(1).cpu_limit(CPU).build().unwrap();
        assert_eq!(pool.apply(square, (3,)), Ok(9));
        let wakeups = || {
            let mut sum = 0;
            for task in std::fs::read_dir("/proc/self/task").unwrap() {
                let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
                let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                sum += line.unwrap().trim().parse::<u64>().unwrap();
            }
            sum
        };
        let before = wakeups();
        std::thread::sleep(Duration::from_secs(1));
        let woken = wakeups() - before;
        assert!(woken < 20, "{woken} times in a second");
    });
}

// ---- processor time ----

fn assert_cpu_limit<R: std::fmt::Debug>(outcome: Result<R, JobError>) {
    assert!(matches!(outcome, Err(JobError::CpuLimit { limit: CPU, pid: Some(_), .. })), "{outcome:?}");
}

fn frugal(workers: usize) -> Pool {
    Pool::builder().workers(workers).cpu_limit(CPU).grace(Duration::from_millis(50)).build().unwrap()
}

#[test]
fn a_job_that_uses_too_much_processor_time_ends() {
    scenario(|| {
        let pool = frugal(2);
        let gate = Gate::new("gate");
        let begin = Instant::now();
        assert_cpu_limit(pool.apply(spin, (gate.arg(),)));
        assert!(begin.elapsed() >= CPU, "it cannot have used that much");
        eventually("its worker is gone", || !is_alive(gate.arrived()[0]));
        assert_usable(&pool);
    });
}

#[test]
fn time_that_a_job_sleeps_does_not_count() {
    #[sidestep::job]
    fn sleep(millis: u64) {
        std::thread::sleep(Duration::from_millis(millis));
    }
    scenario(|| {
        assert_eq!(frugal(1).apply(sleep, (CPU.as_millis() as u64 * 2,)), Ok(()));
    });
}

/// Uses so much processor time.
#[sidestep::job]
fn burn(millis: u64) {
    let end = used() + Duration::from_millis(millis);
    while used() < end {}
}

#[test]
fn what_earlier_jobs_of_the_worker_have_used_does_not_count() {
    scenario(|| {
        let pool = frugal(1);
        let worker = pool.pids();
        let handle = pool.call(burn).chunk_size(5).map_async([CPU.as_millis() as u64 / 2; 10]);
        assert_eq!(handle.get(), Ok(vec![(); 10]));
        assert_eq!(pool.pids(), worker);
    });
}

#[test]
fn all_threads_of_the_worker_count() {
    #[sidestep::job]
    fn burn_elsewhere() {
        std::thread::spawn(|| burn(u64::from(u32::MAX))).join().unwrap();
    }
    scenario(|| assert_cpu_limit(frugal(1).apply(burn_elsewhere, ())));
}

#[test]
fn each_limit_is_told_as_itself() {
    scenario(|| {
        let strict = || roomy(1).cpu_limit(CPU).grace(Duration::ZERO);
        let gate = Gate::new("gate");
        assert_memory_limit(strict().cpu_limit(CPU * 100).build().unwrap().apply(devour, ()));
        assert_cpu_limit(strict().build().unwrap().apply(spin, (gate.arg(),)));
        let pool = strict().timeout(CPU / 4).build().unwrap();
        let outcome = pool.apply(spin, (gate.arg(),));
        assert!(matches!(outcome, Err(JobError::TimedOut { .. })), "{outcome:?}");
    });
}

#[test]
fn nothing_at_all_is_refused() {
    scenario(|| {
        for (option, builder) in [
            ("memory_limit", roomy(1).memory_limit(0)),
            ("cpu_limit", { Pool::builder().cpu_limit(Duration::ZERO) }),
        ] {
            let refused = builder.build();
            assert!(
                matches!(&refused, Err(PoolError::Config { what }) if what.contains(option)),
                "{refused:?}"
            );
        }
    });
}
