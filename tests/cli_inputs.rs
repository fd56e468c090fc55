//! Where `pool-run` takes inputs from, and where they go in a command. What GNU parallel can do too is in `parity`.
#![cfg(feature = "cli")]

#[path = "common/parallel.rs"]
mod gnu;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use gnu::parallel;

/// Standard output and exit code of a program that is given `stdin`, in a folder with the files `one` and `two`.
fn run(program: &Path, args: &[&str], stdin: &str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one"), "a\nb c\n").unwrap();
    fs::write(folder.path().join("two"), "1\n2\n3\n").unwrap();
    fs::write(folder.path().join("input"), stdin).unwrap();
    let input = fs::File::open(folder.path().join("input")).unwrap();
    let mut command = Command::new(program);
    command.args(args).current_dir(folder.path()).env("HOME", folder.path());
    let output = command.stdin(input).stderr(Stdio::inherit()).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

/// Each on purpose.
#[test]
fn what_is_not_as_with_gnu_parallel() {
    let pool_run = cargo_bin!("pool-run");
    for (args, stdin, expected) in [
        // An empty source has no inputs, so that there is nothing to combine.
        (&["sh", "echo", ":::", "a", ":::"][..], "", ""),
        // A line that only looks empty is an input too, and stays as it is.
        (&["sh", "echo [{}]"], "\n \n", "[]\n[ ]\n"),
        // `exec` runs no shell, so nothing is quoted, and each value is a word.
        (&["exec", "printf", "%s,", ":::", "a b", ":::", "c"], "", "a b,c,"),
        (&["exec", "printf", "%s,", "<{}>", ":::", "a b", ":::", "c"], "", "<a b c>,"),
        // Several values for one hole are put there at once, be it `-n` or `-N`.
        (&["-N2", "exec", "echo", "x{}y", ":::", "a", "b"], "", "xa by\n"),
        // A file can be cut too, by its name.
        (&["--pipe", "-a", "two", "-N2", "exec", "wc", "-l"], "", "2\n1\n"),
        // A record that is longer than a block makes those after it no larger.
        (&["--pipe", "--block", "2", "sh", "cat; echo"], "a\nlong\nb\nc\n", "a\n\nlong\n\nb\n\nc\n\n"),
        // A job need not read what it is given.
        (
            &["--pipe", "--block", "100000", "--recend", "", "exec", "head", "-c1"],
            &"x".repeat(200_001),
            "xxx",
        ),
        // A plain `{}` can be had.
        (&["exec", "echo", "{{}}", "{}", ":::", "a"], "", "{} a\n"),
    ] {
        assert_eq!(run(pool_run, args, stdin), (expected.to_owned(), Some(0)), "{args:?}");
    }
}

#[test]
fn values_are_arguments_of_typed_jobs() {
    let pool_run = cargo_bin!("pool-run");
    assert_eq!(run(pool_run, &["primes", "::::", "two"], ""), ("0\n0\n1\n".into(), Some(0)));
    assert_eq!(run(pool_run, &["-d", ",", "primes"], "10,100"), ("4\n25\n".into(), Some(0)));
    // Each line has to have as many columns as the job has arguments.
    assert_eq!(run(pool_run, &["-q", "-C", ",", "primes"], "10\n1,2\n"), ("4\n".into(), Some(1)));
}

#[test]
fn several_inputs_and_blocks_are_arguments_of_typed_jobs() {
    let pool_run = cargo_bin!("pool-run");
    assert_eq!(run(pool_run, &["-q", "-n2", "primes", ":::", "1"], ""), (String::new(), Some(64)));
    assert_eq!(run(pool_run, &["-n1", "primes"], "10\n100\n"), ("4\n25\n".into(), Some(0)));
    // Records are numbers here, with nothing between them.
    assert_eq!(
        run(pool_run, &["--pipe", "--recend=", "--block=2", "primes"], "102030"),
        ("4\n8\n10\n".into(), Some(0))
    );
}

/// The blocks that GNU parallel makes, and all of what was to be cut.
#[test]
fn blocks_end_where_those_of_gnu_parallel_do() {
    let pool_run = cargo_bin!("pool-run");
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    let ours = run(pool_run, &["-w2", "--pipe", "--block", "100k", "exec", "wc"], &numbers);
    let sizes: Vec<usize> =
        ours.0.lines().map(|line| line.split_whitespace().last().unwrap().parse().unwrap()).collect();
    assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (6, numbers.len()));
    assert!(sizes.iter().all(|size| *size <= 100_000));
    if let Some(parallel) = parallel() {
        let theirs = ["--will-cite", "-j2", "-k", "--pipe", "--block", "100k", "wc"];
        assert_eq!(run(parallel, &theirs, &numbers), ours);
    }
}

#[test]
fn a_random_order_has_all_inputs_and_can_be_had_again() {
    let pool_run = cargo_bin!("pool-run");
    let numbers: String = (100..200).map(|n| format!("{n}\n")).collect();
    let shuffled = |option: &str| run(pool_run, &[option, "-n2", "exec", "echo"], &numbers).0;
    let one = shuffled("--shuf=7");
    assert_eq!(one, shuffled("--shuf=7"));
    assert_ne!(shuffled("--shuf"), shuffled("--shuf"));
    let mut words: Vec<&str> = one.split_whitespace().collect();
    words.sort();
    assert_eq!((one.lines().count(), words.join("\n") + "\n"), (50, numbers));
}

#[test]
fn a_block_that_fails_is_named() {
    let mut command = Command::new(cargo_bin!("pool-run"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("two"), "1\n2\n3\n").unwrap();
    let output = command
        .args(["-q", "--pipe", "-n2", "-a", "two", "sh", "grep 2"])
        .current_dir(folder.path())
        .output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "pool-run: sh failed on block 2: it ended with exit code 1\n");
}

#[test]
fn what_cannot_be_cut_is_refused() {
    for args in [
        &["--pipe", "wc", ":::", "a"][..],
        &["--pipe", "-a", "x", "-a", "y", "exec", "cat"],
        &["--pipe", "-0", "exec", "cat"],
        &["--pipe", "--shuf", "exec", "cat"],
        &["--pipe", "-n0", "exec", "cat"],
        &["--pipe", "--block", "0", "exec", "cat"],
        &["--pipe", "--recend", "\\q", "exec", "cat"],
        &["--block", "1M", "exec", "cat"],
        &["--recend", ";", "exec", "cat"],
        &["--shuf=x", "exec", "cat"],
    ] {
        assert_eq!(run(cargo_bin!("pool-run"), args, "").1, Some(64), "{args:?}");
    }
}

#[test]
fn many_lines_combined_are_read_as_they_are_wanted() {
    let pool_run = cargo_bin!("pool-run");
    let mut producer =
        Command::new("sh").args(["-c", "seq 1000000000"]).stdout(Stdio::piped()).spawn().unwrap();
    let input = producer.stdout.take().unwrap();
    let mut command = Command::new(pool_run);
    command.args(["-w2", "primes", "::::", "-"]).stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It keeps its own end of the pipe, which nobody reads.
    drop(command);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.by_ref().take(1000).last().unwrap().unwrap(), "168");
    drop(lines);
    assert!(!child.wait().unwrap().success(), "nobody reads on");
    let _ = producer.wait();
}

/// The most memory that a process has had, in KiB.
fn memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    peak.unwrap().parse().unwrap()
}

/// The most memory that the command has had when it has dealt with so many lines, in KiB.
fn peak(lines: u32, options: &[&str]) -> u64 {
    let mut command = Command::new(cargo_bin!("pool-run"));
    command.args(["-w2"]).args(options).arg("primes").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writer = std::thread::spawn(move || {
        for _ in 0..lines / 100 {
            input.write_all("10\n".repeat(100).as_bytes()).unwrap();
        }
        input
    });
    let results = BufReader::new(output).lines().take(lines as usize);
    assert_eq!(results.filter(|line| line.as_ref().is_ok_and(|line| line == "4")).count(), lines as usize);
    // It waits for more, so it can be looked at.
    let peak = memory_of(child.id());
    drop(writer.join().unwrap());
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn many_inputs_take_no_more_memory_than_few() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let log = ["--joblog", log.to_str().unwrap(), "--bar"];
    for options in [&[][..], &["-k"], &["--unordered"], &log] {
        let _ = fs::remove_file(log[1]);
        let (few, many) = (peak(5_000, options), peak(200_000, options));
        assert!(many < few + 4_000, "{options:?}: {few} KiB for few lines, {many} KiB for many");
    }
}

#[test]
fn a_long_stream_is_cut_in_little_memory() {
    let mut command = Command::new(cargo_bin!("pool-run"));
    command.args(["-w2", "--pipe", "--block", "1M", "--recend", "", "exec", "wc", "-c"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writer = std::thread::spawn(move || {
        (0..200).for_each(|_| input.write_all(&vec![b'x'; 1 << 20]).unwrap());
        input
    });
    let results = BufReader::new(output).lines().take(200);
    assert_eq!(results.filter(|line| line.as_ref().is_ok_and(|line| line == "1048576")).count(), 200);
    let peak = memory_of(child.id());
    drop(writer.join().unwrap());
    assert!(child.wait().unwrap().success());
    assert!(peak < 60_000, "{peak} KiB for blocks of 1 MiB");
}
