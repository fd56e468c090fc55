//! Callbacks: how often, in which order, and that nothing they do harms anybody.

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Gate, LONG, finish, limited, pool};
use sidestep::{JobError, Pool, PoolError};

sidestep::worker_entry!();

#[sidestep::job]
fn square(x: i64) -> i64 {
    x * x
}

#[sidestep::job]
fn even(x: i64) -> i64 {
    assert!(x % 2 == 0, "{x} is odd");
    x
}

#[sidestep::job]
fn gated(ticket: String, name: String) -> String {
    common::pass(&ticket, &name);
    name
}

#[sidestep::job]
fn exit() {
    std::process::exit(1)
}

fn next<T>(receiver: &Receiver<T>) -> T {
    common::step("waiting for a callback");
    receiver.recv_timeout(LONG).expect("the callback runs")
}

#[test]
fn a_success_is_told_once() {
    limited(|| {
        let pool = pool(1);
        let (sender, receiver) = channel();
        let failed = sender.clone();
        let call = pool.call(square).on_success(move |value: &i64| sender.send(Ok(*value)).unwrap());
        let handle = call.on_error(move |error| failed.send(Err(error.clone())).unwrap()).apply_async((7,));
        assert_eq!(handle.get(), Ok(49));
        finish(&pool);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Ok(49)]);
    });
}

#[test]
fn an_error_is_told_once_and_no_success() {
    limited(|| {
        let pool = pool(1);
        let (sender, receiver) = channel();
        let failed = sender.clone();
        let call = pool.call(even).on_success(move |value: &i64| sender.send(Ok(*value)).unwrap());
        let handle = call.on_error(move |error| failed.send(Err(error.clone())).unwrap()).apply_async((7,));
        let error = handle.get().unwrap_err();
        finish(&pool);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Err(error)]);
    });
}

#[test]
fn each_item_of_a_map_is_told_once() {
    limited(|| {
        let pool = pool(3);
        for chunk in [1, 20] {
            let (sender, receiver) = channel();
            let call = pool.call(square).chunk_size(chunk);
            let call = call.on_success(move |value: &i64| sender.send(*value).unwrap());
            assert_eq!(call.map(0..100), Ok((0..100).map(|x| x * x).collect()));
            let mut told: Vec<_> = (0..100).map(|_| next(&receiver)).collect();
            told.sort_unstable();
            assert_eq!(told, (0..100).map(|x| x * x).collect::<Vec<_>>());
            assert!(receiver.recv().is_err(), "the callback goes with its call");
        }
        finish(&pool);
    });
}

#[test]
fn each_item_of_an_imap_is_told_once() {
    limited(|| {
        let pool = pool(2);
        let (sender, receiver) = channel();
        let failed = sender.clone();
        let call = pool.call(even).chunk_size(4);
        let call = call.on_success(move |value: &i64| sender.send((*value, true)).unwrap());
        let call = call.on_error(move |error| match error {
            JobError::Panicked { message, .. } => {
                failed.send((message.split(' ').next().unwrap().parse().unwrap(), false)).unwrap();
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(call.imap_unordered(0..50).count(), 50);
        let mut told: Vec<_> = receiver.iter().collect();
        told.sort_unstable();
        assert_eq!(told, (0..50).map(|x| (x, x % 2 == 0)).collect::<Vec<_>>());
        finish(&pool);
    });
}

#[test]
fn they_run_in_the_order_in_which_jobs_end() {
    limited(|| {
        let (pool, mut gates) = (pool(3), [Gate::new(), Gate::new(), Gate::new()]);
        let (sender, receiver) = channel();
        let submit = |gate: &mut Gate, name: &str| {
            let sender: Sender<String> = sender.clone();
            let call = pool.call(gated).on_success(move |name: &String| sender.send(name.clone()).unwrap());
            let handle = call.apply_async((gate.ticket(), name.to_owned()));
            gate.arrival();
            handle
        };
        let names = ["a", "b", "c"];
        let handles: Vec<_> = gates.iter_mut().zip(names).map(|(gate, name)| submit(gate, name)).collect();
        for at in [1, 2, 0] {
            gates[at].open();
            assert!(handles[at].wait(LONG));
        }
        assert_eq!([next(&receiver), next(&receiver), next(&receiver)], ["b", "c", "a"]);
        let (sender, receiver) = channel();
        let call = pool.call(square).on_success(move |value: &i64| sender.send(*value).unwrap());
        let results: Vec<_> = call.imap_unordered(0..500).map(Result::unwrap).collect();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), results);
    });
}

#[test]
fn one_that_panics_harms_nothing() {
    limited(|| {
        let pool = pool(1);
        let (sender, receiver) = channel();
        let call = pool.call(square).on_success(move |value: &i64| {
            sender.send(*value).unwrap();
            assert!(*value != 4, "on purpose");
        });
        assert_eq!(call.map(0..10), Ok((0..10).map(|x| x * x).collect()));
        let handle = pool.call(even).on_error(|_| panic!("on purpose")).apply_async((3,));
        assert!(matches!(handle.get(), Err(JobError::Panicked { .. })));
        assert_eq!(pool.apply(square, (5,)), Ok(25));
        finish(&pool);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..10).map(|x| x * x).collect::<Vec<_>>());
    });
}

#[test]
fn a_slow_one_holds_up_neither_results_nor_others() {
    limited(|| {
        let pool = pool(2);
        let (release, held) = channel::<()>();
        let (sender, receiver) = channel();
        let inside = sender.clone();
        let slow = pool.call(square).on_success(move |value: &i64| {
            inside.send(*value).unwrap();
            held.recv().expect("it is released");
        });
        assert_eq!(slow.apply((1,)), Ok(1));
        assert_eq!(next(&receiver), 1);
        let begin = Instant::now();
        let call = pool.call(square).on_success(move |value: &i64| sender.send(*value).unwrap());
        assert_eq!(call.map(2..100), Ok((2..100).map(|x| x * x).collect()));
        for x in 2..100 {
            let _ = x;
            next(&receiver);
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        pool.close();
        assert_eq!(pool.join_timeout(Duration::from_millis(50)), Err(PoolError::StillRunning));
        release.send(()).expect("it waits");
        pool.join_timeout(LONG).expect("join waits for callbacks and no longer");
    });
}

#[test]
fn a_slow_one_of_a_map_runs_for_one_item_at_a_time() {
    limited(|| {
        let pool = pool(2);
        let (sender, receiver) = channel();
        let mut inside = 0;
        let call = pool.call(square).on_success(move |value: &i64| {
            inside += 1;
            std::thread::sleep(Duration::from_millis(if *value == 0 { 250 } else { 1 }));
            sender.send((inside, *value)).unwrap();
        });
        let results: Vec<_> = call.imap_unordered(0..20).map(Result::unwrap).collect();
        finish(&pool);
        let told: Vec<_> = receiver.iter().collect();
        assert_eq!(told, (1..).zip(results).collect::<Vec<_>>());
    });
}

#[test]
fn one_may_submit_and_wait() {
    limited(|| {
        let pool = Arc::new(pool(1));
        let (sender, receiver) = channel();
        let inner = Arc::downgrade(&pool);
        let call = pool.call(square).on_success(move |value: &i64| {
            let pool = inner.upgrade().expect("the pool lives");
            let handle = pool.apply_async(square, (*value,));
            let all = pool.map(square, [1, 2, 3]);
            sender.send((handle.get(), all)).unwrap();
        });
        assert_eq!(call.apply((3,)), Ok(9));
        assert_eq!(next(&receiver), (Ok(81), Ok(vec![1, 4, 9])));
        finish(&pool);
    });
}

#[test]
fn a_chain_of_submissions_is_worked_off_before_close() {
    limited(|| {
        fn descend(pool: &Arc<Pool>, sender: Sender<i64>, x: i64) {
            let inner = pool.clone();
            let call = pool.call(square).on_success(move |_: &i64| {
                sender.send(x).unwrap();
                if x > 0 {
                    descend(&inner, sender.clone(), x - 1);
                }
            });
            drop(call.apply_async((x,)));
        }
        let pool = Arc::new(pool(2));
        let (sender, receiver) = channel();
        descend(&pool, sender, 50);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..=50).rev().collect::<Vec<_>>());
        finish(&pool);
    });
}

#[test]
fn one_may_close_and_join_the_pool() {
    limited(|| {
        let pool = Arc::new(pool(2));
        let (sender, receiver) = channel();
        let inner = pool.clone();
        let call = pool.call(square).on_success(move |_: &i64| {
            inner.close();
            sender.send((inner.join(), inner.join(), inner.pids())).unwrap();
        });
        assert_eq!(call.apply((3,)), Ok(9));
        assert_eq!(next(&receiver), (Ok(()), Ok(()), vec![]));
        finish(&pool);
    });
}

#[test]
fn several_may_join_at_the_same_time() {
    limited(|| {
        let pool = Arc::new(pool(2));
        let (sender, receiver) = channel();
        let submit = || {
            let (inner, sender) = (pool.clone(), sender.clone());
            let call = pool.call(square).on_success(move |_: &i64| {
                inner.close();
                sender.send(inner.join_timeout(LONG)).unwrap();
            });
            call.apply_async((3,))
        };
        // They are submitted before the first one closes the pool.
        let mut gate = Gate::new();
        let busy: Vec<_> = (0..2).map(|n| pool.apply_async(gated, (gate.ticket(), n.to_string()))).collect();
        busy.iter().for_each(|_| drop(gate.arrival()));
        let handles = [submit(), submit(), submit()];
        gate.open();
        for handle in handles {
            assert_eq!(handle.get(), Ok(9));
            assert_eq!(next(&receiver), Ok(()));
        }
        finish(&pool);
    });
}

#[test]
fn one_may_terminate_the_pool() {
    limited(|| {
        let pool = Arc::new(pool(2));
        let mut gate = Gate::new();
        let running = pool.apply_async(gated, (gate.ticket(), "it".into()));
        gate.arrival();
        let inner = pool.clone();
        let call = pool.call(square).on_success(move |_: &i64| inner.terminate());
        assert_eq!(call.apply((3,)), Ok(9));
        assert_eq!(running.get(), Err(JobError::PoolClosed));
        pool.join_timeout(LONG).expect("it ends");
    });
}

#[test]
fn one_may_drop_the_pool() {
    limited(|| {
        let pool = Arc::new(Mutex::new(Some(pool(2))));
        let (sender, receiver) = channel();
        let inner = pool.clone();
        let (handle, queued) = {
            let pool = pool.lock().unwrap();
            let pool = pool.as_ref().expect("it is there");
            let call = pool.call(square).on_success(move |_: &i64| {
                let pool = inner.lock().unwrap().take().expect("it is there");
                drop(pool);
                sender.send(()).unwrap();
            });
            let handle = call.apply_async((3,));
            let queued: Vec<_> =
                (0..10).map(|_| pool.apply_async(gated, ("/nowhere".into(), String::new()))).collect();
            (handle, queued)
        };
        assert_eq!(handle.get(), Ok(9));
        next(&receiver);
        for handle in queued {
            assert!(handle.ready());
        }
        assert!(pool.lock().unwrap().is_none());
    });
}

#[test]
fn deaths_and_the_pools_end_are_told_too() {
    limited(|| {
        let pool = pool(1);
        let (sender, receiver) = channel();
        let submit = || {
            let sender = sender.clone();
            pool.call(exit).on_error(move |error| sender.send(error.clone()).unwrap())
        };
        let error = submit().apply(()).unwrap_err();
        assert!(matches!(&error, JobError::WorkerLost { .. }), "{error:?}");
        assert_eq!(next(&receiver), error);
        let mut gate = Gate::new();
        let busy = pool.apply_async(gated, (gate.ticket(), "busy".into()));
        gate.arrival();
        let queued = submit().apply_async(());
        let cancelled = submit().apply_async(());
        assert!(cancelled.cancel());
        assert_eq!(next(&receiver), JobError::Cancelled);
        pool.terminate();
        assert_eq!(next(&receiver), JobError::PoolClosed);
        assert_eq!(
            (queued.get(), busy.get().unwrap_err()),
            (Err(JobError::PoolClosed), JobError::PoolClosed)
        );
        let refused = submit().apply_async(());
        assert_eq!(next(&receiver), JobError::PoolClosed);
        assert_eq!(refused.get(), Err(JobError::PoolClosed));
        let bad = submit().chunk_size(0).apply_async(());
        assert!(matches!(next(&receiver), JobError::InvalidCall { .. }));
        assert!(matches!(bad.get(), Err(JobError::InvalidCall { .. })));
        pool.join_timeout(LONG).expect("it ends");
        assert!(receiver.try_recv().is_err());
    });
}

#[test]
fn they_run_on_another_thread_than_the_callers() {
    limited(|| {
        let pool = pool(1);
        let (sender, receiver) = channel();
        let call =
            pool.call(square).on_success(move |_: &i64| sender.send(std::thread::current().id()).unwrap());
        assert_eq!(call.apply((3,)), Ok(9));
        assert_ne!(next(&receiver), std::thread::current().id());
    });
}
