//! Places where the system gives less than usual: a sandbox, another user, no `/proc`, odd signals from the parent.
#![cfg(target_os = "linux")]

mod scenario;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{Gid, Uid, geteuid, setresgid, setresuid};
use scenario::jobs::{die, hold, square};
use scenario::{Gate, all_up, assert_usable, cause, eventually, kill_all, promptly, scenario, send};
use sidestep::{Bytes, Cause, Pool, PoolError};

sidestep::worker_entry!();

/// Some of this can be set up by root alone.
fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: this needs root");
    }
    root
}

/// Goes on as a user whom limits hold for.
fn become_nobody() {
    let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
    // A process that has changed its user may not look at itself, unlike one that was started as that user.
    nix::sys::prctl::set_dumpable(true).unwrap();
}

/// From now on these calls give this error, here and in whatever is started from here.
fn refuse(calls: &[libc::c_long], errno: i32) {
    forbid(calls, libc::SECCOMP_RET_ERRNO | errno as u32);
}

/// The same, with what follows from such a call.
fn forbid(calls: &[libc::c_long], action: u32) {
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in calls {
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, 0, 1));
        program.push(step(libc::BPF_RET | libc::BPF_K, action, 0, 0));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs().unwrap();
    let all_threads = libc::SECCOMP_FILTER_FLAG_TSYNC;
    // SAFETY: the filter is a whole program, and the kernel copies it before the call returns.
    let outcome =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, all_threads, &filter) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

fn assert_survives_deaths(pool: &Pool) {
    assert_usable(pool);
    let gate = Gate::new("gate");
    let handle = pool.apply_async(hold, (gate.arg(),));
    send(gate.wait_for(1)[0], Signal::SIGKILL);
    assert_eq!(cause(promptly("a kill", || handle.get())), Cause::Signal(9));
    assert_eq!(cause(promptly("a crash", || pool.apply(die, ("abort".into(),)))), Cause::Signal(6));
    kill_all(&all_up(pool, 2));
    assert_usable(pool);
    pool.close();
    promptly("join", || pool.join()).unwrap();
}

#[test]
fn a_sandbox_that_refuses_pidfds_and_memory_files_is_no_hindrance() {
    scenario(|| {
        refuse(&[libc::SYS_pidfd_open, libc::SYS_memfd_create], libc::EPERM);
        assert_survives_deaths(&Pool::new(2).unwrap());
    });
}

#[test]
fn a_kernel_without_pidfds_and_memory_files_is_no_hindrance() {
    scenario(|| {
        refuse(&[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_memfd_create], libc::ENOSYS);
        assert_survives_deaths(&Pool::new(2).unwrap());
    });
}

/// The number of the call that each thread of this process is in.
#[cfg(not(sidestep_portable))]
fn calls() -> Vec<libc::c_long> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let calls = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("syscall")).ok());
    calls.filter_map(|call| call.split(' ').next()?.trim().parse().ok()).collect()
}

#[test]
#[cfg(not(sidestep_portable))]
fn a_pool_that_sleeps_for_months_asks_no_call_that_an_older_kernel_lacks() {
    scenario(|| {
        forbid(&[libc::SYS_epoll_pwait2], libc::SECCOMP_RET_KILL_PROCESS);
        let months = std::time::Duration::from_secs(60 * 86_400);
        let pool = Pool::builder().workers(1).max_age(months).build().unwrap();
        all_up(&pool, 1);
        assert_eq!(pool.apply_async(square, (3,)).get_timeout(months), Ok(9));
        eventually("its thread sleeps", || calls().contains(&libc::SYS_epoll_pwait));
        assert_usable(&pool);
    });
}

/// From now on this worker may not set its mask for new files, which only jobs do.
#[sidestep::job]
fn lock_in() {
    forbid(&[libc::SYS_umask], libc::SECCOMP_RET_KILL_PROCESS);
}

#[sidestep::job]
fn mask() {
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
}

#[test]
fn a_job_that_puts_itself_into_a_sandbox_is_served_on_until_it_breaks_out() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.apply(mask, ()), Ok(()));
        assert_eq!(pool.apply(lock_in, ()), Ok(()));
        assert_usable(&pool);
        assert_eq!(pool.apply(echo, (vec![1; 3 << 20].into(),)).map(|bytes| bytes.len()), Ok(3 << 20));
        assert_eq!(cause(promptly("the end", || pool.apply(mask, ()))), Cause::Signal(libc::SIGSYS));
        assert_eq!(pool.apply(mask, ()), Ok(()), "its successor is free");
    });
}

#[test]
fn too_little_memory_for_another_process_leaves_the_pool_with_those_that_it_has() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let workers = all_up(&pool, 2);
        refuse(&[libc::SYS_clone, libc::SYS_clone3], libc::ENOMEM);
        send(workers[0], Signal::SIGKILL);
        eventually("one is left", || pool.pids() == workers[1..]);
        assert_usable(&pool);
        assert!(matches!(promptly("another pool", || Pool::new(2)), Err(PoolError::Spawn { .. })));
        pool.close();
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn a_sandbox_that_allows_no_programs_is_told_at_once() {
    scenario(|| {
        refuse(&[libc::SYS_execve, libc::SYS_execveat], libc::EACCES);
        match promptly("the failure", || Pool::new(2)) {
            Err(PoolError::Spawn { message }) => assert!(message.contains("ermission"), "{message}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
#[cfg_attr(sidestep_portable, ignore = "the fallback asks /proc for the program's path")]
fn without_proc_a_pool_works() {
    if !is_root() {
        return;
    }
    // Not a scenario: its census of what is left needs /proc itself. The worker copies leave with this process.
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        umount2("/proc", MntFlags::MNT_DETACH).unwrap();
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(square, 0..100), Ok((0..100).map(|n| n * n).collect()));
        assert_eq!(cause(pool.apply(die, ("abort".into(),))), Cause::Signal(6));
        assert_eq!(pool.apply(square, (4,)), Ok(16));
        pool.close();
        promptly("join", || pool.join()).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn too_few_processes_for_all_workers_are_enough_for_some() {
    if !is_root() {
        return;
    }
    scenario(|| {
        become_nobody();
        let (mut refused, mut partly) = (0, 0);
        // Threads count too: this one and the harness's, the pool's own, two for each worker.
        for processes in 2..24 {
            let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
            setrlimit(Resource::RLIMIT_NPROC, processes, hard).unwrap();
            match promptly("the start", || Pool::new(6)) {
                Ok(pool) => {
                    partly += usize::from((1..6).contains(&pool.pids().len()));
                    assert_usable(&pool);
                }
                Err(PoolError::Spawn { message }) => {
                    refused += 1;
                    assert!(message.contains("processes") || message.contains("thread"), "{message}");
                }
                Err(other) => panic!("{processes}: {other:?}"),
            }
        }
        assert!(refused > 0 && partly > 0, "{refused} refused, {partly} with some workers");
    });
}

#[sidestep::job]
fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[test]
fn pipes_that_are_small_since_the_user_has_many_carry_large_bodies() {
    if !is_root() || scenario::lacks_descriptors(4096) {
        return;
    }
    scenario(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 4096.min(hard), hard).unwrap();
        become_nobody();
        let _pipes: Vec<_> = (0..1100).map_while(|_| std::io::pipe().ok()).collect();
        let pool = Pool::new(2).unwrap();
        let large: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        assert!(pool.apply(echo, (large.clone().into(),)).unwrap()[..] == large[..]);
        assert_usable(&pool);
    });
}

#[sidestep::job]
fn killed_by(name: String) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    let line = format!("kill -{name} $$; exit 7");
    std::process::Command::new("/bin/sh").args(["-c", &line]).status().unwrap().signal()
}

#[test]
fn what_the_program_blocks_and_ignores_is_not_so_in_jobs() {
    scenario(|| {
        SigSet::all().thread_block().unwrap();
        for which in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
            // SAFETY: ignoring runs no code.
            unsafe { signal(which, SigHandler::SigIgn) }.unwrap();
        }
        let pool = Pool::builder().workers(1).timeout(std::time::Duration::from_millis(200)).build().unwrap();
        for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1), ("PIPE", 13), ("USR1", 10)] {
            assert_eq!(pool.apply(killed_by, (name.into(),)), Ok(Some(number)), "{name}");
        }
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        assert!(matches!(promptly("a limit", || handle.get()), Err(sidestep::JobError::TimedOut { .. })));
        assert_usable(&pool);
    });
}
