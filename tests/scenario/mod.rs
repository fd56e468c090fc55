//! A test in a process of its own, so that it can look at what belongs to a whole process: children, zombies and
//! descriptors.
//!
//! The test executes its own binary again with its own name. The copy runs the body and then looks whether anything is
//! left; the original waits for it, but not for ever, and says what hung.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses another part of this")]

pub mod jobs;
mod leftovers;
mod root;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sidestep::{JobError, Pool, Stats};

pub use leftovers::{adopt_orphans, all_gone_within, descriptors, processes_below};
pub use root::{Root, scenario_with_root};

/// Nothing here takes this long unless it hangs.
const HANG: Duration = Duration::from_secs(30);
/// What an [`eventually`] may take, so that it speaks up before the scenario is given up.
const LONG: Duration = Duration::from_secs(15);
/// What the pool promises to do at once.
pub const SOON: Duration = Duration::from_secs(1);

const SCENARIO: &str = "SCENARIO_NAME";
const ROLE: &str = "SCENARIO_ROLE";
const DIR: &str = "SCENARIO_DIR";

/// Runs `body` in a process of its own.
pub fn scenario<F: FnOnce()>(body: F) {
    scenario_named(&name_of::<F>(), body);
}

/// [`scenario`], for a test whose name is not that of a function.
pub fn scenario_named(name: &str, body: impl FnOnce()) {
    match role(name).as_deref() {
        None => outside(name),
        Some(_) => inside(body),
    }
}

/// A test's name is the path of the function that its closure stands in.
fn name_of<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, path)| path);
    path.trim_end_matches("::{{closure}}").to_owned()
}

/// Which of a scenario's processes this one is; nothing in the test itself.
fn role(name: &str) -> Option<String> {
    (std::env::var(SCENARIO).as_deref() == Ok(name)).then(|| std::env::var(ROLE).unwrap_or_default())
}

fn again(name: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(SCENARIO, name)
        .env(ROLE, role)
        // Many panic on purpose; to find the names for a backtrace takes up to a second of this program.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null());
    command
}

fn inside(body: impl FnOnce()) {
    let before = descriptors();
    body();
    leftovers::assert_none(&before);
}

fn outside(name: &str) {
    let dir = std::env::temp_dir().join(format!("sidestep-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let log = dir.join("log");
    let output = File::create(&log).unwrap();
    let mut child = again(name, "body")
        .env(DIR, &dir)
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Ok(status),
            None if begin.elapsed() > HANG + race_time() => break Err(leftovers::what_hangs(child.id())),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    if status.is_err() {
        leftovers::kill_tree(child.id());
        let _ = child.wait();
    }
    // What a body that has failed could not end itself.
    let _ = nix::sys::signal::killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let printed = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    let _ = fs::remove_dir_all(&dir);
    match status {
        Ok(status) => assert!(
            status.success() && printed.contains("1 passed"),
            "{name}, in its own process, {status}; it printed:\n{printed}"
        ),
        Err(tree) => panic!("{name} hangs:\n{tree}\nit printed:\n{printed}"),
    }
}

/// How long races go on; more than the default finds more.
pub fn race_time() -> Duration {
    Duration::from_secs(number("SIDESTEP_RACE_SECONDS", 3) as u64)
}

/// A number from the environment, so that a test can be run for longer.
pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whether this process may not have as many descriptors as a test needs; it says so.
pub fn lacks_descriptors(needed: u64) -> bool {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if most < needed {
        eprintln!("SKIPPED: this needs {needed} descriptors, and may have {most}");
    }
    most < needed
}

/// This process's resident memory, in KiB.
pub fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

/// A directory of this scenario's own.
pub fn dir() -> PathBuf {
    std::env::var_os(DIR).expect("only a scenario has one").into()
}

// ---- waiting ----

/// Waits until `check` holds.
pub fn eventually(what: &str, check: impl FnMut() -> bool) {
    within(LONG, what, check);
}

/// Waits until `check` holds, which must not take longer than `limit`.
pub fn within(limit: Duration, what: &str, mut check: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !check() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Does something that the pool promises to do at once.
pub fn promptly<R>(what: &str, work: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let result = work();
    let took = begin.elapsed();
    assert!(took < SOON, "{what} took {took:?}");
    result
}

/// Where jobs show that they run, and wait until they may go on.
pub struct Gate(PathBuf);

impl Gate {
    pub fn new(name: &str) -> Gate {
        let path = dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Gate(path)
    }

    /// For the jobs in [`jobs`].
    pub fn arg(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }

    /// As [`jobs::hold`] does, for this process.
    pub fn leave_a_mark(&self) {
        jobs::arrive(&self.arg());
    }

    /// The processes whose jobs have come here.
    pub fn arrived(&self) -> Vec<u32> {
        let names =
            fs::read_dir(&self.0).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        names.filter_map(|name| name.parse().ok()).collect()
    }

    pub fn wait_for(&self, count: usize) -> Vec<u32> {
        eventually(&format!("{count} jobs run"), || self.arrived().len() >= count);
        self.arrived()
    }

    /// Lets the jobs that wait here go on, and all that come.
    pub fn open(&self) {
        File::create(self.0.join("open")).unwrap();
    }
}

// ---- processes ----

pub fn send(pid: u32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid as i32), signal).unwrap();
}

pub fn kill_all(pids: &[u32]) {
    pids.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// As `ps` shows it.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// Stops a process and waits until it is stopped.
pub fn stop(pid: u32) {
    send(pid, Signal::SIGSTOP);
    eventually("it is stopped", || state_of(pid) == Some('T'));
}

/// Waits until every worker serves.
pub fn all_up(pool: &Pool, workers: usize) -> Vec<u32> {
    let idle = |stats: &Stats| {
        stats.workers.iter().filter(|worker| worker.state == sidestep::WorkerState::Idle).count()
    };
    eventually("all workers serve", || idle(&pool.stats()) == workers);
    pool.pids()
}

// ---- what must hold ----

/// The pool serves.
pub fn assert_usable(pool: &Pool) {
    let squares: Vec<i64> = (0..20).map(|n| n * n).collect();
    assert_eq!(pool.map(jobs::square, 0..20).unwrap(), squares);
}

pub fn assert_conserves(stats: &Stats) {
    let Stats { submitted, done, failed, cancelled, queued, running, .. } = *stats;
    assert_eq!(submitted, done + failed + cancelled + queued + running, "{stats:?}");
}

/// Nothing is under way any more, and everything is accounted for.
pub fn assert_all_over(stats: &Stats) {
    assert_conserves(stats);
    assert_eq!((stats.queued, stats.running), (0, 0), "{stats:?}");
}

pub fn is_lost<R>(result: &Result<R, JobError>) -> bool {
    matches!(result, Err(JobError::WorkerLost { .. }))
}

pub fn cause<R: std::fmt::Debug>(result: Result<R, JobError>) -> sidestep::Cause {
    match result {
        Err(JobError::WorkerLost { cause, .. }) => cause,
        other => panic!("its worker should be lost: {other:?}"),
    }
}
