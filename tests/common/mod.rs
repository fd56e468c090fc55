//! What the tests of the pool share: a limit for each test, and jobs that wait until they may go on.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use sidestep::Pool;

/// No test takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// A wait inside a test ends a little earlier, because it knows better what hangs.
pub(crate) const LONG: Duration = Duration::from_secs(25);

type Step = Arc<Mutex<String>>;

thread_local! {
    static STEP: RefCell<Option<Step>> = const { RefCell::new(None) };
}

/// Runs a test, which fails when it takes too long, and says what it was at.
#[track_caller]
pub(crate) fn limited(test: impl FnOnce() + Send + 'static) {
    let step = Step::default();
    let (sender, done) = channel();
    let inner = step.clone();
    let thread = std::thread::spawn(move || {
        STEP.set(Some(inner));
        let outcome = catch_unwind(AssertUnwindSafe(test));
        let _ = sender.send(());
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    });
    if done.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
        panic!("it hangs: {}", step.lock().unwrap());
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// What the test is at, for the message in case that it hangs.
pub(crate) fn step(what: impl Into<String>) {
    STEP.with_borrow(|step| {
        if let Some(step) = step {
            *step.lock().unwrap() = what.into();
        }
    });
}

/// A pool for a test.
pub(crate) fn pool(workers: usize) -> Pool {
    step("starting a pool");
    let pool = Pool::new(workers).expect("a pool");
    step("after the start of the pool");
    pool
}

/// Closes a pool and waits for its end.
#[track_caller]
pub(crate) fn finish(pool: &Pool) {
    step("closing and joining the pool");
    pool.close();
    pool.join_timeout(LONG).expect("the pool ends in good order");
    let stats = pool.stats();
    assert_eq!(stats.queued + stats.running, 0, "{stats:?}");
    assert_eq!(stats.submitted, stats.done + stats.failed + stats.cancelled, "{stats:?}");
}

/// Waits until something is so that nothing tells.
#[track_caller]
pub(crate) fn eventually(what: &str, check: impl Fn() -> bool) {
    step(format!("waiting until {what}"));
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A directory of a test's own.
#[derive(Debug)]
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Place {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sidestep-test-{}-{number}", std::process::id());
        let place = std::env::temp_dir().join(name);
        std::fs::create_dir(&place).expect("a directory for the test");
        Place(place)
    }

    /// A file in it, which need not be there.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path that is text").to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where jobs tell that they have begun and wait until they may end. They wait for a lock, so that one that is killed
/// leaves nothing behind.
pub(crate) struct Gate {
    place: Place,
    lock: File,
    news: BufReader<File>,
}

impl Gate {
    /// One that is shut.
    pub(crate) fn new() -> Gate {
        let place = Place::new();
        let lock = File::create(place.file("lock")).expect("a lock");
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("the lock is new");
        let news = place.file("news");
        nix::unistd::mkfifo(news.as_str(), nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
        // With both ends open here nobody waits for the other one, and it never ends.
        let news = File::options().read(true).write(true).open(news).expect("the pipe is there");
        Gate { place, lock, news: BufReader::new(news) }
    }

    /// What a job needs to get to it.
    pub(crate) fn ticket(&self) -> String {
        self.place.0.to_str().expect("a path that is text").to_owned()
    }

    /// Waits until the next job has begun; what it has said.
    pub(crate) fn arrival(&mut self) -> String {
        step("waiting until a job begins");
        let mut line = String::new();
        self.news.read_line(&mut line).expect("the pipe is open");
        step(format!("after the arrival of {line}"));
        line.trim_end().to_owned()
    }

    /// Lets all go on that wait, or will.
    pub(crate) fn open(&self) {
        rustix::fs::flock(&self.lock, FlockOperation::Unlock).expect("it was locked");
    }
}

/// In a job: tells that it has begun.
pub(crate) fn arrive(ticket: &str, what: &str) {
    let mut news = File::options().write(true).open(format!("{ticket}/news")).expect("the test still runs");
    news.write_all(format!("{what}\n").as_bytes()).expect("the test still runs");
}

/// In a job: tells that it has begun, then waits until the gate is open.
pub(crate) fn pass(ticket: &str, what: &str) {
    arrive(ticket, what);
    let lock = File::open(format!("{ticket}/lock")).expect("the test still runs");
    rustix::fs::flock(&lock, FlockOperation::LockShared).expect("nothing interrupts it");
}

/// Runs an ignored test in a process of its own: for what is about the whole process.
pub(crate) fn alone(test: &str) -> Output {
    step(format!("running {test} alone"));
    let outcome = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", test])
        .stdin(Stdio::null())
        .output()
        .expect("this program runs");
    let printed =
        String::from_utf8_lossy(&outcome.stdout).into_owned() + &String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success() && printed.contains("1 passed"), "{test} alone: {printed}");
    outcome
}
