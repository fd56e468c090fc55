//! Values that a pool shares with its workers: sent once, decoded once, gone when nobody needs them.

mod common;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Gate, eventually, finish, limited, pass};
use serde::{Deserialize, Deserializer, Serialize};
use sidestep::{Bytes, JobError, Pool, Shared};

sidestep::worker_entry!();

const MIB: usize = 1 << 20;

#[sidestep::job]
fn pid() -> u32 {
    std::process::id()
}

#[sidestep::job]
fn look_up(table: Shared<HashMap<String, u64>>, key: String) -> Option<u64> {
    table.get(&key).copied()
}

#[sidestep::job]
fn byte(bytes: Shared<Bytes>, at: usize) -> (u8, usize) {
    (bytes[at], bytes.len())
}

#[sidestep::job]
fn gated_byte(ticket: String, bytes: Shared<Bytes>, at: usize) -> u8 {
    pass(&ticket, "here");
    bytes[at]
}

#[sidestep::job]
fn die_with(bytes: Shared<Bytes>) -> u8 {
    if sidestep::context().attempt() == 1 {
        std::process::abort();
    }
    bytes[0]
}

/// Counts how often one was decoded in this process, and what was dropped.
#[derive(Debug, Serialize)]
struct Counted(u8);

static DECODED: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counted, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        match u8::deserialize(deserializer)? {
            13 => Err(serde::de::Error::custom("13 is no number")),
            number => Ok(Counted(number)),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert_ne!((self.0, is_worker()), (77, true), "a drop that panics in a worker");
    }
}

fn is_worker() -> bool {
    sidestep::try_context().is_some() || DECODED.load(Ordering::Relaxed) > 0
}

#[sidestep::job]
fn decoded(counted: Shared<Counted>) -> (u32, u32, u8) {
    (std::process::id(), DECODED.load(Ordering::Relaxed), counted.0)
}

static KEPT: Mutex<Vec<Shared<Bytes>>> = Mutex::new(Vec::new());

#[sidestep::job]
fn keep(bytes: Shared<Bytes>) {
    KEPT.lock().unwrap().push(bytes);
}

/// The first byte of each that was kept, if the others are the same.
#[sidestep::job]
fn kept() -> Vec<Option<u8>> {
    let same = |bytes: &Shared<Bytes>| bytes.iter().all(|byte| *byte == bytes[0]).then(|| bytes[0]);
    KEPT.lock().unwrap().iter().map(same).collect()
}

#[sidestep::job]
fn let_go() {
    KEPT.lock().unwrap().clear();
}

#[sidestep::job]
fn send_back(bytes: Shared<Bytes>) -> Shared<Bytes> {
    bytes
}

#[derive(Serialize, Deserialize)]
struct Index {
    words: Shared<Vec<String>>,
    order: Vec<usize>,
}

#[sidestep::job]
fn word(index: Shared<Index>, at: usize) -> String {
    index.words[index.order[at]].clone()
}

fn shared_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
}

#[test]
fn jobs_look_into_one_table() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let table: HashMap<String, u64> = (0..50_000u64).map(|n| (format!("key {n}"), n * n)).collect();
        let table = pool.share(table).unwrap();
        assert_eq!(table["key 3"], 9, "the caller looks into it too");
        let keys = (0..5000u64).map(|n| (table.clone(), format!("key {n}")));
        let squares: Vec<_> = (0..5000u64).map(|n| Some(n * n)).collect();
        assert_eq!(pool.starmap(look_up, keys).unwrap(), squares);
        assert_eq!(pool.apply(look_up, (table.clone(), "no".into())), Ok(None));
        assert_eq!(pool.apply_async(look_up, (table, "key 7".into())).get(), Ok(Some(49)));
        finish(&pool);
    });
}

#[test]
fn each_worker_decodes_it_once_also_one_that_starts_later() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let counted = pool.share(Counted(5)).unwrap();
        for _ in 0..3 {
            let victim = pool.pids()[0];
            let all = pool.map(decoded, std::iter::repeat_n(counted.clone(), 200)).unwrap();
            assert!(all.iter().all(|(_, times, value)| (*times, *value) == (1, 5)), "{all:?}");
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim as i32), nix::sys::signal::SIGKILL)
                .unwrap();
            eventually("it is replaced", || pool.pids().len() == 2 && !pool.pids().contains(&victim));
        }
        finish(&pool);
    });
}

#[test]
fn another_attempt_finds_it() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        for round in 1..4 {
            let bytes = pool.share(Bytes::from(vec![round; MIB])).unwrap();
            assert_eq!(pool.call(die_with).retries(1).apply((bytes,)), Ok(round));
        }
        finish(&pool);
    });
}

#[test]
fn it_stays_as_long_as_a_job_waits_for_it() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let mut gate = Gate::new();
        let job = |value: u8| {
            let bytes = pool.share(Bytes::from(vec![value; MIB])).unwrap();
            pool.apply_async(gated_byte, (gate.ticket(), bytes, 1000))
        };
        let handles: Vec<_> = (0..5).map(job).collect();
        gate.arrival();
        gate.open();
        for (value, handle) in (0..5).zip(handles) {
            assert_eq!(handle.get(), Ok(value));
        }
        finish(&pool);
    });
}

#[test]
fn what_a_job_has_kept_does_not_change() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        for round in 0..3 {
            for n in 0..10 {
                let bytes = pool.share(Bytes::from(vec![round * 10 + n; 200_000])).unwrap();
                pool.apply(keep, (bytes,)).unwrap();
                let other = pool.share(Bytes::from(vec![99; 200_000])).unwrap();
                assert_eq!(pool.apply(byte, (other, 7)), Ok((99, 200_000)));
            }
            let expected: Vec<_> = (0..10).map(|n| Some(round * 10 + n)).collect();
            assert_eq!(pool.apply(kept, ()), Ok(expected));
            pool.apply(let_go, ()).unwrap();
        }
        finish(&pool);
    });
}

#[test]
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
fn one_after_the_other_takes_the_memory_of_one() {
    common::alone("one_after_the_other_alone");
}

#[test]
#[ignore = "measures the whole process"]
fn one_after_the_other_alone() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let before = shared_memory();
        for round in 0..40 {
            let bytes = pool.share(Bytes::from(vec![round; 4 * MIB])).unwrap();
            let all = pool.starmap(byte, (0..20).map(|at| (bytes.clone(), at))).unwrap();
            assert!(all.into_iter().all(|seen| seen == (round, 4 * MIB)));
        }
        let after = shared_memory();
        assert!(after < before + 30 * MIB, "{before} and {after} bytes");
        eventually("all of it is given back", || shared_memory() < before + MIB);
        finish(&pool);
    });
}

#[test]
fn one_that_does_not_decode_costs_the_jobs_that_take_it() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        let bad = pool.share(Counted(13)).unwrap();
        for _ in 0..2 {
            match pool.apply(decoded, (bad.clone(),)) {
                Err(JobError::Decode { message, .. }) => {
                    assert!(message.contains("13 is no number"), "{message}")
                }
                other => panic!("{other:?}"),
            }
        }
        let good = pool.share(Counted(14)).unwrap();
        assert_eq!(pool.apply(decoded, (good,)).map(|(pid, _, value)| (pid, value)), Ok((worker, 14)));
        finish(&pool);
    });
}

#[test]
fn a_drop_that_panics_in_a_worker_harms_nobody() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        let bad = pool.share(Counted(77)).unwrap();
        assert_eq!(pool.apply(decoded, (bad,)).map(|(_, _, value)| value), Ok(77));
        for _ in 0..10 {
            assert_eq!(pool.apply(pid, ()), Ok(worker));
        }
        finish(&pool);
    });
}

#[test]
fn it_goes_nowhere_else() {
    fn refused<T: std::fmt::Debug>(outcome: Result<T, JobError>) -> String {
        match outcome {
            Err(JobError::Encode { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }
    limited(|| {
        let (pool, other) = (Pool::new(1).unwrap(), Pool::new(1).unwrap());
        let bytes = pool.share(Bytes::from(vec![1; 10])).unwrap();
        assert!(refused(other.apply(byte, (bytes.clone(), 0))).contains("another pool"));
        assert!(refused(other.share((bytes.clone(), 1)).map(|_| ())).contains("another pool"));
        let outcome = other.starmap(byte, [(bytes.clone(), 0)]);
        assert!(refused(outcome).contains("another pool"));
        assert!(
            refused(pool.apply(send_back, (bytes.clone(),)).map(|_| ())).contains("from its pool's caller")
        );
        assert!(serde_json::to_string(&bytes).is_err());
        assert!(serde_json::from_str::<Shared<Bytes>>("0").is_err());
        assert_eq!(pool.apply(byte, (bytes, 0)), Ok((1, 10)), "and here it is at home");
        finish(&pool);
        finish(&other);
    });
}

#[test]
fn one_may_hold_another() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let words = pool.share((0..10_000).map(|n| format!("word {n}")).collect::<Vec<_>>()).unwrap();
        let index = Index { words, order: (0..10_000).rev().collect() };
        let index = pool.share(index).unwrap();
        let picked = pool.starmap(word, (0..100).map(|at| (index.clone(), at))).unwrap();
        assert!(picked.into_iter().eq((0..100).map(|at| format!("word {}", 9_999 - at))));
        finish(&pool);
    });
}

#[test]
fn a_pool_with_a_memory_limit_shares_too() {
    limited(|| {
        let Ok(pool) = Pool::builder().workers(2).memory_limit(1 << 30).build() else { return };
        for round in 0..5 {
            let bytes = pool.share(Bytes::from(vec![round; 2 * MIB])).unwrap();
            let all = pool.starmap(byte, (0..50).map(|at| (bytes.clone(), at))).unwrap();
            assert!(all.into_iter().all(|seen| seen == (round, 2 * MIB)));
        }
        finish(&pool);
    });
}

#[test]
fn one_outlives_its_pool() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let bytes = pool.share(Bytes::from(vec![5; MIB])).unwrap();
        assert_eq!(pool.apply(byte, (bytes.clone(), 5)), Ok((5, MIB)));
        drop(pool);
        assert_eq!(bytes[7], 5);
        let pool = Pool::new(1).unwrap();
        assert!(matches!(pool.apply(byte, (bytes, 0)), Err(JobError::Encode { .. })));
        finish(&pool);
    });
}
