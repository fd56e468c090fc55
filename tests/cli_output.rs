//! How `pool-run` shows what jobs write, and keeps it in files. What GNU parallel can do too is in `parity`; here its
//! files of results are compared.
#![cfg(feature = "cli")]

#[path = "common/parallel.rs"]
mod gnu;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use gnu::parallel;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// A program that is given nothing, in a folder.
fn command(folder: &Path, program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    command
}

/// Standard output, standard error and exit code.
fn run_in(folder: &Path, program: &Path, args: &[&str]) -> (String, String, Option<i32>) {
    let output = command(folder, program, args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn pool_run(args: &[&str]) -> (String, String, Option<i32>) {
    run_in(tempfile::tempdir().unwrap().path(), cargo_bin!("pool-run"), args)
}

/// Each on purpose.
#[test]
fn what_is_not_as_with_gnu_parallel() {
    // Whole jobs in order: nothing is shown of the first before its end.
    let (out, _, _) =
        pool_run(&["-w2", "--lb", "-k", "sh", "echo {}1; sleep {}; echo {}2", ":::", "0.2", "0"]);
    assert_eq!(out, "0.21\n0.22\n01\n02\n");
    // What was shown of an attempt stays; there it depends on how soon the attempt is over.
    let (out, _, _) = pool_run(&["-q", "--lb", "--retries", "2", "sh", "echo {}; false #", ":::", "a"]);
    assert_eq!(out, "a\na\n");
    // What is one value of JSON cannot come line by line.
    for option in ["--lb", "-u"] {
        let (out, err, _) = pool_run(&[option, "--json", "exec", "echo", ":::", "a"]);
        assert!(out.starts_with('{') && out.contains("\"stdout\":\"a\\n\""), "{out} {err}");
    }
}

#[test]
fn results_of_functions_have_tags_too() {
    let args = ["--tagstring", "{#}:{}", "primes", "10", "x", "20"];
    let (out, err, code) = pool_run(&args);
    assert_eq!((out.as_str(), code), ("1:10\t4\n3:20\t8\n", Some(1)));
    assert!(err.starts_with("pool-run: primes failed on x"), "{err}");
    for option in ["--lb", "-u"] {
        assert_eq!(pool_run(&[option, "--tag", "primes", "10", "20"]).0, "10\t4\n20\t8\n");
    }
}

/// Reads what a job writes before it goes on, and then the rest.
fn before_and_after(options: &[&str], line: &str, before: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    mkfifo(&folder.path().join("go"), Mode::S_IRWXU).unwrap();
    let args = [options, &["sh", line, ":::", "a"]].concat();
    let mut child =
        command(folder.path(), cargo_bin!("pool-run"), &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = vec![0; before.len()];
    out.read_exact(&mut first).unwrap();
    assert_eq!(String::from_utf8(first).unwrap(), before);
    fs::write(folder.path().join("go"), "").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    rest
}

#[test]
fn lines_appear_while_their_job_runs() {
    let line = "echo one; printf tw; cat go; echo o #";
    assert_eq!(before_and_after(&["--lb"], line, "one\n"), "two\n");
    assert_eq!(before_and_after(&["--line-buffer", "--tag"], line, "a\tone\n"), "a\ttwo\n");
    assert_eq!(before_and_after(&["--ungroup"], line, "one\ntw"), "o\n");
    let pool_run = cargo_bin!("pool-run").to_str().unwrap();
    assert_eq!(before_and_after(&["--lb", "--exe", pool_run], line, "one\n"), "two\n");
    assert_eq!(before_and_after(&["-u", "--exe", pool_run], line, "one\ntw"), "o\n");
}

#[test]
fn messages_appear_while_their_job_runs() {
    for option in ["--lb", "-u"] {
        let folder = tempfile::tempdir().unwrap();
        mkfifo(&folder.path().join("go"), Mode::S_IRWXU).unwrap();
        let args = [option, "sh", "echo one >&2; cat go #", ":::", "a"];
        let mut child =
            command(folder.path(), cargo_bin!("pool-run"), &args).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "one\n", "{option}");
        fs::write(folder.path().join("go"), "").unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn lines_of_several_jobs_are_never_mixed() {
    let line = "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 100000 /dev/zero | tr '\\0' {}; echo; seq 1000 | tr -c '\\n' {}; done";
    let (out, err, code) = pool_run(&["-w4", "--lb", "--tag", "sh", line, ":::", "a", "b", "c", "d"]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    for line in out.lines() {
        let (tag, text) = line.split_once('\t').unwrap();
        assert!(text.bytes().all(|byte| [byte] == tag.as_bytes()), "{tag}: {text}");
        assert!(text.len() <= 4 || text.len() == 100_000, "{}", text.len());
    }
    assert_eq!((out.lines().count(), out.len()), (4 * 10 * 1001, 4 * 10 * (100_001 + 3893 + 2 * 1001)));
}

#[test]
fn a_worker_that_is_killed_within_a_line_harms_no_other_line() {
    let line = "[ {} = bad ] || { yes whole | head -n 20000; exit; }; yes half | head -n 2000 | tr -d '\\n'; kill -9 $PPID";
    let inputs = [":::", "a", "bad", "b", "bad", "c", "bad", "d"];
    let (out, _, code) = pool_run(&[&["-q", "-w3", "--lb", "sh", line], &inputs[..]].concat());
    assert_eq!(code, Some(3));
    let whole = out.lines().filter(|line| *line == "whole").count();
    let other: Vec<&str> = out.lines().filter(|line| *line != "whole").collect();
    assert_eq!(whole, 4 * 20_000);
    assert!(
        other.len() <= 3 && other.iter().all(|line| "half".repeat(2000).starts_with(line)),
        "{}",
        other.len()
    );
}

#[test]
fn an_ungrouped_program_has_the_commands_own_output() {
    let folder = tempfile::tempdir().unwrap();
    for (option, code) in [("-u", 0), ("--lb", 1), ("-k", 1)] {
        let args = ["-q", option, "sh", "test -f /dev/stdout #", ":::", "a"];
        let mut command = command(folder.path(), cargo_bin!("pool-run"), &args);
        let file = File::create(folder.path().join("out")).unwrap();
        assert_eq!(
            command.stdout(file).stderr(Stdio::null()).status().unwrap().code(),
            Some(code),
            "{option}"
        );
    }
}

#[test]
fn what_was_shown_meanwhile_is_known_to_those_who_tell_of_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "-q",
        "--lb",
        "--joblog",
        "log",
        "--results",
        "r",
        "sh",
        "echo {}; echo e >&2; exit 3",
        ":::",
        "abc",
    ];
    let (out, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
    assert_eq!((out.as_str(), code), ("abc\n", Some(1)), "{err}");
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log.lines().nth(1).unwrap().split('\t').nth(5), Some("4"), "{log}");
    assert_eq!(fs::read_to_string(folder.path().join("r/1/abc/stdout")).unwrap(), "abc\n");
    assert_eq!(fs::read_to_string(folder.path().join("r/1/abc/stderr")).unwrap(), "e\n");
}

#[test]
fn output_that_nobody_takes_ends_the_run() {
    for option in ["--lb", "-u"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command =
            command(folder.path(), cargo_bin!("pool-run"), &["-q", option, "exec", "yes", ":::", "a"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 4];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(&first, b"a\na\n");
        assert!(!child.wait().unwrap().success(), "{option}");
    }
    let folder = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(folder.path(), cargo_bin!("pool-run"), &["--lb", "exec", "yes", ":::", "a"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot write to standard output: No space"));
}

/// All files below a folder, with what is in them.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    found.push((name, fs::read_to_string(path).unwrap()));
                }
            }
        }
    }
    found.sort();
    found.retain(|(name, _)| !name.starts_with(".parallel"));
    found
}

#[test]
fn results_are_kept_where_gnu_parallel_keeps_them() {
    let parallel = parallel();
    let says = "echo out {#}; echo err >&2 #";
    for (target, line, inputs) in [
        ("r", says, &[":::", "a", "b c"][..]),
        ("r", says, &[":::", "a", "b", ":::", "1", "2"]),
        ("r/", says, &[":::", "d/e", "/abs", "../c", "b\\s", "t\tb", "it's", "*", "a:b%c", "é"]),
        ("r", "printf x #", &[":::", "a", "a"]),
        ("r/s/{#}-{/.}", says, &[":::", "d/x.y", "z"]),
        ("r/{1}/{2}/", says, &[":::", "a", ":::", "1", "2"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ours = [&["-q", "-w1", "--results", target, "sh", line], inputs].concat();
        let (shown, _, code) = run_in(folder.path(), cargo_bin!("pool-run"), &ours);
        let kept = files(folder.path());
        // Shown as well: GNU parallel only says so.
        assert!(!kept.is_empty() && !shown.is_empty() && code == Some(0), "{ours:?}");
        if let Some(parallel) = parallel {
            let folder = tempfile::tempdir().unwrap();
            let theirs = [&["--will-cite", "-j1", "-k", "--results", target, line], inputs].concat();
            run_in(folder.path(), parallel, &theirs);
            assert_eq!(kept, files(folder.path()), "parallel {theirs:?}");
        }
    }
}

#[test]
fn results_are_never_kept_elsewhere() {
    let long = "x".repeat(1000);
    let longer = long.clone() + "y";
    let values = ["..", ".", "", "../..", "/tmp/x", &long, &longer, "-", "stdout", "1"];
    for target in ["in/r", "in/r/{}/", "in/r/{}.x", "in/r/{//}/{}"] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        let args = [&["-q", "--results", target, "sh", "echo {}", ":::"], &values[..]].concat();
        let (out, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
        assert_eq!((out.lines().count(), code), (values.len(), Some(0)), "{err}");
        let kept = files(folder.path());
        assert!(kept.iter().all(|(name, _)| name.starts_with("in/r/")), "{kept:?}");
        // Each has three of its own.
        let of_values =
            kept.iter().filter(|(_, text)| values.iter().any(|value| *text == format!("{value}\n")));
        assert_eq!((of_values.count(), kept.len()), (values.len(), 3 * values.len()), "{target} {kept:?}");
    }
}

#[test]
fn results_of_functions_and_blocks_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| run_in(folder.path(), cargo_bin!("pool-run"), args);
    assert_eq!(run(&["-q", "--results", "r", "primes", "10", "x"]).2, Some(1));
    let kept = files(&folder.path().join("r"));
    let kept: Vec<_> = kept.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let expected = [
        ("1/10/seq", "1"),
        ("1/10/stderr", ""),
        ("1/10/stdout", "4\n"),
        ("1/x/seq", "2"),
        ("1/x/stderr", ""),
        ("1/x/stdout", ""),
    ];
    assert_eq!(kept, expected);
    fs::write(folder.path().join("lines"), "a\nb\n").unwrap();
    assert_eq!(run(&["--results", "p", "--pipe", "-n1", "-a", "lines", "exec", "cat"]).2, Some(0));
    assert_eq!(fs::read_to_string(folder.path().join("p/2/stdout")).unwrap(), "b\n");
}

#[test]
fn only_the_last_attempt_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let line = "echo x >> tried; wc -l < tried; false #";
    run_in(
        folder.path(),
        cargo_bin!("pool-run"),
        &["-q", "--retries", "3", "--results", "r", "sh", line, ":::", "a"],
    );
    assert_eq!(fs::read_to_string(folder.path().join("r/1/a/stdout")).unwrap().trim(), "3");
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_not_left_half() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r/1/a");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("stdout"), "old").unwrap();
    symlink("/dev/full", place.join(".stdout.part")).unwrap();
    let args = ["--results", "r", "exec", "echo", ":::", "a"];
    let (_, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
    assert_eq!(code, Some(125));
    assert!(err.starts_with("pool-run: cannot write r/1/a/stdout: No space left on device"), "{err}");
    assert_eq!(files(folder.path()), [("r/1/a/stdout".into(), "old".into())]);

    fs::write(folder.path().join("file"), "").unwrap();
    let args = ["--results", "file", "sh", "touch ran #", ":::", "a"];
    let (_, err, code) = run_in(folder.path(), cargo_bin!("pool-run"), &args);
    assert!(code == Some(125) && err.contains("cannot write file: "), "{err}");
    assert!(!folder.path().join("ran").exists(), "it is known before any job begins");
}

#[test]
fn what_contradicts_itself_is_refused() {
    for bad in [
        &["--lb", "--ungroup"][..],
        &["--ungroup", "--results", "r"],
        &["--results", "r.csv"],
        &["--results", ""],
        &["--tagstring", "\\q"],
    ] {
        let (_, err, code) = pool_run(&[bad, &["primes", "1"]].concat());
        assert!(code == Some(64) && err.contains("error: "), "{bad:?}: {err}");
    }
}
