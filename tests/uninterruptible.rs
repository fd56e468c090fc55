//! A job that not even SIGKILL ends: it writes to a frozen file system. Needs root, a loop device and the tools of ext4.
#![cfg(target_os = "linux")]

mod scenario;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scenario::jobs::{arrive, square};
use scenario::{Gate, all_up, assert_usable, dir, eventually, is_alive, scenario, state_of};
use sidestep::{JobError, Pool, PoolError};

sidestep::worker_entry!();

/// A file system of its own that can be frozen; it thaws when this is dropped.
struct Frozen(PathBuf);

fn run(program: &str, args: &[&Path]) -> bool {
    let run = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

impl Frozen {
    fn new() -> Option<Frozen> {
        let (image, root) = (dir().join("image"), dir().join("frozen"));
        fs::write(&image, vec![0; 4 << 20]).unwrap();
        fs::create_dir(&root).unwrap();
        let loop_mount = run("mkfs.ext4", &["-q".as_ref(), &image])
            && run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &root]);
        if !loop_mount {
            eprintln!(
                "SKIPPED: no file system can be mounted here; this needs root, mkfs.ext4 and a loop device"
            );
            return None;
        }
        let frozen = Frozen(root);
        assert!(run("fsfreeze", &["-f".as_ref(), &frozen.0]));
        Some(frozen)
    }

    fn file(&self) -> String {
        self.0.join("file").to_str().unwrap().to_owned()
    }

    fn thaw(&self) {
        run("fsfreeze", &["-u".as_ref(), &self.0]);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        // Whoever still writes there ends in a moment.
        let begin = Instant::now();
        while !run("umount", &[&self.0]) && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[sidestep::job]
fn write(gate: String, file: String) {
    arrive(&gate);
    fs::write(file, "too cold").unwrap();
}

#[test]
fn a_job_that_cannot_be_killed_ends_on_time_and_its_place_is_given_up() {
    scenario(|| {
        let Some(frozen) = Frozen::new() else { return };
        let (limit, grace) = (Duration::from_millis(200), Duration::from_millis(50));
        let pool = Pool::builder().workers(2).timeout(limit).grace(grace).build().unwrap();
        let gate = Gate::new("gate");
        let stuck = pool.apply_async(write, (gate.arg(), frozen.file()));
        let begin = Instant::now();
        let outcome = stuck.get();
        assert!(matches!(outcome, Err(JobError::TimedOut { .. })), "{outcome:?}");
        assert!(begin.elapsed() < limit + Duration::from_millis(700), "it took {:?}", begin.elapsed());
        let [stuck] = gate.arrived()[..] else { panic!("one job") };
        assert!(is_alive(stuck), "else this shows nothing");
        assert_usable(&pool);
        eventually("another worker takes its place", || {
            let pids = pool.pids();
            pids.len() == 2 && !pids.contains(&stuck)
        });
        all_up(&pool, 2);
        assert!(is_alive(stuck));
        frozen.thaw();
        eventually("it is reaped when it can be", || !is_alive(stuck));
        assert_eq!(pool.map(square, 0..10), Ok((0..10).map(|n| n * n).collect()));
    });
}

#[test]
fn a_worker_that_cannot_be_killed_holds_up_no_end() {
    scenario(|| {
        let Some(frozen) = Frozen::new() else { return };
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let handle = pool.apply_async(write, (gate.arg(), frozen.file()));
        let [stuck] = gate.wait_for(1)[..] else { panic!("one job") };
        eventually("it sleeps where no signal wakes it", || state_of(stuck) == Some('D'));
        let begin = Instant::now();
        pool.terminate();
        assert_eq!(handle.get(), Err(JobError::PoolClosed));
        assert!(begin.elapsed() < Duration::from_secs(1), "it took {:?}", begin.elapsed());
        assert!(is_alive(stuck));
        assert_eq!(pool.join(), Err(PoolError::Unreaped { pids: vec![stuck] }));
        drop(pool);
        frozen.thaw();
        eventually("it is reaped when it can be", || !is_alive(stuck));
    });
}
