//! What a job costs in allocations and in reads and writes: counts that vary much less than times do, so that a change
//! that makes the way of a job longer is seen without a stopwatch.
#![cfg(target_os = "linux")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use common::limited;
use sidestep::Pool;

sidestep::worker_entry!();

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: all is done by the system's allocator; beside that a number is raised.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: what holds for this call holds for that one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[sidestep::job]
fn double(n: i64) -> i64 {
    n * 2
}

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// Reads and writes of a process so far, polling apart.
fn reads_and_writes(pid: u32) -> u64 {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/io")).expect("the kernel counts reads and writes");
    let count = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a count");
        line.trim().parse().expect("a number")
    };
    count("syscr:") + count("syscw:")
}

/// How often threads of this process have gone to sleep so far.
fn sleeps() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    usage.voluntary_context_switches() as u64
}

/// One test, because all threads' allocations are counted.
#[test]
fn the_way_of_a_job_is_short() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let call = || assert_eq!(pool.apply(double, (21,)), Ok(42));
        let map = || assert_eq!(pool.call(double).chunk_size(1000).map(0..100_000).unwrap().len(), 100_000);
        (0..100).for_each(|_| call());
        map();

        let before = sleeps();
        let calls = allocations(|| (0..1000).for_each(|_| call()));
        // The fallback of epoll makes three lists each time that somebody has to sleep.
        let lists = if cfg!(sidestep_portable) { 3 * (sleeps() - before) } else { 0 };
        println!("{} allocations a call, {lists} for sleep", calls as f64 / 1000.0);
        assert!(calls <= 1000 * 7 + lists, "{calls} allocations for 1,000 calls, {lists} for sleep");

        // What is finished is not held back: the longer it takes, the more frames bring the results, and each costs.
        let begin = Instant::now();
        let items = allocations(map);
        let millis = begin.elapsed().as_millis() as u64;
        println!("{items} allocations for 100,000 items in {millis} ms");
        assert!(items <= 100 * 10 + millis * 40, "{items} allocations for 100,000 items in {millis} ms");

        let pids = [std::process::id(), pool.pids()[0]];
        let count = || pids.into_iter().map(reads_and_writes).sum::<u64>();
        let (before, begin) = (count(), Instant::now());
        map();
        let (calls, millis) = (count() - before, begin.elapsed().as_millis() as u64);
        println!("{calls} reads and writes for 100 chunks in {millis} ms");
        assert!(calls <= 100 * 10 + millis * 40, "{calls} reads and writes for 100 chunks in {millis} ms");
    });
}
