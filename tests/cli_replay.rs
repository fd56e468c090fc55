//! Jobs that have failed are kept (`--failed-dir`) and run again in the foreground (`--replay`).
//!
//! This binary is the tests, and in other processes the programs that they run: one that is a whole command, and one that
//! only calls `init`. So it has a `main` of its own.
#![cfg(feature = "cli")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use sidestep::Registry;
use tempfile::TempDir;

/// No wait takes longer unless it hangs.
const LONG: Duration = Duration::from_secs(25);

/// Set where this binary is to be a program, and says which.
const AS_PROGRAM: &str = "SIDESTEP_TEST_AS_PROGRAM";
/// One whose main is `cli::main_with`,
const COMMAND: &str = "command";
/// and one that calls `init_with`, and else is its own.
const LIBRARY: &str = "library";

/// A job that goes wrong in the way that is wanted.
fn fail(how: String) -> Result<String, String> {
    println!("before {how}");
    match how.as_str() {
        "panic" => panic!("as you wish"),
        "abort" => {
            eprintln!("last words");
            std::process::abort()
        }
        // SAFETY: there is nothing to be read, and that is what it is for.
        "segfault" => Ok(unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() }.to_string()),
        "error" => Err("it was not to be".into()),
        "once" if fs::exists("tried").unwrap() => Ok("well".into()),
        "once" => {
            fs::write("tried", "").unwrap();
            Err("not yet".into())
        }
        other => Ok(other.into()),
    }
}

/// Says where it is, and which job. In a worker that is an error.
fn place(of: String) -> Result<String, String> {
    let (id, folder) = (sidestep::context().id(), env::current_dir().unwrap());
    let text = format!("{of} {id} {}", folder.display());
    if env::args_os().any(|word| word == "--sidestep-worker") { Err(text) } else { Ok(text) }
}

fn sum(a: i8, b: i8) -> Result<i8, String> {
    a.checked_add(b).ok_or_else(|| "it is \"too much\"".into())
}

fn main() -> ExitCode {
    let jobs = || Registry::new().job("fail", fail).job("place", place).job("sum", sum);
    match env::var(AS_PROGRAM).as_deref() {
        Ok(COMMAND) => return sidestep::cli::main_with(jobs()),
        Ok(LIBRARY) => {
            sidestep::init_with(jobs());
            println!("init has returned");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let tests: &[(&str, fn())] = &[
        ("an_error_and_a_result_are_told_as_in_a_run", an_error_and_a_result_are_told_as_in_a_run),
        ("a_panic_ends_the_process_as_any_program", a_panic_ends_the_process_as_any_program),
        ("a_signal_ends_the_process_itself", a_signal_ends_the_process_itself),
        ("other_arguments_do_not_concern_init", other_arguments_do_not_concern_init),
        ("a_built_in_function_is_replayed", a_built_in_function_is_replayed),
        ("json_is_replayed_as_json", json_is_replayed_as_json),
        ("a_job_runs_where_it_was_and_knows_its_number", a_job_runs_where_it_was_and_knows_its_number),
        ("a_program_gets_its_words_as_they_are", a_program_gets_its_words_as_they_are),
        ("a_program_gets_its_block_and_its_environment", a_program_gets_its_block_and_its_environment),
        ("a_line_of_shell_is_replayed", a_line_of_shell_is_replayed),
        ("a_file_says_what_happened", a_file_says_what_happened),
        ("what_is_wrong_with_a_file_is_told", what_is_wrong_with_a_file_is_told),
        ("a_program_that_has_changed_is_told_of", a_program_that_has_changed_is_told_of),
        ("a_program_that_is_gone_can_be_named", a_program_that_is_gone_can_be_named),
        ("only_the_last_attempt_is_kept", only_the_last_attempt_is_kept),
        (
            "an_input_that_was_refused_is_kept_and_has_nothing_to_run",
            an_input_that_was_refused_is_kept_and_has_nothing_to_run,
        ),
        ("what_was_ended_is_kept", what_was_ended_is_kept),
        ("a_full_disk_ends_the_run_and_names_the_file", a_full_disk_ends_the_run_and_names_the_file),
        ("a_result_that_cannot_be_written_is_told", a_result_that_cannot_be_written_is_told),
        ("no_other_process_is_started", no_other_process_is_started),
        ("a_debugger_sees_where_it_crashes", a_debugger_sees_where_it_crashes),
    ];
    let trial = |&(name, test): &(&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.iter().map(trial).collect()).exit_code()
}

/// A folder of a test's own, in which programs run; this binary is one of them there.
struct Place {
    folder: TempDir,
    kind: &'static str,
}

/// What a program has written, and how it ended: its code, or 128 and the signal.
#[derive(Debug, PartialEq)]
struct Ran {
    stdout: Vec<u8>,
    stderr: String,
    code: i32,
}

impl Ran {
    #[track_caller]
    fn is(&self, stdout: &str, stderr: &str, code: i32) {
        let told = stdout.as_bytes() == self.stdout && self.stderr.contains(stderr);
        assert!(told && self.code == code, "{}{self:?}", self.stdout.escape_ascii());
    }
}

impl Place {
    fn new(kind: &'static str) -> Place {
        Place { folder: tempfile::tempdir().unwrap(), kind }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run<S: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: &[S], stdin: &[u8]) -> Ran {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env(AS_PROGRAM, self.kind)
            .env_remove("RUST_BACKTRACE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Not all of them read it.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let Output { stdout, stderr, status } = child.wait_with_output().unwrap();
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        Ran { stdout, stderr: String::from_utf8(stderr).unwrap(), code }
    }

    fn pool_run<S: AsRef<OsStr>>(&self, args: &[S], stdin: &[u8]) -> Ran {
        self.run(env!("CARGO_BIN_EXE_pool-run"), args, stdin)
    }

    fn replay(&self, file: &Path) -> Ran {
        self.pool_run(&[OsStr::new("--replay"), file.as_os_str()], b"unread")
    }

    /// Has a job of the program fail; the file that keeps it.
    #[track_caller]
    fn keep(&self, args: &[&str]) -> PathBuf {
        let program = env::current_exe().unwrap();
        self.keep_in(&program, args)
    }

    #[track_caller]
    fn keep_in(&self, program: &Path, args: &[&str]) -> PathBuf {
        let failed = ["-q", "-w1", "--failed-dir", "failed"];
        let ran = match self.kind {
            COMMAND => self.run(program, &[&failed, args].concat(), b""),
            _ => {
                let other = ["--exe", program.to_str().unwrap()];
                self.pool_run(&[&failed[..], &other, args].concat(), b"")
            }
        };
        assert_eq!(ran.code, 1, "{ran:?}");
        self.kept()
    }

    /// The one file that keeps a job.
    #[track_caller]
    fn kept(&self) -> PathBuf {
        let names = self.all_kept();
        assert_eq!(names.len(), 1, "{names:?}");
        self.path("failed").join(&names[0])
    }

    fn all_kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("failed")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// What the first line of a file says.
fn header(file: &Path) -> Value {
    let bytes = fs::read(file).unwrap();
    serde_json::from_slice(bytes.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

fn an_error_and_a_result_are_told_as_in_a_run() {
    for kind in [COMMAND, LIBRARY] {
        let place = Place::new(kind);
        let file = place.keep(&["fail", "error"]);
        let own = env::current_exe().unwrap();
        place.replay(&file).is("", ": fail failed: it was not to be\n", 1);
        place.replay(&file).is("", "before error\n", 1);
        if kind == COMMAND {
            place.run(own, &[OsStr::new("--replay"), file.as_os_str()], b"").is(
                "",
                ": it was not to be\n",
                1,
            );
        }
        fs::remove_file(file).unwrap();
        let file = place.keep(&["fail", "once"]);
        place.replay(&file).is("well\n", "before once\n", 0);
    }
}

fn a_panic_ends_the_process_as_any_program() {
    for kind in [COMMAND, LIBRARY] {
        let place = Place::new(kind);
        let file = place.keep(&["fail", "panic"]);
        let ran = place.replay(&file);
        ran.is("", "panicked at tests/cli_replay.rs", 101);
        ran.is("", "as you wish\n", 101);
        if kind == COMMAND {
            let own =
                place.run(env::current_exe().unwrap(), &[OsStr::new("--replay"), file.as_os_str()], b"");
            own.is("", "as you wish\n", 101);
            assert!(!own.stderr.contains("this is a bug"), "{own:?}");
        }
    }
}

fn a_signal_ends_the_process_itself() {
    for (how, code, said) in [("abort", 128 + 6, "last words\n"), ("segfault", 128 + 11, "before segfault\n")]
    {
        for kind in [COMMAND, LIBRARY] {
            let place = Place::new(kind);
            let file = place.keep(&["fail", how]);
            assert_eq!(header(&file)["status"], "crashed");
            place.replay(&file).is("", said, code);
        }
    }
}

fn other_arguments_do_not_concern_init() {
    let place = Place::new(LIBRARY);
    let run = |args: &[&str]| place.run(env::current_exe().unwrap(), args, b"");
    for args in [&[][..], &["x", "--sidestep-replay", "x"], &["--sidestep-replays", "x"], &["--replay", "x"]]
    {
        run(args).is("init has returned\n", "", 0);
    }
    run(&["--sidestep-replay"]).is("", "there is no file behind --sidestep-replay\n", 125);
    run(&["--sidestep-replay", "none"]).is("", ": cannot replay none: No such file", 125);
    assert_eq!(place.pool_run(&["-q", "--failed-dir", "failed", "exec", "false", ":::", "x"], b"").code, 1);
    let file = place.kept();
    run(&["--sidestep-replay", file.to_str().unwrap()]).is(
        "",
        ": exec is a job of pool-run: pool-run --replay ",
        125,
    );
}

fn a_built_in_function_is_replayed() {
    let place = Place::new(COMMAND);
    assert_eq!(place.pool_run(&["-q", "--failed-dir", "failed", "sha256", "a b"], b"").code, 1);
    let file = place.kept();
    place.replay(&file).is("", ": sha256 failed: ", 1);
    File::create(place.path("a b")).unwrap();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a b\n";
    place.replay(&file).is(empty, "", 0);
    // Also by a command with other jobs beside it; no program has another one.
    let own = env::current_exe().unwrap();
    place.run(&own, &[OsStr::new("--replay"), file.as_os_str()], b"").is(empty, "", 0);
    let exe = [OsStr::new("--exe"), own.as_os_str(), OsStr::new("--replay"), file.as_os_str()];
    place.pool_run(&exe, b"").is("", "it needs no --exe", 64);
}

fn json_is_replayed_as_json() {
    let place = Place::new(LIBRARY);
    let file = place.keep(&["--json", "sum", ":::", "[100, 100]"]);
    place.replay(&file).is("", ": sum failed: it is \"too much\"\n", 1);
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.ends_with(b"}\n[100, 100]"), "{}", bytes.escape_ascii());
}

fn a_job_runs_where_it_was_and_knows_its_number() {
    let place = Place::new(LIBRARY);
    let program = env::current_exe().unwrap();
    let args = ["-w1", "--failed-dir", "failed", "--exe", program.to_str().unwrap(), "place", "a", "b"];
    let ran = place.pool_run(&args, b"");
    let told = format!("b 2 {}", place.folder.path().canonicalize().unwrap().display());
    ran.is("", &format!(": place failed on b (input 2): {told}\n"), 2);
    let file = place.path("failed").join("000002-place.failed");
    let elsewhere = Place::new(LIBRARY);
    elsewhere.replay(&file).is(&format!("{told}\n"), "", 0);
}

fn a_program_gets_its_words_as_they_are() {
    let place = Place::new(COMMAND);
    let odd = OsString::from_vec(b"\xff\xfe".to_vec());
    let line = "printf '<%s>' \"$@\"; pwd; cat; exit 4";
    let words = ["exec", "sh", "-c", line, "x", "a  b", "c\nd", "{}", "{#}-{%}"];
    let options = ["-q", "-0", "--failed-dir", "failed"];
    let args: Vec<OsString> =
        options.iter().chain(&words).map(OsString::from).chain([odd, "'$x' *".into()]).collect();
    let ran = place.pool_run(&args, b"\xe9 \n\0");
    assert_eq!(ran.code, 1, "{ran:?}");
    // Which slot it has is chance, and the same in the replay.
    assert!(ran.stdout.starts_with(b"<a  b><c\nd><\xe9 \n><1-"), "{ran:?}");
    let end = b"><\xff\xfe><'$x' *>/";
    assert!(ran.stdout.windows(end.len()).any(|bytes| bytes == end), "{ran:?}");
    let replayed = place.replay(&place.kept());
    assert_eq!((replayed.stdout, replayed.code), (ran.stdout, 4), "{}", replayed.stderr);
}

fn a_program_gets_its_block_and_its_environment() {
    let place = Place::new(COMMAND);
    let line = "md5sum; echo $POOL_RUN_SEQ $POOL_RUN_SLOT $PARALLEL_SEQ $PARALLEL_JOBSLOT; exit 1";
    let args = ["-q", "-w1", "--pipe", "--block", "300K", "--failed-dir", "failed", "exec", "sh", "-c", line];
    let block: Vec<u8> = (0..200_000u32).flat_map(u32::to_be_bytes).collect();
    let ran = place.pool_run(&args, &block);
    let files = place.all_kept();
    assert!(ran.code as usize == files.len() && files.len() > 1, "{ran:?}");
    let mut replayed = Vec::new();
    for file in files {
        let one = place.replay(&place.path("failed").join(file));
        assert_eq!(one.code, 1, "{one:?}");
        replayed.extend(one.stdout);
    }
    assert!(replayed.ends_with(b" 1\n") && replayed == ran.stdout, "{}", replayed.escape_ascii());
}

fn a_line_of_shell_is_replayed() {
    let place = Place::new(COMMAND);
    let args = ["-q", "--failed-dir", "failed", "sh", "echo {}; echo err >&2; kill -SEGV $$", ":::", "it's"];
    assert_eq!(place.pool_run(&args, b"").code, 1);
    let file = place.kept();
    assert_eq!(header(&file)["stderr"], "err\n");
    place.replay(&file).is("it's\n", "err\n", 128 + 11);
    // What is not there any more, as a shell tells it.
    let args = ["-q", "--failed-dir", "gone", "exec", "no-such-program", ":::", "x"];
    assert_eq!(place.pool_run(&args, b"").code, 1);
    place.replay(&place.path("gone/000001-exec.failed")).is(
        "",
        ": cannot start no-such-program: No such",
        127,
    );
}

fn a_file_says_what_happened() {
    let place = Place::new(LIBRARY);
    let file = place.keep(&["fail", "abort"]);
    assert_eq!(file.file_name().unwrap(), "000001-fail.failed");
    let kept = header(&file);
    for (field, value) in [("job", "fail"), ("input", "abort"), ("status", "crashed"), ("encoding", "Text")] {
        assert_eq!(kept[field], value);
    }
    assert!(kept["stderr"].as_str().unwrap().contains("last words"), "{kept}");
    assert!(kept["error"].as_str().unwrap().contains("was killed by SIGABRT"), "{kept}");
    assert_eq!(kept["program"]["path"], env::current_exe().unwrap().to_str().unwrap());
    assert_eq!(kept["program"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!((&kept["number"], &kept["attempts"]), (&1.into(), &1.into()));
    assert!(
        fs::read(&file).unwrap().ends_with(b"}\n\x05\0\0\0abort"),
        "the arguments as they were handed in"
    );
}

fn what_is_wrong_with_a_file_is_told() {
    let place = Place::new(LIBRARY);
    let file = place.keep(&["fail", "error"]);
    let whole = fs::read(&file).unwrap();
    let bad = |bytes: &[u8], said: &str| {
        let path = place.path("bad");
        fs::write(&path, bytes).unwrap();
        for args in [["--replay", "bad"], ["--sidestep-replay", "bad"]] {
            let program = env::current_exe().unwrap();
            let pool_run = Path::new(env!("CARGO_BIN_EXE_pool-run"));
            let ran = place.run(if args[0] == "--replay" { pool_run } else { &program }, &args, b"");
            ran.is("", &format!(": cannot replay bad: {said}"), 125);
        }
    };
    bad(&whole[..whole.len() - 1], "it should have 9 bytes of arguments, and has 8: it is not whole\n");
    bad(&[&whole[..], b"\n"].concat(), "it should have 9 bytes of arguments, and has 10");
    bad(&whole[..200], "its first line is damaged: ");
    bad(b"", "it is no file that --failed-dir has written\n");
    bad(b"#!/bin/sh\n", "it is no file that --failed-dir has written\n");
    bad(
        b"{\"sidestep_failed_job\":2,\"x\":[]}\n",
        "it has version 2 of the format, and this program knows 1: ",
    );
    bad(
        &String::from_utf8_lossy(&whole).replacen("Text", "Morse", 1).into_bytes(),
        "its first line is damaged: ",
    );
    let path = place.path("other");
    let renamed = String::from_utf8_lossy(&whole).replacen("\"job\":\"fail\"", "\"job\":\"fall\"", 1);
    fs::write(&path, renamed).unwrap();
    place.replay(&path).is("", ": this program has no job named \"fall\"\n", 127);
}

/// This binary under another name, so that it can be changed.
fn copied(place: &Place) -> PathBuf {
    let path = place.path("program");
    fs::copy(env::current_exe().unwrap(), &path).unwrap();
    path
}

/// A program to write to, once nobody runs it: a copy that was killed may still be on its way out.
fn writable(program: &Path) -> File {
    let begin = Instant::now();
    loop {
        match File::options().append(true).open(program) {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && begin.elapsed() < LONG => {
                thread::sleep(Duration::from_millis(1));
            }
            file => return file.unwrap(),
        }
    }
}

fn a_program_that_has_changed_is_told_of() {
    const SAID: &str = "the program is not the one in which the job failed";
    for kind in [COMMAND, LIBRARY] {
        let place = Place::new(kind);
        let program = copied(&place);
        let file = place.keep_in(&program, &["fail", "once"]);
        let same = place.replay(&file);
        same.is("well\n", "before once\n", 0);
        assert!(!same.stderr.contains(SAID), "{same:?}");
        // What stands behind a program's end changes nothing but its digest.
        writable(&program).write_all(b"x").unwrap();
        place.replay(&file).is("well\n", SAID, 0);
        if kind == COMMAND {
            place.run(&program, &[OsStr::new("--replay"), file.as_os_str()], b"").is("well\n", SAID, 0);
        }
    }
}

fn a_program_that_is_gone_can_be_named() {
    let place = Place::new(LIBRARY);
    let program = copied(&place);
    let file = place.keep_in(&program, &["fail", "once"]);
    fs::rename(&program, place.path("moved")).unwrap();
    place.replay(&file).is("", ": there is no program ", 127);
    let args = [OsStr::new("--exe"), OsStr::new("moved"), OsStr::new("--replay"), file.as_os_str()];
    place.pool_run(&args, b"").is("well\n", "before once\n", 0);
}

fn only_the_last_attempt_is_kept() {
    let place = Place::new(COMMAND);
    let program = env::current_exe().unwrap();
    let options = ["-q", "-w1", "--retries", "3", "--failed-dir", "failed", "fail"];
    let ran = place.run(&program, &[&options[..], &["once", "fine"]].concat(), b"");
    assert_eq!((ran.code, place.all_kept()), (0, vec![]), "{ran:?}");
    let ran = place.run(&program, &[&options[..], &["fine", "error"]].concat(), b"");
    assert_eq!((ran.code, place.all_kept()), (1, vec!["000002-fail.failed".to_owned()]), "{ran:?}");
    assert_eq!(header(&place.kept())["attempts"], 3);
}

fn an_input_that_was_refused_is_kept_and_has_nothing_to_run() {
    let place = Place::new(COMMAND);
    let args = ["-q", "--failed-dir", "failed", "exec", "echo"];
    assert_eq!(place.pool_run(&args, b"a\0b\n").code, 1);
    let file = place.kept();
    assert_eq!((&header(&file)["status"], &header(&file)["arguments"]), (&"refused".into(), &Value::Null));
    place.replay(&file).is("", ": exec failed: no program can be given a NUL byte", 1);
    fs::remove_file(file).unwrap();
    // Of those that the job itself refuses there are arguments.
    let file = place.keep(&["sum", "1", ":::", "x"]);
    place.replay(&file).is("", "not a number that fits i8", 1);
}

fn what_was_ended_is_kept() {
    let place = Place::new(COMMAND);
    let args = ["-q", "--timeout", "20ms", "--failed-dir", "failed", "exec", "sleep", ":::", "1000"];
    assert_eq!(place.pool_run(&args, b"").code, 1);
    assert_eq!(header(&place.kept())["status"], "timed out");
    let line = "[ {} = 2 ] && touch go && exec sleep 1000; until [ -e go ]; do sleep 0.01; done; exit 3";
    let args = ["-q", "-w2", "--halt", "now,fail=1", "--failed-dir", "failed", "sh", line, ":::", "1", "2"];
    assert_eq!(place.pool_run(&args, b"").code, 3);
    let statuses = place
        .all_kept()
        .iter()
        .map(|name| header(&place.path("failed").join(name))["status"].clone())
        .collect::<Vec<_>>();
    assert_eq!(statuses, ["timed out", "failed", "ended"], "{:?}", place.all_kept());
}

fn a_full_disk_ends_the_run_and_names_the_file() {
    let place = Place::new(COMMAND);
    fs::create_dir(place.path("failed")).unwrap();
    symlink("/dev/full", place.path("failed/.000001-exec.failed.part")).unwrap();
    let ran = place.pool_run(&["-q", "--failed-dir", "failed", "exec", "false", ":::", "x"], b"");
    ran.is("", ": cannot write failed/000001-exec.failed: No space left on device", 125);
    assert_eq!(place.all_kept(), [""; 0]);
    let ran = place.pool_run(&["--failed-dir", "/dev/null/x", "exec", "false", ":::", "x"], b"");
    ran.is("", ": cannot write /dev/null/x: ", 125);
}

fn a_result_that_cannot_be_written_is_told() {
    for kind in [COMMAND, LIBRARY] {
        let place = Place::new(kind);
        let file = place.keep(&["fail", "once"]);
        let line = "\"$0\" --replay \"$1\" > /dev/full";
        let args = [
            OsStr::new("-c"),
            OsStr::new(line),
            OsStr::new(env!("CARGO_BIN_EXE_pool-run")),
            file.as_os_str(),
        ];
        place.run("sh", &args, b"").is("", ": cannot write to standard output: No space", 125);
    }
}

/// What a tool prints that runs a replay; `None` where there is no such tool, or it may not.
fn watched(place: &Place, tool: &[&str], file: &Path) -> Option<String> {
    if Command::new(tool[0]).arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no {}", tool[0]);
        return None;
    }
    let words = [env!("CARGO_BIN_EXE_pool-run"), "--replay", file.to_str().unwrap()];
    let ran = place.run(tool[0], &[&tool[1..], &words].concat(), b"");
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned() + &ran.stderr;
    if printed.contains("ptrace") && printed.contains("ermi") {
        eprintln!("SKIPPED: {} may not look at other processes", tool[0]);
        return None;
    }
    Some(printed)
}

fn no_other_process_is_started() {
    for kind in [COMMAND, LIBRARY] {
        let place = Place::new(kind);
        let file = place.keep(&["fail", "segfault"]);
        let tool = ["strace", "-f", "-e", "trace=execve,clone,clone3,fork,vfork"];
        let Some(printed) = watched(&place, &tool, &file) else { return };
        let calls: Vec<&str> = printed.lines().filter(|line| line.contains(") = ")).collect();
        assert!(calls.len() == 2 && calls.iter().all(|call| call.starts_with("execve(")), "{printed}");
        assert!(printed.contains("+++ killed by SIGSEGV"), "{printed}");
    }
    let place = Place::new(COMMAND);
    assert_eq!(place.pool_run(&["-q", "--failed-dir", "failed", "exec", "false", ":::", "x"], b"").code, 1);
    let tool = ["strace", "-f", "-e", "trace=execve,clone,clone3,fork,vfork"];
    let printed = watched(&place, &tool, &place.kept()).unwrap();
    assert!(
        printed.contains("\"false\"") && !printed.contains("clone") && !printed.contains("fork"),
        "{printed}"
    );
}

fn a_debugger_sees_where_it_crashes() {
    let place = Place::new(LIBRARY);
    let file = place.keep(&["fail", "segfault"]);
    let tool = ["gdb", "-nx", "-batch", "-ex", "run", "-ex", "bt", "--args"];
    let Some(printed) = watched(&place, &tool, &file) else { return };
    assert!(printed.contains("received signal SIGSEGV") && printed.contains("cli_replay::fail"), "{printed}");
}
