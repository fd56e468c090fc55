//! What `imap` and `imap_unordered` promise: when input is pulled, when results come, and what ends when.

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{Gate, finish, limited, pool};
use sidestep::{Bytes, Cause, JobError, Pool};

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

#[sidestep::job]
fn length(bytes: Bytes) -> usize {
    bytes.len()
}

fn usable(pool: &Pool) {
    assert_eq!(pool.map(square, 0..4), Ok(vec![0, 1, 4, 9]));
}

/// Counts what is pulled from it.
fn counted<I: Iterator>(input: I) -> (Rc<Cell<u64>>, impl Iterator<Item = I::Item>) {
    let pulled = Rc::new(Cell::new(0));
    let count = pulled.clone();
    (pulled, input.inspect(move |_| count.set(count.get() + 1)))
}

/// Panics instead of giving item `at`.
fn panics_at(at: i64) -> impl Iterator<Item = i64> {
    (0..20).inspect(move |x| assert!(*x != at, "the input ends badly"))
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<&str>() {
        Ok(text) => text.to_string(),
        Err(panic) => *panic.downcast::<String>().expect("a text"),
    }
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
fn each_item_is_pulled_once_and_on_the_callers_thread() {
    limited(|| {
        let pool = pool(3);
        let here = std::thread::current().id();
        let seen = Rc::new(Cell::new(0));
        let input = {
            let seen = seen.clone();
            // It ends once and must not be asked again.
            let mut over = false;
            std::iter::from_fn(move || {
                assert_eq!(std::thread::current().id(), here);
                assert!(!over, "it was asked after its end");
                seen.set(seen.get() + 1);
                over = seen.get() == 1001;
                (!over).then(|| seen.get() - 1)
            })
        };
        let results = pool.imap(square, input);
        assert_eq!(seen.get(), 0, "nothing is pulled before the first `next`");
        assert_eq!(
            results.map(Result::unwrap).collect::<Vec<_>>(),
            (0..1000).map(|x| x * x).collect::<Vec<_>>()
        );
        assert_eq!(seen.get(), 1001);
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
fn an_endless_input_may_be_left() {
    limited(|| {
        let pool = pool(3);
        let (pulled, input) = counted(0..);
        let first: Vec<_> = pool.imap(square, input).take(10).map(Result::unwrap).collect();
        assert_eq!(first, (0..10).map(|x| x * x).collect::<Vec<_>>());
        assert!(pulled.get() <= 10 + 2 * 32 * 3, "{} were pulled", pulled.get());
        let (pulled, input) = counted(0..);
        assert_eq!(pool.imap_unordered(square, input).take(10).filter(Result::is_ok).count(), 10);
        assert!(pulled.get() > 0);
        finish(&pool);
        let stats = pool.stats();
        assert!(stats.done >= 20, "{stats:?}");
    });
}

#[test]
fn at_first_no_more_than_32_items_a_worker_are_pulled() {
    limited(|| {
        let (pool, gate) = (pool(2), Gate::new());
        let (pulled, input) = counted((0..).map(|n| (gate.ticket(), n)));
        let mut results = pool.imap(gated, input);
        assert_eq!(results.next_timeout(Duration::from_millis(50)), Some(Err(JobError::StillRunning)));
        assert!((2..=64).contains(&pulled.get()), "{}", pulled.get());
        let before = pulled.get();
        assert_eq!(results.next_timeout(Duration::from_millis(1)), Some(Err(JobError::StillRunning)));
        assert_eq!(pulled.get(), before, "nothing has ended, so nothing is pulled");
        drop(results);
    });
}

#[test]
fn large_arguments_are_pulled_a_few_at_a_time() {
    limited(|| {
        let pool = pool(2);
        let (pulled, input) = counted(std::iter::repeat_with(|| Bytes::from(vec![7; 1 << 20])));
        let mut results = pool.imap(length, input);
        for given in 1..=100 {
            assert_eq!(results.next(), Some(Ok(1 << 20)));
            assert!(pulled.get() - given <= 8, "{} megabytes ahead", pulled.get() - given);
        }
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
fn an_input_that_panics_ends_a_map_and_leaves_the_pool_usable() {
    limited(|| {
        let pool = pool(2);
        for at in [0, 0, 1, 3, 5, 19] {
            for chunk in [1, 4] {
                let map = || pool.call(square).chunk_size(chunk).map(panics_at(at));
                let panic = catch_unwind(AssertUnwindSafe(map)).expect_err("the panic comes through");
                assert_eq!(message(panic), "the input ends badly");
                let map = || pool.call(square).map_async(panics_at(at));
                assert!(catch_unwind(AssertUnwindSafe(map)).is_err());
                usable(&pool);
            }
        }
        finish(&pool);
    });
}

#[test]
fn an_input_whose_length_lies_is_no_problem() {
    struct Liar(i64);
    impl Iterator for Liar {
        type Item = i64;
        fn next(&mut self) -> Option<i64> {
            self.0 += 1;
            (self.0 <= 5).then_some(self.0)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (usize::MAX, Some(1))
        }
    }
    limited(|| {
        let pool = pool(2);
        assert_eq!(pool.map(square, Liar(0)), Ok(vec![1, 4, 9, 16, 25]));
        assert_eq!(pool.imap(square, Liar(0)).map(Result::unwrap).collect::<Vec<_>>(), [1, 4, 9, 16, 25]);
    });
}

#[test]
fn an_inputs_panic_comes_after_the_items_before_it() {
    limited(|| {
        let pool = pool(2);
        for at in [0, 3, 7, 19] {
            for chunk in [1, 2, 4] {
                let mut ordered = pool.call(square).chunk_size(chunk).imap(panics_at(at));
                for x in 0..at {
                    assert_eq!(ordered.next(), Some(Ok(x * x)), "panics at {at}, chunks of {chunk}");
                }
                let panic = catch_unwind(AssertUnwindSafe(|| ordered.next())).expect_err("now it comes");
                assert_eq!(message(panic), "the input ends badly");
                assert_eq!((ordered.next(), ordered.next()), (None, None));
                let mut unordered = pool.call(square).chunk_size(chunk).imap_unordered(panics_at(at));
                let mut seen = BTreeSet::new();
                let drain = || seen.extend(unordered.by_ref().map(Result::unwrap));
                assert!(catch_unwind(AssertUnwindSafe(drain)).is_err());
                assert!(seen.is_subset(&(0..at).map(|x| x * x).collect()), "{seen:?}");
                assert_eq!(unordered.next(), None);
            }
        }
        usable(&pool);
        finish(&pool);
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

#[test]
fn every_pulled_item_is_counted() {
    limited(|| {
        let pool = pool(2);
        let panicked = catch_unwind(AssertUnwindSafe(|| pool.map(square, panics_at(13))));
        assert!(panicked.is_err());
        assert_eq!(pool.stats().submitted, 13, "{:?}", pool.stats());
        let results = pool.imap(square, panics_at(13));
        assert!(catch_unwind(AssertUnwindSafe(|| results.count())).is_err());
        assert_eq!(pool.stats().submitted, 26, "{:?}", pool.stats());
        finish(&pool);
    });
}
