//! What `imap` and `imap_unordered` promise: when results come, and what ends when. For their input see `inputs.rs`.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{Gate, finish, limited, pool};
use sidestep::{Cause, JobError, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn square(x: i64) -> i64 {
    x * x
}

#[sidestep::job]
fn skewed((n, of): (u64, u64)) -> u64 {
    std::thread::sleep(Duration::from_millis(n.abs_diff(of)));
    n
}

#[sidestep::job]
fn fails_at_3(x: i64) -> i64 {
    assert!(x != 3, "three");
    x
}

#[sidestep::job]
fn exits_at_3(x: i64) -> i64 {
    if x == 3 {
        std::process::exit(3);
    }
    x
}

#[sidestep::job]
fn gated((ticket, n): (String, u64)) -> u64 {
    if !ticket.is_empty() {
        common::pass(&ticket, &n.to_string());
    }
    n
}

fn usable(pool: &Pool) {
    assert_eq!(pool.map(square, 0..4), Ok(vec![0, 1, 4, 9]));
}

#[test]
fn results_come_in_the_order_of_the_items() {
    limited(|| {
        let pool = pool(8);
        let all: Vec<_> = pool.imap(skewed, (0..40).map(|n| (n, 40))).collect();
        assert_eq!(all, (0..40).map(Ok).collect::<Vec<_>>());
        for chunk in [1, 2, 100] {
            let all: Vec<_> = pool.call(square).chunk_size(chunk).imap(0..1000).collect();
            assert_eq!(all, (0..1000).map(|x| Ok(x * x)).collect::<Vec<_>>(), "chunks of {chunk}");
        }
        finish(&pool);
    });
}

#[test]
fn unordered_results_are_all_there() {
    limited(|| {
        let pool = pool(3);
        for chunk in [1, 100] {
            let all = pool.call(square).chunk_size(chunk).imap_unordered(0..1000);
            let all: BTreeSet<_> = all.map(Result::unwrap).collect();
            assert_eq!(all, (0..1000).map(|x| x * x).collect(), "chunks of {chunk}");
        }
        finish(&pool);
    });
}

#[test]
fn unordered_results_come_as_jobs_end() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let items = (0..10).map(|n| (if n == 0 { gate.ticket() } else { String::new() }, n));
        let items: Vec<_> = items.collect();
        let mut results = pool.imap_unordered(gated, items);
        let others: BTreeSet<_> = results.by_ref().take(9).map(Result::unwrap).collect();
        assert_eq!(others, (1..10).collect());
        assert_eq!(gate.arrival(), "0");
        gate.open();
        assert_eq!(results.collect::<Vec<_>>(), [Ok(0)]);
        finish(&pool);
    });
}

#[test]
fn after_the_end_comes_the_end() {
    limited(|| {
        let pool = pool(2);
        let mut ordered = pool.imap(square, 0..10);
        let mut unordered = pool.imap_unordered(square, 0..10);
        assert_eq!((ordered.by_ref().count(), unordered.by_ref().count()), (10, 10));
        for _ in 0..3 {
            assert_eq!((ordered.next(), unordered.next()), (None, None));
            assert_eq!(ordered.next_timeout(Duration::ZERO), None);
        }
    });
}

#[test]
fn an_error_costs_its_own_item_whatever_the_chunk() {
    limited(|| {
        let pool = pool(2);
        for chunk in [1, 2, 8] {
            let all: Vec<_> = pool.call(fails_at_3).chunk_size(chunk).imap(0..8).collect();
            for (x, result) in (0..8).zip(&all) {
                match result {
                    Err(JobError::Panicked { message, .. }) if x == 3 => assert_eq!(message, "three"),
                    other => assert_eq!(*other, Ok(x), "chunks of {chunk}"),
                }
            }
            let all = pool.call(fails_at_3).chunk_size(chunk).imap_unordered(0..8);
            let (good, bad): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
            assert_eq!((good.len(), bad.len()), (7, 1), "chunks of {chunk}");
        }
        finish(&pool);
    });
}

#[test]
fn a_death_costs_its_own_item_whatever_the_chunk() {
    limited(|| {
        let pool = pool(2);
        for chunk in [1, 2, 8, 1000] {
            let all: Vec<_> = pool.call(exits_at_3).chunk_size(chunk).imap(0..50).collect();
            assert_eq!(all.len(), 50);
            for (x, result) in (0..).zip(all) {
                match result {
                    Err(JobError::WorkerLost { cause: Cause::Exit(3), .. }) if x == 3 => {}
                    other => assert_eq!(other, Ok(x), "chunks of {chunk}"),
                }
            }
        }
        finish(&pool);
    });
}

#[test]
fn memory_stays_flat_over_a_long_input() {
    fn resident() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
        statm.split(' ').nth(1).expect("a second number").parse::<u64>().expect("pages") * 4
    }
    limited(|| {
        let pool = pool(2);
        let results = pool.imap(square, 0..500_000);
        let mut begin = 0;
        for (x, result) in (0i64..).zip(results) {
            assert_eq!(result, Ok(x * x));
            if x == 100_000 {
                begin = resident();
            }
        }
        let grown = resident().saturating_sub(begin);
        // Other tests of this process have their own needs; all results together would take more by far.
        assert!(grown < 60_000, "{grown} KiB");
    });
}

#[test]
fn dropping_the_iterator_withdraws_what_has_not_started() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let items = (0..1000).map(|n| (gate.ticket(), n)).collect::<Vec<_>>();
        let mut results = pool.imap(gated, items);
        assert_eq!(results.next_timeout(Duration::from_millis(1)), Some(Err(JobError::StillRunning)));
        for _ in 0..2 {
            gate.arrival();
        }
        drop(results);
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.running), (0, 2), "{stats:?}");
        gate.open();
        finish(&pool);
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed), (2, 0), "{stats:?}");
    });
}

#[test]
fn close_does_not_wait_for_an_iterator_that_nobody_asks() {
    limited(|| {
        let pool = pool(2);
        let mut results = pool.imap(square, 0..);
        assert_eq!(results.next(), Some(Ok(0)));
        finish(&pool);
        // What was pulled before is given; then the refusal, for each item that was pulled and not taken.
        let rest: Vec<_> = results.by_ref().take(100_000).collect();
        let good = rest.iter().take_while(|result| result.is_ok()).count();
        assert!(
            rest[good..].iter().all(|result| *result == Err(JobError::PoolClosed)),
            "{:?}",
            &rest[good..]
        );
        assert!(rest.len() < 100_000 && results.next().is_none());
        let late: Vec<_> = pool.imap(square, 0..10).collect();
        assert_eq!(late, [Err(JobError::PoolClosed)]);
    });
}

#[test]
fn terminate_ends_a_wait_in_next() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        std::thread::scope(|scope| {
            let (pool_, ticket) = (&pool, gate.ticket());
            let consumer = scope
                .spawn(move || pool_.imap(gated, (0..10).map(|n| (ticket.clone(), n))).collect::<Vec<_>>());
            gate.arrival();
            pool.terminate();
            common::step("waiting for the one who waits");
            let all = consumer.join().expect("it gets errors, no panic");
            assert!(
                !all.is_empty() && all.iter().all(|result| *result == Err(JobError::PoolClosed)),
                "{all:?}"
            );
        });
        pool.join().expect("it is over");
    });
}

#[test]
fn next_timeout_gives_the_result_later() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let mut results = pool.imap(gated, [(gate.ticket(), 1), (String::new(), 2)]);
        let begin = Instant::now();
        assert_eq!(results.next_timeout(Duration::from_millis(100)), Some(Err(JobError::StillRunning)));
        assert!(begin.elapsed() >= Duration::from_millis(100));
        assert_eq!(results.next_timeout(Duration::ZERO), Some(Err(JobError::StillRunning)));
        gate.arrival();
        gate.open();
        assert_eq!(results.next_timeout(common::LONG), Some(Ok(1)));
        assert_eq!(results.next_timeout(common::LONG), Some(Ok(2)));
        assert_eq!(results.next_timeout(common::LONG), None);
    });
}

#[test]
fn results_before_the_limit_of_the_whole_are_kept() {
    limited(|| {
        let (pool, gate) = (pool(3), Gate::new());
        let items = [(String::new(), 0), (String::new(), 1), (gate.ticket(), 2)];
        let mut results = pool.imap(gated, items);
        assert_eq!(results.next_timeout(common::LONG), Some(Ok(0)));
        assert_eq!(results.next_timeout(common::LONG), Some(Ok(1)));
        assert_eq!(results.next_timeout(Duration::from_millis(20)), Some(Err(JobError::StillRunning)));
        drop(results);
        usable(&pool);
    });
}

#[test]
fn several_iterators_share_a_pool() {
    limited(|| {
        let pool = pool(2);
        let mut all: Vec<_> = (0..5i64).map(|start| (start, pool.imap(square, start..))).collect();
        for step in 0..200 {
            for (start, results) in &mut all {
                assert_eq!(results.next(), Some(Ok((*start + step).pow(2))));
            }
        }
        drop(all);
        finish(&pool);
    });
}
