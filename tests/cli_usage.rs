//! How `pool-run` reads its command line and its inputs, and what it says of wrong ones.
#![cfg(feature = "cli")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use assert_cmd::cargo::cargo_bin_cmd;

/// Standard output, standard error and exit code.
fn run<A: Into<OsString> + Clone>(args: &[A], stdin: impl Into<Vec<u8>>) -> (String, String, i32) {
    let args = args.iter().cloned().map(Into::into);
    let output = cargo_bin_cmd!("pool-run").args(args).write_stdin(stdin).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().expect("an exit code"))
}

#[test]
fn a_wrong_usage_is_64_with_a_hint_and_no_output() {
    let cases: [(&[&str], &str); 17] = [
        (&["--bogus", "wc"], "--bogus"),
        (&["-w", "0", "wc"], "at least one worker"),
        (&["-w", "many", "wc"], "no number of workers"),
        (&[], "there is no JOB"),
        (&[":::", "x"], "there is no JOB"),
        (&["--list", "wc"], "--list takes no JOB"),
        (&["wc", ":::", "a", ":::", "b"], "too many"),
        (&["wc", "::::", "-", "-"], "one source only"),
        (&["wc", "::::"], "names of files"),
        (&["-C", "(", "wc"], "--colsep"),
        (&["-0", "-d,", "wc"], "cannot be used with"),
        (&["exec"], "exec gzip"),
        (&["exec", ":::", "x"], "exec gzip"),
        (&["sh", "echo", "x"], "quotes around it"),
        (&["primes", "1", ":::", "2"], "too many"),
        (&["--json", "primes", "1", ":::", "2"], "too many"),
        (&["-a"], "--arg-file"),
    ];
    for (args, hint) in cases {
        let (stdout, stderr, code) = run(args, "");
        assert_eq!((stdout.as_str(), code), ("", 64), "{args:?}");
        assert!(stderr.contains(hint) && stderr.contains("--help"), "{args:?}: {stderr}");
    }
}

#[test]
fn help_version_and_list_are_output() {
    for (args, text) in [
        (["--help"], "Examples:"),
        (["-h"], "--unordered"),
        (["--version"], concat!("pool-run ", env!("CARGO_PKG_VERSION"), "\n")),
        (["--list"], "primes(n: u64) -> u64  How many primes"),
        (["--list"], "\nsh 'LINE'  "),
    ] {
        let (stdout, stderr, code) = run(&args, "");
        assert!(stdout.contains(text), "{args:?}: {stdout}");
        assert_eq!((stderr.as_str(), code), ("", 0), "{args:?}");
    }
    assert_eq!(run(&["--list"], "").0.lines().count(), 5);
}

#[test]
fn an_unknown_job_is_127_and_says_what_was_meant() {
    let (stdout, stderr, code) = run(&["sah256", "x"], "");
    assert_eq!((stdout.as_str(), code), ("", 127));
    assert_eq!(stderr, "pool-run: no job named \"sah256\" (did you mean \"sha256\"? --list shows all 5)\n");
    let (_, stderr, code) = run(&["gzip", "x"], "");
    assert!(code == 127 && stderr.contains("pool-run exec gzip"), "{stderr}");
    let odd = OsString::from_vec(vec![b'x', 0xff]);
    assert_eq!(run(&[odd], "").2, 127);
}

#[test]
fn another_program_that_is_none_is_126_or_127() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "no program").unwrap();
    let text = text.to_str().unwrap();
    for (path, expected, hint) in [
        ("/no/such/program", 127, "there is no program /no/such/program: No such file"),
        ("/etc/passwd/x", 127, "Not a directory"),
        ("/", 126, "no executable file"),
        (text, 126, "no executable file"),
        ("/bin/true", 126, "sidestep::init"),
        ("/bin/false", 126, "sidestep::init"),
    ] {
        for rest in [&["wc", "x"][..], &["--list"]] {
            let (stdout, stderr, code) = run(&[&["--exe", path], rest].concat(), "");
            assert_eq!((stdout.as_str(), code), ("", expected), "{path}: {stderr}");
            assert!(stderr.contains(hint) && stderr.contains(path), "{path}: {stderr}");
        }
    }
}

#[test]
fn what_does_not_parse_is_named_with_its_line_and_type() {
    let (stdout, stderr, code) = run(&["primes"], "12\nabc\n\n-3\n\n10");
    assert_eq!((stdout.as_str(), code), ("5\n4\n", 4));
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines[0].starts_with("pool-run: primes failed on abc (line 2): "), "{stderr}");
    assert!(lines[0].contains("): argument n: u64 (\"abc\"): not a number that fits u64; "), "{stderr}");
    assert!(lines[0].ends_with("the job is primes(n: u64)"), "{stderr}");
    assert!(lines[1].starts_with("pool-run: primes failed on \"\" (line 3): "), "{stderr}");
    assert!(lines[2].starts_with("pool-run: primes failed on -3 (line 4): "), "{stderr}");
    assert_eq!(lines[4], "pool-run: 4 of 6 jobs failed");
}

#[test]
fn lines_that_are_no_json_cost_themselves_only() {
    let (stdout, stderr, code) = run(&["--json", "-q", "primes"], "10\n{\n\"x\"\n 100 \n1,2\n");
    assert_eq!((stdout.as_str(), code), ("4\n25\n", 3), "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines[0].contains("primes failed on { (line 2): it is not JSON: EOF"), "{stderr}");
    assert!(lines[1].contains("(line 3): ") && lines[1].contains("u64"), "{stderr}");
    assert!(lines[2].contains("primes failed on 1,2 (line 5): it is not JSON"), "{stderr}");
}

#[test]
fn inputs_come_from_where_the_command_line_says() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "a\r\n\nb c\nlast").unwrap();
    let list = list.to_str().unwrap();
    let all = "<a\r><><b c><last>";
    let exec = ["exec", "printf", "<%s>"];
    assert_eq!(run(&[&["-a", list], &exec[..]].concat(), "unread\n").0, all);
    assert_eq!(run(&[&exec[..], &["::::", list]].concat(), "unread\n").0, all);
    assert_eq!(run(&exec, "a\r\n\nb c\nlast").0, all);
    assert_eq!(run(&[&["-a", "-"], &exec[..]].concat(), "a\n").0, "<a>");
    assert_eq!(run(&[&["-0"], &exec[..]].concat(), "a\nb\0\0c").0, "<a\nb><><c>");
    assert_eq!(run(&[&exec[..], &[":::", "x", "-a"]].concat(), "unread\n").0, "<x><-a>");
    assert_eq!(run(&[&["--"], &exec[..], &["--", ":::", "x"]].concat(), "").0, "<--><x>");
}

#[test]
fn no_input_is_no_work() {
    assert_eq!(run(&["wc"], ""), (String::new(), String::new(), 0));
    assert_eq!(run(&["wc", ":::"], "unread\n"), (String::new(), String::new(), 0));
    assert_eq!(run(&["-a", "/dev/null", "exec", "false"], ""), (String::new(), String::new(), 0));
}

#[test]
fn inputs_that_cannot_be_read_are_an_error_of_the_command() {
    for path in ["/no/such/list", "/"] {
        let (stdout, stderr, code) = run(&["-a", path, "wc"], "");
        assert_eq!((stdout.as_str(), code), ("", 125));
        assert!(stderr.starts_with(&format!("pool-run: cannot read inputs from {path}: ")), "{stderr}");
    }
}

#[test]
fn results_are_in_order_unless_order_is_not_wanted() {
    let numbers: String = (1..=500).rev().map(|n| format!("{n}\n")).collect();
    let (ordered, _, code) = run(&["-w4", "-k", "exec", "echo"], numbers.clone());
    assert_eq!((ordered.as_str(), code), (numbers.as_str(), 0));
    let (unordered, _, _) = run(&["-w4", "--unordered", "exec", "echo"], numbers.clone());
    let sorted = |text: &str| {
        let mut lines: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&unordered), sorted(&numbers));
}

#[test]
fn the_code_counts_failures_up_to_a_hundred() {
    for (failures, expected) in [(1, 1), (3, 3), (100, 100), (101, 101), (150, 101)] {
        let lines: String = (0..failures).map(|n| format!("x{n}\n")).collect();
        let (_, stderr, code) = run(&["primes"], lines);
        assert_eq!(code, expected);
        // Of one that was alone all has been said.
        let summary = (failures > 1).then(|| format!("pool-run: {failures} of {failures} jobs failed"));
        assert_eq!(stderr.lines().nth(failures), summary.as_deref());
        assert_eq!(stderr.lines().count(), failures + usize::from(summary.is_some()));
    }
}
