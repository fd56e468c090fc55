//! No more waits than the queue may hold, and whoever brings more waits his turn.

mod scenario;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use scenario::jobs::{hold, pid, square};
use scenario::{Gate, all_up, assert_all_over, assert_usable, dir, eventually, scenario, send};
use sidestep::{Builder, Bytes, Failure, JobError, Pool, PoolError};

sidestep::worker_entry!();

#[sidestep::job]
fn length(bytes: Bytes) -> usize {
    bytes.len()
}

#[sidestep::job]
fn fails_at(n: i64, at: i64) -> i64 {
    assert!(n != at, "it is {at}");
    n
}

/// An initializer for the first worker only.
#[sidestep::job]
fn once(mark: String) -> Result<(), Failure> {
    match Path::new(&mark).exists() {
        true => Err(Failure::new("one is enough")),
        false => Ok(std::fs::write(mark, "")?),
    }
}

fn limited(workers: usize, jobs: usize) -> Builder {
    Pool::builder().workers(workers).queue_limit(jobs)
}

/// A job that runs until the gate opens, and as many behind it as may wait.
fn fill(pool: &Pool, gate: &Gate, jobs: usize) {
    drop(pool.apply_async(hold, (gate.arg(),)));
    gate.wait_for(1);
    for _ in 0..jobs {
        drop(pool.apply_async(hold, (gate.arg(),)));
    }
    assert_eq!(pool.stats().queued, jobs as u64);
}

/// Waits until a thread sleeps that has said who it is.
fn asleep(thread: i32) {
    let stat = format!("/proc/self/task/{thread}/stat");
    eventually("the other thread waits", || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat[stat.rfind(')').unwrap() + 2..].starts_with('S')
    });
}

/// What a submission on another thread ends with, when `then` happens while it waits for room.
fn while_blocked(pool: &Pool, then: impl FnOnce()) -> Result<i64, JobError> {
    thread::scope(|scope| {
        let (sender, blocked) = channel();
        let submitter = scope.spawn(move || {
            sender.send(nix::unistd::gettid().as_raw()).unwrap();
            pool.apply_async(square, (3,)).get()
        });
        asleep(blocked.recv().unwrap());
        assert!(!submitter.is_finished());
        then();
        submitter.join().unwrap()
    })
}

#[test]
fn beyond_the_limit_a_submission_waits_for_room() {
    scenario(|| {
        let (pool, gate) = (limited(1, 2).build().unwrap(), Gate::new("gate"));
        fill(&pool, &gate, 2);
        let before = pool.stats().submitted;
        let result = while_blocked(&pool, || {
            assert_eq!(pool.stats().submitted, before);
            gate.open();
        });
        assert_eq!(result, Ok(9));
    });
}

#[test]
fn the_queue_is_never_longer_than_its_limit() {
    scenario(|| {
        let pool = limited(2, 5).build().unwrap();
        let watched = |n: i64| {
            let queued = pool.stats().queued;
            assert!(queued <= 5, "{queued} wait");
            n
        };
        let handles: Vec<_> = (0..200).map(|n| pool.apply_async(square, (watched(n),))).collect();
        let squares: Vec<i64> = (0..200).map(|n| n * n).collect();
        assert_eq!(handles.into_iter().map(|handle| handle.get().unwrap()).collect::<Vec<_>>(), squares);
        assert_eq!(pool.map(square, (0..200).map(watched)), Ok(squares.clone()));
        assert_eq!(pool.map_async(square, (0..200).map(watched)).get(), Ok(squares.clone()));
        assert_eq!(pool.imap(square, (0..200).map(watched)).collect::<Result<Vec<_>, _>>(), Ok(squares));
        assert_eq!(pool.imap_unordered(square, (0..200).map(watched)).filter(Result::is_ok).count(), 200);
        assert_all_over(&pool.stats());
    });
}

#[test]
fn several_who_wait_all_have_their_turns() {
    scenario(|| {
        let pool = limited(2, 1).build().unwrap();
        let submitted: Vec<AtomicUsize> = (0..6).map(|_| AtomicUsize::new(0)).collect();
        thread::scope(|scope| {
            for mine in &submitted {
                let pool = &pool;
                scope.spawn(move || {
                    for n in 0..100 {
                        assert!(pool.apply_async(square, (n,)).get().is_ok());
                        mine.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let endless = pool.imap(square, 0..);
            for result in endless {
                assert!(result.is_ok());
                if submitted.iter().all(|count| count.load(Ordering::Relaxed) == 100) {
                    break;
                }
            }
        });
    });
}

#[test]
fn bytes_are_limited_too_and_a_large_item_comes_in_alone() {
    scenario(|| {
        let pool = Pool::builder().workers(1).queue_bytes(1 << 20).build().unwrap();
        let gate = Gate::new("gate");
        drop(pool.apply_async(hold, (gate.arg(),)));
        gate.wait_for(1);
        let large = pool.apply_async(length, (Bytes::from(vec![1; 5 << 20]),));
        let result = while_blocked(&pool, || gate.open());
        assert_eq!((result, large.get()), (Ok(9), Ok(5 << 20)));
        let many = (0..100).map(|_| Bytes::from(vec![1; 300 << 10]));
        assert_eq!(pool.map(length, many).map(|lengths| lengths.len()), Ok(100));
    });
}

#[test]
fn the_end_of_the_pool_ends_a_wait() {
    scenario(|| {
        let gate = Gate::new("gate");
        let ends: [fn(&Pool); 2] = [Pool::close, Pool::terminate];
        for end in ends {
            let pool = limited(1, 1).build().unwrap();
            fill(&pool, &gate, 1);
            assert_eq!(while_blocked(&pool, || end(&pool)), Err(JobError::PoolClosed));
            pool.terminate();
        }
    });
}

#[test]
fn a_pool_that_breaks_ends_a_wait() {
    scenario(|| {
        let (gate, mark) = (Gate::new("gate"), dir().join("mark").to_str().unwrap().to_owned());
        let pool = limited(1, 1).initializer(once, (mark,)).build().unwrap();
        fill(&pool, &gate, 1);
        let worker = pool.pids()[0];
        let result = while_blocked(&pool, || send(worker, Signal::SIGKILL));
        assert!(matches!(result, Err(JobError::PoolBroken { .. })), "{result:?}");
    });
}

#[test]
fn a_map_that_has_failed_feeds_no_more() {
    scenario(|| {
        let pool = limited(1, 1).build().unwrap();
        let result = pool.starmap(fails_at, (0..).map(|n| (n, 3)));
        assert!(matches!(result, Err(JobError::Panicked { .. })), "{result:?}");
        assert_usable(&pool);
    });
}

#[test]
fn a_callback_never_waits() {
    scenario(|| {
        let (gate, (sender, results), (go, ready)) = (Gate::new("gate"), channel(), channel::<()>());
        let pool = std::sync::Arc::new(limited(1, 1).build().unwrap());
        let inner = std::sync::Arc::downgrade(&pool);
        let submit_many = move |_: &u32| {
            ready.recv().unwrap();
            let Some(pool) = inner.upgrade() else { return };
            let handles: Vec<_> = (0..20).map(|n| pool.apply_async(square, (n,))).collect();
            sender.send((pool.stats().queued, handles)).unwrap();
        };
        let first = pool.call(pid).on_success(submit_many).apply_async(());
        drop(pool.apply_async(hold, (gate.arg(),)));
        gate.wait_for(1);
        go.send(()).unwrap();
        let (queued, handles) = results.recv().unwrap();
        assert_eq!(queued, 20);
        gate.open();
        assert!(first.get().is_ok() && handles.into_iter().all(|handle| handle.get().is_ok()));
    });
}

#[test]
fn what_comes_back_from_a_dead_worker_is_not_held_up() {
    scenario(|| {
        let (pool, gate) = (limited(2, 2).build().unwrap(), Gate::new("gate"));
        all_up(&pool, 2);
        let held: Vec<_> = (0..4).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        for worker in gate.wait_for(2) {
            send(worker, Signal::SIGKILL);
        }
        gate.wait_for(4);
        gate.open();
        let results: Vec<_> = held.into_iter().map(|handle| handle.get().is_ok()).collect();
        assert_eq!(results, [false, false, true, true]);
    });
}

#[test]
fn an_imap_waits_for_room_no_longer_than_it_is_told() {
    scenario(|| {
        let (pool, gate) = (limited(1, 1).build().unwrap(), Gate::new("gate"));
        fill(&pool, &gate, 1);
        let mut results = pool.imap(square, 0..5);
        assert_eq!(results.next_timeout(Duration::from_millis(20)), Some(Err(JobError::StillRunning)));
        gate.open();
        assert_eq!(results.collect::<Result<Vec<_>, _>>(), Ok(vec![0, 1, 4, 9, 16]));
    });
}

#[test]
fn an_input_that_ends_while_it_waits_is_worked_off() {
    scenario(|| {
        let (pool, gate) = (limited(1, 1).build().unwrap(), Gate::new("gate"));
        fill(&pool, &gate, 1);
        let mut results = pool.imap_unordered(square, [7]);
        assert_eq!(results.next_timeout(Duration::from_millis(20)), Some(Err(JobError::StillRunning)));
        gate.open();
        assert_eq!((results.next(), results.next()), (Some(Ok(49)), None));
    });
}

#[test]
fn an_iterator_that_is_left_gives_its_room_back() {
    scenario(|| {
        let (pool, gate) = (limited(1, 2).build().unwrap(), Gate::new("gate"));
        for _ in 0..20 {
            assert_eq!(pool.imap(square, 3..).next(), Some(Ok(9)));
        }
        fill(&pool, &gate, 2);
        for _ in 0..5 {
            // This one has a place in the line, and no room.
            let mut waits = pool.imap(square, 0..);
            assert_eq!(waits.next_timeout(Duration::from_millis(1)), Some(Err(JobError::StillRunning)));
        }
        gate.open();
        assert_usable(&pool);
        fill_again(&pool);
        pool.close();
        pool.join().unwrap();
    });
}

/// As many as may wait find room at once.
fn fill_again(pool: &Pool) {
    let gate = Gate::new("another");
    fill(pool, &gate, 2);
    gate.open();
}

#[test]
fn limits_that_nothing_could_keep_are_refused() {
    for builder in [limited(1, 0), Pool::builder().workers(1).queue_bytes(0)] {
        assert!(matches!(builder.build(), Err(PoolError::Config { .. })));
    }
}
