//! Handles: waiting, asking, taking, cancelling, and what they give when the pool is gone.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use common::{Gate, LONG, eventually, finish, limited, pool};
use serde::{Deserialize, Serialize};
use sidestep::{JobError, JobHandle};

sidestep::worker_entry!();

#[sidestep::job]
fn square(x: i64) -> i64 {
    x * x
}

#[sidestep::job]
fn fail(why: String) -> i64 {
    panic!("{why}")
}

#[sidestep::job]
fn gated(ticket: String, name: String) -> u32 {
    common::pass(&ticket, &name);
    std::process::id()
}

#[sidestep::job]
fn gated_item((ticket, name): (String, String)) -> u32 {
    common::pass(&ticket, &name);
    std::process::id()
}

#[sidestep::job]
fn arrive(ticket: String, name: String) {
    common::arrive(&ticket, &name);
}

#[sidestep::job]
fn arrive_and_stay(ticket: String, name: String) {
    common::arrive(&ticket, &name);
    loop {
        std::thread::park();
    }
}

/// Its live values are counted, in each process apart.
#[derive(Debug, Serialize)]
struct Tracked(u32);

static LIVE: AtomicI64 = AtomicI64::new(0);

impl Tracked {
    fn new(value: u32) -> Tracked {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Tracked(value)
    }
}

impl<'de> Deserialize<'de> for Tracked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tracked, D::Error> {
        u32::deserialize(deserializer).map(Tracked::new)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[sidestep::job]
fn pass_on(value: Tracked) -> Tracked {
    Tracked::new(value.0 + 1)
}

#[sidestep::job]
fn live() -> i64 {
    LIVE.load(Ordering::SeqCst)
}

/// The smallest executor.
struct Unpark(Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current(), AtomicUsize::new(0))));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_wait_ends_on_time_and_the_value_comes_later() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        let mut handle = pool.apply_async(gated, (gate.ticket(), "one".into()));
        gate.arrival();
        let begin = Instant::now();
        assert_eq!(handle.get_timeout(Duration::from_millis(200)), Err(JobError::StillRunning));
        assert!(begin.elapsed() >= Duration::from_millis(200));
        assert!(!handle.wait(Duration::ZERO));
        assert_eq!((handle.ready(), handle.successful()), (false, None));
        gate.open();
        assert!(handle.wait(LONG));
        assert_eq!((handle.ready(), handle.successful()), (true, Some(true)));
        assert_eq!(handle.get_timeout(Duration::ZERO), Ok(pool.pids()[0]));
    });
}

#[test]
fn a_value_is_given_once() {
    limited(|| {
        let pool = pool(1);
        let mut handle = pool.apply_async(square, (5,));
        assert_eq!(handle.get_timeout(LONG), Ok(25));
        assert_eq!(handle.get_timeout(LONG), Err(JobError::Taken));
        assert_eq!((handle.ready(), handle.successful(), handle.cancel()), (true, Some(true), false));
        assert_eq!(handle.get(), Err(JobError::Taken));
        let mut handle = pool.map_async(square, [1, 2]);
        assert_eq!(handle.get_timeout(LONG), Ok(vec![1, 4]));
        assert_eq!(handle.get_timeout(LONG), Err(JobError::Taken));
        assert_eq!((handle.successful(), handle.cancel()), (Some(true), false));
        assert_eq!(handle.get(), Err(JobError::Taken));
    });
}

#[test]
fn a_failed_job_is_not_successful() {
    limited(|| {
        let pool = pool(1);
        let handle = pool.apply_async(fail, ("no".into(),));
        assert!(handle.wait(LONG));
        assert_eq!(handle.successful(), Some(false));
        assert!(matches!(handle.get(), Err(JobError::Panicked { .. })));
        let handle = pool.map_async(fail, ["a".to_owned(), "b".into()]);
        assert!(handle.wait(LONG));
        assert_eq!(handle.successful(), Some(false));
        assert!(matches!(handle.get(), Err(JobError::Panicked { message, .. }) if message == "a"));
    });
}

#[test]
fn a_dropped_handle_lets_its_job_run() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        drop(pool.apply_async(arrive, (gate.ticket(), "alone".into())));
        assert_eq!(gate.arrival(), "alone");
        drop(pool.starmap_async(arrive, (0..3).map(|n| (gate.ticket(), n.to_string())).collect::<Vec<_>>()));
        for n in 0..3 {
            assert_eq!(gate.arrival(), n.to_string());
        }
        std::mem::forget(pool.apply_async(arrive, (gate.ticket(), "forgotten".into())));
        assert_eq!(gate.arrival(), "forgotten");
        finish(&pool);
        assert_eq!(pool.stats().done, 5);
    });
}

#[test]
fn handles_are_futures_on_any_executor() {
    limited(|| {
        let pool = pool(2);
        assert_eq!(block_on(pool.apply_async(square, (6,))), Ok(36));
        assert_eq!(block_on(pool.map_async(square, 0..5)), Ok(vec![0, 1, 4, 9, 16]));
        let sum = block_on(async {
            let handles: Vec<_> = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, (0..50).map(|x| x * x).sum::<i64>());
        let gone = pool.apply_async(fail, ("no".into(),));
        assert!(matches!(block_on(gone), Err(JobError::Panicked { .. })));
    });
}

#[test]
fn a_future_wakes_the_waker_of_its_last_poll() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        let mut handle = pin!(pool.apply_async(gated, (gate.ticket(), "it".into())));
        let wakers = [0, 1].map(|_| Arc::new(Unpark(std::thread::current(), AtomicUsize::new(0))));
        for waker in &wakers {
            let waker = Waker::from(waker.clone());
            assert!(handle.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        gate.arrival();
        gate.open();
        eventually("it is woken", || wakers[1].1.load(Ordering::SeqCst) == 1);
        assert_eq!(wakers[0].1.load(Ordering::SeqCst), 0);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(handle.as_mut().poll(&mut context), Poll::Ready(Ok(pool.pids()[0])));
        assert_eq!(handle.as_mut().poll(&mut context), Poll::Ready(Err(JobError::Taken)));
    });
}

#[test]
fn as_completed_gives_handles_as_jobs_end() {
    limited(|| {
        let pools = [pool(2), pool(1)];
        let mut gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
        let submit =
            |(n, gate): (usize, &Gate)| pools[n % 2].apply_async(gated, (gate.ticket(), n.to_string()));
        let handles: Vec<_> = gates.iter().enumerate().map(submit).collect();
        let ids: Vec<_> = handles.iter().map(JobHandle::id).collect();
        for gate in &mut gates {
            gate.arrival();
        }
        let mut done = sidestep::as_completed(handles);
        for n in [2, 0, 1] {
            gates[n].open();
            let handle = done.next().expect("one has ended");
            assert_eq!(handle.id(), ids[n]);
            assert!(handle.ready() && handle.get().is_ok());
        }
        assert!(done.next().is_none() && done.next().is_none());
    });
}

#[test]
fn as_completed_begins_with_what_was_done_before() {
    limited(|| {
        let (pool, mut gate) = (pool(2), Gate::new());
        let slow = pool.apply_async(gated, (gate.ticket(), "slow".into()));
        gate.arrival();
        let quick: Vec<_> =
            (0..3).map(|n| pool.apply_async(gated, ("/nowhere".into(), format!("{n}")))).collect();
        let ids: Vec<_> = quick.iter().map(JobHandle::id).collect();
        assert!(quick.iter().all(|handle| handle.wait(LONG)));
        let last = slow.id();
        let mut done = sidestep::as_completed(std::iter::once(slow).chain(quick));
        assert_eq!(done.by_ref().take(3).map(|handle| handle.id()).collect::<Vec<_>>(), ids);
        gate.open();
        assert_eq!(done.map(|handle| handle.id()).collect::<Vec<_>>(), [last]);
        assert_eq!(sidestep::as_completed(Vec::<JobHandle<i64>>::new()).count(), 0);
    });
}

#[test]
fn as_completed_ends_although_the_pool_is_gone() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        let handles: Vec<_> =
            (0..5).map(|n| pool.apply_async(gated, (gate.ticket(), n.to_string()))).collect();
        gate.arrival();
        let done = sidestep::as_completed(handles);
        drop(pool);
        let all: Vec<_> = done.map(JobHandle::get).collect();
        assert_eq!(all, vec![Err(JobError::PoolClosed); 5]);
    });
}

#[test]
fn nothing_of_arguments_and_results_stays_alive() {
    limited(|| {
        let pool = pool(1);
        for _ in 0..3 {
            let handle = pool.apply_async(pass_on, (Tracked::new(1),));
            assert_eq!(
                LIVE.load(Ordering::SeqCst),
                i64::from(handle.ready()),
                "arguments go once they are encoded"
            );
            assert_eq!(handle.get().unwrap().0, 2);
            let all = pool.map(pass_on, (0..100).map(Tracked::new)).unwrap();
            assert_eq!(LIVE.load(Ordering::SeqCst), 100);
            drop(all);
            drop(pool.imap(pass_on, (0..100).map(Tracked::new)).take(50).collect::<Vec<_>>());
            drop(pool.map_async(pass_on, (0..100).map(Tracked::new)));
            assert_eq!(pool.apply(live, ()), Ok(0), "nor does the idle worker keep any");
            eventually("all are gone here too", || LIVE.load(Ordering::SeqCst) == 0);
        }
        let handles = (0..20).map(|n| pool.apply_async(pass_on, (Tracked::new(n),)));
        assert!(sidestep::as_completed(handles).all(|handle| handle.ready()));
        eventually("what as_completed gave is gone", || LIVE.load(Ordering::SeqCst) == 0);
        let (sender, receiver) = std::sync::mpsc::channel();
        let call = pool.call(pass_on).on_success(move |value: &Tracked| sender.send(value.0).unwrap());
        drop(call.apply_async((Tracked::new(7),)));
        assert_eq!(receiver.recv_timeout(LONG), Ok(8));
        eventually("the callback's is gone", || LIVE.load(Ordering::SeqCst) == 0);
    });
}

#[test]
fn a_handle_outlives_its_pool() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        let done = pool.apply_async(square, (3,));
        assert!(done.wait(LONG));
        let running = pool.apply_async(gated, (gate.ticket(), "it".into()));
        gate.arrival();
        let queued = pool.apply_async(square, (4,));
        let many = pool.map_async(square, 0..100);
        drop(pool);
        assert!(running.ready() && queued.ready() && many.ready());
        assert!(!running.cancel() && !queued.cancel() && !many.cancel());
        assert_eq!(done.get(), Ok(9));
        assert_eq!((running.get(), queued.get()), (Err(JobError::PoolClosed), Err(JobError::PoolClosed)));
        assert_eq!(many.get(), Err(JobError::PoolClosed));
    });
}

#[test]
fn a_closed_pool_refuses_every_call_at_once() {
    limited(|| {
        for terminated in [false, true] {
            let pool = pool(1);
            if terminated {
                pool.terminate()
            } else {
                pool.close()
            }
            let closed = || JobError::PoolClosed;
            assert_eq!(pool.apply(square, (1,)), Err(closed()));
            let handle = pool.apply_async(square, (1,));
            assert_eq!((handle.ready(), handle.successful(), handle.cancel()), (true, Some(false), false));
            assert_eq!(handle.get(), Err(closed()));
            assert_eq!(pool.map(square, [1]), Err(closed()));
            assert_eq!(pool.map_async(square, [1]).get(), Err(closed()));
            assert_eq!(pool.starmap(square, [(1,)]), Err(closed()));
            assert_eq!(pool.starmap_async(square, [(1,)]).get(), Err(closed()));
            assert_eq!(pool.imap(square, [1]).collect::<Vec<_>>(), [Err(closed())]);
            assert_eq!(pool.imap_unordered(square, [1]).collect::<Vec<_>>(), [Err(closed())]);
            assert_eq!(pool.apply_by_name::<i64>("square", &(1i64,)), Err(closed()));
            pool.join_timeout(LONG).expect("it ends");
        }
    });
}

#[test]
fn a_job_is_counted_before_its_handle_resolves() {
    limited(|| {
        let pool = pool(2);
        for n in 1..=500 {
            if n % 5 == 0 {
                let _ = pool.apply(fail, (String::new(),));
            } else {
                let _ = pool.apply(square, (1,));
            }
            let stats = pool.stats();
            assert_eq!((stats.done, stats.failed), (n - n / 5, n / 5), "{stats:?}");
        }
    });
}

#[test]
fn every_snapshot_conserves() {
    limited(|| {
        let pool = pool(3);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                for round in 0..20 {
                    let handles: Vec<_> = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
                    handles.iter().step_by(7).for_each(|handle| _ = handle.cancel());
                    let _ = pool.map(fail, (0..5).map(|_| String::new()));
                    drop(pool.map_async(square, 0..1000));
                    assert_eq!(pool.imap(square, 0..100).take(round).count(), round);
                    handles.iter().for_each(|handle| _ = handle.wait(LONG));
                }
            });
            while !worker.is_finished() {
                let stats = pool.stats();
                let all = stats.done + stats.failed + stats.cancelled + stats.queued + stats.running;
                assert_eq!(stats.submitted, all, "{stats:?}");
            }
        });
        finish(&pool);
    });
}

#[test]
fn a_job_that_arrives_and_stays_dies_with_its_pool() {
    limited(|| {
        let (pool, mut gate) = (pool(1), Gate::new());
        let handle = pool.apply_async(arrive_and_stay, (gate.ticket(), "here".into()));
        gate.arrival();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| handle.get());
            pool.terminate();
            assert_eq!(waiter.join().expect("no panic"), Err(JobError::PoolClosed));
        });
        let item = pool.map_async(gated_item, [(gate.ticket(), String::new())]);
        assert_eq!(item.get(), Err(JobError::PoolClosed));
    });
}
