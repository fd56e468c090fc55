//! Time limits: a job that runs too long ends on time, whatever it does against it, and nobody else pays.

mod scenario;

use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use scenario::jobs::{arrive, hold, spin, square};
use scenario::{Gate, all_up, assert_usable, eventually, is_alive, scenario};
use serde::{Deserialize, Deserializer, Serialize};
use sidestep::{Bytes, JobError, JobHandle, Output, Pool, PoolError};

sidestep::worker_entry!();

const LIMIT: Duration = Duration::from_millis(200);
/// A busy machine may be late by this much, where a quiet one takes a few milliseconds.
const LATE: Duration = Duration::from_millis(700);

/// A pool whose jobs have [`LIMIT`], with hardly any grace.
fn strict(workers: usize) -> Pool {
    Pool::builder().workers(workers).timeout(LIMIT).grace(Duration::from_millis(50)).build().unwrap()
}

/// Waits for a job to run into its limit, which must not come early nor late.
#[track_caller]
fn assert_ends_on_time<R: std::fmt::Debug>(handle: JobHandle<R>) -> u32 {
    let begin = Instant::now();
    let outcome = handle.get();
    let took = begin.elapsed();
    assert!(took < LIMIT + LATE, "it took {took:?}");
    match outcome {
        Err(JobError::TimedOut { limit: LIMIT, pid: Some(pid), .. }) => pid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_endless_job_ends_at_its_limit_and_its_worker_is_replaced() {
    scenario(|| {
        let pool = strict(2);
        let before = all_up(&pool, 2);
        let gate = Gate::new("gate");
        let begin = Instant::now();
        let pid = assert_ends_on_time(pool.apply_async(spin, (gate.arg(),)));
        assert!(begin.elapsed() >= LIMIT, "it ended early");
        assert!(before.contains(&pid));
        eventually("it is gone", || !is_alive(pid));
        assert_usable(&pool);
        let after = all_up(&pool, 2);
        assert!(!after.contains(&pid) && after.iter().any(|pid| before.contains(pid)));
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.timed_out, stats.cancelled, stats.restarts), (1, 1, 0, 0));
    });
}

#[sidestep::job]
fn deaf(gate: String, how: String) {
    match how.as_str() {
        "ignores" => {
            let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is installed.
            unsafe { sigaction(Signal::SIGTERM, &ignore) }.unwrap();
        }
        "blocks" => SigSet::all().thread_block().unwrap(),
        "stops" => {
            arrive(&gate);
            raise(Signal::SIGSTOP).unwrap();
        }
        other => panic!("{other}"),
    }
    spin(gate);
}

#[test]
fn a_job_that_is_deaf_to_the_request_ends_on_time_too() {
    scenario(|| {
        for how in ["ignores", "blocks", "stops"] {
            let pool = strict(1);
            let gate = Gate::new(how);
            let pid = assert_ends_on_time(pool.apply_async(deaf, (gate.arg(), how.into())));
            assert_eq!(gate.arrived(), [pid], "{how}");
            // The next job waits for the next worker, and is not hit by what was meant for the last.
            assert_usable(&pool);
            assert!(!is_alive(pid), "{how}");
        }
    });
}

#[sidestep::job]
fn ends_for_ever(gate: String) {
    extern "C" fn never() {
        loop {
            std::thread::park();
        }
    }
    // SAFETY: what is registered runs once, in the exit below.
    assert_eq!(unsafe { libc::atexit(never) }, 0);
    arrive(&gate);
    std::process::exit(3)
}

#[test]
fn a_job_that_hangs_in_its_own_exit_ends_on_time_too() {
    scenario(|| {
        let pool = strict(1);
        let gate = Gate::new("gate");
        let pid = assert_ends_on_time(pool.apply_async(ends_for_ever, (gate.arg(),)));
        assert_eq!(gate.arrived(), [pid]);
        assert_usable(&pool);
    });
}

/// Is in the kernel until a child ends, which does not end: its state is `D`, and a signal that is caught waits.
#[sidestep::job]
#[cfg(target_os = "linux")]
fn waits_for_a_child(gate: String) {
    arrive(&gate);
    let flags = libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: as fork, for the memory is not shared; the child calls nothing but system calls.
    unsafe {
        if libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) == 0 {
            loop {
                libc::pause();
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_job_that_waits_in_the_kernel_ends_on_time_too() {
    scenario(|| {
        let pool = strict(1);
        let gate = Gate::new("gate");
        let handle = pool.call(waits_for_a_child).timeout(LIMIT).apply_async((gate.arg(),));
        let pid = assert_ends_on_time(handle);
        eventually("it is gone", || !is_alive(pid));
        assert_usable(&pool);
    });
}

#[test]
fn each_item_of_a_chunk_has_its_own_time() {
    scenario(|| {
        let pool = strict(1);
        let gate = Gate::new("gate");
        let slow = gate.arg();
        let items = (0..20).map(|n| if n == 7 { slow.clone() } else { String::new() });
        let outcomes: Vec<_> = pool.call(spin_at).chunk_size(20).imap(items).collect();
        assert_eq!(outcomes.len(), 20);
        for (n, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Err(JobError::TimedOut { .. }) => assert_eq!(n, 7),
                other => assert_eq!((n != 7, other), (true, &Ok(()))),
            }
        }
        assert_eq!(gate.arrived().len(), 1, "it ran once");
    });
}

#[sidestep::job]
fn spin_at(gate: String) {
    if !gate.is_empty() {
        spin(gate);
    }
}

/// Keeps the worker busy for a part of the limit.
#[sidestep::job]
fn take(part: f64) {
    std::thread::sleep(LIMIT.mul_f64(part));
}

#[test]
fn time_in_the_queue_does_not_count() {
    scenario(|| {
        let pool = strict(1);
        let handles: Vec<_> = (0..4).map(|_| pool.apply_async(take, (0.5,))).collect();
        for handle in handles {
            assert_eq!(handle.get(), Ok(()));
        }
    });
}

#[test]
fn a_call_may_say_otherwise() {
    scenario(|| {
        let pool = strict(1);
        assert_eq!(pool.call(take).timeout(LIMIT * 20).apply((1.5,)), Ok(()));
        let patient = Pool::new(1).unwrap();
        assert_ends_on_time(patient.call(take).timeout(LIMIT).apply_async((1000.0,)));
        assert_eq!(patient.apply(take, (1.5,)), Ok(()));
    });
}

#[test]
fn no_time_at_all_is_refused() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let outcome = pool.call(square).timeout(Duration::ZERO).apply((1,));
        assert!(matches!(outcome, Err(JobError::InvalidCall { what }) if what.contains("timeout")));
        let refused = Pool::builder().timeout(Duration::ZERO).build();
        assert!(matches!(refused, Err(PoolError::Config { what }) if what.contains("timeout")));
    });
}

#[sidestep::job]
fn start_a_program(gate: String) {
    let script = "touch \"$0/$$\"; trap '' TERM; while :; do sleep 1; done";
    std::process::Command::new("/bin/sh").args(["-c", script, &gate]).status().unwrap();
}

#[test]
fn what_the_job_has_started_ends_with_it() {
    scenario(|| {
        let pool = strict(1);
        let gate = Gate::new("gate");
        let handle = pool.apply_async(start_a_program, (gate.arg(),));
        let program = gate.wait_for(1)[0];
        assert_ends_on_time(handle);
        eventually("it is gone", || !is_alive(program));
        assert_usable(&pool);
    });
}

/// Goes on until it is asked to stop, and tells that it was.
#[sidestep::job]
fn end_in_good_order(gate: String) {
    extern "C" fn go_on(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(go_on), SaFlags::empty(), SigSet::empty());
    // SAFETY: a handler that does nothing is safe at any moment.
    unsafe { sigaction(Signal::SIGTERM, &action) }.unwrap();
    while !sidestep::context().stop_requested() {
        std::thread::sleep(Duration::from_millis(1));
    }
    arrive(&gate);
}

#[test]
fn a_job_may_use_the_grace_to_end_in_good_order() {
    scenario(|| {
        let pool = Pool::builder().workers(1).timeout(LIMIT).grace(Duration::from_secs(20)).build().unwrap();
        let gate = Gate::new("gate");
        let pid = assert_ends_on_time(pool.apply_async(end_in_good_order, (gate.arg(),)));
        assert_eq!(gate.wait_for(1), [pid]);
        // What it returned came too late, and so did its worker's use: nobody waits for the rest of the grace.
        assert_usable(&pool);
        let stats = pool.stats();
        assert_eq!(stats.failed, 1, "{stats:?}");
    });
}

#[sidestep::job]
fn speak_and_spin(gate: String) {
    println!("so far");
    spin(gate);
}

#[test]
fn what_it_has_printed_is_kept() {
    scenario(|| {
        let pool = Pool::builder().workers(1).timeout(LIMIT).stdout(Output::Capture).build().unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(speak_and_spin, (gate.arg(),));
        eventually("it has run out of time", || handle.ready());
        assert_eq!(handle.output().unwrap().stdout, b"so far\n");
    });
}

/// The page tells when an item began; ten thousand short ones in a row never look like one long one.
#[test]
fn many_short_items_under_a_limit_all_pass() {
    scenario(|| {
        let pool = Pool::builder().workers(2).timeout(LIMIT * 10).build().unwrap();
        assert_eq!(pool.map(square, 0..10_000), Ok((0..10_000).map(|n| n * n).collect()));
    });
}

/// More bytes than a pipe holds and one who reads takes at a time.
const MUCH: usize = 4 << 20;

/// Whoever reads it is held at a gate.
#[derive(Debug, PartialEq, Serialize)]
struct Held(String);

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Held, D::Error> {
        let gate = String::deserialize(deserializer)?;
        hold(gate.clone());
        Ok(Held(gate))
    }
}

#[sidestep::job]
fn give(gate: String) -> Held {
    Held(gate)
}

#[sidestep::job]
fn arrive_with_much(gate: String) -> Bytes {
    arrive(&gate);
    vec![1; MUCH].into()
}

#[test]
fn time_in_which_nobody_reads_its_result_does_not_count() {
    scenario(|| {
        let pool = strict(2);
        let (reader, gate) = (Gate::new("reader"), Gate::new("gate"));
        let held = pool.apply_async(give, (reader.arg(),));
        reader.wait_for(1);
        let much = pool.apply_async(arrive_with_much, (gate.arg(),));
        gate.wait_for(1);
        std::thread::sleep(LIMIT * 2);
        reader.open();
        assert_eq!(much.get().map(|bytes| bytes.len()), Ok(MUCH));
        assert_eq!(held.get(), Ok(Held(reader.arg())));
    });
}

#[test]
fn jobs_that_all_run_too_long_all_end_and_none_waits_for_another_for_ever() {
    scenario(|| {
        let pool = Pool::builder().workers(2).timeout(Duration::from_millis(20)).build().unwrap();
        let gate = Gate::new("gate");
        let handles: Vec<_> = (0..20).map(|_| pool.apply_async(spin, (gate.arg(),))).collect();
        for handle in handles {
            assert!(matches!(handle.get(), Err(JobError::TimedOut { .. })));
        }
        assert_eq!(gate.arrived().len(), 20, "each ran in a worker of its own");
    });
}

#[test]
fn close_and_join_work_off_what_runs_too_long() {
    scenario(|| {
        let pool = strict(1);
        let gate = Gate::new("gate");
        let held = pool.apply_async(hold, (gate.arg(),));
        let after = pool.apply_async(square, (4,));
        pool.close();
        pool.join().unwrap();
        assert!(matches!(held.get(), Err(JobError::TimedOut { .. })));
        assert_eq!(after.get(), Ok(16));
    });
}
