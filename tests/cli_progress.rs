//! What one sees of a run of `pool-run` while it works, on a terminal and elsewhere.
#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

mod common;
use common::{LONG, limited, step};

fn pool_run(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-run"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").args(args).stdin(Stdio::null());
    command
}

/// Jobs that wait until they may end: input N for the named pipe N.
struct Gates {
    folder: TempDir,
}

impl Gates {
    fn new(names: &[&str]) -> Gates {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| mkfifo(&folder.path().join(name), Mode::S_IRWXU).unwrap());
        Gates { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A line of shell that waits for the gate of its input; what comes through it is a line of shell too.
    fn line(&self) -> String {
        format!("eval \"$(cat {}/{{}})\"; echo result {{}}", self.folder.path().display())
    }

    /// Waits until the job is there, and has it do something before it ends.
    fn open(&self, name: &str, then: &str) {
        step(format!("opening the gate of {name}"));
        fs::write(self.path(name), then).unwrap();
    }
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Seen {
    /// The terminal's lines, as one reads them.
    fn show(&self) -> String {
        let screen = self.screen.screen();
        let rows: Vec<_> =
            screen.rows(0, screen.size().1.get()).map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n").trim_end().to_owned()
    }
}

/// A terminal that a command writes to.
struct Terminal {
    child: Child,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a command whose messages go to a terminal of this width, and its results, unless they have a place.
    fn start(command: &mut Command, columns: u16, results: Option<File>) -> Terminal {
        Terminal::with_size(command, 24, columns, results)
    }

    fn with_size(command: &mut Command, rows: u16, columns: u16, results: Option<File>) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        // With a copy of this side in the command, the terminal would outlive the test.
        for side in [&pty.master, &pty.slave] {
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let stdout = results.map_or_else(|| pty.slave.try_clone().unwrap(), OwnedFd::from);
        let child = command.stdout(stdout).stderr(pty.slave).spawn().unwrap();
        // The command's own copies would keep the terminal open.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let screen = vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0);
        let seen = Arc::new((Mutex::new(Seen { screen, bytes: Vec::new() }), Condvar::new()));
        let (shared, mut terminal) = (Arc::clone(&seen), File::from(pty.master));
        let reader = Some(thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when nobody has the other side any more.
            while let Ok(len @ 1..) = terminal.read(&mut buffer) {
                let mut seen = shared.0.lock().unwrap();
                seen.bytes.extend_from_slice(&buffer[..len]);
                seen.screen.process(&buffer[..len]);
                shared.1.notify_all();
            }
        }));
        Terminal { child, seen, reader }
    }

    /// Waits until the terminal shows what it should; returns that.
    #[track_caller]
    fn wait(&self, what: &str, check: impl Fn(&str) -> bool) -> String {
        step(format!("waiting until the terminal shows {what}"));
        let (seen, timeout) = self
            .seen
            .1
            .wait_timeout_while(self.seen.0.lock().unwrap(), LONG, |seen| !check(&seen.show()))
            .unwrap();
        assert!(!timeout.timed_out(), "{what} is not there:\n{}", seen.show());
        seen.show()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for the command's end; what the terminal shows then, all that was written to it, and the exit code.
    fn end(mut self) -> (String, String, Option<i32>) {
        step("waiting until the command ends");
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let seen = self.seen.0.lock().unwrap();
        (seen.show(), String::from_utf8_lossy(&seen.bytes).into_owned(), status.code())
    }
}

/// A test that fails leaves no command behind.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// The lines of a screen that are the command's last words.
#[track_caller]
fn check_summary(lines: &[&str], counts: &str) {
    let [all, times] = lines else { panic!("no summary: {lines:?}") };
    assert!(all.starts_with("pool-run: ") && all.ends_with(counts), "{all}");
    assert!(times.starts_with("pool-run: times p50 "), "{times}");
}

#[test]
fn the_bar_counts_among_whole_results_and_is_gone_at_the_end() {
    limited(|| {
        let gates = Gates::new(&["a", "b", "c"]);
        let line = gates.line();
        let terminal =
            Terminal::start(&mut pool_run(&["--bar", "-w3", "sh", &line, ":::", "a", "b", "c"]), 80, None);
        let screen = terminal.wait("the bar and what runs", |screen| {
            screen.contains("0/3") && ["s  a", "s  b", "s  c"].iter().all(|job| screen.contains(job))
        });
        assert!(screen.starts_with("[                    ] 0/3  0%"), "{screen}");
        gates.open("a", "true");
        let screen = terminal.wait("a result above the bar", |screen| {
            screen.starts_with("result a\n[=====") && screen.contains("1/3  33%")
        });
        assert!(!screen.contains("s  a"), "{screen}");
        gates.open("b", "exit 3");
        terminal.wait("a message above the bar", |screen| {
            screen.contains("exit code 3\n[") && screen.contains("2/3  66%  1 failed")
        });
        gates.open("c", "true");
        let (screen, _, code) = terminal.end();
        let lines: Vec<_> = screen.lines().collect();
        assert_eq!((lines[0], lines[2], code), ("result a", "result c", Some(1)), "{screen}");
        assert!(lines[1].contains("sh failed on b (input 2)"), "{screen}");
        check_summary(&lines[3..5], ": 2 ok, 1 failed");
        assert_eq!(lines.len(), 5, "{screen}");
    });
}

#[test]
fn a_narrow_terminal_gets_narrow_lines() {
    limited(|| {
        let long = "long-".repeat(12);
        let gates = Gates::new(&["a", &long]);
        let line = gates.line();
        let terminal =
            Terminal::start(&mut pool_run(&["--bar", "-w2", "sh", &line, ":::", "a", &long]), 30, None);
        let screen = terminal.wait_for("…");
        let lines: Vec<_> = screen.lines().collect();
        assert!(lines.len() == 3 && lines[0].starts_with("0/2  0%"), "{screen}");
        gates.open("a", "true");
        let screen = terminal.wait_for("1/2");
        assert_eq!(screen.lines().next(), Some("result a"), "{screen}");
        gates.open(&long, "true");
        let (screen, ..) = terminal.end();
        assert!(screen.starts_with("result a\nresult long-"), "{screen}");
        assert!(!screen.contains("/2") && !screen.contains('…'), "{screen}");
    });
}

#[test]
fn a_result_that_does_not_end_its_line_is_not_erased_with_the_bar() {
    limited(|| {
        let gates = Gates::new(&["a", "b"]);
        let line = gates.line().replace("echo result", "printf");
        let terminal =
            Terminal::start(&mut pool_run(&["--bar", "-w2", "sh", &line, ":::", "a", "b"]), 80, None);
        terminal.wait_for("0/2");
        gates.open("a", "true");
        terminal.wait("the bar below the result", |screen| {
            screen.starts_with("a\n[=====") && screen.contains("1/2")
        });
        gates.open("b", "true");
        let (screen, ..) = terminal.end();
        assert!(screen.starts_with("a\nb"), "{screen}");
    });
}

#[test]
fn colours_are_used_where_they_are_welcome() {
    limited(|| {
        for (variable, coloured) in
            [(None, true), (Some(("NO_COLOR", "1")), false), (Some(("CLICOLOR", "0")), false)]
        {
            let gates = Gates::new(&["a"]);
            let line = gates.line();
            let mut command = pool_run(&["--bar", "sh", &line, ":::", "a"]);
            let terminal = Terminal::start(command.envs(variable), 80, None);
            terminal.wait_for("s  a");
            gates.open("a", "true");
            let (_, bytes, _) = terminal.end();
            assert_eq!(bytes.contains("\x1b[2m"), coloured, "{variable:?}: {bytes:?}");
        }
    });
}

#[test]
fn a_terminal_that_can_only_print_gets_lines() {
    limited(|| {
        let mut command = pool_run(&["--bar", "primes", "10"]);
        let (screen, bytes, _) = Terminal::start(command.env("TERM", "dumb"), 80, None).end();
        assert!(screen.starts_with("4\npool-run: 1 job in ") && !bytes.contains('\x1b'), "{bytes:?}");
    });
}

#[test]
fn a_short_run_shows_no_bar_by_itself() {
    limited(|| {
        let (_, bytes, _) = Terminal::start(&mut pool_run(&["primes", "10"]), 80, None).end();
        assert_eq!(bytes, "4\r\n");
    });
}

#[test]
fn a_bar_comes_by_itself_if_it_takes_longer() {
    limited(|| {
        let gates = Gates::new(&["a"]);
        let line = gates.line();
        let terminal = Terminal::start(&mut pool_run(&["sh", &line, ":::", "a"]), 80, None);
        terminal.wait_for("0/1");
        gates.open("a", "true");
        let (screen, ..) = terminal.end();
        check_summary(&screen.lines().collect::<Vec<_>>()[1..], ": 1 ok");
    });
}

#[test]
fn results_elsewhere_are_as_without_a_bar() {
    limited(|| {
        let gates = Gates::new(&["a", "b"]);
        let (line, results) = (gates.line(), gates.path("results"));
        let mut command = pool_run(&["--eta", "--total", "5", "sh", &line]);
        fs::write(gates.path("inputs"), "a\nb\n").unwrap();
        command.stdin(File::open(gates.path("inputs")).unwrap());
        let terminal = Terminal::start(&mut command, 80, Some(File::create(&results).unwrap()));
        terminal.wait_for("0/5");
        gates.open("a", "true");
        gates.open("b", "true");
        let (screen, ..) = terminal.end();
        check_summary(&screen.lines().collect::<Vec<_>>(), ": 2 ok");
        assert_eq!(fs::read_to_string(results).unwrap(), "result a\nresult b\n");
    });
}

#[test]
fn a_signal_ends_the_run_without_a_rest_of_the_bar() {
    limited(|| {
        let gates = Gates::new(&["a"]);
        let line = gates.line();
        let terminal = Terminal::start(&mut pool_run(&["--bar", "sh", &line, ":::", "a"]), 80, None);
        terminal.wait_for("s  a");
        terminal.signal(Signal::SIGTERM);
        terminal.wait_for("draining 1 running job");
        terminal.signal(Signal::SIGTERM);
        let (screen, ..) = terminal.end();
        assert!(screen.starts_with("pool-run: draining") && !screen.contains("0/1"), "{screen}");
        assert!(screen.contains("interrupted: 0 ok, 0 failed, 1 not run"), "{screen}");
    });
}

#[test]
fn one_can_ask_what_runs_and_hide_the_bar() {
    limited(|| {
        let gates = Gates::new(&["a"]);
        let line = gates.line();
        let terminal = Terminal::start(&mut pool_run(&["--bar", "sh", &line, ":::", "a"]), 80, None);
        terminal.wait_for("s  a");
        terminal.signal(Signal::SIGUSR1);
        let screen = terminal.wait("what runs, and the bar again", |screen| {
            screen.contains("1 running, 0 of 1 done") && screen.contains("0/1")
        });
        assert!(screen.lines().any(|line| line.starts_with("    job 1, slot 1, ") && line.ends_with(": a")));
        terminal.signal(Signal::SIGUSR2);
        terminal.wait("no bar", |screen| !screen.contains("0/1"));
        terminal.signal(Signal::SIGUSR2);
        terminal.wait_for("0/1");
        gates.open("a", "true");
        terminal.end();
    });
}

#[test]
fn what_is_no_terminal_gets_no_control_characters() {
    for args in [&["--bar"][..], &["--progress=plain"], &["--progress=json"], &["-v"], &[]] {
        let mut command = pool_run(args);
        let output = command.env("CLICOLOR_FORCE", "1").args(["primes", "10", "x", "100"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.stdout, b"4\n25\n", "{args:?}");
        assert!(!stderr.contains(|c: char| c.is_control() && c != '\n'), "{args:?}: {stderr:?}");
        assert!(stderr.lines().any(|line| line.starts_with("pool-run: primes failed on x")), "{stderr}");
    }
}

#[test]
fn programs_are_told_in_json() {
    let output = pool_run(&["--progress=json", "-q", "primes", "10", "100"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let last: serde_json::Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&last["done"], &last["failed"], &last["total"]), (&2.into(), &0.into(), &2.into()));
    assert_eq!(last["running"], serde_json::json!([]));
}

#[test]
fn a_summary_is_said_on_demand_and_with_failures() {
    let stderr = |args: &[&str]| {
        let output = pool_run(args).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(stderr(&["primes", "10"]), "");
    let text = stderr(&["-v", "primes", "10", "100"]);
    check_summary(&text.lines().collect::<Vec<_>>(), ": 2 ok");
    assert!(stderr(&["primes", "10", "x"]).ends_with("pool-run: 1 of 2 jobs failed\n"));
    assert!(!stderr(&["-q", "primes", "10", "x"]).contains("of 2"));
}

/// However much is written at once, no result is broken.
#[test]
fn a_flood_of_results_stays_whole_beside_the_bar() {
    limited(|| {
        let line = "sleep 0.6; seq 400; echo {}";
        let mut command = pool_run(&["--bar", "-w2", "sh", line, ":::", "x", "y", "z"]);
        // High enough for all of it.
        let (screen, bytes, _) = Terminal::with_size(&mut command, 1500, 80, None).end();
        assert!(bytes.contains("0/3"), "{bytes}");
        let lines: Vec<_> = screen.lines().collect();
        let expected: Vec<String> = ["x", "y", "z"]
            .iter()
            .flat_map(|end| (1..=400).map(|n| n.to_string()).chain([(*end).to_owned()]))
            .collect();
        assert_eq!(lines[..1203], expected);
        check_summary(&lines[1203..], ": 3 ok");
    });
}

#[test]
fn progress_can_be_asked_for_where_there_is_no_terminal() {
    limited(|| {
        let gates = Gates::new(&["a"]);
        let line = gates.line();
        let mut command = pool_run(&["--progress=none", "sh", &line, ":::", "a"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        // Whoever opens the gate waits until the job is there.
        let gate = File::options().write(true).open(gates.path("a")).unwrap();
        kill(Pid::from_raw(child.id() as i32), Signal::SIGUSR2).unwrap();
        let mut text = String::new();
        step("waiting for a line");
        stderr.read_line(&mut text).unwrap();
        drop(gate);
        child.wait().unwrap();
        assert!(text.starts_with("pool-run: 0 of 1 jobs done (0%) in "), "{text}");
    });
}
