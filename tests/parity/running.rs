//! When jobs begin and end, how often they are tried, and what the exit code says.

use super::{Case, compare};

/// Options, the line of shell, inputs; then what comes out, and the exit code.
type Row = (&'static [&'static str], &'static str, &'static [&'static str], &'static str, i32);

const TEN: &[&str] = &[":::", "0", "3", "0", "5", "0", "0", "7", "0", "0", "0"];
const MEET: &str = ": > {}; until [ -e a -a -e b ]; do sleep 0.01; done; echo met";
const SAYS: &str = "echo o{}; exit {}";

const CASES: &[Row] = &[
    // Exit codes count failures.
    (&[], SAYS, &[":::", "0", "0"], "o0\no0\n", 0),
    (&[], SAYS, TEN, "o0\no3\no0\no5\no0\no0\no7\no0\no0\no0\n", 3),
    (&[], "kill -9 $$ #", &[":::", "a", "b"], "", 2),
    // An early end.
    (&["--halt", "never"], SAYS, &[":::", "1", "1"], "o1\no1\n", 2),
    (&["--halt", "now,fail=1"], SAYS, TEN, "o0\no3\n", 3),
    (&["--halt", "soon,fail=1"], SAYS, TEN, "o0\no3\n", 3),
    (&["--halt", "1"], SAYS, TEN, "o0\no3\n", 3),
    (&["--halt", "2"], SAYS, TEN, "o0\no3\n", 3),
    (&["--halt", "now,fail=2"], SAYS, TEN, "o0\no3\no0\no5\n", 2),
    (&["--halt", "soon,fail=30%"], SAYS, TEN, "o0\no3\no0\no5\no0\no0\no7\n", 30),
    (&["--halt", "now,success=1"], SAYS, TEN, "o0\n", 0),
    (&["--halt", "soon,success=2"], SAYS, TEN, "o0\no3\no0\n", 0),
    (&["--halt", "now,done=2"], SAYS, TEN, "o0\no3\n", 1),
    (&["--halt", "soon,done=30%"], SAYS, TEN, "o0\no3\no0\n", 10),
    (&["--halt", "now,fail=1"], "kill -9 $$ #", &[":::", "a", "b"], "", 137),
    // Only the last attempt is shown.
    (&["--retries", "3"], "echo {} >> tried; wc -l < tried; exit 1", &[":::", "a"], "3\n", 1),
    (&["--retries", "3"], "echo {} >> tried; test $(wc -l < tried) -eq 2", &[":::", "a"], "", 0),
    (&["--retries", "1"], "echo {} >> tried; wc -l < tried; exit 1", &[":::", "a"], "1\n", 1),
    // A job that takes too long fails; what it has said is shown.
    (&["--timeout", "1"], "echo {}; sleep {}", &[":::", "0", "60"], "0\n60\n", 1),
    (
        &["--timeout", "500%"],
        "sleep {}; echo {}",
        &[":::", "0.2", "0.2", "0.2", "0.2", "60", "0.2"],
        "0.2\n0.2\n0.2\n0.2\n0.2\n",
        1,
    ),
    (
        &["--timeout", "1", "--retries", "2"],
        "echo x >> tried; wc -l < tried; sleep 60 #",
        &[":::", "a"],
        "2\n",
        1,
    ),
    // How it is ended.
    (
        &["--timeout", "1", "--termseq", "INT,9000,KILL"],
        "trap 'echo bye; trap - TERM; kill -TERM $$' INT; while :; do sleep 0.1; done #",
        &[":::", "a"],
        "bye\n",
        1,
    ),
    // When jobs begin.
    (&["--load", "10000%", "--memfree", "1k"], "echo {}", &[":::", "a", "b"], "a\nb\n", 0),
    // How many at a time: each job waits for the other.
    (&["-j2"], MEET, &[":::", "a", "b"], "met\nmet\n", 0),
    (&["-P2"], MEET, &[":::", "a", "b"], "met\nmet\n", 0),
    (&["--jobs", "number"], MEET, &[":::", "a", "b"], "met\nmet\n", 0),
    (&["--max-procs", "+3"], MEET, &[":::", "a", "b"], "met\nmet\n", 0),
    (&["-j", "400%"], MEET, &[":::", "a", "b"], "met\nmet\n", 0),
    (&["--delay", "0.1"], "echo {}", &[":::", "a", "b"], "a\nb\n", 0),
    (&["--dry-run"], "echo {}", &[":::", "a", "b"], "echo a\necho b\n", 0),
    (&["--dry-run"], "a {} b", &[":::", "c d", ":::", "e'"], "a 'c d' 'e'\"'\" b\n", 0),
    (&["--nice", "3"], "nice #", &[":::", "a"], "3\n", 0),
];

#[test]
fn runs_end_alike() {
    let cases = CASES.iter().map(|&(options, line, behind, ..)| Case { options, line, behind, stdin: "" });
    let outcomes = compare(cases, &["-w1"], &["-j1", "-k"]);
    for (row, outcome) in CASES.iter().zip(outcomes) {
        assert_eq!((outcome.stdout.as_str(), outcome.code), (row.3, Some(row.4)), "{row:?}");
    }
}
