//! Under what conditions workers run: their niceness, and whether they leave core dumps.

mod scenario;

use nix::sys::resource::{Resource, getrlimit};
use scenario::jobs::die;
use scenario::{assert_usable, dir, scenario};
use sidestep::{JobError, Pool, PoolError};

sidestep::worker_entry!();

#[sidestep::job]
fn niceness() -> i32 {
    // SAFETY: these arguments mean the calling process.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

#[sidestep::job]
fn niceness_of_a_program() -> i32 {
    let output = std::process::Command::new("nice").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn workers_and_what_their_jobs_start_are_as_nice_as_was_said() {
    scenario(|| {
        let own = niceness();
        for (increment, wanted) in [(0, own), (3, (own + 3).min(19)), (40, 19)] {
            let pool = Pool::builder().workers(1).nice(increment).build().unwrap();
            assert_eq!(pool.apply(niceness, ()), Ok(wanted));
            assert_eq!(pool.apply(niceness_of_a_program, ()), Ok(wanted));
        }
        assert_eq!(niceness(), own, "this process stays as it was");
    });
}

#[test]
fn to_be_less_nice_works_or_is_told() {
    scenario(|| match Pool::builder().workers(1).nice(-1).build() {
        Ok(pool) => assert_eq!(pool.apply(niceness, ()), Ok((niceness() - 1).max(-20))),
        Err(PoolError::Initializer { message }) => assert!(message.contains("niceness"), "{message}"),
        Err(other) => panic!("{other:?}"),
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_pool_has_as_many_workers_as_this_process_may_use_cores() {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    scenario(|| {
        let this = Pid::from_raw(0);
        let all = sched_getaffinity(this).unwrap();
        let cores: Vec<usize> = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap()).collect();
        let mut few = CpuSet::new();
        for (count, core) in (1..).zip(cores.into_iter().take(2)) {
            few.set(core).unwrap();
            sched_setaffinity(this, &few).unwrap();
            assert_eq!(Pool::builder().build().unwrap().pids().len(), count);
        }
    });
}

#[sidestep::job]
fn core_limit() -> (u64, u64) {
    getrlimit(Resource::RLIMIT_CORE).unwrap()
}

#[test]
fn core_dumps_are_off_unless_they_are_allowed() {
    scenario(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
        for (allow, soft) in [(false, 0), (true, hard)] {
            let pool = Pool::builder().workers(1).core_dumps(allow).build().unwrap();
            assert_eq!(pool.apply(core_limit, ()), Ok((soft, hard)));
            assert_usable(&pool);
        }
    });
}

#[test]
fn a_core_dump_that_was_left_is_told() {
    scenario(|| {
        let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
        let can = hard > 0 && pattern.starts_with("core");
        for allow in [false, true] {
            let pool = Pool::builder().workers(1).core_dumps(allow).current_dir(dir()).build().unwrap();
            match pool.apply(die, ("abort".into(),)) {
                Err(JobError::WorkerLost { hint: Some(hint), .. }) => {
                    assert!(hint.starts_with("it called abort"), "{hint}");
                    assert!(!can || hint.contains("core dump") == allow, "{hint}");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}
