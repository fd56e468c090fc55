//! What `apply`, `map` and `starmap` give.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::{Gate, finish, limited, pool};
use sidestep::{Bytes, Cause, Failure, JobError, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn square(x: i64) -> i64 {
    x * x
}

#[sidestep::job]
fn mul(a: i64, b: i64) -> i64 {
    a * b
}

#[sidestep::job]
fn nothing() {}

#[sidestep::job]
fn unit(_: ()) {}

#[sidestep::job]
fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[sidestep::job]
fn even(x: i64) -> Result<i64, String> {
    if x % 2 == 0 { Ok(x) } else { Err(format!("{x} is odd")) }
}

#[sidestep::job]
fn even_or_panic(x: i64) -> i64 {
    assert!(x % 2 == 0, "{x} is odd");
    x
}

#[sidestep::job]
fn parse(text: String) -> Result<i64, Failure> {
    Ok(text.parse::<i64>()?)
}

#[sidestep::job]
fn exit(code: i32) {
    std::process::exit(code)
}

#[sidestep::job]
fn exit_at(x: i64, bad: i64) -> i64 {
    if x == bad {
        std::process::exit(7);
    }
    x
}

#[sidestep::job]
fn gated(ticket: String, name: String) -> u32 {
    common::pass(&ticket, &name);
    std::process::id()
}

#[sidestep::job]
fn gated_panic(ticket: String, name: String) -> u32 {
    common::pass(&ticket, &name);
    panic!("{name} on purpose")
}

#[sidestep::job]
fn about_me() -> (u64, u32, usize, bool, u32) {
    let context = sidestep::context();
    (context.id(), context.attempt(), context.slot(), context.stop_requested(), std::process::id())
}

#[sidestep::job]
fn context_in_a_thread() -> Option<u64> {
    std::thread::spawn(|| sidestep::try_context().map(|context| context.id())).join().ok()?
}

fn squares(n: i64) -> Vec<i64> {
    (0..n).map(|x| x * x).collect()
}

fn usable(pool: &Pool) {
    assert_eq!(pool.map(square, 0..10), Ok(squares(10)));
}

#[test]
fn apply_gives_the_result() {
    limited(|| {
        let pool = pool(2);
        assert_eq!(pool.apply(square, (5,)), Ok(25));
        assert_eq!(pool.apply(mul, (6, 7)), Ok(42));
        assert_eq!(pool.apply(nothing, ()), Ok(()));
        finish(&pool);
    });
}

#[test]
fn map_gives_all_results_in_order() {
    limited(|| {
        let pool = pool(3);
        assert_eq!(pool.map(square, 0..10), Ok(squares(10)));
        for chunk in [1, 7, 20, 100, 1000, usize::MAX] {
            assert_eq!(
                pool.call(square).chunk_size(chunk).map(0..100),
                Ok(squares(100)),
                "chunks of {chunk}"
            );
        }
        finish(&pool);
    });
}

#[test]
fn starmap_gives_each_tuple_to_the_job() {
    limited(|| {
        let pool = pool(3);
        let pairs = || (0..100).map(|x| (x, x));
        assert_eq!(pool.starmap(mul, pairs()), Ok(squares(100)));
        assert_eq!(pool.call(mul).chunk_size(20).starmap(pairs()), Ok(squares(100)));
        assert_eq!(pool.starmap_async(mul, pairs()).get(), Ok(squares(100)));
        assert_eq!(pool.starmap(nothing, [(), (), ()]), Ok(vec![(), (), ()]));
    });
}

#[test]
fn no_items_give_no_results_at_once() {
    limited(|| {
        let pool = pool(2);
        let none = std::iter::empty::<i64>;
        assert_eq!(pool.map(square, none()), Ok(vec![]));
        assert_eq!(pool.call(square).chunk_size(3).map(none()), Ok(vec![]));
        assert_eq!(pool.starmap(mul, []), Ok(vec![]));
        assert_eq!(pool.imap(square, none()).count(), 0);
        assert_eq!(pool.imap_unordered(square, none()).count(), 0);
        let handle = pool.map_async(square, none());
        assert_eq!((handle.ready(), handle.successful(), handle.id()), (true, Some(true), 0));
        assert_eq!(handle.get(), Ok(vec![]));
        assert_eq!(pool.stats().submitted, 0);
    });
}

#[test]
fn one_item_gives_one_result() {
    limited(|| {
        let pool = pool(2);
        assert_eq!(pool.map(square, [7]), Ok(vec![49]));
        assert_eq!(pool.map_async(square, [7]).get(), Ok(vec![49]));
        assert_eq!(pool.starmap(mul, [(7, 7)]), Ok(vec![49]));
        assert_eq!(pool.imap(square, [7]).collect::<Vec<_>>(), [Ok(49)]);
        assert_eq!(pool.imap_unordered(square, [7]).collect::<Vec<_>>(), [Ok(49)]);
    });
}

#[test]
fn a_million_tiny_items_come_back_in_order() {
    limited(|| {
        let pool = pool(2);
        let all = pool.map(square, 0..1_000_000).unwrap();
        assert_eq!(all.len(), 1_000_000);
        assert!((0i64..).zip(&all).all(|(x, result)| x * x == *result));
        assert_eq!(pool.stats().done, 1_000_000);
        finish(&pool);
    });
}

#[test]
fn payloads_without_bytes_travel() {
    limited(|| {
        let pool = pool(2);
        assert_eq!(pool.map(unit, vec![(); 1000]), Ok(vec![(); 1000]));
        assert_eq!(pool.apply(echo, (Bytes::default(),)), Ok(Bytes::default()));
        assert_eq!(pool.imap(unit, [(), ()]).collect::<Vec<_>>(), [Ok(()), Ok(())]);
    });
}

#[test]
fn a_jobs_own_error_is_a_value() {
    limited(|| {
        let pool = pool(2);
        assert_eq!(pool.apply(even, (3,)), Ok(Err("3 is odd".into())));
        let all = pool.map(even, 0..4).unwrap();
        assert_eq!(all, [Ok(0), Err("1 is odd".into()), Ok(2), Err("3 is odd".into())]);
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed), (5, 0));
    });
}

#[test]
fn a_failure_goes_through_two_question_marks() {
    fn both(pool: &Pool, text: &str) -> Result<i64, Box<dyn std::error::Error>> {
        Ok(pool.apply_async(parse, (text.to_owned(),)).get()??)
    }
    limited(|| {
        let pool = pool(1);
        assert_eq!(both(&pool, "17").unwrap(), 17);
        let error = both(&pool, "many").unwrap_err().to_string();
        assert_eq!(error, "many".parse::<i64>().unwrap_err().to_string());
        finish(&pool);
        assert_eq!(both(&pool, "17").unwrap_err().to_string(), JobError::PoolClosed.to_string());
    });
}

#[test]
fn a_panic_says_what_and_where() {
    limited(|| {
        let pool = pool(1);
        let pids = pool.pids();
        let handle = pool.apply_async(even_or_panic, (3,));
        let expected = handle.id();
        match handle.get() {
            Err(JobError::Panicked { job, id, pid, message, location, .. }) => {
                assert_eq!((job.as_str(), id, pid), ("even_or_panic", expected, Some(pids[0])));
                assert_eq!(message, "3 is odd");
                assert!(location.contains("results.rs:"), "{location}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.apply(even_or_panic, (4,)), Ok(4));
        assert_eq!(pool.pids(), pids, "a panic costs no worker");
        finish(&pool);
    });
}

#[test]
fn a_job_that_exits_loses_its_worker_and_nothing_else() {
    limited(|| {
        let pool = pool(2);
        for code in [0, 1, 42] {
            match pool.apply(exit, (code,)) {
                Err(JobError::WorkerLost { job, cause, attempts, .. }) => {
                    assert_eq!((job.as_str(), cause, attempts), ("exit", Cause::Exit(code), 1));
                }
                other => panic!("exit({code}): {other:?}"),
            }
        }
        usable(&pool);
        assert_eq!(pool.stats().restarts, 3);
        finish(&pool);
    });
}

#[test]
fn results_from_before_a_death_stay() {
    limited(|| {
        let pool = pool(1);
        for chunk in [1, 10, 1000] {
            let handles: Vec<_> = (0..50).map(|x| pool.call(exit_at).apply_async((x, 30))).collect();
            for (x, handle) in (0..).zip(handles) {
                match handle.get() {
                    Err(JobError::WorkerLost { cause: Cause::Exit(7), .. }) if x == 30 => {}
                    other => assert_eq!(other, Ok(x)),
                }
            }
            let pairs = (0..500).map(|x| (x, 300));
            match pool.call(exit_at).chunk_size(chunk).starmap(pairs) {
                Err(JobError::WorkerLost { cause: Cause::Exit(7), .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        finish(&pool);
    });
}

#[test]
fn map_gives_the_error_of_the_lowest_failing_item() {
    limited(|| {
        let pool = pool(4);
        for chunk in [1, 2, 50] {
            let items = (0..100).map(|x| if x < 40 { 2 * x } else { x });
            match pool.call(even_or_panic).chunk_size(chunk).map(items) {
                Err(JobError::Panicked { message, .. }) => {
                    assert_eq!(message, "41 is odd", "chunks of {chunk}")
                }
                other => panic!("{other:?}"),
            }
            usable(&pool);
        }
        finish(&pool);
    });
}

#[test]
fn map_waits_for_lower_items_before_it_gives_an_error() {
    limited(|| {
        let (pool, mut slow) = (pool(2), Gate::new());
        // The lower one waits; the higher one fails at once.
        let items = [(slow.ticket(), "low".to_owned()), ("/nowhere".into(), "high".into())];
        let mut handle = pool.call(gated_panic).chunk_size(1).starmap_async(items);
        assert_eq!(slow.arrival(), "low");
        common::eventually("the higher item has failed", || pool.stats().failed == 1);
        assert!(!handle.ready());
        slow.open();
        match handle.get_timeout(common::LONG) {
            Err(JobError::Panicked { message, .. }) => assert_eq!(message, "low on purpose"),
            other => panic!("{other:?}"),
        }
        finish(&pool);
    });
}

#[test]
fn what_has_not_started_when_a_map_fails_never_runs() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let all = (0..1000).map(|n| (if n == 0 { "/nowhere".into() } else { gate.ticket() }, n.to_string()));
        let outcome = pool.call(gated).chunk_size(10).starmap(all);
        assert!(matches!(&outcome, Err(JobError::Panicked { .. })), "{outcome:?}");
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.done), (1, 0), "{stats:?}");
        // What runs may end, and its result is dropped: at most one item for each worker.
        gate.open();
        finish(&pool);
        let stats = pool.stats();
        assert!(stats.done <= 2, "{stats:?}");
        assert_eq!(stats.submitted, 1 + stats.done + stats.cancelled, "{stats:?}");
        if stats.done > 0 {
            gate.arrival();
        }
    });
}

#[test]
fn there_are_never_more_processes_than_workers() {
    limited(|| {
        let (pool, mut gate) = (pool(3), Gate::new());
        let handles: Vec<_> =
            (0..45).map(|n| pool.apply_async(gated, (gate.ticket(), n.to_string()))).collect();
        for _ in 0..3 {
            gate.arrival();
        }
        let pids = pool.pids();
        assert_eq!(pids.len(), 3);
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.running, stats.queued), (45, 3, 42));
        gate.open();
        let mut used: Vec<u32> = handles.into_iter().map(|handle| handle.get().unwrap()).collect();
        used.sort_unstable();
        used.dedup();
        let mut pids = pids;
        pids.sort_unstable();
        assert!(used.iter().all(|pid| pids.contains(pid)), "{used:?} of {pids:?}");
        finish(&pool);
    });
}

#[test]
fn a_job_knows_its_id_its_attempt_and_its_slot() {
    limited(|| {
        let pool = pool(2);
        let pids = pool.pids();
        for _ in 0..20 {
            let handle = pool.apply_async(about_me, ());
            let expected = handle.id();
            let (id, attempt, slot, stop, pid) = handle.get().unwrap();
            assert_eq!((id, attempt, stop), (expected, 1, false));
            assert_eq!(pids[slot], pid);
        }
        let ids: Vec<_> = pool.starmap(about_me, [(); 100]).unwrap().into_iter().map(|me| me.0).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        let handle = pool.apply_async(context_in_a_thread, ());
        let expected = handle.id();
        assert_eq!(handle.get(), Ok(Some(expected)), "a job's threads know it too");
        assert_eq!(sidestep::try_context(), None);
    });
}

#[test]
fn a_pool_serves_many_threads() {
    limited(|| {
        let pool = pool(3);
        let sum = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8i64 {
                let (pool, sum) = (&pool, &sum);
                scope.spawn(move || {
                    for n in 0..50 {
                        assert_eq!(pool.apply(square, (thread * 100 + n,)), Ok((thread * 100 + n).pow(2)));
                    }
                    let all = pool.map(square, 0..200).unwrap();
                    sum.fetch_add(all.len() as u64, Ordering::Relaxed);
                    assert_eq!(pool.imap_unordered(square, 0..50).filter(Result::is_ok).count(), 50);
                });
            }
        });
        assert_eq!(sum.into_inner(), 1600);
        assert_eq!(pool.stats().done, 8 * 300);
        finish(&pool);
    });
}
