//! What `exec` and `sh` run has its time to end when it is asked to: its worker does not die before it.
#![cfg(feature = "cli")]

mod common;

use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use common::{LONG, Place, eventually, finish, limited, step};
use serde::{Deserialize, Serialize};
use sidestep::{Bytes, JobError, Pool};

/// As the command describes a program to its worker,
#[derive(Debug, Serialize)]
struct Program {
    words: Vec<Vec<Bytes>>,
    number: u64,
    stdin: Option<Bytes>,
    outputs: Outputs,
}

#[derive(Debug, Serialize)]
enum Outputs {
    /// They are a part of the result.
    Returned,
}

/// and as the worker tells of its end.
#[derive(Debug, Deserialize)]
struct Finished {
    code: Option<i32>,
    _signal: Option<i32>,
    stdout: Bytes,
    _stderr: Bytes,
    _times: [Duration; 4],
    _max_rss: u64,
    slot: u32,
    pid: u32,
}

const LIMIT: Duration = Duration::from_millis(300);

fn pool(grace: Duration) -> Pool {
    let builder = Pool::builder().program(cargo_bin!("pool-run")).workers(1);
    builder.timeout(LIMIT).grace(grace).build().expect("a pool")
}

fn sh(pool: &Pool, line: &str) -> Result<Finished, JobError> {
    step(format!("running {line}"));
    let program = Program {
        words: vec![vec![line.as_bytes().to_vec().into()]],
        number: 1,
        stdin: None,
        outputs: Outputs::Returned,
    };
    let ended: Result<Finished, String> = pool.apply_by_name("sh", &(program,))?;
    Ok(ended.expect("the shell starts"))
}

fn assert_usable(pool: &Pool) -> u32 {
    let done = sh(pool, "echo $POOL_RUN_SLOT").expect("the pool goes on");
    assert_eq!((done.code, &done.stdout[..], done.slot), (Some(0), &b"1\n"[..], 1));
    done.pid
}

#[test]
fn a_program_that_is_asked_to_end_has_its_time_to_do_so() {
    limited(|| {
        let pool = pool(LONG);
        let before = assert_usable(&pool);
        let place = Place::new();
        let file = place.file("last-words");
        // It takes its time, so that a worker that dies at once, and its group with it, would cut it short.
        let line = format!("trap 'sleep 0.2; echo bye > {file}; exit 5' TERM; while :; do sleep 0.01; done");
        assert!(matches!(sh(&pool, &line), Err(JobError::TimedOut { .. })));
        eventually("it has said what it had to", || {
            std::fs::read_to_string(&file).is_ok_and(|text| text == "bye\n")
        });
        // Its worker goes at once then, and not only after the grace.
        assert_ne!(assert_usable(&pool), before);
        finish(&pool);
    });
}

#[test]
fn a_program_that_does_not_heed_it_is_killed_after_the_grace() {
    limited(|| {
        let pool = pool(Duration::from_millis(100));
        assert_usable(&pool);
        let line = "trap '' TERM; while :; do sleep 0.01; done";
        assert!(matches!(sh(&pool, line), Err(JobError::TimedOut { .. })));
        assert_usable(&pool);
        finish(&pool);
    });
}
