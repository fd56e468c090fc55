//! A pool without the attribute: what a program does that wants none of the features.

use std::time::Duration;

use sidestep::{Pool, Registry};

fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn registry() -> Registry {
    Registry::new().job("add", add).job("double", |n: i64| n * 2)
}

sidestep::worker_entry!(registry);

/// Building the pool and ending it have limits of their own.
const LIMIT: Duration = Duration::from_secs(15);

#[test]
fn a_registered_function_is_called_as_itself() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.starmap_async(add, [(1, 2), (3, 4)]).get_timeout(LIMIT), Ok(vec![3, 7]));
}

#[test]
fn a_registered_closure_is_called_by_its_name() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.apply_async_by_name::<i64>("double", &(21i64,)).get_timeout(LIMIT), Ok(42));
}
