//! How what jobs write is shown.

use super::{Case, Outcome, compare, parallel};

/// Options, the line of shell, where its inputs come from; then standard output and standard error.
type Row = (&'static [&'static str], &'static str, &'static [&'static str], &'static str, &'static str);

/// The first job ends when another has ended.
const WAITS: &str = "echo {}1; test {} = a && while ! [ -e over ]; do sleep 0.01; done; echo {}2; : > over #";
const OUT: &str = "printf '%s\\nx\\n' {} #";
const SAYS: &str = "printf '%s\\nx' {}; printf 'e\\n\\n' >&2 #";

const CASES: &[Row] = &[
    // Together, in the order of inputs.
    (&["-j3", "-k"], WAITS, &[":::", "a", "b", "c"], "a1\na2\nb1\nb2\nc1\nc2\n", ""),
    (&["-j3", "--keep-order", "--tag"], WAITS, &[":::", "a", "b"], "a\ta1\na\ta2\nb\tb1\nb\tb2\n", ""),
    // Tags.
    (&["--tag"], SAYS, &[":::", "a", "b c"], "a\ta\na\txb c\tb c\nb c\tx", "a\te\na\t\nb c\te\nb c\t\n"),
    (&["--tag"], "echo x #", &[":::", "a", "b", ":::", "1"], "a 1\tx\nb 1\tx\n", ""),
    (&["--tag", "-n2"], "echo x #", &[":::", "a", "b", "c"], "a b\tx\nc\tx\n", ""),
    (&["--tag", "-C", ","], "echo {2}", &[":::", "a,b"], "a b\tb\n", ""),
    (&["--tag"], "true", &[":::", "a"], "", ""),
    (&["--tag"], "echo x #", &[":::", "it's", "$HOME", ""], "it's\tx\n$HOME\tx\n\tx\n", ""),
    (&["--tag", "-N0"], "echo x", &[":::", "a"], "\tx\n", ""),
    (
        &["--tagstring", "{#} {/}|{.} {%}"],
        "echo x #",
        &[":::", "d/a.b", "c"],
        "1 a.b|d/a 1\tx\n2 c|c 1\tx\n",
        "",
    ),
    (&["--tagstring", "{2}-{1}"], "echo x #", &[":::", "a", ":::", "1"], "1-a\tx\n", ""),
    (&["--tagstring", "a\\tb"], "echo x #", &[":::", "c"], "a\tb\tx\n", ""),
    (&["--tagstring", "{#}", "--tag"], "echo x #", &[":::", "c"], "1\tx\n", ""),
    (&["--tagstring", ""], "echo x #", &[":::", "c"], "x\n", ""),
    // While a job runs.
    (&["--line-buffer"], OUT, &[":::", "a", "b"], "a\nx\nb\nx\n", ""),
    (&["--lb", "--tag"], OUT, &[":::", "a", "b"], "a\ta\na\tx\nb\tb\nb\tx\n", ""),
    (&["--lb", "-k"], "echo {}; echo {}", &[":::", "a", "b"], "a\na\nb\nb\n", ""),
    (&["--ungroup"], SAYS, &[":::", "a", "b"], "a\nxb\nx", "e\n\ne\n\n"),
    (&["-u", "--tag"], "echo {}", &[":::", "a", "b"], "a\nb\n", ""),
];

#[test]
fn output_looks_alike() {
    let cases = CASES.iter().map(|&(options, line, behind, ..)| Case { options, line, behind, stdin: "" });
    let outcomes = compare(cases, &["-w1"], &["-j1"]);
    for (row, outcome) in CASES.iter().zip(outcomes) {
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (row.3, row.4), "{row:?}");
    }
}

/// Each on purpose: what is shown while jobs run is the same, and the log counts what a job has given, not its messages.
#[test]
fn what_is_not_as_with_gnu_parallel() {
    let case = Case { options: &["--lb", "--tag"], line: SAYS, behind: &[":::", "a"], stdin: "" };
    let ours = case.ours(&["-w1"]);
    assert_eq!((ours.stdout.as_str(), ours.stderr.as_str()), ("a\ta\na\tx", "a\te\na\t\n"));
    let received = |outcome: &Outcome| outcome.log[0].split('\t').nth(3).map(str::to_owned);
    assert_eq!(received(&ours).as_deref(), Some("3"));
    if let Some(program) = parallel() {
        let theirs = case.theirs(program, &["-j1"]);
        assert_eq!((&theirs.stdout, &theirs.stderr), (&ours.stdout, &ours.stderr));
        assert_eq!(received(&theirs).as_deref(), Some("7"));
    }
}
