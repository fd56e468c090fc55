//! Callbacks that end the pool that calls them.

mod scenario;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scenario::jobs::{hold, square};
use scenario::{Gate, SOON, eventually, promptly, scenario};
use sidestep::{JobError, Pool};

sidestep::worker_entry!();

/// Runs `end` in a callback of the pool's and waits until it is through.
fn in_a_callback(pool: Arc<Pool>, end: impl FnOnce(Arc<Pool>) + Send + 'static) {
    let (sender, receiver) = channel();
    let own = Mutex::new(Some((pool.clone(), end)));
    let handle = pool
        .call(square)
        .on_success(move |_| {
            if let Some((pool, end)) = own.lock().unwrap().take() {
                end(pool);
                sender.send("through").unwrap();
            }
        })
        .apply_async((3,));
    drop(pool);
    assert_eq!(handle.get(), Ok(9));
    assert_eq!(receiver.recv_timeout(SOON), Ok("through"));
}

fn pool_with_work() -> (Arc<Pool>, sidestep::JobHandle<u32>) {
    let pool = Arc::new(Pool::new(2).unwrap());
    let gate = Gate::new("gate");
    let running = pool.apply_async(hold, (gate.arg(),));
    gate.wait_for(1);
    (pool, running)
}

#[test]
fn one_may_terminate_its_pool_and_join_it() {
    scenario(|| {
        let (pool, running) = pool_with_work();
        in_a_callback(pool.clone(), |pool| {
            pool.terminate();
            pool.join().unwrap();
        });
        assert_eq!(promptly("what ran", || running.get()), Err(JobError::PoolClosed));
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn one_may_close_its_pool_and_join_it() {
    scenario(|| {
        let pool = Arc::new(Pool::new(2).unwrap());
        in_a_callback(pool.clone(), |pool| {
            pool.close();
            pool.join().unwrap();
        });
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn one_may_drop_its_pool() {
    scenario(|| {
        let (pool, running) = pool_with_work();
        in_a_callback(pool, |pool| {
            eventually("it is the last who has it", || Arc::strong_count(&pool) == 1);
            drop(pool);
        });
        assert_eq!(promptly("what ran", || running.get()), Err(JobError::PoolClosed));
    });
}

#[test]
fn all_callbacks_have_run_when_join_returns() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let (sender, receiver) = channel();
        let slow = move |n: &i64| {
            std::thread::sleep(Duration::from_millis(2));
            sender.send(*n).unwrap();
        };
        let handle = pool.call(square).on_success(slow).map_async(0..50);
        pool.close();
        pool.join().unwrap();
        let mut seen: Vec<_> = receiver.try_iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, handle.get().unwrap());
    });
}

#[test]
fn the_end_is_told_to_callbacks_too() {
    scenario(|| {
        let (pool, running) = pool_with_work();
        let (sender, receiver) = channel();
        let handles: Vec<_> = (0..10)
            .map(|_| {
                let sender = sender.clone();
                let gate = scenario::dir().join("gate").display().to_string();
                pool.call(hold)
                    .on_error(move |error| sender.send(error.clone()).unwrap())
                    .apply_async((gate,))
            })
            .collect();
        pool.terminate();
        pool.join().unwrap();
        drop((running, handles));
        let told: Vec<_> = receiver.try_iter().collect();
        assert_eq!(told, vec![JobError::PoolClosed; 10]);
    });
}
