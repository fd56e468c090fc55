//! Jobs that run into limits of the system's, which they have set for themselves or which their program has.

mod scenario;

use std::fs::File;
use std::io::Write;

use nix::sys::resource::{Resource, setrlimit};
use scenario::jobs::{pid, square};
use scenario::{all_up, assert_usable, cause, dir, kill_all, scenario};
use sidestep::{Cause, JobError, Pool};

sidestep::worker_entry!();

/// Takes more of something than it may.
#[sidestep::job]
fn exceed(what: String) {
    match what.as_str() {
        "processor time" => {
            setrlimit(Resource::RLIMIT_CPU, 1, 2).unwrap();
            loop {
                std::hint::spin_loop();
            }
        }
        "file size" => {
            setrlimit(Resource::RLIMIT_FSIZE, 100, 100).unwrap();
            File::create(dir().join("large")).unwrap().write_all(&[0; 1000]).unwrap();
        }
        "memory" => {
            setrlimit(Resource::RLIMIT_AS, 1 << 30, 1 << 30).unwrap();
            std::hint::black_box(vec![1u8; 2 << 30]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_job_that_exceeds_a_limit_of_its_own_is_lost_by_the_signal_for_that() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        for (what, signal) in
            [("processor time", libc::SIGXCPU), ("file size", libc::SIGXFSZ), ("memory", libc::SIGABRT)]
        {
            let outcome = pool.apply(exceed, (what.to_owned(),));
            if let Err(JobError::WorkerLost { stderr_tail, .. }) = &outcome {
                let is_told = stderr_tail.contains("memory allocation of 2147483648 bytes failed");
                assert_eq!(is_told, what == "memory", "{stderr_tail}");
            }
            assert_eq!(cause(outcome), Cause::Signal(signal), "{what}");
            assert_usable(&pool);
        }
    });
}

#[test]
fn a_job_that_forbids_itself_descriptors_gets_its_result_through() {
    #[sidestep::job]
    fn forbid() -> bool {
        setrlimit(Resource::RLIMIT_NOFILE, 0, 0).unwrap();
        File::open("/dev/null").is_err()
    }
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let worker = pool.apply(pid, ()).unwrap();
        assert_eq!(pool.apply(forbid, ()), Ok(true));
        assert_usable(&pool);
        let large = pool.apply(bytes, (3 << 20,)).unwrap();
        assert_eq!(large.len(), 3 << 20);
        assert_eq!(pool.apply(pid, ()), Ok(worker));
    });
}

#[sidestep::job]
fn bytes(count: usize) -> sidestep::Bytes {
    vec![1; count].into()
}

#[test]
fn a_directory_that_is_gone_hinders_no_worker() {
    scenario(|| {
        let place = dir().join("place");
        std::fs::create_dir(&place).unwrap();
        std::env::set_current_dir(&place).unwrap();
        let pool = Pool::new(2).unwrap();
        std::fs::remove_dir(&place).unwrap();
        assert_usable(&pool);
        kill_all(&all_up(&pool, 2));
        assert_eq!(pool.apply(square, (3,)), Ok(9));
        assert_eq!(all_up(&pool, 2).len(), 2);
        // Nor one that starts there.
        assert_usable(&Pool::new(2).unwrap());
    });
}

#[test]
fn an_environment_that_is_too_large_is_told() {
    scenario(|| {
        let built = Pool::builder().workers(2).env("LARGE", "x".repeat(16 << 20)).build();
        match built {
            Err(sidestep::PoolError::Spawn { message }) => assert!(message.contains("too long"), "{message}"),
            other => panic!("{other:?}"),
        }
    });
}
