//! What happens to the iterators that give a pool its items: when they are asked, how far ahead, and when they misbehave.

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use common::{Gate, finish, limited, pool};
use sidestep::{Bytes, JobError, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn square(x: i64) -> i64 {
    x * x
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
