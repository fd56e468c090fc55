//! The file that the workers run, and what only a real `main` shows.

use std::process::Command;

use sidestep::{Cause, JobError, Pool};

use crate::kinds::PROGRAM;
use crate::scenario::{
    SOON, all_up, assert_usable, dir, eventually, jobs, kill_all, promptly, scenario, within,
};

/// A copy of this program's file under another name.
pub(crate) fn copy(name: &str) -> std::path::PathBuf {
    let path = dir().join(name);
    std::fs::copy("/proc/self/exe", &path).unwrap();
    path
}

fn runs(kind: &str) {
    let output = Command::new(copy("copy")).env(PROGRAM, kind).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What such a copy does.
pub(crate) fn change_the_file_and_go_on(kind: &str) {
    let pool = Pool::new(2).unwrap();
    let before = all_up(&pool, 2);
    let own = dir().join("copy");
    match kind {
        "renames itself" => std::fs::rename(own, dir().join("moved")).unwrap(),
        "deletes itself" => std::fs::remove_file(own).unwrap(),
        _ => {
            let other = dir().join("other");
            std::fs::copy("/bin/false", &other).unwrap();
            std::fs::rename(other, own).unwrap();
        }
    }
    kill_all(&before);
    assert_usable(&pool);
    within(SOON, "both are replaced", || pool.stats().restarts == 2);
    pool.resize(3).unwrap();
    all_up(&pool, 3);
}

pub(crate) fn a_renamed_binary_goes_on() {
    scenario(|| runs("renames itself"));
}

pub(crate) fn a_deleted_binary_goes_on() {
    scenario(|| runs("deletes itself"));
}

pub(crate) fn a_replaced_binary_goes_on() {
    scenario(|| runs("replaces itself"));
}

pub(crate) fn a_copy_of_the_program_serves_by_name() {
    scenario(|| {
        let path = copy("another build");
        let pool = Pool::builder().workers(2).program(&path).env(PROGRAM, "has other jobs").build().unwrap();
        assert_eq!(pool.apply_by_name::<u64>("another", &(1u64,)), Ok(2));
        let outcome = pool.apply_by_name::<u64>("another", &(1i32,));
        assert!(matches!(outcome, Err(JobError::Decode { .. })), "{outcome:?}");
        // Functions that both programs have under the same name are found in both.
        assert_usable(&pool);
        std::fs::remove_file(&path).unwrap();
        let workers = all_up(&pool, 2);
        kill_all(&workers[..1]);
        eventually("the death is seen", || pool.stats().restarts == 1);
        assert_usable(&pool);
    });
}

#[sidestep::job]
fn overflow(depth: u64) -> u64 {
    let deep = std::hint::black_box([depth; 64]);
    if depth == 0 { 0 } else { overflow(depth - 1) + deep[3] }
}

#[sidestep::job]
fn overflow_in_a_thread() -> u64 {
    std::thread::spawn(|| overflow(u64::MAX)).join().unwrap_or_default()
}

fn assert_overflow(outcome: Result<u64, JobError>) {
    match outcome {
        Err(JobError::WorkerLost { cause, hint, stderr_tail, .. }) => {
            assert_eq!(cause, Cause::Signal(libc::SIGABRT));
            assert!(hint.is_some_and(|hint| hint.contains("a stack overflowed")));
            assert!(stderr_tail.contains("overflowed its stack"), "{stderr_tail}");
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_stack_that_overflows_is_told() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        assert_overflow(promptly("the overflow", || pool.apply(overflow, (u64::MAX,))));
        assert_eq!(pool.apply(jobs::square, (3,)), Ok(9));
    });
}

pub(crate) fn a_thread_s_stack_too() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        assert_overflow(promptly("the overflow", || pool.apply(overflow_in_a_thread, ())));
        assert_eq!(pool.apply(jobs::square, (3,)), Ok(9));
    });
}
