//! The guide's recipes do what the guide shows.
//!
//! In `docs/guide.md` each section is a recipe with a folder of its own. A fence ```` ```console ```` has commands behind
//! `$ ` and below each what it prints; `...` stands for anything. A comment `<!-- setup` has lines of shell that make what
//! the reader is supposed to have. Words behind `console` are options that the recipe needs, or `program:NAME`: where one
//! of them is missing the recipe is skipped, and said to be. The own program is an example, which `cargo test` builds
//! unless it is told to build single tests.
#![cfg(feature = "cli")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

const POOL_RUN: &str = env!("CARGO_BIN_EXE_pool-run");

/// What a recipe is made of.
#[derive(Debug, PartialEq)]
enum Step {
    Setup(String),
    /// Needs options and programs, and runs commands.
    Console {
        needs: Vec<String>,
        commands: Vec<Shown>,
    },
}

/// A command with the lines that it prints.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    command: String,
    lines: Vec<String>,
}

/// The recipes of a text: a title each, and steps.
fn recipes(text: &str) -> Vec<(String, Vec<Step>)> {
    let mut recipes: Vec<(String, Vec<Step>)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let step = if let Some(title) = line.strip_prefix("## ") {
            recipes.push((title.to_owned(), Vec::new()));
            continue;
        } else if line == "<!-- setup" {
            let script: Vec<&str> = lines.by_ref().take_while(|line| *line != "-->").collect();
            Step::Setup(script.join("\n"))
        } else if let Some(needs) = line.strip_prefix("```console") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            Step::Console {
                needs: needs.split_whitespace().map(str::to_owned).collect(),
                commands: shown(&block),
            }
        } else if line.starts_with("```") {
            lines.by_ref().take_while(|line| *line != "```").for_each(drop);
            continue;
        } else {
            continue;
        };
        recipes.last_mut().expect("a recipe has a title").1.push(step);
    }
    recipes
}

fn shown(block: &[&str]) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for line in block {
        if let Some(command) = line.strip_prefix("$ ") {
            all.push(Shown { command: command.to_owned(), lines: Vec::new() });
            continue;
        }
        let last = all.last_mut().expect("output has a command before it");
        match line.strip_prefix("> ") {
            Some(more) if last.lines.is_empty() => last.command += &format!("\n{more}"),
            _ => last.lines.push((*line).to_owned()),
        }
    }
    all
}

/// Whether a terminal may show `expected` where two streams give these lines: each in its order.
fn fits(expected: &[String], out: &[&str], err: &[&str]) -> bool {
    let Some((first, rest)) = expected.split_first() else { return out.is_empty() && err.is_empty() };
    if first == "..." {
        return fits(rest, out, err)
            || !out.is_empty() && fits(expected, &out[1..], err)
            || !err.is_empty() && fits(expected, out, &err[1..]);
    }
    let begins = |lines: &[&str]| lines.first().is_some_and(|line| is_like(first, line));
    begins(out) && fits(rest, &out[1..], err) || begins(err) && fits(rest, out, &err[1..])
}

/// Whether a line is as expected; `...` in it stands for any text.
fn is_like(expected: &str, line: &str) -> bool {
    let Some((begin, rest)) = expected.split_once("...") else { return expected == line };
    let Some(mut behind) = line.strip_prefix(begin) else { return false };
    let pieces: Vec<&str> = rest.split("...").collect();
    let (end, middle) = pieces.split_last().expect("a split has a piece");
    for piece in middle {
        let Some(at) = behind.find(piece) else { return false };
        behind = &behind[at + piece.len()..];
    }
    behind.ends_with(end)
}

fn bash(line: &str, folder: &Path, code: i32) -> Output {
    let built = Path::new(POOL_RUN).parent().unwrap();
    let path =
        [&folder.join("bin"), built, &built.join("examples")].map(|path| path.to_str().unwrap().to_owned());
    let path = format!("{}:{}", path.join(":"), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("(exit {code})\n{line}")])
        .current_dir(folder)
        .env("PATH", path)
        .env("LC_ALL", "C");
    // Nothing may wait for what a terminal would give.
    command.stdin(Stdio::null()).output().expect("bash is there")
}

/// Whether there is a program, or the command has an option.
fn has(need: &str, folder: &Path) -> bool {
    match need.strip_prefix("program:") {
        Some(program) => bash(&format!("command -v {program}"), folder, 0).status.success(),
        None => has_option(need, folder),
    }
}

fn has_option(option: &str, folder: &Path) -> bool {
    let help = bash("pool-run --help", folder, 0).stdout;
    let help = String::from_utf8(help).unwrap();
    let name = format!("--{option}");
    let names = |line: &str| line.split([' ', ',', '=', '[']).any(|word| word == name);
    help.lines().any(|line| line.trim_start().starts_with('-') && names(line))
}

/// Runs a recipe; what is wrong with it, or what it lacks.
fn cook(steps: &[Step]) -> Result<(), Trouble> {
    let folder = tempfile::tempdir().unwrap();
    for step in steps {
        match step {
            Step::Setup(script) => {
                let output = bash(&format!("set -e\n{script}"), folder.path(), 0);
                assert!(output.status.success(), "the setup fails: {output:?}\n{script}");
            }
            Step::Console { needs, commands } => {
                if let Some(need) = needs.iter().find(|need| !has(need, folder.path())) {
                    return Err(Trouble::Lacks(need.clone()));
                }
                let mut code = 0;
                for shown in commands {
                    code = check(shown, folder.path(), code).map_err(Trouble::Differs)?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
enum Trouble {
    Lacks(String),
    Differs(String),
}

/// Runs a command after one that ended with `code`; returns its own.
fn check(shown: &Shown, folder: &Path, code: i32) -> Result<i32, String> {
    let output = bash(&shown.command, folder, code);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (out_lines, err_lines): (Vec<&str>, Vec<&str>) = (out.lines().collect(), err.lines().collect());
    match fits(&shown.lines, &out_lines, &err_lines) {
        true => Ok(output.status.code().unwrap_or(-1)),
        false => Err(format!(
            "$ {}\nprints:\n{out}{err}and the guide shows:\n{}",
            shown.command,
            shown.lines.join("\n")
        )),
    }
}

#[test]
fn every_recipe_prints_what_the_guide_shows() {
    let recipes = recipes(include_str!("../docs/guide.md"));
    let mut wrong = Vec::new();
    let mut cooked = 0;
    for (title, steps) in &recipes {
        match cook(steps) {
            Ok(()) => cooked += usize::from(!steps.is_empty()),
            Err(Trouble::Lacks(what)) => eprintln!("SKIPPED: \"{title}\" needs {what}"),
            Err(Trouble::Differs(how)) => wrong.push(format!("\"{title}\": {how}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(cooked >= 6, "only {cooked} of {} recipes were tried", recipes.len());
}

#[test]
fn a_recipe_that_is_wrong_is_seen() {
    let text =
        "## A\n<!-- setup\necho b > a\n-->\n```console\n$ cat \\\n> a\nb\n$ false\n$ echo $?\n1\n```\n";
    let all = recipes(text);
    assert!(cook(&all[0].1).is_ok(), "{all:?}");
    for (from, to) in [("\nb\n$", "\nc\n$"), ("\n1\n", "\n0\n"), ("\nb\n$", "\nb\nb\n$"), ("\nb\n$", "\n$")] {
        let all = recipes(&text.replacen(from, to, 1));
        assert!(matches!(cook(&all[0].1), Err(Trouble::Differs(_))), "{from:?} {to:?}");
    }
    let lacking = recipes(&text.replace("console", "console no-such-option"));
    assert!(matches!(cook(&lacking[0].1), Err(Trouble::Lacks(_))));
}

#[test]
fn dots_stand_for_anything() {
    let lines = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
    assert!(fits(&lines("a|x...z|b"), &["a", "b"], &["xyz"]));
    assert!(fits(&lines("a|..."), &["a", "b"], &["c"]) && fits(&lines("...|b"), &["a", "b"], &[]));
    assert!(!fits(&lines("b|a"), &["a", "b"], &[]) && !fits(&lines("a"), &["a"], &["c"]));
    assert!(is_like("process ... died", "process 12 died") && !is_like("a...b...c", "acb"));
}
