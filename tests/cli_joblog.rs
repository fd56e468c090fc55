//! The log of a run, and runs that go on from one.
#![cfg(feature = "cli")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use assert_cmd::cargo::cargo_bin_cmd;
use nix::sys::signal::{self, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

/// A folder with a log in it that is not there yet.
struct Log {
    folder: TempDir,
    path: PathBuf,
}

impl Log {
    fn new(name: &str) -> Log {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        Log { folder, path }
    }

    /// One of each format.
    fn both() -> [Log; 2] {
        ["log", "log.jsonl"].map(Log::new)
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["--joblog", self.path.to_str().unwrap()], args].concat()
    }

    /// Standard output, standard error and exit code of a run with this log.
    fn run(&self, args: &[&str], stdin: &str) -> (String, String, i32) {
        let output = cargo_bin_cmd!("pool-run").args(self.args(args)).write_stdin(stdin).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code().expect("an exit code"))
    }

    fn start(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
        command.args(self.args(args)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn is_json(&self) -> bool {
        self.path.extension().is_some()
    }

    /// Its lines about jobs; the last one may not be whole.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(fs::read(&self.path).unwrap_or_default()).unwrap();
        let header = usize::from(!self.is_json());
        text.split_inclusive('\n').skip(header).map(str::to_owned).collect()
    }

    /// The numbers of its jobs, those of whole lines, in the order of lines.
    fn seqs(&self) -> Vec<u64> {
        let whole = self.lines().into_iter().filter(|line| line.ends_with('\n'));
        whole
            .map(|line| match self.is_json() {
                true => json(&line)["seq"].as_u64().unwrap(),
                false => line.split('\t').next().unwrap().parse().unwrap(),
            })
            .collect()
    }

    /// Waits until there are lines about so many jobs.
    fn wait_for(&self, count: usize) {
        while self.seqs().len() < count {
            std::thread::yield_now();
        }
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        path
    }
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Kills a run as hard as possible; returns what else it had shown.
fn kill(mut child: Child) -> String {
    child.kill().unwrap();
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    child.wait().unwrap();
    rest
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_columns_are_those_of_gnu_parallel() {
    // What GNU parallel 20221122 writes behind JobRuntime for the same lines and inputs.
    for (options, line, input, expected) in [
        (&[][..], "exit {}", "0", "0\t0\t0\t0\texit 0"),
        (&[], "exit {}", "3", "0\t0\t3\t0\texit 3"),
        (&[], "kill -{} $$", "9", "0\t0\t0\t9\tkill -9 $$"),
        (&[], "printf abc{}; exit 1", "d", "0\t4\t1\t0\tprintf abcd; exit 1"),
        (&[], "echo {} >&2", "x", "0\t0\t0\t0\techo x >&2"),
        (&[], "echo {}", "a b", "0\t4\t0\t0\techo 'a b'"),
        (&[], "echo {}", "a\tb", "0\t4\t0\t0\techo 'a\tb'"),
        (&[], "echo {} \"x\ny\"", "a\nb", "0\t8\t0\t0\techo 'a\0b' \"x\0y\""),
        (&["--timeout", "0.2"], "sleep {}", "60", "0\t0\t-1\t15\tsleep 60"),
    ] {
        let (log, before) = (Log::new("log"), now());
        log.run(&[options, &["sh", line, ":::", input]].concat(), "");
        let text = fs::read_to_string(&log.path).unwrap();
        let (header, lines) = text.split_once('\n').unwrap();
        assert_eq!(header, "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand");
        let columns: Vec<_> = lines.splitn(5, '\t').collect();
        let [seq, host, start, runtime, rest] = columns[..] else { panic!("{lines}") };
        assert_eq!((seq, host, rest), ("1", ":", &*format!("{expected}\n")));
        let start: f64 = start.parse().unwrap();
        assert!(before - 0.001 < start && start < now(), "{before} {lines}");
        assert!(runtime.len() == 10 && runtime.rfind('.') == Some(6), "{runtime:?}");
    }
}

#[test]
fn a_log_tells_how_long_a_job_took() {
    for log in Log::both() {
        log.run(&["sh", "sleep {}", ":::", "0.3"], "");
        let line = &log.lines()[0];
        let took: f64 = match log.is_json() {
            true => json(line)["runtime"].as_f64().unwrap(),
            false => line.split('\t').nth(3).unwrap().trim().parse().unwrap(),
        };
        assert!((0.3..20.0).contains(&took), "{line}");
    }
}

#[test]
fn json_tells_more() {
    let log = Log::new("log.jsonl");
    log.run(&["sh", "printf abc; exit {}", ":::", "0", "3"], "");
    let lines = log.lines();
    let (good, bad) = (json(&lines[0]), json(&lines[1]));
    for (key, good_one, bad_one) in [
        ("seq", serde_json::json!(1), serde_json::json!(2)),
        ("job", "sh".into(), "sh".into()),
        ("args", vec!["0"].into(), vec!["3"].into()),
        ("command", "printf abc; exit 0".into(), "printf abc; exit 3".into()),
        ("status", "ok".into(), "failed".into()),
        ("exitval", 0.into(), 3.into()),
        ("attempts", 1.into(), 1.into()),
        ("receive", 3.into(), 3.into()),
    ] {
        assert_eq!((&good[key], &bad[key]), (&good_one, &bad_one), "{key}");
    }
    assert!(good["error"].is_null() && bad["error"].is_string() && good["key"] != bad["key"]);
}

#[test]
fn json_tells_which_process_ran_a_job() {
    let log = Log::new("log.jsonl");
    log.run(&["-w1", "--recycle", "2", "primes", "10", "20", "30"], "");
    let pids: Vec<_> = log.lines().iter().map(|line| json(line)["pid"].as_u64()).collect();
    assert!(pids.iter().all(Option::is_some) && pids[0] == pids[1] && pids[1] != pids[2], "{pids:?}");
}

#[test]
fn jobs_of_functions_are_in_the_log_too() {
    let log = Log::new("log");
    let (_, _, code) = log.run(&["primes", "100", "x y"], "");
    let mut lines = log.lines();
    lines.sort_unstable();
    let behind: Vec<_> = lines.iter().filter_map(|line| line.splitn(5, '\t').last()).collect();
    assert_eq!((code, &behind[..]), (1, &["0\t3\t0\t0\tprimes 100\n", "0\t0\t1\t0\tprimes 'x y'\n"][..]));
}

#[test]
fn a_job_is_in_the_log_when_its_result_was_shown() {
    let log = Log::new("log");
    let gate = log.fifo("gate");
    let line = format!("case {{}} in 1) cat {};; 2) echo 2;; esac", gate.display());
    let mut child = log.start(&["-w2", "sh", &line, ":::", "1", "2", "3"]);
    // The third has no result that could wait for the first one, as that of the second does.
    log.wait_for(1);
    assert_eq!(log.seqs(), [3]);
    fs::write(&gate, "1\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(log.seqs(), [3, 1, 2]);
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    for log in Log::both() {
        let gate = log.fifo("gate");
        let line = format!("[ {{}} != 50 ] || [ ! -e {0} ] || cat {0}; echo {{}}", gate.display());
        let inputs: Vec<_> = (1..=100).map(|n| n.to_string()).collect();
        let words = |options: &[&'static str]| [options, &["-w1", "sh", &line, ":::"]].concat();
        let all: Vec<_> = inputs.iter().map(String::as_str).collect();
        let child = log.start(&[words(&[]), all.clone()].concat());
        log.wait_for(49);
        let first = kill(child);
        fs::remove_file(&gate).unwrap();
        let (second, stderr, code) = log.run(&[words(&["--resume"]), all.clone()].concat(), "");
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!((first + &second).lines().collect::<Vec<_>>(), all);
        assert_eq!(log.seqs(), (1..=100).collect::<Vec<_>>());
        // And there is nothing left to do.
        let (third, _, code) = log.run(&[words(&["--resume"]), all].concat(), "");
        assert_eq!((third.as_str(), code), ("", 0));
    }
}

/// Numbers below which there are 1, 2, 3 ... primes: so `primes` gives the number of the job.
fn inputs(count: usize) -> Vec<String> {
    let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..).filter(is_prime).map(|prime| (prime + 1).to_string()).take(count).collect()
}

#[test]
fn no_result_is_missing_whenever_runs_are_ended() {
    let inputs = inputs(3000);
    for log in Log::both() {
        for order in ["--keep-order", "--unordered"] {
            let _ = fs::remove_file(&log.path);
            let words = inputs.iter().map(String::as_str);
            let args: Vec<_> = ["--resume", order, "-w2", "primes", ":::"].into_iter().chain(words).collect();
            let mut shown = BTreeSet::new();
            for ends in 1..=8 {
                let mut child = log.start(&args);
                let lines = BufReader::new(child.stdout.take().unwrap()).lines();
                let mut results = lines.map(|line| line.unwrap().parse::<u64>().unwrap());
                shown.extend(results.by_ref().take(20 * ends));
                let signal = if ends % 2 == 0 { Signal::SIGTERM } else { Signal::SIGKILL };
                signal::kill(Pid::from_raw(child.id() as i32), signal).unwrap();
                shown.extend(results);
                child.wait().unwrap();
                let logged: BTreeSet<_> = log.seqs().into_iter().collect();
                assert!(logged.is_subset(&shown), "{:?}", logged.difference(&shown));
            }
            let logged: BTreeSet<_> = log.seqs().into_iter().collect();
            let (rest, stderr, code) = log.run(&args, "");
            assert_eq!((code, stderr.as_str()), (0, ""));
            let rest: BTreeSet<u64> = rest.lines().map(|line| line.parse().unwrap()).collect();
            assert!(rest.is_disjoint(&logged) && rest.len() + logged.len() == inputs.len());
            let mut seqs = log.seqs();
            seqs.sort_unstable();
            assert!(seqs.into_iter().eq(1..=3000));
        }
    }
}

#[test]
fn only_what_failed_runs_again() {
    for log in Log::both() {
        let flag = log.folder.path().join("flag");
        let line = format!("echo {{}}; [ {{}} != 2 ] || [ -e {} ]", flag.display());
        let run = |option| log.run(&[option, "sh", &line, ":::", "1", "2", "3"], "");
        assert_eq!(run("--quiet").2, 1);
        assert_eq!(run("--resume").0, "");
        File::create(&flag).unwrap();
        assert_eq!(run("--resume-failed"), ("2\n".into(), "".into(), 0));
        assert_eq!(run("--resume-failed").0, "");
        assert_eq!(log.seqs(), [1, 2, 3, 2]);
    }
}

#[test]
fn a_log_of_another_run_is_refused() {
    for log in Log::both() {
        log.run(&["sh", "echo A{}", ":::", "1", "2"], "");
        let before = fs::read(&log.path).unwrap();
        let other = |option| log.run(&[option, "sh", "echo B{}", ":::", "1", "2", "3"], "");
        let (stdout, stderr, code) = other("--resume");
        assert_eq!((stdout.as_str(), code), ("", 125));
        assert!(stderr.contains("belongs to another run (line "), "{stderr}");
        assert!(stderr.contains("is job 1, \"echo A1\", which is \"echo B1\" here"), "{stderr}");
        assert_eq!(fs::read(&log.path).unwrap(), before);
        assert_eq!(other("--resume=seq"), ("B3\n".into(), "".into(), 0));
    }
}

#[test]
fn two_runs_do_not_share_a_log() {
    for log in Log::both() {
        let gate = log.fifo("gate");
        let line = format!("echo {{}}; cat {}", gate.display());
        let mut child = log.start(&["-w1", "sh", &line, ":::", "1"]);
        // It has the log, for its job waits for what is written here.
        let open = File::options().write(true).open(&gate).unwrap();
        let (stdout, stderr, code) = log.run(&["--resume", "primes", "10"], "");
        assert_eq!((stdout.as_str(), code), ("", 125));
        assert!(stderr.contains("another run writes to the joblog "), "{stderr}");
        drop(open);
        assert!(child.wait().unwrap().success());
        assert_eq!(log.seqs(), [1]);
    }
}

#[test]
fn what_is_no_log_is_refused_and_left_as_it_is() {
    for log in Log::both() {
        fs::write(&log.path, "my thesis").unwrap();
        let (stdout, stderr, code) = log.run(&["--resume", "primes", "10"], "");
        assert_eq!((stdout.as_str(), code), ("", 125));
        assert!(stderr.contains("is no joblog (line 1 is \"my thesis\")"), "{stderr}");
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "my thesis");
    }
}

#[test]
fn half_a_line_does_not_count() {
    for log in Log::both() {
        log.run(&["-w1", "primes", "10", "20"], "");
        let whole = fs::read(&log.path).unwrap();
        fs::write(&log.path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(log.run(&["--resume", "primes", "10", "20"], ""), ("8\n".into(), "".into(), 0));
        assert_eq!(log.seqs(), [1, 2]);
    }
}

#[test]
fn without_a_log_there_is_nothing_to_go_on_from() {
    for option in ["--resume", "--resume-failed"] {
        let output = cargo_bin_cmd!("pool-run").args([option, "primes", "10"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains("--joblog"), "{stderr}");
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_the_log() {
    let folder = TempDir::new().unwrap();
    let json = folder.path().join("full.jsonl");
    std::os::unix::fs::symlink("/dev/full", &json).unwrap();
    for path in [Path::new("/dev/full"), &json] {
        let path = path.to_str().unwrap();
        let output = cargo_bin_cmd!("pool-run").args(["--joblog", path, "primes", "10"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        let message = format!("cannot write to the joblog {path}: No space left on device");
        assert!(stderr.contains(&message), "{stderr}");
    }
}

#[test]
fn a_log_may_go_where_messages_go() {
    let args = ["--joblog", "/dev/stderr", "primes", "10"];
    let output = cargo_bin_cmd!("pool-run").args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("Seq\t") && stderr.ends_with("\tprimes 10\n"), "{stderr}");
    assert_eq!(sorted(&String::from_utf8(output.stdout).unwrap()), ["4"]);
}
