//! Large values lie in memory that both processes see: nobody sees another's, none is lost, and none stays behind.

mod common;

use std::sync::Mutex;
use std::time::Instant;

use common::{LONG, alone, eventually, finish, limited, step};
use serde::{Deserialize, Serialize};
use sidestep::{Bytes, JobError, Pool};

sidestep::worker_entry!();

/// From here on values are large.
const LARGE: usize = 32 << 10;
const MIB: usize = 1 << 20;

#[sidestep::job]
fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[sidestep::job]
fn sum(bytes: Bytes) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[sidestep::job]
fn filled(len: usize, byte: u8) -> Bytes {
    vec![byte; len].into()
}

#[sidestep::job]
fn numbers(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(|number| number + 1).collect()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Picture {
    name: String,
    pixels: Bytes,
    mask: Option<Bytes>,
    points: Vec<(f32, f32)>,
}

#[sidestep::job]
fn turned(mut pictures: Vec<Picture>) -> Vec<Picture> {
    pictures.reverse();
    for picture in &mut pictures {
        picture.pixels.reverse();
    }
    pictures
}

static KEPT: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());

/// Keeps what it gets; how many it has.
#[sidestep::job]
fn keep(bytes: Bytes) -> usize {
    let mut kept = KEPT.lock().unwrap();
    kept.push(bytes);
    kept.len()
}

/// The first byte of each that was kept, if the others are the same.
#[sidestep::job]
fn kept() -> Vec<Option<u8>> {
    let same = |bytes: &Bytes| bytes.iter().all(|byte| *byte == bytes[0]).then(|| bytes[0]);
    KEPT.lock().unwrap().iter().map(same).collect()
}

#[sidestep::job]
fn let_go() {
    KEPT.lock().unwrap().clear();
}

/// A job that goes wrong with what it has got.
#[sidestep::job]
fn write_in_place(bytes: Bytes) -> u8 {
    // SAFETY: none; that it is stopped is the point.
    unsafe { bytes.as_ptr().cast_mut().write_volatile(1) };
    bytes[0]
}

#[sidestep::job]
fn die_once(bytes: Bytes) -> u64 {
    if sidestep::context().attempt() == 1 {
        std::process::abort();
    }
    sum(bytes)
}

#[sidestep::job]
fn pid() -> u32 {
    std::process::id()
}

/// Closes the descriptors behind which there is a file in memory; how many there were.
#[sidestep::job]
fn close_memory() -> usize {
    let is_memory = |fd: &i32| {
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        target.to_string_lossy().starts_with("/memfd:")
    };
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open: Vec<i32> =
        open.filter_map(|fd| fd.file_name().to_str()?.parse().ok()).filter(is_memory).collect();
    // SAFETY: these are somebody else's, which is the point.
    open.iter().for_each(|fd| assert_eq!(unsafe { libc::close(*fd) }, 0));
    open.len()
}

fn patterned(len: usize, seed: usize) -> Bytes {
    (0..len).map(|at| (at * 31 + at / 251 + seed) as u8).collect::<Vec<u8>>().into()
}

/// Shared memory that a process has touched and that is still there, in bytes.
fn shared(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()).unwrap_or(0) << 10
}

#[test]
fn sizes_around_the_limit_come_back_as_they_were() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let around = [LARGE - 9, LARGE - 8, LARGE - 7, LARGE - 1, LARGE, LARGE + 1, 2 * LARGE, 2 * LARGE - 8];
        for (seed, len) in around.into_iter().chain([MIB - 8, MIB, 3 * MIB + 1, 9 * MIB]).enumerate() {
            let bytes = patterned(len, seed);
            assert_eq!(pool.apply(echo, (bytes.clone(),)).unwrap(), bytes, "{len} bytes");
            let items: Vec<u64> = (0..len as u64 / 8).collect();
            let raised: Vec<u64> = items.iter().map(|item| item + 1).collect();
            assert_eq!(pool.apply(numbers, (items,)).unwrap(), raised, "{} numbers", len / 8);
        }
        finish(&pool);
    });
}

#[test]
fn many_of_them_go_both_ways_at_once() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let items = || (0..60).map(|seed| patterned(seed * 40_000 + 7, seed));
        assert!(pool.map(echo, items()).unwrap().into_iter().eq(items()));
        assert!(pool.imap(echo, items()).map(Result::unwrap).eq(items()));
        let handles: Vec<_> = items().map(|item| pool.apply_async(echo, (item,))).collect();
        assert!(handles.into_iter().map(|handle| handle.get().unwrap()).eq(items()));
        finish(&pool);
    });
}

#[test]
fn values_with_bytes_inside_survive() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        for len in [10, LARGE, MIB] {
            let picture = |seed: usize| Picture {
                name: format!("picture {seed}"),
                pixels: patterned(len * seed, seed),
                mask: seed.is_multiple_of(2).then(|| patterned(len / 2, seed)),
                points: (0..len / 16).map(|n| (n as f32, seed as f32)).collect(),
            };
            let pictures: Vec<Picture> = (1..4).map(picture).collect();
            let mut there = pool.apply(turned, (pictures.clone(),)).unwrap();
            assert_eq!(there[0].name, "picture 3");
            there.reverse();
            for picture in &mut there {
                picture.pixels.reverse();
            }
            assert_eq!(there, pictures);
        }
        finish(&pool);
    });
}

#[test]
fn what_a_job_has_kept_does_not_change() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        for round in 0..3u8 {
            for n in 0..20 {
                let byte = round * 20 + n;
                let len = if n % 3 == 0 { LARGE * 3 } else { LARGE * 3 - 100 };
                assert_eq!(pool.apply(keep, (vec![byte; len].into(),)), Ok(usize::from(n) + 1));
                assert_eq!(pool.apply(sum, (vec![9; len].into(),)), Ok(9 * len as u64));
            }
            let expected: Vec<_> = (0..20).map(|n| Some(round * 20 + n)).collect();
            assert_eq!(pool.apply(kept, ()), Ok(expected));
            pool.apply(let_go, ()).unwrap();
        }
        finish(&pool);
    });
}

#[test]
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
fn a_job_that_writes_where_it_may_only_read_pays_for_that() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let outcome = pool.apply(write_in_place, (vec![7; MIB].into(),));
        assert!(matches!(outcome, Err(JobError::WorkerLost { .. })), "{outcome:?}");
        assert_eq!(pool.apply(sum, (vec![7; MIB].into(),)), Ok(7 << 20));
        finish(&pool);
    });
}

#[test]
fn another_attempt_sees_the_same_arguments() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let handles: Vec<_> =
            (0..6).map(|seed| pool.call(die_once).retries(1).apply_async((patterned(MIB, seed),))).collect();
        for (seed, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.get(), Ok(sum(patterned(MIB, seed))));
        }
        finish(&pool);
    });
}

#[test]
fn a_worker_killed_at_any_moment_spoils_no_value() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let items = || (0..120).map(|seed| patterned(200_000 + seed * 1000, seed));
        let begin = Instant::now();
        let mut results = pool.call(echo).retries(50).imap(items());
        let mut expected = items();
        for round in 0.. {
            if round % 4 == 0 {
                let pids = pool.pids();
                let victim = pids.get(begin.elapsed().subsec_nanos() as usize % pids.len().max(1));
                victim.map(|pid| {
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid as i32), nix::sys::signal::SIGKILL)
                });
            }
            match (results.next(), expected.next()) {
                // Three deaths are the end of a job, whatever its retries.
                (Some(Err(JobError::Poisoned { .. })), Some(_)) => {}
                (Some(result), Some(expected)) => {
                    assert_eq!(result.as_ref(), Ok(&expected), "result {round}")
                }
                (None, None) => break,
                (result, _) => panic!("{} results, then {:?}", round, result.is_some()),
            }
        }
        drop(results);
        pool.terminate();
    });
}

#[test]
fn a_kept_cut_or_cancelled_call_gives_its_memory_back() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        for round in 0..50 {
            let handles: Vec<_> =
                (0..4).map(|seed| pool.apply_async(echo, (patterned(MIB, seed),))).collect();
            match round % 3 {
                0 => drop(handles),
                1 => handles.iter().for_each(|handle| {
                    handle.cancel();
                }),
                _ => handles.into_iter().enumerate().for_each(|(seed, handle)| {
                    assert_eq!(handle.get().unwrap(), patterned(MIB, seed));
                }),
            }
        }
        assert_eq!(pool.apply(sum, (vec![1; MIB].into(),)), Ok(MIB as u64));
        finish(&pool);
    });
}

#[test]
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
fn memory_that_nobody_uses_goes_back() {
    alone("memory_goes_back_alone");
}

#[test]
#[ignore = "measures the whole process"]
fn memory_goes_back_alone() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let both = || [shared(std::process::id()), shared(pool.pids()[0])];
        let before = both();
        let bytes = patterned(20 * MIB, 1);
        let back = pool.apply(echo, (bytes.clone(),)).unwrap();
        assert_eq!(back, bytes);
        let [parent, worker] = both();
        assert!(
            parent > before[0] + 10 * MIB && worker > before[1] + 10 * MIB,
            "{parent} and {worker} bytes"
        );
        step("waiting until it is given back");
        eventually("both have little", || {
            both().into_iter().zip(before).all(|(now, before)| now < before + MIB)
        });
        assert_eq!(pool.apply(echo, (bytes.clone(),)).unwrap(), bytes);
        finish(&pool);
    });
}

#[test]
fn many_large_results_that_nobody_takes_are_bounded() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        let mut results = pool.imap(mib_of, 0..100usize);
        assert!(results.next().is_some());
        eventually("there are more", || pool.stats().done >= 2);
        assert!(shared(worker) < 40 * MIB, "{} bytes", shared(worker));
        for (at, result) in (1..).zip(results) {
            assert_eq!(result.unwrap(), vec![at as u8; MIB].into(), "{at}");
        }
        finish(&pool);
    });
}

#[sidestep::job]
fn mib_of(byte: usize) -> Bytes {
    filled(MIB, byte as u8)
}

#[test]
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
fn a_job_that_closes_the_arena_costs_nobody_but_its_worker() {
    limited(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        assert_eq!(pool.apply(close_memory, ()), Ok(1));
        assert_eq!(pool.apply(sum, (vec![2; MIB].into(),)), Ok(2 << 20));
        assert_ne!(pool.apply(pid, ()), Ok(worker));
        // Once it is mapped nobody needs the file, until it grows.
        assert_eq!(pool.apply(close_memory, ()), Ok(1));
        assert_eq!(pool.apply(sum, (vec![2; MIB].into(),)), Ok(2 << 20));
        assert_eq!(pool.apply(sum, (vec![3; 9 * MIB].into(),)), Ok(27 << 20));
        finish(&pool);
    });
}

#[test]
fn a_pool_with_a_memory_limit_does_without() {
    limited(|| {
        let Ok(pool) = Pool::builder().workers(1).memory_limit(1 << 30).build() else { return };
        let bytes = patterned(8 * MIB, 3);
        assert_eq!(pool.apply(echo, (bytes.clone(),)).unwrap(), bytes);
        assert!(shared(pool.pids()[0]) < MIB);
        finish(&pool);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn where_files_may_not_be_long_values_go_another_way() {
    alone("under_a_limit_of_files_alone");
}

#[test]
#[ignore = "changes the whole process"]
fn under_a_limit_of_files_alone() {
    use nix::sys::resource::{Resource, setrlimit};
    limited(|| {
        setrlimit(Resource::RLIMIT_FSIZE, MIB as u64, MIB as u64).unwrap();
        let pool = Pool::new(1).unwrap();
        let bytes = patterned(8 * MIB, 3);
        assert_eq!(pool.apply(echo, (bytes.clone(),)).unwrap(), bytes);
        finish(&pool);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_limit_of_files_that_comes_later_does_not_end_the_program() {
    alone("under_a_later_limit_of_files_alone");
}

#[test]
#[ignore = "changes the whole process"]
fn under_a_later_limit_of_files_alone() {
    use nix::sys::resource::{Resource, setrlimit};
    limited(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.apply(sum, (vec![1; MIB].into(),)), Ok(MIB as u64));
        setrlimit(Resource::RLIMIT_FSIZE, MIB as u64, MIB as u64).unwrap();
        for len in [MIB, 8 * MIB] {
            let bytes = patterned(len, 3);
            assert_eq!(pool.apply(echo, (bytes.clone(),)).unwrap(), bytes);
        }
        finish(&pool);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn where_there_is_no_room_for_mappings_values_go_another_way() {
    alone("under_a_limit_of_address_space_alone");
}

#[test]
#[ignore = "changes the whole process"]
fn under_a_limit_of_address_space_alone() {
    use nix::sys::resource::{Resource, setrlimit};
    limited(|| {
        setrlimit(Resource::RLIMIT_AS, 200 * MIB as u64, 200 * MIB as u64).unwrap();
        let pool = Pool::new(1).unwrap();
        let bytes = patterned(4 * MIB, 3);
        assert_eq!(pool.apply(echo, (bytes.clone(),)).unwrap(), bytes);
        finish(&pool);
    });
}

#[test]
fn ended_pools_resolve_what_is_large_too() {
    limited(|| {
        let pool = Pool::new(2).unwrap();
        let handles: Vec<_> = (0..20).map(|seed| pool.apply_async(echo, (patterned(MIB, seed),))).collect();
        pool.terminate();
        for (seed, mut handle) in handles.into_iter().enumerate() {
            match handle.get_timeout(LONG) {
                Ok(bytes) => assert_eq!(bytes, patterned(MIB, seed)),
                Err(JobError::PoolClosed) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pool.apply(echo, (patterned(MIB, 1),)), Err(JobError::PoolClosed));
    });
}
