//! What a lost job's error says about why its worker has died.

mod scenario;

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use scenario::jobs::{die, hold};
use scenario::{Gate, assert_usable, scenario, send};
use sidestep::{Builder, JobError, Output, Pool};

sidestep::worker_entry!();

fn quiet() -> Builder {
    Pool::builder().workers(1).stderr(Output::Null)
}

#[track_caller]
fn hint<R: std::fmt::Debug>(outcome: Result<R, JobError>) -> String {
    match outcome {
        Err(JobError::WorkerLost { hint: Some(hint), .. }) => hint,
        other => panic!("{other:?}"),
    }
}

/// Checks what is said about a job that ends its worker, and that the pool goes on.
#[track_caller]
fn assert_hint(how: &str, wanted: &str) {
    let pool = quiet().build().unwrap();
    let hint = hint(pool.apply(end, (how.into(),)));
    assert!(hint.contains(wanted), "{how}: {hint}");
    assert_usable(&pool);
}

/// Ends its worker in one of many ways.
#[sidestep::job]
fn end(how: String) -> u64 {
    match how.as_str() {
        "allocation" => return std::hint::black_box(vec![1u8; isize::MAX as usize]).len() as u64,
        "destructor" => {
            let _bomb = Bomb;
            panic!("the first");
        }
        "foreign" => no_way_out(),
        "as if panic=abort" => {
            drop(std::panic::take_hook());
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                print(info);
                std::process::abort();
            }));
            panic!("page {} is missing", 7);
        }
        "exception" => {
            eprintln!("terminate called after throwing an instance of 'std::runtime_error'");
            std::process::abort();
        }
        "time" => {
            let (_, hard) = getrlimit(Resource::RLIMIT_CPU).unwrap();
            setrlimit(Resource::RLIMIT_CPU, 1, hard).unwrap();
            loop {
                std::hint::spin_loop();
            }
        }
        "size" => {
            let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
            setrlimit(Resource::RLIMIT_FSIZE, 1, hard).unwrap();
            std::fs::write(scenario::dir().join("large"), "more than one byte").unwrap();
        }
        "pipe" => {
            // SAFETY: the default runs no handler.
            unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
            let (reader, mut writer) = std::io::pipe().unwrap();
            drop(reader);
            std::io::Write::write_all(&mut writer, b"for nobody").unwrap();
        }
        "system call" => raise(Signal::SIGSYS).unwrap(),
        how => die(how.into()),
    }
    unreachable!("{how} has not ended it")
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the second");
    }
}

extern "C" fn no_way_out() {
    panic!("into foreign code");
}

#[test]
fn a_job_that_exits_is_told_so() {
    scenario(|| {
        assert_hint("0", "called exit(0)");
        assert_hint("3", "called exit(3)");
        assert_hint("_exit", "called exit(99)");
    });
}

#[test]
fn an_abort_is_told_apart_from_what_made_the_runtime_abort() {
    scenario(|| {
        assert_hint("abort", "it called abort");
        assert_hint("allocation", &format!("an allocation of {} bytes failed", isize::MAX));
        assert_hint("exception", "throwing an instance of 'std::runtime_error'");
    });
}

#[test]
fn a_panic_that_cannot_unwind_is_told_with_its_message() {
    scenario(|| {
        assert_hint("destructor", "panic in a destructor during cleanup");
        assert_hint("foreign", "panic in a function that cannot unwind");
        assert_hint("as if panic=abort", "why_it_died.rs");
        assert_hint("as if panic=abort", "page 7 is missing");
    });
}

#[test]
fn the_panic_before_one_in_a_destructor_is_not_lost() {
    scenario(|| {
        let pool = quiet().build().unwrap();
        match pool.apply(end, ("destructor".into(),)) {
            Err(JobError::WorkerLost { stderr_tail, .. }) => {
                assert!(stderr_tail.contains("sidestep: a panic at tests/why_it_died.rs"), "{stderr_tail}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn faults_of_the_processor_are_explained() {
    scenario(|| {
        assert_hint("pointer", "a bad pointer");
        assert_hint("bus", "a mapped file that was cut");
        assert_hint("ill", "an instruction that this processor does not have");
        assert_hint("fpe", "divided by zero");
    });
}

#[test]
fn limits_of_the_system_are_named() {
    scenario(|| {
        assert_hint("time", "processor time that the system allows");
        assert_hint("size", "a larger file than the system allows");
        assert_hint("pipe", "that nobody reads");
        assert_hint("system call", "seccomp");
    });
}

#[test]
fn a_signal_from_outside_is_told_as_one() {
    scenario(|| {
        let pool = quiet().build().unwrap();
        for (number, wanted) in [
            (Signal::SIGTERM, "another process sent that signal"),
            (Signal::SIGHUP, "another process sent that signal"),
            (Signal::SIGKILL, "somebody killed it"),
        ] {
            let gate = Gate::new(number.as_str());
            let handle = pool.apply_async(hold, (gate.arg(),));
            send(gate.wait_for(1)[0], number);
            let hint = hint(handle.get());
            assert!(hint.contains(wanted), "{number}: {hint}");
        }
    });
}

#[test]
fn the_error_s_text_says_it_too() {
    scenario(|| {
        let pool = quiet().build().unwrap();
        let error = pool.apply(end, ("0".into(),)).unwrap_err().to_string();
        assert!(
            error.contains("exited with code 0 (the job, or something that it uses, called exit(0))"),
            "{error}"
        );
    });
}

/// A group with little memory for this process and its workers, where that can be made.
#[cfg(target_os = "linux")]
mod group {
    use std::fs;
    use std::path::PathBuf;

    /// Gone again once nobody is in it.
    pub(super) struct Group {
        path: PathBuf,
        parent: PathBuf,
    }

    impl Group {
        pub(super) fn enter(bytes: u64) -> Option<Group> {
            let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
            let (root, own, file) = groups.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                match (fields.next()?, fields.next()?) {
                    ("memory", own) => Some(("/sys/fs/cgroup/memory", own, "memory.limit_in_bytes")),
                    ("", own) => Some(("/sys/fs/cgroup", own, "memory.max")),
                    _ => None,
                }
            })?;
            let parent = PathBuf::from(format!("{root}{own}"));
            let path = parent.join(format!("sidestep-{}", std::process::id()));
            fs::create_dir(&path).ok()?;
            let group = Group { path, parent };
            fs::write(group.path.join(file), bytes.to_string()).ok()?;
            fs::write(group.path.join("cgroup.procs"), std::process::id().to_string()).ok()?;
            Some(group)
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = fs::write(self.parent.join("cgroup.procs"), std::process::id().to_string());
            let _ = fs::remove_dir(&self.path);
        }
    }
}

#[sidestep::job]
fn take_memory(bytes: usize) -> usize {
    std::hint::black_box(vec![1u8; bytes]).len()
}

#[test]
#[cfg(target_os = "linux")]
fn a_kill_for_want_of_memory_is_told_where_the_system_counts_them() {
    scenario(|| {
        let Some(_group) = group::Group::enter(256 << 20) else {
            eprintln!("SKIPPED: this needs a memory group, which most systems let nobody but root make");
            return;
        };
        let pool = quiet().build().unwrap();
        let hint = hint(pool.apply(take_memory, (1 << 30,)));
        assert!(hint.contains("memory ran out"), "{hint}");
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        send(gate.wait_for(1)[0], Signal::SIGKILL);
        let other = self::hint(handle.get());
        assert!(other.contains("somebody killed it"), "{other}");
        drop(pool);
    });
}

#[test]
fn a_retried_job_tells_why_its_last_worker_died() {
    scenario(|| {
        let pool = quiet().retries(1).retry_delay(Duration::ZERO, Duration::ZERO).build().unwrap();
        assert!(hint(pool.apply(end, ("abort".into(),))).contains("it called abort"));
    });
}
