//! Jobs that get at what is not theirs: descriptors, the channel, other processes.

mod scenario;

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use scenario::jobs::{arrive, hold, pid, square};
use scenario::{
    Gate, SOON, adopt_orphans, all_gone_within, all_up, assert_all_over, assert_usable, cause, eventually,
    is_alive, promptly, scenario, send,
};
use sidestep::{Cause, JobError, Output, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn flood(megabytes: usize) -> usize {
    let piece = [0xFFu8; 1 << 20];
    for _ in 0..megabytes {
        std::io::stdout().write_all(&piece).unwrap();
        std::io::stderr().write_all(&piece).unwrap();
    }
    megabytes
}

#[test]
fn what_jobs_print_does_not_touch_the_channel_and_never_stops_them() {
    scenario(|| {
        let pool = Pool::builder().workers(2).stdout(Output::Null).stderr(Output::Null).build().unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        assert_eq!(pool.map(flood, [50, 50]).unwrap(), [50, 50]);
        assert_usable(&pool);
        assert!(pool.pids().contains(&worker));
        assert_eq!(pool.stats().restarts, 0);
    });
}

#[test]
fn a_job_that_reads_stdin_finds_its_end() {
    #[sidestep::job]
    fn read_stdin() -> usize {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap()
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for _ in 0..3 {
            assert_eq!(promptly("the read", || pool.apply(read_stdin, ())), Ok(0));
        }
    });
}

/// Closes all descriptors from one number to another.
#[sidestep::job]
fn close(first: u32, last: u32) {
    // SAFETY: what is closed under the library's feet is what the test is about; nothing here uses a descriptor after it.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
}

#[test]
fn a_job_that_closes_the_three_usual_ones_harms_nobody() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        pool.apply(close, (0, 2)).unwrap();
        assert_usable(&pool);
        // What is opened next gets their numbers.
        #[sidestep::job]
        fn open_some() -> Vec<usize> {
            (0..3).map(|_| fs::read("/proc/self/cmdline").unwrap().len()).collect()
        }
        assert_eq!(pool.apply(open_some, ()).unwrap().len(), 3);
        assert_eq!(pool.apply(pid, ()), Ok(worker));
    });
}

#[test]
fn a_job_that_closes_the_channel_loses_itself_and_nobody_else() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        for _ in 0..5 {
            let others = pool.map_async(square, 0..50);
            let outcome = promptly("the loss", || pool.apply(close, (3, u32::MAX)));
            // What it gave back before it was found out counts.
            assert!(matches!(outcome, Ok(()) | Err(JobError::Protocol { .. })), "{outcome:?}");
            assert_eq!(others.get().unwrap().len(), 50);
        }
        assert_usable(&pool);
        eventually("all five workers are replaced", || pool.stats().restarts == 5);
        assert_all_over(&pool.stats());
    });
}

/// As [`close`], by a thread that waits until the job is over.
#[sidestep::job]
fn close_later(first: u32) {
    std::thread::spawn(move || {
        while sidestep::try_context().is_some() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(20));
        close(first, u32::MAX);
    });
}

#[test]
fn a_channel_that_is_closed_between_two_jobs_hangs_nobody() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for pause in [0, 30, 150] {
            pool.apply(close_later, (3,)).unwrap();
            std::thread::sleep(Duration::from_millis(pause));
            let next = promptly("the next job", || pool.apply(square, (3,)));
            assert!(matches!(next, Ok(9) | Err(JobError::Protocol { .. })), "{next:?}");
            eventually("the worker is replaced", || pool.stats().restarts > 0);
        }
        assert_usable(&pool);
        assert_all_over(&pool.stats());
    });
}

/// Descriptors of this process that are pipes, or whatever else the word says.
fn descriptors_like(word: &str) -> Vec<i32> {
    let found = scenario::descriptors().into_iter().filter(|(fd, target)| *fd > 2 && target.contains(word));
    found.map(|(fd, _)| fd).collect()
}

fn write_to(fd: i32, bytes: &[u8]) -> isize {
    // SAFETY: the bytes are there; what a wrong descriptor does is the point.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) }
}

/// Writes something to each pipe that it finds, and then goes on or ends.
#[sidestep::job]
fn scribble(bytes: Vec<u8>, exit: bool) -> i64 {
    let written: isize = descriptors_like("pipe:").into_iter().map(|fd| write_to(fd, &bytes).max(0)).sum();
    if exit {
        std::process::exit(7);
    }
    written as i64
}

#[test]
fn a_job_that_writes_into_the_channel_loses_itself_and_nobody_else() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let pieces =
            [vec![0; 5], vec![0xFF; 5], vec![0; 100], vec![0xFF; 100], (0..=255).collect::<Vec<u8>>()];
        for piece in pieces {
            for exit in [false, true] {
                let outcome = promptly("the loss", || pool.apply(scribble, (piece.clone(), exit)));
                let as_it_should =
                    matches!(outcome, Err(JobError::Protocol { .. } | JobError::WorkerLost { .. }));
                assert!(as_it_should, "{piece:?}, {exit}: {outcome:?}");
                assert_usable(&pool);
            }
        }
        assert_all_over(&pool.stats());
    });
}

#[test]
fn a_copy_that_a_job_forks_cannot_speak_for_the_worker() {
    #[sidestep::job]
    fn fork_and_return() -> i32 {
        // SAFETY: the copy only returns from the job, which is what the test is about.
        unsafe { libc::fork() }
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        for _ in 0..10 {
            let outcome = promptly("the job", || pool.apply(fork_and_return, ()));
            // The copy says 0; only the worker itself may be heard.
            assert!(matches!(outcome, Ok(copy) if copy > 0), "{outcome:?}");
            assert_usable(&pool);
        }
        assert_eq!(pool.apply(pid, ()), Ok(worker));
    });
}

#[sidestep::job]
fn leave_a_sleeper(gate: String, stay: bool) -> u32 {
    // It has the worker's stdout and stderr, and whatever else is not closed by exec.
    let sleeper = Command::new("sleep").arg("1000").spawn().unwrap().id();
    arrive(&gate);
    if stay {
        hold(gate);
    }
    sleeper
}

#[test]
fn a_grandchild_that_holds_the_pipes_does_not_delay_the_news() {
    scenario(|| {
        adopt_orphans();
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(leave_a_sleeper, (gate.arg(), true));
        let worker = gate.wait_for(1)[0];
        send(worker, Signal::SIGKILL);
        assert_eq!(cause(promptly("the loss", || handle.get())), Cause::Signal(9));
        assert_usable(&pool);
        drop(pool);
        all_gone_within(SOON, "the grandchild dies with its group");
    });
}

#[test]
fn a_grandchild_may_outlive_its_job_but_not_its_pool() {
    scenario(|| {
        adopt_orphans();
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let sleeper = promptly("the job", || pool.apply(leave_a_sleeper, (gate.arg(), false))).unwrap();
        assert_usable(&pool);
        assert!(is_alive(sleeper));
        pool.close();
        promptly("join", || pool.join()).unwrap();
        all_gone_within(SOON, "the grandchild");
    });
}

#[test]
fn a_cancelled_job_takes_along_what_it_has_started() {
    scenario(|| {
        adopt_orphans();
        let pool = Pool::new(2).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(leave_a_sleeper, (gate.arg(), true));
        let worker = gate.wait_for(1)[0];
        assert!(handle.cancel());
        assert_eq!(promptly("it", || handle.get()), Err(JobError::Cancelled));
        let left = || scenario::processes_below(std::process::id());
        eventually("the sleeper is gone", || {
            let pids = pool.pids();
            let strays = left().into_iter().filter(|pid| !pids.contains(pid) && is_alive(*pid));
            strays.count() == 0
        });
        assert!(!is_alive(worker));
        drop(pool);
        all_gone_within(SOON, "the rest");
    });
}

/// What a worker has open, in its own view.
#[sidestep::job]
fn list_descriptors() -> Vec<String> {
    scenario::descriptors().into_values().collect()
}

#[test]
fn no_worker_holds_an_end_of_another_s_pipes() {
    scenario(|| {
        let inherited: Vec<String> = scenario::descriptors().into_values().collect();
        let pool = Pool::new(4).unwrap();
        let mut workers = all_up(&pool, 4);
        // Those that come later could inherit the most.
        scenario::kill_all(&workers[..2]);
        eventually("two are replaced", || pool.stats().restarts == 2);
        workers = all_up(&pool, 4);
        let pipes = |pid: u32| -> Vec<String> {
            let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            let targets =
                entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()));
            targets.filter(|target| target.starts_with("pipe:") && !inherited.contains(target)).collect()
        };
        let all: Vec<Vec<String>> = workers.iter().map(|worker| pipes(*worker)).collect();
        for (at, own) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                let shared: Vec<_> = own.iter().filter(|pipe| other.contains(pipe)).collect();
                assert!(at == other_at || shared.is_empty(), "{at} and {other_at} share {shared:?}");
            }
        }
        let open = pool.apply(list_descriptors, ()).unwrap();
        assert!(open.len() <= 6 + inherited.len(), "a worker has little open: {open:?}");
    });
}

#[test]
fn programs_that_others_start_meanwhile_hold_no_end_of_a_worker_s_pipes() {
    scenario(|| {
        let inherited: Vec<String> = scenario::descriptors().into_values().collect();
        let pool = Pool::new(2).unwrap();
        let gate = Gate::new("gate");
        let mut sleepers = Vec::new();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                (0..30).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect::<Vec<_>>()
            });
            for n in 0..20 {
                pool.resize(1 + n % 4).unwrap();
                assert_usable(&pool);
            }
            sleepers = other.join().unwrap();
        });
        // If one of them held a result pipe open, this would still be seen, by the process; if one held a job pipe
        // open, the workers would not end with their parent.
        for sleeper in &sleepers {
            let entries = fs::read_dir(format!("/proc/{}/fd", sleeper.id())).unwrap().flatten();
            let open: Vec<_> = entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
            let is_new = |target: &&std::path::PathBuf| {
                let target = target.display().to_string();
                target.starts_with("pipe:") && !inherited.contains(&target)
            };
            assert_eq!(open.iter().find(is_new), None, "{open:?}");
        }
        let handle = pool.apply_async(hold, (gate.arg(),));
        send(gate.wait_for(1)[0], Signal::SIGKILL);
        assert_eq!(cause(promptly("the loss", || handle.get())), Cause::Signal(9));
        for mut sleeper in sleepers {
            sleeper.kill().unwrap();
            sleeper.wait().unwrap();
        }
    });
}

#[test]
fn programs_that_jobs_start_find_default_signals_and_no_descriptors() {
    #[sidestep::job]
    fn ask_a_program() -> (String, Vec<String>) {
        let status = Command::new("cat").arg("/proc/self/status").output().unwrap();
        let status = String::from_utf8(status.stdout).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap().to_owned();
        let listed = Command::new("sh").args(["-c", "ls -l /proc/$$/fd"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let targets = listed.lines().filter_map(|line| Some(line.split_once(" -> ")?.1.to_owned()));
        (ignored, targets.collect())
    }
    scenario(|| {
        let inherited: Vec<String> = scenario::descriptors().into_values().collect();
        let pool = Pool::new(1).unwrap();
        let (ignored, open) = pool.apply(ask_a_program, ()).unwrap();
        // The C library itself ignores its two internal signals in what it spawns.
        let internal = 0b11 << 31;
        assert_eq!(u64::from_str_radix(&ignored, 16).unwrap() & !internal, 0, "{ignored}");
        let new = open.iter().filter(|target| !inherited.contains(target)).count();
        // Its own stdin, stdout and stderr.
        assert!(new <= 3, "{open:?}");
    });
}

#[test]
fn a_job_that_storms_its_own_process_with_signals_gets_its_result_through() {
    #[sidestep::job]
    fn under_alarm(bytes: usize) -> sidestep::Bytes {
        extern "C" fn nothing(_: i32) {}
        use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet};
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: a handler that does nothing is safe at any moment.
        unsafe { nix::sys::signal::sigaction(Signal::SIGALRM, &action) }.unwrap();
        let every = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 0, tv_usec: 500 },
            it_value: libc::timeval { tv_sec: 0, tv_usec: 500 },
        };
        // SAFETY: both pointers are valid or null, as the call allows.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &every, std::ptr::null_mut()) };
        vec![9; bytes].into()
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for bytes in [10, 10 << 20, 30 << 20] {
            let result = pool.apply(under_alarm, (bytes,)).unwrap();
            assert!(result.len() == bytes && result.iter().all(|byte| *byte == 9));
        }
        assert_usable(&pool);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(pool.stats().restarts, 0);
    });
}
