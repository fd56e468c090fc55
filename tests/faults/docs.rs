//! `docs/faults.md` says what the tests show.

use std::fs;

use nix::sys::signal::Signal;
use sidestep::Cause;

use crate::table::{Fate, Outcome, ROWS, Row, Terms};

const PAGE: &str = include_str!("../../docs/faults.md");

pub(crate) fn assert_has_every_row() {
    let lines: Vec<String> = ROWS.iter().map(line).collect();
    let table = format!("|---|---|---|---|---|---|\n{}\n\n", lines.join("\n"));
    assert!(PAGE.contains(&table), "docs/faults.md should have this table:\n{table}");
}

/// A fault's line in the page.
fn line(row: &Row) -> String {
    let under = |terms| ending(row.under(terms).outcome);
    let [once, limited, retried, flaky] =
        [Terms::Once, Terms::Limited, Terms::Retried, Terms::Flaky].map(under);
    let fate = match row.fate {
        Fate::Dies => "it is replaced",
        Fate::Lives => "it serves on",
        Fate::Stopped => "it serves on when it is continued",
        Fate::Deaf => "it is replaced, at its next job perhaps",
    };
    format!("| `{:?}` | {once} | {limited} | {retried} | {flaky} | {fate} |", row.how)
}

fn ending(outcome: Outcome) -> String {
    match outcome {
        Outcome::Lost(Cause::Signal(signal)) => format!("lost by {}", Signal::try_from(signal).unwrap()),
        Outcome::Lost(Cause::Exit(code)) => format!("lost by exit {code}"),
        other => format!("`{other:?}`"),
    }
}

pub(crate) fn assert_names_real_tests() {
    let is_test = |word: &str| word.contains("::") && word.starts_with(char::is_lowercase);
    for line in PAGE.lines().filter(|line| line.starts_with("| ")) {
        let tests: Vec<&str> = line.split('`').filter(|word| is_test(word)).collect();
        let is_a_fault_s_own =
            line.starts_with("| `") || line.contains("| shown by |") || line.contains("| tried");
        assert!(is_a_fault_s_own || !tests.is_empty(), "no test shows this: {line}");
        for test in tests {
            assert!(exists(test), "docs/faults.md names {test}, which is not there");
        }
    }
}

fn exists(test: &str) -> bool {
    let (file, name) = test.split_once("::").unwrap();
    ["tests", "tests/programs"].iter().any(|folder| {
        let path = format!("{}/{folder}/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(path).is_ok_and(|source| source.contains(&format!("fn {name}() {{")))
    })
}
