//! Everything that can go wrong, at random and for as long as you like, and a look after each pool whether every
//! promise was kept.
//!
//! ```sh
//! cargo run --release --example soak -- --seconds 60 [--seed 7]
//! ```
//!
//! It prints its seed and a table of what became of which kind of job, and ends with code 1 at the first broken promise.
//! Threads and processes race, so a seed gives the same plan, not the same history.

mod caller;
mod jobs;
mod killer;
mod ledger;
mod random;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sidestep::{Output, Pool};

use ledger::Ledger;
use random::Random;

/// How often each kind of job ended in each way.
type Table = Mutex<BTreeMap<(&'static str, String), u64>>;

fn main() -> ExitCode {
    sidestep::init();
    let number = |name: &str| {
        let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
        args.next().map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    let seconds = number("--seconds").unwrap_or(60);
    let seed = number("--seed").unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}, {seconds} s");
    let (ledger, table) = (Ledger::create(), Table::default());
    let (mut random, begin) = (Random::new(seed), Instant::now());
    let (before, mut pools) = (Census::take(), 0);
    let mut first_memory = 0;
    while begin.elapsed() < Duration::from_secs(seconds) {
        one_pool(&mut random, &ledger, &table);
        pools += 1;
        Census::take_until(&before);
        if pools == 3 {
            first_memory = memory();
        }
    }
    ledger.check();
    print(&table);
    let grown = memory().saturating_sub(first_memory);
    println!("{pools} pools; {before}, the same afterwards; {grown} KiB more than after the third pool");
    // Threads' arenas come and go; what is lost with each pool would be more by now.
    assert!(pools < 50 || grown < 64 << 10, "the parent has grown by {grown} KiB");
    ExitCode::SUCCESS
}

/// The life of a pool, with limits or without: callers and a killer at work for a while, and one of its ends.
fn one_pool(random: &mut Random, ledger: &Ledger, table: &Table) {
    let mut pool = Pool::builder()
        .workers(1 + random.below(4) as usize)
        .timeout(Duration::from_millis(150))
        .grace(Duration::from_millis(50))
        .retries(random.below(3) as u32)
        .retry_delay(Duration::from_millis(1), Duration::from_millis(20))
        .stderr(Output::Null);
    if random.below(2) == 0 {
        pool = pool.queue_limit(1 + random.below(100) as usize);
    }
    if random.below(2) == 0 {
        pool = pool.queue_bytes(1 + random.below(10_000) as usize);
    }
    if random.below(2) == 0 {
        pool = pool.max_jobs_per_worker(50 + random.below(200));
    }
    if random.below(2) == 0 {
        pool = pool.max_age(Duration::from_millis(20 + random.below(500)));
    }
    let pool = pool.build().expect("a pool");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (pool, over, mut random) = (&pool, &over, random.fork());
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    caller::one_thing(pool, &mut random, ledger, table);
                }
            });
        }
        let (pool, over, mut killer) = (&pool, &over, random.fork());
        scope.spawn(move || killer::work(pool, &mut killer, over));
        std::thread::sleep(Duration::from_millis(300 + random.below(1500)));
        over.store(true, Ordering::Relaxed);
    });
    let left = pool.map_async(jobs::square, 0..100);
    match random.below(3) {
        0 => {
            pool.close();
            pool.join().expect("the pool ends in good order");
            assert!(left.get().is_ok(), "what was submitted before close is worked off");
        }
        1 => pool.terminate(),
        _ => {}
    }
    let stats = pool.stats();
    let sum = stats.done + stats.failed + stats.cancelled + stats.queued + stats.running;
    assert_eq!(stats.submitted, sum, "{stats:?}");
}

/// What belongs to this process.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    descriptors: usize,
    children: usize,
}

impl Census {
    fn take() -> Census {
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let children = threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .map(|pids| pids.split_whitespace().count())
            .sum();
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Census { descriptors, children }
    }

    /// Waits until nothing is left of a pool, which takes a moment at most.
    fn take_until(before: &Census) {
        let begin = Instant::now();
        while Census::take() != *before {
            assert!(begin.elapsed() < Duration::from_secs(10), "left behind: {:?}", Census::take());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl std::fmt::Display for Census {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} descriptors, {} children", self.descriptors, self.children)
    }
}

/// Resident memory of this process, in KiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn print(table: &Table) {
    println!("{:<12} {:<28} {:>9}", "job", "outcome", "times");
    for ((kind, outcome), times) in table.lock().expect("no thread has panicked").iter() {
        println!("{kind:<12} {outcome:<28} {times:>9}");
    }
}
