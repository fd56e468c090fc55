//! The command with a program's own jobs, as `sidestep::cli::main` gives it.
//!
//! This binary is both: the tests, and in another process the program that they run. So it has a `main` of its own.

use std::env;
use std::process::{Command, ExitCode, Output, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use sidestep::Registry;

/// Set where this binary is to be the program and not the tests.
const AS_PROGRAM: &str = "SIDESTEP_TEST_AS_PROGRAM";

fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn shout(text: String) -> String {
    text.to_uppercase()
}

fn half(n: u64) -> Result<u64, String> {
    if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) }
}

fn tell(text: String) {
    print!("{text} on stdout");
    eprintln!("{text} on stderr");
}

fn answer() -> u32 {
    42
}

fn crash(how: String) -> String {
    match how.as_str() {
        "panic" => panic!("as you wish"),
        "abort" => {
            eprintln!("last words");
            std::process::abort()
        }
        "exit" => std::process::exit(3),
        other => other.to_owned(),
    }
}

/// Leaves a program behind in a session of its own; returns its process id.
fn leave(seconds: String) -> u32 {
    let script = format!("setsid sleep {seconds} > /dev/null 2>&1 & echo $!");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Not the built-in job of this name.
fn wc(path: String) -> String {
    format!("own {path}")
}

fn main() -> ExitCode {
    let is_worker = env::args_os().nth(1).is_some_and(|argument| argument == "--sidestep-worker");
    if is_worker || env::var_os(AS_PROGRAM).is_some() {
        let jobs = Registry::new().job("add", add).job("shout", shout).job("half", half).job("tell", tell);
        let jobs = jobs.job("answer", answer).job("crash", crash).job("leave", leave).job("wc", wc);
        return sidestep::cli::main_with(jobs);
    }
    let tests: [(&str, fn()); 10] = [
        ("its_own_jobs_are_listed", its_own_jobs_are_listed),
        ("texts_become_arguments_by_type", texts_become_arguments_by_type),
        ("json_reaches_any_job", json_reaches_any_job),
        ("an_error_is_a_failure", an_error_is_a_failure),
        ("what_is_not_utf8_is_refused_by_line", what_is_not_utf8_is_refused_by_line),
        ("prints_are_no_results", prints_are_no_results),
        ("a_panic_is_told", a_panic_is_told),
        ("a_crash_costs_one_input", a_crash_costs_one_input),
        ("another_programs_jobs_run", another_programs_jobs_run),
        ("what_its_jobs_leave_behind_ends_with_it", what_its_jobs_leave_behind_ends_with_it),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.into_iter().map(trial).collect()).exit_code()
}

fn run(mut command: Command, args: &[&str], stdin: &[u8]) -> (String, String, Option<i32>) {
    use std::io::Write;
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let Output { stdout, stderr, status } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code())
}

/// Standard output, standard error and exit code of the program.
fn own(args: &[&str], stdin: &[u8]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(AS_PROGRAM, "1");
    run(command, args, stdin)
}

fn its_own_jobs_are_listed() {
    let (stdout, stderr, code) = own(&["--list"], b"");
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    assert!(stdout.starts_with("add(i64, i64) -> i64\n"), "{stdout}");
    assert!(stdout.contains("\ntell(String)\n"), "{stdout}");
    let wc = stdout.lines().find(|line| line.starts_with("wc(String) -> String")).unwrap();
    assert!(wc.contains("instead of the built-in"), "{wc}");
    assert_eq!(own(&["wc", "x"], b"").0, "own x\n");
    let (_, stderr, code) = own(&["shuot", "x"], b"");
    assert!(code == Some(127) && stderr.contains("did you mean \"shout\"?"), "{stderr}");
}

fn texts_become_arguments_by_type() {
    assert_eq!(own(&["shout", "a", "b c"], b"").0, "A\nB C\n");
    assert_eq!(own(&["add", "40"], b"").2, Some(64));
    assert_eq!(own(&["add", "40", ":::", "2", "-50"], b"").0, "42\n-10\n");
    assert_eq!(own(&["-a-", "add", "1"], b"1\n2\n").0, "2\n3\n");
    assert_eq!(own(&["answer"], b"unread\n").0, "42\n");
    assert_eq!(own(&["answer", ":::", "x"], b"").2, Some(64));
    assert_eq!(own(&["shout"], b"\n").0, "\n");
}

fn json_reaches_any_job() {
    assert_eq!(own(&["--json", "add"], b"[1, 2]\n[3,4]\n").0, "3\n7\n");
    assert_eq!(own(&["--json", "add", "10"], b"").2, Some(1));
    assert_eq!(own(&["--json", "add", "10", ":::", "5"], b"").0, "15\n");
    assert_eq!(own(&["--json", "shout"], b"\"a\\nb\"\n").0, "\"A\\nB\"\n");
    assert_eq!(own(&["--json", "answer"], b"").0, "42\n");
    let (stdout, stderr, code) = own(&["--json", "add"], b"[1]\n7\n[1, 2, 3]\n[1, \"x\"]\n[2, 2]\n");
    assert_eq!((stdout.as_str(), code), ("4\n", Some(4)), "{stderr}");
    assert!(stderr.contains("(line 2): it is no JSON array of 2 arguments"), "{stderr}");
    assert!(stderr.contains("(line 4): ") && stderr.contains("i64"), "{stderr}");
}

fn an_error_is_a_failure() {
    let (stdout, stderr, code) = own(&["half", "2", "3", "4"], b"");
    assert_eq!((stdout.as_str(), code), ("1\n2\n", Some(1)));
    assert!(stderr.contains(": half failed on 3 (input 2): 3 is odd\n"), "{stderr}");
    let (_, stderr, _) = own(&["--json", "half", "3"], b"");
    assert!(stderr.contains(": half failed on 3 (input 1): 3 is odd\n"), "{stderr}");
}

fn what_is_not_utf8_is_refused_by_line() {
    let (stdout, stderr, code) = own(&["shout"], b"a\n\xff\nc\n");
    assert_eq!((stdout.as_str(), code), ("A\nC\n", Some(1)));
    assert!(stderr.contains(": shout failed on \\xff (line 2): ") && stderr.contains("UTF-8"), "{stderr}");
}

fn prints_are_no_results() {
    for option in ["-k", "--line-buffer", "--ungroup"] {
        let (stdout, stderr, code) = own(&[option, "tell", "a", "b"], b"");
        assert_eq!((stdout.as_str(), code), ("", Some(0)), "{option}");
        for line in ["a on stdout", "a on stderr\n", "b on stdout", "b on stderr\n"] {
            assert!(stderr.contains(line), "{option}: {stderr}");
        }
    }
}

fn a_panic_is_told() {
    let (stdout, stderr, code) = own(&["crash", "panic", "fine"], b"");
    assert_eq!((stdout.as_str(), code), ("fine\n", Some(1)));
    assert!(stderr.contains(": crash failed on panic (input 1): it panicked at "), "{stderr}");
    assert!(stderr.contains(": as you wish\n"), "{stderr}");
}

fn a_crash_costs_one_input() {
    let (stdout, stderr, code) = own(&["-w2", "crash", "a", "abort", "b", "exit", "c"], b"");
    assert_eq!((stdout.as_str(), code), ("a\nb\nc\n", Some(2)), "{stderr}");
    assert!(stderr.contains(": crash failed on abort (input 2): its worker (process "), "{stderr}");
    assert!(stderr.contains(") was killed by SIGABRT") && stderr.contains("\n    last words\n"), "{stderr}");
    assert!(stderr.contains(": crash failed on exit (input 4): its worker (process "), "{stderr}");
    assert!(stderr.contains(") exited with code 3"), "{stderr}");
}

fn another_programs_jobs_run() {
    let program = env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let other = |args: &[&str], stdin: &[u8]| {
        let command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
        run(command, &[&["--exe", program], args].concat(), stdin)
    };
    assert_eq!(other(&["shout"], b"a\nb\n"), ("A\nB\n".into(), String::new(), Some(0)));
    assert_eq!(other(&["--json", "add"], b"[1, 2]\n").0, "3\n");
    assert!(other(&["--list"], b"").0.contains("\nshout(String) -> String"));
    let (_, stderr, code) = other(&["shuot", "x"], b"");
    assert_eq!(code, Some(127));
    assert!(
        stderr.contains(&format!("no job named \"shuot\" in {program} (did you mean \"shout\"?")),
        "{stderr}"
    );
    assert_eq!(other(&["exec", "printf", "<%s>", ":::", "x"], b"").0, "<x>");
}

fn what_its_jobs_leave_behind_ends_with_it() {
    // Elsewhere nobody gets at it.
    if cfg!(sidestep_portable) || cfg!(not(target_os = "linux")) {
        return;
    }
    let (stdout, stderr, code) = own(&["-w2", "leave", "0", "1000", "0", "2000"], b"");
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    for pid in stdout.lines() {
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "{pid} of {stdout}");
    }
}
