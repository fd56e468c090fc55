//! Jobs by name, jobs that are not there, and options that cannot be.

mod common;

use common::{LONG, finish, limited, pool};
use serde::{Deserialize, Serialize};
use sidestep::{Failure, JobError, Pool, PoolError, Registry};

sidestep::worker_entry!(|| Registry::new().job("double", |x: i64| 2 * x).job("sum", sum));

#[sidestep::job]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[sidestep::job(name = "a name with blanks")]
fn renamed(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[sidestep::job]
fn nothing() {}

#[sidestep::job]
fn checked(a: i64) -> Result<i64, Failure> {
    a.checked_mul(2).ok_or_else(|| Failure::new("too large"))
}

#[sidestep::job]
fn named(point: Point) -> Point {
    Point { x: point.y, y: point.x }
}

#[sidestep::job]
fn prickly(_: Prickly) {}

fn sum(numbers: Vec<i64>) -> i64 {
    numbers.into_iter().sum()
}

fn forgotten(x: i64) -> i64 {
    x
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

/// Panics when it is serialised.
#[derive(Deserialize)]
struct Prickly;

impl Serialize for Prickly {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("it pricks")
    }
}

fn decode_error<T: std::fmt::Debug>(result: Result<T, JobError>) -> String {
    match result {
        Err(JobError::Decode { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_is_called_by_its_name() {
    limited(|| {
        let pool = pool(2);
        assert_eq!(pool.apply_by_name::<i64>("add", &(2i64, 3i64)), Ok(5));
        assert_eq!(pool.apply_by_name::<()>("nothing", &()), Ok(()));
        let text = pool.apply_by_name::<Option<String>>("a name with blanks", &("x".to_owned(),));
        assert_eq!(text, Ok(Some("x".into())));
        assert_eq!(pool.apply_by_name::<Point>("named", &(Point { x: 1, y: 2 },)), Ok(Point { x: 2, y: 1 }));
        let own: Result<i64, Failure> = pool.apply_by_name("checked", &(i64::MAX,)).unwrap();
        assert_eq!(own.unwrap_err().to_string(), "too large");
        assert_eq!(pool.apply_by_name::<i64>("double", &(4i64,)), Ok(8));
        let handle = pool.apply_async_by_name::<i64>("sum", &(vec![1i64, 2, 3],));
        assert!(handle.id() > 0 && handle.wait(LONG));
        assert_eq!(handle.get(), Ok(6));
        finish(&pool);
    });
}

#[test]
fn the_names_are_sorted() {
    limited(|| {
        let expected =
            ["a name with blanks", "add", "checked", "double", "named", "nothing", "prickly", "sum"];
        assert_eq!(pool(1).job_names(), expected);
    });
}

#[test]
fn types_that_differ_are_both_named_and_nothing_is_sent() {
    limited(|| {
        let pool = pool(1);
        let message = decode_error(pool.apply_by_name::<i64>("add", &(2i32, 3i64)));
        assert!(message.contains("(i32, i64) -> i64") && message.contains("(i64, i64) -> i64"), "{message}");
        let message = decode_error(pool.apply_by_name::<i32>("add", &(2i64, 3i64)));
        assert!(message.contains("(i64, i64) -> i32"), "{message}");
        for message in [
            decode_error(pool.apply_by_name::<i64>("add", &(2i64,))),
            decode_error(pool.apply_by_name::<i64>("add", &())),
            decode_error(pool.apply_by_name::<()>("add", &(2i64, 3i64))),
            decode_error(pool.apply_by_name::<Option<String>>("a name with blanks", &("x",))),
            decode_error(pool.apply_async_by_name::<i64>("sum", &(vec![1u8],)).get()),
        ] {
            assert!(message.contains("nothing was sent"), "{message}");
        }
        assert_eq!(pool.stats().submitted, 0);
        assert_eq!(pool.apply_by_name::<i64>("add", &(2i64, 3i64)), Ok(5));
    });
}

#[test]
fn a_name_that_nobody_has_is_in_the_error() {
    limited(|| {
        let pool = pool(1);
        for name in ["nosuch", "", "Add", "add "] {
            match pool.apply_by_name::<()>(name, &()) {
                Err(error @ JobError::NotRegistered { .. }) => {
                    assert!(error.to_string().contains(&format!("\"{name}\"")), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pool.stats().submitted, 0);
        assert_eq!(pool.apply(add, (2, 3)), Ok(5));
    });
}

#[test]
fn arguments_that_panic_while_they_are_encoded_are_an_error() {
    limited(|| {
        let pool = pool(1);
        for outcome in [pool.apply_by_name::<()>("prickly", &(Prickly,)), pool.apply(prickly, (Prickly,))] {
            match outcome {
                Err(JobError::Encode { job, message, .. }) => {
                    assert!(job == "prickly" && message.contains("it pricks"), "{job}: {message}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pool.apply(add, (2, 3)), Ok(5));
        finish(&pool);
    });
}

#[test]
fn a_function_that_is_not_registered_is_refused() {
    limited(|| {
        let pool = pool(1);
        let refused = |error: JobError, what: &str| {
            assert!(matches!(&error, JobError::NotRegistered { name } if name.contains(what)), "{error:?}");
            assert!(error.to_string().contains("#[sidestep::job]"), "{error}");
        };
        refused(pool.apply(forgotten, (1,)).unwrap_err(), "forgotten");
        refused(pool.map(|x: i64| x, [1, 2]).unwrap_err(), "closure");
        refused(pool.imap(forgotten, [1, 2]).next().unwrap().unwrap_err(), "forgotten");
        assert_eq!(pool.imap(forgotten, [1, 2]).count(), 1);
        refused(pool.starmap_async(forgotten, [(1,)]).get().unwrap_err(), "forgotten");
        let pointer = pool.apply(add as fn(i64, i64) -> i64, (1, 2)).unwrap_err();
        assert!(pointer.to_string().contains("not a pointer to it"), "{pointer}");
        refused(pointer, "fn(i64, i64) -> i64");
        assert_eq!(pool.stats().submitted, 0);
        assert_eq!(pool.apply(sum, (vec![1, 2],)), Ok(3), "one from the registry is");
    });
}

#[test]
fn a_bad_option_is_an_invalid_call_and_nothing_is_pulled() {
    limited(|| {
        let pool = pool(1);
        let what = |outcome: Result<Vec<i64>, JobError>| match outcome {
            Err(JobError::InvalidCall { what }) => what,
            other => panic!("{other:?}"),
        };
        let one = |outcome: Result<i64, JobError>| what(outcome.map(|value| vec![value]));
        let items = || std::iter::from_fn(|| -> Option<(i64, i64)> { panic!("somebody asks for an item") });
        assert!(what(pool.call(add).chunk_size(0).starmap(items())).contains("chunk_size(0)"));
        assert!(what(pool.call(add).chunk_size(0).starmap_async(items()).get()).contains("chunk_size(0)"));
        let mut stream = pool
            .call(sum)
            .chunk_size(0)
            .imap(std::iter::from_fn(|| -> Option<Vec<i64>> { panic!("somebody asks for an item") }));
        assert!(one(stream.next().expect("one error")).contains("chunk_size(0)"));
        assert!(stream.next().is_none());
        assert!(one(pool.call(add).chunk_size(0).apply((1, 2))).contains("chunk_size(0)"));
        assert!(one(pool.call(add).chunk_size(0).apply_async((1, 2)).get()).contains("chunk_size(0)"));
        assert_eq!(pool.stats().submitted, 0);
        assert!(pool.call(add).chunk_size(0).chunk_size(1).apply((1, 2)).is_err(), "it stays bad");
        assert_eq!(pool.apply(add, (1, 2)), Ok(3));
    });
}

#[test]
#[cfg(not(all(target_os = "linux", not(sidestep_portable))))]
fn limits_that_cannot_be_watched_are_refused() {
    limited(|| {
        for (option, builder) in [
            ("memory_limit", Pool::builder().memory_limit(1 << 30)),
            ("cpu_limit", Pool::builder().cpu_limit(std::time::Duration::from_secs(1))),
        ] {
            match builder.workers(1).build() {
                Err(PoolError::Config { what }) => assert!(what.contains(option), "{what}"),
                other => panic!("{option}: {other:?}"),
            }
        }
    });
}

#[test]
fn a_pool_without_workers_is_refused() {
    limited(|| {
        for outcome in [Pool::new(0), Pool::builder().workers(0).build()] {
            assert!(matches!(outcome, Err(PoolError::Config { what }) if what.contains("workers(0)")));
        }
        let pool = pool(3);
        assert_eq!(pool.pids().len(), 3);
        assert!(matches!(pool.resize(0), Err(PoolError::Config { .. })));
        assert_eq!(pool.pids().len(), 3);
        assert_eq!(pool.join(), Err(PoolError::Open));
        finish(&pool);
        assert!(matches!(pool.resize(2), Err(PoolError::Config { .. })));
    });
}

#[test]
fn an_initializer_must_be_registered() {
    limited(|| match Pool::builder().workers(1).initializer(forgotten, (1,)).build() {
        Err(PoolError::Config { what }) => assert!(what.contains("forgotten"), "{what}"),
        other => panic!("{other:?}"),
    });
}
