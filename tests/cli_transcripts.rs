//! What one sees who works with `pool-run` in a shell: whole terminals, as texts in `tests/transcripts`.
//!
//! Each is what a terminal of 80 columns shows at its end; what it showed before and has erased since stands above it,
//! before a line with `~~~`. Only times, rates and process ids are replaced, so that a change of a word is seen.
//! `TRANSCRIPTS=overwrite` writes the texts anew; read what has changed.
//!
//! The first thing that one does cannot be shown: `cargo install` builds everything once more, and needs a network. That
//! what the README says is enough to have the command is a test of its own; what comes next is the first transcript.
#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{SigHandler, Signal};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use regex::Regex;
use tempfile::TempDir;

mod common;
use common::{LONG, limited, step};

const ROWS: u16 = 120;
const COLUMNS: u16 = 80;
/// A terminal where no bar can be drawn. How long a run has to be to have one depends on the machine, and with it what is
/// said at the end: so those in which none is to be seen are watched on this one.
const WITHOUT_BAR: &str = "dumb";
const WITH_BAR: &str = "xterm";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const PROMPT: &str = "$";

/// What in a transcript is another one each time, and what stands for it.
const CHANGING: [(&str, &str); 4] = [
    (r"process \d+", "process PID"),
    (r"\d+(\.\d+)? (µs|ms|s)\b", "TIME"),
    // Right-aligned before what runs.
    (r"(?m)^ +TIME  ", "  TIME  "),
    // Not there before the second job is over.
    (r"(?m)(  \d+(\.\d+)?/(s|min))?(  eta \S+( \S+)?)?$", ""),
];

type Shared = Arc<(Mutex<vt100::Parser>, Condvar)>;

/// A shell in a terminal, in a folder of its own.
struct Session {
    folder: TempDir,
    shell: Child,
    keys: File,
    screen: Shared,
    reader: Option<JoinHandle<()>>,
    frames: String,
    /// Lines that were typed.
    typed: usize,
}

/// What a terminal shows. A line that is longer than a row is one line: what is replaced in it may be longer or shorter.
fn show(parser: &vt100::Parser) -> String {
    let screen = parser.screen();
    let mut text = String::new();
    for (number, row) in (0..).zip(screen.rows(0, COLUMNS)) {
        // A bar fills its rows with blanks.
        match screen.row_wrapped(number) && !row.ends_with("  ") {
            true => text += &row,
            false => text += &format!("{}\n", row.trim_end()),
        }
    }
    text.trim_end().to_owned()
}

/// A text as a terminal shows it, row by row.
fn in_rows(text: &str) -> String {
    let mut rows = String::new();
    for line in text.lines() {
        let all: Vec<char> = line.trim_end().chars().collect();
        for row in all.chunks(COLUMNS.into()) {
            rows += row.iter().collect::<String>().trim_end();
            rows.push('\n');
        }
        if all.is_empty() {
            rows.push('\n');
        }
    }
    rows
}

impl Session {
    fn new(term: &str) -> Session {
        Session::within(tempfile::tempdir().unwrap(), term)
    }

    fn within(folder: TempDir, term: &str) -> Session {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        // With a copy of this side in the shell, the terminal would outlive the test.
        for side in [&pty.master, &pty.slave] {
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let shell = shell(folder.path(), term, pty.slave);
        let parser = vt100::Parser::new(NonZero::new(ROWS).unwrap(), NonZero::new(COLUMNS).unwrap(), 0);
        let screen: Shared = Arc::new((Mutex::new(parser), Condvar::new()));
        let (shared, keys) = (Arc::clone(&screen), File::from(pty.master));
        let mut terminal = keys.try_clone().unwrap();
        let reader = Some(thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when nobody has the other side any more.
            while let Ok(len @ 1..) = terminal.read(&mut buffer) {
                shared.0.lock().unwrap().process(&buffer[..len]);
                shared.1.notify_all();
            }
        }));
        let session = Session { folder, shell, keys, screen, reader, frames: String::new(), typed: 0 };
        session.wait_for_prompt();
        session
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn program(&self, name: &str, lines: &str) {
        self.file(name, &format!("#!/bin/sh\n{lines}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `./convert`, which does nothing with its file before [`go_on`](Self::go_on).
    fn program_that_waits(&self, files: &[&str]) {
        self.program("convert", "read word < .$1\necho \"$1: converted\"");
        files.iter().for_each(|file| mkfifo(&self.path(&format!(".{file}")), Mode::S_IRWXU).unwrap());
    }

    fn go_on(&self, file: &str) {
        step(format!("having {file} converted"));
        fs::write(self.path(&format!(".{file}")), "go\n").unwrap();
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows what it should.
    #[track_caller]
    fn wait(&self, what: &str, check: impl Fn(&str) -> bool) -> String {
        step(format!("waiting until the terminal shows {what}"));
        let (lock, changed) = &*self.screen;
        let (parser, timeout) =
            changed.wait_timeout_while(lock.lock().unwrap(), LONG, |parser| !check(&show(parser))).unwrap();
        assert!(!timeout.timed_out(), "{what} is not there:\n{}", show(&parser));
        show(&parser)
    }

    /// Presses Ctrl-C twice, each time while the bar ends in that.
    #[track_caller]
    fn interrupt_twice_at(&mut self, end: &str) {
        self.wait(end, |screen| screen.ends_with(end));
        self.press(CTRL_C);
        self.look("Ctrl-C was pressed", |screen| screen.contains("draining") && screen.ends_with(end));
        self.press(CTRL_C);
        self.wait_for_prompt();
    }

    /// Waits for the prompt behind all that was typed.
    #[track_caller]
    fn wait_for_prompt(&self) -> String {
        let is_typed = |line: &&str| line.starts_with("$ ");
        self.wait("a prompt", |screen| {
            screen.lines().filter(is_typed).count() == self.typed && screen.lines().last() == Some(PROMPT)
        })
    }

    /// Types a line, and waits until it is done.
    #[track_caller]
    fn run(&mut self, line: &str) {
        self.begin(line);
        self.wait_for_prompt();
    }

    /// Types a line that takes longer.
    fn begin(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
        self.typed += 1;
    }

    /// Has what is seen in this moment in the transcript too, once it is there.
    #[track_caller]
    fn look(&mut self, when: &str, check: impl Fn(&str) -> bool) {
        let seen = self.wait(when, check);
        self.frames += &format!("{seen}\n~~~ {when}, and then\n");
    }

    /// Ends the shell; what was seen, and the folder.
    #[track_caller]
    fn end(mut self) -> (String, TempDir) {
        let last = self.wait_for_prompt();
        self.press(CTRL_D);
        self.shell.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let last = last.strip_suffix(PROMPT).unwrap_or(&last);
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (format!("{}{last}", self.frames), folder)
    }

    /// Ends the shell, and compares all that was seen with what is expected.
    #[track_caller]
    fn is(self, name: &str) {
        assert_is(&self.end().0, name);
    }
}

/// Compares what was seen with what is expected.
#[track_caller]
fn assert_is(seen: &str, name: &str) {
    let seen = CHANGING.iter().fold(seen.to_owned(), |text, (changing, instead)| {
        Regex::new(changing).unwrap().replace_all(&text, *instead).into_owned()
    });
    let seen = in_rows(&seen);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name);
    if std::env::var("TRANSCRIPTS").is_ok_and(|what| what == "overwrite") {
        return fs::write(path, seen).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(seen == expected, "{name} has changed (TRANSCRIPTS=overwrite writes it anew):\n{seen}");
}

/// A test that fails leaves no shell behind, and with its terminal no command.
impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A shell whose terminal this is.
fn shell(folder: &Path, term: &str, terminal: OwnedFd) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_pool-run"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("/bin/sh");
    command.arg("-i").current_dir(folder).env_clear();
    command.envs([
        ("PATH", path.as_str()),
        ("PS1", "$ "),
        ("TERM", term),
        ("LC_ALL", "C"),
        ("NO_COLOR", "1"),
    ]);
    command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
    // SAFETY: these are system calls only; nothing is allocated or locked.
    unsafe {
        command.pre_exec(|| {
            // Whoever started these tests in the background may ignore them, and the shell would too.
            for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
                nix::sys::signal::signal(signal, SigHandler::SigDfl)?;
            }
            rustix::process::setsid()?;
            // Its standard input by now.
            rustix::process::ioctl_tiocsctty(BorrowedFd::borrow_raw(0))?;
            Ok(())
        })
    };
    command.spawn().unwrap()
}

#[test]
fn what_the_readme_says_installs_the_command() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains("`cargo install --path .` installs the command: "));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let metadata = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap().stdout;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
    let package =
        metadata["packages"].as_array().unwrap().iter().find(|it| it["name"] == "sidestep").unwrap();
    let command = package["targets"].as_array().unwrap().iter().find(|it| it["name"] == "pool-run").unwrap();
    assert_eq!(command["kind"][0], "bin");
    let features = package["features"]["default"].as_array().unwrap();
    let required = command["required-features"].as_array().unwrap();
    assert!(required.iter().all(|feature| features.contains(feature)), "{required:?} by {features:?}");
}

#[test]
fn first_steps() {
    limited(|| {
        let mut session = Session::new(WITHOUT_BAR);
        session.run("pool-run --version");
        session.run("pool-run");
        session.run("pool-run --help | head -n 12");
        session.run("pool-run --list");
        session.run("pool-run primes 100 1000");
        session.is("first-steps.txt");
    });
}

#[test]
fn help_on_one_screen() {
    limited(|| {
        let mut session = Session::new(WITHOUT_BAR);
        session.run("pool-run -h");
        session.is("help.txt");
    });
}

#[test]
fn a_job_over_a_folder() {
    limited(|| {
        let mut session = Session::new(WITHOUT_BAR);
        session.file("hello.txt", "hello\n");
        session.file("world.txt", "world\n");
        session.file("zero.bin", "\0");
        session.run("pool-run sha256 ::: *");
        session.run("ls *.txt | pool-run -v sha256");
        session.run("pool-run exec wc -c ::: *");
        session.run("pool-run --dry-run sh 'gzip -9 < {} > {.}.gz' ::: *.txt");
        session.run("pool-run --tag sh 'wc -l < {}' ::: *");
        session.is("folder.txt");
    });
}

#[test]
fn mistakes() {
    limited(|| {
        let mut session = Session::new(WITHOUT_BAR);
        session.run("pool-run sha25 ::: a.txt; echo $?");
        session.run("pool-run gzip ::: a.txt; echo $?");
        session.run("pool-run exec gzpi ::: a.txt; echo $?");
        session.run("pool-run --wrokers 3 sha256 a.txt; echo $?");
        session.run("pool-run -w none sha256 a.txt; echo $?");
        session.run("pool-run --exe ./none sha256 a.txt; echo $?");
        session.run("pool-run sha256 ::: a.txt; echo $?");
        session.run("pool-run primes ::: 100 ten; echo $?");
        session.run("pool-run -a inputs.txt sha256; echo $?");
        session.run("pool-run primes ::: 100 > /dev/full; echo $?");
        session.is("mistakes.txt");
    });
}

#[test]
fn jobs_that_crash() {
    limited(|| {
        let mut session = Session::new(WITHOUT_BAR);
        session.program(
            "thumb",
            "[ $1 = bad.jpg ] || exec echo thumb of $1\necho broken header >&2\nkill -SEGV $$",
        );
        session.run("pool-run exec ./thumb ::: a.jpg bad.jpg c.jpg; echo $?");
        session.run("pool-run sh '[ {} = bad.jpg ] && kill -9 $PPID; echo {}' ::: a.jpg bad.jpg; echo $?");
        session.run("pool-run -w1 --crash-retries 9 sh 'kill -9 $PPID #' ::: bad.jpg; echo $?");
        session.is("crashes.txt");
    });
}

#[test]
fn one_interrupt_lets_jobs_end() {
    limited(|| {
        let files = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"];
        let mut session = Session::new(WITH_BAR);
        session.program_that_waits(&files);
        session.begin("pool-run -w2 exec ./convert ::: a.jpg b.jpg c.jpg d.jpg");
        session.go_on("a.jpg");
        session.look("one is done", |screen| screen.contains("1/4") && screen.ends_with("s  c.jpg"));
        session.press(CTRL_C);
        session
            .look("Ctrl-C was pressed", |screen| screen.contains("draining") && screen.ends_with("s  c.jpg"));
        session.go_on("b.jpg");
        session.go_on("c.jpg");
        session.wait_for_prompt();
        session.run("echo $?");
        session.is("interrupted-once.txt");
    });
}

#[test]
fn two_interrupts_end_jobs() {
    limited(|| {
        let mut session = Session::new(WITH_BAR);
        session.program_that_waits(&["a.jpg", "b.jpg", "c.jpg"]);
        session.begin("pool-run -w2 exec ./convert ::: a.jpg b.jpg c.jpg");
        session.interrupt_twice_at("s  b.jpg");
        session.run("echo $?");
        session.is("interrupted-twice.txt");
    });
}

#[test]
fn a_run_that_is_interrupted_goes_on() {
    limited(|| {
        let mut session = Session::new(WITH_BAR);
        session.program_that_waits(&["a.jpg", "b.jpg", "c.jpg"]);
        session.begin("pool-run -w1 --joblog log exec ./convert ::: a.jpg b.jpg c.jpg");
        session.go_on("a.jpg");
        session.interrupt_twice_at("s  b.jpg");
        session.run("cut -f1,7- log");
        session.begin("pool-run -w1 --joblog log --resume exec ./convert ::: a.jpg b.jpg c.jpg");
        session.look("it is there", |screen| screen.ends_with("s  b.jpg"));
        session.go_on("b.jpg");
        session.go_on("c.jpg");
        let (seen, folder) = session.end();
        let mut session = Session::within(folder, WITHOUT_BAR);
        session.run("pool-run -w1 --joblog log --resume exec ./convert ::: a.jpg b.jpg c.jpg");
        session.run("pool-run -w1 --joblog log --resume exec ./other ::: a.jpg b.jpg c.jpg");
        assert_is(&(seen + &session.end().0), "resumed.txt");
    });
}

#[test]
fn a_run_with_failures() {
    limited(|| {
        let mut session = Session::new(WITHOUT_BAR);
        session.program(
            "check",
            "echo checking $1\n[ $1 = c.txt ] && echo 'line 3: no such colour' >&2 && exit 2\nexit 0",
        );
        session.run("pool-run exec ./check ::: a.txt b.txt c.txt; echo $?");
        session.run("pool-run -w1 --halt now,fail=1 exec ./check ::: a.txt c.txt d.txt e.txt; echo $?");
        session.run("pool-run --retries 2 -v exec ./check ::: a.txt c.txt; echo $?");
        session.run("pool-run --timeout 100ms exec sleep ::: 1000; echo $?");
        session.run("pool-run --deadline 100ms exec sleep ::: 1000 2000 3000; echo $?");
        session.is("failures.txt");
    });
}
