//! The built-in jobs of `pool-run`, against the programs that people know.
#![cfg(feature = "cli")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin_cmd;

/// What a command wrote, and how it ended.
struct Ran {
    stdout: Vec<u8>,
    stderr: String,
    code: Option<i32>,
}

fn pool_run<A: AsRef<OsStr>>(args: &[A], stdin: impl Into<Vec<u8>>) -> Ran {
    let output = cargo_bin_cmd!("pool-run").args(args).write_stdin(stdin).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Ran { stdout: output.stdout, stderr, code: output.status.code() }
}

impl Ran {
    fn text(&self) -> &str {
        str::from_utf8(&self.stdout).unwrap()
    }
}

/// Names that break shells, lines and encodings.
const NAMES: [&[u8]; 10] = [
    b"plain",
    b"two words",
    b"new\nline",
    b"back\\slash",
    b"return\r",
    b"not-utf8-\xff\xfe",
    b"-dash",
    b"it's \"quoted\"",
    "é\n'x'".as_bytes(),
    b"tab\t*?[$HOME]",
];

fn odd_files(folder: &Path) -> Vec<PathBuf> {
    let contents: [&[u8]; 5] =
        [b"", b"no newline", b"one two\nthree\n", b"\xc2\xa0a\xff b\x00\x01 \xe2\x80\x83c", &[b'x'; 200_000]];
    let write = |(number, name): (usize, &&[u8])| {
        let path = folder.join(OsStr::from_bytes(name));
        fs::write(&path, contents[number % contents.len()]).unwrap();
        path
    };
    NAMES.iter().enumerate().map(write).collect()
}

fn nul_separated(paths: &[PathBuf]) -> Vec<u8> {
    paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect()
}

#[test]
fn sha256_prints_what_sha256sum_prints() {
    let folder = tempfile::tempdir().unwrap();
    let files = odd_files(folder.path());
    let expected = Command::new("sha256sum").args(&files).output().unwrap().stdout;
    let ran = pool_run(&["-0", "--workers", "3", "sha256"], nul_separated(&files));
    assert_eq!((ran.stdout.as_slice(), ran.code), (expected.as_slice(), Some(0)), "{}", ran.stderr);
    let as_arguments: Vec<&OsStr> =
        ["sha256".as_ref(), ":::".as_ref()].into_iter().chain(files.iter().map(|f| f.as_os_str())).collect();
    assert_eq!(pool_run(&as_arguments, "").stdout, expected);
}

#[test]
fn wc_prints_what_wc_prints_in_every_locale() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = odd_files(folder.path());
    files.push("/dev/null".into());
    for locale in ["C", "C.UTF-8", "no_SUCH.locale"] {
        let wc = |file| Command::new("wc").arg(file).env("LC_ALL", locale).output().unwrap().stdout;
        let expected: Vec<u8> = files.iter().flat_map(wc).collect();
        let mut command = cargo_bin_cmd!("pool-run");
        let output =
            command.args(["-0", "wc"]).env("LC_ALL", locale).write_stdin(nul_separated(&files)).output();
        let found = output.unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected), "in {locale}");
    }
}

#[test]
fn real_files_in_the_order_of_their_names() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output =
        Command::new("find").args(["src", "worker/src", "-type", "f"]).current_dir(source).output().unwrap();
    for (job, program) in [("sha256", "sha256sum"), ("wc", "wc")] {
        let names = String::from_utf8(output.stdout.clone()).unwrap();
        let run = |name: &str| Command::new(program).arg(name).current_dir(source).output().unwrap().stdout;
        let expected: Vec<u8> = names.lines().flat_map(run).collect();
        let mut command = cargo_bin_cmd!("pool-run");
        let found =
            command.args(["--workers", "16", job]).current_dir(source).write_stdin(names).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&expected));
    }
}

#[test]
fn primes_are_right() {
    let ran = pool_run(&["--workers", "16", "primes", "100000", "200000", "300000"], "");
    assert_eq!((ran.text(), ran.code), ("9592\n17984\n25997\n", Some(0)), "{}", ran.stderr);
}

#[test]
fn an_unreadable_file_costs_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "a b\n").unwrap();
    let lines = format!("/no/such\n{}\n/\n", file.display());
    let ran = pool_run(&["wc"], lines);
    assert_eq!((ran.text(), ran.code), (format!("1 2 4 {}\n", file.display()).as_str(), Some(2)));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines[0], "pool-run: wc failed on /no/such (line 1): No such file or directory");
    assert_eq!(lines[1], "pool-run: wc failed on / (line 3): Is a directory");
    assert_eq!(lines[2], "pool-run: 2 of 3 jobs failed");
    assert_eq!(lines.len(), 3);
}

#[test]
fn exec_puts_the_input_where_it_belongs_without_a_shell() {
    let ran = pool_run(&["exec", "printf", "[%s]", "{}.{}", "$HOME", ":::", "a b", "*"], "");
    assert_eq!((ran.text(), ran.code), ("[a b.a b][$HOME][*.*][$HOME]", Some(0)), "{}", ran.stderr);
    let ran = pool_run(&["exec", "printf", "<%s>"], "a b\n-n\n");
    assert_eq!(ran.text(), "<a b><-n>");
    let ran = pool_run(&["-q", "exec", "/no/such/program", ":::", "x"], "");
    assert_eq!(ran.code, Some(1));
    let cause = "exec failed on x (input 1): cannot start /no/such/program: No such file or directory\n";
    assert_eq!(ran.stderr, format!("pool-run: {cause}"));
}

#[test]
fn sh_quotes_any_input() {
    let folder = tempfile::tempdir().unwrap();
    let files = odd_files(folder.path());
    let ran = pool_run(&["-0", "sh", "wc -c <{}"], nul_separated(&files));
    let sizes: Vec<u64> = ran.text().lines().map(|line| line.trim().parse().unwrap()).collect();
    let expected: Vec<u64> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
    assert_eq!(sizes, expected, "{}", ran.stderr);
    assert_eq!(pool_run(&["sh", "printf %s,"], "a b\n$(exit 9)\n\n").text(), "a b,$(exit 9),,");
}

#[test]
fn programs_get_no_input_and_are_never_mixed() {
    let numbers: String = (1..=40).map(|n| format!("{n}\n")).collect();
    let line = "cat; for part in a b c; do echo {} $part; echo {} $part >&2; done";
    let ran = pool_run(&["-w4", "sh", line], numbers);
    let expected: String =
        (1..=40).flat_map(|n| ["a", "b", "c"].map(|part| format!("{n} {part}\n"))).collect();
    assert_eq!((ran.text(), ran.stderr.as_str(), ran.code), (expected.as_str(), expected.as_str(), Some(0)));
}

#[test]
fn a_large_output_is_whole() {
    let ran = pool_run(&["sh", "head -c {} /dev/zero", ":::", "5000000", "0", "70000"], "");
    assert_eq!((ran.stdout.len(), ran.code), (5_070_000, Some(0)), "{}", ran.stderr);
}

#[test]
fn a_failed_program_is_told_with_its_outputs() {
    let ran = pool_run(&["-q", "sh", "echo out; printf err >&2; exit {}", ":::", "3", "0"], "");
    assert_eq!((ran.text(), ran.code), ("out\nout\n", Some(1)));
    assert_eq!(ran.stderr, "err\npool-run: sh failed on 3 (input 1): it ended with exit code 3\nerr");
    let ran = pool_run(&["-q", "sh", "kill -9 $$ #", ":::", "x"], "");
    assert_eq!(ran.stderr, "pool-run: sh failed on x (input 1): it was killed by SIGKILL\n");
}

#[test]
fn json_of_programs_is_a_line_each() {
    let ran = pool_run(&["-q", "--json", "sh", "echo {}; exit {}", ":::", "0", "4"], "");
    let lines: Vec<serde_json::Value> =
        ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, (code, stdout)) in lines.iter().zip([(0, "0\n"), (4, "4\n")]) {
        let expected = serde_json::json!({
            "code": code, "signal": null, "stdout": stdout, "stderr": "",
            "began": line["began"], "took": line["took"], "user": line["user"], "system": line["system"],
            "max_rss": line["max_rss"], "slot": line["slot"], "pid": line["pid"],
        });
        assert_eq!(*line, expected);
        let number = |name: &str| line[name].as_f64().unwrap();
        assert!(number("began") > 1.7e9 && number("took") > 0.0 && number("took") < 60.0, "{line}");
        assert!(number("user") + number("system") < number("took") + 1.0, "{line}");
        assert!(number("max_rss") > 100_000.0 && number("slot") >= 1.0 && number("pid") > 1.0, "{line}");
    }
    assert_eq!((lines.len(), ran.code), (2, Some(1)));
}
