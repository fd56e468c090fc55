//! Where `pool-run` takes inputs from, and where they go in a command. What GNU parallel has too is compared with it,
//! where it is installed.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;

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

/// GNU parallel, if it is here. Where `SIDESTEP_NEEDS_PARALLEL` is set it has to be.
fn parallel() -> Option<&'static Path> {
    let path = Path::new("parallel");
    let found = Command::new(path).args(["--will-cite", "--version"]).output();
    let is_gnu = found.is_ok_and(|output| output.stdout.starts_with(b"GNU parallel"));
    if !is_gnu {
        assert!(std::env::var_os("SIDESTEP_NEEDS_PARALLEL").is_none(), "GNU parallel is not installed");
        eprintln!("SKIPPED: nothing is compared with GNU parallel, which is not installed");
    }
    is_gnu.then_some(path)
}

/// Options, the line of shell, and where its inputs come from; then standard input; then what comes out.
type Case = (&'static [&'static str], &'static str, &'static [&'static str], &'static str, &'static str);

const CASES: &[Case] = &[
    // One source.
    (&[], "echo", &[], "x\ny z\n", "x\ny z\n"),
    (&[], "echo", &[":::", "x", "y  z"], "", "x\ny  z\n"),
    (&[], "echo", &["::::", "one"], "", "a\nb c\n"),
    (&["-a", "one"], "echo", &[], "", "a\nb c\n"),
    (&["-0"], "echo", &[], "x\ny\0z\0", "x\ny\nz\n"),
    (&["-d", ";"], "echo", &[], "x;y;z", "x\ny\nz\n"),
    (&["-d", "\\t"], "echo", &[], "x\ty", "x\ny\n"),
    (&[], "echo", &[":::", "$HOME", "`id`", "it's", "-n", "*"], "", "$HOME\n`id`\nit's\n*\n"),
    // Several of them.
    (&[], "echo", &[":::", "a", "b", ":::", "1", "2"], "", "a 1\na 2\nb 1\nb 2\n"),
    (&[], "echo", &["::::", "one", "two"], "", "a 1\na 2\na 3\nb c 1\nb c 2\nb c 3\n"),
    (&["-a", "one", "-a", "two"], "echo {2}{1}", &[], "", "1a\n2a\n3a\n1b c\n2b c\n3b c\n"),
    (&["-a", "two"], "echo", &[":::", "x"], "", "1 x\n2 x\n3 x\n"),
    (&[], "echo", &["::::", "-", ":::", "x", "y"], "p\nq\n", "p x\np y\nq x\nq y\n"),
    (&[], "echo", &[":::", "a", "b", ":::+", "1", "2", ":::", "X", "Y"], "", "a 1 X\na 1 Y\nb 2 X\nb 2 Y\n"),
    (&[], "echo", &[":::", "a", "b", "c", ":::+", "1", "2"], "", "a 1\nb 2\n"),
    (&[], "echo", &["::::", "one", "::::+", "two"], "", "a 1\nb c 2\n"),
    (&["--link"], "echo", &[], "x\ny\n", "x\ny\n"),
    (&["--link"], "echo", &[":::", "a", "b", ":::", "1", "2", "3"], "", "a 1\nb 2\na 3\n"),
    // Columns.
    (&["--colsep", ","], "echo {2}-{1}", &[], "a,b\nc,d\n", "b-a\nd-c\n"),
    (&["-C", " +"], "echo {3}{-1}", &[], "a  b c\n", "cc\n"),
    (&["-C", ","], "echo", &[], "a,b\n", "a b\n"),
    (&["-C", ","], "echo [{3}]", &[], "a,b\n", "[]\n"),
    // Placeholders.
    (&[], "echo {} {}", &[":::", "a"], "", "a a\n"),
    (
        &[],
        "echo {.} {/} {//} {/.} {#}",
        &[":::", "d/e/f.tar.gz", "x"],
        "",
        "d/e/f.tar f.tar.gz d/e f.tar 1\nx x . x 2\n",
    ),
    (&[], "echo {2.} {2/} {1//} {1/.}", &[":::", "d/e.x", ":::", "p/q.r"], "", "p/q q.r d e\n"),
    (&[], "echo {#}", &[":::", "a", "b"], "", "1\n2\n"),
    (&[], "echo pre{}post", &[":::", "a b"], "", "prea bpost\n"),
    (&[], "cat {}", &[":::", "one"], "", "a\nb c\n"),
];

#[test]
fn inputs_are_combined_and_go_where_they_belong_as_with_gnu_parallel() {
    let pool_run = cargo_bin!("pool-run");
    let parallel = parallel();
    for (options, line, inputs, stdin, expected) in CASES {
        let args = |first: &[&'static str]| [first, options, &[*line], inputs].concat();
        let ours = [&["-w2"][..], options, &["sh", line], inputs].concat();
        let expected = ((*expected).to_owned(), Some(0));
        assert_eq!(run(pool_run, &ours, stdin), expected, "{ours:?}");
        if let Some(parallel) = parallel {
            let theirs = args(&["--will-cite", "-j2", "-k"]);
            assert_eq!(run(parallel, &theirs, stdin), expected, "parallel {theirs:?}");
        }
    }
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
