//! Workers that a server keeps warm and lends: the same pool, over a socket.
#![cfg(feature = "cli")]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{LONG, Place, eventually, finish, limited, step};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sidestep::{Bytes, Cause, JobError, Output, Pool, PoolError, Registry};

sidestep::worker_entry!(|| {
    Registry::new()
        .job("add", add)
        .job("pid", pid)
        .job("nap", nap)
        .job("die", die)
        .job("keep", keep)
        .job("kept", kept)
        .job("print", print)
        .job("place", place)
        .job("descriptors", descriptors)
        .job("length", length)
        .job("note", note)
});

fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn pid() -> u32 {
    std::process::id()
}

fn nap(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

fn die(signal: i32) {
    kill(Pid::this(), Signal::try_from(signal).unwrap()).unwrap();
    std::thread::sleep(LONG);
}

static KEPT: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());

fn keep(bytes: Bytes) -> u32 {
    KEPT.lock().unwrap().push(bytes);
    std::process::id()
}

fn kept() -> usize {
    KEPT.lock().unwrap().len()
}

fn print(text: String) {
    println!("{text}");
    eprint!("{text} too");
}

fn place() -> String {
    std::env::current_dir().unwrap().to_str().unwrap().to_owned()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn length(bytes: Bytes) -> Bytes {
    bytes
}

/// Appends its process id to a file.
fn note(file: String) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    writeln!(file, "{}", std::process::id()).unwrap();
}

const POOL_RUN: &str = env!("CARGO_BIN_EXE_pool-run");

/// A server of this binary's jobs.
struct Server {
    place: Place,
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Server {
    fn new(workers: usize) -> Server {
        Server::with(workers, &[])
    }

    fn with(workers: usize, options: &[&str]) -> Server {
        let place = Place::new();
        let exe = std::env::current_exe().unwrap();
        let mut command = Command::new(POOL_RUN);
        command.arg("--serve").arg(place.file("socket")).args(["-w", &workers.to_string()]);
        command.arg("--exe").arg(exe).args(options).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut server = Server { place, child, stderr };
        assert!(server.line().contains(&format!("{workers} workers serve as")));
        server
    }

    fn line(&mut self) -> String {
        step("reading what the server says");
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    fn name(&self) -> String {
        self.place.file("socket")
    }

    fn connect(&self) -> Pool {
        Pool::connect(&self.name()).expect("a pool")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Its state, as JSON.
    fn status(&self) -> serde_json::Value {
        let output =
            Command::new(POOL_RUN).args(["--attach", &self.name(), "--status", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn count(&self, state: &str) -> usize {
        self.status()["workers"].as_array().unwrap().iter().filter(|worker| worker["state"] == state).count()
    }

    fn pids(&self) -> Vec<u32> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap();
        workers.iter().filter_map(|worker| worker["pid"].as_u64()).map(|pid| pid as u32).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn all_ways_of_calling_work_as_in_a_pool_of_ones_own() {
    limited(|| {
        let server = Server::new(2);
        let pool = server.connect();
        assert_eq!(pool.apply(add, (1, 2)), Ok(3));
        assert_eq!(pool.apply_async(add, (3, 4)).get(), Ok(7));
        let pairs = || (0..1000).map(|n| (n, 1));
        let sums: Vec<i64> = (1..=1000).collect();
        assert_eq!(pool.starmap(add, pairs()), Ok(sums.clone()));
        assert_eq!(pool.starmap_async(add, pairs()).get(), Ok(sums));
        assert_eq!(pool.map(nap, [1, 2, 3]).unwrap().len(), 3);
        assert_eq!(pool.map_async(nap, [1, 2]).get().unwrap().len(), 2);
        assert_eq!(pool.imap(nap, 0..5).filter(Result::is_ok).count(), 5);
        assert_eq!(pool.imap_unordered(nap, 0..5).filter(Result::is_ok).count(), 5);
        assert_eq!(pool.apply_by_name::<i64>("add", &(5i64, 6i64)), Ok(11));
        assert!(pool.job_names().contains(&"add".to_owned()));
        finish(&pool);
    });
}

#[test]
fn a_worker_stays_warm_from_one_pool_to_the_next() {
    limited(|| {
        let server = Server::new(1);
        let pids: Vec<u32> = (0..20)
            .map(|round| {
                let pool = server.connect();
                let pid = pool.apply(pid, ()).unwrap();
                match round % 2 {
                    0 => finish(&pool),
                    _ => drop(pool),
                }
                pid
            })
            .collect();
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    });
}

#[test]
fn nothing_is_left_in_a_worker_that_was_lent_often() {
    limited(|| {
        let server = Server::new(1);
        let open = || server.connect().apply(descriptors, ()).unwrap();
        let first = open();
        assert!((0..100).all(|_| open() == first));
        let of_server = || std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
        let before = of_server();
        (0..20).for_each(|_| assert_eq!(open(), first));
        eventually("the server has closed what it had open", || of_server() <= before);
    });
}

#[test]
fn large_values_go_there_and_back() {
    limited(|| {
        let server = Server::new(2);
        let pool = server.connect();
        let items = (0..20).map(|n| Bytes::from(vec![n as u8; n * 50_000]));
        let back = pool.map(length, items.clone()).unwrap();
        assert!(items.eq(back));
        let shared = pool.share(Bytes::from(vec![7; 1 << 20])).unwrap();
        drop(shared);
        finish(&pool);
    });
}

#[test]
fn what_a_job_prints_is_shown_where_the_pool_is() {
    limited(|| {
        let server = Server::new(1);
        let pool =
            Pool::builder().stdout(Output::Capture).stderr(Output::Capture).connect(&server.name()).unwrap();
        let mut handle = pool.apply_async(print, ("here".into(),));
        handle.get_timeout(LONG).unwrap();
        let output = handle.output().unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"here\n"[..], &b"here too"[..]));
    });
}

#[test]
fn jobs_run_where_their_pool_is() {
    limited(|| {
        let server = Server::new(1);
        let here = std::env::current_dir().unwrap();
        assert_eq!(Path::new(&server.connect().apply(place, ()).unwrap()), here);
        let other = Pool::builder().current_dir("/usr").connect(&server.name()).unwrap();
        assert_eq!(other.apply(place, ()).unwrap(), "/usr");
    });
}

#[test]
fn a_crash_costs_its_own_job_alone() {
    limited(|| {
        let server = Server::new(2);
        let (pool, other) = (server.connect(), server.connect());
        let slow = other.apply_async(nap, (300,));
        for signal in [Signal::SIGSEGV, Signal::SIGKILL, Signal::SIGABRT] {
            match pool.apply(die, (signal as i32,)) {
                Err(JobError::WorkerLost { cause: Cause::Signal(number), .. }) => {
                    assert_eq!(number, signal as i32);
                }
                outcome => panic!("{outcome:?}"),
            }
            assert_eq!(pool.apply(add, (1, 1)), Ok(2));
        }
        assert!(slow.get().is_ok());
        finish(&pool);
        finish(&other);
        eventually("both workers are there again", || server.count("free") == 2);
    });
}

#[test]
fn limits_and_cancels_hold() {
    limited(|| {
        let server = Server::new(1);
        let pool = server.connect();
        let limited = pool.call(nap).timeout(Duration::from_millis(50)).apply((60_000,));
        assert!(matches!(limited, Err(JobError::TimedOut { .. })), "{limited:?}");
        let handle = pool.apply_async(nap, (60_000,));
        eventually("it runs", || pool.stats().running == 1);
        assert!(handle.cancel());
        assert_eq!(handle.get(), Err(JobError::Cancelled));
        assert_eq!(pool.apply(add, (1, 1)), Ok(2));
        finish(&pool);
    });
}

#[test]
fn one_pools_million_jobs_do_not_starve_anothers_one() {
    limited(|| {
        let server = Server::new(2);
        let (greedy, modest) = (server.connect(), server.connect());
        let flood = greedy.map_async(nap, std::iter::repeat_n(5, 2000));
        eventually("it has both workers", || server.count("lent") == 2);
        for _ in 0..5 {
            let begin = Instant::now();
            assert_eq!(modest.apply(add, (1, 2)), Ok(3));
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        }
        assert!(!flood.ready(), "this proves nothing");
        finish(&modest);
        assert_eq!(flood.get().unwrap().len(), 2000);
        finish(&greedy);
    });
}

#[test]
fn with_fewer_workers_than_pools_each_has_its_turn() {
    limited(|| {
        let server = Server::new(1);
        let pools: Vec<Pool> = (0..3).map(|_| server.connect()).collect();
        let handles: Vec<_> =
            pools.iter().map(|pool| pool.map_async(nap, std::iter::repeat_n(2, 100))).collect();
        for handle in handles {
            assert_eq!(handle.get().unwrap().len(), 100);
        }
        pools.iter().for_each(finish);
    });
}

#[test]
fn an_idle_pool_gives_its_workers_to_one_that_needs_them() {
    limited(|| {
        let server = Server::new(1);
        let (first, second) = (server.connect(), server.connect());
        for _ in 0..10 {
            assert_eq!(first.apply(pid, ()), second.apply(pid, ()));
        }
        finish(&first);
        finish(&second);
    });
}

#[test]
fn a_pool_that_dies_has_its_jobs_withdrawn_and_its_workers_replaced() {
    limited(|| {
        let server = Server::new(2);
        let before = server.pids();
        let file = server.place.file("begun");
        let mut client = Command::new(POOL_RUN)
            .args(["--attach", &server.name(), "-q", "note", &file])
            .args([":::", ""])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = client.wait();
        let mut client = Command::new(POOL_RUN)
            .args(["--attach", &server.name(), "-q", "nap", ":::"])
            .args(std::iter::repeat_n("60000", 50))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("it has both workers", || server.count("lent") == 2);
        client.kill().unwrap();
        client.wait().unwrap();
        eventually("two new ones are free", || server.count("free") == 2);
        assert!(server.pids().iter().all(|pid| !before.contains(pid)));
        assert!(before.iter().all(|pid| !is_alive(*pid)));
        assert_eq!(server.connect().apply(add, (1, 2)), Ok(3));
    });
}

#[test]
fn a_server_that_dies_resolves_every_handle() {
    limited(|| {
        let mut server = Server::new(2);
        let pool = server.connect();
        let handles: Vec<_> = (0..10).map(|_| pool.apply_async(nap, (60_000,))).collect();
        eventually("two run", || pool.stats().running == 2);
        let pids = server.pids();
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        for handle in handles {
            let outcome = handle.get();
            assert!(
                matches!(outcome, Err(JobError::PoolBroken { .. } | JobError::WorkerLost { .. })),
                "{outcome:?}"
            );
        }
        assert!(matches!(pool.apply(add, (1, 2)), Err(JobError::PoolBroken { .. })));
        pool.close();
        let joined = pool.join_timeout(LONG);
        assert!(matches!(joined, Err(PoolError::Server { .. })), "{joined:?}");
        for pid in pids {
            eventually("its workers are gone", || !is_alive(pid));
        }
    });
}

#[test]
fn a_pool_that_was_stopped_holds_nobody_up_for_ever() {
    limited(|| {
        let server = Server::new(1);
        let client = Command::new(POOL_RUN)
            .args(["--attach", &server.name(), "-q", "nap", ":::"])
            .args(std::iter::repeat_n("20", 10_000))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("it has the worker", || server.count("lent") == 1);
        let pid = Pid::from_raw(client.id() as i32);
        kill(pid, Signal::SIGSTOP).unwrap();
        assert_eq!(server.connect().apply(add, (1, 2)), Ok(3));
        kill(pid, Signal::SIGCONT).unwrap();
        let output = client.wait_with_output().unwrap();
        assert!(!output.status.success(), "{output:?}");
    });
}

/// In the fallback there is no such memory: what a job keeps is its own.
#[test]
#[cfg(all(target_os = "linux", not(sidestep_portable)))]
fn a_worker_whose_job_has_kept_its_pools_memory_serves_nobody_else() {
    limited(|| {
        let server = Server::new(1);
        let pool = server.connect();
        let first = pool.apply(keep, (Bytes::from(vec![1; 1 << 20]),)).unwrap();
        assert_eq!(pool.apply(kept, ()), Ok(1));
        finish(&pool);
        let pool = server.connect();
        assert_ne!(pool.apply(pid, ()).unwrap(), first);
        assert_eq!(pool.apply(kept, ()), Ok(0));
    });
}

#[test]
fn a_server_ends_after_so_long_without_anybody() {
    limited(|| {
        let mut server = Server::with(1, &["--idle-timeout", "200ms"]);
        let pids = server.pids();
        let pool = server.connect();
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(pool.apply(add, (1, 2)), Ok(3), "somebody is there");
        drop(pool);
        step("waiting for the server's end");
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
        assert!(!Path::new(&server.name()).exists());
        for pid in pids {
            eventually("its workers are gone", || !is_alive(pid));
        }
    });
}

#[test]
fn the_first_signal_lets_pools_end_and_the_second_ends_them() {
    limited(|| {
        let mut server = Server::new(1);
        let pool = server.connect();
        assert_eq!(pool.apply(add, (1, 2)), Ok(3));
        server.signal(Signal::SIGTERM);
        assert!(server.line().contains("nobody else is let in"));
        eventually("it is found no more", || Pool::connect(&server.name()).is_err());
        assert_eq!(pool.apply(add, (1, 2)), Ok(3));
        finish(&pool);
        step("waiting for the server's end");
        assert_eq!(server.child.wait().unwrap().code(), Some(0));

        let mut server = Server::new(1);
        let pool = server.connect();
        let handle = pool.apply_async(nap, (60_000,));
        eventually("it runs", || pool.stats().running == 1);
        server.signal(Signal::SIGTERM);
        server.line();
        server.signal(Signal::SIGTERM);
        assert!(handle.get().is_err());
        step("waiting for the server's end");
        server.child.wait().unwrap();
    });
}

#[test]
fn there_is_one_server_of_a_name() {
    limited(|| {
        let server = Server::new(1);
        let output = Command::new(POOL_RUN).args(["--serve", &server.name(), "-w1"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.status.signal()), (Some(125), None));
        assert!(stderr.contains("another server has that name"), "{stderr}");
        let error = Pool::connect("nobody-has-this-name").unwrap_err();
        assert!(error.to_string().contains("pool-run --serve"), "{error}");
        assert!(matches!(Pool::connect("not a name"), Err(PoolError::Server { .. })));
    });
}

#[test]
fn options_of_a_workers_start_are_refused() {
    limited(|| {
        let server = Server::new(1);
        let mut builders = vec![
            Pool::builder().nice(1),
            Pool::builder().env("A", "b"),
            Pool::builder().max_jobs_per_worker(1),
        ];
        // Elsewhere nobody can keep that limit at all.
        if cfg!(all(target_os = "linux", not(sidestep_portable))) {
            builders.push(Pool::builder().memory_limit(1 << 30));
        }
        for builder in builders {
            let error = builder.connect(&server.name()).unwrap_err();
            assert!(matches!(&error, PoolError::Config { what } if what.contains("server")), "{error}");
        }
        let few = Pool::builder().workers(7).connect(&server.name()).unwrap();
        assert_eq!(few.map(nap, std::iter::repeat_n(1, 50)).unwrap().len(), 50);
        assert_eq!(few.pids().len(), 1);
    });
}

#[test]
fn a_program_that_never_serves_is_no_server() {
    limited(|| {
        let place = Place::new();
        let output = Command::new(POOL_RUN)
            .args(["--serve", &place.file("socket"), "-w1", "--exe", "/bin/true"])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains("sidestep::init()"), "{stderr}");
    });
}
