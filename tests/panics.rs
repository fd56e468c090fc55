//! Panics of all kinds: the job pays, its worker lives on unless the panic cannot be caught.

mod scenario;

use scenario::jobs::pid;
use scenario::{assert_all_over, assert_usable, cause, promptly, scenario};
use sidestep::{Cause, JobError, Pool};

sidestep::worker_entry!();

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

#[sidestep::job]
fn panics(how: String) -> u8 {
    match how.as_str() {
        "text" => panic!("plain"),
        "string" => panic!("with {}", 1 + 1),
        "number" => std::panic::panic_any(42u32),
        "bomb" => std::panic::panic_any(Bomb),
        "index" => vec![1u8][how.len()],
        "drop" => {
            let _bomb = Bomb;
            0
        }
        _ => unreachable!(),
    }
}

#[test]
fn a_panic_is_told_with_its_text_and_its_place_and_the_worker_lives() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        let kinds = [
            ("text", "plain"),
            ("string", "with 2"),
            ("number", "a value that is no text"),
            ("bomb", "a value that is no text"),
            ("index", "index out of bounds: the len is 1 but the index is 5"),
            ("drop", "in a drop"),
        ];
        for (how, wanted) in kinds {
            match promptly(how, || pool.apply(panics, (how.to_owned(),))) {
                Err(JobError::Panicked { job, pid, message, location, .. }) => {
                    assert_eq!((job.as_str(), pid, message.as_str()), ("panics", Some(worker), wanted));
                    assert!(location.starts_with("tests/panics.rs:"), "{location}");
                }
                other => panic!("{how}: {other:?}"),
            }
            assert_eq!(pool.apply(pid, ()), Ok(worker), "{how} has ended it");
        }
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.restarts), (kinds.len() as u64, 0));
        assert_all_over(&stats);
    });
}

#[test]
fn a_panic_while_another_one_unwinds_ends_the_worker() {
    #[sidestep::job]
    fn panics_twice() {
        let _bomb = Bomb;
        panic!("the first one");
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        match promptly("the loss", || pool.apply(panics_twice, ())) {
            Err(JobError::WorkerLost { cause, stderr_tail, .. }) => {
                assert_eq!(cause, Cause::Signal(6));
                assert!(stderr_tail.contains("panic"), "{stderr_tail:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_usable(&pool);
    });
}

#[test]
fn a_panic_in_a_thread_of_the_job_s_own_is_the_job_s_affair() {
    #[sidestep::job]
    fn thread_panics() -> bool {
        std::thread::spawn(|| panic!("elsewhere")).join().is_err()
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        assert_eq!(pool.apply(thread_panics, ()), Ok(true));
        assert_eq!(pool.apply(pid, ()), Ok(worker));
    });
}

#[test]
fn a_panic_hook_that_a_job_has_set_ends_that_worker_only() {
    #[sidestep::job]
    fn set_fatal_hook() {
        std::panic::set_hook(Box::new(|_| std::process::abort()));
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        pool.apply(set_fatal_hook, ()).unwrap();
        assert_eq!(cause(pool.apply(panics, ("text".to_owned(),))), Cause::Signal(6));
        // Its successor has the usual one again.
        let outcome = pool.apply(panics, ("text".to_owned(),));
        assert!(matches!(outcome, Err(JobError::Panicked { .. })), "{outcome:?}");
    });
}

#[test]
fn a_quiet_hook_of_a_job_s_own_keeps_the_panic_an_outcome() {
    #[sidestep::job]
    fn set_quiet_hook() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        pool.apply(set_quiet_hook, ()).unwrap();
        match pool.apply(panics, ("text".to_owned(),)) {
            Err(JobError::Panicked { message, pid, .. }) => {
                assert_eq!((message.as_str(), pid), ("plain", Some(worker)));
            }
            other => panic!("{other:?}"),
        }
    });
}
