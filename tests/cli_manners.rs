//! How `pool-run` behaves where nobody looks, where a shell asks, and where something is closed.
#![cfg(feature = "cli")]

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;

const POOL_RUN: &str = env!("CARGO_BIN_EXE_pool-run");

/// Without what says elsewhere that colours are wanted or not: `CI` too means a terminal that can show them.
fn pool_run(args: &[&str]) -> Command {
    let mut command = Command::new(POOL_RUN);
    command.args(args).stdin(Stdio::null());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "CI"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm");
    command
}

/// Standard output, standard error and exit code.
fn outcome(mut command: Command) -> (String, String, Option<i32>) {
    let Output { stdout, stderr, status } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code())
}

/// What a line of shell does, in which `$0` is the command.
fn shell(line: &str) -> (String, String, Option<i32>) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line, POOL_RUN]).stdin(Stdio::null());
    outcome(command)
}

/// All that a command writes to a terminal of so many columns, and its exit code.
fn on_terminal(mut command: Command, columns: u16) -> (String, Option<i32>) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).unwrap();
    let end = || terminal.slave.as_fd().try_clone_to_owned().unwrap();
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    // Only when nobody has the other end open does reading come to an end, with an error.
    drop((command, terminal.slave));
    let (mut master, mut shown) = (File::from(terminal.master), Vec::new());
    let _ = master.read_to_end(&mut shown);
    (String::from_utf8(shown).unwrap().replace("\r\n", "\n"), child.wait().unwrap().code())
}

/// Whether a program is there; if not, the test says that it has seen nothing.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found.is_ok()
}

#[test]
fn a_usage_error_is_short_and_ends_with_a_hint() {
    let cases: [&[&str]; 9] = [
        &[],
        &["--unorderd", "wc"],
        &["--timeout", "soon", "wc"],
        &["--halt", "now,fail", "wc"],
        &["--completions", "tcsh"],
        &["-w"],
        &["-C", "(", "wc"],
        &["--list", "wc"],
        &["sh", "echo", "x"],
    ];
    for args in cases {
        let (stdout, stderr, code) = outcome(pool_run(args));
        assert_eq!((stdout.as_str(), code), ("", Some(64)), "{args:?}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert!(lines[0].starts_with("error: ") && lines.len() <= 10, "{args:?}: {stderr}");
        assert!(lines[lines.len() - 1].contains("--help"), "{args:?}: {stderr}");
    }
    let (_, stderr, _) = outcome(pool_run(&["--unorderd", "wc"]));
    assert!(stderr.contains("'--unordered'"), "{stderr}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let usage = |set: &[(&str, &str)]| {
        let mut command = pool_run(&["--bogus"]);
        command.envs(set.iter().copied());
        command
    };
    let coloured = |set: &[(&str, &str)]| on_terminal(usage(set), 80).0.contains('\x1b');
    assert!(coloured(&[]) && coloured(&[("CLICOLOR", "1")]));
    for plain in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        assert!(!coloured(&[plain]), "{plain:?}");
    }
    assert!(!outcome(usage(&[])).1.contains('\x1b'));
    assert!(!outcome(pool_run(&["--help"])).0.contains('\x1b'));
    assert!(outcome(usage(&[("CLICOLOR_FORCE", "1")])).1.contains('\x1b'));
}

#[test]
fn nothing_at_all_on_a_terminal_is_a_short_usage() {
    let (shown, code) = on_terminal(pool_run(&[]), 80);
    assert_eq!(code, Some(64));
    assert!(shown.contains("there is no JOB") && shown.contains("--help"), "{shown}");
    assert!(shown.lines().count() <= 8, "{shown}");
}

#[test]
fn help_keeps_to_the_terminals_width() {
    let (shown, code) = on_terminal(pool_run(&["--help"]), 80);
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
    assert_eq!((widest(&uncoloured(&shown)) <= Some(80), code), (true, Some(0)), "{shown}");
    let mut command = pool_run(&["--help"]);
    command.env("COLUMNS", "80");
    let (narrow, _, _) = outcome(command);
    assert!(widest(&narrow) <= Some(80) && widest(&narrow) > Some(70), "{narrow}");
    let (wide, _, _) = outcome(pool_run(&["--help"]));
    assert!(widest(&wide) > Some(80) && widest(&wide) <= Some(110), "{wide}");
}

/// A text without what colours it.
fn uncoloured(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or(piece, |(_, behind)| behind))
}

#[test]
fn a_list_keeps_to_the_terminals_width() {
    let (shown, code) = on_terminal(pool_run(&["--list"]), 40);
    assert_eq!(code, Some(0));
    assert!(shown.contains("\nprimes(n: u64) -> u64\n    How many primes"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
    // Elsewhere each job has one line, for grep.
    assert_eq!(outcome(pool_run(&["--list"])).0.lines().count(), 5);
}

#[test]
fn a_list_for_programs_is_json() {
    let (stdout, stderr, code) = outcome(pool_run(&["--list", "--json"]));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    let jobs: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let primes = jobs.iter().find(|job| job["name"] == "primes").unwrap();
    assert_eq!(primes["args"], serde_json::json!([{"name": "n", "type": "u64"}]));
    assert_eq!(primes["output"], "u64");
    let names: Vec<&str> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(outcome(pool_run(&["--list-names"])).0.lines().collect::<Vec<_>>(), names);
}

#[test]
fn who_stops_reading_ends_it_quietly() {
    for args in
        [&["--help"][..], &["-h"], &["--list"], &["--man"], &["--completions", "bash"], &["primes", "9"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = pool_run(args).stdout(writer).output().unwrap();
        assert_eq!(output.status.signal(), Some(Signal::SIGPIPE as i32), "{args:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
}

#[test]
fn a_full_disk_is_told() {
    for args in ["--help", "--man", "primes 9"] {
        let (_, stderr, code) = shell(&format!("\"$0\" {args} > /dev/full"));
        assert_eq!(code, Some(125), "{args}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{args}: {stderr}");
    }
}

#[test]
fn what_is_closed_changes_no_code() {
    let cases = [
        ("--help >&-", 0),
        ("--man >&-", 0),
        ("primes 9 >&-", 0),
        ("primes 9 <&- >&- 2>&-", 0),
        ("primes x y >&-", 2),
        ("primes x y 2>&-", 2),
        ("primes x y >&- 2>&-", 2),
        ("--bogus 2>&-", 64),
        ("nothing 2>&-", 127),
        ("exec false ::: a >&- 2>&-", 1),
    ];
    for (line, expected) in cases {
        let (stdout, stderr, code) = shell(&format!("\"$0\" {line}"));
        assert_eq!((stdout.as_str(), code), ("", Some(expected)), "{line}: {stderr}");
        if line.contains("2>&-") || expected == 0 {
            assert_eq!(stderr, "", "{line}");
        }
    }
    // What jobs write must not get into a file that was opened where standard output should be.
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    std::fs::write(&list, "a\nb\n").unwrap();
    let (_, stderr, code) = shell(&format!("\"$0\" -a {} exec echo >&-", list.display()));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    assert_eq!(std::fs::read_to_string(&list).unwrap(), "a\nb\n");
}

#[test]
fn it_needs_no_terminal() {
    if !installed("setsid") {
        return;
    }
    let (stdout, stderr, code) = shell("TERM=dumb setsid -w \"$0\" primes 10 x 20");
    assert_eq!((stdout.as_str(), code), ("4\n8\n", Some(1)));
    assert!(stderr.starts_with("pool-run: primes failed on x") && stderr.is_ascii(), "{stderr}");
    let (stdout, _, code) = shell("unset TERM; setsid -w \"$0\" -h < /dev/null");
    assert!(code == Some(0) && stdout.starts_with("Run a job over many inputs"), "{stdout}");
}

#[test]
fn a_program_of_ones_own_has_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("my-tool");
    std::os::unix::fs::symlink(POOL_RUN, &own).unwrap();
    for args in [&["-h"][..], &["--help"], &["--version"], &["--man"], &["--completions", "bash"]] {
        let mut command = Command::new(&own);
        command.args(args);
        let (stdout, stderr, code) = outcome(command);
        let stdout = stdout.replace("\\-", "-");
        assert_eq!((stderr.as_str(), code), ("", Some(0)), "{args:?}");
        assert!(stdout.contains("my-tool") && !stdout.contains("pool-run"), "{args:?}: {stdout}");
    }
}

#[test]
fn the_manual_page_is_sound() {
    let (page, stderr, code) = outcome(pool_run(&["--man"]));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    assert!(page.contains("\n.SH \"EXIT STATUS\"\n") && page.contains("\n.SH SIGNALS\n"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.1");
    std::fs::write(&file, page).unwrap();
    if installed("groff") {
        let mut command = Command::new("groff");
        command.args(["-man", "-ww", "-z"]).arg(&file);
        assert_eq!(outcome(command), (String::new(), String::new(), Some(0)));
    }
    if installed("mandoc") {
        let mut command = Command::new("mandoc");
        command.args(["-T", "lint", "-W", "error"]).arg(&file);
        assert_eq!(outcome(command).2, Some(0));
    }
}

/// A folder that a shell finds the command in, with a script in a file.
fn with_script(shell: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (script, stderr, code) = outcome(pool_run(&["--completions", shell]));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    std::fs::write(folder.path().join("_pool-run"), script).unwrap();
    let commands = Path::new(POOL_RUN).parent().unwrap().to_str().unwrap();
    let path = format!("{commands}:{}", std::env::var("PATH").unwrap_or_default());
    (folder, path)
}

/// Calls the function that bash would call at Tab, with the words of the line.
const ASK_BASH: &str = r#"
source ./_pool-run
ask() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    read -r _ _ function _ <<< "$(complete -p pool-run | sed 's/.*\( -F [^ ]*\).*/x\1/')"
    "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    echo "${COMPREPLY[*]}"
}
ask pool-run ""
ask pool-run s
ask pool-run -w 4 --quiet pr
ask pool-run --workers = 4 pr
ask pool-run -j 4 -- s
ask pool-run --unord
ask pool-run -w
ask pool-run --completions ""
ask pool-run --exe ./x s
ask pool-run wc --unord
ask pool-run exec ech
ask pool-run --exe _pool
"#;

#[test]
fn bash_completes_options_and_jobs() {
    if !installed("bash") {
        return;
    }
    let (folder, path) = with_script("bash");
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", ASK_BASH]).current_dir(&folder).env("PATH", path);
    let (stdout, stderr, code) = outcome(command);
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    let answers: Vec<&str> = stdout.lines().collect();
    let all = ["exec primes sh sha256 wc", "sh sha256", "primes", "primes", "sh sha256", "--unordered", "-w"];
    assert_eq!(answers[..7], all);
    assert_eq!(answers[7..10], ["bash zsh fish", "", ""]);
    assert!(answers[10].split(' ').any(|word| word == "echo"), "{stdout}");
    assert_eq!(answers[11], "_pool-run");
}

#[test]
fn fish_completes_options_and_jobs() {
    if !installed("fish") {
        return;
    }
    let (folder, path) = with_script("fish");
    let script = "source ./_pool-run; complete -C 'pool-run s'; complete -C 'pool-run --unord'; \
                  complete -C 'pool-run --completions '";
    let mut command = Command::new("fish");
    command.args(["-N", "-c", script]).current_dir(&folder).env("PATH", path).env("HOME", folder.path());
    let (stdout, stderr, code) = outcome(command);
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    let words: Vec<&str> = stdout.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(words, ["sh", "sha256", "--unordered", "bash", "fish", "zsh"]);
}

/// zsh completes only in an editor, so one is run in a terminal of zsh's own. What Tab shows is there when the mark that
/// follows it is, once as typed and once as printed.
const ASK_ZSH: &str = r#"
zmodload zsh/zpty
zpty editor zsh -f -i
zpty -w editor "PS1= PROMPT_EOL_MARK=; fpath=($PWD \$fpath); autoload -Uz compinit && compinit -u -D"
zpty -w editor "unsetopt zle_bracketed_paste; bindkey '^I' list-choices; bindkey -s '^X' '^U echo DONE\n'"
zpty -w editor "echo READ''Y"
zpty -r editor shown '*READY*'
for line in 'pool-run -w 4 s' 'pool-run --unord' 'pool-run --completions '; do
    zpty -n -w editor "$line"$'\t\x18'
    zpty -r editor shown '*DONE*DONE*'
    print -r -- "$shown"
done
"#;

#[test]
fn zsh_completes_options_and_jobs() {
    if !installed("zsh") {
        return;
    }
    let (folder, path) = with_script("zsh");
    let mut command = Command::new("zsh");
    command.args(["-f", "-c", ASK_ZSH]).current_dir(&folder).env("PATH", path).env("TERM", "dumb");
    let (stdout, stderr, _) = outcome(command);
    for word in ["sha256", "--unordered", "fish"] {
        assert!(stdout.contains(word), "{word}: {stdout}{stderr}");
    }
}
