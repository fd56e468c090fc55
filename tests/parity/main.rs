//! What GNU parallel can do too is done alike: each row of a table is run by both programs, where GNU parallel is
//! installed, and by `pool-run` in any case.
//!
//! Compared are standard output, what jobs write to standard error, the exit code, and the log's columns but for times.
//! What differs on purpose stands in docs/from-parallel.md with its reason, and beside the tables in tests of its own.
#![cfg(feature = "cli")]

#[path = "../common/parallel.rs"]
mod gnu;
mod halt;
mod inputs;
mod log;
mod output;
mod pages;
mod running;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use gnu::parallel;

/// Options before, the line of shell, what stands behind it, and what is on standard input.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    options: &'a [&'a str],
    line: &'a str,
    behind: &'a [&'a str],
    stdin: &'a str,
}

/// What a run gives.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    stdout: String,
    /// What jobs write, without what the program says itself.
    stderr: String,
    code: Option<i32>,
    /// A line of the log each, in order of their numbers, without times.
    log: Vec<String>,
}

impl Case<'_> {
    /// What `pool-run` gives, in a folder of its own.
    fn ours(self, extra: &[&str]) -> Outcome {
        let folder = folder();
        self.ours_in(folder.path(), extra)
    }

    fn ours_in(self, folder: &Path, extra: &[&str]) -> Outcome {
        let mut command = Command::new(cargo_bin!("pool-run"));
        command.args(["-q", "--joblog", "log"]).args(extra).args(self.options).args(["sh", self.line]);
        self.outcome(folder, command.args(self.behind))
    }

    /// What GNU parallel gives.
    fn theirs(self, program: &Path, extra: &[&str]) -> Outcome {
        let folder = folder();
        self.theirs_in(folder.path(), program, extra)
    }

    fn theirs_in(self, folder: &Path, program: &Path, extra: &[&str]) -> Outcome {
        let mut command = Command::new(program);
        command.args(["--will-cite", "--joblog", "log"]).args(extra).args(self.options);
        self.outcome(folder, command.arg(self.line).args(self.behind))
    }

    fn outcome(self, folder: &Path, command: &mut Command) -> Outcome {
        fs::write(folder.join("stdin"), self.stdin).unwrap();
        command.current_dir(folder).env("HOME", folder).stdin(File::open(folder.join("stdin")).unwrap());
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let stderr = text(output.stderr);
        Outcome {
            stdout: text(output.stdout),
            stderr: of_jobs(&stderr),
            code: output.status.code(),
            log: columns(&fs::read_to_string(folder.join("log")).unwrap_or_default()),
        }
    }
}

/// A folder with the files `one` and `two`, and `number` for -j.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one"), "a\nb c\n").unwrap();
    fs::write(folder.path().join("two"), "1\n2\n3\n").unwrap();
    fs::write(folder.path().join("number"), "2\n").unwrap();
    folder
}

/// What jobs have written. A program says itself what has failed, GNU parallel in two lines.
fn of_jobs(stderr: &str) -> String {
    let mut lines = stderr.lines();
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        match line {
            line if line.starts_with("parallel: This job ") => drop(lines.next()),
            line if line.starts_with("pool-run: ") || line.starts_with("parallel: ") => {}
            line => kept += &format!("{line}\n"),
        }
    }
    kept
}

/// The lines of a log but for its header, by their numbers. Times are checked for their form and left out.
fn columns(log: &str) -> Vec<String> {
    let mut lines = log.lines();
    if let Some(header) = lines.next() {
        assert_eq!(header, "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand");
    }
    let mut kept: Vec<(u64, String)> = lines
        .map(|line| {
            let columns: Vec<_> = line.splitn(5, '\t').collect();
            let [seq, host, start, took, rest] = columns[..] else { panic!("{line:?}") };
            for (time, width) in [(start, 14), (took, 10)] {
                assert!(time.len() == width && time.trim().parse::<f64>().is_ok(), "{line:?}");
                assert_eq!(time.rfind('.'), Some(width - 4), "{line:?}");
            }
            // With -N0 GNU parallel appends nothing, and a space before it.
            (seq.parse().unwrap(), format!("{seq}\t{host}\t{}", rest.trim_end()))
        })
        .collect();
    kept.sort();
    kept.into_iter().map(|(_, line)| line).collect()
}

/// Runs all cases with options of each side. What both give is the same; that is returned, also if GNU parallel is not
/// here.
fn compare<'a>(cases: impl IntoIterator<Item = Case<'a>>, ours: &[&str], theirs: &[&str]) -> Vec<Outcome> {
    let parallel = parallel();
    let mut outcomes = Vec::new();
    let mut different = String::new();
    for case in cases {
        let outcome = case.ours(ours);
        if let Some(theirs) = parallel.map(|program| case.theirs(program, theirs))
            && outcome != theirs
        {
            different += &format!("{case:?}:\n  pool-run {outcome:?}\n  parallel {theirs:?}\n");
        }
        outcomes.push(outcome);
    }
    assert!(different.is_empty(), "{different}");
    outcomes
}
