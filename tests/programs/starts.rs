//! Workers that do not get ready when the pool is made.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sidestep::{Builder, Pool, PoolError};

use crate::kinds::{PROGRAM, command};
use crate::scenario::{Gate, assert_usable, dir, promptly, scenario};

/// A pool whose workers are of some kind.
fn workers(kind: &str) -> Builder {
    Pool::builder().workers(2).env(PROGRAM, kind)
}

fn fails(builder: Builder) -> PoolError {
    match promptly("the failure", || builder.build()) {
        Ok(pool) => panic!("{pool:?}"),
        Err(error) => error,
    }
}

/// The message and the last words.
fn start_error(error: PoolError) -> (String, String) {
    match error {
        PoolError::Start { message, stderr_tail } => (message, stderr_tail),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_program_that_forgets_init_is_told_at_once() {
    scenario(|| {
        let output = promptly("the error", || command("never calls init").output().unwrap());
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(9), "{printed}");
        let errors: Vec<_> = printed.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(
            errors.len() >= 2 && errors.iter().all(|line| line.contains("sidestep::init()")),
            "{printed}"
        );
    });
}

pub(crate) fn a_worker_program_that_makes_a_pool_instead_of_serving_is_no_fork_bomb() {
    scenario(|| {
        promptly("the error", || command("never calls init").output().unwrap());
        // The program itself, and the workers that it tried to start as another program.
        let starts = Gate::new("starts").arrived();
        assert!(starts.len() <= 3, "{starts:?}");
        let error = fails(workers("never calls init"));
        let (message, tail) = start_error(error);
        assert!(message.contains("exited with code 9 before it said hello"), "{message}");
        assert!(tail.contains("worker copy"), "{tail}");
        assert!(Gate::new("starts").arrived().len() <= starts.len() + 2);
    });
}

pub(crate) fn a_worker_that_runs_to_its_end_is_told() {
    scenario(|| {
        let error = fails(workers("returns"));
        let text = error.to_string();
        assert!(text.contains("ran to its end") && text.contains("sidestep::init()"), "{text}");
        start_error(error);
    });
}

pub(crate) fn a_worker_that_exits_before_hello_is_told_with_its_last_words() {
    scenario(|| {
        let (message, tail) = start_error(fails(workers("exits")));
        assert!(message.contains("exited with code 3"), "{message}");
        assert_eq!(tail.trim_end(), "there is no licence for this");
    });
}

pub(crate) fn a_worker_that_crashes_before_hello_is_told_with_its_signal() {
    scenario(|| {
        let (message, _) = start_error(fails(workers("crashes")));
        assert!(message.contains("SIGABRT"), "{message}");
    });
}

pub(crate) fn a_worker_that_never_says_hello_is_given_up_at_the_start_timeout() {
    scenario(|| {
        let limit = Duration::from_millis(200);
        let begin = Instant::now();
        let (message, tail) = start_error(fails(workers("blocks").start_timeout(limit)));
        assert!(begin.elapsed() >= limit);
        assert!(message.contains("200ms"), "{message}");
        assert_eq!(tail.trim_end(), "waiting for the database");
    });
}

pub(crate) fn what_a_program_prints_and_opens_before_init_does_not_matter() {
    scenario(|| {
        let pool = workers("is busy first").stdout(sidestep::Output::Null).build().unwrap();
        assert_usable(&pool);
        assert_eq!(pool.stats().restarts, 0);
    });
}

pub(crate) fn a_worker_with_other_jobs_is_turned_away() {
    scenario(|| match fails(workers("has other jobs")) {
        PoolError::Mismatch { ours, theirs } => {
            assert!(theirs.contains("another(u64) -> u64"), "{theirs}");
            assert_ne!(ours, theirs);
        }
        other => panic!("{other:?}"),
    });
}

fn program(path: impl Into<PathBuf>) -> PoolError {
    fails(Pool::builder().workers(2).program(path))
}

pub(crate) fn a_program_that_is_none_is_told() {
    scenario(|| {
        let no_program = dir().join("no program");
        std::fs::write(&no_program, "nothing that could be run").unwrap();
        for path in [dir().join("nowhere"), dir(), no_program] {
            match program(&path) {
                PoolError::Spawn { message } => {
                    assert!(message.contains(path.to_str().unwrap()), "{message}");
                }
                other => panic!("{}: {other:?}", path.display()),
            }
        }
    });
}

pub(crate) fn a_program_that_knows_no_pools_is_told() {
    scenario(|| {
        let (message, _) = start_error(program("/bin/true"));
        assert!(message.contains("ran to its end"), "{message}");
        let (message, tail) = start_error(program("/bin/cat"));
        assert!(message.contains("exited with code 1"), "{message}");
        assert!(tail.contains("--sidestep-worker"), "{tail}");
    });
}

fn script(name: &str, text: &str) -> PathBuf {
    let path = dir().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub(crate) fn a_program_that_writes_nonsense_is_told() {
    scenario(|| {
        for text in
            ["printf '%01000d' 7 >&4; sleep 1000", "printf '\\377%.0s' 1 2 3 4 5 6 7 8 9 >&4; sleep 1000"]
        {
            let error = program(script("nonsense", text));
            assert!(matches!(error, PoolError::Start { .. } | PoolError::Mismatch { .. }), "{error:?}");
        }
    });
}

pub(crate) fn a_program_that_leaves_others_behind_is_told_and_cleaned_up() {
    scenario(|| {
        crate::scenario::adopt_orphans();
        let (message, _) = start_error(program(script("leaves", "sleep 1000 & exit 3")));
        assert!(message.contains("exited with code 3"), "{message}");
        crate::scenario::all_gone_within(crate::scenario::SOON, "what the worker had started");
    });
}

#[sidestep::job]
fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

pub(crate) fn the_environment_of_the_workers_is_theirs_alone() {
    scenario(|| {
        let pool = Pool::builder().workers(1).env("ONLY_THERE", "yes").env("HOME", "/tmp").build().unwrap();
        assert_eq!(pool.apply(variable, ("ONLY_THERE".into(),)).unwrap().as_deref(), Some("yes"));
        assert_eq!(pool.apply(variable, ("HOME".into(),)).unwrap().as_deref(), Some("/tmp"));
        assert_eq!(pool.apply(variable, ("PATH".into(),)).unwrap(), std::env::var("PATH").ok());
        assert_eq!(std::env::var("ONLY_THERE").ok(), None);
    });
}
