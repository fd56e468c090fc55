//! What a log is good for: runs that go on where another one has ended.

use std::fs;
use std::path::Path;

use super::{Case, Outcome, folder, parallel};

/// A run and those after it in the same folder: options of each, and the inputs of each.
type Runs = &'static [(&'static [&'static str], &'static [&'static str])];

const SOME: &[&str] = &[":::", "0", "3", "0", "5"];
const MORE: &[&str] = &[":::", "0", "3", "0", "5", "0", "7"];

const CASES: &[Runs] = &[
    // What is in the log is not run again, whether it was well or not.
    &[(&[], SOME), (&["--resume"], SOME)],
    &[(&[], SOME), (&["--resume"], MORE)],
    &[(&["--halt", "now,fail=1"], SOME), (&["--resume"], SOME)],
    // What has failed is.
    &[(&[], SOME), (&["--resume-failed"], SOME)],
    &[(&[], SOME), (&["--resume-failed"], MORE), (&["--resume"], MORE)],
    &[(&["--halt", "soon,fail=1"], SOME), (&["--resume-failed"], SOME)],
    // Without a log there is nothing that was run.
    &[(&["--resume"], SOME)],
    &[(&["--resume-failed"], SOME)],
];

/// Runs them one after the other.
fn all(runs: Runs, one: impl Fn(Case<'_>, &Path) -> Outcome) -> Vec<Outcome> {
    let folder = folder();
    let line = "echo o{}; [ ! -e again ] || exit 0; exit {}";
    let outcomes = runs.iter().map(|(options, behind)| {
        let outcome = one(Case { options, line, behind, stdin: "" }, folder.path());
        fs::write(folder.path().join("again"), "").unwrap();
        outcome
    });
    outcomes.collect()
}

#[test]
fn runs_go_on_alike() {
    let parallel = parallel();
    for runs in CASES {
        let ours = all(runs, |case, folder| case.ours_in(folder, &["-w1"]));
        assert!(ours.iter().all(|outcome| outcome.code.is_some_and(|code| code < 64)), "{runs:?} {ours:?}");
        if let Some(program) = parallel {
            let theirs = all(runs, |case, folder| case.theirs_in(folder, program, &["-j1", "-k"]));
            assert_eq!(ours, theirs, "left ours, right theirs: {runs:?}");
        }
    }
}

/// On purpose: a log of another run is refused, where GNU parallel takes it for the same.
#[test]
fn what_is_not_as_with_gnu_parallel() {
    let other = |line, options| Case { options, line, behind: &[":::", "a", "b"], stdin: "" };
    let folder = folder();
    other("echo {}", &[]).ours_in(folder.path(), &[]);
    let refused = other("echo other {}", &["--resume"]).ours_in(folder.path(), &[]);
    assert_eq!((refused.stdout.as_str(), refused.code), ("", Some(125)));
    let by_number = other("echo other {}", &["--resume=seq"]).ours_in(folder.path(), &[]);
    assert_eq!((by_number.stdout.as_str(), by_number.code), ("", Some(0)));
    if let Some(program) = parallel() {
        let folder = self::folder();
        other("echo {}", &[]).theirs_in(folder.path(), program, &[]);
        let theirs = other("echo other {}", &["--resume"]).theirs_in(folder.path(), program, &[]);
        assert_eq!((theirs.stdout.as_str(), theirs.code), ("", Some(0)));
    }
}
